//! The attempts, one after the other, until one succeeds or there is a reason to stop.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{End, Log};
use super::blockers::Lookout;
use super::catalogue::{Ownership, decide};
use super::changes::{LastChanges, Readiness};
use super::kill::kill_blockers;
use super::protocol::Crew;
use super::replicas::ReplicaLookouts;
use super::report::{Attempt, Blocker, NotSwapped, Outcome, Reason, Step, Swap, Swapped};
use super::schedule::Schedule;
use super::settle::{name_old, put_back};
use super::sorted::SortedNames;
use super::triggers::{self, Trigger};
use super::{CutOverPlan, Protocol};
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::retry::{enduring, may_pass};
use crate::progress::{Phase, Progress, WaitGuard};

/// Between two questions for readiness.
const READINESS_PAUSE: Duration = Duration::from_millis(50);
/// How long what has been committed may take to be received, before it is told that we wait for it.
const RECEIVE_LIMIT: Duration = Duration::from_secs(1);
/// How long a server that is away is waited for.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
/// After a kill: the time a small rollback takes.
const AFTER_KILL: Duration = Duration::from_millis(200);

/// Swaps the tables: waits while `hold` is true, until replay is near and nobody holds the table, then
/// attempts it, again and again. `on_attempt` is told of each attempt, successful or not. Cancelling
/// ends the waiting, never an attempt that has asked for the lock.
///
/// # Errors
/// What another attempt would meet again; nothing was swapped then, and everything is given back.
pub async fn run<C: LastChanges>(
    plan: &CutOverPlan,
    changes: &C,
    hold: watch::Receiver<bool>,
    progress: &Progress,
    on_attempt: &(dyn Fn(&Attempt) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Swap> {
    let open = || Lookout::open(&plan.server, &plan.names.original);
    let Some(lookout) = enduring(cancel, open).await? else {
        return Ok(Swap::NotSwapped(NotSwapped {
            reason: Reason::Cancelled,
            last: None,
            stall_total: Duration::ZERO,
        }));
    };
    if !lookout.sees_holders() {
        tracing::info!(
            event = "cutover_blind",
            "{} does not show who holds a table; only long transactions are known, and nobody is killed \
             (the plugin metadata_lock_info or performance_schema=ON would show it)",
            plan.server.address()
        );
    }
    let mut run = Run {
        plan,
        changes,
        hold,
        progress,
        on_attempt,
        cancel,
        lookout,
        replica_lookouts: ReplicaLookouts::default(),
        waiting: None,
        crew: None,
        schedule: Schedule::new(plan.budget_to_begin()),
        deadline: None,
        number: 0,
        stall_total: Duration::ZERO,
        last: None,
        told: String::new(),
    };
    let end = run.until_end().await;
    if let Some(crew) = run.crew.take() {
        crew.close().await;
    }
    run.lookout.close().await;
    run.replica_lookouts.close().await;
    end
}

struct Run<'a, C> {
    plan: &'a CutOverPlan,
    changes: &'a C,
    hold: watch::Receiver<bool>,
    progress: &'a Progress,
    on_attempt: &'a (dyn Fn(&Attempt) + Send + Sync),
    cancel: &'a CancellationToken,
    lookout: Lookout,
    replica_lookouts: ReplicaLookouts,
    /// What we wait for before the lock is asked for, on the list for `why`.
    waiting: Option<WaitGuard<'a>>,
    crew: Option<Crew>,
    schedule: Schedule,
    deadline: Option<Instant>,
    number: u32,
    stall_total: Duration,
    last: Option<Attempt>,
    /// What we last said we wait for, so that it is said once.
    told: String,
}

/// What an attempt came to.
enum Turn {
    Swapped,
    Failed(Outcome),
    Unknown { seen: String, cause: String },
}

impl<C: LastChanges> Run<'_, C> {
    async fn until_end(&mut self) -> Result<Swap> {
        loop {
            if let Some(reason) = self.wait_until_ready().await? {
                return Ok(self.not_swapped(reason));
            }
            self.number += 1;
            self.progress.cutover_attempts.set(u64::from(self.number));
            let own = self.changes.own_sessions();
            let blockers = self.look(&own, self.plan.budget).await?;
            let mut log = Log::default();
            let turn = if self.lookout.sees_holders() && !blockers.is_empty() {
                Turn::Failed(Outcome::Blocked)
            } else {
                self.attempt(!blockers.is_empty(), &mut log).await?
            };
            match turn {
                Turn::Swapped => return Ok(self.swapped(log).await),
                Turn::Unknown { seen, cause } => return Ok(Swap::Unknown { seen, cause }),
                Turn::Failed(outcome) => {
                    if let Some(reason) = self.failed(outcome, blockers, log, &own).await? {
                        return Ok(self.not_swapped(reason));
                    }
                }
            }
        }
    }

    /// Looks who has held the table for at least `age_min`; through a new session if ours is lost.
    async fn look(&mut self, own: &[u32], age_min: Duration) -> Result<Vec<Blocker>> {
        let since = Instant::now();
        loop {
            let failure = match self.lookout.look(own, age_min).await {
                Ok(blockers) => return Ok(blockers),
                Err(failure) if failure.is_disconnected() => failure,
                Err(failure) => return Err(failure),
            };
            match Lookout::open(&self.plan.server, &self.plan.names.original).await {
                Ok(lookout) => self.lookout = lookout,
                Err(_) if since.elapsed() >= RECONNECT_LIMIT => return Err(failure),
                Err(_) => self.sleep(READINESS_PAUSE).await,
            }
        }
    }

    /// Waits until the lock may be asked for, or a reason to stop.
    async fn wait_until_ready(&mut self) -> Result<Option<Reason>> {
        let mut calm_since: Option<Instant> = None;
        loop {
            if let Some(reason) = self.wait_while_held().await? {
                return Ok(Some(reason));
            }
            let readiness = self.changes.readiness();
            match self.not_ready(&readiness) {
                None => {
                    let since = *calm_since.get_or_insert_with(Instant::now);
                    if since.elapsed().max(readiness.calm) >= self.plan.calm_for {
                        let hindrance = match self.replica_hindrance().await {
                            None => self.on_its_way().await?,
                            some => some,
                        };
                        match hindrance {
                            None => {
                                self.told.clear();
                                self.waiting = None;
                                return Ok(None);
                            }
                            Some(why) => self.tell(why),
                        }
                    }
                }
                Some(why) => {
                    calm_since = None;
                    self.tell(why);
                }
            }
            self.sleep(READINESS_PAUSE).await;
        }
    }

    /// What on a replica speaks against the swap now.
    async fn replica_hindrance(&mut self) -> Option<String> {
        let plan = self.plan;
        let replicas = plan.replicas.borrow().clone();
        self.replica_lookouts
            .hindrance(&replicas, &plan.names.original, plan.budget)
            .await
    }

    /// What has been committed by now and is not in the ghost. Lag and backlog know only what has been
    /// received: of a large transaction that is being sent they tell nothing, and it would be received
    /// and applied under the lock (seen: 200,000 rows, 0.5 s).
    async fn on_its_way(&mut self) -> Result<Option<String>> {
        let deadline = Instant::now() + RECEIVE_LIMIT;
        match self.changes.receive_all(deadline.into_std()).await {
            Ok(()) => Ok(self.not_ready(&self.changes.readiness())),
            Err(failure) if may_pass(&failure) => Ok(Some(
                "what was committed just now has not come through the binlog yet".to_string(),
            )),
            Err(failure) => Err(failure),
        }
    }

    async fn wait_while_held(&mut self) -> Result<Option<Reason>> {
        let since = Instant::now();
        let mut held = false;
        while *self.hold.borrow_and_update() && !self.cancel.is_cancelled() {
            held = true;
            self.told.clear();
            self.waiting = None;
            self.progress.enter(Phase::Postponed);
            tokio::select! {
                changed = self.hold.changed() => if changed.is_err() {
                    return Err(Failure::failed(
                        "the cut-over is held back and nobody is left to release it",
                    ));
                },
                () = self.cancel.cancelled() => {}
            }
        }
        if self.cancel.is_cancelled() {
            return Ok(Some(Reason::Cancelled));
        }
        self.progress.enter(Phase::CutOver);
        let now = Instant::now();
        let Some(limit) = self.plan.deadline else {
            return Ok(None);
        };
        let deadline = self.deadline.get_or_insert(now + limit);
        if held {
            *deadline += now - since;
        }
        Ok((now >= *deadline).then_some(Reason::Deadline(limit)))
    }

    fn not_ready(&self, readiness: &Readiness) -> Option<String> {
        let plan = self.plan;
        if let Some(hindrance) = &readiness.hindrance {
            return Some(hindrance.clone());
        }
        match readiness.lag {
            None => return Some("replay's lag is not known".to_string()),
            Some(lag) if lag > plan.lag_max => {
                return Some(format!(
                    "replay lags by more than {}",
                    humantime::format_duration(plan.lag_max)
                ));
            }
            Some(_) => {}
        }
        (readiness.backlog_rows > plan.backlog_rows_max).then(|| {
            format!(
                "more than {} changed rows wait to be applied",
                plan.backlog_rows_max
            )
        })
    }

    fn tell(&mut self, why: String) {
        if self.told != why {
            tracing::info!(event = "cutover_waits", "cut-over waits: {why}");
            let guard = self.progress.wait_for(format!("the right moment ({why})"));
            guard.update(
                None,
                Some(format!(
                    "the table's lock is asked for when that has been over for {}",
                    humantime::format_duration(self.plan.calm_for)
                )),
            );
            self.waiting = Some(guard);
            self.told = why;
        }
    }

    /// Sleeps, but not over a cancellation.
    async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// Asks for the lock and goes on from there. From here to its end nothing is cancelled.
    async fn attempt(&mut self, suspects: bool, log: &mut Log) -> Result<Turn> {
        let mut crew = match self.crew.take() {
            Some(crew) => crew,
            None => match Crew::open(self.plan).await {
                Ok(crew) => crew,
                Err(failure) if failure.is_disconnected() || failure.is_transient() => {
                    return Ok(Turn::Failed(Outcome::Disturbed(failure.to_string())));
                }
                Err(failure) => return Err(failure),
            },
        };
        let triggers = match self.triggers().await {
            Ok(triggers) => triggers,
            Err(failure) => {
                self.crew = Some(crew);
                return match failure.is_disconnected() {
                    true => Ok(Turn::Failed(Outcome::Disturbed(failure.to_string()))),
                    false => Err(failure),
                };
            }
        };
        log.begin(Step::Quiesce);
        if let Err(failure) = self.changes.quiesce().await {
            self.crew = Some(crew);
            self.changes.resume();
            return Err(failure.doing("suspend replay for the cut-over"));
        }
        let lock_wait = self.schedule.lock_wait(suspects);
        let end = crew
            .attempt(self.plan, self.changes, lock_wait, &triggers, log)
            .await;
        log.end();
        let turn = match end {
            Ok(End::Swapped) => {
                self.crew = Some(crew);
                return Ok(Turn::Swapped);
            }
            Ok(End::Released(outcome)) => {
                self.crew = Some(crew);
                Ok(Turn::Failed(outcome))
            }
            Ok(End::Lost(lost)) => {
                let ids = crew.ids();
                drop(crew);
                match decide(&self.plan.server, &self.plan.names, &ids).await {
                    Ownership::Swapped => return Ok(Turn::Swapped),
                    Ownership::Unknown(seen) => {
                        return Ok(Turn::Unknown {
                            seen,
                            cause: format!("in step `{}`: {}", lost.step, lost.failure),
                        });
                    }
                    Ownership::Original => lost.not_swapped().map(Turn::Failed),
                }
            }
            Err(failure) => {
                self.crew = Some(crew);
                Err(failure)
            }
        };
        if self.plan.protocol == Protocol::Sentry || !triggers.is_empty() {
            put_back(&self.plan.server, &self.plan.names).await?;
        }
        self.changes.resume();
        turn
    }

    /// The original's triggers: read before each attempt, since anybody may have created one.
    async fn triggers(&mut self) -> Result<Vec<Trigger>> {
        let original = &self.plan.names.original;
        let mut triggers = triggers::load(self.lookout.session(), original).await?;
        if !self.plan.recreate_triggers && !triggers.is_empty() {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("{original} has triggers, which would stay with the old table"),
            )
            .remedy("have them recreated on the new table (--triggers=recreate), or drop them"));
        }
        if let Some(suffix) = &self.plan.trigger_suffix {
            triggers.iter_mut().for_each(|one| one.rename(suffix));
        }
        triggers::check(&triggers)?;
        Ok(triggers)
    }

    /// Reports a failed attempt, and waits until the next may be made.
    async fn failed(
        &mut self,
        outcome: Outcome,
        blockers: Vec<Blocker>,
        log: Log,
        own: &[u32],
    ) -> Result<Option<Reason>> {
        let plan = self.plan;
        let no_lock = (outcome == Outcome::OverBudget(Step::Lock)).then(|| log.stall());
        let mut pause = self.schedule.failed(log.stall(), no_lock);
        // Those who were not yet old when the lock was asked for may be the ones: they have held the
        // table for at least as long as we waited.
        let blockers = if let Some(waited) = no_lock {
            self.look(own, waited).await?
        } else {
            blockers
        };
        let mut killed = Vec::new();
        if self.number >= plan.kill_after_attempts {
            killed = kill_blockers(
                &mut self.lookout,
                &plan.server,
                &blockers,
                plan.kill,
                plan.kill_rows_max,
                own,
            )
            .await?;
            if !killed.is_empty() {
                pause = AFTER_KILL.max(pause.min(log.stall() * 25));
            }
        }
        let is_last = plan.attempts_max.is_some_and(|max| self.number >= max);
        let attempt = self.report(
            log,
            outcome,
            blockers.clone(),
            killed,
            (!is_last).then_some(pause),
        );
        self.last = Some(attempt);
        if is_last {
            return Ok(Some(Reason::Attempts(self.number)));
        }
        self.pause(pause, &blockers, own).await?;
        Ok(None)
    }

    /// Waits until the pause is over; or until those who stood in the way have gone, whatever is left
    /// of the pause.
    async fn pause(&mut self, pause: Duration, blockers: &[Blocker], own: &[u32]) -> Result<()> {
        let mut end = Instant::now() + pause;
        if let Some(deadline) = self.deadline {
            end = end.min(deadline);
        }
        while Instant::now() < end && !self.cancel.is_cancelled() {
            if blockers.is_empty() {
                self.sleep(end - Instant::now()).await;
                continue;
            }
            let now = self.look(own, Duration::ZERO).await?;
            let still = now.iter().any(|one| {
                blockers
                    .iter()
                    .any(|was| was.id == one.id && was.transaction == one.transaction)
            });
            if !still {
                self.schedule.cleared();
                return Ok(());
            }
        }
        Ok(())
    }

    fn report(
        &mut self,
        log: Log,
        outcome: Outcome,
        blockers: Vec<Blocker>,
        killed: Vec<Blocker>,
        next_in: Option<Duration>,
    ) -> Attempt {
        let stall = log.stall();
        self.stall_total += stall;
        let micros = u64::try_from(stall.as_micros()).unwrap_or(u64::MAX);
        self.progress.lock_micros_max.raise(micros);
        let attempt = Attempt {
            number: self.number,
            rows_applied: log.rows_applied,
            steps: log.into_steps(),
            stall,
            blockers,
            killed,
            outcome,
            next_in,
        };
        tracing::info!(
            event = "cutover_attempt",
            number = attempt.number,
            outcome = %attempt.outcome,
            stall_ms = attempt.stall.as_secs_f64() * 1e3,
            "{attempt}"
        );
        (self.on_attempt)(&attempt);
        attempt
    }

    async fn swapped(&mut self, log: Log) -> Swap {
        let stall = log.stall();
        let old = match self.plan.protocol {
            Protocol::LockAndRename => self.plan.names.old.clone(),
            Protocol::Sentry => {
                match name_old(&self.plan.server, &self.plan.names).await {
                    Ok(name) => name,
                    Err(failure) => {
                        // The swap is done and stays done; a later start sets the name right.
                        tracing::warn!(event = "cutover_old_name", "{failure}");
                        SortedNames::new(&self.plan.names.original).sentry
                    }
                }
            }
        };
        let original = &self.plan.names.original;
        if self.plan.recreate_triggers
            && self.plan.trigger_suffix.is_none()
            && let Err(failure) = triggers::take_names(&self.plan.server, original, &old).await
        {
            // They are there and fire; a later start gives them their names.
            tracing::warn!(event = "cutover_triggers", "{failure}");
        }
        let attempt = self.report(log, Outcome::Swapped, Vec::new(), Vec::new(), None);
        Swap::Swapped(Swapped {
            attempt,
            old,
            stall,
            stall_total: self.stall_total,
        })
    }

    fn not_swapped(&mut self, reason: Reason) -> Swap {
        Swap::NotSwapped(NotSwapped {
            reason,
            last: self.last.take(),
            stall_total: self.stall_total,
        })
    }
}
