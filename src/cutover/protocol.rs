//! The two protocols behind one interface.

use std::time::Duration;

use super::attempt::{End, Log};
use super::changes::LastChanges;
use super::lock_and_rename::LockAndRename;
use super::sentry::Sentry;
use super::triggers::Trigger;
use super::{CutOverPlan, Protocol};
use crate::failure::Result;

/// The sessions of an attempt, opened before anybody waits for them.
pub(super) enum Crew {
    LockAndRename(LockAndRename),
    Sentry(Box<Sentry>),
}

impl Crew {
    /// Opens the sessions that the plan's protocol needs.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(plan: &CutOverPlan) -> Result<Crew> {
        Ok(match plan.protocol {
            Protocol::LockAndRename => Crew::LockAndRename(LockAndRename::open(plan).await?),
            Protocol::Sentry => Crew::Sentry(Box::new(Sentry::open(plan).await?)),
        })
    }

    /// Connection ids, for when they are lost.
    pub fn ids(&self) -> Vec<u32> {
        match self {
            Crew::LockAndRename(crew) => crew.ids(),
            Crew::Sentry(crew) => crew.ids(),
        }
    }

    pub async fn close(self) {
        match self {
            Crew::LockAndRename(crew) => crew.close().await,
            Crew::Sentry(crew) => crew.close().await,
        }
    }

    /// One attempt; see the protocols.
    ///
    /// # Errors
    /// An error that another attempt would meet again.
    pub async fn attempt<C: LastChanges>(
        &mut self,
        plan: &CutOverPlan,
        changes: &C,
        lock_wait: Duration,
        triggers: &[Trigger],
        log: &mut Log,
    ) -> Result<End> {
        match self {
            Crew::LockAndRename(crew) => {
                crew.attempt(plan, changes, lock_wait, triggers, log).await
            }
            Crew::Sentry(crew) => crew.attempt(plan, changes, lock_wait, triggers, log).await,
        }
    }
}
