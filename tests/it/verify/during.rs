//! The comparison behind the copy: `--verify=during`.

use std::sync::Arc;
use std::time::Duration;

use changeling::chunk::LowWatermark;
use changeling::failure::FailureKind;
use changeling::key::Key;
use changeling::progress::Progress;
use changeling::row::Cell;
use changeling::verify::{self, NoReplay};
use changeling::walk::Part;
use tokio::sync::watch;

use super::setup::plan;
use crate::copy::setup::{Steering, Tables};
use crate::resume::field::Field;
use crate::support::wait::PATIENCE;
use crate::support::{Program, TestDb, TestServer, both, eventually};

fn reached(id: i64) -> LowWatermark {
    LowWatermark {
        next: Some(Key(vec![Cell::Int(id)])),
        ..LowWatermark::default()
    }
}

/// Rows before 500 are copied; those behind are not there yet.
async fn half_copied(db: &TestDb) -> Tables {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    let rows: Vec<String> = (0..1000).map(|n| format!("({n}, {n})")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let tables = Tables::new(db, "ADD KEY (v)").await;
    db.sql("INSERT INTO _t_gho SELECT * FROM t WHERE id < 500")
        .await;
    tables
}

#[tokio::test]
async fn the_comparison_goes_no_further_than_the_copy() {
    both(async |server| {
        let db = TestDb::create(server, "behind").await;
        let tables = half_copied(&db).await;
        let copied = watch::Sender::new(LowWatermark::default());
        let (watermark, mut compared) = watch::channel(LowWatermark::default());
        let steering = Steering::new(100);
        let walking = tokio::spawn(verify::run(
            plan(&tables, Arc::new(NoReplay)),
            Part::Behind(None, copied.subscribe()),
            steering.controls(),
            Arc::new(Progress::default()),
            watermark,
        ));
        for (copy, comparison) in [(150, 100), (500, 400)] {
            copied.send_replace(reached(copy));
            let enough = compared.wait_for(|mark| mark.next == reached(comparison).next);
            tokio::time::timeout(PATIENCE, enough)
                .await
                .expect("it follows")
                .unwrap();
            // Whole chunks only, and never beyond the copy.
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(compared.borrow().next, reached(comparison).next);
            assert!(!compared.borrow().finished);
        }
        db.sql("INSERT INTO _t_gho SELECT * FROM t WHERE id >= 500")
            .await;
        copied.send_modify(|mark| mark.finished = true);
        let end = walking.await.unwrap().unwrap();
        assert!(end.finished);
        assert_eq!(end.rows, 1000);
    })
    .await;
}

#[tokio::test]
async fn damage_behind_the_copy_is_seen_before_the_copy_is_finished() {
    both(async |server| {
        let db = TestDb::create(server, "behind_damage").await;
        let tables = half_copied(&db).await;
        db.sql("UPDATE _t_gho SET v = -1 WHERE id = 300").await;
        let copied = watch::Sender::new(reached(500));
        let failure = verify::run(
            plan(&tables, Arc::new(NoReplay)),
            Part::Behind(None, copied.subscribe()),
            Steering::new(100).controls(),
            Arc::new(Progress::default()),
            watch::Sender::new(LowWatermark::default()),
        )
        .await
        .unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Difference);
        assert!(failure.to_string().contains("id=300 (v)"), "{failure}");
    })
    .await;
}

/// How many rows the run's checkpoint claims to be compared.
async fn rows_compared(db: &TestDb) -> u64 {
    let rows: Vec<u64> = db
        .connect()
        .await
        .try_rows(
            "SELECT CAST(COALESCE(JSON_VALUE(state, '$.verified.rows'), 0) AS UNSIGNED) FROM _t_ghk",
        )
        .await
        .unwrap_or_default();
    rows.first().copied().unwrap_or(0)
}

#[tokio::test]
async fn a_run_that_compares_behind_its_copy_is_exact_and_survives_kills() {
    both(async |server: &'static TestServer| {
        for kills in [0, 2] {
            let field = Field::start(server).await;
            let program = || field.program(server).args(["--verify=during"]);
            let mut before = 0;
            for _ in 0..kills {
                let live = program().spawn();
                let more = eventually(PATIENCE, "some rows more are compared", async || {
                    let now = rows_compared(&field.db).await;
                    (now > before).then_some(now)
                });
                before = more.await;
                let killed = live.kill().await;
                assert!(
                    killed.stderr.contains("entering phase `copy`")
                        && !killed.stderr.contains("entering phase `verify`"),
                    "compared while it copies: {}",
                    killed.stderr
                );
                field.commits_pass().await;
            }
            let run = program().run().await.expect_code(0);
            if kills > 0 {
                run.expect_text("the interrupted run has compared");
            }
            field.assert_exact(server).await;
        }
    })
    .await;
}

/// Somebody damages whatever the copy brings; what is damaged before it is compared ends the run, long before
/// the copy is finished.
#[tokio::test]
async fn a_damaged_ghost_ends_the_run_during_the_copy() {
    both(async |server| {
        let db = TestDb::create(server, "during_damage").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)")
            .await;
        let rows: Vec<String> = (0..6000).map(|n| format!("({n}, {n})")).collect();
        db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        let arguments = [
            format!("--database={}", db.name),
            "--table=t".to_string(),
            "--alter=ADD COLUMN w INT".to_string(),
        ];
        let mut live = Program::on(server, "migrate", arguments)
            .args(["--chunk-size=60", "--workers=1", "--nice-ratio=6"])
            .args(["--max-lag=1h", "--verify=during"])
            .spawn();
        let vandal = db.connect().await;
        while live.is_running() {
            // Before there is a ghost, and after it has gone, there is nothing to damage.
            let _ = vandal
                .try_sql("UPDATE _t_gho SET v = -1 WHERE v >= 1000 LIMIT 100")
                .await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let run = live.wait().await.expect_code(5).expect_text("(v)");
        assert!(
            !run.stderr.contains("all rows are copied")
                && !run.stderr.contains("entering phase `verify`"),
            "{}",
            run.stderr
        );
    })
    .await;
}
