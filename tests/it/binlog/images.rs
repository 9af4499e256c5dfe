//! Row images of all forms: minimal, partial, compressed, large; XA transactions; tagged GTIDs.

use changeling::change::RowChange;
use changeling::coordinates::Coordinates;
use changeling::key::Key;
use changeling::row::Cell;
use changeling::schema::MigrationKey;

use super::follow::{Follow, Setup, alone};
use crate::support::server::{TestServer, server};
use crate::support::{TestDb, both};

const TABLE: &str = "CREATE TABLE t (a INT, id INT NOT NULL, b TEXT, k INT NOT NULL DEFAULT 7, \
    s INT AS (a + 1) STORED, v INT AS (a + 2) VIRTUAL, PRIMARY KEY (id), UNIQUE (k))";

fn key(id: i64) -> Key {
    Key(vec![Cell::Int(id)])
}

/// What a change says: keys before and after, and whether it has values.
fn shown(changes: &[RowChange]) -> Vec<(Option<Key>, Option<Key>, bool)> {
    let show = |change: &RowChange| {
        let after = change.after.as_ref();
        (
            change.before.clone(),
            after.map(|after| after.key.clone()),
            after.is_some_and(|after| after.values.is_some()),
        )
    };
    changes.iter().map(show).collect()
}

async fn session_with(server: &'static TestServer, set: &str, images: bool) -> (TestDb, Follow) {
    let db = TestDb::create(server, "images").await;
    db.sql(TABLE).await;
    db.sql("INSERT INTO t (id, a, b, k) VALUES (1, 1, 'x', 1), (2, 2, 'y', 2), (3, 3, 'z', 3)")
        .await;
    let follow = Follow::new(&db, images).await;
    db.sql(set).await;
    (db, follow)
}

/// An insert, an update, one of the key, a delete.
async fn change(db: &TestDb) {
    db.sql("INSERT INTO t (id, a, b, k) VALUES (4, 4, 'w', 4)")
        .await;
    db.sql("UPDATE t SET a = 10 WHERE id = 1").await;
    db.sql("UPDATE t SET id = 20 WHERE id = 2").await;
    db.sql("DELETE FROM t WHERE id = 3").await;
}

async fn check_changes(db: &TestDb, follow: &mut Follow, values: [bool; 3]) {
    change(db).await;
    assert_eq!(
        shown(&follow.changes().await),
        [
            (None, Some(key(4)), values[0]),
            (Some(key(1)), Some(key(1)), values[1]),
            (Some(key(2)), Some(key(20)), values[2]),
            (Some(key(3)), None, false),
        ]
    );
}

#[tokio::test]
async fn one_session_with_other_row_images() {
    both(async |server| {
        // The values of what an image lacks cannot be told: those rows are reread.
        for (image, values) in [
            ("FULL", [true, true, true]),
            ("NOBLOB", [true, false, false]),
            ("MINIMAL", [true, false, false]),
        ] {
            println!("{image}");
            let set = format!("SET SESSION binlog_row_image = '{image}'");
            let (db, mut follow) = session_with(server, &set, true).await;
            check_changes(&db, &mut follow, values).await;
            follow.stop().await;
            let (db, mut follow) = session_with(server, &set, false).await;
            check_changes(&db, &mut follow, [false; 3]).await;
            follow.stop().await;
        }
    })
    .await;
}

/// A minimal image has the primary key alone; who goes by another key must stop.
#[tokio::test]
async fn minimal_images_without_the_migration_key_stop_the_reader() {
    both(async |server| {
        for statement in [
            "DELETE FROM t",
            "UPDATE t SET a = 9",
            "INSERT INTO t (id, a) VALUES (9, 9)",
        ] {
            let db = TestDb::create(server, "images").await;
            db.sql(TABLE).await;
            db.sql("INSERT INTO t (id, a, b, k) VALUES (1, 1, 'x', 1)")
                .await;
            let mut setup = Setup::new(&db, true).await;
            let mut without = (*setup.feed.definition).clone();
            without.indexes.retain(|index| !index.is_primary());
            setup.feed.key = MigrationKey::choose(&without, &without, &setup.feed.map).unwrap();
            let follow = setup.start();
            db.sql("SET SESSION binlog_row_image = 'MINIMAL'").await;
            db.sql(statement).await;
            let failure = follow.failure().await;
            assert!(
                failure
                    .to_string()
                    .contains("lacks columns of the migration key"),
                "{failure}"
            );
            assert!(
                failure
                    .remedy_text()
                    .unwrap()
                    .contains("binlog_row_image=FULL")
            );
        }
    })
    .await;
}

/// MySQL compresses transactions where a session asks for it, and where the server does.
#[tokio::test]
async fn compressed_transactions() {
    let set = "SET SESSION binlog_transaction_compression = ON";
    let (db, mut follow) = session_with(server("mysql-primary"), set, true).await;
    check_changes(&db, &mut follow, [true; 3]).await;
    follow.stop().await;
    for name in ["mysql-compressed", "mariadb-compressed"] {
        let (db, mut follow) = session_with(server(name), "SET @nothing = 1", true).await;
        check_changes(&db, &mut follow, [true; 3]).await;
        // Long enough to be compressed by MariaDB, statements too.
        db.sql("INSERT INTO t (id, k, b) VALUES (100, 100, REPEAT('x', 60000)), (101, 101, REPEAT('y', 60000))")
            .await;
        let comment = "c".repeat(2000);
        db.sql(format!(
            "CREATE TABLE other (id INT COMMENT '{}')",
            &comment[..1000]
        ))
        .await;
        db.sql(format!(
            "ALTER TABLE other ADD COLUMN a INT COMMENT '{}'",
            &comment[..1000]
        ))
        .await;
        db.sql("UPDATE t SET b = CONCAT(b, 'z')").await;
        db.sql("DELETE FROM t").await;
        let changes = follow.changes().await;
        assert_eq!(changes.len(), 2 + 5 + 5);
        let values = changes[0].after.as_ref().unwrap().values.as_ref().unwrap();
        assert!(values.contains(&"x".repeat(60000)));
        follow.stop().await;
    }
}

#[tokio::test]
async fn partial_json() {
    let db = TestDb::create(server("mysql-primary"), "images").await;
    db.sql("CREATE TABLE t (j JSON, id INT PRIMARY KEY, a INT, k JSON)")
        .await;
    db.sql("INSERT INTO t VALUES (JSON_OBJECT('a', REPEAT('x', 1000)), 1, 1, '[1, 2]')")
        .await;
    let mut follow = Follow::new(&db, true).await;
    db.sql("SET SESSION binlog_row_value_options = PARTIAL_JSON")
        .await;
    for image in ["FULL", "MINIMAL"] {
        db.sql(format!("SET SESSION binlog_row_image = '{image}'"))
            .await;
        db.sql(
            "UPDATE t SET j = JSON_SET(j, '$.a', 'y'), k = JSON_REPLACE(k, '$[0]', 7), a = a + 1",
        )
        .await;
        db.sql("UPDATE t SET j = JSON_REMOVE(j, '$.a'), id = id + 1")
            .await;
        db.sql("UPDATE t SET j = JSON_OBJECT('a', REPEAT('x', 1000)), k = '[1, 2]'")
            .await;
    }
    let update = |before, after| (Some(key(before)), Some(key(after)), false);
    let expected = [
        update(1, 1),
        update(1, 2),
        update(2, 2),
        update(2, 2),
        update(2, 3),
        update(3, 3),
    ];
    assert_eq!(shown(&follow.changes().await), expected);
    follow.stop().await;
}

/// An event longer than the server's own max_allowed_packet.
#[tokio::test]
async fn large_rows() {
    let db = TestDb::create(server("mysql-smallpacket"), "images").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGBLOB)")
        .await;
    db.sql("INSERT INTO t VALUES (1, REPEAT('x', 1000000), REPEAT('y', 1000000))")
        .await;
    let mut follow = Follow::new(&db, true).await;
    db.sql("UPDATE t SET id = 2").await;
    let changes = follow.changes().await;
    assert_eq!(shown(&changes), [(Some(key(1)), Some(key(2)), true)]);
    follow.stop().await;
}

#[tokio::test]
async fn tagged_gtids() {
    let db = TestDb::create(server("mysql-primary"), "images").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    let tag = "SET SESSION gtid_next = 'AUTOMATIC:changeling'";
    if let Err(error) = db.try_sql(tag).await {
        println!("no tags before MySQL 8.3: {error}");
        return;
    }
    let mut follow = Follow::new(&db, true).await;
    db.sql("INSERT INTO t VALUES (1, 1)").await;
    db.sql("SET SESSION gtid_next = 'AUTOMATIC'").await;
    db.sql("INSERT INTO t VALUES (2, 2)").await;
    assert_eq!(follow.changes().await.len(), 2);
    let received = follow.received();
    follow.stop().await;
    let Coordinates::Gtid(received) = received else {
        panic!("{received}");
    };
    assert!(received.to_string().contains(":changeling:"), "{received}");
    // A stream that begins from a set with tags gives nothing again.
    let db2 = TestDb::create(server("mysql-primary"), "images").await;
    db2.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    let mut follow = Follow::new(&db2, true).await;
    db2.sql("INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(follow.changes().await.len(), 1);
    follow.stop().await;
}

async fn prepare(db: &TestDb, xid: &str, statement: &str) {
    let client = db.connect().await;
    for statement in [
        &format!("XA START {xid}"),
        statement,
        &format!("XA END {xid}"),
        &format!("XA PREPARE {xid}"),
    ] {
        client.sql(statement).await;
    }
    client.close().await;
}

/// Prepared rows arrive when they are committed, never when they are rolled back, and no coordinate
/// passes them meanwhile.
#[tokio::test]
async fn xa_transactions() {
    let _alone = alone().await;
    for name in ["mysql-minimal", "mysql-nogtid", "mariadb-minimal"] {
        println!("-- on {name}");
        let db = TestDb::create(server(name), "images").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
        let xid = |name: &str| format!("'{name}{}', 'branch', 5", db.name);
        // Prepared before the start: nothing comes before it is resolved.
        prepare(&db, &xid("z"), "INSERT INTO t VALUES (9, 9)").await;
        let mut follow = Follow::new(&db, true).await;
        follow.streaming().await;
        db.sql("INSERT INTO t VALUES (8, 8)").await;
        let (_, changes) =
            tokio::join!(db.sql(format!("XA COMMIT {}", xid("z"))), follow.changes());
        assert_eq!(shown(&changes), [(None, Some(key(8)), true)]);
        let start = follow.received();
        prepare(&db, &xid("a"), "INSERT INTO t VALUES (1, 1)").await;
        prepare(&db, &xid("b"), "INSERT INTO t VALUES (2, 2)").await;
        db.sql("INSERT INTO t VALUES (3, 3)").await;
        assert_eq!(shown(&follow.changes().await), [(None, Some(key(3)), true)]);
        let held = follow.received();
        check_held(&start, &held);
        let mut again = follow.again(&held).await;
        db.sql(format!("XA COMMIT {}", xid("a"))).await;
        assert_eq!(shown(&follow.changes().await), [(None, Some(key(1)), true)]);
        db.sql(format!("XA ROLLBACK {}", xid("b"))).await;
        assert_eq!(follow.changes().await, []);
        // Whoever begins again from there sees the prepared rows again.
        let seen = shown(&again.changes().await);
        assert_eq!(seen.last(), Some(&(None, Some(key(1)), true)));
        assert_eq!(again.received(), follow.received());
        again.stop().await;
        for statement in [
            format!("XA START {}", xid("c")),
            "INSERT INTO t VALUES (4, 4)".to_string(),
            format!("XA END {}", xid("c")),
            format!("XA COMMIT {} ONE PHASE", xid("c")),
        ] {
            db.sql(statement).await;
        }
        assert_eq!(shown(&follow.changes().await), [(None, Some(key(4)), true)]);
        follow.stop().await;
    }
}

/// MySQL's set has a gap where the prepared transactions are; positions stand still.
fn check_held(start: &Coordinates, held: &Coordinates) {
    match held {
        Coordinates::Gtid(held) => {
            let gap = held.sources().any(|(_, intervals)| intervals.len() > 1);
            assert!(gap, "{held}");
        }
        Coordinates::Maria(_) | Coordinates::File { .. } => assert_eq!(start, held),
    }
}

/// A primary key that the server made, which nobody sees, identifies rows like any other.
#[tokio::test]
async fn generated_invisible_primary_keys() {
    let db = TestDb::create(server("mysql-primary"), "images").await;
    db.sql("SET SESSION sql_generate_invisible_primary_key = ON")
        .await;
    db.sql("CREATE TABLE t (a INT)").await;
    let mut follow = Follow::new(&db, true).await;
    db.sql("INSERT INTO t VALUES (7)").await;
    db.sql("UPDATE t SET a = 8").await;
    db.sql("DELETE FROM t").await;
    let first = || Some(Key(vec![Cell::UInt(1)]));
    let changes = follow.changes().await;
    assert_eq!(
        shown(&changes),
        [
            (None, first(), true),
            (first(), first(), true),
            (first(), None, false)
        ]
    );
    let values = changes[1].after.as_ref().unwrap().values.as_deref();
    assert_eq!(values, Some("1,8"));
    follow.stop().await;
}
