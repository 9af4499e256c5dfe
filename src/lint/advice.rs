//! Words and remedies that several statements share.

use super::Remark;
use super::catalogue::Table;
use super::rules;
use crate::mysql::quote::shown;

/// The command that makes a change without blocking anybody.
pub(super) fn migrate(table: &Table, clauses: &str) -> String {
    let one_line = clauses.split_whitespace().collect::<Vec<_>>().join(" ");
    let statement = format!("ALTER TABLE {} {one_line}", table.sql());
    format!("changeling migrate '{}'", statement.replace('\'', r"'\''"))
}

/// The statement that changes rows little by little, so that no transaction is large.
pub(super) fn in_batches(table: &Table, assignment: &str, condition: &str) -> String {
    format!(
        "UPDATE {} SET {assignment} WHERE {condition} LIMIT 1000, again until it changes no row",
        table.sql()
    )
}

/// The step that gives rows a value which have none yet.
pub(super) fn fill_older(table: &Table, column: &str) -> String {
    format!(
        "fill the older rows: {}",
        in_batches(
            table,
            &format!("{column} = …"),
            &format!("{column} IS NULL")
        )
    )
}

/// A table that gets another name, by whatever statement.
pub(super) fn rename_table(old: &Table, new: &Table, line: usize) -> Remark {
    Remark::new(
        &rules::RENAME_TABLE,
        line,
        format!("table {} becomes {}", old.sql(), new.sql()),
    )
    .instead([
        format!(
            "rename, and in the same second: CREATE VIEW {} AS SELECT * FROM {}",
            old.sql(),
            new.sql()
        ),
        format!("deploy an application that uses {}", new.sql()),
        format!("DROP VIEW {}", old.sql()),
    ])
}

/// An index that is dropped, by whatever statement.
pub(super) fn drop_index(table: &Table, index: &str, line: usize) -> Remark {
    Remark::new(
        &rules::DROP_INDEX,
        line,
        format!("index {index} of {} is dropped", table.sql()),
    )
    .instead([
        format!(
            "hide it first: ALTER TABLE {} ALTER INDEX {} INVISIBLE (MariaDB: IGNORED)",
            table.sql(),
            shown(index)
        ),
        "drop it when no query has become slow for some days".to_string(),
    ])
}

/// The first words of a clause, in upper case.
pub(super) fn beginning(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    words.join(" ").to_ascii_uppercase()
}

/// A clause's beginning on one line.
pub(super) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}
