//! How a running migration is talked to: socket, signals, hooks.
//!
//! [`Controller`] has the typed commands; [`command`] gives them words, [`socket`] brings words in and
//! answers out, [`client`] is the other end. The presentation of gh-ost's commands stands on the same
//! `Controller`. Nothing here knows an engine: limits go out as [`Tunables`], everything else as a
//! [`ControlCommand`] to the workflow.

pub mod client;
pub mod command;
pub mod gh_ost;
pub mod hooks;
pub mod settings;
pub mod signals;
pub mod socket;
pub mod why;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub use hooks::{HookEvent, Hooks};
pub use socket::{Handler, Listener};

use crate::failure::{Failure, Result};
use crate::names::TableName;
use crate::observe::{StatusSnapshot, StatusSource};
use crate::tunables::Tunables;

/// Commands that wait for the workflow; more at once are refused.
const COMMANDS_MAX: usize = 16;

/// What the workflow is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// Swap back: the run has swapped and keeps the old table in step.
    Revert,
    /// End the run so that it can be continued: flush, checkpoint, leave the tables.
    Abort,
    /// End the run and remove everything that it made.
    Drop,
    /// End the run at once, leaving everything as it is (gh-ost's `panic`).
    Panic,
}

/// The commands of a running migration, typed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Controller {
    tunables: watch::Sender<Tunables>,
    commands: mpsc::Sender<ControlCommand>,
    status: Arc<StatusSource>,
}

impl Controller {
    /// A controller, and what the workflow listens to.
    pub fn new(
        tunables: watch::Sender<Tunables>,
        status: Arc<StatusSource>,
    ) -> (Controller, mpsc::Receiver<ControlCommand>) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let controller = Controller {
            tunables,
            commands,
            status,
        };
        (controller, receiver)
    }

    /// Where the status comes from.
    pub fn source(&self) -> &Arc<StatusSource> {
        &self.status
    }

    /// One look at the run.
    pub fn status(&self) -> StatusSnapshot {
        self.status.snapshot()
    }

    /// One sentence: what it waits for, since when, on whom, what comes next.
    pub fn why(&self) -> String {
        why::sentence(&self.status.snapshot())
    }

    /// The limits and settings now.
    pub fn tunables(&self) -> Tunables {
        self.tunables.borrow().clone()
    }

    /// Changes limits and settings; the engines follow at their next step.
    pub fn change(&self, change: impl FnOnce(&mut Tunables)) {
        self.tunables.send_modify(change);
    }

    /// Pauses the copy.
    pub fn pause(&self) {
        self.change(|tunables| tunables.paused = true);
        tracing::info!(event = "paused", "paused by the operator");
    }

    /// Takes the pause back.
    pub fn resume(&self) {
        self.change(|tunables| tunables.paused = false);
        tracing::info!(event = "resumed", "resumed by the operator");
    }

    /// Sets a limit or setting by name, from text; returns what it is now.
    ///
    /// # Errors
    /// Usage: no such setting, or a value that it cannot take.
    pub fn set(&self, name: &str, value: &str) -> Result<String> {
        let setting = settings::find(name)?;
        let mut changed = self.tunables();
        (setting.set)(&mut changed, value)?;
        let mut probe = changed;
        self.tunables.send_modify(|tunables| {
            // Others may have changed other settings since: only this one is taken.
            let _ = (setting.set)(tunables, value);
            probe = tunables.clone();
        });
        let shown = (setting.show)(&probe);
        tracing::info!(
            event = "set",
            name = setting.name,
            value = shown,
            "{} is now {shown}",
            setting.name
        );
        Ok(shown)
    }

    /// Holds the cut-over until [`Controller::cut_over`].
    pub fn postpone(&self) {
        self.change(|tunables| {
            tunables.postpone_cutover = true;
            tunables.cutover_released = false;
        });
        tracing::info!(event = "postponed", "cut-over postponed by the operator");
    }

    /// Lets the cut-over happen as soon as all is ready, whatever holds it back: `postpone`, a flag
    /// file, windows.
    pub fn cut_over(&self) {
        self.change(|tunables| {
            tunables.postpone_cutover = false;
            tunables.cutover_released = true;
        });
        tracing::info!(
            event = "command",
            command = "CutOver",
            "the operator releases the cut-over"
        );
    }

    /// Swaps back, while the run keeps the old table in step.
    ///
    /// # Errors
    /// It does not; or as [`Controller::abort`].
    pub fn revert(&self) -> Result<()> {
        if self.status().revertible.is_none() {
            return Err(Failure::failed("there is nothing to revert now").remedy(
                "a run can be reverted here after its swap, while it stays for --keep-revertible",
            ));
        }
        self.status.revert_begins();
        // Nothing that held the first swap holds this one.
        self.change(|tunables| {
            tunables.postpone_cutover = false;
            tunables.cutover_released = true;
        });
        self.send(ControlCommand::Revert)
    }

    /// Ends the run so that the same command continues it.
    ///
    /// # Errors
    /// The run is about to end and takes no commands any more.
    pub fn abort(&self) -> Result<()> {
        self.send(ControlCommand::Abort)
    }

    /// Ends the run and removes its tables.
    ///
    /// # Errors
    /// As [`Controller::abort`].
    pub fn drop_all(&self) -> Result<()> {
        self.send(ControlCommand::Drop)
    }

    /// Ends the run at once and leaves everything.
    ///
    /// # Errors
    /// As [`Controller::abort`].
    pub fn panic(&self) -> Result<()> {
        self.send(ControlCommand::Panic)
    }

    /// Asks the workflow.
    ///
    /// # Errors
    /// As [`Controller::abort`].
    pub fn send(&self, command: ControlCommand) -> Result<()> {
        tracing::info!(event = "command", command = ?command, "the operator asks for {command:?}");
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    Failure::failed("earlier commands still wait to be carried out")
                        .remedy("look at `status`, then try again")
                }
                mpsc::error::TrySendError::Closed(_) => {
                    Failure::failed("the run is ending and takes no commands any more")
                }
            })
    }
}

/// The default path of a table's control socket: `${TMPDIR:-/tmp}/changeling.SCHEMA.TABLE.sock`.
/// Slashes in names become `_`; a name too long for a socket is cut.
pub fn default_socket_path(table: &TableName) -> PathBuf {
    /// The system's limit for socket paths is 107 bytes (`sun_path`).
    const NAME_BYTES_MAX: usize = 80;
    let clean = |name: &str| name.replace(['/', '\0'], "_");
    let mut name = format!(
        "changeling.{}.{}",
        clean(&table.schema),
        clean(&table.table)
    );
    if name.len() > NAME_BYTES_MAX {
        let hash = crate::names::fnv1a32(table.to_string().as_bytes());
        let mut end = NAME_BYTES_MAX - 9;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name.push_str(&format!("-{hash:08x}"));
    }
    std::env::temp_dir().join(format!("{name}.sock"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::names::Names;
    use crate::progress::Progress;

    pub(super) fn controller() -> (Controller, mpsc::Receiver<ControlCommand>) {
        let (sender, receiver) = watch::channel(Tunables::default());
        let names = Names::new(&TableName::new("d", "t"), None, None);
        let progress = Arc::new(Progress::default());
        let source = StatusSource::new(names, "ADD c INT", "h:3306", progress, receiver);
        Controller::new(sender, Arc::new(source))
    }

    #[test]
    fn limits_are_changed_and_refused() {
        let (controller, _commands) = controller();
        assert_eq!(controller.set("max-lag", "3s").unwrap(), "3s");
        assert_eq!(controller.tunables().lag_max, Duration::from_secs(3));
        assert!(controller.set("max-lag", "soon").is_err());
        assert_eq!(controller.tunables().lag_max, Duration::from_secs(3));
        assert!(controller.set("nonsense", "1").is_err());
        controller.pause();
        assert!(controller.tunables().paused);
        controller.resume();
        assert!(!controller.tunables().paused);
    }

    #[test]
    fn commands_reach_the_workflow_or_say_why_not() {
        let (controller, mut commands) = controller();
        controller.postpone();
        assert!(controller.tunables().postpone_cutover);
        controller.cut_over();
        let tunables = controller.tunables();
        assert!(!tunables.postpone_cutover && tunables.cutover_released);
        controller.abort().unwrap();
        assert_eq!(commands.try_recv().unwrap(), ControlCommand::Abort);
        for _ in 0..COMMANDS_MAX {
            controller.abort().unwrap();
        }
        assert!(controller.abort().is_err());
        drop(commands);
        assert!(controller.drop_all().is_err());
    }

    #[test]
    fn socket_paths_fit() {
        let path = |schema: &str, table: &str| default_socket_path(&TableName::new(schema, table));
        assert!(path("d", "t").ends_with("changeling.d.t.sock"));
        assert!(path("a/b", "t").ends_with("changeling.a_b.t.sock"));
        let long = path("d", &"é".repeat(64));
        assert!(long.file_name().unwrap().len() <= 90);
        assert_ne!(long, path("d", &("é".repeat(63) + "e")));
    }
}
