//! Tables, writers and measurements for `scripts/demo` and `scripts/bench`.

mod bench;
mod compare;
mod process;
mod replay;
mod report;
mod resume;
mod rivals;
mod server;
mod shapes;
mod swaps;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use server::Target;
use shapes::Shape;

/// Tables, writers and measurements
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    target: TargetArgs,
    #[command(subcommand)]
    command: Command,
}

/// The server.
#[derive(Args)]
struct TargetArgs {
    /// HOST:PORT:USER:PASSWORD
    #[arg(long)]
    server: Target,
    /// The schema to work in; created if it is missing
    #[arg(long, default_value = "changeling_load")]
    database: String,
}

#[derive(Subcommand)]
enum Command {
    /// Creates and fills a table; one of that name is dropped first
    Fill {
        #[arg(long, default_value = "t")]
        table: String,
        #[arg(long, value_enum, default_value = "one-index")]
        shape: Shape,
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Make a second table with the same rows
        #[arg(long)]
        twin: Option<String>,
    },
    /// Writes to a filled table at a fixed rate until --stop-file appears, then prints what it saw
    Write {
        #[arg(long, default_value = "t")]
        table: String,
        #[arg(long, value_enum, default_value = "one-index")]
        shape: Shape,
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Make every change to this table too, in the same transaction
        #[arg(long)]
        twin: Option<String>,
        /// Transactions a second
        #[arg(long, default_value_t = 100)]
        rate: u32,
        #[arg(long, default_value_t = 4)]
        workers: u32,
        #[arg(long)]
        stop_file: PathBuf,
    },
    /// Runs one statement
    Sql { statement: String },
    /// Compares the rows of two tables by the server, byte by byte; exits with 1 if they differ
    Compare { a: String, b: String },
    /// Measures changeling beside native ALTER and the other tools that are on PATH
    Bench(bench::BenchArgs),
    /// Measures how replay keeps up
    Replay(replay::ReplayArgs),
    /// Measures what is left to do after a run was killed
    Resume(resume::ResumeArgs),
    /// Measures what the application feels of the swap
    Swaps(swaps::SwapsArgs),
}

/// A message for the user.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

#[tokio::main]
async fn main() -> Result<()> {
    let Cli { target, command } = Cli::parse();
    let database = target.database;
    let target = target.server;
    let mut conn = target.connect(None).await?;
    server::run(
        &mut conn,
        &format!("CREATE DATABASE IF NOT EXISTS `{database}`"),
    )
    .await?;
    server::run(&mut conn, &format!("USE `{database}`")).await?;
    match command {
        Command::Fill {
            table,
            shape,
            rows,
            twin,
        } => {
            shape.fill(&mut conn, &table, rows).await?;
            if let Some(twin) = twin {
                shape.fill(&mut conn, &twin, rows).await?;
            }
        }
        Command::Write {
            table,
            shape,
            rows,
            twin,
            rate,
            workers,
            stop_file,
        } => {
            let load = traffic::Load {
                target,
                database,
                tables: [table].into_iter().chain(twin).collect(),
                shape,
                rows,
                rate,
                workers,
                changes: 2,
            };
            let traffic = traffic::Traffic::start(load);
            while !stop_file.exists() && !traffic.has_failed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            println!("{}", traffic.stop().await?);
        }
        Command::Sql { statement } => server::run(&mut conn, &statement).await?,
        Command::Compare { a, b } => {
            let comparison = compare::compare(&mut conn, &database, &a, &b).await?;
            println!("{comparison}");
            if !comparison.is_equal() {
                std::process::exit(1);
            }
        }
        Command::Resume(arguments) => resume::run(&target, &database, &arguments).await?,
        Command::Swaps(arguments) => swaps::run(&target, &database, &arguments).await?,
        Command::Replay(arguments) => replay::run(&target, &database, &arguments).await?,
        Command::Bench(arguments) => bench::run(&target, &database, &arguments).await?,
    }
    Ok(())
}
