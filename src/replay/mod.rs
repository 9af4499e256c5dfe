#![doc = include_str!("README.md")]

pub mod backlog;
mod connection;
pub mod dirty;
mod flush;
pub mod keep;
pub mod ledger;
pub mod misfits;
mod reread;
pub mod statements;
mod task;
pub mod uniqueness;
pub mod window;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio_util::sync::CancellationToken;

pub use backlog::{Backlog, BacklogLimits};
pub use dirty::{Dirty, DirtyKeys};
pub use misfits::Misfits;
pub use uniqueness::Uniqueness;
pub use window::KeyBytes;

use crate::failure::{Context, Evidence, Failure, Result};
use crate::key::Key;
use crate::mysql::{Server, Session};
use crate::names::TableName;
use crate::progress::Progress;
use crate::schema::{ColumnMap, MigrationKey};
use crate::tunables::Tunables;
use connection::{Connection, Stop};
use flush::{Flush, Hand, StatementLimits};
use keep::Keep;
use statements::Statements;
use window::Window;

/// While so few rows wait, a flush waits a little for more: fewer commits for the server, and a latency
/// that nobody notices.
const GATHER_ROWS: usize = 1000;
/// How long it waits.
const GATHER: Duration = Duration::from_millis(15);
/// Keys of the last windows that are kept for a last look.
const RECENT_KEYS_MAX: usize = 5000;
/// The most connections that apply.
pub const WORKERS_MAX: usize = 64;

/// What replay needs to know.
#[derive(Clone, Debug)]
pub struct ReplayPlan {
    /// Where both tables are.
    pub server: Server,
    /// The table whose changes are applied.
    pub original: TableName,
    /// The table they are applied to.
    pub ghost: TableName,
    /// Which column goes where.
    pub map: Arc<ColumnMap>,
    /// The key.
    pub key: Arc<MigrationKey>,
    /// What unique keys the ghost has.
    pub uniqueness: Uniqueness,
    /// Rows of a statement at most.
    pub statement_rows_max: usize,
    /// Whether its transactions are compressed in the binlog, where the server can.
    pub compress: bool,
    /// So many rows that do not fit the ghost are gathered; 0: the first one ends the run. Where they are,
    /// no row of the ghost goes for another, and rows keep what replay does not feed.
    pub misfits_max: usize,
}

impl ReplayPlan {
    /// Statements of at most 1,000 rows: beyond that they do not get faster, only longer.
    pub const STATEMENT_ROWS_MAX: usize = 1000;
}

/// What [`Replay::apply_rest`] did.
#[derive(Debug, Default)]
pub struct Rest {
    /// How many rows it applied.
    pub rows: usize,
    /// Rows of the ghost that stood in the way of others and are gone (only while evictions are
    /// watched).
    pub evicted: usize,
}

/// The engine; see the module's text.
#[derive(Debug)]
pub struct Replay {
    plan: ReplayPlan,
    statements: Statements,
    limits: StatementLimits,
    backlog: Arc<Backlog>,
    tunables: watch::Receiver<Tunables>,
    progress: Arc<Progress>,
    suspended: watch::Sender<bool>,
    /// Whether the engine stands still because it was suspended.
    parked: watch::Sender<bool>,
    /// Held by each flush, so that it is switched between two.
    watch_evictions: RwLock<bool>,
    misfits: Misfits,
    dirty: DirtyKeys,
    evicted: DirtyKeys,
    conflict: Mutex<Option<Evidence>>,
    recent: Mutex<VecDeque<Vec<KeyBytes>>>,
    connection_ids: Mutex<Vec<u32>>,
}

impl Replay {
    /// An engine that applies what comes into the backlog.
    pub fn new(
        plan: ReplayPlan,
        backlog: Arc<Backlog>,
        tunables: watch::Receiver<Tunables>,
        progress: Arc<Progress>,
    ) -> Arc<Replay> {
        let facts = plan.server.facts();
        let packet = facts.number("max_allowed_packet").unwrap_or(16 << 20);
        let keep = Keep::of(&plan.map);
        let keeps = plan.misfits_max > 0 && (keep.any() || plan.uniqueness == Uniqueness::Stricter);
        Arc::new(Replay {
            statements: Statements::new(
                facts,
                &plan.original,
                &plan.ghost,
                &plan.map,
                plan.key.clone(),
                plan.uniqueness,
                keeps.then_some(keep),
            ),
            misfits: Misfits::new(plan.misfits_max, progress.clone()),
            limits: StatementLimits {
                rows_max: plan.statement_rows_max.max(1),
                bytes_max: usize::try_from(packet / 4).unwrap_or(usize::MAX),
            },
            plan,
            backlog,
            tunables,
            progress,
            suspended: watch::Sender::new(false),
            parked: watch::Sender::new(false),
            watch_evictions: RwLock::new(false),
            dirty: DirtyKeys::default(),
            evicted: DirtyKeys::default(),
            conflict: Mutex::default(),
            recent: Mutex::default(),
            connection_ids: Mutex::default(),
        })
    }

    /// What is received and not applied, and where the stream is.
    pub fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// How far the ghost is behind; see [`Backlog::lag`].
    pub fn lag(&self) -> Option<Duration> {
        self.backlog.lag()
    }

    /// How many rows wait or are being applied.
    pub fn backlog_rows(&self) -> usize {
        self.backlog.rows()
    }

    /// From now on, where the ghost has a unique key that the original does not imply
    /// ([`Uniqueness::Stricter`]), a row that has to go for another is told: its key is recorded in
    /// [`Replay::evicted`] and [`Replay::dirty`]. To be switched on before the first row is verified;
    /// before that, verification sees everything. Waits for the flush under way. Cancellation-safe.
    pub async fn watch_evictions(&self, on: bool) {
        let mut watch = self.watch_evictions.write().await;
        if on && !*watch {
            self.evicted.record(RECORD_BYTES_MAX);
        }
        *watch = on;
    }

    /// Rows that do not fit the ghost now.
    pub fn misfits(&self) -> &Misfits {
        &self.misfits
    }

    /// Keys of rows that replay has changed, for those who must look again; it records when told to.
    pub fn dirty(&self) -> &DirtyKeys {
        &self.dirty
    }

    /// Keys of rows of the ghost that stood in the way of others and are gone, since evictions are
    /// watched: stale rows, whose own changes were still to come, or genuine duplicates. A key leaves the
    /// set when a change of its own is applied in a later flush; so all rows that are really missing are
    /// among these, and some that are back.
    pub fn evicted(&self) -> &DirtyKeys {
        &self.evicted
    }

    /// What the server said of the last row that another had to go for, if any had to.
    pub fn conflict(&self) -> Option<Evidence> {
        let conflict = self.conflict.lock().unwrap_or_else(PoisonError::into_inner);
        conflict.clone()
    }

    /// Keys of the rows of the last windows, a few thousand, and of all rows that had to go for others and
    /// may be missing ([`Replay::evicted`]); what deserves a last look under the lock most comes last.
    pub fn keys_of_last_windows(&self) -> Vec<Key> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent
            .iter()
            .flatten()
            .filter_map(|key| Key::from_bytes(key))
            .chain(self.evicted.look().keys)
            .collect()
    }

    /// The server's ids of the connections that apply.
    pub fn connection_ids(&self) -> Vec<u32> {
        self.ids().clone()
    }

    fn ids(&self) -> MutexGuard<'_, Vec<u32>> {
        self.connection_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the flush under way come to its end and then stands still: no connection of replay holds a
    /// lock or asks for one. Changes are still received. Cancellation-safe.
    ///
    /// # Errors
    /// `limit` has passed; replay then goes on.
    pub async fn suspend(&self, limit: Duration) -> Result<()> {
        self.suspended.send_replace(true);
        let mut parked = self.parked.subscribe();
        let waited = tokio::time::timeout(limit, parked.wait_for(|parked| *parked)).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        self.resume();
        Err(Failure::from_server(
            crate::failure::ErrorClass::Transient,
            None,
            format!(
                "changes were still being applied after {}",
                humantime::format_duration(limit)
            ),
        ))
    }

    /// Goes on after [`Replay::suspend`].
    pub fn resume(&self) {
        self.suspended.send_replace(false);
    }

    /// Applies everything received so far through the one session given, which holds `LOCK TABLES …
    /// WRITE` on original and ghost: no other table and no transaction is needed. `ghost` is the ghost's
    /// name now. Replay must be suspended.
    ///
    /// # Errors
    /// What the server answered; everything is then in the backlog again, for a later attempt.
    pub async fn apply_rest(&self, session: &mut Session, ghost: &TableName) -> Result<Rest> {
        if !*self.parked.borrow() {
            return Err(Failure::failed("replay is not suspended")
                .doing("apply the last changes")
                .remedy("report this"));
        }
        let window = self.backlog.take_all();
        let statements = self.statements.for_ghost(ghost);
        let never = CancellationToken::new();
        let result = self
            .flush(&statements, &never, &mut [Hand::Locking(session)], window)
            .await;
        match result {
            Ok(rest) => Ok(rest),
            Err(Stop::Failed(failure)) => Err(failure.doing("apply the last changes")),
            Err(Stop::Cancelled) => Err(Failure::failed("the last changes were not applied")),
        }
    }

    /// Applies changes until cancelled.
    ///
    /// # Errors
    /// [`crate::failure::FailureKind::DoesNotFit`] with the row named where the ghost cannot hold a row;
    /// else what the server answered. What was not applied stays in the backlog.
    pub async fn run(&self, cancel: CancellationToken) -> Result<()> {
        let mut connections = Vec::new();
        let result = self.loop_until(&cancel, &mut connections).await;
        for connection in connections {
            connection.close().await;
        }
        self.ids().clear();
        match result {
            Ok(()) | Err(Stop::Cancelled) => Ok(()),
            Err(Stop::Failed(failure)) => Err(failure)
                .doing(|| format!("apply changes to {}", self.plan.ghost))
                .remedy("look at the cause; nothing was swapped, and the same command continues"),
        }
    }

    async fn loop_until(
        &self,
        cancel: &CancellationToken,
        connections: &mut Vec<Connection>,
    ) -> connection::Done<()> {
        let mut suspended = self.suspended.subscribe();
        loop {
            if *suspended.borrow_and_update() {
                self.parked.send_replace(true);
                let resumed = tokio::select! {
                    resumed = suspended.wait_for(|suspended| !suspended) => resumed.is_ok(),
                    () = cancel.cancelled() => false,
                };
                self.parked.send_replace(false);
                if !resumed {
                    return Ok(());
                }
            }
            if !self.backlog.is_ready() {
                let due = self.backlog.left_behind_until();
                tokio::select! {
                    () = self.backlog.wait_for_work() => {}
                    () = until(due) => {}
                    _ = suspended.changed() => continue,
                    () = cancel.cancelled() => return Ok(()),
                }
            }
            if self.backlog.is_little(GATHER_ROWS) {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    _ = suspended.changed() => continue,
                    () = cancel.cancelled() => return Ok(()),
                }
            }
            let window = self.backlog.take();
            if !window.is_empty() {
                self.flush_by_own(connections, window, cancel).await?;
            }
        }
    }

    async fn flush_by_own(
        &self,
        connections: &mut Vec<Connection>,
        window: Window,
        cancel: &CancellationToken,
    ) -> connection::Done<()> {
        let wanted = self.tunables.borrow().apply_workers.clamp(1, WORKERS_MAX);
        while connections.len() > wanted {
            if let Some(surplus) = connections.pop() {
                surplus.close().await;
            }
        }
        while connections.len() < wanted {
            let lock = self.lock_name(connections.len());
            connections.push(Connection::new(
                self.plan.server.clone(),
                lock,
                self.plan.compress,
            ));
        }
        let mut hands: Vec<Hand<'_>> = connections.iter_mut().map(Hand::Own).collect();
        let result = self
            .flush(&self.statements, cancel, &mut hands, window)
            .await;
        *self.ids() = connections.iter().filter_map(Connection::id).collect();
        result.map(|_| ())
    }

    /// The user-level lock of a connection's place: of the table and the place, and of nothing else.
    fn lock_name(&self, place: usize) -> String {
        let table = self.plan.ghost.to_string();
        format!(
            "changeling_{:016x}_{place}",
            table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
        )
    }

    /// Brings a window into the ghost and settles the accounts; on failure all of it goes back.
    async fn flush(
        &self,
        statements: &Statements,
        cancel: &CancellationToken,
        hands: &mut [Hand<'_>],
        mut window: Window,
    ) -> connection::Done<Rest> {
        let watch = self.watch_evictions.read().await;
        let exact =
            self.plan.uniqueness == Uniqueness::Stricter && *watch && !self.statements.keeps();
        let flush = Flush {
            statements,
            limits: self.limits,
            exact,
            evicted: [&self.evicted, &self.dirty],
            conflict: &self.conflict,
            misfits: &self.misfits,
            retries: &self.progress.retries,
            cancel,
        };
        // Before the flush: an eviction in it counts, whatever the row's own change in it did before.
        self.evicted.remove(window.rows().map(|(key, _)| key));
        self.misfits.forget(window.rows().map(|(key, _)| key));
        let flushed = match flush.run(hands, &window).await {
            Ok(flushed) => flushed,
            Err(stop) => {
                // What is done of it is done again.
                self.record(&window);
                self.backlog.put_back(window);
                return Err(stop);
            }
        };
        let locked = window.split_off(|key| flushed.locked.contains(key));
        self.record(&window);
        let rest = Rest {
            rows: window.len(),
            evicted: flushed.evicted,
        };
        self.backlog.finish(&window, locked);
        Ok(rest)
    }

    /// Keeps the keys of a window for those who look again.
    fn record(&self, window: &Window) {
        self.dirty.add(window.rows().map(|(key, _)| key));
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = window.rows().map(|(key, _)| key.clone());
        recent.push_back(keys.take(RECENT_KEYS_MAX).collect());
        while recent.len() > 1 && recent.iter().map(Vec::len).sum::<usize>() > RECENT_KEYS_MAX {
            recent.pop_front();
        }
    }
}

/// Evicted keys are rare, or the data does not fit.
const RECORD_BYTES_MAX: usize = 16 << 20;

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
