//! What must stop the reader, and what must not.

use std::sync::atomic::Ordering;

use super::follow::{Follow, Setup, alone};
use crate::support::server::{TestServer, server};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, both, eventually};

async fn table(server: &'static TestServer) -> TestDb {
    let db = TestDb::create(server, "closed").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    db.sql("CREATE TABLE other (id INT PRIMARY KEY, a INT)")
        .await;
    db.sql("CREATE TABLE _t_gho LIKE t").await;
    db.sql("INSERT INTO t VALUES (1, 1), (2, 2)").await;
    db
}

/// Runs the statements in a session of their own; the reader must fail, saying these words.
async fn stops(server: &'static TestServer, statements: &[&str], words: &str) {
    let db = table(server).await;
    let follow = Follow::new(&db, true).await;
    let client = db.connect().await;
    for statement in statements {
        client.sql(statement).await;
    }
    let failure = follow.failure().await;
    let text = failure.to_string();
    assert!(text.contains(words), "{statements:?}: {text}");
    assert!(failure.remedy_text().is_some(), "{text}");
    client.close().await;
}

#[tokio::test]
async fn definitions_changed_by_others_stop_the_reader() {
    both(async |server| {
        for statement in [
            "TRUNCATE TABLE t",
            "ALTER TABLE t ADD COLUMN b INT",
            "RENAME TABLE t TO t2",
            "DROP TABLE t",
            "CREATE INDEX i ON t (a)",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            "ALTER TABLE _t_gho ADD COLUMN b INT",
        ] {
            stops(server, &[statement], "changes what it_closed_").await;
        }
    })
    .await;
}

const STATEMENT_FORMAT: &str = "SET SESSION binlog_format = 'STATEMENT'";

/// Servers of their own for statements: other tests' readers may have to stop at them.
fn servers() -> [&'static TestServer; 2] {
    [server("mysql-minimal"), server("mariadb-minimal")]
}

#[tokio::test]
async fn statements_that_change_rows_stop_the_reader() {
    let _alone = alone().await;
    for server in servers() {
        for statement in [
            "INSERT INTO t VALUES (9, 9)",
            "UPDATE other JOIN t ON t.id <> other.id SET t.a = 5",
        ] {
            let chosen = [
                "INSERT INTO other VALUES (1, 1)",
                STATEMENT_FORMAT,
                statement,
            ];
            stops(server, &chosen, "is a statement that changes it_closed_").await;
        }
        let db = table(server).await;
        let mut follow = Follow::new(&db, true).await;
        for statement in [
            STATEMENT_FORMAT,
            "INSERT INTO other VALUES (1, 1)",
            "INSERT INTO other SELECT id + 10, a FROM t",
            "UPDATE other SET a = 2",
        ] {
            db.sql(statement).await;
        }
        assert_eq!(follow.changes().await, []);
        follow.stop().await;
    }
}

/// Statements that do not name the table, where something else does: made before and after the start.
#[tokio::test]
async fn statements_that_may_reach_the_table_stop_the_reader() {
    const TRIGGER: &str = "CREATE TRIGGER g AFTER INSERT ON other FOR EACH ROW UPDATE t SET a = 0";
    const VIEW: &str = "CREATE VIEW v AS SELECT * FROM t";
    const FUNCTION: &str = "CREATE FUNCTION f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
                            BEGIN DELETE FROM t; RETURN 1; END";
    let _alone = alone().await;
    for server in servers() {
        for (made, used) in [
            (TRIGGER, "INSERT INTO other VALUES (1, 1)"),
            (VIEW, "UPDATE v SET a = 5"),
            (FUNCTION, "DO f()"),
        ] {
            let db = table(server).await;
            db.sql(made).await;
            let follow = Follow::new(&db, true).await;
            let client = db.connect().await;
            client.sql(STATEMENT_FORMAT).await;
            client.sql(used).await;
            let failure = follow.failure().await;
            assert!(
                failure.to_string().contains("or may do so"),
                "{made}: {failure}"
            );
            stops(server, &[STATEMENT_FORMAT, made, used], "or may do so").await;
        }
    }
}

/// None of these changes the table; the reader goes on, and sees the change at the end.
#[tokio::test]
async fn what_is_harmless_does_not_stop_the_reader() {
    both(async |server| {
        let db = table(server).await;
        let mut follow = Follow::new(&db, true).await;
        let client = db.connect().await;
        for statement in [
            "ANALYZE TABLE t",
            "OPTIMIZE TABLE t",
            "CREATE TABLE IF NOT EXISTS t (id INT)",
            "/* changeling */ ALTER TABLE _t_gho ADD COLUMN b INT",
            "/* changeling */ RENAME TABLE _t_gho TO x, x TO _t_gho",
            "CREATE TABLE ctas (PRIMARY KEY (id)) SELECT * FROM t",
            "CREATE TABLE alike LIKE t",
            "INSERT INTO alike SELECT * FROM t",
            "ALTER TABLE alike ADD COLUMN t INT",
            "TRUNCATE TABLE alike",
            "DROP TABLE alike, ctas",
            "CREATE TEMPORARY TABLE t (id INT)",
            "INSERT INTO t VALUES (1)",
            "DROP TEMPORARY TABLE t",
            "CREATE VIEW v AS SELECT * FROM t",
            "UPDATE v SET a = 7 WHERE id = 1",
            "INSERT INTO t VALUES (9, 9)",
        ] {
            client.sql(statement).await;
        }
        assert_eq!(follow.changes().await.len(), 2);
        client.close().await;
        follow.stop().await;
    })
    .await;
}

/// The definition that the reader was given is not the one that the events show.
#[tokio::test]
async fn another_definition_stops_the_reader() {
    both(async |server| {
        for (column, kind) in [(0, "bigint"), (1, "int unsigned"), (1, "varchar")] {
            let db = table(server).await;
            let mut setup = Setup::new(&db, true).await;
            let mut definition = (*setup.feed.definition).clone();
            definition.columns[column].data_type = kind.to_string();
            setup.feed.definition = definition.into();
            let follow = setup.start();
            db.sql("INSERT INTO t VALUES (9, 9)").await;
            let text = follow.failure().await.to_string();
            assert!(
                text.contains("is not the table that was looked at"),
                "{text}"
            );
        }
    })
    .await;
}

/// Rows that are taken back are not in the binlog, or, on MariaDB, taken back there too if other engines
/// or temporary tables took part.
#[tokio::test]
async fn what_is_rolled_back_does_not_arrive() {
    both(async |server| {
        let db = table(server).await;
        let mut follow = Follow::new(&db, true).await;
        for statement in [
            "START TRANSACTION",
            "INSERT INTO t VALUES (10, 1)",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (11, 1)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (12, 1)",
            "COMMIT",
            "START TRANSACTION",
            "INSERT INTO t VALUES (13, 1)",
            "ROLLBACK",
        ] {
            db.sql(statement).await;
        }
        assert_eq!(follow.changes().await.len(), 2);
        if server.is_mariadb() {
            for statement in [
                "CREATE TABLE plain (id INT PRIMARY KEY) ENGINE = MyISAM",
                "START TRANSACTION",
                "INSERT INTO t VALUES (20, 1)",
                "SAVEPOINT s",
                "INSERT INTO t VALUES (21, 1)",
                "INSERT INTO plain VALUES (1)",
                "ROLLBACK TO s",
                "INSERT INTO t VALUES (22, 1)",
                "COMMIT",
                "START TRANSACTION",
                "INSERT INTO t VALUES (23, 1)",
                "CREATE TEMPORARY TABLE tmp (id INT)",
                "ROLLBACK",
            ] {
                // A warning says that not all could be rolled back.
                db.sql(statement).await;
            }
            assert_eq!(follow.changes().await.len(), 2);
        }
        follow.stop().await;
    })
    .await;
}

/// One session with statements whose row images are unusual: keys must come out right.
#[tokio::test]
async fn statements_of_many_kinds_give_their_rows() {
    both(async |server| {
        let db = table(server).await;
        let file = std::env::temp_dir().join(format!("{}.txt", db.name));
        std::fs::write(&file, "30\t1\n31\t\\N\n").unwrap();
        let mut follow = Follow::new(&db, true).await;
        for (statement, rows) in [
            (
                "INSERT INTO t VALUES (1, 7), (3, 3) ON DUPLICATE KEY UPDATE a = VALUES(a)"
                    .to_string(),
                2,
            ),
            ("REPLACE INTO t VALUES (1, 8), (4, 4)".to_string(), 2),
            ("INSERT INTO other VALUES (1, 1), (2, 2)".to_string(), 0),
            (
                "UPDATE t JOIN other USING (id) SET t.a = 0, other.a = 0".to_string(),
                2,
            ),
            (
                "DELETE t, other FROM t JOIN other USING (id)".to_string(),
                2,
            ),
            ("UPDATE t SET a = a".to_string(), 0),
            (
                format!("LOAD DATA INFILE '{}' INTO TABLE t", file.display()),
                2,
            ),
            ("UPDATE t SET id = id + 100".to_string(), 4),
            ("DELETE FROM t".to_string(), 4),
        ] {
            db.sql(&statement).await;
            assert_eq!(follow.changes().await.len(), rows, "{statement}");
        }
        std::fs::remove_file(file).unwrap();
        follow.stop().await;
    })
    .await;
}

/// The reader is told to stop while its sink is full, and while nothing happens.
#[tokio::test]
async fn the_reader_stops_when_told() {
    both(async |server| {
        let db = table(server).await;
        let follow = Follow::new(&db, true).await;
        follow.sink.full.store(true, Ordering::SeqCst);
        db.sql("INSERT INTO t VALUES (9, 9)").await;
        eventually(PATIENCE, "the first event", async || {
            (!follow.sink.events().is_empty()).then_some(())
        })
        .await;
        follow.stop().await;
        let db = table(server).await;
        Follow::new(&db, true).await.stop().await;
    })
    .await;
}
