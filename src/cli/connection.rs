//! The connection options, as the `mysql` client spells them.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{FalseyValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::failure::{Failure, Result};
use crate::mysql::option_files::{self, FileSelection, OptionFiles};
use crate::mysql::resolve::{Given, GivenPassword, Surroundings, resolve};
use crate::mysql::{ConnectOptions, SslMode};

/// A word that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl Secret {
    /// The word itself.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// How to reach the server. `-h` is the host, as with the client, so a command that takes these options
/// must switch off the short help flag (`disable_help_flag` and a `--help` of its own).
///
/// `-pSECRET` must have been turned into `--password=SECRET` beforehand: see
/// [`super::arguments::take`].
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Server to connect to; `localhost` without a port means its Unix socket [default: 127.0.0.1]
    #[arg(short = 'h', long, env = "CHANGELING_HOST", value_name = "HOST")]
    pub host: Option<String>,

    /// TCP port [default: 3306]
    #[arg(short = 'P', long, env = "CHANGELING_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// Account [default: the login user]
    #[arg(short = 'u', long, env = "CHANGELING_USER", value_name = "USER")]
    pub user: Option<String>,

    /// Password; asked for when no value is attached (`-p`). Better kept in an option file
    #[arg(
        short = 'p',
        long,
        env = "CHANGELING_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        num_args = 0..=1,
        require_equals = true,
    )]
    pub password: Option<Option<Secret>>,

    /// File whose first line is the password
    #[arg(
        long,
        env = "CHANGELING_PASSWORD_FILE",
        value_name = "FILE",
        conflicts_with = "password"
    )]
    pub password_file: Option<PathBuf>,

    /// Unix socket
    #[arg(short = 'S', long, env = "CHANGELING_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,

    /// Encryption [default: preferred, or verify-ca when --ssl-ca is given]
    #[arg(
        long,
        env = "CHANGELING_SSL_MODE",
        value_name = "MODE",
        ignore_case = true,
        value_parser = ssl_mode_parser(),
    )]
    pub ssl_mode: Option<SslMode>,

    /// Certificate authority that must have signed the server's certificate (PEM)
    #[arg(long, env = "CHANGELING_SSL_CA", value_name = "FILE")]
    pub ssl_ca: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(long, env = "CHANGELING_SSL_CERT", value_name = "FILE")]
    pub ssl_cert: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long, env = "CHANGELING_SSL_KEY", value_name = "FILE")]
    pub ssl_key: Option<PathBuf>,

    /// Read this option file and no other
    #[arg(
        long,
        env = "CHANGELING_DEFAULTS_FILE",
        value_name = "FILE",
        conflicts_with = "no_defaults"
    )]
    pub defaults_file: Option<PathBuf>,

    /// Read this option file after the global ones and before ~/.my.cnf
    #[arg(
        long,
        env = "CHANGELING_DEFAULTS_EXTRA_FILE",
        value_name = "FILE",
        conflicts_with_all = ["no_defaults", "defaults_file"]
    )]
    pub defaults_extra_file: Option<PathBuf>,

    /// Read no option file but the login path
    #[arg(
        long,
        env = "CHANGELING_NO_DEFAULTS",
        value_parser = FalseyValueParser::new(),
    )]
    pub no_defaults: bool,

    /// Read the groups [client] and [changeling] with this suffix too
    #[arg(
        long,
        env = "CHANGELING_DEFAULTS_GROUP_SUFFIX",
        value_name = "SUFFIX",
        allow_hyphen_values = true
    )]
    pub defaults_group_suffix: Option<String>,

    /// Read this group of ~/.mylogin.cnf too (see mysql_config_editor)
    #[arg(long, env = "CHANGELING_LOGIN_PATH", value_name = "NAME")]
    pub login_path: Option<String>,
}

impl ConnectionArgs {
    /// Which option files are read.
    pub fn option_files(&self) -> OptionFiles {
        OptionFiles {
            selection: FileSelection {
                defaults_file: self.defaults_file.clone(),
                defaults_extra_file: self.defaults_extra_file.clone(),
                no_defaults: self.no_defaults,
                group_suffix: self
                    .defaults_group_suffix
                    .clone()
                    .or_else(|| std::env::var("MYSQL_GROUP_SUFFIX").ok()),
                login_path: self.login_path.clone(),
            },
            places: Surroundings::of_process().places,
        }
    }

    /// Reads the option files, asks for the password if need be, and settles how to reach the server.
    /// Option files that had to be ignored are warned about in the log.
    ///
    /// # Errors
    /// Everything of usage: files that cannot be read, values that mean nothing, no terminal to ask on.
    pub fn resolve(self) -> Result<ConnectOptions> {
        self.resolve_in(&Surroundings::of_process())
    }

    fn resolve_in(self, surroundings: &Surroundings) -> Result<ConnectOptions> {
        let selection = self.option_files().selection;
        let (file, warnings) = option_files::read(&selection, &surroundings.places)?;
        for warning in warnings {
            tracing::warn!(event = "option_file", "{warning}");
        }
        let password = match (self.password, &self.password_file) {
            (Some(Some(Secret(text))), _) => GivenPassword::Text(text),
            (Some(None), _) => GivenPassword::Prompt,
            (None, Some(path)) => GivenPassword::Text(first_line(path, "password")?),
            (None, None) => GivenPassword::Unsaid,
        };
        let given = Given {
            host: self.host,
            port: self.port,
            user: self.user,
            password,
            socket: self.socket,
            ssl_mode: self.ssl_mode,
            ssl_ca: self.ssl_ca,
            ssl_cert: self.ssl_cert,
            ssl_key: self.ssl_key,
        };
        resolve(given, &file, surroundings)
    }
}

/// The first line of a file with a secret (`what`).
///
/// # Errors
/// Usage: it cannot be read.
pub fn first_line(path: &PathBuf, what: &str) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the {what} file {}: {error}",
            path.display()
        ))
    })?;
    Ok(text.lines().next().unwrap_or_default().to_string())
}

fn ssl_mode_parser() -> impl TypedValueParser<Value = SslMode> {
    let values = SslMode::WORDS.map(|(word, mode)| {
        let value = PossibleValue::new(word);
        match mode {
            SslMode::VerifyCa => value.alias("verify_ca"),
            SslMode::VerifyIdentity => value.alias("verify_identity"),
            SslMode::Disabled | SslMode::Preferred | SslMode::Required => value,
        }
    });
    PossibleValuesParser::new(values).try_map(|word| word.parse::<SslMode>())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
