//! The front desk of a run: signals, control socket, status lines, and what the operator's commands
//! mean for the story.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::hold;
use super::limits::Limits;
use super::run::Run;
use crate::control::gh_ost::{GhOst, GhOstFacts};
use crate::control::{self, ControlCommand, Controller, HookEvent, Hooks, Listener, signals};
use crate::cutover::{self, Stalled};
use crate::failure::{Failure, Result};
use crate::observe::statsd::Statsd;
use crate::observe::{StatusSource, metrics};
use crate::supervise::Supervisor;

/// Between the command to end at once and the end.
const PANIC_PAUSE: Duration = Duration::from_millis(200);
/// How often the panic flag file is looked for, and whether hooks are due.
const POLL: Duration = Duration::from_millis(200);

/// What is open at the desk.
pub struct Desk {
    /// Takes typed commands.
    pub controller: Controller,
    /// Whether the cut-over is held back.
    pub hold: watch::Receiver<bool>,
    face: Face,
}

/// How a run talks to the outside.
#[derive(Clone)]
enum Face {
    /// With its own words.
    Own(Hooks),
    /// With gh-ost's.
    GhOst(Arc<GhOst>),
}

impl Face {
    async fn announce(&self, event: HookEvent, controller: &Controller) -> Result<()> {
        match self {
            Face::Own(hooks) => hooks.fire(event, &controller.status(), &[]).await,
            Face::GhOst(face) => face.announce(event).await,
        }
    }

    /// Calls the hooks of events that come again and again: status, and chunks that are tried again.
    async fn announce_again(
        self,
        controller: Controller,
        status_every: Duration,
        cancel: CancellationToken,
    ) -> Result<()> {
        let progress = controller.source().progress.clone();
        let mut retries = progress.retries.get();
        let mut status_at = tokio::time::Instant::now() + status_every;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(POLL) => {}
            }
            let now = progress.retries.get();
            if now != retries {
                retries = now;
                self.announce(HookEvent::BatchCopyRetry, &controller)
                    .await?;
            }
            if tokio::time::Instant::now() >= status_at {
                status_at = tokio::time::Instant::now() + status_every;
                self.announce(HookEvent::Status, &controller).await?;
            }
        }
    }
}

/// Which words a run talks with.
#[derive(Clone, Debug, Default)]
pub enum FaceKind {
    /// Its own.
    #[default]
    Own,
    /// gh-ost's, for scripts that know those.
    GhOst(Box<GhOstFacts>),
}

impl Desk {
    /// Calls the hooks of an event.
    ///
    /// # Errors
    /// A hook vetoes what is about to happen.
    pub async fn announce(&self, event: HookEvent) -> Result<()> {
        self.face.announce(event, &self.controller).await
    }

    /// Calls the hooks for a replica that does not apply the swap.
    pub async fn announce_stall(&self, stalled: &Stalled) {
        let heard = match &self.face {
            Face::Own(hooks) => {
                let told = [
                    ("REPLICA", stalled.replica.clone()),
                    ("ERROR", stalled.why.clone()),
                ];
                let status = self.controller.status();
                hooks.fire(HookEvent::ReplicaStalled, &status, &told).await
            }
            Face::GhOst(face) => face.announce(HookEvent::ReplicaStalled).await,
        };
        if let Err(unheard) = heard {
            tracing::warn!(event = "hook_failed", "{unheard}");
        }
    }

    /// Calls the hooks before the server's own ALTER: as before a cut-over, but for gh-ost's, which has
    /// none there.
    ///
    /// # Errors
    /// As [`Desk::announce`].
    pub async fn announce_native(&self) -> Result<()> {
        match &self.face {
            Face::Own(_) => self.announce(HookEvent::BeforeCutOver).await,
            Face::GhOst(_) => Ok(()),
        }
    }

    /// Shows an attempt to get the table's lock.
    pub fn tell_attempt(&self, attempt: &cutover::Attempt) {
        let status = self.controller.source();
        status.attempted(attempt.stall, attempt.outcome.to_string());
        let blockers = attempt.blockers.iter().map(ToString::to_string).collect();
        status.in_the_way(blockers, attempt.next_in);
    }

    /// Calls the hooks for a run that ended badly.
    pub async fn announce_failure(&self, failure: &Failure) {
        let heard = match &self.face {
            Face::Own(hooks) => {
                let error = ("ERROR", failure.to_string());
                let status = self.controller.status();
                hooks.fire(HookEvent::Failure, &status, &[error]).await
            }
            Face::GhOst(face) => face.announce(HookEvent::Failure).await,
        };
        if let Err(unheard) = heard {
            tracing::warn!(event = "hook_failed", "{unheard}");
        }
    }
}

/// Opens it. All its tasks belong to `group`, which must outlive the story.
///
/// # Errors
/// The socket cannot be bound.
pub async fn open(
    run: &Arc<Run>,
    status: Arc<StatusSource>,
    face: FaceKind,
    group: &mut Supervisor,
) -> Result<Desk> {
    let hooks = Hooks::new(run.settings.hooks_path.clone());
    hooks.check()?;
    let (controller, commands) = Controller::new(run.tunables.clone(), status);
    let cancel = group.token();
    let (face, handler) = match face {
        FaceKind::Own => (
            Face::Own(hooks),
            control::command::handler(controller.clone()),
        ),
        FaceKind::GhOst(facts) => {
            let port = facts.tcp_port;
            let face = GhOst::new(controller.clone(), *facts, run.settings.hooks_path.clone());
            if let Some(port) = port {
                let served = control::socket::bind_local_tcp(port).await?;
                group.spawn(
                    "serve the control port",
                    served.serve(face.clone().handler(), cancel.clone()),
                );
            }
            group.spawn(
                "watch the flag file of a command",
                face.clone().watch_flag_file(cancel.clone()),
            );
            println!("{}", face.hint());
            let handler = face.clone().handler();
            (Face::GhOst(face), handler)
        }
    };
    if run.settings.hooks_path.is_some() {
        group.spawn(
            "call hooks again and again",
            face.clone().announce_again(
                controller.clone(),
                run.settings.hooks_status_interval,
                cancel.clone(),
            ),
        );
    }
    let path = run
        .settings
        .socket
        .clone()
        .unwrap_or_else(|| control::default_socket_path(&run.names.original));
    let listener = Listener::bind(&path)?;
    tracing::info!(event = "control_socket", path = %path.display(), "listening on {}", path.display());
    group.spawn("serve the control socket", {
        listener.serve(handler.clone(), cancel.clone())
    });
    if let Some(port) = &run.settings.control_port {
        let served = control::socket::bind_tcp(port.address, &port.token).await?;
        tracing::info!(event = "control_port", "listening on {}", served.address()?);
        group.spawn(
            "serve the control port",
            served.serve(handler.clone(), cancel.clone()),
        );
    }
    if let Some(address) = &run.settings.metrics_listen {
        let port = metrics::bind(address).await?;
        tracing::info!(
            event = "metrics",
            "serving metrics on http://{}/metrics",
            port.address()?
        );
        group.spawn(
            "serve metrics",
            port.serve(controller.source().clone(), cancel.clone()),
        );
    }
    if let Some(target) = &run.settings.statsd {
        let statsd = Statsd::connect(target).await?;
        group.spawn(
            "send metrics",
            statsd.run(controller.source().clone(), cancel.clone()),
        );
    }
    group.spawn("listen to signals", {
        let face = face.clone();
        let limits = Limits::new(run.settings.option_files.clone());
        let steered = controller.clone();
        let actions = signals::SignalActions {
            reread: Box::new(move || match &face {
                Face::Own(_) => limits.reread(&steered),
                Face::GhOst(face) => face.reread(),
            }),
            now: Box::new(|| std::process::exit(130)),
        };
        signals::run(controller.clone(), actions, cancel.clone())
    });
    group.spawn("carry out commands", {
        let (run, cancel) = (run.clone(), cancel.clone());
        async move {
            carry_out(&run, commands, &cancel).await;
            Ok(())
        }
    });
    let (hold_to, hold) = watch::channel(true);
    group.spawn("watch what holds the cut-over", {
        let (run, source, cancel) = (run.clone(), controller.source().clone(), cancel.clone());
        async move { hold::watch(&run, &source, hold_to, &cancel).await }
    });
    if let Some(file) = run.settings.throttle.panic_flag_file.clone() {
        let run = run.clone();
        group.spawn("watch the panic flag file", async move {
            watch_panic_flag(&run, &file, &cancel).await;
            Ok(())
        });
    }
    Ok(Desk {
        controller,
        hold,
        face,
    })
}

async fn watch_panic_flag(run: &Run, file: &Path, cancel: &CancellationToken) {
    while !file.exists() {
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = cancel.cancelled() => return,
        }
    }
    tracing::warn!(event = "panic_flag", "{} exists: stopping", file.display());
    run.stop.cancel();
}

async fn carry_out(
    run: &Run,
    mut commands: mpsc::Receiver<ControlCommand>,
    cancel: &CancellationToken,
) {
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = cancel.cancelled() => None,
        };
        match command {
            None => return,
            Some(ControlCommand::Revert) => {
                run.revert_asked.send_replace(true);
            }
            Some(ControlCommand::Abort) => run.stop.cancel(),
            Some(ControlCommand::Drop) => {
                run.ask_removal();
                run.stop.cancel();
            }
            Some(ControlCommand::Panic) => {
                // Who asked for it gets the answer first.
                tokio::time::sleep(PANIC_PAUSE).await;
                std::process::exit(1);
            }
        }
    }
}
