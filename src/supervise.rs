//! Tasks that belong together: the first failure or panic cancels the rest, and all are joined.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Result};

/// A group of tasks. Only here tasks are spawned.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<(String, Result<()>)>,
    cancel: CancellationToken,
}

impl Supervisor {
    /// A group that is cancelled with its parent, and by its first failure.
    pub fn new(parent: &CancellationToken) -> Supervisor {
        Supervisor {
            tasks: JoinSet::new(),
            cancel: parent.child_token(),
        }
    }

    /// The token of the group. A task that sees it cancelled ends soon, with `Ok`.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Starts a task. Its error cancels the group.
    pub fn spawn(&mut self, name: &str, task: impl Future<Output = Result<()>> + Send + 'static) {
        let name = name.to_string();
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let result = task.await;
            if result.is_err() {
                cancel.cancel();
            }
            (name, result)
        });
    }

    /// Waits until all tasks have ended, or the first has failed; cancels the rest and joins them all.
    ///
    /// # Errors
    /// The first failure; later ones are logged. A panic is a failure.
    pub async fn join(mut self) -> Result<()> {
        let mut first: Option<Failure> = None;
        while let Some(joined) = self.tasks.join_next().await {
            let failure = match joined {
                Ok((_, Ok(()))) => continue,
                Ok((name, Err(failure))) => failure.doing(name),
                Err(error) => {
                    self.cancel.cancel();
                    Failure::failed(format!("a task of the program broke: {error}"))
                        .remedy("report this with the log")
                }
            };
            match &first {
                None => first = Some(failure),
                Some(_) => tracing::debug!(event = "later_failure", "also: {failure}"),
            }
        }
        match first {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Cancels all and joins them; see [`Supervisor::join`].
    ///
    /// # Errors
    /// As [`Supervisor::join`].
    pub async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        self.join().await
    }
}
