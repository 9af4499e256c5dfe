//! The swap with two sessions, for servers that refuse RENAME under LOCK TABLES (MariaDB, MySQL before
//! 8.0.13): one holds the lock while the last changes are applied, the other renames.
//!
//! The moment between the two is where a write could get lost: it would go into the original after the
//! last changes were applied, and be renamed away with it. What was seen on real servers (MariaDB
//! 10.11, MySQL 9.7) to let a write in there, although a waiting RENAME is preferred to waiting writers:
//! - somebody reads the ghost, whose lock the RENAME waits for before it asks for the original;
//! - DDL of somebody else was waiting for the original before the RENAME;
//! - `max_write_lock_count` is small: now and then writers are preferred;
//! - on MariaDB a backup (`BACKUP STAGE`, `FLUSH TABLES WITH READ LOCK`) arrives: a RENAME takes the
//!   backup lock last, and if it cannot have it gives all its table locks back, waits, and starts again.
//!
//! So nothing is concluded from a RENAME being queued. The names are chosen so that the RENAME asks for
//! the original first, then the ghost, then the *sentry*: a table that has the name which the original
//! is to get, and that a further session, the *keeper*, has locked. The order:
//!
//! 1. The holder locks original and ghost and applies the last changes.
//! 2. The renamer asks to rename; it waits for the original. As long as the sentry exists the RENAME
//!    cannot succeed, whoever dies.
//! 3. The holder unlocks. The renamer gets the original and the ghost, and waits for the sentry.
//! 4. The *trap*, a transaction that reads the ghost, is seen to wait: the renamer has come to the
//!    ghost, or somebody else has it. The *scout*, who looks at the original's definition, is seen to
//!    wait: that does not wait for those who wait, only for one who has it exclusively, the renamer or
//!    somebody else. Both together: the renamer holds the original. Everything that was ever written to
//!    it is now in the binlog, and a second marker proves that nothing was since the first.
//! 5. The keeper drops the sentry. Either the RENAME goes on, still holding everything; or it has to
//!    give its locks back, then the trap gets the ghost and keeps it, the RENAME cannot come through
//!    any more, and is killed.
//!
//! `model` explores this exhaustively, also with steps left out. What it shows to be left: a backup
//! that begins between the sentry's end and the RENAME, some milliseconds, in which we also lose the
//! trap's connection; and two others at once, one with DDL on the original, one who locks the ghost by
//! a name that it has for half a second.

mod handover;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::handover::{Lead, Looks, Stage, disturbed, send_scout, set_trap};
use super::CutOverPlan;
use super::attempt::{End, Log, Lost, judge};
use super::changes::LastChanges;
use super::crew::{bounded, end_connections, open_locker, open_watch, unlock};
use super::lock::Lock;
use super::report::Step;
use super::settle::SENTRY_COMMENT;
use super::sorted::SortedNames;
use super::triggers::Trigger;
use crate::failure::Result;
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::Names;

/// How long the statements before the lock may take each: nobody waits for them.
const ARRANGE_LIMIT: Duration = Duration::from_secs(5);
/// The trap must not give up while a RENAME is alive, so it waits longer than that may.
const TRAP_WAIT_S: u32 = 60;

/// The sessions of this protocol, opened before the lock is asked for.
pub(super) struct Sentry {
    holder: Session,
    renamer: Session,
    keeper: Session,
    trap: Session,
    scout: Session,
    watch: Session,
}

impl Sentry {
    /// Opens the sessions.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(plan: &CutOverPlan) -> Result<Sentry> {
        let server = &plan.server;
        let mut trap = open_locker(server, plan.budget).await?;
        trap.set_limit(Duration::from_secs(u64::from(TRAP_WAIT_S) * 2));
        trap.execute(&format!("SET SESSION lock_wait_timeout = {TRAP_WAIT_S}"))
            .await?;
        Ok(Sentry {
            holder: open_locker(server, plan.budget).await?,
            renamer: open_locker(server, plan.budget).await?,
            keeper: open_locker(server, plan.budget).await?,
            trap,
            scout: open_locker(server, plan.budget).await?,
            watch: open_watch(server).await?,
        })
    }

    /// Connection ids of the sessions that a lost attempt may have left behind; the renamer first,
    /// since the others keep it from renaming.
    pub fn ids(&self) -> Vec<u32> {
        [
            &self.renamer,
            &self.holder,
            &self.keeper,
            &self.trap,
            &self.scout,
            &self.watch,
        ]
        .map(Session::id)
        .to_vec()
    }

    pub async fn close(self) {
        for session in [
            self.renamer,
            self.holder,
            self.keeper,
            self.trap,
            self.scout,
            self.watch,
        ] {
            session.close().await;
        }
    }

    /// One attempt. All locks are given back when it returns, or their sessions are ended; the ghost
    /// and the sentry may be left under their sorted names, for [`super::settle`].
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
        let sorted = SortedNames::new(&plan.names.original);
        log.begin(Step::Arrange);
        if let Err(failure) = self.arrange(&plan.names, &sorted).await {
            let end = judge(failure, Step::Arrange, false);
            return self.give_back(log, end).await;
        }
        let asked = log.asked();
        let until = asked + plan.budget;
        let begin_by = asked + plan.budget_to_begin();
        let lock = Lock {
            names: &plan.names,
            ghost: &sorted.ghost,
            lock_until: asked + lock_wait,
            until: begin_by,
            rows_max: plan.rest_rows_max(),
            triggers,
        };
        let keeper = Some(&mut self.keeper);
        let held = lock
            .hold(&mut self.holder, keeper, &mut self.watch, changes, log)
            .await;
        let end = match held {
            Ok(()) => {
                let limits = [begin_by, until];
                self.swap(&plan.names, &sorted, changes, limits, log).await
            }
            Err(failure) => judge(failure, log.step(), Instant::now() >= begin_by),
        };
        self.give_back(log, end).await
    }

    /// Gives the ghost its sorted name and has the keeper lock the sentry. The application has no part
    /// in any of these tables.
    async fn arrange(&mut self, names: &Names, sorted: &SortedNames) -> Result<()> {
        let ghost = format!(
            "{OWN_DDL}RENAME TABLE {} TO {}",
            quote::table(&names.ghost),
            quote::table(&sorted.ghost)
        );
        // It is never written to, and to drop it is a part of the stall: an InnoDB table's file took up
        // to 49 ms to go on a busy MariaDB, a MEMORY table 25. Where there is no such engine the server
        // takes its default.
        let create = format!(
            "{OWN_DDL}CREATE TABLE {} (id INT NOT NULL PRIMARY KEY) ENGINE = MEMORY COMMENT = '{SENTRY_COMMENT}'",
            quote::table(&sorted.sentry)
        );
        let lock = format!("LOCK TABLES {} WRITE", quote::table(&sorted.sentry));
        let Sentry { keeper, watch, .. } = self;
        for sql in [&ghost, &create, &lock] {
            let until = Instant::now() + ARRANGE_LIMIT;
            bounded(watch, keeper.id(), until, keeper.execute(sql)).await?;
        }
        Ok(())
    }

    /// From the last changes being applied to the RENAME's answer. The RENAME has ended when this
    /// returns, whatever came of it.
    async fn swap<C: LastChanges>(
        &mut self,
        names: &Names,
        sorted: &SortedNames,
        changes: &C,
        [begin_by, until]: [Instant; 2],
        log: &mut Log,
    ) -> Result<End> {
        let Sentry {
            holder,
            renamer,
            keeper,
            trap,
            scout,
            watch,
        } = self;
        let stage = Stage::default();
        let (go_trap, trap_waits) = oneshot::channel();
        let (go_scout, scout_waits) = oneshot::channel();
        let server = watch.server().clone();
        let (renamer_id, trap_id, scout_id) = (renamer.id(), trap.id(), scout.id());
        let rename_sql = format!(
            "{OWN_DDL}RENAME TABLE {original} TO {sentry}, {ghost} TO {original}",
            original = quote::table(&names.original),
            sentry = quote::table(&sorted.sentry),
            ghost = quote::table(&sorted.ghost),
        );
        let rename = async {
            let mut answer = renamer.execute(&rename_sql).await;
            if let Err(failure) = &answer
                && failure.is_disconnected()
                // It may go on without us: the others keep it from coming through until it has ended.
                && let Err(worse) = end_connections(&server, &[renamer_id]).await
            {
                answer = Err(failure
                    .clone()
                    .doing(format!("end a lost RENAME ({worse})")));
            }
            stage.set(&stage.renamed);
            answer
        };
        let lead = async {
            let mut lead = Lead {
                stage: &stage,
                holder,
                keeper,
                watch,
                renamer_id,
                trap_id,
                scout_id,
                begin_by,
                until,
                looks: Looks::default(),
            };
            let led = lead.run(sorted, changes, [go_trap, go_scout], log).await;
            if led.is_err() {
                stage.set(&stage.stop);
            }
            lead.end_rename().await;
            led
        };
        let original = quote::table(&names.original);
        let ghost = quote::table(&sorted.ghost);
        // Polled as one task, so that what one part sees and sets is not overtaken by another.
        let (renamed, led, (), ()) = tokio::join!(
            rename,
            lead,
            set_trap(trap, &ghost, &stage, trap_waits),
            send_scout(scout, &original, &stage, scout_waits),
        );
        match (renamed, led) {
            (Ok(_), _) => Ok(End::Swapped),
            (Err(renamed), led) => {
                let failure = match led {
                    _ if renamed.is_disconnected() => renamed,
                    Err(led) => led,
                    Ok(()) if stage.is(&stage.sprung) => disturbed(
                        "the RENAME had to give its locks back: a backup or a global read lock has begun",
                    ),
                    Ok(()) => renamed,
                };
                Ok(End::Lost(Lost {
                    failure,
                    step: log.step(),
                    over: Instant::now() >= begin_by,
                }))
            }
        }
    }

    async fn give_back(&mut self, log: &mut Log, end: Result<End>) -> Result<End> {
        log.begin(Step::Unlock);
        let server = self.watch.server().clone();
        let mut lost = None;
        for session in [&mut self.holder, &mut self.keeper] {
            lost = unlock(session).await.err().or(lost);
        }
        if let Err(failure) = self.trap.execute("ROLLBACK").await {
            let ended = end_connections(&server, &[self.trap.id()]).await;
            lost = Some(ended.err().unwrap_or(failure));
        }
        log.released();
        match (lost, end) {
            (Some(failure), Ok(End::Released(_))) => Ok(End::Lost(Lost {
                failure,
                step: Step::Unlock,
                over: false,
            })),
            (_, end) => end,
        }
    }
}
