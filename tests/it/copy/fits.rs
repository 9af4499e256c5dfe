//! Rows that the new definition cannot hold.

use changeling::failure::FailureKind;

use super::setup::Tables;
use crate::support::{TestDb, both};

#[tokio::test]
async fn rows_that_do_not_fit_are_named() {
    // Definition, rows, ALTER, what the failure says.
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "id INT PRIMARY KEY, v INT NULL",
            "SELECT n, IF(n IN (7, 93), NULL, n) FROM seq",
            "MODIFY v INT NOT NULL",
            &["id=7 (1048", "id=93 (1048"],
        ),
        (
            "id INT PRIMARY KEY, v INT NULL",
            "SELECT n, IF(n IN (8, 50), 70000, n) FROM seq",
            "MODIFY v SMALLINT",
            &["id=8 (1264", "id=50 (1264"],
        ),
        (
            "id INT PRIMARY KEY, v VARCHAR(100) CHARACTER SET utf8mb4",
            "SELECT n, IF(n = 11, 'much too long', 'x') FROM seq",
            "MODIFY v VARCHAR(5)",
            &["id=11 ("],
        ),
        (
            "id INT PRIMARY KEY, v VARCHAR(100) CHARACTER SET utf8mb4",
            "SELECT n, IF(n = 12, _utf8mb4 x'E697A5', 'x') FROM seq",
            "MODIFY v VARCHAR(100) CHARACTER SET latin1",
            &["id=12 ("],
        ),
        (
            "a VARCHAR(5) CHARACTER SET utf8mb4, b INT, v VARCHAR(20), PRIMARY KEY (a, b)",
            "SELECT 'k', n, IF(n = 3, 'no date', '2020-01-01') FROM seq",
            "MODIFY v DATE",
            &["a='k', b=3 (12"],
        ),
    ];
    both(async |server| {
        let db = TestDb::create(server, "fits").await;
        db.sql("CREATE TABLE seq (n INT PRIMARY KEY)").await;
        let numbers: Vec<String> = (1..=100).map(|n| format!("({n})")).collect();
        db.sql(format!("INSERT INTO seq VALUES {}", numbers.join(", ")))
            .await;
        for (columns, rows, alter, expected) in cases {
            db.sql("DROP TABLE IF EXISTS t, _t_gho").await;
            db.sql(format!("CREATE TABLE t ({columns})")).await;
            db.sql(format!("INSERT INTO t {rows}")).await;
            let tables = Tables::new(&db, alter).await;
            let failure = tables.copy(1000).await.unwrap_err();
            assert_eq!(failure.kind(), FailureKind::DoesNotFit, "{failure}");
            for text in *expected {
                assert!(
                    failure.to_string().contains(text),
                    "{text} not in: {failure}"
                );
            }
            let left: u64 = db.one("SELECT COUNT(*) FROM _t_gho").await;
            assert_eq!(left, 0, "the chunk was not rolled back: {alter}");
        }
    })
    .await;
}
