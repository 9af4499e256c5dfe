//! Hooks: executables that are called at events, told about the run by their environment.
//!
//! A file of the hooks folder belongs to an event when its name begins with the event's name
//! (`before-cut-over`, `before-cut-over.sh`, `success-10-chat`). They run one after the other by name,
//! each in a process group of its own, which is killed when its time is up. Where an event can still be
//! prevented, an exit code other than 0 prevents it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::failure::{Context, Failure, FailureKind, Result};
use crate::observe::StatusSnapshot;

/// Moments at which hooks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// Connected; nothing is checked or created.
    Startup,
    /// Preflight found nothing against it; nothing is created.
    Validated,
    /// The ghost is there, the copy is about to begin.
    BeforeRowCopy,
    /// All rows are copied.
    RowCopyComplete,
    /// Original and ghost have been compared and are equal.
    Verified,
    /// The cut-over is held back.
    BeginPostponed,
    /// An attempt to cut over is about to begin.
    BeforeCutOver,
    /// Again and again, every minute if nothing else is said.
    Status,
    /// The rows have been counted.
    RowcountComplete,
    /// A chunk failed and is tried again.
    BatchCopyRetry,
    /// A test on a replica is about to stop replication.
    StopReplication,
    /// Such a test has failed and starts it again.
    StartReplication,
    /// A replica has not applied the swap in time; `CHANGELING_REPLICA` says which, `CHANGELING_ERROR` why.
    ReplicaStalled,
    /// The tables are swapped.
    Success,
    /// The run has ended badly; `CHANGELING_ERROR` says why.
    Failure,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [HookEvent; 15] = [
        HookEvent::Startup,
        HookEvent::Validated,
        HookEvent::BeforeRowCopy,
        HookEvent::RowCopyComplete,
        HookEvent::Verified,
        HookEvent::BeginPostponed,
        HookEvent::BeforeCutOver,
        HookEvent::Status,
        HookEvent::RowcountComplete,
        HookEvent::BatchCopyRetry,
        HookEvent::StopReplication,
        HookEvent::StartReplication,
        HookEvent::ReplicaStalled,
        HookEvent::Success,
        HookEvent::Failure,
    ];

    /// The name: what files begin with.
    pub fn name(self) -> &'static str {
        match self {
            HookEvent::Startup => "startup",
            HookEvent::Validated => "validated",
            HookEvent::BeforeRowCopy => "before-row-copy",
            HookEvent::RowCopyComplete => "row-copy-complete",
            HookEvent::Verified => "verified",
            HookEvent::BeginPostponed => "begin-postponed",
            HookEvent::BeforeCutOver => "before-cut-over",
            HookEvent::Status => "status",
            HookEvent::RowcountComplete => "rowcount-complete",
            HookEvent::BatchCopyRetry => "batch-copy-retry",
            HookEvent::StopReplication => "stop-replication",
            HookEvent::StartReplication => "start-replication",
            HookEvent::ReplicaStalled => "replica-stalled",
            HookEvent::Success => "success",
            HookEvent::Failure => "failure",
        }
    }

    /// Whether a hook's failure prevents what is about to happen. The others have happened.
    pub fn can_veto(self) -> bool {
        match self {
            HookEvent::Startup
            | HookEvent::Validated
            | HookEvent::BeforeRowCopy
            | HookEvent::RowCopyComplete
            | HookEvent::Verified
            | HookEvent::StopReplication
            | HookEvent::BeforeCutOver => true,
            HookEvent::BeginPostponed
            | HookEvent::Status
            | HookEvent::RowcountComplete
            | HookEvent::BatchCopyRetry
            | HookEvent::StartReplication
            | HookEvent::ReplicaStalled
            | HookEvent::Success
            | HookEvent::Failure => false,
        }
    }
}

/// The hooks of a folder.
#[derive(Clone, Debug)]
pub struct Hooks {
    folder: Option<PathBuf>,
    file_prefix: String,
    env_prefix: String,
    limit: Duration,
}

/// What is kept of a hook's output.
const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// How long its output is read after a hook has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a hook may take if nothing else is said.
const LIMIT: Duration = Duration::from_secs(60);
/// Never handed to hooks: they need no server, and their output goes to places of their own.
const SECRETS: [&str; 4] = [
    "MYSQL_PWD",
    "CHANGELING_PASSWORD",
    "CHANGELING_REPLICA_PASSWORD",
    "CHANGELING_CONTROL_TOKEN",
];

impl Hooks {
    /// The hooks of a folder with this program's names; `None` has no hooks.
    pub fn new(folder: Option<PathBuf>) -> Hooks {
        Hooks::with_names(folder, "", "CHANGELING_")
    }

    /// The hooks of a folder with other names: files begin with `file_prefix` and the event
    /// (`gh-ost-on-`), variables with `env_prefix` (`GH_OST_`).
    pub fn with_names(folder: Option<PathBuf>, file_prefix: &str, env_prefix: &str) -> Hooks {
        Hooks {
            folder,
            file_prefix: file_prefix.to_string(),
            env_prefix: env_prefix.to_string(),
            limit: LIMIT,
        }
    }

    /// Sets how long each hook may take.
    pub fn limit(mut self, limit: Duration) -> Hooks {
        self.limit = limit;
        self
    }

    /// Looks at the folder without running anything, so that mistakes show at the start.
    ///
    /// # Errors
    /// Usage: the folder cannot be read, or others may write into it.
    pub fn check(&self) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        const OTHERS_WRITE: u32 = 0o002;
        let bad = |why: String| {
            Failure::usage(format!(
                "cannot use the hooks of {}: {why}",
                folder.display()
            ))
            .remedy("give a readable folder that only you can write with --hooks-path")
        };
        let meta = std::fs::metadata(folder).map_err(|error| bad(error.to_string()))?;
        if !meta.is_dir() {
            return Err(bad("it is no folder".to_string()));
        }
        if meta.mode() & OTHERS_WRITE != 0 {
            return Err(bad("anybody may write into it".to_string()));
        }
        Ok(())
    }

    /// Calls the hooks of an event of this program with the run's status.
    ///
    /// # Errors
    /// Stopped: a hook of an event that can be vetoed failed. Other events' failures are logged.
    pub async fn fire(
        &self,
        event: HookEvent,
        status: &StatusSnapshot,
        extra: &[(&str, String)],
    ) -> Result<()> {
        let mut env = environment(status);
        if event == HookEvent::BatchCopyRetry {
            env.push(("LAST_ERROR".to_string(), status.last_refusal.clone()));
        }
        env.push(("EVENT".to_string(), event.name().to_string()));
        env.extend(
            extra
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone())),
        );
        match self.run(event.name(), &env).await {
            Err(failure) if !event.can_veto() => {
                tracing::warn!(event = "hook_failed", hook = event.name(), "{failure}");
                Ok(())
            }
            Err(failure) => Err(failure
                .kind_is(FailureKind::Stopped)
                .remedy("see what the hook objects to, then start the same command again")),
            Ok(()) => Ok(()),
        }
    }

    /// Runs all executables of an event, one after the other by name, with these variables (without
    /// the prefix) added to the environment.
    ///
    /// # Errors
    /// The first one that cannot be run, takes too long, or exits with a code other than 0; those
    /// after it are not run.
    pub async fn run(&self, event: &str, env: &[(String, String)]) -> Result<()> {
        for path in self.files(event)? {
            self.run_one(&path, env)
                .await
                .doing(|| format!("run hook {}", path.display()))?;
        }
        Ok(())
    }

    fn files(&self, event: &str) -> Result<Vec<PathBuf>> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        self.check()?;
        let beginning = format!("{}{event}", self.file_prefix);
        let entries = std::fs::read_dir(folder)
            .map_err(|error| Failure::failed(format!("read {}: {error}", folder.display())))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&beginning))
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        Ok(files)
    }

    async fn run_one(&self, path: &Path, env: &[(String, String)]) -> Result<()> {
        let mut command = Command::new(path);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        for (name, value) in env {
            // A zero byte cannot be in an environment; names of tables cannot have one.
            command.env(
                format!("{}{name}", self.env_prefix),
                value.replace('\0', ""),
            );
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            Failure::failed(error.to_string())
                .remedy("make the hook executable (chmod +x) and let it begin with #!/bin/sh")
        })?;
        let group = child.id();
        let output = read_output(&mut child);
        let ended = tokio::time::timeout(self.limit, async {
            let mut output = std::pin::pin!(output);
            let mut said = None;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    text = &mut output, if said.is_none() => said = Some(text),
                }
            };
            // What the hook has left running may hold its outputs open: it is not waited for.
            if said.is_none() {
                said = tokio::time::timeout(LAST_WORDS, output).await.ok();
            }
            (status, said.unwrap_or_default())
        });
        match ended.await {
            Ok((status, output)) => judge(path, status, &output),
            Err(_elapsed) => {
                kill_group(group);
                Err(Failure::failed(format!(
                    "it did not end within {} and was killed",
                    humantime::format_duration(self.limit)
                )))
            }
        }
    }
}

/// Reads what a hook says on both its outputs, and keeps the beginning.
fn read_output(child: &mut Child) -> impl Future<Output = String> + use<> {
    let streams = (child.stdout.take(), child.stderr.take());
    async move {
        let (out, err) = tokio::join!(read_some(streams.0), read_some(streams.1));
        [out, err].concat()
    }
}

async fn read_some<R: tokio::io::AsyncRead + Unpin>(stream: Option<R>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut part = [0u8; 4096];
    while let Ok(read) = stream.read(&mut part).await {
        if read == 0 {
            break;
        }
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..read.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn judge(path: &Path, status: std::io::Result<ExitStatus>, output: &str) -> Result<()> {
    let output = output.trim();
    let status = status.map_err(|error| Failure::failed(format!("wait for it: {error}")))?;
    if status.success() {
        tracing::info!(event = "hook", hook = %path.display(), output, "hook {} is done", path.display());
        return Ok(());
    }
    let last = output.lines().last().unwrap_or("it said nothing");
    Err(Failure::failed(format!("it failed ({status}): {last}")))
}

/// Kills a hook with everything that it started.
fn kill_group(group: Option<u32>) {
    let Some(group) = group.and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    #[expect(
        unsafe_code,
        reason = "the standard library cannot signal a process group"
    )]
    // SAFETY: killpg takes numbers only and touches no memory; the group is the child's own, and the
    // child has not been waited for, so its number belongs to nobody else.
    unsafe {
        libc::killpg(group, libc::SIGKILL);
    }
}

/// What every hook is told, names without prefix.
fn environment(status: &StatusSnapshot) -> Vec<(String, String)> {
    let (database, table) = status
        .table
        .split_once('.')
        .unwrap_or(("", status.table.as_str()));
    let seconds = |value: Option<f64>| value.map_or(String::new(), |s| format!("{s:.3}"));
    [
        ("DATABASE", database.to_string()),
        ("TABLE", table.to_string()),
        ("GHOST_TABLE", status.ghost.clone()),
        ("OLD_TABLE", status.old.clone()),
        ("ALTER", status.alter.clone()),
        ("SERVER", status.server.clone()),
        ("PHASE", status.phase.clone()),
        ("ELAPSED_SECONDS", format!("{:.3}", status.elapsed_s)),
        ("COPY_SECONDS", format!("{:.3}", status.copy_s)),
        ("ROWS_ESTIMATED", status.rows_total.to_string()),
        ("ROWS_COPIED", status.rows_copied.to_string()),
        ("CHANGES_APPLIED", status.changes_applied.to_string()),
        ("PROGRESS", format!("{:.1}", status.percent)),
        ("REPLAY_LAG_SECONDS", seconds(status.replay_lag_s)),
        ("REPLICA_LAG_SECONDS", seconds(status.replica_lag_s)),
        ("ETA_SECONDS", seconds(status.forecast.map(|f| f.p50_s))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::super::tests::controller;
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("cl-hooks-{}", fastrand::u64(..)));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Folder(path)
        }

        fn hook(&self, name: &str, script: &str) -> PathBuf {
            let path = self.0.join(name);
            // Written by another process: a file that this one has open for writing while a parallel
            // test forks cannot be executed ("text file busy").
            let status = std::process::Command::new("sh")
                .args([
                    "-c",
                    "printf '%s' \"$2\" > \"$1\" && chmod 755 \"$1\"",
                    "sh",
                ])
                .arg(&path)
                .arg(format!("#!/bin/sh\n{script}\n"))
                .status()
                .unwrap();
            assert!(status.success());
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn hooks_are_told_about_the_run_and_can_veto() {
        let folder = Folder::new();
        let out = folder.0.join("out");
        folder.hook(
            "startup.sh",
            &format!(
                "echo \"$CHANGELING_EVENT $CHANGELING_DATABASE $CHANGELING_TABLE\" >> {}",
                out.display()
            ),
        );
        folder.hook("before-cut-over-1", "echo not now >&2; exit 3");
        folder.hook(
            "before-cut-over-2",
            &format!("echo never >> {}", out.display()),
        );
        folder.hook("success", "exit 1");
        let hooks = Hooks::new(Some(folder.0.clone()));
        let status = controller().0.status();
        hooks.fire(HookEvent::Startup, &status, &[]).await.unwrap();
        let veto = hooks
            .fire(HookEvent::BeforeCutOver, &status, &[])
            .await
            .unwrap_err();
        assert_eq!(veto.kind(), FailureKind::Stopped);
        assert!(veto.to_string().contains("not now"), "{veto}");
        // What has happened cannot be vetoed.
        hooks.fire(HookEvent::Success, &status, &[]).await.unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "startup d t\n");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_with_its_children() {
        let folder = Folder::new();
        let pid = folder.0.join("pid");
        folder.hook(
            "startup",
            &format!("sleep 1000 & echo $! > {}; wait", pid.display()),
        );
        let hooks = Hooks::new(Some(folder.0.clone())).limit(Duration::from_secs(2));
        let error = hooks.run("startup", &[]).await.unwrap_err();
        assert!(
            error.to_string().contains("did not end within 2s"),
            "{error}"
        );
        let child = fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let deadline = Instant::now() + Duration::from_secs(30);
        // Gone, or dead and not yet fetched by whoever inherited it.
        while fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(Instant::now() < deadline, "it survived");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_hook_may_leave_something_running() {
        let folder = Folder::new();
        let pid = folder.0.join("pid");
        folder.hook(
            "startup",
            &format!("sleep 1000 & echo $! > {}", pid.display()),
        );
        let hooks = Hooks::new(Some(folder.0.clone())).limit(Duration::from_secs(60));
        let began = Instant::now();
        hooks.run("startup", &[]).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(50));
        let child = fs::read_to_string(&pid).unwrap();
        std::process::Command::new("kill")
            .arg(child.trim())
            .status()
            .unwrap();
    }

    #[tokio::test]
    async fn other_names_and_mistakes() {
        let folder = Folder::new();
        let out = folder.0.join("out");
        folder.hook(
            "gh-ost-on-startup",
            &format!("echo \"$GH_OST_X\" > {}", out.display()),
        );
        let hooks = Hooks::with_names(Some(folder.0.clone()), "gh-ost-on-", "GH_OST_");
        let env = [("X".to_string(), "it's 'quoted'\0".to_string())];
        hooks.run("startup", &env).await.unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "it's 'quoted'\n");
        let hook = folder.hook("gh-ost-on-success", "exit 0");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
        let error = hooks.run("success", &[]).await.unwrap_err();
        assert!(error.remedy_text().unwrap().contains("chmod"), "{error}");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(hooks.check().is_err());
        assert!(Hooks::new(Some("/nowhere/at/all".into())).check().is_err());
        Hooks::new(None).run("startup", &[]).await.unwrap();
    }
}
