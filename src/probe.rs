//! What the application feels: short statements of our own, like the application's, timed all the time, and
//! the application's own statements where the server counts them.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::changelog;
use crate::failure::{Failure, Result};
use crate::key::Key;
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::TableName;
use crate::schema::MigrationKey;
use crate::walk::bounds::{End, Side};
use crate::walk::chunker::Keyed;

/// Times that are kept; beyond that every second one is.
const TIMES_MAX: usize = 20_000;
/// The hint of the row in the changelog table that the write probe writes.
const HINT: &str = "probe";

/// Times of one kind of statement.
#[derive(Clone, Debug, Default)]
pub struct Times {
    micros: Vec<u32>,
    max: u32,
    count: u64,
    stride: u64,
}

/// Their distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// 99 of 100 were faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.max = self.max.max(micros);
        self.count += 1;
        if self.count.is_multiple_of(self.stride.max(1)) {
            self.micros.push(micros);
        }
        if self.micros.len() > TIMES_MAX {
            let mut keep = false;
            self.micros.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.max(1) * 2;
        }
    }

    /// The distribution; `None` without any.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| f64::from(sorted[(last as f64 * share) as usize]) / 1e3;
        Some(Percentiles {
            count: self.count,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: f64::from(self.max) / 1e3,
        })
    }
}

/// Two statements, as an application has them: a row read by its key, a row written and committed.
pub struct Probe {
    session: Session,
    original: TableName,
    changelog: TableName,
    key: MigrationKey,
    keys: Vec<Key>,
    next: usize,
}

impl Probe {
    /// Opens the session. `keys`: where rows are read, in turn.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(
        server: &Server,
        original: &TableName,
        changelog: &TableName,
        key: &MigrationKey,
        keys: Vec<Key>,
    ) -> Result<Probe> {
        Ok(Probe {
            session: server.session(Purpose::Monitor).await?,
            original: original.clone(),
            changelog: changelog.clone(),
            key: key.clone(),
            keys,
            next: 0,
        })
    }

    /// Reads one row of the original; how long that took.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn read(&mut self) -> Result<Duration> {
        let keyed = Keyed {
            table: &self.original,
            key: &self.key,
            side: Side::Source,
        };
        let lower = self.keys.get(self.next).map(|key| End {
            key,
            included: true,
        });
        self.next = (self.next + 1) % self.keys.len().max(1);
        let since = Instant::now();
        keyed.key_at(&mut self.session, lower, None, 0).await?;
        Ok(since.elapsed())
    }

    /// Writes one row of our own table and commits; how long that took.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn write(&mut self) -> Result<Duration> {
        let value = crate::change::now_micros().to_string();
        let since = Instant::now();
        changelog::write_state(&mut self.session, &self.changelog, HINT, &value).await?;
        Ok(since.elapsed())
    }

    /// Closes the session.
    pub async fn close(self) {
        self.session.close().await;
    }
}

/// How often statements on a table have run, and how long they took together, since the server started
/// counting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    statements: f64,
    seconds: f64,
}

impl Counted {
    /// The application's statements on the table so far: those of sessions whose default schema is the
    /// table's, as ours is not. `None` where the server does not count them (performance_schema is off)
    /// or does not let us see it.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn so_far(session: &mut Session, table: &TableName) -> Result<Option<Counted>> {
        if !session.server().facts().is_on("performance_schema") {
            return Ok(None);
        }
        let sql = format!(
            "SELECT CAST(COALESCE(SUM(COUNT_STAR), 0) AS DOUBLE), \
             CAST(COALESCE(SUM(SUM_TIMER_WAIT), 0) / 1e12 AS DOUBLE) \
             FROM performance_schema.events_statements_summary_by_digest \
             WHERE SCHEMA_NAME = {} AND INSTR(DIGEST_TEXT, {}) > 0 AND DIGEST_TEXT NOT LIKE 'ALTER%'",
            quote::string(&table.schema),
            quote::string(&quote::ident(&table.table)),
        );
        match session.one::<(f64, f64)>(&sql).await {
            Ok((statements, seconds)) => Ok(Some(Counted {
                statements,
                seconds,
            })),
            Err(failure) if failure.code().is_some() && !failure.is_disconnected() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Their mean time from then until now, milliseconds, and their number; `None` if there were none.
    pub fn since(self, then: Counted) -> Option<(f64, u64)> {
        let statements = self.statements - then.statements;
        (statements >= 1.0).then(|| {
            (
                1e3 * (self.seconds - then.seconds) / statements,
                statements as u64,
            )
        })
    }
}

/// Counts the rows of a table, if that is done within `limit`; `None` if not.
///
/// # Errors
/// What the server answered.
pub async fn count_rows(
    server: &Server,
    table: &TableName,
    limit: Duration,
) -> Result<Option<u64>> {
    let mut session = server.session(Purpose::Monitor).await?;
    // Past the limit the session kills its own statement.
    session.set_limit(limit);
    let counted: Result<u64> = session
        .one(&format!("SELECT COUNT(*) FROM {}", quote::table(table)))
        .await;
    match counted {
        Ok(rows) => {
            session.close().await;
            Ok(Some(rows))
        }
        Err(failure) if Failure::is_disconnected(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded_and_the_slowest_is_kept() {
        let mut times = Times::default();
        assert_eq!(times.percentiles(), None);
        for micros in 1..=100_000 {
            times.push(Duration::from_micros(micros));
        }
        let seen = times.percentiles().unwrap();
        assert_eq!((seen.count, seen.max_ms), (100_000, 100.0));
        assert!(
            (seen.p50_ms - 50.0).abs() < 2.0 && (seen.p99_ms - 99.0).abs() < 2.0,
            "{seen:?}"
        );
        assert!(times.micros.len() <= TIMES_MAX + 1);
    }

    #[test]
    fn counted_statements_are_told_by_their_difference() {
        let at = |statements, seconds| Counted {
            statements,
            seconds,
        };
        assert_eq!(at(110.0, 1.5).since(at(100.0, 1.0)), Some((50.0, 10)));
        assert_eq!(at(100.0, 1.0).since(at(100.0, 1.0)), None);
    }
}
