//! The one verdict on what is tried again, and how long.

use std::time::Duration;

use tokio::time::Instant;

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
