//! A copy over rows of which most are in the ghost already.

use std::sync::Arc;
use std::time::Duration;

use changeling::chunk::LowWatermark;
use changeling::copy::{self, CopyMode, CopyPlan};
use changeling::key::Key;
use changeling::progress::Progress;
use changeling::row::Cell;
use tokio::sync::watch;

use super::setup::{Steering, Tables};
use crate::support::{TestDb, both};

/// Rows of the original: enough that a chunk's warnings are more than the server shows.
const ROWS: u64 = 12_000;
/// Rows of a chunk.
const CHUNK: u64 = 3000;

/// A table of which the ghost has three quarters, known by their values.
async fn partly_copied(db: &TestDb, columns: &str, row: &str, ghost_row: &str) {
    db.sql(format!("CREATE TABLE t ({columns})")).await;
    fill(db, "t", row, |_| true).await;
    db.sql("CREATE TABLE _t_gho LIKE t").await;
    fill(db, "_t_gho", ghost_row, |n| n % 4 != 0).await;
}

async fn fill(db: &TestDb, table: &str, row: &str, wanted: impl Fn(u64) -> bool) {
    let rows: Vec<String> = (0..ROWS)
        .filter(|n| wanted(*n))
        .map(|n| row.replace("{}", &n.to_string()))
        .collect();
    for rows in rows.chunks(4000) {
        db.sql(format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
            .await;
    }
}

async fn run(plan: CopyPlan, tables: &Tables) -> Progress {
    let steering = Steering::new(CHUNK);
    let (watermark, _) = watch::channel(LowWatermark::default());
    let progress = Arc::new(Progress::default());
    let report = copy::run(
        plan,
        tables.interlock(),
        steering.controls(),
        progress.clone(),
        watermark,
    )
    .await
    .unwrap();
    assert!(report.watermark.finished && report.suspects.is_empty());
    assert_eq!(report.watermark.rows, ROWS);
    Arc::into_inner(progress).unwrap()
}

async fn assert_mixed(db: &TestDb) {
    let counts: Vec<(u64, i64)> = db
        .rows("SELECT COUNT(*), v FROM _t_gho GROUP BY v ORDER BY v")
        .await;
    assert_eq!(counts, [(ROWS * 3 / 4, -1), (ROWS / 4, 1)]);
}

/// Nothing is done to rows that are there, which are not even waited for: replay has one of them in hand.
#[tokio::test]
async fn rows_that_are_there_are_passed_over() {
    both(async |server| {
        let modes: &[CopyMode] = match server.is_mariadb() {
            true => &[CopyMode::Locking],
            false => &[CopyMode::Locking, CopyMode::LockFree],
        };
        for mode in modes {
            let db = TestDb::create(server, "resumed").await;
            partly_copied(&db, "id INT PRIMARY KEY, v INT", "({}, 1)", "({}, -1)").await;
            db.sql("ALTER TABLE _t_gho MODIFY id BIGINT").await;
            let tables = Tables::with_ghost(&db, &[]).await;
            let replay = db.connect().await;
            replay.sql("BEGIN").await;
            replay.sql("UPDATE _t_gho SET v = -2 WHERE id = 7").await;
            let plan = CopyPlan {
                from: Some(Key(vec![Cell::Int(0)])),
                ..tables.plan_in(*mode)
            };
            let copied = run(plan, &tables);
            let progress = tokio::time::timeout(Duration::from_secs(30), copied)
                .await
                .expect("the copy does not wait for the row");
            replay.sql("ROLLBACK").await;
            assert_mixed(&db).await;
            assert_eq!(progress.rows_copied.get(), ROWS);
            assert_eq!(progress.rows_inserted.get(), ROWS / 4);
        }
    })
    .await;
}

/// Whatever the key, and whether the copy knows from the start or finds out.
#[tokio::test]
async fn keys_of_all_kinds_are_found_in_the_ghost() {
    both(async |server| {
        for (columns, row, ghost_row, alter, renamed) in [
            (
                "`a b` INT, v INT, PRIMARY KEY (`a b`)",
                "({}, 1)",
                "({}, -1)",
                "CHANGE `a b` `there` INT UNSIGNED NOT NULL",
                &[("a b", "there")][..],
            ),
            (
                "a INT, b VARCHAR(20), v INT, PRIMARY KEY (b, a)",
                "({}, 'name {}', 1)",
                "({}, 'name {}', -1)",
                "ADD COLUMN c INT",
                &[],
            ),
            // Compared otherwise than in the original, so not asked for.
            (
                "a VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, v INT",
                "('name {}', 1)",
                "('name {}', -1)",
                "MODIFY a VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL",
                &[],
            ),
            (
                "a DATETIME(6), b DECIMAL(12, 3), c BINARY(4), v INT, PRIMARY KEY (c, b, a)",
                "('2026-11-28 12:00:00.5' + INTERVAL {} SECOND, {} / 7, 'x', 1)",
                "('2026-11-28 12:00:00.5' + INTERVAL {} SECOND, {} / 7, 'x', -1)",
                "ADD COLUMN d INT",
                &[],
            ),
        ] {
            for resumed in [true, false] {
                let db = TestDb::create(server, "resumed_keys").await;
                partly_copied(&db, columns, row, ghost_row).await;
                db.sql(format!("ALTER TABLE _t_gho {alter}")).await;
                let tables = Tables::with_ghost(&db, renamed).await;
                let mut plan = tables.plan();
                if resumed {
                    let mut session = tables
                        .server
                        .session(changeling::mysql::Purpose::Monitor)
                        .await
                        .unwrap();
                    let table = changeling::walk::chunker::Keyed {
                        table: &tables.original.name,
                        key: &tables.key,
                        side: changeling::walk::Side::Source,
                    };
                    plan.from = table.key_at(&mut session, None, None, 0).await.unwrap();
                }
                let progress = run(plan, &tables).await;
                assert_mixed(&db).await;
                assert_eq!(progress.rows_copied.get(), ROWS, "{columns}");
                assert_eq!(progress.rows_inserted.get(), ROWS / 4, "{columns}");
            }
        }
    })
    .await;
}
