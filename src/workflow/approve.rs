//! The first step: what there is to do, and whether it may be done. Nothing is created here.

use super::back::{self, Back, Left};
use super::finish;
use super::interrupted::{Interrupted, find_interrupted};
use super::native;
use super::run::Run;
use crate::alter::{AlterStatement, NativeAnswer};
use crate::checkpoint::Checkpoint;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Purpose;
use crate::names::TableName;
use crate::preflight;
use crate::progress::Phase;
use crate::schema::TableDefinition;
use crate::settings::{Extent, ResumeSetting, Triggers};

/// What there is to do.
pub enum Approval {
    /// A migration, begun or to begin.
    GoOn(Box<Approved>),
    /// Nothing but cleaning up: the interrupted run died after its swap.
    AlreadySwapped {
        /// Where the original is.
        old: TableName,
        /// See [`Approved::lock`].
        lock: Box<preflight::MigrationLock>,
    },
}

/// What preflight found right.
pub struct Approved {
    /// From what the ghost is made.
    pub way: Way,
    /// The original as it is.
    pub original: TableDefinition,
    /// Holds the advisory lock that keeps a second run away.
    pub lock: preflight::MigrationLock,
}

/// From what the ghost is made.
#[allow(clippy::large_enum_variant)] // there is one of it, and it lives in a box with `Approved`
pub enum Way {
    /// From the original's definition and an ALTER.
    Alter {
        /// The statement, understood.
        alter: AlterStatement,
        /// What an interrupted run of it has left.
        found: Option<Checkpoint>,
        /// How many replicas are attached.
        replicas: usize,
        /// What the server would do itself.
        native: Option<Box<NativeAnswer>>,
        /// What stands against the ghost table, where nothing stands against the server's own way.
        against_ghost: Option<Failure>,
    },
    /// It is the old table of a finished run.
    Back {
        /// What is taken back.
        back: Box<Back>,
        /// What an interrupted way back has left.
        found: Option<Checkpoint>,
    },
}

/// Looks at everything, and refuses what is unsafe before anything is created.
///
/// # Errors
/// [`FailureKind::Refused`] with all findings; what the server answered.
pub async fn approve(run: &Run) -> Result<Approval> {
    run.progress.enter(Phase::Preflight);
    if let Some(back) = &run.back {
        return approve_back(run, back).await;
    }
    let alter = AlterStatement::parse(&run.settings.alter)?;
    let lock = preflight::acquire_migration_lock(&run.server, &run.names).await?;
    let mut session = run.ddl_session().await?;
    let interrupted = find_interrupted(run, &mut session, &alter).await;
    if interrupted.is_err() {
        run.found_helpers();
    }
    let found = match interrupted? {
        Interrupted::Swapped { old } => {
            return Ok(Approval::AlreadySwapped {
                old,
                lock: Box::new(lock),
            });
        }
        Interrupted::Resumable(found) => {
            run.found_helpers();
            Some(*found)
        }
        Interrupted::Nothing => None,
    };
    if found.is_none() && run.settings.drop_old_first {
        finish::drop_old(&mut session, &run.names).await?;
    }
    if found.is_none() && must_go_on(run) {
        return Err(nothing_interrupted());
    }
    let mut report = preflight::inspect(
        &mut session,
        &run.names,
        Some(&alter),
        &requirements(run, found.is_some()),
    )
    .await?;
    session.close().await;
    report.log();
    if run.reads_binlog_elsewhere() {
        let mut session = run.binlog_server.session(Purpose::Monitor).await?;
        let findings = preflight::inspect_binlog(&mut session, &run.names).await?;
        session.close().await;
        findings.log();
        findings.verdict()?;
    }
    let replicas = report.replicas;
    let native = report.native.clone();
    let may_be_native = run.settings.extent == Extent::Migration
        && found.is_none()
        && native::choose(run, &alter, native.as_ref()).is_ok();
    let against_ghost = match may_be_native {
        true => report.set_aside_ghost_only(),
        false => None,
    };
    let original = report.approve()?;
    Ok(Approval::GoOn(Box::new(Approved {
        way: Way::Alter {
            alter,
            found,
            replicas,
            native: native.map(Box::new),
            against_ghost,
        },
        original,
        lock,
    })))
}

/// The same for a way back.
async fn approve_back(run: &Run, back: &Back) -> Result<Approval> {
    let lock = preflight::acquire_migration_lock(&run.server, &run.names).await?;
    let mut session = run.server.session(Purpose::Ddl).await?;
    let found = match back::left(run, &mut session).await? {
        Left::Swapped(found) => {
            run.record.take_up(found.history);
            let old = run.names.old.clone();
            return Ok(Approval::AlreadySwapped {
                old,
                lock: Box::new(lock),
            });
        }
        Left::Interrupted(found) if run.settings.resume != ResumeSetting::Restart => {
            run.found_helpers();
            Some(*found)
        }
        Left::Interrupted(_) | Left::Done => {
            finish::remove_helpers(&mut session, &run.helper_names()).await?;
            None
        }
        Left::Nothing => None,
    };
    if found.is_none() && must_go_on(run) {
        return Err(nothing_interrupted());
    }
    // The old table is there, and is no left-over.
    let report = preflight::inspect(
        &mut session,
        &run.helper_names(),
        None,
        &requirements(run, found.is_some()),
    )
    .await?;
    session.close().await;
    report.log();
    let original = report.approve()?;
    Ok(Approval::GoOn(Box::new(Approved {
        way: Way::Back {
            back: Box::new(back.clone()),
            found,
        },
        original,
        lock,
    })))
}

fn nothing_interrupted() -> Failure {
    Failure::new(
        FailureKind::Refused,
        "there is no interrupted run to go on with",
    )
    .remedy("leave out --resume to begin")
}

fn must_go_on(run: &Run) -> bool {
    matches!(
        run.settings.resume,
        ResumeSetting::Require | ResumeSetting::Repair
    )
}

fn requirements(run: &Run, resumable: bool) -> preflight::Requirements {
    preflight::Requirements {
        resumable,
        recreate_triggers: run.settings.triggers == Triggers::Recreate,
        trigger_suffix: run.settings.trigger_suffix.clone(),
        nullable_key: run.settings.nullable_key,
        discard_foreign_keys: run.settings.discard_foreign_keys,
        replicas_given: !run.settings.throttle.replicas.is_empty(),
    }
}

pub fn rehearses(run: &Run) -> bool {
    matches!(run.settings.extent, Extent::Rehearsal(_))
}
