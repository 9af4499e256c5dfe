//! How to reach a server: what was given on the command line, in option files and the environment,
//! already merged.

use std::path::PathBuf;

/// The mysql client's `--ssl-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disabled,
    /// If the server can, without checking its certificate.
    #[default]
    Preferred,
    /// Always, without checking its certificate.
    Required,
    /// Always; the certificate must be signed by the CA.
    VerifyCa,
    /// Always; the certificate must be signed by the CA and name the host.
    VerifyIdentity,
}

/// How to reach one server. The password never appears in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unix socket; used instead of host and port when given.
    pub socket: Option<PathBuf>,
    /// Account name.
    pub user: String,
    /// Password, if any.
    pub password: Option<String>,
    /// Encryption.
    pub ssl_mode: SslMode,
    /// PEM file of the certificate authority.
    pub ssl_ca: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub ssl_cert: Option<PathBuf>,
    /// PEM file of the client's key.
    pub ssl_key: Option<PathBuf>,
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("server", &self.address())
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "[hidden]"))
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// `host:port` or the socket's path: how messages call the server.
    pub fn address(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// The same account and encryption on another server.
    pub fn at(&self, host: &str, port: u16) -> ConnectOptions {
        ConnectOptions {
            host: host.to_string(),
            port,
            socket: None,
            ..self.clone()
        }
    }
}
