//! Killed while rows are compared: what was compared is not compared again, but for what has changed.

use changeling::checkpoint::watermark_text;
use changeling::key::Key;
use changeling::row::Cell;

use super::field::Field;
use super::slow_down;
use crate::support::wait::PATIENCE;
use crate::support::{Program, TestDb, TestServer, both, eventually};

/// Rows of the quiet table.
const ROWS: u64 = 4000;
const GOES_ON: &str = "the interrupted run has compared";

/// How many rows the checkpoint claims to be compared; `None` without a claim.
async fn compared(db: &TestDb) -> Option<u64> {
    let rows: Vec<Option<u64>> = db
        .connect()
        .await
        .try_rows("SELECT CAST(JSON_VALUE(state, '$.verified.rows') AS UNSIGNED) FROM _t_ghk")
        .await
        .unwrap_or_default();
    rows.first().copied().flatten()
}

async fn quiet(server: &'static TestServer) -> TestDb {
    println!("-- on {}", server.name);
    let db = TestDb::create(server, "compared").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)")
        .await;
    let rows: Vec<String> = (0..ROWS).map(|n| format!("({n}, {n})")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    db
}

fn program(db: &TestDb) -> Program {
    let arguments = [
        format!("--database={}", db.name),
        "--table=t".to_string(),
        "--alter=ADD COLUMN w INT".to_string(),
    ];
    Program::on(db.server, "migrate", arguments)
        .args(["--chunk-size=50", "--workers=1", "--nice-ratio=4"])
        .args(["--max-lag=1h", "--checkpoint-interval=200ms"])
}

/// Kills a run of the quiet table when some of its rows are compared; how many its checkpoint claims.
async fn killed_half_way(db: &TestDb) -> u64 {
    let mut live = program(db).spawn();
    live.printed("entering phase `verify`").await;
    slow_down(db).await;
    eventually(PATIENCE, "some of the rows are compared", async || {
        compared(db).await.filter(|rows| *rows >= ROWS / 20)
    })
    .await;
    live.kill().await;
    let claimed = compared(db).await.expect("a claim");
    assert!(claimed < ROWS, "it was killed before the end");
    claimed
}

#[tokio::test]
async fn what_was_compared_is_not_compared_again() {
    both(async |server| {
        let db = quiet(server).await;
        let claimed = killed_half_way(&db).await;
        // Rows that changed in between are compared again, by replay's account.
        db.sql("UPDATE t SET v = -5 WHERE id IN (3, 3999)").await;
        let run = program(&db)
            .run()
            .await
            .expect_code(0)
            .expect_text(&format!("{GOES_ON} {claimed} rows"));
        assert!(
            run.stderr.contains("up to id=") || run.stdout.contains("up to id="),
            "{}",
            run.stderr
        );
        let sum: i64 = db
            .one("SELECT CAST(SUM(v) AS SIGNED) FROM t WHERE id IN (3, 3999)")
            .await;
        assert_eq!(sum, -10);
    })
    .await;
}

/// A row that had changed after it was compared, and whose change the coordinates cover, is in the checkpoint
/// by its key: that is compared again. And what was not compared yet is.
#[tokio::test]
async fn what_is_not_covered_by_the_claim_is_compared() {
    both(async |server| {
        for (damaged, listed) in [(10, true), (3990, false)] {
            let db = quiet(server).await;
            killed_half_way(&db).await;
            db.sql(format!("UPDATE _t_gho SET v = -1 WHERE id = {damaged}"))
                .await;
            if listed {
                let key = watermark_text(&Key(vec![Cell::Int(damaged)]));
                db.sql(format!(
                    "UPDATE _t_ghk SET state = JSON_SET(state, '$.verified.changed', JSON_ARRAY('{key}'))"
                ))
                .await;
            }
            program(&db)
                .run()
                .await
                .expect_code(5)
                .expect_text(GOES_ON)
                .expect_text(&format!("id={damaged} (v)"));
        }
    })
    .await;
}

#[tokio::test]
async fn another_program_or_server_compares_everything() {
    both(async |server| {
        for (field, other) in [("server", "somewhere else"), ("program", "0.0.1")] {
            let db = quiet(server).await;
            killed_half_way(&db).await;
            db.sql(format!(
                "UPDATE _t_ghk SET state = JSON_SET(state, '$.{field}', '{other}')"
            ))
            .await;
            db.sql("UPDATE _t_gho SET v = -1 WHERE id = 10").await;
            let run = program(&db)
                .run()
                .await
                .expect_code(5)
                .expect_text("id=10 (v)");
            assert!(!run.stderr.contains(GOES_ON), "{}", run.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn killed_comparisons_with_writers_end_exact() {
    both(async |server| {
        let field = Field::start(server).await;
        let mut goes_on = 0;
        for _ in 0..3 {
            let mut live = field.program(server).spawn();
            live.printed("entering phase `verify`").await;
            eventually(PATIENCE, "something is compared", async || {
                (compared(&field.db).await.is_some() || !live.is_running()).then_some(())
            })
            .await;
            let run = live.kill().await;
            goes_on += u32::from(run.stderr.contains(GOES_ON));
            field.commits_pass().await;
        }
        let run = field.program(server).run().await.expect_code(0);
        goes_on += u32::from(run.stderr.contains(GOES_ON));
        assert!(goes_on >= 1, "{}", run.stderr);
        field.assert_exact(server).await;
    })
    .await;
}
