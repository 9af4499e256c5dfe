//! What the account must be allowed to do.

use super::finding::{Finding, Findings};
use super::grants::Grants;
use crate::failure::{ErrorClass, Result};
use crate::mysql::{Session, quote};
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
    findings: &mut Findings,
) -> Result<()> {
    let account = account(session).await?;
    let facts = session.server().facts().clone();
    let on_schema: Vec<&str> = ON_SCHEMA
        .into_iter()
        .filter(|privilege| !grants.on_schema(&table.schema, privilege))
        .collect();
    let monitors = facts.binlog_monitor_privileges();
    let has_monitor = monitors.iter().any(|name| grants.everywhere(name));
    let everywhere: Vec<&str> = (!grants.everywhere("REPLICATION SLAVE"))
        .then_some("REPLICATION SLAVE")
        .into_iter()
        .chain((!has_monitor).then_some(monitors[0]))
        .collect();
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
    if !grants.everywhere("PROCESS") {
        findings.push(Finding::warn(
            "grant-process",
            format!(
                "account {account} lacks PROCESS: foreign keys of tables it may not see, long transactions \
                 and replicas stay unknown"
            ),
            format!("GRANT PROCESS ON *.* TO {account}"),
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
