//! Measures tools in turn, on the same table, with the same load beside them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::Result;
use crate::process::{Running, Usage};
use crate::report::{Machine, Measured, Report};
use crate::rivals::{Rival, Way, rivals};
use crate::server::{Target, binlog_bytes, run as run_sql};
use crate::shapes::Shape;
use crate::traffic::{Load, Traffic};

/// What all measurements are told.
#[derive(Args)]
pub struct MeasuringArgs {
    /// Rows of the plain table; the other kinds have fewer
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// How often each is measured; of copies the median by wall time is reported, of everything else all
    #[arg(long, default_value_t = 1)]
    pub repeat: usize,
    /// The program
    #[arg(long)]
    pub changeling: PathBuf,
    /// The folder for what is reported, as JSON and Markdown
    #[arg(long)]
    pub out: PathBuf,
}

/// What is measured.
#[derive(Args)]
pub struct BenchArgs {
    /// Kinds of tables
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "one-index,five-indexes,wide,string-key"
    )]
    shapes: Vec<Shape>,
    /// Write transactions a second beside the tool; 0: a probe only
    #[arg(long, value_delimiter = ',', default_value = "0,400")]
    rates: Vec<u32>,
    /// Only tools whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    measuring: MeasuringArgs,
}

/// Transactions a second that see how the application fares when there is no other load.
const PROBE_RATE: u32 = 50;
/// Between two runs, for the server to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Measures all, writes the report after each kind of table.
pub async fn run(target: &Target, database: &str, arguments: &BenchArgs) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    let mut report = Report {
        machine: Machine::look(&mut conn).await?,
        rows: arguments.measuring.rows,
        runs: Vec::new(),
    };
    let rivals = rivals(target, database, &arguments.measuring.changeling);
    for shape in &arguments.shapes {
        let rows = (arguments.measuring.rows as f64 * shape.share_of_rows()) as u64;
        eprintln!("filling: {}, {rows} rows", shape.name());
        shape.fill(&mut conn, "t", rows).await?;
        for rate in &arguments.rates {
            for rival in rivals.iter().filter(|rival| rival.is_worth(*shape, *rate)) {
                let is_wanted = arguments.only.is_empty()
                    || arguments
                        .only
                        .iter()
                        .any(|only| rival.name.contains(only.as_str()));
                if !is_wanted {
                    continue;
                }
                let mut all = Vec::new();
                for _ in 0..arguments.measuring.repeat {
                    let load = load(target, database, *shape, rows, *rate);
                    let measured = measure(&mut conn, rival, load, *rate).await?;
                    eprintln!("{}, {rate}/s: {measured}", shape.name());
                    all.push(measured);
                    tidy(&mut conn, database).await?;
                }
                all.sort_by(|a, b| a.wall_seconds.total_cmp(&b.wall_seconds));
                report.runs.push(all.swap_remove(all.len() / 2));
            }
        }
        report.write(&arguments.measuring.out)?;
    }
    eprintln!(
        "written: {0}/copy.json, {0}/copy.md",
        arguments.measuring.out.display()
    );
    Ok(())
}

fn load(target: &Target, database: &str, shape: Shape, rows: u64, rate: u32) -> Load {
    Load {
        target: target.clone(),
        database: database.to_string(),
        tables: vec!["t".to_string()],
        shape,
        rows,
        rate: if rate == 0 { PROBE_RATE } else { rate },
        workers: if rate == 0 { 1 } else { 8 },
        changes: 2,
    }
}

/// One run with the load beside it.
async fn measure(conn: &mut Conn, rival: &Rival, load: Load, rate: u32) -> Result<Measured> {
    tokio::time::sleep(REST).await;
    let shape = load.shape;
    let traffic = Traffic::start(load);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes_before = binlog_bytes(conn).await?;
    let start = Instant::now();
    let (usage, failure) = match &rival.way {
        Way::Nothing(seconds) => {
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            (Usage::default(), None)
        }
        Way::Statement(sql) => (
            Usage::default(),
            run_sql(conn, sql).await.err().map(|e| e.to_string()),
        ),
        Way::Program { program, arguments } => Running::start(program, arguments)?.finish().await?,
    };
    let wall_seconds = start.elapsed().as_secs_f64();
    let bytes = binlog_bytes(conn).await?.saturating_sub(bytes_before);
    Ok(Measured {
        shape: shape.name().to_string(),
        load_rate: rate,
        tool: rival.name.to_string(),
        failure,
        wall_seconds,
        cpu_seconds: usage.cpu_seconds,
        peak_memory_mib: usage.peak_memory_mib,
        binlog_mib: bytes as f64 / 1_048_576.0,
        application: traffic.stop().await?,
    })
}

/// Removes what the tools leave beside the table.
pub async fn tidy(conn: &mut Conn, database: &str) -> Result<()> {
    let left: Vec<String> = conn
        .exec(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME <> 't'",
            (database,),
        )
        .await?;
    for table in left {
        run_sql(conn, &format!("DROP TABLE IF EXISTS `{table}`")).await?;
    }
    Ok(())
}
