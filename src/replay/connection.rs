//! The connections that apply changes: opened anew when lost, and never two at work for one place.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::task::{Performed, Task};
use crate::failure::{Context, ErrorClass, Failure, Result};
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Server, Session};
use crate::progress::Count;

/// Statements of a flush: a thousand rows, five indexes, a cold and busy disk.
const STATEMENT_LIMIT: Duration = Duration::from_secs(300);
/// How long a statement under way may go on after a cancellation.
const CANCEL_GRACE: Duration = Duration::from_secs(3);
/// How long the remains of an earlier program may take to go.
const PREDECESSOR_LIMIT: Duration = Duration::from_secs(60);

/// Why a piece of work did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Cancelled: nothing is wrong.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// The result of a piece of work that may be cancelled.
pub(super) type Done<T> = std::result::Result<T, Stop>;

/// One of the connections that apply changes.
///
/// What is applied by a connection that was lost may still be going on in the server, and would come out
/// after what its successor applies. So each holds a user-level lock by its place's name, which the server
/// gives to the successor only when the predecessor has ended; the name depends on the table alone, so
/// that this holds for a program that was killed and started again too.
pub(super) struct Connection {
    server: Server,
    lock: String,
    compress: bool,
    session: Option<Session>,
    /// Whether the place was held before, by this program.
    opened: bool,
}

impl Connection {
    /// A connection for a place; opened at first use.
    pub(super) fn new(server: Server, lock: String, compress: bool) -> Connection {
        Connection {
            server,
            lock,
            compress,
            session: None,
            opened: false,
        }
    }

    /// The server's id of the connection, if it is open.
    pub(super) fn id(&self) -> Option<u32> {
        self.session.as_ref().map(Session::id)
    }

    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    /// Performs something idempotent; tries again what may pass, on a new connection if need be.
    pub(super) async fn perform(
        &mut self,
        task: &Task<'_>,
        retries: &Count,
        cancel: &CancellationToken,
    ) -> Done<Performed> {
        let mut endurance = Endurance::default();
        loop {
            let failure = match self.attempt(task, cancel).await {
                Ok(performed) => return Ok(performed),
                Err(failure) => failure,
            };
            if task.hands_back(&failure) {
                return Ok(Performed::Refused(failure));
            }
            retries.add(1);
            if !endurance.endure(failure, cancel).await? {
                return Err(Stop::Cancelled);
            }
        }
    }

    async fn attempt(&mut self, task: &Task<'_>, cancel: &CancellationToken) -> Result<Performed> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open(cancel).await?,
        };
        let id = session.id();
        let performed = finish_or_kill(
            &self.server,
            id,
            cancel,
            CANCEL_GRACE,
            task.perform(&mut session, true),
        )
        .await;
        // A connection that is lost is closed, one that may still be in a transaction was rolled back.
        if !performed.as_ref().is_err_and(Failure::is_disconnected) {
            self.session = Some(session);
        }
        performed
    }

    async fn open(&mut self, cancel: &CancellationToken) -> Result<Session> {
        let mut session = self.server.session(Purpose::Apply).await?;
        session.set_limit(STATEMENT_LIMIT);
        self.take_place(&mut session, cancel).await?;
        if self.server.facts().share_lock_nowait().is_none() {
            // Rows that somebody has locked cannot be refused at once: the least wait there is.
            session
                .execute("SET SESSION innodb_lock_wait_timeout = 1")
                .await?;
        }
        if self.compress && self.server.facts().can_compress_transactions() {
            // Needs a privilege that not every account has, and is nothing but a saving.
            let compressed = session
                .execute("SET SESSION binlog_transaction_compression = ON")
                .await;
            if let Err(failure) = compressed {
                if failure.is_disconnected() {
                    return Err(failure);
                }
                tracing::debug!(
                    event = "no_compression",
                    "own changes are not compressed: {failure}"
                );
            }
        }
        self.opened = true;
        Ok(session)
    }

    /// Waits until whoever had the place before has ended.
    async fn take_place(&self, session: &mut Session, cancel: &CancellationToken) -> Result<()> {
        let start = Instant::now();
        loop {
            let taken: Option<i64> = session
                .one(&format!("SELECT GET_LOCK('{}', 1)", self.lock))
                .await
                .doing(|| format!("take the lock {} as the only one to apply", self.lock))?;
            if taken == Some(1) {
                return Ok(());
            }
            if cancel.is_cancelled() {
                return Err(Failure::from_server(
                    ErrorClass::Killed,
                    None,
                    "cancelled while waiting for an earlier connection to end",
                ));
            }
            if self.opened {
                // Ours, which we have lost: whatever it still does is done again.
                let holder: Option<Option<u32>> = session
                    .first(&format!("SELECT IS_USED_LOCK('{}')", self.lock))
                    .await?;
                if let Some(Some(holder)) = holder {
                    self.server.kill_connection(holder).await?;
                }
            }
            if start.elapsed() >= PREDECESSOR_LIMIT {
                return Err(Failure::failed(format!(
                    "another connection still holds the lock {}: somebody else applies changes to this \
                     ghost table",
                    self.lock
                ))
                .remedy("see that no other changeling works on this table, then start again"));
            }
        }
    }
}
