//! Triggers of the table, and the names that they would have on the new one.

use super::Requirements;
use super::finding::{Finding, Findings};
use crate::failure::{Context, Result};
use crate::mysql::{Session, quote};
use crate::names::TABLE_NAME_CHARS_MAX;
use crate::schema::TableDefinition;

/// Checks them.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    original: &TableDefinition,
    requirements: &Requirements,
    findings: &mut Findings,
) -> Result<()> {
    let name = &original.name;
    if original.triggers.is_empty() {
        return Ok(());
    }
    if !requirements.recreate_triggers {
        findings.push(Finding::refuse(
            "triggers",
            format!("{name} has triggers: {}", original.triggers.join(", ")),
            "let them be made anew on the new table with --triggers=recreate, or drop them before",
        ));
        return Ok(());
    }
    let Some(suffix) = &requirements.trigger_suffix else {
        return Ok(());
    };
    let new: Vec<String> = original
        .triggers
        .iter()
        .map(|one| suffix.name(one))
        .collect();
    let long: Vec<&str> = new
        .iter()
        .filter(|one| one.chars().count() > TABLE_NAME_CHARS_MAX)
        .map(String::as_str)
        .collect();
    if !long.is_empty() {
        findings.push(Finding::refuse(
            "trigger-name-too-long",
            format!(
                "names of triggers of the new table would be longer than {TABLE_NAME_CHARS_MAX} \
                 characters: {}",
                long.join(", ")
            ),
            "choose a shorter suffix",
        ));
    }
    // They are unique in the schema, whatever table they are of.
    let taken: Vec<String> = session
        .query(&format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = {} AND TRIGGER_NAME IN ({})",
            quote::string(&name.schema),
            new.iter()
                .map(|one| quote::string(one))
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .await
        .doing(|| format!("look for triggers in {}", name.schema))?;
    if !taken.is_empty() {
        findings.push(Finding::refuse(
            "trigger-name-taken",
            format!(
                "names of triggers of the new table are taken: {}",
                taken.join(", ")
            ),
            "choose another suffix, or drop them",
        ));
    }
    Ok(())
}
