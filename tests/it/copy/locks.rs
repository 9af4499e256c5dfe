//! What the copy locks, and what it waits for.

use std::sync::Arc;

use changeling::copy::CopyMode;
use changeling::interlock::Interlock;

use super::setup::{Tables, copy_with};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, both, eventually, server};

/// A table of `rows` rows.
async fn table(db: &TestDb, rows: u64) -> Tables {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    let values: Vec<String> = (1..=rows).map(|id| format!("({id}, 0)")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", values.join(", ")))
        .await;
    Tables::new(db, "").await
}

/// The tables of the database in which some transaction holds row locks, while a copy in this mode is
/// held up in the middle of its only chunk by a row of the ghost.
async fn locked_tables(mode: CopyMode) -> Vec<String> {
    let db = TestDb::create(server("mysql-primary"), "locks").await;
    let tables = table(&db, 100).await;
    let holder = db.connect().await;
    holder.sql("BEGIN").await;
    holder.sql("INSERT INTO _t_gho VALUES (50, 0)").await;
    let copying = tokio::spawn(copy_with(tables.plan_in(mode), tables.interlock(), 1000));
    let locks = format!(
        "SELECT DISTINCT OBJECT_NAME FROM performance_schema.data_locks \
         WHERE OBJECT_SCHEMA = '{}' AND LOCK_TYPE = 'RECORD' ORDER BY 1",
        db.name
    );
    eventually(PATIENCE, "the copy waits for the ghost's row", async || {
        let waiting: u64 = db
            .one(format!("SELECT COUNT(*) FROM performance_schema.data_locks WHERE OBJECT_SCHEMA = '{}' AND LOCK_STATUS = 'WAITING'", db.name))
            .await;
        (waiting > 0).then_some(())
    })
    .await;
    let locked = db.rows(locks).await;
    holder.sql("ROLLBACK").await;
    copying.await.unwrap().unwrap();
    let copied: u64 = db.one("SELECT COUNT(*) FROM _t_gho").await;
    assert_eq!(copied, 100);
    locked
}

#[tokio::test]
async fn the_lock_free_copy_locks_no_row_of_the_original() {
    assert_eq!(locked_tables(CopyMode::LockFree).await, ["_t_gho"]);
    // The same look sees locks where there are some.
    assert_eq!(locked_tables(CopyMode::Locking).await, ["_t_gho", "t"]);
}

#[tokio::test]
async fn the_locking_copy_waits_for_a_locked_row_and_holds_up_nobody() {
    both(async |server| {
        let db = TestDb::create(server, "contended").await;
        let tables = table(&db, 500).await;
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.sql("UPDATE t SET v = 1 WHERE id = 321").await;
        let mut plan = tables.plan_in(CopyMode::Locking);
        plan.compress = false;
        let copying = tokio::spawn(copy_with(plan, tables.interlock(), 1000));
        eventually(
            PATIENCE,
            "everything before the locked row is copied",
            async || {
                let copied: u64 = db.one("SELECT COUNT(*) FROM _t_gho").await;
                (copied == 320).then_some(())
            },
        )
        .await;
        assert!(!copying.is_finished());
        // No other row is locked for longer than a moment.
        let other = db.connect().await;
        other.sql("SET SESSION innodb_lock_wait_timeout = 50").await;
        for id in [1, 320, 322, 500] {
            other
                .sql(format!("UPDATE t SET v = 2 WHERE id = {id}"))
                .await;
        }
        holder.sql("COMMIT").await;
        let report = copying.await.unwrap().unwrap();
        assert!(report.watermark.finished);
        let values: Vec<i32> = db
            .rows("SELECT v FROM _t_gho WHERE id IN (320, 321, 322) ORDER BY id")
            .await;
        assert_eq!(values, [0, 1, 2], "each as it was when it was copied");
    })
    .await;
}

/// A change of row 7 is committed as far as the binlog, where it can be read, but not yet visible: semi-sync
/// waits for a replica that does not come. Replay has received it and has done this to the ghost, nothing if
/// it found nothing to delete there. Gives what the ghost has of rows 7 and 107 after the copy.
async fn copied_during(change: &'static str, replayed: &str, gated: bool) -> Vec<(i32, i32)> {
    let server = server("mysql-semisync");
    let db = TestDb::create(server, "stalled").await;
    let tables = table(&db, 20).await;
    if !replayed.is_empty() {
        db.sql(replayed).await;
    }
    let gtids = async || -> String { db.one("SELECT @@GLOBAL.gtid_executed").await };
    let before: changeling::coordinates::GtidSet = gtids().await.parse().unwrap();
    let (source, intervals) = before.sources().next().unwrap();
    let next = changeling::coordinates::Step::Gtid(source.clone(), intervals.last().unwrap().1);

    db.sql("SET GLOBAL rpl_semi_sync_source_timeout = 600000, rpl_semi_sync_source_wait_no_replica = ON, rpl_semi_sync_source_enabled = ON").await;
    let application = db.connect().await;
    let changing = tokio::spawn(async move { application.sql(change).await });
    let waiting = |what: &'static str, at_least: u64| {
        let db = &db;
        eventually(PATIENCE, what, async move || {
            let waiting: u64 = db
                .one(format!(
                    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '{what}%'"
                ))
                .await;
            (waiting >= at_least).then_some(())
        })
    };
    const ACK: &str = "Waiting for semi-sync ACK";
    waiting(ACK, 1).await;

    let interlock = Arc::new(Interlock::new(vec![false]));
    if gated {
        interlock.gate();
    }
    interlock.received(&next);
    let copying = tokio::spawn(copy_with(
        tables.plan_in(CopyMode::LockFree),
        interlock.clone(),
        1000,
    ));
    if gated {
        waiting("Waiting for GTID to be committed", 1).await;
        assert!(
            interlock.any_open(),
            "changes in the chunk are held back meanwhile"
        );
        let copied: u64 = db
            .one("SELECT COUNT(*) FROM _t_gho WHERE id NOT IN (7, 107)")
            .await;
        assert_eq!(copied, 0);
    } else {
        // It has read, and its own commit waits behind the other.
        waiting("waiting for handler commit", 1).await;
    }
    db.sql("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        .await;
    changing.await.unwrap();
    copying.await.unwrap().unwrap();
    assert!(!interlock.any_open());
    let others: u64 = db
        .one("SELECT COUNT(*) FROM _t_gho WHERE id NOT IN (7, 107)")
        .await;
    assert_eq!(others, 19);
    db.rows("SELECT id, v FROM _t_gho WHERE id IN (7, 107) ORDER BY id")
        .await
}

#[tokio::test]
async fn a_change_that_is_not_yet_visible_is_not_undone_by_the_copy() {
    let one_at_a_time = server("mysql-semisync").connect().await;
    let _: u64 = one_at_a_time
        .one("SELECT GET_LOCK('changeling_semisync', 600)")
        .await;
    // What a test that failed may have left.
    one_at_a_time
        .sql("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        .await;
    // Without the gate the first two would be lost: else this test would prove nothing.
    const DELETED: &str = "DELETE FROM t WHERE id = 7";
    assert_eq!(copied_during(DELETED, "", true).await, []);
    assert_eq!(copied_during(DELETED, "", false).await, [(7, 0)]);
    const MOVED: &str = "UPDATE t SET id = 107 WHERE id = 7";
    const MOVED_THERE: &str = "INSERT INTO _t_gho VALUES (107, 0)";
    assert_eq!(copied_during(MOVED, MOVED_THERE, true).await, [(107, 0)]);
    assert_eq!(
        copied_during(MOVED, MOVED_THERE, false).await,
        [(7, 0), (107, 0)]
    );
    // The copy never overwrites: what replay has put there stays, gate or not.
    const UPDATED: &str = "UPDATE t SET v = 1 WHERE id = 7";
    const UPDATED_THERE: &str = "INSERT INTO _t_gho VALUES (7, 1)";
    for gated in [true, false] {
        assert_eq!(copied_during(UPDATED, UPDATED_THERE, gated).await, [(7, 1)]);
    }
}
