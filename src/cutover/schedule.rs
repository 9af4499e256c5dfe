//! When an attempt is made again: pure arithmetic.
//!
//! Two rules. The application may lose at most a twenty-fifth of its time to waiting for us, so that
//! after a stall of 40 ms nothing is asked for a second. And after a lock that was not granted in the
//! full budget the next wait is short: a probe, which grows again as long as it fails.

use std::time::Duration;

/// The part of time that may be stalled: one in so many.
const STALL_SHARE: u32 = 25;
/// How long the lock is waited for when somebody is known or has been seen to hold the table long.
const PROBE_WAIT: Duration = Duration::from_millis(40);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// What was learned from the attempts so far.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    budget: Duration,
    lock_wait: Duration,
    failures: u32,
}

impl Schedule {
    pub fn new(budget: Duration) -> Schedule {
        Schedule {
            budget,
            lock_wait: budget,
            failures: 0,
        }
    }

    /// How long the next attempt may wait for the lock. `suspects`: transactions are open that are
    /// older than the budget and may hold the table.
    pub fn lock_wait(&self, suspects: bool) -> Duration {
        if suspects {
            self.lock_wait.min(self.probe())
        } else {
            self.lock_wait
        }
    }

    fn probe(&self) -> Duration {
        PROBE_WAIT.min(self.budget)
    }

    /// An attempt has failed after `stall`; `no_lock`: because the lock was not granted within
    /// `waited`. Returns the pause before the next, which grows with failures in a row.
    pub fn failed(&mut self, stall: Duration, no_lock: Option<Duration>) -> Duration {
        if let Some(waited) = no_lock {
            self.lock_wait = if waited >= self.budget {
                self.probe()
            } else {
                waited.saturating_mul(2).clamp(self.probe(), self.budget)
            };
        }
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures += 1;
        let pause = doubled.min(PAUSE_LONGEST).max(stall * STALL_SHARE);
        // Up to a quarter more, so that several tools do not keep step with each other or with a job
        // that runs by the clock; never less, which would break the first rule.
        pause.mul_f64(1.0 + 0.25 * fastrand::f64())
    }

    /// What stood in the way has gone: the next attempt is the first again.
    pub fn cleared(&mut self) {
        self.lock_wait = self.budget;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(300);

    /// A holder that is not seen and never goes: whatever happens, 1 in 25 of the time is stalled.
    #[test]
    fn stalls_are_a_twenty_fifth_of_the_time() {
        let mut schedule = Schedule::new(BUDGET);
        let (mut stalled, mut passed) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..40 {
            let wait = schedule.lock_wait(false);
            assert!(wait >= PROBE_WAIT && wait <= BUDGET);
            stalled += wait;
            passed += wait + schedule.failed(wait, Some(wait));
        }
        assert!(stalled * STALL_SHARE <= passed, "{stalled:?} of {passed:?}");
    }

    #[test]
    fn waits_are_probes_after_a_failure_and_grow() {
        let mut schedule = Schedule::new(BUDGET);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = schedule.lock_wait(false);
            waits.push(wait.as_millis());
            schedule.failed(wait, Some(wait));
        }
        assert_eq!(waits, [300, 40, 80, 160, 300, 40]);
        assert_eq!(schedule.lock_wait(true), PROBE_WAIT);
        schedule.cleared();
        assert_eq!(schedule.lock_wait(false), BUDGET);
        assert_eq!(schedule.lock_wait(true), PROBE_WAIT);
        let small = Schedule::new(Duration::from_millis(10));
        assert_eq!(small.lock_wait(true), Duration::from_millis(10));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut schedule = Schedule::new(BUDGET);
        let pauses: Vec<Duration> = (0..12)
            .map(|_| schedule.failed(Duration::ZERO, None))
            .collect();
        assert!(pauses[0] >= PAUSE_FIRST && pauses[0] <= PAUSE_FIRST.mul_f64(1.25));
        assert!(pauses[11] >= PAUSE_LONGEST && pauses[11] <= PAUSE_LONGEST.mul_f64(1.25));
    }
}
