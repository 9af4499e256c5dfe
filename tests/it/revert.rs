//! The way back: what a migration did is taken back, and no write since is lost.

use std::time::Duration;

use fastrand::Rng;

use crate::model::cases::{ALTERS, Case};
use crate::model::run::Field;
use crate::support::{Live, Program, TestDb, TestServer, both, server, setting};

/// `changeling COMMAND` on table `t`.
fn on_table(db: &TestDb, command: &str) -> Program {
    Program::on(
        db.server,
        command,
        [format!("--database={}", db.name), "--table=t".to_string()],
    )
}

fn migrate(db: &TestDb, alter: &str) -> Program {
    on_table(db, "migrate").args([format!("--alter={alter}")])
}

fn revert(db: &TestDb) -> Program {
    on_table(db, "revert")
}

/// A table with columns to drop, rename and widen, with and without further unique keys.
async fn orders(server: &'static TestServer, unique: &str) -> TestDb {
    let db = TestDb::create(server, "revert").await;
    db.sql(format!(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT NOT NULL, note VARCHAR(20) NOT NULL DEFAULT 'none', \
         must INT NOT NULL, lat VARCHAR(20) CHARACTER SET latin1, f FLOAT, u INT {unique}) ENGINE=InnoDB"
    ))
    .await;
    for n in 1..=60 {
        db.sql(format!(
            "INSERT INTO t VALUES ({n}, {n}, 'note {n}', {n}00, 'é{n}', {n} / 7, {n}0)"
        ))
        .await;
    }
    db
}

const DROP_AND_RENAME: &str = "DROP COLUMN note, DROP COLUMN must, DROP COLUMN f, \
     CHANGE a amount BIGINT NOT NULL, MODIFY lat VARCHAR(20) CHARACTER SET utf8mb4, ADD COLUMN added INT NOT NULL DEFAULT 3";

/// Writes under the new definition, of every kind.
async fn write_since(db: &TestDb) {
    for sql in [
        "UPDATE t SET amount = 1000, lat = 'ü' WHERE id = 1",
        "UPDATE t SET amount = amount + 1 WHERE id BETWEEN 10 AND 20",
        "DELETE FROM t WHERE id = 2",
        // Another row of the same key.
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO t (id, amount, lat, u) VALUES (3, 3333, 'again', 30)",
        "INSERT INTO t (id, amount, lat, u) VALUES (100, 7, NULL, 1000)",
        // A row whose key changes is another row.
        "UPDATE t SET id = 200 WHERE id = 4",
        // Unique values change hands, all in one transaction.
        "START TRANSACTION",
        "UPDATE t SET u = -1 WHERE id = 5",
        "UPDATE t SET u = 50 WHERE id = 6",
        "UPDATE t SET u = 60 WHERE id = 5",
        "COMMIT",
    ] {
        db.sql(sql).await;
    }
}

/// The rows after [`write_since`] and the way back, by their definition before.
fn expected() -> Vec<String> {
    let old = |id: i64, a: i64, lat: &str, u: i64| format!("{id} {a} note {id} {id}00 {lat} {u}");
    let mut rows: Vec<(i64, String)> = Vec::new();
    for id in 1..=60 {
        let row = match id {
            1 => old(1, 1000, "ü", 10),
            2 | 4 => continue,
            3 => "3 3333 none 0 again 30".to_string(),
            5 => old(5, 5, "é5", 60),
            6 => old(6, 6, "é6", 50),
            10..=20 => old(id, id + 1, &format!("é{id}"), id * 10),
            _ => old(id, id, &format!("é{id}"), id * 10),
        };
        rows.push((id, row));
    }
    rows.push((100, "100 7 none 0 - 1000".to_string()));
    rows.push((200, "200 4 none 0 é4 40".to_string()));
    rows.into_iter().map(|(_, row)| row).collect()
}

async fn rows(db: &TestDb) -> Vec<String> {
    db.rows(
        "SELECT CONCAT_WS(' ', id, a, note, must, COALESCE(CONVERT(lat USING utf8mb4), '-'), u) FROM t ORDER BY id",
    )
    .await
}

async fn kept_floats(db: &TestDb) -> u64 {
    db.one("SELECT COUNT(*) FROM t WHERE f IS NOT NULL AND f = CAST(id / 7 AS FLOAT)")
        .await
}

async fn goes_back(server: &'static TestServer) {
    for unique in ["", "UNIQUE"] {
        let db = orders(server, unique).await;
        let before = db.show_create("t").await;
        migrate(&db, DROP_AND_RENAME).run().await.expect_code(0);
        write_since(&db).await;

        let plan = revert(&db).args(["--dry-run"]).run().await.expect_code(0);
        for words in [
            "column amount becomes a again",
            "column added goes, with its values",
            "column note comes back: rows that were there before the swap and still are keep their value, others get its default",
            "column must comes back: rows that were there before the swap and still are keep their value, others get 0",
        ] {
            assert!(plan.stdout.contains(words), "{words}:\n{}", plan.stdout);
        }
        assert_ne!(db.show_create("t").await, before);

        revert(&db).run().await.expect_code(0);
        assert_eq!(db.show_create("t").await, before);
        assert_eq!(rows(&db).await, expected(), "unique: {unique:?}");
        // All rows but the three new ones of old keys or none, and the deleted.
        assert_eq!(kept_floats(&db).await, 57);
        assert_eq!(
            db.tables().await,
            ["_changeling_history", "_t_rev_del", "t"]
        );
        history_tells(&db).await;
    }
}

async fn history_tells(db: &TestDb) {
    let json = Program::on(
        db.server,
        "history",
        [
            format!("--database={}", db.name),
            "--format=json".to_string(),
        ],
    )
    .run()
    .await
    .expect_code(0);
    let runs: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let [back, forth] = runs.as_array().unwrap().as_slice() else {
        panic!("two runs: {runs}");
    };
    for (run, kind) in [(forth, "migrate"), (back, "revert")] {
        assert_eq!(run["kind"], kind);
        assert_eq!(run["state"], "swapped");
        assert_eq!(run["result"], "done");
        assert_eq!(run["schema"], db.name.as_str());
        for field in ["account", "host", "started_at", "swapped_at", "ended_at"] {
            assert!(!run[field].as_str().unwrap().is_empty(), "{field}: {run}");
        }
        for field in ["start_coordinates", "swap_coordinates"] {
            assert!(run[field].as_str().unwrap().len() > 8, "{field}: {run}");
        }
        let verified = run["verification"].as_str().unwrap();
        assert!(verified.contains(" 0 differences"), "{verified}");
    }
    assert_eq!(forth["rows_copied"], 60);
    assert_eq!(back["reverts"], forth["id"]);
    let text = Program::on(db.server, "history", [format!("--database={}", db.name)])
        .run()
        .await
        .expect_code(0);
    assert!(text.stdout.contains("DROP COLUMN"), "{}", text.stdout);
}

#[tokio::test]
async fn a_migration_is_taken_back_exactly() {
    both(goes_back).await;
}

#[tokio::test]
async fn a_migration_is_taken_back_without_gtids() {
    goes_back(server("mysql-nogtid")).await;
}

#[tokio::test]
async fn a_revert_is_taken_back() {
    both(async |server| {
        let db = orders(server, "").await;
        let before = db.show_create("t").await;
        migrate(&db, DROP_AND_RENAME).run().await.expect_code(0);
        let after = db.show_create("t").await;
        write_since(&db).await;
        db.sql("UPDATE t SET added = 99 WHERE id = 30").await;
        revert(&db).run().await.expect_code(0);
        assert_eq!(db.show_create("t").await, before);
        db.sql("UPDATE t SET a = 5 WHERE id = 30").await;
        db.sql("INSERT INTO t (id, a, note, must) VALUES (300, 1, 'n', 1)")
            .await;
        db.sql("DELETE FROM t WHERE id = 40").await;
        revert(&db).run().await.expect_code(0);
        assert_eq!(db.show_create("t").await, after);
        let rows: Vec<String> = db
            .rows("SELECT CONCAT_WS(' ', id, amount, added) FROM t WHERE id IN (29, 30, 40, 300) ORDER BY id")
            .await;
        assert_eq!(rows, ["29 29 3", "30 5 99", "300 1 3"]);
        // And once more, and forth again.
        revert(&db).run().await.expect_code(0);
        assert_eq!(db.show_create("t").await, before);
        let note: String = db.one("SELECT note FROM t WHERE id = 300").await;
        assert_eq!(note, "n");
    })
    .await;
}

/// Every kind of value that an old definition cannot hold is found before the swap, all of them together;
/// the same command goes on when they are corrected.
#[tokio::test]
async fn what_does_not_fit_is_listed() {
    both(async |server| {
        let db = TestDb::create(server, "misfits").await;
        db.sql(
            "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, s VARCHAR(5), lat VARCHAR(9) CHARACTER SET latin1, \
             e ENUM('x', 'y'), u INT UNIQUE) ENGINE=InnoDB",
        )
        .await;
        for id in 1..=20 {
            db.sql(format!("INSERT INTO t VALUES ({id}, {id}, 's', 'l', 'x', {id})"))
                .await;
        }
        let before = db.show_create("t").await;
        migrate(
            &db,
            "MODIFY a BIGINT NULL, MODIFY s VARCHAR(50), MODIFY lat VARCHAR(9) CHARACTER SET utf8mb4, \
             MODIFY e ENUM('x', 'y', 'z'), DROP INDEX u",
        )
        .run()
        .await
        .expect_code(0);
        let after = db.show_create("t").await;
        for sql in [
            "UPDATE t SET a = 5000000000 WHERE id = 1",
            "UPDATE t SET a = NULL WHERE id = 2",
            "UPDATE t SET s = 'longer than five' WHERE id = 3",
            "UPDATE t SET lat = '日本' WHERE id = 4",
            "UPDATE t SET e = 'z' WHERE id = 5",
            "UPDATE t SET u = 7 WHERE id = 6",
            "UPDATE t SET s = 'fits' WHERE id = 8",
            "UPDATE t SET a = 6000000000 WHERE id = 9",
            "UPDATE t SET a = 9 WHERE id = 9",
        ] {
            db.sql(sql).await;
        }
        let refused = revert(&db).run().await.expect_code(4);
        for id in 1..=6 {
            assert!(
                refused.stderr.contains(&format!("\n  id={id}: ")),
                "row {id}:\n{}",
                refused.stderr
            );
        }
        assert!(refused.stderr.contains("6 row(s) do not fit"), "{}", refused.stderr);
        assert_eq!(db.show_create("t").await, after);
        db.sql("UPDATE t SET a = 1, s = 'ok', lat = 'ok', e = 'y', u = id WHERE id <= 6")
            .await;
        revert(&db).run().await.expect_code(0);
        assert_eq!(db.show_create("t").await, before);
        let rows: Vec<String> = db
            .rows("SELECT CONCAT_WS(' ', id, a, s, lat, e, u) FROM t WHERE id <= 9 ORDER BY id")
            .await;
        let mut wanted: Vec<String> = (1..=6).map(|id| format!("{id} 1 ok ok y {id}")).collect();
        wanted.push("7 7 s l x 7".into());
        wanted.push("8 8 fits l x 8".into());
        wanted.push("9 9 s l x 9".into());
        assert_eq!(rows, wanted);
    })
    .await;
}

/// What the ALTER rounded is not taken for a difference, and comes back unrounded where nobody wrote.
#[tokio::test]
async fn rounded_values_come_back() {
    both(async |server| {
        let db = TestDb::create(server, "rounded").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME(6), d DECIMAL(10, 4), day DATETIME) ENGINE=InnoDB")
            .await;
        db.sql(
            "INSERT INTO t VALUES (1, '2024-05-06 07:08:09.123456', 1.2345, '2024-01-02 03:04:05'), \
             (2, '2024-05-06 07:08:10.2', 2.3456, '2024-01-02 03:04:05')",
        )
        .await;
        migrate(&db, "MODIFY at DATETIME, MODIFY d DECIMAL(10, 1), MODIFY day DATE")
            .run()
            .await
            .expect_code(0);
        db.sql("UPDATE t SET d = 7.5 WHERE id = 2").await;
        revert(&db).run().await.expect_code(0);
        let rows: Vec<String> = db
            .rows("SELECT CONCAT_WS(' ', id, at, d, day) FROM t ORDER BY id")
            .await;
        assert_eq!(
            rows,
            [
                "1 2024-05-06 07:08:09.123456 1.2345 2024-01-02 03:04:05",
                "2 2024-05-06 07:08:10.000000 7.5000 2024-01-02 00:00:00"
            ]
        );
    })
    .await;
}

/// Purging, on servers that no other test needs.
async fn purged(server: &'static TestServer) {
    let db = orders(server, "").await;
    migrate(&db, DROP_AND_RENAME).run().await.expect_code(0);
    let after = db.show_create("t").await;
    db.sql("FLUSH BINARY LOGS").await;
    db.sql("UPDATE t SET amount = 0").await;
    db.sql("FLUSH BINARY LOGS").await;
    let logs: Vec<mysql_async::Row> = db.rows("SHOW BINARY LOGS").await;
    let last: String = logs.last().unwrap().get(0).unwrap();
    db.sql(format!("PURGE BINARY LOGS TO '{last}'")).await;
    let refused = revert(&db).run().await.expect_code(3);
    assert!(
        refused.stderr.contains("is not on the server any more")
            && refused.stderr.contains("reverse ALTER"),
        "{}",
        refused.stderr
    );
    assert_eq!(db.show_create("t").await, after);
    assert_eq!(db.tables().await, ["_changeling_history", "_t_del", "t"]);
}

#[tokio::test]
async fn a_purged_binlog_is_said_at_once() {
    purged(server("mysql-nogtid")).await;
    purged(server("mysql-compressed")).await;
    purged(server("mariadb-compressed")).await;
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_refused() {
    both(async |server| {
        let db = orders(server, "").await;
        let none = revert(&db).run().await.expect_code(3);
        assert!(none.stderr.contains("no finished run"), "{}", none.stderr);
        migrate(&db, "ADD COLUMN n INT").run().await.expect_code(0);
        let wrong = revert(&db).args(["--run-id=99"]).run().await;
        wrong.expect_code(3).expect_text("only the last one");
        db.sql("ALTER TABLE t ADD COLUMN since INT").await;
        let changed = revert(&db).run().await.expect_code(3);
        assert!(
            changed.stderr.contains("is not as run"),
            "{}",
            changed.stderr
        );
        db.sql("ALTER TABLE t DROP COLUMN since").await;
        db.sql("DROP TABLE _t_del").await;
        let gone = revert(&db).run().await.expect_code(3);
        assert!(gone.stderr.contains("is gone"), "{}", gone.stderr);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);
    })
    .await;
}

/// ALTERs for the loop: with and without names by which writers tell the definitions apart.
const LOOPED: [&str; 4] = ["add_column", "change", "rename", "exchange_by_rename"];

async fn there_and_back(server: &'static TestServer) {
    let rounds: u32 = setting("CHANGELING_ROUNDS").unwrap_or(2);
    let seed: u64 = setting("CHANGELING_SEED").unwrap_or(1);
    let name = LOOPED[(seed % LOOPED.len() as u64) as usize];
    let number = ALTERS.iter().position(|alter| alter.name == name);
    let case = Case::new(server.flavour, seed, number.expect("there is one"));
    println!("seed {seed}, {}", case.name());
    let field = Field::start(server, case).await;
    let back = [
        format!("--database={}", field.db.name),
        "--table=t".to_string(),
    ];
    for round in 1..=rounds {
        field.program().run().await.expect_code(0);
        field.commits_pass().await;
        assert!(field.is_altered().await);
        Program::on(server, "revert", &back)
            .run()
            .await
            .expect_code(0);
        assert!(!field.is_altered().await);
        field.commits_pass().await;
        println!("   round {round}");
    }
    field.program().run().await.expect_code(0);
    field.stop().await.assert_exact().await;
}

#[tokio::test]
async fn there_and_back_on_mysql() {
    if crate::support::is_wanted("mysql") {
        there_and_back(server("mysql-primary")).await;
    }
}

#[tokio::test]
async fn there_and_back_on_mariadb() {
    if crate::support::is_wanted("mariadb") {
        there_and_back(server("mariadb-primary")).await;
    }
}

/// Reverts that are killed at random moments go on, and lose nothing.
#[tokio::test]
async fn killed_reverts_go_on() {
    both(async |server| {
        let mut rng = Rng::with_seed(setting("CHANGELING_SEED").unwrap_or(1));
        let kills: u32 = setting("CHANGELING_KILLS").unwrap_or(4);
        let number = ALTERS.iter().position(|alter| alter.name == "rename");
        let case = Case::new(server.flavour, 2, number.expect("there is one"));
        let field = Field::start(server, case).await;
        field.program().run().await.expect_code(0);
        field.commits_pass().await;
        let back = || {
            Program::on(
                server,
                "revert",
                [
                    format!("--database={}", field.db.name),
                    "--table=t".to_string(),
                ],
            )
        };
        let mut killed = 0;
        while killed < kills && field.is_altered().await {
            let mut live = back().spawn();
            tokio::time::sleep(Duration::from_millis(rng.u64(..4000))).await;
            if !live.is_running() {
                live.wait().await.expect_code(0);
                break;
            }
            live.kill().await;
            killed += 1;
            field.commits_pass().await;
        }
        println!("   {killed} killed");
        if field.is_altered().await {
            back().run().await.expect_code(0);
        } else {
            // Killed between its swap and its end: what is left is set right by the same command, and a
            // finished one is not taken back by it.
            let tables = field.db.tables().await;
            if tables.iter().any(|table| table == "_t_ghk") {
                back().run().await.expect_code(0);
            }
        }
        assert!(!field.is_altered().await);
        field.commits_pass().await;
        field.program().run().await.expect_code(0);
        field.stop().await.assert_exact().await;
    })
    .await;
}

/// Starts a migration that stays revertible, and waits until it does.
async fn kept(db: &TestDb, duration: &str, socket: &str) -> Live {
    let mut live = migrate(db, DROP_AND_RENAME)
        .args([
            format!("--keep-revertible={duration}"),
            format!("--control-socket={socket}"),
        ])
        .spawn();
    live.printed("still revertible").await;
    live
}

fn socket(db: &TestDb) -> String {
    std::env::temp_dir()
        .join(format!("{}.sock", db.name))
        .display()
        .to_string()
}

#[tokio::test]
async fn a_run_kept_revertible_goes_back_at_once() {
    both(async |server| {
        let db = orders(server, "UNIQUE").await;
        let before = db.show_create("t").await;
        let socket = socket(&db);
        let live = kept(&db, "5m", &socket).await;
        write_since(&db).await;
        db.sql("UPDATE t SET amount = 9000000000 WHERE id = 50")
            .await;
        let ctl = |word: &str| Program::new(["ctl", "--control-socket", &socket, word]);
        crate::support::eventually(Duration::from_secs(30), "the misfit is seen", async || {
            let status = ctl("status").run().await.expect_code(0);
            status.stdout.contains("1 rows would not fit").then_some(())
        })
        .await;
        let back = || revert(&db).args([format!("--control-socket={socket}")]);
        let refused = back().run().await.expect_code(4);
        assert!(refused.stderr.contains("id=50"), "{}", refused.stderr);
        db.sql("UPDATE t SET amount = 50 WHERE id = 50").await;
        let begun = std::time::Instant::now();
        back()
            .run()
            .await
            .expect_code(0)
            .expect_text("reverted as run");
        println!("   back in {} ms", begun.elapsed().as_millis());
        live.wait().await.expect_code(0);
        assert_eq!(db.show_create("t").await, before);
        assert_eq!(rows(&db).await, expected());
        assert_eq!(
            db.tables().await,
            ["_changeling_history", "_t_rev_del", "t"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_run_kept_revertible_ends_and_is_gone_on_from() {
    both(async |server| {
        // At its end, by the clock or by kill -9: a later revert goes on from there.
        for killed in [false, true] {
            let db = orders(server, "").await;
            let before = db.show_create("t").await;
            let socket = socket(&db);
            let live = kept(&db, if killed { "5m" } else { "4s" }, &socket).await;
            write_since(&db).await;
            if killed {
                tokio::time::sleep(Duration::from_millis(700)).await;
                live.kill().await;
            } else {
                live.wait().await.expect_code(0);
                assert_eq!(db.tables().await, ["_changeling_history", "_t_del", "t"]);
                let way_back: String = db.one("SELECT way_back FROM _changeling_history").await;
                assert!(way_back.contains("applied"), "{way_back}");
            }
            db.sql("UPDATE t SET amount = amount WHERE id = 60").await;
            revert(&db).run().await.expect_code(0);
            assert_eq!(db.show_create("t").await, before);
            assert_eq!(rows(&db).await, expected(), "killed: {killed}");
        }
    })
    .await;
}

/// Killed while it was kept revertible, the same command again goes on keeping it.
#[tokio::test]
async fn a_killed_run_is_kept_on() {
    let db = orders(server("mysql-primary"), "").await;
    let socket = socket(&db);
    kept(&db, "5m", &socket).await.kill().await;
    write_since(&db).await;
    let again = kept(&db, "5m", &socket).await;
    again.signal(libc::SIGINT);
    again.wait().await.expect_code(0);
    revert(&db).run().await.expect_code(0);
    assert_eq!(rows(&db).await, expected());
}
