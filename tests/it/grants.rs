//! The grants that docs/grants.md names are enough, and each of the first section is needed: its absence
//! is a finding that names it.

use std::time::Duration;

use crate::support::{Client, Program, Run, TestDb, TestServer, both, eventually};

const PAGE: &str = include_str!("../../docs/grants.md");
const PASSWORD: &str = "a-long-secret";

/// The statements of a section of the page for one flavour, with the test's own schema and accounts.
fn statements(section: &str, server: &TestServer, schema: &str) -> Vec<String> {
    let from = PAGE.find(&format!("## {section}\n")).expect(section);
    let text = &PAGE[from + 3..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let flavour = if server.is_mariadb() {
        "mariadb"
    } else {
        "mysql"
    };
    let mut found = Vec::new();
    for block in text.split("```sql").skip(1) {
        let (wanted, rest) = block.split_once('\n').expect("a fence ends its line");
        if !wanted.trim().is_empty() && wanted.trim() != flavour {
            continue;
        }
        let (body, _) = rest.split_once("```").expect("a block ends");
        found.extend(
            body.split(';')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(|s| {
                    let mut statement = s.replace("shop.*", &format!("`{schema}`.*"));
                    for name in ["migrator", "checker", "cleaner"] {
                        statement = statement.replace(name, &account(name));
                    }
                    statement
                }),
        );
    }
    assert!(!found.is_empty(), "{section}: no statements for {flavour}");
    found
}

fn account(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

/// A program with one of the page's accounts.
fn run_as(server: &TestServer, name: &str, command: &str) -> Program {
    Program::new([command, "-h", &server.host, "-u", &account(name)])
        .args(["-P".to_string(), server.port.to_string()])
        .env("MYSQL_PWD", PASSWORD)
}

async fn table(db: &TestDb) {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, KEY (a))")
        .await;
    db.sql("INSERT INTO t VALUES (1, 1), (2, 2), (3, NULL)")
        .await;
}

async fn drop_accounts(db: &TestDb) {
    for name in ["migrator", "checker", "cleaner"] {
        db.sql(format!("DROP USER IF EXISTS {}", account(name)))
            .await;
    }
}

async fn give(db: &TestDb, server: &TestServer, section: &str) {
    for statement in statements(section, server, &db.name) {
        db.sql(&statement).await;
    }
}

/// All sections on one account, since the database's name is part of the accounts' grants.
#[tokio::test]
async fn the_page_is_exact() {
    both(async |server| {
        let db = TestDb::create(server, "grants").await;
        table(&db).await;
        drop_accounts(&db).await;
        give(&db, server, "migrate, rehearse, plan, revert").await;
        each_is_needed(&db, server).await;
        plain_commands(&db, server).await;
        narrow_commands(&db, server).await;
        if !server.is_mariadb() {
            better_with(&db, server).await;
        }
        give(&db, server, "--kill-blockers").await;
        blockers_are_killed(&db, server).await;
        drop_accounts(&db).await;
    })
    .await;
}

async fn plain_commands(db: &TestDb, server: &TestServer) {
    let statement = format!(
        "ALTER TABLE {}.t ADD COLUMN c INT, ADD KEY (a, id)",
        db.name
    );
    for (command, words) in [
        ("plan", "nothing stands against"),
        ("rehearse", "3 rows compared: equal"),
        ("migrate", "3 rows compared: equal"),
    ] {
        let run = run_as(server, "migrator", command).args([&statement]);
        let run = run.run().await.expect_code(0);
        assert!(run.stdout.contains(words), "{command}: {}", run.stdout);
        assert!(!run.stderr.contains("lacks"), "{command}: {}", run.stderr);
    }
}

/// The privileges of the first section one by one.
async fn each_is_needed(db: &TestDb, server: &TestServer) {
    let user = account("migrator");
    let grants = statements("migrate, rehearse, plan, revert", server, &db.name);
    let mut looked_at = 0;
    for grant in grants.iter().filter_map(|s| s.strip_prefix("GRANT ")) {
        let (privileges, rest) = grant.split_once(" ON ").expect("GRANT … ON …");
        let (object, _) = rest.split_once(" TO ").expect("ON … TO …");
        for privilege in privileges.split(',').map(str::trim) {
            db.sql(format!("REVOKE {privilege} ON {object} FROM {user}"))
                .await;
            let plan = plan(db, server).await;
            db.sql(format!("GRANT {privilege} ON {object} TO {user}"))
                .await;
            // What only the replicas ask for can be done without where there is none.
            let code = if privilege == "SLAVE MONITOR" { 0 } else { 3 };
            let plan = plan.expect_code(code);
            let names_it = plan
                .stdout
                .lines()
                .any(|line| line.contains("lacks") && line.contains(privilege));
            assert!(names_it, "{privilege}: {}", plan.stdout);
            assert!(
                plan.stdout.contains(&format!("GRANT {privilege}")),
                "{}",
                plan.stdout
            );
            looked_at += 1;
        }
    }
    assert!(looked_at >= 12, "{looked_at}");
    if server.is_mariadb() {
        let lists = "REPLICATION MASTER ADMIN ON *.*";
        db.sql(format!("REVOKE {lists} FROM {user}")).await;
        let given = run_as(server, "migrator", "plan")
            .args(["--replicas=127.0.0.1:1".to_string()])
            .args([format!("ALTER TABLE {}.t ADD COLUMN d INT", db.name)]);
        given.run().await.expect_code(0);
        db.sql(format!("GRANT {lists} TO {user}")).await;
    }
}

async fn plan(db: &TestDb, server: &TestServer) -> Run {
    run_as(server, "migrator", "plan")
        .args([format!("ALTER TABLE {}.t ADD COLUMN d INT", db.name)])
        .run()
        .await
}

/// Only MySQL has more to give.
async fn better_with(db: &TestDb, server: &TestServer) {
    let before = plan(db, server).await.expect_code(0);
    for words in ["who holds a table's lock", "prepared XA transactions"] {
        assert!(before.stdout.contains(words), "{words}: {}", before.stdout);
    }
    give(db, server, "Better with").await;
    let after = plan(db, server).await.expect_code(0);
    for words in ["who holds a table's lock", "prepared XA transactions"] {
        assert!(!after.stdout.contains(words), "{words}: {}", after.stdout);
    }
    let run = run_as(server, "migrator", "migrate").args([
        "-v",
        &format!("ALTER TABLE {}.t ADD COLUMN d INT", db.name),
        "--timestamp-old-table",
    ]);
    let run = run.run().await.expect_code(0);
    assert!(
        !run.stderr.contains("does not show who holds"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("compress"), "{}", run.stderr);
}

async fn narrow_commands(db: &TestDb, server: &TestServer) {
    give(db, server, "verify, cleanup").await;
    let tables = [format!("{}.t", db.name), format!("{}._t_del", db.name)];
    let equal = run_as(server, "checker", "verify").args(&tables);
    let equal = equal.run().await.expect_code(0);
    assert!(equal.stdout.contains("equal: 3 rows"), "{}", equal.stdout);
    let arguments = [
        format!("--database={}", db.name),
        "_t_del".into(),
        "--yes".into(),
    ];
    let may_not = run_as(server, "checker", "cleanup")
        .args(&arguments)
        .run()
        .await;
    assert_eq!(may_not.code, Some(1), "{may_not:?}");
    assert!(
        may_not.stderr.contains("DROP command denied"),
        "{}",
        may_not.stderr
    );
    run_as(server, "cleaner", "cleanup")
        .args(&arguments)
        .run()
        .await
        .expect_code(0);
    assert_eq!(db.tables().await, ["_changeling_history", "t"]);
}

/// Another account's transaction holds the table and is killed for the swap.
async fn blockers_are_killed(db: &TestDb, server: &TestServer) {
    // An ordinary account: one with SYSTEM_USER is not killed by one without.
    let ordinary = TestServer {
        user: account("checker"),
        password: PASSWORD.to_string(),
        ..server.clone()
    };
    let idle = Client::connect(&ordinary, Some(&db.name)).await;
    idle.sql("BEGIN").await;
    idle.sql("SELECT COUNT(*) FROM t").await;
    let run = run_as(server, "migrator", "migrate").args([
        "--kill-blockers=idle",
        "--kill-after-attempts=1",
        &format!("ALTER TABLE {}.t ADD COLUMN killed INT", db.name),
        "--timestamp-old-table",
    ]);
    let shows = server.is_mariadb();
    let live = run.spawn();
    if shows && !shows_holders(db).await {
        // Without the plugin nobody is known, and so nobody is killed: let it go.
        tokio::time::sleep(Duration::from_secs(3)).await;
        idle.sql("COMMIT").await;
        live.wait().await.expect_code(0);
        return;
    }
    let done = live.wait().await.expect_code(0);
    assert!(done.stderr.contains("killed"), "{}", done.stderr);
    eventually(Duration::from_secs(10), "the blocker is gone", async || {
        idle.try_sql("SELECT 1").await.is_err().then_some(())
    })
    .await;
}

async fn shows_holders(db: &TestDb) -> bool {
    db.one::<u64>(
        "SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' \
         AND PLUGIN_STATUS = 'ACTIVE'",
    )
    .await
        > 0
}
