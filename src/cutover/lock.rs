//! What both protocols do first: lock original and ghost, and bring in the last changes.

use tokio::time::Instant;

use super::attempt::{Log, within};
use super::changes::LastChanges;
use super::crew::{bounded, released_after, unlock};
use super::report::Step;
use super::triggers::{Trigger, create_new};
use crate::failure::{ErrorClass, Failure, Result};
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::{Names, TableName};

/// Which tables, and until when.
pub(super) struct Lock<'a> {
    pub names: &'a Names,
    /// The ghost under its present name.
    pub ghost: &'a TableName,
    /// The lock is not waited for longer.
    pub lock_until: Instant,
    /// When the swap itself must begin at the latest.
    pub until: Instant,
    /// More rows than this are not applied under the lock.
    pub rows_max: u64,
    /// The original's triggers, to be put on the ghost.
    pub triggers: &'a [Trigger],
}

impl Lock<'_> {
    /// Locks both tables and applies everything that was written to the original before. `keeper`: a
    /// session whose locks are given back with the holder's when the marker does not come in time.
    ///
    /// # Errors
    /// The failure of a step; `log` has the step. The lock may be held or not.
    pub async fn hold<C: LastChanges>(
        &self,
        holder: &mut Session,
        keeper: Option<&mut Session>,
        watch: &mut Session,
        changes: &C,
        log: &mut Log,
    ) -> Result<()> {
        let Lock { ghost, until, .. } = *self;
        let id = holder.id();
        let lock = format!(
            "{OWN_DDL}LOCK TABLES {} WRITE, {} WRITE",
            quote::table(&self.names.original),
            quote::table(ghost)
        );
        log.begin(Step::Lock);
        bounded(watch, id, self.lock_until.min(until), holder.execute(&lock)).await?;
        log.begin(Step::Marker);
        let marker = changes.marker(until.into_std());
        released_after(until, marker, async {
            // All locks, also on tables that nobody else uses: somebody may wait for a global lock, and
            // the marker and all writers of the server for that. An error shows again when the protocol
            // unlocks.
            let _ = unlock(holder).await;
            if let Some(keeper) = keeper {
                let _ = unlock(keeper).await;
            }
            log.released();
        })
        .await?;
        within(until)?;
        // A statement that is killed is rolled back first, while the application waits: what cannot be
        // done in time is not begun.
        let rows = changes.readiness().backlog_rows;
        if rows > self.rows_max {
            return Err(Failure::from_server(
                ErrorClass::Transient,
                None,
                format!(
                    "{rows} changed rows came just before the lock, too many to be applied under it"
                ),
            ));
        }
        log.begin(Step::Rest);
        log.rows_applied += bounded(watch, id, until, changes.apply_rest(holder, ghost)).await?;
        log.begin(Step::Check);
        bounded(watch, id, until, changes.check_last(holder, ghost)).await?;
        if !self.triggers.is_empty() {
            log.begin(Step::Triggers);
            let create = create_new(holder, self.triggers, ghost);
            bounded(watch, id, until, create).await?;
        }
        within(until)
    }
}
