//! Indexes that are built after the copy: which ones, and the building.
//!
//! The server lists indexes as PRIMARY, unique and NOT NULL, unique, others, FULLTEXT, each group in the
//! order of its making. Indexes that are deferred come to stand behind those that are kept, so only a
//! tail of each group may be deferred if the definition is to be that of a native ALTER.

use super::show_create;
use crate::failure::{Context, Failure, Result};
use crate::mysql::Session;
use crate::mysql::error::ER_DUP_KEYNAME;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::TableName;
use crate::schema::table::{Index, IndexKind, TableDefinition};

/// The indexes that can wait, in the order of SHOW CREATE TABLE.
pub fn deferrable(table: &TableDefinition) -> Vec<&Index> {
    // A foreign key needs its index all the time.
    if !table.foreign_keys.is_empty() {
        return Vec::new();
    }
    let needed = needed_by_auto_increment(table);
    let others: Vec<&Index> = table.indexes.iter().filter(|index| !index.unique).collect();
    let stays = |index: &&Index| {
        index.kind == IndexKind::Other || needed.is_some_and(|name| name == index.name)
    };
    let after_last_kept = others.iter().rposition(stays).map_or(0, |place| place + 1);
    others[after_last_kept..].to_vec()
}

/// The AUTO_INCREMENT column must be first in some index; this one, unless a unique index does it.
fn needed_by_auto_increment(table: &TableDefinition) -> Option<&str> {
    let counted = table
        .columns
        .iter()
        .find(|column| column.auto_increment())?;
    let leads = |index: &&Index| {
        index
            .columns
            .first()
            .and_then(|part| part.column.as_deref())
            .is_some_and(|name| name == counted.name)
    };
    let mut leading = table.indexes.iter().filter(leads);
    if leading.clone().any(|index| index.unique) {
        return None;
    }
    leading.next().map(|index| index.name.as_str())
}

/// `ADD …` clauses for these indexes, verbatim from the table's SHOW CREATE.
///
/// # Errors
/// An index whose definition is not found there.
pub fn clauses(table: &TableDefinition, indexes: &[&Index]) -> Result<Vec<String>> {
    indexes
        .iter()
        .map(|index| {
            show_create::index_definition(&table.create_statement, &index.name)
                .map(|definition| format!("ADD {definition}"))
                .ok_or_else(|| {
                    Failure::failed(format!(
                        "SHOW CREATE TABLE of {} does not have index {}",
                        table.name, index.name
                    ))
                    .remedy("start again with --defer-indexes=off")
                })
        })
        .collect()
}

/// Builds deferred indexes, in as few statements as the server allows: InnoDB makes one FULLTEXT index
/// at a time, and for that and SPATIAL ones writers must wait. What is already there is left out, so
/// that the call can be repeated after an interruption.
///
/// The statements run as long as they need: the caller sets the session's limit.
///
/// # Errors
/// What the server answered.
pub async fn build(session: &mut Session, ghost: &TableName, clauses: &[String]) -> Result<()> {
    let previous_mode = plain_sql_mode(session).await?;
    let mut built = add_missing(session, ghost, clauses).await;
    // What an interrupted run began may be going on in the server. We wait for it at the table's metadata
    // lock, and what was missing is there then.
    for _ in clauses {
        match &built {
            Err(failure) if failure.code() == Some(ER_DUP_KEYNAME) => {
                built = add_missing(session, ghost, clauses).await;
            }
            _ => break,
        }
    }
    restore_sql_mode(session, &previous_mode).await?;
    built
}

async fn add_missing(session: &mut Session, ghost: &TableName, clauses: &[String]) -> Result<()> {
    let present = index_names(session, ghost).await?;
    let missing: Vec<&str> = clauses
        .iter()
        .map(String::as_str)
        .filter(|clause| {
            clause
                .strip_prefix("ADD ")
                .and_then(show_create::index_name)
                .is_none_or(|name| !present.contains(&name))
        })
        .collect();
    for group in groups(&missing) {
        add(session, ghost, &group).await?;
    }
    Ok(())
}

/// Neighbours that can be built together.
fn groups<'c>(clauses: &[&'c str]) -> Vec<Vec<&'c str>> {
    let alone =
        |clause: &str| clause.starts_with("ADD FULLTEXT") || clause.starts_with("ADD SPATIAL");
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for clause in clauses {
        match groups.last_mut() {
            Some(group) if !alone(clause) && !alone(group[0]) => group.push(clause),
            _ => groups.push(vec![clause]),
        }
    }
    groups
}

async fn add(session: &mut Session, ghost: &TableName, group: &[&str]) -> Result<()> {
    /// ALGORITHM or LOCK is not possible, without and with a reason.
    const ER_ALTER_NOT_SUPPORTED: [u16; 2] = [1845, 1846];
    let sql = format!(
        "{OWN_DDL}ALTER TABLE {} {}",
        quote::table(ghost),
        group.join(", ")
    );
    let online = session
        .execute(&format!("{sql}, ALGORITHM=INPLACE, LOCK=NONE"))
        .await;
    match online {
        Ok(_) => Ok(()),
        Err(failure)
            if failure
                .code()
                .is_some_and(|code| ER_ALTER_NOT_SUPPORTED.contains(&code)) =>
        {
            session.execute(&sql).await.map(|_| ())
        }
        Err(failure) => Err(failure),
    }
    .doing(|| format!("build indexes of {ghost}"))
}

async fn index_names(session: &mut Session, table: &TableName) -> Result<Vec<String>> {
    session
        .query(&format!(
            "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quote::string(&table.schema),
            quote::string(&table.table)
        ))
        .await
}

/// Takes out of the session's `sql_mode` what would change the reading of SHOW CREATE's text, and gives
/// the mode as it was.
async fn plain_sql_mode(session: &mut Session) -> Result<String> {
    const READING: [&str; 9] = [
        "ANSI",
        "ANSI_QUOTES",
        "NO_BACKSLASH_ESCAPES",
        "PIPES_AS_CONCAT",
        "HIGH_NOT_PRECEDENCE",
        "IGNORE_SPACE",
        "REAL_AS_FLOAT",
        "ORACLE",
        "MSSQL",
    ];
    let mode: String = session.one("SELECT @@SESSION.sql_mode").await?;
    let kept: Vec<&str> = mode
        .split(',')
        .filter(|word| !READING.contains(word))
        .collect();
    restore_sql_mode(session, &kept.join(",")).await?;
    Ok(mode)
}

async fn restore_sql_mode(session: &mut Session, mode: &str) -> Result<()> {
    session
        .execute(&format!("SET SESSION sql_mode = '{mode}'"))
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::table::{Column, IndexColumn};

    /// Indexes as `name:column`, unique with a leading `!`, FULLTEXT with `~`, of no known kind with `?`.
    fn table(indexes: &[&str], counted: &str) -> TableDefinition {
        TableDefinition {
            columns: vec![Column {
                name: counted.to_string(),
                extra: "auto_increment".to_string(),
                ..Column::default()
            }],
            indexes: indexes
                .iter()
                .map(|text| {
                    let (name, column) = text.split_once(':').unwrap();
                    Index {
                        name: name.trim_start_matches(['!', '~', '?']).to_string(),
                        unique: name.starts_with('!'),
                        kind: match name.chars().next() {
                            Some('~') => IndexKind::Fulltext,
                            Some('?') => IndexKind::Other,
                            _ => IndexKind::Btree,
                        },
                        visible: true,
                        columns: vec![IndexColumn {
                            column: Some(column.to_string()),
                            expression: None,
                            prefix: None,
                            descending: false,
                        }],
                    }
                })
                .collect(),
            ..TableDefinition::default()
        }
    }

    fn check(indexes: &[&str], counted: &str, expected: &[&str]) {
        let table = table(indexes, counted);
        let found: Vec<&str> = deferrable(&table).iter().map(|i| i.name.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tail_of_the_indexes_that_nothing_needs_is_deferred() {
        check(
            &["!PRIMARY:id", "!u:a", "k:a", "j:b", "~f:c"],
            "id",
            &["k", "j", "f"],
        );
        check(&["!PRIMARY:a", "k:a", "n:id", "j:b"], "id", &["j"]);
        check(&["!PRIMARY:id", "k:a", "?v:b", "~f:c"], "id", &["f"]);
        check(&["!PRIMARY:id"], "id", &[]);
    }

    #[test]
    fn fulltext_and_spatial_are_built_alone() {
        let clauses = [
            "ADD KEY `a` (`a`)",
            "ADD KEY `b` (`b`)",
            "ADD SPATIAL KEY `s` (`s`)",
            "ADD KEY `c` (`c`)",
            "ADD FULLTEXT KEY `f` (`f`)",
            "ADD FULLTEXT KEY `g` (`g`)",
        ];
        let sizes: Vec<usize> = groups(&clauses).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1, 1]);
    }
}
