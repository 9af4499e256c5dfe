//! `changeling ctl`: talks to a running migration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::connection::{Secret, first_line};
use crate::control;
use crate::failure::{Failure, Result};
use crate::names::TableName;

/// What opens the control port.
#[derive(Args, Debug, Clone)]
pub struct TokenArgs {
    /// The token of the control port. Better kept in a file
    #[arg(
        long,
        env = "CHANGELING_CONTROL_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        require_equals = true
    )]
    pub control_token: Option<Secret>,
    /// File whose first line is the token of the control port
    #[arg(
        long,
        env = "CHANGELING_CONTROL_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "control_token"
    )]
    pub control_token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token, if one is given.
    ///
    /// # Errors
    /// Usage: its file cannot be read.
    pub fn token(&self) -> Result<Option<String>> {
        match (&self.control_token, &self.control_token_file) {
            (Some(secret), _) => Ok(Some(secret.clone().into_text())),
            (None, Some(file)) => first_line(file, "token").map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Which migration, and what to tell it.
#[derive(Args, Debug, Clone)]
pub struct CtlArgs {
    /// The control socket; without it, that of --database and --table
    #[arg(long, env = "CHANGELING_CONTROL_SOCKET")]
    control_socket: Option<PathBuf>,
    /// The control port, as HOST:PORT, instead of a socket; with the token
    #[arg(
        long,
        env = "CHANGELING_CONTROL_ADDRESS",
        value_name = "HOST:PORT",
        conflicts_with = "control_socket"
    )]
    control_address: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// The schema of the table that is being migrated
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// The table that is being migrated
    #[arg(long, env = "CHANGELING_TABLE")]
    table: Option<String>,
    /// status [json] · why · pause · resume · settings · set NAME VALUE · cut-over · postpone · revert · abort ·
    /// drop · coordinates · help
    #[arg(required = true, num_args = 1..)]
    command: Vec<String>,
}

impl CtlArgs {
    fn socket(&self) -> Result<PathBuf> {
        match (&self.control_socket, &self.database, &self.table) {
            (Some(path), _, _) => Ok(path.clone()),
            (None, Some(database), Some(table)) => Ok(control::default_socket_path(
                &TableName::new(database, table),
            )),
            _ => Err(Failure::usage("it is not said which migration is meant")
                .remedy("give --database and --table, --control-socket, or --control-address")),
        }
    }

    /// Sends the command and prints the answer.
    ///
    /// # Errors
    /// Nobody listens there, or the command was refused.
    pub async fn run(&self) -> Result<ExitCode> {
        let line = self.command.join(" ");
        let answer = match &self.control_address {
            None => control::client::send(&self.socket()?, &line).await?,
            Some(address) => {
                let token = self.token.token()?.ok_or_else(|| {
                    Failure::usage("--control-address needs the token of the migration")
                        .remedy("give --control-token-file FILE, or CHANGELING_CONTROL_TOKEN")
                })?;
                control::client::send_tcp(address, &token, &line).await?
            }
        };
        println!("{}", answer.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
