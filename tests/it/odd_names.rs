//! Every name that a user can give may hold what means something to SQL, to a shell, to HTML, or to a
//! file system; and values may look like SQL.

use std::time::Duration;

use crate::support::{Program, TestDb, TestServer, both, eventually};

/// Names with everything in them; one has as many characters as a name may have. (Names, labels and
/// comments are utf8mb3 in both servers: characters beyond the basic plane become question marks there.)
fn names() -> Vec<String> {
    vec![
        "back`tick 'q\"uo;te-- /*c*/ #x".to_string(),
        "SELECT".to_string(),
        "☺ dot.dot/sl\\ash %_ $(touch x) <b>&amp;{0}".to_string(),
        format!("`{}ö", "l".repeat(62)),
    ]
}

/// What a value or a comment may be; here beyond the basic plane too.
const VALUE: &str = "🦊 '); DROP TABLE `t`; -- \\' \" \\ % _ ${x} </script> \u{1} end";

fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A schema with an odd name of its own; dropped by the caller.
fn schema(db: &TestDb) -> String {
    format!("{} `s 'x\"☺.-", db.name)
}

async fn table(db: &TestDb, table: &str) {
    let columns: Vec<String> = names()
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let name = ident(name);
            match at {
                0 => format!(
                    "{name} VARCHAR(100) NOT NULL DEFAULT {} COMMENT {}",
                    text(VALUE),
                    text(VALUE)
                ),
                1 => format!("{name} ENUM({}, 'b') NOT NULL", text(VALUE)),
                2 => format!("{name} INT NOT NULL"),
                _ => format!("{name} VARCHAR(100) CHARACTER SET utf8mb4"),
            }
        })
        .collect();
    let [a, b, c, d] = names().map_four();
    db.sql(format!(
        "CREATE TABLE {table} ({}, PRIMARY KEY ({c}, {a}), UNIQUE KEY {b} ({c}), KEY {d} ({d}), KEY {a} ({b}, {c})) \
         COMMENT {} DEFAULT CHARSET utf8mb4",
        columns.join(", "),
        text(VALUE)
    ))
    .await;
    for at in 0..20 {
        db.sql(format!(
            "INSERT INTO {table} VALUES ({}, {}, {at}, {})",
            text(&format!("{VALUE}{at}")),
            if at % 2 == 0 {
                text(VALUE)
            } else {
                "'b'".to_string()
            },
            text(&format!("{at}{VALUE}"))
        ))
        .await;
    }
}

trait MapFour {
    fn map_four(self) -> [String; 4];
}

impl MapFour for Vec<String> {
    fn map_four(self) -> [String; 4] {
        let quoted: Vec<String> = self.iter().map(|name| ident(name)).collect();
        quoted.try_into().expect("four names")
    }
}

#[tokio::test]
async fn all_names_that_a_user_can_give() {
    both(async |server| {
        let db = TestDb::create(server, "odd_names").await;
        let schema = schema(&db);
        db.sql(format!("DROP DATABASE IF EXISTS {}", ident(&schema)))
            .await;
        db.sql(format!("CREATE DATABASE {}", ident(&schema))).await;
        for (at, name) in names().iter().enumerate() {
            let whole = format!("{}.{}", ident(&schema), ident(name));
            table(&db, &whole).await;
            migrate(&db, server, &schema, name, at).await;
        }
        db.sql(format!("DROP DATABASE {}", ident(&schema))).await;
    })
    .await;
}

/// One migration with everything that shows or uses names, while rows with odd values come.
async fn migrate(db: &TestDb, server: &TestServer, schema: &str, name: &str, at: usize) {
    let whole = format!("{}.{}", ident(schema), ident(name));
    let [a, b, c, d] = names().map_four();
    let added = ident(&format!("new `'\" ☺{at}"));
    let clauses = format!(
        "ADD COLUMN {added} VARCHAR(100) NOT NULL DEFAULT {}, RENAME COLUMN {d} TO {}, ADD KEY {added} ({added}), \
         DROP KEY {a}, MODIFY {b} ENUM({}, 'b', {}) NOT NULL",
        text(VALUE),
        ident("rename`d"),
        text(VALUE),
        text("more '☺"),
    );
    let folder = std::env::temp_dir().join(format!(
        "changeling-odd-{}-{}-{at}",
        server.name,
        std::process::id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let report = folder.join("odd ' name.html");
    let arguments = if at.is_multiple_of(2) {
        vec![
            format!("--database={schema}"),
            format!("--table={name}"),
            format!("--alter={clauses}"),
        ]
    } else {
        vec![format!("ALTER TABLE {whole} {clauses}")]
    };
    Program::on(server, "plan", &arguments)
        .run()
        .await
        .expect_code(0)
        .expect_text("nothing stands against");
    let live = Program::on(server, "migrate", &arguments)
        .args([
            "--postpone-cut-over".to_string(),
            format!("--report={}", report.display()),
        ])
        .spawn();
    let ctl = async |words: &[&str]| {
        let names = [format!("--database={schema}"), format!("--table={name}")];
        Program::new(["ctl"]).args(names).args(words).run().await
    };
    let mut live = live;
    eventually(Duration::from_secs(120), "the run is held", async || {
        assert!(live.is_running(), "{}", live.stderr());
        ctl(&["why"])
            .await
            .stdout
            .contains("operator")
            .then_some(())
    })
    .await;
    for row in [100, 101] {
        db.sql(format!(
            "INSERT INTO {whole} VALUES ({}, 'b', {row}, {})",
            text(VALUE),
            text(VALUE)
        ))
        .await;
    }
    db.sql(format!(
        "UPDATE {whole} SET {d} = {} WHERE {c} = 3",
        text(&format!("{VALUE} changed"))
    ))
    .await;
    db.sql(format!("DELETE FROM {whole} WHERE {c} IN (4, 100)"))
        .await;
    let status = ctl(&["status"]).await.expect_code(0);
    assert!(status.stdout.contains(name), "{}", status.stdout);
    ctl(&["cut-over"]).await.expect_code(0);
    let done = live.wait().await.expect_code(0);
    assert!(done.stdout.contains("equal"), "{}", done.stdout);

    let shown: (String, String) = db.one(format!("SHOW CREATE TABLE {whole}")).await;
    for words in [&added, &ident("rename`d"), &c, &text("more '☺")] {
        assert!(shown.1.contains(words.as_str()), "{words}: {}", shown.1);
    }
    assert_eq!(
        db.one::<u64>(format!("SELECT COUNT(*) FROM {whole}")).await,
        20
    );
    let unchanged = format!(
        "SELECT COUNT(*) FROM {whole} WHERE {added} = {}",
        text(VALUE)
    );
    assert_eq!(db.one::<u64>(unchanged).await, 20);
    let html = std::fs::read_to_string(&report).unwrap();
    for raw in ["<b>&amp;{0}", "</script> \u{1}"] {
        assert!(!html.contains(raw), "{raw} is not escaped");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    afterwards(db, server, schema, name).await;
}

/// The commands around it find the tables by these names.
async fn afterwards(db: &TestDb, server: &TestServer, schema: &str, name: &str) {
    let old: String = db
        .one(format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME LIKE '%\\_del'",
            text(schema)
        ))
        .await;
    let within = format!("--database={schema}");
    let verify = Program::on(server, "verify", [&within, &ident(name), &ident(&old)]);
    verify
        .run()
        .await
        .expect_code(0)
        .expect_text("equal: 20 rows");
    let quoted = [
        format!("{}.{}", ident(schema), ident(name)),
        format!("{}.{}", ident(schema), ident(&old)),
    ];
    let verify = Program::on(server, "verify", &quoted);
    verify
        .run()
        .await
        .expect_code(0)
        .expect_text("equal: 20 rows");
    let removed = Program::on(server, "cleanup", [&within, &old, "--yes"]);
    removed.run().await.expect_code(0);
    let left = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} \
         AND TABLE_NAME <> '_changeling_history'",
        text(schema)
    );
    let dropped = format!("DROP TABLE {}.{}", ident(schema), ident(name));
    db.sql(dropped).await;
    assert_eq!(db.one::<u64>(left).await, 0);
}

/// gh-ost's command line takes them too, its table names by force as well.
#[tokio::test]
async fn odd_names_on_gh_osts_command_line() {
    both(async |server| {
        let db = TestDb::create(server, "odd_gh_ost").await;
        let name = "it's `odd` ☺";
        db.sql(format!(
            "CREATE TABLE {} (id INT PRIMARY KEY, a INT)",
            ident(name)
        ))
        .await;
        db.sql(format!("INSERT INTO {} VALUES (1, 1)", ident(name)))
            .await;
        let run = Program::new(["gh-ost", "--host", &server.host, "--user", &server.user])
            .args(["--port".to_string(), server.port.to_string()])
            .args([
                "--password",
                &server.password,
                "--database",
                &db.name,
                "--table",
                name,
            ])
            .args([
                "--alter",
                &format!(
                    "ADD COLUMN `c ``'` VARCHAR(90) CHARACTER SET utf8mb4 DEFAULT {}",
                    text(VALUE)
                ),
            ])
            .args([
                "--allow-on-master",
                "--execute",
                "--ok-to-drop-table",
                "--force-table-names=f`'x",
            ])
            .run()
            .await;
        run.expect_code(0);
        assert_eq!(db.tables().await, [name]);
        let value: String = db.one(format!("SELECT `c ``'` FROM {}", ident(name))).await;
        assert_eq!(value, VALUE);
    })
    .await;
}

/// A name that no server takes is a finding, not a syntax error of ours.
#[tokio::test]
async fn impossible_names_are_refused_with_words() {
    both(async |server| {
        let db = TestDb::create(server, "odd_refused").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let long = "x".repeat(65);
        for (table, clauses) in [
            ("t", format!("ADD COLUMN {long} INT")),
            ("no such '`table☺", "ADD COLUMN c INT".to_string()),
            (long.as_str(), "ADD COLUMN c INT".to_string()),
        ] {
            let run = Program::on(server, "migrate", [format!("--database={}", db.name)])
                .args([format!("--table={table}"), format!("--alter={clauses}")])
                .run()
                .await
                .expect_code(3);
            assert!(run.stderr.contains("hint:"), "{}", run.stderr);
            assert!(!run.stderr.contains("SQL syntax"), "{}", run.stderr);
        }
        assert_eq!(db.tables().await, ["t"]);
    })
    .await;
}

/// While anybody runs a statement with a character beyond the basic plane, MySQL's tables of transactions
/// and connections cannot be read (error 3854): the run goes on all the same, with and without the grant
/// that shows who holds a table.
#[tokio::test]
async fn statements_that_the_server_cannot_show() {
    both(async |server| {
        let db = TestDb::create(server, "odd_statements").await;
        db.sql("CREATE TABLE other (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20) CHARACTER SET utf8mb4)").await;
        let cancel = tokio_util::sync::CancellationToken::new();
        let busy = async {
            let client = db.connect().await;
            while !cancel.is_cancelled() {
                client.sql("BEGIN").await;
                client.sql("INSERT INTO other (a) SELECT '🦊' FROM (SELECT SLEEP(0.4)) x").await;
                client.sql("COMMIT").await;
            }
            client.close().await;
        };
        let account = format!("shown_{}", std::process::id());
        let story = async {
            db.sql(format!("DROP USER IF EXISTS {account}")).await;
            db.sql(format!("CREATE USER {account} IDENTIFIED BY 'secret-1'")).await;
            db.sql(format!("GRANT ALL ON `{}`.* TO {account}", db.name)).await;
            let all = if server.is_mariadb() {
                "BINLOG MONITOR, PROCESS, REPLICATION MASTER ADMIN, REPLICATION SLAVE, SLAVE MONITOR"
            } else {
                "PROCESS, REPLICATION CLIENT, REPLICATION SLAVE"
            };
            db.sql(format!("GRANT {all} ON *.* TO {account}")).await;
            for user in [account.as_str(), server.user.as_str()] {
                db.sql("DROP TABLE IF EXISTS t, _t_del").await;
                db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
                db.sql("INSERT INTO t VALUES (1), (2), (3)").await;
                let password = if user == account { "secret-1" } else { &server.password };
                for command in ["plan", "migrate"] {
                    Program::new([command, "-h", &server.host, "-u", user])
                        .args(["-P".to_string(), server.port.to_string()])
                        .env("MYSQL_PWD", password)
                        .args([format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name)])
                        .run()
                        .await
                        .expect_code(0);
                }
            }
            db.sql(format!("DROP USER {account}")).await;
            cancel.cancel();
        };
        tokio::join!(busy, story);
    })
    .await;
}
