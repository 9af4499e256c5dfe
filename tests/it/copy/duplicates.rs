//! Duplicates under new unique keys.

use changeling::copy::{DuplicateScan, scan_duplicates};
use changeling::failure::{FailureKind, Result};
use tokio_util::sync::CancellationToken;

use super::setup::Tables;
use crate::support::{TestDb, both};

async fn scan(tables: &Tables) -> Result<()> {
    let scan = DuplicateScan {
        original: &tables.original,
        ghost: &tables.ghost,
        map: &tables.map,
        key: &tables.key,
    };
    scan_duplicates(&tables.server, scan, &CancellationToken::new()).await
}

#[tokio::test]
async fn duplicates_under_new_keys_are_named_before_the_copy() {
    // Definition, rows, ALTER, what the failure says; nothing: no duplicates.
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "id INT PRIMARY KEY, v INT NULL",
            "(1, 5), (2, 6), (3, 5), (4, NULL), (5, NULL)",
            "ADD UNIQUE KEY v (v)",
            &["`v`", "'5' (id=1; id=3)"],
        ),
        (
            "id INT PRIMARY KEY, v VARCHAR(10) COLLATE utf8mb4_bin, UNIQUE (v)",
            "(1, 'a'), (2, 'A'), (3, 'b')",
            "MODIFY v VARCHAR(10) COLLATE utf8mb4_general_ci",
            &["(id=1; id=2)"],
        ),
        (
            "v VARCHAR(10) COLLATE utf8mb4_bin PRIMARY KEY, n INT",
            "('x', 1), ('X', 2), ('y', 3)",
            "MODIFY v VARCHAR(10) COLLATE utf8mb4_general_ci",
            &["`PRIMARY`", "v=X", "v=x"],
        ),
        (
            "id INT PRIMARY KEY, v DATETIME, w INT, UNIQUE (v)",
            "(1, '2020-01-01 10:00:00', 1), (2, '2020-01-01 11:00:00', 2)",
            "MODIFY v DATE",
            &["'2020-01-01' (id=1; id=2)"],
        ),
        (
            "id INT PRIMARY KEY, v VARCHAR(50) CHARACTER SET latin1, w BINARY(2)",
            "(1, 'abc', 'xx'), (2, 'abd', 'xx'), (3, 'abd', 'xy')",
            "ADD UNIQUE (v(2), w)",
            &["(id=1; id=2)"],
        ),
        (
            "id INT PRIMARY KEY, v INT",
            "(1, 1), (2, 2)",
            "ADD c INT NOT NULL DEFAULT 7, ADD UNIQUE (c)",
            &["`c`", "id=1; id=2"],
        ),
        (
            "id INT PRIMARY KEY, v INT, w INT, UNIQUE (v)",
            "(1, 1, 1), (2, 2, 1)",
            "ADD UNIQUE (v, w), MODIFY v BIGINT",
            &[],
        ),
        (
            "id INT PRIMARY KEY, v INT",
            "(1, 1), (2, 2)",
            "ADD c INT NULL, ADD UNIQUE (c), ADD UNIQUE (v)",
            &[],
        ),
    ];
    both(async |server| {
        let db = TestDb::create(server, "duplicates").await;
        for (columns, rows, alter, expected) in cases {
            db.sql("DROP TABLE IF EXISTS t, _t_gho").await;
            db.sql(format!("CREATE TABLE t ({columns})")).await;
            db.sql(format!("INSERT INTO t VALUES {rows}")).await;
            let tables = Tables::new(&db, alter).await;
            match (scan(&tables).await, expected.is_empty()) {
                (Ok(()), true) => {}
                (Err(failure), false) => {
                    assert_eq!(failure.kind(), FailureKind::DoesNotFit, "{failure}");
                    for text in *expected {
                        assert!(
                            failure.to_string().contains(text),
                            "{text} not in: {failure}"
                        );
                    }
                }
                (found, _) => panic!("{alter}: {found:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_duplicate_on_another_key_makes_its_chunk_suspect() {
    both(async |server| {
        let db = TestDb::create(server, "suspect").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        db.sql("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 2)")
            .await;
        let tables = Tables::new(&db, "ADD UNIQUE KEY v (v)").await;
        let report = tables.copy(2).await.unwrap();
        assert_eq!(report.suspects.len(), 1);
        // The same again: rows that are there already are no cause for suspicion.
        let report = tables.copy(2).await.unwrap();
        assert_eq!(report.suspects.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn more_duplicates_than_warnings_hide_nothing() {
    both(async |server| {
        let db = TestDb::create(server, "warnings").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        let rows: Vec<String> = (1..=3000).map(|id| format!("({id}, {id})")).collect();
        db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        let tables = Tables::new(&db, "MODIFY v INT NOT NULL").await;
        db.sql("INSERT INTO _t_gho SELECT * FROM t").await;
        let report = tables.copy(5000).await.unwrap();
        assert_eq!(report.suspects, []);
        assert_eq!(report.watermark.rows, 3000);
        db.sql("UPDATE t SET v = NULL WHERE id = 2500").await;
        // Were it there, its change would be replay's affair.
        db.sql("DELETE FROM _t_gho WHERE id = 2500").await;
        let failure = tables.copy(5000).await.unwrap_err();
        assert!(failure.to_string().contains("id=2500 (1048"), "{failure}");
    })
    .await;
}
