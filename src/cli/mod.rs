//! The command line: one file per command. Nothing else knows clap.

pub mod arguments;
pub mod cleanup;
pub mod connection;
pub mod ctl;
pub mod enums;
pub mod gh_ost;
pub mod history;
pub mod lint;
pub mod migrate;
pub mod pages;
pub mod plan;
pub mod rehearse;
pub mod revert;
mod run;
pub mod throttle;
pub mod values;
pub mod verify;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use run::run;

/// Online schema change for MySQL and MariaDB
#[derive(Parser, Debug)]
#[command(
    name = "changeling",
    version = env!("CHANGELING_VERSION"),
    disable_help_flag = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Print help
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// How logs are written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "CHANGELING_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    /// More to read: what helps to find a mistake
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Errors and warnings only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Alter a table while it is in use; the same command again goes on after an interruption
    #[command(disable_help_flag = true)]
    Migrate(Box<migrate::MigrateArgs>),
    /// The real thing without the swap, of a sample or of everything: ghost, copy, live replay, indexes,
    /// comparison; says what the whole would take, and removes its tables
    #[command(disable_help_flag = true)]
    Rehearse(Box<rehearse::RehearseArgs>),
    /// Take the last finished migration of a table back without losing writes made since
    #[command(disable_help_flag = true)]
    Revert(Box<revert::RevertArgs>),
    /// The runs of a table or schema: who, when, what, where in the binlog, and what came of it
    #[command(disable_help_flag = true)]
    History(Box<history::HistoryArgs>),
    /// Preflight, the way the server and this program would take, findings with remedies; changes nothing
    #[command(disable_help_flag = true)]
    Plan(Box<plan::PlanArgs>),
    /// Talk to a running migration: status, why, pause, resume, set, cut-over, postpone, revert,
    /// abort, drop
    #[command(disable_help_flag = true)]
    Ctl(ctl::CtlArgs),
    /// List the tables that runs have left, with age and size, and remove those named
    #[command(disable_help_flag = true)]
    Cleanup(Box<cleanup::CleanupArgs>),
    /// Compare two tables chunk by chunk, on one server or on two
    #[command(disable_help_flag = true)]
    Verify(Box<verify::VerifyArgs>),
    /// Say what in migration files destroys data, blocks, or breaks the deployed application
    #[command(disable_help_flag = true)]
    Lint(Box<lint::LintArgs>),
    /// Print the completions of a shell
    #[command(disable_help_flag = true)]
    Completions(pages::CompletionsArgs),
    /// Print a manual page, or write all of them into a folder
    #[command(disable_help_flag = true)]
    Man(pages::ManArgs),
}

/// Reads the program's arguments; `Err` is what clap wants to print, help and version included.
///
/// # Errors
/// See above.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> std::result::Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Some((_, options)) = matches.subcommand() {
        match &mut cli.command {
            Command::Migrate(run) => run.given = throttle::GivenOptions::of(options),
            Command::Rehearse(run) => run.migrate.given = throttle::GivenOptions::of(options),
            Command::Plan(run) => run.migrate.given = throttle::GivenOptions::of(options),
            Command::Revert(run) => run.given = throttle::GivenOptions::of(options),
            _ => {}
        }
    }
    Ok(cli)
}

/// `20261128130000`: the time now in UTC, for the old table's name.
pub fn stamp_now() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = crate::mysql::quote::civil_from_days((seconds / 86_400) as i64);
    let rest = seconds % 86_400;
    format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
