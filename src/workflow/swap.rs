//! The last step: the swap, and what its end means.

use super::desk::Desk;
use super::ending::OriginalTable;
use super::engines::Engines;
use super::outcome::Done;
use super::proof::Proof;
use super::run::{Run, stopped};
use crate::alter::{AlterStatement, ghost};
use crate::control::HookEvent;
use crate::cutover::{self, CutOverPlan, KillPolicy, Reason, Swap, Swapped};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::Purpose;
use crate::mysql::retry::enduring;
use crate::names::Names;
use crate::progress::Phase;
use crate::settings::{KillBlockers, Triggers};
use crate::walk::Controls;

/// Swaps the tables, and leaves it in the history.
///
/// # Errors
/// [`FailureKind::Interrupted`] when the lock was not to be had; a hook's veto; what the server answered.
pub async fn swap(
    run: &Run,
    desk: &Desk,
    engines: &Engines,
    controls: &Controls,
    alter: Option<&AlterStatement>,
    proof: &Proof,
) -> Result<Done> {
    desk.announce(HookEvent::BeforeCutOver).await?;
    carry_counter(run, alter, controls).await?;
    let replicas = engines.throttle.replicas.borrow().clone();
    let swapped = cut_over(run, desk, engines, controls).await?;
    run.record.swapped(&swapped.old).await;
    run.progress.enter(Phase::Finish);
    Ok(Done {
        old: swapped.old,
        verification: proof.summary(run, engines),
        replicas,
        ..Done::in_place(run)
    })
}

/// The swap of a test on a replica, and back: nobody but replication writes there, and that rests.
///
/// # Errors
/// As [`swap`]; replication runs again then.
pub async fn there_and_back(
    run: &Run,
    desk: &Desk,
    alter: Option<&AlterStatement>,
    engines: &Engines,
    controls: &Controls,
    stop_replication: bool,
) -> Result<()> {
    if stop_replication {
        desk.announce(HookEvent::StopReplication).await?;
        engines.rest.stop_replication(&run.server).await?;
    } else {
        tracing::warn!(
            event = "replication_not_stopped",
            "replication is not stopped here: a hook has to do that"
        );
        desk.announce(HookEvent::StopReplication).await?;
        engines.rest.settle_all().await?;
    }
    let swap = async {
        carry_counter(run, alter, controls).await?;
        let swapped = cut_over(run, desk, engines, controls).await?;
        let mut names = run.names.clone();
        names.old = swapped.old;
        cutover::swap_back(&run.server, &names).await?;
        run.original_is(OriginalTable::Untouched);
        Ok::<(), Failure>(())
    };
    let swapped = swap.await;
    if swapped.is_err() {
        desk.announce(HookEvent::StartReplication)
            .await
            .unwrap_or_else(|unheard| tracing::warn!(event = "hook_failed", "{unheard}"));
        if stop_replication {
            let mut session = run.server.session(Purpose::Monitor).await?;
            session.execute(run.server.facts().start_replica()).await?;
            session.close().await;
        }
    }
    run.progress.enter(Phase::Finish);
    swapped
}

/// The original's AUTO_INCREMENT counter also counts rows that are gone and never came to the ghost.
async fn carry_counter(
    run: &Run,
    alter: Option<&AlterStatement>,
    controls: &Controls,
) -> Result<()> {
    let carried = enduring(&controls.cancel, || async {
        let mut session = run.ddl_session().await?;
        let Names {
            original, ghost, ..
        } = &run.names;
        ghost::carry_auto_increment(&mut session, original, ghost, alter).await?;
        session.close().await;
        Ok(())
    });
    carried.await?.ok_or_else(stopped)
}

async fn cut_over(
    run: &Run,
    desk: &Desk,
    engines: &Engines,
    controls: &Controls,
) -> Result<Swapped> {
    run.progress.enter(Phase::CutOver);
    let settings = &run.settings.cutover;
    let plan = CutOverPlan {
        budget: settings.budget,
        attempts_max: (settings.attempts_max > 0).then_some(settings.attempts_max),
        deadline: settings.deadline,
        kill: match settings.kill {
            KillBlockers::Never => KillPolicy::Never,
            KillBlockers::Idle => KillPolicy::Idle,
            KillBlockers::All => KillPolicy::All,
        },
        kill_after_attempts: settings.kill_after_attempts,
        kill_rows_max: settings.kill_rows_max,
        recreate_triggers: run.settings.triggers == Triggers::Recreate,
        trigger_suffix: run.settings.trigger_suffix.clone(),
        replicas: engines.throttle.replicas.clone(),
        ..CutOverPlan::new(run.server.clone(), run.names.clone())
    };
    let swap = cutover::run(
        &plan,
        &*engines.rest,
        desk.hold.clone(),
        &run.progress,
        &|attempt| desk.tell_attempt(attempt),
        &controls.cancel,
    )
    .await
    .doing(|| format!("swap {} and {}", run.names.original, run.names.ghost))?;
    match swap {
        Swap::Swapped(swapped) => {
            run.original_is(OriginalTable::Swapped);
            Ok(swapped)
        }
        Swap::NotSwapped(not) => Err(match not.reason {
            Reason::Cancelled => stopped(),
            Reason::Attempts(n) => Failure::new(
                FailureKind::Interrupted,
                format!("the table's lock was not to be had within the budget in {n} attempts"),
            ),
            Reason::Deadline(limit) => Failure::new(
                FailureKind::Interrupted,
                format!(
                    "the table's lock was not to be had within the budget for {}",
                    humantime::format_duration(limit)
                ),
            ),
        }
        .remedy(
            "end the transactions that hold the table (they are named above), or allow \
             --kill-blockers, and start the same command again: it goes on from here",
        )),
        Swap::Unknown { seen, cause } => Err(unknown_ownership(run, &cause, &seen)),
    }
}

/// The catalogue does not tell which table the application uses: a message of its own.
pub fn unknown_ownership(run: &Run, cause: &str, seen: &str) -> Failure {
    run.original_is(OriginalTable::Unknown);
    Failure::failed(format!(
        "contact was lost during the swap ({cause}); the catalogue shows: {seen}"
    ))
    .remedy(
        "look which of the tables exist: if the old table is there the swap has happened, else the \
         original is as it was; drop nothing before that is clear",
    )
}
