//! Rehearsals of samples and of everything, their forecasts, and what they leave: nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Program, TestDb, TestServer, both, is_wanted, server, setting};

/// A table with so many rows, a secondary index and some text.
async fn table(db: &TestDb, rows: u64) {
    db.sql(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL, c CHAR(60) NOT NULL, \
            v VARCHAR(20), KEY (k))",
    )
    .await;
    db.sql("INSERT INTO t (k, c, v) VALUES (1, 'first', '1')")
        .await;
    let mut have = 1;
    while have < rows {
        let more = have.min(rows - have);
        db.sql(format!(
            "INSERT INTO t (k, c, v) SELECT FLOOR(RAND() * 1000000), SHA2(id, 224), id FROM t LIMIT {more}"
        ))
        .await;
        have += more;
    }
    db.sql("ANALYZE TABLE t").await;
}

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(db: &TestDb) -> Folder {
        let path = std::env::temp_dir().join(&db.name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn option(&self, name: &str, file: &str) -> String {
        format!("--{name}={}", self.0.join(file).display())
    }

    fn json(&self, file: &str) -> Value {
        let text = std::fs::read_to_string(self.0.join(file)).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program(
    server: &TestServer,
    command: &str,
    db: &TestDb,
    clauses: &str,
    more: &[&str],
) -> Program {
    let statement = format!("ALTER TABLE {}.t {clauses}", db.name);
    Program::on(server, command, [statement]).args(more)
}

const CLAUSES: &str = "MODIFY k BIGINT NOT NULL, ADD COLUMN n INT NOT NULL DEFAULT 7";

#[tokio::test]
async fn a_sample_is_spread_measured_and_removed() {
    both(async |server| {
        let db = TestDb::create(server, "rehearse").await;
        table(&db, 40_000).await;
        let before = db.show_create("t").await;
        let folder = Folder::new(&db);
        let forecast = folder.option("forecast", "forecast.json");
        let report = folder.option("report", "report.json");
        // A change far from everything that is copied first is replayed all the same.
        let options = ["--sample=5%", &forecast, &report];
        let rehearsed = program(server, "rehearse", &db, CLAUSES, &options);
        let rehearsed = rehearsed.run().await.expect_code(0);
        for words in [
            "(P50) to",
            "rests on: ",
            "places of the key",
            "conversion errors: 0 in",
        ] {
            assert!(
                rehearsed.stdout.contains(words),
                "{words}: {}",
                rehearsed.stdout
            );
        }
        assert_eq!(db.tables_but_history().await, ["t"]);
        assert_eq!(db.show_create("t").await, before);
        let json = folder.json("report.json");
        let found = &json["rehearsal"];
        let copied = found["measured"]["copy"]["rows"].as_u64().unwrap();
        assert!((1_500..=4_000).contains(&copied), "{found}");
        assert_eq!(found["measured"]["rows_total"], 40_000);
        assert_eq!(found["measured"]["rows_counted"], true);
        assert!(
            found["measured"]["places"].as_u64().unwrap() >= 4,
            "{found}"
        );
        assert!(
            json["verification"]["rows"].as_u64().unwrap() >= copied,
            "{json}"
        );
        let (p50, p90) = (&found["estimate"]["p50_s"], &found["estimate"]["p90_s"]);
        assert!(
            p50.as_f64().unwrap() > 0.0 && p90.as_f64() > p50.as_f64(),
            "{found}"
        );
        assert!(
            found["felt"]["read_before"]["count"].as_u64().unwrap() > 5,
            "{found}"
        );
        assert!(
            found["felt"]["write_during"]["p50_ms"].as_f64().unwrap() > 0.0,
            "{found}"
        );
        let (new, old) = (&found["new_table_bytes"], &found["table_bytes"]);
        let ratio = new.as_f64().unwrap() / old.as_f64().unwrap();
        assert!((0.2..8.0).contains(&ratio), "{found}");

        // The migration says how good it was; another statement has no forecast.
        let migrated = program(server, "migrate", &db, CLAUSES, &[&forecast, &report]);
        let migrated = migrated.run().await.expect_code(0);
        assert!(
            migrated.stdout.contains("the rehearsal of "),
            "{}",
            migrated.stdout
        );
        let took = folder.json("report.json")["forecast"]["took_s"]
            .as_f64()
            .unwrap();
        // Sanity only: how good it is on a machine with nothing else to do is a test of its own below. A second's
        // wait in so small a sample is forecast as twenty.
        let off = took / p50.as_f64().unwrap();
        println!("   forecast {p50} s, took {took} s");
        assert!((0.02..10.0).contains(&off), "forecast {p50}, took {took}");
        db.sql("DROP TABLE _t_del").await;
        let other = program(server, "migrate", &db, "MODIFY n BIGINT", &[&forecast]);
        let other = other.run().await.expect_code(0);
        assert!(
            !other.stdout.contains("the rehearsal of "),
            "{}",
            other.stdout
        );
    })
    .await;
}

/// By time a small table is copied whole; `--full` copies the whole in any case; strings as keys too.
#[tokio::test]
async fn small_tables_are_rehearsed_whole() {
    both(async |server| {
        let db = TestDb::create(server, "rehearse").await;
        db.sql("CREATE TABLE t (id VARCHAR(20) PRIMARY KEY, a INT)")
            .await;
        db.sql("INSERT INTO t VALUES ('alpha', 1), ('beta', 2), ('gamma', 3), ('zeta', NULL)")
            .await;
        for options in [["--for=20s"].as_slice(), &["--full"], &[]] {
            let run = program(server, "rehearse", &db, "MODIFY a BIGINT", options);
            let run = run.run().await.expect_code(0);
            assert!(
                run.stdout.contains("4 rows compared: equal"),
                "{}",
                run.stdout
            );
            assert!(run.stdout.contains("the whole table"), "{}", run.stdout);
        }
        let misfit = program(
            server,
            "rehearse",
            &db,
            "MODIFY a INT NOT NULL",
            &["--full"],
        );
        let misfit = misfit.run().await.expect_code(4);
        assert!(misfit.stderr.contains("zeta"), "{}", misfit.stderr);
        db.sql("TRUNCATE t").await;
        let empty = program(server, "rehearse", &db, "MODIFY a BIGINT", &["--sample=1%"]);
        empty.run().await.expect_code(0);
        let wrong = program(
            server,
            "rehearse",
            &db,
            "MODIFY a BIGINT",
            &["--sample=1%", "--full"],
        );
        wrong.run().await.expect_code(2);
        assert_eq!(db.tables_but_history().await, ["t"]);
    })
    .await;
}

/// Changes come while the sample is copied, inside and outside of it.
#[tokio::test]
async fn a_sample_is_compared_while_the_application_writes() {
    both(async |server| {
        let db = TestDb::create(server, "rehearse").await;
        table(&db, 30_000).await;
        let mut live = program(
            server,
            "rehearse",
            &db,
            CLAUSES,
            &["--sample=30%", "--chunk-size=200"],
        )
        .spawn();
        let writer = db.connect().await;
        let mut id = 1;
        while live.is_running() {
            writer
                .sql(format!("UPDATE t SET k = k + 1, v = 'new' WHERE id = {id}"))
                .await;
            writer
                .sql(format!("DELETE FROM t WHERE id = {}", id + 1))
                .await;
            writer.sql("INSERT INTO t (k, c) VALUES (5, 'x')").await;
            id = (id + 617) % 30_000;
        }
        let done = live.wait().await.expect_code(0);
        assert!(
            done.stdout.contains("rows compared: equal"),
            "{}",
            done.stdout
        );
        assert_eq!(db.tables_but_history().await, ["t"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_rehearsal_or_plan_leaves_is_found() {
    const SIGTERM: i32 = 15;
    both(async |server| {
        let db = TestDb::create(server, "rehearse").await;
        table(&db, 20_000).await;
        let slow = ["--full", "--chunk-size=50", "--workers=1"];
        let within = format!("--database={}", db.name);
        let clean = async || {
            Program::on(server, "cleanup", [&within, "--all", "--yes"])
                .run()
                .await
                .expect_code(0);
            assert_eq!(db.tables_but_history().await, ["t"]);
        };
        let mut live = program(server, "rehearse", &db, CLAUSES, &slow).spawn();
        live.printed("entering phase `copy`").await;
        live.kill().await;
        assert!(db.tables_but_history().await.len() > 1);
        let listed = Program::on(server, "cleanup", [&within])
            .run()
            .await
            .expect_code(0);
        assert!(listed.stdout.contains("_t_gho"), "{}", listed.stdout);
        // Whoever comes next removes it, a rehearsal and a migration alike.
        let again = program(server, "rehearse", &db, CLAUSES, &["--sample=5%"]);
        again.run().await.expect_code(0);
        assert_eq!(db.tables_but_history().await, ["t"]);

        // Told to stop it leaves nothing at all.
        let mut live = program(server, "rehearse", &db, CLAUSES, &slow).spawn();
        live.printed("entering phase `copy`").await;
        live.signal(SIGTERM);
        let stopped = live.wait().await.expect_code(7);
        assert!(
            !stopped.stderr.contains("the same command goes on"),
            "{}",
            stopped.stderr
        );
        assert_eq!(db.tables_but_history().await, ["t"]);

        // An interrupted migration is not taken for a rehearsal's.
        let mut live = program(server, "migrate", &db, CLAUSES, &slow[1..]).spawn();
        live.printed("entering phase `copy`").await;
        live.signal(SIGTERM);
        live.wait().await.expect_code(7);
        let refused = program(server, "rehearse", &db, CLAUSES, &["--sample=5%"])
            .run()
            .await;
        refused
            .expect_code(3)
            .expect_text("an interrupted migration");
        assert!(
            db.tables_but_history()
                .await
                .contains(&"_t_gho".to_string())
        );
        tokio::time::sleep(Duration::from_secs(31)).await;
        clean().await;

        for millis in [20, 60, 120, 200, 300, 450, 600] {
            let live = program(server, "plan", &db, CLAUSES, &[]).spawn();
            tokio::time::sleep(Duration::from_millis(millis)).await;
            live.kill().await;
            let left = db.tables_but_history().await;
            assert!(
                left.iter().all(|table| table == "t" || table == "_t_ghp"),
                "{left:?}"
            );
        }
        clean().await;
    })
    .await;
}

/// On a replica, which replicates meanwhile.
#[tokio::test]
async fn a_replica_can_be_rehearsed_on() {
    both(async |primary| {
        let replica = server(if primary.is_mariadb() {
            "mariadb-replica"
        } else {
            "mysql-replica"
        });
        let db = TestDb::create(primary, "rehearse").await;
        table(&db, 5_000).await;
        let there = replica.connect().await;
        let count = format!("SELECT COUNT(*) FROM {}.t", db.name);
        crate::support::eventually(Duration::from_secs(60), "the rows are there", async || {
            let counted = there.try_rows::<u64>(&count).await.ok()?;
            (counted == [5_000]).then_some(())
        })
        .await;
        let run = program(replica, "rehearse", &db, CLAUSES, &["--full"])
            .run()
            .await;
        let run = run.expect_code(0);
        assert!(
            run.stdout.contains("5,000 rows compared: equal"),
            "{}",
            run.stdout
        );
        let left: Vec<String> = there.rows(format!("SHOW TABLES FROM {}", db.name)).await;
        assert_eq!(left, ["t"]);
    })
    .await;
}

/// The forecast from a twentieth of the table against the real thing. Only where nothing else is at work
/// the times mean something: with `CHANGELING_FORECAST_ROWS` the P50 must be right to a quarter.
#[tokio::test]
async fn the_forecast_of_a_twentieth_is_right_to_a_quarter() {
    let Some(rows) = setting::<u64>("CHANGELING_FORECAST_ROWS") else {
        println!(
            "not asked for: set CHANGELING_FORECAST_ROWS (1000000) on a machine with nothing else to do"
        );
        return;
    };
    for (flavour, name) in [("mysql", "mysql-primary"), ("mariadb", "mariadb-primary")] {
        if !is_wanted(flavour) {
            continue;
        }
        let server = server(name);
        let db = TestDb::create(server, "forecast").await;
        table(&db, rows).await;
        let folder = Folder::new(&db);
        let forecast = folder.option("forecast", "forecast.json");
        let report = folder.option("report", "report.json");
        let hour = Duration::from_secs(3600);
        for defer in ["--defer-indexes=off", "--defer-indexes=on"] {
            program(
                server,
                "rehearse",
                &db,
                "MODIFY k BIGINT NOT NULL",
                &["--sample=5%", &forecast, defer],
            )
            .deadline(hour)
            .run()
            .await
            .expect_code(0);
            program(
                server,
                "migrate",
                &db,
                "MODIFY k BIGINT NOT NULL",
                &[&forecast, &report, defer],
            )
            .deadline(hour)
            .run()
            .await
            .expect_code(0);
            let outcome = &folder.json("report.json")["forecast"];
            println!("   {name} {defer}: {outcome}");
            let off = outcome["off_percent"].as_f64().unwrap();
            assert!(off.abs() <= 25.0, "{outcome}");
            db.sql("RENAME TABLE t TO _new, _t_del TO t").await;
            db.sql("DROP TABLE _new").await;
        }
    }
}
