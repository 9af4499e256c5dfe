//! What every step of a run shares.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Server;
use crate::names::Names;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::tunables::Tunables;

/// A run: its settings, its server, its numbers and its stop.
#[derive(Debug)]
pub struct Run {
    /// What was asked for.
    pub settings: Settings,
    /// The server with the table.
    pub server: Server,
    /// The tables.
    pub names: Names,
    /// The numbers.
    pub progress: Arc<Progress>,
    /// What may be changed while running.
    pub tunables: watch::Sender<Tunables>,
    /// Cancelled when the run is to stop resumably.
    pub stop: CancellationToken,
}

impl Run {
    /// Connects and makes a run of the settings.
    ///
    /// # Errors
    /// The connection's failure.
    pub async fn connect(settings: Settings, stop: CancellationToken) -> Result<Run> {
        let server = Server::connect(settings.connect.clone()).await?;
        let names = Names::new(
            &settings.table,
            settings.helper_base.as_deref(),
            settings.old_stamp.as_deref(),
        );
        Ok(Run {
            tunables: watch::Sender::new(settings.tunables.clone()),
            server,
            names,
            progress: Arc::new(Progress::default()),
            stop,
            settings,
        })
    }

    /// Fails if the run is to stop.
    ///
    /// # Errors
    /// [`stopped`].
    pub fn check_stop(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            Err(stopped())
        } else {
            Ok(())
        }
    }
}

/// What a step returns that was cancelled.
pub fn stopped() -> Failure {
    Failure::new(FailureKind::Interrupted, "stopped before the swap")
}
