//! Metrics pushed to a StatsD server by UDP, under gh-ost's names, for dashboards that know those.
//!
//! The form is DogStatsD's: `gh_ost.row_copy.rows_copied:12|g|#team:db`. Sending never holds a run up,
//! and a server that does not listen is no error: UDP does not tell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::gh_ost_line::BACKLOG_MAX;
use super::snapshot::StatusSnapshot;
use super::status::StatusSource;
use crate::failure::{Context, Failure, Result};
use crate::progress::Phase;
use crate::settings::StatsdTarget;

/// Before every name.
const NAMESPACE: &str = "gh_ost.";
/// Between two rounds of gauges.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of a datagram, so that it fits into an Ethernet frame.
const DATAGRAM_BYTES: usize = 1432;

/// Sends them.
#[derive(Debug)]
pub struct Statsd {
    socket: UdpSocket,
    tags: Vec<String>,
    seen: Seen,
}

/// What the last round saw.
#[derive(Debug, Default)]
struct Seen {
    /// Since when the copy is held back, and by what.
    throttled: Option<(Instant, String)>,
    attempts: u64,
    cut_over_since: Option<Instant>,
}

impl Statsd {
    /// Looks the address up.
    ///
    /// # Errors
    /// Usage: an address that cannot be found.
    pub async fn connect(target: &StatsdTarget) -> Result<Statsd> {
        let bad = |why: String| {
            Failure::usage(format!("cannot send metrics to {}: {why}", target.address))
                .remedy("write HOST:PORT, for example `127.0.0.1:8125`")
        };
        let mut found = tokio::net::lookup_host(&target.address)
            .await
            .map_err(|error| bad(error.to_string()))?;
        let address = found.next().ok_or_else(|| bad("no address".to_string()))?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let connected = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            Ok::<UdpSocket, std::io::Error>(socket)
        };
        Ok(Statsd {
            socket: connected
                .await
                .map_err(|error| bad(error.to_string()))
                .doing(|| "open a socket for metrics")?,
            tags: target.tags.clone(),
            seen: Seen::default(),
        })
    }

    /// Sends a round every second until the run ends, and a last one then.
    ///
    /// # Errors
    /// None.
    pub async fn run(mut self, source: Arc<StatusSource>, cancel: CancellationToken) -> Result<()> {
        loop {
            let over = tokio::select! {
                () = cancel.cancelled() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let phase = source.progress.phase().0;
            let lines = self.seen.round(&source.snapshot(), phase, over, &self.tags);
            self.send(&lines).await;
            if over {
                return Ok(());
            }
        }
    }

    async fn send(&self, lines: &[String]) {
        let mut datagram = String::new();
        for line in lines {
            if !datagram.is_empty() && datagram.len() + line.len() >= DATAGRAM_BYTES {
                self.send_one(&datagram).await;
                datagram.clear();
            }
            if !datagram.is_empty() {
                datagram.push('\n');
            }
            datagram.push_str(line);
        }
        self.send_one(&datagram).await;
    }

    async fn send_one(&self, datagram: &str) {
        if let Err(error) = self.socket.send(datagram.as_bytes()).await {
            tracing::debug!(event = "statsd", "metrics not sent: {error}");
        }
    }
}

impl Seen {
    fn round(
        &mut self,
        status: &StatusSnapshot,
        phase: Phase,
        over: bool,
        tags: &[String],
    ) -> Vec<String> {
        let backlog = status.backlog_rows as f64;
        let capacity = BACKLOG_MAX as f64;
        let mut lines: Vec<String> = [
            ("row_copy.rows_copied", status.rows_copied as f64),
            ("row_copy.rows_estimate", status.rows_total as f64),
            ("dml.events_applied", status.changes_applied as f64),
            ("binlog.backlog_size", backlog),
            ("binlog.backlog_capacity", capacity),
            ("binlog.backlog_utilization", backlog / capacity),
            (
                "lag.replication_seconds",
                status.replica_lag_s.or(status.replay_lag_s).unwrap_or(0.0),
            ),
            (
                "lag.heartbeat_seconds",
                status.heartbeat_age_s.unwrap_or(0.0),
            ),
            (
                "throttle.active",
                f64::from(u8::from(!status.throttled.is_empty())),
            ),
        ]
        .into_iter()
        .map(|(name, value)| metric(name, value, 'g', tags, &[]))
        .collect();
        self.throttling(status, over, tags, &mut lines);
        self.cut_over(status, phase, over, tags, &mut lines);
        lines
    }

    /// A pause is told when it is over.
    fn throttling(
        &mut self,
        status: &StatusSnapshot,
        over: bool,
        tags: &[String],
        lines: &mut Vec<String>,
    ) {
        let reason = status.throttled.first().map(|now| now.source.to_string());
        let same = self.throttled.as_ref().map(|(_, reason)| reason) == reason.as_ref();
        if same && !over {
            return;
        }
        let now = Instant::now();
        if let Some((since, reason)) = self.throttled.take() {
            let own = [format!("reason:{reason}")];
            let millis = now.duration_since(since).as_millis() as f64;
            lines.push(metric(
                "throttle.duration_milliseconds",
                millis,
                'h',
                tags,
                &own,
            ));
            lines.push(metric("throttle.events_total", 1.0, 'c', tags, &own));
        }
        self.throttled = reason.map(|reason| (now, reason));
    }

    fn cut_over(
        &mut self,
        status: &StatusSnapshot,
        phase: Phase,
        over: bool,
        tags: &[String],
        lines: &mut Vec<String>,
    ) {
        let now = Instant::now();
        if phase == Phase::CutOver {
            self.cut_over_since.get_or_insert(now);
        }
        // The last attempt's outcome is known at the end only.
        let known = match over {
            true => status.cutover_attempts,
            false => status.cutover_attempts.saturating_sub(1),
        };
        let outcome = match phase {
            Phase::Finish => "success",
            _ => "abort",
        };
        while self.attempts < known {
            self.attempts += 1;
            let last = over && self.attempts == known;
            let own = [format!("outcome:{}", if last { outcome } else { "retry" })];
            lines.push(metric("cut_over.attempts_total", 1.0, 'c', tags, &own));
        }
        if let (true, Some(since)) = (over, self.cut_over_since) {
            let own = [format!("outcome:{outcome}")];
            let millis = now.duration_since(since).as_millis() as f64;
            let name = "cut_over.total_duration_milliseconds";
            lines.push(metric(name, millis, 'h', tags, &own));
        }
    }
}

/// `gh_ost.name:1.5|g|#tag,tag`
fn metric(name: &str, value: f64, kind: char, tags: &[String], own: &[String]) -> String {
    let all: Vec<&str> = tags.iter().chain(own).map(String::as_str).collect();
    let tags = match all.is_empty() {
        true => String::new(),
        false => format!("|#{}", all.join(",")),
    };
    format!("{NAMESPACE}{name}:{value}|{kind}{tags}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Names, TableName};
    use crate::progress::Progress;
    use crate::tunables::Tunables;

    #[test]
    fn metrics_are_written_as_dogstatsd_reads_them() {
        assert_eq!(
            metric("throttle.active", 1.0, 'g', &[], &[]),
            "gh_ost.throttle.active:1|g"
        );
        let tags = ["team:db".to_string()];
        assert_eq!(
            metric("a.b", 0.25, 'h', &tags, &["reason:lag".to_string()]),
            "gh_ost.a.b:0.25|h|#team:db,reason:lag"
        );
    }

    #[tokio::test]
    async fn a_listener_gets_all_gauges() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = StatsdTarget {
            address: listener.local_addr().unwrap().to_string(),
            tags: vec!["team:db".to_string()],
        };
        let names = Names::new(&TableName::new("d", "t"), None, None);
        let limits = tokio::sync::watch::channel(Tunables::default()).1;
        let progress = Arc::new(Progress::default());
        let source = StatusSource::new(names, "ADD c INT", "h:3306", progress, limits);
        let source = Arc::new(source);
        source.progress.rows_copied.set(12);
        let cancel = CancellationToken::new();
        cancel.cancel();
        let statsd = Statsd::connect(&target).await.unwrap();
        statsd.run(source, cancel).await.unwrap();
        let mut bytes = [0; 4096];
        let received = tokio::time::timeout(Duration::from_secs(30), listener.recv(&mut bytes));
        let length = received.await.unwrap().unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(
            text.contains("gh_ost.row_copy.rows_copied:12|g|#team:db\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 9, "{text}");
        let wrong = StatsdTarget {
            address: "no port".to_string(),
            tags: Vec::new(),
        };
        assert!(Statsd::connect(&wrong).await.is_err());
    }
}
