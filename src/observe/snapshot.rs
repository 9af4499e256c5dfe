//! What one look at a run shows, in numbers and words.

use serde::Serialize;

use super::eta::Forecast;

/// Why the copy does not run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThrottleNow {
    /// The kind of source.
    pub source: &'static str,
    /// The reason in words.
    pub reason: String,
    /// What was looked at.
    pub subject: String,
    /// What was measured; not a number where there is none.
    pub value: f64,
    /// The limit; not a number where there is none.
    pub limit: f64,
    /// For how long already, seconds.
    pub for_s: f64,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitNow {
    /// What.
    pub what: String,
    /// On whom.
    pub whom: Option<String>,
    /// What happens next.
    pub next: Option<String>,
    /// For how long already, seconds.
    pub for_s: f64,
}

/// One look. The JSON form of `ctl status --json`; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusSnapshot {
    /// `schema.table`.
    pub table: String,
    /// The ghost's name.
    pub ghost: String,
    /// What the original will be called.
    pub old: String,
    /// The ALTER.
    pub alter: String,
    /// `host:port`.
    pub server: String,
    /// The phase.
    pub phase: String,
    /// Seconds in this phase.
    pub phase_s: f64,
    /// The phases that are over, in their order, with seconds.
    pub past_phases: Vec<(String, f64)>,
    /// Seconds since the start.
    pub elapsed_s: f64,
    /// Seconds of the copy so far, or that it took.
    pub copy_s: f64,
    /// Rows to copy (estimate).
    pub rows_total: u64,
    /// Rows copied.
    pub rows_copied: u64,
    /// Bytes of the original's rows (estimate).
    pub bytes_total: u64,
    /// Bytes copied, by the share of the rows (estimate).
    pub bytes_copied: u64,
    /// The copy is contiguous up to this key: `id=4711`; nothing before the first chunk.
    pub copied_up_to: Option<String>,
    /// Share of the copy that is done, per cent, 0 to 100.
    pub percent: f64,
    /// Rows a second over the last ten seconds.
    pub rows_per_s: f64,
    /// Rows of the last chunk.
    pub chunk_rows: u64,
    /// Duration of the last chunk.
    pub chunk_ms: f64,
    /// Rows compared.
    pub rows_verified: u64,
    /// Changes received.
    pub changes_received: u64,
    /// Changes applied.
    pub changes_applied: u64,
    /// Changes a second over the last ten seconds.
    pub changes_per_s: f64,
    /// Keys waiting for replay.
    pub backlog_rows: u64,
    /// Bytes waiting for replay.
    pub backlog_bytes: u64,
    /// How far the ghost is behind.
    pub replay_lag_s: Option<f64>,
    /// How long ago the last heartbeat came through the binlog.
    pub heartbeat_age_s: Option<f64>,
    /// How long the server will still keep the binlog that a restart needs, where it goes by age.
    pub binlog_kept_s: Option<f64>,
    /// What the server does to build the indexes, while it does.
    pub index_stage: Option<String>,
    /// How much of the building of indexes is done by the server's estimate, per cent.
    pub index_percent: Option<f64>,
    /// The worst replica's lag.
    pub replica_lag_s: Option<f64>,
    /// Where the binlog reader is.
    pub position: String,
    /// Statements tried again.
    pub retries: u64,
    /// Why a chunk was tried again last; empty if none was.
    pub last_refusal: String,
    /// Attempts to cut over.
    pub cutover_attempts: u64,
    /// The copy's share of its full speed, 0 to 1.
    pub speed: f64,
    /// How many times as long as it works the copy rests, as it was told to (`--nice-ratio`).
    pub nice_ratio: f64,
    /// All that stops the copy, the worst first.
    pub throttled: Vec<ThrottleNow>,
    /// What is waited for.
    pub waits: Vec<WaitNow>,
    /// Whether the cut-over is held back by the operator.
    pub postponed: bool,
    /// What holds the cut-over back, each as it goes on from "held back by"; empty: nothing does.
    pub held_by: Vec<String>,
    /// When it will be finished.
    pub forecast: Option<Forecast>,
    /// After the swap, while the old table is kept in step.
    pub revertible: Option<RevertibleNow>,
}

/// The way back of a run that has swapped, while it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RevertibleNow {
    /// For how long still, seconds.
    pub left_s: f64,
    /// How many rows would not fit the old definition.
    pub misfits: u64,
    /// Why the last `revert` was not done.
    pub refused: Option<String>,
}

impl StatusSnapshot {
    /// How fast the copy goes and why not faster, as it goes on from "it goes": `None` at full speed, and while
    /// it is stopped.
    pub fn slowed(&self) -> Option<String> {
        if self.speed >= 0.995 || !self.throttled.is_empty() {
            return None;
        }
        let rests = || {
            format!(
                "nice-ratio has it rest {} times as long as it works",
                self.nice_ratio
            )
        };
        let told = 1.0 / (1.0 + self.nice_ratio);
        let why = match (self.nice_ratio > 0.0, self.speed < told - 0.005) {
            (true, false) => rests(),
            (true, true) => format!("{}, and more to stay below the limits", rests()),
            (false, _) => "it stays below the limits".to_string(),
        };
        Some(format!(
            "at {:.0} % of its speed: {why}",
            self.speed * 100.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::snapshot;

    #[test]
    fn a_slow_copy_says_why() {
        let told = |speed: f64, nice_ratio: f64| {
            let mut status = snapshot();
            (status.speed, status.nice_ratio) = (speed, nice_ratio);
            status.slowed()
        };
        assert_eq!(told(1.0, 0.0), None);
        let limits = told(0.46, 0.0).unwrap();
        assert_eq!(limits, "at 46 % of its speed: it stays below the limits");
        let nice = told(0.25, 3.0).unwrap();
        assert_eq!(
            nice,
            "at 25 % of its speed: nice-ratio has it rest 3 times as long as it works"
        );
        let both = told(0.1, 3.0).unwrap();
        assert!(both.starts_with(&nice.replace("25", "10")), "{both}");
        assert!(
            both.ends_with("as it works, and more to stay below the limits"),
            "{both}"
        );
    }
}
