//! The other end of the socket: `changeling ctl`.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::failure::{Failure, Result};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);
/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Sends one line to a running migration's socket and returns its answer, without the last newline.
///
/// # Errors
/// Nobody listens there, it does not answer within 30 seconds, or it refuses the command.
pub async fn send(path: &Path, line: &str) -> Result<String> {
    let what = path.display().to_string();
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| no_listener(&what, &error))?;
    exchange(stream, &format!("{line}\n"), &what).await
}

/// The same over TCP, with the token that the migration was started with.
///
/// # Errors
/// As [`send`].
pub async fn send_tcp(address: &str, token: &str, line: &str) -> Result<String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| no_listener(address, &error))?;
    exchange(stream, &format!("token {token}\n{line}\n"), address).await
}

fn no_listener(what: &str, error: &std::io::Error) -> Failure {
    Failure::failed(format!("no migration listens on {what}: {error}")).remedy(
        "check that it runs and that --control-socket (or --database and --table) is the same as there",
    )
}

async fn exchange<S>(mut stream: S, request: &str, what: &str) -> Result<String>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let talk = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        (&mut stream)
            .take(ANSWER_BYTES_MAX)
            .read_to_string(&mut answer)
            .await?;
        std::io::Result::Ok(answer)
    };
    // Dropping it half-way closes the connection, which the other end takes for the end of the talk.
    match tokio::time::timeout(LIMIT, talk).await {
        Ok(Ok(answer)) => judge(answer.trim_end_matches('\n')),
        Ok(Err(error)) => Err(Failure::failed(format!("talk to {what}: {error}"))),
        Err(_elapsed) => Err(Failure::failed(format!(
            "no answer on {what} within {}",
            humantime::format_duration(LIMIT)
        ))
        .remedy("the migration may be stopped or overloaded: look at its process")),
    }
}

/// An answer that begins with `error: ` is one.
fn judge(answer: &str) -> Result<String> {
    let Some(refusal) = answer.strip_prefix("error: ") else {
        return Ok(answer.to_string());
    };
    Err(match refusal.split_once("\nhint: ") {
        Some((cause, remedy)) => Failure::failed(cause).remedy(remedy),
        None => Failure::failed(refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_failures() {
        assert_eq!(judge("all is well").unwrap(), "all is well");
        let refused = judge("error: no such setting\nhint: there are others").unwrap_err();
        assert_eq!(refused.cause(), "no such setting");
        assert_eq!(refused.remedy_text(), Some("there are others"));
    }
}
