//! Others who touch original, ghost or sentry in the middle of a swap, or stop all DDL of the server.
//! The two-session protocol has its weak moments there; none may cost a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use changeling::cutover::{Outcome, Ownership, Protocol, Swap};

use super::field::{Field, protocol_of, swapped};
use crate::support::wait::PATIENCE;
use crate::support::{Client, TestDb, TestServer, both, server};

/// A server whose settings and backup locks no other test minds.
const APART: &str = "mariadb-minimal";

/// Somebody else, who sends a statement in the middle of an attempt.
struct Third {
    client: Arc<Client>,
    /// Told once the statement waits or is done.
    sent: Arc<Notify>,
}

impl Third {
    /// Has `sql` sent at the beginning of `part` of the first attempt.
    async fn send_at(field: &mut Field, part: &'static str, sql: &str) -> Third {
        let third = Third {
            client: Arc::new(field.db.connect().await),
            sent: Arc::default(),
        };
        let (client, sent) = (third.client.clone(), third.sent.clone());
        let (looker, sql) = (Arc::new(field.db.connect().await), sql.to_string());
        let once = Arc::new(AtomicBool::new(false));
        field.changes.interfere = Box::new(move |now| {
            let (client, looker, sql) = (client.clone(), looker.clone(), sql.clone());
            let (once, sent) = (once.clone(), sent.clone());
            Box::pin(async move {
                if now == part && !once.swap(true, Ordering::SeqCst) {
                    send_and_look(client, &looker, sql).await;
                    sent.notify_one();
                }
            })
        });
        third
    }
}

async fn send_and_look(client: Arc<Client>, looker: &Client, sql: String) {
    let id = client.id().await;
    let state = format!("SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {id}");
    let sent = tokio::spawn(async move { client.try_sql(sql).await });
    let end = Instant::now() + PATIENCE;
    loop {
        let state: Option<String> = looker.one(&state).await;
        let waits = state.is_some_and(|state| state.starts_with("Waiting for"));
        if waits || sent.is_finished() {
            return;
        }
        assert!(Instant::now() < end, "neither waiting nor done");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Somebody has read the ghost and keeps the transaction open: nothing is swapped until that is over.
#[tokio::test]
async fn a_reader_of_the_ghost_costs_no_write() {
    both(async |server| {
        let db = TestDb::create(server, "ghost_read").await;
        let mut field = Field::start(db, protocol_of(server), 3).await;
        let reader = field.db.connect().await;
        reader.sql("START TRANSACTION").await;
        reader.rows::<u32>("SELECT COUNT(*) FROM _t_gho").await;
        field.plan.attempts_max = Some(1);
        let (end, attempts) = field.cut_over().await;
        assert!(matches!(end, Ok(Swap::NotSwapped(_))), "{end:?}");
        assert_ne!(attempts[0].outcome, Outcome::Swapped);
        reader.sql("COMMIT").await;
        field.assert_whole(Ownership::Original).await;
        field.plan.attempts_max = None;
        swapped(field.cut_over().await.0);
        field.assert_whole(Ownership::Swapped).await;
        field.assert_nothing_lost().await;
    })
    .await;
}

/// A TRUNCATE that waits for the table before the RENAME is acknowledged: its effect must stay.
#[tokio::test]
async fn ddl_that_was_waiting_first_keeps_its_effect() {
    both(async |server| {
        let db = TestDb::create(server, "truncate").await;
        let mut field = Field::start(db, protocol_of(server), 0).await;
        field.end_probe().await;
        field.db.sql("INSERT INTO t VALUES (1, 1), (2, 2)").await;
        let third = Third::send_at(&mut field, "rest", "TRUNCATE TABLE t").await;
        let (end, attempts) = field.cut_over().await;
        swapped(end);
        if field.plan.protocol == Protocol::Sentry {
            assert!(attempts.len() > 1, "{attempts:?}");
        }
        field.assert_whole(Ownership::Swapped).await;
        let left: Vec<u32> = third.client.rows("SELECT id FROM t").await;
        assert_eq!(left, Vec::<u32>::new());
    })
    .await;
}

/// What stops all DDL, and how it is ended.
const STOPPERS: [(&str, &str); 2] = [
    ("BACKUP STAGE START", "BACKUP STAGE END"),
    ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"),
];

/// On MariaDB a RENAME gives its table locks back when a backup has begun.
async fn back_up(server: &'static TestServer) {
    let db = TestDb::create(server, "backup").await;
    let mut field = Field::start(db, Protocol::Sentry, 3).await;
    field.plan.attempts_max = Some(1);
    for (number, (begin, end)) in STOPPERS.iter().cycle().take(4).enumerate() {
        for part in ["marker", "check", "arrived"] {
            let third = Third::send_at(&mut field, part, begin).await;
            let ended = async {
                // In the middle of it no more than the moment; or until after the budget.
                let reached = tokio::time::timeout(PATIENCE, third.sent.notified()).await;
                if number >= 2 {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
                // Behind the statement that began it, which is let in when we have let go.
                third.client.sql(end).await;
                reached.expect("an attempt that comes to this part");
            };
            let ((told, attempts), ()) = tokio::join!(field.cut_over(), ended);
            field.changes.interfere = Box::new(|_| Box::pin(async {}));
            println!("   … {begin} at `{part}`");
            // The lock is given back at the end of the budget, even if the marker waits for those who
            // wait for our lock; it would for 20 seconds.
            assert!(attempts[0].stall < Duration::from_secs(15), "{attempts:?}");
            match told {
                Ok(Swap::NotSwapped(_)) => field.assert_whole(Ownership::Original).await,
                Ok(Swap::Swapped(_)) => {
                    field.assert_whole(Ownership::Swapped).await;
                    field.ghost().await;
                }
                other => panic!("{begin} at {part}: {other:?}, {attempts:?}"),
            }
        }
    }
    field.plan.attempts_max = None;
    swapped(field.cut_over().await.0);
    field.assert_whole(Ownership::Swapped).await;
    field.assert_nothing_lost().await;
}

/// A server that now and then prefers waiting writers to a waiting RENAME.
async fn prefer_writers(server: &'static TestServer) {
    let db = TestDb::create(server, "hog").await;
    let mut field = Field::start(db, Protocol::Sentry, 6).await;
    let third = field.db.connect().await;
    field.plan.attempts_max = Some(1);
    third.sql("SET GLOBAL max_write_lock_count = 1").await;
    for _ in 0..5 {
        // Somebody else's lock, granted while writers wait, makes the server count.
        third.sql("LOCK TABLES t WRITE").await;
        let (end, ()) = tokio::join!(field.cut_over(), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            third.sql("UNLOCK TABLES").await;
        });
        if matches!(end.0, Ok(Swap::Swapped(_))) {
            field.assert_whole(Ownership::Swapped).await;
            field.ghost().await;
        } else {
            field.assert_whole(Ownership::Original).await;
        }
    }
    third.sql("SET GLOBAL max_write_lock_count = DEFAULT").await;
    field.plan.attempts_max = None;
    swapped(field.cut_over().await.0);
    field.assert_nothing_lost().await;
}

/// One after the other, since both change the whole server.
#[tokio::test]
async fn backups_and_preferred_writers_cost_no_write() {
    back_up(server(APART)).await;
    prefer_writers(server(APART)).await;
}

/// A large transaction that is still being sent is not met under the lock.
#[tokio::test]
async fn changes_on_their_way_are_awaited_without_the_lock() {
    both(async |server| {
        let db = TestDb::create(server, "on_its_way").await;
        let mut field = Field::start(db, protocol_of(server), 3).await;
        field.changes.late.store(3, Ordering::SeqCst);
        let (end, attempts) = field.cut_over().await;
        swapped(end);
        assert_eq!(field.changes.late.load(Ordering::SeqCst), 0);
        assert_eq!(attempts.len(), 1);
        field.assert_nothing_lost().await;
    })
    .await;
}

/// What is too much for the budget is not begun under the lock: a killed statement is rolled back first,
/// while the application waits.
#[tokio::test]
async fn too_many_changes_are_not_begun_under_the_lock() {
    both(async |server| {
        let db = TestDb::create(server, "too_many").await;
        let mut field = Field::start(db, protocol_of(server), 3).await;
        let waiting = field.changes.waiting.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let (first, seen) = (AtomicBool::new(true), begun.clone());
        field.changes.interfere = Box::new(move |part| {
            if part == "marker" && first.swap(false, Ordering::SeqCst) {
                waiting.store(200_000, Ordering::SeqCst);
                let waiting = waiting.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    waiting.store(0, Ordering::SeqCst);
                });
            } else if part == "rest" && waiting.load(Ordering::SeqCst) > 0 {
                seen.store(true, Ordering::SeqCst);
            }
            Box::pin(async {})
        });
        let (end, attempts) = field.cut_over().await;
        swapped(end);
        assert!(!begun.load(Ordering::SeqCst));
        let told = attempts[0].outcome.to_string();
        assert!(told.contains("200000 changed rows"), "{told}");
        field.assert_nothing_lost().await;
    })
    .await;
}
