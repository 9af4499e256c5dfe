//! What the binlog reader hands to replay.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::coordinates::Step;
use crate::key::Key;

/// The hint of heartbeats in the changelog table; every other hint is a marker's name or a state's.
pub const HEARTBEAT: &str = "heartbeat";

/// Microseconds since 1970 by our clock: what heartbeats carry.
pub fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}

/// The new state of a row: its key and, where replay works from images, its values.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// The row's key now.
    pub key: Key,
    /// The literals of the shared columns, in the order of the column map, separated by commas, as
    /// [`crate::mysql::quote::write_cell`] writes them; `None` when replay rereads the row.
    pub values: Option<Box<str>>,
}

/// One changed row of the original. Both ends present: an update, whose key may have changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// The key before: update and delete.
    pub before: Option<Key>,
    /// The row after: insert and update.
    pub after: Option<After>,
}

/// What arrives, in the binlog's order.
#[derive(Clone, Debug, PartialEq)]
pub enum BinlogEvent {
    /// A transaction begins. It counts as *received* from here on: from now its changes may come.
    Begin {
        /// Its GTID, where the server has them.
        step: Option<Step>,
    },
    /// A row of the original changed.
    Change(RowChange),
    /// A row of our own changelog table was written: heartbeat or marker.
    Changelog {
        /// `heartbeat`, or a marker's unique name.
        hint: String,
        /// What was written with it: for a heartbeat, microseconds since 1970 by our clock.
        value: String,
    },
    /// A transaction ended: everything up to here has been handed over.
    Commit {
        /// What it adds to the coordinates.
        step: Step,
        /// When it was committed, by the server's clock, microseconds since 1970; 0 if unknown.
        committed_micros: u64,
    },
}

/// Where the reader puts what it reads: implemented by replay's backlog.
pub trait ChangeSink: Send + Sync + 'static {
    /// Takes one event. Never blocks; memory is bounded by the reader waiting in
    /// [`ChangeSink::wait_for_room`] after each call.
    fn accept(&self, event: BinlogEvent);

    /// Blocks the reader's own thread while the backlog is full. Returns early when `stop` says so,
    /// which is asked every few milliseconds.
    fn wait_for_room(&self, stop: &dyn Fn() -> bool);
}
