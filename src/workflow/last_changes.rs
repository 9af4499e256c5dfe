//! What the cut-over asks of replay, answered by the engines of this run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::record::Record;
use super::run::{Run, stopped};
use crate::changelog;
use crate::cutover::{LastChanges, Readiness};
use crate::failure::{Context, ErrorClass, Failure, FailureKind, Result};
use crate::mysql::retry::enduring;
use crate::mysql::{Purpose, Server, Session};
use crate::names::{Names, TableName};
use crate::pace::Pace;
use crate::preflight::MigrationLock;
use crate::replay::Replay;
use crate::replay::backlog::Backlog;
use crate::replay::dirty::DirtyKeys;
use crate::verify::{self, Comparison};
use crate::walk::bounds::SidedKey;

/// How long the flush under way may take to come to its end. The application feels nothing of it.
const SUSPEND_LIMIT: Duration = Duration::from_secs(10);
/// How long the last changes may take to get through when replication has been stopped.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
/// A marker that is not written within this time (a backup keeps all writers) is given up: whoever waits for it
/// may have been told to stop. Longer than commits wait for a replica's acknowledgement (10 s by default).
const MARKER_LIMIT: Duration = Duration::from_secs(20);
/// So many of the keys changed last are compared once more under the lock: some milliseconds.
const LAST_KEYS_MAX: usize = 100;
/// So many rows that change all the time are compared under the lock, and not before.
const OWED_ROWS_MAX: usize = 50;
/// More rows than this cannot be compared within the budget.
const EVICTED_KEYS_MAX: usize = 2000;

/// Replay, the changelog and the throttle, as the cut-over sees them.
pub struct Rest {
    server: Server,
    names: Names,
    backlog: Arc<Backlog>,
    replay: Arc<Replay>,
    pace: watch::Receiver<Pace>,
    /// Writes markers; opened before the lock is asked for.
    marker_session: Mutex<Option<Session>>,
    markers: AtomicU64,
    changes_at_marker: AtomicU64,
    prefix: String,
    comparison: Arc<Comparison>,
    /// Rows that have changed whenever they were to be compared.
    owed: StdMutex<Vec<SidedKey>>,
    record: Arc<Record>,
    stop: CancellationToken,
    /// No swap without it, if there is one.
    lock: OnceLock<MigrationLock>,
}

impl Rest {
    /// The engines of a run. `prefix` makes markers unique among runs on one changelog table.
    pub fn new(
        run: &Run,
        backlog: Arc<Backlog>,
        replay: Arc<Replay>,
        pace: watch::Receiver<Pace>,
        prefix: String,
        comparison: Arc<Comparison>,
    ) -> Rest {
        Rest {
            server: run.server.clone(),
            names: run.names.clone(),
            backlog,
            replay,
            pace,
            marker_session: Mutex::new(None),
            markers: AtomicU64::new(0),
            changes_at_marker: AtomicU64::new(0),
            prefix,
            comparison,
            owed: StdMutex::default(),
            record: run.record.clone(),
            stop: run.stop.clone(),
            lock: OnceLock::new(),
        }
    }

    /// From now on a swap is only begun while this lock is held: its loss is noticed within some seconds
    /// otherwise, and another run may be at the ghost by then.
    pub fn swaps_under(&self, lock: MigrationLock) {
        // There is one lock to a run.
        let _ = self.lock.set(lock);
    }

    async fn marker_session(&self) -> Result<Session> {
        let mut session = self.server.session(Purpose::Monitor).await?;
        session.set_limit(MARKER_LIMIT);
        Ok(session)
    }

    /// Writes a marker and returns its name.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn write_marker(&self) -> Result<String> {
        let number = self.markers.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.prefix);
        let mut slot = self.marker_session.lock().await;
        let mut session = match slot.take() {
            Some(session) => session,
            None => self.marker_session().await?,
        };
        changelog::write_marker(&mut session, &self.names.changelog, &name).await?;
        *slot = Some(session);
        Ok(name)
    }
}

impl Rest {
    /// Keys that replay has changed and nobody has compared since.
    pub(super) fn replay_dirty(&self) -> &DirtyKeys {
        self.replay.dirty()
    }

    /// Takes a row over that changes all the time, if there is room and it will be compared under the lock.
    pub(super) fn owe(&self, row: &SidedKey) -> bool {
        if self.comparison.assigns() || !self.replay_dirty().contains(&row.key) {
            return false;
        }
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.contains(row) {
            return true;
        }
        let has_room = owed.len() < OWED_ROWS_MAX;
        if has_room {
            owed.push(row.clone());
        }
        has_room
    }

    fn owed(&self) -> Vec<SidedKey> {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.clone()
    }

    /// Stops replication on the server, which is a replica, and waits until the ghost has everything:
    /// then nothing changes any more.
    ///
    /// # Errors
    /// What the server answered; changes that do not get through.
    pub async fn stop_replication(&self, server: &Server) -> Result<()> {
        let mut session = server.session(Purpose::Monitor).await?;
        session
            .execute(server.facts().stop_replica())
            .await
            .doing(|| format!("stop replication on {}", server.address()))?;
        session.close().await;
        self.settle_all().await
    }

    /// Waits until everything that is in the binlog now is in the ghost.
    ///
    /// # Errors
    /// What the server answered; changes that do not get through.
    pub async fn settle_all(&self) -> Result<()> {
        let name = self.write_marker().await?;
        self.marker_applied(&name, SETTLE_LIMIT).await
    }

    /// Waits until everything before a marker is in the ghost.
    ///
    /// # Errors
    /// `limit` has passed.
    pub async fn marker_applied(&self, name: &str, limit: Duration) -> Result<()> {
        self.backlog.marker_applied(name, limit).await
    }

    /// Writes a marker and waits until it is back; returns the changes received before it.
    async fn marker_back(&self, deadline: Instant) -> Result<u64> {
        let name = self.write_marker().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.backlog
            .marker_received(&name, left)
            .await
            .map_err(|failure| {
                Failure::from_server(ErrorClass::Transient, None, failure.to_string())
                    .doing("wait for the marker to come back through the binlog")
            })
    }

    /// Compares the keys changed last and those that could not be compared before, under the lock.
    async fn compare_last(&self, session: &mut Session, ghost: &TableName) -> Result<()> {
        // Rows that had to go for others and are not known to be back must be looked at, all of them.
        let evicted = self.replay.evicted().look();
        let unseen = evicted.overflow || self.comparison.assigns();
        if evicted.keys.len() > EVICTED_KEYS_MAX
            || (unseen && (evicted.overflow || !evicted.keys.is_empty()))
        {
            return Err(Failure::from_server(
                ErrorClass::Transient,
                None,
                "rows had to go for others with the same unique value and are not back yet",
            ));
        }
        if self.comparison.assigns() {
            return Ok(());
        }
        let mut last = self.replay.keys_of_last_windows();
        let kept = LAST_KEYS_MAX + evicted.keys.len();
        last.drain(..last.len().saturating_sub(kept));
        let last = last.into_iter().map(SidedKey::of_original);
        let keys: Vec<SidedKey> = self.owed().into_iter().chain(last).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let comparison = self.comparison.for_ghost(ghost);
        let differing = verify::check_under_lock(session, &comparison, &keys).await?;
        if differing.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Difference,
            format!("rows changed last differ: {}", differing.join("; ")),
        )
        .remedy("nothing was swapped; report this with the log, and begin anew with --restart"))
    }
}

impl LastChanges for Rest {
    async fn receive_all(&self, deadline: Instant) -> Result<()> {
        self.marker_back(deadline).await.map(drop)
    }

    async fn quiesce(&self) -> Result<()> {
        if let Some(lock) = self.lock.get() {
            let ensured = enduring(&self.stop, || lock.ensure()).await?;
            ensured.ok_or_else(stopped)?;
        }
        let mut slot = self.marker_session.lock().await;
        if slot.is_none() {
            *slot = Some(self.marker_session().await?);
        }
        drop(slot);
        self.record.prepare_swap().await;
        self.replay.suspend(SUSPEND_LIMIT).await
    }

    async fn marker(&self, deadline: Instant) -> Result<()> {
        let changes = self.marker_back(deadline).await?;
        self.changes_at_marker.store(changes, Ordering::SeqCst);
        Ok(())
    }

    async fn arrived_since_marker(&self, deadline: Instant) -> Result<u64> {
        let changes = self.marker_back(deadline).await?;
        Ok(changes.saturating_sub(self.changes_at_marker.load(Ordering::SeqCst)))
    }

    async fn apply_rest(&self, session: &mut Session, ghost: &TableName) -> Result<u64> {
        let rest = self.replay.apply_rest(session, ghost).await?;
        self.replay.misfits().verdict()?;
        Ok(rest.rows as u64)
    }

    async fn check_last(&self, session: &mut Session, ghost: &TableName) -> Result<()> {
        // The original is locked: all of its changes are before these coordinates, and what follows is of
        // the table that takes its place. Side by side, since the application waits.
        let (checked, ()) = tokio::join!(
            self.compare_last(session, ghost),
            self.record.swapping(self.backlog.applied())
        );
        checked
    }

    fn resume(&self) {
        self.replay.resume();
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            lag: self.backlog.lag(),
            calm: self.backlog.calm(),
            backlog_rows: self.backlog.rows() as u64,
            hindrance: self
                .pace
                .borrow()
                .stop
                .as_ref()
                .map(|reason| format!("throttled: {reason}")),
        }
    }

    fn own_sessions(&self) -> Vec<u32> {
        self.replay.connection_ids()
    }
}
