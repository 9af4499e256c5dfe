//! Columns whose type changes.

use super::{DATES, DATETIMES, TIMES, TIMESTAMPS, changed, try_columns};
use crate::support::both;

/// Changes of type that image mode is allowed for.
#[tokio::test]
async fn changed_types_that_are_cleared() {
    both(async |server| {
        let texts = |charset: &str| format!("VARCHAR(20) CHARACTER SET {charset}");
        let mut columns = vec![
            changed("TINYINT", "BIGINT", &["-128", "127"]),
            changed("MEDIUMINT", "INT", &["-8388608", "-1"]),
            changed("INT UNSIGNED ZEROFILL", "BIGINT", &["4294967295", "7"]),
            changed("SMALLINT UNSIGNED", "SMALLINT", &["0", "32767"]),
            changed("BIGINT", "BIGINT UNSIGNED", &["9223372036854775807", "0"]),
            changed(
                "BIGINT UNSIGNED",
                "DECIMAL(20,0)",
                &["18446744073709551615"],
            ),
            changed("INT", "DECIMAL(30,5)", &["-2147483648", "0", "12"]),
            changed(
                "DECIMAL(10,2)",
                "DECIMAL(20,7)",
                &["-99999999.99", "0.01", "0"],
            ),
            changed(
                "FLOAT",
                "DOUBLE",
                &["0.1", "3.402823466e38", "1e-45", "-0.0"],
            ),
            changed("FLOAT(7,2)", "DOUBLE", &["12345.67", "-0.01"]),
            changed("BIT(5)", "BIT(64)", &["b'11111'", "b'1'"]),
            changed("BINARY(5)", "BINARY(9)", &["x'3500'", "''"]),
            changed("BINARY(5)", "VARBINARY(9)", &["x'3500'", "x'2020'"]),
            changed("VARBINARY(5)", "BINARY(9)", &["x'3500'", "x'2020'", "''"]),
            changed("VARBINARY(5)", "LONGBLOB", &["x'3500'", "''"]),
            changed("BLOB", "VARBINARY(400)", &["x'3500'", "REPEAT(x'FF', 300)"]),
            changed("DATE", "DATETIME", DATES),
            changed("DATETIME(2)", "DATETIME(6)", DATETIMES),
            changed("TIME(1)", "TIME(5)", TIMES),
            changed("TIMESTAMP", "TIMESTAMP(3)", TIMESTAMPS),
            changed("CHAR(9)", "VARCHAR(9)", &["'a  '", "' b'", "''"]),
            changed("VARCHAR(9)", "CHAR(9)", &["'a  '", "' b'", "''"]),
            changed("VARCHAR(9)", "LONGTEXT", &["'a  '", "' b'", "''"]),
            changed("TEXT", "VARCHAR(400)", &["REPEAT('x ', 200)", "''"]),
            changed(
                &texts("latin1"),
                &texts("utf8mb4"),
                &["'é '", "_latin1 x'80'"],
            ),
            changed(&texts("utf8mb4"), &texts("latin1"), &["'é '", "'€'"]),
            changed(&texts("gbk"), &texts("utf8mb4"), &["_gbk x'D6D0815C'"]),
            changed(&texts("utf8mb4"), &texts("utf16"), &["'😁'", "'a'"]),
            changed(&texts("sjis"), &texts("utf8mb4"), &["_sjis x'835C'"]),
            changed(
                "VARCHAR(9) COLLATE utf8mb4_general_ci",
                "VARCHAR(9) COLLATE utf8mb4_bin",
                &["'Aa '", "'é'"],
            ),
            changed(
                "ENUM('a','b','c')",
                "ENUM('c','x','a','b')",
                &["'a'", "'b'", "'c'"],
            ),
            changed(
                "ENUM('ü','it''s') CHARACTER SET latin1",
                "ENUM('it''s','ü') CHARACTER SET utf8mb4",
                &["'ü'", "'it''s'"],
            ),
            changed("ENUM('a','b ')", "VARCHAR(9)", &["'a'", "'b'"]),
            changed(
                "ENUM('é') CHARACTER SET latin1",
                "TEXT CHARACTER SET utf8mb4",
                &["'é'"],
            ),
            changed(
                "SET('a','b','c')",
                "SET('c','b','d','a')",
                &["'a,b'", "''", "'c'"],
            ),
        ];
        if server.is_mariadb() {
            columns.push(changed(
                "VARCHAR(200) COMPRESSED",
                "VARCHAR(300)",
                &["REPEAT('a', 200)", "'b'"],
            ));
            columns.push(changed(
                "TEXT",
                "TEXT COMPRESSED",
                &["REPEAT('a', 200)", "''"],
            ));
        }
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}
