//! Measures tools in turn, on the same table, with the same load beside them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::process::Command;

use crate::Result;
use crate::report::{Machine, Measured, Report};
use crate::rivals::{Rival, Way, rivals};
use crate::server::{Target, binlog_bytes, run as run_sql};
use crate::shapes::Shape;
use crate::traffic::{Load, Traffic};

/// What is measured.
#[derive(Args)]
pub struct BenchArgs {
    /// Rows of the plain table; the others have fewer
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
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
    /// How often each is measured; the median by wall time is reported
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// The program
    #[arg(long)]
    changeling: PathBuf,
    /// Where bench.json and bench.md go
    #[arg(long)]
    out: PathBuf,
}

/// Transactions a second that see how the application fares when there is no other load.
const PROBE_RATE: u32 = 50;
/// No tool is given more.
const LIMIT: Duration = Duration::from_secs(1800);
/// Between two runs, for the server to come to rest.
const REST: Duration = Duration::from_secs(3);

/// Measures all, writes the report after each kind of table.
pub async fn run(target: &Target, database: &str, arguments: &BenchArgs) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    let mut report = Report {
        machine: Machine::look(&mut conn).await?,
        rows: arguments.rows,
        runs: Vec::new(),
    };
    let rivals = rivals(target, database, &arguments.changeling);
    for shape in &arguments.shapes {
        let rows = (arguments.rows as f64 * shape.share_of_rows()) as u64;
        eprintln!("filling: {}, {rows} rows", shape.name());
        shape.fill(&mut conn, "t", rows).await?;
        for rate in &arguments.rates {
            for rival in &rivals {
                let is_wanted = arguments.only.is_empty()
                    || arguments
                        .only
                        .iter()
                        .any(|only| rival.name.contains(only.as_str()));
                if !is_wanted {
                    continue;
                }
                let mut all = Vec::new();
                for _ in 0..arguments.repeat {
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
        report.write(&arguments.out)?;
    }
    eprintln!(
        "written: {0}/bench.json, {0}/bench.md",
        arguments.out.display()
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
        Way::Program { program, arguments } => run_program(program, arguments).await?,
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

/// What a program has used.
#[derive(Default)]
struct Usage {
    cpu_seconds: f64,
    peak_memory_mib: f64,
}

/// Runs a program to its end, looking at it in /proc meanwhile; gives the end of what it printed if it
/// fails.
async fn run_program(program: &Path, arguments: &[String]) -> Result<(Usage, Option<String>)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().ok_or("the program has no number")?;
    let watch = tokio::spawn(watch(pid));
    let waited = tokio::time::timeout(LIMIT, async {
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = tokio::join!(tail(&mut stdout), tail(&mut stderr));
        Ok::<_, std::io::Error>((child.wait().await?, format!("{stdout}\n{stderr}")))
    })
    .await;
    let usage = watch.await?;
    let (status, printed) = waited.map_err(|_| format!("not done within {LIMIT:?}"))??;
    let failure = (!status.success()).then(|| format!("{status}: {}", printed.trim()));
    Ok((usage, failure))
}

/// Reads to the end and keeps the last kilobyte.
async fn tail(source: &mut Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    use tokio::io::AsyncReadExt;
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Some(source) = source
        && let Ok(count @ 1..) = source.read(&mut buffer).await
    {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(1024));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Looks at a process until it is gone. The last look is at most a few milliseconds before its end.
async fn watch(pid: u32) -> Usage {
    const TICKS_A_SECOND: f64 = 100.0; // USER_HZ, the same on all Linux machines
    let mut usage = Usage::default();
    loop {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else {
            return usage;
        };
        // After the name in parentheses: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let number = |at: usize| {
            fields
                .get(at - 3)
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        usage.cpu_seconds = usage
            .cpu_seconds
            .max((number(14) + number(15)) / TICKS_A_SECOND);
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        usage.peak_memory_mib = usage.peak_memory_mib.max(peak.unwrap_or(0.0) / 1024.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Removes what the tools leave beside the table.
async fn tidy(conn: &mut Conn, database: &str) -> Result<()> {
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
