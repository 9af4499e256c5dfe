//! Signals: INT and TERM stop so that the run can be continued, a second INT stops at once, USR1
//! prints the status, HUP reads the option file again.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Controller;
use crate::failure::{Failure, Result};
use crate::observe::status_text;

/// What is done at signals that are not this module's business.
pub struct SignalActions {
    /// At HUP.
    pub reread: Box<dyn Fn() + Send + Sync>,
    /// At a second INT: ends the process.
    pub now: Box<dyn Fn() + Send + Sync>,
}

/// Listens to signals until the run ends.
///
/// # Errors
/// The system refuses a handler.
pub async fn run(
    controller: Controller,
    actions: SignalActions,
    cancel: CancellationToken,
) -> Result<()> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::failed(format!("listen to a signal: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut user = listen(SignalKind::user_defined1())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let mut interrupted = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            _ = interrupt.recv() => {
                if interrupted {
                    (actions.now)();
                }
                interrupted = true;
                stop(&controller, "interrupted");
            }
            _ = terminate.recv() => stop(&controller, "told to terminate"),
            _ = user.recv() => eprintln!("{}", status_text(&controller.status())),
            _ = hang_up.recv() => (actions.reread)(),
        }
    }
}

fn stop(controller: &Controller, why: &str) {
    tracing::info!(
        event = "signal",
        "{why}: stopping; the same command line continues (interrupt again to end at once)"
    );
    if let Err(failure) = controller.abort() {
        tracing::debug!(event = "signal", "{failure}");
    }
}
