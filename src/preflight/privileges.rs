//! What the account must be allowed to do.

use super::Requirements;
use super::finding::{Finding, Findings};
use super::grants::Grants;
use crate::failure::{ErrorClass, Result};
use crate::mysql::{Facts, Session, quote};
use crate::names::TableName;

/// Needed on the schema, for the original and our own tables. TRIGGER is needed to see triggers, which
/// would be lost otherwise. (Indexes are added and dropped with ALTER; INDEX is not needed.)
const ON_SCHEMA: [&str; 9] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "LOCK TABLES",
    "TRIGGER",
];

/// The grants of the session's account, its active roles included.
///
/// # Errors
/// What the server answered.
pub async fn read(session: &mut Session) -> Result<Grants> {
    /// The server runs with --skip-grant-tables.
    const ER_OPTION_PREVENTS_STATEMENT: u16 = 1290;
    let literal = session.server().facts().is_on("partial_revokes");
    match session.query::<String>("SHOW GRANTS").await {
        Ok(lines) => Ok(Grants::parse(lines.iter().map(String::as_str), literal)),
        Err(failure) if failure.code() == Some(ER_OPTION_PREVENTS_STATEMENT) => Ok(Grants::parse(
            ["GRANT ALL PRIVILEGES ON *.* TO everybody"],
            false,
        )),
        Err(failure) => Err(failure),
    }
}

/// Names what is missing.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    table: &TableName,
    grants: &Grants,
    requirements: &Requirements,
    findings: &mut Findings,
) -> Result<()> {
    let account = account(session).await?;
    let facts = session.server().facts().clone();
    let on_schema: Vec<&str> = ON_SCHEMA
        .into_iter()
        .filter(|privilege| !grants.on_schema(&table.schema, privilege))
        .collect();
    let everywhere = missing_everywhere(&facts, grants, requirements);
    let mut missing = Vec::new();
    let mut remedies = Vec::new();
    if !on_schema.is_empty() {
        let list = on_schema.join(", ");
        missing.push(format!("{list} on schema {}", table.schema));
        let schema = quote::ident(&table.schema);
        remedies.push(format!("GRANT {list} ON {schema}.* TO {account}"));
    }
    if !everywhere.is_empty() {
        let list = everywhere.join(", ");
        missing.push(format!("{list} on *.*"));
        remedies.push(format!("GRANT {list} ON *.* TO {account}"));
    }
    if !missing.is_empty() {
        findings.push(Finding::refuse(
            "grants",
            format!("account {account} lacks {}", missing.join(" and ")),
            remedies.join("; "),
        ));
    }
    if let Some(name) = facts.replica_status_privilege()
        && !grants.everywhere(name)
    {
        findings.push(Finding::warn(
            "grant-replicas",
            format!(
                "account {account} lacks {name} here: if it does on replicas too, their lag cannot be asked \
                 for, and the copy will wait"
            ),
            format!("GRANT {name} ON *.* TO {account}"),
        ));
    }
    if facts.shows_metadata_locks() && !reads_metadata_locks(session).await? {
        findings.push(Finding::warn(
            "grant-metadata-locks",
            format!("account {account} may not see who holds a table's lock"),
            format!("GRANT SELECT ON performance_schema.* TO {account}"),
        ));
    }
    Ok(())
}

/// What is missing of the privileges on everything. PROCESS is needed to see who holds the table and
/// which foreign keys point at it: without it the run would fail at the swap.
fn missing_everywhere(
    facts: &Facts,
    grants: &Grants,
    requirements: &Requirements,
) -> Vec<&'static str> {
    let has_one = |names: &[&str]| names.iter().any(|name| grants.everywhere(name));
    let monitors = facts.binlog_monitor_privileges();
    let mut missing = Vec::new();
    if !grants.everywhere("REPLICATION SLAVE") {
        missing.push("REPLICATION SLAVE");
    }
    if !has_one(monitors) {
        missing.push(monitors[0]);
    }
    let lists = facts.replica_list_privilege();
    if !requirements.replicas_given && !grants.everywhere(lists) && !missing.contains(&lists) {
        missing.push(lists);
    }
    if !grants.everywhere("PROCESS") {
        missing.push("PROCESS");
    }
    missing
}

async fn reads_metadata_locks(session: &mut Session) -> Result<bool> {
    let looked = session
        .execute("SELECT 1 FROM performance_schema.metadata_locks LIMIT 0")
        .await;
    match looked {
        Ok(_) => Ok(true),
        Err(failure) if failure.class() == Some(ErrorClass::Refused) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// `'user'@'host'` as the server matched it.
async fn account(session: &mut Session) -> Result<String> {
    let text: String = session.one("SELECT CURRENT_USER()").await?;
    let quoted = |part: &str| format!("'{}'", part.replace('\'', "''"));
    Ok(match text.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", quoted(user), quoted(host)),
        None => quoted(&text),
    })
}
