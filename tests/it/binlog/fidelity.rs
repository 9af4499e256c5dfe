//! `replay(x) = copy(x)`: values that arrive as literals, written into a table of the target's types, make
//! it what the server makes by copying and by its own ALTER. Compared by the server.

use changeling::binlog::image_pairs_cleared;
use changeling::change::{After, RowChange};
use changeling::key::Key;
use changeling::mysql::{Purpose, Session, quote};
use changeling::names::TableName;
use changeling::row::Cell;
use changeling::schema::{ColumnMap, ColumnMoves, key_cell_from_value, load, select_expression};

use super::follow::Setup;
use crate::support::server::TestServer;
use crate::support::{TestDb, assert_same_rows, both};

/// A column: type before, type after, values to try (NULL is always tried).
#[derive(Debug)]
pub struct Column {
    pub source: String,
    pub target: String,
    pub values: Vec<String>,
}

fn same(kind: &str, values: &[&str]) -> Column {
    changed(kind, kind, values)
}

fn changed(source: &str, target: &str, values: &[&str]) -> Column {
    Column {
        source: source.to_string(),
        target: target.to_string(),
        values: values.iter().map(ToString::to_string).collect(),
    }
}

/// Runs the columns side by side in one table: a row for each value, and one of NULLs. Returns how many
/// changes had no literals and were reread.
pub async fn try_columns(server: &'static TestServer, columns: &[Column]) -> usize {
    let db = TestDb::create(server, "fidelity").await;
    db.sql("SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', foreign_key_checks = 0")
        .await;
    let define = |pick: &dyn Fn(&Column) -> &str| {
        let lines = columns.iter().enumerate();
        let columns: Vec<String> = lines
            .map(|(n, c)| format!("c{n} {} NULL", pick(c)))
            .collect();
        format!(
            "(id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, {})",
            columns.join(", ")
        )
    };
    db.sql(format!("CREATE TABLE t {}", define(&|c| &c.source)))
        .await;
    db.sql(format!("CREATE TABLE _t_gho {}", define(&|c| &c.target)))
        .await;
    db.sql("CREATE TABLE copied LIKE _t_gho").await;
    let mut setup = Setup::new(&db, true).await;
    let ghost = load(&mut setup.session, &TableName::new(&db.name, "_t_gho"))
        .await
        .unwrap()
        .unwrap();
    let map = ColumnMap::build(&setup.feed.definition, &ghost, &ColumnMoves::default()).unwrap();
    let json = columns.iter().any(|c| c.source == "JSON") && !server.is_mariadb();
    assert_eq!(image_pairs_cleared(&map).err().filter(|_| !json), None);
    setup.feed.map = map.clone();
    let mut apply = setup.server.session(Purpose::Apply).await.unwrap();
    let mut copy = setup.server.session(Purpose::Copy).await.unwrap();
    let mut follow = setup.start();
    change_all(&db, columns).await;
    let mut reread = 0;
    for change in follow.changes().await {
        reread += usize::from(replay(&mut apply, &db, &map, &change).await);
    }
    follow.stop().await;
    copy.execute(&format!(
        "INSERT INTO `{0}`.copied ({1}) SELECT {2} FROM `{0}`.t",
        db.name,
        quote::idents(map.target_names()),
        map.select_list(),
    ))
    .await
    .unwrap();
    assert_same_rows(&db, "_t_gho", "copied").await;
    alter_and_compare(&db, columns).await;
    reread
}

/// Inserts, updates, key changes and deletes, in several statements.
async fn change_all(db: &TestDb, columns: &[Column]) {
    let rows = columns.iter().map(|c| c.values.len()).max().unwrap_or(0);
    let names: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    let names = names.join(", ");
    for row in 0..=rows {
        let values: Vec<&str> = columns
            .iter()
            .map(|c| c.values.get(row).map_or("NULL", String::as_str))
            .collect();
        db.sql(format!(
            "INSERT INTO t (id, touched, {names}) VALUES ({row}, 0, {})",
            values.join(", ")
        ))
        .await;
    }
    db.sql("UPDATE t SET touched = 1 WHERE id % 3 = 0").await;
    db.sql("UPDATE t SET id = -1 - id WHERE id % 4 = 1").await;
    db.sql("DELETE FROM t WHERE id % 5 = 4").await;
}

/// Applies a change as replay does; true if it had to be reread.
async fn replay(apply: &mut Session, db: &TestDb, map: &ColumnMap, change: &RowChange) -> bool {
    let id = |key: &Key| match key.0[..] {
        [Cell::Int(id)] => id,
        _ => panic!("{key:?} is no key of this table"),
    };
    let ghost = format!("`{}`._t_gho", db.name);
    if let Some(before) = &change.before {
        let sql = format!("DELETE FROM {ghost} WHERE id = {}", id(before));
        apply.execute(&sql).await.unwrap();
    }
    let Some(After { key, values }) = &change.after else {
        return false;
    };
    let columns = quote::idents(map.target_names());
    let sql = match values {
        Some(values) => format!("REPLACE INTO {ghost} ({columns}) VALUES ({values})"),
        None => format!(
            "REPLACE INTO {ghost} ({columns}) SELECT {} FROM `{}`.t WHERE id = {}",
            map.select_list(),
            db.name,
            id(key)
        ),
    };
    if let Err(failure) = apply.execute(&sql).await {
        panic!("{failure}\nin {sql}");
    }
    values.is_none()
}

async fn alter_and_compare(db: &TestDb, columns: &[Column]) {
    let changes: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(_, c)| c.source != c.target)
        .map(|(n, c)| format!("MODIFY c{n} {} NULL", c.target))
        .collect();
    if !changes.is_empty() {
        db.sql(format!("ALTER TABLE t {}", changes.join(", ")))
            .await;
    }
    assert_same_rows(db, "_t_gho", "t").await;
}

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

const DATES: &[&str] = &[
    "'0000-00-00'",
    "'2020-00-00'",
    "'2021-02-31'",
    "'9999-12-31'",
    "'1000-01-01'",
    "'0001-01-01'",
];
const DATETIMES: &[&str] = &[
    "'0000-00-00 00:00:00'",
    "'2020-00-00 01:02:03'",
    "'2021-02-31 23:59:59.999999'",
    "'9999-12-31 23:59:59.4'",
    "'1000-01-01 00:00:00.000001'",
    "'2026-11-28 12:34:56.99'",
];
const TIMESTAMPS: &[&str] = &[
    "'0000-00-00 00:00:00'",
    "'1970-01-01 00:00:01'",
    "'2038-01-19 03:14:07'",
    "'2026-03-29 02:30:00.123456'",
    "'2004-02-29 23:59:58.5'",
];
const TIMES: &[&str] = &[
    "'-838:59:59'",
    "'838:59:59'",
    "'838:59:58.990000'",
    "'-838:59:58.99'",
    "'-10:11:12.99'",
    "'-00:00:00.01'",
    "'-700:00:00.5'",
    "'00:00:00'",
    "'-01:00:00'",
    "'12:34:56.789012'",
    "'-00:00:01.000001'",
];

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
        assert_eq!(try_columns(server, &columns).await, 0);
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

/// A key that comes through the binlog is, cell by cell, the one that a query reads: so what replay holds
/// back for a chunk and what the copy takes for its bounds are the same.
#[tokio::test]
async fn keys_are_the_same_cells_from_binlog_and_query() {
    both(async |server| {
        let mut kinds = vec![
            ("BIGINT", "-5"),
            ("MEDIUMINT", "-5"),
            ("INT UNSIGNED", "4294967295"),
            ("BIGINT UNSIGNED ZEROFILL", "18446744073709551615"),
            ("DECIMAL(20,5)", "-0.00700"),
            ("DECIMAL(9,0)", "0"),
            ("DATE", "'2020-00-00'"),
            ("DATETIME(3)", "'2026-11-28 12:34:56.789'"),
            ("TIME(2)", "'-10:11:12.99'"),
            ("TIMESTAMP(6)", "'2026-11-28 12:34:56.000789'"),
            ("TIMESTAMP", "'0000-00-00 00:00:00'"),
            ("YEAR", "2026"),
            ("YEAR", "0"),
            ("BIT(12)", "b'100000000001'"),
            ("ENUM('a','b')", "'b'"),
            ("SET('a','b','c')", "'a,c'"),
            ("BINARY(6)", "x'6100'"),
            ("VARBINARY(6)", "x'6100'"),
            ("CHAR(6) CHARACTER SET utf8mb4", "'é '"),
            ("VARCHAR(6) CHARACTER SET latin1", "_latin1 x'E920'"),
            ("VARCHAR(6) CHARACTER SET utf16", "'ab'"),
        ];
        if server.is_mariadb() {
            kinds.extend([
                ("UUID", "'123e4567-e89b-12d3-a456-426614174000'"),
                ("UUID", "'00112233-4455-4677-8899-aabbccddee00'"),
                ("INET6", "'2001:db8::'"),
                ("INET4", "'1.2.3.0'"),
            ]);
        }
        // A key has at most 16 columns.
        for kinds in kinds.chunks(15) {
            same_cells(server, kinds).await;
        }
    })
    .await;
}

async fn same_cells(server: &'static TestServer, kinds: &[(&str, &str)]) {
    let db = TestDb::create(server, "keys").await;
    db.sql("SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        .await;
    let numbered = || kinds.iter().enumerate();
    let columns: Vec<String> = numbered()
        .map(|(n, (kind, _))| format!("k{n} {kind} NOT NULL"))
        .collect();
    let names: Vec<String> = numbered().map(|(n, _)| format!("k{n}")).collect();
    let values: Vec<&str> = kinds.iter().map(|(_, value)| *value).collect();
    db.sql(format!(
        "CREATE TABLE t ({}, PRIMARY KEY ({}))",
        columns.join(", "),
        names.join(", ")
    ))
    .await;
    let setup = Setup::new(&db, false).await;
    let key = setup.feed.key.clone();
    let mut session = setup.server.session(Purpose::Copy).await.unwrap();
    let mut follow = setup.start();
    db.sql(format!("INSERT INTO t VALUES ({})", values.join(", ")))
        .await;
    let expressions: Vec<String> = key.columns.iter().map(select_expression).collect();
    let sql = format!("SELECT {} FROM `{}`.t", expressions.join(", "), db.name);
    let row = session.query_binary(&sql).await.unwrap().remove(0).unwrap();
    let queried = key
        .columns
        .iter()
        .zip(row)
        .map(|(c, v)| key_cell_from_value(c, v).unwrap());
    let changes = follow.changes().await;
    let streamed = &changes[0].after.as_ref().unwrap().key;
    assert_eq!(streamed.0, queried.collect::<Vec<_>>(), "{kinds:?}");
    follow.stop().await;
}
