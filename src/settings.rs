//! What a run needs, validated: the command line's meaning without its spelling.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::mysql::ConnectOptions;
use crate::mysql::option_files::OptionFiles;
use crate::names::TableName;
use crate::tunables::Tunables;

/// How rows are read while copying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopySetting {
    /// Lock-free where it is proven right, locking elsewhere.
    #[default]
    Auto,
    /// Shared row locks on each chunk.
    Locking,
    /// No lock on the original; refused where it cannot be proven right.
    LockFree,
}

/// Where replay takes a changed row's values from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplaySetting {
    /// From the binlog where that is exact for every column, from the original elsewhere.
    #[default]
    Auto,
    /// From the binlog; refused where that is not exact.
    Image,
    /// From the original.
    Reread,
}

/// When secondary indexes are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeferIndexes {
    /// After the copy where no replica would be held up, with the table elsewhere.
    #[default]
    Auto,
    /// After the copy.
    On,
    /// With the table.
    Off,
}

/// When original and ghost are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifySetting {
    /// After the copy.
    #[default]
    After,
    /// Behind the copy, while it goes on.
    During,
    /// Not at all, but for chunks in which the copy met a conflict.
    Off,
}

/// What happens with the tables of an interrupted run of the same statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeSetting {
    /// Continue if there is one, begin otherwise.
    #[default]
    Auto,
    /// Continue, or fail.
    Require,
    /// Continue, or fail; where the binlog since the checkpoint is gone, take it up from now, compare all
    /// rows and put right those that differ.
    Repair,
    /// Remove them and begin anew.
    Restart,
}

/// Who may be killed to get the table's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillBlockers {
    /// Nobody.
    #[default]
    Never,
    /// Sessions that hold the table in an open transaction and run nothing.
    Idle,
    /// All sessions that hold the table.
    All,
}

/// What happens to the original after the swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldTable {
    /// It stays as `_t_del`.
    #[default]
    Keep,
    /// It is dropped when the run ends, not before this time has passed since the swap.
    DropAfter(Duration),
}

/// Whether the server's own ALTER is tried before the ghost table: a way that changes the catalogue only,
/// within the lock budget of a cut-over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NativeSetting {
    /// Where it takes a moment on every server and throws no values away.
    #[default]
    Auto,
    /// `ALGORITHM=INSTANT` wherever the server offers it, columns dropped included.
    Instant,
    /// Not at all.
    Never,
}

/// What is done with triggers of the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Triggers {
    /// The run is refused.
    #[default]
    Refuse,
    /// They are recreated on the new table within the swap, under their own names.
    Recreate,
}

/// Names of triggers that are made anew beside the old ones (gh-ost's `--trigger-suffix`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerSuffix {
    /// What is appended to a trigger's name.
    pub suffix: String,
    /// Whether a name that ends with it loses it instead.
    pub toggled: bool,
}

impl TriggerSuffix {
    /// What the new table's trigger is called.
    pub fn name(&self, trigger: &str) -> String {
        match trigger.strip_suffix(&self.suffix) {
            Some(shorter) if self.toggled => shorter.to_string(),
            _ => format!("{trigger}{}", self.suffix),
        }
    }
}

/// Whether the original's rows are counted; otherwise the server's estimate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountRows {
    /// They are not.
    #[default]
    Never,
    /// While they are copied.
    WhileCopying,
    /// Before the copy.
    First,
}

/// What a run is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// It applies the ALTER.
    #[default]
    Alter,
    /// It takes a finished run back.
    Revert(WhichRun),
}

/// Which run is taken back; the last one unless more is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichRun {
    /// By its number in the history.
    pub id: Option<u64>,
    /// By the name of its old table.
    pub old_table: Option<String>,
}

/// How much of the table a rehearsal copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RehearsalScope {
    /// All of it.
    Full,
    /// A share, spread over the key.
    Share {
        /// In millionths of the table's rows.
        ppm: u32,
    },
    /// As much as this time allows, spread over the key.
    For(Duration),
}

/// How far a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// To the swap.
    #[default]
    Migration,
    /// Everything but the swap; all tables are removed at the end.
    Rehearsal(RehearsalScope),
    /// Until the ghost is there, without rows; it is removed again (gh-ost without `--execute`).
    Noop,
    /// Everything, on a replica whose replication is stopped for the swap; then the tables are swapped
    /// back, so that original and ghost, which stays, can be compared (gh-ost's `--test-on-replica`).
    ReplicaTest {
        /// Whether replication is stopped.
        stop_replication: bool,
    },
}

/// On which server the table is migrated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On the one that is connected to.
    #[default]
    Here,
    /// On its primary, which is found; on itself if it is no replica.
    Primary,
    /// On this one, by host and port.
    Assumed(String, u16),
}

/// Whose binlog is read when the run is started against a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinlogFrom {
    /// The primary's.
    #[default]
    Primary,
    /// That of the server that is connected to.
    Here,
}

/// A TCP port for commands.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlPort {
    /// On the loopback interface.
    pub address: SocketAddr,
    /// What a client must know. Never shown.
    pub token: String,
}

impl std::fmt::Debug for ControlPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlPort").field(&self.address).finish()
    }
}

/// The swap.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOverSettings {
    /// From asking for the lock to having swapped.
    pub budget: Duration,
    /// How many attempts; 0 is no limit but the deadline.
    pub attempts_max: u32,
    /// How long to keep trying, from the first attempt; `None` is no limit.
    pub deadline: Option<Duration>,
    /// Who may be killed.
    pub kill: KillBlockers,
    /// After how many failed attempts.
    pub kill_after_attempts: u32,
    /// Never a transaction that has changed more rows.
    pub kill_rows_max: u64,
    /// The swap waits as long as this file exists.
    pub postpone_flag_file: Option<PathBuf>,
}

impl Default for CutOverSettings {
    fn default() -> CutOverSettings {
        CutOverSettings {
            budget: Duration::from_millis(300),
            attempts_max: 0,
            deadline: Some(Duration::from_secs(3600)),
            kill: KillBlockers::Never,
            kill_after_attempts: 10,
            kill_rows_max: 10_000,
            postpone_flag_file: None,
        }
    }
}

/// What the throttle looks at, besides what [`Tunables`] hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThrottleSettings {
    /// Replicas to watch, as `host:port`; empty finds them from the primary.
    pub replicas: Vec<String>,
    /// Replicas not to watch.
    pub ignore_replicas: Vec<String>,
    /// Account and encryption for replicas; the primary's when `None`.
    pub replica_account: Option<ConnectOptions>,
    /// Files that pause the copy while they exist.
    pub flag_files: Vec<PathBuf>,
    /// A file that stops the run when it appears.
    pub panic_flag_file: Option<PathBuf>,
    /// How long after the first look critical load is looked at again.
    pub critical_load_interval: Duration,
    /// How long the run rests at critical load; `None` ends it.
    pub critical_load_hibernate: Option<Duration>,
    /// Between two looks at the throttle URL; `None` is the throttle's own.
    pub http_interval: Option<Duration>,
    /// How long such a look may take; `None` is the throttle's own.
    pub http_timeout: Option<Duration>,
    /// Whether a throttle URL that cannot be asked lets the copy go on.
    pub http_errors_pass: bool,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server that is connected to: with the table, or a replica of it.
    pub connect: ConnectOptions,
    /// See [`Place`].
    pub place: Place,
    /// See [`BinlogFrom`].
    pub binlog_from: BinlogFrom,
    /// Option files whose limits are read again at HUP.
    pub option_files: Option<OptionFiles>,
    /// The table.
    pub table: TableName,
    /// The ALTER as it was given; nothing where the task is another.
    pub alter: String,
    /// See [`Task`].
    pub task: Task,
    /// Whether the run is written into the history, without which it cannot be taken back.
    pub history: bool,
    /// How long after the swap the old table is kept in step.
    pub keep_revertible: Option<Duration>,
    /// What may change while running, with its first values.
    pub tunables: Tunables,
    /// See [`CopySetting`].
    pub copy: CopySetting,
    /// See [`ReplaySetting`].
    pub replay: ReplaySetting,
    /// See [`DeferIndexes`].
    pub defer_indexes: DeferIndexes,
    /// See [`NativeSetting`].
    pub native: NativeSetting,
    /// See [`VerifySetting`].
    pub verify: VerifySetting,
    /// Servers that may take the primary's place, as `host:port`.
    pub failover_hosts: Vec<ConnectOptions>,
    /// How long the primary must be away, or read-only, before one of them is gone on with.
    pub failover_after: Duration,
    /// See [`ResumeSetting`].
    pub resume: ResumeSetting,
    /// How far the run goes.
    pub extent: Extent,
    /// Columns that the ALTER renames are new and empty, the old ones dropped (gh-ost's
    /// `--skip-renamed-columns`).
    pub drop_renamed: bool,
    /// The migration key may have columns that may be NULL; the run ends when one is (gh-ost's
    /// `--allow-nullable-unique-key`).
    pub nullable_key: bool,
    /// Foreign keys that the table has are left out of the new one (gh-ost's `--discard-foreign-keys`).
    pub discard_foreign_keys: bool,
    /// An old table of an earlier run is dropped at the start (gh-ost's `--initially-drop-old-table`).
    pub drop_old_first: bool,
    /// See [`Triggers`].
    pub triggers: Triggers,
    /// Names of recreated triggers; `None` is their own names, which the old table's lose.
    pub trigger_suffix: Option<TriggerSuffix>,
    /// Modes that are taken out of the server's `sql_mode` for the ALTER and other DDL (gh-ost's
    /// `--allow-zero-in-date`, `--skip-strict-mode`).
    pub sql_mode_without: Vec<&'static str>,
    /// Whether the rows are counted, for the progress (gh-ost's `--exact-rowcount`).
    pub count_rows: CountRows,
    /// How often a chunk may be split because it is too large for the server's binlog cache; `None`: to
    /// single rows (gh-ost's `--default-retries`).
    pub splits_max: Option<u32>,
    /// See [`CutOverSettings`].
    pub cutover: CutOverSettings,
    /// See [`ThrottleSettings`].
    pub throttle: ThrottleSettings,
    /// See [`OldTable`].
    pub old_table: OldTable,
    /// Replaces the table's name in the helper tables' names.
    pub helper_base: Option<String>,
    /// Goes into the old table's name.
    pub old_stamp: Option<String>,
    /// Whether the new unique keys are scanned for duplicates before the copy.
    pub duplicate_scan: bool,
    /// Whether our own transactions are compressed in the binlog where the server can.
    pub compress_binlog: bool,
    /// Whether the ghost's statistics are computed before the swap.
    pub analyze: bool,
    /// How many bytes of changes may wait in memory.
    pub backlog_bytes_max: usize,
    /// How long the binlog reader tries to reconnect.
    pub reconnect_limit: Duration,
    /// How often the heartbeat is written.
    pub heartbeat_interval: Duration,
    /// How often a checkpoint is written.
    pub checkpoint_interval: Duration,
    /// Where the report goes: HTML or JSON by its extension.
    pub report: Option<PathBuf>,
    /// Where a forecast is kept; `None` is the default path.
    pub forecast: Option<PathBuf>,
    /// Executables called at events.
    pub hooks_path: Option<PathBuf>,
    /// How often the status hooks are called.
    pub hooks_status_interval: Duration,
    /// The control socket; `None` is the default path.
    pub socket: Option<PathBuf>,
    /// A TCP port for the same commands.
    pub control_port: Option<ControlPort>,
    /// Where metrics are served.
    pub metrics_listen: Option<String>,
    /// Where metrics are pushed to (gh-ost's `--statsd-addr`).
    pub statsd: Option<StatsdTarget>,
}

/// A StatsD server, and how metrics are marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsdTarget {
    /// `host:port`
    pub address: String,
    /// Tags of every metric, each as `name:value`.
    pub tags: Vec<String>,
}

impl Settings {
    /// Settings with every default, for a statement on a table.
    pub fn new(connect: ConnectOptions, table: TableName, alter: impl Into<String>) -> Settings {
        Settings {
            connect,
            place: Place::default(),
            binlog_from: BinlogFrom::default(),
            option_files: None,
            table,
            alter: alter.into(),
            task: Task::default(),
            history: true,
            keep_revertible: None,
            tunables: Tunables::default(),
            copy: CopySetting::default(),
            replay: ReplaySetting::default(),
            defer_indexes: DeferIndexes::default(),
            native: NativeSetting::default(),
            verify: VerifySetting::default(),
            failover_hosts: Vec::new(),
            failover_after: Duration::from_secs(10),
            resume: ResumeSetting::default(),
            extent: Extent::default(),
            drop_renamed: false,
            nullable_key: false,
            discard_foreign_keys: false,
            drop_old_first: false,
            triggers: Triggers::default(),
            trigger_suffix: None,
            sql_mode_without: Vec::new(),
            count_rows: CountRows::default(),
            splits_max: None,
            cutover: CutOverSettings::default(),
            throttle: ThrottleSettings::default(),
            old_table: OldTable::default(),
            helper_base: None,
            old_stamp: None,
            duplicate_scan: true,
            compress_binlog: true,
            analyze: true,
            backlog_bytes_max: backlog_bytes(256 << 20),
            reconnect_limit: Duration::from_secs(300),
            heartbeat_interval: Duration::from_millis(100),
            checkpoint_interval: Duration::from_secs(1),
            report: None,
            forecast: None,
            hooks_path: None,
            hooks_status_interval: Duration::from_secs(60),
            socket: None,
            control_port: None,
            metrics_listen: None,
            statsd: None,
        }
    }
}

/// How many bytes of changes may wait where replay is given so much memory: the rest is for working on them, for
/// the keys that are to be compared again, and for the program itself. (With 256 MiB of waiting changes, of five
/// million in one transaction, the program took 325 MiB, with 179 it took 273.)
pub const fn backlog_bytes(memory: usize) -> usize {
    memory / 2
}
