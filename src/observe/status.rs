//! Where whoever looks at a run gets its status from.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::eta::{Forecast, Forecaster, Sample, Scope};
use super::recorder::{Attempts, Point, Recorder};
use super::snapshot::{RevertibleNow, StatusSnapshot, ThrottleNow, WaitNow};
use crate::chunk::LowWatermark;
use crate::key::Key;
use crate::names::Names;
use crate::progress::{Phase, Progress, Wait};
use crate::throttle::Throttle;
use crate::tunables::Tunables;

/// Where a run's status comes from. Made at the start; the throttle joins when it runs.
#[derive(Debug)]
pub struct StatusSource {
    /// The tables.
    pub names: Names,
    /// The ALTER as it was given.
    pub alter: String,
    /// `host:port` of the migrated server.
    pub server: String,
    /// The numbers.
    pub progress: Arc<Progress>,
    /// What may be changed.
    pub tunables: watch::Receiver<Tunables>,
    throttle: OnceLock<Throttle>,
    walk: OnceLock<Walked>,
    plan: Mutex<Plan>,
    forecaster: Mutex<Forecaster>,
    recorder: Mutex<Recorder>,
    attempts: Mutex<Attempts>,
    checkpoint_at: Mutex<Option<Instant>>,
    in_the_way: Mutex<Option<InTheWay>>,
    held_by: Mutex<Vec<String>>,
    revertible: Mutex<Revertible>,
}

/// The way back of a run that has swapped, while it is kept.
#[derive(Clone, Debug, Default)]
struct Revertible {
    until: Option<Instant>,
    refused: Option<String>,
}

/// Who keeps the cut-over from its lock.
#[derive(Clone, Debug)]
struct InTheWay {
    whom: Vec<String>,
    next_at: Option<Instant>,
    since: Instant,
}

/// How far the copy has come in the key.
struct Walked {
    watermark: watch::Receiver<LowWatermark>,
    describe: Box<dyn Fn(&Key) -> String + Send + Sync>,
}

impl std::fmt::Debug for Walked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Walked")
    }
}

/// What the run will do after the copy, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    builds_indexes: bool,
    verifies: bool,
}

impl StatusSource {
    /// A source for one run.
    pub fn new(
        names: Names,
        alter: impl Into<String>,
        server: impl Into<String>,
        progress: Arc<Progress>,
        tunables: watch::Receiver<Tunables>,
    ) -> StatusSource {
        StatusSource {
            names,
            alter: alter.into(),
            server: server.into(),
            progress,
            tunables,
            throttle: OnceLock::new(),
            walk: OnceLock::new(),
            plan: Mutex::default(),
            forecaster: Mutex::default(),
            recorder: Mutex::default(),
            attempts: Mutex::default(),
            checkpoint_at: Mutex::default(),
            in_the_way: Mutex::default(),
            revertible: Mutex::default(),
            held_by: Mutex::default(),
        }
    }

    /// The run has swapped and is kept revertible until then; `None`: no more.
    pub fn revertible_until(&self, until: Option<Instant>) {
        lock(&self.revertible).until = until;
    }

    /// A revert was asked for, and could not be done.
    pub fn revert_refused(&self, why: String) {
        lock(&self.revertible).refused = Some(why);
    }

    /// A revert is asked for.
    pub fn revert_begins(&self) {
        lock(&self.revertible).refused = None;
    }

    fn revertible(&self, now: Instant) -> Option<RevertibleNow> {
        let revertible = lock(&self.revertible);
        Some(RevertibleNow {
            left_s: revertible
                .until?
                .saturating_duration_since(now)
                .as_secs_f64(),
            misfits: self.progress.misfits.get(),
            refused: revertible.refused.clone(),
        })
    }

    /// Tells of the throttle once it runs; a second one is ignored.
    pub fn attach(&self, throttle: Throttle) {
        let _ = self.throttle.set(throttle);
    }

    /// Tells how far the copy has come in the key, and how a key is written; a second one is ignored.
    pub fn attach_walk(
        &self,
        watermark: watch::Receiver<LowWatermark>,
        describe: impl Fn(&Key) -> String + Send + Sync + 'static,
    ) {
        let _ = self.walk.set(Walked {
            watermark,
            describe: Box::new(describe),
        });
    }

    fn copied_up_to(&self) -> Option<String> {
        let walk = self.walk.get()?;
        let next = walk.watermark.borrow().next.clone();
        next.map(|key| (walk.describe)(&key))
    }

    /// The throttle, once it runs.
    pub fn throttle(&self) -> Option<&Throttle> {
        self.throttle.get()
    }

    /// Tells what will be done after the copy, for the forecast.
    pub fn expect_after_copy(&self, builds_indexes: bool, verifies: bool) {
        *lock(&self.plan) = Plan {
            builds_indexes,
            verifies,
        };
    }

    fn forecaster(&self) -> MutexGuard<'_, Forecaster> {
        lock(&self.forecaster)
    }

    /// Tells of an attempt to cut over, for report and metrics.
    pub fn attempted(&self, stall: Duration, outcome: impl Into<String>) {
        let at = self.progress.started.elapsed();
        lock(&self.attempts).add(at, stall, outcome.into());
    }

    /// The attempts to cut over.
    pub fn attempts(&self) -> Attempts {
        lock(&self.attempts).clone()
    }

    /// Tells who holds the table, after an attempt to cut over (nobody, if that is not known), and when
    /// the next one comes at the latest.
    pub fn in_the_way(&self, whom: Vec<String>, next_in: Option<Duration>) {
        let now = Instant::now();
        let mut news = lock(&self.in_the_way);
        let since = news.as_ref().map_or(now, |known| known.since);
        *news = Some(InTheWay {
            whom,
            next_at: next_in.map(|pause| now + pause),
            since,
        });
    }

    /// Tells what holds the cut-over back, each as it goes on from "held back by".
    pub fn held_by(&self, by: Vec<String>) {
        *lock(&self.held_by) = by;
    }

    /// What is waited for: announced by engines, and the lock after a failed attempt.
    fn waits(&self, phase: Phase, now: Instant) -> Vec<WaitNow> {
        let mut waits: Vec<WaitNow> = self
            .progress
            .waiting()
            .into_iter()
            .map(|wait| wait_now(wait, now))
            .collect();
        if matches!(phase, Phase::CutOver | Phase::Native)
            && let Some(news) = lock(&self.in_the_way).clone()
        {
            let next = news.next_at.map(|at| {
                let left = at.saturating_duration_since(now).as_secs_f64();
                format!("the next attempt comes in {left:.1} s at the latest")
            });
            waits.push(WaitNow {
                what: format!("the lock of {}", self.names.original),
                whom: (!news.whom.is_empty()).then(|| news.whom.join(", ")),
                next,
                for_s: now.saturating_duration_since(news.since).as_secs_f64(),
            });
        }
        waits
    }

    /// Tells that a checkpoint has been written.
    pub fn checkpoint_written(&self) {
        *lock(&self.checkpoint_at) = Some(Instant::now());
    }

    /// The age of the last checkpoint.
    pub fn checkpoint_age(&self) -> Option<Duration> {
        lock(&self.checkpoint_at).map(|at| at.elapsed())
    }

    /// The record of the run so far.
    pub fn record(&self) -> Vec<Point> {
        lock(&self.recorder).points()
    }

    /// Takes a sample for rates, forecast and record; to be called some times a second.
    pub fn sample(&self) {
        let progress = &self.progress;
        let sample = Sample {
            at: progress.started.elapsed(),
            copied: progress.rows_copied.get(),
            received: progress.changes_received.get(),
            applied: progress.changes_applied.get(),
            verified: progress.rows_verified.get(),
        };
        self.forecaster().sample(sample);
        let (phase, _) = progress.phase();
        let stopped = self
            .throttle
            .get()
            .and_then(|throttle| throttle.pace.borrow().stop.as_ref().map(|stop| stop.source));
        let point = Point {
            t_s: sample.at.as_secs_f64(),
            phase: phase.to_string(),
            rows_copied: sample.copied,
            rows_verified: sample.verified,
            changes_received: sample.received,
            changes_applied: sample.applied,
            backlog_rows: progress.backlog_rows.get(),
            backlog_bytes: progress.backlog_bytes.get(),
            replay_lag_s: seconds(progress.replay_lag_micros.load(Ordering::Relaxed)),
            replica_lag_s: seconds(progress.replica_lag_micros.load(Ordering::Relaxed)),
            chunk_rows: progress.chunk_rows.get(),
            chunk_ms: progress.chunk_micros.get() as f64 / 1e3,
            speed: self.speed(),
            stopped: stopped.filter(|_| is_paced(phase)),
        };
        lock(&self.recorder).push(point);
    }

    /// Looks.
    pub fn snapshot(&self) -> StatusSnapshot {
        let progress = &self.progress;
        let (phase, since) = progress.phase();
        let now = Instant::now();
        let rows_total = progress.rows_total.get();
        let rows_copied = progress.rows_copied.get();
        let copy_is_over = copy_is_over(phase);
        let rates = self.forecaster().rates();
        let index_build = lock(&progress.index_build).clone();
        let percent = Forecaster::copied_share(rows_copied, rows_total, copy_is_over) * 100.0;
        let bytes_total = progress.bytes_total.get();
        StatusSnapshot {
            table: self.names.original.to_string(),
            ghost: self.names.ghost.table.clone(),
            old: self.names.old.table.clone(),
            alter: self.alter.clone(),
            server: self.server.clone(),
            phase: phase.to_string(),
            phase_s: (now - since).as_secs_f64(),
            past_phases: progress
                .phases()
                .into_iter()
                .map(|(phase, time)| (phase.to_string(), time.as_secs_f64()))
                .collect(),
            elapsed_s: progress.started.elapsed().as_secs_f64(),
            copy_s: self.copy_time(phase, now - since).as_secs_f64(),
            // A copy that found more rows than were estimated has at least those.
            rows_total: rows_total.max(rows_copied),
            rows_copied,
            bytes_total,
            bytes_copied: (bytes_total as f64 * percent / 100.0) as u64,
            copied_up_to: self.copied_up_to(),
            percent,
            rows_per_s: rates.copied,
            chunk_rows: progress.chunk_rows.get(),
            chunk_ms: progress.chunk_micros.get() as f64 / 1e3,
            rows_verified: progress.rows_verified.get(),
            changes_received: progress.changes_received.get(),
            changes_applied: progress.changes_applied.get(),
            changes_per_s: rates.applied,
            backlog_rows: progress.backlog_rows.get(),
            backlog_bytes: progress.backlog_bytes.get(),
            replay_lag_s: seconds(progress.replay_lag_micros.load(Ordering::Relaxed)),
            heartbeat_age_s: heartbeat_age(progress),
            binlog_kept_s: seconds(progress.binlog_kept_micros.load(Ordering::Relaxed)),
            index_percent: index_build
                .as_ref()
                .and_then(|build| build.done)
                .map(|done| done * 100.0),
            index_stage: index_build.map(|build| build.stage),
            replica_lag_s: seconds(progress.replica_lag_micros.load(Ordering::Relaxed)),
            position: lock(&progress.reader_position).clone(),
            retries: progress.retries.get(),
            last_refusal: progress
                .last_refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            cutover_attempts: progress.cutover_attempts.get(),
            speed: self.speed(),
            nice_ratio: self.tunables.borrow().nice_ratio,
            throttled: self.throttled(now),
            waits: self.waits(phase, now),
            postponed: self.tunables.borrow().postpone_cutover,
            held_by: lock(&self.held_by).clone(),
            forecast: self.forecast(phase, now - since, rows_total),
            revertible: self.revertible(now),
        }
    }

    fn speed(&self) -> f64 {
        match self.throttle.get() {
            None => 1.0,
            Some(throttle) => {
                let pace = throttle.pace.borrow();
                if pace.stop.is_some() {
                    0.0
                } else {
                    pace.share.unwrap_or(1.0) / (1.0 + pace.nice_ratio)
                }
            }
        }
    }

    fn throttled(&self, now: Instant) -> Vec<ThrottleNow> {
        let Some(throttle) = self.throttle.get() else {
            return Vec::new();
        };
        throttle
            .journal
            .current()
            .into_iter()
            .map(|(reason, since)| ThrottleNow {
                source: reason.source,
                reason: reason.to_string(),
                subject: reason.subject,
                value: reason.value,
                limit: reason.limit,
                for_s: now.saturating_duration_since(since).as_secs_f64(),
            })
            .collect()
    }

    fn forecast(&self, phase: Phase, phase_for: Duration, rows_total: u64) -> Option<Forecast> {
        let plan = *lock(&self.plan);
        self.forecaster().forecast(&Scope {
            phase,
            rows_total,
            backlog_rows: self.progress.backlog_rows.get(),
            builds_indexes: plan.builds_indexes,
            verifies: plan.verifies,
            indexes_for: (phase == Phase::Indexes).then_some(phase_for),
            indexes_done: lock(&self.progress.index_build)
                .as_ref()
                .and_then(|build| build.done),
        })
    }

    /// Time spent copying.
    fn copy_time(&self, phase: Phase, phase_for: Duration) -> Duration {
        let past: Duration = self
            .progress
            .phases()
            .iter()
            .filter(|(past, _)| *past == Phase::Copy)
            .map(|(_, time)| *time)
            .sum();
        if phase == Phase::Copy {
            past + phase_for
        } else {
            past
        }
    }
}

/// What these locks guard is whole at any time, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the phase's work goes by the throttle's pace.
fn is_paced(phase: Phase) -> bool {
    match phase {
        Phase::Scan | Phase::Copy | Phase::Verify => true,
        Phase::Preflight
        | Phase::Native
        | Phase::Prepare
        | Phase::Indexes
        | Phase::Postponed
        | Phase::CutOver
        | Phase::Revertible
        | Phase::Finish => false,
    }
}

/// Whether the copy has come to its end, by the phase.
pub fn copy_is_over(phase: Phase) -> bool {
    match phase {
        Phase::Preflight | Phase::Native | Phase::Scan | Phase::Prepare | Phase::Copy => false,
        Phase::Indexes
        | Phase::Verify
        | Phase::Postponed
        | Phase::CutOver
        | Phase::Revertible
        | Phase::Finish => true,
    }
}

fn wait_now(wait: Wait, now: Instant) -> WaitNow {
    WaitNow {
        what: wait.what,
        whom: wait.whom,
        next: wait.next,
        for_s: now.saturating_duration_since(wait.since).as_secs_f64(),
    }
}

/// Microseconds as seconds; negative is unknown.
fn seconds(micros: i64) -> Option<f64> {
    (micros >= 0).then_some(micros as f64 / 1e6)
}

fn heartbeat_age(progress: &Progress) -> Option<f64> {
    let at = Duration::from_micros(progress.heartbeat_at_micros.get());
    (!at.is_zero()).then(|| progress.started.elapsed().saturating_sub(at).as_secs_f64())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::names::TableName;

    /// The status of a run that has just begun.
    pub(in crate::observe) fn snapshot() -> StatusSnapshot {
        source().snapshot()
    }

    /// A source with nothing behind it.
    pub(in crate::observe) fn source() -> StatusSource {
        let (_, tunables) = watch::channel(Tunables::default());
        let names = Names::new(&TableName::new("d", "t"), None, None);
        StatusSource::new(names, "ADD c INT", "h:3306", Arc::default(), tunables)
    }

    #[test]
    fn a_copy_is_never_more_than_whole() {
        let source = source();
        source.progress.rows_total.set(100);
        source.progress.rows_copied.set(205);
        source.progress.enter(Phase::Copy);
        let status = source.snapshot();
        assert!(status.percent < 100.0 && status.rows_total == 205);
        source.progress.enter(Phase::Verify);
        assert_eq!(source.snapshot().percent, 100.0);
    }

    #[test]
    fn who_holds_the_table_is_seen_while_cutting_over() {
        let source = source();
        source.in_the_way(vec!["connection 42".into()], Some(Duration::from_secs(60)));
        assert!(source.snapshot().waits.is_empty());
        source.progress.enter(Phase::CutOver);
        let wait = &source.snapshot().waits[0];
        assert_eq!(wait.what, "the lock of d.t");
        assert_eq!(wait.whom.as_deref(), Some("connection 42"));
        assert!(wait.next.as_ref().unwrap().contains("next attempt"));
    }

    #[test]
    fn waits_are_seen_until_they_end() {
        let source = source();
        let guard = source.progress.wait_for("the lock of d.t");
        guard.update(Some("connection 42".to_string()), None);
        let status = source.snapshot();
        assert_eq!(status.waits[0].what, "the lock of d.t");
        assert_eq!(status.waits[0].whom.as_deref(), Some("connection 42"));
        drop(guard);
        assert!(source.snapshot().waits.is_empty());
    }
}
