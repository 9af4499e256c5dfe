//! `changeling revert`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionArgs;
use super::migrate::{CutOverArgs, EngineArgs, RunArgs, SettingsArgs, Switch};
use super::throttle::{GivenOptions, ThrottleArgs};
use super::values;
use crate::control;
use crate::failure::{Failure, FailureKind, Result};
use crate::names::TableName;
use crate::settings::{
    CopySetting, DeferIndexes, ReplaySetting, Settings, Task, VerifySetting, WhichRun,
};
use crate::workflow;

/// Between two questions to a run that goes back.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Which run is taken back, and how.
#[derive(Args, Debug, Clone)]
pub struct RevertArgs {
    /// The table, as SCHEMA.TABLE, or as TABLE with --database
    #[arg(value_name = "SCHEMA.TABLE")]
    name: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The schema of the table
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// The table
    #[arg(long, env = "CHANGELING_TABLE", conflicts_with = "name")]
    table: Option<String>,
    /// The run by its number in the history; refused unless it is the last one of the table that has
    /// swapped, which is what is taken without this
    #[arg(long, value_name = "ID")]
    run_id: Option<u64>,
    /// The old table of that run; refused if it is another
    #[arg(long, value_name = "TABLE")]
    old_table: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Connections that apply changes
    #[arg(long, env = "CHANGELING_APPLY_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Replay and verification")]
    apply_workers: u16,
    /// Chunks compared side by side
    #[arg(long, env = "CHANGELING_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Replay and verification")]
    workers: u16,
    /// How long the comparison of one chunk should take; its rows adapt
    #[arg(long, env = "CHANGELING_CHUNK_TIME", default_value = "200ms", value_parser = values::duration, help_heading = "Replay and verification")]
    chunk_time: Duration,
    /// Where replay takes changed rows from
    #[arg(
        long,
        env = "CHANGELING_REPLAY",
        value_enum,
        default_value_t,
        help_heading = "Replay and verification"
    )]
    replay: ReplaySetting,
    /// Compare the tables before the swap
    #[arg(
        long,
        env = "CHANGELING_VERIFY",
        value_enum,
        default_value_t,
        help_heading = "Replay and verification"
    )]
    verify: VerifySetting,
    /// Memory for replay: changes that wait take half of it at most, working on them the rest
    #[arg(long, env = "CHANGELING_BACKLOG_MEMORY", default_value = "256MiB", value_parser = values::size, help_heading = "Replay and verification")]
    backlog_memory: u64,
    /// How long to try to reach the binlog again after it was lost
    #[arg(long, env = "CHANGELING_RECONNECT_LIMIT", default_value = "5m", value_parser = values::duration, help_heading = "Replay and verification")]
    reconnect_limit: Duration,
    #[command(flatten)]
    throttle: ThrottleArgs,
    #[command(flatten)]
    cutover: CutOverArgs,
    #[command(flatten)]
    run: RunArgs,
    /// What was given on the command line or by the environment.
    #[arg(skip)]
    pub given: GivenOptions,
}

impl RevertArgs {
    fn original(&self) -> Result<TableName> {
        let name = self.name.as_deref().or(self.table.as_deref());
        match (
            name.and_then(|name| name.split_once('.')),
            name,
            &self.database,
        ) {
            (Some((schema, table)), _, None) => Ok(TableName::new(schema, table)),
            (_, Some(table), Some(schema)) => Ok(TableName::new(schema, table)),
            (None, Some(_), None) => Err(Failure::usage("no schema is given")
                .remedy("give --database, or name the table as `schema.table`")),
            (_, None, _) => Err(Failure::usage("no table is given")
                .remedy("give SCHEMA.TABLE, or --database and --table")),
        }
    }

    /// The settings of the run.
    ///
    /// # Errors
    /// A wrong command line, or connection files that cannot be read.
    pub fn resolve(self) -> Result<Settings> {
        let original = self.original()?;
        let groups = SettingsArgs {
            engine: EngineArgs {
                chunk_time: self.chunk_time,
                workers: self.workers,
                apply_workers: self.apply_workers,
                replay: self.replay,
                verify: self.verify,
                backlog_memory: self.backlog_memory,
                reconnect_limit: self.reconnect_limit,
                chunk_rows_max: 50_000,
                chunk_size: None,
                // Nothing is copied, so nothing is held back for a copy.
                copy: CopySetting::Locking,
                defer_indexes: DeferIndexes::Off,
                skip_duplicate_scan: true,
                compress_binlog: Switch::Auto,
                analyze: Switch::Off,
            },
            throttle: self.throttle,
            cutover: self.cutover,
            run: self.run,
            option_files: self.connection.option_files(),
            given: self.given,
        };
        let mut settings = groups.resolve(self.connection.resolve()?, original, String::new())?;
        settings.task = Task::Revert(WhichRun {
            id: self.run_id,
            old_table: self.old_table,
        });
        Ok(settings)
    }

    /// Says what would be done.
    ///
    /// # Errors
    /// What stands against it; what the server answered.
    pub async fn plan(self) -> Result<ExitCode> {
        let run = workflow::Run::connect(self.resolve()?, CancellationToken::new()).await?;
        for line in workflow::plan_back(&run).await? {
            println!("{line}");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A run on this machine that keeps the table revertible goes back itself: tells it to, and waits for
    /// it. `None`: there is none.
    ///
    /// # Errors
    /// It does not answer, or could not go back.
    pub async fn ask_keeper(&self) -> Result<Option<ExitCode>> {
        let socket = self.socket()?;
        let Ok(status) = ask_status(&socket).await else {
            return Ok(None);
        };
        if status["revertible"].is_null() {
            return Ok(None);
        }
        if self.dry_run {
            println!(
                "a run keeps the table revertible: it swaps back at once; {} rows would not fit",
                status["revertible"]["misfits"]
            );
            return Ok(Some(ExitCode::SUCCESS));
        }
        control::client::send(&socket, "revert").await?;
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let Ok(status) = ask_status(&socket).await else {
                break;
            };
            if let Some(why) = status["revertible"]["refused"].as_str() {
                return Err(Failure::new(FailureKind::DoesNotFit, why).remedy(
                    "correct these rows in the table, then try again; the table is still kept revertible",
                ));
            }
        }
        self.kept_run_reverted().await.map(Some)
    }

    fn socket(&self) -> Result<PathBuf> {
        Ok(match &self.run.control_socket {
            Some(path) => path.clone(),
            None => control::default_socket_path(&self.original()?),
        })
    }

    /// The other run has ended: the history says how.
    async fn kept_run_reverted(&self) -> Result<ExitCode> {
        let original = self.original()?;
        match workflow::last_run(self.connection.clone().resolve()?, &original).await? {
            Some(done) => {
                println!("{done}");
                Ok(ExitCode::SUCCESS)
            }
            None => Err(Failure::failed(
                "the run that kept the table revertible has ended without going back",
            )
            .remedy("its own messages say why; the same command again goes back without it")),
        }
    }
}

async fn ask_status(socket: &std::path::Path) -> Result<serde_json::Value> {
    let text = control::client::send(socket, "status json").await?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::failed(format!("the status cannot be read: {error}")))
}
