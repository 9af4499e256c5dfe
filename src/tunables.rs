//! What may be changed while a migration runs (`changeling ctl set …`, gh-ost's socket). Everything
//! else of the settings is fixed at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time_window::Window;

/// Sent through a `watch` channel: control writes, engines read.
#[derive(Clone, Debug, PartialEq)]
pub struct Tunables {
    /// How long the copy of one chunk should take.
    pub chunk_time: Duration,
    /// At most this many rows a chunk.
    pub chunk_rows_max: u64,
    /// A fixed number of rows a chunk (gh-ost's `--chunk-size`); `None` adapts to `chunk_time`.
    pub chunk_rows_fixed: Option<u64>,
    /// How many chunks are copied side by side.
    pub copy_workers: usize,
    /// How many connections apply changes.
    pub apply_workers: usize,
    /// Rest for this multiple of each chunk's time.
    pub nice_ratio: f64,
    /// Replication lag above which the copy pauses.
    pub lag_max: Duration,
    /// Replay lag above which the copy pauses.
    pub replay_lag_max: Option<Duration>,
    /// Mean duration of a COMMIT on the server above which the copy pauses.
    pub commit_latency_max: Option<Duration>,
    /// Share of the redo log in use above which the copy pauses, above 0 up to 1.
    pub checkpoint_age_max: Option<f64>,
    /// Statements on the table may take so many times as long as before the start; above it the copy
    /// pauses.
    pub latency_factor_max: Option<f64>,
    /// When the copy may run; always, if there are none.
    pub copy_windows: Vec<Window>,
    /// Status variables above which the copy pauses.
    pub max_load: BTreeMap<String, u64>,
    /// Status variables above which the run stops.
    pub critical_load: BTreeMap<String, u64>,
    /// A query whose first value above 0 pauses the copy.
    pub throttle_query: Option<String>,
    /// A URL whose answer other than 200 pauses the copy.
    pub throttle_http: Option<String>,
    /// Replicas not asked for their lag any more, as `host` or `host:port`, beside those of the start.
    pub ignored_replicas: BTreeSet<String>,
    /// Pause asked for by the operator.
    pub paused: bool,
    /// When it may be cut over; always, if there are none.
    pub cutover_windows: Vec<Window>,
    /// Hold the cut-over until told otherwise.
    pub postpone_cutover: bool,
    /// The operator has released the cut-over, whatever else holds it (a file, windows).
    pub cutover_released: bool,
}

impl Default for Tunables {
    fn default() -> Tunables {
        Tunables {
            chunk_time: Duration::from_millis(200),
            chunk_rows_max: 50_000,
            chunk_rows_fixed: None,
            copy_workers: 4,
            apply_workers: 4,
            nice_ratio: 0.0,
            lag_max: Duration::from_millis(1500),
            replay_lag_max: Some(Duration::from_secs(10)),
            commit_latency_max: None,
            // Busy servers stay below it by themselves (measured under bulk inserts: MySQL 9.7 below
            // 20 %, MariaDB 10.11 up to 86 %); near 100 % every writer waits.
            checkpoint_age_max: Some(0.9),
            latency_factor_max: None,
            copy_windows: Vec::new(),
            max_load: BTreeMap::new(),
            critical_load: BTreeMap::new(),
            throttle_query: None,
            throttle_http: None,
            ignored_replicas: BTreeSet::new(),
            paused: false,
            cutover_windows: Vec::new(),
            postpone_cutover: false,
            cutover_released: false,
        }
    }
}
