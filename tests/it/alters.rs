//! ALTERs from real life with the verdict of the plan, each checked against what the server itself does
//! with a table that has rows.

use std::collections::BTreeSet;

use changeling::alter::{AlterStatement, NativeWay, native};
use changeling::failure::{ErrorClass, FailureKind};
use changeling::mysql::Purpose;
use changeling::names::Names;

use crate::schema::{definition, session};
use crate::support::{TestDb, TestServer, both, is_another_version};

const TABLE: &str = "CREATE TABLE t (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id INT NOT NULL,
    email VARCHAR(100) NOT NULL,
    name VARCHAR(50) DEFAULT NULL,
    status ENUM('new','paid','sent') NOT NULL DEFAULT 'new',
    flags SET('a','b') NOT NULL DEFAULT '',
    amount DECIMAL(10,2) NOT NULL DEFAULT 0,
    qty INT NOT NULL DEFAULT 1,
    small SMALLINT,
    note TEXT,
    body MEDIUMTEXT,
    created DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated TIMESTAMP NULL,
    day DATE,
    price FLOAT,
    total BIGINT AS (qty * 2) VIRTUAL,
    hash BINARY(16),
    legacy CHAR(10) CHARACTER SET latin1,
    UNIQUE KEY by_email (email),
    KEY by_customer (customer_id, created),
    KEY by_status (status)
  ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci";

const ROWS: &str = "INSERT INTO t (customer_id, email, name, status, small, note, day, price, legacy)
    VALUES (1, 'a', 'x', 'new', 1, 'one', '2024-02-29', 1.5, 'l'),
    (1, 'b', 'y', 'paid', 2, 'two', '2024-03-01', 2.5, 'm'), (2, 'c', 'z', 'new', NULL, NULL, NULL, NULL, NULL)";

/// Clauses, the verdict on MySQL, the verdict on MariaDB. `refused`: this program does not try it.
const ALTERS: &[(&str, &str, &str)] = &[
    ("ADD COLUMN c INT", "instant", "instant"),
    ("ADD COLUMN c INT NOT NULL DEFAULT 0", "instant", "instant"),
    ("ADD COLUMN c VARCHAR(20) AFTER email", "instant", "copy"),
    ("ADD COLUMN c INT FIRST", "instant", "copy"),
    (
        "ADD COLUMN c DATETIME DEFAULT CURRENT_TIMESTAMP",
        "instant",
        "instant",
    ),
    (
        "ADD COLUMN c TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
        "instant",
        "instant",
    ),
    ("ADD COLUMN c JSON", "instant", "instant"),
    ("ADD COLUMN (c INT, d INT)", "instant", "instant"),
    ("ADD COLUMN c INT, ADD INDEX by_c (c)", "rebuild", "rebuild"),
    (
        "ADD COLUMN c INT GENERATED ALWAYS AS (qty * 3) VIRTUAL",
        "instant",
        "instant",
    ),
    (
        "ADD COLUMN c INT GENERATED ALWAYS AS (qty * 3) STORED",
        "copy",
        "copy",
    ),
    (
        "ADD COLUMN c INT AUTO_INCREMENT UNIQUE",
        "rejected",
        "rejected",
    ),
    ("ADD COLUMN c INT, DROP COLUMN small", "instant", "copy"),
    ("ADD COLUMN c INT INVISIBLE", "instant", "instant"),
    ("ADD COLUMN c INT CHECK (c > 0)", "copy", "instant"),
    ("ADD COLUMN email INT", "rejected", "rejected"),
    ("DROP COLUMN name", "instant", "instant"),
    ("DROP COLUMN note, DROP COLUMN body", "instant", "instant"),
    ("DROP COLUMN customer_id", "rebuild", "copy"),
    ("DROP COLUMN qty", "rejected", "rejected"),
    ("DROP COLUMN total", "instant", "instant"),
    ("DROP COLUMN nothing", "rejected", "rejected"),
    ("RENAME COLUMN name TO full_name", "instant", "instant"),
    (
        "RENAME COLUMN email TO mail, RENAME COLUMN name TO email",
        "instant",
        "instant",
    ),
    ("CHANGE name full_name VARCHAR(50)", "instant", "instant"),
    (
        "CHANGE COLUMN name full_name VARCHAR(60)",
        "metadata",
        "instant",
    ),
    ("MODIFY name VARCHAR(60)", "metadata", "instant"),
    ("MODIFY name VARCHAR(300)", "copy", "copy"),
    ("MODIFY name VARCHAR(40)", "copy", "copy"),
    (
        "MODIFY name VARCHAR(50) NOT NULL DEFAULT ''",
        "rebuild",
        "rebuild",
    ),
    ("MODIFY email VARCHAR(100) NULL", "rebuild", "rebuild"),
    (
        "MODIFY qty INT NOT NULL DEFAULT 1 COMMENT 'pieces'",
        "instant",
        "instant",
    ),
    ("MODIFY id BIGINT NOT NULL AUTO_INCREMENT", "copy", "copy"),
    ("MODIFY small INT", "copy", "copy"),
    (
        "MODIFY amount DECIMAL(12,2) NOT NULL DEFAULT 0",
        "copy",
        "copy",
    ),
    (
        "MODIFY status ENUM('new','paid','sent','lost') NOT NULL DEFAULT 'new'",
        "instant",
        "instant",
    ),
    (
        "MODIFY status ENUM('paid','new','sent') NOT NULL DEFAULT 'new'",
        "copy",
        "copy",
    ),
    (
        "MODIFY status ENUM('new','paid') NOT NULL DEFAULT 'new'",
        "copy",
        "copy",
    ),
    (
        "MODIFY flags SET('a','b','c') NOT NULL DEFAULT ''",
        "instant",
        "instant",
    ),
    ("MODIFY note MEDIUMTEXT", "copy", "copy"),
    ("MODIFY price DOUBLE", "copy", "copy"),
    ("MODIFY updated DATETIME NULL", "copy", "copy"),
    ("MODIFY name VARCHAR(50) AFTER id", "rebuild", "instant"),
    (
        "MODIFY name VARCHAR(50) COLLATE utf8mb4_unicode_ci",
        "metadata",
        "instant",
    ),
    (
        "MODIFY legacy CHAR(10) CHARACTER SET utf8mb4",
        "copy",
        "copy",
    ),
    ("ALTER COLUMN qty SET DEFAULT 2", "instant", "instant"),
    ("ALTER COLUMN qty DROP DEFAULT", "instant", "instant"),
    ("ADD INDEX by_day (day)", "index", "index"),
    ("ADD INDEX by_prefix (note(20))", "index", "index"),
    ("ADD UNIQUE KEY by_hash (hash)", "index", "index"),
    ("ADD FULLTEXT INDEX f (note)", "shared", "shared"),
    ("DROP INDEX by_status", "metadata", "metadata"),
    (
        "DROP INDEX by_status, ADD INDEX by_status (status, created)",
        "index",
        "index",
    ),
    ("RENAME INDEX by_status TO by_state", "metadata", "instant"),
    ("ALTER INDEX by_status INVISIBLE", "metadata", "rejected"),
    ("ALTER INDEX by_status IGNORED", "rejected", "instant"),
    (
        "DROP PRIMARY KEY, ADD PRIMARY KEY (id, customer_id)",
        "rebuild",
        "rebuild",
    ),
    ("DROP PRIMARY KEY", "rejected", "rejected"),
    ("ADD CONSTRAINT positive CHECK (qty > 0)", "copy", "copy"),
    (
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "copy",
        "copy",
    ),
    ("DEFAULT CHARACTER SET latin1", "metadata", "instant"),
    ("ENGINE=InnoDB", "rebuild", "rebuild"),
    ("FORCE", "rebuild", "rebuild"),
    (
        "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
        "rebuild",
        "rebuild",
    ),
    ("COMMENT='orders of the shop'", "metadata", "instant"),
    ("AUTO_INCREMENT=100000", "metadata", "instant"),
    ("STATS_PERSISTENT=1", "metadata", "instant"),
    ("ORDER BY created", "copy", "instant"),
    (
        "PARTITION BY HASH (id) PARTITIONS 4",
        "rejected",
        "rejected",
    ),
    (
        "DROP INDEX by_email PARTITION BY HASH (id) PARTITIONS 4",
        "copy",
        "copy",
    ),
    ("RENAME TO orders", "refused", "refused"),
    (
        "ADD CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers (id)",
        "refused",
        "refused",
    ),
    ("DISCARD TABLESPACE", "refused", "refused"),
];

fn word(way: NativeWay) -> &'static str {
    match way {
        NativeWay::Instant => "instant",
        NativeWay::Metadata => "metadata",
        NativeWay::IndexBuild => "index",
        NativeWay::InplaceRebuild => "rebuild",
        NativeWay::InplaceShared => "shared",
        NativeWay::Copy => "copy",
    }
}

/// The table's id and those of its indexes, by which one sees what the server has built anew.
async fn built(server: &TestServer, db: &TestDb, table: &str) -> (u64, BTreeSet<u64>) {
    let prefix = if server.is_mariadb() {
        "INNODB_SYS"
    } else {
        "INNODB"
    };
    let rows: Vec<(u64, u64)> = db
        .rows(format!(
            "SELECT t.TABLE_ID, i.INDEX_ID FROM information_schema.{prefix}_TABLES t \
             JOIN information_schema.{prefix}_INDEXES i ON i.TABLE_ID = t.TABLE_ID \
             WHERE t.NAME = '{}/{table}'",
            db.name
        ))
        .await;
    let id = rows.first().map_or(0, |row| row.0);
    (id, rows.into_iter().map(|row| row.1).collect())
}

/// What the server itself does with a table that has rows, asked in words that leave it no choice.
async fn own_way(server: &TestServer, db: &TestDb, clauses: &str) -> String {
    db.sql("DROP TABLE IF EXISTS u").await;
    db.sql("CREATE TABLE u LIKE t").await;
    db.sql(ROWS.replacen("INTO t", "INTO u", 1)).await;
    let (id, indexes) = built(server, db, "u").await;
    let ask = async |modifiers: &str| {
        let joint = if modifiers.is_empty() { "" } else { ", " };
        db.try_sql(format!("ALTER TABLE u {modifiers}{joint}{clauses}"))
            .await
            .is_ok()
    };
    let asks_nothing = server.is_mariadb() && clauses.contains("PARTITION BY");
    if !asks_nothing {
        if ask("ALGORITHM=INSTANT").await {
            return "instant".to_string();
        }
        if ask("ALGORITHM=INPLACE, LOCK=NONE").await {
            let (id_now, indexes_now) = built(server, db, "u").await;
            return if indexes_now.is_subset(&indexes) {
                "metadata"
            } else if id_now == id || indexes_now.intersection(&indexes).count() > 0 {
                "index"
            } else {
                "rebuild"
            }
            .to_string();
        }
        if ask("ALGORITHM=INPLACE, LOCK=SHARED").await {
            return "shared".to_string();
        }
    }
    if ask("").await { "copy" } else { "rejected" }.to_string()
}

#[tokio::test]
async fn verdicts_are_the_servers_own() {
    both(async |server| {
        let db = TestDb::create(server, "alters").await;
        db.sql(TABLE).await;
        db.sql(ROWS).await;
        let mut session = session(&db, Purpose::Ddl).await;
        let original = definition(&mut session, &db, "t").await;
        let names = Names::new(&original.name, None, None);
        let mut wrong = Vec::new();
        for (clauses, on_mysql, on_mariadb) in ALTERS {
            let expected = if server.is_mariadb() {
                on_mariadb
            } else {
                on_mysql
            };
            let alter = AlterStatement::parse(clauses).unwrap();
            let verdict = match native::probe(&mut session, &names, &original, &alter).await {
                Ok(answer) => word(answer.way),
                Err(failure) if failure.class() == Some(ErrorClass::Definite) => "rejected",
                Err(failure) if failure.kind() == FailureKind::Refused => "refused",
                Err(failure) => panic!("{clauses}: {failure}"),
            };
            let own = match verdict {
                "refused" => verdict.to_string(),
                _ => own_way(server, &db, clauses).await,
            };
            // What a server can do changes from version to version; the plan must know it.
            let is_expected = verdict == *expected || is_another_version();
            if !is_expected || own != verdict {
                wrong.push(format!(
                    "{clauses}: expected {expected}, the plan says {verdict}, the server does {own}"
                ));
            }
        }
        session.close().await;
        assert!(ALTERS.len() >= 60);
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        db.sql("DROP TABLE IF EXISTS u").await;
        assert_eq!(db.tables().await, ["t"]);
    })
    .await;
}
