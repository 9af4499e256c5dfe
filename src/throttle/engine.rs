//! How hard the storage engine breathes: the duration of commits, and how much of the redo log waits
//! for a checkpoint. Near the end of the redo log all writers of the server are made to wait.

use std::time::Duration;

use super::Common;
use super::asker::{Asker, cannot_be_asked};
use super::reading::Reading;
use crate::failure::Result;

pub(super) const SLOT: &str = "storage engine";
const INTERVAL: Duration = Duration::from_millis(500);
const VALID: Duration = Duration::from_secs(4);
/// A mean of fewer commits says little.
const COMMITS_MIN: f64 = 5.0;

pub(super) async fn run(common: Common) -> Result<()> {
    let facts = common.server.facts();
    let mut commits = common
        .plan
        .commit_latency_max
        .zip(facts.commit_timer_query())
        .map(|(limit, query)| Commits {
            limit,
            query,
            last: None,
            mean_s: 0.0,
        });
    let redo = common.plan.checkpoint_age_max.zip(facts.redo_age_query());
    if commits.is_none() && redo.is_none() {
        common.board.remove(SLOT);
        return Ok(());
    }
    let mut asker = Asker::new(common.server.clone());
    loop {
        let mut readings = Vec::new();
        if let Some(commits) = &mut commits {
            readings.push(commits.look(&mut asker).await);
        }
        if let Some((limit, query)) = &redo {
            readings.push(redo_age(&mut asker, query, *limit).await);
        }
        common.board.post(SLOT, "engine", readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

/// The mean duration of the commits between two looks.
struct Commits {
    limit: Duration,
    query: &'static str,
    last: Option<(f64, f64)>,
    mean_s: f64,
}

impl Commits {
    async fn look(&mut self, asker: &mut Asker) -> Reading {
        const SOURCE: &str = "commit-latency";
        const SUBJECT: &str = "the primary";
        let (count, seconds) = match asker.first::<(f64, f64)>(self.query).await {
            Ok(row) => row.unwrap_or_default(),
            Err(failure) => {
                return Reading::trouble(SOURCE, SUBJECT, cannot_be_asked(&failure));
            }
        };
        let (last_count, last_seconds) = self.last.unwrap_or((count, seconds));
        if count - last_count >= COMMITS_MIN {
            self.mean_s = (seconds - last_seconds).max(0.0) / (count - last_count);
            self.last = Some((count, seconds));
        } else if self.last.is_none() || count < last_count {
            self.last = Some((count, seconds));
        } else {
            // Too few to say: what was known fades, so that an idle server does not stop the copy.
            self.mean_s *= 0.5;
        }
        Reading::graded(
            SOURCE,
            SUBJECT,
            self.mean_s * 1e3,
            self.limit.as_secs_f64() * 1e3,
            "ms",
        )
    }
}

async fn redo_age(asker: &mut Asker, query: &str, limit: f64) -> Reading {
    const SOURCE: &str = "checkpoint-age";
    const SUBJECT: &str = "the redo log";
    match asker.first::<(f64, f64)>(query).await {
        Ok(Some((age, capacity))) if capacity > 0.0 => {
            // Ages of a healthy busy server lie shortly below the limit: slowing down on the way to
            // it would cost speed for nothing.
            Reading {
                release: 0.95,
                ..Reading::switch(SOURCE, SUBJECT, age / capacity * 100.0, limit * 100.0, "%")
            }
        }
        Ok(_) => Reading::trouble(SOURCE, SUBJECT, "has no size in the server's status"),
        Err(failure) => Reading::trouble(SOURCE, SUBJECT, cannot_be_asked(&failure)),
    }
}
