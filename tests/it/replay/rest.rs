//! The last changes of a cut-over, through the session that holds the lock.

use std::time::Duration;

use changeling::mysql::Purpose;
use changeling::names::TableName;
use changeling::row::Cell;

use super::rig::{Rig, delete, insert, update};
use crate::copy::setup::Tables;
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, assert_same_rows, both};

fn row(k: i64, u: i64) -> [Cell; 2] {
    [Cell::Int(k), Cell::Int(u)]
}

/// Suspended, the rest goes through the one session that has both tables locked, in whatever way rows
/// are put in; after a failure everything is in the backlog again and replay brings it.
#[tokio::test]
async fn the_rest_goes_through_the_locking_session() {
    both(async |server| {
        for (alter, watch) in [
            ("ADD KEY (u)", false),
            ("ADD UNIQUE (u)", false),
            ("ADD UNIQUE (u)", true),
        ] {
            for images in [true, false] {
                let db = TestDb::create(server, "rest").await;
                db.sql("CREATE TABLE t (k INT PRIMARY KEY, u INT) ENGINE=InnoDB")
                    .await;
                let rig = Rig::start(Tables::new(&db, alter).await, 3);
                rig.replay.watch_evictions(watch).await;
                db.sql("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
                    .await;
                rig.feed((1..=4).map(|k| insert(k, images.then_some(&row(k, k)))));
                rig.settle().await;

                rig.replay.suspend(PATIENCE).await.unwrap();
                db.sql("UPDATE t SET u = u + 1 ORDER BY u DESC").await;
                db.sql("DELETE FROM t WHERE k = 4").await;
                rig.feed(
                    (1..=4)
                        .rev()
                        .map(|k| update(k, images.then_some(&row(k, k + 1)))),
                );
                rig.feed([delete(4)]);
                let ghost = TableName::new(&db.name, "_t_gho");
                let mut session = rig.tables.server.session(Purpose::Lock).await.unwrap();
                // A first attempt that fails: the ghost has another name.
                session
                    .execute(&format!(
                        "LOCK TABLES `{0}`.t WRITE, `{0}`._t_gho WRITE",
                        db.name
                    ))
                    .await
                    .unwrap();
                let other = TableName::new(&db.name, "elsewhere");
                rig.replay
                    .apply_rest(&mut session, &other)
                    .await
                    .unwrap_err();
                assert!(rig.replay.backlog_rows() > 0);
                let rest = rig.replay.apply_rest(&mut session, &ghost).await.unwrap();
                assert_eq!(rest.rows, 4, "{alter}");
                session.execute("UNLOCK TABLES").await.unwrap();
                session.close().await;
                assert_same_rows(&db, "t", "_t_gho").await;
                assert_eq!(rig.backlog.applied(), rig.backlog.received());
                assert_eq!(rig.replay.keys_of_last_windows().len() % 4, 0);

                // Nothing was swapped: replay goes on.
                db.sql("INSERT INTO t VALUES (9, 9)").await;
                rig.feed([insert(9, images.then_some(&row(9, 9)))]);
                rig.replay.resume();
                rig.settle().await;
                assert_same_rows(&db, "t", "_t_gho").await;
                rig.stop().await;
            }
        }
    })
    .await;
}

/// While a flush cannot come to its end, a suspension gives up in time, and replay goes on.
#[tokio::test]
async fn a_suspension_that_takes_too_long_is_given_up() {
    both(async |server| {
        let db = TestDb::create(server, "suspend").await;
        db.sql("CREATE TABLE t (k INT PRIMARY KEY, u INT) ENGINE=InnoDB").await;
        db.sql("INSERT INTO t VALUES (1, 1)").await;
        let rig = Rig::start(Tables::new(&db, "ADD KEY (u)").await, 3);
        let holder = db.connect().await;
        holder.sql("LOCK TABLES _t_gho READ").await;
        rig.feed([insert(1, Some(&row(1, 1)))]);
        crate::support::eventually(PATIENCE, "the flush waits", async || {
            let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE info LIKE 'INSERT INTO `it_suspend%'";
            (db.one::<i32>(sql).await > 0).then_some(())
        })
        .await;
        let failure = rig.replay.suspend(Duration::from_millis(50)).await.unwrap_err();
        assert!(failure.is_transient());
        holder.sql("UNLOCK TABLES").await;
        rig.settle().await;
        assert_same_rows(&db, "t", "_t_gho").await;
        rig.stop().await;
    })
    .await;
}
