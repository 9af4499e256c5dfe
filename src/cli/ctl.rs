//! `changeling ctl`: talks to a running migration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::control;
use crate::failure::{Failure, Result};
use crate::names::TableName;

/// Which migration, and what to tell it.
#[derive(Args, Debug, Clone)]
pub struct CtlArgs {
    /// The control socket; without it, that of --database and --table
    #[arg(long, env = "CHANGELING_CONTROL_SOCKET")]
    control_socket: Option<PathBuf>,
    /// The schema of the table that is being migrated
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// The table that is being migrated
    #[arg(long, env = "CHANGELING_TABLE")]
    table: Option<String>,
    /// status [json] · why · pause · resume · set NAME VALUE · cut-over · postpone · revert · abort ·
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
                .remedy("give --database and --table, or --control-socket")),
        }
    }

    /// Sends the command and prints the answer.
    ///
    /// # Errors
    /// Nobody listens there, or the command was refused.
    pub async fn run(&self) -> Result<ExitCode> {
        let answer = control::client::send(&self.socket()?, &self.command.join(" ")).await?;
        println!("{}", answer.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
