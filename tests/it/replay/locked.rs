//! Rows that the application has locked, and connections that are lost.

use changeling::row::Cell;

use super::rig::{Rig, delete, update};
use crate::copy::setup::Tables;
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, assert_same_rows, both, eventually, server};

async fn table(db: &TestDb, rows: u32) -> Tables {
    db.sql("CREATE TABLE t (k INT PRIMARY KEY, v INT) ENGINE=InnoDB")
        .await;
    let rows: Vec<String> = (1..=rows).map(|n| format!("({n}, 0)")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let tables = Tables::new(db, "MODIFY v BIGINT").await;
    db.sql("INSERT INTO _t_gho SELECT * FROM t").await;
    tables
}

/// The application has changed a row again and keeps its transaction open: rereading waits for that row
/// alone, the applied coordinate waits with it, and nothing is applied past it for that row.
#[tokio::test]
async fn a_locked_row_holds_up_only_itself() {
    both(async |server| {
        let db = TestDb::create(server, "locked").await;
        let rig = Rig::start(table(&db, 2000).await, 50_000);
        db.sql("UPDATE t SET v = 1").await;
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.sql("UPDATE t SET v = 2 WHERE k IN (5, 1500)").await;

        let before = rig.applied();
        let first = rig.feed((1..=2000).map(|k| update(k, None)));
        eventually(
            PATIENCE,
            "all rows but the locked ones are replayed",
            async || {
                let behind: Vec<i32> = db.rows("SELECT k FROM _t_gho WHERE v = 0 ORDER BY k").await;
                (behind == [5, 1500]).then_some(())
            },
        )
        .await;
        // A later transaction on other rows goes through as well.
        db.sql("UPDATE t SET v = 3 WHERE k = 7").await;
        db.sql("DELETE FROM t WHERE k = 8").await;
        rig.feed([update(7, None), delete(8)]);
        eventually(PATIENCE, "later changes are not held up", async || {
            let (changed, gone): (i32, i32) = db
                .one("SELECT MAX(IF(k = 7, v, 0)), SUM(k = 8) FROM _t_gho")
                .await;
            (changed == 3 && gone == 0).then_some(())
        })
        .await;
        assert_eq!(rig.applied(), before, "not past a row that is not applied");
        eventually(PATIENCE, "only the locked rows are left", async || {
            (rig.replay.backlog_rows() == 2).then_some(())
        })
        .await;

        holder.sql("COMMIT").await;
        rig.feed([update(5, None), update(1500, None)]);
        rig.settle().await;
        assert!(rig.applied() > first);
        assert_eq!(rig.progress.changes_applied.get(), 2004);
        assert_same_rows(&db, "t", "_t_gho").await;
        rig.stop().await;
    })
    .await;
}

/// Images neither wait for the application's open transactions nor make it wait.
#[tokio::test]
async fn images_do_not_wait_for_locked_rows() {
    both(async |server| {
        let db = TestDb::create(server, "images").await;
        let rig = Rig::start(table(&db, 10).await, 50_000);
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.sql("UPDATE t SET v = 2").await;
        rig.feed((1..=10).map(|k| update(k, Some(&[Cell::Int(k), Cell::Int(1)]))));
        rig.settle().await;
        assert_eq!(db.one::<i32>("SELECT SUM(v) FROM _t_gho").await, 10);
        holder.sql("ROLLBACK").await;
        rig.stop().await;
    })
    .await;
}

/// A connection that is killed is replaced, and its successor begins only when it has ended.
#[tokio::test]
async fn lost_connections_are_replaced() {
    both(async |server| {
        let db = TestDb::create(server, "lost").await;
        let rig = Rig::start(table(&db, 10).await, 50_000);
        db.sql("UPDATE t SET v = 1").await;
        rig.feed((1..=10).map(|k| update(k, None)));
        rig.settle().await;
        let mut ids = rig.replay.connection_ids();
        // Its next statement waits in the server for the row that somebody holds in the ghost.
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder
            .sql("SELECT * FROM _t_gho WHERE k = 3 FOR UPDATE")
            .await;
        db.sql("UPDATE t SET v = 2 WHERE k = 3").await;
        rig.feed([update(3, None)]);
        let waiting = eventually(PATIENCE, "the statement waits", async || {
            let sql = "SELECT id FROM information_schema.PROCESSLIST WHERE info LIKE 'REPLACE%' \
                       OR info LIKE 'INSERT INTO%'";
            let found: Vec<u32> = db.rows(sql).await;
            found.into_iter().find(|id| ids.contains(id))
        })
        .await;
        db.sql(format!("KILL CONNECTION {waiting}")).await;
        eventually(PATIENCE, "another connection takes its place", async || {
            let now = rig.replay.connection_ids();
            holder.try_sql("COMMIT").await.unwrap();
            (now != ids && !now.is_empty()).then_some(())
        })
        .await;
        rig.settle().await;
        ids = rig.replay.connection_ids();
        assert!(!ids.contains(&waiting));
        assert_same_rows(&db, "t", "_t_gho").await;
        rig.stop().await;
    })
    .await;
}

/// What another program, killed perhaps, still does in the server must end before a new one begins.
#[tokio::test]
async fn a_predecessor_is_waited_for() {
    both(async |server| {
        let db = TestDb::create(server, "remains").await;
        let first = Rig::start(table(&db, 10).await, 50_000);
        db.sql("UPDATE t SET v = 1").await;
        first.feed((1..=10).map(|k| update(k, None)));
        first.settle().await;
        let ids = first.replay.connection_ids();
        let second = Rig::start(first.tables.clone(), 50_000);
        db.sql("UPDATE t SET v = 2").await;
        second.feed((1..=10).map(|k| update(k, None)));
        eventually(PATIENCE, "the second waits", async || {
            let sql =
                "SELECT id FROM information_schema.PROCESSLIST WHERE info LIKE 'SELECT GET_LOCK(%'";
            let found: Vec<u32> = db.rows(sql).await;
            (!found.is_empty() && !found.iter().any(|id| ids.contains(id))).then_some(())
        })
        .await;
        assert_eq!(db.one::<i32>("SELECT SUM(v) FROM _t_gho").await, 10);
        first.stop().await;
        second.settle().await;
        assert_same_rows(&db, "t", "_t_gho").await;
        second.stop().await;
    })
    .await;
}

/// `--compress-binlog` is for all that the program writes.
#[tokio::test]
async fn own_transactions_are_compressed_where_that_is_asked_for() {
    for (compress, expected) in [(true, "ON"), (false, "OFF")] {
        let db = TestDb::create(server("mysql-primary"), "compressed").await;
        let rig = Rig::compressing(table(&db, 10).await, 50_000, compress);
        db.sql("UPDATE t SET v = 1").await;
        rig.feed((1..=10).map(|k| update(k, None)));
        rig.settle().await;
        let id = rig.replay.connection_ids()[0];
        let setting: String = db
            .one(format!(
                "SELECT VARIABLE_VALUE FROM performance_schema.variables_by_thread \
                 JOIN performance_schema.threads USING (THREAD_ID) WHERE PROCESSLIST_ID = {id} \
                 AND VARIABLE_NAME = 'binlog_transaction_compression'"
            ))
            .await;
        assert_eq!(setting, expected);
        rig.stop().await;
    }
}
