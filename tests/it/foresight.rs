//! What a run tells about itself that only the server knows: how long the binlog is kept, how far an index
//! build is.

use std::path::PathBuf;

use changeling::control::client;
use serde_json::Value;

use crate::binlog::follow::alone;
use crate::support::server::TestServer;
use crate::support::wait::PATIENCE;
use crate::support::{Live, Program, TestDb, both, eventually, server};

/// A migration under way, with its cut-over held.
struct Watched {
    live: Live,
    socket: PathBuf,
}

impl Watched {
    fn start(db: &TestDb, alter: &str, more: &[&str]) -> Watched {
        let socket = std::env::temp_dir().join(format!("cl-{}.sock", fastrand::u64(..)));
        let live = Program::on(
            db.server,
            "migrate",
            ["--database", &db.name, "--table", "t"],
        )
        .args(["--alter", alter, "--postpone-cut-over"])
        .args(["--control-socket".as_ref(), socket.as_os_str()])
        .args(more)
        .spawn();
        Watched { live, socket }
    }

    /// Its status, once it answers.
    async fn status(&mut self) -> Option<Value> {
        assert!(self.live.is_running(), "{}", self.live.stderr());
        let answer = client::send(&self.socket, "status json").await.ok()?;
        Some(serde_json::from_str(&answer).unwrap())
    }

    async fn until<T>(&mut self, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        eventually(PATIENCE, what, async || found(&self.status().await?)).await
    }

    async fn cut_over(self) {
        client::send(&self.socket, "cut-over").await.unwrap();
        let run = self.live.wait().await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
}

/// Replay stands still; what it needs grows older than half the time that the server keeps its binlog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binlog_that_may_be_purged_is_warned_of() {
    const KEPT_S: f64 = 8.0;
    let _alone = alone().await;
    for server in [server("mysql-minimal"), server("mariadb-minimal")] {
        let db = TestDb::create(server, "horizon").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        db.sql("INSERT INTO t VALUES (1, 0), (2, 0)").await;
        let before: u64 = db.one("SELECT @@GLOBAL.binlog_expire_logs_seconds").await;
        db.sql(format!("SET GLOBAL binlog_expire_logs_seconds = {KEPT_S}"))
            .await;
        let mut watched = Watched::start(&db, "ADD COLUMN c INT", &[]);
        let left = watched
            .until("how long the binlog is kept", |status| {
                (status["phase"] == "postponed").then_some(())?;
                status["binlog_kept_s"].as_f64()
            })
            .await;
        assert!((KEPT_S / 2.0..=KEPT_S).contains(&left), "{left}");
        assert!(!watched.live.stderr().contains("may be purged"));
        let text = client::send(&watched.socket, "status").await.unwrap();
        assert!(text.contains("kept for another"), "{text}");

        let holder = db.connect().await;
        holder.sql("LOCK TABLES _t_gho READ").await;
        db.sql("UPDATE t SET v = 1").await;
        watched.live.printed("may be purged").await;
        let left = watched.until("what is left", |status| status["binlog_kept_s"].as_f64());
        assert!(left.await <= KEPT_S / 2.0);
        holder.sql("UNLOCK TABLES").await;
        watched.cut_over().await;
        db.sql(format!("SET GLOBAL binlog_expire_logs_seconds = {before}"))
            .await;
    }
}

async fn table_with_indexes(server: &'static TestServer) -> TestDb {
    let db = TestDb::create(server, "building").await;
    db.sql(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(60) NOT NULL, b INT NOT NULL, \
         KEY by_a (a), KEY by_b (b), KEY by_both (a, b), KEY back (b, a))",
    )
    .await;
    db.sql("INSERT INTO t (a, b) VALUES (UUID(), 1)").await;
    for _ in 0..18 {
        db.sql("INSERT INTO t (a, b) SELECT CONCAT(UUID(), id), CRC32(id) DIV 2 FROM t")
            .await;
    }
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_building_of_indexes_is_shown() {
    both(async |server| {
        let db = table_with_indexes(server).await;
        if !server.is_mariadb() {
            db.sql(
                "UPDATE performance_schema.setup_consumers SET ENABLED = 'YES' \
                 WHERE NAME = 'events_stages_current'",
            )
            .await;
        }
        let mut watched = Watched::start(&db, "ENGINE=InnoDB", &["--defer-indexes", "on"]);
        let percent = watched
            .until("a share of the build", |status| {
                status["index_stage"].as_str()?;
                status["index_percent"].as_f64()
            })
            .await;
        assert!((0.0..=100.0).contains(&percent), "{percent}");
        // Over, it is not shown any more.
        watched
            .until("the cut-over is held", |status| {
                (status["phase"] == "postponed" && status["index_stage"].is_null()).then_some(())
            })
            .await;
        watched.cut_over().await;
    })
    .await;
}
