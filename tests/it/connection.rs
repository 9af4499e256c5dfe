//! The program finds its server as the mysql client does, and keeps passwords to itself.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Program, Run, TestServer, eventually, server};

const SECRET: &str = "hush-hush";
const STATEMENT: &str = "ALTER TABLE no_such_schema.t FORCE";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A folder with option files, removed at the end.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path =
            std::env::temp_dir().join(format!("changeling-home-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> &Path {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The run got as far as to look for the table.
fn assert_connected(run: &Run) {
    let all = format!("{}{}", run.stdout, run.stderr);
    assert!(
        all.contains("no_such_schema") && !all.contains("connect to"),
        "{run:?}"
    );
    assert_ne!(run.code, Some(0), "{run:?}");
}

async fn run(arguments: &[&str], home: &Path) -> Run {
    Program::new(["migrate", STATEMENT])
        .args(arguments)
        .env("HOME", home)
        .run()
        .await
}

fn client_section(server: &TestServer, password: &str) -> String {
    let TestServer {
        host, port, user, ..
    } = server;
    format!("[client]\nhost={host}\nport={port}\nuser={user}\npassword={password}\n")
}

#[tokio::test]
async fn option_files_and_variables() {
    let server = server("mysql-primary");
    let right = Home::new("right");
    let home = right.file(".my.cnf", client_section(server, &server.password));
    assert_connected(&run(&[], home).await);

    let wrong = Home::new("wrong");
    let text = client_section(server, SECRET);
    let suffixed = format!(
        "{text}[client_prod]\npassword=\"{}\" # right\n",
        server.password
    );
    let home = wrong.file(".my.cnf", suffixed);
    let refused = run(&[], home).await;
    assert!(
        refused.stderr.contains("1045") && refused.stderr.contains("hint:"),
        "{refused:?}"
    );
    assert_connected(&run(&["--defaults-group-suffix=_prod"], home).await);
    assert_connected(&run(&[&format!("-p{}", server.password)], home).await);
    let by_variable = Program::new(["migrate", STATEMENT])
        .env("HOME", home)
        .env("CHANGELING_PASSWORD", &server.password)
        .run()
        .await;
    assert_connected(&by_variable);
    let by_socket = [
        "--no-defaults",
        "-uroot",
        "-S",
        server.socket.to_str().unwrap(),
    ];
    assert_connected(&run(&by_socket, home).await);
    for run in [refused, by_variable] {
        assert!(!format!("{run:?}").contains(SECRET), "{run:?}");
    }

    let last = Program::new(["migrate", STATEMENT, "--no-defaults", "-h", &server.host])
        .args(["-P", &server.port.to_string(), "-u", &server.user])
        .env("MYSQL_PWD", &server.password)
        .run()
        .await;
    assert_connected(&last);
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    let home = Path::new("/nonexistent");
    for (arguments, words) in [
        (&["--defaults-file=/not/there"][..], "/not/there"),
        (&["--login-path=prod"], "prod"),
        (&["-S", "/s", "-h", "db1"], "db1"),
        (&["--ssl-cert=/c"], "--ssl-key"),
        (&["--password-file=/not/there"], "/not/there"),
    ] {
        let run = run(arguments, home).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(words), "{arguments:?}: {run:?}");
    }
}

/// Everybody may read a process's arguments; the password is not among them any more when the program
/// waits for its server.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_password_on_the_command_line_is_wiped_and_warned_about() {
    // A server that takes the connection and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_changeling"))
        .args([
            "migrate",
            STATEMENT,
            "--no-defaults",
            "-h127.0.0.1",
            "-P",
            &port,
        ])
        .args([
            &format!("-p{SECRET}"),
            "--ssl-mode=disabled",
            "-u",
            "someone",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let connection = eventually(PATIENCE, "the program connects", async || {
        listener.accept().ok()
    })
    .await;
    let shown = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(connection);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(
        shown.contains("-px\0") && shown.contains("--ssl-mode=disabled\0"),
        "{shown:?}"
    );
    assert!(shown.contains("-u\0someone\0"), "{shown:?}");
    assert!(
        !shown.contains(SECRET) && !said.contains(SECRET),
        "{shown:?}\n{said}"
    );
    assert!(said.contains("a password on the command line"), "{said}");
}
