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
    let mut commits = Commits::default();
    let mut asker = Asker::new(common.server.clone());
    loop {
        let (commit_limit, redo_limit) = {
            let tunables = common.tunables.borrow();
            (tunables.commit_latency_max, tunables.checkpoint_age_max)
        };
        let mut readings = Vec::new();
        match (commit_limit, facts.commit_timer_query()) {
            (Some(limit), Some(query)) => {
                readings.push(commits.look(&mut asker, query, limit).await);
            }
            (Some(_), None) => readings.push(Reading::trouble(
                COMMIT_LATENCY,
                COMMITS,
                "cannot be timed: performance_schema is OFF (`set max-commit-latency none` goes on \
                 without)",
            )),
            (None, _) => commits = Commits::default(),
        }
        if let (Some(limit), Some(query)) = (redo_limit, facts.redo_age_query()) {
            readings.push(redo_age(&mut asker, query, limit).await);
        }
        common.board.post(SLOT, "engine", readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

const COMMIT_LATENCY: &str = "commit-latency";
const COMMITS: &str = "commits on the primary";

/// The mean duration of the commits between two looks.
#[derive(Default)]
struct Commits {
    last: Option<(f64, f64)>,
    mean_s: f64,
}

impl Commits {
    async fn look(&mut self, asker: &mut Asker, query: &str, limit: Duration) -> Reading {
        let (count, seconds) = match asker.first::<(f64, f64)>(query).await {
            Ok(row) => row.unwrap_or_default(),
            Err(failure) => {
                return Reading::trouble(COMMIT_LATENCY, COMMITS, cannot_be_asked(&failure));
            }
        };
        self.count(count, seconds);
        Reading::graded(
            COMMIT_LATENCY,
            COMMITS,
            self.mean_s * 1e3,
            limit.as_secs_f64() * 1e3,
            "ms",
        )
    }

    /// Takes in the number of commits so far and the seconds they took.
    fn count(&mut self, count: f64, seconds: f64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_commits_since_the_last_look() {
        let mut commits = Commits::default();
        commits.count(100.0, 10.0);
        assert_eq!(commits.mean_s, 0.0);
        commits.count(110.0, 12.0);
        assert_eq!(commits.mean_s, 0.2);
        commits.count(112.0, 12.1);
        assert_eq!(commits.mean_s, 0.1, "too few to say");
        // The server was restarted.
        commits.count(3.0, 0.1);
        commits.count(13.0, 0.2);
        assert!((commits.mean_s - 0.01).abs() < 1e-9);
    }
}
