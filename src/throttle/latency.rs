//! Latency of the table's own statements against a baseline that is taken before the copy begins.
//!
//! performance_schema keeps, for each shape of statement (digest), how often it ran and how long it took
//! in all. Shapes are compared with themselves, so that another mixture of statements does not look like
//! another latency: the factor is the time that the statements since the last looks have taken, divided by
//! the time that as many of the same shapes took before. Statements count that name the table and were
//! run with a default schema; our own sessions have none.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Common;
use super::asker::{Asker, cannot_be_asked};
use super::reading::Reading;
use crate::failure::Result;
use crate::mysql::quote;
use crate::names::TableName;

pub(super) const SLOT: &str = "latency of the table";
pub(super) const SOURCE: &str = "latency";
const INTERVAL: Duration = Duration::from_millis(500);
const VALID: Duration = Duration::from_secs(4);
/// How long the baseline is taken …
const BASELINE: Duration = Duration::from_secs(5);
/// … and how much longer until it has seen [`STATEMENTS_MIN`] statements.
const BASELINE_MAX: Duration = Duration::from_secs(20);
/// A mean of fewer statements says little.
const STATEMENTS_MIN: f64 = 20.0;
/// The same for those since the baseline: the slower they are, the fewer.
const RECENT_MIN: f64 = 10.0;
/// The factor is that of the statements of so many looks.
const LOOKS: usize = 6;
/// More shapes are not looked at; those that took the most time come first.
const SHAPES_MAX: usize = 200;

/// What a shape has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    count: f64,
    seconds: f64,
}

/// By digest.
type Costs = BTreeMap<String, Cost>;

/// What came on top between two looks. A shape that is new to us counts from the next look on, one that
/// the server has forgotten in between begins anew.
fn between(before: &Costs, after: &Costs) -> Costs {
    after
        .iter()
        .filter_map(|(digest, now)| {
            let was = *before.get(digest)?;
            let was = if was.count > now.count {
                Cost::default()
            } else {
                was
            };
            let cost = Cost {
                count: now.count - was.count,
                seconds: (now.seconds - was.seconds).max(0.0),
            };
            (cost.count > 0.0).then(|| (digest.clone(), cost))
        })
        .collect()
}

fn add(to: &mut Costs, costs: &Costs) {
    for (digest, cost) in costs {
        let sum = to.entry(digest.clone()).or_default();
        sum.count += cost.count;
        sum.seconds += cost.seconds;
    }
}

fn statements(costs: &Costs) -> f64 {
    costs.values().map(|cost| cost.count).sum()
}

/// How many times as long as in the baseline the statements took; `None` if too few of them are of
/// shapes that the baseline knows.
fn factor(baseline: &Costs, recent: &Costs) -> Option<f64> {
    let (mut count, mut taken, mut expected) = (0.0, 0.0, 0.0);
    for (digest, cost) in recent {
        if let Some(base) = baseline.get(digest) {
            count += cost.count;
            taken += cost.seconds;
            expected += cost.count * base.seconds / base.count;
        }
    }
    (count >= RECENT_MIN && expected > 0.0).then(|| taken / expected)
}

pub(super) async fn run(mut common: Common) -> Result<()> {
    let mut watch = Watch::new(common.plan.original.clone());
    let mut asker = Asker::new(common.server.clone());
    loop {
        let limit = common.tunables.borrow_and_update().latency_factor_max;
        let readings = match limit {
            None => {
                watch = Watch::new(common.plan.original.clone());
                Vec::new()
            }
            Some(_) if !common.server.facts().is_on("performance_schema") => {
                vec![Reading::trouble(
                    SOURCE,
                    watch.subject(),
                    "cannot be seen: performance_schema is OFF (`set max-latency-factor none` goes on \
                     without)",
                )]
            }
            Some(limit) => watch.look(&mut asker, limit).await.into_iter().collect(),
        };
        common.board.post(SLOT, SOURCE, readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

/// The baseline, and what was seen since.
struct Watch {
    table: TableName,
    started: Option<Instant>,
    last: Option<Costs>,
    seen: Costs,
    baseline: Option<Costs>,
    recent: VecDeque<Costs>,
}

impl Watch {
    fn new(table: TableName) -> Watch {
        Watch {
            table,
            started: None,
            last: None,
            seen: Costs::new(),
            baseline: None,
            recent: VecDeque::new(),
        }
    }

    fn subject(&self) -> String {
        format!("statements on {}", self.table)
    }

    /// One look. Nothing while there is nothing to compare with or too little to say.
    async fn look(&mut self, asker: &mut Asker, limit: f64) -> Option<Reading> {
        let rows = match asker.query::<(String, f64, f64)>(&self.query()).await {
            Ok(rows) => rows,
            Err(failure) => {
                return Some(Reading::trouble(
                    SOURCE,
                    self.subject(),
                    cannot_be_asked(&failure),
                ));
            }
        };
        let now: Costs = rows
            .into_iter()
            .map(|(digest, count, seconds)| (digest, Cost { count, seconds }))
            .collect();
        let since_last = match self.last.replace(now.clone()) {
            Some(last) => between(&last, &now),
            None => Costs::new(),
        };
        match &self.baseline {
            None => self.take_baseline(&since_last),
            Some(baseline) => {
                self.recent.push_back(since_last);
                if self.recent.len() > LOOKS {
                    self.recent.pop_front();
                }
                let mut recent = Costs::new();
                for costs in &self.recent {
                    add(&mut recent, costs);
                }
                let factor = factor(baseline, &recent)?;
                let mut reading =
                    Reading::graded(SOURCE, self.subject(), factor, limit, " × the baseline");
                // As long as before is no load at all.
                reading.calm = 1.0_f64.min(limit);
                Some(reading)
            }
        }
    }

    /// Holds the copy back until the baseline is there.
    fn take_baseline(&mut self, since_last: &Costs) -> Option<Reading> {
        let started = *self.started.get_or_insert_with(Instant::now);
        add(&mut self.seen, since_last);
        let enough = statements(&self.seen) >= STATEMENTS_MIN;
        let elapsed = started.elapsed();
        if elapsed < BASELINE || (!enough && elapsed < BASELINE_MAX) {
            return Some(Reading::trouble(
                SOURCE,
                self.subject(),
                "are being timed for the baseline, before the copy begins",
            ));
        }
        let baseline = std::mem::take(&mut self.seen);
        let count = statements(&baseline);
        if enough {
            let seconds: f64 = baseline.values().map(|cost| cost.seconds).sum();
            tracing::info!(
                event = "latency_baseline",
                "baseline: {count:.0} {} of {} shapes took {:.2} ms on average",
                self.subject(),
                baseline.len(),
                seconds / count * 1e3
            );
        } else {
            tracing::warn!(
                event = "latency_blind",
                "only {count:.0} {} were seen in {:.0} s: --max-latency-factor has little or nothing to \
                 compare with (statements without a default schema are not seen)",
                self.subject(),
                elapsed.as_secs_f64()
            );
        }
        self.baseline = Some(baseline);
        None
    }

    /// Digest texts have identifiers in backticks.
    fn query(&self) -> String {
        let name = quote::string(&format!("`{}`", self.table.table.replace('`', "``")));
        let schema = quote::string(&self.table.schema);
        format!(
            "SELECT DIGEST, COUNT_STAR + 0e0, SUM_TIMER_WAIT / 1e12 \
             FROM performance_schema.events_statements_summary_by_digest \
             WHERE DIGEST IS NOT NULL AND LOCATE({name}, DIGEST_TEXT) > 0 \
             AND (SCHEMA_NAME = {schema} \
             OR (SCHEMA_NAME IS NOT NULL AND LOCATE(CONCAT('`', {schema}, '` . ', {name}), DIGEST_TEXT) > 0)) \
             ORDER BY SUM_TIMER_WAIT DESC LIMIT {SHAPES_MAX}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(list: &[(&str, f64, f64)]) -> Costs {
        list.iter()
            .map(|(digest, count, seconds)| {
                let (count, seconds) = (*count, *seconds);
                (digest.to_string(), Cost { count, seconds })
            })
            .collect()
    }

    #[test]
    fn shapes_are_compared_with_themselves() {
        let baseline = costs(&[("point", 100.0, 0.1), ("report", 2.0, 4.0)]);
        // Many more reports than before, each as long as ever.
        let recent = costs(&[("point", 20.0, 0.02), ("report", 10.0, 20.0)]);
        assert!((factor(&baseline, &recent).unwrap() - 1.0).abs() < 1e-9);
        let slow = costs(&[("point", 20.0, 0.06)]);
        assert!((factor(&baseline, &slow).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(factor(&baseline, &costs(&[("new", 99.0, 9.0)])), None);
        assert_eq!(factor(&baseline, &costs(&[("point", 9.0, 9.0)])), None);
    }

    #[test]
    fn looks_are_subtracted() {
        let before = costs(&[("a", 10.0, 1.0), ("b", 5.0, 5.0), ("c", 9.0, 9.0)]);
        let after = costs(&[
            ("a", 12.0, 1.5),
            ("b", 5.0, 5.0),
            ("c", 1.0, 0.1),
            ("d", 1.0, 2.0),
        ]);
        assert_eq!(
            between(&before, &after),
            costs(&[("a", 2.0, 0.5), ("c", 1.0, 0.1)])
        );
    }
}
