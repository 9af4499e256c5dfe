//! Where the binlog is now, and how long the server will keep it.

use std::time::Duration;

use mysql_async::Row;

use super::event::Xid;
use crate::coordinates::Coordinates;
use crate::failure::{Context, Failure, Result};
use crate::mysql::{Facts, Purpose, Server, Session};

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
    match session.query::<RecoverRow>("XA RECOVER").await {
        // Those that a restart has brought back are not counted, but shown.
        Ok(rows) if rows.is_empty() && used.is_some_and(|(_, times)| times == 0) => Ok(None),
        Ok(rows) => Ok(Some(rows.into_iter().filter_map(xid).collect())),
        Err(failure) if failure.is_disconnected() || failure.is_transient() => Err(failure),
        // MySQL gives its general XA error (1401) to accounts without XA_RECOVER_ADMIN.
        Err(failure) => {
            tracing::debug!(
                event = "xa_recover_refused",
                "cannot see prepared XA transactions: {failure}"
            );
            Ok(Some(Vec::new()))
        }
    }
}

/// A row of XA RECOVER: format, lengths of the two parts, both parts in one.
type RecoverRow = (i64, usize, usize, Vec<u8>);

fn xid((format, global, branch, data): RecoverRow) -> Option<Xid> {
    Some(Xid {
        format: u64::try_from(format).ok()?,
        global: data.get(..global)?.to_vec(),
        branch: data.get(global..global + branch)?.to_vec(),
    })
}

/// How long the server keeps binlogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Until they are this old; what is needed is as old as the last applied transaction.
    Age(Duration),
    /// Until somebody purges them.
    Forever,
    /// Not known: by their size, or as a managed service sees fit.
    Unknown,
}

/// How long the server keeps its binlogs, as its variables say.
pub fn retention(facts: &Facts) -> Retention {
    const DAY_S: f64 = 86_400.0;
    // Amazon RDS purges on its own, whatever the variables say; its servers live below this folder.
    let managed = facts
        .variable("basedir")
        .is_some_and(|folder| folder.starts_with("/rdsdbbin"));
    if managed
        || facts
            .number("max_binlog_total_size")
            .is_some_and(|bytes| bytes > 0)
    {
        return Retention::Unknown;
    }
    let never = facts.variable("binlog_expire_logs_auto_purge").is_some()
        && !facts.is_on("binlog_expire_logs_auto_purge");
    // Before MySQL 8.0 and MariaDB 10.6 there were days only.
    let seconds = facts.number("binlog_expire_logs_seconds").unwrap_or(0);
    let days = facts
        .variable("expire_logs_days")
        .and_then(|days| days.parse::<f64>().ok())
        .unwrap_or(0.0);
    if never || (seconds == 0 && days <= 0.0) {
        return Retention::Forever;
    }
    Retention::Age(match seconds {
        0 => Duration::from_secs_f64(days * DAY_S),
        seconds => Duration::from_secs(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Retention) {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(retention(&Facts::new("8.0.36", variables)), expected);
    }

    #[test]
    fn retention_is_what_the_variables_say() {
        let day = Retention::Age(Duration::from_secs(86_400));
        check(&[("binlog_expire_logs_seconds", "86400")], day);
        check(
            &[
                ("binlog_expire_logs_seconds", "86400"),
                ("expire_logs_days", "1.000000"),
            ],
            day,
        );
        check(&[("expire_logs_days", "1")], day);
        check(
            &[
                ("expire_logs_days", "0"),
                ("binlog_expire_logs_seconds", "0"),
            ],
            Retention::Forever,
        );
        check(
            &[
                ("binlog_expire_logs_seconds", "9"),
                ("binlog_expire_logs_auto_purge", "OFF"),
            ],
            Retention::Forever,
        );
        check(
            &[
                ("binlog_expire_logs_seconds", "9"),
                ("max_binlog_total_size", "1000"),
            ],
            Retention::Unknown,
        );
        check(&[("basedir", "/rdsdbbin/mysql-8.0/")], Retention::Unknown);
    }
}
