//! Copies single rows again, over what the ghost has of them: for a ghost that has missed changes.
//!
//! Rows of the original are locked as long as it takes, and what is in the ghost goes first. So a change
//! that replay has applied already, but whose commit is not visible yet, is waited for; one that comes
//! later is applied over what is put here. (A row that is inserted meanwhile cannot be locked, since it is
//! not there: its change comes later too, or waits for the ghost's row that was deleted here.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::error::does_not_fit;
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::TableName;
use crate::schema::{ColumnMap, Fill, MigrationKey};
use crate::walk::bounds::{self, Side, SidedKey};

/// Keys of one transaction. (MariaDB turns lists of 1000 and more into joins.)
const KEYS_AT_ONCE: usize = 200;

/// Copies rows again.
pub struct Repairer {
    server: Server,
    original: TableName,
    ghost: TableName,
    map: Arc<ColumnMap>,
    key: Arc<MigrationKey>,
    cancel: CancellationToken,
    /// Sessions that nobody uses just now.
    sessions: Mutex<Vec<Session>>,
    rows: AtomicU64,
}

impl Repairer {
    /// For these tables; ends early when cancelled.
    pub fn new(
        server: Server,
        original: TableName,
        ghost: TableName,
        map: Arc<ColumnMap>,
        key: Arc<MigrationKey>,
        cancel: CancellationToken,
    ) -> Repairer {
        Repairer {
            server,
            original,
            ghost,
            map,
            key,
            cancel,
            sessions: Mutex::default(),
            rows: AtomicU64::new(0),
        }
    }

    /// How many rows were asked for so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Makes the ghost's rows of these keys what the original's are now.
    ///
    /// # Errors
    /// [`FailureKind::DoesNotFit`] where the ghost cannot hold a row; what the server answered.
    pub async fn put_right(&self, keys: &[SidedKey]) -> Result<()> {
        for some in keys.chunks(KEYS_AT_ONCE) {
            let mut endurance = Endurance::default();
            loop {
                let failure = match self.attempt(some).await {
                    Ok(()) => break,
                    Err(failure) => failure,
                };
                if !endurance.endure(failure, &self.cancel).await? {
                    return Ok(());
                }
            }
            self.rows.fetch_add(some.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn attempt(&self, keys: &[SidedKey]) -> Result<()> {
        let mut session = match self.sessions.lock().await.pop() {
            Some(session) => session,
            None => self.server.session(Purpose::Copy).await?,
        };
        let done = self.transaction(&mut session, keys).await;
        if done.is_err() && session.execute("ROLLBACK").await.is_err() {
            // The connection is gone, and with it the transaction.
            return done;
        }
        self.sessions.lock().await.push(session);
        done
    }

    async fn transaction(&self, session: &mut Session, keys: &[SidedKey]) -> Result<()> {
        let share = session.server().facts().share_lock();
        let from = format!(
            "FROM {} FORCE INDEX ({}) WHERE {} {share}",
            quote::table(&self.original),
            Side::Source.index(&self.key),
            bounds::any_of_sided(&self.key, Side::Source, keys),
        );
        let fill = Fill::of(&self.map);
        session.execute("START TRANSACTION").await?;
        // First, so that nothing of the ghost is locked while the application is waited for.
        let _: Vec<u8> = session.query(&format!("SELECT 1 {from}")).await?;
        session
            .execute(&format!(
                "DELETE FROM {} WHERE {}",
                quote::table(&self.ghost),
                bounds::any_of_sided(&self.key, Side::Target, keys),
            ))
            .await?;
        session
            .execute(&format!(
                "REPLACE INTO {} ({}{}) SELECT {}{} {from}",
                quote::table(&self.ghost),
                quote::idents(self.map.target_names()),
                fill.columns,
                self.map.select_list(),
                fill.values,
            ))
            .await
            .map_err(unfit)
            .doing(|| format!("copy rows of {} again", self.original))?;
        session.execute("COMMIT").await.map(drop)
    }
}

fn unfit(failure: Failure) -> Failure {
    match does_not_fit(&failure) {
        true => failure.kind_is(FailureKind::DoesNotFit),
        false => failure,
    }
}
