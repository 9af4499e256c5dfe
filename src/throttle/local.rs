//! What the run knows of itself: the backlog of changes and the lag of replay. Replay goes before the
//! copy, so that the backlog always falls again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Common;
use super::reading::Reading;
use crate::failure::Result;
use crate::progress::Progress;

pub(super) const SLOT: &str = "backlog";
const INTERVAL: Duration = Duration::from_millis(100);
/// The task only reads memory; if it is silent for this long, nothing here runs any more.
const VALID: Duration = Duration::from_secs(10);
/// A heartbeat that is this late counts into the replay lag.
const HEARTBEAT_GRACE_S: f64 = 0.5;
const MIB: f64 = 1_048_576.0;

pub(super) async fn run(common: Common) -> Result<()> {
    let limit_mib = common.plan.backlog_bytes_max as f64 * common.plan.backlog_share / MIB;
    loop {
        let mut backlog = Reading::graded(
            "backlog",
            "changes waiting for replay",
            common.progress.backlog_bytes.get() as f64 / MIB,
            limit_mib,
            " MiB",
        );
        backlog.release = 0.5;
        let mut readings = vec![backlog];
        let limit = common.tunables.borrow().replay_lag_max;
        if let (Some(limit), Some(lag)) = (limit, replay_lag(&common.progress)) {
            readings.push(Reading::graded(
                "replay-lag",
                "the ghost table",
                lag,
                limit.as_secs_f64(),
                "s",
            ));
        }
        common.board.post(SLOT, "backlog", readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

/// How far the ghost is behind the original, seconds: the last measured lag, or the time since, when
/// no heartbeat has come through for a while. `None` before the first.
fn replay_lag(progress: &Progress) -> Option<f64> {
    let micros = progress.replay_lag_micros.load(Ordering::Relaxed);
    if micros < 0 {
        return None;
    }
    let measured = micros as f64 / 1e6;
    let heartbeat_at = Duration::from_micros(progress.heartbeat_at_micros.get());
    let silent = progress.started.elapsed().saturating_sub(heartbeat_at);
    Some(measured + (silent.as_secs_f64() - HEARTBEAT_GRACE_S).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_lag_grows_without_heartbeats() {
        let progress = Progress::default();
        assert_eq!(replay_lag(&progress), None);
        progress.replay_lag_micros.store(200_000, Ordering::Relaxed);
        let now = progress.started.elapsed().as_micros() as u64;
        progress.heartbeat_at_micros.set(now);
        let lag = replay_lag(&progress).unwrap();
        assert!((0.2..5.0).contains(&lag), "{lag}");
    }
}
