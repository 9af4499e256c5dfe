//! What a rehearsal found: measured speeds, and what the whole would take by them.

use std::time::Duration;

use serde::Serialize;

use super::text::{bytes, grouped, span};
use crate::probe::Percentiles;

/// The beginning of a work is not counted: chunks are still growing to their size.
const BEGINNING: f64 = 0.25;
/// So many pieces of the rest tell how unsteady it is.
const PIECES: usize = 8;
/// From the end of the comparison to the end, seconds: replay is near already, the swap has its budget, and the
/// helper tables go (0.2 to 0.5 s were seen on two cores).
const CUT_OVER_S: f64 = 0.6;
/// What building indexes takes on a table without rows, seconds: it does not grow with the table (0.1 to 0.2 s were
/// seen on two cores).
const INDEXES_FIXED_S: f64 = 0.15;
/// What a larger table adds that a sample does not show (colder caches, higher trees), per tenfold size.
const PER_TENFOLD: f64 = 0.08;
/// What measurements on a live server always leave open.
const LEFT_OPEN: f64 = 0.1;

/// The numbers of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Since the work began.
    pub at: Duration,
    /// Rows done so far.
    pub rows: u64,
}

/// How fast a work was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Speed {
    /// Rows done.
    pub rows: u64,
    /// In this time.
    pub seconds: f64,
    /// Rows per second, when chunks had their size.
    pub rows_per_s: f64,
    /// Standard deviation of pieces of equal time, by the mean.
    pub unsteadiness: f64,
}

impl Speed {
    /// From looks in the order of time.
    pub fn of(looks: &[Look]) -> Speed {
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
            return Speed::default();
        };
        let rows = last.rows - first.rows;
        let seconds = (last.at - first.at).as_secs_f64();
        let beginning = first.rows + (rows as f64 * BEGINNING) as u64;
        let from = looks
            .iter()
            .position(|look| look.rows > beginning)
            .unwrap_or(0);
        // The work ends with its last row, not when somebody looks.
        let to = looks
            .iter()
            .position(|look| look.rows == last.rows)
            .unwrap_or(looks.len() - 1);
        let rest = looks.get(from..=to).unwrap_or_default();
        let rate = |from: &Look, to: &Look| {
            let seconds = to.at.saturating_sub(from.at).as_secs_f64();
            (seconds > 0.0).then(|| (to.rows - from.rows) as f64 / seconds)
        };
        let whole = rate(first, last).unwrap_or(0.0);
        let steady = match rest {
            // A few of the rows say little: a wait at the end would be taken for the rate of all.
            [first, .., last] if last.rows - first.rows >= rows / 2 => rate(first, last),
            _ => None,
        };
        Speed {
            rows,
            seconds,
            rows_per_s: steady.filter(|rate| *rate > 0.0).unwrap_or(whole),
            unsteadiness: unsteadiness(rest, rate),
        }
    }
}

fn unsteadiness(looks: &[Look], rate: impl Fn(&Look, &Look) -> Option<f64>) -> f64 {
    let pieces: Vec<f64> = looks
        .chunks(looks.len().div_ceil(PIECES).max(2))
        .filter_map(|piece| rate(piece.first()?, piece.last()?))
        .collect();
    let mean = pieces.iter().sum::<f64>() / pieces.len().max(1) as f64;
    if pieces.len() < 2 || mean <= 0.0 {
        return 0.0;
    }
    let squares: f64 = pieces.iter().map(|rate| (rate - mean).powi(2)).sum();
    (squares / (pieces.len() - 1) as f64).sqrt() / mean
}

/// How long the whole migration would take, up to the swap, seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// As likely more as less.
    pub p50_s: f64,
    /// More in one of ten cases only.
    pub p90_s: f64,
    /// Of the P50: copying.
    pub copy_s: f64,
    /// Of the P50: building indexes after the copy.
    pub indexes_s: f64,
    /// Of the P50: comparing.
    pub verify_s: f64,
    /// Of the P50: what does not grow with the table.
    pub fixed_s: f64,
    /// What it rests on.
    pub rests_on: Vec<String>,
}

/// What was measured, for an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Rows of the table.
    pub rows_total: u64,
    /// Whether they were counted; otherwise the server's estimate.
    pub rows_counted: bool,
    /// Places of the key at which the sample was taken; 0: all rows were.
    pub places: usize,
    /// The copy.
    pub copy: Speed,
    /// The comparison; nothing where it is off.
    pub verify: Speed,
    /// The build of indexes after the copy, seconds.
    pub indexes_s: f64,
    /// All the rest of the run but the time in which only the application was measured, seconds.
    pub fixed_s: f64,
}

impl Measured {
    /// The whole's time.
    pub fn estimate(&self) -> Estimate {
        let rows = self.rows_total as f64;
        let sample = self.copy.rows.max(1) as f64;
        let ratio = (rows / sample).max(1.0);
        let is_whole = self.places == 0;
        let time = |speed: &Speed| {
            if speed.rows_per_s <= 0.0 {
                0.0
            } else if is_whole {
                speed.seconds
            } else {
                // What the beginning took longer is taken once, the rest goes by the rate.
                let beginning = (speed.seconds - speed.rows as f64 / speed.rows_per_s).max(0.0);
                beginning + rows / speed.rows_per_s
            }
        };
        let copy_s = time(&self.copy);
        let verify_s = time(&self.verify);
        // Sorting takes n log n.
        let deeper = (rows.max(2.0).ln() / sample.max(2.0).ln()).max(1.0);
        let indexes_s = if is_whole {
            self.indexes_s
        } else {
            let fixed = self.indexes_s.min(INDEXES_FIXED_S);
            fixed + (self.indexes_s - fixed) * ratio * deeper
        };
        let fixed_s = self.fixed_s + CUT_OVER_S;
        let p50_s = copy_s + indexes_s + verify_s + fixed_s;
        let unsteadiness = self.copy.unsteadiness.max(self.verify.unsteadiness);
        // 1.28 standard deviations are one case in ten; pieces are taken as independent.
        let late = 1.28 * unsteadiness / (PIECES as f64).sqrt()
            + PER_TENFOLD * ratio.log10()
            + LEFT_OPEN
            + if self.rows_counted { 0.0 } else { 0.15 };
        Estimate {
            p50_s,
            p90_s: p50_s * (1.0 + late),
            copy_s,
            indexes_s,
            verify_s,
            fixed_s,
            rests_on: self.rests_on(ratio),
        }
    }

    fn rests_on(&self, ratio: f64) -> Vec<String> {
        let mut list = vec![format!(
            "{} of {} rows ({})",
            grouped(self.copy.rows),
            grouped(self.rows_total),
            if self.rows_counted {
                "counted"
            } else {
                "the server's estimate, which may be off by a fifth"
            }
        )];
        match self.places {
            0 => list.push("the whole table".to_string()),
            1 => list.push(
                "the beginning of the table only: values of its key cannot be interpolated"
                    .to_string(),
            ),
            places => list.push(format!("a sample taken at {places} places of the key")),
        }
        list.push(format!(
            "{} of copying at {} rows/s, which varied by {:.0} %",
            span(self.copy.seconds),
            grouped(self.copy.rows_per_s as u64),
            self.copy.unsteadiness * 100.0
        ));
        if self.copy.seconds < 5.0 && ratio > 2.0 {
            list.push("a short sample: a longer one (--for 60s) tells more".to_string());
        }
        list.push("the load on the server and the throttles as they were meanwhile".to_string());
        list
    }
}

/// What the application felt, before the copy and during it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Felt {
    /// Reading a row by its key, before.
    pub read_before: Option<Percentiles>,
    /// … and during.
    pub read_during: Option<Percentiles>,
    /// Writing and committing one row, before.
    pub write_before: Option<Percentiles>,
    /// … and during.
    pub write_during: Option<Percentiles>,
    /// The mean time of the application's own statements on the table, milliseconds, and their number,
    /// before; where the server counts them.
    pub own_before: Option<(f64, u64)>,
    /// … and during.
    pub own_during: Option<(f64, u64)>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsal {
    /// What was measured.
    pub measured: Measured,
    /// What the whole would take.
    pub estimate: Estimate,
    /// Bytes of the table now, by the server's estimate.
    pub table_bytes: u64,
    /// Bytes of the new table with all rows.
    pub new_table_bytes: u64,
    /// The worst replica's lag before the copy, seconds; `None` without replicas.
    pub replica_lag_before_s: Option<f64>,
    /// … and the worst while it ran.
    pub replica_lag_max_s: Option<f64>,
    /// What the application felt.
    pub felt: Felt,
    /// Rows copied that do not fit the new definition: a rehearsal that finds one ends with it.
    pub conversion_errors: u64,
}

impl Rehearsal {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let estimate = &self.estimate;
        let mut lines = vec![
            format!(
                "the whole would take {} (P50) to {} (P90): copy {}, indexes {}, comparison {}, the rest {}",
                span(estimate.p50_s),
                span(estimate.p90_s),
                span(estimate.copy_s),
                span(estimate.indexes_s),
                span(estimate.verify_s),
                span(estimate.fixed_s)
            ),
            format!("which rests on: {}", estimate.rests_on.join("; ")),
            format!(
                "measured: copy {} rows/s, comparison {} rows/s, indexes {}",
                grouped(self.measured.copy.rows_per_s as u64),
                grouped(self.measured.verify.rows_per_s as u64),
                span(self.measured.indexes_s)
            ),
            format!(
                "the new table would have about {} (the table now: {})",
                bytes(self.new_table_bytes),
                bytes(self.table_bytes)
            ),
            match (self.replica_lag_before_s, self.replica_lag_max_s) {
                (Some(before), Some(max)) => format!(
                    "replicas: {} behind at most, {} before",
                    span(max),
                    span(before)
                ),
                _ => "replicas: none was watched".to_string(),
            },
        ];
        let felt = &self.felt;
        for (what, before, during) in [
            ("a row read by its key", felt.read_before, felt.read_during),
            (
                "a row written and committed",
                felt.write_before,
                felt.write_during,
            ),
        ] {
            if let (Some(before), Some(during)) = (before, during) {
                lines.push(format!(
                    "{what}: P50 {:.1} ms, P99 {:.1} ms before; P50 {:.1} ms, P99 {:.1} ms, at most {:.1} ms during",
                    before.p50_ms, before.p99_ms, during.p50_ms, during.p99_ms, during.max_ms
                ));
            }
        }
        match (felt.own_before, felt.own_during) {
            (Some((before, _)), Some((during, count))) => lines.push(format!(
                "the application's own statements on the table: {before:.2} ms on average before, \
                 {during:.2} ms during ({} of them)",
                grouped(count)
            )),
            (None, Some((during, count))) => lines.push(format!(
                "the application's own statements on the table: {during:.2} ms on average during \
                 ({} of them), none before",
                grouped(count)
            )),
            (_, None) => lines.push(
                "the application's own statements on the table: none were seen, or the server does not count them"
                    .to_string(),
            ),
        }
        lines.push(format!(
            "conversion errors: {} in {} rows",
            self.conversion_errors,
            grouped(self.measured.copy.rows)
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(rate: impl Fn(u64) -> u64) -> Vec<Look> {
        let mut rows = 0;
        (0..100)
            .map(|tick| {
                rows += rate(tick);
                Look {
                    at: Duration::from_millis(tick * 50),
                    rows,
                }
            })
            .collect()
    }

    #[test]
    fn the_beginning_is_not_counted() {
        let speed = Speed::of(&looks(|tick| if tick < 20 { 100 } else { 1000 }));
        assert!((speed.rows_per_s - 20_000.0).abs() < 300.0, "{speed:?}");
        assert!(speed.unsteadiness < 0.01, "{speed:?}");
        // It ends with its last row.
        let speed = Speed::of(&looks(|tick| if tick < 50 { 1000 } else { 0 }));
        assert!((speed.rows_per_s - 20_000.0).abs() < 300.0, "{speed:?}");
        let unsteady = Speed::of(&looks(|tick| if tick / 12 % 2 == 0 { 500 } else { 1500 }));
        assert!(unsteady.unsteadiness > 0.2, "{unsteady:?}");
        assert_eq!(Speed::of(&[]), Speed::default());
        // Looked at twice only, and waited for at the end.
        let few = [(0, 0), (100, 1900), (2000, 2000)].map(|(at, rows)| Look {
            at: Duration::from_millis(at),
            rows,
        });
        let speed = Speed::of(&few);
        assert!((speed.rows_per_s - 1000.0).abs() < 1.0, "{speed:?}");
    }

    #[test]
    fn a_sample_is_extrapolated_and_a_whole_is_not() {
        let speed = Speed {
            rows: 50_000,
            seconds: 1.25,
            rows_per_s: 50_000.0,
            unsteadiness: 0.1,
        };
        let sample = Measured {
            rows_total: 1_000_000,
            rows_counted: true,
            places: 20,
            copy: speed,
            verify: speed,
            indexes_s: 0.0,
            fixed_s: 0.5,
        };
        let estimate = sample.estimate();
        assert!((estimate.copy_s - 20.25).abs() < 0.01, "{estimate:?}");
        assert!(
            (estimate.p50_s - 41.0 - CUT_OVER_S).abs() < 0.01,
            "{estimate:?}"
        );
        assert!(estimate.p90_s > estimate.p50_s * 1.1);
        let guessed = Measured {
            rows_counted: false,
            ..sample
        };
        assert!(guessed.estimate().p90_s > estimate.p90_s);
        let indexed = |indexes_s| {
            Measured {
                indexes_s,
                ..sample
            }
            .estimate()
            .indexes_s
        };
        assert!((indexed(INDEXES_FIXED_S) - INDEXES_FIXED_S).abs() < 1e-9);
        let grown = (indexed(1.0) - INDEXES_FIXED_S) / (1.0 - INDEXES_FIXED_S);
        assert!((20.0..30.0).contains(&grown), "{grown}");
        let whole = Measured {
            rows_total: 50_000,
            places: 0,
            ..sample
        };
        assert!((whole.estimate().copy_s - 1.25).abs() < 1e-9);
    }
}
