//! Where the binlog is now, and how long the server will keep it.

use std::time::Duration;

use mysql_async::Row;

use super::event::Xid;
use crate::coordinates::Coordinates;
use crate::failure::{Context, ErrorClass, Failure, Result};
use crate::mysql::{Purpose, Server, Session};

/// The coordinates from which a stream gives everything that is not yet committed and visible.
///
/// MySQL with `gtid_mode=ON`: `@@gtid_executed`, which holds only what is visible. MariaDB:
/// `@@gtid_binlog_pos`, the last GTID of each domain in this server's own binlog; `gtid_current_pos`
/// also has what came by replication and may not be in the binlog at all, and a start from there is
/// refused. Otherwise file and position. The latter two may run ahead of visibility by a group commit;
/// the locking copy, the only one allowed there, waits for those transactions.
///
/// # Errors
/// What the server answered; binary logging that is off.
pub async fn current_coordinates(session: &mut Session) -> Result<Coordinates> {
    let facts = session.server().facts().clone();
    if facts.is_mariadb() {
        let position: String = session.one("SELECT @@GLOBAL.gtid_binlog_pos").await?;
        return Ok(Coordinates::Maria(position.parse()?));
    }
    if facts.has_gtid() {
        let executed: String = session.one("SELECT @@GLOBAL.gtid_executed").await?;
        return Ok(Coordinates::Gtid(executed.parse()?));
    }
    let row: Option<Row> = session
        .first(facts.binary_log_status())
        .await
        .doing(|| "ask for the binlog's position")?;
    let place = row.and_then(|row| Some((row.get_opt(0)?.ok()?, row.get_opt(1)?.ok()?)));
    match place {
        Some((name, position)) => Ok(Coordinates::File { name, position }),
        None => Err(Failure::failed("the server has no binlog")
            .remedy("turn log_bin on; changes are followed through the binlog")),
    }
}

/// The XA transactions that are prepared now; `None` if the server has never seen one. An account that
/// may not see them sees none: the reader then stops if one of them is resolved.
pub(super) async fn prepared_transactions(server: &Server) -> Result<Option<Vec<Xid>>> {
    let mut session = server.session(Purpose::Monitor).await?;
    let prepared = look_for_prepared(&mut session).await;
    session.close().await;
    prepared
}

async fn look_for_prepared(session: &mut Session) -> Result<Option<Vec<Xid>>> {
    let used: Option<(String, u64)> = session
        .first("SHOW GLOBAL STATUS LIKE 'Com_xa_prepare'")
        .await?;
    let rows: Result<Vec<(i64, usize, usize, Vec<u8>)>> = session.query("XA RECOVER").await;
    match rows {
        // Those that a restart has brought back are not counted, but shown.
        Ok(rows) if rows.is_empty() && used.is_some_and(|(_, times)| times == 0) => Ok(None),
        Ok(rows) => Ok(Some(rows.into_iter().filter_map(xid).collect())),
        Err(failure) if failure.class() == Some(ErrorClass::Refused) => {
            tracing::debug!(
                event = "xa_recover_refused",
                "cannot see prepared XA transactions: {failure}"
            );
            Ok(Some(Vec::new()))
        }
        Err(failure) => Err(failure),
    }
}

/// Format, lengths of the two parts, both parts in one.
fn xid((format, global, branch, data): (i64, usize, usize, Vec<u8>)) -> Option<Xid> {
    Some(Xid {
        format: u64::try_from(format).ok()?,
        global: data.get(..global)?.to_vec(),
        branch: data.get(global..global + branch)?.to_vec(),
    })
}

/// How long the server keeps binlogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Until they are this old.
    Age(Duration),
    /// Until somebody purges them.
    Forever,
    /// Not known: a managed server purges on its own.
    Unknown,
}

/// How long the server keeps its binlogs, as its variables say.
///
/// # Errors
/// What the server answered.
pub async fn retention(session: &mut Session) -> Result<Retention> {
    let facts = session.server().facts().clone();
    let seconds = facts.number("binlog_expire_logs_seconds").unwrap_or(0);
    Ok(match seconds {
        0 => Retention::Forever,
        seconds => Retention::Age(Duration::from_secs(seconds)),
    })
}
