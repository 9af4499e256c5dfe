//! What the operator asks, says and sends.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Migration, seeded};
use crate::support::wait::PATIENCE;
use crate::support::{Program, eventually, server};

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
        .answers(
            &["why"],
            "the copy goes on by itself when the backlog is worked off",
        )
        .await;
    assert!(
        why.contains("backlog of changes waiting for replay"),
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
