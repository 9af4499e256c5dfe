//! Who stopped the copy, when, how long: the log lines at begin and end, and the report.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::reading::Reading;
use crate::pace::ThrottleReason;

/// Stops that are kept for the report; older ones are counted only.
const STOPS_MAX: usize = 500;
/// A graded reason that comes back within this time goes on as the same stop: a lag at its limit
/// would otherwise write a line per second.
const SAME_STOP: Duration = Duration::from_secs(5);

/// What happened so far. Written by the controller, read by anybody.
#[derive(Debug)]
pub struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    last: Instant,
    active: BTreeMap<(&'static str, String), Active>,
    worst: Option<(&'static str, String)>,
    shares: BTreeMap<&'static str, ThrottleShare>,
    stopped: Duration,
    slowed: Duration,
    was_slow: bool,
    stops: VecDeque<Stop>,
    forgotten: u64,
}

#[derive(Debug)]
struct Active {
    /// As it was at the beginning, in words.
    first: String,
    /// As it is now.
    reason: ThrottleReason,
    value_max: f64,
    since: Instant,
    last_seen: Instant,
    merges: bool,
    lasted: Duration,
}

/// One stop with its reason.
#[derive(Clone, Debug, Serialize)]
pub struct Stop {
    /// The kind of source.
    pub source: &'static str,
    /// The reason as it was at the beginning.
    pub reason: String,
    /// Since the throttle was started.
    pub began_s: f64,
    /// From the beginning to the end; a graded reason's pauses below five seconds are within.
    pub lasted_s: f64,
    /// The worst value seen, if it has one.
    pub value_max: Option<f64>,
}

/// What one kind of source cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ThrottleShare {
    /// Seconds stopped with this source as the worst.
    pub seconds: f64,
    /// How often it began.
    pub stops: u64,
}

/// The throttle's part of the final report.
#[derive(Clone, Debug, Serialize)]
pub struct ThrottleReport {
    /// Seconds that the throttle ran.
    pub seconds: f64,
    /// Seconds stopped, for whatever reason.
    pub stopped_s: f64,
    /// Seconds not stopped but slowed down.
    pub slowed_s: f64,
    /// By kind of source.
    pub by_source: BTreeMap<&'static str, ThrottleShare>,
    /// The last stops, oldest first.
    pub stops: Vec<Stop>,
    /// Stops before those.
    pub stops_forgotten: u64,
}

impl Default for Journal {
    fn default() -> Journal {
        let now = Instant::now();
        Journal {
            inner: Mutex::new(Inner {
                started: now,
                last: now,
                active: BTreeMap::new(),
                worst: None,
                shares: BTreeMap::new(),
                stopped: Duration::ZERO,
                slowed: Duration::ZERO,
                was_slow: false,
                stops: VecDeque::new(),
                forgotten: 0,
            }),
        }
    }
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a decision: everything that stops, the worst first, and whether the copy is slowed down.
    pub fn note(&self, stops: &[Reading], slow: bool, now: Instant) {
        let mut inner = self.lock();
        inner.account(now);
        for reading in stops {
            inner.see(reading, now);
        }
        inner.end_unseen(now);
        inner.worst = stops
            .first()
            .map(|reading| (reading.source, reading.subject.clone()));
        inner.was_slow = slow;
    }

    /// Ends all that is still open.
    pub fn close(&self, now: Instant) {
        let mut inner = self.lock();
        inner.account(now);
        inner.worst = None;
        for (_, active) in std::mem::take(&mut inner.active) {
            inner.end(active);
        }
    }

    /// What stops now, the worst first, each with when it began.
    pub fn current(&self) -> Vec<(ThrottleReason, Instant)> {
        let inner = self.lock();
        let mut current: Vec<_> = inner
            .active
            .iter()
            .filter(|(_, active)| active.last_seen == inner.last)
            .map(|(key, active)| {
                (
                    inner.worst.as_ref() != Some(key),
                    active.reason.clone(),
                    active.since,
                )
            })
            .collect();
        current.sort_by_key(|(not_worst, _, since)| (*not_worst, *since));
        current
            .into_iter()
            .map(|(_, reason, since)| (reason, since))
            .collect()
    }

    /// The report so far.
    pub fn report(&self) -> ThrottleReport {
        let inner = self.lock();
        let mut stops: Vec<Stop> = inner.stops.iter().cloned().collect();
        stops.extend(inner.active.values().map(|active| inner.stop(active)));
        ThrottleReport {
            seconds: (inner.last - inner.started).as_secs_f64(),
            stopped_s: inner.stopped.as_secs_f64(),
            slowed_s: inner.slowed.as_secs_f64(),
            by_source: inner.shares.clone(),
            stops,
            stops_forgotten: inner.forgotten,
        }
    }
}

impl Inner {
    /// Books the time since the last note.
    fn account(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last);
        self.last = now;
        if let Some((source, _)) = &self.worst {
            self.stopped += elapsed;
            self.shares.entry(source).or_default().seconds += elapsed.as_secs_f64();
        } else if self.was_slow {
            self.slowed += elapsed;
        }
    }

    fn see(&mut self, reading: &Reading, now: Instant) {
        let key = (reading.source, reading.subject.clone());
        let reason = reading.reason(now);
        if let Some(active) = self.active.get_mut(&key) {
            active.value_max = active.value_max.max(reason.value);
            active.last_seen = now;
            active.lasted = now.saturating_duration_since(active.since);
            active.reason = reason;
            return;
        }
        tracing::info!(
            event = "throttle_begin",
            source = reading.source,
            subject = reason.subject,
            value = reason.value,
            limit = reason.limit,
            "copy stopped: {reason}"
        );
        self.shares.entry(reading.source).or_default().stops += 1;
        self.active.insert(
            key,
            Active {
                first: reason.to_string(),
                value_max: reason.value,
                reason,
                since: now,
                last_seen: now,
                merges: reading.graded,
                lasted: Duration::ZERO,
            },
        );
    }

    /// Ends what was not seen in this note.
    fn end_unseen(&mut self, now: Instant) {
        let ended: Vec<_> = self
            .active
            .iter()
            .filter(|(_, active)| {
                let away = now.saturating_duration_since(active.last_seen);
                away > Duration::ZERO && (!active.merges || away >= SAME_STOP)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            if let Some(active) = self.active.remove(&key) {
                self.end(active);
            }
        }
    }

    fn end(&mut self, active: Active) {
        let stop = self.stop(&active);
        tracing::info!(
            event = "throttle_end",
            source = stop.source,
            subject = active.reason.subject,
            seconds = stop.lasted_s,
            "copy no longer stopped by {} ({}) after {:.1} s",
            stop.source,
            active.reason.subject,
            stop.lasted_s
        );
        if self.stops.len() == STOPS_MAX {
            self.stops.pop_front();
            self.forgotten += 1;
        }
        self.stops.push_back(stop);
    }

    fn stop(&self, active: &Active) -> Stop {
        Stop {
            source: active.reason.source,
            reason: active.first.clone(),
            began_s: (active.since - self.started).as_secs_f64(),
            lasted_s: active.lasted.as_secs_f64(),
            value_max: active.value_max.is_finite().then_some(active.value_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_booked_to_the_worst() {
        let journal = Journal::default();
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let lag = Reading::graded("lag", "replica h:1", 3.0, 1.0, "s");
        let flag = Reading::switch("flag-file", "/tmp/x", 1.0, 0.0, "");
        journal.note(&[], false, at(0));
        journal.note(std::slice::from_ref(&lag), true, at(1));
        journal.note(&[flag.clone(), lag.clone()], true, at(3));
        assert_eq!(journal.current().len(), 2);
        assert_eq!(journal.current()[0].0.source, "flag-file");
        journal.note(&[], true, at(4));
        assert!(journal.current().is_empty());
        // Back within five seconds: the same stop.
        journal.note(std::slice::from_ref(&lag), true, at(7));
        journal.note(&[], false, at(8));
        journal.note(&[], false, at(20));
        let report = journal.report();
        assert_eq!(report.by_source["lag"].stops, 1);
        assert!((report.by_source["lag"].seconds - 3.0).abs() < 1e-6);
        assert!((report.by_source["flag-file"].seconds - 1.0).abs() < 1e-6);
        assert!((report.stopped_s - 4.0).abs() < 1e-6 && (report.slowed_s - 3.0).abs() < 1e-6);
        assert_eq!(report.stops.len(), 2);
        assert!(
            (report.stops[1].lasted_s - 6.0).abs() < 1e-6,
            "{:?}",
            report.stops
        );
        assert_eq!(report.stops[1].value_max, Some(3.0));
    }

    #[test]
    fn the_journal_is_bounded() {
        let journal = Journal::default();
        let start = Instant::now();
        for n in 0..(2 * STOPS_MAX as u64 + 10) {
            let flag = Reading::switch("flag-file", format!("/tmp/{n}"), 1.0, 0.0, "");
            journal.note(&[flag], false, start + Duration::from_millis(n));
        }
        let report = journal.report();
        assert!(report.stops.len() <= STOPS_MAX + 1);
        assert_eq!(
            report.by_source["flag-file"].stops,
            2 * STOPS_MAX as u64 + 10
        );
    }
}
