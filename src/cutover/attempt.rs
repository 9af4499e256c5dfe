//! What both protocols share: the clock of an attempt, how it can end, and what its errors mean.

use std::time::Duration;

use tokio::time::Instant;

use super::report::{Outcome, Step};
use crate::failure::{ErrorClass, Failure, Result};

/// How long each part of an attempt takes, and how long the application may have waited.
#[derive(Debug, Default)]
pub(super) struct Log {
    steps: Vec<(Step, Duration)>,
    now: Option<(Step, Instant)>,
    asked: Option<Instant>,
    stall: Duration,
    /// Keys applied under the lock.
    pub rows_applied: u64,
}

impl Log {
    /// Ends the step that was being done and begins another.
    pub fn begin(&mut self, step: Step) {
        self.end();
        self.now = Some((step, Instant::now()));
    }

    /// Ends the step that was being done.
    pub fn end(&mut self) {
        if let Some((step, since)) = self.now.take() {
            self.steps.push((step, since.elapsed()));
        }
    }

    /// The application may wait from now on. Returns this moment.
    pub fn asked(&mut self) -> Instant {
        let now = Instant::now();
        self.asked = Some(now);
        now
    }

    /// Nobody waits for us any more.
    pub fn released(&mut self) {
        self.end();
        if let Some(asked) = self.asked.take() {
            self.stall += asked.elapsed();
        }
    }

    /// The step that is being done, or was last.
    pub fn step(&self) -> Step {
        self.now
            .map(|(step, _)| step)
            .or_else(|| self.steps.last().map(|(step, _)| *step))
            .unwrap_or(Step::Quiesce)
    }

    pub fn stall(&self) -> Duration {
        self.stall
    }

    pub fn into_steps(mut self) -> Vec<(Step, Duration)> {
        self.end();
        self.steps
    }
}

/// How an attempt ended, seen from the protocol. Errors that end the run come as `Err` beside it, after
/// everything has been given back.
#[derive(Debug)]
pub(super) enum End {
    /// The server said that the RENAME is done.
    Swapped,
    /// Nothing was swapped and all locks are given back.
    Released(Outcome),
    /// Contact was lost, or the RENAME ended in a way that does not tell: the catalogue must be asked.
    Lost(Lost),
}

/// What was lost where.
#[derive(Debug)]
pub(super) struct Lost {
    pub failure: Failure,
    pub step: Step,
    /// Whether the budget was used up by then.
    pub over: bool,
}

impl Lost {
    /// What it means, once the catalogue has said that the original is still the table.
    ///
    /// # Errors
    /// As [`judge`].
    pub fn not_swapped(self) -> Result<Outcome> {
        if self.failure.is_disconnected() {
            return Ok(Outcome::Disturbed(format!(
                "in step `{}`: {}",
                self.step, self.failure
            )));
        }
        match judge(self.failure, self.step, self.over)? {
            End::Released(outcome) => Ok(outcome),
            End::Swapped | End::Lost(_) => Ok(Outcome::OverBudget(self.step)),
        }
    }
}

/// An error in a step before any RENAME could be executed: whether the attempt may be made again.
///
/// # Errors
/// The failure itself, if it is one that ends the run.
pub(super) fn judge(failure: Failure, step: Step, over: bool) -> Result<End> {
    match failure.class() {
        // The wait for the lock is often given less than the whole budget.
        Some(ErrorClass::Killed | ErrorClass::Transient) if over || step == Step::Lock => {
            Ok(End::Released(Outcome::OverBudget(step)))
        }
        Some(ErrorClass::Killed | ErrorClass::Transient) => Ok(End::Released(Outcome::Disturbed(
            format!("in step `{step}`: {failure}"),
        ))),
        Some(ErrorClass::Disconnected) => Ok(End::Lost(Lost {
            failure,
            step,
            over,
        })),
        _ => Err(failure.doing(format!("cut over, step `{step}`"))),
    }
}

/// The budget is used up: an error that [`judge`] reads as such.
pub(super) fn over_budget() -> Failure {
    Failure::from_server(ErrorClass::Killed, None, "the cut-over's budget is used up")
}

/// Fails when `until` has passed.
///
/// # Errors
/// [`over_budget`].
pub(super) fn within(until: Instant) -> Result<()> {
    if Instant::now() < until {
        Ok(())
    } else {
        Err(over_budget())
    }
}
