//! What the catalogue says about who is the table: asked after every lost connection, before anything
//! else is done.

use std::time::Duration;

use tokio::time::Instant;

use super::crew::end_connections;
use super::sorted::SortedNames;
use crate::failure::{Failure, Result};
use crate::mysql::{Purpose, Server, quote};
use crate::names::Names;

/// How long a server that does not answer is asked again: a crashed one comes back within this time,
/// or a person is needed.
const ASK_LIMIT: Duration = Duration::from_secs(120);
/// Between two questions to a server that does not answer.
const ASK_PAUSE: Duration = Duration::from_millis(500);

/// Whose rows the application sees under the original's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The original's: nothing was swapped.
    Original,
    /// The ghost's: the swap has happened.
    Swapped,
    /// It cannot be told; this is what there is.
    Unknown(String),
}

/// Looks once. A swap makes the ghost's name disappear and the old table's name appear, in one step,
/// so that the two states have nothing in common.
///
/// # Errors
/// What the server answered.
pub async fn ownership(server: &Server, names: &Names) -> Result<Ownership> {
    let seen = look(server, names).await?;
    Ok(match (seen.original, seen.ghost, seen.old) {
        (true, true, _) => Ownership::Original,
        (true, false, true) => Ownership::Swapped,
        _ => Ownership::Unknown(seen.words),
    })
}

/// Whether neither ghost nor old table is left beside the table: somebody has dropped the ghost, or the old
/// table after a swap. The application's rows are those of the table that is there, in either case.
///
/// # Errors
/// What the server answered.
pub async fn is_alone(server: &Server, names: &Names) -> Result<bool> {
    let seen = look(server, names).await?;
    Ok(seen.original && !seen.ghost && !seen.old)
}

/// Which of the tables of a swap are there.
struct Seen {
    original: bool,
    /// By either of its names.
    ghost: bool,
    /// While the ghost is there, nothing was swapped: what has the old table's name is of an earlier
    /// time, and the sentry's name is the sentry's. Once the ghost has taken the original's name, either
    /// is the old table's.
    old: bool,
    /// For a message.
    words: String,
}

async fn look(server: &Server, names: &Names) -> Result<Seen> {
    let sorted = SortedNames::new(&names.original);
    let candidates = [
        &names.original,
        &names.ghost,
        &sorted.ghost,
        &names.old,
        &sorted.sentry,
    ];
    let list = candidates
        .iter()
        .map(|name| quote::string(&name.table))
        .collect::<Vec<_>>()
        .join(", ");
    let mut session = server.session(Purpose::Monitor).await?;
    let found: Vec<String> = session
        .query(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({list})",
            quote::string(&names.original.schema)
        ))
        .await?;
    session.close().await;
    let has = |table: &str| found.iter().any(|name| name == table);
    Ok(Seen {
        original: has(&names.original.table),
        ghost: has(&names.ghost.table) || has(&sorted.ghost.table),
        old: has(&names.old.table) || has(&sorted.sentry.table),
        words: format!(
            "of {} there are: {}",
            candidates.map(|name| name.table.as_str()).join(", "),
            if found.is_empty() {
                "none".to_string()
            } else {
                found.join(", ")
            }
        ),
    })
}

/// After a loss of contact: ends our connections `ids` for certain, then looks; asks a server that
/// does not answer for two minutes.
pub(super) async fn decide(server: &Server, names: &Names, ids: &[u32]) -> Ownership {
    let deadline = Instant::now() + ASK_LIMIT;
    loop {
        let failure: Failure = match end_connections(server, ids).await {
            Ok(()) => match ownership(server, names).await {
                Ok(ownership) => return ownership,
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        if Instant::now() >= deadline {
            return Ownership::Unknown(format!("the server could not be asked: {failure}"));
        }
        tracing::warn!(event = "cutover_ask", "asking who is the table: {failure}");
        tokio::time::sleep(ASK_PAUSE).await;
    }
}
