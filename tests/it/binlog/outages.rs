//! Connections that break, binlogs that rotate and go, settings that change: on servers of their own, since
//! what is done to them would disturb other tests.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use changeling::change::{BinlogEvent, RowChange};
use changeling::coordinates::Coordinates;
use changeling::mysql::Server;
use changeling::row::Cell;
use futures_util::StreamExt;

use super::follow::{Follow, Setup, alone};
use crate::support::server::{TestServer, server};
use crate::support::wait::PATIENCE;
use crate::support::{Client, TestDb, eventually};

/// Servers whose global state no other test cares for.
fn servers() -> [&'static TestServer; 2] {
    [server("mysql-minimal"), server("mariadb-minimal")]
}

async fn table(server: &'static TestServer) -> TestDb {
    println!("-- on {}", server.name);
    let db = TestDb::create(server, "outages").await;
    db.sql("SET SESSION binlog_row_image = 'FULL'").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(2000))")
        .await;
    db
}

fn ids(changes: &[RowChange]) -> BTreeSet<i64> {
    let id = |change: &RowChange| match change.after.as_ref()?.key.0[..] {
        [Cell::Int(id)] => Some(id),
        _ => None,
    };
    changes.iter().filter_map(id).collect()
}

/// The connections through which this server sends its binlog.
async fn dumps(client: &Client) -> Vec<u32> {
    client
        .rows("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
        .await
}

/// Ends those connections until the reader has seen it.
async fn cut(db: &TestDb, follow: &mut Follow, kill: &str) {
    let before = follow.progress.reconnects.get();
    eventually(PATIENCE, "the reader connects again", async || {
        if let Some(end) = follow.reader.try_finished() {
            panic!("the reader has ended: {end:?}");
        }
        for id in dumps(&db.connect().await).await {
            // It may have ended by itself.
            let _ = db.try_sql(format!("{kill} {id}")).await;
        }
        (follow.progress.reconnects.get() > before).then_some(())
    })
    .await;
}

/// Many rows, in one transaction.
async fn insert_many(db: &TestDb) -> BTreeSet<i64> {
    db.sql("CREATE TABLE IF NOT EXISTS digits (i INT PRIMARY KEY)")
        .await;
    db.sql("REPLACE INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)")
        .await;
    db.sql(
        "INSERT INTO t SELECT 10000 + a.i + 10 * b.i + 100 * c.i + 1000 * d.i, REPEAT('x', 2000) \
         FROM digits a, digits b, digits c, digits d",
    )
    .await;
    (10_000..20_000).collect()
}

/// Rotation, a checksum switched on and off, lost connections, before, in and after a transaction, a
/// server that breaks down: every change arrives.
#[tokio::test]
async fn changes_arrive_whatever_happens() {
    let _alone = alone().await;
    for server in servers() {
        let db = table(server).await;
        let mut follow = Follow::new(&db, true).await;
        let mut expected = BTreeSet::new();
        let mut insert = async |id: i64| {
            let sql = format!("INSERT INTO t VALUES ({id}, 'a')");
            db.connect().await.sql(sql).await;
            expected.insert(id);
        };
        insert(1).await;
        db.sql("FLUSH BINARY LOGS").await;
        insert(2).await;
        for (id, checksum) in [(3, "NONE"), (4, "CRC32")] {
            db.sql(format!("SET GLOBAL binlog_checksum = {checksum}"))
                .await;
            insert(id).await;
        }
        cut(&db, &mut follow, "KILL").await;
        insert(5).await;
        db.sql("FLUSH BINARY LOGS").await;
        cut(&db, &mut follow, "KILL QUERY").await;
        assert_eq!(ids(&follow.changes().await), expected);
        // In the middle of a transaction too large to be kept back.
        follow.sink.full.store(true, Ordering::SeqCst);
        let expected = insert_many(&db).await;
        eventually(PATIENCE, "the first row of it", async || {
            let events = follow.sink.events();
            let row = events
                .iter()
                .any(|event| matches!(event, BinlogEvent::Change(_)));
            if !row {
                // One event at a time.
                follow.sink.full.store(false, Ordering::SeqCst);
            }
            row.then_some(())
        })
        .await;
        follow.sink.full.store(true, Ordering::SeqCst);
        for id in dumps(&db.connect().await).await {
            let _ = db.try_sql(format!("KILL {id}")).await;
        }
        follow.sink.full.store(false, Ordering::SeqCst);
        assert_eq!(ids(&follow.changes().await), expected);
        assert!(follow.progress.binlog_bytes.get() > 20_000_000);
        server.kill();
        server.up();
        follow.reopen().await;
        db.connect()
            .await
            .sql("UPDATE t SET a = 'b' WHERE id = 1")
            .await;
        assert_eq!(ids(&follow.changes().await), BTreeSet::from([1]));
        follow.stop().await;
    }
}

/// While the sink is full nothing is read, and the server must wait rather than drop the stream.
#[tokio::test]
async fn a_full_sink_does_not_cost_the_connection() {
    /// What the server would allow if it were not told otherwise, seconds.
    const WRITE_TIMEOUT: u64 = 1;
    let _alone = alone().await;
    for server in servers() {
        let db = table(server).await;
        db.sql(format!("SET GLOBAL net_write_timeout = {WRITE_TIMEOUT}"))
            .await;
        let mut follow = Follow::new(&db, true).await;
        follow.sink.full.store(true, Ordering::SeqCst);
        let expected = insert_many(&db).await;
        // Nothing to wait for but the time itself.
        tokio::time::sleep(Duration::from_secs(3 * WRITE_TIMEOUT)).await;
        follow.sink.full.store(false, Ordering::SeqCst);
        assert_eq!(ids(&follow.changes().await), expected);
        assert_eq!(follow.progress.reconnects.get(), 0);
        db.sql("SET GLOBAL net_write_timeout = 60").await;
        follow.stop().await;
    }
}

/// Somebody else comes with our server id: the server throws us out; we come back with another.
#[tokio::test]
async fn a_server_id_taken_by_others_is_left_to_them() {
    let _alone = alone().await;
    // Servers without replicas, on which nobody else reads the binlog meanwhile: who is thrown out must
    // be ours.
    for server in [server("mysql-minimal"), server("mariadb-minimal")] {
        let db = table(server).await;
        let list = if server.is_mariadb() {
            "SHOW SLAVE HOSTS"
        } else {
            "SHOW REPLICAS"
        };
        let readers = async || -> BTreeSet<u32> {
            let hosts: Vec<mysql_async::Row> = db.rows(list).await;
            hosts.iter().map(|host| host.get(0).unwrap()).collect()
        };
        let before = readers().await;
        let mut follow = Follow::new(&db, true).await;
        follow.streaming().await;
        let id = eventually(PATIENCE, "the server lists the reader", async || {
            readers().await.difference(&before).next().copied()
        })
        .await;
        assert!(id > 3_000_000_000, "{id}");
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(server.host.clone())
            .tcp_port(server.port)
            .user(Some(server.user.clone()))
            .pass(Some(server.password.clone()));
        let conn = mysql_async::Conn::new(options).await.unwrap();
        let request = mysql_async::BinlogStreamRequest::new(id);
        let mut other = conn.get_binlog_stream(request).await.unwrap();
        other.next().await.unwrap().unwrap();
        eventually(PATIENCE, "the reader connects again", async || {
            if let Some(end) = follow.reader.try_finished() {
                panic!("the reader has ended: {end:?}");
            }
            (follow.progress.reconnects.get() > 0).then_some(())
        })
        .await;
        db.sql("INSERT INTO t VALUES (1, 'a')").await;
        assert_eq!(ids(&follow.changes().await), BTreeSet::from([1]));
        // Nobody throws the other out again.
        assert_eq!(follow.progress.reconnects.get(), 1);
        other.close().await.unwrap();
        follow.stop().await;
    }
}

/// What is needed is gone: said at once, and never taken for a connection that may come back.
#[tokio::test]
async fn purged_binlogs_are_told_apart() {
    let _alone = alone().await;
    let [mysql, mariadb] = servers();
    for server in [mysql, mariadb, server("mysql-nogtid")] {
        let db = table(server).await;
        let setup = Setup::new(&db, false).await;
        db.sql("INSERT INTO t VALUES (1, 'a')").await;
        db.sql("FLUSH BINARY LOGS").await;
        db.sql("INSERT INTO t VALUES (2, 'a')").await;
        db.sql("FLUSH BINARY LOGS").await;
        let logs: Vec<mysql_async::Row> = db.rows("SHOW BINARY LOGS").await;
        let last: String = logs.last().unwrap().get(0).unwrap();
        // A stream that another test has just ended may still hold a file.
        eventually(PATIENCE, "the files are gone", async || {
            db.sql(format!("PURGE BINARY LOGS TO '{last}'")).await;
            let logs: Vec<mysql_async::Row> = db.rows("SHOW BINARY LOGS").await;
            (logs.len() == 1).then_some(())
        })
        .await;
        let failure = setup.start().failure().await;
        assert!(failure.to_string().contains("was purged"), "{failure}");
        assert!(
            failure
                .remedy_text()
                .unwrap()
                .contains("binlog_expire_logs_seconds")
        );
    }
}

/// Coordinates of a future that this server never had.
#[tokio::test]
async fn foreign_coordinates_are_refused() {
    let _alone = alone().await;
    for server in servers() {
        let db = table(server).await;
        let mut setup = Setup::new(&db, false).await;
        setup.feed.start = match server.is_mariadb() {
            true => "mariadb 7-77-777".parse().unwrap(),
            false => {
                let Coordinates::Gtid(mut set) = setup.feed.start.clone() else {
                    panic!("no GTIDs");
                };
                let sources: Vec<_> = set.sources().map(|(source, _)| source.clone()).collect();
                set.add(&sources[0], 1_000_000_000);
                Coordinates::Gtid(set)
            }
        };
        let failure = setup.start().failure().await;
        assert!(failure.remedy_text().is_some(), "{failure:?}");
    }
}

/// An account with what the reader needs and no more; it may not see prepared XA transactions.
#[tokio::test]
async fn few_privileges_suffice() {
    let _alone = alone().await;
    for server in servers() {
        let db = table(server).await;
        let user = format!("few{}", std::process::id());
        db.sql(format!("CREATE USER {user} IDENTIFIED BY 'secret'"))
            .await;
        db.sql(format!("GRANT ALL ON `{}`.* TO {user}", db.name))
            .await;
        db.sql(format!(
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}"
        ))
        .await;
        if server.is_mariadb() {
            db.sql(format!("GRANT BINLOG MONITOR ON *.* TO {user}"))
                .await;
        }
        let mut options = server.options();
        options.user = user.clone();
        options.password = Some("secret".to_string());
        let few = Server::connect(options).await.unwrap();
        let mut follow = Setup::on(&db, few, false).await.start();
        db.sql("INSERT INTO t VALUES (1, 'a')").await;
        assert_eq!(ids(&follow.changes().await), BTreeSet::from([1]));
        follow.stop().await;
        db.sql(format!("DROP USER {user}")).await;
    }
}
