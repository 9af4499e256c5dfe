//! What needs both definitions: the server makes the new one on an empty scratch table.

use super::finding::{Finding, Findings};
use super::{Report, Requirements};
use crate::alter::{AlterStatement, copy_table, native};
use crate::failure::{ErrorClass, Failure, FailureKind, Result};
use crate::mysql::{Facts, Session};
use crate::names::Names;
use crate::schema::{ColumnMap, ColumnMoves, MigrationKey, TableDefinition};

/// Findings with which a scratch table cannot be made, or would say nothing.
const UNASKABLE: [&str; 5] = [
    "read-only",
    "name-too-long",
    "ignore",
    "no-change",
    "sql-mode",
];

/// Asks the server about the ALTER, and looks for the migration key.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    names: &Names,
    alter: &AlterStatement,
    requirements: &Requirements,
    report: &mut Report,
) -> Result<()> {
    let Some(original) = &report.original else {
        return Ok(());
    };
    let findings = &mut report.findings;
    let unaskable = UNASKABLE.iter().any(|code| findings.refuses(code))
        || copy_table::stays_within_table(alter).is_err();
    if !unaskable {
        match native::probe(session, names, original, alter).await {
            Ok(answer) => report.native = Some(answer),
            Err(failure) => rejected(failure, findings)?,
        }
    }
    let moves = alter.column_moves();
    let (target, moves) = match &report.native {
        Some(answer) => (&answer.definition, moves),
        // What can be said without it is whether the table has a key at all.
        None => (original, ColumnMoves::default()),
    };
    let map = match ColumnMap::build(original, target, &moves) {
        Ok(map) => map,
        Err(failure) => {
            let remedy = failure.remedy_text().unwrap_or_default();
            findings.push(Finding::refuse("columns", failure.cause(), remedy));
            return Ok(());
        }
    };
    let key = choose_key(
        session.server().facts(),
        original,
        target,
        &map,
        requirements,
        findings,
    );
    if report.native.is_some() {
        report.key = key;
        report.map = Some(map);
    }
    Ok(())
}

/// The server's refusal as a finding; other failures as they are.
fn rejected(failure: Failure, findings: &mut Findings) -> Result<()> {
    match failure.class() {
        Some(ErrorClass::Definite) => {
            let code = failure
                .code()
                .map_or(String::new(), |code| format!(" ({code})"));
            findings.push(
                Finding::refuse(
                    "alter-rejected",
                    format!("the server rejects the ALTER: {}{code}", failure.cause()),
                    "correct the statement",
                )
                .evidence(&failure),
            );
        }
        // Which grant is missing is a finding already, unless the account has grants of a kind that is
        // not understood here.
        Some(ErrorClass::Refused) if findings.refused() => {}
        Some(ErrorClass::Refused) => findings.push(Finding::refuse(
            "scratch-refused",
            format!(
                "the server cannot be asked about the ALTER: {}",
                failure.cause()
            ),
            "grant what is missing on the whole schema",
        )),
        None if failure.kind() == FailureKind::Refused => findings.push(Finding::refuse(
            "left-over",
            failure.cause(),
            failure.remedy_text().unwrap_or_default(),
        )),
        _ => return Err(failure),
    }
    Ok(())
}

fn choose_key(
    facts: &Facts,
    original: &TableDefinition,
    target: &TableDefinition,
    map: &ColumnMap,
    requirements: &Requirements,
    findings: &mut Findings,
) -> Option<MigrationKey> {
    let nullable = requirements.nullable_key;
    let key = match MigrationKey::choose_among(original, target, map, nullable) {
        Ok(key) => key,
        Err(reasons) => {
            findings.push(Finding::refuse(
                "no-key",
                format!(
                    "no key identifies a row in both definitions: {}",
                    reasons.join("; ")
                ),
                "keep, or add with an ALTER of its own before, a unique key over NOT NULL columns that \
                 this ALTER leaves alone",
            ));
            return None;
        }
    };
    let full = facts
        .variable("binlog_row_image")
        .is_none_or(|image| image.to_ascii_uppercase().starts_with("FULL"));
    if !full && key.source_index != "PRIMARY" {
        findings.push(Finding::refuse(
            "row-image",
            format!(
                "binlog_row_image is {}, by which events may lack columns of the key {}",
                facts.variable("binlog_row_image").unwrap_or_default(),
                key.source_index
            ),
            "SET GLOBAL binlog_row_image = FULL, and let all sessions reconnect: they keep the old value",
        ));
    }
    if key.collation_changed() {
        findings.push(Finding::warn(
            "key-collation",
            format!(
                "the ALTER changes the collation of key {}: rows whose keys it makes equal stop the run",
                key.source_index
            ),
            "look for such rows first",
        ));
    }
    Some(key)
}
