//! The throttle on real servers: every source trips and releases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use changeling::changelog::{self, Heartbeats};
use changeling::failure::{Failure, FailureKind, Result};
use changeling::mysql::{Purpose, Server};
use changeling::names::TableName;
use changeling::pace::ThrottleReason;
use changeling::progress::Progress;
use changeling::supervise::Supervisor;
use changeling::throttle::topology::{self, Rings};
use changeling::throttle::{self, Replicas, Throttle, ThrottlePlan, parse_loads};
use changeling::time_window::{now_unix_s, parse_windows};
use changeling::tunables::Tunables;

use crate::support::wait::PATIENCE;
use crate::support::{TestDb, TestServer, alone_with_replicas, both, eventually, server};

/// A throttle that runs, with heartbeats.
struct Rig {
    server: Server,
    throttle: Throttle,
    tunables: watch::Sender<Tunables>,
    progress: Arc<Progress>,
    supervisor: Supervisor,
    db: TestDb,
}

impl Rig {
    async fn start(on: &'static TestServer, plan: impl FnOnce(&mut ThrottlePlan)) -> Rig {
        Rig::try_start(on, plan).await.unwrap()
    }

    async fn try_start(
        on: &'static TestServer,
        change: impl FnOnce(&mut ThrottlePlan),
    ) -> Result<Rig> {
        let db = TestDb::create(on, "throttle").await;
        let table = TableName::new(&db.name, "_t_ghc");
        let server = Server::connect(on.options()).await?;
        let mut session = server.session(Purpose::Monitor).await?;
        changelog::create(&mut session, &table).await?;
        session.close().await;
        let mut supervisor = Supervisor::new(&CancellationToken::new());
        let heartbeats = Heartbeats::new(server.clone(), table.clone());
        let cancel = supervisor.token();
        supervisor.spawn("heartbeat", async move { heartbeats.run(&cancel).await });
        let mut plan = ThrottlePlan::new(TableName::new(&db.name, "t"), table);
        change(&mut plan);
        let (tunables, receiver) = watch::channel(Tunables::default());
        let progress = Arc::new(Progress::default());
        let started =
            throttle::start(plan, &server, progress.clone(), receiver, &mut supervisor).await;
        match started {
            Ok(throttle) => Ok(Rig {
                server,
                throttle,
                tunables,
                progress,
                supervisor,
                db,
            }),
            Err(failure) => {
                supervisor.stop().await?;
                Err(failure)
            }
        }
    }

    fn set(&self, change: impl FnOnce(&mut Tunables)) {
        self.tunables.send_modify(change);
    }

    /// Waits until this source is why the copy stops.
    async fn stopped_by(&mut self, source: &str) -> ThrottleReason {
        let pace = &mut self.throttle.pace;
        eventually(PATIENCE, &format!("stopped by {source}"), async || {
            let stop = pace.borrow_and_update().stop.clone();
            stop.filter(|reason| reason.source == source)
        })
        .await
    }

    /// Waits until nothing stops the copy. Other tests write to the same primary, so the replica may have
    /// much to catch up with.
    async fn goes(&mut self) {
        let pace = &mut self.throttle.pace;
        let mut last = None;
        eventually(3 * PATIENCE, "the copy goes", async || {
            let stop = pace.borrow_and_update().stop.clone();
            let source = stop.as_ref().map(|reason| reason.source);
            if source != last {
                println!("stop: {stop:?}");
                last = source;
            }
            stop.is_none().then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.supervisor.stop().await.unwrap();
    }
}

fn replica_of(primary: &TestServer) -> &'static TestServer {
    server(if primary.is_mariadb() {
        "mariadb-replica"
    } else {
        "mysql-replica"
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_stops_the_copy_until_it_has_caught_up() {
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let replica = replica_of(primary);
        let words = if primary.is_mariadb() {
            "SLAVE"
        } else {
            "REPLICA"
        };
        let mut rig = Rig::start(primary, |_| {}).await;
        rig.goes().await;
        let on_replica = replica.connect().await;
        on_replica.sql(format!("STOP {words}")).await;
        let reason = rig.stopped_by("lag").await;
        on_replica.sql(format!("START {words}")).await;
        let name = format!("replica {}:{}", replica.host, replica.port);
        assert!(reason.subject.starts_with(&name), "{reason}");
        rig.goes().await;
        let report = rig.throttle.journal.report();
        assert!(report.by_source["lag"].seconds > 0.0, "{report:?}");
        // An operator who does not care for this one.
        on_replica.sql(format!("STOP {words}")).await;
        rig.stopped_by("lag").await;
        rig.set(|tunables| {
            tunables.ignored_replicas.insert(replica.host.clone());
        });
        eventually(PATIENCE, "no replica is asked", async || {
            let lag = &rig.progress.replica_lag_micros;
            (lag.load(Ordering::Relaxed) == -1).then_some(())
        })
        .await;
        rig.goes().await;
        on_replica.sql(format!("START {words}")).await;
        on_replica.close().await;
        rig.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_do_not_replicate_the_server_are_refused() {
    let _alone = alone_with_replicas().await;
    let (mysql, mariadb) = (server("mysql-primary"), server("mariadb-primary"));
    for (primary, stranger) in [(mysql, mariadb), (mariadb, mysql)] {
        let listed = |servers: &[&TestServer]| -> Vec<(String, u16)> {
            servers.iter().map(|s| (s.host.clone(), s.port)).collect()
        };
        let wrong = [listed(&[stranger, primary]), vec![("127.0.0.1".into(), 1)]].concat();
        let refused: Failure = Rig::try_start(primary, |plan| {
            plan.replicas = Replicas::Listed(wrong);
        })
        .await
        .err()
        .expect("a host that is no replica was taken");
        assert_eq!(refused.kind(), FailureKind::Refused);
        let text = refused.to_string();
        for part in [
            format!("127.0.0.1:{}: it does not replicate", stranger.port),
            format!(
                "127.0.0.1:{}: it is the migrated server itself",
                primary.port
            ),
            "127.0.0.1:1: ".to_string(),
        ] {
            assert!(text.contains(&part), "{part} is not in: {text}");
        }
        for start in [replica_of(primary), primary] {
            let start = Server::connect(start.options()).await.unwrap();
            let found = topology::find_primary(&start, start.options(), Rings::Refuse)
                .await
                .unwrap();
            assert_eq!(
                found.address(),
                format!("{}:{}", primary.host, primary.port)
            );
        }
        let right = listed(&[replica_of(primary)]);
        let mut rig = Rig::start(primary, |plan| plan.replicas = Replicas::Listed(right)).await;
        rig.set(|tunables| tunables.lag_max = Duration::from_secs(3600));
        rig.goes().await;
        rig.end().await;
    }
}

/// A tiny web server whose status the test sets.
async fn web(mut status: watch::Receiver<u16>) -> (String, impl Future<Output = ()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/check", listener.local_addr().unwrap());
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0u8; 1024];
            let _ = stream.read(&mut request).await;
            assert!(request.starts_with(b"HEAD /check HTTP/1.1\r\n"));
            let code = *status.borrow_and_update();
            let _ = stream
                .write_all(format!("HTTP/1.1 {code} X\r\n\r\n").as_bytes())
                .await;
        }
    };
    (url, serve)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_trips_and_releases() {
    both(async |primary| {
        let flag = std::env::temp_dir().join(format!("cl-flag-{}", fastrand::u64(..)));
        let (status, receiver) = watch::channel(503);
        let (url, serve) = web(receiver).await;
        let serving = tokio::spawn(serve);
        let mut rig = Rig::start(primary, |plan| {
            plan.replicas = Replicas::Ignore;
            plan.flag_files = vec![flag.clone()];
        })
        .await;
        rig.goes().await;

        std::fs::write(&flag, "").unwrap();
        rig.stopped_by("flag-file").await;
        std::fs::remove_file(&flag).unwrap();
        rig.goes().await;

        rig.set(|t| t.throttle_query = Some("SELECT 1.5".into()));
        assert_eq!(rig.stopped_by("query").await.value, 1.5);
        rig.set(|t| t.throttle_query = Some("SELECT nonsense".into()));
        let reason = eventually(PATIENCE, "a broken query stops", async || {
            let stop = rig.throttle.pace.borrow().stop.clone()?;
            stop.subject.contains("failed").then_some(stop)
        })
        .await;
        assert!(reason.to_string().contains("1054"), "{reason}");
        rig.set(|t| t.throttle_query = Some("SELECT NULL".into()));
        rig.goes().await;

        rig.set(|t| t.throttle_http = Some(url.clone()));
        let reason = rig.stopped_by("http").await;
        assert!(reason.to_string().ends_with("answered 503"), "{reason}");
        status.send(200).unwrap();
        rig.goes().await;

        rig.set(|t| t.paused = true);
        rig.stopped_by("commanded").await;
        rig.set(|t| t.paused = false);
        rig.goes().await;

        rig.progress.backlog_bytes.set(200 << 20);
        rig.stopped_by("backlog").await;
        // Replay goes first: a little less is not enough.
        rig.progress.backlog_bytes.set(100 << 20);
        eventually(PATIENCE, "it stays stopped", async || {
            let stop = rig.throttle.pace.borrow().stop.clone().unwrap();
            (stop.value == 100.0).then_some(())
        })
        .await;
        rig.progress.backlog_bytes.set(1 << 20);
        rig.goes().await;

        rig.set(|t| t.checkpoint_age_max = Some(1e-12));
        rig.db
            .sql("CREATE TABLE pages (id INT PRIMARY KEY) SELECT 1 AS id")
            .await;
        rig.stopped_by("checkpoint-age").await;
        rig.set(|t| t.checkpoint_age_max = Some(1.0));
        rig.goes().await;

        rig.set(|t| t.copy_windows = parse_windows(&not_now()).unwrap());
        rig.stopped_by("window").await;
        rig.set(|t| t.copy_windows = parse_windows("Mon-Sun 00:00-24:00 Asia/Kolkata").unwrap());
        rig.goes().await;

        rig.progress
            .replay_lag_micros
            .store(60_000_000, Ordering::Relaxed);
        rig.stopped_by("replay-lag").await;
        rig.set(|t| t.replay_lag_max = Some(Duration::from_secs(3600)));
        rig.goes().await;

        commits_are_timed(&mut rig).await;
        statements_are_timed(&mut rig).await;
        own_threads_do_not_count(&mut rig).await;
        serving.abort();
        rig.end().await;
    })
    .await;
}

/// A window of the day that is open in twelve hours.
fn not_now() -> String {
    let hour = (now_unix_s() / 3600 + 12) % 24;
    format!("{hour:02}:00-{hour:02}:30")
}

async fn commits_are_timed(rig: &mut Rig) {
    rig.set(|t| t.commit_latency_max = Some(Duration::from_nanos(1)));
    if !rig.server.facts().is_on("performance_schema") {
        let reason = rig.stopped_by("commit-latency").await;
        assert!(
            reason.to_string().contains("performance_schema is OFF"),
            "{reason}"
        );
    } else {
        let writer = rig.db.connect().await;
        writer
            .sql("CREATE TABLE commits (id INT PRIMARY KEY AUTO_INCREMENT)")
            .await;
        let pace = rig.throttle.pace.clone();
        eventually(PATIENCE, "commits are timed", async || {
            for _ in 0..10 {
                writer.sql("BEGIN").await;
                writer.sql("INSERT INTO commits () VALUES ()").await;
                writer.sql("COMMIT").await;
            }
            let stop = pace.borrow().stop.clone()?;
            (stop.source == "commit-latency" && stop.value > 0.0).then_some(())
        })
        .await;
        writer.close().await;
    }
    rig.set(|t| t.commit_latency_max = None);
    rig.goes().await;
}

/// Statements of one shape get slower than they were before.
async fn statements_are_timed(rig: &mut Rig) {
    rig.set(|t| t.latency_factor_max = Some(5.0));
    let reason = rig.stopped_by("latency").await;
    if !rig.server.facts().is_on("performance_schema") {
        assert!(
            reason.to_string().contains("performance_schema is OFF"),
            "{reason}"
        );
    } else {
        assert!(
            reason.to_string().contains("being timed for the baseline"),
            "{reason}"
        );
        let db = &rig.db;
        // The server keeps a limited number of shapes, which other tests may have used up.
        db.sql("TRUNCATE TABLE performance_schema.events_statements_summary_by_digest")
            .await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY) SELECT 1 AS id")
            .await;
        let statement = async |seconds: f64| {
            db.rows::<u8>(format!(
                "SELECT id FROM t WHERE id = 1 AND SLEEP({seconds}) = 0"
            ))
            .await;
        };
        let pace = rig.throttle.pace.clone();
        eventually(2 * PATIENCE, "the baseline is there", async || {
            statement(0.002).await;
            pace.borrow().stop.is_none().then_some(())
        })
        .await;
        let stop = eventually(PATIENCE, "slow statements are seen", async || {
            statement(0.1).await;
            pace.borrow().stop.clone()
        })
        .await;
        assert_eq!((stop.source, stop.unit), ("latency", " × the baseline"));
        println!("{stop}");
        eventually(PATIENCE, "they are as fast as before", async || {
            statement(0.002).await;
            pace.borrow().stop.is_none().then_some(())
        })
        .await;
    }
    rig.set(|t| t.latency_factor_max = None);
    rig.goes().await;
}

/// Many own connections: the load is what is left without them.
async fn own_threads_do_not_count(rig: &mut Rig) {
    const OWN: f64 = 20.0;
    let mut own = Vec::new();
    for _ in 0..OWN as usize {
        own.push(rig.server.session(Purpose::Monitor).await.unwrap());
    }
    rig.set(|t| t.max_load = parse_loads("Threads_connected=1").unwrap());
    let session = &mut own[0];
    let pace = &rig.throttle.pace;
    eventually(PATIENCE, "own threads are not counted", async || {
        let stop = pace.borrow().stop.clone()?;
        assert_eq!(stop.source, "max-load");
        let all: (String, String) = session
            .one("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
            .await
            .unwrap();
        let all: f64 = all.1.parse().unwrap();
        (stop.value >= 1.0 && stop.value + OWN <= all).then_some(())
    })
    .await;
    rig.set(|t| t.max_load = parse_loads("Threads_connected=100000").unwrap());
    for session in own {
        session.close().await;
    }
    rig.goes().await;
    rig.set(|t| t.max_load = parse_loads("No_such_variable=1").unwrap());
    let reason = rig.stopped_by("max-load").await;
    assert!(reason.to_string().contains("No_such_variable"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn critical_load_ends_the_run_after_a_second_look() {
    let rig = Rig::start(server("mysql-primary"), |plan| {
        plan.replicas = Replicas::Ignore;
        plan.critical_load_pause = Duration::from_millis(500);
    })
    .await;
    rig.set(|t| t.critical_load = parse_loads("Threads_connected=1").unwrap());
    let ended = tokio::time::timeout(PATIENCE, rig.supervisor.join())
        .await
        .expect("the run ends")
        .unwrap_err();
    assert_eq!(ended.kind(), FailureKind::Stopped);
    assert!(ended.to_string().contains("Threads_connected"), "{ended}");
}
