//! The server's own ALTER of the original, where it takes a moment: under the same budget as a swap,
//! since it needs the same lock. What is killed before its end has changed nothing.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::attempt::Log;
use super::blockers::Lookout;
use super::crew::{bounded, end_connections, open_watch};
use super::report::{Attempt, Blocker, Outcome, Step};
use super::schedule::Schedule;
use crate::alter::show_create;
use crate::failure::{Context, ErrorClass, Failure, Result};
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::TableName;
use crate::progress::{Phase, Progress};

/// No such statement takes longer, whatever goes wrong; its connection is ended then.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);

/// What is to be run, and what it may cost.
#[derive(Clone, Debug)]
pub struct NativePlan {
    /// Where.
    pub server: Server,
    /// The table.
    pub table: TableName,
    /// The whole statement, with its ALGORITHM.
    pub sql: String,
    /// From asking for the lock to the statement's end; past it the statement is killed.
    pub budget: Duration,
    /// How many attempts.
    pub attempts_max: u32,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeEnd {
    /// The table has its new definition.
    Altered,
    /// It was not to be had within the budget; the table is as it was.
    NoLock {
        /// How many attempts.
        attempts: u32,
    },
    /// The server does not do it, or not in this way; the table is as it was.
    Refused(String),
    /// Cancelled before the statement had succeeded; the table is as it was.
    Cancelled,
}

/// Waits while `hold` is true, then attempts it, with pauses that grow. `on_attempt` is told of each.
/// Cancelling ends the waiting, never an attempt.
///
/// # Errors
/// What the server answered to the looks around it; a lost connection after which the catalogue does
/// not tell.
pub async fn alter(
    plan: &NativePlan,
    mut hold: watch::Receiver<bool>,
    progress: &Progress,
    on_attempt: &(dyn Fn(&Attempt) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<NativeEnd> {
    let mut lookout = Lookout::open(&plan.server, &plan.table).await?;
    let before = definition(lookout.session(), &plan.table).await?;
    let mut schedule = Schedule::new(plan.budget);
    let mut end = NativeEnd::NoLock {
        attempts: plan.attempts_max,
    };
    for number in 1..=plan.attempts_max {
        wait_while_held(&mut hold, progress, cancel).await?;
        if cancel.is_cancelled() {
            end = NativeEnd::Cancelled;
            break;
        }
        progress.cutover_attempts.set(u64::from(number));
        let own = plan.server.own_connections();
        let blockers = lookout.look(&own, plan.budget).await?;
        let mut log = Log::default();
        let outcome = if lookout.sees_holders() && !blockers.is_empty() {
            Ok(Outcome::Blocked)
        } else {
            let limit = if blockers.is_empty() {
                plan.budget
            } else {
                plan.budget / 2
            };
            attempt(plan, &before, limit, &mut log).await?
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                end = NativeEnd::Refused(refusal);
                break;
            }
        };
        let stall = log.stall();
        let pause = schedule.failed(stall, None);
        let again = outcome != Outcome::Altered && number < plan.attempts_max;
        let done = outcome == Outcome::Altered;
        let attempt = report(number, outcome, blockers, log, again.then_some(pause));
        let micros = u64::try_from(stall.as_micros()).unwrap_or(u64::MAX);
        progress.lock_micros_max.raise(micros);
        tracing::info!(
            event = "native_attempt",
            number,
            "the server's own ALTER: {attempt}"
        );
        on_attempt(&attempt);
        if done {
            end = NativeEnd::Altered;
            break;
        }
        if again {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => {}
            }
        }
    }
    lookout.close().await;
    Ok(end)
}

fn report(
    number: u32,
    outcome: Outcome,
    blockers: Vec<Blocker>,
    log: Log,
    next_in: Option<Duration>,
) -> Attempt {
    Attempt {
        number,
        rows_applied: 0,
        stall: log.stall(),
        steps: log.into_steps(),
        blockers,
        killed: Vec::new(),
        outcome,
        next_in,
    }
}

async fn wait_while_held(
    hold: &mut watch::Receiver<bool>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    while *hold.borrow_and_update() && !cancel.is_cancelled() {
        progress.enter(Phase::Postponed);
        let _wait = progress.wait_for("the operator's word to alter the table");
        tokio::select! {
            changed = hold.changed() => changed.map_err(|_| {
                Failure::failed("the ALTER is held back and nobody is left to release it")
            })?,
            () = cancel.cancelled() => {}
        }
    }
    progress.enter(Phase::Native);
    Ok(())
}

/// One attempt. The inner error: the server's refusal, in its words.
async fn attempt(
    plan: &NativePlan,
    before: &str,
    limit: Duration,
    log: &mut Log,
) -> Result<std::result::Result<Outcome, String>> {
    let mut session = plan.server.session(Purpose::Ddl).await?;
    session.set_limit(STATEMENT_LIMIT);
    // The server counts in seconds: a net, should the session that watches be lost. Foreign keys are
    // checked as the server is set up: this is the original, not a copy without them.
    session
        .execute(&format!(
            "SET SESSION lock_wait_timeout = {}, foreign_key_checks = DEFAULT",
            plan.budget.as_secs() + 1
        ))
        .await?;
    let mut watch = open_watch(&plan.server).await?;
    let id = session.id();
    log.begin(Step::Alter);
    let until = log.asked() + limit;
    let result = bounded(&mut watch, id, until, session.execute(&plan.sql)).await;
    log.released();
    let outcome = match result {
        Ok(_) => Ok(Outcome::Altered),
        Err(failure) => match failure.class() {
            // A kill may have come just after the end.
            Some(ErrorClass::Killed) if definition(&mut watch, &plan.table).await? != before => {
                Ok(Outcome::Altered)
            }
            Some(ErrorClass::Killed | ErrorClass::Transient) => {
                Ok(Outcome::OverBudget(Step::Alter))
            }
            Some(ErrorClass::Disconnected) => {
                end_connections(&plan.server, &[id])
                    .await
                    .doing(|| format!("see whether {} was altered: {failure}", plan.table))?;
                if definition(&mut watch, &plan.table).await? == before {
                    Ok(Outcome::Disturbed(failure.to_string()))
                } else {
                    Ok(Outcome::Altered)
                }
            }
            Some(ErrorClass::Definite | ErrorClass::Refused) => Err(failure.cause().to_string()),
            None => return Err(failure),
        },
    };
    session.close().await;
    watch.close().await;
    Ok(outcome)
}

async fn definition(session: &mut Session, table: &TableName) -> Result<String> {
    let (_, text): (String, String) = session
        .one(&format!("SHOW CREATE TABLE {}", quote::table(table)))
        .await?;
    Ok(show_create::comparable(&text))
}
