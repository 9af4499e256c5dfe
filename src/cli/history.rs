//! `changeling history`: the runs of a table or schema.

use std::process::ExitCode;

use clap::Args;

use super::connection::ConnectionArgs;
use crate::failure::{Failure, Result};
use crate::history::{self, Entry, State};
use crate::mysql::{Purpose, Server};
use crate::observe::text::grouped;

/// Which runs, and how they are shown.
#[derive(Args, Debug, Clone)]
pub struct HistoryArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The schema; without it, all that have a history
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    database: Option<String>,
    /// The table; without it, all of the schema
    #[arg(long, env = "CHANGELING_TABLE", requires = "database")]
    table: Option<String>,
    /// At most so many runs, the newest
    #[arg(long, env = "CHANGELING_HISTORY_LIMIT", default_value_t = 20)]
    limit: usize,
    /// How they are shown
    #[arg(long, env = "CHANGELING_FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Remove runs that ended more than so many days ago; they can be reverted no more
    #[arg(long, value_name = "DAYS", requires = "database")]
    prune: Option<u32>,
}

/// How runs are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// A list of objects, with everything there is.
    Json,
}

/// A run with its schema.
#[derive(serde::Serialize)]
struct Shown {
    schema: String,
    #[serde(flatten)]
    entry: Entry,
}

impl HistoryArgs {
    /// Lists or prunes.
    ///
    /// # Errors
    /// What the server answered; rows of a newer program.
    pub async fn run(self) -> Result<ExitCode> {
        let server = Server::connect(self.connection.clone().resolve()?).await?;
        let mut session = server.session(Purpose::Monitor).await?;
        if let (Some(days), Some(schema)) = (self.prune, &self.database) {
            let pruned = history::prune(&mut session, schema, days).await?;
            println!("{pruned} runs removed");
            return Ok(ExitCode::SUCCESS);
        }
        let schemas = match &self.database {
            Some(schema) => vec![schema.clone()],
            None => history::schemas(&mut session).await?,
        };
        let mut runs = Vec::new();
        for schema in schemas {
            let found = history::read(&mut session, &schema, self.table.as_deref()).await?;
            runs.extend(found.into_iter().map(|entry| Shown {
                schema: schema.clone(),
                entry,
            }));
        }
        session.close().await;
        runs.sort_by(|a, b| b.entry.started_at.cmp(&a.entry.started_at));
        runs.truncate(self.limit);
        match self.format {
            Format::Json => println!(
                "{}",
                serde_json::to_string_pretty(&runs).map_err(|error| Failure::failed(format!(
                    "put the history into JSON: {error}"
                )))?
            ),
            Format::Text if runs.is_empty() => println!("no runs are recorded"),
            Format::Text => runs.iter().for_each(show),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(run: &Shown) {
    let entry = &run.entry;
    println!(
        "run {} of {}.{}: {}, {}",
        entry.id,
        run.schema,
        entry.table,
        entry.kind.word(),
        entry.state.word()
    );
    println!("  {}", entry.statement);
    println!(
        "  {} from {}, changeling {}",
        entry.account, entry.host, entry.program
    );
    let or_not = |time: &Option<String>| time.clone().unwrap_or_else(|| "not".to_string());
    let by_server = entry.state == State::Altered;
    println!(
        "  started {}, {} {}, ended {} (UTC)",
        entry.started_at,
        if by_server { "altered" } else { "swapped" },
        or_not(&entry.swapped_at),
        or_not(&entry.ended_at)
    );
    if !by_server {
        println!(
            "  {} rows copied, {} changes replayed",
            grouped(entry.rows_copied),
            grouped(entry.changes)
        );
    }
    if let Some(verification) = &entry.verification {
        println!("  verified: {verification}");
    }
    println!("  began at {}", entry.start_coordinates);
    if let Some(swap) = &entry.swap_coordinates {
        println!("  swapped at {swap}, old table {}", entry.old_table);
    }
    if let Some(way_back) = &entry.way_back {
        println!(
            "  old table kept in step up to {}, {} rows do not fit",
            way_back.applied,
            way_back.misfits.len()
        );
    }
    if let Some(result) = &entry.result {
        println!("  result: {result}");
    }
}
