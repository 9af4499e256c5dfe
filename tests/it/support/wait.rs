//! Waiting for conditions.

use std::time::Duration;

use tokio::time::Instant;

/// How long tests wait for something that takes a moment on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value; `what` is for the message when it does not within `deadline`.
///
/// # Panics
/// After the deadline.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
