//! The one verdict on what is tried again, and how long.

use std::time::Duration;

use tokio::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Result};

/// How long and how densely something is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first pause; doubled after each attempt, with up to a quarter of jitter.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// After this time the last error is final.
    pub limit: Duration,
}

impl Patience {
    /// For statements against locks that others hold for moments: deadlocks, lock wait timeouts.
    pub const LOCKS: Patience = Patience {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_secs(1),
        limit: Duration::from_secs(600),
    };

    /// For a server that is gone, or read-only, for a while: a restart, a failover, a network cut.
    pub const OUTAGE: Patience = Patience {
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(5),
        limit: Duration::from_secs(600),
    };

    /// The pause after attempt number `attempt` (from 0), with jitter.
    pub fn pause(&self, attempt: u32) -> Duration {
        let doubled = self
            .first_pause
            .saturating_mul(1u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX));
        let pause = doubled.min(self.longest_pause);
        pause.mul_f64(1.0 - 0.25 * fastrand::f64())
    }
}

/// Runs something idempotent again as long as its error is transient and patience lasts. `retries`
/// counts the attempts that failed.
///
/// # Errors
/// The first error that is not transient, or the last transient one.
pub async fn while_transient<T>(
    patience: Patience,
    retries: &mut u64,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut number = 0;
    loop {
        let failure: Failure = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if !failure.is_transient() {
            return Err(failure);
        }
        if start.elapsed() >= patience.limit {
            return Err(failure.remedy("find out who holds the locks (ctl why), then start again"));
        }
        *retries += 1;
        tokio::time::sleep(patience.pause(number)).await;
        number += 1;
    }
}

/// How often a statement that somebody keeps killing is tried.
const KILLS_MAX: u32 = 20;

/// Decides after each failure of something idempotent whether it is tried again, and waits before it
/// is. One of these a piece of work; a new one after every success.
#[derive(Debug, Default)]
pub struct Endurance {
    since: Option<Instant>,
    attempts: u32,
}

impl Endurance {
    /// How many failures it has taken so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits after a failure that may pass: locks, a lost connection, a server that is read-only for
    /// now, a killed statement. True: try again. False: cancelled while waiting.
    ///
    /// # Errors
    /// The failure, if it will not pass by itself, or has not for too long.
    pub async fn endure(&mut self, failure: Failure, cancel: &CancellationToken) -> Result<bool> {
        let outage = is_outage(&failure);
        let patience = if outage {
            Patience::OUTAGE
        } else {
            Patience::LOCKS
        };
        let again =
            outage || failure.is_transient() || (failure.is_killed() && self.attempts < KILLS_MAX);
        let since = *self.since.get_or_insert_with(Instant::now);
        if !again || since.elapsed() >= patience.limit {
            return Err(match outage {
                true => failure.remedy("see that the server can be reached and written to, then start again: the run continues"),
                false => failure,
            });
        }
        if outage && self.attempts == 0 {
            tracing::warn!(event = "outage", "waiting for the server: {failure}");
        }
        let pause = patience.pause(self.attempts);
        self.attempts += 1;
        Ok(tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = cancel.cancelled() => false,
        })
    }
}

/// Whether a failure may pass by itself, so that trying again can succeed.
pub fn may_pass(failure: &Failure) -> bool {
    is_outage(failure) || failure.is_transient() || failure.is_killed()
}

fn is_outage(failure: &Failure) -> bool {
    failure.is_disconnected() || super::error::is_read_only(failure)
}

/// Does a piece of work again and again until it succeeds or fails for good, as [`Endurance`] judges; `None`:
/// cancelled.
///
/// # Errors
/// A failure that will not pass by itself, or has not for too long.
pub async fn enduring<T, F: Future<Output = Result<T>>>(
    cancel: &CancellationToken,
    mut work: impl FnMut() -> F,
) -> Result<Option<T>> {
    let mut endurance = Endurance::default();
    loop {
        match work().await {
            Ok(done) => return Ok(Some(done)),
            Err(failure) => {
                if !endurance.endure(failure, cancel).await? {
                    return Ok(None);
                }
            }
        }
    }
}
