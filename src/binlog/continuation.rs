//! Whether a server's binlog still has everything behind some coordinates.

use std::time::Duration;

use mysql_async::Row;

use crate::coordinates::{Coordinates, GtidSet, MariaGtids};
use crate::failure::Result;
use crate::mysql::{Session, quote};

/// How often, and for how long in all, a transaction is waited for that has been in the binlog but is not
/// visible yet (semi-sync), or not yet replicated.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS: u32 = 20;

/// What the server's binlog has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// Everything behind the coordinates, as far as can be told.
    Whole,
    /// Not all of it: so much was purged.
    Purged(String),
    /// Another history: the server lacks what came before the coordinates.
    Elsewhere(String),
}

/// Looks whether a stream from these coordinates would miss anything.
///
/// # Errors
/// What the server answered.
pub async fn continuation(session: &mut Session, from: &Coordinates) -> Result<Continuation> {
    let mut found = look(session, from).await?;
    for _ in 1..LOOKS {
        if !matches!(found, Continuation::Elsewhere(_)) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        found = look(session, from).await?;
    }
    Ok(found)
}

async fn look(session: &mut Session, from: &Coordinates) -> Result<Continuation> {
    let facts = session.server().facts().clone();
    match from {
        Coordinates::Gtid(from) => {
            if !facts.has_gtid() {
                return Ok(Continuation::Elsewhere(from.to_string()));
            }
            let (executed, purged): (String, String) = session
                .one("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
                .await?;
            Ok(of_sets(from, &executed.parse()?, &purged.parse()?))
        }
        Coordinates::Maria(from) => {
            if !facts.is_mariadb() {
                return Ok(Continuation::Elsewhere(from.to_string()));
            }
            let (own, all): (String, String) = session
                .one("SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_current_pos")
                .await?;
            let first = match logs(session).await?.into_iter().next() {
                Some((name, _)) => {
                    let sql = format!("SELECT BINLOG_GTID_POS({}, 4)", quote::string(&name));
                    let at: Option<String> = session.one(&sql).await?;
                    at.map(|at| at.parse()).transpose()?
                }
                None => None,
            };
            Ok(of_positions(from, &[own.parse()?, all.parse()?], first))
        }
        Coordinates::File { name, position } => {
            let logs = logs(session).await?;
            Ok(match logs.iter().find(|(log, _)| log == name) {
                Some((_, size)) if size >= position => Continuation::Whole,
                Some((_, size)) => {
                    Continuation::Elsewhere(format!("{name} ends at {size}, before {position}"))
                }
                None => Continuation::Purged(format!("the file {name}")),
            })
        }
    }
}

fn of_sets(from: &GtidSet, executed: &GtidSet, purged: &GtidSet) -> Continuation {
    let (lacking, gone) = (from.difference(executed), purged.difference(from));
    if !lacking.is_empty() {
        Continuation::Elsewhere(lacking.to_string())
    } else if !gone.is_empty() {
        Continuation::Purged(gone.to_string())
    } else {
        Continuation::Whole
    }
}

/// `positions`: what the server has by its own binlog, and by replication. `first`: where its oldest
/// binlog begins.
fn of_positions(
    from: &MariaGtids,
    positions: &[MariaGtids],
    first: Option<MariaGtids>,
) -> Continuation {
    // Domain by domain: one may be known from replication alone.
    let lacks = |(domain, (_, sequence)): (&u32, &(u32, u64))| {
        !positions.iter().any(|has| {
            has.0
                .get(domain)
                .is_some_and(|(_, reached)| reached >= sequence)
        })
    };
    if from.0.iter().any(lacks) {
        return Continuation::Elsewhere(from.to_string());
    }
    match first {
        Some(first) if !from.contains(&first) => {
            Continuation::Purged(format!("everything up to {first}"))
        }
        _ => Continuation::Whole,
    }
}

/// Names and sizes of the binlog's files, oldest first; none if the account may not see them: then the
/// stream will tell.
async fn logs(session: &mut Session) -> Result<Vec<(String, u64)>> {
    // MySQL has a third column.
    let rows: Vec<Row> = match session.query("SHOW BINARY LOGS").await {
        Err(failure) if failure.is_disconnected() => return Err(failure),
        Err(_) => return Ok(Vec::new()),
        Ok(rows) => rows,
    };
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get_opt(0)?.ok()?, row.get_opt(1)?.ok()?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    #[test]
    fn sets_tell_what_is_missing() {
        let set = |text: &str| -> GtidSet { text.parse().unwrap() };
        let from = set(&format!("{A}:1-10"));
        let executed = set(&format!("{A}:1-20,{B}:1-5"));
        assert_eq!(
            of_sets(&from, &executed, &set(&format!("{A}:1-10"))),
            Continuation::Whole
        );
        assert_eq!(
            of_sets(&from, &executed, &set(&format!("{A}:1-12"))),
            Continuation::Purged(format!("{A}:11-12"))
        );
        assert_eq!(
            of_sets(&from, &set(&format!("{A}:1-9")), &set("")),
            Continuation::Elsewhere(format!("{A}:10"))
        );
    }

    #[test]
    fn positions_tell_what_is_missing() {
        let at = |text: &str| -> MariaGtids { text.parse().unwrap() };
        let from = at("0-1-10");
        assert_eq!(
            of_positions(&from, &[at(""), at("0-2-12")], Some(at("0-1-9"))),
            Continuation::Whole
        );
        assert!(matches!(
            of_positions(&from, &[at("0-1-12")], Some(at("0-1-11"))),
            Continuation::Purged(_)
        ));
        assert!(matches!(
            of_positions(&from, &[at("0-1-12")], Some(at("0-1-9,1-1-3"))),
            Continuation::Purged(_)
        ));
        assert!(matches!(
            of_positions(&from, &[at("0-1-9"), at("")], None),
            Continuation::Elsewhere(_)
        ));
    }
}
