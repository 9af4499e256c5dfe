//! The record of a run, for its report: a bounded series of points, and the attempts to cut over.

use std::time::Duration;

use serde::Serialize;

/// Points that are kept. When there are more, each two become one, so that a run of days has as many
/// as one of minutes.
const POINTS_MAX: usize = 2000;
/// Attempts that are kept, the last ones.
const ATTEMPTS_MAX: usize = 200;

/// The run at one time; where several looks were merged, the worst of each value that can be bad.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Seconds since the start.
    pub t_s: f64,
    /// The phase.
    pub phase: String,
    /// Rows copied so far.
    pub rows_copied: u64,
    /// Rows compared so far.
    pub rows_verified: u64,
    /// Changes received so far.
    pub changes_received: u64,
    /// Changes applied so far.
    pub changes_applied: u64,
    /// Keys waiting for replay.
    pub backlog_rows: u64,
    /// Bytes waiting for replay.
    pub backlog_bytes: u64,
    /// Replay's lag.
    pub replay_lag_s: Option<f64>,
    /// The worst replica's lag.
    pub replica_lag_s: Option<f64>,
    /// Rows of the last chunk.
    pub chunk_rows: u64,
    /// Duration of the last chunk.
    pub chunk_ms: f64,
    /// The copy's share of its full speed.
    pub speed: f64,
    /// What stopped the copy.
    pub stopped: Option<&'static str>,
}

impl Point {
    /// One point for two: the later time and counters, the worse of the rest.
    fn merge(self, later: Point) -> Point {
        let worse = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Point {
            backlog_rows: self.backlog_rows.max(later.backlog_rows),
            backlog_bytes: self.backlog_bytes.max(later.backlog_bytes),
            replay_lag_s: worse(self.replay_lag_s, later.replay_lag_s),
            replica_lag_s: worse(self.replica_lag_s, later.replica_lag_s),
            chunk_ms: self.chunk_ms.max(later.chunk_ms),
            speed: self.speed.min(later.speed),
            stopped: later.stopped.or(self.stopped),
            ..later
        }
    }
}

/// Collects points.
#[derive(Debug, Default)]
pub struct Recorder {
    points: Vec<Point>,
    /// So many looks make a point, less one.
    merged: u32,
    /// A point in the making, with the number of looks in it.
    open: Option<(Point, u32)>,
}

impl Recorder {
    /// Takes a look.
    pub fn push(&mut self, look: Point) {
        let (point, looks) = match self.open.take() {
            Some((point, looks)) => (point.merge(look), looks + 1),
            None => (look, 1),
        };
        if looks <= self.merged {
            self.open = Some((point, looks));
            return;
        }
        self.points.push(point);
        if self.points.len() >= POINTS_MAX {
            let mut halved = Vec::with_capacity(POINTS_MAX);
            let mut points = std::mem::take(&mut self.points).into_iter();
            while let Some(first) = points.next() {
                halved.push(match points.next() {
                    Some(second) => first.merge(second),
                    None => first,
                });
            }
            self.points = halved;
            self.merged = self.merged * 2 + 1;
        }
    }

    /// All points, the one in the making included.
    pub fn points(&self) -> Vec<Point> {
        let open = self.open.iter().map(|(point, _)| point);
        self.points.iter().chain(open).cloned().collect()
    }
}

/// One attempt to cut over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// When it ended, seconds since the start.
    pub t_s: f64,
    /// How long the application may have waited.
    pub stall_ms: f64,
    /// How it ended, in words.
    pub outcome: String,
}

/// All attempts to cut over: the last ones, and what they cost together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attempts {
    /// The last ones, oldest first.
    pub list: Vec<AttemptRecord>,
    /// How many there were.
    pub count: u64,
    /// Sum of all stalls, seconds.
    pub stall_sum_s: f64,
    /// Attempts with a stall of at most each of [`STALL_BUCKETS_S`].
    pub buckets: [u64; STALL_BUCKETS_S.len()],
}

/// Upper bounds of the histogram of stalls, seconds.
pub const STALL_BUCKETS_S: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Attempts {
    pub(super) fn add(&mut self, at: Duration, stall: Duration, outcome: String) {
        if self.list.len() == ATTEMPTS_MAX {
            self.list.remove(0);
        }
        self.list.push(AttemptRecord {
            t_s: at.as_secs_f64(),
            stall_ms: stall.as_secs_f64() * 1e3,
            outcome,
        });
        self.count += 1;
        self.stall_sum_s += stall.as_secs_f64();
        for (count, bound) in self.buckets.iter_mut().zip(STALL_BUCKETS_S) {
            if stall.as_secs_f64() <= bound {
                *count += 1;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::observe) fn point(t: u32) -> Point {
        Point {
            t_s: f64::from(t),
            phase: "copy".to_string(),
            rows_copied: u64::from(t) * 100,
            rows_verified: 0,
            changes_received: u64::from(t),
            changes_applied: u64::from(t),
            backlog_rows: 0,
            backlog_bytes: 0,
            replay_lag_s: Some(0.1),
            replica_lag_s: None,
            chunk_rows: 1000,
            chunk_ms: 100.0,
            speed: 1.0,
            stopped: None,
        }
    }

    #[test]
    fn long_runs_have_as_many_points_as_short_ones_and_keep_the_worst() {
        let mut recorder = Recorder::default();
        for t in 0..50_000 {
            let mut point = point(t);
            if t == 12_345 {
                point.replay_lag_s = Some(9.0);
                point.stopped = Some("lag");
            }
            recorder.push(point);
        }
        let points = recorder.points();
        assert!(
            (POINTS_MAX / 2..=POINTS_MAX).contains(&points.len()),
            "{}",
            points.len()
        );
        assert_eq!(points.last().unwrap().t_s, 49_999.0);
        assert!(points.is_sorted_by(|a, b| a.t_s < b.t_s));
        let worst = points.iter().find(|p| p.replay_lag_s == Some(9.0)).unwrap();
        assert_eq!(worst.stopped, Some("lag"));
        assert!((worst.t_s - 12_345.0).abs() < 64.0);
    }

    #[test]
    fn attempts_are_counted_into_buckets() {
        let mut attempts = Attempts::default();
        for n in 0..ATTEMPTS_MAX as u64 + 5 {
            let stall = Duration::from_millis(n * 10);
            attempts.add(Duration::from_secs(n), stall, "over budget".to_string());
        }
        assert_eq!(attempts.list.len(), ATTEMPTS_MAX);
        assert_eq!(attempts.count, ATTEMPTS_MAX as u64 + 5);
        assert_eq!(attempts.buckets[0], 1);
        assert_eq!(attempts.buckets[4], 11);
    }
}
