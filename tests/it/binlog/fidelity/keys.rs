//! Keys from the binlog and keys from queries.

use changeling::mysql::Purpose;
use changeling::schema::{key_cell_from_value, select_expression};

use crate::binlog::follow::Setup;
use crate::support::server::TestServer;
use crate::support::{TestDb, both};

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
            let types = TestDb::create(server, "types").await;
            for kind in [
                ("UUID", "'123e4567-e89b-12d3-a456-426614174000'"),
                ("UUID", "'00112233-4455-4677-8899-aabbccddee00'"),
                ("INET6", "'2001:db8::'"),
                ("INET4", "'1.2.3.0'"),
            ] {
                if types.knows_type(kind.0).await {
                    kinds.push(kind);
                }
            }
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
