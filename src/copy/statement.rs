//! The copy of one chunk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::judge::{self, Meaning};
use super::sift::{self, Sift};
use super::{CopyMode, CopyPlan, described, offenders};
use crate::chunk::Chunk;
use crate::coordinates::GtidSet;
use crate::failure::{Context, Evidence, Failure, Result};
use crate::interlock::{Interlock, OpenChunk};
use crate::mysql::error::is_transaction_too_large;
use crate::mysql::{Outcome, Purpose, Session, quote};
use crate::progress::Progress;
use crate::schema::{Column, Fill};
use crate::walk::bounds::{self, Side};
use crate::walk::chunker::Keyed;
use crate::walk::{ChunkWork, Worked};

/// No chunk should take so long; one that does is killed and done again, smaller.
const STATEMENT_LIMIT: Duration = Duration::from_secs(600);
/// How long one wait for received transactions to become visible lasts on the server; repeated until
/// they are, or until cancelled.
const VISIBLE_WAIT_S: u32 = 1;
/// Rows of a piece whose warnings are sure to be shown all: the server keeps `max_error_count` of them
/// (1024 in our sessions), and a row may have more than one.
const ROWS_WITH_ALL_WARNINGS: u64 = 400;

/// So many of a refused chunk's warnings are told.
const WARNINGS_TOLD: usize = 20;

/// Which rows of a chunk its statement selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Every one.
    All,
    /// Those that are not in the ghost yet, see [`sift`].
    Missing,
}

/// What the workers of a copy share.
pub(super) struct CopyWork {
    plan: CopyPlan,
    interlock: Arc<Interlock>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    /// Held by the one worker that inserts, where the server lets only one insert at a time.
    turn: Option<Mutex<()>>,
    sift: Sift,
}

impl CopyWork {
    pub(super) fn new(
        plan: CopyPlan,
        interlock: Arc<Interlock>,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> CopyWork {
        let serial = serialised(&plan);
        if serial {
            tracing::info!(
                event = "auto_increment_lock",
                "chunks are inserted one after the other, since innodb_autoinc_lock_mode is not 2 and {} has \
                 an AUTO_INCREMENT column; their commits overlap",
                plan.ghost.name
            );
        }
        CopyWork {
            turn: serial.then(Mutex::default),
            sift: Sift::new(&plan),
            plan,
            interlock,
            progress,
            cancel,
        }
    }

    /// Reads the chunk's rows into the ghost; the transaction stays open. Returns with how long it took.
    async fn insert(
        &self,
        session: &mut Session,
        chunk: &Chunk,
        patient: bool,
        rows: Rows,
    ) -> Result<(Outcome, Duration)> {
        let facts = self.plan.server.facts();
        // Waiting for a row while holding others could stall the application, or deadlock with it.
        let impatient = match facts.share_lock_nowait() {
            Some(nowait) if !patient => nowait,
            _ => facts.share_lock(),
        };
        let turn = match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let began = Instant::now();
        let locking = match (self.plan.mode, &turn) {
            (CopyMode::LockFree, _) => "",
            (CopyMode::Locking, None) => impatient,
            (CopyMode::Locking, Some(_)) => {
                // NOWAIT would refuse to wait for the AUTO-INC lock too, which replay holds in turn: the
                // rows are locked first, by a statement that inserts nothing.
                session.execute(&self.count_rows(chunk, impatient)).await?;
                facts.share_lock()
            }
        };
        let outcome = session
            .execute_surely(&insert_select(&self.plan, chunk, locking, rows))
            .await?;
        Ok((outcome, began.elapsed()))
    }

    /// How many rows the original has in the chunk.
    fn count_rows(&self, chunk: &Chunk, locking: &str) -> String {
        let table = Keyed {
            table: &self.plan.original.name,
            key: &self.plan.key,
            side: Side::Source,
        };
        format!(
            "SELECT COUNT(*) FROM {} WHERE {} {locking}",
            table.from_clause(),
            bounds::within(&self.plan.key, Side::Source, chunk),
        )
    }

    /// Opens the chunk in the interlock and proves that everything received before is visible: from
    /// then until the guard is dropped, changes in the chunk are held back.
    async fn open<'a>(&'a self, session: &mut Session, chunk: &Chunk) -> Result<OpenChunk<'a>> {
        let open = self.interlock.open(chunk);
        let received = self.interlock.unconfirmed();
        if !received.is_empty() {
            self.await_visible(session, &received).await?;
            self.interlock.confirm(&received);
        }
        Ok(open)
    }

    async fn await_visible(&self, session: &mut Session, received: &GtidSet) -> Result<()> {
        // 0: all of them are in @@gtid_executed; 1: timeout (manual, "Functions Used with GTIDs").
        let sql = format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {VISIBLE_WAIT_S})",
            quote::string(&received.to_string())
        );
        loop {
            let timed_out: u8 = session
                .one(&sql)
                .await
                .doing(|| "wait until received transactions are visible")?;
            if timed_out == 0 {
                return Ok(());
            }
            if self.cancel.is_cancelled() {
                return Err(Failure::failed("cancelled while waiting"));
            }
        }
    }

    async fn attempt(
        &self,
        session: &mut Session,
        chunk: &Chunk,
        patient: bool,
        rows: Rows,
    ) -> Result<Worked> {
        let inserted = self.insert(session, chunk, patient, rows).await?;
        self.settle(session, chunk, rows, inserted).await
    }

    /// Reads the warnings of the chunk's statement, and commits or rolls back.
    async fn settle(
        &self,
        session: &mut Session,
        chunk: &Chunk,
        rows: Rows,
        (outcome, inserted_in): (Outcome, Duration),
    ) -> Result<Worked> {
        let (key, ghost) = (&self.plan.key, &self.plan.ghost);
        let shown = match outcome.warnings {
            0 => Vec::new(),
            _ => session.warnings().await?,
        };
        let verdict = judge::verdict(outcome.warnings, &shown, key, ghost);
        if verdict.incomplete {
            session.execute("ROLLBACK").await?;
            return Ok(Worked::Split {
                rows_max: ROWS_WITH_ALL_WARNINGS,
                why: None,
            });
        }
        if verdict.does_not_fit {
            session.execute("ROLLBACK").await?;
            let failure = offenders::name_them(session, &self.plan, chunk).await?;
            let told = shown
                .into_iter()
                .filter(|warning| judge::meaning(warning, key, ghost) != Meaning::Harmless)
                .take(WARNINGS_TOLD)
                .map(|warning| Evidence::CopyWarning {
                    code: warning.code,
                    message: warning.message,
                });
            return Err(told.fold(failure, Failure::evidence));
        }
        let inserted = outcome.affected;
        let rows = match rows {
            Rows::All => outcome.records.unwrap_or(inserted),
            // Those that were there are rows of the table too.
            Rows::Missing => session.one(&self.count_rows(chunk, "")).await?,
        };
        self.sift.met(rows, inserted);
        let began = Instant::now();
        session.execute("COMMIT").await?;
        self.progress.rows_copied.add(rows);
        self.progress.rows_inserted.add(inserted);
        Ok(Worked::Done {
            rows,
            took: inserted_in + began.elapsed(),
            suspect: verdict.other_duplicates,
        })
    }
}

impl ChunkWork for CopyWork {
    fn purpose(&self) -> Purpose {
        Purpose::Copy
    }

    async fn prepare(&self, session: &mut Session) -> Result<()> {
        prepare(session, self.plan.compress).await
    }

    /// A locking read of a range also locks the row behind it for a moment, and so would wait for it while
    /// holding this one. Rows that come into the range meanwhile come by replay.
    fn by_single_keys(&self) -> bool {
        true
    }

    async fn work(&self, session: &mut Session, chunk: &Chunk, patient: bool) -> Result<Worked> {
        let what = || {
            format!(
                "copy {}",
                described(&self.plan.original.name, &self.plan.ghost.name)
            )
        };
        // Kept until the transaction has ended.
        let _open = match self.plan.mode {
            CopyMode::LockFree => Some(self.open(session, chunk).await?),
            CopyMode::Locking => None,
        };
        let rows = match self.sift.is_on() {
            true => Rows::Missing,
            false => Rows::All,
        };
        let mut result = self.attempt(session, chunk, patient, rows).await;
        if let (Ok(Worked::Split { why: None, .. }), Rows::All) = (&result, rows)
            && self.sift.met_too_many()
        {
            result = self.attempt(session, chunk, patient, Rows::Missing).await;
        }
        if result
            .as_ref()
            .is_err_and(|failure| !failure.is_disconnected())
        {
            // A lock wait timeout undoes its statement only; whatever the reason, nothing may stay open.
            session.execute("ROLLBACK").await?;
        }
        match result {
            Err(failure) if is_transaction_too_large(&failure) => Ok(Worked::Split {
                rows_max: (chunk.rows_expected / 4).max(1),
                why: Some(failure),
            }),
            other => other.doing(what),
        }
    }
}

/// Whether an `INSERT … SELECT` into the ghost takes its AUTO-INC lock until the statement's end. Then
/// side by side they would only wait for each other, holding row locks of the original meanwhile. (Seen
/// on MariaDB 10.11, 500,000 rows, two cores: one worker 3.0 s, four without the AUTO_INCREMENT column
/// 1.7 s; adding the attribute after the copy would rebuild the table; a loop of single-row inserts in
/// the server, which does not take the lock, needs twice the time of a statement.)
fn serialised(plan: &CopyPlan) -> bool {
    plan.server.facts().serialises_auto_increment()
        && plan.ghost.columns.iter().any(Column::auto_increment)
}

/// Prepares a session of the copy.
pub(super) async fn prepare(session: &mut Session, compress: bool) -> Result<()> {
    session.set_limit(STATEMENT_LIMIT);
    // A statement's warnings are read before its transaction ends. English words, since the name of a
    // duplicate's key is read from them.
    session
        .execute("SET SESSION autocommit = 0, lc_messages = 'en_US'")
        .await?;
    if compress && session.server().facts().can_compress_transactions() {
        let answer = session
            .execute("SET SESSION binlog_transaction_compression = ON")
            .await;
        if let Err(failure) = answer {
            if failure.is_disconnected() {
                return Err(failure);
            }
            // It needs SESSION_VARIABLES_ADMIN, and is an economy only.
            tracing::debug!(
                event = "not_compressed",
                "chunks go uncompressed into the binlog: {failure}"
            );
        }
    }
    Ok(())
}

/// `INSERT IGNORE INTO ghost (…) SELECT … FROM original WHERE range`, in the order of the key, so that
/// neighbouring chunks do not take the ghost's pages from each other.
pub(super) fn insert_select(plan: &CopyPlan, chunk: &Chunk, locking: &str, rows: Rows) -> String {
    let table = Keyed {
        table: &plan.original.name,
        key: &plan.key,
        side: Side::Source,
    };
    let fill = Fill::of(&plan.map);
    format!(
        "INSERT IGNORE INTO {} ({}{}) SELECT {}{} FROM {} WHERE {}{}{} {locking}",
        quote::table(&plan.ghost.name),
        quote::idents(plan.map.target_names()),
        fill.columns,
        plan.map.select_list(),
        fill.values,
        table.from_clause(),
        bounds::within(&plan.key, Side::Source, chunk),
        match rows {
            Rows::All => String::new(),
            Rows::Missing => sift::condition(plan, chunk),
        },
        bounds::ordered(&plan.key, Side::Source, chunk),
    )
}
