//! Servers from `testenv/`.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use changeling::mysql::{ConnectOptions, Flavour};

use super::client::Client;

/// A running server.
#[derive(Clone, Debug)]
pub struct TestServer {
    pub name: &'static str,
    pub flavour: Flavour,
    pub host: String,
    pub port: u16,
    /// Empty for a server given by `CHANGELING_TEST_…`, as are the paths below.
    pub socket: PathBuf,
    pub user: String,
    pub password: String,
    pub data_directory: PathBuf,
    pub error_log: PathBuf,
}

/// The server of that name in testenv/README.md; started, together with its replica if it has one, when
/// this process first asks for it.
///
/// # Panics
/// If it cannot be started.
pub fn server(name: &'static str) -> &'static TestServer {
    type Started = &'static OnceLock<TestServer>;
    static SERVERS: Mutex<Option<HashMap<&'static str, Started>>> = Mutex::new(None);
    let cell: Started = SERVERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .entry(name)
        .or_insert_with(|| Box::leak(Box::default()));
    cell.get_or_init(|| {
        testenv("up", name);
        TestServer::from_info(name)
    })
}

/// Tests that stop a replica, or need one that nobody stops, run one after the other: they share it.
pub async fn alone_with_replicas() -> tokio::sync::MutexGuard<'static, ()> {
    static REPLICAS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    REPLICAS.lock().await
}

/// Tests that kill, purge, promote or renew the scratch servers and what replicates them run one after the
/// other, too.
pub async fn alone_on_scratch() -> tokio::sync::MutexGuard<'static, ()> {
    static SCRATCH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    SCRATCH.lock().await
}

/// Runs `test` on the primary of each flavour, one after the other.
pub async fn both(test: impl AsyncFn(&'static TestServer)) {
    for (flavour, name) in [("mysql", "mysql-primary"), ("mariadb", "mariadb-primary")] {
        if is_wanted(flavour) {
            println!("-- on {name}");
            test(server(name)).await;
        }
    }
}

/// Whether tests on this flavour are to run: all, unless `CHANGELING_TEST_ON` says which.
pub fn is_wanted(flavour: &str) -> bool {
    let only: String = setting("CHANGELING_TEST_ON").unwrap_or_else(|| "both".to_string());
    assert!(
        matches!(only.as_str(), "both" | "mysql" | "mariadb"),
        "CHANGELING_TEST_ON is mysql, mariadb or both, not {only}"
    );
    only == "both" || only == flavour
}

/// Whether tests that depend on the speed of the machine are to run: `CHANGELING_LONG=1`, as
/// `scripts/torture` sets it. They interfere at moments that a fast machine is past too soon.
pub fn is_long() -> bool {
    setting::<u8>("CHANGELING_LONG") == Some(1)
}

/// Whether servers of another version than that of every day are tested: what one can do the other may not.
pub fn is_another_version() -> bool {
    ["CHANGELING_MYSQL_VERSION", "CHANGELING_MARIADB_VERSION"]
        .iter()
        .any(|name| setting::<String>(name).is_some())
}

/// A value from the environment; empty is missing.
pub fn setting<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

impl TestServer {
    fn from_info(name: &'static str) -> TestServer {
        let text = testenv("info", name);
        let info: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let get = |key: &str| -> &str {
            info.get(key)
                .unwrap_or_else(|| panic!("testenv/info {name} does not tell {key}"))
        };
        TestServer {
            name,
            flavour: match get("flavour") {
                "mysql" => Flavour::MySql,
                "mariadb" => Flavour::MariaDb,
                other => panic!("testenv/info {name} tells an unknown flavour: {other}"),
            },
            host: get("host").to_string(),
            port: get("port").parse().expect("a port"),
            socket: get("socket").into(),
            user: get("user").to_string(),
            password: get("password").to_string(),
            data_directory: get("datadir").into(),
            error_log: get("error_log").into(),
        }
    }

    /// How the library under test connects to it.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            password: Some(self.password.clone()),
            ..ConnectOptions::default()
        }
    }

    /// A new session without a default database.
    pub async fn connect(&self) -> Client {
        Client::connect(self, None).await
    }

    pub fn is_mariadb(&self) -> bool {
        self.flavour == Flavour::MariaDb
    }

    /// The server's process.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> i32 {
        let text = testenv("info", self.name);
        let pid = text.lines().find_map(|line| line.strip_prefix("pid="));
        pid.and_then(|pid| pid.parse().ok()).expect("it is running")
    }

    /// `kill -9`.
    pub fn kill(&self) {
        testenv("kill", self.name);
    }

    /// Deletes its data, and its replica's, and starts both anew.
    pub fn fresh(&self) {
        testenv("fresh", self.name);
    }

    /// Stops it.
    pub fn down(&self) {
        testenv("down", self.name);
    }

    /// Starts it again after [`TestServer::kill`].
    pub fn up(&self) {
        testenv("up", self.name);
    }
}

/// Runs a command of `testenv/` and returns what it prints.
fn testenv(command: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testenv")
        .join(command);
    let output = Command::new(&path)
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", path.display()));
    assert!(
        output.status.success(),
        "testenv/{command} {name} failed; run it by hand to see why, testenv/README.md has the ways to \
         give it a server\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("testenv prints text")
}
