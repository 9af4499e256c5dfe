//! How many rows the next chunk has: aimed at a time, bounded by rows and bytes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::tunables::Tunables;

/// A chunk may be so much larger than the last.
const GROWTH_MAX: f64 = 1.5;
/// No chunk is smaller for reasons of time: below it the cost of a commit is what is measured, and
/// smaller chunks would only add commits.
const ROWS_MIN: f64 = 100.0;

/// Learns from each chunk; shared by the chunker and the workers.
#[derive(Debug)]
pub struct Sizer {
    rows: Mutex<f64>,
    rows_max: u64,
}

impl Sizer {
    /// Begins with `rows`; `rows_max` is the bound for reasons of bytes.
    pub fn new(rows: u64, rows_max: u64) -> Sizer {
        Sizer {
            rows: Mutex::new(rows.max(1) as f64),
            rows_max: rows_max.max(1),
        }
    }

    /// Rows of the next chunk.
    pub fn rows(&self, tunables: &Tunables) -> u64 {
        let wanted = match tunables.chunk_rows_fixed {
            Some(fixed) => fixed,
            None => (*self.lock() as u64).min(tunables.chunk_rows_max),
        };
        wanted.clamp(1, self.rows_max)
    }

    /// A chunk of `rows` took `took`; chunks should take `aim`.
    pub fn done(&self, rows: u64, took: Duration, aim: Duration) {
        let mut current = self.lock();
        let ratio = aim.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let fitting = rows as f64 * ratio;
        if fitting < *current && ratio < 1.0 {
            *current = fitting.max(ROWS_MIN.min(*current));
        } else if rows as f64 > *current * 0.5 {
            // A chunk much smaller than asked for (the last, a piece) says nothing about larger ones.
            *current = fitting.clamp(*current, *current * GROWTH_MAX);
        }
        // Growing out of sight of the bounds would take as long to come back.
        *current = current.min(self.rows_max as f64).max(1.0);
    }

    /// A chunk was refused because somebody holds locks: smaller ones meet fewer.
    pub fn refused(&self) {
        let mut current = self.lock();
        *current = (*current / 2.0).max(ROWS_MIN.min(*current));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, f64> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Duration = Duration::from_millis(200);

    fn next(sizer: &Sizer) -> u64 {
        sizer.rows(&Tunables::default())
    }

    #[test]
    fn grows_slowly_and_shrinks_at_once() {
        let sizer = Sizer::new(1000, 1_000_000);
        sizer.done(1000, Duration::from_millis(1), AIM);
        assert_eq!(next(&sizer), 1500);
        sizer.done(1500, Duration::from_millis(180), AIM);
        assert_eq!(next(&sizer), 1666);
        sizer.done(1666, Duration::from_secs(2), AIM);
        assert_eq!(next(&sizer), 166);
        sizer.done(166, Duration::from_secs(20), AIM);
        assert_eq!(next(&sizer), 100, "not below the floor");
    }

    #[test]
    fn small_chunks_do_not_speak_for_large_ones() {
        let sizer = Sizer::new(1000, 1_000_000);
        sizer.done(3, Duration::from_millis(1), AIM);
        assert_eq!(next(&sizer), 1000);
        sizer.done(3, Duration::from_millis(400), AIM);
        assert_eq!(next(&sizer), 100);
    }

    #[test]
    fn bounds_are_kept() {
        let sizer = Sizer::new(1000, 40);
        assert_eq!(next(&sizer), 40);
        sizer.done(40, Duration::from_secs(9), AIM);
        assert!((1..=40).contains(&next(&sizer)));
        let fixed = Tunables {
            chunk_rows_fixed: Some(7),
            ..Tunables::default()
        };
        assert_eq!(sizer.rows(&fixed), 7);
        let sizer = Sizer::new(1000, u64::MAX);
        for _ in 0..100 {
            sizer.done(next(&sizer), Duration::from_millis(1), AIM);
        }
        assert_eq!(next(&sizer), Tunables::default().chunk_rows_max);
    }
}
