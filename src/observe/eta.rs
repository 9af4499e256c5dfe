//! When it will be finished: a range from measured rates, never a number that was not measured.
//!
//! What is left is a chain of works: copy, indexes, verification; replay eats from the time of the
//! first and has to catch up at its end. Rates are taken over windows of several lengths, because the
//! last ten seconds say what is now and the last ten minutes what is usual; the slow and the fast of
//! them make the range.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::progress::Phase;

/// Samples that are kept; older ones are thinned out to one in two, so that a long run keeps its whole
/// course.
const SAMPLES_MAX: usize = 512;
/// No forecast before this much of the copy has been seen: anything else would be a guess.
const SEEN_MIN: Duration = Duration::from_secs(3);
/// Lengths of the windows over which rates are measured.
const WINDOWS: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::MAX,
];
/// What building the indexes takes, as a share of the copy's time, while nothing of it has been measured:
/// docs/benchmarks.md has 1.1 s beside 4.9 s.
const INDEXES_OF_COPY: f64 = 0.25;
/// The same for the comparison: 1.7 to 2.0 s beside 4.9 s.
const VERIFY_OF_COPY: f64 = 0.4;
/// In one of ten cases a work of which nothing has been measured takes longer than this multiple.
const UNMEASURED_LATE: f64 = 2.0;
/// Forecasts beyond this are "unknown": nobody plans with them, and they do not fit into dates.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The numbers of one moment, all counted from the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Time since the start.
    pub at: Duration,
    /// Rows the copy has read.
    pub copied: u64,
    /// Changes received.
    pub received: u64,
    /// Changes applied.
    pub applied: u64,
    /// Rows compared.
    pub verified: u64,
}

/// What is known of the whole at the moment of the forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scope {
    /// What the run does now.
    pub phase: Phase,
    /// Rows to copy, as estimated; the copy may find more.
    pub rows_total: u64,
    /// Keys waiting for replay.
    pub backlog_rows: u64,
    /// Whether indexes will be built after the copy.
    pub builds_indexes: bool,
    /// Whether original and ghost will be compared after that.
    pub verifies: bool,
    /// Time since the indexes' build began, if it has.
    pub indexes_for: Option<Duration>,
    /// Share of the indexes' build that is done by the server's estimate, 0 to 1, where it tells.
    pub indexes_done: Option<f64>,
}

/// When it will be finished, from now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// As likely earlier as later, seconds.
    pub p50_s: f64,
    /// Later only in one of ten cases, seconds.
    pub p90_s: f64,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Rows copied.
    pub copied: f64,
    /// Changes applied.
    pub applied: f64,
    /// Rows compared.
    pub verified: f64,
}

/// Seconds until the end by one way of reckoning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Left {
    /// If works that have not begun take what they usually do.
    likely_s: f64,
    /// If they take long.
    late_s: f64,
}

/// Keeps samples and forecasts from them.
#[derive(Debug, Default)]
pub struct Forecaster {
    samples: VecDeque<Sample>,
    stride: u32,
    skipped: u32,
}

impl Forecaster {
    /// Takes a sample; to be called about once a second.
    pub fn sample(&mut self, sample: Sample) {
        self.skipped += 1;
        // The last sample always follows the present; only every so many become history.
        if self.skipped > self.stride || self.samples.is_empty() {
            self.samples.push_back(sample);
            self.skipped = 0;
        } else if let Some(last) = self.samples.back_mut() {
            *last = sample;
        }
        if self.samples.len() > SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.samples.push_back(sample);
            self.stride = self.stride * 2 + 1;
        }
    }

    /// The share of the whole copy that is done, 0 to 1; a total that turned out too small grows.
    pub fn copied_share(copied: u64, total: u64, copy_is_over: bool) -> f64 {
        if copy_is_over {
            return 1.0;
        }
        // While it runs it is never done: an estimate that was reached is 99.9 % at most.
        (copied as f64 / total.max(1) as f64).clamp(0.0, 0.999)
    }

    /// Rates over the last ten seconds, or since the start; 0 where nothing was seen.
    pub fn rates(&self) -> Rates {
        let Some(last) = self.samples.back() else {
            return Rates::default();
        };
        let since = last.at.saturating_sub(WINDOWS[0]);
        let Some(first) = self.samples.iter().find(|sample| sample.at >= since) else {
            return Rates::default();
        };
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        let rate = |to: u64, from: u64| {
            if seconds > 0.0 {
                to.saturating_sub(from) as f64 / seconds
            } else {
                0.0
            }
        };
        Rates {
            copied: rate(last.copied, first.copied),
            applied: rate(last.applied, first.applied),
            verified: rate(last.verified, first.verified),
        }
    }

    /// The forecast, or `None` when too little has been seen.
    pub fn forecast(&self, scope: &Scope) -> Option<Forecast> {
        let last = self.samples.back()?;
        let mut times: Vec<Left> = WINDOWS
            .iter()
            .filter_map(|window| self.remaining(last, *window, scope))
            .collect();
        times.sort_by(|a, b| a.likely_s.total_cmp(&b.likely_s));
        let middle = times.get(times.len() / 2)?.likely_s;
        let latest = times.iter().map(|left| left.late_s).fold(0.0, f64::max);
        // The slowest of the rates, and a margin for what no rate tells (locks, other load).
        let late = latest.max(middle * 1.2);
        (late < LONGEST.as_secs_f64()).then_some(Forecast {
            p50_s: middle.max(0.0),
            p90_s: late.max(0.0),
        })
    }

    /// What is left by the rates of one window.
    fn remaining(&self, last: &Sample, window: Duration, scope: &Scope) -> Option<Left> {
        let since = last.at.saturating_sub(window);
        let first = self
            .samples
            .iter()
            .find(|sample| sample.at >= since && sample.copied > 0)?;
        let seconds = last.at.checked_sub(first.at)?.as_secs_f64();
        if seconds < SEEN_MIN.as_secs_f64() {
            return None;
        }
        let rate = |to: u64, from: u64| to.saturating_sub(from) as f64 / seconds;
        let copy_rate = rate(last.copied, first.copied);
        let mut left = 0.0;
        let copy_left = scope.rows_total.saturating_sub(last.copied) as f64;
        let copies = matches!(
            scope.phase,
            Phase::Preflight | Phase::Native | Phase::Scan | Phase::Prepare | Phase::Copy
        );
        if copies {
            if copy_rate <= 0.0 {
                return None;
            }
            left += copy_left / copy_rate;
        }
        left += self.catch_up(first, last, seconds, scope.backlog_rows)?;
        let after = self.after_copy(last, copies, scope);
        Some(Left {
            likely_s: left + after.likely_s,
            late_s: left + after.late_s,
        })
    }

    /// Seconds until the backlog is empty, when changes go on coming at their rate.
    fn catch_up(&self, first: &Sample, last: &Sample, seconds: f64, backlog: u64) -> Option<f64> {
        if backlog == 0 {
            return Some(0.0);
        }
        let applied = last.applied.saturating_sub(first.applied) as f64 / seconds;
        let received = last.received.saturating_sub(first.received) as f64 / seconds;
        if applied <= 0.0 {
            return None;
        }
        // When replay is only as fast as the changes come, it catches up once the copy has stopped
        // and left it the server: taken as a tenth faster.
        let net = (applied - received).max(applied * 0.1);
        Some(backlog as f64 / net)
    }

    /// The works after the copy: by their own rates once they have begun, before that from the measured
    /// speed of the copy (building the indexes reads and sorts what it wrote, comparing reads both tables).
    fn after_copy(&self, last: &Sample, copies: bool, scope: &Scope) -> Left {
        let whole_copy = self.copy_seconds();
        let total = scope.rows_total.max(last.copied).max(1) as f64;
        let grown = whole_copy * total / (last.copied.max(1) as f64);
        let whole = if copies { grown } else { whole_copy };
        let mut left = Left::default();
        if scope.builds_indexes && (copies || scope.phase == Phase::Indexes) {
            let spent = scope.indexes_for.map_or(0.0, |d| d.as_secs_f64());
            // A share that has hardly begun tells nothing yet.
            let measured = scope.indexes_done.filter(|done| *done > 0.05);
            let rest = |expected: f64| match measured {
                Some(done) => spent * (1.0 - done.min(1.0)) / done,
                // Past its expected end it is taken to need a tenth more, again and again.
                None => (expected - spent).max(spent * 0.1),
            };
            left.likely_s += rest(whole * INDEXES_OF_COPY);
            left.late_s += rest(whole * INDEXES_OF_COPY * UNMEASURED_LATE);
        }
        let before_verify = copies || scope.phase == Phase::Indexes;
        let measured = (scope.phase == Phase::Verify)
            .then(|| self.verify_left(last, total))
            .flatten();
        match measured {
            Some(seconds) => {
                left.likely_s += seconds;
                left.late_s += seconds;
            }
            None if scope.phase == Phase::Verify || scope.verifies && before_verify => {
                left.likely_s += whole * VERIFY_OF_COPY;
                left.late_s += whole * VERIFY_OF_COPY * UNMEASURED_LATE;
            }
            None => {}
        }
        left
    }

    /// How long the copy has been running, or ran.
    fn copy_seconds(&self) -> f64 {
        let first = self.samples.iter().find(|sample| sample.copied > 0);
        let end = self.samples.back().map_or(0, |sample| sample.copied);
        let last = self.samples.iter().find(|sample| sample.copied == end);
        match (first, last) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at).as_secs_f64(),
            _ => 0.0,
        }
    }

    fn verify_left(&self, last: &Sample, total: f64) -> Option<f64> {
        let first = self.samples.iter().find(|sample| sample.verified > 0)?;
        let seconds = last.at.checked_sub(first.at)?.as_secs_f64();
        let rate = last.verified.saturating_sub(first.verified) as f64 / seconds;
        (seconds > 0.0 && rate > 0.0).then(|| (total - last.verified as f64).max(0.0) / rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(phase: Phase, rows_total: u64) -> Scope {
        Scope {
            phase,
            rows_total,
            backlog_rows: 0,
            builds_indexes: false,
            verifies: false,
            indexes_for: None,
            indexes_done: None,
        }
    }

    fn at(seconds: u64, copied: u64) -> Sample {
        Sample {
            at: Duration::from_secs(seconds),
            copied,
            ..Sample::default()
        }
    }

    #[test]
    fn nothing_is_forecast_from_nothing() {
        let mut forecaster = Forecaster::default();
        assert_eq!(forecaster.forecast(&scope(Phase::Copy, 100)), None);
        forecaster.sample(at(0, 0));
        forecaster.sample(at(1, 10));
        assert_eq!(forecaster.forecast(&scope(Phase::Copy, 100)), None);
    }

    #[test]
    fn an_even_copy_is_forecast_exactly() {
        let mut forecaster = Forecaster::default();
        for second in 1..=50 {
            forecaster.sample(at(second, second * 10));
        }
        let forecast = forecaster.forecast(&scope(Phase::Copy, 1000)).unwrap();
        assert!((forecast.p50_s - 50.0).abs() < 1.0, "{forecast:?}");
        assert!(forecast.p90_s >= forecast.p50_s * 1.2);
    }

    #[test]
    fn a_slower_end_widens_the_range() {
        let mut forecaster = Forecaster::default();
        for second in 1..=100 {
            forecaster.sample(at(second, second * 100));
        }
        for second in 101..=110 {
            forecaster.sample(at(second, 10_000 + (second - 100) * 10));
        }
        let forecast = forecaster.forecast(&scope(Phase::Copy, 20_000)).unwrap();
        assert!(forecast.p90_s > 3.0 * forecast.p50_s, "{forecast:?}");
    }

    #[test]
    fn works_after_the_copy_are_in_the_forecast() {
        let mut forecaster = Forecaster::default();
        for second in 1..=50 {
            forecaster.sample(at(second, second * 10));
        }
        let bare = forecaster.forecast(&scope(Phase::Copy, 1000)).unwrap();
        let all = Scope {
            builds_indexes: true,
            verifies: true,
            ..scope(Phase::Copy, 1000)
        };
        let more = forecaster.forecast(&all).unwrap();
        assert!(
            (more.p50_s - bare.p50_s - 65.0).abs() < 3.0,
            "{more:?} {bare:?}"
        );
        // Nothing of them has been measured yet: the range is wide.
        assert!(
            (more.p90_s - bare.p50_s - 130.0).abs() < 5.0,
            "{more:?} {bare:?}"
        );
        let mut verifying = at(60, 500);
        verifying.verified = 100;
        forecaster.sample(verifying);
        verifying.at = Duration::from_secs(64);
        verifying.verified = 300;
        forecaster.sample(verifying);
        let forecast = forecaster.forecast(&scope(Phase::Verify, 500)).unwrap();
        assert!((forecast.p50_s - 4.0).abs() < 0.1, "{forecast:?}");
    }

    #[test]
    fn the_servers_own_estimate_of_indexes_counts() {
        let mut forecaster = Forecaster::default();
        for second in 1..=50 {
            forecaster.sample(at(second, second * 10));
        }
        let building = Scope {
            builds_indexes: true,
            indexes_for: Some(Duration::from_secs(30)),
            indexes_done: Some(0.25),
            ..scope(Phase::Indexes, 500)
        };
        let forecast = forecaster.forecast(&building).unwrap();
        assert!((forecast.p50_s - 90.0).abs() < 0.1, "{forecast:?}");
    }

    #[test]
    fn a_backlog_takes_its_time() {
        let mut forecaster = Forecaster::default();
        for second in 1..=20 {
            let mut sample = at(second, 100);
            sample.received = second * 50;
            sample.applied = second * 100;
            forecaster.sample(sample);
        }
        let left = Scope {
            backlog_rows: 500,
            ..scope(Phase::Postponed, 100)
        };
        let forecast = forecaster.forecast(&left).unwrap();
        assert!((forecast.p50_s - 10.0).abs() < 0.5, "{forecast:?}");
    }

    #[test]
    fn shares_stay_below_the_whole() {
        assert_eq!(Forecaster::copied_share(205, 100, false), 0.999);
        assert_eq!(Forecaster::copied_share(5, 0, false), 0.999);
        assert_eq!(Forecaster::copied_share(90, 100, true), 1.0);
    }

    #[test]
    fn the_course_is_bounded() {
        let mut forecaster = Forecaster::default();
        for second in 1..20_000 {
            forecaster.sample(at(second, second));
        }
        assert!(forecaster.samples.len() <= SAMPLES_MAX + 1);
        let last = forecaster.samples.back().unwrap();
        assert_eq!(last.copied, 19_999);
        let forecast = forecaster.forecast(&scope(Phase::Copy, 40_000)).unwrap();
        assert!((forecast.p50_s - 20_001.0).abs() < 100.0, "{forecast:?}");
    }

    proptest! {
        #[test]
        fn forecasts_are_sane(
            steps in proptest::collection::vec((0u64..30, 0u64..1000, 0u64..500, 0u64..500), 0..60),
            total in 0u64..100_000, backlog in 0u64..10_000, flags in 0u8..4,
        ) {
            let mut forecaster = Forecaster::default();
            let mut sample = Sample::default();
            for (seconds, copied, received, applied) in steps {
                sample.at += Duration::from_secs(seconds);
                sample.copied += copied;
                sample.received += received;
                sample.applied += applied;
                forecaster.sample(sample);
            }
            for phase in [Phase::Prepare, Phase::Copy, Phase::Indexes, Phase::Verify, Phase::Postponed] {
                let scope = Scope {
                    backlog_rows: backlog,
                    builds_indexes: flags & 1 == 1,
                    verifies: flags & 2 == 2,
                    ..scope(phase, total)
                };
                if let Some(forecast) = forecaster.forecast(&scope) {
                    prop_assert!(forecast.p50_s >= 0.0 && forecast.p50_s.is_finite());
                    prop_assert!(forecast.p90_s >= forecast.p50_s);
                }
            }
        }
    }
}
