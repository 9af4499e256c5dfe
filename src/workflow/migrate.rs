//! The migration, from top to bottom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::back::{self, Back, Left};
use super::count;
use super::desk::{self, Desk, FaceKind};
use super::ending::{Ending, OriginalTable};
use super::engines::{self, Engines};
use super::failover;
use super::finish;
use super::in_step;
use super::index_progress;
use super::index_timing;
use super::keep;
use super::native;
use super::prepare::{self, Prepared};
use super::proof::{self, Proof};
use super::rehearse::{self, Rehearsing};
use super::repair;
use super::run::{Run, stopped};
use crate::alter::{AlterStatement, IndexTiming, NativeAnswer, NativeWay, deferred, ghost};
use crate::checkpoint::{self, Stage};
use crate::control::HookEvent;
use crate::copy::{self, CopyPlan};
use crate::cutover::{self, CutOverPlan, KillPolicy, Ownership, Reason, Swap, Swapped};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::{Purpose, Server, Session};
use crate::names::TableName;
use crate::observe::forecast;
use crate::observe::rehearsal::Rehearsal;
use crate::observe::{self, Lines, Report, Screen, StatusSource, Verification};
use crate::preflight;
use crate::progress::Phase;
use crate::schema::{self, TableDefinition};
use crate::settings::{CountRows, Extent, KillBlockers, ResumeSetting, Triggers, VerifySetting};
use crate::supervise::Supervisor;
use crate::walk::Controls;
use crate::walk::keys::describe;

/// No index build is expected to take longer; the limit is there so that nothing waits for ever.
const INDEX_BUILD_LIMIT: Duration = Duration::from_secs(7 * 86_400);

/// How a migration ended.
#[derive(Debug)]
pub struct Outcome {
    /// All about it, for tickets, files and pages.
    pub report: Report,
    /// Why it stopped and what is left; `None` if the table has its new definition.
    pub failure: Option<(Failure, Ending)>,
}

/// The swap as the story's end knows it.
#[derive(Clone, Debug)]
pub struct Done {
    /// Where the original is now; under its own name after a rehearsal.
    pub old: TableName,
    /// What the comparison came to.
    pub verification: Option<Verification>,
    /// Replicas that must apply the swap, by name.
    pub replicas: BTreeMap<String, Server>,
    /// The server's own way, if that was taken: there is no old table then.
    pub native: Option<NativeWay>,
    /// What a rehearsal found.
    pub rehearsal: Option<Box<Rehearsal>>,
}

impl Done {
    /// The original is under its own name.
    fn in_place(run: &Run) -> Done {
        Done {
            old: run.names.original.clone(),
            verification: None,
            native: None,
            rehearsal: None,
            replicas: BTreeMap::new(),
        }
    }
}

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
    let (mut verification, mut old, mut native) = (None, None, None);
    let (mut rehearsal, mut forecast) = (None, None);
    let (ending, failure) = match result {
        Ok(done) => {
            verification = done.verification;
            old = Some(done.old.to_string());
            native = done.native;
            rehearsal = done.rehearsal;
            forecast = after_forecast(run, native.is_none(), rehearsal.as_deref());
            let ending = match run.settings.extent {
                Extent::Migration => observe::Ending::Done,
                Extent::Rehearsal(_) | Extent::Noop | Extent::ReplicaTest { .. } => {
                    observe::Ending::Rehearsed
                }
            };
            (ending, None)
        }
        Err((failure, left)) if left.original == OriginalTable::Unknown => {
            (observe::Ending::Unknown, Some((failure, left)))
        }
        Err((failure, left)) => (observe::Ending::of(&failure), Some((failure, left))),
    };
    let mut report = Report::new(
        &status,
        ending,
        failure.as_ref().map(|(failure, _)| failure),
    );
    report.verification = verification;
    if let (Some(old), observe::Ending::Done) = (old, ending) {
        report.old_table = old;
    }
    report.native = native.map(|way| way.to_string());
    report
        .notes
        .extend(forecast.iter().map(forecast::Outcome::words));
    report
        .notes
        .extend(rehearsal.iter().flat_map(|found| found.lines()));
    report.forecast = forecast;
    report.rehearsal = rehearsal;
    if let Some(path) = &run.settings.report
        && let Err(unwritten) = report.write(path)
    {
        tracing::warn!(event = "report_unwritten", "{unwritten}");
    }
    Outcome { report, failure }
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
            approved.lock.release().await;
            desk.announce_failure(&failure).await;
            return finish::clean_up(run, Err(failure)).await;
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

/// What there is to do.
enum Approval {
    /// A migration, begun or to begin.
    GoOn(Box<Approved>),
    /// Nothing but cleaning up: the interrupted run died after its swap.
    AlreadySwapped {
        /// Where the original is.
        old: TableName,
        /// See [`Approved::lock`].
        lock: Box<preflight::MigrationLock>,
    },
}

/// What preflight found right.
struct Approved {
    way: Way,
    original: TableDefinition,
    /// Holds the advisory lock that keeps a second run away.
    lock: preflight::MigrationLock,
}

/// From what the ghost is made.
#[allow(clippy::large_enum_variant)] // there is one of it, and it lives in a box with `Approved`
enum Way {
    /// From the original's definition and an ALTER.
    Alter {
        alter: AlterStatement,
        found: Option<checkpoint::Checkpoint>,
        replicas: usize,
        /// What the server would do itself.
        native: Option<Box<NativeAnswer>>,
        /// What stands against the ghost table, where nothing stands against the server's own way.
        against_ghost: Option<Failure>,
    },
    /// It is the old table of a finished run.
    Back {
        back: Box<Back>,
        found: Option<checkpoint::Checkpoint>,
    },
}

/// Looks at everything, and refuses what is unsafe before anything is created.
async fn approve(run: &Run) -> Result<Approval> {
    run.progress.enter(Phase::Preflight);
    if let Some(back) = &run.back {
        return approve_back(run, back).await;
    }
    let alter = AlterStatement::parse(&run.settings.alter)?;
    let lock = preflight::acquire_migration_lock(&run.server, &run.names).await?;
    let mut session = run.ddl_session().await?;
    let interrupted = find_interrupted(run, &mut session, &alter).await;
    if interrupted.is_err() {
        run.found_helpers();
    }
    let found = match interrupted? {
        Interrupted::Swapped { old } => {
            return Ok(Approval::AlreadySwapped {
                old,
                lock: Box::new(lock),
            });
        }
        Interrupted::Resumable(found) => {
            run.found_helpers();
            Some(*found)
        }
        Interrupted::Nothing => None,
    };
    if found.is_none() && run.settings.drop_old_first {
        finish::drop_old(&mut session, &run.names).await?;
    }
    if found.is_none() && must_go_on(run) {
        return Err(nothing_interrupted());
    }
    let mut report = preflight::inspect(
        &mut session,
        &run.names,
        Some(&alter),
        &requirements(run, found.is_some()),
    )
    .await?;
    session.close().await;
    report.log();
    if run.reads_binlog_elsewhere() {
        let mut session = run.binlog_server.session(Purpose::Monitor).await?;
        let findings = preflight::inspect_binlog(&mut session, &run.names).await?;
        session.close().await;
        findings.log();
        findings.verdict()?;
    }
    let replicas = report.replicas;
    let native = report.native.clone();
    let may_be_native = run.settings.extent == Extent::Migration
        && found.is_none()
        && native::choose(run, &alter, native.as_ref()).is_ok();
    let against_ghost = match may_be_native {
        true => report.set_aside_ghost_only(),
        false => None,
    };
    let original = report.approve()?;
    Ok(Approval::GoOn(Box::new(Approved {
        way: Way::Alter {
            alter,
            found,
            replicas,
            native: native.map(Box::new),
            against_ghost,
        },
        original,
        lock,
    })))
}

/// The same for a way back.
async fn approve_back(run: &Run, back: &Back) -> Result<Approval> {
    let lock = preflight::acquire_migration_lock(&run.server, &run.names).await?;
    let mut session = run.server.session(Purpose::Ddl).await?;
    let found = match back::left(run, &mut session).await? {
        Left::Swapped(found) => {
            run.record.take_up(found.history);
            let old = run.names.old.clone();
            return Ok(Approval::AlreadySwapped {
                old,
                lock: Box::new(lock),
            });
        }
        Left::Interrupted(found) if run.settings.resume != ResumeSetting::Restart => {
            run.found_helpers();
            Some(*found)
        }
        Left::Interrupted(_) | Left::Done => {
            finish::remove_helpers(&mut session, &run.helper_names()).await?;
            None
        }
        Left::Nothing => None,
    };
    if found.is_none() && must_go_on(run) {
        return Err(nothing_interrupted());
    }
    // The old table is there, and is no left-over.
    let report = preflight::inspect(
        &mut session,
        &run.helper_names(),
        None,
        &requirements(run, found.is_some()),
    )
    .await?;
    session.close().await;
    report.log();
    let original = report.approve()?;
    Ok(Approval::GoOn(Box::new(Approved {
        way: Way::Back {
            back: Box::new(back.clone()),
            found,
        },
        original,
        lock,
    })))
}

fn nothing_interrupted() -> Failure {
    Failure::new(
        FailureKind::Refused,
        "there is no interrupted run to go on with",
    )
    .remedy("leave out --resume to begin")
}

fn must_go_on(run: &Run) -> bool {
    matches!(
        run.settings.resume,
        ResumeSetting::Require | ResumeSetting::Repair
    )
}

fn requirements(run: &Run, resumable: bool) -> preflight::Requirements {
    preflight::Requirements {
        resumable,
        recreate_triggers: run.settings.triggers == Triggers::Recreate,
        trigger_suffix: run.settings.trigger_suffix.clone(),
        nullable_key: run.settings.nullable_key,
        discard_foreign_keys: run.settings.discard_foreign_keys,
        replicas_given: !run.settings.throttle.replicas.is_empty(),
    }
}

fn rehearses(run: &Run) -> bool {
    matches!(run.settings.extent, Extent::Rehearsal(_))
}

/// What an interrupted run has left.
enum Interrupted {
    /// Nothing, or nothing that could be gone on with: that is removed.
    Nothing,
    /// A checkpoint and its tables.
    Resumable(Box<checkpoint::Checkpoint>),
    /// It died after its swap.
    Swapped {
        /// Where the original is.
        old: TableName,
    },
}

/// Looks for an interrupted run, puts a half-done swap right, and removes what cannot be gone on with.
/// The advisory lock is held: nobody else is at work on these tables.
async fn find_interrupted(
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
            return Err(unknown_ownership(run, "in an earlier run", &seen));
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
            if schema::load::load(session, &names.ghost).await?.is_some() {
                return Ok(Interrupted::Resumable(Box::new(found)));
            }
            tracing::info!(
                event = "ghost_gone",
                "an interrupted run left a checkpoint, but its ghost table is gone: beginning anew"
            );
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
    let way = native::try_first(run, desk, alter, native.as_deref()).await?;
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
    let status = desk.controller.source();
    status.attach(engines.throttle.clone());
    let key = prepared.key.clone();
    status.attach_walk(engines.watermark.subscribe(), move |value| {
        describe(&key, value)
    });
    status.expect_after_copy(
        !prepared.deferred.is_empty(),
        run.settings.verify != VerifySetting::Off,
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
    copy_rows(run, desk, staged).await?;
    desk.announce(HookEvent::RowCopyComplete).await?;
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
        proof::verify(run, prepared, engines, controls, sample).await,
    )?;
    desk.announce(HookEvent::Verified).await?;
    if let Some(rehearsing) = rehearsing {
        let account = rehearsing.account(run, prepared, built_in).await?;
        return Ok(Done {
            verification: proof.summary(run),
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
            verification: proof.summary(run),
            ..Done::in_place(run)
        });
    }
    swap(run, desk, engines, controls, alter, &proof).await
}

/// The last step.
pub async fn swap(
    run: &Run,
    desk: &Desk,
    engines: &Engines,
    controls: &Controls,
    alter: Option<&AlterStatement>,
    proof: &Proof,
) -> Result<Done> {
    desk.announce(HookEvent::BeforeCutOver).await?;
    carry_counter(run, alter).await?;
    let replicas = engines.throttle.replicas.borrow().clone();
    let swapped = cut_over(run, desk, engines, controls).await?;
    run.record.swapped(&swapped.old).await;
    run.progress.enter(Phase::Finish);
    Ok(Done {
        old: swapped.old,
        verification: proof.summary(run),
        replicas,
        ..Done::in_place(run)
    })
}

/// The swap of a test on a replica, and back: nobody but replication writes there, and that rests.
async fn there_and_back(
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
        carry_counter(run, alter).await?;
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

async fn prepare_tables(run: &Run, approved: &Approved) -> Result<Prepared> {
    let hold = |found: &checkpoint::Checkpoint| {
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
            let timing = choose_index_timing(run, approved, alter, *replicas);
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

/// Keeps a rehearsal's forecast; says how good one was that is kept for what was migrated.
fn after_forecast(
    run: &Run,
    by_ghost: bool,
    rehearsal: Option<&Rehearsal>,
) -> Option<forecast::Outcome> {
    let statement = AlterStatement::parse(&run.settings.alter)
        .ok()?
        .clauses_sql();
    if let Some(found) = rehearsal {
        rehearse::keep(run, &statement, found);
    }
    let is_migration = run.settings.extent == Extent::Migration && by_ghost;
    is_migration
        .then(|| rehearse::judge(run, &statement))
        .flatten()
}

/// When secondary indexes are built.
fn choose_index_timing(
    run: &Run,
    approved: &Approved,
    alter: &AlterStatement,
    replicas: usize,
) -> IndexTiming {
    let (timing, why) = index_timing::decide(
        run.settings.defer_indexes,
        &approved.original,
        alter,
        replicas,
        run.tunables.borrow().lag_max,
    );
    tracing::info!(
        event = "index_timing",
        "secondary indexes are built {}: {why}",
        index_timing::words(timing)
    );
    timing
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

/// Returns how long the indexes that come after the copy took.
async fn build_indexes(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
) -> Result<Duration> {
    run.progress.enter(Phase::Indexes);
    let ghost = &run.names.ghost;
    let mut session = run.ddl_session().await?;
    session.set_limit(INDEX_BUILD_LIMIT);
    let id = session.id();
    let work = async {
        let began = Instant::now();
        if !prepared.deferred.is_empty() {
            deferred::build(&mut session, ghost, &prepared.deferred)
                .await
                .doing(|| format!("build the indexes of {ghost}"))?;
        }
        let built_in = began.elapsed();
        if run.settings.analyze {
            ghost::analyze(&mut session, ghost).await?;
        }
        ghost::check_complete(&mut session, ghost, &prepared.ghost_complete).await?;
        Ok(built_in)
    };
    let built = tokio::select! {
        built = finish_or_kill(&run.server, id, &controls.cancel, Duration::ZERO, work) => built,
        never = index_progress::watch(&run.server, &run.progress, id) => match never {},
    };
    if controls.cancel.is_cancelled() {
        return Err(stopped());
    }
    let built_in = built?;
    session.close().await;
    engines.checkpointer.reach(Stage::Complete, Vec::new());
    engines.checkpointer.write_now().await?;
    Ok(built_in)
}

/// The original's AUTO_INCREMENT counter also counts rows that are gone and never came to the ghost.
async fn carry_counter(run: &Run, alter: Option<&AlterStatement>) -> Result<()> {
    let mut session = run.ddl_session().await?;
    ghost::carry_auto_increment(&mut session, &run.names.original, &run.names.ghost, alter).await?;
    session.close().await;
    Ok(())
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
fn unknown_ownership(run: &Run, cause: &str, seen: &str) -> Failure {
    run.original_is(OriginalTable::Unknown);
    Failure::failed(format!(
        "contact was lost during the swap ({cause}); the catalogue shows: {seen}"
    ))
    .remedy(
        "look which of the tables exist: if the old table is there the swap has happened, else the \
         original is as it was; drop nothing before that is clear",
    )
}
