//! Every kind of damage is seen.

use std::sync::Arc;

use changeling::mysql::Purpose;
use changeling::progress::Progress;
use changeling::verify::{self, NoReplay};
use changeling::walk::bounds::SidedKey;

use super::setup::{difference, plan, verify};
use crate::copy::setup::{Steering, Tables};
use crate::support::{TestDb, both, server};

/// A column of each type and three of its values: of two rows, and what the first is damaged to.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("TINYINT", "0", "5", "1"),
    ("SMALLINT UNSIGNED", "65535", "0", "65534"),
    ("MEDIUMINT", "-8388608", "7", "-8388607"),
    ("INT ZEROFILL", "7", "8", "6"),
    (
        "BIGINT UNSIGNED",
        "18446744073709551615",
        "1",
        "18446744073709551614",
    ),
    ("DECIMAL(30,10)", "0.0000000001", "1", "0.0000000002"),
    ("FLOAT", "0.1", "2", "0.10000001"),
    ("DOUBLE", "0.1", "2", "0.10000000000000002"),
    (
        "BIT(17)",
        "b'10000000000000000'",
        "b'0'",
        "b'10000000000000001'",
    ),
    ("YEAR", "1999", "2155", "1998"),
    ("DATE", "'0000-00-00'", "'2020-02-29'", "'0000-01-00'"),
    (
        "DATETIME(6)",
        "'2020-01-01 00:00:00.000001'",
        "'1000-01-01'",
        "'2020-01-01 00:00:00.000002'",
    ),
    (
        "TIMESTAMP(3) NULL",
        "'2020-01-01 00:00:00.001'",
        "'2037-01-01'",
        "'2020-01-01 00:00:00.002'",
    ),
    ("TIME(2)", "'-00:00:00.01'", "'838:59:59'", "'00:00:00.01'"),
    ("CHAR(10) CHARACTER SET latin1", "'a'", "'b'", "'A'"),
    (
        "VARCHAR(20) COLLATE utf8mb4_general_ci",
        "'a'",
        "'b'",
        "'a '",
    ),
    ("VARCHAR(20) CHARACTER SET utf16", "'é'", "'b'", "'e'"),
    ("TEXT", "'x,y'", "''", "'x,z'"),
    (
        "LONGTEXT",
        "REPEAT('long ', 5000)",
        "'b'",
        "CONCAT(REPEAT('long ', 4999), 'lonh ')",
    ),
    ("BINARY(4)", "x'01'", "x'02'", "x'01000001'"),
    ("VARBINARY(10)", "x'00'", "x'02'", "x'0000'"),
    ("BLOB", "x'FF00'", "x'2C'", "x'FF01'"),
    ("ENUM('x', '')", "'x'", "''", "''"),
    ("SET('a', 'b', 'c')", "'a,c'", "'b'", "'a,b,c'"),
    ("JSON", "'{\"a\": [1, \"1\"]}'", "'[]'", "'{\"a\": [1, 1]}'"),
    (
        "POINT",
        "ST_GeomFromText('POINT(1 2)')",
        "ST_GeomFromText('POINT(3 4)')",
        "ST_GeomFromText('POINT(1 2.0000000001)')",
    ),
];

/// A table with all types and 60 rows, copied.
async fn tables(db: &TestDb) -> Tables {
    db.sql("SET SESSION sql_mode = '', time_zone = '+00:00'")
        .await;
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(number, (definition, ..))| format!("c{number} {definition}"))
        .collect();
    db.sql(format!(
        "CREATE TABLE t (a INT, b VARCHAR(10) CHARACTER SET latin1, {}, PRIMARY KEY (a, b))",
        columns.join(", ")
    ))
    .await;
    let values = |second: bool| -> String {
        let values: Vec<&str> = TYPES
            .iter()
            .map(|(_, first, other, _)| if second { *other } else { *first })
            .collect();
        values.join(", ")
    };
    let rows: Vec<String> = (0..60)
        .map(|n| format!("({}, 'k{}', {})", n / 6, n % 6, values(n % 2 == 1)))
        .collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let tables = Tables::new(db, "ADD COLUMN n INT DEFAULT 3").await;
    tables.copy(100).await.unwrap();
    tables
}

#[tokio::test]
async fn every_damage_is_seen() {
    both(async |server| {
        let db = TestDb::create(server, "damage").await;
        let tables = tables(&db).await;
        assert_eq!(verify(&tables).await.unwrap().rows, 60);
        let names = tables.map.target_names().collect::<Vec<_>>().join(", ");
        let repair = format!("REPLACE INTO _t_gho ({names}) SELECT {names} FROM t");
        for (number, (definition, _, _, damaged)) in TYPES.iter().enumerate() {
            let damage = format!(
                "UPDATE _t_gho SET c{number} = IF(b = 'k2', {damaged}, NULL) WHERE a = 4 AND b IN ('k2', 'k4')"
            );
            db.sql(&damage).await;
            let words = difference(&tables, &format!("{definition}: {damage}")).await;
            for row in ["k2", "k4"] {
                let named = format!("a=4, b='{row}' (c{number})");
                assert!(words.contains(&named), "{named} not in: {words}");
            }
            db.sql(&repair).await;
        }
        let swap = |column: &str| {
            format!(
                "UPDATE _t_gho x JOIN t y ON x.a = 2 AND x.b IN ('k2', 'k3') AND y.a = 2 AND \
                 y.b = IF(x.b = 'k2', 'k3', 'k2') SET x.{column} = y.{column}"
            )
        };
        let mut damages: Vec<(String, &str)> = vec![
            ("DELETE FROM _t_gho WHERE a = 5 AND b = 'k5'".into(), "a=5, b='k5' (not in _t_gho)"),
            ("INSERT INTO _t_gho (a, b) VALUES (5, 'k55')".into(), "a=5, b='k55' (only in _t_gho)"),
            ("INSERT INTO _t_gho (a, b) VALUES (-1, '')".into(), "a=-1, b='' (only in _t_gho)"),
            ("INSERT INTO _t_gho (a, b) VALUES (100, 'z')".into(), "a=100, b='z' (only in _t_gho)"),
            ("UPDATE _t_gho SET b = 'K0' WHERE a = 0 AND b = 'k0'".into(), "(b)"),
            ("UPDATE _t_gho SET a = 1000 WHERE a = 1 AND b = 'k1'".into(), "b='k1' ("),
            (
                "UPDATE _t_gho SET b = CASE b WHEN 'k0' THEN 'k7' WHEN 'k1' THEN 'k8' ELSE b END WHERE a = 3".into(),
                "a=3, b='k",
            ),
            ("DELETE FROM _t_gho".into(), "(not in _t_gho); a="),
        ];
        // Values exchanged between two rows: each is still there, but not where it belongs.
        damages.extend((0..TYPES.len()).map(|number| (swap(&format!("c{number}")), "a=2, b='k2' (c")));
        for (damage, expected) in damages {
            assert!(db.sql(&damage).await > 0, "no damage: {damage}");
            let words = difference(&tables, &damage).await;
            assert!(words.contains(expected), "{expected} not in: {words}");
            db.sql("DELETE FROM _t_gho").await;
            db.sql(&repair).await;
        }
        db.sql("UPDATE _t_gho SET n = 4").await;
        verify(&tables).await.unwrap();
    })
    .await;
}

/// Strings stand one behind the other in what is hashed: that a part has moved to the next is seen.
#[tokio::test]
async fn values_that_move_to_the_next_column_are_seen() {
    both(async |server| {
        let db = TestDb::create(server, "moved").await;
        db.sql(
            "CREATE TABLE t (p VARCHAR(9) CHARACTER SET latin1, q VARCHAR(9) CHARACTER SET latin1, \
             s VARCHAR(20), u CHAR(20) CHARACTER SET utf16, v VARBINARY(20), n INT, PRIMARY KEY (p, q))",
        )
        .await;
        db.sql(
            "INSERT INTO t VALUES ('a,b', 'c', 'x,y', 'z', x'2C00FF', 1), ('d', 'e', NULL, '', '7', NULL), \
             ('f', 'g', '', NULL, NULL, 7), ('h', 'i', ',,', 'é', x'E9', 2)",
        )
        .await;
        let tables = Tables::new(&db, "ADD COLUMN w INT").await;
        for damage in [
            "SET p = 'a', q = 'b,c' WHERE q = 'c'",
            "SET s = 'x', u = 'y,z' WHERE q = 'c'",
            "SET s = 'x,y,', u = ',z' WHERE q = 'c'",
            "SET u = 'z,', v = x'00FF' WHERE q = 'c'",
            "SET s = '', u = NULL WHERE q = 'e'",
            "SET s = NULL, u = '' WHERE q = 'g'",
            "SET v = '', n = 7 WHERE q = 'e'",
            "SET v = '7', n = NULL WHERE q = 'g'",
            "SET s = ',', u = ',é' WHERE q = 'i'",
        ] {
            tables.copy(100).await.unwrap();
            verify(&tables).await.unwrap();
            assert_eq!(db.sql(format!("UPDATE _t_gho {damage}")).await, 1, "{damage}");
            difference(&tables, damage).await;
            db.sql("DELETE FROM _t_gho").await;
        }
    })
    .await;
}

/// Values of a column that the next test exchanges.
const EXCHANGED: &[Option<&str>] = &[
    None,
    Some(""),
    Some("0"),
    Some("1"),
    Some("a"),
    Some("A"),
    Some("a "),
    Some("b"),
];
const EXCHANGED_ROWS: usize = 24;
/// More than the hash of a row joins at once.
const EXCHANGED_COLUMNS: usize = 17;

/// Two values of rows of one chunk change places: of a row, of a column, or of neither.
#[tokio::test]
async fn exchanged_values_are_seen_wherever_they_are() {
    both(async |server| {
        let db = TestDb::create(server, "exchanged").await;
        let columns: Vec<String> = (0..EXCHANGED_COLUMNS)
            .map(|n| format!("c{n} VARCHAR(9)"))
            .collect();
        db.sql(format!(
            "CREATE TABLE t (a INT, b VARCHAR(9), d DATE, {}, PRIMARY KEY (a, b, d))",
            columns.join(", ")
        ))
        .await;
        let cells: Vec<Vec<Option<&str>>> = (0..EXCHANGED_ROWS)
            .map(|_| {
                (0..EXCHANGED_COLUMNS)
                    .map(|_| fastrand::choice(EXCHANGED).copied().flatten())
                    .collect()
            })
            .collect();
        let literal = |value: Option<&str>| match value {
            Some(text) => format!("'{text}'"),
            None => "NULL".to_string(),
        };
        let rows: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(n, cells)| {
                let values: Vec<String> = cells.iter().map(|cell| literal(*cell)).collect();
                format!("({}, 'x', '2020-01-01', {})", n, values.join(", "))
            })
            .collect();
        db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        let tables = Tables::new(&db, "ADD COLUMN w INT").await;
        tables.copy(100).await.unwrap();
        let mut seen = 0;
        while seen < 100 {
            let (row, column) = (
                fastrand::usize(..EXCHANGED_ROWS),
                fastrand::usize(..EXCHANGED_COLUMNS),
            );
            let (other_row, other_column) = match seen % 3 {
                0 => (row, fastrand::usize(..EXCHANGED_COLUMNS)),
                1 => (fastrand::usize(..EXCHANGED_ROWS), column),
                _ => (
                    fastrand::usize(..EXCHANGED_ROWS),
                    fastrand::usize(..EXCHANGED_COLUMNS),
                ),
            };
            let (one, other) = (cells[row][column], cells[other_row][other_column]);
            if one == other {
                continue;
            }
            let exchange = async |there: Option<&str>, here: Option<&str>| {
                for (row, column, value) in [(row, column, there), (other_row, other_column, here)]
                {
                    let changed = db
                        .sql(format!(
                            "UPDATE _t_gho SET c{column} = {} WHERE a = {row}",
                            literal(value)
                        ))
                        .await;
                    assert_eq!(changed, 1);
                }
            };
            exchange(other, one).await;
            let damage = format!(
                "{one:?} of ({row}, {column}) and {other:?} of ({other_row}, {other_column})"
            );
            difference(&tables, &damage).await;
            exchange(one, other).await;
            seen += 1;
        }
        verify(&tables).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_empty_original_does_not_hide_rows_of_the_ghost() {
    both(async |server| {
        let db = TestDb::create(server, "nothing").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let tables = Tables::new(&db, "").await;
        assert!(verify(&tables).await.unwrap().finished);
        db.sql("INSERT INTO _t_gho VALUES (1)").await;
        let words = difference(&tables, "a row more").await;
        assert!(words.contains("id=1 (only in _t_gho)"), "{words}");
    })
    .await;
}

#[tokio::test]
async fn single_keys_are_looked_at_again() {
    both(async |server| {
        let db = TestDb::create(server, "recheck").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        let rows: Vec<String> = (0..500).map(|n| format!("({n}, {n})")).collect();
        db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
            .await;
        let tables = Tables::new(&db, "MODIFY id BIGINT").await;
        tables.copy(1000).await.unwrap();
        db.sql("DELETE FROM t WHERE id = 7").await;
        db.sql("DELETE FROM _t_gho WHERE id = 7").await;
        let keys: Vec<_> = (0..450)
            .map(|n| changeling::key::Key(vec![changeling::row::Cell::Int(n)]))
            .collect();
        let plan = plan(&tables, Arc::new(NoReplay));
        let recheck = async || {
            let steering = Steering::new(10);
            verify::recheck(
                plan.clone(),
                keys.clone(),
                steering.controls(),
                Arc::new(Progress::default()),
            )
            .await
        };
        let sided: Vec<SidedKey> = keys.iter().cloned().map(SidedKey::of_original).collect();
        let locked = async || {
            let mut session = tables.server.session(Purpose::Lock).await.unwrap();
            plan.comparison.prepare(&mut session).await.unwrap();
            session
                .execute(&format!(
                    "LOCK TABLES {0}.t WRITE, {0}._t_gho WRITE",
                    db.name
                ))
                .await
                .unwrap();
            let found = verify::check_under_lock(&mut session, &plan.comparison, &sided)
                .await
                .unwrap();
            session.execute("UNLOCK TABLES").await.unwrap();
            found
        };
        recheck().await.unwrap();
        assert_eq!(locked().await, Vec::<String>::new());
        db.sql("UPDATE _t_gho SET v = -1 WHERE id IN (3, 470)")
            .await;
        let failure = recheck().await.unwrap_err();
        assert!(
            failure.to_string().ends_with("differ: id=3 (v)"),
            "{failure}"
        );
        assert_eq!(locked().await, ["id=3 (v)"]);
        db.sql("DELETE FROM _t_gho WHERE id = 3").await;
        assert_eq!(locked().await, ["id=3 (not in _t_gho)"]);
        db.sql("INSERT INTO _t_gho VALUES (3, 3), (7, 7)").await;
        assert_eq!(locked().await, ["id=7 (only in _t_gho)"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_in_another_order_is_compared_from_both_sides() {
    both(async |server| {
        let db = TestDb::create(server, "order").await;
        db.sql("CREATE TABLE t (a INT, b VARCHAR(10) CHARACTER SET latin1, v TEXT, PRIMARY KEY (a, b))")
            .await;
        let rows: Vec<String> = (0..100)
            .map(|n| format!("({}, 'k{}', '{n}')", n / 10, n % 10))
            .collect();
        db.sql(format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
        // With a conversion that SQL can express, and with one that it cannot.
        for alter in [
            "MODIFY b VARCHAR(10) CHARACTER SET utf8mb4",
            "MODIFY v INT",
        ] {
            db.sql("DROP TABLE IF EXISTS _t_gho").await;
            let alter = format!("DROP PRIMARY KEY, ADD PRIMARY KEY (b, a), {alter}");
            let tables = Tables::new(&db, &alter).await;
            tables.copy(30).await.unwrap();
            assert!(verify(&tables).await.unwrap().finished);
            for (damage, expected) in [
                ("UPDATE _t_gho SET v = 5 WHERE a = 4 AND b = 'k4'", "a=4, b='k4' (v)"),
                ("DELETE FROM _t_gho WHERE a = 9 AND b = 'k9'", "a=9, b='k9' (not in _t_gho)"),
                ("INSERT INTO _t_gho VALUES (10, 'k4', 5)", "a=10, b='k4' (only in _t_gho)"),
            ] {
                db.sql(damage).await;
                let words = difference(&tables, damage).await;
                assert!(words.contains(expected), "{expected} not in: {words}");
                db.sql("DELETE FROM _t_gho").await;
                tables.copy(1000).await.unwrap();
            }
        }
    })
    .await;
}

/// On MySQL only: MariaDB's computed columns may be NULL, and are no key.
#[tokio::test]
async fn a_computed_key_is_compared() {
    let db = TestDb::create(server("mysql-primary"), "computed").await;
    db.sql(
        "CREATE TABLE t (a INT NOT NULL, k INT AS (a * 2) STORED NOT NULL, v INT, UNIQUE KEY (k))",
    )
    .await;
    db.sql("INSERT INTO t (a, v) VALUES (1, 1), (2, 2), (3, 3)")
        .await;
    for alter in ["ADD n INT", "MODIFY v VARCHAR(10)"] {
        db.sql("DROP TABLE IF EXISTS _t_gho").await;
        let tables = Tables::new(&db, alter).await;
        tables.copy(2).await.unwrap();
        verify(&tables).await.unwrap();
        db.sql("UPDATE _t_gho SET v = 7 WHERE a = 2").await;
        let words = difference(&tables, alter).await;
        assert!(words.contains("k=4 (v)"), "{words}");
    }
}
