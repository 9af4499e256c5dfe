//! Writers at a fixed rate, and how long they waited.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::Result;
use crate::server::Target;
use crate::shapes::Shape;

/// What is written where.
pub struct Load {
    pub target: Target,
    pub database: String,
    /// Every transaction makes the same changes to each of these.
    pub tables: Vec<String>,
    pub shape: Shape,
    /// Rows 1 to this are changed.
    pub rows: u64,
    /// Transactions a second, of all workers.
    pub rate: u32,
    pub workers: u32,
    /// Changes of each table in a transaction.
    pub changes: u64,
}

/// Writers at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Seen>>>,
    start: Instant,
    rate: u32,
}

/// What one worker has seen.
#[derive(Default)]
struct Seen {
    /// Of each transaction, begin to commit, repetitions after deadlocks included.
    micros: Vec<u64>,
    repeated: u64,
}

/// What the application has seen.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    pub transactions: u64,
    pub repeated: u64,
    pub seconds: f64,
    /// Share of the wanted rate that was reached.
    pub rate_kept: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Traffic {
    /// Starts the writers.
    pub fn start(load: Load) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let load = Arc::new(load);
        let fresh = Arc::new(AtomicU64::new(load.rows + unused()));
        let workers = (0..load.workers)
            .map(|_| {
                let (load, stop, fresh) =
                    (Arc::clone(&load), Arc::clone(&stop), Arc::clone(&fresh));
                tokio::spawn(async move { work(&load, &stop, &fresh).await })
            })
            .collect();
        Traffic {
            stop,
            workers,
            start: Instant::now(),
            rate: load.rate,
        }
    }

    /// Whether one has failed; [`Traffic::stop`] tells why.
    pub fn has_failed(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Ends the writers.
    ///
    /// # Errors
    /// What a writer failed with.
    pub async fn stop(self) -> Result<Latencies> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.start.elapsed().as_secs_f64();
        let mut all = Seen::default();
        for worker in self.workers {
            let seen = worker.await??;
            all.micros.extend(seen.micros);
            all.repeated += seen.repeated;
        }
        all.micros.sort_unstable();
        let at = |share: f64| -> f64 {
            let last = all.micros.len().saturating_sub(1) as f64;
            let index = (last * share).round() as usize;
            all.micros.get(index).copied().unwrap_or(0) as f64 / 1000.0
        };
        let transactions = all.micros.len() as u64;
        Ok(Latencies {
            transactions,
            repeated: all.repeated,
            seconds,
            rate_kept: transactions as f64 / seconds / f64::from(self.rate),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        })
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transactions in {:.1} s ({:.0} % of the rate asked for), {} repeated after deadlocks; \
             latency p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms",
            self.transactions,
            self.seconds,
            self.rate_kept * 100.0,
            self.repeated,
            self.p50_ms,
            self.p99_ms,
            self.max_ms
        )
    }
}

/// A number above those that earlier writers on this table have used for their rows: they need fewer than
/// ten thousand a second.
fn unused() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() % 10_000_000) * 10_000
}

async fn work(load: &Load, stop: &AtomicBool, fresh: &AtomicU64) -> Result<Seen> {
    let mut conn = load.target.connect(Some(&load.database)).await?;
    let mut seen = Seen::default();
    let mut rng = Rng::new();
    let pause = Duration::from_secs_f64(f64::from(load.workers) / f64::from(load.rate));
    tokio::time::sleep(pause.mul_f64(rng.f64())).await;
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let fresh = fresh.fetch_add(2, Ordering::Relaxed);
        let seed = rng.u64(..);
        let start = Instant::now();
        loop {
            match transaction(load, &mut conn, fresh, seed).await {
                Ok(()) => break,
                Err(mysql_async::Error::Server(error)) if [1205, 1213].contains(&error.code) => {
                    seen.repeated += 1;
                    conn.query_drop("ROLLBACK").await?;
                }
                Err(error) => return Err(format!("a writer failed: {error}").into()),
            }
        }
        let micros = start.elapsed().as_micros();
        seen.micros.push(u64::try_from(micros).unwrap_or(u64::MAX));
    }
    conn.disconnect().await?;
    Ok(seen)
}

/// Some changes in one transaction, the same in all tables.
async fn transaction(
    load: &Load,
    conn: &mut Conn,
    fresh: u64,
    seed: u64,
) -> mysql_async::Result<()> {
    if let ([table], 1) = (load.tables.as_slice(), load.changes) {
        // A statement is a transaction.
        let mut rng = Rng::with_seed(seed);
        let change = load.shape.change(table, load.rows, fresh, &mut rng);
        return conn.query_drop(change).await;
    }
    conn.query_drop("BEGIN").await?;
    for table in &load.tables {
        let mut rng = Rng::with_seed(seed);
        for number in 0..load.changes {
            let change = load
                .shape
                .change(table, load.rows, fresh + number, &mut rng);
            conn.query_drop(change).await?;
        }
    }
    conn.query_drop("COMMIT").await
}
