//! Every kind of key, walked in tiny chunks.

use super::setup::Tables;
use crate::support::{TestDb, assert_same_rows, both};

/// Key columns with their index, and an INSERT of some rows.
const FAMILIES: &[(&str, &str)] = &[
    (
        "a INT, PRIMARY KEY (a)",
        "(a) VALUES (-5), (0), (3), (4), (5), (1000000)",
    ),
    (
        "a BIGINT UNSIGNED, PRIMARY KEY (a)",
        "(a) VALUES (0), (1), (18446744073709551615), (9223372036854775808)",
    ),
    (
        "a INT, b INT, c INT, PRIMARY KEY (a, b, c)",
        "(a, b, c) VALUES (1,1,1), (1,1,2), (1,1,3), (1,2,1), (1,2,2), (2,-1,5), (2,0,0), (3,9,9), (3,9,10)",
    ),
    (
        "a INT, b INT, PRIMARY KEY (a DESC, b)",
        "(a, b) VALUES (1,1), (1,2), (1,3), (2,1), (2,2), (3,7), (3,8), (4,0)",
    ),
    (
        "a VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, PRIMARY KEY (a)",
        "(a) VALUES ('a'), ('B'), ('c'), ('Z'), ('é!'), ('ß'), (''), ('日本'), ('x y')",
    ),
    (
        "a CHAR(8) CHARACTER SET latin1 COLLATE latin1_swedish_ci, b INT, PRIMARY KEY (a, b)",
        "(a, b) VALUES ('a',1), ('A',2), ('b',1), ('é',1), ('E',2), ('',0), ('zz',3)",
    ),
    (
        "a BINARY(4), PRIMARY KEY (a)",
        "(a) VALUES (x'00000000'), (x'01'), (x'0100ff'), (x'ff'), (x'ffffffff'), (x'41')",
    ),
    (
        "a VARBINARY(16), PRIMARY KEY (a)",
        "(a) VALUES (''), (x'00'), (x'0000'), (x'ff'), (x'ff00'), (x'41'), (x'4142')",
    ),
    (
        "a DATETIME(6), PRIMARY KEY (a)",
        "(a) VALUES ('2020-01-01 00:00:00.000001'), ('2020-01-01 00:00:00'), ('1999-12-31 23:59:59.999999'), ('9999-12-31 23:59:59')",
    ),
    (
        "a TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), b DATE, PRIMARY KEY (a, b)",
        "(a, b) VALUES ('2020-01-01 00:00:00.001', '2020-01-01'), ('2020-01-01 00:00:00.001', '2021-01-01'), ('2030-01-01 00:00:00', '1000-01-01')",
    ),
    (
        "a TIME(2), PRIMARY KEY (a)",
        "(a) VALUES ('-838:59:59'), ('-00:00:00.01'), ('00:00:00'), ('10:11:12.99'), ('838:59:59')",
    ),
    (
        "a DECIMAL(20,5), PRIMARY KEY (a)",
        "(a) VALUES (-100.5), (-9.99999), (0), (0.00001), (9.5), (10), (100000000000000.00001)",
    ),
    (
        "a ENUM('z','b','a','m'), b INT, PRIMARY KEY (a, b)",
        "(a, b) VALUES ('z',1), ('z',2), ('z',3), ('b',1), ('a',5), ('a',6), ('m',1), ('m',2)",
    ),
    (
        "a SET('z','b','a'), b YEAR, PRIMARY KEY (a, b)",
        "(a, b) VALUES ('',2000), ('z',1999), ('z,b',2020), ('a',1901), ('z,b,a',2155), ('b',2000), ('b',2001)",
    ),
    (
        "a BIT(20), b SMALLINT, c MEDIUMINT, d TINYINT UNSIGNED, PRIMARY KEY (a, b DESC, c, d DESC)",
        "(a, b, c, d) VALUES (b'1',1,-8388608,255), (b'1',1,-8388608,254), (b'1',1,5,0), (b'1',0,5,0), (b'10000000000000000000',-32768,-1,1), (0,0,0,0)",
    ),
];

#[tokio::test]
async fn every_kind_of_key_is_walked_without_gap_or_overlap() {
    both(async |server| {
        let db = TestDb::create(server, "keys").await;
        db.sql("SET SESSION sql_mode = '', time_zone = '+00:00'")
            .await;
        for (columns, rows) in FAMILIES {
            db.sql("DROP TABLE IF EXISTS t, _t_gho").await;
            db.sql(format!(
                "CREATE TABLE t ({columns}, v VARCHAR(10) NOT NULL DEFAULT 'x')"
            ))
            .await;
            db.sql(format!("INSERT INTO t {rows}")).await;
            let tables = Tables::new(&db, "").await;
            for chunk_rows in [1, 2, 3, 1000] {
                db.sql("DELETE FROM _t_gho").await;
                let report = tables.copy(chunk_rows).await.unwrap();
                assert!(report.watermark.finished);
                let all: u64 = db.one("SELECT COUNT(*) FROM t").await;
                assert_eq!(
                    report.watermark.rows, all,
                    "{columns}, {chunk_rows} rows a chunk"
                );
                let chunks = all.div_ceil(chunk_rows);
                assert_eq!(
                    report.watermark.chunks, chunks,
                    "{columns}, {chunk_rows} rows a chunk"
                );
                assert_same_rows(&db, "t", "_t_gho").await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_table_is_finished_at_once() {
    both(async |server| {
        let db = TestDb::create(server, "empty").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let tables = Tables::new(&db, "").await;
        let report = tables.copy(10).await.unwrap();
        assert!(report.watermark.finished);
        assert_eq!(report.watermark.rows, 0);
    })
    .await;
}
