//! Rows that differ only because their change has not been applied yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use changeling::failure::{FailureKind, Result};
use changeling::key::Key;
use changeling::mysql::{ConnectOptions, Server, SslMode};
use changeling::row::Cell;
use changeling::verify::{Settle, VerifyPlan};
use changeling::walk::bounds::SidedKey;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::setup::{Replaying, plan, verify_with};
use crate::copy::setup::Tables;
use crate::support::proxy::{Network, Proxy};
use crate::support::{TestDb, both};

async fn tables(db: &TestDb) -> Tables {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    let rows: Vec<String> = (0..1000).map(|n| format!("({n}, {n})")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let tables = Tables::new(db, "ADD KEY (v)").await;
    tables.copy(500).await.unwrap();
    tables
}

#[tokio::test]
async fn changes_on_their_way_are_no_difference() {
    both(async |server| {
        let db = TestDb::create(server, "under_way").await;
        let tables = tables(&db).await;
        // Replay is behind by an insert, an update, a delete and a change of key.
        db.sql("INSERT INTO t VALUES (5000, 1)").await;
        db.sql("UPDATE t SET v = -1 WHERE id = 100").await;
        db.sql("DELETE FROM t WHERE id = 200").await;
        db.sql("UPDATE t SET id = 6000 WHERE id = 300").await;
        for needed in [1, 20] {
            let replayer = Arc::new(db.connect().await);
            let asked = Arc::new(AtomicUsize::new(0));
            let count = asked.clone();
            let settle = Replaying(move |limit: Duration| -> BoxFuture<'static, bool> {
                let (replayer, count) = (replayer.clone(), count.clone());
                Box::pin(async move {
                    let applied = count.fetch_add(1, Ordering::SeqCst) + 1 >= needed;
                    if applied {
                        replayer.sql("REPLACE INTO _t_gho SELECT * FROM t").await;
                        replayer
                            .sql("DELETE FROM _t_gho WHERE id IN (200, 300)")
                            .await;
                    }
                    // While a row is locked, replay may not get through in the time it is given.
                    applied || limit > Duration::from_secs(60)
                })
            });
            let plan = plan(&tables, Arc::new(settle));
            verify_with(plan, 100).await.unwrap();
            assert!(asked.load(Ordering::SeqCst) >= needed);
            db.sql("DELETE FROM _t_gho WHERE id IN (100, 5000, 6000)")
                .await;
            db.sql("INSERT INTO _t_gho VALUES (100, 100), (200, 200), (300, 300)")
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_lost_change_is_a_difference_however_often_replay_settles() {
    both(async |server| {
        let db = TestDb::create(server, "lost").await;
        let tables = tables(&db).await;
        db.sql("UPDATE t SET v = -1 WHERE id = 100").await;
        let settle = Replaying(|_| -> BoxFuture<'static, bool> { Box::pin(async { true }) });
        let failure = verify_with(plan(&tables, Arc::new(settle)), 100)
            .await
            .unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Difference);
        assert!(
            failure.to_string().ends_with("differ: id=100 (v)"),
            "{failure}"
        );
    })
    .await;
}

/// Each time when it is locked for a last look the row has just gone, and comes back while its going is
/// applied: it is never in the ghost when it is looked at, and yet no difference. The network is slow, so
/// that between two statements there is time to go.
#[tokio::test]
async fn a_row_that_comes_and_goes_is_no_difference() {
    /// Each way. A look has read the original after seven of them at most, and the lock is asked for after
    /// eleven at least.
    const DELAY: Duration = Duration::from_millis(50);
    both(async |server| {
        let db = TestDb::create(server, "comes_and_goes").await;
        let tables = tables(&db).await;
        let proxy = Proxy::to(server).await;
        let options = ConnectOptions {
            ssl_mode: SslMode::Disabled,
            ..proxy.server(server).options()
        };
        let tables = Tables {
            server: Server::connect(options).await.unwrap(),
            ..tables
        };
        let application = Arc::new(db.connect().await);
        application
            .sql("SET SESSION innodb_lock_wait_timeout = 1")
            .await;
        let refused = Arc::new(AtomicUsize::new(0));
        let count = refused.clone();
        let going = Arc::new(Mutex::new(tokio::spawn(async {})));
        let settle = Replaying(move |_| -> BoxFuture<'static, bool> {
            let (application, count) = (application.clone(), count.clone());
            let going = going.clone();
            Box::pin(async move {
                let mut going = going.lock().await;
                (&mut *going).await.unwrap();
                let there = application.try_sql("REPLACE INTO t VALUES (5000, 0)").await;
                if there.is_err() {
                    // The look holds the gap.
                    count.fetch_add(1, Ordering::SeqCst);
                }
                *going = tokio::spawn(async move {
                    tokio::time::sleep(9 * DELAY).await;
                    application.sql("DELETE FROM t WHERE id = 5000").await;
                });
                true
            })
        });
        db.sql("INSERT INTO t VALUES (5000, 0)").await;
        proxy.set(Network::Slow(DELAY));
        let verified = verify_with(plan(&tables, Arc::new(settle)), 2000).await;
        verified.unwrap();
        assert_eq!(refused.load(Ordering::SeqCst), 1, "looks under a lock");
    })
    .await;
}

/// Replay that is never done with one row, which it knows.
struct NeverDone;

impl Settle for NeverDone {
    fn settle(&self, _limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    fn changed_again(&self, key: &Key) -> bool {
        *key == Key(vec![Cell::Int(100)])
    }
}

/// The same, compared once more when nobody can write.
struct TakenOver;

impl Settle for TakenOver {
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        NeverDone.settle(limit)
    }

    fn takes_over(&self, row: &SidedKey) -> bool {
        NeverDone.changed_again(&row.key)
    }
}

/// A row that changes all the time is left to a later comparison, or taken over, without a lock on it; only where
/// there is somebody to do that, and no other row.
#[tokio::test]
async fn a_row_that_keeps_changing_is_left_to_a_later_comparison() {
    both(async |server| {
        let db = TestDb::create(server, "keeps_changing").await;
        let tables = tables(&db).await;
        let holder = db.connect().await;
        holder.sql("UPDATE t SET v = -1 WHERE id = 100").await;
        holder.sql("BEGIN").await;
        holder
            .sql("SELECT * FROM t WHERE id = 100 FOR UPDATE")
            .await;
        let strict = plan(&tables, Arc::new(NeverDone));
        let leaving = VerifyPlan {
            leaves_changing: true,
            ..strict.clone()
        };
        // They would wait for the holder if they asked for the row's lock.
        verify_with(leaving.clone(), 100).await.unwrap();
        let taking = plan(&tables, Arc::new(TakenOver));
        verify_with(taking.clone(), 100).await.unwrap();
        holder.sql("ROLLBACK").await;
        let told = verify_with(strict, 100).await.unwrap_err();
        assert_eq!(told.kind(), FailureKind::Difference, "{told}");
        db.sql("UPDATE _t_gho SET v = -1 WHERE id = 101").await;
        for plan in [leaving, taking] {
            let told = verify_with(plan, 100).await.unwrap_err().to_string();
            assert!(told.ends_with("differ: id=101 (v)"), "{told}");
        }
    })
    .await;
}

/// Changes of the row with the key 'Ã©', which in latin1 has the bytes that 'é' has in UTF-8.
struct SameBytes;

impl Settle for SameBytes {
    fn settle(&self, _limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    fn changed_again(&self, key: &Key) -> bool {
        *key == Key(vec![Cell::Bytes("é".into())])
    }
}

/// No row of the ghost is left out for one of the original whose key has the same bytes and means another.
#[tokio::test]
async fn keys_are_not_confused() {
    both(async |server| {
        let db = TestDb::create(server, "same_bytes").await;
        db.sql("CREATE TABLE t (k VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY, v INT)")
            .await;
        let tables = Tables::new(&db, "MODIFY k VARCHAR(9) CHARACTER SET utf8mb4").await;
        db.sql("INSERT INTO t VALUES ('Ã©', 1)").await;
        db.sql("INSERT INTO _t_gho VALUES ('Ã©', 1), ('é', 1)")
            .await;
        let leaving = VerifyPlan {
            leaves_changing: true,
            ..plan(&tables, Arc::new(SameBytes))
        };
        let told = verify_with(leaving, 100).await.unwrap_err();
        assert_eq!(told.kind(), FailureKind::Difference, "{told}");
    })
    .await;
}
