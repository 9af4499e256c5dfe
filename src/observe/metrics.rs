//! Metrics for Prometheus, on a port of their own: `/metrics` in its text format 0.0.4, `/status` as the
//! JSON of `ctl status json`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::exposition::render;
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

#[cfg(test)]
mod tests {
    use super::super::status::tests::source;
    use super::*;

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
