//! The commands around a migration, as a user runs them: plan, rehearse, verify, cleanup, ctl, signals.

use crate::support::{Program, TestDb, both, eventually};

const SIGTERM: i32 = 15;

async fn table(db: &TestDb) {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20), n INT, KEY (n))")
        .await;
    db.sql("INSERT INTO t (a, n) VALUES ('a', 1), ('b', 2), ('c', 3), (NULL, NULL)")
        .await;
    for _ in 0..6 {
        db.sql("INSERT INTO t (a, n) SELECT CONCAT(a, n), n FROM t")
            .await;
    }
}

#[tokio::test]
async fn plan_and_rehearsal_leave_nothing() {
    both(async |server| {
        let db = TestDb::create(server, "commands").await;
        table(&db).await;
        let before = db.show_create("t").await;
        let statement = format!(
            "ALTER TABLE {}.t MODIFY a VARCHAR(30) NOT NULL DEFAULT '', DROP COLUMN n",
            db.name
        );
        let plan = Program::on(server, "plan", [&statement])
            .run()
            .await
            .expect_code(0);
        for words in [
            "migration key  PRIMARY",
            "column n of ",
            "1. deploy an application",
            "DOES NOT FIT",
            "would stop at rows that do not fit",
        ] {
            assert!(plan.stdout.contains(words), "{words}: {}", plan.stdout);
        }
        let json = Program::on(server, "plan", ["--format=json", &statement])
            .run()
            .await;
        let json: serde_json::Value = serde_json::from_str(&json.expect_code(0).stdout).unwrap();
        assert_eq!(json["refused"], false);

        // NULLs do not fit: the rehearsal says so, with the rows, and leaves nothing.
        let bad = Program::on(server, "rehearse", [&statement])
            .run()
            .await
            .expect_code(4);
        assert!(bad.stderr.contains("id=4"), "{}", bad.stderr);
        let fits = format!(
            "ALTER TABLE {}.t MODIFY a VARCHAR(30), ADD COLUMN c INT NOT NULL DEFAULT 7",
            db.name
        );
        let good = Program::on(server, "rehearse", [&fits])
            .run()
            .await
            .expect_code(0);
        assert!(
            good.stdout.contains("256 rows compared: equal"),
            "{}",
            good.stdout
        );
        assert_eq!(db.tables().await, ["t"]);
        assert_eq!(db.show_create("t").await, before);

        let refused = Program::on(
            server,
            "plan",
            [format!("ALTER TABLE {}.none ADD c INT", db.name)],
        );
        assert!(
            refused
                .run()
                .await
                .expect_code(3)
                .stdout
                .contains("there is no table")
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_left_is_compared_and_removed() {
    both(async |server| {
        let db = TestDb::create(server, "commands").await;
        table(&db).await;
        let statement = format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name);
        Program::on(server, "migrate", [&statement])
            .run()
            .await
            .expect_code(0);
        let names = [format!("{}.t", db.name), format!("{}._t_del", db.name)];
        let equal = Program::on(server, "verify", &names)
            .run()
            .await
            .expect_code(0);
        assert!(equal.stdout.contains("equal: 256 rows"), "{}", equal.stdout);
        db.sql("UPDATE t SET a = 'other' WHERE id = 2").await;
        let differ = Program::on(server, "verify", &names)
            .run()
            .await
            .expect_code(5);
        assert!(differ.stderr.contains("id=2 (a)"), "{}", differ.stderr);

        let within = format!("--database={}", db.name);
        let listed = Program::on(server, "cleanup", [&within])
            .run()
            .await
            .expect_code(0);
        assert!(listed.stdout.contains("_t_del") && listed.stdout.contains("old table"));
        let other = Program::on(server, "cleanup", [&within, "t", "--yes"]);
        other.run().await.expect_code(3);
        let asks = Program::on(server, "cleanup", [&within, "_t_del"]);
        asks.run().await.expect_code(2);
        let removed = Program::on(server, "cleanup", [&within, "_t_del", "--yes"]);
        removed.run().await.expect_code(0);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);
    })
    .await;
}

/// Dropped at the end where that is asked for, and the summary does not say that it is kept.
#[tokio::test]
async fn the_old_table_is_dropped_when_asked_for() {
    both(async |server| {
        let db = TestDb::create(server, "drops").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let statement = format!("ALTER TABLE {}.t ADD c INT", db.name);
        let report = std::env::temp_dir().join(format!("{}.json", db.name));
        let arguments = [
            statement.as_str(),
            "--native=never",
            "--drop-old-table=after:1s",
        ];
        let run = Program::on(server, "migrate", arguments)
            .args(["--report".as_ref(), report.as_os_str()])
            .run()
            .await
            .expect_code(0);
        let written = std::fs::read_to_string(&report).unwrap();
        std::fs::remove_file(&report).unwrap();
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(written["old_table_dropped"], true);
        let dropped = format!("the original was dropped, as {}._t_del", db.name);
        assert!(run.stdout.contains(&dropped), "{}", run.stdout);
        assert!(!run.stdout.contains("kept as"), "{}", run.stdout);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);
    })
    .await;
}

/// Stopped while the swap is held: resumable, the original whole; the same command goes on; a run that
/// is told to drop leaves nothing.
#[tokio::test]
async fn a_held_run_is_stopped_and_gone_on_with() {
    both(async |server| {
        let db = TestDb::create(server, "commands").await;
        table(&db).await;
        let socket = std::env::temp_dir().join(format!("{}.sock", db.name));
        let socket = format!("--control-socket={}", socket.display());
        let statement = format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name);
        let hold = || {
            let arguments = [statement.as_str(), socket.as_str(), "--postpone-cut-over"];
            Program::on(server, "migrate", arguments).spawn()
        };
        let ctl = async |words: &[&str]| {
            let program = Program::new(["ctl", socket.as_str()]).args(words);
            program.run().await
        };
        let held = async || {
            eventually(
                std::time::Duration::from_secs(90),
                "the run is held",
                async || {
                    let why = ctl(&["why"]).await;
                    why.stdout.contains("operator").then_some(())
                },
            )
            .await
        };
        let live = hold();
        held().await;
        assert!(ctl(&["status"]).await.expect_code(0).stdout.contains("256"));
        live.signal(SIGTERM);
        let stopped = live.wait().await.expect_code(7);
        assert!(
            stopped.stderr.contains("original table: untouched"),
            "{}",
            stopped.stderr
        );

        // Held it was, held it stays.
        let live = Program::on(server, "migrate", [statement.as_str(), socket.as_str()]).spawn();
        held().await;
        ctl(&["drop"]).await.expect_code(0);
        live.wait().await.expect_code(7);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);

        let live = hold();
        held().await;
        db.sql("INSERT INTO t (a) VALUES ('late')").await;
        ctl(&["cut-over"]).await.expect_code(0);
        let done = live.wait().await.expect_code(0);
        assert!(done.stdout.contains("done"), "{}", done.stdout);
        assert_eq!(
            db.one::<u64>("SELECT COUNT(*) FROM t WHERE c IS NULL")
                .await,
            257
        );
    })
    .await;
}
