//! Columns whose type does not change.

use super::{DATES, DATETIMES, TIMES, TIMESTAMPS, same, try_columns};
use crate::support::{TestDb, both};

#[tokio::test]
async fn numbers() {
    both(async |server| {
        let mut columns = vec![
            same("TINYINT", &["-128", "127", "0", "-1"]),
            same("TINYINT UNSIGNED", &["255", "0", "128"]),
            same("SMALLINT", &["-32768", "32767", "-1"]),
            same("SMALLINT UNSIGNED", &["65535", "32768"]),
            same("MEDIUMINT", &["-8388608", "8388607", "-1"]),
            same("MEDIUMINT UNSIGNED", &["16777215", "8388608"]),
            same("INT", &["-2147483648", "2147483647", "-1"]),
            same("INT UNSIGNED ZEROFILL", &["4294967295", "0", "17"]),
            same(
                "BIGINT",
                &["-9223372036854775808", "9223372036854775807", "-1"],
            ),
            same(
                "BIGINT UNSIGNED",
                &["18446744073709551615", "9223372036854775808"],
            ),
            same("BOOL", &["TRUE", "FALSE"]),
            same(
                "DECIMAL(65,30)",
                &[
                    "99999999999999999999999999999999999.999999999999999999999999999999",
                    "-99999999999999999999999999999999999.999999999999999999999999999999",
                    "0",
                    "-0.000000000000000000000000000001",
                    "123456789.000000001",
                ],
            ),
            same("DECIMAL(10,0)", &["-9999999999", "9999999999", "0", "7"]),
            same("DECIMAL(5,5)", &["-0.99999", "0.00001", "0"]),
            same(
                "DECIMAL(18,9) UNSIGNED",
                &["999999999.999999999", "1.000000001"],
            ),
            same("DECIMAL(1,0)", &["-9", "9"]),
            same(
                "DOUBLE",
                &[
                    "1.7976931348623157e308",
                    "-1.7976931348623157e308",
                    "2.2250738585072014e-308",
                    "4.9406564584124654e-324",
                    "0.1",
                    "-0.0",
                    "123456789012345680",
                    "1e15",
                    "1e-5",
                ],
            ),
            same(
                "DOUBLE(20,3)",
                &["0.001", "-12345678901234.567", "99999999999999999.999"],
            ),
            same("FLOAT(7,2)", &["-99999.99", "0.01", "12345.67"]),
            same(
                "FLOAT(20,2)",
                &["16777217.33", "33554433.1", "1e17", "0.33"],
            ),
            same("YEAR", &["0", "1901", "2155", "2000"]),
            same("BIT(1)", &["b'0'", "b'1'"]),
            same("BIT(10)", &["b'1111111111'", "b'0000000001'"]),
            same(
                "BIT(64)",
                &["18446744073709551615", "b'1'", "0", "x'8000000000000001'"],
            ),
        ];
        columns.push(same(
            "FLOAT",
            &[
                "3.402823466e38",
                "-3.402823466e38",
                "1.17549435e-38",
                "0.1",
                "-0.0",
                "16777217",
                "1e10",
                "3.4028234e38",
                "1e-45",
                "1.1e-38",
                "9.8765432e-12",
            ],
        ));
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}

#[tokio::test]
async fn temporal_values() {
    both(async |server| {
        let mut columns = vec![same("DATE", DATES)];
        for digits in 0..=6 {
            columns.push(same(&format!("DATETIME({digits})"), DATETIMES));
            columns.push(same(&format!("TIMESTAMP({digits})"), TIMESTAMPS));
            columns.push(same(&format!("TIME({digits})"), TIMES));
        }
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}

/// Character sets with a text's bytes in them.
const TEXTS: &[(&str, &[&str])] = &[
    ("utf8mb4", &["F09F9881", "C3A9", "6120", "5C27", "00"]),
    ("utf8mb3", &["E38182", "C3A9"]),
    ("ascii", &["61", "7F", "2020"]),
    ("latin1", &["E935", "80", "FF", "6120"]),
    ("gbk", &["D6D0", "815C", "A1A1"]),
    ("sjis", &["835C", "82A0", "5C"]),
    ("cp932", &["815F", "835C"]),
    ("big5", &["A440", "B35C"]),
    ("utf16", &["0061", "D83DDE01", "00610020"]),
    ("utf16le", &["6100", "3DD801DE"]),
    ("ucs2", &["0061", "4E2D"]),
    ("utf32", &["00000061", "0001F601"]),
    ("cp1251", &["CFF0", "A8"]),
    ("eucjpms", &["A4A2", "8FB0A1"]),
    ("euckr", &["B0A1"]),
    ("koi8r", &["D0D2"]),
];

fn texts(charset: &str, texts: &[&str]) -> Vec<String> {
    let literals = texts.iter().map(|text| format!("_{charset} x'{text}'"));
    literals.chain(["''".to_string()]).collect()
}

#[tokio::test]
async fn strings_in_all_character_sets() {
    both(async |server| {
        let mut columns = Vec::new();
        let mut sets = TEXTS.to_vec();
        if !server.is_mariadb() {
            sets.push(("gb18030", &["8130E733", "FE59", "D6D0"]));
        }
        for (charset, values) in sets {
            let values = texts(charset, values);
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            for kind in ["CHAR(20)", "VARCHAR(20)", "TEXT"] {
                columns.push(same(&format!("{kind} CHARACTER SET {charset}"), &values));
            }
        }
        columns.push(same(
            "CHAR(255) CHARACTER SET utf8mb4",
            &["REPEAT('é', 255)", "'a '"],
        ));
        columns.push(same("CHAR(0)", &["''"]));
        columns.push(same("TINYTEXT CHARACTER SET latin1", &["REPEAT('x', 255)"]));
        columns.push(same("MEDIUMTEXT", &["REPEAT('é', 100000)"]));
        columns.push(same("LONGTEXT", &["REPEAT('ab', 70000)"]));
        columns.push(same(
            "VARCHAR(255) CHARACTER SET latin1",
            &["REPEAT('x', 255)"],
        ));
        columns.push(same(
            "VARCHAR(256) CHARACTER SET latin1",
            &["REPEAT('x', 256)", "'y'"],
        ));
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}

#[tokio::test]
async fn bytes_enums_and_sets() {
    both(async |server| {
        let long = (1..=300)
            .map(|n| format!("'v{n}'"))
            .collect::<Vec<_>>()
            .join(",");
        let bits = (1..=64)
            .map(|n| format!("'s{n}'"))
            .collect::<Vec<_>>()
            .join(",");
        let columns = [
            same(
                "BINARY(5)",
                &[
                    "x'35'",
                    "x'0000000000'",
                    "x'3500000001'",
                    "x'2020202020'",
                    "''",
                ],
            ),
            same("BINARY(255)", &["x'FF00'", "''"]),
            same(
                "VARBINARY(300)",
                &["x'00'", "x'6100'", "REPEAT(x'FE', 300)", "''"],
            ),
            same("TINYBLOB", &["REPEAT(x'00', 255)", "''"]),
            same("BLOB", &["REPEAT(x'27', 65535)"]),
            same("MEDIUMBLOB", &["REPEAT(x'5C00', 50000)"]),
            same("LONGBLOB", &["REPEAT(x'80', 200000)"]),
            same(
                "ENUM('a','b','it''s','ü') CHARACTER SET utf8mb4",
                &["'a'", "'it''s'", "'ü'"],
            ),
            same(&format!("ENUM({long})"), &["'v1'", "'v300'", "'v256'"]),
            same("ENUM('x','y') CHARACTER SET utf16", &["'y'"]),
            same("SET('a','b','c')", &["'a,c'", "''", "'a,b,c'", "'b'"]),
            same(
                &format!("SET({bits})"),
                &["18446744073709551615", "'s64'", "'s1,s33'"],
            ),
            same(
                "GEOMETRY",
                &[
                    "ST_GeomFromText('POINT(1 2)')",
                    "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')",
                ],
            ),
            same(
                "POLYGON",
                &["ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"],
            ),
        ];
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}

#[tokio::test]
async fn values_of_one_flavour() {
    both(async |server| {
        let vector = |n: usize| format!("[{}]", vec!["0.25"; n].join(","));
        let columns = if server.is_mariadb() {
            vec![
                same(
                    "UUID",
                    &[
                        "'00112233-4455-6677-8899-aabbccddeeff'",
                        "'123e4567-e89b-12d3-a456-426614174000'",
                        "'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'",
                        "'00000000-0000-0000-0000-000000000000'",
                        "'ffffffff-ffff-ffff-ffff-ffffffffff00'",
                    ],
                ),
                same(
                    "INET6",
                    &["'::'", "'2001:db8::ff00:42:8300'", "'::ffff:1.2.3.0'"],
                ),
                same("INET4", &["'0.0.0.0'", "'1.2.3.0'", "'255.255.255.255'"]),
                same(
                    "VARCHAR(2000) COMPRESSED CHARACTER SET latin1",
                    &["''", "'short'", "REPEAT('a', 2000)", "REPEAT('é', 1000)"],
                ),
                same(
                    "VARCHAR(100) COMPRESSED",
                    &["''", "'x'", "REPEAT('é', 100)"],
                ),
                same("VARBINARY(255) COMPRESSED", &["x'00'", "REPEAT('b', 255)"]),
                same(
                    "TEXT COMPRESSED",
                    &["''", "'short'", "REPEAT('abc', 20000)"],
                ),
                same(
                    "LONGBLOB COMPRESSED",
                    &["x'00FF'", "REPEAT(x'0102', 100000)"],
                ),
                same("JSON", &["'{\"a\": 1.50}'", "'[]'"]),
            ]
        } else {
            vec![
                same("POINT SRID 4326", &["ST_GeomFromText('POINT(1 2)', 4326)"]),
                same(
                    "GEOMETRYCOLLECTION",
                    &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')"],
                ),
                same("VECTOR(3)", &["STRING_TO_VECTOR('[1,-2.5,3e-3]')"]),
                same(
                    "VECTOR(2048)",
                    &[&format!("STRING_TO_VECTOR('{}')", vector(2048))],
                ),
                same("VARCHAR(20) INVISIBLE", &["'seen'"]),
            ]
        };
        let db = TestDb::create(server, "types").await;
        let mut known = Vec::new();
        for column in columns {
            if db.knows_type(&column.source).await {
                known.push(column);
            }
        }
        assert_eq!(try_columns(server, &known).await, 0);
    })
    .await;
}

/// JSON and an ENUM's invalid value have no exact literal: such rows are reread, others are not.
#[tokio::test]
async fn rows_without_exact_literals_are_reread() {
    both(async |server| {
        let invalid = [same("ENUM('a','')", &["'nonsense'", "''", "'a'"])];
        // Inserted and touched, the row of the invalid value.
        assert_eq!(try_columns(server, &invalid).await, 2);
        if !server.is_mariadb() {
            let json = [same(
                "JSON",
                &[
                    "JSON_OBJECT('d', CAST(1.50 AS DECIMAL(5,2)), 't', CAST('10:00' AS TIME))",
                    "'null'",
                ],
            )];
            // Three inserted, one touched, one with another key.
            assert_eq!(try_columns(server, &json).await, 5);
        }
    })
    .await;
}
