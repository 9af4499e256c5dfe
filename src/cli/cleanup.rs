//! `changeling cleanup`: lists the tables that runs have left, and removes those that are named.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use super::connection::ConnectionArgs;
use crate::failure::{Failure, FailureKind, Result};
use crate::leftovers::{self, LeftOver};
use crate::mysql::{Purpose, Server};
use crate::observe::text;

/// What to list and what to remove.
#[derive(Args, Debug, Clone)]
pub struct CleanupArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Look in this schema only
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// Remove these tables, as SCHEMA.TABLE, or as TABLE with --database; without any, they are listed
    tables: Vec<String>,
    /// Remove everything that is listed and on which no run is at work
    #[arg(long, conflicts_with = "tables")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl CleanupArgs {
    /// Lists or removes.
    ///
    /// # Errors
    /// What the server answered; a table that is none of ours, or in use.
    pub async fn run(self) -> Result<ExitCode> {
        let server = Server::connect(self.connection.clone().resolve()?).await?;
        let mut session = server.session(Purpose::Monitor).await?;
        let found = leftovers::find(&mut session, self.database.as_deref()).await?;
        if self.tables.is_empty() && !self.all {
            list(&found);
            return Ok(ExitCode::SUCCESS);
        }
        let chosen = self.chosen(&found)?;
        if chosen.is_empty() {
            println!("nothing to remove");
            return Ok(ExitCode::SUCCESS);
        }
        list(&chosen);
        if !self.yes && !agreed()? {
            println!("nothing was removed");
            return Ok(ExitCode::SUCCESS);
        }
        for left in &chosen {
            leftovers::remove(&mut session, left).await?;
            println!("dropped {}", left.table);
        }
        session.close().await;
        Ok(ExitCode::SUCCESS)
    }

    fn chosen(&self, found: &[LeftOver]) -> Result<Vec<LeftOver>> {
        if self.all {
            return Ok(found.iter().filter(|left| !left.at_work).cloned().collect());
        }
        self.tables
            .iter()
            .map(|name| {
                found
                    .iter()
                    .find(|left| {
                        let here = self.database.as_ref() == Some(&left.table.schema);
                        left.table.to_string() == *name || here && left.table.table == *name
                    })
                    .cloned()
                    .ok_or_else(|| {
                        Failure::new(
                            FailureKind::Refused,
                            format!("{name} is no table that this program has left"),
                        )
                        .remedy("name one of those that `changeling cleanup` lists")
                    })
            })
            .collect()
    }
}

fn list(found: &[LeftOver]) {
    if found.is_empty() {
        println!("no tables are left");
        return;
    }
    for left in found {
        let age = left.age_s.map_or_else(
            || "age unknown".to_string(),
            |seconds| format!("{} old", text::span(seconds as f64)),
        );
        println!(
            "{:<40} {:<10} {:>10} {:>14}{}",
            left.table.to_string(),
            left.kind.words(),
            text::bytes(left.bytes),
            age,
            if left.at_work {
                "  a run is at work on it"
            } else {
                ""
            }
        );
    }
}

fn agreed() -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::usage("there is no terminal to ask on").remedy("say --yes"));
    }
    print!("drop these tables? [y/N] ");
    let mut answer = String::new();
    std::io::stdout()
        .flush()
        .and_then(|()| input.lock().read_line(&mut answer))
        .map_err(|error| Failure::failed(format!("read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
