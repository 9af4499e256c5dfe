use changeling::key::Key;
use changeling::mysql::{Purpose, Session};
use changeling::row::Cell;
use changeling::schema::{
    ColumnMap, ColumnMoves, KeyColumn, MigrationKey, key_cell_from_value, select_expression,
};

use super::{definition, session};
use crate::binlog::follow::Follow;
use crate::support::{TestDb, TestServer, both, server};

/// Types of key columns, each with values as SQL text.
async fn types(server: &'static TestServer) -> Vec<(String, Vec<String>)> {
    let mut types: Vec<(&str, &str)> = vec![
        ("TINYINT", "-128|-1|0|127"),
        ("TINYINT UNSIGNED", "0|255"),
        ("SMALLINT", "-32768|5"),
        ("MEDIUMINT", "-8388608|-1|8388607"),
        ("MEDIUMINT UNSIGNED", "16777215"),
        ("INT", "-2147483648|0"),
        ("INT UNSIGNED ZEROFILL", "4294967295|7"),
        ("BIGINT", "-9223372036854775808|9223372036854775807"),
        (
            "BIGINT UNSIGNED",
            "18446744073709551615|9223372036854775808|0",
        ),
        (
            "DECIMAL(20,5)",
            "-0.5|0|12345678901.5|-999999999999999.99999",
        ),
        ("DECIMAL(10,0)", "-7|0"),
        ("DECIMAL(8,2) UNSIGNED ZEROFILL", "7.5|0"),
        ("DECIMAL(65,30)", "0.000000000000000000000000000001|-1"),
        ("BIT(1)", "b'0'|b'1'"),
        ("BIT(7)", "b'101'|0"),
        ("BIT(64)", "18446744073709551615|9223372036854775809|1"),
        ("YEAR", "0|1901|2155"),
        (
            "ENUM('b','a','c,d','it''s','5')",
            "'b'|'a'|'c,d'|'it''s'|'5'",
        ),
        ("SET('x','y','z')", "''|'x'|'x,z'|'y'"),
        (
            "DATE",
            "'2024-02-29'|'0000-00-00'|'2021-02-31'|'9999-12-31'",
        ),
        (
            "DATETIME",
            "'2024-02-29 23:59:59'|'0000-00-00'|'1000-01-01'",
        ),
        (
            "DATETIME(3)",
            "'2024-01-01 00:00:00.120'|'2020-00-00 01:02:03.004'",
        ),
        ("DATETIME(6)", "'2024-01-01 00:00:00.000001'|'2024-01-01'"),
        ("TIME", "'-838:59:59'|'00:00:00'|'838:59:59'"),
        ("TIME(1)", "'-10:11:12.9'|'-00:00:00.1'"),
        ("TIME(2)", "'-700:00:00.50'|'700:00:00.05'"),
        (
            "TIME(6)",
            "'-838:59:58.999999'|'-00:00:00.000001'|'00:00:00.000001'",
        ),
        (
            "TIMESTAMP",
            "'0000-00-00'|'1970-01-01 00:00:01'|'2038-01-19 03:14:07'|'2024-10-27 00:30:00'|'2024-10-27 01:30:00'",
        ),
        (
            "TIMESTAMP(6)",
            "'2024-01-01 00:00:00.999999'|'0000-00-00'|'2024-01-01'",
        ),
        ("TIMESTAMP(2)", "'2024-01-01 00:00:00.05'"),
        ("BINARY(4)", "'ab'|''|'a\\0\\0c'|'    '|x'00ff'"),
        ("VARBINARY(8)", "'ab'|'ab '|x'616200'|''|x'00'"),
        ("CHAR(9)", "'a'|''|'é ü'|' b'"),
        ("CHAR(9) CHARACTER SET utf16", "'a'|'é'|'😀'"),
        (
            "VARCHAR(9) CHARACTER SET latin1",
            "'é'|'a'|''|'\\\\'|'it''s'",
        ),
        ("VARCHAR(9) CHARACTER SET gbk", "'中'|'文a'"),
        ("VARCHAR(9) CHARACTER SET sjis", "'ソ'|'表'"),
        ("VARCHAR(9) CHARACTER SET cp1251", "'Ж'|'z'"),
        ("VARCHAR(9) CHARACTER SET ucs2", "'a'|'Ж'"),
        ("VARCHAR(9) CHARACTER SET utf32", "'a'|'😀'"),
        ("VARCHAR(9) CHARACTER SET utf8mb3", "'é'|'a'"),
        (
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "'a'|'A'|'é'|'😀'|'b '",
        ),
        (
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "'A'|'é'|'b '",
        ),
    ];
    if server.is_mariadb() {
        types.extend([
            ("UUID", "'01234567-89ab-1cde-8123-456789abcd00'|'01234567-89ab-7cde-8123-456789abcdef'|'00000000-0000-0000-0000-000000000000'"),
            ("INET6", "'::'|'2001:db8::1'|'::ffff:1.2.3.0'"),
            ("INET4", "'0.0.0.0'|'10.1.2.0'|'32.32.32.32'"),
            (
                "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
                "'a'|'a '|'A'",
            ),
        ]);
    } else {
        types.push((
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
            "'a'|'a '|'é'|'ß'",
        ));
    }
    let mut types: Vec<(String, Vec<String>)> = types
        .into_iter()
        .map(|(definition, values)| {
            let values = values.split('|').map(str::to_string).collect();
            (definition.to_string(), values)
        })
        .collect();
    let labels: Vec<String> = (0..53).map(|number| format!("'s{number}'")).collect();
    types.push((
        format!("SET({})", labels.join(",")),
        ["9007199254740991", "4503599627370497", "1"]
            .map(str::to_string)
            .to_vec(),
    ));
    let db = TestDb::create(server, "keys").await;
    let mut known = Vec::new();
    for (definition, values) in types {
        if db.knows_type(&definition).await {
            known.push((definition, values));
        }
    }
    known
}

/// The cell that a query gives for a stored key value, written as a literal, finds that row again and
/// no other, by index: for every type that a key may have.
#[tokio::test]
async fn a_key_read_by_a_query_finds_its_row() {
    both(async |server| {
        let db = TestDb::create(server, "keys").await;
        db.sql(
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', \
             NAMES utf8mb4",
        )
        .await;
        let mut session = session(&db, Purpose::Copy).await;
        for (number, (column, values)) in types(server).await.into_iter().enumerate() {
            let table = format!("k{number}");
            let default = if column.starts_with("TIMESTAMP") {
                "DEFAULT '2000-01-01'"
            } else {
                ""
            };
            db.sql(format!(
                "CREATE TABLE {table} (k {column} NOT NULL {default}, id INT NOT NULL, PRIMARY KEY (k)) \
                 ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
            ))
            .await;
            let rows: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(id, value)| format!("({value}, {id})"))
                .collect();
            db.sql(format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
                .await;
            let key = key(&mut session, &db, &table).await;
            find_again(&mut session, &db, &table, &key.columns[0], values.len()).await;
        }
        session.close().await;
    })
    .await;
}

async fn key(session: &mut Session, db: &TestDb, table: &str) -> MigrationKey {
    let definition = definition(session, db, table).await;
    let map = ColumnMap::build(&definition, &definition, &ColumnMoves::default()).unwrap();
    MigrationKey::choose(&definition, &definition, &map).unwrap()
}

async fn find_again(
    session: &mut Session,
    db: &TestDb,
    table: &str,
    column: &KeyColumn,
    count: usize,
) {
    let what = &column.source.column_type;
    let sql = format!(
        "SELECT id, {} FROM `{}`.{table}",
        select_expression(column),
        db.name
    );
    let rows = session.query_binary(&sql).await.unwrap();
    assert_eq!(rows.len(), count, "{what}");
    for row in rows {
        let id: i64 = row.get(0).unwrap();
        let value = row.as_ref(1).unwrap().clone();
        let cell = key_cell_from_value(column, value).unwrap();
        let mut literal = String::new();
        column.write_literal(&mut literal, &cell);
        let from = format!("FROM `{}`.{table} WHERE k = {literal}", db.name);
        let found: Vec<i64> = session.query(&format!("SELECT id {from}")).await.unwrap();
        assert_eq!(found, [id], "{what}: {cell:?} as {literal}");
        let plan: Vec<mysql_async::Row> = session
            .query(&format!("EXPLAIN FORMAT=TRADITIONAL SELECT * {from}"))
            .await
            .unwrap();
        let used: Option<String> = plan[0].get("key").unwrap();
        assert_eq!(used.as_deref(), Some("PRIMARY"), "{what}: {literal}");
    }
}

/// Values whose cells are known.
#[tokio::test]
async fn cells_are_those_of_the_stored_bytes() {
    both(async |server| {
        let db = TestDb::create(server, "keys").await;
        db.sql(
            "CREATE TABLE t (a MEDIUMINT NOT NULL, b ENUM('x','y') NOT NULL, c CHAR(4) CHARACTER SET latin1 NOT NULL, \
             d BINARY(4) NOT NULL, e TIMESTAMP(3) NOT NULL DEFAULT '2000-01-01', f TIME(2) NOT NULL, \
             g DECIMAL(5,2) ZEROFILL NOT NULL, h BIT(9) NOT NULL, PRIMARY KEY (a, b, c, d, e, f, g, h))",
        )
        .await;
        db.sql("SET time_zone = '+03:00'").await;
        db.sql("INSERT INTO t VALUES (-1, 'y', 'é ', 'a', '2024-01-01 03:00:00.125', '-01:00:00.25', 1.5, 257)")
            .await;
        let mut session = session(&db, Purpose::Copy).await;
        session.execute("SET time_zone = '-05:00'").await.unwrap();
        let key = key(&mut session, &db, "t").await;
        let list: Vec<String> = key.columns.iter().map(select_expression).collect();
        let sql = format!("SELECT {} FROM `{}`.t", list.join(", "), db.name);
        let row = session.query_binary(&sql).await.unwrap().remove(0);
        let cells: Vec<Cell> = key
            .columns
            .iter()
            .zip(row.unwrap())
            .map(|(column, value)| key_cell_from_value(column, value).unwrap())
            .collect();
        let expected = [
            Cell::Int(-1),
            Cell::UInt(2),
            Cell::Bytes(vec![0xe9]),
            Cell::Bytes(vec![b'a', 0, 0, 0]),
            Cell::Timestamp {
                seconds: 1_704_067_200,
                micros: 125_000,
            },
            Cell::Time {
                micros: -3_600_250_000,
            },
            Cell::Decimal("1.50".to_string()),
            Cell::UInt(257),
        ];
        assert_eq!(cells, expected);
        session.close().await;
    })
    .await;
}

/// As many columns as an index may have, but for the number before them.
const TOGETHER: usize = 15;

/// A key read by a query is the very key that the binlog tells of the same row: for every type, from
/// the after image of an INSERT and from the before image of a DELETE.
#[tokio::test]
async fn a_key_read_by_a_query_is_the_one_in_the_binlog() {
    both(async |server| {
        for group in types(server).await.chunks(TOGETHER) {
            let db = TestDb::create(server, "keys").await;
            db.sql(
                "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', NAMES utf8mb4",
            )
            .await;
            create_together(&db, group).await;
            let mut follow = Follow::new(&db, false).await;
            insert_together(&db, group).await;
            let inserted = follow.changes().await;
            let mut session = session(&db, Purpose::Copy).await;
            let read = read_keys(&mut session, &db).await;
            db.sql("DELETE FROM t").await;
            let deleted = follow.changes().await;
            let inserted = inserted.into_iter().map(|change| change.after.unwrap().key);
            let deleted = deleted.into_iter().map(|change| change.before.unwrap());
            assert_eq!(in_order(inserted), read);
            assert_eq!(in_order(deleted), read);
            follow.stop().await;
            session.close().await;
        }
    })
    .await;
}

async fn create_together(db: &TestDb, group: &[(String, Vec<String>)]) {
    let columns = group.iter().enumerate().map(|(number, (column, _))| {
        let default = if column.starts_with("TIMESTAMP") {
            "DEFAULT '2000-01-01'"
        } else {
            ""
        };
        format!("k{number} {column} NOT NULL {default}, ")
    });
    let names: Vec<String> = (0..group.len())
        .map(|number| format!(", k{number}"))
        .collect();
    db.sql(format!(
        "CREATE TABLE t (n INT NOT NULL, {} PRIMARY KEY (n{})) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
        columns.collect::<String>(),
        names.concat()
    ))
    .await;
}

/// As many rows as the type with the most values has; the others begin again.
async fn insert_together(db: &TestDb, group: &[(String, Vec<String>)]) {
    let most = group.iter().map(|(_, values)| values.len()).max().unwrap();
    let rows: Vec<String> = (0..most)
        .map(|row| {
            let values = group
                .iter()
                .map(|(_, values)| format!(", {}", values[row % values.len()]));
            format!("({row}{})", values.collect::<String>())
        })
        .collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
}

async fn read_keys(session: &mut Session, db: &TestDb) -> Vec<Key> {
    let key = key(session, db, "t").await;
    let list: Vec<String> = key.columns.iter().map(select_expression).collect();
    let sql = format!("SELECT {} FROM `{}`.t", list.join(", "), db.name);
    let rows = session.query_binary(&sql).await.unwrap();
    in_order(rows.into_iter().map(|row| {
        let cells = key
            .columns
            .iter()
            .zip(row.unwrap())
            .map(|(column, value)| key_cell_from_value(column, value).unwrap());
        Key(cells.collect())
    }))
}

/// By the number before the other columns.
fn in_order(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_by_key(|key| match key.0[0] {
        Cell::Int(number) => number,
        _ => panic!("{key:?}"),
    });
    keys
}

/// Row images have the values of generated columns. (MariaDB has no NOT NULL generated columns.)
#[tokio::test]
async fn generated_columns_can_be_keys() {
    let db = TestDb::create(server("mysql-primary"), "keys").await;
    for kind in ["VIRTUAL", "STORED"] {
        db.sql(format!(
            "CREATE TABLE t (a INT, n INT GENERATED ALWAYS AS (a * 2) {kind} NOT NULL, UNIQUE (n)) ENGINE=InnoDB"
        ))
        .await;
        let mut follow = Follow::new(&db, false).await;
        db.sql("INSERT INTO t (a) VALUES (1), (2)").await;
        let inserted = follow.changes().await;
        let mut session = session(&db, Purpose::Copy).await;
        let read = read_keys(&mut session, &db).await;
        db.sql("UPDATE t SET a = a + 10").await;
        let updated = follow.changes().await;
        let inserted = inserted.into_iter().map(|change| change.after.unwrap().key);
        assert_eq!(in_order(inserted), read, "{kind}");
        let before = updated.iter().map(|change| change.before.clone().unwrap());
        assert_eq!(in_order(before), read, "{kind}");
        let after = updated.into_iter().map(|change| change.after.unwrap().key);
        assert_eq!(
            in_order(after),
            read_keys(&mut session, &db).await,
            "{kind}"
        );
        follow.stop().await;
        session.close().await;
        db.sql("DROP TABLE t, _t_ghc").await;
    }
}
