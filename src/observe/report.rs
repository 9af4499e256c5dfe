//! The final report: what was done, what it cost, what stood in the way. As JSON, as one HTML page, and
//! as some lines for a ticket.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::forecast;
use super::html;
use super::recorder::{Attempts, Point};
use super::rehearsal::Rehearsal;
use super::status::StatusSource;
use super::text::{grouped, span, utc};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::throttle::ThrottleReport;

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The new table is in place.
    Done,
    /// A rehearsal came to its end; nothing was swapped.
    Rehearsed,
    /// Stopped or interrupted; the same command continues.
    Stopped,
    /// Anything else; nothing was swapped.
    Failed,
    /// It is not known whether the tables were swapped.
    Unknown,
}

impl Ending {
    fn words(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Rehearsed => "rehearsed",
            Ending::Stopped => "stopped, can be continued",
            Ending::Failed => "failed",
            Ending::Unknown => "UNKNOWN: look at the tables",
        }
    }

    /// The ending that belongs to a failure.
    pub fn of(failure: &Failure) -> Ending {
        match failure.kind() {
            FailureKind::Stopped | FailureKind::Interrupted => Ending::Stopped,
            FailureKind::Failed
            | FailureKind::Usage
            | FailureKind::Refused
            | FailureKind::DoesNotFit
            | FailureKind::Difference => Ending::Failed,
        }
    }
}

/// What the comparison of original and ghost came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Rows compared.
    pub rows: u64,
    /// Chunks compared.
    pub chunks: u64,
    /// Rows that looked different at first, because a change was under way, and were looked at again.
    pub rechecked: u64,
    /// Rows that are different.
    pub differences: u64,
}

/// Time spent in a phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: String,
    /// How long.
    pub seconds: f64,
}

/// The whole. Fields are only ever added.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// How it ended.
    pub ending: Ending,
    /// Why, if it did not end well.
    pub error: Option<String>,
    /// What to do then.
    pub remedy: Option<String>,
    /// `schema.table`.
    pub table: String,
    /// `host:port`.
    pub server: String,
    /// The ALTER as it was given.
    pub alter: String,
    /// What the original is called now, or would have been.
    pub old_table: String,
    /// Whether the run has dropped it at its end.
    pub old_table_dropped: bool,
    /// How the server altered the table itself; `None`: by the ghost table.
    pub native: Option<String>,
    /// Seconds since 1970.
    pub started_unix_s: u64,
    /// How long it took.
    pub elapsed_s: f64,
    /// Phases in order.
    pub phases: Vec<PhaseTime>,
    /// Decisions that were taken and why (`replay: image, because …`).
    pub notes: Vec<String>,
    /// Rows that the copy has read.
    pub rows_copied: u64,
    /// Rows that it put into the ghost.
    pub rows_inserted: u64,
    /// Chunks.
    pub chunks: u64,
    /// Changes received.
    pub changes_received: u64,
    /// Changes applied.
    pub changes_applied: u64,
    /// Statements tried again.
    pub retries: u64,
    /// Bytes of binlog read.
    pub binlog_bytes: u64,
    /// Reconnects of the reader.
    pub reconnects: u64,
    /// The comparison, if there was one.
    pub verification: Option<Verification>,
    /// How good a rehearsal's forecast was, if one is kept.
    pub forecast: Option<forecast::Outcome>,
    /// What a rehearsal found.
    pub rehearsal: Option<Box<Rehearsal>>,
    /// The attempts to cut over.
    pub cutover: Attempts,
    /// The longest time the original was locked.
    pub lock_ms_max: f64,
    /// The throttle, if it ran.
    pub throttle: Option<ThrottleReport>,
    /// The course of the run.
    pub series: Vec<Point>,
}

impl Report {
    /// The report of a run, from its own record.
    pub fn new(source: &StatusSource, ending: Ending, error: Option<&Failure>) -> Report {
        let progress = &source.progress;
        let elapsed = progress.started.elapsed();
        let (phase, since) = progress.phase();
        let now = std::time::Instant::now();
        let phases = progress
            .phases()
            .into_iter()
            .chain([(phase, now.saturating_duration_since(since))])
            .map(|(phase, time)| PhaseTime {
                phase: phase.to_string(),
                seconds: time.as_secs_f64(),
            })
            .collect();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            ending,
            error: error.map(ToString::to_string),
            remedy: error.and_then(|failure| failure.remedy_text().map(String::from)),
            table: source.names.original.to_string(),
            server: source.server.clone(),
            alter: source.alter.clone(),
            old_table: source.names.old.to_string(),
            old_table_dropped: false,
            native: None,
            started_unix_s: (crate::change::now_micros() / 1_000_000)
                .saturating_sub(elapsed.as_secs()),
            elapsed_s: elapsed.as_secs_f64(),
            phases,
            notes: Vec::new(),
            rows_copied: progress.rows_copied.get(),
            rows_inserted: progress.rows_inserted.get(),
            chunks: progress.chunks.get(),
            changes_received: progress.changes_received.get(),
            changes_applied: progress.changes_applied.get(),
            retries: progress.retries.get(),
            binlog_bytes: progress.binlog_bytes.get(),
            reconnects: progress.reconnects.get(),
            verification: None,
            forecast: None,
            rehearsal: None,
            cutover: source.attempts(),
            lock_ms_max: progress.lock_micros_max.get() as f64 / 1e3,
            throttle: source.throttle().map(|throttle| throttle.journal.report()),
            series: source.record(),
        }
    }

    /// How it ended, in words.
    pub fn ending_words(&self) -> &'static str {
        self.ending.words()
    }

    /// Writes the report: HTML if the name ends in `.html` or `.htm`, JSON otherwise. Only the owner can
    /// read it; a file of that name is replaced.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let is_html = path
            .extension()
            .is_some_and(|ext| ext.eq_ignore_ascii_case("html") || ext.eq_ignore_ascii_case("htm"));
        let text = if is_html {
            html::page(self)
        } else {
            serde_json::to_string_pretty(self)
                .map_err(|error| Failure::failed(format!("put the report into JSON: {error}")))?
                + "\n"
        };
        write_private(path, &text)
            .map_err(|error| Failure::failed(error.to_string()))
            .doing(|| format!("write the report {}", path.display()))
            .remedy("give a path in a folder that you can write")
    }

    /// Some lines for a ticket.
    pub fn summary(&self) -> String {
        let mut out = format!(
            "changeling {}: {} on {}: {}\n",
            self.version,
            self.table,
            self.server,
            self.ending.words()
        );
        // Writing to a String cannot fail.
        let mut line = |text: String| {
            let _ = writeln!(out, "  {text}");
        };
        line(match self.alter.starts_with(crate::history::REVERT) {
            true => self.alter.clone(),
            false => format!("ALTER TABLE {} {}", self.table, self.alter),
        });
        let phases: Vec<String> = self
            .phases
            .iter()
            .filter(|phase| phase.seconds >= 0.1)
            .map(|phase| format!("{} {}", phase.phase, span(phase.seconds)))
            .collect();
        line(format!(
            "started {} UTC, took {} ({})",
            utc(self.started_unix_s),
            span(self.elapsed_s),
            phases.join(", ")
        ));
        if let Some(way) = &self.native {
            line(format!(
                "altered by the server itself ({way}): no row was copied"
            ));
        } else {
            line(format!(
                "{} rows copied in {} chunks, {} changes applied",
                grouped(self.rows_copied),
                grouped(self.chunks),
                grouped(self.changes_applied)
            ));
            line(self.verification_words());
            line(self.throttle_words());
        }
        if self.cutover.count > 0 {
            let longest = self
                .cutover
                .list
                .iter()
                .map(|a| a.stall_ms)
                .fold(0.0, f64::max);
            line(format!(
                "cut-over: {} attempt{}, application stalled for {} in all, longest {}",
                self.cutover.count,
                if self.cutover.count == 1 { "" } else { "s" },
                span(self.cutover.stall_sum_s),
                span(longest / 1e3)
            ));
        }
        if self.ending == Ending::Done && self.native.is_none() {
            line(match self.old_table_dropped {
                true => format!("the original was dropped, as {}", self.old_table),
                false => format!("the original is kept as {}", self.old_table),
            });
        }
        for note in &self.notes {
            line(note.clone());
        }
        if let Some(error) = &self.error {
            line(format!("error: {error}"));
        }
        if let Some(remedy) = &self.remedy {
            line(format!("hint: {remedy}"));
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// What the comparison came to.
    pub fn verification_words(&self) -> String {
        match self.verification {
            None => "original and new table were not compared".to_string(),
            Some(v) if v.differences == 0 => {
                format!("{} rows compared: equal", grouped(v.rows))
            }
            Some(v) => format!(
                "{} rows compared: {} DIFFERENT",
                grouped(v.rows),
                grouped(v.differences)
            ),
        }
    }

    /// What the throttle did.
    pub fn throttle_words(&self) -> String {
        let Some(throttle) = &self.throttle else {
            return "copy never throttled".to_string();
        };
        if throttle.stopped_s < 0.05 && throttle.slowed_s < 0.05 {
            return "copy never throttled".to_string();
        }
        let reasons: Vec<String> = throttle
            .by_source
            .iter()
            .filter(|(_, share)| share.seconds > 0.0)
            .map(|(source, share)| format!("{source} {}", span(share.seconds)))
            .collect();
        let reasons = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({})", reasons.join(", "))
        };
        format!(
            "copy stopped for {}{reasons}, slowed down for {}",
            span(throttle.stopped_s),
            span(throttle.slowed_s)
        )
    }
}

/// Writes beside the file and renames, so that nobody sees a half report or one with other rights.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{:08x}", fastrand::u32(..)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::super::recorder::tests::point;
    use super::super::status::tests::source;
    use super::*;
    use crate::progress::Phase;

    /// The report of a run in which something of everything happened.
    pub(in crate::observe) fn report() -> Report {
        let source = source();
        source.progress.enter(Phase::Copy);
        source.progress.rows_copied.set(1_234_567);
        source.attempted(Duration::from_millis(40), "over budget in step `lock`");
        source.attempted(Duration::from_millis(80), "swapped");
        source.progress.enter(Phase::Finish);
        let mut report = Report::new(&source, Ending::Done, None);
        report.elapsed_s = 3700.0;
        report.phases = [("copy", 3600.0), ("verify", 90.0), ("cut-over", 0.3)]
            .map(|(phase, seconds)| PhaseTime {
                phase: phase.to_string(),
                seconds,
            })
            .to_vec();
        report.verification = Some(Verification {
            rows: 1_234_567,
            chunks: 60,
            rechecked: 3,
            differences: 0,
        });
        report.series = (0..400).map(point).collect();
        for (at, point) in report.series.iter_mut().enumerate() {
            if (100..140).contains(&at) {
                point.stopped = Some("lag");
                point.replica_lag_s = Some(2.5);
            }
        }
        report
    }

    #[test]
    fn the_summary_is_for_a_ticket() {
        let text = report().summary();
        for part in [
            "d.t on h:3306: done",
            "ALTER TABLE d.t ADD c INT",
            "took 1h 1m (copy 1h 0m, verify 1m 30s, cut-over 300 ms)",
            "1,234,567 rows copied",
            "1,234,567 rows compared: equal",
            "cut-over: 2 attempts, application stalled for 120 ms in all, longest 80 ms",
            "kept as d._t_del",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        let failure = Failure::new(FailureKind::Stopped, "critical load").remedy("wait");
        let stopped = Report::new(&source(), Ending::of(&failure), Some(&failure)).summary();
        assert!(stopped.contains("stopped, can be continued"));
        assert!(stopped.contains("error: critical load\n  hint: wait"));
        assert!(!stopped.contains("kept as"));
    }

    #[test]
    fn files_are_for_the_owner_only() {
        let folder = std::env::temp_dir().join(format!("cl-report-{}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        let report = report();
        for name in ["r.json", "r.html"] {
            let path = folder.join(name);
            std::fs::write(&path, "old").unwrap();
            report.write(&path).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("r.json")).unwrap()).unwrap();
        assert_eq!(json["ending"], "done");
        assert_eq!(json["series"].as_array().unwrap().len(), 400);
        let html = std::fs::read_to_string(folder.join("r.html")).unwrap();
        assert!(html.starts_with("<!doctype html>"));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        assert!(report.write(Path::new("/nowhere/r.html")).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
