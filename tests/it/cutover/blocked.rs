//! Somebody holds the table: the application waits little, and the swap comes soon after.

use std::time::{Duration, Instant};

use changeling::cutover::{
    Blocker, KillPolicy, Ownership, Protocol, Reason, Swap, may_kill, ownership, settle, who_holds,
};

use tokio_util::sync::CancellationToken;

use super::field::{Field, protocol_of, swapped};
use crate::support::{Client, TestDb, TestServer, both, server, setting};

/// A transaction that has read the table and stays open.
async fn reader(field: &Field) -> Client {
    let client = field.db.connect().await;
    client.sql("START TRANSACTION").await;
    client.rows::<u32>("SELECT COUNT(*) FROM t").await;
    client
}

/// An update that takes longer than this has waited for something.
const FELT: Duration = Duration::from_millis(20);
/// Transactions of this age are known to be old everywhere: MariaDB tells start times in whole seconds.
const OLD: Duration = Duration::from_millis(2100);

#[tokio::test]
async fn a_long_transaction_stalls_nobody_for_long() {
    both(async |server| {
        let db = TestDb::create(server, "blocked").await;
        let mut field = Field::start(db, protocol_of(server), 0).await;
        let blocker = reader(&field).await;
        tokio::time::sleep(OLD).await;
        // `CHANGELING_HELD=20` for numbers that mean something.
        let seconds = setting("CHANGELING_HELD").unwrap_or(4);
        let held = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            blocker.sql("COMMIT").await;
            Instant::now()
        };
        let ((end, attempts), ended) = tokio::join!(field.cut_over(), held);
        let after = ended.elapsed();
        swapped(end);
        let failed = &attempts[..attempts.len() - 1];
        let stalls: Vec<Duration> = failed.iter().map(|attempt| attempt.stall).collect();
        let total: Duration = stalls.iter().sum();
        let beats = field.end_probe().await;
        let slow = beats.iter().copied();
        let slow: Vec<Duration> = slow.filter(|took| *took > FELT).collect();
        println!(
            "{}: held for {seconds} s, stalls of failed attempts by our clock {total:?} in all; of the \
             probe's updates {} took more than {FELT:?}, {:?} in all, the longest {:?}; swapped {after:?} \
             after the transaction's end",
            server.name,
            slow.len(),
            slow.iter().sum::<Duration>(),
            beats.iter().max(),
        );
        assert!(!failed.is_empty());
        assert!(failed.iter().all(|attempt| !attempt.blockers.is_empty()));
        // 1 in 25 of the time, and much room for a busy machine.
        assert!(total < Duration::from_secs(2), "{stalls:?}");
        assert!(after < Duration::from_secs(30), "{after:?}");
    })
    .await;
}

#[tokio::test]
async fn an_endless_transaction_ends_the_attempts_not_the_table() {
    both(async |server| {
        let db = TestDb::create(server, "endless").await;
        let mut field = Field::start(db, protocol_of(server), 2).await;
        let blocker = reader(&field).await;
        field.plan.deadline = Some(Duration::from_secs(2));
        match field.cut_over().await.0.unwrap() {
            Swap::NotSwapped(not) => assert!(matches!(not.reason, Reason::Deadline(_)), "{not:?}"),
            other => panic!("{other:?}"),
        }
        field.plan.attempts_max = Some(1);
        match field.cut_over().await.0.unwrap() {
            Swap::NotSwapped(not) => assert_eq!(not.reason, Reason::Attempts(1)),
            other => panic!("{other:?}"),
        }
        field.assert_whole(Ownership::Original).await;
        // What was left as it was goes on when there is nobody in the way.
        blocker.sql("COMMIT").await;
        field.plan.attempts_max = None;
        field.plan.deadline = Some(Duration::from_secs(60));
        swapped(field.cut_over().await.0);
        field.assert_whole(Ownership::Swapped).await;
        field.assert_nothing_lost().await;
    })
    .await;
}

#[tokio::test]
async fn held_back_until_released_and_cancelled_when_asked() {
    let server = server("mysql-primary");
    let db = TestDb::create(server, "held").await;
    let mut field = Field::start(db, Protocol::LockAndRename, 0).await;
    field.hold.send_replace(true);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        field.cancel.cancel();
    };
    let ((end, attempts), ()) = tokio::join!(field.cut_over(), cancel);
    assert!(attempts.is_empty());
    match end.unwrap() {
        Swap::NotSwapped(not) => assert_eq!(not.reason, Reason::Cancelled),
        other => panic!("{other:?}"),
    }
    field.cancel = CancellationToken::new();
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        field.hold.send_replace(false);
    };
    let ((end, _), ()) = tokio::join!(field.cut_over(), release);
    swapped(end);
}

/// Idle transactions are killed when that is asked for, those that have written much are not.
async fn kills(server: &'static TestServer) {
    let db = TestDb::create(server, "kills").await;
    let mut field = Field::start(db, protocol_of(server), 0).await;
    field.end_probe().await;
    field.db.sql("INSERT INTO t VALUES (1, 1), (2, 2)").await;
    field.plan.kill_after_attempts = 1;
    field.plan.kill_rows_max = 1;
    field.plan.attempts_max = Some(1);
    let writer = field.db.connect().await;
    writer.sql("START TRANSACTION").await;
    writer.sql("UPDATE t SET v = 9 WHERE id IN (1, 2)").await;
    tokio::time::sleep(OLD).await;

    let would = async |policy, rows_max| -> Vec<Blocker> {
        let (table, age) = (&field.plan.names.original, Duration::from_secs(1));
        let mut holders = who_holds(&field.plan.server, table, age, &[])
            .await
            .unwrap();
        holders.retain(|blocker| may_kill(blocker, policy, rows_max));
        holders
    };
    assert!(would(KillPolicy::All, 1).await.is_empty());
    field.plan.kill = KillPolicy::All;
    let (end, attempts) = field.cut_over().await;
    assert!(matches!(end, Ok(Swap::NotSwapped(_))), "{end:?}");
    assert!(attempts[0].killed.is_empty());
    let blocker = &attempts[0].blockers[0];
    assert_eq!(
        (blocker.id, blocker.rows_modified),
        (writer.id().await, Some(2))
    );

    field.plan.kill_rows_max = 2;
    field.plan.kill = KillPolicy::Never;
    field.cut_over().await.0.unwrap();
    writer.sql("DO 1").await;
    let would = async |policy| -> Vec<u32> {
        let (table, age) = (&field.plan.names.original, Duration::from_secs(1));
        let holders = who_holds(&field.plan.server, table, age, &[])
            .await
            .unwrap();
        let killed = holders.iter().filter(|one| may_kill(one, policy, 2));
        killed.map(|one| one.id).collect()
    };
    assert!(would(KillPolicy::Never).await.is_empty());
    // Just after a statement it may be about to run the next one.
    assert!(would(KillPolicy::Idle).await.is_empty());
    assert_eq!(would(KillPolicy::All).await, [writer.id().await]);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    assert_eq!(would(KillPolicy::Idle).await, [writer.id().await]);
    field.plan.kill = KillPolicy::Idle;
    field.plan.attempts_max = None;
    let (end, attempts) = field.cut_over().await;
    swapped(end);
    assert_eq!(attempts[0].killed[0].id, writer.id().await);
    assert!(writer.try_sql("DO 1").await.is_err());
    let v: Vec<u32> = field
        .db
        .rows("SELECT v FROM t WHERE id IN (1, 2) ORDER BY id")
        .await;
    assert_eq!(v, [1, 2]);
}

#[tokio::test]
async fn blockers_are_killed_when_asked_for() {
    kills(server("mysql-primary")).await;
}

/// MariaDB shows who holds a table only with a plugin; this server gets it.
#[tokio::test]
async fn blockers_are_seen_with_the_plugin() {
    let server = server("mariadb-minimal");
    let client = server.connect().await;
    match client.try_sql("INSTALL SONAME 'metadata_lock_info'").await {
        Ok(_) => {}
        // Installed by an earlier run.
        Err(mysql_async::Error::Server(error)) if error.code == 1968 => {}
        Err(error) => panic!("{error}"),
    }
    kills(server).await;
}

/// After an interruption names are set right before anything else.
#[tokio::test]
async fn names_are_settled() {
    let server = server("mariadb-primary");
    let db = TestDb::create(server, "settle").await;
    let mut field = Field::start(db, Protocol::Sentry, 0).await;
    field.end_probe().await;
    let (connection, names) = (&field.plan.server, &field.plan.names);
    field.db.sql("RENAME TABLE _t_gho TO `t~gho`").await;
    field
        .db
        .sql("CREATE TABLE `t~sen` (id INT) COMMENT = 'changeling sentry'")
        .await;
    assert_eq!(
        settle(connection, names).await.unwrap(),
        Ownership::Original
    );
    field.assert_whole(Ownership::Original).await;
    field.db.sql("RENAME TABLE t TO `t~sen`, _t_gho TO t").await;
    assert_eq!(settle(connection, names).await.unwrap(), Ownership::Swapped);
    field.assert_whole(Ownership::Swapped).await;
    field.db.sql("DROP TABLE _t_del").await;
    let unknown = ownership(connection, names).await.unwrap();
    assert!(matches!(unknown, Ownership::Unknown(_)), "{unknown:?}");
}
