//! The swap with one session: RENAME under its own LOCK TABLES (MySQL from 8.0.13).
//!
//! Why no write is lost: from the moment LOCK TABLES is granted until the RENAME is done, the session
//! never lets the original go, so nobody writes to it. Everything written before is in the binlog, the
//! marker comes after it, and what was received up to the marker is applied before the RENAME. If the
//! session dies, its locks go and nothing is renamed.

use std::time::Duration;

use tokio::time::Instant;

use super::CutOverPlan;
use super::attempt::{End, Log, Lost, judge};
use super::changes::LastChanges;
use super::crew::{bounded, end_connections, open_locker, open_watch, unlock};
use super::lock::Lock;
use super::report::Step;
use super::triggers::Trigger;
use crate::failure::Result;
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};

/// The sessions of this protocol, opened before the lock is asked for.
pub(super) struct LockAndRename {
    holder: Session,
    watch: Session,
}

impl LockAndRename {
    /// Opens the sessions.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(plan: &CutOverPlan) -> Result<LockAndRename> {
        Ok(LockAndRename {
            holder: open_locker(&plan.server, plan.budget).await?,
            watch: open_watch(&plan.server).await?,
        })
    }

    /// Connection ids of the sessions that a lost attempt may have left behind.
    pub fn ids(&self) -> Vec<u32> {
        vec![self.holder.id(), self.watch.id()]
    }

    pub async fn close(self) {
        self.holder.close().await;
        self.watch.close().await;
    }

    /// One attempt. All locks are given back when it returns, or their session is ended.
    ///
    /// # Errors
    /// An error that another attempt would meet again.
    pub async fn attempt<C: LastChanges>(
        &mut self,
        plan: &CutOverPlan,
        changes: &C,
        lock_wait: Duration,
        triggers: &[Trigger],
        log: &mut Log,
    ) -> Result<End> {
        let asked = log.asked();
        let until = asked + plan.budget;
        let begin_by = asked + plan.budget_to_begin();
        let lock = Lock {
            names: &plan.names,
            ghost: &plan.names.ghost,
            lock_until: asked + lock_wait,
            until: begin_by,
            rows_max: plan.rest_rows_max(),
            triggers,
        };
        let prepared = lock
            .hold(&mut self.holder, None, &mut self.watch, changes, log)
            .await;
        if let Err(failure) = prepared {
            let over = Instant::now() >= begin_by;
            let step = log.step();
            return self.give_back(log, judge(failure, step, over)).await;
        }
        log.begin(Step::Rename);
        let names = &plan.names;
        let rename = format!(
            "{OWN_DDL}RENAME TABLE {original} TO {old}, {ghost} TO {original}",
            original = quote::table(&names.original),
            old = quote::table(&names.old),
            ghost = quote::table(&names.ghost),
        );
        let id = self.holder.id();
        let renamed = bounded(&mut self.watch, id, until, self.holder.execute(&rename)).await;
        let end = match renamed {
            Ok(_) => End::Swapped,
            // Also an error that seems clear: asking costs little, believing could cost rows.
            Err(failure) => End::Lost(Lost {
                failure,
                step: Step::Rename,
                over: Instant::now() >= until,
            }),
        };
        self.give_back(log, Ok(end)).await
    }

    async fn give_back(&mut self, log: &mut Log, end: Result<End>) -> Result<End> {
        log.begin(Step::Unlock);
        let unlocked = match &end {
            // The client has lost it; the server may still think otherwise, and hold the locks.
            Ok(End::Lost(lost)) if lost.failure.is_disconnected() => {
                end_connections(self.watch.server(), &[self.holder.id()]).await
            }
            _ => unlock(&mut self.holder).await,
        };
        log.released();
        match (unlocked, end) {
            (Ok(()), end) => end,
            // What was renamed is renamed; the session is not used again.
            (Err(_), Ok(End::Swapped)) => Ok(End::Swapped),
            (Err(failure), Ok(_)) => Ok(End::Lost(Lost {
                failure,
                step: Step::Unlock,
                over: false,
            })),
            (Err(_), Err(failure)) => Err(failure),
        }
    }
}
