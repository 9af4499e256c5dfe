//! Listens for lines: on a Unix socket that only its owner can use, and on TCP with a token.
//!
//! One line and one answer a connection.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, FailureKind, Result};

/// Turns a line (without its end) into an answer (without a newline at its end).
pub type Handler = Arc<dyn Fn(String) -> BoxFuture<'static, String> + Send + Sync>;

/// Longer lines are refused.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a client may take for its line, and to take the answer.
const TALK_LIMIT: Duration = Duration::from_secs(10);
/// More clients at once wait in the system's queue.
const CLIENTS_MAX: usize = 16;

/// A bound Unix socket; its file is removed when dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Listener {
    /// Binds a socket that only the owner can use (mode 0600).
    ///
    /// # Errors
    /// Refused: the folder may be written by others without being sticky; something that is not a
    /// socket is in the way; another migration listens there.
    pub fn bind(path: &Path) -> Result<Listener> {
        let refuse = |why: String| {
            Failure::new(
                FailureKind::Refused,
                format!("cannot open the control socket {}: {why}", path.display()),
            )
            .remedy("give another path with --control-socket")
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        check_parent(parent).map_err(refuse)?;
        remove_dead(path).map_err(refuse)?;
        // Nobody may connect between bind and chmod: it is bound in a private folder under another
        // name, and comes to its place by rename.
        let private = parent.join(format!(
            ".cl-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        ));
        let bound = bind_private(&private, path);
        let _ = fs::remove_dir_all(&private);
        let listener = bound.map_err(|error| refuse(error.to_string()))?;
        Ok(Listener {
            listener,
            path: path.to_path_buf(),
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until the run ends.
    ///
    /// # Errors
    /// None; a client's trouble is its own.
    pub async fn serve(self, handler: Handler, cancel: CancellationToken) -> Result<()> {
        let mut talks = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                accepted = self.listener.accept(), if talks.len() < CLIENTS_MAX => match accepted {
                    Ok((stream, _)) => talks.push(talk(stream, handler.clone(), None)),
                    Err(error) => pause_after(&error, &cancel).await,
                },
                Some(()) = talks.next(), if !talks.is_empty() => {}
            }
        }
        finish(talks).await;
        Ok(())
    }
}

/// Answers on TCP. Each connection's first line is `token TOKEN`; a wrong one ends it.
///
/// # Errors
/// The address is not on the loopback interface, the token is too short, or it cannot be bound.
pub async fn bind_tcp(address: SocketAddr, token: &str) -> Result<TcpControl> {
    const TOKEN_CHARS_MIN: usize = 16;
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "the control port {address} is not on the loopback interface"
        ))
        .remedy("use 127.0.0.1 and a tunnel: commands and token go in clear text"));
    }
    if token.chars().count() < TOKEN_CHARS_MIN {
        return Err(Failure::usage(format!(
            "the control token has fewer than {TOKEN_CHARS_MIN} characters"
        ))
        .remedy("give a long random one"));
    }
    Ok(TcpControl {
        listener: listen(address).await?,
        token: Some(token.into()),
    })
}

/// Answers on TCP without a token, as gh-ost's `--serve-tcp-port` does; on the loopback interface only.
///
/// # Errors
/// The port cannot be bound.
pub async fn bind_local_tcp(port: u16) -> Result<TcpControl> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Ok(TcpControl {
        listener: listen(address).await?,
        token: None,
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("cannot listen on {address}: {error}")))
}

/// A bound control port.
pub struct TcpControl {
    listener: TcpListener,
    token: Option<Arc<str>>,
}

impl TcpControl {
    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(|error| Failure::failed(format!("look at the control port: {error}")))
    }

    /// Answers until the run ends.
    ///
    /// # Errors
    /// None; a client's trouble is its own.
    pub async fn serve(self, handler: Handler, cancel: CancellationToken) -> Result<()> {
        let mut talks = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                accepted = self.listener.accept(), if talks.len() < CLIENTS_MAX => match accepted {
                    Ok((stream, _)) => {
                        talks.push(talk(stream, handler.clone(), self.token.clone()));
                    }
                    Err(error) => pause_after(&error, &cancel).await,
                },
                Some(()) = talks.next(), if !talks.is_empty() => {}
            }
        }
        finish(talks).await;
        Ok(())
    }
}

/// Lets the talks that have begun come to their end: the answer to the command that ended the run is
/// among them.
async fn finish<F: Future<Output = ()>>(mut talks: FuturesUnordered<F>) {
    const LIMIT: Duration = Duration::from_secs(2);
    let rest = async { while talks.next().await.is_some() {} };
    let _ = tokio::time::timeout(LIMIT, rest).await;
}

/// Accepting fails when file descriptors run out; that passes.
async fn pause_after(error: &std::io::Error, cancel: &CancellationToken) {
    tracing::warn!(
        event = "control_accept",
        "cannot accept a control connection: {error}"
    );
    tokio::select! {
        () = cancel.cancelled() => {}
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
}

/// One client: reads its line, writes the answer. Its own errors (it went away) are nobody's.
async fn talk<S>(stream: S, handler: Handler, token: Option<Arc<str>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = tokio::time::timeout(TALK_LIMIT, async {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut lines = BufReader::new(reader.take(LINE_BYTES_MAX));
        if let Some(token) = token {
            let first = read_line(&mut lines).await?;
            let given = first
                .as_deref()
                .and_then(|line| line.strip_prefix("token "));
            if !given.is_some_and(|given| same(given, &token)) {
                return writer.write_all(b"error: wrong token\n").await;
            }
        }
        if let Some(line) = read_line(&mut lines).await? {
            let mut answer = handler(line).await;
            answer.push('\n');
            writer.write_all(answer.as_bytes()).await?;
        }
        writer.shutdown().await
    })
    .await;
}

async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).await?;
    Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_string()))
}

/// Compares without telling by its duration where the difference is.
fn same(given: &str, token: &str) -> bool {
    given.len() == token.len()
        && given
            .bytes()
            .zip(token.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

/// The folder must be such that nobody else can put another socket into our place.
fn check_parent(parent: &Path) -> std::result::Result<(), String> {
    const STICKY: u32 = 0o1000;
    const OTHERS_WRITE: u32 = 0o022;
    let meta = fs::metadata(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    if !meta.is_dir() {
        return Err(format!("{} is no folder", parent.display()));
    }
    if meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0 {
        return Err(format!(
            "others may write into {} and it is not sticky",
            parent.display()
        ));
    }
    Ok(())
}

/// Removes a socket that nobody listens on any more.
fn remove_dead(path: &Path) -> std::result::Result<(), String> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !meta.file_type().is_socket() {
        return Err("something that is not a socket is in the way".to_string());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another migration listens there".to_string()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| error.to_string())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn bind_private(private: &Path, path: &Path) -> std::io::Result<UnixListener> {
    fs::DirBuilder::new().mode(0o700).create(private)?;
    let inner = private.join("s");
    let listener = UnixListener::bind(&inner)?;
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o600))?;
    // A link does not replace what somebody has put there in the meantime, a rename would.
    fs::hard_link(&inner, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("cl-{name}-{}", fastrand::u32(..)));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        path
    }

    fn echo() -> Handler {
        Arc::new(|line| Box::pin(async move { format!("heard {line}") }))
    }

    #[tokio::test]
    async fn a_line_is_answered_and_the_file_goes() {
        let folder = folder("socket");
        let path = folder.join("s.sock");
        let listener = Listener::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Listener::bind(&path).is_err(), "somebody listens");
        let cancel = CancellationToken::new();
        let serve = listener.serve(echo(), cancel.clone());
        let client = async {
            let answer = super::super::client::send(&path, "status").await.unwrap();
            cancel.cancel();
            answer
        };
        let (served, answer) = tokio::join!(serve, client);
        served.unwrap();
        assert_eq!(answer, "heard status");
        assert!(!path.exists());
        assert!(super::super::client::send(&path, "status").await.is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn only_dead_sockets_are_replaced() {
        let folder = folder("dead");
        let path = folder.join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listener::bind(&path).unwrap());
        fs::write(&path, "x").unwrap();
        let error = Listener::bind(&path).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Listener::bind(&path).is_err(), "anybody could replace it");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn gh_osts_port_takes_a_bare_line() {
        let control = bind_local_tcp(0).await.unwrap();
        let at = control.address().unwrap();
        assert!(at.ip().is_loopback());
        let cancel = CancellationToken::new();
        let serve = control.serve(echo(), cancel.clone());
        let client = async {
            let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
            stream.write_all(b"status\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            cancel.cancel();
            answer
        };
        let (served, answer) = tokio::join!(serve, client);
        served.unwrap();
        assert_eq!(answer, "heard status\n");
    }

    #[tokio::test]
    async fn tcp_needs_loopback_and_the_token() {
        let token = "0123456789abcdef";
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(bind_tcp("0.0.0.0:0".parse().unwrap(), token).await.is_err());
        assert!(bind_tcp(address, "short").await.is_err());
        let control = bind_tcp(address, token).await.unwrap();
        let at = control.address().unwrap().to_string();
        let cancel = CancellationToken::new();
        let serve = control.serve(echo(), cancel.clone());
        let client = async {
            let right = super::super::client::send_tcp(&at, token, "why")
                .await
                .unwrap();
            let wrong = super::super::client::send_tcp(&at, "0123456789abcdeX", "why")
                .await
                .unwrap_err();
            cancel.cancel();
            (right, wrong)
        };
        let (served, (right, wrong)) = tokio::join!(serve, client);
        served.unwrap();
        assert_eq!(right, "heard why");
        assert_eq!(wrong.cause(), "wrong token");
    }
}
