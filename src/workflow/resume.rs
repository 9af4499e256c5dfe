//! Whether an interrupted run can be gone on with: what its checkpoint says beside what is there now.
//! Whatever differs is said, all together; nothing is removed for it.

use std::collections::BTreeMap;

use super::run::Run;
use crate::alter::AlterStatement;
use crate::binlog::{Continuation, continuation};
use crate::checkpoint::{Checkpoint, definition_identity};
use crate::coordinates::Coordinates;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::schema::{MigrationKey, TableDefinition};
use crate::settings::{ResumeSetting, Settings};

/// Settings that decide what is in the ghost: with another value the rows copied so far would be wrong.
pub fn deciding_settings(settings: &Settings) -> BTreeMap<String, String> {
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_string();
    BTreeMap::from([
        (
            "renamed columns begin empty".to_string(),
            yes_no(settings.drop_renamed),
        ),
        (
            "foreign keys are discarded".to_string(),
            yes_no(settings.discard_foreign_keys),
        ),
    ])
}

/// The key as a checkpoint keeps it.
pub fn key_text(key: &MigrationKey) -> String {
    let columns: Vec<&str> = key
        .columns
        .iter()
        .map(|column| column.source.name.as_str())
        .collect();
    format!(
        "{} -> {} ({})",
        key.source_index,
        key.target_index,
        columns.join(", ")
    )
}

/// Whether the ghost is the one of the checkpoint, with its deferred indexes or still without them.
pub fn is_built(found: &Checkpoint, ghost: &TableDefinition) -> bool {
    definition_identity(&ghost.create_statement) == definition_identity(&found.ghost_complete)
}

/// Compares statement, definitions and settings; the key is compared by [`check_key`].
///
/// # Errors
/// [`FailureKind::Refused`], naming everything that differs.
pub fn check(
    run: &Run,
    alter: &AlterStatement,
    original: &TableDefinition,
    ghost: &TableDefinition,
    found: &Checkpoint,
) -> Result<()> {
    let mut differences = Vec::new();
    let statement = alter.clauses_sql();
    if found.statement != statement {
        differences.push(format!(
            "it was of another statement: `{}`, and this is `{statement}`",
            found.statement
        ));
    }
    let now = definition_identity(&original.create_statement);
    if found.original != now {
        differences.push(format!(
            "the definition of {} has changed since: {}",
            run.names.original,
            changed_lines(&found.original, &now)
        ));
    }
    let now = definition_identity(&ghost.create_statement);
    // The interruption may have come after the index build and before the next checkpoint.
    if found.ghost != now && !is_built(found, ghost) {
        differences.push(format!(
            "{} is not as it was left: {}",
            run.names.ghost,
            changed_lines(&found.ghost, &now)
        ));
    }
    let settings = deciding_settings(&run.settings);
    for (name, was) in &found.settings {
        match settings.get(name) {
            Some(is) if is != was => {
                differences.push(format!("{name}: {was} then, {is} now"));
            }
            _ => {}
        }
    }
    refuse(found, differences)
}

/// Compares the migration key.
///
/// # Errors
/// [`FailureKind::Refused`].
pub fn check_key(found: &Checkpoint, key: &MigrationKey) -> Result<()> {
    let now = key_text(key);
    match &found.key {
        Some(was) if *was != now => refuse(
            found,
            vec![format!("rows are identified by {now} now, by {was} then")],
        ),
        _ => Ok(()),
    }
}

fn refuse(found: &Checkpoint, differences: Vec<String>) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Refused,
        format!(
            "the interrupted run (of changeling {}) cannot be gone on with: {}",
            found.program,
            differences.join("; ")
        ),
    )
    .remedy(
        "give the statement and the options of the interrupted run, or begin anew with --restart",
    ))
}

/// Finds where replay is to go on: behind the checkpoint, or, where the binlog since then is gone and the
/// user wants that, from `now`; the ghost must be put right then.
///
/// # Errors
/// [`FailureKind::Refused`] if changes would be missed.
pub async fn start(
    run: &Run,
    session: &mut Session,
    found: &Checkpoint,
    now: impl AsyncFnOnce(&mut Session) -> Result<Coordinates>,
) -> Result<(Coordinates, bool)> {
    let applied = found.applied_coordinates()?;
    let here = session.server().facts().identity();
    let address = session.server().address();
    let moved = found.server.as_ref().is_some_and(|server| *server != here);
    let repairs = run.settings.resume == ResumeSetting::Repair;
    let by_file = matches!(applied, Coordinates::File { .. });
    let gone = match continuation(session, &applied)
        .await
        .doing(|| format!("look whether the binlog of {address} still has {applied}"))?
    {
        Continuation::Whole if moved && by_file => format!(
            "the checkpoint was written on another server, and without GTIDs its binlog position \
             ({applied}) means nothing on {address}"
        ),
        Continuation::Whole => {
            if moved {
                tracing::info!(
                    event = "moved",
                    "{address} is another server than that of the checkpoint; ghost and checkpoint are \
                     there, and so is the binlog from {applied} on"
                );
            }
            return Ok((applied, found.repair));
        }
        Continuation::Purged(what) => format!(
            "changes were missed: {address} has purged its binlog behind the checkpoint ({applied}): {what}"
        ),
        // What is in the ghost may come from transactions that this server never had.
        Continuation::Elsewhere(what) => {
            return Err(Failure::new(
                FailureKind::Refused,
                format!(
                    "{address} lacks transactions that the ghost has already ({what}): it has another \
                     history than the server of the checkpoint"
                ),
            )
            .remedy(
                "go on at the server that has them, wait until they have been replicated, or begin anew \
                 with --restart",
            ));
        }
    };
    if !repairs {
        return Err(Failure::new(FailureKind::Refused, gone).remedy(
            "start the same command with --resume=repair, which takes the binlog up from now, compares all \
             rows and copies those again that differ; or with --restart, which begins anew",
        ));
    }
    tracing::warn!(
        event = "changes_missed",
        "{gone}; the ghost will be put right"
    );
    Ok((now(session).await?, true))
}

/// The lines that only one of two definitions has.
fn changed_lines(then: &str, now: &str) -> String {
    fn lines(text: &str) -> Vec<&str> {
        text.lines()
            .map(|line| line.trim().trim_end_matches(','))
            .collect()
    }
    let (old, new) = (lines(then), lines(now));
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    let changed: Vec<String> = gone
        .map(|line| format!("- {line}"))
        .chain(come.map(|line| format!("+ {line}")))
        .collect();
    match changed.is_empty() {
        true => "the order of its parts".to_string(),
        false => changed.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_differ_in_lines() {
        assert_eq!(
            changed_lines(
                "CREATE TABLE `t` (\n  `a` int,\n  `b` int\n)",
                "CREATE TABLE `t` (\n  `a` int,\n  `b` bigint,\n  `c` int\n)"
            ),
            "- `b` int, + `b` bigint, + `c` int"
        );
        assert_eq!(
            changed_lines("(\n `a` int,\n `b` int\n)", "(\n `b` int,\n `a` int\n)"),
            "the order of its parts"
        );
    }
}
