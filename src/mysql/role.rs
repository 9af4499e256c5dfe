//! What part a server plays: whether applications write to it.

use std::time::Duration;

use mysql_async::Row;

use super::quote;
use super::session::Session;
use crate::coordinates::Coordinates;
use crate::failure::{Failure, Result};

/// How much later than asked for a wait on the server may end.
const LATE: Duration = Duration::from_secs(10);

/// The part of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes, and none from another server.
    Primary,
    /// It refuses writes.
    ReadOnly,
    /// It applies the changes of another server.
    Replica,
}

/// Looks what part the server plays now.
///
/// # Errors
/// What the server answered.
pub async fn role(session: &mut Session) -> Result<Role> {
    let facts = session.server().facts().clone();
    if is_read_only(session).await? {
        return Ok(Role::ReadOnly);
    }
    let channels: Vec<Row> = session.query(facts.show_replica_status()).await?;
    let applies = |row: &Row| {
        // MariaDB and MySQL before 8.0.22 say slave.
        ["Replica_SQL_Running", "Slave_SQL_Running"]
            .iter()
            .filter_map(|name| row.get_opt::<String, _>(*name)?.ok())
            .any(|running| running != "No")
    };
    Ok(match channels.iter().any(applies) {
        true => Role::Replica,
        false => Role::Primary,
    })
}

/// Whether the server follows another one, running or not.
///
/// # Errors
/// What the server answered.
pub async fn is_replica(session: &mut Session) -> Result<bool> {
    let query = session.server().facts().show_replica_status();
    let channels: Vec<Row> = session.query(query).await?;
    Ok(!channels.is_empty())
}

/// Waits until a replica has applied all transactions up to these coordinates. False: not within `limit`.
///
/// # Errors
/// What the server answered; coordinates that mean nothing to a replica.
pub async fn caught_up(session: &mut Session, to: &Coordinates, limit: Duration) -> Result<bool> {
    let seconds = limit.as_secs().max(1);
    let query = match to {
        Coordinates::Gtid(set) => format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {seconds})",
            quote::string(&set.to_string())
        ),
        Coordinates::Maria(position) => format!(
            "SELECT MASTER_GTID_WAIT({}, {seconds})",
            quote::string(&position.to_string())
        ),
        Coordinates::File { .. } => {
            return Err(Failure::failed(
                "without GTIDs it cannot be told whether a replica has caught up",
            )
            .remedy("turn gtid_mode on, or compare when nothing is written"));
        }
    };
    session.set_limit(limit + LATE);
    let waited: i64 = session.one(&query).await?;
    Ok(waited == 0)
}

/// Whether the server refuses writes now.
///
/// # Errors
/// What the server answered.
pub async fn is_read_only(session: &mut Session) -> Result<bool> {
    let query = session.server().facts().read_only_query();
    let on: u8 = session.one(query).await?;
    Ok(on != 0)
}
