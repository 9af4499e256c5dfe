//! `changeling verify`: compares two tables.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionArgs;
use crate::failure::{Failure, Result};
use crate::mysql::Server;
use crate::names::TableName;
use crate::workflow;

/// Which tables.
#[derive(Args, Debug, Clone)]
pub struct VerifyArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The first table, as SCHEMA.TABLE, or as TABLE with --database
    first: String,
    /// The second table
    second: String,
    /// The schema of tables that are named without
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// The second table is on this server, as host:port, with the same account (a replica, say)
    #[arg(long, env = "CHANGELING_SECOND_SERVER")]
    second_server: Option<String>,
    /// Chunks compared side by side
    #[arg(long, env = "CHANGELING_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
}

impl VerifyArgs {
    /// Compares and prints.
    ///
    /// # Errors
    /// A difference; what a server answered.
    pub async fn run(self) -> Result<ExitCode> {
        let options = self.connection.clone().resolve()?;
        let server = Server::connect(options.clone()).await?;
        let second_server = match &self.second_server {
            None => None,
            Some(address) => {
                let (host, port) = crate::throttle::parse_host(address)?;
                Some(Server::connect(options.at(&host, port)).await?)
            }
        };
        let first = self.table(&self.first)?;
        let second = self.table(&self.second)?;
        let compared = workflow::compare(
            &server,
            &first,
            second_server.as_ref(),
            &second,
            self.workers.into(),
            &CancellationToken::new(),
        )
        .await?;
        println!("equal: {} rows of {first} and {second}", compared.rows);
        for (table, columns) in [(first, compared.only_first), (second, compared.only_second)] {
            if !columns.is_empty() {
                println!("  not compared, only in {table}: {}", columns.join(", "));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn table(&self, text: &str) -> Result<TableName> {
        match (text.split_once('.'), &self.database) {
            (Some((schema, table)), _) => Ok(TableName::new(schema, table)),
            (None, Some(schema)) => Ok(TableName::new(schema, text)),
            (None, None) => Err(
                Failure::usage(format!("the schema of `{text}` is not said"))
                    .remedy("write SCHEMA.TABLE, or give --database"),
            ),
        }
    }
}
