//! `replay(x) = copy(x)`: values that arrive as literals, written into a table of the target's types, make
//! it what the server makes by copying and by its own ALTER. Compared by the server.

mod changed;
mod keys;
mod same;

use changeling::binlog::image_pairs_cleared;
use changeling::change::{After, RowChange};
use changeling::key::Key;
use changeling::mysql::{Purpose, Session, quote};
use changeling::names::TableName;
use changeling::row::Cell;
use changeling::schema::{ColumnMap, ColumnMoves, load};

use super::follow::Setup;
use crate::support::server::TestServer;
use crate::support::{TestDb, assert_same_rows};

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
