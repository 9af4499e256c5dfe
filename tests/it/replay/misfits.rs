//! Values that the new definition cannot hold, and rows that stand in the way of others.

use changeling::failure::FailureKind;
use changeling::row::Cell;

use super::rig::{Rig, delete, insert, update};
use crate::copy::setup::Tables;
use crate::support::{TestDb, assert_same_rows, both};

/// One of many rows does not fit: the run fails with its key.
async fn check(create: &str, alter: &str, bad: Cell, bad_sql: &str) {
    both(async |server| {
        for images in [true, false] {
            let db = TestDb::create(server, "misfit").await;
            db.sql("SET SESSION sql_mode = ''").await;
            db.sql(create).await;
            let tables = Tables::new(&db, alter).await;
            let rig = Rig::start(tables, 50_000);
            let mut changes = Vec::new();
            let mut values = Vec::new();
            for k in 1..=300 {
                let (cell, sql) = match k {
                    222 => (bad.clone(), bad_sql),
                    _ => (Cell::Bytes(b"a".to_vec()), "'a'"),
                };
                values.push(format!("({k}, {sql})"));
                let row = [Cell::Int(k), cell];
                changes.push(insert(k, images.then_some(&row)));
            }
            db.sql(format!("INSERT INTO t VALUES {}", values.join(", ")))
                .await;
            rig.feed(changes);
            let failure = rig.failure().await;
            assert_eq!(
                failure.kind(),
                FailureKind::DoesNotFit,
                "{alter}: {failure:?}"
            );
            assert!(
                failure.to_string().contains("k=222"),
                "{alter}: {failure:?}"
            );
            assert!(failure.remedy_text().is_some());
        }
    })
    .await;
}

const STRINGS: &str =
    "CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET utf8mb4) ENGINE=InnoDB";

fn text(text: &str) -> Cell {
    Cell::Bytes(text.as_bytes().to_vec())
}

#[tokio::test]
async fn too_long() {
    check(
        STRINGS,
        "MODIFY v VARCHAR(3) CHARACTER SET utf8mb4",
        text("abcd"),
        "'abcd'",
    )
    .await;
}

#[tokio::test]
async fn not_null() {
    check(
        STRINGS,
        "MODIFY v VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL",
        Cell::Null,
        "NULL",
    )
    .await;
}

#[tokio::test]
async fn not_in_the_character_set() {
    check(
        STRINGS,
        "MODIFY v VARCHAR(20) CHARACTER SET latin1",
        text("\u{4e2d}"),
        "_utf8mb4 x'E4B8AD'",
    )
    .await;
}

#[tokio::test]
async fn refused_by_a_check() {
    check(
        STRINGS,
        "ADD CONSTRAINT c CHECK (v <> 'no')",
        text("no"),
        "'no'",
    )
    .await;
}

const KEYED: &str = "CREATE TABLE t (k INT PRIMARY KEY, u INT, v INT) ENGINE=InnoDB";

fn row(k: i64, u: i64) -> [Cell; 3] {
    [Cell::Int(k), Cell::Int(u), Cell::Int(k)]
}

/// A new unique key: while evictions are watched, a row that had to go for another is told, whether it
/// was stale or a genuine duplicate; nothing goes silently.
#[tokio::test]
async fn evicted_rows_are_told() {
    both(async |server| {
        for images in [true, false] {
            let db = TestDb::create(server, "evict").await;
            db.sql(KEYED).await;
            let tables = Tables::new(&db, "ADD UNIQUE (u)").await;
            let rig = Rig::start(tables, 50_000);
            rig.replay.watch_evictions(true).await;
            rig.replay.dirty().record(1 << 20);
            for k in 1..=9 {
                db.sql(format!("INSERT INTO t VALUES ({k}, {k}, {k})"))
                    .await;
            }
            rig.feed((1..=9).map(|k| insert(k, images.then_some(&row(k, k)))));
            rig.settle().await;
            assert!(rig.replay.evicted().is_empty());
            assert_same_rows(&db, "t", "_t_gho").await;

            // Values that move, all in one window: nothing is told, all rows are there.
            db.sql("UPDATE t SET u = 10 - u").await;
            rig.feed((1..=9).map(|k| update(k, images.then_some(&row(k, 10 - k)))));
            rig.settle().await;
            assert_same_rows(&db, "t", "_t_gho").await;
            assert!(rig.replay.evicted().is_empty());

            // A stale row in the way, whose own change comes later.
            db.sql("UPDATE t SET u = 100 WHERE k = 1").await;
            db.sql("UPDATE t SET u = 9 WHERE k = 2").await;
            rig.feed([update(2, images.then_some(&row(2, 9)))]);
            rig.settle().await;
            let told = rig.replay.evicted().drain();
            assert_eq!(told.keys, [changeling::key::Key(vec![Cell::Int(1)])]);
            rig.replay.evicted().settled();
            rig.feed([update(1, images.then_some(&row(1, 100)))]);
            rig.settle().await;
            assert_same_rows(&db, "t", "_t_gho").await;

            // A genuine duplicate.
            db.sql("INSERT INTO t VALUES (20, 5, 20)").await;
            rig.replay.dirty().drain();
            rig.replay.dirty().settled();
            rig.feed([insert(20, images.then_some(&row(20, 5)))]);
            rig.settle().await;
            let told = rig.replay.evicted().drain();
            assert_eq!(told.keys, [changeling::key::Key(vec![Cell::Int(5)])]);
            let mut dirty: Vec<String> = rig
                .replay
                .dirty()
                .drain()
                .keys
                .iter()
                .map(|key| format!("{key:?}"))
                .collect();
            dirty.sort();
            assert_eq!(dirty, ["Key([Int(20)])", "Key([Int(5)])"]);
            rig.stop().await;
        }
    })
    .await;
}

/// The server tells which row is in the way for keys of every kind, and the key comes back in the
/// original's terms.
#[tokio::test]
async fn evicted_keys_come_in_the_originals_terms() {
    both(async |server| {
        let cases: [(&str, &str, Cell, Cell); 9] = [
            (
                "BIGINT UNSIGNED",
                "BIGINT UNSIGNED",
                Cell::UInt(u64::MAX),
                Cell::UInt(3),
            ),
            ("INT UNSIGNED", "BIGINT", Cell::UInt(7), Cell::UInt(3)),
            (
                "DECIMAL(6, 2)",
                "DECIMAL(8, 4)",
                Cell::Decimal("-7.50".into()),
                Cell::Decimal("3.00".into()),
            ),
            (
                "VARCHAR(10) CHARACTER SET latin1",
                "VARCHAR(10) CHARACTER SET utf8mb4",
                Cell::Bytes(b"\xe9".to_vec()),
                Cell::Bytes(b"b".to_vec()),
            ),
            (
                "BINARY(4)",
                "BINARY(4)",
                Cell::Bytes(b"a\0\0\0".to_vec()),
                Cell::Bytes(b"b\0\0\0".to_vec()),
            ),
            (
                "DATE",
                "DATETIME(3)",
                Cell::Date {
                    year: 2020,
                    month: 2,
                    day: 29,
                },
                Cell::Date {
                    year: 2021,
                    month: 1,
                    day: 1,
                },
            ),
            (
                "TIMESTAMP(3)",
                "TIMESTAMP(6)",
                Cell::Timestamp {
                    seconds: 1_600_000_000,
                    micros: 7000,
                },
                Cell::Timestamp {
                    seconds: 1_700_000_000,
                    micros: 0,
                },
            ),
            (
                "TIME(2)",
                "TIME(2)",
                Cell::Time {
                    micros: -3_600_500_000,
                },
                Cell::Time { micros: 20_000 },
            ),
            (
                "ENUM('x', 'y', 'z')",
                "ENUM('x', 'y', 'z', 'a')",
                Cell::UInt(3),
                Cell::UInt(1),
            ),
        ];
        for (source, target, first, second) in cases {
            let db = TestDb::create(server, "terms").await;
            db.sql(format!(
                "CREATE TABLE t (k {source} NOT NULL PRIMARY KEY, u INT) ENGINE=InnoDB"
            ))
            .await;
            let alter = format!("MODIFY k {target} NOT NULL, ADD UNIQUE ((u))");
            let alter = match server.is_mariadb() {
                true => alter.replace("((u))", "(u)"),
                false => alter.replace("((u))", "((u * 2))"),
            };
            let tables = Tables::new(&db, &alter).await;
            let rig = Rig::start(tables, 50_000);
            rig.replay.watch_evictions(true).await;
            for key in [&first, &second] {
                let charset = source.contains("latin1").then_some("latin1");
                let mut literal = String::new();
                changeling::mysql::quote::write_cell(&mut literal, key, charset);
                db.sql("SET SESSION time_zone = '+00:00'").await;
                db.sql(format!("INSERT INTO t VALUES ({literal}, 1)")).await;
                rig.feed([changeling::change::RowChange {
                    before: None,
                    after: Some(super::rig::after(key.clone(), None)),
                }]);
                rig.settle().await;
            }
            let told = rig.replay.evicted().drain();
            assert_eq!(
                told.keys,
                [changeling::key::Key(vec![first])],
                "{source} to {target}"
            );
            assert_eq!(db.one::<i32>("SELECT COUNT(*) FROM _t_gho").await, 1);
            rig.stop().await;
        }
    })
    .await;
}

/// Rows that are gone from the original when they are read again leave nothing behind.
#[tokio::test]
async fn rows_that_are_gone_leave_nothing_behind() {
    both(async |server| {
        let db = TestDb::create(server, "gone").await;
        db.sql(KEYED).await;
        let rig = Rig::start(Tables::new(&db, "ADD KEY (u)").await, 50_000);
        rig.feed((1..=500).map(|k| insert(k, None)));
        rig.settle().await;
        rig.feed((1..=500).map(delete));
        rig.settle().await;
        assert_same_rows(&db, "t", "_t_gho").await;
        rig.stop().await;
    })
    .await;
}
