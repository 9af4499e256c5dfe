//! The throttle and the control of a running migration, through the binary.

mod chain;
mod hooks;
mod load;
mod old_table;
mod operator;
mod replicas;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::wait::PATIENCE;
use crate::support::{Client, Live, Program, Run, TestDb, TestServer, eventually, server};

/// Slow enough that a copy lasts as long as a test needs it, in small steps.
const SLOW: [&str; 6] = ["--chunk-size", "20", "--workers", "1", "--nice-ratio", "2"];

/// A migration under way, with its socket.
struct Migration {
    live: Live,
    socket: PathBuf,
}

impl Drop for Migration {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Migration {
    /// Starts `ADD COLUMN c INT` on `t`, through `connect`.
    fn start(db: &TestDb, connect: &TestServer, arguments: &[&str]) -> Migration {
        let socket = std::env::temp_dir().join(format!("cl-steer-{}.sock", fastrand::u64(..)));
        let program = Program::on(connect, "migrate", ["--database", &db.name])
            .args(["--table", "t", "--alter", "ADD COLUMN c INT"])
            .args([Path::new("--control-socket"), &socket])
            .args(arguments);
        Migration {
            live: program.spawn(),
            socket,
        }
    }

    async fn ctl(&self, command: &[&str]) -> Run {
        let socket = self.socket.to_str().unwrap();
        Program::new(["ctl", "--control-socket", socket])
            .args(command)
            .run()
            .await
    }

    async fn ask(&self, command: &[&str]) -> String {
        self.ctl(command).await.expect_code(0).stdout
    }

    /// Asks until the answer has this text.
    async fn answers(&mut self, command: &[&str], text: &str) -> String {
        let mut last = String::new();
        let end = Instant::now() + 2 * PATIENCE;
        loop {
            assert!(
                self.live.is_running() && Instant::now() < end,
                "{command:?} never answered {text:?}, but {last:?}\n{}{}",
                self.live.stdout(),
                self.live.stderr()
            );
            last = self.ctl(command).await.stdout;
            if last.contains(text) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn rows_copied(&self) -> u64 {
        let status: Value = serde_json::from_str(&self.ask(&["status", "json"]).await).unwrap();
        status["rows_copied"].as_u64().unwrap()
    }

    /// Waits until rows are being copied.
    async fn copies(&self) {
        let before = self.rows_copied().await;
        eventually(2 * PATIENCE, "rows are copied", async || {
            (self.rows_copied().await > before).then_some(())
        })
        .await;
    }

    /// How long after `since` the last rows were copied; looks until none have been for two seconds.
    async fn ceases(&self, since: Instant) -> Duration {
        let mut last = (self.rows_copied().await, since);
        loop {
            let asked = Instant::now();
            let rows = self.rows_copied().await;
            if rows != last.0 {
                last = (rows, asked);
            } else if asked.saturating_duration_since(last.1) > Duration::from_secs(2)
                && since.elapsed() > Duration::from_secs(4)
            {
                return last.1.saturating_duration_since(since);
            }
            assert!(since.elapsed() < PATIENCE, "it goes on copying");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn live_ended(self) -> Run {
        let mut migration = self;
        let live = std::mem::replace(&mut migration.live, Program::new(["--version"]).spawn());
        live.wait().await
    }

    async fn killed(mut self) {
        let live = std::mem::replace(&mut self.live, Program::new(["--version"]).spawn());
        live.kill().await;
    }

    async fn ask_when_there(&self, command: &[&str]) {
        eventually(PATIENCE, "the migration listens", async || {
            (self.ctl(command).await.code == Some(0)).then_some(())
        })
        .await;
    }
}

/// A table of `4 << doublings` rows.
async fn seeded(server: &'static TestServer, subject: &str, doublings: u32) -> TestDb {
    let db = TestDb::create(server, subject).await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(100))")
        .await;
    db.sql("INSERT INTO t (a) VALUES ('a'), ('b'), ('c'), ('d')")
        .await;
    for _ in 0..doublings {
        db.sql("INSERT INTO t (a) SELECT a FROM t").await;
    }
    db
}

fn replica_of(primary: &TestServer) -> &'static TestServer {
    server(if primary.is_mariadb() {
        "mariadb-replica"
    } else {
        "mysql-replica"
    })
}

/// Waits until a replica has a database of its primary, and everything before it.
async fn has_come(replica: &Client, db: &TestDb) {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}'",
        db.name
    );
    eventually(3 * PATIENCE, "the replica has the table", async || {
        (replica.one::<u64>(&sql).await > 0).then_some(())
    })
    .await;
}

fn signal(pid: i32, signal: i32) {
    let sent = std::process::Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}
