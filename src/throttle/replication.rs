//! What a server says of its own replication: where it reads from, what it leaves out, whether it is
//! stopped, how far it is behind.

use mysql_async::{Row, Value};

use super::asker::Asker;
use crate::failure::{Context, Result};
use crate::mysql::Server;

/// Where a replica reads from.
#[derive(Clone, Debug)]
pub struct Source {
    /// As configured on the replica.
    pub host: String,
    /// As configured on the replica.
    pub port: u16,
    /// `server_uuid` (MySQL only; empty before the first contact).
    uuid: Option<String>,
    /// Why nothing comes from there, if so.
    pub(super) stopped: Option<String>,
}

impl Source {
    /// Whether it is surely this server: only MySQL's UUID says so without asking.
    pub(super) fn is(&self, server: &Server) -> bool {
        match self.uuid.as_deref() {
            None | Some("") => false,
            uuid => uuid == server.facts().variable("server_uuid"),
        }
    }
}

/// The sources of a server; none if it is no replica.
///
/// # Errors
/// The grant REPLICATION CLIENT (MariaDB: REPLICA MONITOR) is missing, or the server does not answer.
pub async fn sources(server: &Server) -> Result<Vec<Source>> {
    let mut asker = Asker::new(server.clone());
    let rows: Vec<Row> = asker
        .query(server.facts().show_replica_status())
        .await
        .doing(|| format!("ask {} for its source", server.address()))
        .remedy("grant REPLICATION CLIENT (MariaDB: REPLICA MONITOR) there")?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            // The channels of group replication have no source.
            let port = text(row, &["Source_Port", "Master_Port"])?.parse().ok()?;
            Some(Source {
                host: text(row, &["Source_Host", "Master_Host"])
                    .filter(|host| !host.is_empty() && port != 0)?,
                port,
                uuid: text(row, &["Source_UUID", "Master_UUID"]),
                stopped: stopped_row(row),
            })
        })
        .collect())
}

/// What a replica leaves out of what it replicates: its filters, as `name=value`; none if it leaves
/// nothing out.
///
/// # Errors
/// As [`sources`].
pub async fn filters(server: &Server) -> Result<Vec<String>> {
    const COLUMNS: [&str; 7] = [
        "Replicate_Do_DB",
        "Replicate_Ignore_DB",
        "Replicate_Do_Table",
        "Replicate_Ignore_Table",
        "Replicate_Wild_Do_Table",
        "Replicate_Wild_Ignore_Table",
        "Replicate_Rewrite_DB",
    ];
    let mut asker = Asker::new(server.clone());
    let rows: Vec<Row> = asker.query(server.facts().show_replica_status()).await?;
    let found = rows.iter().flat_map(|row| {
        COLUMNS.iter().filter_map(|column| {
            let value = text(row, &[column]).filter(|value| !value.is_empty())?;
            Some(format!("{column}={value}"))
        })
    });
    Ok(found.collect())
}

/// Why nothing of any source is being applied: all of them are stopped. `None` while something is, and
/// for a server that is no replica.
///
/// # Errors
/// As [`sources`].
pub async fn stopped(asker: &mut Asker) -> Result<Option<String>> {
    let sql = asker.server().facts().show_replica_status();
    let rows: Vec<Row> = asker.query(sql).await?;
    let states: Vec<Option<String>> = rows.iter().map(stopped_row).collect();
    Ok(states
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|mut all| all.pop()))
}

fn stopped_row(row: &Row) -> Option<String> {
    let is_no = |names: &[&str]| text(row, names).is_some_and(|state| state == "No");
    let error = |names: &[&str]| {
        text(row, names)
            .filter(|error| !error.is_empty())
            .map_or(String::new(), |error| format!(": {error}"))
    };
    if is_no(&["Replica_SQL_Running", "Slave_SQL_Running"]) {
        return Some(format!(
            "has its applier stopped{}",
            error(&["Last_SQL_Error"])
        ));
    }
    is_no(&["Replica_IO_Running", "Slave_IO_Running"]).then(|| {
        let error = error(&["Last_IO_Error"]);
        format!("has its receiver stopped{error}")
    })
}

/// How far a replica is behind its source by its own account, seconds, the worst of several sources;
/// `None` if it does not replicate now.
///
/// # Errors
/// As [`sources`].
pub async fn seconds_behind(server: &Server) -> Result<Option<u64>> {
    let mut asker = Asker::new(server.clone());
    let rows: Vec<Row> = asker
        .query(server.facts().show_replica_status())
        .await
        .doing(|| format!("ask {} for its lag", server.address()))
        .remedy("grant REPLICATION CLIENT (MariaDB: REPLICA MONITOR) there")?;
    let lags = rows.iter().map(|row| {
        text(row, &["Seconds_Behind_Source", "Seconds_Behind_Master"])?
            .parse()
            .ok()
    });
    Ok(lags
        .collect::<Option<Vec<u64>>>()
        .and_then(|lags| lags.into_iter().max()))
}

/// The text of the first of these columns that the row has.
pub(super) fn text(row: &Row, names: &[&str]) -> Option<String> {
    let columns = row.columns_ref();
    let index = names.iter().find_map(|name| {
        columns
            .iter()
            .position(|column| column.name_str().eq_ignore_ascii_case(name))
    })?;
    match row.as_ref(index)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}
