//! The server's state: may we write, who else writes, what is prepared.

use mysql_async::Row;

use super::finding::{Finding, Findings};
use super::grants::Grants;
use crate::failure::{ErrorClass, Failure, Result};
use crate::mysql::{Facts, Session};

/// Asks about all of it.
///
/// # Errors
/// What the server answered.
pub async fn check(session: &mut Session, grants: &Grants, findings: &mut Findings) -> Result<()> {
    let facts = session.server().facts().clone();
    read_only(&facts, grants, findings);
    several_writers(&facts, findings);
    prepared_transactions(session, findings).await?;
    is_replica(session, &facts, findings).await
}

fn read_only(facts: &Facts, grants: &Grants, findings: &mut Findings) {
    let remedy = "run against the primary, or make the server writable";
    for variable in ["super_read_only", "innodb_read_only"] {
        if facts.is_on(variable) {
            let what = format!("the server takes no writes: {variable} is ON");
            findings.push(Finding::refuse("read-only", what, remedy));
            return;
        }
    }
    if !facts.is_on("read_only") {
        return;
    }
    let exempt = facts
        .read_only_exemptions()
        .iter()
        .any(|privilege| grants.everywhere(privilege));
    if exempt {
        findings.push(Finding::warn(
            "read-only",
            "read_only is ON, and the account may write all the same",
            "check that this is the server you mean",
        ));
    } else {
        let what = "the server takes no writes: read_only is ON";
        findings.push(Finding::refuse("read-only", what, remedy));
    }
}

/// The order of events within one binlog proves that nothing is lost; writes that certify on other
/// nodes do not keep to a table lock taken here.
fn several_writers(facts: &Facts, findings: &mut Findings) {
    let galera = facts.is_on("wsrep_on");
    let group = facts
        .variable("group_replication_group_name")
        .is_some_and(|name| !name.is_empty())
        && !facts.is_on("group_replication_single_primary_mode");
    if galera || group {
        let cluster = if galera {
            "a Galera cluster (wsrep_on is ON)"
        } else {
            "a replication group with several primaries"
        };
        findings.push(Finding::refuse(
            "several-writers",
            format!("the server is a member of {cluster}: a table lock does not stop writes to other members"),
            "use the cluster's own online schema change",
        ));
    }
}

/// A prepared XA transaction may hold changes of the table that are committed in the middle of the run.
async fn prepared_transactions(session: &mut Session, findings: &mut Findings) -> Result<()> {
    /// MySQL: XA_RECOVER_ADMIN is needed.
    const ER_XAER_RMERR: u16 = 1401;
    match session.query::<Row>("XA RECOVER").await {
        Ok(prepared) if prepared.is_empty() => Ok(()),
        Ok(prepared) => {
            findings.push(Finding::warn(
                "xa-prepared",
                format!(
                    "{} prepared XA transaction(s) wait: if one that changed the table is resolved during \
                     the run, the run stops",
                    prepared.len()
                ),
                "commit or roll back what XA RECOVER shows",
            ));
            Ok(())
        }
        Err(failure) if failure.code() == Some(ER_XAER_RMERR) || is_refused(&failure) => {
            findings.push(Finding::note(
                "xa-unknown",
                "the account may not see prepared XA transactions",
                "grant XA_RECOVER_ADMIN if the application uses XA",
            ));
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

async fn is_replica(session: &mut Session, facts: &Facts, findings: &mut Findings) -> Result<()> {
    let sources = match session.query::<Row>(facts.show_replica_status()).await {
        Ok(rows) => rows.len(),
        Err(failure) if is_refused(&failure) => 0,
        Err(failure) => return Err(failure),
    };
    if sources == 0 {
        return Ok(());
    }
    if facts.logs_replicated_changes() {
        findings.push(Finding::warn(
            "replica",
            "the server is a replica: what its primary writes must fit the new definition too",
            "run against the primary, unless the table is to differ here",
        ));
    } else {
        findings.push(Finding::refuse(
            "replica-unlogged",
            "the server is a replica and does not log what its primary writes (log_replica_updates is OFF)",
            "run against the primary, or set log_replica_updates=ON and restart the replica",
        ));
    }
    Ok(())
}

/// How many replicas are attached, as far as the account may know.
///
/// # Errors
/// What the server answered.
pub async fn replicas(session: &mut Session) -> Result<usize> {
    let statement = session.server().facts().show_replicas();
    match session.query::<Row>(statement).await {
        Ok(rows) => Ok(rows.iter().filter(|row| is_server(row)).count()),
        Err(failure) if is_refused(&failure) => binlog_dumps(session).await,
        Err(failure) => Err(failure),
    }
}

/// Servers say their port when they register; other readers of the binlog say 0.
fn is_server(row: &Row) -> bool {
    let port = row
        .columns_ref()
        .iter()
        .position(|column| column.name_str().eq_ignore_ascii_case("Port"))
        .and_then(|place| row.get_opt::<u32, usize>(place));
    !matches!(port, Some(Ok(0)))
}

/// Other readers of the binlog may be among them: too many is the safe side.
async fn binlog_dumps(session: &mut Session) -> Result<usize> {
    let list = session.server().facts().processlist();
    session
        .one(&format!(
            "SELECT COUNT(*) FROM {list} WHERE COMMAND LIKE 'Binlog Dump%'"
        ))
        .await
}

fn is_refused(failure: &Failure) -> bool {
    failure.class() == Some(ErrorClass::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::finding::Severity;

    fn found(version: &str, variables: &[(&str, &str)], grant: &str) -> Option<Severity> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let facts = Facts::new(version, variables);
        let line = format!("GRANT {grant} ON *.* TO `a`@`%`");
        let mut findings = Findings::default();
        read_only(
            &facts,
            &Grants::parse([line.as_str()], false),
            &mut findings,
        );
        several_writers(&facts, &mut findings);
        findings.sorted().first().map(|finding| finding.severity)
    }

    #[test]
    fn who_may_not_write_is_refused() {
        let (refuse, warn) = (Some(Severity::Refuse), Some(Severity::Warn));
        let on = [("read_only", "ON")];
        assert_eq!(found("8.0.36", &[("read_only", "OFF")], "SELECT"), None);
        assert_eq!(found("8.0.36", &on, "SELECT"), refuse);
        assert_eq!(found("8.0.36", &on, "CONNECTION_ADMIN"), warn);
        assert_eq!(found("10.6.1-MariaDB", &on, "SUPER"), warn);
        assert_eq!(found("10.11.6-MariaDB", &on, "SUPER"), refuse);
        assert_eq!(found("10.11.6-MariaDB", &on, "READ_ONLY ADMIN"), warn);
        let all = [("read_only", "ON"), ("super_read_only", "ON")];
        assert_eq!(found("8.0.36", &all, "ALL PRIVILEGES"), refuse);
    }

    #[test]
    fn clusters_with_several_writers_are_refused() {
        let group = |single| {
            let variables = [
                ("group_replication_group_name", "aaaa"),
                ("group_replication_single_primary_mode", single),
            ];
            found("8.4.0", &variables, "SELECT")
        };
        assert_eq!(group("ON"), None);
        assert_eq!(group("OFF"), Some(Severity::Refuse));
        let galera = [("wsrep_on", "ON")];
        assert_eq!(
            found("10.11.6-MariaDB", &galera, "SELECT"),
            Some(Severity::Refuse)
        );
    }
}
