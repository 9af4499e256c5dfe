//! After the swap: the old table is kept in step with the new one for a while, so that going back takes
//! seconds.
//!
//! It is the way back up to its swap, which waits for the operator's word: the old table is the ghost,
//! replay brings in what the table has since, the comparison is kept fresh. When the time is over, what was
//! reached is written into the history, from where a later revert goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::back::{self, Back};
use super::desk::Desk;
use super::engines::{self, Engines};
use super::in_step;
use super::outcome::Done;
use super::prepare::Prepared;
use super::proof::{self, Proof};
use super::run::{Run, stopped};
use super::swap;
use crate::checkpoint::Checkpoint;
use crate::cutover::{self, Ownership};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::history::{self, Kind, WayBack};
use crate::mysql::{Purpose, Session};
use crate::names::{Names, TableName};
use crate::progress::Phase;
use crate::schema;
use crate::supervise::Supervisor;
use crate::walk::Controls;

/// Between two looks at rows that do not fit, and at those that have changed since they were compared.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often people are told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// More rows that do not fit are not tried again all the time.
const TRIED_AGAIN_MAX: usize = 1000;

/// Keeps the run that has swapped revertible for as long as was asked; reverts it if asked to.
///
/// # Errors
/// Why it cannot be reverted any more; a revert that was begun and not finished.
pub async fn stay_revertible(run: &Arc<Run>, desk: &Desk, done: Done) -> Result<Done> {
    let Some(wanted) = run.settings.keep_revertible else {
        return Ok(done);
    };
    let Some(id) = run.record.id() else {
        return Err(Failure::failed(
            "the table is altered, but cannot be kept revertible: its row in the history was not written",
        ));
    };
    let (turned, left) = turn(run, id, &done.old, wanted)
        .await
        .doing(|| "make ready to keep the table revertible")?;
    if left.is_zero() {
        return Ok(done);
    }
    let mut group = Supervisor::new(&run.stop);
    let source = desk.controller.source().clone();
    let result = Box::pin(kept(&turned, desk, &mut group, Instant::now() + left)).await;
    source.revertible_until(None);
    let ended = group.stop().await;
    let result = match (result, ended) {
        (Err(step), Err(cause)) if step.kind() == FailureKind::Interrupted => Err(cause),
        (result, _) => result,
    };
    match result {
        Ok(End::Over) => Ok(done),
        Ok(End::Reverted(back)) => {
            turned.record.end(&turned, &Ok(back.clone())).await;
            tracing::info!(
                event = "reverted",
                "{} has its former definition again; what was taken out of use is {}",
                turned.names.original,
                back.old
            );
            Ok(back)
        }
        Err(failure) => {
            let failure = failure.remedy(
                "the migration itself is done; `changeling revert` goes back, from where this ended",
            );
            let ending = super::Ending {
                original: turned.original_state(),
                left: Vec::new(),
                resumable: true,
            };
            turned
                .record
                .end(&turned, &Err((failure.clone(), ending)))
                .await;
            Err(failure)
        }
    }
}

/// How it ended.
enum End {
    /// The time is over, or the program was told to stop.
    Over,
    /// The old table is in use again.
    Reverted(Done),
}

/// The way back of a run, and for how long it is still to be kept.
async fn turn(
    run: &Arc<Run>,
    id: u64,
    old: &TableName,
    wanted: Duration,
) -> Result<(Arc<Run>, Duration)> {
    let mut session = run.server.session(Purpose::Monitor).await?;
    let original = &run.names.original;
    let runs = history::read(&mut session, &original.schema, Some(&original.table)).await?;
    let entry = runs
        .into_iter()
        .find(|one| one.id == id)
        .ok_or_else(|| Failure::failed(format!("run {id} is not in the history")))?;
    let age = history::swapped_for(&mut session, &run.names.original, id).await?;
    let mut names = Names {
        ghost: old.clone(),
        ..run.names.clone()
    };
    names.old = back::free_name(&mut session, &names, Kind::Migrate).await?;
    session.close().await;
    let from = back::reached(&entry)?;
    let turned = run.turned(names, Back { entry, from });
    back::create_helpers(&turned).await?;
    Ok((Arc::new(turned), wanted.saturating_sub(age)))
}

async fn kept(run: &Arc<Run>, desk: &Desk, group: &mut Supervisor, until: Instant) -> Result<End> {
    let Some(back) = run.back.clone() else {
        return Ok(End::Over);
    };
    let mut session = run.server.session(Purpose::Ddl).await?;
    let original = schema::load(&mut session, &run.names.original)
        .await?
        .ok_or_else(|| Failure::failed(format!("{} is gone", run.names.original)))?;
    session.close().await;
    let prepared = back::prepare(run, &back, &original, None).await?;
    back::tell(&prepared);
    let source = desk.controller.source();
    let engines = engines::start(run, &prepared, source, group).await?;
    let controls = Controls {
        pace: engines.throttle.pace.clone(),
        tunables: run.tunables.subscribe(),
        cancel: group.token(),
    };
    run.progress.enter(Phase::Revertible);
    source.revertible_until(Some(until));
    let mut asked = run.revert_asked.subscribe();
    let mut watch = Watch::new(until);
    loop {
        let now = Instant::now();
        if controls.cancel.is_cancelled() || now >= until {
            // What stops the program is no failure of the migration, but of an engine it is.
            if controls.cancel.is_cancelled() && !run.stop.is_cancelled() {
                return Err(stopped());
            }
            return over(run, &back, &engines, &controls).await;
        }
        watch.tell(run, now);
        if *asked.borrow_and_update() {
            run.revert_asked.send_replace(false);
            let going = revert(
                run,
                desk,
                &prepared,
                &engines,
                &controls,
                watch.proof.take(),
            );
            match Box::pin(going).await {
                Ok(done) => return Ok(End::Reverted(done)),
                Err(failure) if failure.kind() == FailureKind::DoesNotFit => {
                    tracing::error!(event = "revert_refused", "not reverted: {failure}");
                    source.revert_refused(failure.to_string());
                    run.progress.enter(Phase::Revertible);
                }
                Err(failure) => return Err(failure),
            }
        }
        watch.look(run, &prepared, &engines, &controls).await?;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now()))) => {}
            _ = asked.changed() => {}
            () = controls.cancel.cancelled() => {}
        }
    }
}

/// The time is over: what was reached goes into the history.
async fn over(run: &Run, back: &Back, engines: &Engines, controls: &Controls) -> Result<End> {
    if !controls.cancel.is_cancelled() {
        in_step::settle(engines, controls).await?;
    }
    let reached = WayBack {
        applied: engines.replay.backlog().applied().to_string(),
        misfits: engines.replay.misfits().keys(),
    };
    tracing::info!(
        event = "revertible_over",
        "the old table {} is not kept in step any more; `changeling revert` goes on from {} as long as \
         the binlog since then is there",
        run.names.ghost,
        reached.applied
    );
    run.record.in_step(back.entry.id, reached).await;
    Ok(End::Over)
}

async fn revert(
    run: &Arc<Run>,
    desk: &Desk,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
    proof: Option<Proof>,
) -> Result<Done> {
    tracing::info!(event = "revert", "going back, as the operator asks");
    in_step::reach(run, engines, controls).await?;
    run.record.begin_now().await;
    engines.checkpointer.set_history(run.record.id());
    let proof = match proof {
        Some(proof) => {
            in_step::verdict(engines, proof.recheck(run, engines, controls).await)?;
            proof
        }
        None => {
            let verified = proof::verify(run, prepared, engines, controls).await;
            in_step::verdict(engines, verified)?
        }
    };
    swap::swap(run, desk, engines, controls, None, &proof).await
}

/// What is looked after meanwhile.
struct Watch {
    until: Instant,
    told: Option<(Instant, u64)>,
    proof: Option<Proof>,
}

impl Watch {
    fn new(until: Instant) -> Watch {
        Watch {
            until,
            told: None,
            proof: None,
        }
    }

    fn tell(&mut self, run: &Run, now: Instant) {
        let misfits = run.progress.misfits.get();
        let due = self
            .told
            .is_none_or(|(at, count)| count != misfits || now.duration_since(at) >= TELL_EVERY);
        if due {
            self.told = Some((now, misfits));
            let left = self.until.saturating_duration_since(now).as_secs();
            tracing::info!(
                event = "revertible",
                misfits,
                left_s = left,
                "still revertible for {}, {misfits} rows would not fit",
                humantime::format_duration(Duration::from_secs(left))
            );
        }
    }

    /// Tries again what did not fit, and keeps the comparison fresh, so that little is left to do when the
    /// word comes.
    async fn look(
        &mut self,
        run: &Run,
        prepared: &Prepared,
        engines: &Engines,
        controls: &Controls,
    ) -> Result<()> {
        let misfits = engines.replay.misfits().count();
        if misfits > 0 {
            // The proof holds for what fits only; it is made anew when all does.
            self.proof = None;
            if misfits <= TRIED_AGAIN_MAX {
                in_step::look_again(engines)?;
            }
            return Ok(());
        }
        let looked = match &self.proof {
            Some(proof) => proof.follow_up(run, engines, controls).await.map(drop),
            None => self.prove(run, prepared, engines, controls).await,
        };
        match looked {
            Err(failure)
                if failure.kind() == FailureKind::Difference
                    && engines.replay.misfits().count() > 0 =>
            {
                self.proof = None;
                Ok(())
            }
            // Told to stop, to go back or out of time: the loop sees to it.
            Err(failure) if failure.kind() == FailureKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Compares all rows, unless there is something else to do.
    async fn prove(
        &mut self,
        run: &Run,
        prepared: &Prepared,
        engines: &Engines,
        controls: &Controls,
    ) -> Result<()> {
        let own = Controls {
            cancel: controls.cancel.child_token(),
            ..controls.clone()
        };
        let mut asked = run.revert_asked.subscribe();
        let left = self.until.saturating_duration_since(Instant::now());
        let proving = async {
            let proof = proof::verify(run, prepared, engines, &own).await;
            own.cancel.cancel();
            proof
        };
        let disturbing = async {
            tokio::select! {
                _ = asked.wait_for(|asked| *asked) => {}
                () = tokio::time::sleep(left) => {}
                () = own.cancel.cancelled() => {}
            }
            own.cancel.cancel();
        };
        let (proof, ()) = tokio::join!(proving, disturbing);
        run.progress.enter(Phase::Revertible);
        self.proof = Some(proof?);
        Ok(())
    }
}

/// The tables of a run that was killed while it was kept revertible: notes what it had reached, and tells
/// where the original is. `statement`: the ALTER of the run that meets them.
///
/// # Errors
/// [`FailureKind::Refused`]: they are not of a run of this statement, or the way back had begun.
pub async fn interrupted(
    run: &Run,
    session: &mut Session,
    kept: &Checkpoint,
    statement: &str,
) -> Result<TableName> {
    let refuse = |what: String| {
        Failure::new(FailureKind::Refused, what)
            .remedy("go on with it: `changeling revert`; or remove its helper tables with `changeling cleanup`")
    };
    let original = &run.names.original;
    let id = kept.reverts.unwrap_or_default();
    let runs = history::read(session, &original.schema, Some(&original.table)).await?;
    let entry = runs.into_iter().find(|one| one.id == id);
    let Some(entry) = entry.filter(|_| kept.history.is_none()) else {
        return Err(refuse(format!("a revert of run {id} was interrupted")));
    };
    if entry.statement != statement {
        return Err(refuse(format!(
            "run {id} was kept revertible when it was interrupted: `{}`",
            entry.statement
        )));
    }
    let names = Names {
        ghost: original.sibling(&entry.old_table),
        old: original.sibling(&kept.old_table),
        ..run.names.clone()
    };
    if cutover::settle(&run.server, &names).await? != Ownership::Original {
        return Err(refuse(format!("a revert of run {id} was interrupted")));
    }
    run.record.take_up(Some(id));
    let reached = WayBack {
        applied: kept.applied.clone(),
        misfits: kept.misfits.clone(),
    };
    run.record.in_step(id, reached).await;
    Ok(names.ghost)
}
