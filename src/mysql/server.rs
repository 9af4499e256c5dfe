//! A server that can be connected to: opens sessions, each with the settings of its purpose.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};

use super::error;
use super::flavour::Facts;
use super::options::{ConnectOptions, SslMode};
use super::session::{Purpose, Session};
use crate::failure::{Context, Failure, FailureKind, Result};

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a statement may take where nothing longer is asked for.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// How many warnings of a statement can be read afterwards.
const WARNINGS_KEPT: u32 = 1024;
/// How long we ask the server to keep our idle connections, seconds.
const WAIT_TIMEOUT_S: u32 = 86_400;

/// The name that is asked for where any name will do (`VERIFY_CA`).
///
/// The driver (mysql_async 0.37.1) forgives a wrong name by looking for the words `NotValidForName` in
/// the error's text, which rustls no longer prints; it prints the name that was expected instead. The
/// name is looked at last, after signatures, dates and purpose, so nothing else can be forgiven with it,
/// and a driver that looks for other words refuses more, never less. The test `tls::modes` holds this.
const ANY_NAME: &str = "NotValidForName.invalid";

/// A server, its facts, and the way to it. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    options: ConnectOptions,
    /// Whether TLS is used: what `Preferred` came out as.
    encrypted: bool,
    facts: Facts,
    /// Ids of the connections that this program has open, each with how many kills it has sent there.
    own: Mutex<BTreeMap<u32, Arc<AtomicU64>>>,
    /// Whether another server has answered under this one's name.
    replaced: AtomicBool,
}

impl Inner {
    fn own(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<AtomicU64>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection on the list of our own ([`Server::own_connections`]) until it is dropped.
pub struct OwnConnection {
    server: Server,
    id: u32,
    kills: Arc<AtomicU64>,
}

impl OwnConnection {
    /// How many kills this program has sent to it, or is about to.
    pub(super) fn kills(&self) -> u64 {
        self.kills.load(Ordering::SeqCst)
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        self.server.inner.own().remove(&self.id);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.address())
    }
}

impl Server {
    /// Connects, settles how (TLS or not), and learns the server's facts.
    ///
    /// # Errors
    /// The connection's failure, with a remedy where one is known.
    pub async fn connect(options: ConnectOptions) -> Result<Server> {
        let address = options.address();
        let (mut conn, encrypted) = open_as_asked(&options)
            .await
            .doing(|| format!("connect to {address} as {}", options.user))?;
        let facts = read_facts(&mut conn)
            .await
            .doing(|| format!("read the variables of {address}"))?;
        let _ = conn.disconnect().await;
        Ok(Server {
            inner: Arc::new(Inner {
                options,
                encrypted,
                facts,
                own: Mutex::new(BTreeMap::new()),
                replaced: AtomicBool::new(false),
            }),
        })
    }

    /// What is known of the server.
    pub fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    /// How the server is reached.
    pub fn options(&self) -> &ConnectOptions {
        &self.inner.options
    }

    /// `host:port`, or the socket.
    pub fn address(&self) -> String {
        self.inner.options.address()
    }

    /// The ids of all connections that this program has open through this `Server` and its clones: load
    /// limits do not count them.
    pub fn own_connections(&self) -> Vec<u32> {
        self.inner.own().keys().copied().collect()
    }

    /// Puts a connection of our own making (the binlog stream) on that list; sessions do so themselves.
    pub fn mark_own(&self, id: u32) -> OwnConnection {
        let kills = Arc::new(AtomicU64::new(0));
        self.inner.own().insert(id, kills.clone());
        OwnConnection {
            kills,
            server: self.clone(),
            id,
        }
    }

    /// The driver's options for a connection of our own making (the binlog stream).
    ///
    /// # Errors
    /// A certificate file that cannot be used.
    pub fn driver_options(&self) -> Result<OptsBuilder> {
        driver_options(&self.inner.options, self.inner.encrypted)
    }

    /// Opens a session with the settings of its purpose.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn session(&self, purpose: Purpose) -> Result<Session> {
        let what = || format!("open a connection to {}", self.address());
        let mut conn = self.open_same().await.doing(what)?;
        for statement in self.settings(purpose) {
            conn.query_drop(&statement)
                .await
                .map_err(Failure::from)
                .doing(|| format!("{}: {statement}", what()))?;
        }
        Ok(Session::new(conn, self.clone(), STATEMENT_LIMIT))
    }

    /// Whether another server has answered under this one's name since: the name has moved.
    pub fn is_replaced(&self) -> bool {
        self.inner.replaced.load(Ordering::Relaxed)
    }

    async fn open_same(&self) -> Result<Conn> {
        let mut conn = open(&self.inner.options, self.inner.encrypted).await?;
        self.check_same(&mut conn).await?;
        Ok(conn)
    }

    /// Makes sure that a connection leads to the server that was met first: what is known of it, what was
    /// written to it and the ids of its connections mean nothing on another one.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`] if it is another one; what the server answered.
    pub async fn check_same(&self, conn: &mut Conn) -> Result<()> {
        let now: Option<String> = conn.query_first(self.facts().identity_query()).await?;
        let (now, first) = (now.unwrap_or_default(), self.facts().identity());
        if now == first {
            return Ok(());
        }
        self.inner.replaced.store(true, Ordering::Relaxed);
        Err(Failure::new(
            FailureKind::Interrupted,
            format!(
                "{} is another server now ({now}, it was {first})",
                self.address()
            ),
        )
        .remedy(
            "start the same command again: it goes on there if ghost, checkpoint and binlog are there",
        ))
    }

    /// Interrupts the statement that a connection is running; its session stays. What the statement answers
    /// then is not believed (see [`Session::execute`]).
    ///
    /// # Errors
    /// What the server answered; a connection that is gone already is none.
    pub async fn kill_query(&self, id: u32) -> Result<()> {
        self.announce_kill(id);
        self.kill("KILL QUERY", id).await
    }

    /// A kill is about to be sent to a connection, which may be one of our own.
    pub(super) fn announce_kill(&self, id: u32) {
        if let Some(kills) = self.inner.own().get(&id) {
            kills.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends a connection.
    ///
    /// # Errors
    /// What the server answered; a connection that is gone already is none.
    pub async fn kill_connection(&self, id: u32) -> Result<()> {
        self.kill("KILL CONNECTION", id).await
    }

    async fn kill(&self, verb: &str, id: u32) -> Result<()> {
        /// No such thread: it has ended by itself.
        const ER_NO_SUCH_THREAD: u16 = 1094;
        let mut conn = self.open_same().await?;
        let answer = conn.query_drop(format!("{verb} {id}")).await;
        let _ = conn.disconnect().await;
        match answer.map_err(Failure::from) {
            Err(failure) if failure.code() == Some(ER_NO_SUCH_THREAD) => Ok(()),
            other => other.doing(|| format!("{verb} {id}")),
        }
    }

    /// The SET statements of a purpose. Each is needed by something:
    /// strict mode and NO_AUTO_VALUE_ON_ZERO, so that a value that does not fit is an error and an id 0
    /// stays 0; no NO_ZERO_DATE, so that old zero dates move as they are; READ COMMITTED, so that a
    /// copy takes no gap locks; UTC, so that TIMESTAMP literals are exact.
    fn settings(&self, purpose: Purpose) -> Vec<String> {
        let facts = self.facts();
        let isolation = if facts.variable("transaction_isolation").is_some() {
            "transaction_isolation"
        } else {
            "tx_isolation"
        };
        let mut common = format!(
            "SET SESSION autocommit = 1, {isolation} = 'READ-COMMITTED', wait_timeout = {WAIT_TIMEOUT_S}, \
             sql_safe_updates = 0, sql_select_limit = DEFAULT, \
             net_read_timeout = 600, net_write_timeout = 600"
        );
        let row_wait_s = match purpose {
            Purpose::Monitor | Purpose::Lock => 5,
            _ => 10,
        };
        common.push_str(&format!(", innodb_lock_wait_timeout = {row_wait_s}"));
        // MySQL asks a privilege for this one, and has the value already; MariaDB has 64 and asks none.
        let kept: Option<u32> = facts
            .variable("max_error_count")
            .and_then(|count| count.parse().ok());
        if kept.is_some_and(|kept| kept < WARNINGS_KEPT) {
            common.push_str(&format!(", max_error_count = {WARNINGS_KEPT}"));
        }
        // MariaDB 11.6 turns it on: a locking read would then fail with 1020 where the row is newer.
        if facts.variable("innodb_snapshot_isolation").is_some() {
            common.push_str(", innodb_snapshot_isolation = OFF");
        }
        // Long lists of keys must be read as index ranges whatever their length: otherwise a locking
        // read would go through the whole table.
        if facts.variable("range_optimizer_max_mem_size").is_some() {
            common.push_str(", range_optimizer_max_mem_size = 0");
        }
        if facts
            .variable("in_predicate_conversion_threshold")
            .is_some()
        {
            common.push_str(", in_predicate_conversion_threshold = 0");
        }
        if facts.variable("optimizer_max_sel_arg_weight").is_some() {
            common.push_str(", optimizer_max_sel_arg_weight = 0");
        }
        let own = match purpose {
            Purpose::Monitor | Purpose::Verify => {
                "SET SESSION time_zone = '+00:00', sql_mode = ''".to_string()
            }
            Purpose::Copy | Purpose::Apply | Purpose::Lock => "SET SESSION time_zone = '+00:00', \
                 sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
                 foreign_key_checks = 0"
                .to_string(),
            Purpose::Ddl => "SET SESSION foreign_key_checks = 0".to_string(),
        };
        vec!["SET NAMES utf8mb4".to_string(), common, own]
    }
}

async fn read_facts(conn: &mut Conn) -> Result<Facts> {
    let version: Option<String> = conn.query_first("SELECT @@version").await?;
    let rows: Vec<mysql_async::Row> = conn.query("SHOW GLOBAL VARIABLES").await?;
    let variables = rows.into_iter().filter_map(|row| {
        // Values are bytes of any kind (secure_file_priv, init_connect): what is no text is left out.
        mysql_async::from_row_opt::<(String, String)>(row).ok()
    });
    Ok(Facts::new(&version.unwrap_or_default(), variables))
}

async fn open_as_asked(options: &ConnectOptions) -> Result<(Conn, bool)> {
    match options.ssl_mode {
        SslMode::Disabled => Ok((open(options, false).await?, false)),
        SslMode::Preferred if options.socket.is_some() => Ok((open(options, false).await?, false)),
        SslMode::Preferred => match open(options, true).await {
            Ok(conn) => Ok((conn, true)),
            // Servers without TLS are the only reason to go on in clear text; a wrong password is
            // wrong in both ways, and its error is clearer from the second attempt.
            Err(first) if first.code().is_none() => match open(options, false).await {
                Ok(conn) => Ok((conn, false)),
                Err(second) => Err(match second.code() {
                    None | Some(error::ER_SECURE_TRANSPORT_REQUIRED) => first,
                    Some(_) => second,
                }),
            },
            Err(first) => Err(first),
        },
        SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity => {
            Ok((open(options, true).await?, true))
        }
    }
}

async fn open(options: &ConnectOptions, encrypted: bool) -> Result<Conn> {
    let opts: Opts = driver_options(options, encrypted)?.into();
    match tokio::time::timeout(CONNECT_LIMIT, Conn::new(opts)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(explain_connect(Failure::from(error))),
        Err(_elapsed) => Err(Failure::from_server(
            crate::failure::ErrorClass::Disconnected,
            None,
            format!(
                "no answer within {}",
                humantime::format_duration(CONNECT_LIMIT)
            ),
        )
        .remedy("check host, port and firewall")),
    }
}

fn explain_connect(failure: Failure) -> Failure {
    let remedy = match failure.code() {
        Some(error::ER_ACCESS_DENIED) => {
            "check user and password; an account with REQUIRE SSL needs --ssl-mode=required, one with \
             REQUIRE X509 also --ssl-cert and --ssl-key"
        }
        Some(error::ER_TOO_MANY_CONNECTIONS) => "raise max_connections or free some connections",
        Some(error::ER_SECURE_TRANSPORT_REQUIRED) => "use --ssl-mode=required",
        Some(_) => return failure,
        None => explain_broken(failure.cause()),
    };
    failure.remedy(remedy)
}

/// What to do about a connection that ended before the server said anything: the texts are those of the
/// driver and of rustls, and only choose the advice.
fn explain_broken(cause: &str) -> &'static str {
    let has = |words: &str| cause.contains(words);
    if has("does not have this capability") {
        "the server offers no TLS: configure it there, or use --ssl-mode=preferred"
    } else if has("UnknownIssuer") {
        "the server's certificate is not signed by the authority in --ssl-ca: name the right file"
    } else if has("not valid for name") {
        "the server's certificate is for another name: connect by a name in it, or use \
         --ssl-mode=verify-ca to accept any name signed by the authority"
    } else if has("certificate expired") || has("not valid yet") {
        "renew the server's certificate, or check this machine's clock"
    } else if has("invalid peer certificate") {
        "the server's certificate cannot be trusted: see the reason above"
    } else {
        "check that the server runs and that host, port and --ssl-mode are right"
    }
}

fn driver_options(options: &ConnectOptions, encrypted: bool) -> Result<OptsBuilder> {
    let mut builder = OptsBuilder::default()
        .ip_or_hostname(options.host.clone())
        .tcp_port(options.port)
        .user(Some(options.user.clone()))
        .pass(options.password.clone())
        // The driver would otherwise move from TCP to the socket that the server names, which may be
        // another server's behind a proxy.
        .prefer_socket(false)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        // The client's own limit; events larger than the server's would end the stream (CRATES.md B1).
        .max_allowed_packet(Some(1 << 30))
        .stmt_cache_size(0);
    if let Some(socket) = &options.socket {
        builder = builder.socket(Some(socket.display().to_string()));
    }
    if encrypted {
        builder = builder.ssl_opts(ssl_options(options)?);
    }
    Ok(builder)
}

fn ssl_options(options: &ConnectOptions) -> Result<SslOpts> {
    for path in [&options.ssl_ca, &options.ssl_cert, &options.ssl_key]
        .into_iter()
        .flatten()
    {
        std::fs::metadata(path).map_err(|error| {
            Failure::usage(format!("cannot read {}: {error}", path.display()))
                .remedy("give the path of a readable PEM file")
        })?;
    }
    let mut ssl = SslOpts::default();
    if let Some(ca) = &options.ssl_ca {
        // The driver would add the public authorities to it; whoever names one means that one.
        ssl = ssl
            .with_root_certs(vec![ca.clone().into()])
            .with_disable_built_in_roots(true);
    }
    match (&options.ssl_cert, &options.ssl_key) {
        (Some(cert), Some(key)) => {
            ssl = ssl.with_client_identity(Some(ClientIdentity::new(
                cert.clone().into(),
                key.clone().into(),
            )));
        }
        (None, None) => {}
        _ => {
            return Err(Failure::usage("--ssl-cert and --ssl-key go together")
                .remedy("give both or neither"));
        }
    }
    Ok(match options.ssl_mode {
        SslMode::Disabled | SslMode::Preferred | SslMode::Required => {
            ssl.with_danger_accept_invalid_certs(true)
        }
        SslMode::VerifyCa => ssl
            .with_danger_skip_domain_validation(true)
            .with_danger_tls_hostname_override(Some(ANY_NAME)),
        SslMode::VerifyIdentity => ssl,
    })
}
