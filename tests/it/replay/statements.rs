//! What the optimiser makes of replay's statements.

use changeling::key::Key;
use changeling::replay::Uniqueness;
use changeling::replay::statements::{Row, RowLock, Statements, Verb};
use changeling::row::Cell;

use crate::copy::setup::Tables;
use crate::support::{TestDb, both};

/// A thousand keys are read as ranges of the migration key, whatever it is made of: a locking read never
/// goes through the whole table.
#[tokio::test]
async fn keys_are_read_as_ranges() {
    both(async |server| {
        for (columns, key) in [
            ("a INT, b VARCHAR(10) CHARACTER SET latin1, c INT", "a"),
            ("a INT, b VARCHAR(10) CHARACTER SET latin1, c INT", "b"),
            ("a INT, b VARCHAR(10) CHARACTER SET latin1, c INT", "a, b"),
        ] {
            let db = TestDb::create(server, "ranges").await;
            db.sql(format!(
                "CREATE TABLE t ({columns}, PRIMARY KEY ({key}), KEY (c)) ENGINE=InnoDB"
            ))
            .await;
            let tables = Tables::new(&db, "MODIFY c BIGINT").await;
            let values: Vec<String> = (0..12_000).map(|n| format!("({n}, 'k{n}', {n})")).collect();
            for table in ["t", "_t_gho"] {
                db.sql(format!("INSERT INTO {table} VALUES {}", values.join(", ")))
                    .await;
                db.sql(format!("ANALYZE TABLE {table}")).await;
            }
            let statements = Statements::new(
                tables.server.facts(),
                &tables.original.name,
                &tables.ghost.name,
                &tables.map,
                tables.key.clone(),
                Uniqueness::KeyOnly,
                None,
            );
            let keys: Vec<(Key, Box<[u8]>)> = (0..1000)
                .map(|n| {
                    let cells = key.split(", ").map(|column| match column {
                        "a" => Cell::Int(n),
                        _ => Cell::Bytes(format!("k{n}").into_bytes()),
                    });
                    let key = Key(cells.collect());
                    let bytes = key.to_bytes();
                    (key, bytes)
                })
                .collect();
            let rows: Vec<Row<'_>> = keys
                .iter()
                .map(|(key, bytes)| Row {
                    key: key.clone(),
                    bytes,
                    values: None,
                    recreated: false,
                })
                .collect();
            let mut session = tables
                .server
                .session(changeling::mysql::Purpose::Apply)
                .await
                .unwrap();
            for sql in [
                statements.put_reread(Verb::Replace, &rows, RowLock::Refuse),
                statements.put_reread(Verb::Replace, &rows, RowLock::Wait),
                statements.free_keys(&rows).unwrap(),
                statements.delete(&rows),
            ] {
                let format = if server.is_mariadb() {
                    ""
                } else {
                    "FORMAT=TRADITIONAL "
                };
                let plan = session
                    .query_binary(&format!("EXPLAIN {format}{sql}"))
                    .await
                    .unwrap();
                let text = |row: &mysql_async::Row, name: &str| -> String {
                    row.get::<Option<String>, _>(name)
                        .flatten()
                        .unwrap_or_default()
                };
                let reads: Vec<String> = plan
                    .iter()
                    .map(|row| format!("{} {}", text(row, "type"), text(row, "key")))
                    .filter(|read| read != "ALL " || !sql.starts_with("REPLACE"))
                    .collect();
                assert_eq!(reads, ["range PRIMARY"], "{key}: {}", &sql[..60]);
                session.execute(&sql).await.unwrap();
            }
            session.close().await;
        }
    })
    .await;
}
