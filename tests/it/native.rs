//! The server's own ALTER first: where it is taken, where it is not, and what it may cost.

use std::time::Duration;

use crate::support::{Program, TestDb, TestServer, both};

async fn table(db: &TestDb) {
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20), KEY by_b (b))")
        .await;
    db.sql("INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y'), (3, 3, NULL)")
        .await;
}

fn migrate(server: &TestServer, db: &TestDb, native: &str, clauses: &str) -> Program {
    let statement = format!("ALTER TABLE {}.t {clauses}", db.name);
    Program::on(server, "migrate", [statement, format!("--native={native}")])
}

#[tokio::test]
async fn what_takes_a_moment_is_left_to_the_server() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        table(&db).await;
        // Setting, clauses, words in the log, whether an old table is left.
        let cases = [
            (
                "auto",
                "ADD COLUMN c INT",
                "by the server itself (INSTANT)",
                false,
            ),
            (
                "auto",
                "DROP KEY by_b",
                "by the server itself (INPLACE, metadata only)",
                false,
            ),
            (
                "instant",
                "ADD KEY by_a (a)",
                "own way is INPLACE, index build",
                true,
            ),
            (
                "auto",
                "ADD KEY by_a2 (a)",
                "takes as long as the table is large",
                true,
            ),
            (
                "auto",
                "DROP COLUMN b",
                "values of dropped columns would be gone",
                true,
            ),
            (
                "instant",
                "DROP COLUMN c",
                "by the server itself (INSTANT)",
                false,
            ),
            ("never", "ADD COLUMN d INT", "--native=never", true),
        ];
        for (native, clauses, words, old) in cases {
            let run = migrate(server, &db, native, clauses)
                .run()
                .await
                .expect_code(0);
            let run = run.expect_text(words);
            assert_eq!(
                run.stdout.contains("kept as"),
                old,
                "{clauses}: {}",
                run.stdout
            );
            let tables: &[&str] = if old { &["_t_del", "t"] } else { &["t"] };
            assert_eq!(db.tables_but_history().await, tables, "{native} {clauses}");
            db.sql("DROP TABLE IF EXISTS _t_del").await;
        }
        let rows: Vec<(i32, i32)> = db.rows("SELECT id, a FROM t WHERE d IS NULL").await;
        assert_eq!(rows, [(1, 1), (2, 2), (3, 3)]);
        let create = db.show_create("t").await;
        assert!(
            create.contains("by_a2") && !create.contains("`b`"),
            "{create}"
        );
    })
    .await;
}

/// What stands against a ghost table does not stand against the server's own way.
#[tokio::test]
async fn a_table_without_a_key_can_be_altered_by_the_server() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        db.sql("CREATE TABLE t (a INT)").await;
        db.sql("INSERT INTO t VALUES (1), (1)").await;
        let refused = migrate(server, &db, "never", "ADD COLUMN c INT")
            .run()
            .await;
        refused
            .expect_code(3)
            .expect_text("no key identifies a row");
        let copied = migrate(server, &db, "auto", "MODIFY a BIGINT").run().await;
        copied.expect_code(3).expect_text("no key identifies a row");
        let done = migrate(server, &db, "auto", "ADD COLUMN c INT DEFAULT 7")
            .run()
            .await;
        done.expect_code(0);
        assert_eq!(db.one::<i64>("SELECT SUM(c) FROM t").await, 14);
        assert_eq!(db.tables_but_history().await, ["t"]);
    })
    .await;
}

/// The lock is not had: whoever writes is not kept waiting for longer than the budget, and the ghost
/// table takes over.
#[tokio::test]
async fn somebody_who_holds_the_table_leads_to_the_ghost() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        table(&db).await;
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.rows::<(i32,)>("SELECT id FROM t").await;
        let arguments = ["--cut-over-attempts=3", "--cut-over-budget=400ms"];
        let mut live = migrate(server, &db, "auto", "ADD COLUMN c INT")
            .args(arguments)
            .spawn();
        let writer = db.connect().await;
        let mut slowest = Duration::ZERO;
        while !live.stderr().contains("was not to be had in 3 attempt(s)") {
            assert!(live.is_running(), "{}", live.stderr());
            let since = std::time::Instant::now();
            writer.sql("UPDATE t SET a = a + 1 WHERE id = 1").await;
            slowest = slowest.max(since.elapsed());
        }
        // The budget, and what a busy machine adds; a waiting ALTER would make it wait for the holder.
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        assert!(!db.show_create("t").await.contains("`c`"));
        holder.sql("COMMIT").await;
        live.printed("entering phase `finish`").await;
        let done = live.wait().await.expect_code(0);
        assert!(done.stdout.contains("kept as"), "{}", done.stdout);
        assert_eq!(db.tables_but_history().await, ["_t_del", "t"]);
    })
    .await;
}

/// A hook may veto it, and the operator may hold it back.
#[tokio::test]
async fn hooks_and_the_operator_are_asked() {
    use std::os::unix::fs::PermissionsExt;
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        table(&db).await;
        let folder = std::env::temp_dir().join(&db.name);
        std::fs::create_dir(&folder).unwrap();
        let hook = folder.join("before-cut-over");
        std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
        let hooks = format!("--hooks-path={}", folder.display());
        let vetoed = migrate(server, &db, "auto", "ADD COLUMN c INT")
            .args([&hooks])
            .run()
            .await;
        assert_ne!(vetoed.code, Some(0));
        assert_eq!(db.tables_but_history().await, ["t"]);
        assert!(!db.show_create("t").await.contains("`c`"));

        let told = folder.join("told");
        let text = format!("#!/bin/sh\necho success >> {}\n", told.display());
        std::fs::remove_file(&hook).unwrap();
        let success = folder.join("success");
        std::fs::write(&success, text).unwrap();
        std::fs::set_permissions(&success, PermissionsExt::from_mode(0o755)).unwrap();
        let socket = format!("--control-socket={}", folder.join("s").display());
        let hold = [socket.as_str(), "--postpone-cut-over", &hooks];
        let mut live = migrate(server, &db, "auto", "ADD COLUMN c INT")
            .args(hold)
            .spawn();
        live.printed("entering phase `postponed`").await;
        assert!(!db.show_create("t").await.contains("`c`"));
        let release = Program::new(["ctl", socket.as_str(), "cut-over"]);
        release.run().await.expect_code(0);
        let done = live.wait().await.expect_code(0);
        assert!(done.stdout.contains("(INSTANT)"), "{}", done.stdout);
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "success\n");
        std::fs::remove_dir_all(folder).unwrap();
    })
    .await;
}

/// Who did it, when, what and how it ended is kept, and the way back says why there is none.
#[tokio::test]
async fn the_history_tells_of_it_and_revert_why_there_is_no_way_back() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        table(&db).await;
        let alters = [("never", "ADD COLUMN c INT"), ("auto", "ADD COLUMN d INT")];
        for (native, clauses) in alters {
            migrate(server, &db, native, clauses)
                .run()
                .await
                .expect_code(0);
        }
        let database = format!("--database={}", db.name);
        let json = Program::on(server, "history", [database.as_str(), "--format=json"]);
        let json = json.run().await.expect_code(0).stdout;
        let runs: serde_json::Value = serde_json::from_str(&json).unwrap();
        let [native, ghost] = runs.as_array().unwrap().as_slice() else {
            panic!("two runs: {runs}");
        };
        assert_eq!(ghost["state"], "swapped");
        assert_eq!(native["kind"], "migrate");
        assert_eq!(native["state"], "altered");
        assert_eq!(native["statement"], "ADD COLUMN d INT");
        assert_eq!(native["result"], "done, by the server itself: INSTANT");
        assert_eq!(native["old_table"], "");
        for field in ["account", "host", "started_at", "swapped_at", "ended_at"] {
            assert!(
                !native[field].as_str().unwrap().is_empty(),
                "{field}: {native}"
            );
        }
        let definition = |field: &str| native[field].as_str().unwrap().contains("`d` int");
        assert!(
            definition("new_definition") && !definition("old_definition"),
            "{native}"
        );
        let text = Program::on(server, "history", [&database]).run().await;
        let text = text.expect_code(0).stdout;
        assert!(text.contains("migrate, altered\n"), "{text}");
        assert!(
            text.contains("result: done, by the server itself: INSTANT"),
            "{text}"
        );

        let table = format!("{}.t", db.name);
        let refused = Program::on(server, "revert", [&table]).run().await;
        refused
            .expect_code(3)
            .expect_text("was done, by the server itself: INSTANT")
            .expect_text("write the reverse ALTER");
        // The run before it is named, but the table is not as it left it …
        let first = format!("--run-id={}", ghost["id"]);
        let named = [table.as_str(), &first];
        let refused = Program::on(server, "revert", named).run().await;
        refused
            .expect_code(3)
            .expect_text("is not as run 1 has left it");
        // … and a run that tried it and then took the ghost table has one row.
        db.sql("DROP TABLE _t_del").await;
        let holder = db.connect().await;
        holder.sql("BEGIN").await;
        holder.rows::<(i32,)>("SELECT id FROM t").await;
        let arguments = ["--cut-over-attempts=1", "--cut-over-budget=300ms"];
        let mut live = migrate(server, &db, "auto", "ADD COLUMN e INT")
            .args(arguments)
            .spawn();
        live.printed("was not to be had in 1 attempt(s)").await;
        holder.sql("COMMIT").await;
        live.wait().await.expect_code(0);
        let rows: Vec<(u32, String, String, String)> = db
            .rows("SELECT id, state, old_table, ghost_table FROM _changeling_history ORDER BY id")
            .await;
        let [.., (3, state, old, ghost)] = rows.as_slice() else {
            panic!("one row a run: {rows:?}");
        };
        assert_eq!((state.as_str(), ghost.as_str()), ("swapped", "_t_gho"));
        assert!(!old.is_empty());
        let seen: String = db
            .one("SELECT new_definition FROM _changeling_history WHERE id = 3")
            .await;
        assert!(seen.contains("`e` int"), "{seen}");
    })
    .await;
}

/// New columns that are NOT NULL and have no default: the ghost's rows, copied and replayed, get what the
/// server's own ALTER gives them.
#[tokio::test]
async fn the_ghost_fills_new_columns_as_the_server_does() {
    both(async |server| {
        let db = TestDb::create(server, "fills").await;
        let mut types = vec![
            "INT",
            "BIGINT UNSIGNED",
            "DECIMAL(8,2)",
            "DOUBLE",
            "BIT(9)",
            "YEAR",
            "TIME(3)",
            "CHAR(3)",
            "VARCHAR(9)",
            "BINARY(2)",
            "TEXT",
            "BLOB",
            "ENUM('no','yes')",
            "SET('a','b')",
        ];
        // MariaDB gives its JSON the empty string, which its own check of the column refuses afterwards.
        if !server.is_mariadb() {
            types.push("JSON");
        }
        let mut clauses: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(index, name)| format!("ADD COLUMN c{index} {name} NOT NULL"))
            .collect();
        clauses.push("ADD COLUMN d INT NOT NULL DEFAULT 7".to_string());
        let clauses = clauses.join(", ");
        for table in ["t", "u"] {
            db.sql(format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, a INT, UNIQUE KEY (a))"
            ))
            .await;
            db.sql(format!(
                "INSERT INTO {table} VALUES (1, 1), (2, 2), (3, 3), (4, 4)"
            ))
            .await;
        }
        let folder = std::env::temp_dir().join(format!("{}.sock", db.name));
        let socket = format!("--control-socket={}", folder.display());
        let mut live = migrate(server, &db, "never", &clauses)
            .args([socket.as_str(), "--postpone-cut-over"])
            .spawn();
        live.printed("entering phase `postponed`").await;
        let writes = [
            "INSERT INTO t VALUES (5, 5)",
            "UPDATE t SET a = 20 WHERE id = 2",
            "UPDATE t SET id = 30 WHERE id = 3",
            "DELETE FROM t WHERE id = 4",
            // One takes the unique value that another had.
            "UPDATE t SET a = CASE id WHEN 1 THEN NULL ELSE 1 END WHERE id IN (1, 2)",
        ];
        for write in writes {
            db.sql(write).await;
            db.sql(write.replace(" t ", " u ")).await;
        }
        let release = Program::new(["ctl", socket.as_str(), "cut-over"]);
        release.run().await.expect_code(0);
        live.wait().await.expect_code(0);
        db.sql(format!("ALTER TABLE u {clauses}")).await;
        let columns: Vec<String> = (0..types.len())
            .map(|index| format!("HEX(c{index})"))
            .collect();
        let rows = async |table: &str| -> Vec<String> {
            let columns = columns.join(", ");
            db.rows(format!(
                "SELECT CONCAT_WS('|', id, COALESCE(a, 'NULL'), d, {columns}) FROM {table} ORDER BY id"
            ))
            .await
        };
        let (by_ghost, by_server) = (rows("t").await, rows("u").await);
        assert_eq!(by_ghost.len(), 4, "{by_ghost:?}");
        assert_eq!(by_ghost, by_server);
    })
    .await;
}

/// MySQL counts INSTANT changes of columns and takes a limited number; the ghost table begins anew.
#[tokio::test]
async fn without_a_row_version_left_the_table_is_rebuilt() {
    if !crate::support::is_wanted("mysql") {
        return;
    }
    let server = crate::support::server("mysql-primary");
    let db = TestDb::create(server, "native").await;
    table(&db).await;
    let versions = format!(
        "SELECT TOTAL_ROW_VERSIONS FROM information_schema.INNODB_TABLES WHERE NAME = '{}/t'",
        db.name
    );
    for _ in 0..300 {
        let add = db
            .try_sql("ALTER TABLE t ADD COLUMN x INT, ALGORITHM=INSTANT")
            .await;
        if add.is_err() {
            break;
        }
        if db
            .try_sql("ALTER TABLE t DROP COLUMN x, ALGORITHM=INSTANT")
            .await
            .is_err()
        {
            break;
        }
    }
    let run = migrate(server, &db, "auto", "ADD COLUMN c INT").run().await;
    run.expect_code(0).expect_text("no row version left");
    assert_eq!(db.one::<u64>(&versions).await, 0);
}
