//! Numbers of a run that engines write and observers read. Facts flow this way only.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the run is doing. Never compared as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Looks at the server and the table.
    #[default]
    Preflight,
    /// The server's own ALTER, which takes a moment.
    Native,
    /// Scans for rows that the new definition cannot hold.
    Scan,
    /// Creates the ghost and starts the stream.
    Prepare,
    /// Copies rows.
    Copy,
    /// Builds the indexes that were left out.
    Indexes,
    /// Compares original and ghost.
    Verify,
    /// All is ready; waits until it may cut over.
    Postponed,
    /// Swaps the tables.
    CutOver,
    /// Has swapped, and keeps the old table in step.
    Revertible,
    /// Cleans up and reports.
    Finish,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Preflight => "preflight",
            Phase::Native => "native",
            Phase::Scan => "scan",
            Phase::Prepare => "prepare",
            Phase::Copy => "copy",
            Phase::Indexes => "indexes",
            Phase::Verify => "verify",
            Phase::Postponed => "postponed",
            Phase::CutOver => "cut-over",
            Phase::Revertible => "revertible",
            Phase::Finish => "finish",
        })
    }
}

/// A number that only grows, or is set.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// Sets.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    /// Raises to at least `n`.
    pub fn raise(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }
    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far the server is with building indexes.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexBuild {
    /// What it does just now, in its own words.
    pub stage: String,
    /// Share of the work that is done, 0 to 1, by its own estimate; `None` where it does not say.
    pub done: Option<f64>,
}

/// Something that the run waits for and that an operator may want to know about or act on: a lock that
/// somebody holds, the operator's word, a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for, as it goes on from "waits for": `the metadata lock of d.t`.
    pub what: String,
    /// On whom, if known: `connection 42 (app@10.0.0.7), in a transaction for 12 s`.
    pub whom: Option<String>,
    /// What happens next or what can be done, a whole clause: `the attempt ends in 0.8 s and is repeated`.
    pub next: Option<String>,
    /// Since when.
    pub since: Instant,
}

/// Keeps a [`Wait`] on the list until dropped.
#[derive(Debug)]
pub struct WaitGuard<'a> {
    progress: &'a Progress,
    token: u64,
}

impl WaitGuard<'_> {
    /// Tells more about the wait, as it becomes known.
    pub fn update(&self, whom: Option<String>, next: Option<String>) {
        let mut waits = self.progress.waits();
        if let Some((_, wait)) = waits
            .list
            .iter_mut()
            .find(|(token, _)| *token == self.token)
        {
            wait.whom = whom;
            wait.next = next;
        }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let token = self.token;
        self.progress.waits().list.retain(|(t, _)| *t != token);
    }
}

#[derive(Debug, Default)]
struct Waits {
    next_token: u64,
    list: Vec<(u64, Wait)>,
}

/// All numbers of a run. Shared by `Arc`; each field is written by the engine named in its text.
#[derive(Debug)]
pub struct Progress {
    /// When the run began.
    pub started: Instant,
    phase: Mutex<PhaseClock>,
    waits: Mutex<Waits>,
    /// Rows to copy: the estimate, or the count. (workflow)
    pub rows_total: Count,
    /// Bytes of the original's rows, estimated. (workflow)
    pub bytes_total: Count,
    /// Rows that the copy has read. (copy)
    pub rows_copied: Count,
    /// Rows that the copy put into the ghost; the others were there already. (copy)
    pub rows_inserted: Count,
    /// Chunks finished. (copy)
    pub chunks: Count,
    /// Rows of the last chunk. (copy)
    pub chunk_rows: Count,
    /// Duration of the last chunk, microseconds. (copy)
    pub chunk_micros: Count,
    /// Rows compared. (verify)
    pub rows_verified: Count,
    /// Row changes received from the binlog. (reader)
    pub changes_received: Count,
    /// Row changes that are in the ghost, each counted as received. (replay)
    pub changes_applied: Count,
    /// Statements tried again after a deadlock or a lock wait timeout, by anybody.
    pub retries: Count,
    /// Why the last chunk was tried again. (copy, verify)
    pub last_refusal: Mutex<String>,
    /// Rows that do not fit the ghost and are gathered. (replay)
    pub misfits: Count,
    /// Keys in the backlog. (replay)
    pub backlog_rows: Count,
    /// Bytes of the backlog. (replay)
    pub backlog_bytes: Count,
    /// From the commit of the last applied heartbeat until it was applied, microseconds; -1 before the
    /// first. (replay)
    pub replay_lag_micros: AtomicI64,
    /// When the last heartbeat came through the binlog, microseconds since `started`. (replay)
    pub heartbeat_at_micros: Count,
    /// The worst replica's lag, microseconds; -1 if there is none to ask. (throttle)
    pub replica_lag_micros: AtomicI64,
    /// Bytes of binlog read. (reader)
    pub binlog_bytes: Count,
    /// Reconnects of the reader. (reader)
    pub reconnects: Count,
    /// Attempts to cut over. (cutover)
    pub cutover_attempts: Count,
    /// How long the server will still keep the binlog that is needed, microseconds; -1 where that is not
    /// known or has no end. (workflow)
    pub binlog_kept_micros: AtomicI64,
    /// How far the building of indexes is, as the server tells; `None` while none are built. (workflow)
    pub index_build: Mutex<Option<IndexBuild>>,
    /// Where the reader is, for people: `binlog.000012:4711`. (reader)
    pub reader_position: Mutex<String>,
    /// The longest time the original was locked, microseconds. (cutover)
    pub lock_micros_max: Count,
}

#[derive(Debug)]
struct PhaseClock {
    current: Phase,
    since: Instant,
    past: Vec<(Phase, Duration)>,
}

impl Default for Progress {
    fn default() -> Progress {
        let now = Instant::now();
        Progress {
            started: now,
            phase: Mutex::new(PhaseClock {
                current: Phase::default(),
                since: now,
                past: Vec::new(),
            }),
            waits: Mutex::default(),
            rows_total: Count::default(),
            bytes_total: Count::default(),
            rows_copied: Count::default(),
            rows_inserted: Count::default(),
            chunks: Count::default(),
            chunk_rows: Count::default(),
            chunk_micros: Count::default(),
            rows_verified: Count::default(),
            changes_received: Count::default(),
            changes_applied: Count::default(),
            retries: Count::default(),
            last_refusal: Mutex::default(),
            misfits: Count::default(),
            backlog_rows: Count::default(),
            backlog_bytes: Count::default(),
            replay_lag_micros: AtomicI64::new(-1),
            heartbeat_at_micros: Count::default(),
            replica_lag_micros: AtomicI64::new(-1),
            binlog_bytes: Count::default(),
            reconnects: Count::default(),
            cutover_attempts: Count::default(),
            binlog_kept_micros: AtomicI64::new(-1),
            index_build: Mutex::new(None),
            reader_position: Mutex::new(String::new()),
            lock_micros_max: Count::default(),
        }
    }
}

impl Progress {
    /// The phase now and since when.
    pub fn phase(&self) -> (Phase, Instant) {
        let clock = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        (clock.current, clock.since)
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk was refused, and is tried again.
    pub fn chunk_refused(&self, why: &impl fmt::Display) {
        let mut last = self
            .last_refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = why.to_string();
        drop(last);
        self.retries.add(1);
    }

    /// Announces that somebody waits, for `ctl why`, until the guard is dropped.
    pub fn wait_for(&self, what: impl Into<String>) -> WaitGuard<'_> {
        let mut waits = self.waits();
        let token = waits.next_token;
        waits.next_token += 1;
        waits.list.push((
            token,
            Wait {
                what: what.into(),
                whom: None,
                next: None,
                since: Instant::now(),
            },
        ));
        WaitGuard {
            progress: self,
            token,
        }
    }

    /// What is waited for now, the oldest first.
    pub fn waiting(&self) -> Vec<Wait> {
        self.waits()
            .list
            .iter()
            .map(|(_, wait)| wait.clone())
            .collect()
    }

    /// Enters a phase; entering the present one changes nothing.
    pub fn enter(&self, phase: Phase) {
        let mut clock = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if clock.current == phase {
            return;
        }
        let now = Instant::now();
        let past = (clock.current, now - clock.since);
        clock.past.push(past);
        clock.current = phase;
        clock.since = now;
        tracing::info!(event = "phase", phase = %phase, "entering phase `{phase}`");
    }

    /// The phases left so far with their durations, in order; a phase entered twice appears twice.
    pub fn phases(&self) -> Vec<(Phase, Duration)> {
        self.phase
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .past
            .clone()
    }
}
