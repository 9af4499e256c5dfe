//! Tables that runs have left on a server: found by their names, told apart by whether a run is at work.

use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::TableName;

/// A run whose heartbeat is younger is at work, seconds. Heartbeats come ten times a second.
const AT_WORK_S: f64 = 30.0;

/// What a table of that name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `_t_gho`, or `t~gho` while a two-session swap is under way.
    Ghost,
    /// `_t_ghc`.
    Changelog,
    /// `_t_ghk`.
    Checkpoint,
    /// `_t_del`: the original before a finished run. Somebody may want it.
    Old,
    /// `t~sen`, `_t_ghp`: of a moment.
    Scratch,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Ghost => "ghost",
            Kind::Changelog => "changelog",
            Kind::Checkpoint => "checkpoint",
            Kind::Old => "old table",
            Kind::Scratch => "scratch",
        }
    }

    /// The kind and the base of a name that this program gives.
    fn of(name: &str) -> Option<(Kind, &str)> {
        if let Some(base) = name.strip_suffix("~gho") {
            return Some((Kind::Ghost, base));
        }
        if let Some(base) = name.strip_suffix("~sen") {
            return Some((Kind::Scratch, base));
        }
        let (base, suffix) = name.strip_prefix('_')?.rsplit_once('_')?;
        let kind = match suffix {
            "gho" => Kind::Ghost,
            "ghc" => Kind::Changelog,
            "ghk" => Kind::Checkpoint,
            "ghp" => Kind::Scratch,
            "del" => Kind::Old,
            _ => return None,
        };
        (!base.is_empty()).then_some((kind, base))
    }
}

/// A table that is left.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOver {
    /// Which.
    pub table: TableName,
    /// What for.
    pub kind: Kind,
    /// How old, seconds, if the server knows.
    pub age_s: Option<u64>,
    /// Data and index bytes: the server's estimate.
    pub bytes: u64,
    /// Whether a run is at work on it.
    pub at_work: bool,
}

/// Lists them, in one schema or in all that the account may see.
///
/// # Errors
/// What the server answered.
pub async fn find(session: &mut Session, schema: Option<&str>) -> Result<Vec<LeftOver>> {
    let within = match schema {
        Some(schema) => format!("TABLE_SCHEMA = {}", quote::string(schema)),
        None => "TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
            .to_string(),
    };
    let rows: Vec<(String, String, Option<u64>, Option<u64>)> = session
        .query(&format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TIMESTAMPDIFF(SECOND, CREATE_TIME, NOW()), \
             CAST(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) AS UNSIGNED) \
             FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND {within} \
             ORDER BY TABLE_SCHEMA, TABLE_NAME"
        ))
        .await
        .doing(|| "list tables that runs have left")?;
    let mut found = Vec::new();
    let mut busy: Vec<(String, String)> = Vec::new();
    for (schema, table, age_s, bytes) in rows {
        let Some((kind, base)) = Kind::of(&table) else {
            continue;
        };
        let table = TableName::new(schema, table.clone());
        if kind == Kind::Changelog
            && heartbeat_age_s(session, &table)
                .await?
                .is_some_and(|age| age < AT_WORK_S)
        {
            busy.push((table.schema.clone(), base.to_string()));
        }
        found.push(LeftOver {
            table,
            kind,
            age_s,
            bytes: bytes.unwrap_or(0),
            at_work: false,
        });
    }
    for left in &mut found {
        let base = Kind::of(&left.table.table).map(|(_, base)| base);
        left.at_work = busy
            .iter()
            .any(|(schema, name)| *schema == left.table.schema && base == Some(name));
    }
    Ok(found)
}

async fn heartbeat_age_s(session: &mut Session, changelog: &TableName) -> Result<Option<f64>> {
    let answer = session
        .first::<Option<f64>>(&format!(
            "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) - UNIX_TIMESTAMP(MAX(last_update)) AS DOUBLE) FROM {}",
            quote::table(changelog)
        ))
        .await;
    match answer {
        Ok(age) => Ok(age.flatten()),
        // A table of somebody else that happens to have the name, or one that is just going.
        Err(failure) if failure.code().is_some() && !failure.is_disconnected() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The partitions of a table, in order; none if it has none.
///
/// # Errors
/// What the server answered.
pub async fn partitions(session: &mut Session, table: &TableName) -> Result<Vec<String>> {
    session
        .query(&format!(
            "SELECT PARTITION_NAME FROM information_schema.PARTITIONS \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND PARTITION_NAME IS NOT NULL \
             GROUP BY PARTITION_NAME ORDER BY MIN(PARTITION_ORDINAL_POSITION)",
            quote::string(&table.schema),
            quote::string(&table.table)
        ))
        .await
        .doing(|| format!("look for partitions of {table}"))
}

/// The statement that empties a partition.
pub fn empty_partition_sql(table: &TableName, partition: &str) -> String {
    format!(
        "{OWN_DDL}ALTER TABLE {} TRUNCATE PARTITION {}",
        quote::table(table),
        quote::ident(partition)
    )
}

/// The statement that drops a table, if it is there.
pub fn drop_sql(table: &TableName) -> String {
    format!("{OWN_DDL}DROP TABLE IF EXISTS {}", quote::table(table))
}

/// Drops one of them.
///
/// # Errors
/// Refused while a run is at work on it; what the server answered.
pub async fn remove(session: &mut Session, left: &LeftOver) -> Result<()> {
    if left.at_work {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("a run is at work on {}", left.table),
        )
        .remedy("end it first: `changeling ctl abort`, or `drop` to remove its tables with it"));
    }
    session
        .execute(&drop_sql(&left.table))
        .await
        .map(drop)
        .doing(|| format!("drop {}", left.table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(Kind::of("_t_gho"), Some((Kind::Ghost, "t")));
        assert_eq!(
            Kind::of("_a_b_20261128130000_del"),
            Some((Kind::Old, "a_b_20261128130000"))
        );
        assert_eq!(Kind::of("t~gho"), Some((Kind::Ghost, "t")));
        for other in ["t", "_t", "__del", "t_gho", "_t_other"] {
            assert_eq!(Kind::of(other), None, "{other}");
        }
    }
}
