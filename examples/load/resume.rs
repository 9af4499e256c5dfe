//! Measures what is left to do after a run was killed, and what its phases cost.

use std::path::Path;
use std::time::{Duration, Instant};

use changeling::control::client;
use clap::Args;
use mysql_async::Conn;
use serde::Serialize;

use crate::Result;
use crate::bench::{MeasuringArgs, tidy};
use crate::process::Running;
use crate::report::write_table;
use crate::rivals::migration;
use crate::server::Target;
use crate::shapes::Shape;

/// What is measured.
#[derive(Args)]
pub struct ResumeArgs {
    /// Kinds of tables
    #[arg(long, value_enum, value_delimiter = ',', default_value = "one-index")]
    shapes: Vec<Shape>,
    /// The run is killed at this percentage, of its rows and of its time
    #[arg(long, default_value_t = 80)]
    percent: u32,
    /// Ways of comparison
    #[arg(long, value_delimiter = ',', default_value = "off,after,during")]
    verify: Vec<String>,
    #[command(flatten)]
    measuring: MeasuringArgs,
}

/// When a run is killed.
#[derive(Clone, Copy)]
enum When {
    /// So much of the rows is copied.
    Rows(f64),
    /// So much time has passed.
    Time(Duration),
}

/// One run, its interruption, and the rest.
#[derive(Serialize)]
struct Measured {
    table: &'static str,
    verify: String,
    whole_seconds: f64,
    /// From the last look at a run that went through.
    copy_seconds: f64,
    verify_seconds: f64,
    /// The rest after a kill by rows, and how many rows in a hundred were copied then.
    rest_by_rows_seconds: f64,
    killed_at_percent: f64,
    /// The rest after a kill by time.
    rest_by_time_seconds: f64,
}

/// What was seen last.
#[derive(Default)]
struct Seen {
    percent: f64,
    copy: f64,
    phases: Vec<(String, f64)>,
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A server is given this long to come to rest.
const REST: Duration = Duration::from_secs(2);

/// Measures all, and writes resume.json and resume.md.
pub async fn run(target: &Target, database: &str, arguments: &ResumeArgs) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    let mut all = Vec::new();
    for shape in &arguments.shapes {
        for verify in &arguments.verify {
            for _ in 0..arguments.measuring.repeat.max(1) {
                let measured =
                    measure(target, database, arguments, (*shape, verify), &mut conn).await?;
                eprintln!("{}", measured.line());
                all.push(measured);
            }
        }
    }
    let head = format!(
        "| table | comparison | whole s | copy s | comparison s | × copy | rest s, killed at the rows | × whole | rest s, \
         killed at {} % of the time | × whole |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        arguments.percent
    );
    write_table(
        &arguments.measuring.out,
        "resume",
        &all,
        &head,
        Measured::line,
    )
}

impl Measured {
    /// A row of the table.
    fn line(&self) -> String {
        format!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1} ({:.0} %) | {:.2} | {:.1} | {:.2} |",
            self.table,
            self.verify,
            self.whole_seconds,
            self.copy_seconds,
            self.verify_seconds,
            self.verify_seconds / self.copy_seconds,
            self.rest_by_rows_seconds,
            self.killed_at_percent,
            self.rest_by_rows_seconds / self.whole_seconds,
            self.rest_by_time_seconds,
            self.rest_by_time_seconds / self.whole_seconds,
        )
    }
}

async fn measure(
    target: &Target,
    database: &str,
    arguments: &ResumeArgs,
    (shape, verify): (Shape, &str),
    conn: &mut Conn,
) -> Result<Measured> {
    let rows = (arguments.measuring.rows as f64 * shape.share_of_rows()) as u64;
    let socket = std::env::temp_dir().join(format!("changeling-bench-{}.sock", std::process::id()));
    let options = [format!("--verify={verify}")];
    let command = migration(target, database, &socket, &options);
    let share = f64::from(arguments.percent) / 100.0;
    fill(conn, database, shape, rows).await?;
    let start = Instant::now();
    let whole = Running::start(&arguments.measuring.changeling, &command)?;
    let seen = to_its_end(whole, &socket).await?;
    let whole_seconds = start.elapsed().as_secs_f64();
    let mut rests = Vec::new();
    for mut when in [
        When::Rows(share * 100.0),
        When::Time(Duration::from_secs_f64(whole_seconds * share)),
    ] {
        let killed = loop {
            fill(conn, database, shape, rows).await?;
            let start = Instant::now();
            let program = Running::start(&arguments.measuring.changeling, &command)?;
            if let Some(killed) = until(program, &socket, when).await? {
                break killed;
            }
            // No run takes as long as the other: this one was through before.
            when = When::Time(start.elapsed().mul_f64(share));
        };
        let start = Instant::now();
        to_its_end(
            Running::start(&arguments.measuring.changeling, &command)?,
            &socket,
        )
        .await?;
        rests.push((start.elapsed().as_secs_f64(), killed.percent));
    }
    let phase = |name: &str| -> f64 {
        let of_it = seen.phases.iter().filter(|(phase, _)| phase == name);
        // (The sum of nothing is -0.0.)
        of_it.fold(0.0, |sum, (_, time)| sum + time)
    };
    Ok(Measured {
        table: shape.name(),
        verify: verify.to_string(),
        whole_seconds,
        copy_seconds: seen.copy,
        verify_seconds: phase("verify"),
        rest_by_rows_seconds: rests[0].0,
        killed_at_percent: rests[0].1,
        rest_by_time_seconds: rests[1].0,
    })
}

async fn fill(conn: &mut Conn, database: &str, shape: Shape, rows: u64) -> Result<()> {
    tidy(conn, database).await?;
    shape.fill(conn, "t", rows).await?;
    tokio::time::sleep(REST).await;
    Ok(())
}

async fn to_its_end(mut program: Running, socket: &Path) -> Result<Seen> {
    let mut seen = Seen::default();
    while !program.has_ended() {
        look(socket, &mut seen).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    match program.finish().await? {
        (_, None) => Ok(seen),
        (_, Some(failure)) => Err(failure.into()),
    }
}

/// Kills it when it is time; `None` if it ends before.
async fn until(mut program: Running, socket: &Path, when: When) -> Result<Option<Seen>> {
    let start = Instant::now();
    let mut seen = Seen::default();
    loop {
        look(socket, &mut seen).await;
        let due = match when {
            When::Rows(percent) => seen.percent >= percent,
            When::Time(time) => start.elapsed() >= time,
        };
        if due {
            program.kill().await?;
            return Ok(Some(seen));
        }
        if program.has_ended() {
            return match program.finish().await? {
                (_, None) => Ok(None),
                (_, Some(failure)) => Err(failure.into()),
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(socket: &Path, seen: &mut Seen) {
    let Ok(answer) = client::send(socket, "status json").await else {
        return;
    };
    let Ok(status) = serde_json::from_str::<serde_json::Value>(&answer) else {
        return;
    };
    let number = |name: &str| status.get(name).and_then(serde_json::Value::as_f64);
    seen.percent = number("percent").unwrap_or(seen.percent);
    seen.copy = number("copy_s").unwrap_or(seen.copy);
    if let Some(phases) = status.get("past_phases")
        && let Ok(phases) = serde_json::from_value(phases.clone())
    {
        seen.phases = phases;
    }
}
