//! Room on disk, and how long binlogs are kept.

use serde::Serialize;

use crate::failure::{ErrorClass, Result};
use crate::mysql::{Session, quote};
use crate::schema::TableDefinition;

/// What a migration needs at its peak, in bytes; all of it by the server's estimate of the table's size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Space {
    /// The new table, beside the old one, which stays.
    pub new_table_bytes: u64,
    /// Sorting indexes that are built after the copy (in `tmpdir`, or `innodb_tmpdir`).
    pub sort_bytes: u64,
    /// The binlog that the copy writes, at most: compressed it is less.
    pub binlog_bytes: u64,
    /// All of it together.
    pub peak_bytes: u64,
    /// What is free where the data is; `None` where the server does not tell.
    pub free_bytes: Option<u64>,
    /// Where that is from, or why it is not known.
    pub free_from: String,
    /// Whether it is enough; `None` if that is not known.
    pub enough: Option<bool>,
}

/// The room a migration of the table needs, and what there is.
///
/// # Errors
/// The connection's failure.
pub async fn space(session: &mut Session, original: &TableDefinition) -> Result<Space> {
    session.want_fresh_statistics().await?;
    let sizes: Option<(Option<u64>, Option<u64>)> = session
        .first(&format!(
            "SELECT CAST(DATA_LENGTH AS UNSIGNED), CAST(INDEX_LENGTH AS UNSIGNED) \
             FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quote::string(&original.name.schema),
            quote::string(&original.name.table)
        ))
        .await?;
    let (data, indexes) = sizes.unwrap_or_default();
    let (data, indexes) = (data.unwrap_or(0), indexes.unwrap_or(0));
    let (free_bytes, free_from) = free(session).await?;
    let peak_bytes = data + indexes + indexes + data;
    Ok(Space {
        new_table_bytes: data + indexes,
        sort_bytes: indexes,
        binlog_bytes: data,
        peak_bytes,
        enough: free_bytes.map(|free| free > peak_bytes),
        free_bytes,
        free_from,
    })
}

/// Bytes free where the data folder is.
async fn free(session: &mut Session) -> Result<(Option<u64>, String)> {
    let facts = session.server().facts();
    if !facts.is_mariadb() {
        return Ok((
            None,
            "MySQL does not tell: look at the server's disk".to_string(),
        ));
    }
    let folder = facts.variable("datadir").unwrap_or_default().to_string();
    // The plugin lists mounted disks in kilobytes; the longest path that the folder begins with is its.
    let answer: Result<Option<(String, u64)>> = session
        .first(&format!(
            "SELECT Path, CAST(Available * 1024 AS UNSIGNED) FROM information_schema.DISKS \
             WHERE {folder} LIKE CONCAT(Path, '%') ORDER BY LENGTH(Path) DESC LIMIT 1",
            folder = quote::string(&folder)
        ))
        .await;
    match answer {
        Ok(Some((path, bytes))) => Ok((Some(bytes), format!("information_schema.DISKS, {path}"))),
        Ok(None) => Ok((None, "information_schema.DISKS does not list the data folder".to_string())),
        Err(failure)
            if matches!(
                failure.class(),
                Some(ErrorClass::Definite | ErrorClass::Refused)
            ) =>
        {
            Ok((
                None,
                "the server does not tell: the plugin DISKS is not there, or needs the FILE privilege"
                    .to_string(),
            ))
        }
        Err(failure) => Err(failure),
    }
}

/// How long binlogs are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Retention {
    /// Seconds; `None`: for ever, or until somebody purges them.
    pub seconds: Option<u64>,
    /// Bytes, where the server limits their size.
    pub bytes: Option<u64>,
    /// Bytes of all that there are now; `None` where the account may not know.
    pub bytes_now: Option<u64>,
}

/// How long binlogs are kept.
///
/// # Errors
/// The connection's failure.
pub async fn retention(session: &mut Session) -> Result<Retention> {
    let facts = session.server().facts();
    let seconds = facts
        .number("binlog_expire_logs_seconds")
        .filter(|seconds| *seconds > 0)
        .or_else(|| {
            let days: f64 = facts.variable("expire_logs_days")?.parse().ok()?;
            (days > 0.0).then_some((days * 86_400.0) as u64)
        });
    // MariaDB 11.4, Percona Server.
    let bytes = ["max_binlog_total_size", "binlog_space_limit"]
        .into_iter()
        .filter_map(|name| facts.number(name))
        .find(|bytes| *bytes > 0);
    let files: Result<Vec<mysql_async::Row>> = session.query("SHOW BINARY LOGS").await;
    let bytes_now = match files {
        Ok(rows) => rows
            .iter()
            .map(|row| row.get_opt::<u64, usize>(1)?.ok())
            .sum(),
        Err(failure) if failure.is_disconnected() => return Err(failure),
        Err(_) => None,
    };
    Ok(Retention {
        seconds,
        bytes,
        bytes_now,
    })
}
