//! The front desk of a run: signals, control socket, status lines, and what the operator's commands
//! mean for the story.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::run::Run;
use crate::control::{self, ControlCommand, Controller, HookEvent, Hooks, Listener, signals};
use crate::failure::{Failure, Result};
use crate::observe::{StatusSource, metrics};
use crate::supervise::Supervisor;

/// How often the files and commands that hold the cut-over are looked at.
const HOLD_POLL: Duration = Duration::from_millis(200);

/// What is open at the desk.
pub struct Desk {
    /// Takes typed commands.
    pub controller: Controller,
    /// Whether the cut-over is held back.
    pub hold: watch::Receiver<bool>,
    hooks: Hooks,
}

impl Desk {
    /// Calls the hooks of an event.
    ///
    /// # Errors
    /// A hook vetoes what is about to happen.
    pub async fn announce(&self, event: HookEvent) -> Result<()> {
        self.hooks.fire(event, &self.controller.status(), &[]).await
    }

    /// Calls the hooks for a run that ended badly.
    pub async fn announce_failure(&self, failure: &Failure) {
        let error = ("ERROR", failure.to_string());
        let status = self.controller.status();
        if let Err(unheard) = self.hooks.fire(HookEvent::Failure, &status, &[error]).await {
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
    group: &mut Supervisor,
) -> Result<Desk> {
    let hooks = Hooks::new(run.settings.hooks_path.clone());
    hooks.check()?;
    let (controller, commands) = Controller::new(run.tunables.clone(), status);
    let cancel = group.token();
    let path = run
        .settings
        .socket
        .clone()
        .unwrap_or_else(|| control::default_socket_path(&run.names.original));
    let listener = Listener::bind(&path)?;
    tracing::info!(event = "control_socket", path = %path.display(), "listening on {}", path.display());
    group.spawn("serve the control socket", {
        let controller = controller.clone();
        listener.serve(
            Arc::new(move |line| {
                let answer = control::command::answer(&controller, &line);
                Box::pin(std::future::ready(answer))
            }),
            cancel.clone(),
        )
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
        hooks,
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
