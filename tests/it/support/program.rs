//! The program as a user runs it.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::server::TestServer;
use super::wait::eventually;

/// No run in a test takes longer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);

/// A command line of `changeling`, not yet started. Nothing of the user's environment and option files
/// reaches it.
pub struct Program {
    command: Command,
    deadline: Duration,
}

/// What a finished run left.
#[derive(Debug)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    /// The exit code; `None`: ended by a signal.
    pub code: Option<i32>,
}

/// A run under way; killed when dropped.
pub struct Live {
    child: Child,
    stdout: Output,
    stderr: Output,
    deadline: Duration,
}

/// One output of the program, collected as it comes.
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Program {
    /// `changeling ARGUMENT…` without a server.
    pub fn new(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_changeling"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CHANGELING_") || text.starts_with("MYSQL_") {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .env("HOME", "/nonexistent")
            // Most tests are about the ghost table, whatever the server could do itself.
            .env("CHANGELING_NATIVE", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Program {
            command,
            deadline: DEADLINE,
        }
    }

    /// `changeling SUBCOMMAND -h … -P … -u … -p… ARGUMENT…`.
    pub fn on(
        server: &TestServer,
        subcommand: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Program {
        let mut program = Program::new([
            subcommand.to_string(),
            "-h".to_string(),
            server.host.clone(),
            "-P".to_string(),
            server.port.to_string(),
            "-u".to_string(),
            server.user.clone(),
            format!("-p{}", server.password),
        ]);
        program.command.args(arguments);
        program
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// After this time it is killed and the test panics.
    pub fn deadline(mut self, deadline: Duration) -> Program {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    pub async fn run(self) -> Run {
        self.spawn().wait().await
    }

    /// Starts it.
    pub fn spawn(mut self) -> Live {
        let mut child = self.command.spawn().expect("the program starts");
        Live {
            stdout: Output::collect(child.stdout.take().expect("piped")),
            stderr: Output::collect(child.stderr.take().expect("piped")),
            child,
            deadline: self.deadline,
        }
    }
}

impl Live {
    /// Waits for its end.
    ///
    /// # Panics
    /// After the deadline, with what it printed.
    pub async fn wait(mut self) -> Run {
        match tokio::time::timeout(self.deadline, self.child.wait()).await {
            Ok(status) => self.finished(status.expect("a status")).await,
            Err(_) => {
                self.child.kill().await.expect("it can be killed");
                panic!(
                    "killed after {:?}; stdout:\n{}\nstderr:\n{}",
                    self.deadline,
                    self.stdout.text(),
                    self.stderr.text()
                );
            }
        }
    }

    /// `kill -9`, and waits for its end.
    pub async fn kill(mut self) -> Run {
        self.child.start_kill().expect("it can be killed");
        let status = self.child.wait().await.expect("a status");
        self.finished(status).await
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Sends a signal, for example `libc::SIGINT`.
    pub fn signal(&self, signal: i32) {
        let Some(pid) = self.child.id() else { return };
        #[expect(unsafe_code, reason = "the standard library sends no signal but KILL")]
        // SAFETY: the process is a child that has not been waited for, so its number is its own.
        let sent = unsafe { libc::kill(pid.cast_signed(), signal) };
        assert_eq!(sent, 0, "the signal was not sent");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// What it has printed to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it has printed `text` on either output.
    ///
    /// # Panics
    /// If it ends without, or after the deadline.
    pub async fn printed(&mut self, text: &str) {
        let deadline = self.deadline;
        eventually(
            deadline,
            &format!("the program prints {text:?}"),
            async || {
                let ended = !self.is_running();
                let both = format!("{}\n{}", self.stdout(), self.stderr());
                if both.contains(text) {
                    return Some(());
                }
                assert!(
                    !ended,
                    "the program ended without printing {text:?}:\n{both}"
                );
                None
            },
        )
        .await;
    }

    async fn finished(self, status: ExitStatus) -> Run {
        Run {
            stdout: self.stdout.finished().await,
            stderr: self.stderr.finished().await,
            code: status.code(),
        }
    }
}

impl Run {
    /// Asserts the exit code, showing everything if it is another.
    pub fn expect_code(self, code: i32) -> Run {
        assert_eq!(
            self.code,
            Some(code),
            "exit code; stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that a text was printed on either output.
    pub fn expect_text(self, text: &str) -> Run {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is missing; stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Output {
    fn collect(mut source: impl AsyncRead + Unpin + Send + 'static) -> Output {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = source.read(&mut buffer).await {
                shared
                    .lock()
                    .expect("no panic under this lock")
                    .extend_from_slice(&buffer[..count]);
            }
        });
        Output { text, reader }
    }

    fn text(&self) -> String {
        let bytes = self.text.lock().expect("no panic under this lock");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn finished(mut self) -> String {
        (&mut self.reader).await.expect("the reader does not panic");
        self.text()
    }
}
