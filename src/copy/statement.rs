//! The copy of one chunk.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::judge::{self, Verdict};
use super::{CopyMode, CopyPlan, described, offenders};
use crate::chunk::Chunk;
use crate::coordinates::GtidSet;
use crate::failure::{Context, Failure, Result};
use crate::interlock::{Interlock, OpenChunk};
use crate::mysql::error::is_transaction_too_large;
use crate::mysql::{Outcome, Purpose, Session, quote};
use crate::progress::Progress;
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

/// What the workers of a copy share.
pub(super) struct CopyWork {
    plan: CopyPlan,
    interlock: Arc<Interlock>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

impl CopyWork {
    pub(super) fn new(
        plan: CopyPlan,
        interlock: Arc<Interlock>,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> CopyWork {
        CopyWork {
            plan,
            interlock,
            progress,
            cancel,
        }
    }

    /// The statement for a chunk, with a locking clause or without.
    fn statement(&self, chunk: &Chunk, locking: &str) -> String {
        insert_select(&self.plan, chunk, locking)
    }

    fn locking_clause(&self, patient: bool) -> &'static str {
        let facts = self.plan.server.facts();
        match self.plan.mode {
            CopyMode::LockFree => "",
            CopyMode::Locking if patient => facts.share_lock(),
            // Waiting for a row while holding others could stall the application, or deadlock with it.
            CopyMode::Locking => facts.share_lock_nowait().unwrap_or(facts.share_lock()),
        }
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

    /// Reads the warnings of the chunk's statement, and commits or rolls back.
    async fn settle(
        &self,
        session: &mut Session,
        chunk: &Chunk,
        outcome: Outcome,
    ) -> Result<Worked> {
        let verdict = if outcome.warnings == 0 {
            Verdict::default()
        } else {
            judge::verdict(
                outcome.warnings,
                &session.warnings().await?,
                &self.plan.key,
                &self.plan.ghost,
            )
        };
        if verdict.incomplete {
            session.execute("ROLLBACK").await?;
            return Ok(Worked::Split {
                rows_max: ROWS_WITH_ALL_WARNINGS,
            });
        }
        if verdict.does_not_fit {
            session.execute("ROLLBACK").await?;
            return Err(offenders::name_them(session, &self.plan, chunk).await?);
        }
        session.execute("COMMIT").await?;
        let rows = outcome.records.unwrap_or(outcome.affected);
        self.progress.rows_copied.add(rows);
        self.progress.rows_inserted.add(outcome.affected);
        Ok(Worked::Done {
            rows,
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

    async fn work(&self, session: &mut Session, chunk: &Chunk, patient: bool) -> Result<Worked> {
        let statement = self.statement(chunk, self.locking_clause(patient));
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
        let result = match session.execute(&statement).await {
            Ok(outcome) => self.settle(session, chunk, outcome).await,
            Err(failure) => Err(failure),
        };
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
            }),
            other => other.doing(what),
        }
    }
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
pub(super) fn insert_select(plan: &CopyPlan, chunk: &Chunk, locking: &str) -> String {
    let table = Keyed {
        table: &plan.original.name,
        key: &plan.key,
        side: Side::Source,
    };
    let expressions: Vec<String> = plan
        .map
        .pairs
        .iter()
        .map(|pair| pair.select_expression())
        .collect();
    format!(
        "INSERT IGNORE INTO {} ({}) SELECT {} FROM {} WHERE {} ORDER BY {} {locking}",
        quote::table(&plan.ghost.name),
        quote::idents(plan.map.target_names()),
        expressions.join(", "),
        table.from_clause(),
        bounds::within(&plan.key, Side::Source, chunk),
        bounds::order_by(&plan.key, Side::Source, false),
    )
}
