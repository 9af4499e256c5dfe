//! Metrics for Prometheus, on a port of their own: `/metrics` in its text format 0.0.4, `/status` as the
//! JSON of `ctl status json`.
//!
//! Names follow its conventions: base units (seconds, bytes), `_total` for counters, labels for what can
//! be added up. Names are only ever added.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::recorder::STALL_BUCKETS_S;
use super::status::StatusSource;
use crate::failure::{Failure, Result};

/// How long a client may take.
const TALK_LIMIT: Duration = Duration::from_secs(10);
/// More at once wait.
const CLIENTS_MAX: usize = 16;
/// Longer requests are refused.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// A bound port.
#[derive(Debug)]
pub struct MetricsPort(TcpListener);

/// Binds the port, so that a wrong one shows at the start.
///
/// # Errors
/// It cannot be bound.
pub async fn bind(address: &str) -> Result<MetricsPort> {
    TcpListener::bind(address)
        .await
        .map(MetricsPort)
        .map_err(|error| {
            Failure::usage(format!("cannot serve metrics on {address}: {error}"))
                .remedy("give a free address with --metrics-listen, for example 127.0.0.1:9105")
        })
}

impl MetricsPort {
    /// Where it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> Result<SocketAddr> {
        self.0
            .local_addr()
            .map_err(|error| Failure::failed(format!("look at the metrics port: {error}")))
    }

    /// Answers until the run ends.
    ///
    /// # Errors
    /// None; a client's trouble is its own.
    pub async fn serve(self, source: Arc<StatusSource>, cancel: CancellationToken) -> Result<()> {
        let mut talks = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                accepted = self.0.accept(), if talks.len() < CLIENTS_MAX => match accepted {
                    Ok((stream, _)) => talks.push(talk(stream, &source)),
                    Err(error) => {
                        tracing::debug!(event = "metrics_accept", "cannot accept: {error}");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
                Some(()) = talks.next(), if !talks.is_empty() => {}
            }
        }
    }
}

async fn talk(mut stream: TcpStream, source: &StatusSource) {
    let _ = tokio::time::timeout(TALK_LIMIT, async {
        let mut request = Vec::new();
        let mut part = [0u8; 1024];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
            let read = stream.read(&mut part).await?;
            if read == 0 {
                break;
            }
            request.extend_from_slice(&part[..read]);
        }
        let answer = answer(&request, source);
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

fn answer(request: &[u8], source: &StatusSource) -> String {
    let line = String::from_utf8_lossy(request.split(|b| *b == b'\r').next().unwrap_or_default())
        .into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        (Some("GET" | "HEAD"), "/metrics") => (
            "200 OK",
            "text/plain; version=0.0.4; charset=utf-8",
            render(source),
        ),
        (Some("GET" | "HEAD"), "/status") => match serde_json::to_string(&source.snapshot()) {
            Ok(json) => ("200 OK", "application/json", json + "\n"),
            Err(error) => ("500 Internal Server Error", TEXT, format!("{error}\n")),
        },
        (Some("GET" | "HEAD"), _) => (
            "404 Not Found",
            TEXT,
            "see /metrics and /status\n".to_string(),
        ),
        _ => ("405 Method Not Allowed", TEXT, String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if method == Some("HEAD") {
        head
    } else {
        head + &body
    }
}

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
mod tests {
    use std::collections::BTreeSet;

    use super::super::status::tests::source;
    use super::*;

    #[test]
    fn the_text_is_well_formed() {
        let source = source();
        source.attempted(Duration::from_millis(20), "over budget");
        source.attempted(Duration::from_millis(300), "swapped");
        source.progress.rows_copied.set(1234);
        let text = render(&source);
        let mut families = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(families.insert(name.to_string()), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                current = name.to_string();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&current), "{line} is not of {current}");
                let (_, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
            }
        }
        assert!(text.contains("changeling_copy_rows_total 1234\n"));
        assert!(text.contains("changeling_cutover_stall_seconds_bucket{le=\"0.05\"} 1\n"));
        assert!(text.contains("changeling_cutover_stall_seconds_bucket{le=\"+Inf\"} 2\n"));
        assert!(text.contains("changeling_info{table=\"d.t\",server=\"h:3306\""));
        assert!(!text.contains("replica_lag"), "unknown values are left out");
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    /// What `promtool check metrics` and Prometheus' page on naming ask for: base units, no type in the
    /// name, a help text, endings that are kept for what they mean.
    #[test]
    fn names_follow_the_conventions() {
        let page = include_str!("../../docs/metrics.md");
        for name in families() {
            let bare = name.strip_prefix("changeling_").unwrap();
            assert!(
                bare.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            for word in bare.split('_') {
                let wrong = [
                    "ms",
                    "millis",
                    "micros",
                    "minutes",
                    "hours",
                    "percent",
                    "kb",
                    "mib",
                    "gauge",
                    "counter",
                    "histogram",
                ];
                assert!(!wrong.contains(&word), "{name}: {word}");
            }
            for ending in ["_count", "_sum", "_bucket"] {
                assert!(!name.ends_with(ending), "{name}");
            }
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")));
            let is_counter = row.is_some_and(|row| row.contains("| counter |"));
            assert_eq!(
                is_counter,
                name.ends_with("_total"),
                "{name} in docs/metrics.md"
            );
        }
        let text = render(&source());
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            let help = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("# HELP {name} ")))
                .unwrap();
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        }
    }

    /// What Grafana needs to load a dashboard and to draw its panels.
    #[test]
    fn the_dashboard_is_whole() {
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
        let variables: Vec<&str> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
            assert!(panel["type"].is_string(), "{title}");
            let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{title}");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(cells.insert((x, y)), "{title} lies on another panel");
                }
            }
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                assert!(query.contains("changeling_"), "{title}: {query}");
                let opened = query.matches('(').count() + query.matches('{').count();
                let closed = query.matches(')').count() + query.matches('}').count();
                assert_eq!(opened, closed, "{title}: {query}");
                for variable in query.split('$').skip(1) {
                    let name: String = variable
                        .trim_start_matches('{')
                        .chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                        .collect();
                    let is_known = variables.contains(&name.as_str()) || name.starts_with("__");
                    assert!(is_known, "{title}: ${name}");
                }
            }
        }
    }

    /// All families, with a throttle and everything known.
    fn families() -> BTreeSet<String> {
        let source = source();
        source.checkpoint_written();
        for micros in [
            &source.progress.binlog_kept_micros,
            &source.progress.replay_lag_micros,
            &source.progress.replica_lag_micros,
        ] {
            micros.store(1, Ordering::Relaxed);
        }
        source.progress.heartbeat_at_micros.set(1);
        *source.progress.index_build.lock().unwrap() = Some(crate::progress::IndexBuild {
            stage: "sorting".to_string(),
            done: Some(0.5),
        });
        source.attach(crate::throttle::Throttle {
            pace: tokio::sync::watch::channel(crate::pace::Pace::default()).1,
            journal: Arc::default(),
            replicas: tokio::sync::watch::channel(Default::default()).1,
        });
        let text = render(&source);
        text.lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .map(String::from)
            // A forecast needs a run of some seconds.
            .chain(["p50", "p90"].map(|p| format!("changeling_forecast_{p}_seconds")))
            .collect()
    }

    #[test]
    fn documents_have_the_metrics_there_are() {
        let families = families();
        let page = include_str!("../../docs/metrics.md");
        let documented: BTreeSet<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|name| name.starts_with("changeling_"))
            .map(String::from)
            .collect();
        assert_eq!(documented, families);
        for (file, text) in [
            ("alerts.yml", include_str!("../../docs/alerts.yml")),
            ("grafana.json", include_str!("../../docs/grafana.json")),
        ] {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            for word in text.split(|c: char| !is_part(c)) {
                let name = word.trim_end_matches("_bucket");
                if name.starts_with("changeling_") {
                    assert!(families.contains(name), "{file} has {name}");
                }
            }
        }
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
        assert_eq!(dashboard["panels"].as_array().unwrap().len(), 14);
    }

    #[tokio::test]
    async fn clients_are_answered() {
        let port = bind("127.0.0.1:0").await.unwrap();
        let address = port.address().unwrap();
        assert!(bind(&address.to_string()).await.is_err());
        let cancel = CancellationToken::new();
        let serve = port.serve(Arc::new(source()), cancel.clone());
        let ask = async |request: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let client = async {
            let metrics = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let status = ask("GET /status HTTP/1.1\r\n\r\n").await;
            let nothing = ask("GET / HTTP/1.1\r\n\r\n").await;
            let wrong = ask("POST /metrics HTTP/1.1\r\n\r\n").await;
            cancel.cancel();
            [metrics, status, nothing, wrong]
        };
        let (served, [metrics, status, nothing, wrong]) = tokio::join!(serve, client);
        served.unwrap();
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
        let (_, json) = status.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["table"], "d.t");
        assert!(nothing.starts_with("HTTP/1.1 404") && wrong.starts_with("HTTP/1.1 405"));
    }
}
