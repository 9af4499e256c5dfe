//! Types that the ALTER changes: what the copy makes of a value is what verification expects, and what
//! it does not make is seen.

use super::setup::{difference, verify};
use crate::copy::setup::Tables;
use crate::support::{TestDb, both};

/// Source type, target type, values, and an expression for a damaged value.
const CONVERSIONS: &[(&str, &str, &str, &str)] = &[
    ("INT", "BIGINT", "-2147483648, 2147483647, 0", "5"),
    ("INT(5) ZEROFILL", "BIGINT UNSIGNED", "7, 4294967295", "8"),
    (
        "BIGINT UNSIGNED",
        "DECIMAL(20,0)",
        "18446744073709551615, 0",
        "18446744073709551614",
    ),
    (
        "DECIMAL(10,3)",
        "DECIMAL(12,1)",
        "1.25, 1.35, -0.05, 99999.999",
        "1.2",
    ),
    (
        "DECIMAL(10,2)",
        "DECIMAL(20,10)",
        "1.25, -0.01",
        "1.2500000001",
    ),
    ("FLOAT", "DOUBLE", "0.1, -1e-38, 3e38", "0.1e0"),
    ("DOUBLE", "FLOAT", "0.1, -1e-30, 3e38", "0.10000001"),
    ("INT", "VARCHAR(20)", "-5, 0, 77", "'-5 '"),
    ("VARCHAR(20)", "INT", "'-5', '0', '77'", "-6"),
    (
        "VARCHAR(20) CHARACTER SET latin1",
        "VARCHAR(20) CHARACTER SET utf8mb4",
        "'é', 'a ', ''",
        "'É'",
    ),
    (
        "VARCHAR(20) CHARACTER SET utf8mb4",
        "VARCHAR(20) CHARACTER SET utf16",
        "'é', '日本', ''",
        "'日'",
    ),
    ("VARCHAR(20)", "VARCHAR(4)", "'abcd', 'ab  ', ''", "'ab '"),
    (
        "VARCHAR(20)",
        "CHAR(20)",
        "'abcd', 'ab      ', ''",
        "'ab c'",
    ),
    ("CHAR(20)", "TEXT", "'abcd', 'ab      ', ''", "'ab '"),
    ("TEXT", "VARCHAR(30)", "'abcd', 'ab      ', ''", "'ab '"),
    ("MEDIUMTEXT", "TINYTEXT", "'abcd', 'ab      ', ''", "'ab '"),
    ("VARBINARY(10)", "BLOB", "x'00', x'FF00', ''", "x'0000'"),
    ("BINARY(4)", "BINARY(8)", "x'01', x'FF00FF00'", "x'02'"),
    ("VARCHAR(10)", "VARBINARY(40)", "'é', 'a '", "'a'"),
    ("ENUM('a','b')", "ENUM('a','b','c')", "'a', 'b', ''", "'c'"),
    ("ENUM('a','b')", "ENUM('b','x','a')", "'a', 'b'", "'x'"),
    (
        "ENUM('a','b')",
        "VARCHAR(5) CHARACTER SET latin1",
        "'a', 'b'",
        "'c'",
    ),
    ("VARCHAR(5)", "ENUM('b','a')", "'a', 'B'", "''"),
    ("SET('a','b')", "SET('a','b','c')", "'', 'a,b'", "'c'"),
    ("SET('a','b')", "SET('c','b','a')", "'', 'a,b'", "'c'"),
    (
        "DATE",
        "DATETIME",
        "'2020-02-29', '0000-00-00', '2020-00-00'",
        "'2020-02-29 00:00:01'",
    ),
    (
        "DATETIME(6)",
        "DATETIME(3)",
        "'2020-01-01 00:00:00.000500', '2020-01-01 23:59:59.999999'",
        "'2020-01-01 00:00:05'",
    ),
    (
        "DATETIME(3)",
        "TIMESTAMP(3) NULL",
        "'2020-01-01 00:00:00.5', '0000-00-00 00:00:00'",
        "'2020-01-01 00:00:00.6'",
    ),
    (
        "TIMESTAMP NULL",
        "DATETIME(2)",
        "'2020-01-01 00:00:00', '0000-00-00 00:00:00'",
        "'2020-01-01 00:00:00.01'",
    ),
    (
        "DATETIME(6)",
        "DATE",
        "'2020-01-01 00:00:00.0005', '2020-01-01 23:59:59.999999'",
        "'2020-01-03'",
    ),
    (
        "TIME(6)",
        "TIME(1)",
        "'-10:11:12.96', '00:00:00.04'",
        "'00:00:01'",
    ),
    (
        "JSON",
        "LONGTEXT",
        "'{\"b\": 1, \"a\": [1.5]}', '[]'",
        "'[ ]'",
    ),
    (
        "LONGTEXT",
        "JSON",
        "'{\"b\": 1, \"a\": [1.5]}', '[]'",
        "'[0]'",
    ),
    ("BIT(3)", "BIT(9)", "b'101', b'0'", "b'100000101'"),
    ("BIT(3)", "INT", "b'101', b'0'", "4"),
    ("YEAR", "INT", "1999, 2155", "2000"),
];

#[tokio::test]
async fn converted_values_are_compared_as_the_ghost_has_them() {
    both(async |server| {
        let db = TestDb::create(server, "conversions").await;
        db.sql("SET SESSION sql_mode = '', time_zone = '+00:00'")
            .await;
        for (source, target, values, damaged) in CONVERSIONS {
            let what = format!("{source} to {target}");
            db.sql("DROP TABLE IF EXISTS t, _t_gho").await;
            db.sql(format!(
                "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v {source}, w VARCHAR(5))"
            ))
            .await;
            // A comma within JSON is followed by a space and a quote; one between values by a quote too.
            for value in split(values) {
                db.sql(format!("INSERT INTO t (v, w) VALUES ({value}, 'w')"))
                    .await;
            }
            db.sql("INSERT INTO t (v) VALUES (NULL)").await;
            let tables = Tables::new(&db, &format!("MODIFY v {target}")).await;
            tables
                .copy(100)
                .await
                .unwrap_or_else(|failure| panic!("{what}: {failure}"));
            verify(&tables)
                .await
                .unwrap_or_else(|failure| panic!("{what}: {failure}"));
            db.sql(format!("UPDATE _t_gho SET v = {damaged} WHERE id = 1"))
                .await;
            let words = difference(&tables, &what).await;
            assert!(words.contains("id=1 (v)"), "{what}: {words}");
        }
    })
    .await;
}

/// The values of a list, whose strings may have commas.
fn split(values: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in values.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ',' if !quoted => {
                found.push(&values[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&values[start..]);
    found
}
