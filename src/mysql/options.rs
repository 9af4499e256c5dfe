//! How to reach a server: what was given on the command line, in option files and the environment,
//! already merged.

use std::path::PathBuf;
use std::str::FromStr;

use crate::failure::Failure;

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

impl SslMode {
    /// All modes with the words for them, weakest first.
    pub const WORDS: [(&str, SslMode); 5] = [
        ("disabled", SslMode::Disabled),
        ("preferred", SslMode::Preferred),
        ("required", SslMode::Required),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-identity", SslMode::VerifyIdentity),
    ];
}

impl FromStr for SslMode {
    type Err = Failure;

    /// Case and `_` or `-` make no difference, so that option files of the client are understood.
    fn from_str(word: &str) -> Result<SslMode, Failure> {
        let wanted = word.trim().to_ascii_lowercase().replace('_', "-");
        SslMode::WORDS
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, mode)| *mode)
            .ok_or_else(|| {
                Failure::usage(format!("unknown ssl-mode `{word}`"))
                    .remedy("use disabled, preferred, required, verify-ca or verify-identity")
            })
    }
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
