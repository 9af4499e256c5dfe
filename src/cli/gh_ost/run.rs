//! What a command line of gh-ost asks for, in plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::mysql::ConnectOptions;
use crate::names::TableName;

/// A run of gh-ost.
#[derive(Clone, Debug)]
pub struct GhOstRun {
    /// The server of `--host`: a replica, or with `allow_on_primary` the primary.
    pub inspect: ConnectOptions,
    /// The primary, if `--assume-master-host` names it.
    pub primary: Option<ConnectOptions>,
    /// Which servers may play which part.
    pub topology: GhOstTopology,
    /// The table.
    pub table: TableName,
    /// The ALTER as it was given; empty only when reverting.
    pub alter: String,
    /// Whether to do it; otherwise everything is tried and nothing is migrated.
    pub execute: bool,
    /// Begin, continue or take back.
    pub task: GhOstTask,
    /// Helper tables and the old one.
    pub tables: GhOstTables,
    /// What is allowed that could lose something.
    pub permissions: GhOstPermissions,
    /// Triggers to recreate; `None` refuses a table with triggers.
    pub triggers: Option<GhOstTriggers>,
    /// Copy and replay.
    pub engine: GhOstEngine,
    /// The swap.
    pub cutover: GhOstCutOver,
    /// Pauses and stops.
    pub throttle: GhOstThrottle,
    /// The control socket and port.
    pub control: GhOstControl,
    /// Hooks.
    pub hooks: GhOstHooks,
    /// Metrics.
    pub metrics: GhOstMetrics,
    /// What is logged.
    pub log: GhOstLog,
    /// The file of `--conf`, to be read again on SIGHUP ([`super::conf::read`]).
    pub conf: Option<PathBuf>,
    /// What to warn about once logging is set up.
    pub warnings: Vec<String>,
}

/// Which servers may play which part.
#[derive(Clone, Debug, PartialEq)]
pub struct GhOstTopology {
    /// Where the table is migrated.
    pub place: GhOstPlace,
    /// `--allow-on-master`
    pub allow_on_primary: bool,
    /// `--allow-master-master`
    pub allow_co_primaries: bool,
    /// `--skip-port-validation`, and the flags of clouds that imply it.
    pub skip_port_validation: bool,
    /// `--gtid`
    pub gtid: bool,
    /// How sure the replica's binlog format must be.
    pub binlog_format: GhOstBinlogFormat,
}

/// Where the table is migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhOstPlace {
    /// On the primary of `--host`.
    Primary,
    /// `--migrate-on-replica`: on `--host` itself, which is a replica.
    Replica,
    /// `--test-on-replica`: on `--host`, swapped back at the end.
    TestOnReplica {
        /// Whether replication is stopped before the swap.
        stop_replication: bool,
    },
}

/// How sure the replica's binlog format must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhOstBinlogFormat {
    /// It must be ROW.
    Check,
    /// `--switch-to-rbr`: it is made ROW.
    SwitchToRow,
    /// `--assume-rbr`: it is taken for ROW.
    Assume,
}

/// Begin, continue or take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GhOstTask {
    /// From the beginning.
    Migrate,
    /// `--resume`
    Resume,
    /// `--revert`
    Revert {
        /// `--old-table`
        old_table: String,
    },
}

/// Helper tables and the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstTables {
    /// `--force-table-names`: base of the helper tables' names.
    pub base: Option<String>,
    /// `--timestamp-old-table`
    pub stamp_old: bool,
    /// `--initially-drop-ghost-table`
    pub drop_ghost_first: bool,
    /// `--initially-drop-old-table`
    pub drop_old_first: bool,
    /// `--ok-to-drop-table`
    pub drop_old_after: bool,
}

/// What is allowed that could lose something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstPermissions {
    /// `--allow-nullable-unique-key`
    pub nullable_key: bool,
    /// What the ALTER's renames are.
    pub renames: GhOstRenames,
    /// `--discard-foreign-keys`
    pub discard_foreign_keys: bool,
    /// `--skip-foreign-key-checks`
    pub skip_foreign_key_checks: bool,
    /// `--skip-strict-mode`
    pub skip_strict_mode: bool,
    /// `--allow-zero-in-date`
    pub zero_in_date: bool,
    /// `--panic-on-warnings`
    pub panic_on_warnings: bool,
}

/// What the ALTER's renames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhOstRenames {
    /// Neither flag: an ALTER with renames is not executed.
    Undecided,
    /// `--approve-renamed-columns`
    Approved,
    /// `--skip-renamed-columns`: the old column is dropped, the new one is empty.
    Dropped,
}

/// Triggers to recreate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstTriggers {
    /// `--trigger-suffix`
    pub suffix: String,
    /// `--remove-trigger-suffix-if-exists`
    pub remove_if_there: bool,
}

/// Copy and replay.
#[derive(Clone, Debug, PartialEq)]
pub struct GhOstEngine {
    /// `--attempt-instant-ddl`
    pub instant_first: bool,
    /// `--exact-rowcount`
    pub exact_rowcount: bool,
    /// `--concurrent-rowcount`
    pub concurrent_rowcount: bool,
    /// `--chunk-size`, 10 to 100,000 rows.
    pub chunk_size: u64,
    /// `--dml-batch-size`, 1 to 1,000 changes.
    pub dml_batch_size: u64,
    /// `--default-retries`
    pub retries: u32,
    /// `--nice-ratio`, 0 to 100.
    pub nice_ratio: f64,
    /// `--replica-server-id`
    pub server_id: u32,
    /// `--binlogsyncer-max-reconnect-attempts`; `None` is no limit.
    pub reconnects_max: Option<u32>,
    /// `--heartbeat-interval-millis`, 100 ms to 1 s.
    pub heartbeat_interval: Duration,
    /// `--checkpoint` and `--checkpoint-seconds`; `None` writes none.
    pub checkpoint_interval: Option<Duration>,
    /// `--analyze-ghost-table-before-cutover`
    pub analyze: bool,
}

/// The swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstCutOver {
    /// `--cut-over-lock-timeout-seconds`, 1 to 10 s; also the limit of an instant ALTER.
    pub lock_timeout: Duration,
    /// `--cut-over-exponential-backoff` with its longest wait; `None` waits a second each time.
    pub backoff_max: Option<Duration>,
    /// `--postpone-cut-over-flag-file`
    pub postpone_flag_file: Option<PathBuf>,
    /// `--skip-metadata-lock-check`
    pub skip_metadata_lock_check: bool,
    /// `--allow-setup-metadata-lock-instruments`
    pub allow_setup_instruments: bool,
}

/// Pauses and stops.
#[derive(Clone, Debug, PartialEq)]
pub struct GhOstThrottle {
    /// `--max-lag-millis`, at least 100 ms.
    pub lag_max: Duration,
    /// `--throttle-control-replicas`, each as `host:port`.
    pub replicas: Vec<String>,
    /// `--throttle-query`
    pub query: Option<String>,
    /// `--throttle-http`
    pub http: Option<String>,
    /// `--throttle-http-interval-millis`
    pub http_interval: Duration,
    /// `--throttle-http-timeout-millis`
    pub http_timeout: Duration,
    /// `--ignore-http-errors`
    pub ignore_http_errors: bool,
    /// `--throttle-flag-file` and `--throttle-additional-flag-file`
    pub flag_files: Vec<PathBuf>,
    /// `--panic-flag-file`
    pub panic_flag_file: Option<PathBuf>,
    /// `--max-load`
    pub max_load: BTreeMap<String, u64>,
    /// `--critical-load`
    pub critical_load: BTreeMap<String, u64>,
    /// `--critical-load-interval-millis`
    pub critical_load_interval: Duration,
    /// `--critical-load-hibernate-seconds`; `None` stops the run.
    pub critical_load_hibernate: Option<Duration>,
}

/// The control socket and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstControl {
    /// `--serve-socket-file`, or `/tmp/gh-ost.DATABASE.TABLE.sock`.
    pub socket_file: PathBuf,
    /// `--initially-drop-socket-file`
    pub drop_socket_first: bool,
    /// `--serve-tcp-port`; `None` serves none.
    pub tcp_port: Option<u16>,
    /// `--force-named-cut-over`
    pub name_needed_for_cut_over: bool,
    /// `--force-named-panic`
    pub name_needed_for_panic: bool,
}

/// Hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstHooks {
    /// `--hooks-path`; `None` calls none.
    pub path: Option<PathBuf>,
    /// `--hooks-hint`
    pub hint: String,
    /// `--hooks-hint-owner`
    pub hint_owner: String,
    /// `--hooks-hint-token`
    pub hint_token: String,
    /// `--hooks-status-interval`
    pub status_interval: Duration,
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstMetrics {
    /// `--statsd-addr`; `None` sends none.
    pub statsd: Option<String>,
    /// `--statsd-tags`
    pub tags: Vec<String>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GhOstLog {
    /// `--quiet`, `--verbose`, `--debug`: the first of them that is given counts.
    pub level: GhOstLogLevel,
    /// `--stack`
    pub stack: bool,
}

/// From what level on messages are logged; the status line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhOstLogLevel {
    /// Errors.
    Error,
    /// What happens.
    Info,
    /// Everything.
    Debug,
}
