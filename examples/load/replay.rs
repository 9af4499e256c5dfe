//! Measures how replay keeps up: bursts while the cut-over is held, a steady stream while rows are copied,
//! and memory with a large backlog.

use std::path::Path;
use std::time::{Duration, Instant};

use changeling::control::client;
use clap::{Args, ValueEnum};
use mysql_async::Conn;
use serde::Serialize;

use crate::Result;
use crate::bench::MeasuringArgs;
use crate::process::Running;
use crate::report::write_table;
use crate::rivals::migration;
use crate::server::{Target, run as run_sql};
use crate::shapes::Shape;
use crate::traffic::{Load, Traffic};

/// What is measured.
#[derive(Args)]
pub struct ReplayArgs {
    /// Which
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "burst,burst-reread,hot-rows,steady,backlog"
    )]
    scenarios: Vec<Scenario>,
    #[command(flatten)]
    measuring: MeasuringArgs,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One UPDATE of 200,000 rows while the cut-over is held, values taken from the binlog
    Burst,
    /// The same, values read again from the original
    BurstReread,
    /// 200 UPDATEs of the same 1,000 rows while the cut-over is held
    HotRows,
    /// 2,000 transactions of one row a second for a minute, copying begins with them
    Steady,
    /// One transaction of five times as many changes as the table has rows while the cut-over is held
    Backlog,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Scenario::Burst => "200,000 rows by one UPDATE, images",
            Scenario::BurstReread => "200,000 rows by one UPDATE, reread",
            Scenario::HotRows => "1,000 rows, 200 times each",
            Scenario::Steady => "2,000 one-row transactions a second",
            Scenario::Backlog => "one transaction of 5 changes a row",
        }
    }

    fn replay(self) -> &'static str {
        match self {
            Scenario::BurstReread => "reread",
            _ => "image",
        }
    }

    /// Statements of the burst, and whether they are one transaction.
    fn statements(self) -> (Vec<String>, bool) {
        let update = |rows: u64| format!("UPDATE t SET k = k + 1 WHERE id <= {rows}");
        match self {
            Scenario::Burst | Scenario::BurstReread => (vec![update(200_000)], false),
            Scenario::HotRows => (vec![update(1_000); 200], false),
            Scenario::Backlog => (vec!["UPDATE t SET k = k + 1".to_string(); 5], true),
            Scenario::Steady => (Vec::new(), false),
        }
    }
}

/// What came of one.
#[derive(Serialize)]
struct Measured {
    scenario: &'static str,
    /// What the program said if it failed.
    failure: Option<String>,
    /// How long the changes took.
    burst_seconds: f64,
    /// From the first change until the program was gone, the cut-over released at the last change.
    until_exit_seconds: f64,
    /// Rows were copied for so long (steady only).
    copy_seconds: Option<f64>,
    /// Of the rate asked for (steady only).
    rate_kept: Option<f64>,
    lag_max_seconds: f64,
    backlog_rows_max: f64,
    backlog_mib_max: f64,
    cpu_seconds: f64,
    peak_memory_mib: f64,
}

/// What was seen at most.
#[derive(Default)]
struct Peaks {
    lag: f64,
    rows: f64,
    bytes: f64,
    copy: f64,
}

/// Between two looks at the program.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the program may take until it holds the cut-over.
const HOLD_LIMIT: Duration = Duration::from_secs(600);
/// The steady stream.
const STEADY: (u32, Duration) = (2000, Duration::from_secs(60));

/// Measures all, and writes replay.json and replay.md.
pub async fn run(target: &Target, database: &str, arguments: &ReplayArgs) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    let mut all = Vec::new();
    for scenario in &arguments.scenarios {
        for _ in 0..arguments.measuring.repeat.max(1) {
            run_sql(&mut conn, "DROP TABLE IF EXISTS _t_del").await?;
            Shape::OneIndex
                .fill(&mut conn, "t", arguments.measuring.rows)
                .await?;
            let measured = measure(target, database, arguments, *scenario, &mut conn).await?;
            eprintln!("{}", measured.line());
            all.push(measured);
            run_sql(&mut conn, "DROP TABLE IF EXISTS _t_del").await?;
        }
    }
    let head = "| | burst s | until exit s | × burst | beyond s | lag max s | backlog rows | backlog MiB | CPU s | peak MiB |\n\
                |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    write_table(
        &arguments.measuring.out,
        "replay",
        &all,
        head,
        Measured::line,
    )
}

impl Measured {
    /// A row of the table.
    fn line(&self) -> String {
        let failed = self
            .failure
            .as_ref()
            .map_or(String::new(), |failure| format!(" (FAILED: {failure})"));
        let steady = match (self.copy_seconds, self.rate_kept) {
            (Some(copy), Some(kept)) => {
                format!(
                    " (copy {copy:.1} s, {:.0} % of the rate kept)",
                    kept * 100.0
                )
            }
            _ => String::new(),
        };
        format!(
            "| {}{steady}{failed} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1} | {:.0} |",
            self.scenario,
            self.burst_seconds,
            self.until_exit_seconds,
            self.until_exit_seconds / self.burst_seconds,
            self.until_exit_seconds - self.burst_seconds,
            self.lag_max_seconds,
            self.backlog_rows_max,
            self.backlog_mib_max,
            self.cpu_seconds,
            self.peak_memory_mib,
        )
    }
}

async fn measure(
    target: &Target,
    database: &str,
    arguments: &ReplayArgs,
    scenario: Scenario,
    conn: &mut Conn,
) -> Result<Measured> {
    let socket = std::env::temp_dir().join(format!("changeling-bench-{}.sock", std::process::id()));
    let traffic = (scenario == Scenario::Steady).then(|| {
        Traffic::start(Load {
            target: target.clone(),
            database: database.to_string(),
            tables: vec!["t".to_string()],
            shape: Shape::OneIndex,
            rows: arguments.measuring.rows,
            rate: STEADY.0,
            workers: 32,
            changes: 1,
        })
    });
    let options = [
        format!("--replay={}", scenario.replay()),
        "--postpone-cut-over".to_string(),
    ];
    let command = migration(target, database, &socket, &options);
    let mut program = Running::start(&arguments.measuring.changeling, &command)?;
    let mut peaks = Peaks::default();
    let began = Instant::now();
    if scenario == Scenario::Steady {
        while began.elapsed() < STEADY.1 && !program.has_ended() {
            look(&socket, &mut peaks).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    if !is_held(&mut program, &socket, &mut peaks).await? {
        let (_, failure) = program.finish().await?;
        let why = failure.unwrap_or_default();
        return Err(format!("the program ended before it held the cut-over: {why}").into());
    }
    let start = match scenario {
        Scenario::Steady => began,
        _ => Instant::now(),
    };
    let (statements, as_one) = scenario.statements();
    if as_one {
        run_sql(conn, "BEGIN").await?;
    }
    for statement in &statements {
        run_sql(conn, statement).await?;
    }
    if as_one {
        run_sql(conn, "COMMIT").await?;
    }
    let burst_seconds = start.elapsed().as_secs_f64();
    let rate_kept = match traffic {
        Some(traffic) => Some(traffic.stop().await?.rate_kept),
        None => None,
    };
    client::send(&socket, "cut-over").await?;
    while !program.has_ended() {
        if matches!(
            scenario,
            Scenario::Backlog | Scenario::Burst | Scenario::BurstReread
        ) {
            look(&socket, &mut peaks).await;
        }
        tokio::time::sleep(LOOK_EVERY / 10).await;
    }
    let until_exit_seconds = start.elapsed().as_secs_f64();
    let (usage, failure) = program.finish().await?;
    Ok(Measured {
        scenario: scenario.name(),
        failure,
        burst_seconds,
        until_exit_seconds,
        copy_seconds: rate_kept.map(|_| peaks.copy),
        rate_kept,
        lag_max_seconds: peaks.lag,
        backlog_rows_max: peaks.rows,
        backlog_mib_max: peaks.bytes / 1_048_576.0,
        cpu_seconds: usage.cpu_seconds,
        peak_memory_mib: usage.peak_memory_mib,
    })
}

async fn is_held(program: &mut Running, socket: &Path, peaks: &mut Peaks) -> Result<bool> {
    let began = Instant::now();
    while look(socket, peaks).await.as_deref() != Some("postponed") {
        if program.has_ended() {
            return Ok(false);
        }
        if began.elapsed() > HOLD_LIMIT {
            return Err(format!("the cut-over was not reached within {HOLD_LIMIT:?}").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

/// The phase now; `None` if the program does not answer (yet, or any more).
async fn look(socket: &Path, peaks: &mut Peaks) -> Option<String> {
    let answer = client::send(socket, "status json").await.ok()?;
    let status: serde_json::Value = serde_json::from_str(&answer).ok()?;
    let number = |name: &str| status.get(name).and_then(serde_json::Value::as_f64);
    peaks.lag = peaks.lag.max(number("replay_lag_s").unwrap_or(0.0));
    peaks.rows = peaks.rows.max(number("backlog_rows").unwrap_or(0.0));
    peaks.bytes = peaks.bytes.max(number("backlog_bytes").unwrap_or(0.0));
    peaks.copy = peaks.copy.max(number("copy_s").unwrap_or(0.0));
    status.get("phase")?.as_str().map(str::to_string)
}
