//! The task that looks at the run some times a second: samples it, and shows it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::snapshot::StatusSnapshot;
use super::status::StatusSource;
use super::terminal::{Screen, columns};
use super::{block, gh_ost_line};
use crate::failure::Result;

/// Between two looks.
const TICK: Duration = Duration::from_millis(250);

/// Takes a status and its line.
pub type Printer = Box<dyn Fn(&StatusSnapshot, &str) + Send + Sync>;

/// What is shown.
pub enum Lines {
    /// A live block where there is a terminal, and the status line in the log, on gh-ost's schedule,
    /// where there is none.
    Auto,
    /// The status line is handed to this function on gh-ost's schedule.
    To(Printer),
    /// Nothing.
    Quiet,
}

/// Looks until the run ends.
///
/// # Errors
/// None.
pub async fn watch(
    source: Arc<StatusSource>,
    screen: Arc<Screen>,
    lines: Lines,
    cancel: CancellationToken,
) -> Result<()> {
    let mut clock = Schedule::new();
    loop {
        source.sample();
        let status = source.snapshot();
        match &lines {
            Lines::Auto if screen.is_live() => screen.show(block::lines(&status, columns())),
            Lines::Auto if clock.is_due(&status) => log_line(&status),
            Lines::To(print) if clock.is_due(&status) => {
                print(&status, &gh_ost_line::status_line(&status));
            }
            Lines::Auto | Lines::To(_) | Lines::Quiet => {}
        }
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(TICK) => {}
        }
    }
    source.sample();
    screen.clear();
    Ok(())
}

/// The status line as a log event, with its numbers as fields.
fn log_line(status: &StatusSnapshot) {
    tracing::info!(
        event = "status",
        phase = status.phase,
        rows_copied = status.rows_copied,
        rows_total = status.rows_total,
        percent = status.percent,
        rows_per_s = status.rows_per_s,
        changes_applied = status.changes_applied,
        backlog_rows = status.backlog_rows,
        backlog_bytes = status.backlog_bytes,
        replay_lag_s = status.replay_lag_s,
        replica_lag_s = status.replica_lag_s,
        eta_p50_s = status.forecast.map(|forecast| forecast.p50_s),
        eta_p90_s = status.forecast.map(|forecast| forecast.p90_s),
        "{}",
        gh_ost_line::status_line(status)
    );
}

/// Says once a second at most whether a line is due.
struct Schedule {
    last_second: Option<u64>,
    phase: String,
    phase_began: Instant,
}

impl Schedule {
    fn new() -> Schedule {
        Schedule {
            last_second: None,
            phase: String::new(),
            phase_began: Instant::now(),
        }
    }

    fn is_due(&mut self, status: &StatusSnapshot) -> bool {
        if self.phase != status.phase {
            self.phase.clone_from(&status.phase);
            self.phase_began = Instant::now();
        }
        let second = status.elapsed_s as u64;
        // A late look (a loaded machine) must not lose the line of a second that was skipped.
        let from = self.last_second.map_or(second, |last| last + 1);
        if from > second {
            return false;
        }
        self.last_second = Some(second);
        let eta = status.forecast.map(|forecast| forecast.p50_s);
        let since_event = self.phase_began.elapsed().as_secs_f64();
        (from..=second).any(|second| gh_ost_line::is_due(second, eta, since_event))
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::snapshot;
    use super::*;

    #[test]
    fn a_line_a_second_at_first_and_none_is_lost() {
        let mut schedule = Schedule::new();
        let mut status = snapshot();
        let mut at = |elapsed_s: f64, phase_s: u64| {
            status.elapsed_s = elapsed_s;
            let due = schedule.is_due(&status);
            schedule.phase_began = Instant::now() - Duration::from_secs(phase_s);
            due
        };
        assert!(at(0.1, 0) && !at(0.4, 0) && at(1.1, 0) && !at(1.9, 100));
        assert!(at(301.0, 100) && at(331.5, 100) && !at(359.9, 100) && at(362.0, 100));
    }
}
