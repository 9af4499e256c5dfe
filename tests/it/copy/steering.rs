//! Pausing, ending early, going on, and losing connections.

use std::sync::Arc;

use changeling::chunk::LowWatermark;
use changeling::copy::{self, CopyPlan, CopyReport};
use changeling::failure::Result;
use changeling::pace::{Pace, ThrottleReason};
use changeling::progress::Progress;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::setup::{Steering, Tables};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, assert_same_rows, both, eventually};

const ROWS: u64 = 2000;

async fn table(db: &TestDb) -> Tables {
    db.sql("CREATE TABLE t (a INT, b VARCHAR(20), v INT, PRIMARY KEY (a, b))")
        .await;
    let rows: Vec<String> = (0..ROWS)
        .map(|n| format!("({}, 'k{}', {n})", n / 50, n % 50))
        .collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    Tables::new(db, "").await
}

fn stopped() -> Pace {
    Pace {
        stop: Some(ThrottleReason {
            source: "commanded",
            subject: "test".into(),
            value: 1.0,
            limit: f64::NAN,
            unit: "",
        }),
        ..Pace::default()
    }
}

/// A copy under way: what holds it, and what it tells.
struct Running {
    steering: Steering,
    progress: Arc<Progress>,
    watermark: watch::Receiver<LowWatermark>,
    task: JoinHandle<Result<CopyReport>>,
}

fn start(tables: &Tables, plan: CopyPlan, pace: Pace) -> Running {
    let steering = Steering::new(10);
    steering.pace.send_replace(pace);
    let progress = Arc::new(Progress::default());
    let (sender, watermark) = watch::channel(LowWatermark {
        next: plan.from.clone(),
        ..LowWatermark::default()
    });
    let copying = copy::run(
        plan,
        tables.interlock(),
        steering.controls(),
        progress.clone(),
        sender,
    );
    Running {
        task: tokio::spawn(copying),
        steering,
        progress,
        watermark,
    }
}

#[tokio::test]
async fn a_paused_copy_stands_still_and_an_ended_one_goes_on_where_it_was() {
    both(async |server| {
        let db = TestDb::create(server, "steering").await;
        let tables = table(&db).await;
        let mut first = start(&tables, tables.plan(), stopped());
        let copied = async || -> u64 { db.one("SELECT COUNT(*) FROM _t_gho").await };
        // Paused from the start, nothing is copied; slowed down, it goes on and can be paused again.
        assert_eq!(copied().await, 0);
        first
            .steering
            .tunables
            .send_modify(|tunables| tunables.copy_workers = 1);
        first.steering.pace.send_replace(Pace {
            nice_ratio: 2.0,
            ..Pace::default()
        });
        first
            .watermark
            .wait_for(|watermark| watermark.chunks >= 5)
            .await
            .unwrap();
        first.steering.pace.send_replace(stopped());
        let mut before = copied().await;
        eventually(PATIENCE, "the copy stands still", async || {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let now = copied().await;
            let still = now == before;
            before = now;
            still.then_some(())
        })
        .await;
        first.steering.cancel.cancel();
        let report = first.task.await.unwrap().unwrap();
        assert!(!report.watermark.finished);
        let done = report.watermark.rows;
        assert!((50..ROWS).contains(&done), "{done} rows done");

        let mut plan = tables.plan();
        plan.from = report.watermark.next;
        let second = start(&tables, plan, Pace::default());
        let progress = second.progress.clone();
        let report = second.task.await.unwrap().unwrap();
        assert!(report.watermark.finished);
        assert_eq!(progress.rows_copied.get(), ROWS - done);
        assert_same_rows(&db, "t", "_t_gho").await;
    })
    .await;
}

#[tokio::test]
async fn killed_connections_cost_time_only() {
    both(async |server| {
        let db = TestDb::create(server, "killed").await;
        let tables = table(&db).await;
        let running = start(
            &tables,
            tables.plan(),
            Pace {
                nice_ratio: 1.0,
                ..Pace::default()
            },
        );
        let killer = db.server.connect().await;
        let own = format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%`{}`.`t`%' AND ID <> CONNECTION_ID()",
            db.name
        );
        let mut kills = 0;
        while !running.task.is_finished() {
            for id in killer.rows::<u64>(&own).await {
                // It may have ended by itself.
                let kind = if kills % 3 == 0 { "QUERY" } else { "CONNECTION" };
                if kills < 30 && killer.try_sql(format!("KILL {kind} {id}")).await.is_ok() {
                    kills += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        let report = running.task.await.unwrap().unwrap();
        assert!(report.watermark.finished);
        assert!(kills > 0, "nothing was killed");
        assert_eq!(report.watermark.rows, ROWS);
        assert_same_rows(&db, "t", "_t_gho").await;
    })
    .await;
}
