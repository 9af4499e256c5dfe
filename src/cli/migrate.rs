//! `changeling migrate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::connection::ConnectionArgs;
use super::ctl::TokenArgs;
use super::throttle::{GivenOptions, ThrottleArgs, set};
use super::values;
use crate::alter::AlterStatement;
use crate::failure::{Context, Failure, Result};
use crate::mysql::ConnectOptions;
use crate::mysql::option_files::OptionFiles;
use crate::names::TableName;
use crate::settings::{
    BinlogFrom, ControlPort, CopySetting, CutOverSettings, DeferIndexes, KillBlockers,
    NativeSetting, OldTable, Place, ReplaySetting, ResumeSetting, Settings, Triggers,
    VerifySetting, backlog_bytes,
};
use crate::tunables::Tunables;
use crate::workflow;

/// Which table, and what to do with it: as options, or as one statement.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Statement")]
pub struct StatementArgs {
    /// The whole statement: "ALTER TABLE d.t ADD COLUMN …"; instead of --database, --table, --alter
    #[arg(value_name = "ALTER TABLE …")]
    pub statement: Option<String>,
    /// The schema of the table
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    pub database: Option<String>,
    /// The table
    #[arg(long, env = "CHANGELING_TABLE")]
    pub table: Option<String>,
    /// The ALTER's clauses: "ADD COLUMN c INT, DROP COLUMN d"
    #[arg(long, env = "CHANGELING_ALTER")]
    pub alter: Option<String>,
}

impl StatementArgs {
    /// The table and the ALTER.
    ///
    /// # Errors
    /// Something missing or said twice.
    pub fn resolve(&self) -> Result<(TableName, String)> {
        let text = match (&self.statement, &self.alter) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage("the statement is given twice")
                    .remedy("give either one argument `ALTER TABLE d.t …` or --alter"));
            }
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => {
                return Err(Failure::usage("no statement is given")
                    .remedy("give `ALTER TABLE d.t …`, or --database, --table and --alter"));
            }
        };
        let parsed = AlterStatement::parse(&text)
            .map_err(|failure| failure.kind_is(crate::failure::FailureKind::Usage))
            .doing(|| "read the ALTER")?;
        let (schema_written, table_written) = match parsed.table {
            Some((schema, table)) => (schema, Some(table)),
            None => (None, None),
        };
        let schema = self.database.clone().or(schema_written);
        let table = self.table.clone().or(table_written);
        match (schema, table) {
            (Some(schema), Some(table)) => Ok((TableName::new(schema, table), text)),
            (None, _) => Err(Failure::usage("no schema is given")
                .remedy("give --database, or name the table as `schema.table`")),
            (_, None) => Err(Failure::usage("no table is given").remedy("give --table")),
        }
    }
}

/// Rows: how they are copied, replayed and compared.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Copy, replay and verification")]
pub struct EngineArgs {
    /// How long the copy of one chunk should take; its rows adapt
    #[arg(long, env = "CHANGELING_CHUNK_TIME", default_value = "200ms", value_parser = values::duration)]
    pub chunk_time: Duration,
    /// At most this many rows a chunk
    #[arg(long, env = "CHANGELING_CHUNK_ROWS_MAX", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub chunk_rows_max: u64,
    /// A fixed number of rows a chunk, instead of adapting
    #[arg(long, env = "CHANGELING_CHUNK_SIZE", value_parser = clap::value_parser!(u64).range(1..))]
    pub chunk_size: Option<u64>,
    /// Chunks copied side by side
    #[arg(long, env = "CHANGELING_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Connections that apply changes
    #[arg(long, env = "CHANGELING_APPLY_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub apply_workers: u16,
    /// How the copy reads the original
    #[arg(long, env = "CHANGELING_COPY", value_enum, default_value_t)]
    pub copy: CopySetting,
    /// Where replay takes changed rows from
    #[arg(long, env = "CHANGELING_REPLAY", value_enum, default_value_t)]
    pub replay: ReplaySetting,
    /// Build secondary indexes that are not unique after the copy
    #[arg(long, env = "CHANGELING_DEFER_INDEXES", value_enum, default_value_t)]
    pub defer_indexes: DeferIndexes,
    /// Compare original and ghost before the swap
    #[arg(long, env = "CHANGELING_VERIFY", value_enum, default_value_t)]
    pub verify: VerifySetting,
    /// Do not look for duplicates under new unique keys before the copy
    #[arg(long, env = "CHANGELING_SKIP_DUPLICATE_SCAN")]
    pub skip_duplicate_scan: bool,
    /// Memory for replay: changes that wait take half of it at most, working on them the rest
    #[arg(long, env = "CHANGELING_BACKLOG_MEMORY", default_value = "256MiB", value_parser = values::size)]
    pub backlog_memory: u64,
    /// How long to try to reach the binlog again after it was lost
    #[arg(long, env = "CHANGELING_RECONNECT_LIMIT", default_value = "5m", value_parser = values::duration)]
    pub reconnect_limit: Duration,
    /// Compress our own transactions in the binlog where the server can
    #[arg(long, env = "CHANGELING_COMPRESS_BINLOG", value_enum, default_value_t)]
    pub compress_binlog: Switch,
    /// Compute the new table's statistics before the swap
    #[arg(long, env = "CHANGELING_ANALYZE", value_enum, default_value_t)]
    pub analyze: Switch,
}

/// Something done by default that can be turned off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Where it helps.
    #[default]
    Auto,
    /// Not at all.
    Off,
}

/// Where the table is, when the run is started against a replica.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Topology")]
pub struct TopologyArgs {
    /// Migrate on this server, as HOST:PORT, instead of looking for the primary of the one connected to
    #[arg(long, env = "CHANGELING_ASSUME_PRIMARY", value_name = "HOST:PORT")]
    pub assume_primary: Option<String>,
    /// Whose binlog is read, when connected to a replica
    #[arg(long, env = "CHANGELING_BINLOG_FROM", value_enum, default_value_t)]
    pub binlog_from: BinlogFrom,
}

impl TopologyArgs {
    /// Where the table is.
    ///
    /// # Errors
    /// Usage: no `HOST:PORT`.
    pub fn place(&self) -> Result<Place> {
        match &self.assume_primary {
            None => Ok(Place::Primary),
            Some(text) => {
                let (host, port) =
                    crate::throttle::parse_host(text).doing(|| "read --assume-primary")?;
                Ok(Place::Assumed(host, port))
            }
        }
    }
}

/// The swap.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Cut-over")]
pub struct CutOverArgs {
    /// First the server's own ALTER, within the budget below, where it changes the catalogue only
    #[arg(long, env = "CHANGELING_NATIVE", value_enum, default_value_t)]
    pub native: NativeSetting,
    /// Longest time from asking for the table's lock to having swapped; past it all is released and
    /// tried later
    #[arg(long, env = "CHANGELING_CUT_OVER_BUDGET", default_value = "300ms", value_parser = values::duration)]
    pub cut_over_budget: Duration,
    /// Attempts before giving up; 0 is no limit but the deadline
    #[arg(long, env = "CHANGELING_CUT_OVER_ATTEMPTS", default_value_t = 0)]
    pub cut_over_attempts: u32,
    /// How long to keep trying
    #[arg(long, env = "CHANGELING_CUT_OVER_DEADLINE", default_value = "1h", value_parser = values::duration)]
    pub cut_over_deadline: Duration,
    /// Who may be killed for the lock
    #[arg(long, env = "CHANGELING_KILL_BLOCKERS", value_enum, default_value_t)]
    pub kill_blockers: KillBlockers,
    /// … after how many failed attempts
    #[arg(long, env = "CHANGELING_KILL_AFTER_ATTEMPTS", default_value_t = 10)]
    pub kill_after_attempts: u32,
    /// … and never a transaction that has changed more rows
    #[arg(long, env = "CHANGELING_KILL_ROWS_MAX", default_value_t = 10_000)]
    pub kill_rows_max: u64,
    /// Do not swap while this file exists
    #[arg(long, env = "CHANGELING_POSTPONE_CUT_OVER_FLAG_FILE")]
    pub postpone_cut_over_flag_file: Option<PathBuf>,
    /// Swap only at these times: "02:00-05:00 Europe/Berlin", "Sat-Sun 00:00-24:00", separated by commas
    #[arg(long, env = "CHANGELING_CUT_OVER_WINDOW", value_name = "WINDOW,…")]
    pub cut_over_window: Option<String>,
    /// Do not swap before `changeling ctl cut-over`
    #[arg(long, env = "CHANGELING_POSTPONE_CUT_OVER")]
    pub postpone_cut_over: bool,
    /// Triggers of the table
    #[arg(long, env = "CHANGELING_TRIGGERS", value_enum, default_value_t)]
    pub triggers: Triggers,
    /// The original after the swap: `never` dropped, or `after:DURATION`; less than a minute is warned of
    #[arg(long, env = "CHANGELING_DROP_OLD_TABLE", default_value = "never", value_parser = drop_old_table)]
    pub drop_old_table: OldTable,
    /// Put the time into the old table's name
    #[arg(long, env = "CHANGELING_TIMESTAMP_OLD_TABLE")]
    pub timestamp_old_table: bool,
}

fn drop_old_table(text: &str) -> std::result::Result<OldTable, String> {
    match text.split_once(':') {
        None if text == "never" => Ok(OldTable::Keep),
        Some(("after", duration)) => match values::duration(duration)? {
            Duration::ZERO => Err(format!(
                "`{text}` is too soon after the swap; write `after:1m` or more, or `never` and drop it by \
                 `changeling cleanup`"
            )),
            pause => Ok(OldTable::DropAfter(pause)),
        },
        _ => Err(format!("`{text}` is neither `never` nor `after:DURATION`")),
    }
}

/// A resume must not have more than some seconds to do again.
fn checkpoint_interval(text: &str) -> std::result::Result<Duration, String> {
    let interval = values::duration(text)?;
    match (Duration::from_millis(100)..=Duration::from_secs(10)).contains(&interval) {
        true => Ok(interval),
        false => Err(format!("`{text}` is not between 100ms and 10s")),
    }
}

/// Continuing, watching, reporting.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Running")]
pub struct RunArgs {
    /// Go on with an interrupted run
    #[arg(long, env = "CHANGELING_RESUME", value_enum, default_value_t)]
    pub resume: ResumeSetting,
    /// Remove what an interrupted run left and begin anew
    #[arg(long, env = "CHANGELING_RESTART", conflicts_with = "resume")]
    pub restart: bool,
    /// How often the checkpoint is written
    #[arg(long, env = "CHANGELING_CHECKPOINT_INTERVAL", default_value = "1s", value_parser = checkpoint_interval)]
    pub checkpoint_interval: Duration,
    /// Servers that may take the primary's place, as host:port, separated by commas: when the primary is
    /// away or read-only, the run goes on at the one that is writable and has all of it
    #[arg(long, env = "CHANGELING_FAILOVER_HOSTS", value_delimiter = ',')]
    pub failover_hosts: Vec<String>,
    /// How long the primary must be away or read-only before that
    #[arg(long, env = "CHANGELING_FAILOVER_AFTER", default_value = "10s", value_parser = values::duration)]
    pub failover_after: Duration,
    /// Write the report there: HTML or JSON by its extension
    #[arg(long, env = "CHANGELING_REPORT")]
    pub report: Option<PathBuf>,
    /// Where a rehearsal keeps its forecast, and a migration finds it to say how good it was; without it
    /// in the folder `changeling` of the account's state folder
    #[arg(long, env = "CHANGELING_FORECAST")]
    pub forecast: Option<PathBuf>,
    /// Directory with executables called at events
    #[arg(long, env = "CHANGELING_HOOKS_PATH")]
    pub hooks_path: Option<PathBuf>,
    /// Path of the control socket
    #[arg(long, env = "CHANGELING_CONTROL_SOCKET")]
    pub control_socket: Option<PathBuf>,
    /// Listen for the same commands on this loopback address too, for clients with the token
    #[arg(long, env = "CHANGELING_CONTROL_LISTEN", value_name = "HOST:PORT")]
    pub control_listen: Option<SocketAddr>,
    /// What opens that address.
    #[command(flatten)]
    pub token: TokenArgs,
    /// Serve Prometheus metrics on this address
    #[arg(long, env = "CHANGELING_METRICS_LISTEN")]
    pub metrics_listen: Option<String>,
    /// Use this in place of the table's name in the helper tables' names
    #[arg(long, env = "CHANGELING_FORCE_TABLE_NAMES")]
    pub force_table_names: Option<String>,
}

/// All of `migrate`.
#[derive(Args, Debug, Clone)]
pub struct MigrateArgs {
    #[command(flatten)]
    statement: StatementArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    topology: TopologyArgs,
    #[command(flatten)]
    throttle: ThrottleArgs,
    #[command(flatten)]
    cutover: CutOverArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Keep the old table in step for so long after the swap: `changeling revert` takes seconds then
    #[arg(long, env = "CHANGELING_KEEP_REVERTIBLE", value_name = "DURATION", value_parser = values::duration, help_heading = "Cut-over")]
    keep_revertible: Option<Duration>,
    /// What was given on the command line or by the environment.
    #[arg(skip)]
    pub given: GivenOptions,
}

impl MigrateArgs {
    /// Whether the primary is named.
    pub fn assumes_primary(&self) -> bool {
        self.topology.assume_primary.is_some()
    }

    /// The settings of the run.
    ///
    /// # Errors
    /// A wrong command line, or connection files that cannot be read.
    pub fn resolve(self) -> Result<Settings> {
        let (table, alter) = self.statement.resolve()?;
        let keep = self.keep_revertible.filter(|keep| !keep.is_zero());
        if keep.is_some() && self.cutover.drop_old_table != OldTable::Keep {
            return Err(Failure::usage(
                "--keep-revertible needs the old table, which --drop-old-table drops",
            )
            .remedy("leave out one of them; `changeling cleanup` drops old tables later"));
        }
        let groups = SettingsArgs {
            engine: self.engine,
            throttle: self.throttle,
            cutover: self.cutover,
            run: self.run,
            option_files: self.connection.option_files(),
            given: self.given,
        };
        let place = self.topology.place()?;
        let mut settings = groups.resolve(self.connection.resolve()?, table, alter)?;
        settings.keep_revertible = keep;
        settings.place = place;
        settings.binlog_from = self.topology.binlog_from;
        Ok(settings)
    }
}

/// What all commands that run have in common.
pub struct SettingsArgs {
    /// Copy, replay and verification.
    pub engine: EngineArgs,
    /// What makes it pause or stop.
    pub throttle: ThrottleArgs,
    /// The swap.
    pub cutover: CutOverArgs,
    /// Continuing, watching, reporting.
    pub run: RunArgs,
    /// Where limits may stand that are not given …
    pub option_files: OptionFiles,
    /// … by these.
    pub given: GivenOptions,
}

impl SettingsArgs {
    /// The settings of a run on a table.
    ///
    /// # Errors
    /// A wrong command line.
    pub fn resolve(
        self,
        connect: ConnectOptions,
        table: TableName,
        alter: String,
    ) -> Result<Settings> {
        let (engine, throttle, cutover, run) = (self.engine, self.throttle, self.cutover, self.run);
        let mut tunables = Tunables {
            chunk_time: engine.chunk_time,
            chunk_rows_max: engine.chunk_rows_max,
            chunk_rows_fixed: engine.chunk_size,
            copy_workers: engine.workers.into(),
            apply_workers: engine.apply_workers.into(),
            postpone_cutover: cutover.postpone_cut_over,
            ..Tunables::default()
        };
        throttle.limit(&mut tunables)?;
        set(
            &mut tunables,
            "cut-over-window",
            cutover.cut_over_window.as_deref(),
        )?;
        let (option_files, given) = (self.option_files, self.given);
        workflow::apply_limits(&option_files, &mut tunables, |setting| given.has(setting))?;
        let control_port = match run.control_listen {
            None => None,
            Some(address) => Some(ControlPort {
                address,
                token: run.token.token()?.ok_or_else(|| {
                    Failure::usage("--control-listen needs a token").remedy(
                        "give --control-token-file FILE with a long random word, or CHANGELING_CONTROL_TOKEN",
                    )
                })?,
            }),
        };
        let failover_hosts = run
            .failover_hosts
            .iter()
            .map(|host| {
                crate::throttle::parse_host(host).map(|(host, port)| connect.at(&host, port))
            })
            .collect::<Result<_>>()?;
        Ok(Settings {
            failover_hosts,
            failover_after: run.failover_after,
            checkpoint_interval: run.checkpoint_interval,
            tunables,
            option_files: Some(option_files),
            control_port,
            copy: engine.copy,
            replay: engine.replay,
            defer_indexes: engine.defer_indexes,
            native: cutover.native,
            verify: engine.verify,
            resume: if run.restart {
                ResumeSetting::Restart
            } else {
                run.resume
            },
            cutover: CutOverSettings {
                budget: cutover.cut_over_budget,
                attempts_max: cutover.cut_over_attempts,
                deadline: Some(cutover.cut_over_deadline),
                kill: cutover.kill_blockers,
                kill_after_attempts: cutover.kill_after_attempts,
                kill_rows_max: cutover.kill_rows_max,
                postpone_flag_file: cutover.postpone_cut_over_flag_file,
            },
            heartbeat_interval: throttle.heartbeat_interval,
            throttle: throttle.settings(&connect)?,
            triggers: cutover.triggers,
            old_table: cutover.drop_old_table,
            helper_base: run.force_table_names,
            old_stamp: cutover.timestamp_old_table.then(super::stamp_now),
            duplicate_scan: !engine.skip_duplicate_scan,
            compress_binlog: engine.compress_binlog == Switch::Auto,
            analyze: engine.analyze == Switch::Auto,
            backlog_bytes_max: usize::try_from(engine.backlog_memory)
                .map(backlog_bytes)
                .map_err(|_| {
                    Failure::usage("--backlog-memory is larger than this machine's memory")
                })?,
            reconnect_limit: engine.reconnect_limit,
            report: run.report,
            forecast: run.forecast,
            hooks_path: run.hooks_path,
            socket: run.control_socket,
            metrics_listen: run.metrics_listen,
            ..Settings::new(connect, table, alter)
        })
    }
}
