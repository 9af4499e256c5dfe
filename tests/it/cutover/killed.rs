//! Connections killed at every step, and when a certain statement is seen to run: one whole table is
//! left, it is the one that was told, and no acknowledged write is missing in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use changeling::cutover::{Ownership, Protocol, Swap};
use changeling::mysql::ConnectOptions;

use super::field::{Field, Interfere, protocol_of};
use crate::support::{Client, TestDb, TestServer, both};

const WRITERS: u32 = 3;
const PASSWORD: &str = "changeling";

/// A field whose cut-over has an account of its own, so that its connections are known.
async fn field(server: &'static TestServer) -> (Field, Arc<Client>) {
    let db = TestDb::create(server, "killed").await;
    let user = db.name.replace("it_killed", "it");
    let killer = server.connect().await;
    killer
        .sql(format!(
            "CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'"
        ))
        .await;
    killer
        .sql(format!("GRANT ALL ON *.* TO '{user}'@'%'"))
        .await;
    let options = ConnectOptions {
        user,
        password: Some(PASSWORD.to_string()),
        ..server.options()
    };
    let mut field = Field::start_as(db, options, protocol_of(server), WRITERS).await;
    field.plan.attempts_max = Some(1);
    field.plan.budget = Duration::from_secs(1);
    (field, Arc::new(killer))
}

/// The cut-over's connections in the order in which they were opened; of those running a statement
/// like `running` only, if there is one.
async fn connections(killer: &Client, user: &str, running: Option<&str>) -> Vec<u32> {
    let running = match running {
        Some(pattern) => format!("AND INFO LIKE '{pattern}'"),
        None => String::new(),
    };
    killer
        .rows(format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{user}' {running} ORDER BY ID"
        ))
        .await
}

async fn kill(killer: &Client, ids: impl IntoIterator<Item = u32>) {
    for id in ids {
        // One that has just ended by itself is as good.
        let _ = killer.try_sql(format!("KILL CONNECTION {id}")).await;
    }
}

/// At the beginning of `part`, kills the connection number `which`, or all.
fn at(part: &'static str, which: Option<usize>, killer: &Arc<Client>, user: &str) -> Interfere {
    let (killer, user) = (killer.clone(), user.to_string());
    let done = Arc::new(AtomicBool::new(false));
    Box::new(move |now| {
        let (killer, user, done) = (killer.clone(), user.clone(), done.clone());
        Box::pin(async move {
            if now == part && !done.swap(true, Ordering::SeqCst) {
                let mut ids = connections(&killer, &user, None).await;
                match which {
                    Some(which) => ids = ids.get(which).copied().into_iter().collect(),
                    None => fastrand::shuffle(&mut ids),
                }
                kill(&killer, ids).await;
            }
        })
    })
}

/// Cuts over, and sees that what is told is what is there. Returns whether it was swapped.
async fn swap_or_not(field: &mut Field, what: &str) -> bool {
    let (end, attempts) = field.cut_over().await;
    println!("   … {what}");
    field.changes.interfere = Box::new(|_| Box::pin(async {}));
    match end {
        Ok(Swap::Swapped(_)) => {
            field.assert_whole(Ownership::Swapped).await;
            field.ghost().await;
            true
        }
        Ok(Swap::NotSwapped(_)) => {
            field.assert_whole(Ownership::Original).await;
            false
        }
        other => panic!("{what}: {other:?}, {attempts:?}"),
    }
}

#[tokio::test]
async fn connections_killed_at_every_step_leave_one_whole_table() {
    both(async |server| {
        let (mut field, killer) = field(server).await;
        let user = field.plan.server.options().user.clone();
        let (parts, sessions): (&[&str], usize) = match field.plan.protocol {
            Protocol::LockAndRename => (&["quiesce", "marker", "rest", "check"], 3),
            Protocol::Sentry => (&["quiesce", "marker", "rest", "check", "arrived"], 7),
        };
        let mut swaps = 0;
        for part in parts {
            for which in (0..sessions).map(Some).chain([None]) {
                field.changes.interfere = at(part, which, &killer, &user);
                let what = format!("connection {which:?} killed at `{part}`");
                swaps += u32::from(swap_or_not(&mut field, &what).await);
            }
        }
        println!("{}: {swaps} swaps all the same", server.name);
        field.plan.attempts_max = None;
        assert!(swap_or_not(&mut field, "nothing killed").await);
        field.assert_nothing_lost().await;
        killer.sql(format!("DROP USER '{user}'@'%'")).await;
    })
    .await;
}

#[tokio::test]
async fn connections_killed_while_a_statement_runs_leave_one_whole_table() {
    both(async |server| {
        let (mut field, killer) = field(server).await;
        let user = field.plan.server.options().user.clone();
        let statements: &[&str] = match field.plan.protocol {
            Protocol::LockAndRename => &["%LOCK TABLES%", "%RENAME TABLE%", "%RENAME TABLE%"],
            Protocol::Sentry => &[
                "%LOCK TABLES%",
                "%RENAME TABLE%_gho`%",
                "%RENAME TABLE%~sen`%",
                "%SELECT 1 FROM%",
                "%DROP TABLE%",
                "%DROP TABLE%",
            ],
        };
        for pattern in statements {
            let over = Arc::new(AtomicBool::new(false));
            let hunt = {
                let (killer, user, over) = (killer.clone(), user.clone(), over.clone());
                let pattern = pattern.to_string();
                tokio::spawn(async move {
                    while !over.load(Ordering::SeqCst) {
                        let ids = connections(&killer, &user, Some(&pattern)).await;
                        if !ids.is_empty() {
                            kill(&killer, ids).await;
                            return true;
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    false
                })
            };
            let what = format!("killed while `{pattern}` ran");
            let swapped = swap_or_not(&mut field, &what).await;
            over.store(true, Ordering::SeqCst);
            println!("      met: {}, swapped: {swapped}", hunt.await.unwrap());
        }
        field.plan.attempts_max = None;
        assert!(swap_or_not(&mut field, "nothing killed").await);
        field.assert_nothing_lost().await;
        killer.sql(format!("DROP USER '{user}'@'%'")).await;
    })
    .await;
}
