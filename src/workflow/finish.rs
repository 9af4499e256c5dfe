//! The end of a run: what is removed, what is named.

use super::drop_old;
use super::ending::{Ending, OriginalTable};
use super::outcome::Done;
use super::run::Run;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::leftovers;
use crate::mysql::quote;
use crate::mysql::{Purpose, Session};
use crate::names::{Names, TableName};
use crate::settings::{Extent, OldTable};

/// Removes what is not needed any more, and says what is left.
///
/// # Errors
/// The failure of the run, with the state of the server.
pub async fn clean_up(
    run: &Run,
    result: Result<Done>,
) -> std::result::Result<Done, (Failure, Ending)> {
    match result {
        Ok(done) if matches!(run.settings.extent, Extent::ReplicaTest { .. }) => {
            let mut names = run.names.clone();
            // The ghost stays, to be compared with the original.
            names.ghost = names.changelog.clone();
            match run.ddl_session().await {
                Ok(mut session) => {
                    if let Err(failure) = remove_helpers(&mut session, &names).await {
                        tracing::warn!(event = "cleanup_failed", "{failure}");
                    }
                }
                Err(failure) => tracing::warn!(event = "cleanup_failed", "{failure}"),
            }
            Ok(done)
        }
        Ok(done) if run.settings.extent != Extent::Migration => {
            if remove(run).await {
                return Ok(done);
            }
            let ending = Ending {
                original: OriginalTable::Untouched,
                left: all_helpers(&run.names),
                resumable: false,
            };
            let failure = Failure::failed("the rehearsal's own tables could not be removed");
            Err((failure, ending))
        }
        Ok(done) => match after_swap(run, &done.old).await {
            Ok(old_dropped) => Ok(Done {
                old_dropped,
                ..done
            }),
            Err(failure) => {
                let ending = Ending {
                    original: OriginalTable::Swapped,
                    left: left_of(run).await.unwrap_or_default(),
                    resumable: false,
                };
                Err((failure.doing("clean up after the swap"), ending))
            }
        },
        Err(failure) => {
            let original = run.original_state();
            if !run.knows_helpers() {
                return Err((
                    failure,
                    Ending {
                        original,
                        ..Ending::nothing_changed()
                    },
                ));
            }
            let rehearses = matches!(run.settings.extent, Extent::Rehearsal(_));
            let removes = original == OriginalTable::Untouched
                && run.helpers_are_ours()
                && (run.wants_removal()
                    || rehearses
                    || !(worth_keeping(run, &failure) || refused_again(run, &failure)));
            let removed = removes && remove(run).await;
            let left = if removed {
                Vec::new()
            } else {
                left_of(run)
                    .await
                    .unwrap_or_else(|_| all_helpers(&run.helper_names()))
            };
            let resumable = original == OriginalTable::Untouched
                && !removed
                && !rehearses
                && failure.kind() != FailureKind::Refused
                && worth_keeping(run, &failure)
                && left.contains(&run.names.checkpoint)
                && (run.back.is_some() || left.contains(&run.names.ghost));
            Err((
                failure,
                Ending {
                    original,
                    left,
                    resumable,
                },
            ))
        }
    }
}

/// Whether a run that goes on with an interrupted one is refused: other options than those it was started
/// with may do.
fn refused_again(run: &Run, failure: &Failure) -> bool {
    failure.kind() == FailureKind::Refused && run.goes_on()
}

/// Whether what was copied so far may be gone on with. What cannot be classified is kept.
fn worth_keeping(run: &Run, failure: &Failure) -> bool {
    match failure.kind() {
        // The old table is in step but for the rows that do not fit.
        FailureKind::DoesNotFit if run.back.is_some() => true,
        // The same rows would not fit again; the next attempt has another definition.
        FailureKind::DoesNotFit | FailureKind::Usage | FailureKind::Refused => false,
        FailureKind::Failed
        | FailureKind::Difference
        | FailureKind::Stopped
        | FailureKind::Interrupted => true,
    }
}

async fn remove(run: &Run) -> bool {
    let removed = async {
        let mut session = run.ddl_session().await?;
        // Tables of an earlier run that was not gone on with are not ours to remove.
        if run.helpers_are_ours() {
            remove_helpers(&mut session, &run.helper_names()).await?;
        }
        session.close().await;
        Ok::<(), Failure>(())
    };
    match removed.await {
        Ok(()) => true,
        Err(failure) => {
            tracing::warn!(
                event = "cleanup_failed",
                "the run's own tables could not be removed: {failure}"
            );
            false
        }
    }
}

/// Drops ghost, changelog and checkpoint table, where they exist, the checkpoint table last. Never the
/// old table.
///
/// # Errors
/// What the server answered.
pub async fn remove_helpers(session: &mut Session, names: &Names) -> Result<()> {
    for table in [&names.ghost, &names.changelog, &names.checkpoint] {
        drop_table(session, table).await?;
    }
    Ok(())
}

/// Drops an old table of an earlier run, asked for in so many words.
///
/// # Errors
/// What the server answered.
pub async fn drop_old(session: &mut Session, names: &Names) -> Result<()> {
    drop_table(session, &names.old).await
}

async fn drop_table(session: &mut Session, table: &TableName) -> Result<()> {
    session
        .execute(&leftovers::drop_sql(table))
        .await
        .map(drop)
        .doing(|| format!("drop {table}"))
}

/// Returns whether the old table is dropped.
async fn after_swap(run: &Run, old: &TableName) -> Result<bool> {
    let mut session = run.ddl_session().await?;
    for table in [&run.names.changelog, &run.names.checkpoint] {
        drop_table(&mut session, table).await?;
    }
    session.close().await;
    match run.settings.old_table {
        OldTable::Keep => Ok(false),
        OldTable::DropAfter(pause) => drop_old::after(run, old, pause).await,
    }
}

fn all_helpers(names: &Names) -> Vec<TableName> {
    vec![
        names.ghost.clone(),
        names.changelog.clone(),
        names.checkpoint.clone(),
    ]
}

/// Which of the helper tables exist.
async fn left_of(run: &Run) -> Result<Vec<TableName>> {
    let mut session = run.server.session(Purpose::Monitor).await?;
    let list: Vec<String> = session
        .query(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
            quote::string(&run.names.original.schema)
        ))
        .await?;
    session.close().await;
    let mut helpers = all_helpers(&run.helper_names());
    helpers.dedup();
    Ok(helpers
        .into_iter()
        .filter(|table| list.contains(&table.table))
        .collect())
}
