//! The table itself: kind, engine, triggers, names that would not fit.

use super::finding::{Finding, Findings};
use crate::alter::{copy_table, show_create};
use crate::mysql::Facts;
use crate::names::{Names, TABLE_NAME_CHARS_MAX};
use crate::schema::{TableDefinition, TableKind};

/// Checks what its definition tells.
pub fn check(original: &TableDefinition, names: &Names, facts: &Facts, findings: &mut Findings) {
    let name = &original.name;
    match original.kind {
        TableKind::Table => {}
        TableKind::View => {
            return findings.push(Finding::refuse(
                "view",
                format!("{name} is a view"),
                "name the table behind it; SHOW CREATE VIEW tells which",
            ));
        }
        TableKind::SystemVersioned => {
            findings.push(Finding::refuse(
                "system-versioned",
                format!("{name} is system-versioned: its history would be lost"),
                "run the server's own ALTER TABLE",
            ));
        }
        TableKind::Other => {
            return findings.push(Finding::refuse(
                "not-a-table",
                format!("{name} is no table with rows of its own"),
                "name a base table",
            ));
        }
    }
    if !original.engine.eq_ignore_ascii_case("InnoDB") {
        findings.push(Finding::refuse(
            "engine",
            format!("{name} is a table of {}, InnoDB is needed", original.engine),
            "other engines have no row locks and no consistent reads: run the server's own ALTER TABLE",
        ));
    }
    if original.create_statement.contains(" DIRECTORY='") {
        findings.push(Finding::warn(
            "directory",
            format!("{name} lies in a directory of its own, which the new table will not"),
            "add DATA DIRECTORY='…' to the ALTER",
        ));
    }
    if !facts.check_names_are_per_table() {
        check_constraints(original, names, findings);
    }
}

/// On MySQL the names of CHECK constraints are unique in the schema. Generated ones contain the table's
/// name and must fit with each name it gets; others are taken by the old table.
fn check_constraints(original: &TableDefinition, names: &Names, findings: &mut Findings) {
    let checks = show_create::parts(&original.create_statement)
        .into_iter()
        .filter_map(show_create::check_constraint)
        .map(|(name, _)| name);
    let (generated, given): (Vec<String>, Vec<String>) =
        checks.partition(|name| copy_table::generated_number(name, &original.name.table).is_some());
    let longest_suffix = generated
        .iter()
        .map(|name| name.chars().count() - original.name.table.chars().count())
        .max();
    if let Some(suffix) = longest_suffix {
        let too_long = [&names.ghost, &names.old]
            .into_iter()
            .find(|table| table.table.chars().count() + suffix > TABLE_NAME_CHARS_MAX);
        if let Some(table) = too_long {
            findings.push(Finding::refuse(
                "name-too-long",
                format!(
                    "the names that the server gives CHECK constraints of {} would be longer than \
                     {TABLE_NAME_CHARS_MAX} characters on {table}",
                    original.name
                ),
                "name the constraints yourself, or choose shorter helper names with --force-table-names",
            ));
        }
    }
    if !given.is_empty() {
        findings.push(Finding::warn(
            "check-names",
            format!(
                "CHECK constraints get other names, as the old table keeps theirs: {}",
                given
                    .iter()
                    .map(|name| {
                        let new = copy_table::name_in_copy(name, &original.name.table, "");
                        format!("{name} becomes {new}")
                    })
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            "nothing, unless something refers to them by name",
        ));
    }
}
