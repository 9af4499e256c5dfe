//! The moment between the two sessions: parts that run side by side, and the one that decides.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::attempt::{Log, over_budget, within};
use super::super::changes::LastChanges;
use super::super::crew::{bounded, kill_statement, released_after, unlock};
use super::super::report::Step;
use super::super::sorted::SortedNames;
use crate::failure::{ErrorClass, Failure, Result};
use crate::mysql::Session;
use crate::mysql::error::ER_NO_SUCH_TABLE;
use crate::mysql::quote::{self, OWN_DDL};

/// What the process list says of a statement that waits for a table, in both families. Waiting for
/// something else (a schema, a backup) has other words.
const WAITS_FOR_TABLE: &str = "Waiting for table metadata lock";
/// Between two looks at the process list: a look costs the server some tenths of a millisecond.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// So many looks of each part come without a pause: mostly what is waited for is there after two or three,
/// and a pause of a timer takes longer than they do (the proof took 3 or 6 ms with pauses alone).
const LOOKS_AT_ONCE: u32 = 10;
/// Between two kills of a RENAME that has not ended.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// Pauses between the looks of one part.
#[derive(Default)]
pub(super) struct Looks(u32);

impl Looks {
    async fn pause(&mut self) {
        self.0 += 1;
        if self.0 <= LOOKS_AT_ONCE {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What the concurrent parts of the swap tell each other.
#[derive(Default)]
pub(super) struct Stage {
    /// The RENAME has answered.
    pub(super) renamed: AtomicBool,
    /// How many times the trap was let go because it was too early.
    pub(super) round: AtomicU32,
    /// From now on the trap keeps what it gets.
    pub(super) armed: AtomicBool,
    /// The trap has got the ghost: the RENAME has lost its locks.
    pub(super) sprung: AtomicBool,
    /// The trap has failed.
    pub(super) trap_lost: AtomicBool,
    /// Nothing comes of it any more.
    pub(super) stop: AtomicBool,
    /// One of these has changed.
    changed: Notify,
}

impl Stage {
    pub(super) fn set(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    pub(super) fn is(&self, flag: &AtomicBool) -> bool {
        flag.load(Ordering::SeqCst)
    }
}

/// The part that decides, while the RENAME and the trap wait for the server.
pub(super) struct Lead<'a> {
    pub(super) stage: &'a Stage,
    pub(super) holder: &'a mut Session,
    pub(super) keeper: &'a mut Session,
    pub(super) watch: &'a mut Session,
    pub(super) renamer_id: u32,
    pub(super) trap_id: u32,
    pub(super) scout_id: u32,
    /// When the sentry must go at the latest.
    pub(super) begin_by: Instant,
    /// The end of the budget.
    pub(super) until: Instant,
    pub(super) looks: Looks,
}

impl Lead<'_> {
    /// Steps 2 to 5 of the module's text.
    pub(super) async fn run<C: LastChanges>(
        &mut self,
        sorted: &SortedNames,
        changes: &C,
        go: [oneshot::Sender<()>; 2],
        log: &mut Log,
    ) -> Result<()> {
        log.begin(Step::Queue);
        while !self.waits(self.renamer_id).await? {
            self.go_on().await?;
        }
        unlock(self.holder).await?;
        log.begin(Step::Proof);
        for one in go {
            // Both parts wait for it: they are polled with this one.
            let _ = one.send(());
        }
        loop {
            let round = self.stage.round.load(Ordering::SeqCst);
            let waits = self.waits(self.trap_id).await?;
            if waits && round == self.stage.round.load(Ordering::SeqCst) {
                self.stage.set(&self.stage.armed);
                break;
            }
            self.go_on().await?;
        }
        while !self.waits(self.scout_id).await? {
            self.go_on().await?;
        }
        let arrived = changes.arrived_since_marker(self.begin_by.into_std());
        let late = released_after(self.begin_by, arrived, async {
            self.end_rename().await;
            let _ = unlock(self.keeper).await;
            log.released();
        })
        .await?;
        if late > 0 {
            return Err(disturbed(&format!(
                "{late} changes came before the RENAME had the table: other DDL was waiting for it, or \
                 max_write_lock_count is small"
            )));
        }
        self.go_on().await?;
        log.begin(Step::Rename);
        let drop = format!("{OWN_DDL}DROP TABLE {}", quote::table(&sorted.sentry));
        let id = self.keeper.id();
        bounded(self.watch, id, self.until, self.keeper.execute(&drop)).await?;
        let stage = self.stage;
        while !stage.is(&stage.renamed) && !stage.is(&stage.sprung) && !stage.is(&stage.trap_lost) {
            within(self.until)?;
            tokio::select! {
                () = stage.changed.notified() => {}
                () = tokio::time::sleep_until(self.until) => {}
            }
        }
        Ok(())
    }

    /// Kills the RENAME until it has answered: it may have come through all the same.
    pub(super) async fn end_rename(&mut self) {
        while !self.stage.is(&self.stage.renamed) {
            kill_statement(self.watch, self.renamer_id).await;
            tokio::time::sleep(KILL_AGAIN).await;
        }
    }

    async fn waits(&mut self, id: u32) -> Result<bool> {
        let state: Option<Option<String>> = self
            .watch
            .first(&format!(
                "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {id}"
            ))
            .await?;
        Ok(state.flatten().as_deref() == Some(WAITS_FOR_TABLE))
    }

    /// A little later, unless there is a reason to stop.
    async fn go_on(&mut self) -> Result<()> {
        let stage = self.stage;
        if stage.is(&stage.renamed) {
            return Err(disturbed("the RENAME ended too early"));
        }
        if stage.is(&stage.trap_lost) || stage.is(&stage.sprung) {
            return Err(disturbed("the RENAME did not keep the ghost"));
        }
        if Instant::now() >= self.begin_by {
            return Err(over_budget());
        }
        self.looks.pause().await;
        Ok(())
    }
}

/// Waits for the ghost behind the RENAME. Got too early, it is let go and asked for again; got once
/// armed, it is kept.
pub(super) async fn set_trap(
    trap: &mut Session,
    ghost: &str,
    stage: &Stage,
    go: oneshot::Receiver<()>,
) {
    if go.await.is_err() {
        return;
    }
    let read = format!("SELECT 1 FROM {ghost} LIMIT 1");
    let mut looks = Looks::default();
    loop {
        let got = async {
            trap.execute("START TRANSACTION").await?;
            trap.execute(&read).await
        };
        match got.await {
            Ok(_) if stage.is(&stage.armed) => return stage.set(&stage.sprung),
            Ok(_) => {}
            // The RENAME has come through.
            Err(failure) if failure.code() == Some(ER_NO_SUCH_TABLE) => return,
            Err(_) => return stage.set(&stage.trap_lost),
        }
        if trap.execute("ROLLBACK").await.is_err() {
            return stage.set(&stage.trap_lost);
        }
        stage.round.fetch_add(1, Ordering::SeqCst);
        if stage.is(&stage.stop) || stage.is(&stage.renamed) {
            return;
        }
        looks.pause().await;
    }
}

/// Looks at the original's definition again and again, until it has to wait.
pub(super) async fn send_scout(
    scout: &mut Session,
    original: &str,
    stage: &Stage,
    go: oneshot::Receiver<()>,
) {
    if go.await.is_err() {
        return;
    }
    let look = format!("SHOW CREATE TABLE {original}");
    let mut looks = Looks::default();
    // A scout that is lost is not seen to wait, and the attempt ends by its budget.
    while scout.query::<mysql_async::Row>(&look).await.is_ok() {
        if stage.is(&stage.stop) || stage.is(&stage.renamed) {
            return;
        }
        looks.pause().await;
    }
}

/// An attempt that may be made again.
pub(super) fn disturbed(why: &str) -> Failure {
    Failure::from_server(ErrorClass::Transient, None, why)
}
