//! What a statement says that was killed is not believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use changeling::failure::ErrorClass;
use changeling::mysql::{ConnectOptions, Purpose, Server, SslMode};

use crate::support::{TestDb, TestServer, both};

async fn connect(server: &TestServer) -> Server {
    Server::connect(ConnectOptions {
        ssl_mode: SslMode::Disabled,
        ..server.options()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_kill_of_ours_spoils_the_next_answer_and_no_other() {
    both(async |server| {
        let server = connect(server).await;
        let mut session = server.session(Purpose::Monitor).await.unwrap();
        let mut watch = server.session(Purpose::Monitor).await.unwrap();
        for by_new_connection in [true, false] {
            let id = session.id();
            match by_new_connection {
                true => server.kill_query(id).await.unwrap(),
                false => watch.kill_query(id).await.unwrap(),
            }
            let failure = session.execute("DO 1").await.unwrap_err();
            assert_eq!(failure.class(), Some(ErrorClass::Killed), "{failure}");
            session.execute("DO 1").await.unwrap();
        }
        watch.execute("DO 1").await.unwrap();
    })
    .await;
}

/// MariaDB says now and then that a DELETE found nothing when it was killed while it was planned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_be_deleted_is_deleted() {
    both(async |server| {
        let db = TestDb::create(server, "killed").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT, KEY (v))")
            .await;
        let server = connect(server).await;
        let mut session = server.session(Purpose::Apply).await.unwrap();
        let mut killer = server.session(Purpose::Monitor).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let killing = tokio::spawn({
            let (id, stop) = (session.id(), stop.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    killer.kill_query(id).await.unwrap();
                    let pause = Duration::from_micros(fastrand::u64(..4000));
                    tokio::time::sleep(pause).await;
                }
            }
        });
        let begun = Instant::now();
        let (mut done, mut killed) = (0, 0);
        while begun.elapsed() < Duration::from_secs(4) || done + killed < 20 {
            db.sql("INSERT IGNORE INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
                .await;
            let delete = format!("DELETE FROM {}.t WHERE id IN (1, 2, 3, 4)", db.name);
            match session.execute_surely(&delete).await {
                Ok(_) => {
                    done += 1;
                    assert_eq!(db.one::<u32>("SELECT COUNT(*) FROM t").await, 0);
                }
                Err(failure) => {
                    killed += 1;
                    assert_eq!(failure.class(), Some(ErrorClass::Killed), "{failure}");
                }
            }
        }
        stop.store(true, Ordering::SeqCst);
        killing.await.unwrap();
        println!("{done} done, {killed} killed");
        assert!(killed > 0, "no kill has met a statement");
    })
    .await;
}
