//! The HTTP check, as freno's clients do it: a HEAD request; an answer other than 200 pauses the copy.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Common;
use super::reading::Reading;
use crate::failure::{Failure, Result};

pub(super) const SLOT: &str = "throttle URL";
const SOURCE: &str = "http";
/// Of the answer only the first line is of interest.
const ANSWER_BYTES_MAX: usize = 1024;

/// An `http://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Name or address, without brackets.
    pub host: String,
    /// 80 if not given.
    pub port: u16,
    /// With the query; begins with `/`.
    pub path: String,
}

/// Reads an address.
///
/// # Errors
/// Anything but `http://HOST[:PORT][/PATH]`: usage.
pub fn parse_url(text: &str) -> Result<Url> {
    let bad = |why: &str| {
        Failure::usage(format!("`{text}` is no address for the HTTP check: {why}"))
            .remedy("give http://HOST[:PORT]/PATH")
    };
    if text.starts_with("https://") {
        return Err(bad("https is not supported"));
    }
    let rest = text
        .strip_prefix("http://")
        .ok_or_else(|| bad("it does not begin with http://"))?;
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad("it has blanks"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => (&rest[..at], rest[at..].to_string()),
        Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
        None => (rest, "/".to_string()),
    };
    if authority.contains('@') {
        return Err(bad("user names are not supported"));
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| bad("`]` is missing"))?;
        (host, port.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(bad("the host is missing"));
    }
    let port = match port {
        None => 80,
        Some(port) => port.parse().map_err(|_| bad("the port is no number"))?,
    };
    Ok(Url {
        host: host.to_string(),
        port,
        path,
    })
}

/// Asks with HEAD and returns the status code.
///
/// # Errors
/// No connection, no answer within `limit`, or an answer that is not HTTP.
pub async fn head(url: &Url, limit: Duration) -> Result<u16> {
    // Dropped half-way a socket is closed: this future may be cancelled.
    match tokio::time::timeout(limit, exchange(url)).await {
        Err(_elapsed) => Err(Failure::failed(format!(
            "no answer within {}",
            humantime::format_duration(limit)
        ))),
        Ok(Err(error)) => Err(Failure::failed(error.to_string())),
        Ok(Ok(answer)) => {
            status_of(&answer).ok_or_else(|| Failure::failed("the answer is not HTTP".to_string()))
        }
    }
}

async fn exchange(url: &Url) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    let host = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host.clone()
    };
    let request = format!(
        "HEAD {} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: changeling\r\nConnection: close\r\n\r\n",
        url.path, url.port
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut part = [0u8; 256];
    while answer.len() < ANSWER_BYTES_MAX && !answer.contains(&b'\n') {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&part[..read]);
    }
    Ok(answer)
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\n').next()?).into_owned();
    let rest = line.strip_prefix("HTTP/")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

pub(super) async fn run(mut common: Common) -> Result<()> {
    loop {
        let address = common.tunables.borrow_and_update().throttle_http.clone();
        let readings = match address {
            None => Vec::new(),
            Some(address) => check(&address, &common).await.into_iter().collect(),
        };
        let valid = common.plan.http_timeout + Duration::from_secs(2) + common.plan.http_interval;
        common.board.post(SLOT, SOURCE, readings, valid);
        if !common.rest(common.plan.http_interval).await {
            return Ok(());
        }
    }
}

async fn check(address: &str, common: &Common) -> Option<Reading> {
    let result = match parse_url(address) {
        Ok(url) => head(&url, common.plan.http_timeout).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok(200) => None,
        Ok(status) => Some(Reading::trouble(
            SOURCE,
            address,
            format!("answered {status}"),
        )),
        Err(_) if common.plan.http_errors_pass => None,
        Err(failure) => Some(Reading::trouble(
            SOURCE,
            address,
            format!("cannot be asked: {failure}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, host: &str, port: u16, path: &str| {
            let url = parse_url(text).unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.path.as_str()),
                (host, port, path)
            );
        };
        check("http://freno", "freno", 80, "/");
        check(
            "http://h:8111/check/gh-ost/mysql/c1?p=low#x",
            "h",
            8111,
            "/check/gh-ost/mysql/c1?p=low",
        );
        check("http://[::1]:9?x", "::1", 9, "/?x");
        for bad in [
            "https://h/",
            "h/check",
            "http://",
            "http://h:x/",
            "http://u@h/",
            "http://h/a b",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_status_is_in_the_first_line() {
        assert_eq!(
            status_of(b"HTTP/1.1 429 Too Many Requests\r\nX: y\r\n"),
            Some(429)
        );
        assert_eq!(status_of(b"HTTP/1.0 200\r\n"), Some(200));
        assert_eq!(status_of(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status_of(b""), None);
    }
}
