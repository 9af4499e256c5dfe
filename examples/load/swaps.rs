//! Measures what the application feels of the swap: beside whole runs of the program, and beside bare swaps by
//! hand in turn with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use changeling::control::client;
use clap::Args;
use fastrand::Rng;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::Result;
use crate::bench::{MeasuringArgs, tidy};
use crate::process::Running;
use crate::report::write_table;
use crate::rivals::migration;
use crate::server::{Target, run as run_sql};
use crate::shapes::Shape;

/// What is measured.
#[derive(Args)]
pub struct SwapsArgs {
    /// Swaps by the program, and as many by hand
    #[arg(long, default_value_t = 50)]
    swaps: u32,
    /// Writers at full speed
    #[arg(long, default_value_t = 8)]
    writers: u32,
    /// A transaction that has read the table stays open for so many seconds when one more run wants to swap;
    /// 0: none
    #[arg(long, default_value_t = 20)]
    held: u64,
    #[command(flatten)]
    measuring: MeasuringArgs,
}

/// A part of the measurement.
#[derive(Serialize)]
struct Measured {
    what: String,
    swaps: usize,
    /// From the permission to swap until it was over: of each the probe's longest update.
    median_ms: f64,
    nine_in_ten_ms: f64,
    longest_ms: f64,
    /// All updates of the probe that took longer than this many milliseconds, together.
    stalled_ms: f64,
    /// The probe's longest update in any of the runs, from their start to their end.
    whole_run_ms: f64,
    /// From the permission until it was over, on average.
    seconds: f64,
}

/// An update took longer: it has waited for more than a commit.
const NOTICED: Duration = Duration::from_millis(20);
/// Rows of the table: a run takes a moment only.
const ROWS: u64 = 10_000;
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// The probe is given this long to see the end of a swap.
const SETTLED: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A run is ready to swap by then.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// An update of the probe.
#[derive(Clone, Copy)]
struct Beat {
    since: Instant,
    took: Duration,
}

type Span = [Instant; 2];

/// Measures all, and writes swaps.json and swaps.md.
pub async fn run(target: &Target, database: &str, arguments: &SwapsArgs) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    tidy(&mut conn, database).await?;
    // The last row is the probe's alone.
    Shape::OneIndex.fill(&mut conn, "t", ROWS + 1).await?;
    // The copies by hand are not to lock rows of the table.
    run_sql(
        &mut conn,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )
    .await?;
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let mut writers = Vec::new();
    for _ in 0..arguments.writers {
        let writer = target.connect(Some(database)).await?;
        writers.push(tokio::spawn(write(writer, Arc::clone(&stop))));
    }
    let probe = tokio::spawn(probe(
        target.connect(Some(database)).await?,
        Arc::clone(&stop),
    ));
    let bench = Bench::new(target, database, arguments);
    let spans = bench.all(&mut conn).await;
    stop.store(true, Ordering::Relaxed);
    let beats = probe.await??;
    let seconds = began.elapsed().as_secs_f64();
    let (mut written, mut repeated) = (0, 0);
    for writer in writers {
        let (all, again) = writer.await??;
        written += all;
        repeated += again;
    }
    let spans = spans?;
    bench.clean(&mut conn).await?;

    let mut all = vec![
        measured("changeling", &beats, &spans.ours, &spans.runs),
        measured("by hand", &beats, &spans.by_hand, &spans.by_hand),
    ];
    if let Some((span, run)) = spans.held {
        let what = format!("changeling, held for {} s", arguments.held);
        all.push(measured(&what, &beats, &[span], &[run]));
    }
    for measured in &all {
        eprintln!("{}", measured.line());
    }
    eprintln!("the writers: {written} changes, {repeated} repeated after deadlocks");
    let head = format!(
        "| {} writers, {:.0} changes a second | swaps | median ms | 90 % ms | longest ms | longer than {} ms, \
         together, ms | longest of whole runs, ms | s |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
        arguments.writers,
        f64::from(written) / seconds,
        NOTICED.as_millis()
    );
    write_table(
        &arguments.measuring.out,
        "swaps",
        &all,
        &head,
        Measured::line,
    )
}

impl Measured {
    /// A row of the table.
    fn line(&self) -> String {
        format!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.2} |",
            self.what,
            self.swaps,
            self.median_ms,
            self.nine_in_ten_ms,
            self.longest_ms,
            self.stalled_ms,
            self.whole_run_ms,
            self.seconds
        )
    }
}

/// When what happened.
#[derive(Default)]
struct Spans {
    ours: Vec<Span>,
    /// The whole runs that these were the ends of.
    runs: Vec<Span>,
    by_hand: Vec<Span>,
    held: Option<(Span, Span)>,
}

struct Bench<'a> {
    target: &'a Target,
    database: &'a str,
    arguments: &'a SwapsArgs,
    socket: PathBuf,
    flag: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(target: &'a Target, database: &'a str, arguments: &'a SwapsArgs) -> Bench<'a> {
        let file = |end: &str| {
            std::env::temp_dir().join(format!("changeling-bench-{}.{end}", std::process::id()))
        };
        Bench {
            target,
            database,
            arguments,
            socket: file("sock"),
            flag: file("flag"),
        }
    }

    async fn all(&self, conn: &mut Conn) -> Result<Spans> {
        let mut spans = Spans::default();
        let mut hands = [
            self.target.connect(Some(self.database)).await?,
            self.target.connect(Some(self.database)).await?,
        ];
        let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
        let under_lock = !version.unwrap_or_default().contains("MariaDB");
        for _ in 0..self.arguments.swaps {
            let (span, run) = self.swap(conn, Duration::ZERO).await?;
            spans.ours.push(span);
            spans.runs.push(run);
            let length = span[1] - span[0];
            spans
                .by_hand
                .push(by_hand(conn, &mut hands, under_lock, length).await?);
        }
        if self.arguments.held > 0 {
            let held = Duration::from_secs(self.arguments.held);
            spans.held = Some(self.swap(conn, held).await?);
        }
        Ok(spans)
    }

    /// A run that is kept from swapping until it could; then, after a transaction has held the table for a while,
    /// it is let go. What is timed is from there, and from the run's start, to some time after its end.
    async fn swap(&self, conn: &mut Conn, held: Duration) -> Result<(Span, Span)> {
        std::fs::write(&self.flag, "")?;
        let options = [format!(
            "--postpone-cut-over-flag-file={}",
            self.flag.display()
        )];
        let command = migration(self.target, self.database, &self.socket, &options);
        let start = Instant::now();
        let mut program = Running::start(&self.arguments.measuring.changeling, &command)?;
        ready(&mut program, &self.socket).await?;
        let holder = (!held.is_zero()).then(|| {
            let (target, database) = (self.target.clone(), self.database.to_string());
            tokio::spawn(async move { hold(&target, &database, held).await })
        });
        let go = Instant::now();
        std::fs::remove_file(&self.flag)?;
        if let (_, Some(failure)) = program.finish().await? {
            return Err(failure.into());
        }
        tokio::time::sleep(SETTLED).await;
        let end = Instant::now();
        if let Some(holder) = holder {
            holder.await??;
        }
        run_sql(conn, "DROP TABLE IF EXISTS _t_del").await?;
        Ok(([go, end], [start, end]))
    }

    async fn clean(&self, conn: &mut Conn) -> Result<()> {
        if self.flag.exists() {
            std::fs::remove_file(&self.flag)?;
        }
        tidy(conn, self.database).await
    }
}

/// Waits until the run could swap.
async fn ready(program: &mut Running, socket: &Path) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while Instant::now() < deadline && !program.has_ended() {
        if let Ok(answer) = client::send(socket, "status json").await
            && let Ok(status) = serde_json::from_str::<serde_json::Value>(&answer)
            && status.get("phase").and_then(serde_json::Value::as_str) == Some("postponed")
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err("the run did not come to its swap".into())
}

/// A transaction that has read the table and does nothing.
async fn hold(target: &Target, database: &str, time: Duration) -> Result<()> {
    let mut conn = target.connect(Some(database)).await?;
    run_sql(&mut conn, "BEGIN").await?;
    run_sql(&mut conn, "SELECT * FROM t LIMIT 1").await?;
    tokio::time::sleep(time).await;
    run_sql(&mut conn, "COMMIT").await?;
    Ok(conn.disconnect().await?)
}

/// A bare swap, LOCK TABLES and RENAME without any last change; by two sessions where the server allows no RENAME
/// under the lock. What happens by chance happens the more the longer one looks: as long as beside ours.
async fn by_hand(
    conn: &mut Conn,
    hands: &mut [Conn; 2],
    under_lock: bool,
    length: Duration,
) -> Result<Span> {
    run_sql(conn, "CREATE TABLE by_hand LIKE t").await?;
    run_sql(conn, "INSERT INTO by_hand SELECT * FROM t").await?;
    tokio::time::sleep(SETTLED).await;
    let start = Instant::now();
    tokio::time::sleep(length.saturating_sub(SETTLED)).await;
    let [first, second] = hands;
    let rename = "RENAME TABLE t TO aside, by_hand TO t";
    run_sql(first, "LOCK TABLES t WRITE, by_hand WRITE").await?;
    if under_lock {
        run_sql(first, rename).await?;
        run_sql(first, "UNLOCK TABLES").await?;
    } else {
        let unlock = async {
            // Until the RENAME waits: it comes before all writers then.
            tokio::time::sleep(Duration::from_millis(2)).await;
            run_sql(first, "UNLOCK TABLES").await
        };
        let (renamed, unlocked) = tokio::join!(run_sql(second, rename), unlock);
        renamed.and(unlocked)?;
    }
    tokio::time::sleep(SETTLED).await;
    let end = Instant::now();
    run_sql(conn, "DROP TABLE aside").await?;
    Ok([start, end])
}

/// Changes rows as fast as the server answers; returns how many, and how many it had to change again.
async fn write(mut conn: Conn, stop: Arc<AtomicBool>) -> Result<(u32, u32)> {
    let (mut written, mut repeated) = (0, 0);
    let mut rng = Rng::new();
    while !stop.load(Ordering::Relaxed) {
        let (id, k) = (rng.u64(1..=ROWS), rng.u32(..1_000_003));
        let change = match rng.u8(..10) {
            0 => format!("DELETE FROM t WHERE id = {id}"),
            1 => format!("REPLACE INTO t (id, k) VALUES ({id}, {k})"),
            _ => format!("UPDATE t SET k = {k} WHERE id = {id}"),
        };
        match conn.query_drop(change).await {
            Ok(()) => written += 1,
            Err(mysql_async::Error::Server(error)) if [1205, 1213].contains(&error.code) => {
                repeated += 1;
            }
            Err(error) => return Err(format!("a writer failed: {error}").into()),
        }
    }
    conn.disconnect().await?;
    Ok((written, repeated))
}

/// Updates a row of its own every five milliseconds.
async fn probe(mut conn: Conn, stop: Arc<AtomicBool>) -> Result<Vec<Beat>> {
    let mut beats = Vec::new();
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let since = Instant::now();
        let sql = format!("UPDATE t SET k = k + 1 WHERE id = {}", ROWS + 1);
        run_sql(&mut conn, &sql).await?;
        beats.push(Beat {
            since,
            took: since.elapsed(),
        });
    }
    conn.disconnect().await?;
    Ok(beats)
}

fn measured(what: &str, beats: &[Beat], spans: &[Span], runs: &[Span]) -> Measured {
    let within = |[from, to]: &Span| {
        let (from, to) = (*from, *to);
        let meets = move |beat: &&Beat| beat.since + beat.took >= from && beat.since <= to;
        beats.iter().filter(meets).map(|beat| beat.took)
    };
    let longest = |span: &Span| within(span).max().unwrap_or_default();
    let mut stalls: Vec<Duration> = spans.iter().map(longest).collect();
    stalls.sort_unstable();
    let at = |share: f64| {
        let last = stalls.len().saturating_sub(1) as f64;
        ms(stalls
            .get((last * share).round() as usize)
            .copied()
            .unwrap_or_default())
    };
    let noticed = spans.iter().flat_map(within).filter(|took| *took > NOTICED);
    let length: Duration = spans.iter().map(|[from, to]| *to - *from).sum();
    Measured {
        what: what.to_string(),
        swaps: spans.len(),
        median_ms: at(0.5),
        nine_in_ten_ms: at(0.9),
        longest_ms: at(1.0),
        stalled_ms: ms(noticed.sum()),
        whole_run_ms: ms(runs.iter().map(longest).max().unwrap_or_default()),
        seconds: length.as_secs_f64() / spans.len().max(1) as f64,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
