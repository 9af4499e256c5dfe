//! A run as operators see it: socket, hooks, metrics, panic and what goes on after it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::{gh_ost, table};
use crate::support::{Live, TestDb, TestServer, alone_with_replicas, both, eventually, server};

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("changeling-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn hook(&self, name: &str, script: &str) {
        let path = self.path(name);
        // Not written by this process: while another test forks, it could not be run.
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", "printf '%s' \"$1\" > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .arg(format!("#!/bin/sh\n{script}\n"))
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn ask(socket: &Path, line: &str) -> String {
    changeling::control::client::send(socket, line)
        .await
        .unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

async fn postponed(socket: &Path) {
    eventually(
        Duration::from_secs(90),
        "the cut-over is postponed",
        async || {
            let answer = changeling::control::client::send(socket, "sup").await;
            answer
                .is_ok_and(|line| line.contains("State: postponing cut-over"))
                .then_some(())
        },
    )
    .await;
}

/// A status line as scripts take it apart.
#[derive(Debug)]
struct StatusLine {
    copied: u64,
    rows: u64,
    percent: f64,
    applied: u64,
    backlog: (u64, u64),
    total: String,
    streamer: String,
    state: String,
    eta: String,
}

fn parse(line: &str) -> StatusLine {
    let mut parts = line.split("; ");
    let mut next = |name: &str| -> String {
        let part = parts.next().unwrap_or_default();
        part.strip_prefix(name)
            .unwrap_or_else(|| panic!("{name:?} is not where it should be: {line}"))
            .to_string()
    };
    let copy = next("Copy: ");
    let (rows, percent) = copy.split_once(' ').unwrap();
    let (copied, rows) = rows.split_once('/').unwrap();
    let applied = next("Applied: ");
    let backlog = next("Backlog: ");
    let (waiting, room) = backlog.split_once('/').unwrap();
    let time = next("Time: ");
    let (total, copy_time) = time.split_once("(total), ").unwrap();
    assert!(copy_time.ends_with("(copy)"), "{line}");
    let streamer = next("streamer: ");
    let lags = next("Lag: ");
    let (_, state) = lags.split_once(", State: ").unwrap();
    assert!(lags.contains("s, HeartbeatLag: "), "{line}");
    StatusLine {
        copied: copied.parse().unwrap(),
        rows: rows.parse().unwrap(),
        percent: percent.trim_end_matches('%').parse().unwrap(),
        applied: applied.parse().unwrap(),
        backlog: (waiting.parse().unwrap(), room.parse().unwrap()),
        total: total.to_string(),
        streamer,
        state: state.to_string(),
        eta: next("ETA: "),
    }
}

fn start(server: &TestServer, db: &TestDb, folder: &Folder, words: &[&str]) -> Live {
    gh_ost(
        server,
        db,
        &[
            "--alter=add column c int default 5",
            "--allow-on-master",
            "--execute",
            "--verbose",
            "--debug",
            "--exact-rowcount",
            "--max-lag-millis=60000",
            &format!(
                "--postpone-cut-over-flag-file={}",
                folder.path("postpone").display()
            ),
            &format!("--serve-socket-file={}", folder.path("sock").display()),
        ],
    )
    .args(words)
    .spawn()
}

#[tokio::test]
async fn a_socket_session() {
    both(async |server| {
        let db = TestDb::create(server, "gh_session").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        let socket = folder.path("sock");
        let flag = folder.path("postpone");
        let live = start(
            server,
            &db,
            &folder,
            &[
                "--force-named-cut-over",
                "--force-named-panic",
                "--initially-drop-socket-file",
            ],
        );
        postponed(&socket).await;

        let status = ask(&socket, "status").await;
        let lines: Vec<&str> = status.lines().collect();
        assert_eq!(
            lines[0],
            format!(
                "# Migrating `{0}`.`t`; Ghost table is `{0}`.`_t_gho`",
                db.name
            )
        );
        assert!(lines[1].starts_with("# Migrating "), "{status}");
        assert!(lines[2].starts_with("# Migration started at "), "{status}");
        assert!(lines[3].starts_with("# chunk-size: "), "{status}");
        assert!(
            status.contains("# postpone-cut-over-flag-file: "),
            "{status}"
        );
        let line = parse(lines.last().unwrap());
        assert_eq!((line.copied, line.rows, line.percent), (3, 3, 100.0));
        assert_eq!(line.backlog.1, 1000);
        assert!(line.streamer.contains(':'), "{line:?}");
        assert_eq!(
            (line.state.as_str(), line.eta.as_str()),
            ("postponing cut-over", "due")
        );
        assert!(line.total.ends_with('s') && line.applied < 1000, "{line:?}");
        parse(&ask(&socket, "sup").await);

        for (set, get, value) in [
            ("chunk-size=250", "chunk-size=?", "250"),
            ("dml-batch-size=20", "dml-batch-size=?", "20"),
            ("max-lag-millis=50000", "max-lag-millis=?", "50000"),
            ("nice-ratio=0.5", "nice-ratio=?", "0.5"),
            (
                "max-load=Threads_running=900",
                "max-load=?",
                "Threads_running=900",
            ),
            (
                "critical-load=Threads_running=999",
                "critical-load=?",
                "Threads_running=999",
            ),
            ("throttle-query=select 0", "throttle-query=?", "select 0"),
            ("throttle-http=", "throttle-http=?", ""),
        ] {
            ask(&socket, set).await;
            assert_eq!(ask(&socket, get).await.trim(), value, "{get}");
        }
        assert!(
            ask(&socket, "help")
                .await
                .starts_with("available commands:")
        );
        assert!(ask(&socket, "coordinates").await.contains(':'));
        for who in ["applier", "inspector"] {
            let answer = ask(&socket, who).await;
            assert!(
                answer.starts_with("Host: ") && answer.contains(", Version: "),
                "{answer}"
            );
        }
        let answer = ask(&socket, "replication-lag-query=x").await;
        assert!(answer.contains("deprecated"), "{answer}");
        let answer = ask(&socket, "throttle=other").await;
        assert!(
            answer.contains("migrated table is t; ignoring request"),
            "{answer}"
        );
        let answer = ask(&socket, "throttle").await;
        assert!(
            answer.contains("you may only throttle for as long as"),
            "{answer}"
        );
        ask(&socket, "no-throttle").await;
        let answer = ask(&socket, "nonsense").await;
        assert!(answer.contains("unknown command: nonsense"), "{answer}");
        let answer = ask(&socket, "panic").await;
        assert!(answer.contains("--force-named-panic is set"), "{answer}");
        let answer = ask(&socket, "unpostpone").await;
        assert!(answer.contains("--force-named-cut-over is set"), "{answer}");
        let answer = ask(&socket, "unpostpone=t").await;
        assert!(answer.starts_with("Unpostponed"), "{answer}");
        live.wait().await.expect_code(0).expect_text("# Done");
        assert!(flag.exists(), "the flag file is the operator's");
        assert_eq!(db.one::<i64>("SELECT SUM(c) FROM t").await, 15);
    })
    .await;
}

#[tokio::test]
async fn hooks_and_metrics() {
    both(async |server| {
        let db = TestDb::create(server, "gh_hooks").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        let called = folder.path("called");
        let hooks = folder.path("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::set_permissions(&hooks, std::fs::Permissions::from_mode(0o755)).unwrap();
        let events = [
            "startup", "validated", "rowcount-complete", "before-row-copy", "batch-copy-retry",
            "status", "interactive-command", "row-copy-complete", "begin-postponed",
            "before-cut-over", "stop-replication", "start-replication", "success", "failure",
        ];
        for event in events {
            folder.hook(
                &format!("hooks/gh-ost-on-{event}"),
                &format!(
                    "echo \"{event} $GH_OST_DATABASE_NAME $GH_OST_TABLE_NAME $GH_OST_GHOST_TABLE_NAME \
                     $GH_OST_OLD_TABLE_NAME $GH_OST_DRY_RUN $GH_OST_HOOKS_HINT $GH_OST_COMMAND \
                     $GH_OST_STATUS\" >> {}",
                    called.display()
                ),
            );
        }
        let metrics = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let live = start(
            server,
            &db,
            &folder,
            &[
                &format!("--hooks-path={}", hooks.display()),
                "--hooks-hint=ticket-1",
                "--hooks-status-interval=1",
                "--concurrent-rowcount=false",
                &format!("--statsd-addr={}", metrics.local_addr().unwrap()),
                "--statsd-tags=team:db",
            ],
        );
        let socket = folder.path("sock");
        postponed(&socket).await;
        ask(&socket, "chunk-size=?").await;
        let so_far = || std::fs::read_to_string(&called).unwrap_or_default();
        eventually(Duration::from_secs(60), "a status hook", async || {
            so_far().contains("\nstatus ").then_some(())
        })
        .await;
        std::fs::remove_file(folder.path("postpone")).unwrap();
        live.wait().await.expect_code(0);

        let text = so_far();
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| !matches!(*name, "status" | "interactive-command"))
            .collect();
        assert_eq!(
            names,
            [
                "startup", "validated", "rowcount-complete", "before-row-copy", "row-copy-complete", "before-cut-over",
                "begin-postponed", "success"
            ],
            "{text}"
        );
        let validated = text.lines().find(|line| line.starts_with("validated")).unwrap();
        assert_eq!(
            validated.trim_end(),
            format!("validated {} t _t_gho _t_del false ticket-1", db.name)
        );
        assert!(text.contains(" 'chunk-size'"), "{text}");
        assert!(text.contains(" 'Copy: 3/3 100.0%; "), "{text}");

        let mut bytes = [0; 4096];
        let length = tokio::time::timeout(Duration::from_secs(30), metrics.recv(&mut bytes));
        let length = length.await.unwrap().unwrap();
        let sent = String::from_utf8_lossy(&bytes[..length]);
        assert!(sent.contains("gh_ost.row_copy.rows_copied:"), "{sent}");
        assert!(sent.lines().all(|line| line.ends_with("|g|#team:db")), "{sent}");
    })
    .await;
}

/// Panic leaves everything; `--resume` goes on from the checkpoint; without one there is nothing to go on.
#[tokio::test]
async fn panic_and_resume() {
    both(async |server| {
        let db = TestDb::create(server, "gh_panic").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        let nothing = start(server, &db, &folder, &["--checkpoint", "--resume"]);
        nothing.wait().await.expect_code(1);
        let mut live = start(server, &db, &folder, &["--checkpoint"]);
        postponed(&folder.path("sock")).await;
        live.printed("checkpoint success at coords=").await;
        db.sql("INSERT INTO t VALUES (4, 4)").await;
        let answer = ask(&folder.path("sock"), "panic").await;
        assert!(answer.contains("user commanded 'panic'"), "{answer}");
        live.wait().await.expect_code(1);
        for left in ["_t_gho", "_t_ghc", "_t_ghk"] {
            assert!(db.tables().await.contains(&left.to_string()), "{left}");
        }
        db.sql("INSERT INTO t VALUES (5, 5)").await;
        let flags = [
            "--checkpoint",
            "--resume",
            "--initially-drop-ghost-table",
            "--initially-drop-socket-file",
        ];
        let live = start(server, &db, &folder, &flags);
        postponed(&folder.path("sock")).await;
        std::fs::remove_file(folder.path("postpone")).unwrap();
        let done = live.wait().await.expect_code(0);
        done.expect_text("Resuming from checkpoint");
        assert_eq!(db.one::<i64>("SELECT SUM(c) FROM t").await, 25);
        let mut tables = db.tables().await;
        tables.sort();
        assert_eq!(tables, ["_changeling_history", "_t_del", "t"]);
    })
    .await;
}

/// SIGHUP reads the limits of `--conf` again; the panic file ends the run.
#[tokio::test]
async fn a_conf_file_is_read_again() {
    both(async |server| {
        let db = TestDb::create(server, "gh_conf").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        let conf = folder.path("conf");
        let write = |chunk: u32| {
            let text = format!(
                "[client]\nuser={}\npassword={}\n[osc]\nchunk_size={chunk}\n",
                server.user, server.password
            );
            std::fs::write(&conf, text).unwrap();
        };
        write(70);
        let live = start(
            server,
            &db,
            &folder,
            &[
                &format!("--conf={}", conf.display()),
                &format!("--panic-flag-file={}", folder.path("panic").display()),
            ],
        );
        let socket = folder.path("sock");
        postponed(&socket).await;
        assert_eq!(ask(&socket, "chunk-size=?").await.trim(), "70");
        write(90);
        live.signal(libc::SIGHUP);
        eventually(Duration::from_secs(30), "the new chunk size", async || {
            (ask(&socket, "chunk-size=?").await.trim() == "90").then_some(())
        })
        .await;
        std::fs::write(folder.path("panic"), "").unwrap();
        live.wait().await.expect_code(1);
        assert!(db.tables().await.contains(&"_t_gho".to_string()));
        assert!(!db.show_create("t").await.contains("`c`"));
    })
    .await;
}

/// Critical load ends a run, or lets it sleep.
#[tokio::test]
async fn critical_load_ends_or_hibernates() {
    both(async |server| {
        let db = TestDb::create(server, "gh_critical").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        // Connections of others than the program: these, and more than the one that may come and go
        // between two looks.
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(db.connect().await);
        }
        let critical = [
            "--critical-load=Threads_connected=2",
            "--critical-load-interval-millis=100",
        ];
        let ended = start(server, &db, &folder, &critical).wait().await;
        ended.expect_code(1).expect_text("critical load");
        for _ in 0..10 {
            db.sql("INSERT INTO t SELECT id + 100 * (SELECT COUNT(*) FROM t AS c), a FROM t")
                .await;
        }
        let mut live = gh_ost(
            server,
            &db,
            &[
                "--alter=add column c int default 5",
                "--allow-on-master",
                "--execute",
                "--verbose",
                "--initially-drop-ghost-table",
                "--initially-drop-socket-file",
                "--critical-load-hibernate-seconds=1000",
                // It must not be swapped before the second look.
                "--chunk-size=10",
                "--nice-ratio=20",
                &format!("--serve-socket-file={}", folder.path("sock").display()),
            ],
        )
        .args(critical)
        .spawn();
        live.printed("State: throttled, critical-load-hibernate")
            .await;
        assert!(live.is_running());
        ask(&folder.path("sock"), "panic").await;
        live.wait().await.expect_code(1);
    })
    .await;
}

/// Replication stops, the tables are swapped and swapped back, both are left for comparison.
#[tokio::test]
async fn there_and_back_on_a_replica() {
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let replica = server(if primary.is_mariadb() {
            "mariadb-replica"
        } else {
            "mysql-replica"
        });
        let db = TestDb::create(primary, "gh_test").await;
        table(&db).await;
        let client = replica.connect().await;
        eventually(
            Duration::from_secs(120),
            "the replica has the table",
            async || {
                let there = client
                    .try_rows::<u64>(format!("SELECT COUNT(*) FROM {}.t", db.name))
                    .await;
                there.is_ok_and(|rows| rows == [3]).then_some(())
            },
        )
        .await;
        let folder = Folder::new(&db.name);
        let called = folder.path("called");
        let hooks = folder.path("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::set_permissions(&hooks, std::fs::Permissions::from_mode(0o755)).unwrap();
        for event in ["stop-replication", "start-replication", "success"] {
            let script = format!("echo {event} >> {}", called.display());
            folder.hook(&format!("hooks/gh-ost-on-{event}"), &script);
        }
        let run = gh_ost(
            replica,
            &db,
            &[
                "--alter=add column c int default 5",
                "--test-on-replica",
                "--execute",
                "--verbose",
                &format!("--hooks-path={}", hooks.display()),
                &format!("--serve-socket-file={}", folder.path("sock").display()),
            ],
        );
        let ended = run.run().await;
        // Others want it to replicate.
        let status: mysql_async::Row = client.one("SHOW REPLICA STATUS").await;
        let running: Option<String> = status
            .get("Replica_SQL_Running")
            .or_else(|| status.get("Slave_SQL_Running"));
        client.sql("START REPLICA").await;
        let ended = ended.expect_code(0);
        assert_eq!(running.as_deref(), Some("No"), "{}", ended.stderr);
        let rows: Vec<(i32, i32)> = client
            .rows(format!("SELECT id, a FROM {}._t_gho ORDER BY id", db.name))
            .await;
        assert_eq!(rows, [(1, 1), (2, 2), (3, 3)]);
        let mut names: Vec<String> = client
            .rows(format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}'",
                db.name
            ))
            .await;
        names.sort();
        assert_eq!(names, ["_t_gho", "t"]);
        let columns: u64 = client
            .one(format!(
                "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{}' \
                 AND COLUMN_NAME = 'c'",
                db.name
            ))
            .await;
        assert_eq!(columns, 1, "the original has its old definition");
        let text = std::fs::read_to_string(&called).unwrap();
        assert_eq!(text, "stop-replication\nsuccess\n");
        client.sql("SET SESSION sql_log_bin = 0").await;
        client.sql(format!("DROP TABLE {}._t_gho", db.name)).await;
    })
    .await;
}

/// Its helper tables are dropped under a run: it ends with the server's words as Go's driver has them, and
/// the next run, told to drop what it finds, begins anew.
#[tokio::test]
async fn what_was_dropped_under_a_run_does_not_stop_the_next() {
    both(async |server| {
        let db = TestDb::create(server, "gh_ost").await;
        table(&db).await;
        let folder = Folder::new(&db.name);
        let flag = folder.path("postpone");
        let words = [
            "--alter=add column c int",
            "--allow-on-master",
            "--execute",
            "--verbose",
            "--initially-drop-ghost-table",
            "--initially-drop-old-table",
            "--max-lag-millis=60000",
        ];
        for helper in ["_t_ghc", "_t_gho"] {
            let mut live = gh_ost(server, &db, &words)
                .args([format!("--postpone-cut-over-flag-file={}", flag.display())])
                .spawn();
            live.printed("Row copy complete").await;
            db.sql(format!("DROP TABLE {helper}")).await;
            let end = live.wait().await.expect_code(1).expect_text(helper);
            if helper == "_t_ghc" {
                let missing = format!("FATAL Error 1146 (42S02): Table '{}.{helper}'", db.name);
                end.expect_text(&missing);
            }
        }
        gh_ost(server, &db, &words)
            .run()
            .await
            .expect_code(0)
            .expect_text("# Done");
        assert!(db.show_create("t").await.contains("`c`"));
    })
    .await;
}
