//! A run's numbers in Prometheus' text format 0.0.4.
//!
//! Names follow its conventions: base units (seconds, bytes), `_total` for counters, labels for what can
//! be added up. Names are only ever added.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::recorder::STALL_BUCKETS_S;
use super::status::StatusSource;

/// Writes families of metrics.
struct Families(String);

impl Families {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP changeling_{name} {help}");
        let _ = writeln!(self.0, "# TYPE changeling_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "changeling_{name}");
        if !labels.is_empty() {
            let list: Vec<String> = labels
                .iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escape(text)))
                .collect();
            let _ = write!(self.0, "{{{}}}", list.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value as f64);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// What is not known is left out: an absent metric can be alerted on, a made-up one misleads.
    fn known(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.gauge(name, help, value);
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// All metrics of a run.
pub fn render(source: &StatusSource) -> String {
    let mut out = Families(String::new());
    run(&mut out, source);
    copy(&mut out, source);
    replay(&mut out, source);
    throttle(&mut out, source);
    cutover(&mut out, source);
    out.0
}

fn run(out: &mut Families, source: &StatusSource) {
    let status = source.snapshot();
    out.family("info", "gauge", "The run: its table, server and version.");
    let version = env!("CARGO_PKG_VERSION");
    out.sample(
        "info",
        &[
            ("table", &status.table),
            ("server", &status.server),
            ("version", version),
        ],
        1.0,
    );
    out.family("phase", "gauge", "1 for the present phase.");
    out.sample("phase", &[("phase", &status.phase)], 1.0);
    out.gauge("elapsed_seconds", "Time since the start.", status.elapsed_s);
    out.known(
        "forecast_p50_seconds",
        "Time until the end, as likely earlier as later.",
        status.forecast.map(|forecast| forecast.p50_s),
    );
    out.known(
        "forecast_p90_seconds",
        "Time until the end, later only in one of ten cases.",
        status.forecast.map(|forecast| forecast.p90_s),
    );
    out.known(
        "checkpoint_age_seconds",
        "Time since the last checkpoint.",
        source.checkpoint_age().map(|age| age.as_secs_f64()),
    );
    out.counter(
        "retries_total",
        "Statements tried again after a deadlock or a lock wait timeout.",
        status.retries,
    );
}

fn copy(out: &mut Families, source: &StatusSource) {
    let progress = &source.progress;
    let status = source.snapshot();
    out.counter(
        "copy_rows_total",
        "Rows that the copy has read.",
        status.rows_copied,
    );
    out.counter(
        "copy_inserted_rows_total",
        "Rows that the copy put into the ghost.",
        progress.rows_inserted.get(),
    );
    out.gauge(
        "copy_expected_rows",
        "Rows to copy, estimated.",
        status.rows_total as f64,
    );
    out.gauge(
        "copy_done_ratio",
        "Share of the copy that is done.",
        status.percent / 100.0,
    );
    out.counter("copy_chunks_total", "Chunks copied.", progress.chunks.get());
    out.gauge(
        "copy_chunk_rows",
        "Rows of the last chunk.",
        status.chunk_rows as f64,
    );
    out.gauge(
        "copy_chunk_seconds",
        "Duration of the last chunk.",
        status.chunk_ms / 1e3,
    );
    out.counter(
        "verified_rows_total",
        "Rows compared.",
        status.rows_verified,
    );
}

fn replay(out: &mut Families, source: &StatusSource) {
    let progress = &source.progress;
    let status = source.snapshot();
    out.counter(
        "changes_received_total",
        "Row changes received from the binlog.",
        status.changes_received,
    );
    out.counter(
        "changes_applied_total",
        "Row changes that are in the ghost.",
        status.changes_applied,
    );
    out.gauge(
        "backlog_rows",
        "Keys waiting for replay.",
        status.backlog_rows as f64,
    );
    out.gauge(
        "backlog_bytes",
        "Bytes waiting for replay.",
        status.backlog_bytes as f64,
    );
    out.known(
        "replay_lag_seconds",
        "How far the ghost is behind the original.",
        status.replay_lag_s,
    );
    out.known(
        "heartbeat_age_seconds",
        "Time since the last heartbeat came through the binlog.",
        status.heartbeat_age_s,
    );
    out.known(
        "binlog_kept_seconds",
        "How long the server will still keep the binlog that a restart needs.",
        status.binlog_kept_s,
    );
    out.known(
        "index_build_done_ratio",
        "How much of the building of indexes is done by the server's estimate, 0 to 1.",
        status.index_percent.map(|percent| percent / 100.0),
    );
    out.known(
        "replica_lag_seconds",
        "The worst replica's lag.",
        status.replica_lag_s,
    );
    out.counter(
        "binlog_bytes_total",
        "Bytes of binlog read.",
        progress.binlog_bytes.get(),
    );
    out.counter(
        "binlog_reconnects_total",
        "Reconnects of the binlog reader.",
        progress.reconnects.get(),
    );
}

fn throttle(out: &mut Families, source: &StatusSource) {
    let status = source.snapshot();
    out.gauge(
        "speed_ratio",
        "The copy's share of its full speed.",
        status.speed,
    );
    out.gauge(
        "throttled",
        "1 while the copy is stopped.",
        if status.throttled.is_empty() {
            0.0
        } else {
            1.0
        },
    );
    let Some(throttle) = source.throttle() else {
        return;
    };
    let report = throttle.journal.report();
    out.family(
        "throttle_seconds_total",
        "counter",
        "Time that the copy was stopped, by the worst reason.",
    );
    for (name, share) in &report.by_source {
        out.sample("throttle_seconds_total", &[("reason", name)], share.seconds);
    }
    out.family(
        "throttle_stops_total",
        "counter",
        "Stops of the copy, by reason.",
    );
    for (name, share) in &report.by_source {
        out.sample(
            "throttle_stops_total",
            &[("reason", name)],
            share.stops as f64,
        );
    }
}

fn cutover(out: &mut Families, source: &StatusSource) {
    let attempts = source.attempts();
    out.counter(
        "cutover_attempts_total",
        "Attempts to cut over.",
        source.progress.cutover_attempts.get().max(attempts.count),
    );
    out.family(
        "cutover_stall_seconds",
        "histogram",
        "How long the application may have waited in an attempt.",
    );
    for (bound, count) in STALL_BUCKETS_S.iter().zip(attempts.buckets) {
        out.sample(
            "cutover_stall_seconds_bucket",
            &[("le", &bound.to_string())],
            count as f64,
        );
    }
    let count = attempts.count as f64;
    out.sample("cutover_stall_seconds_bucket", &[("le", "+Inf")], count);
    out.sample("cutover_stall_seconds_sum", &[], attempts.stall_sum_s);
    out.sample("cutover_stall_seconds_count", &[], count);
    out.gauge(
        "cutover_lock_max_seconds",
        "The longest time that the original was locked.",
        source.progress.lock_micros_max.get() as f64 / 1e6,
    );
    let postponed = source.tunables.borrow().postpone_cutover;
    out.gauge(
        "cutover_postponed",
        "1 while the operator holds the cut-over back.",
        if postponed { 1.0 } else { 0.0 },
    );
    let left = source.snapshot().revertible.map_or(0.0, |now| now.left_s);
    out.gauge(
        "revertible_seconds",
        "For how long still the run is kept revertible, after its swap.",
        left,
    );
    out.gauge(
        "misfit_rows",
        "Rows that would not fit the old definition.",
        source.progress.misfits.get() as f64,
    );
    let lag = source.progress.replay_lag_micros.load(Ordering::Relaxed);
    out.gauge(
        "replay_live",
        "1 once a heartbeat has come through the binlog.",
        if lag >= 0 { 1.0 } else { 0.0 },
    );
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
