//! The migration, from top to bottom.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::approve::{Approval, Approved, Way, approve};
use super::back;
use super::behind;
use super::count;
use super::desk::{self, Desk, FaceKind};
use super::ending::{Ending, OriginalTable};
use super::engines::{self, Engines};
use super::failover;
use super::finish;
use super::in_step;
use super::indexes::{build_indexes, choose_index_timing};
use super::keep;
use super::native;
use super::outcome::{self, Done, Outcome};
use super::prepare::{self, Prepared};
use super::proof;
use super::rehearse::{self, Rehearsing};
use super::repair;
use super::run::{Run, stopped};
use super::swap::{swap, there_and_back};
use crate::alter::{AlterStatement, NativeWay};
use crate::checkpoint::{Checkpoint, Stage};
use crate::control::HookEvent;
use crate::copy::{self, CopyPlan};
use crate::cutover;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::observe::{self, Lines, Screen, StatusSource};
use crate::progress::Phase;
use crate::settings::{CountRows, Extent, VerifySetting};
use crate::supervise::Supervisor;
use crate::walk::Controls;
use crate::walk::keys::describe;

/// The ALTER's clauses, for status and report: who gave a whole statement named the table in it.
fn shown_alter(text: &str) -> String {
    AlterStatement::parse(text).map_or_else(|_| text.to_string(), |alter| alter.clauses_sql())
}

/// Alters the table while it is in use.
pub async fn migrate(run: &Arc<Run>, screen: Arc<Screen>, lines: Lines, face: FaceKind) -> Outcome {
    // The desk outlives the story: commands are answered, and signals heard, until the very end.
    let mut desk_group = Supervisor::new(&CancellationToken::new());
    let status = Arc::new(StatusSource::new(
        run.names.clone(),
        match &run.back {
            Some(back) => back.statement(),
            None => shown_alter(&run.settings.alter),
        },
        run.server.address(),
        run.progress.clone(),
        run.tunables.subscribe(),
    ));
    desk_group.spawn(
        "show the status",
        observe::watch(status.clone(), screen, lines, desk_group.token()),
    );
    let result = match desk::open(run, status.clone(), face, &mut desk_group).await {
        Ok(desk) => Box::pin(at_the_desk(run, &desk)).await,
        Err(failure) => Err((failure, Ending::nothing_changed())),
    };
    if let Err(failure) = desk_group.stop().await {
        tracing::warn!(event = "desk", "{failure}");
    }
    outcome::account(run, &status, result)
}

async fn at_the_desk(run: &Arc<Run>, desk: &Desk) -> std::result::Result<Done, (Failure, Ending)> {
    let result = match desk.announce(HookEvent::Startup).await {
        Ok(()) => approve(run).await,
        Err(vetoed) => Err(vetoed),
    };
    let approved = match result {
        Ok(Approval::GoOn(approved)) => approved,
        Ok(Approval::AlreadySwapped { old, lock }) => {
            run.own_helpers();
            run.original_is(OriginalTable::Swapped);
            tracing::info!(
                event = "already_swapped",
                "the interrupted run had swapped the tables"
            );
            run.record.swapped(&old).await;
            let done = Done {
                old,
                ..Done::in_place(run)
            };
            let result = Box::pin(keep::stay_revertible(run, desk, done)).await;
            let outcome = finish::clean_up(run, result).await;
            run.record.end(run, &outcome).await;
            lock.release().await;
            return outcome;
        }
        Err(failure) => {
            desk.announce_failure(&failure).await;
            return finish::clean_up(run, Err(failure)).await;
        }
    };
    match before_the_ghost(run, desk, &approved).await {
        Ok(None) => {}
        Ok(Some(way)) => {
            approved.lock.release().await;
            run.progress.enter(Phase::Finish);
            desk.announce(HookEvent::Success).await.unwrap_or_default();
            return Ok(Done {
                native: Some(way),
                ..Done::in_place(run)
            });
        }
        Err(failure) => {
            desk.announce_failure(&failure).await;
            let outcome = finish::clean_up(run, Err(failure)).await;
            run.record.end(run, &outcome).await;
            approved.lock.release().await;
            return outcome;
        }
    }
    let mut group = Supervisor::new(&run.stop);
    group.spawn("keep other runs away", {
        let (lock, cancel) = (approved.lock.clone(), group.token());
        async move { lock.keep(&cancel).await }
    });
    if run.settings.extent == Extent::Migration {
        group.spawn(
            "watch the primary",
            failover::watch(run.clone(), group.token()),
        );
    }
    let result = Box::pin(through_the_ghost(run, desk, &approved, &mut group)).await;
    let ended = group.stop().await;
    let result = match (result, ended) {
        // The step was cancelled because an engine had failed: that is the cause.
        (Err(step), Err(cause)) if step.kind() == FailureKind::Interrupted => Err(cause),
        (result, _) => result,
    };
    if let Ok(done) = &result {
        watch_replicas(run, desk, done).await;
    }
    let result = match result {
        Ok(done) if run.original_state() == OriginalTable::Swapped => {
            Box::pin(keep::stay_revertible(run, desk, done)).await
        }
        other => other,
    };
    let outcome = finish::clean_up(run, result).await;
    run.record.end(run, &outcome).await;
    approved.lock.release().await;
    match &outcome {
        Ok(_) => desk.announce(HookEvent::Success).await.unwrap_or_default(),
        // It is gone on with elsewhere.
        Err(_) if run.successor().is_some() => {}
        Err((failure, _)) => desk.announce_failure(failure).await,
    }
    outcome
}

/// Watches the replicas until each has applied the swap, and raises the alarm over one that has not.
async fn watch_replicas(run: &Run, desk: &Desk, done: &Done) {
    // Each replica is told of once.
    let (stalled_to, mut stalled) = mpsc::channel(done.replicas.len().max(1));
    let alarms = async {
        while let Some(stalled) = stalled.recv().await {
            desk.announce_stall(&stalled).await;
        }
    };
    let watched = async move {
        let on_stall = |stall: &cutover::Stalled| {
            let _ = stalled_to.try_send(stall.clone());
        };
        let mut names = run.names.clone();
        names.old = done.old.clone();
        cutover::watch_replicas(&done.replicas, &names, &run.progress, &on_stall, &run.stop).await;
    };
    tokio::join!(alarms, watched);
}

/// The server's own way, if it may be taken and is to be had.
async fn before_the_ghost(
    run: &Run,
    desk: &Desk,
    approved: &Approved,
) -> Result<Option<NativeWay>> {
    desk.announce(HookEvent::Validated).await?;
    let Way::Alter {
        alter,
        found: None,
        native,
        against_ghost,
        ..
    } = &approved.way
    else {
        return Ok(None);
    };
    if run.settings.extent != Extent::Migration {
        return Ok(None);
    }
    let original = &approved.original;
    let way = native::try_first(run, desk, original, alter, native.as_deref()).await?;
    match (against_ghost, way) {
        (Some(refusal), None) => Err(refusal.clone()),
        (_, way) => Ok(way),
    }
}

async fn through_the_ghost(
    run: &Run,
    desk: &Desk,
    approved: &Approved,
    group: &mut Supervisor,
) -> Result<Done> {
    run.progress.enter(Phase::Prepare);
    let prepared = prepare_tables(run, approved).await?;
    run.check_stop()?;
    if run.settings.extent == Extent::Noop {
        return Ok(Done::in_place(run));
    }
    scan_duplicates(run, &prepared).await?;
    run.check_stop()?;
    let engines = engines::start(run, &prepared, desk.controller.source(), group).await?;
    engines.rest.swaps_under(approved.lock.clone());
    let status = desk.controller.source();
    status.attach(engines.throttle.clone());
    let key = prepared.key.clone();
    status.attach_walk(engines.watermark.subscribe(), move |value| {
        describe(&key, value)
    });
    status.expect_after_copy(
        !prepared.deferred.is_empty(),
        run.settings.verify == VerifySetting::After,
    );
    let controls = Controls {
        pace: engines.throttle.pace.clone(),
        tunables: run.tunables.subscribe(),
        cancel: group.token(),
    };
    let rehearsing = match run.settings.extent {
        Extent::Rehearsal(scope) => Some(rehearse::begin(run, &prepared, scope, group).await?),
        Extent::Migration | Extent::Noop | Extent::ReplicaTest { .. } => None,
    };
    let stage = Staged {
        prepared: &prepared,
        engines: &engines,
        controls: &controls,
        rehearsing: rehearsing.as_ref(),
    };
    let done = Box::pin(to_the_end(run, desk, approved, stage)).await;
    done.map_err(
        |failure| match (failure.kind(), engines.replay.conflict()) {
            // The row that is missing had to go for another one.
            (FailureKind::Difference, Some(said)) => failure.evidence(said),
            _ => failure,
        },
    )
}

/// What stands ready before the first row is copied.
#[derive(Clone, Copy)]
struct Staged<'a> {
    prepared: &'a Prepared,
    engines: &'a Engines,
    controls: &'a Controls,
    rehearsing: Option<&'a Rehearsing>,
}

/// From the first row to the swap.
async fn to_the_end(
    run: &Run,
    desk: &Desk,
    approved: &Approved,
    staged: Staged<'_>,
) -> Result<Done> {
    let Staged {
        prepared,
        engines,
        controls,
        rehearsing,
    } = staged;
    prepare::check_key_has_no_null(run, prepared).await?;
    if run.settings.count_rows == CountRows::First {
        count::rows(run, desk, &controls.cancel).await?;
    }
    desk.announce(HookEvent::BeforeRowCopy).await?;
    if behind::is_wanted(run, prepared, engines) {
        let copying = async |controls: Controls| {
            let controls = &controls;
            copy_rows(run, desk, Staged { controls, ..staged }).await?;
            desk.announce(HookEvent::RowCopyComplete).await?;
            run.progress.enter(Phase::Verify);
            Ok(())
        };
        let comparing = behind::beside(run, prepared, engines, controls, copying).await;
        in_step::verdict(engines, comparing)?;
    } else {
        copy_rows(run, desk, staged).await?;
        desk.announce(HookEvent::RowCopyComplete).await?;
    }
    let built_in = if run.back.is_some() {
        in_step::reach(run, engines, controls).await?;
        Duration::ZERO
    } else {
        repair::repair(run, prepared, engines, controls).await?;
        build_indexes(run, prepared, engines, controls).await?
    };
    let sample = rehearsing.and_then(Rehearsing::covered);
    let proof = in_step::verdict(
        engines,
        proof::prove(run, prepared, engines, controls, sample).await,
    )?;
    desk.announce(HookEvent::Verified).await?;
    if let Some(rehearsing) = rehearsing {
        let account = rehearsing.account(run, prepared, built_in).await?;
        return Ok(Done {
            verification: proof.summary(run, engines),
            rehearsal: Some(Box::new(account)),
            ..Done::in_place(run)
        });
    }
    if *desk.hold.borrow() {
        desk.announce(HookEvent::BeginPostponed).await?;
    }
    in_step::verdict(
        engines,
        proof.hold(run, engines, controls, desk.hold.clone()).await,
    )?;
    let alter = match &approved.way {
        Way::Alter { alter, .. } => Some(alter),
        Way::Back { .. } => None,
    };
    if let Extent::ReplicaTest { stop_replication } = run.settings.extent {
        desk.announce(HookEvent::BeforeCutOver).await?;
        there_and_back(run, desk, alter, engines, controls, stop_replication).await?;
        return Ok(Done {
            verification: proof.summary(run, engines),
            ..Done::in_place(run)
        });
    }
    swap(run, desk, engines, controls, alter, &proof).await
}

async fn prepare_tables(run: &Run, approved: &Approved) -> Result<Prepared> {
    let hold = |found: &Checkpoint| {
        tracing::info!(
            event = "resume",
            "Resuming from checkpoint: going on with the interrupted run at {}",
            found.applied
        );
        if found.postponed || found.released {
            // The operator's last word still counts, whatever the command line says again; unless there
            // is a newer one.
            let start = &run.settings.tunables;
            run.tunables.send_modify(|tunables| {
                if tunables.postpone_cutover == start.postpone_cutover && !tunables.cutover_released
                {
                    tunables.postpone_cutover = found.postponed;
                    tunables.cutover_released = found.released;
                }
            });
        }
    };
    match &approved.way {
        Way::Alter {
            alter,
            found: Some(found),
            ..
        } => {
            hold(found);
            let prepared = prepare::resumed(run, &approved.original, alter, found.clone()).await?;
            run.own_helpers();
            Ok(prepared)
        }
        Way::Alter {
            alter, replicas, ..
        } => {
            run.own_helpers();
            let timing = choose_index_timing(run, &approved.original, alter, *replicas);
            prepare::fresh(run, &approved.original, alter, timing).await
        }
        Way::Back { back, found } => {
            if let Some(found) = found {
                hold(found);
            }
            let prepared = back::prepare(run, back, &approved.original, found.clone()).await?;
            back::tell(&prepared);
            run.own_helpers();
            if found.is_none() {
                back::create_helpers(run).await?;
            }
            Ok(prepared)
        }
    }
}

async fn scan_duplicates(run: &Run, prepared: &Prepared) -> Result<()> {
    if !run.settings.duplicate_scan || prepared.resumed.is_some() {
        return Ok(());
    }
    run.progress.enter(Phase::Scan);
    let scan = copy::DuplicateScan {
        original: &prepared.original,
        ghost: &prepared.ghost,
        map: &prepared.map,
        key: &prepared.key,
    };
    copy::scan_duplicates(&run.server, scan, &run.stop)
        .await
        .doing(|| format!("look for duplicates in {}", run.names.original))
}

async fn copy_rows(run: &Run, desk: &Desk, staged: Staged<'_>) -> Result<()> {
    let Staged {
        prepared,
        engines,
        controls,
        rehearsing,
    } = staged;
    if engines.watermark.borrow().finished {
        return Ok(());
    }
    run.progress.enter(Phase::Copy);
    if let Some(rehearsing) = rehearsing {
        run.progress.rows_total.set(rehearsing.rows_expected());
    } else if run.settings.count_rows != CountRows::First {
        run.progress.rows_total.set(prepared.original.rows_estimate);
    }
    let bytes = prepared.original.rows_estimate * prepared.original.row_bytes_estimate;
    run.progress.bytes_total.set(bytes);
    if let Some(found) = &prepared.resumed {
        run.progress.rows_copied.set(found.rows_copied);
    }
    let from = engines.watermark.borrow().next.clone();
    let copying = copy::run(
        CopyPlan {
            splits_max: run.settings.splits_max,
            server: run.server.clone(),
            original: prepared.original.clone(),
            ghost: prepared.ghost.clone(),
            map: prepared.map.clone(),
            key: prepared.key.clone(),
            mode: engines.copy_mode,
            from,
            sample: rehearsing.and_then(Rehearsing::sample),
            compress: run.settings.compress_binlog,
            trail: engines.trail.clone(),
        },
        engines.interlock.clone(),
        controls.clone(),
        run.progress.clone(),
        engines.watermark.clone(),
    );
    let enough = controls.cancel.child_token();
    let copying = async {
        let report = copying.await;
        enough.cancel();
        report
    };
    let counting = async {
        match run.settings.count_rows {
            CountRows::WhileCopying => count::rows(run, desk, &enough).await,
            CountRows::Never | CountRows::First => Ok(()),
        }
    };
    let (report, counted) = tokio::join!(copying, counting);
    let report = report?;
    counted?;
    if !report.watermark.finished {
        return Err(stopped());
    }
    engines
        .checkpointer
        .reach(Stage::Indexes, prepared.deferred.clone());
    engines.checkpointer.write_now().await
}
