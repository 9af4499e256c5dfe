//! A running migration is watched and steered from outside, and leaves no secret anywhere.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::wait::PATIENCE;
use crate::support::{Live, Program, Run, TestDb, eventually, server};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("cl-control-{}", fastrand::u64(..)));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Hooks that note their event, and what they are told, in the file `calls`.
    fn hooks(&self) -> PathBuf {
        let hooks = self.path("hooks");
        let script = format!(
            "mkdir -m 700 '{0}' && for event in startup before-row-copy begin-postponed success failure; do \
             printf '#!/bin/sh\\necho \"$CHANGELING_EVENT $CHANGELING_TABLE $CHANGELING_ROWS_COPIED \
             $MYSQL_PWD\" >> \"{1}\"\\n' > '{0}'/$event && chmod 700 '{0}'/$event; done",
            hooks.display(),
            self.path("calls").display()
        );
        // By a shell: a file that this process has open for writing while another thread forks could
        // not be executed.
        let made = std::process::Command::new("sh")
            .args(["-c", &script])
            .status();
        assert!(made.unwrap().success());
        hooks
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn ctl(socket: &Path, command: &[&str]) -> Run {
    let socket = socket.to_str().unwrap();
    Program::new(["ctl", "--control-socket", socket])
        .args(command)
        .run()
        .await
}

async fn ask(socket: &Path, command: &[&str]) -> String {
    ctl(socket, command).await.expect_code(0).stdout
}

/// Asks until the answer has this text.
async fn answers(live: &mut Live, socket: &Path, command: &[&str], text: &str) -> String {
    eventually(
        PATIENCE,
        &format!("{command:?} answers {text:?}"),
        async || {
            assert!(live.is_running(), "{}{}", live.stdout(), live.stderr());
            let run = ctl(socket, command).await;
            run.stdout.contains(text).then_some(run.stdout)
        },
    )
    .await
}

async fn seeded(subject: &str) -> TestDb {
    let db = TestDb::create(server("mysql-primary"), subject).await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(100))")
        .await;
    db.sql("INSERT INTO t (a) VALUES ('a'), ('b'), ('c'), ('d')")
        .await;
    for _ in 0..12 {
        db.sql("INSERT INTO t (a) SELECT a FROM t").await;
    }
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_is_steered_by_its_socket() {
    let (db, folder) = (seeded("steer").await, Folder::new());
    let (socket, report) = (folder.path("s.sock"), folder.path("report.html"));
    let hooks = folder.hooks();
    let mut live = Program::on(
        db.server,
        "migrate",
        [
            "--database",
            &db.name,
            "--table",
            "t",
            "--alter",
            "ADD COLUMN c INT",
        ],
    )
    .args([
        "--log-format",
        "json",
        "--postpone-cut-over",
        "--metrics-listen",
        "127.0.0.1:0",
    ])
    .args([
        "--chunk-size",
        "10",
        "--nice-ratio",
        "100",
        "--max-lag",
        "1h",
    ])
    .args([
        Path::new("--control-socket"),
        &socket,
        Path::new("--report"),
        &report,
    ])
    .args([Path::new("--hooks-path"), &hooks])
    .env("MYSQL_PWD", "marker-of-a-secret")
    .spawn();
    live.printed("\"control_socket\"").await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // While copying: pause, look, change, go on.
    ask(&socket, &["pause"]).await;
    answers(&mut live, &socket, &["status", "json"], "\"commanded\"").await;
    let why = answers(&mut live, &socket, &["why"], "asked for by the operator").await;
    assert!(why.contains("it goes on after `resume`"), "{why}");
    let status: Value = serde_json::from_str(&ask(&socket, &["status", "json"]).await).unwrap();
    assert_eq!(status["table"], format!("{}.t", db.name));
    let text = ask(&socket, &["status"]).await;
    assert!(
        text.contains("stopped") && text.contains("commanded"),
        "{text}"
    );
    assert!(ask(&socket, &["coordinates"]).await.contains(':'));
    let refused = ctl(&socket, &["set", "workers", "0"]).await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    ask(&socket, &["set", "nice-ratio", "0"]).await;
    ask(&socket, &["set", "chunk-rows-fixed", "auto"]).await;
    ask(&socket, &["set", "max-load", "Threads_connected=100000"]).await;
    assert!(
        ask(&socket, &["settings"])
            .await
            .contains("Threads_connected=100000")
    );
    ask(&socket, &["resume"]).await;

    // All is copied; the operator holds the cut-over.
    let why = answers(&mut live, &socket, &["why"], "held back").await;
    assert!(why.contains("by the operator until `cut-over`"), "{why}");

    // Somebody else holds the table.
    let holder = db.connect().await;
    holder.sql("BEGIN").await;
    holder.rows::<i64>("SELECT COUNT(*) FROM t").await;
    let id = holder.id().await;
    ask(&socket, &["cut-over"]).await;
    answers(&mut live, &socket, &["why"], &format!("connection {id} ")).await;
    holder.sql("ROLLBACK").await;
    holder.close().await;

    let run = live.wait().await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let columns: Vec<String> = db
        .rows(format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = 't'",
            db.name
        ))
        .await;
    assert!(columns.contains(&"c".to_string()), "{columns:?}");
    assert!(!socket.exists(), "the socket is gone with the run");
    leaves_a_record(&folder, &run, &report);
}

/// Log lines that machines can read, hooks called in order, a report for the owner, and no secret.
fn leaves_a_record(folder: &Folder, run: &Run, report: &Path) {
    let mut events = Vec::new();
    for line in run.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
        events.push(line["event"].as_str().unwrap_or_default().to_string());
    }
    for event in [
        "phase",
        "throttle_begin",
        "throttle_end",
        "status",
        "command",
        "set",
    ] {
        assert!(
            events.iter().any(|seen| seen == event),
            "{event} is not among {events:?}"
        );
    }
    let calls = std::fs::read_to_string(folder.path("calls")).unwrap();
    let called: Vec<&str> = calls
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(called.first(), Some(&"startup"), "{calls}");
    assert_eq!(called.last(), Some(&"success"), "{calls}");
    assert!(called.contains(&"before-row-copy"), "{calls}");
    let mode = std::fs::metadata(report).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("Cut-over"), "the attempts are in the report");
    for (place, text) in [
        ("stdout", &run.stdout),
        ("stderr", &run.stderr),
        ("hooks", &calls),
        ("report", &page),
    ] {
        assert!(
            !text.contains("marker-of-a-secret"),
            "a password is in {place}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_stops_so_that_it_can_go_on_and_drop_removes_all() {
    let (db, folder) = (seeded("stop").await, Folder::new());
    let socket = folder.path("s.sock");
    let start = || {
        Program::on(
            db.server,
            "migrate",
            [
                "--database",
                &db.name,
                "--table",
                "t",
                "--alter",
                "ADD COLUMN c INT",
            ],
        )
        .args(["--postpone-cut-over", "--max-lag", "1h"])
        .args([Path::new("--control-socket"), &socket])
        .spawn()
    };
    let mut live = start();
    answers(&mut live, &socket, &["why"], "held back").await;
    live.signal(libc::SIGUSR1);
    live.printed("finished").await;
    live.signal(libc::SIGINT);
    let run = live.wait().await;
    assert!(
        matches!(run.code, Some(6 | 7)),
        "{:?} {}",
        run.code,
        run.stderr
    );
    assert!(db.tables().await.contains(&"_t_gho".to_string()));

    let mut live = start();
    answers(&mut live, &socket, &["why"], "held back").await;
    ask(&socket, &["drop"]).await;
    let run = live.wait().await;
    assert!(
        matches!(run.code, Some(6 | 7)),
        "{:?} {}",
        run.code,
        run.stderr
    );
    assert_eq!(
        db.tables().await,
        ["_changeling_history", "t"],
        "{}",
        run.stderr
    );
}
