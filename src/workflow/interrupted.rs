//! What an interrupted run has left, and what becomes of it.

use super::approve::rehearses;
use super::finish;
use super::keep;
use super::run::Run;
use super::swap::unknown_ownership;
use crate::alter::AlterStatement;
use crate::checkpoint::{self, Checkpoint};
use crate::cutover::{self, Ownership};
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::names::TableName;
use crate::settings::ResumeSetting;

/// What an interrupted run has left.
pub enum Interrupted {
    /// Nothing, or nothing that could be gone on with: that is removed.
    Nothing,
    /// A checkpoint and its tables.
    Resumable(Box<Checkpoint>),
    /// It died after its swap.
    Swapped {
        /// Where the original is.
        old: TableName,
    },
}

/// Looks for an interrupted run, puts a half-done swap right, and removes what cannot be gone on with.
/// The advisory lock is held: nobody else is at work on these tables.
///
/// # Errors
/// [`FailureKind::Refused`] where it must be gone on with first; what the server answered.
pub async fn find_interrupted(
    run: &Run,
    session: &mut Session,
    alter: &AlterStatement,
) -> Result<Interrupted> {
    if !checkpoint::is_ours(session, &run.names.checkpoint).await? {
        if run.settings.resume == ResumeSetting::Restart {
            finish::remove_helpers(session, &run.names).await?;
        }
        return Ok(Interrupted::Nothing);
    }
    let found = match checkpoint::read(session, &run.names.checkpoint).await {
        Err(_) if run.settings.resume == ResumeSetting::Restart => None,
        other => other?,
    };
    if let Some(kept) = found.as_ref().filter(|found| found.reverts.is_some()) {
        return keep::interrupted(run, session, kept, &alter.clauses_sql())
            .await
            .map(|old| Interrupted::Swapped { old });
    }
    let mut names = run.names.clone();
    if let Some(found) = &found {
        names.old = names.original.sibling(&found.old_table);
    }
    let ownership = cutover::settle(&run.server, &names).await?;
    let restart = run.settings.resume == ResumeSetting::Restart;
    match (ownership, found) {
        // Without a checkpoint it never came near a swap: an old table is another run's.
        (_, None) => {}
        (Ownership::Swapped, Some(found)) => {
            run.record.take_up(found.history);
            return Ok(Interrupted::Swapped { old: names.old });
        }
        (Ownership::Unknown(seen), Some(_)) => {
            if !cutover::is_alone(&run.server, &names).await? {
                return Err(unknown_ownership(run, "in an earlier run", &seen));
            }
            tracing::info!(
                event = "ghost_gone",
                "an interrupted run left a checkpoint, but its ghost table is gone: beginning anew"
            );
        }
        (Ownership::Original, Some(found)) if found.rehearsal => {
            tracing::info!(
                event = "rehearsal_left",
                "an interrupted rehearsal left its tables"
            );
        }
        (Ownership::Original, Some(_)) if rehearses(run) => {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("an interrupted migration of {} is there", run.names.original),
            )
            .remedy(
                "go on with it first, or remove its tables with `changeling cleanup`: a rehearsal needs \
                 their names",
            ));
        }
        (Ownership::Original, Some(found)) if !restart => {
            return Ok(Interrupted::Resumable(Box::new(found)));
        }
        (Ownership::Original, Some(_)) => {}
    }
    tracing::info!(
        event = "left_overs_removed",
        "removing the tables of an interrupted run"
    );
    finish::remove_helpers(session, &run.names).await?;
    Ok(Interrupted::Nothing)
}
