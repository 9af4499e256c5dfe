//! `changeling verify`: compares two tables.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionArgs;
use crate::alter::lexer::{Dialect, tokens};
use crate::failure::{Failure, Result};
use crate::mysql::Server;
use crate::names::TableName;
use crate::workflow;

/// Which tables.
#[derive(Args, Debug, Clone)]
pub struct VerifyArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The first table, as SCHEMA.TABLE, or as TABLE with --database; in backticks if there are dots in names
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
        let unsaid = || {
            Failure::usage(format!("the schema of `{text}` is not said"))
                .remedy("write SCHEMA.TABLE, or give --database")
        };
        let (schema, table) = parts(text)?;
        let schema = schema.or_else(|| self.database.clone());
        Ok(TableName::new(schema.ok_or_else(unsaid)?, table))
    }
}

/// Schema and table of `schema.table` or `table`; what has backticks is read as SQL reads it, so that names
/// may have dots in them.
fn parts(text: &str) -> Result<(Option<String>, String)> {
    if !text.contains('`') {
        return Ok(match text.split_once('.') {
            Some((schema, table)) => (Some(schema.to_string()), table.to_string()),
            None => (None, text.to_string()),
        });
    }
    let tokens = tokens(text, Dialect::default());
    let parts = match tokens.as_slice() {
        [table] => (None, table.name()),
        [schema, dot, table] if dot.is_char('.') => (schema.name(), table.name()),
        _ => (None, None),
    };
    match parts {
        (schema, Some(table)) if schema.is_some() || tokens.len() == 1 => Ok((schema, table)),
        _ => Err(Failure::usage(format!("{text} is no name of a table"))
            .remedy("write `schema`.`table`, with backticks doubled within names")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_quoted() {
        for (text, schema, table) in [
            ("d.t", Some("d"), "t"),
            ("t", None, "t"),
            ("`a.b`", None, "a.b"),
            ("`a``.b`.`t`", Some("a`.b"), "t"),
            ("d.`t t`", Some("d"), "t t"),
        ] {
            let expected = (schema.map(String::from), table.to_string());
            assert_eq!(parts(text).unwrap(), expected, "{text}");
        }
        for text in ["`a`b", "`a`.", "`a`.`b`.`c`", "`a", "'a'.`b`"] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
