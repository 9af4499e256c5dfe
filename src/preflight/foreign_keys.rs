//! Foreign keys on either side.

use super::Requirements;
use super::finding::{Finding, Findings};
use crate::schema::{ForeignKey, TableDefinition};

/// Refuses both sides. A child's rows can be changed by a cascade inside InnoDB, which no binlog has; a
/// parent's children would point to the old table after the swap.
pub fn check(original: &TableDefinition, requirements: &Requirements, findings: &mut Findings) {
    // Discarding them is one thing; a cascade that no binlog has would lose rows meanwhile.
    let cascades = original
        .foreign_keys
        .iter()
        .any(|key| !actions(key).is_empty());
    if requirements.discard_foreign_keys && !cascades {
        if !original.foreign_keys.is_empty() {
            findings.push(Finding::note(
                "foreign-key-discarded",
                format!(
                    "the foreign keys of {} are left out of the new table",
                    original.name
                ),
                "add them to the new table afterwards if they are still wanted",
            ));
        }
    } else if !original.foreign_keys.is_empty() {
        let list: Vec<String> = original
            .foreign_keys
            .iter()
            .map(|key| format!("{} to {}{}", key.name, key.parent, actions(key)))
            .collect();
        findings.push(Finding::refuse(
            "foreign-key-child",
            format!("{} has foreign keys: {}", original.name, list.join("; ")),
            "drop them for the time of the migration, or run the server's own ALTER TABLE",
        ));
    }
    if !original.referenced_by.is_empty() {
        let list: Vec<String> = original.referenced_by.iter().map(from_child).collect();
        findings.push(Finding::refuse(
            "foreign-key-parent",
            format!(
                "foreign keys point to {}: {}",
                original.name,
                list.join("; ")
            ),
            "drop them for the time of the migration and add them to the new table afterwards, or run \
             the server's own ALTER TABLE",
        ));
    }
}

fn from_child(key: &ForeignKey) -> String {
    if key.name.is_empty() {
        // Only InnoDB's list has it: the account has no privilege on the table.
        return format!("one of {}", key.child);
    }
    format!("{} of {}{}", key.name, key.child, actions(key))
}

/// What happens to the child's rows by itself.
fn actions(key: &ForeignKey) -> String {
    let acts = |action: &str| !matches!(action, "" | "NO ACTION" | "RESTRICT");
    let mut text = String::new();
    if acts(&key.on_delete) {
        text.push_str(&format!(" ON DELETE {}", key.on_delete));
    }
    if acts(&key.on_update) {
        text.push_str(&format!(" ON UPDATE {}", key.on_update));
    }
    text
}
