//! `changeling plan`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionArgs;
use super::migrate::{StatementArgs, TopologyArgs};
use crate::failure::{Failure, FailureKind, Result};
use crate::observe::text;
use crate::settings::Settings;
use crate::workflow::{self, Plan, Run};

/// What to plan.
#[derive(Args, Debug, Clone)]
pub struct PlanArgs {
    #[command(flatten)]
    statement: StatementArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The replicas that the migration will be told to watch; without it they are found from the primary
    #[arg(long, env = "CHANGELING_REPLICAS", value_delimiter = ',')]
    replicas: Vec<String>,
    #[command(flatten)]
    topology: TopologyArgs,
    /// Sessions that have changed more rows are never killed for the table's lock
    #[arg(long, env = "CHANGELING_KILL_ROWS_MAX", default_value_t = 10_000)]
    kill_rows_max: u64,
    /// How the plan is written
    #[arg(long, env = "CHANGELING_FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// How the plan is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl PlanArgs {
    /// Looks and prints. Exit code 3 if a migration would be refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn run(self) -> Result<ExitCode> {
        let (table, alter) = self.statement.resolve()?;
        let mut settings = Settings::new(self.connection.resolve()?, table, alter);
        settings.throttle.replicas = self.replicas;
        settings.place = self.topology.place()?;
        settings.binlog_from = self.topology.binlog_from;
        settings.cutover.kill_rows_max = self.kill_rows_max;
        let run = Run::connect(settings, CancellationToken::new()).await?;
        let plan = workflow::plan(&run).await?;
        match self.format {
            Format::Text => print_text(&plan),
            Format::Json => println!(
                "{}",
                serde_json::to_string_pretty(&plan)
                    .map_err(|error| Failure::failed(format!("put the plan into JSON: {error}")))?
            ),
        }
        Ok(if plan.refused {
            ExitCode::from(FailureKind::Refused.exit_code())
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print_text(plan: &Plan) {
    println!("ALTER TABLE {} {}", plan.table, plan.alter);
    let line = |name: &str, value: &str| println!("  {name:<14} {value}");
    line(
        "server",
        &format!("{}, {} replica(s)", plan.server, plan.replicas),
    );
    line(
        "table",
        &format!(
            "about {} rows, {}: as much again is needed, and as much in the binlog",
            text::grouped(plan.rows),
            text::bytes(plan.bytes)
        ),
    );
    for (name, value) in [
        ("native", &plan.native),
        ("advice", &plan.advice),
        ("migration key", &plan.migration_key),
        ("copy", &plan.copy),
        ("replay", &plan.replay),
        ("indexes", &plan.indexes),
    ] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    for (name, list) in [
        ("not", &plan.native_refused),
        ("in the way", &plan.blockers),
        ("application", &plan.application),
    ] {
        for value in list {
            line(name, value);
        }
    }
    line("way back", &plan.way_back);
    for finding in &plan.findings {
        println!("{}: {} [{}]", finding.severity, finding.what, finding.code);
        println!("  hint: {}", finding.remedy);
    }
    println!(
        "{}",
        if plan.refused {
            "a migration would be refused"
        } else {
            "nothing stands against a migration"
        }
    );
}
