//! From what was given, the option files and the surroundings to one way of reaching a server.
//!
//! Precedence: given (flag or environment), option file, default. The defaults are those of a tool that
//! changes servers, not of a shell: TCP to 127.0.0.1:3306 as the login user.

use std::path::{Path, PathBuf};

use super::option_files::{FilePlaces, OptionValues};
use super::options::{ConnectOptions, SslMode};
use crate::failure::{Failure, Result};

/// The port where nothing else is said.
pub const DEFAULT_PORT: u16 = 3306;

/// Where servers put their socket, by distribution: Debian, Red Hat, MySQL's own builds.
const USUAL_SOCKETS: [&str; 4] = [
    "/run/mysqld/mysqld.sock",
    "/var/run/mysqld/mysqld.sock",
    "/var/lib/mysql/mysql.sock",
    "/tmp/mysql.sock",
];

/// How the password was given.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum GivenPassword {
    /// Not at all.
    #[default]
    Unsaid,
    /// `-p` alone: ask for it.
    Prompt,
    /// In words.
    Text(String),
}

impl std::fmt::Debug for GivenPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            GivenPassword::Unsaid => "Unsaid",
            GivenPassword::Prompt => "Prompt",
            GivenPassword::Text(_) => "[hidden]",
        })
    }
}

/// What flags and environment variables said; `None` is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Host name or address.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Account.
    pub user: Option<String>,
    /// Password.
    pub password: GivenPassword,
    /// Unix socket.
    pub socket: Option<PathBuf>,
    /// Encryption.
    pub ssl_mode: Option<SslMode>,
    /// Certificate authority.
    pub ssl_ca: Option<PathBuf>,
    /// Client certificate.
    pub ssl_cert: Option<PathBuf>,
    /// Client key.
    pub ssl_key: Option<PathBuf>,
}

/// What the resolution takes from the process and the machine; a value, so that tests have their own.
pub struct Surroundings {
    /// Where option files are.
    pub places: FilePlaces,
    /// `MYSQL_PWD`: used when no password is given anywhere else.
    pub mysql_pwd: Option<String>,
    /// The name of the user who runs the program.
    pub login_user: String,
    /// Asks for a password, with the given words.
    pub prompt: fn(&str) -> std::io::Result<String>,
    /// Whether a socket exists.
    pub socket_exists: fn(&Path) -> bool,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Surroundings {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        Surroundings {
            places: FilePlaces {
                global: ["/etc/my.cnf", "/etc/mysql/my.cnf"]
                    .map(PathBuf::from)
                    .into(),
                user: home.as_ref().map(|home| home.join(".my.cnf")),
                login: variable("MYSQL_TEST_LOGIN_FILE")
                    .map(PathBuf::from)
                    .or_else(|| home.map(|home| home.join(".mylogin.cnf"))),
            },
            mysql_pwd: variable("MYSQL_PWD"),
            login_user: login_user(),
            prompt: |words| rpassword::prompt_password(words),
            socket_exists: |path| path.exists(),
        }
    }
}

/// The name of the effective user, found without asking the name service: the password file, then the
/// environment.
fn login_user() -> String {
    let from_environment = || {
        ["USER", "LOGNAME", "LOGIN"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    };
    user_of_process()
        .or_else(from_environment)
        .unwrap_or_else(|| "root".to_string())
}

#[cfg(target_os = "linux")]
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    })
}

#[cfg(not(target_os = "linux"))]
fn user_of_process() -> Option<String> {
    None
}

/// Merges everything into the way to one server; asks for the password if `-p` stood alone.
///
/// # Errors
/// A value in an option file that means nothing; a socket and a host together; no terminal to ask on.
pub fn resolve(
    given: Given,
    file: &OptionValues,
    surroundings: &Surroundings,
) -> Result<ConnectOptions> {
    let route = route(&given, file, surroundings)?;
    let text = |key: &str| file.text(key).filter(|value| !value.is_empty());
    let path =
        |given: &Option<PathBuf>, key: &str| given.clone().or_else(|| text(key).map(PathBuf::from));
    let ssl_ca = path(&given.ssl_ca, "ssl-ca");
    let mut options = ConnectOptions {
        host: route.host,
        port: route.port,
        socket: route.socket,
        user: given
            .user
            .clone()
            .or_else(|| text("user").map(str::to_string))
            .unwrap_or_else(|| surroundings.login_user.clone()),
        password: None,
        ssl_mode: ssl_mode(&given, file, ssl_ca.is_some())?,
        ssl_ca,
        ssl_cert: path(&given.ssl_cert, "ssl-cert"),
        ssl_key: path(&given.ssl_key, "ssl-key"),
    };
    if options.ssl_cert.is_some() != options.ssl_key.is_some() {
        return Err(Failure::usage(
            "a client certificate needs its key, and a key its certificate",
        )
        .remedy("give both --ssl-cert and --ssl-key, or neither"));
    }
    options.password = password(given.password, file, surroundings, &options)?;
    Ok(options)
}

struct Route {
    host: String,
    port: u16,
    socket: Option<PathBuf>,
}

/// TCP or socket. What was given beats what a file says; within one of them a remote host beats a socket
/// and a socket beats `localhost`, as with the client. Unlike the client a port that was given with
/// `localhost` is meant: it goes by TCP.
fn route(given: &Given, file: &OptionValues, surroundings: &Surroundings) -> Result<Route> {
    let is_local = |host: &str| host.is_empty() || host.eq_ignore_ascii_case("localhost");
    let file_host = file.text("host").filter(|host| !host.is_empty());
    let file_port = match file.text("port").filter(|port| !port.is_empty()) {
        None => None,
        Some(port) => Some(port.parse::<u16>().map_err(|_| {
            Failure::usage(format!("the option files give a port that is none: {port}"))
        })?),
    };
    let file_socket = file
        .text("socket")
        .filter(|s| !s.is_empty())
        .map(PathBuf::from);
    let protocol = file.text("protocol").map(str::to_ascii_lowercase);

    let host = match (&given.host, &given.socket) {
        (Some(host), Some(_)) if !is_local(host) => {
            return Err(
                Failure::usage(format!("both a socket and the host {host} are given"))
                    .remedy("leave out --socket or --host (or their environment variables)"),
            );
        }
        (Some(host), _) => Some(host.as_str()),
        (None, Some(_)) => None,
        (None, None) => file_host,
    };
    let port = given.port.or(file_port).unwrap_or(DEFAULT_PORT);
    let tcp = |host: &str| Route {
        host: if host.is_empty() { "127.0.0.1" } else { host }.to_string(),
        port,
        socket: None,
    };
    let by_socket = |path: PathBuf| Route {
        host: "localhost".to_string(),
        port,
        socket: Some(path),
    };
    if let Some(path) = &given.socket {
        return Ok(by_socket(path.clone()));
    }
    let name = host.unwrap_or("");
    if !is_local(name) || given.port.is_some() || protocol.as_deref() == Some("tcp") {
        return Ok(tcp(name));
    }
    if let Some(path) = file_socket {
        return Ok(by_socket(path));
    }
    let wants_socket = protocol.as_deref() == Some("socket")
        || (host.is_some_and(|host| !host.is_empty()) && file_port.is_none());
    let usual = USUAL_SOCKETS.map(Path::new);
    match usual
        .into_iter()
        .find(|path| (surroundings.socket_exists)(path))
    {
        Some(path) if wants_socket => Ok(by_socket(path.to_path_buf())),
        _ => Ok(tcp(name)),
    }
}

/// A certificate authority without a mode means that certificates are to be checked, as with the client.
fn ssl_mode(given: &Given, file: &OptionValues, has_ca: bool) -> Result<SslMode> {
    if let Some(mode) = given.ssl_mode {
        return Ok(mode);
    }
    if let Some(word) = file.text("ssl-mode") {
        return word.parse();
    }
    let switch = file.switch("ssl");
    Ok(match (switch, file.switch("ssl-verify-server-cert")) {
        (Some(false), _) => SslMode::Disabled,
        (_, Some(true)) => SslMode::VerifyIdentity,
        (_, None) if has_ca => SslMode::VerifyCa,
        (Some(true), _) => SslMode::Required,
        (None, Some(false)) if has_ca => SslMode::Required,
        (None, _) => SslMode::Preferred,
    })
}

fn password(
    given: GivenPassword,
    file: &OptionValues,
    surroundings: &Surroundings,
    options: &ConnectOptions,
) -> Result<Option<String>> {
    let text = match given {
        GivenPassword::Text(text) => Some(text),
        GivenPassword::Unsaid if !file.is_bare("password") => file
            .text("password")
            .map(str::to_string)
            .or_else(|| surroundings.mysql_pwd.clone()),
        GivenPassword::Prompt | GivenPassword::Unsaid => {
            let words = format!("Password of {} on {}: ", options.user, options.address());
            Some((surroundings.prompt)(&words).map_err(|error| {
                Failure::usage(format!("cannot ask for the password: {error}")).remedy(
                    "without a terminal give the password by --password-file, an option file or CHANGELING_PASSWORD",
                )
            })?)
        }
    };
    Ok(text.filter(|text| !text.is_empty()))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
