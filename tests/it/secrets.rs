//! A password is nowhere to be found: not in what any command prints, however it ends, not in files, not
//! in what others can see of the process, not in the tables on the server. And values of rows are not in
//! what is said about statements.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::wait::PATIENCE;
use crate::support::{Live, Program, Run, TestDb, TestServer, both, eventually, server};

/// Looked for everywhere. Quotes and backslashes are in it, since escaping is where such things leak.
const MARKER: &str = "Marker9f3a";
const PASSWORD: &str = "Marker9f3a'\"\\ #%s{}$x";
const USER: &str = "o'dd `us\"er";

/// Everything that was seen, by where it was seen.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: &str, bytes: impl AsRef<[u8]>) {
        self.0.push((place.to_string(), bytes.as_ref().to_vec()));
    }

    fn run(&mut self, place: &str, run: &Run) {
        self.add(&format!("{place}, stdout"), &run.stdout);
        self.add(&format!("{place}, stderr"), &run.stderr);
    }

    /// All files below a folder.
    fn folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.folder(&path);
            } else if path.is_file() {
                self.add(&path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    fn assert_clean(&self) {
        for (place, bytes) in &self.0 {
            let text = String::from_utf8_lossy(bytes);
            assert!(
                !text.contains(MARKER),
                "the password is in {place}:\n{text}"
            );
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("changeling-secrets-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// With the password in the variable of the client, the odd user, and logs as talkative as can be.
fn program(server: &TestServer, command: &str) -> Program {
    at(&server.host, server.port, command)
}

fn at(host: &str, port: u16, command: &str) -> Program {
    Program::new([command, "-h", host, "-u", USER, "-v", "--log-format=json"])
        .args(["-P".to_string(), port.to_string()])
        .env("MYSQL_PWD", PASSWORD)
        .env("CHANGELING_PASSWORD", PASSWORD)
}

async fn account(db: &TestDb) {
    db.sql(format!("DROP USER IF EXISTS {}", quoted(USER)))
        .await;
    let password = quoted(PASSWORD);
    db.sql(format!(
        "CREATE USER {} IDENTIFIED BY {password}",
        quoted(USER)
    ))
    .await;
    db.sql(format!("GRANT ALL ON *.* TO {}", quoted(USER)))
        .await;
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[tokio::test]
async fn the_password_is_nowhere() {
    both(async |server| {
        let db = TestDb::create(server, "secrets").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), u INT)")
            .await;
        db.sql("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, NULL, 2)")
            .await;
        account(&db).await;
        let folder = Folder::new(server.name);
        let mut seen = Seen::default();
        commands(server, &db, &mut seen).await;
        failures(server, &db, &mut seen).await;
        a_live_run(server, &db, &folder, &mut seen).await;
        gh_ost(server, &db, &mut seen).await;
        seen.folder(&folder.0);
        assert!(seen.0.len() > 30, "{}", seen.0.len());
        seen.assert_clean();
        db.sql(format!("DROP USER {}", quoted(USER))).await;
    })
    .await;
}

async fn commands(server: &TestServer, db: &TestDb, seen: &mut Seen) {
    let statement = format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name);
    for (command, arguments) in [
        ("plan", vec![statement.clone()]),
        ("plan", vec![statement.clone(), "--format=json".into()]),
        ("rehearse", vec![statement.clone()]),
        (
            "verify",
            vec![format!("{}.t", db.name), format!("{}.t", db.name)],
        ),
        (
            "verify",
            vec![
                format!("{}.t", db.name),
                format!("{}.t", db.name),
                format!("--second-server={}:{}", server.host, server.port),
            ],
        ),
        ("cleanup", vec![format!("--database={}", db.name)]),
    ] {
        let run = program(server, command).args(&arguments).run().await;
        let run = run.expect_code(0);
        seen.run(&format!("{command} {arguments:?}"), &run);
    }
}

/// Each way of ending badly.
async fn failures(server: &TestServer, db: &TestDb, seen: &mut Seen) {
    let statement = format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name);
    let refused = format!("ALTER TABLE {}.none ADD COLUMN c INT", db.name);
    let does_not_fit = format!("ALTER TABLE {}.t MODIFY a VARCHAR(20) NOT NULL", db.name);
    let duplicates = format!("ALTER TABLE {}.t ADD UNIQUE KEY (u)", db.name);
    for (what, code, run) in [
        ("refused", 3, program(server, "migrate").args([&refused])),
        (
            "does not fit",
            4,
            program(server, "migrate").args([&does_not_fit, "--restart"]),
        ),
        (
            "duplicates",
            4,
            program(server, "migrate").args([&duplicates, "--restart"]),
        ),
        (
            "usage",
            2,
            program(server, "migrate").args(["--max-lag=never", &statement]),
        ),
        (
            "no address",
            1,
            at("no-such-host.invalid", 1, "migrate").args([&statement]),
        ),
        (
            "nobody listens",
            1,
            at("127.0.0.1", 1, "migrate").args([&statement]),
        ),
        (
            "wrong password",
            1,
            program(server, "migrate").args([&format!("-p{MARKER}wrong"), &statement]),
        ),
        (
            "wrong password, asked for as an option",
            1,
            program(server, "plan").args([&format!("--password={MARKER}wrong"), &statement]),
        ),
        (
            "an option of another command",
            2,
            program(server, "plan").args([
                &format!("-p{MARKER}"),
                "--workers=nonsense",
                &statement,
            ]),
        ),
    ] {
        let run = run.run().await;
        assert_eq!(run.code, Some(code), "{what}: {run:?}");
        seen.run(what, &run);
    }
    // A server that ends the talk in the middle of the handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let live = at("127.0.0.1", port, "plan").args([&statement]).spawn();
    let (mut connection, _) = listener.accept().await.unwrap();
    connection
        .write_all(b"\x05\x00\x00\x00nonsense")
        .await
        .unwrap();
    drop((connection, listener));
    let run = live.wait().await.expect_code(1);
    seen.run("broken handshake", &run);
}

/// A run with everything on: report, metrics, hooks, socket, TCP; looked at while it is held.
async fn a_live_run(server: &TestServer, db: &TestDb, folder: &Folder, seen: &mut Seen) {
    let hooks = folder.path("hooks");
    fs::create_dir(&hooks).unwrap();
    let out = folder.path("hooks.out");
    for event in ["startup", "begin-postponed", "success"] {
        let hook = hooks.join(event);
        fs::write(
            &hook,
            format!(
                "#!/bin/sh\n(env; tr '\\0' '\\n' </proc/$PPID/cmdline) >>{}\n",
                out.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let socket = folder.path("control.sock");
    for report in ["report.html", "report.json"] {
        let column = if report == "report.html" { "h" } else { "j" };
        let mut live = program(server, "migrate")
            .args([format!("-p{PASSWORD}")])
            .args([format!("--report={}", folder.path(report).display())])
            .args([format!("--hooks-path={}", hooks.display())])
            .args([format!("--control-socket={}", socket.display())])
            .args([format!("--metrics-listen=127.0.0.1:{port}")])
            .args(["--restart", "--postpone-cut-over"])
            .args([format!("ALTER TABLE {}.t ADD COLUMN {column} INT", db.name)])
            .spawn();
        let ctl = async |words: &[&str]| {
            let program = Program::new(["ctl", "--control-socket"]).args([&socket]);
            program.args(words).run().await
        };
        eventually(PATIENCE, "the run is held", async || {
            assert!(live.is_running(), "{}{}", live.stdout(), live.stderr());
            ctl(&["why"])
                .await
                .stdout
                .contains("operator")
                .then_some(())
        })
        .await;
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        for words in [
            &["status"][..],
            &["status", "json"],
            &["settings"],
            &["coordinates"],
            &["help"],
            &["set", "max-load", "nonsense"],
            &["nonsense"],
        ] {
            seen.run(&format!("ctl {words:?}"), &ctl(words).await);
        }
        for page in ["/metrics", "/status", "/nonsense"] {
            seen.add(page, http(port, page).await);
        }
        process(&live, seen);
        for table in ["_t_ghc", "_t_ghk"] {
            seen.add(table, contents(db, table).await);
        }
        ctl(&["cut-over"]).await.expect_code(0);
        let run = live.wait().await.expect_code(0);
        let history = "_changeling_history";
        seen.add(history, contents(db, history).await);
        seen.run(report, &run);
        let mode = fs::metadata(folder.path(report))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        assert!(!socket.exists(), "the socket is gone with its run");
        db.sql("DROP TABLE _t_del").await;
    }
    let hooks = fs::read_to_string(&out).unwrap();
    assert!(
        hooks.contains("CHANGELING_TABLE=t") && hooks.contains("-px"),
        "{hooks}"
    );
}

/// All values of all rows of a table, which must have some.
async fn contents(db: &TestDb, table: &str) -> String {
    let columns = db
        .rows::<String>(format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_NAME = '{table}'"
        ))
        .await;
    let all: Vec<String> = columns
        .iter()
        .map(|name| format!("IFNULL(CAST(`{name}` AS CHAR), '')"))
        .collect();
    let rows = db
        .rows::<String>(format!(
            "SELECT CONCAT_WS('|', {}) FROM {table}",
            all.join(", ")
        ))
        .await;
    assert!(!rows.is_empty(), "{table} is empty");
    rows.join("\n")
}

/// What others can see of a process: its arguments, and the names of its threads.
fn process(live: &Live, seen: &mut Seen) {
    let folder = PathBuf::from(format!("/proc/{}", live.id()));
    let arguments = fs::read(folder.join("cmdline")).unwrap();
    assert!(
        String::from_utf8_lossy(&arguments).contains("-px"),
        "{arguments:?}"
    );
    seen.add("cmdline", arguments);
    for thread in fs::read_dir(folder.join("task")).unwrap().flatten() {
        for file in ["comm", "cmdline"] {
            seen.add(file, fs::read(thread.path().join(file)).unwrap_or_default());
        }
    }
}

async fn http(port: u16, page: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    stream
        .write_all(format!("GET {page} HTTP/1.1\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// gh-ost's command line has the password in an argument of its own, and in a file.
async fn gh_ost(server: &TestServer, db: &TestDb, seen: &mut Seen) {
    let port = server.port.to_string();
    let words = [
        "gh-ost",
        "--host",
        &server.host,
        "--port",
        &port,
        "--user",
        USER,
        "--password",
        PASSWORD,
        "--database",
        &db.name,
        "--table=t",
        "--alter=engine=innodb",
        "--allow-on-master",
        "--debug",
        "--initially-drop-ghost-table",
        "--initially-drop-old-table",
        "--initially-drop-socket-file",
        "--stack",
    ];
    for (more, code) in [
        (&["--execute", "--ok-to-drop-table"][..], 0),
        (&["--chunk-size=nonsense"], 2),
        (&["--table=none"], 1),
    ] {
        let run = Program::new(words).args(more).run().await;
        assert_eq!(run.code, Some(code), "{more:?}: {run:?}");
        seen.run(&format!("gh-ost {more:?}"), &run);
    }
}

/// Asked for on the terminal: it is taken, and not shown.
#[tokio::test]
async fn the_password_is_asked_for_and_not_shown() {
    let server = server("mysql-primary");
    let db = TestDb::create(server, "secrets_prompt").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let account = format!("asked_{}", std::process::id());
    db.sql(format!(
        "CREATE USER {account} IDENTIFIED BY {}",
        quoted(PASSWORD)
    ))
    .await;
    db.sql(format!("GRANT ALL ON *.* TO {account}")).await;
    let command = format!(
        "{} plan --no-defaults -h {} -P {} -u {account} -p 'ALTER TABLE {}.t ADD c INT'",
        env!("CARGO_BIN_EXE_changeling"),
        server.host,
        server.port,
        db.name
    );
    // `script` gives it a terminal; it echoes what is typed unless the program says otherwise.
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env_remove("MYSQL_PWD")
        .env_remove("CHANGELING_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (util-linux) is installed");
    let mut typed = child.stdin.take().unwrap();
    let mut shown = child.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut text = Vec::new();
        let mut part = [0; 4096];
        let mut answered = false;
        while let Ok(count @ 1..) = shown.read(&mut part) {
            text.extend_from_slice(&part[..count]);
            if !answered && String::from_utf8_lossy(&text).contains("assword") {
                answered = true;
                // The prompt comes just after the echo is switched off.
                std::thread::sleep(Duration::from_millis(300));
                typed.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let text = output.join().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{text}");
    assert!(
        text.contains("assword") && text.contains("nothing stands against"),
        "{text}"
    );
    assert!(!text.contains(MARKER), "{text}");
    db.sql(format!("DROP USER {account}")).await;
}

/// Rows have values that nobody may read in a log: a statement that fails is shown by its shape.
#[tokio::test]
async fn values_of_rows_are_in_no_message() {
    both(async |server| {
        let db = TestDb::create(server, "secrets_values").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(60))")
            .await;
        db.sql("INSERT INTO t VALUES (1, 'before')").await;
        let folder = Folder::new(&format!("values-{}", server.name));
        let socket = folder.path("control.sock");
        let live = Program::on(server, "migrate", ["-v", "--postpone-cut-over"])
            .args([format!("--control-socket={}", socket.display())])
            .args([format!("--report={}", folder.path("report.html").display())])
            .args([format!("ALTER TABLE {}.t ADD COLUMN c INT", db.name)])
            .spawn();
        eventually(Duration::from_secs(120), "the run is held", async || {
            let ctl = Program::new(["ctl", "--control-socket"])
                .args([&socket])
                .args(["why"]);
            ctl.run().await.stdout.contains("operator").then_some(())
        })
        .await;
        // The ghost loses a column, so that the changes that come cannot be applied.
        db.sql("ALTER TABLE _t_gho DROP COLUMN a").await;
        db.sql(format!(
            "INSERT INTO t VALUES (2, '{MARKER}-card-4111'), (3, '{MARKER}')"
        ))
        .await;
        db.sql(format!("UPDATE t SET a = '{MARKER}-again' WHERE id = 1"))
            .await;
        let run = live.wait().await;
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(
            run.stderr.contains("original table: untouched"),
            "{}",
            run.stderr
        );
        let mut seen = Seen::default();
        seen.run("failed replay", &run);
        seen.folder(&folder.0);
        seen.assert_clean();
    })
    .await;
}
