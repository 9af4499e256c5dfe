//! The front desk of a run: signals, control socket, status lines, and what the operator's commands
//! mean for the story.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::run::Run;
use crate::control::gh_ost::{GhOst, GhOstFacts};
use crate::control::{
    self, ControlCommand, Controller, HookEvent, Hooks, Listener, hooks, signals,
};
use crate::failure::{Failure, Result};
use crate::observe::{StatusSource, metrics};
use crate::supervise::Supervisor;

/// How often the files and commands that hold the cut-over are looked at.
const HOLD_POLL: Duration = Duration::from_millis(200);
/// How often the status hooks are called.
const STATUS_HOOKS: Duration = Duration::from_secs(60);

/// What is open at the desk.
pub struct Desk {
    /// Takes typed commands.
    pub controller: Controller,
    /// Whether the cut-over is held back.
    pub hold: watch::Receiver<bool>,
    face: Face,
}

/// How a run talks to the outside.
enum Face {
    /// With its own words.
    Own(Hooks),
    /// With gh-ost's.
    GhOst(Arc<GhOst>),
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
        match &self.face {
            Face::Own(hooks) => hooks.fire(event, &self.controller.status(), &[]).await,
            Face::GhOst(face) => face.announce(event).await,
        }
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
        FaceKind::Own => {
            group.spawn(
                "call status hooks",
                hooks::call_status(
                    hooks.clone(),
                    controller.source().clone(),
                    STATUS_HOOKS,
                    cancel.clone(),
                ),
            );
            (
                Face::Own(hooks),
                control::command::handler(controller.clone()),
            )
        }
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
    let path = run
        .settings
        .socket
        .clone()
        .unwrap_or_else(|| control::default_socket_path(&run.names.original));
    let listener = Listener::bind(&path)?;
    tracing::info!(event = "control_socket", path = %path.display(), "listening on {}", path.display());
    group.spawn("serve the control socket", {
        listener.serve(handler, cancel.clone())
    });
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
    group.spawn("listen to signals", {
        let actions = signals::SignalActions {
            reread: Box::new(|| {
                tracing::info!(
                    event = "hup",
                    "limits are changed with `changeling ctl set`; nothing was read again"
                );
            }),
            now: Box::new(|| std::process::exit(130)),
        };
        signals::run(controller.clone(), actions, cancel.clone())
    });
    let forced = Arc::new(AtomicBool::new(false));
    group.spawn("carry out commands", {
        let (run, forced, cancel) = (run.clone(), forced.clone(), cancel.clone());
        async move {
            carry_out(&run, commands, &forced, &cancel).await;
            Ok(())
        }
    });
    let (hold_to, hold) = watch::channel(run.tunables.borrow().postpone_cutover);
    group.spawn("watch what holds the cut-over", {
        let run = run.clone();
        async move {
            loop {
                let flagged = run
                    .settings
                    .cutover
                    .postpone_flag_file
                    .as_ref()
                    .is_some_and(|file| file.exists());
                let held = run.tunables.borrow().postpone_cutover
                    || (flagged && !forced.load(Ordering::Relaxed));
                hold_to.send_if_modified(|now| std::mem::replace(now, held) != held);
                if let Some(file) = &run.settings.throttle.panic_flag_file
                    && file.exists()
                {
                    tracing::warn!(event = "panic_flag", "{} exists: stopping", file.display());
                    run.stop.cancel();
                }
                tokio::select! {
                    () = tokio::time::sleep(HOLD_POLL) => {}
                    () = cancel.cancelled() => return Ok(()),
                }
            }
        }
    });
    Ok(Desk {
        controller,
        hold,
        face,
    })
}

async fn carry_out(
    run: &Run,
    mut commands: mpsc::Receiver<ControlCommand>,
    forced: &AtomicBool,
    cancel: &tokio_util::sync::CancellationToken,
) {
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = cancel.cancelled() => None,
        };
        match command {
            None => return,
            Some(ControlCommand::CutOver) => forced.store(true, Ordering::Relaxed),
            Some(ControlCommand::Abort) => run.stop.cancel(),
            Some(ControlCommand::Drop) => {
                run.ask_removal();
                run.stop.cancel();
            }
            Some(ControlCommand::Panic) => std::process::exit(1),
        }
    }
}
