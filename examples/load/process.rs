//! A program that is measured: its processor time and memory are looked at in /proc while it runs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::Result;

/// No program is given more.
const LIMIT: Duration = Duration::from_secs(1800);

/// What a program has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_memory_mib: f64,
}

/// A program at work.
pub struct Running {
    child: Child,
    printed: JoinHandle<String>,
    usage: JoinHandle<Usage>,
}

impl Running {
    /// Starts it.
    pub fn start(program: &Path, arguments: &[String]) -> Result<Running> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or("the program has no number")?;
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Running {
            child,
            printed: tokio::spawn(async move {
                let (stdout, stderr) = tokio::join!(tail(&mut stdout), tail(&mut stderr));
                format!("{stdout}\n{stderr}")
            }),
            usage: tokio::spawn(watch(pid)),
        })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        // It stays in /proc until somebody has asked.
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once (`kill -9`).
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits for its end; gives the end of what it printed if it fails.
    ///
    /// # Errors
    /// It takes too long.
    pub async fn finish(mut self) -> Result<(Usage, Option<String>)> {
        let status = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .map_err(|_| format!("not done within {LIMIT:?}"))??;
        let printed = self.printed.await?;
        let failure = (!status.success()).then(|| format!("{status}: {}", printed.trim()));
        Ok((self.usage.await?, failure))
    }
}

/// Reads to the end and keeps the last kilobyte.
async fn tail(source: &mut Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Some(source) = source
        && let Ok(count @ 1..) = source.read(&mut buffer).await
    {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(1024));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Looks at a process until it is gone. The last look is at most a few milliseconds before its end.
async fn watch(pid: u32) -> Usage {
    const TICKS_A_SECOND: f64 = 100.0; // USER_HZ, the same on all Linux machines
    let mut usage = Usage::default();
    loop {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else {
            return usage;
        };
        // After the name in parentheses: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let number = |at: usize| {
            fields
                .get(at - 3)
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        usage.cpu_seconds = usage
            .cpu_seconds
            .max((number(14) + number(15)) / TICKS_A_SECOND);
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        usage.peak_memory_mib = usage.peak_memory_mib.max(peak.unwrap_or(0.0) / 1024.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
