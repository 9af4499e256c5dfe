//! What a plan tells, as a user reads it and as a program does.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Program, TestDb, TestServer, both, eventually};

async fn plan(
    server: &TestServer,
    db: &TestDb,
    clauses: &str,
    more: &[&str],
) -> (Option<i32>, Value) {
    let statement = format!("ALTER TABLE {}.t {clauses}", db.name);
    let run = Program::on(server, "plan", ["--format=json", &statement])
        // As a user has it.
        .env("CHANGELING_NATIVE", "auto")
        .args(more)
        .run()
        .await;
    let json = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    (run.code, json)
}

async fn table(db: &TestDb) {
    db.sql(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b VARCHAR(20) NOT NULL, \
            e ENUM('x', 'y'), KEY by_b (b))",
    )
    .await;
    db.sql("INSERT INTO t (a, b, e) VALUES (1, 'one', 'x'), (2, 'two', 'y'), (NULL, 'two', 'x')")
        .await;
}

#[tokio::test]
async fn ways_and_reasons_are_told() {
    both(async |server| {
        let db = TestDb::create(server, "plan").await;
        table(&db).await;
        let (code, instant) = plan(server, &db, "ADD COLUMN c INT", &[]).await;
        assert_eq!(code, Some(0));
        assert_eq!(instant["server_way"]["way"], "INSTANT");
        assert_eq!(instant["our_way"]["way"], "native");
        if !server.is_mariadb() {
            assert_eq!(instant["server_way"]["row_versions_used"], 0);
            assert!(instant["server_way"]["row_versions_left"].as_u64().unwrap() >= 64);
        }
        assert_eq!(instant["verification"]["mode"], "after");
        for (alter, option, mode) in [
            ("ADD COLUMN c INT", "--verify=during", "during"),
            ("ADD UNIQUE KEY (a)", "--verify=during", "after"),
            ("ADD COLUMN c INT", "--verify=off", "off"),
            ("ADD UNIQUE KEY (a)", "--verify=off", "after"),
        ] {
            let (_, told) = plan(server, &db, alter, &[option]).await;
            assert_eq!(told["verification"]["mode"], mode, "{alter} {option}");
        }
        let (_, forbidden) = plan(server, &db, "ADD COLUMN c INT", &["--native=never"]).await;
        assert_eq!(forbidden["our_way"]["way"], "ghost");

        let (_, copied) = plan(server, &db, "MODIFY a BIGINT", &[]).await;
        assert_eq!(copied["server_way"]["way"], "COPY, writers wait");
        assert!(
            copied["server_way"]["refused"].as_array().unwrap().len() >= 3,
            "{copied}"
        );
        assert_eq!(copied["our_way"]["way"], "ghost");
        assert_eq!(copied["migration_key"], "PRIMARY");
        assert!(copied["copy"]["why"].as_str().unwrap().len() > 5);
        assert!(["image", "reread"].contains(&copied["replay"]["mode"].as_str().unwrap()));
        assert!(
            copied["space"]["peak_bytes"].as_u64().unwrap() > 0,
            "{copied}"
        );
        assert!(
            copied["space"]["free_from"].as_str().unwrap().len() > 5,
            "{copied}"
        );
        assert!(
            copied["retention_verdict"]
                .as_str()
                .unwrap()
                .contains("binlogs are kept")
        );
        assert_eq!(copied["sample"]["verdict"], "fits", "{copied}");
        assert!(
            copied["way_back"].as_array().unwrap().len() >= 2,
            "{copied}"
        );
        // The servers of the tests have a replica each.
        let replicas = copied["replicas"].as_array().unwrap();
        assert_eq!(replicas.len(), 1, "{copied}");
        assert!(
            replicas[0]["lag_s"].is_u64() || replicas[0]["trouble"].is_string(),
            "{copied}"
        );
        assert_eq!(db.tables().await, ["t"]);

        db.sql("CREATE TABLE u (a INT)").await;
        let statement = format!("ALTER TABLE {}.u MODIFY a BIGINT", db.name);
        let refused = Program::on(server, "plan", [statement]).run().await;
        refused
            .expect_code(3)
            .expect_text("a migration would be refused");
    })
    .await;
}

#[tokio::test]
async fn rows_that_stand_against_it_are_named() {
    both(async |server| {
        let db = TestDb::create(server, "plan").await;
        table(&db).await;
        let (_, narrow) = plan(server, &db, "MODIFY a INT NOT NULL", &[]).await;
        assert_eq!(narrow["sample"]["verdict"], "does-not-fit", "{narrow}");
        assert!(
            narrow["sample"]["words"].as_str().unwrap().contains("id=3"),
            "{narrow}"
        );
        let (_, unique) = plan(server, &db, "ADD UNIQUE KEY u (b)", &[]).await;
        assert_eq!(unique["duplicates"]["verdict"], "does-not-fit", "{unique}");
        assert!(
            unique["duplicates"]["words"]
                .as_str()
                .unwrap()
                .contains("two"),
            "{unique}"
        );
        let (_, fine) = plan(server, &db, "ADD UNIQUE KEY u (b, id)", &[]).await;
        assert_eq!(fine["duplicates"]["verdict"], "fits", "{fine}");
        let binlog = db.connect().await;
        let shown = binlog.rows::<(u64,)>("SELECT COUNT(*) FROM t").await;
        assert_eq!(shown, [(3,)]);
        assert_eq!(db.tables().await, ["t"]);
    })
    .await;
}

#[tokio::test]
async fn who_holds_the_table_is_told() {
    both(async |server| {
        let db = TestDb::create(server, "plan").await;
        table(&db).await;
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.sql("UPDATE t SET a = 9 WHERE id = 1").await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let (_, held) = plan(server, &db, "MODIFY a BIGINT", &[]).await;
        let id = format!("connection {} ", holder.id().await);
        let blockers = held["blockers"].as_array().unwrap();
        assert!(
            blockers
                .iter()
                .any(|who| who.as_str().unwrap().contains(&id)),
            "{held}"
        );
        if !server.is_mariadb() {
            let killed = held["would_be_killed"].as_array().unwrap();
            assert!(
                killed.iter().any(|who| who.as_str().unwrap().contains(&id)),
                "{held}"
            );
        }
        holder.sql("ROLLBACK").await;
        // InnoDB's list of transactions is a cache that others who read it keep from being filled anew.
        eventually(Duration::from_secs(60), "nobody holds it", async || {
            let (_, free) = plan(server, &db, "MODIFY a BIGINT", &[]).await;
            let blockers = free["blockers"].as_array().unwrap();
            let still = blockers
                .iter()
                .any(|who| who.as_str().unwrap().contains(&id));
            (!still).then_some(())
        })
        .await;
    })
    .await;
}

/// Each kind of change that the deployed application feels has its safe sequence as ready SQL.
#[tokio::test]
async fn the_application_is_thought_of() {
    both(async |server| {
        let db = TestDb::create(server, "plan").await;
        table(&db).await;
        for (clauses, rule, step) in [
            ("DROP COLUMN a", "drop-column", "DROP COLUMN a"),
            (
                "RENAME COLUMN b TO c",
                "rename-column",
                "SET c = b WHERE NOT c <=> b LIMIT 1000",
            ),
            (
                "ADD COLUMN n INT NOT NULL",
                "add-not-null-without-default",
                "ADD COLUMN n INT NULL",
            ),
            ("MODIFY a SMALLINT", "narrow-type", "MODIFY a SMALLINT"),
            (
                "MODIFY a INT NOT NULL",
                "set-not-null",
                "WHERE a IS NULL LIMIT 1000",
            ),
            (
                "MODIFY e ENUM('x')",
                "enum-removal",
                "WHERE e IN ('y') LIMIT 1000",
            ),
            (
                "MODIFY b VARCHAR(20) CHARACTER SET latin1 NOT NULL",
                "change-charset",
                "changeling migrate",
            ),
        ] {
            let (_, told) = plan(server, &db, clauses, &[]).await;
            let effects = told["application"].as_array().unwrap();
            let effect = effects.iter().find(|effect| effect["rule"] == rule);
            let effect = effect.unwrap_or_else(|| panic!("{clauses}: no {rule} in {told}"));
            let steps = effect["instead"].to_string();
            assert!(steps.contains(step), "{clauses}: {steps}");
        }
        let statement = format!("ALTER TABLE {}.t RENAME TO x", db.name);
        let rename = Program::on(server, "plan", [statement])
            .run()
            .await
            .expect_code(3);
        assert!(rename.stdout.contains("CREATE VIEW"), "{}", rename.stdout);
    })
    .await;
}
