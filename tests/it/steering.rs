//! The throttle and the control of a running migration, through the binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::wait::PATIENCE;
use crate::support::{
    Client, Live, Network, Program, Proxy, Run, TestDb, TestServer, both, eventually, server,
};

/// Tests that stop a replica do it one after the other: they share it.
static REPLICAS: Mutex<()> = Mutex::const_new(());

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
        let run = self.ctl(command).await;
        assert_eq!(
            run.code,
            Some(0),
            "{command:?}: {}{}",
            run.stdout,
            run.stderr
        );
        run.stdout
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

pub async fn alone() -> MutexGuard<'static, ()> {
    REPLICAS.lock().await
}

/// Slow enough that a copy lasts as long as a test needs it, in small steps.
const SLOW: [&str; 6] = ["--chunk-size", "20", "--workers", "1", "--nice-ratio", "2"];

/// Copying ceases within two seconds after a replica stops, whatever stops it, and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_ceases_soon_after_a_replica_stops() {
    let _alone = alone().await;
    both(async |primary| {
        let replica = replica_of(primary);
        let admin = replica.connect().await;
        let word = if primary.is_mariadb() {
            "SLAVE"
        } else {
            "REPLICA"
        };
        let db = seeded(primary, "ceases", 15).await;
        has_come(&admin, &db).await;
        let proxy = Proxy::to(replica).await;
        let through = format!("127.0.0.1:{}", proxy.port);
        let mut arguments = SLOW.to_vec();
        arguments.extend(["--replicas", &through, "--postpone-cut-over"]);
        let mut migration = Migration::start(&db, primary, &arguments);
        migration
            .answers(&["status", "json"], "\"phase\": \"copy\"")
            .await;
        let name = format!("replica {through}");

        // Stopped by its owner.
        migration.copies().await;
        admin.sql(format!("STOP {word}")).await;
        let stopped = migration.ceases(Instant::now()).await;
        let why = migration.answers(&["why"], &name).await;
        assert!(why.contains("applier stopped"), "{why}");
        admin.sql(format!("START {word}")).await;
        migration.copies().await;

        // Delayed.
        admin.sql(format!("STOP {word}")).await;
        let delay = |seconds: u32| {
            if primary.is_mariadb() {
                format!("CHANGE MASTER TO MASTER_DELAY = {seconds}")
            } else {
                format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}")
            }
        };
        admin.sql(delay(5)).await;
        admin.sql(format!("START {word}")).await;
        let delayed = migration.ceases(Instant::now()).await;
        migration.answers(&["why"], "lag of replica").await;
        admin.sql(format!("STOP {word}")).await;
        admin.sql(delay(0)).await;
        admin.sql(format!("START {word}")).await;
        migration.copies().await;

        // Out of reach.
        proxy.set(Network::Frozen);
        let cut = migration.ceases(Instant::now()).await;
        migration.answers(&["why"], &name).await;
        proxy.set(Network::Passes);
        migration.copies().await;

        // Frozen.
        let pid = replica.pid();
        signal(pid, libc::SIGSTOP);
        let frozen = migration.ceases(Instant::now()).await;
        let why = migration.answers(&["why"], &name).await;
        signal(pid, libc::SIGCONT);
        migration.copies().await;

        println!(
            "{}: copying ceased after STOP {stopped:?}, delay {delayed:?}, cut {cut:?}, SIGSTOP \
             {frozen:?}; frozen: {why}",
            primary.name
        );
        for time in [stopped, delayed, cut, frozen] {
            assert!(time < Duration::from_secs(2), "{time:?}");
        }
        migration.ask(&["drop"]).await;
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(7), "{}", end.stderr);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);
        admin.close().await;
    })
    .await;
}

impl Migration {
    async fn live_ended(self) -> Run {
        let mut migration = self;
        let live = std::mem::replace(&mut migration.live, Program::new(["--version"]).spawn());
        live.wait().await
    }
}

fn signal(pid: i32, signal: i32) {
    let sent = std::process::Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// `why` names whom it waits for: the holder of a metadata lock, a held cut-over, a full backlog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_names_what_it_waits_for() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "why", 12).await;
    let report = std::env::temp_dir().join(format!("cl-why-{}.json", fastrand::u64(..)));
    let mut migration = Migration::start(
        &db,
        primary,
        &[
            "--chunk-size",
            "50",
            "--workers",
            "1",
            "--nice-ratio",
            "5",
            "--max-lag",
            "1h",
            "--backlog-memory",
            "64K",
            "--apply-workers",
            "1",
            "--cut-over-window",
            // A minute of the week that is not now.
            if is_first_half_of_week() {
                "Sun 03:00-03:01"
            } else {
                "Mon 03:00-03:01"
            },
            "--report",
            report.to_str().unwrap(),
        ],
    );
    migration
        .answers(&["status", "json"], "\"phase\": \"copy\"")
        .await;

    // Replay cannot get on: somebody has locked rows of the ghost; meanwhile changes pile up.
    let holder = db.connect().await;
    holder.sql("BEGIN").await;
    holder.sql("SELECT * FROM _t_gho FOR UPDATE").await;
    let writer = db.connect().await;
    for _ in 0..3 {
        writer
            .sql("UPDATE t SET a = CONCAT(a, 'x') WHERE id <= 6000")
            .await;
    }
    let why = migration
        .answers(&["why"], "backlog of changes waiting for replay")
        .await;
    assert!(
        why.contains("the copy goes on by itself when the backlog is worked off"),
        "{why}"
    );
    println!("backlog: {why}");
    holder.sql("ROLLBACK").await;
    migration.ask(&["set", "nice-ratio", "0"]).await;
    migration.ask(&["set", "chunk-rows-fixed", "auto"]).await;

    let why = migration.answers(&["why"], "held back by its window").await;
    assert!(why.contains("03:00-03:01, which opens in "), "{why}");
    migration.ask(&["postpone"]).await;
    migration
        .answers(&["why"], "by the operator until `cut-over`")
        .await;
    println!("held: {why}");

    holder.sql("BEGIN").await;
    holder.rows::<i64>("SELECT COUNT(*) FROM t").await;
    let id = holder.id().await;
    migration.ask(&["cut-over"]).await;
    let why = migration
        .answers(&["why"], &format!("connection {id} "))
        .await;
    assert!(why.contains(&format!("the lock of {}.t", db.name)), "{why}");
    println!("holder: {why}");
    let plan = Program::on(primary, "plan", ["--database", &db.name, "--table", "t"])
        .args(["--alter", "ADD COLUMN c INT"])
        .run()
        .await;
    let line = format!("connection {id} ");
    let told = plan.stdout.lines().find(|said| said.contains(&line));
    assert!(
        told.is_some_and(|said| said.contains("--kill-blockers=")),
        "{}",
        plan.stdout
    );
    holder.sql("ROLLBACK").await;
    holder.close().await;
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    std::fs::remove_file(&report).unwrap();
    assert!(
        told["throttle"]["by_source"]["backlog"]["seconds"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    for end_of_stop in ["copy stopped: backlog", "copy no longer stopped by backlog"] {
        assert!(end.stderr.contains(end_of_stop), "{}", end.stderr);
    }
    assert!(
        end.stderr.contains("has applied the swap"),
        "{}",
        end.stderr
    );
}

/// By the clock of UTC: the days since 1970-01-01, a Thursday.
fn is_first_half_of_week() -> bool {
    let days = changeling::time_window::now_unix_s() / 86_400;
    (days + 3) % 7 < 3
}

/// What the operator has said about the cut-over is in the database and counts after a kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_and_release_survive_a_kill() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "hold", 8).await;
    let flag = std::env::temp_dir().join(format!("cl-hold-{}", fastrand::u64(..)));
    std::fs::write(&flag, "").unwrap();
    let arguments = [
        "--max-lag",
        "1h",
        "--postpone-cut-over-flag-file",
        flag.to_str().unwrap(),
    ];
    let word = async || -> (bool, bool) {
        let state: String = db.one("SELECT state FROM _t_ghk").await;
        let state: Value = serde_json::from_str(&state).unwrap();
        let said = |name: &str| state[name].as_bool().unwrap();
        (said("postponed"), said("released"))
    };
    let mut first = Migration::start(&db, primary, &arguments);
    first.answers(&["why"], "held back by its flag file").await;
    first.ask(&["postpone"]).await;
    eventually(PATIENCE, "the hold is in the database", async || {
        (word().await == (true, false)).then_some(())
    })
    .await;
    first.killed().await;

    // The file is gone, the hold is not.
    std::fs::remove_file(&flag).unwrap();
    let mut second = Migration::start(&db, primary, &arguments);
    second
        .answers(&["why"], "by the operator until `cut-over`")
        .await;
    let holder = db.connect().await;
    holder.sql("BEGIN").await;
    holder.rows::<i64>("SELECT COUNT(*) FROM t").await;
    second.ask(&["cut-over"]).await;
    eventually(PATIENCE, "the release is in the database", async || {
        (word().await == (false, true)).then_some(())
    })
    .await;
    second.killed().await;
    holder.sql("ROLLBACK").await;

    // The file is there again, but the operator has spoken.
    std::fs::write(&flag, "").unwrap();
    let third = Migration::start(&db, primary, &arguments);
    let end = third.live_ended().await;
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(db.show_create("t").await.contains("`c`"));
}

impl Migration {
    async fn killed(mut self) {
        let live = std::mem::replace(&mut self.live, Program::new(["--version"]).spawn());
        live.kill().await;
    }
}

/// Over TCP with a token; limits from the option file, at the start and at HUP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_option_file_is_read_again_and_tcp_needs_the_token() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "hup", 8).await;
    let folder = std::env::temp_dir().join(format!("cl-hup-{}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    let (file, token) = (folder.join("my.cnf"), folder.join("token"));
    let options = |more: &str| format!("[changeling]\nmax-lag = 1h\nworkers = 3\n{more}");
    std::fs::write(&file, options("chunk-time = 300ms\n")).unwrap();
    std::fs::write(&token, "0123456789abcdef0123\n").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut migration = Migration::start(
        &db,
        primary,
        &[
            "--defaults-file",
            file.to_str().unwrap(),
            "--workers",
            "2",
            "--postpone-cut-over",
            "--control-listen",
            &port.to_string(),
            "--control-token-file",
            token.to_str().unwrap(),
        ],
    );
    migration.answers(&["why"], "held back").await;
    let over_tcp = async |token: &Path, command: &[&str]| {
        Program::new(["ctl", "--control-address", &port.to_string()])
            .args([Path::new("--control-token-file"), token])
            .args(command)
            .run()
            .await
    };
    let settings = over_tcp(&token, &["settings"]).await.expect_code(0).stdout;
    let has = |name: &str, value: &str| {
        settings
            .lines()
            .any(|line| line.split_whitespace().eq([name, value]))
    };
    assert!(
        has("max-lag", "1h") && has("chunk-time", "300ms"),
        "{settings}"
    );
    assert!(
        has("workers", "2"),
        "the command line counts more: {settings}"
    );
    let wrong = folder.join("wrong");
    std::fs::write(&wrong, "0123456789abcdef0124").unwrap();
    over_tcp(&wrong, &["drop"])
        .await
        .expect_code(1)
        .expect_text("wrong token");

    std::fs::write(
        &file,
        options("chunk-time = 100ms\nmax-load = Threads_running=70\n"),
    )
    .unwrap();
    migration.live.signal(libc::SIGHUP);
    migration
        .live
        .printed("chunk-time was 300ms and is 100ms")
        .await;
    migration
        .live
        .printed("max-load was none and is Threads_running=70")
        .await;
    std::fs::write(
        &file,
        options("chunk-time = soon\nmax-load = Threads_running=70\n"),
    )
    .unwrap();
    migration.live.signal(libc::SIGHUP);
    migration.live.printed("chunk-time is not changed").await;
    assert!(migration.ask(&["settings"]).await.contains("100ms"));
    migration.live.signal(libc::SIGUSR1);
    migration.live.printed("held back by the operator").await;

    // Every limit can be set.
    for (name, value) in [
        ("max-lag", "2s"),
        ("max-replay-lag", "20s"),
        ("max-load", "Threads_running=99"),
        ("critical-load", "Threads_running=999"),
        ("max-commit-latency", "50ms"),
        ("max-checkpoint-age", "80%"),
        ("max-latency-factor", "4"),
        ("copy-window", "Mon-Sun 00:00-24:00 Europe/Berlin"),
        ("cut-over-window", "02:00-05:00 Europe/Berlin"),
        ("chunk-time", "50ms"),
        ("chunk-rows-max", "5000"),
        ("workers", "1"),
        ("apply-workers", "2"),
        ("nice-ratio", "0.5"),
    ] {
        let answer = migration.ask(&["set", name, value]).await;
        assert!(answer.contains(value), "{name}: {answer}");
    }
    assert!(migration.ask(&["coordinates"]).await.contains(':'));
    migration.ask(&["abort"]).await;
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(7), "{}", end.stderr);
    assert!(
        end.stderr.contains("the same command goes on"),
        "{}",
        end.stderr
    );
    assert!(
        !end.stderr.contains("0123456789abcdef0123"),
        "a secret in the log"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A second interrupt ends at once, and the same command still goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_ends_at_once() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "twice", 8).await;
    let arguments = ["--max-lag", "1h", "--postpone-cut-over"];
    let mut migration = Migration::start(&db, primary, &arguments);
    migration.answers(&["why"], "held back").await;
    // Keeps the first interrupt's last checkpoint waiting.
    let holder = db.connect().await;
    holder.sql("LOCK TABLES _t_ghk READ").await;
    migration.live.signal(libc::SIGINT);
    migration.live.printed("interrupted: stopping").await;
    assert!(migration.live.is_running(), "it waits for its checkpoint");
    let asked = Instant::now();
    migration.live.signal(libc::SIGINT);
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(130), "{}", end.stderr);
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    holder.sql("UNLOCK TABLES").await;
    holder.close().await;
    let mut again = Migration::start(&db, primary, &arguments);
    again.answers(&["why"], "held back").await;
    again.ask(&["cut-over"]).await;
    assert_eq!(again.live_ended().await.code, Some(0));
}

/// Started against a replica it finds the primary, and reads the binlog there or here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_started_on_a_replica_finds_the_primary() {
    let _alone = alone().await;
    both(async |primary| {
        let replica = replica_of(primary);
        let admin = replica.connect().await;
        for from in ["primary", "here"] {
            let db = seeded(primary, "below", 10).await;
            has_come(&admin, &db).await;
            let writer = db.connect().await;
            let arguments = [
                "--max-lag",
                "1h",
                "--binlog-from",
                from,
                "--postpone-cut-over",
            ];
            let mut migration = Migration::start(&db, replica, &arguments);
            migration.answers(&["why"], "held back").await;
            writer
                .sql("UPDATE t SET a = 'changed' WHERE id % 7 = 0")
                .await;
            writer.sql("DELETE FROM t WHERE id % 11 = 0").await;
            let expected: (i64, Option<String>) = db
                .one("SELECT COUNT(*), SUM(CRC32(CONCAT(id, a))) FROM t")
                .await;
            migration.ask(&["cut-over"]).await;
            let end = migration.live_ended().await;
            assert_eq!(end.code, Some(0), "{}", end.stderr);
            let told = format!("migrated on its primary {}:{}", primary.host, primary.port);
            assert!(end.stderr.contains(&told), "{}", end.stderr);
            let read = if from == "here" { replica } else { primary };
            let told = format!("reading the binlog of {}:{}", read.host, read.port);
            assert!(end.stderr.contains(&told), "{}", end.stderr);
            assert!(db.show_create("t").await.contains("`c`"), "on the primary");
            let found: (i64, Option<String>) = db
                .one("SELECT COUNT(*), SUM(CRC32(CONCAT(id, a))) FROM t")
                .await;
            assert_eq!(found, expected);
        }
        // Said instead of found.
        let db = seeded(primary, "said", 4).await;
        has_come(&admin, &db).await;
        let there = format!("{}:{}", primary.host, primary.port);
        let arguments = ["--max-lag", "1h", "--assume-primary", &there];
        let migration = Migration::start(&db, replica, &arguments);
        assert_eq!(migration.live_ended().await.code, Some(0));
        // A replica whose replication is stopped may have become the primary: not for us to guess.
        let word = if primary.is_mariadb() {
            "SLAVE"
        } else {
            "REPLICA"
        };
        admin.sql(format!("STOP {word}")).await;
        let migration = Migration::start(&db, replica, &["--max-lag", "1h"]);
        let refused = migration.live_ended().await;
        admin.sql(format!("START {word}")).await;
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("--assume-primary"),
            "{}",
            refused.stderr
        );
        admin.close().await;
    })
    .await;
}

/// Somebody on a replica who holds the table there makes the swap wait; one who comes after it raises the
/// alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_looked_at_before_and_after_the_swap() {
    let _alone = alone().await;
    let primary = server("mysql-primary");
    let replica = replica_of(primary);
    let db = seeded(primary, "after", 6).await;
    let admin = replica.connect().await;
    has_come(&admin, &db).await;
    let hooks = std::env::temp_dir().join(format!("cl-hooks-{}", fastrand::u64(..)));
    let script = format!(
        "mkdir -m 700 '{0}' && printf '#!/bin/sh\\necho \"$CHANGELING_REPLICA: $CHANGELING_ERROR\" > \
         {0}/told\\n' > '{0}'/replica-stalled && chmod 700 '{0}'/replica-stalled",
        hooks.display()
    );
    let made = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(made.unwrap().success());
    let reader = replica.connect().await;
    reader.sql("BEGIN").await;
    reader
        .rows::<i64>(format!("SELECT COUNT(*) FROM {}.t", db.name))
        .await;
    let id = reader.id().await;
    let name = format!("replica {}:{}", replica.host, replica.port);
    let arguments = [
        "--max-lag",
        "1h",
        "--hooks-path",
        hooks.to_str().unwrap(),
        "--drop-old-table=after:1s",
    ];
    let mut migration = Migration::start(&db, primary, &arguments);
    let why = migration
        .answers(&["why"], &format!("connection {id} "))
        .await;
    assert!(
        why.contains(&format!("{name} would stand still at the rename")),
        "{why}"
    );
    println!("before: {why}");
    // A stopped applier holds the swap back, too.
    admin.sql("STOP REPLICA SQL_THREAD").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    reader.sql("COMMIT").await;
    let why = migration.answers(&["why"], "applier stopped").await;
    println!("stopped: {why}");
    // What nobody can see before: the applier runs, and waits for a lock on everything.
    migration.ask(&["postpone"]).await;
    migration.answers(&["why"], "by the operator").await;
    admin.sql("START REPLICA SQL_THREAD").await;
    let late = replica.connect().await;
    late.sql("FLUSH TABLES WITH READ LOCK").await;
    migration.ask(&["cut-over"]).await;
    migration.live.printed("ALARM: ").await;
    late.sql("UNLOCK TABLES").await;
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    for told in ["has not applied the swap", "has applied the swap"] {
        assert!(
            end.stderr.contains(&format!("{name} {told}")),
            "{}",
            end.stderr
        );
    }
    let told = std::fs::read_to_string(hooks.join("told")).unwrap();
    assert!(told.starts_with(&name), "{told}");
    assert_eq!(
        db.tables().await,
        ["_changeling_history", "t"],
        "the old table is dropped"
    );
    for client in [reader, late, admin] {
        client.close().await;
    }
    std::fs::remove_dir_all(&hooks).unwrap();
}

/// The hooks of the documentation do what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_hooks_work() {
    let primary = server("mysql-primary");
    let db = seeded(primary, "hooks", 4).await;
    let folder = std::env::temp_dir().join(format!("cl-doc-hooks-{}", fastrand::u64(..)));
    let place = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let made = std::process::Command::new("mkdir")
        .args([
            "-m",
            "700",
            "-p",
            &place(""),
            &place("hooks"),
            &place("bin"),
            &place("backup"),
        ])
        .status();
    assert!(made.unwrap().success());
    // In place of the programs that would reach a chat or tell the time.
    let curl = format!(
        "#!/bin/sh\nfor last; do :; done\ncat > {}/$last\n",
        folder.display()
    );
    let mut scripts = vec![
        (place("bin/curl"), curl),
        (place("bin/date"), "#!/bin/sh\necho $HOUR\n".to_string()),
    ];
    let mut names = Vec::new();
    for part in include_str!("../../docs/hooks.md")
        .split("```sh hook\n")
        .collect::<Vec<_>>()
        .windows(2)
    {
        // The first hook that the paragraph before the script names.
        let paragraph = part[0].trim_end().rsplit("\n\n").next().unwrap();
        let name = paragraph
            .split("`hooks/")
            .nth(1)
            .unwrap()
            .split('`')
            .next()
            .unwrap();
        let script = part[1].split("```").next().unwrap();
        names.push(name.to_string());
        scripts.push((place(&format!("hooks/{name}")), script.to_string()));
    }
    assert_eq!(
        names,
        [
            "success-chat",
            "failure-pager",
            "validated-backup",
            "before-cut-over-hours"
        ]
    );
    for (path, script) in &scripts {
        // By another process: a file that this one has open for writing while a thread forks cannot be
        // executed.
        let made = std::process::Command::new("sh")
            .args([
                "-c",
                "printf '%s' \"$2\" > \"$1\" && chmod 700 \"$1\"",
                "sh",
                path,
                script,
            ])
            .status();
        assert!(made.unwrap().success());
    }
    let run = async |hour: &str| {
        Program::on(primary, "migrate", ["--database", &db.name, "--table", "t"])
            .args(["--alter", "ADD COLUMN c INT", "--max-lag", "1h"])
            .args(["--hooks-path", &place("hooks")])
            .env(
                "PATH",
                format!("{}:{}", place("bin"), std::env::var("PATH").unwrap()),
            )
            .env("HOUR", hour)
            .env("BACKUP_DIR", place("backup"))
            .env("CHAT_WEBHOOK", "chat")
            .env("PAGER_URL", "pager")
            .run()
            .await
    };
    let told = |name: &str| -> Value {
        let text = std::fs::read_to_string(place(name)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    run("20")
        .await
        .expect_code(6)
        .expect_text("no backup of today");
    assert_eq!(db.tables().await, ["t"], "nothing was created");
    let backup = folder.join("backup").join(&db.name);
    std::fs::create_dir(&backup).unwrap();
    std::fs::write(backup.join("full.xbstream"), "x").unwrap();
    run("12")
        .await
        .expect_code(6)
        .expect_text("not before 18:00");
    let page = told("pager")["summary"].as_str().unwrap().to_string();
    assert!(
        page.starts_with(&format!("failure of {}.t: ", db.name)),
        "{page}"
    );
    assert!(page.contains("not before 18:00"), "{page}");
    run("20").await.expect_code(0);
    let message = told("chat")["text"].as_str().unwrap().to_string();
    assert!(
        message.starts_with(&format!("{}.t altered in ", db.name)),
        "{message}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A critical load ends the run so that it can go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_load_stops_resumably() {
    both(async |primary| {
        let db = seeded(primary, "critical", 8).await;
        let arguments = ["--max-lag", "1h", "--postpone-cut-over"];
        let mut migration = Migration::start(&db, primary, &arguments);
        migration.answers(&["why"], "held back").await;
        migration
            .ask(&["set", "critical-load", "Threads_connected=1"])
            .await;
        migration.live.printed("a second look in 2s decides").await;
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(6), "{}", end.stderr);
        for told in [
            "critical load: Threads_connected is",
            "the same command goes on",
        ] {
            assert!(end.stderr.contains(told), "{}", end.stderr);
        }
        let again = Migration::start(&db, primary, &["--max-lag", "1h"]);
        again.ask_when_there(&["cut-over"]).await;
        let end = again.live_ended().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        assert!(
            end.stderr.contains("going on with the interrupted run"),
            "{}",
            end.stderr
        );
    })
    .await;
}

impl Migration {
    async fn ask_when_there(&self, command: &[&str]) {
        eventually(PATIENCE, "the migration listens", async || {
            (self.ctl(command).await.code == Some(0)).then_some(())
        })
        .await;
    }
}

/// Under an application at full speed, a replica on the same processors stays near: measured by
/// heartbeats of the test's own on both servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_stays_near_under_full_load() {
    const WRITERS: usize = 4;
    const ALONE: Duration = Duration::from_secs(8);
    let _alone = alone().await;
    both(async |primary| {
        let db = seeded(primary, "load", 15).await;
        db.sql("CREATE TABLE beat (id INT PRIMARY KEY, at BIGINT)").await;
        db.sql("INSERT INTO beat VALUES (1, 0)").await;
        let replica = replica_of(primary).connect().await;
        let beats = format!("SELECT COUNT(*) FROM {}.beat", db.name);
        eventually(3 * PATIENCE, "the replica has the heartbeat", async || {
            let rows = replica.try_rows::<u64>(&beats).await;
            rows.is_ok_and(|rows| rows == [1]).then_some(())
        })
        .await;
        let clock = Instant::now();
        let micros = move || i64::try_from(clock.elapsed().as_micros()).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        // As much as the replica can follow by itself: where it cannot, its lag is not ours.
        let pause = Arc::new(AtomicU64::new(0));
        for _ in 0..WRITERS {
            let (client, pause) = (db.connect().await, pause.clone());
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_micros(pause.load(Ordering::Relaxed))).await;
                    let id = fastrand::u32(1..130_000);
                    client.sql(format!("UPDATE t SET a = '{id}' WHERE id = {id}")).await;
                }
            });
        }
        let beating = db.connect().await;
        tasks.spawn(async move {
            loop {
                beating.sql(format!("UPDATE beat SET at = {} WHERE id = 1", micros())).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        // How much newer the primary's beat is, read before the replica's: stalls of the primary itself,
        // in which no beat comes, are no lag.
        let sql = format!("SELECT at FROM {}.beat WHERE id = 1", db.name);
        let source = db.connect().await;
        let lag = async || {
            let there: i64 = source.one(&sql).await;
            let here: i64 = replica.one(&sql).await;
            Duration::from_micros(u64::try_from(there - here).unwrap_or(0))
        };
        let mut load_alone;
        loop {
            eventually(3 * PATIENCE, "the replica is near", async || {
                (lag().await < Duration::from_millis(300)).then_some(())
            })
            .await;
            load_alone = Duration::ZERO;
            let end = Instant::now() + ALONE;
            while Instant::now() < end {
                load_alone = load_alone.max(lag().await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let now = pause.load(Ordering::Relaxed);
            if load_alone < Duration::from_millis(700) || now > 100_000 {
                break;
            }
            pause.store((2 * now).max(2_000), Ordering::Relaxed);
        }
        let report = std::env::temp_dir().join(format!("cl-load-{}.json", fastrand::u64(..)));
        let arguments = ["--max-lag", "1s", "--report", report.to_str().unwrap()];
        let began = Instant::now();
        let mut migration = Migration::start(&db, primary, &arguments);
        let mut worst = Duration::ZERO;
        while migration.live.is_running() {
            worst = worst.max(lag().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed();
        let end = migration.live_ended().await;
        tasks.shutdown().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        let told: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        std::fs::remove_file(&report).unwrap();
        println!(
            "{}: worst lag {load_alone:?} with the load alone ({} µs between two updates of each of \
             {WRITERS}), {worst:?} during the run of {took:?}; throttle: {}",
            primary.name,
            pause.load(Ordering::Relaxed),
            told["throttle"]["by_source"]
        );
        // A machine on which the load alone makes the replica lag adds its own part.
        let limit = Duration::from_secs(2) + load_alone.saturating_sub(Duration::from_millis(700));
        assert!(worst < limit, "{worst:?}, limit {limit:?}");
        replica.close().await;
    })
    .await;
}
