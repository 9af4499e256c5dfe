//! gh-ost's command line, as its scripts use it.

mod cases;
mod session;

use std::process::Command;

use crate::support::{Program, TestDb, TestServer, both, eventually, server};

fn gh_ost(at: &TestServer, db: &TestDb, words: &[&str]) -> Program {
    Program::new([
        "gh-ost".to_string(),
        format!("--host={}", at.host),
        format!("-port={}", at.port),
        format!("--user={}", at.user),
        format!("--password={}", at.password),
        format!("--database={}", db.name),
        "--table=t".to_string(),
    ])
    .args(words)
}

async fn table(db: &TestDb) {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    db.sql("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
}

#[tokio::test]
async fn the_primary_needs_a_word_and_noop_changes_nothing() {
    both(async |server| {
        let db = TestDb::create(server, "gh_ost").await;
        table(&db).await;
        let asked = gh_ost(server, &db, &["--alter=add column c int"])
            .run()
            .await;
        assert!(asked.expect_code(1).stderr.contains("--allow-on-master"));
        let noop = ["--alter=add column c int", "--allow-on-master"];
        gh_ost(server, &db, &noop).run().await.expect_code(0);
        assert_eq!(db.tables().await, ["t"]);
        assert!(!db.show_create("t").await.contains("`c`"));

        let renames = ["--alter=change a b int", "--allow-on-master", "--execute"];
        let asked = gh_ost(server, &db, &renames).run().await.expect_code(1);
        assert!(
            asked.stderr.contains("--approve-renamed-columns"),
            "{}",
            asked.stderr
        );
        let approved =
            gh_ost(server, &db, &renames).args(["--approve-renamed-columns", "--ok-to-drop-table"]);
        let done = approved.run().await.expect_code(0);
        // A status line as scripts parse it.
        let line = done
            .stdout
            .lines()
            .find(|line| line.starts_with("Copy: "))
            .unwrap();
        assert!(
            line.contains("; Applied: ")
                && line.contains("; Backlog: ")
                && line.contains("; ETA: ")
        );
        assert!(done.stdout.contains("# Done"));
        assert_eq!(db.tables().await, ["t"]);
        assert_eq!(db.one::<i64>("SELECT SUM(b) FROM t").await, 6);

        db.sql("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x = 1")
            .await;
        let triggers = ["--alter=engine=innodb", "--allow-on-master", "--execute"];
        let refused = gh_ost(server, &db, &triggers).run().await.expect_code(1);
        assert!(
            refused.stderr.contains("Found triggers"),
            "{}",
            refused.stderr
        );
        let taken = ["--include-triggers", "--trigger-suffix=_x"];
        let with_triggers = gh_ost(server, &db, &triggers).args(taken);
        with_triggers.run().await.expect_code(0);
        let there = "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE = 't' \
                     AND TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = 'tr_x'";
        assert_eq!(db.one::<u64>(there).await, 1);
    })
    .await;
}

/// Through a replica, held by the flag file, with a socket session and hooks.
#[tokio::test]
async fn a_replica_leads_to_its_primary() {
    both(async |primary| {
        let replica = server(if primary.is_mariadb() {
            "mariadb-replica"
        } else {
            "mysql-replica"
        });
        let db = TestDb::create(primary, "gh_ost").await;
        table(&db).await;
        let folder = std::env::temp_dir().join(format!("changeling-{}", db.name));
        std::fs::create_dir_all(&folder).unwrap();
        let flag = folder.join("postpone");
        let socket = folder.join("sock");
        let called = folder.join("called");
        let hook = folder.join("gh-ost-on-success-note");
        std::fs::write(
            &hook,
            format!(
                "#!/bin/sh\necho \"$GH_OST_TABLE_NAME\" > {}\n",
                called.display()
            ),
        )
        .unwrap();
        assert!(
            Command::new("chmod")
                .arg("+x")
                .arg(&hook)
                .status()
                .unwrap()
                .success()
        );
        // The replica must know the table before it is asked about it.
        eventually(
            std::time::Duration::from_secs(120),
            "the replica has the table",
            async || {
                let client = replica.connect().await;
                let there = client
                    .try_rows::<u64>(format!("SELECT COUNT(*) FROM {}.t", db.name))
                    .await;
                there.is_ok_and(|rows| rows == [3]).then_some(())
            },
        )
        .await;
        let live = gh_ost(
            replica,
            &db,
            &[
                "--alter=add column c int default 5",
                "--execute",
                "--max-lag-millis=60000",
                &format!("--postpone-cut-over-flag-file={}", flag.display()),
                &format!("--serve-socket-file={}", socket.display()),
                &format!("--hooks-path={}", folder.display()),
            ],
        )
        .spawn();
        let ask = |line: &'static str| {
            let socket = socket.clone();
            async move { changeling::control::client::send(&socket, line).await }
        };
        eventually(
            std::time::Duration::from_secs(90),
            "the cut-over is postponed",
            async || {
                let answer = ask("sup").await.unwrap_or_default();
                answer.contains("postponing cut-over").then_some(())
            },
        )
        .await;
        assert!(ask("chunk-size=?").await.is_ok() && flag.exists());
        db.sql("INSERT INTO t VALUES (9, 9)").await;
        std::fs::remove_file(&flag).unwrap();
        live.wait().await.expect_code(0);
        assert_eq!(db.one::<i64>("SELECT SUM(c) FROM t WHERE id < 9").await, 15);
        assert_eq!(db.one::<u64>("SELECT COUNT(*) FROM t").await, 4);
        assert_eq!(std::fs::read_to_string(&called).unwrap(), "t\n");
        std::fs::remove_dir_all(&folder).unwrap();
    })
    .await;
}

/// `--revert` takes back what ran with `--checkpoint`, as gh-ost's does; nothing else is written down.
#[tokio::test]
async fn a_run_with_checkpoints_is_reverted() {
    both(async |server| {
        let db = TestDb::create(server, "gh_ost").await;
        table(&db).await;
        let before = db.show_create("t").await;
        let alter = ["--alter=add column c int", "--allow-on-master", "--execute"];
        gh_ost(server, &db, &alter)
            .args(["--checkpoint"])
            .run()
            .await
            .expect_code(0);
        db.sql("UPDATE t SET a = 7, c = 1 WHERE id = 2").await;
        let back = ["--revert", "--allow-on-master", "--execute"];
        let other = gh_ost(server, &db, &back)
            .args(["--old-table=_t_other_del"])
            .run()
            .await;
        other.expect_code(1).expect_text("_t_del as its old table");
        gh_ost(server, &db, &back)
            .args(["--old-table=_t_del"])
            .run()
            .await
            .expect_code(0)
            .expect_text("# Done");
        assert_eq!(db.show_create("t").await, before);
        assert_eq!(db.one::<i64>("SELECT a FROM t WHERE id = 2").await, 7);
    })
    .await;
}

/// `--attempt-instant-ddl` goes by the server's own ALTER where that is INSTANT, and on as usual elsewhere.
#[tokio::test]
async fn instant_is_attempted_when_asked_for() {
    both(async |server| {
        let db = TestDb::create(server, "gh_ost").await;
        table(&db).await;
        let instant = ["--allow-on-master", "--execute", "--attempt-instant-ddl"];
        let added = gh_ost(server, &db, &instant).args(["--alter=add column c int"]);
        let added = added.run().await.expect_code(0);
        assert!(added.stdout.contains("# Done"), "{}", added.stdout);
        assert_eq!(db.tables().await, ["t"]);
        let copied = gh_ost(server, &db, &instant).args(["--alter=modify a bigint"]);
        copied.run().await.expect_code(0);
        assert_eq!(db.tables().await, ["_t_del", "t"]);
        assert!(db.show_create("t").await.contains("`a` bigint"));
        let plain = ["--allow-on-master", "--execute", "--alter=add column d int"];
        let plain = gh_ost(server, &db, &plain).args(["--initially-drop-old-table"]);
        plain.run().await.expect_code(0);
        assert_eq!(db.tables().await, ["_t_del", "t"]);
    })
    .await;
}
