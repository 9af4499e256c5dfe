//! The one controller: readings in, pace out. The decision is a function of readings and time; the
//! task around it is thin.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::journal::Journal;
use super::reading::Reading;
use crate::failure::Result;
use crate::pace::{Pace, ThrottleReason};
use crate::tunables::Tunables;

/// Between two decisions. Decisions cost microseconds.
const TICK: Duration = Duration::from_millis(100);
/// How long the first looks may take before their absence is told as a reason.
const FIRST_LOOKS: Duration = Duration::from_secs(5);
/// From this share of a limit on the copy slows down …
const SLOW_FROM: f64 = 0.5;
/// … linearly, down to this share of its speed at the limit.
const SHARE_MIN: f64 = 0.1;
/// How fast the speed comes back, share per second: after a stop it takes some seconds, so that the
/// copy does not run into the same limit at full speed.
const RECOVERY_PER_S: f64 = 0.25;

/// What the board means, with the memory that this needs.
#[derive(Debug)]
pub struct Decider {
    /// What stops now, by source and subject.
    stopped: BTreeSet<(&'static str, String)>,
    share: f64,
    last: Option<Instant>,
}

impl Default for Decider {
    fn default() -> Decider {
        Decider {
            stopped: BTreeSet::new(),
            share: 1.0,
            last: None,
        }
    }
}

/// A decision: the pace, and all readings that stop, the worst first.
#[derive(Debug)]
pub struct Decision {
    /// What the copy may do.
    pub pace: Pace,
    /// Everything that stops it, the worst first.
    pub stops: Vec<Reading>,
}

impl Decider {
    /// Decides.
    pub fn decide(&mut self, readings: Vec<Reading>, nice_ratio: f64, now: Instant) -> Decision {
        let mut target: f64 = 1.0;
        let mut stops: Vec<(f64, Reading)> = Vec::new();
        for reading in readings {
            let severity = reading.severity(now);
            let key = (reading.source, reading.subject.clone());
            let limit = if self.stopped.contains(&key) {
                reading.release
            } else {
                1.0
            };
            if severity >= limit {
                if reading.graded {
                    target = SHARE_MIN;
                }
                stops.push((severity, reading));
            } else if reading.graded {
                target = target.min(share_at(severity));
            }
        }
        stops.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        self.stopped = stops
            .iter()
            .map(|(_, reading)| (reading.source, reading.subject.clone()))
            .collect();
        self.move_share(target, now);
        let stops: Vec<Reading> = stops.into_iter().map(|(_, reading)| reading).collect();
        Decision {
            pace: Pace {
                stop: stops.first().map(|reading| reading.reason(now)),
                nice_ratio,
                share: (self.share < 1.0).then_some(self.share),
            },
            stops,
        }
    }

    /// Down at once, up slowly.
    fn move_share(&mut self, target: f64, now: Instant) {
        let elapsed = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.share = if target <= self.share {
            target
        } else {
            (self.share + RECOVERY_PER_S * elapsed.as_secs_f64()).min(target)
        };
    }
}

fn share_at(severity: f64) -> f64 {
    if severity <= SLOW_FROM {
        return 1.0;
    }
    let way = ((severity - SLOW_FROM) / (1.0 - SLOW_FROM)).min(1.0);
    1.0 - way * (1.0 - SHARE_MIN)
}

/// The pace before anything was looked at: a stop.
pub fn first_pace() -> Pace {
    Pace {
        stop: Some(ThrottleReason {
            source: "start",
            subject: "the first looks at the servers are being taken".to_string(),
            value: f64::NAN,
            limit: f64::NAN,
            unit: "",
        }),
        nice_ratio: 0.0,
        share: None,
    }
}

/// The operator's pause as a reading.
fn operator(tunables: &Tunables) -> Option<Reading> {
    tunables
        .paused
        .then(|| Reading::trouble("commanded", "pause", "asked for by the operator"))
}

/// Decides until the run ends.
pub(super) async fn run(
    board: Arc<Board>,
    journal: Arc<Journal>,
    mut tunables: watch::Receiver<Tunables>,
    pace: watch::Sender<Pace>,
    cancel: CancellationToken,
) -> Result<()> {
    let started = Instant::now();
    let mut decider = Decider::default();
    let mut sender_lives = true;
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(TICK) => {}
            changed = tunables.changed(), if sender_lives => sender_lives = changed.is_ok(),
        }
        if !board.complete() && started.elapsed() < FIRST_LOOKS {
            continue;
        }
        let now = Instant::now();
        let mut readings = board.readings(now);
        let nice_ratio = {
            let tunables = tunables.borrow_and_update();
            readings.extend(operator(&tunables));
            tunables.nice_ratio
        };
        let decision = decider.decide(readings, nice_ratio, now);
        journal.note(&decision.stops, decision.pace.share.is_some(), now);
        pace.send_if_modified(|current| {
            let differs = *current != decision.pace;
            *current = decision.pace;
            differs
        });
    }
    journal.close(Instant::now());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(value: f64) -> Reading {
        Reading::graded("lag", "replica h:1", value, 1.0, "s")
    }

    #[test]
    fn the_worst_decides_and_is_named() {
        let mut decider = Decider::default();
        let now = Instant::now();
        let load = Reading::switch("flag-file", "/tmp/x", 1.0, 0.0, "");
        let decision = decider.decide(vec![lag(1.2), load, lag(0.1)], 0.5, now);
        assert_eq!(decision.pace.stop.unwrap().source, "flag-file");
        assert_eq!(decision.pace.nice_ratio, 0.5);
        assert_eq!(decision.stops.len(), 2);
    }

    #[test]
    fn the_copy_slows_down_before_it_stops_and_comes_back_slowly() {
        let mut decider = Decider::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(
            decider.decide(vec![lag(0.4)], 0.0, at(0)).pace,
            Pace::default()
        );
        let slower = decider.decide(vec![lag(0.8)], 0.0, at(100)).pace;
        assert!(slower.stop.is_none() && (slower.share.unwrap() - 0.46).abs() < 1e-9);
        let stopped = decider.decide(vec![lag(1.0)], 0.0, at(200)).pace;
        assert!(stopped.stop.is_some() && stopped.share == Some(SHARE_MIN));
        // Just below the limit is not yet good enough to go on.
        assert!(
            decider
                .decide(vec![lag(0.95)], 0.0, at(300))
                .pace
                .stop
                .is_some()
        );
        let first = decider.decide(vec![lag(0.1)], 0.0, at(400)).pace;
        assert!(first.stop.is_none() && first.share.unwrap() < 0.2);
        let later = decider.decide(vec![lag(0.1)], 0.0, at(2400)).pace;
        assert!((later.share.unwrap() - first.share.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(
            decider.decide(vec![lag(0.1)], 0.0, at(9000)).pace.share,
            None
        );
    }

    #[test]
    fn a_switch_does_not_slow_the_rest() {
        let mut decider = Decider::default();
        let now = Instant::now();
        let paused = operator(&Tunables {
            paused: true,
            ..Tunables::default()
        });
        let pace = decider.decide(paused.into_iter().collect(), 0.0, now).pace;
        assert_eq!(
            pace.stop.unwrap().to_string(),
            "commanded: pause asked for by the operator"
        );
        assert_eq!(decider.decide(Vec::new(), 0.0, now).pace, Pace::default());
    }
}
