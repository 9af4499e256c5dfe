//! Rows that differ at first sight: changes that replay has not applied yet, or real differences.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::look::Look;
use super::work::VerifyPlan;
use crate::failure::{Failure, FailureKind, Result};
use crate::key::Key;
use crate::mysql::{Session, quote};
use crate::walk::bounds::{self, Side, SidedKey};
use crate::walk::keys::describe_sided;

/// How long changes may take to get through.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);
/// The same while a row of the original is locked. Replay may itself be waiting for somebody who waits
/// for that lock, so it is given up soon and asked for again.
const SETTLE_LIMIT_LOCKED: Duration = Duration::from_secs(3);
/// Looks without a lock. Every one costs a marker's way; only rows that change all the time need many.
const FREE_LOOKS: usize = 4;
/// Looks under a lock that may come to nothing.
const LOCKED_LOOKS: usize = 20;
/// A row must differ in so many of them in a row, with all changes applied each time.
const LOCKED_LOOKS_AGREEING: usize = 2;
/// How often a row is put right that differs again and again; the verification has the last word on it.
const MENDS: usize = 3;
/// How many rows are named.
pub(super) const NAMED_MAX: usize = 20;

/// Waits until the changes of the original made so far are in the ghost.
pub trait Settle: Send + Sync + 'static {
    /// True when every change that was visible when this was called is in the ghost and visible there;
    /// false if that takes longer than `limit`, or the run is being ended.
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>>;

    /// Whether this row of the original has changed after those who compare took note of changes, so that it
    /// will be compared later all the same.
    fn changed_again(&self, _key: &Key) -> bool {
        false
    }

    /// Takes a row over that has changed again and again: it is compared once more when nobody can write to the
    /// original, so it need not be locked for that now. False: it is not taken.
    fn takes_over(&self, _row: &SidedKey) -> bool {
        false
    }

    /// Whether there are such changes at all; if not, the first look is as good as any later one.
    fn replays(&self) -> bool {
        true
    }
}

/// Puts rows of the ghost right that differ.
pub trait Mend: Send + Sync + 'static {
    /// Makes the ghost's rows of these keys what the original's are now.
    fn mend<'a>(&'a self, keys: &'a [SidedKey]) -> BoxFuture<'a, Result<()>>;
}

/// For tables that nobody keeps up to date: nothing to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReplay;

impl Settle for NoReplay {
    fn settle(&self, _limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    fn replays(&self) -> bool {
        false
    }
}

/// Waits for the changes under way, and has mended what differs then. Whether that was enough another
/// comparison must tell.
async fn mend(
    plan: &VerifyPlan,
    mender: &dyn Mend,
    look: &mut Look<'_>,
    mut suspects: Vec<SidedKey>,
) -> Result<()> {
    for _ in 0..MENDS {
        if !suspects.is_empty() {
            settled(plan).await?;
            suspects = look.differing_of(&suspects).await?;
        }
        if suspects.is_empty() {
            break;
        }
        mender.mend(&suspects).await?;
        suspects = look.differing_of(&suspects).await?;
    }
    Ok(())
}

async fn settled(plan: &VerifyPlan) -> Result<()> {
    if plan.settle.settle(SETTLE_LIMIT).await? {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "changes of {} did not get through to {} within {}",
        plan.comparison.original,
        plan.comparison.ghost,
        humantime::format_duration(SETTLE_LIMIT)
    )))
}

/// Finds out whether the suspects differ once the changes under way are applied.
///
/// # Errors
/// [`FailureKind::Difference`], naming rows and columns; else what the server answered.
pub(super) async fn explain(
    plan: &VerifyPlan,
    look: &mut Look<'_>,
    mut suspects: Vec<SidedKey>,
) -> Result<()> {
    if let Some(mender) = &plan.mend {
        return mend(plan, &**mender, look, suspects).await;
    }
    let free_looks = match plan.settle.replays() {
        true => FREE_LOOKS,
        false => 0,
    };
    for _ in 0..free_looks {
        if suspects.is_empty() {
            return Ok(());
        }
        settled(plan).await?;
        suspects = look.differing_of(&suspects).await?;
        if plan.leaves_changing {
            // Changes are known by the original's keys.
            let key = &plan.comparison.key;
            let is_named = |suspect: &SidedKey| suspect.types == Side::Source || key.reads_alike();
            suspects
                .retain(|suspect| !(is_named(suspect) && plan.settle.changed_again(&suspect.key)));
        }
    }
    if !plan.leaves_changing {
        suspects.retain(|suspect| !plan.settle.takes_over(suspect));
    }
    let mut named: Vec<String> = Vec::new();
    let count = suspects.len();
    for (examined, suspect) in suspects.iter().enumerate() {
        if let Some(what) = look_under_lock(plan, look, suspect).await? {
            let line = format!("{} ({what})", describe_sided(&plan.comparison.key, suspect));
            // A changed row was found from both sides.
            if !named.contains(&line) {
                named.push(line);
            }
        }
        if named.len() == NAMED_MAX && examined + 1 < count {
            named.push("and more".to_string());
            break;
        }
    }
    match named.is_empty() {
        true => Ok(()),
        false => Err(difference(plan, &named)),
    }
}

pub(super) fn difference(plan: &VerifyPlan, named: &[String]) -> Failure {
    Failure::new(
        FailureKind::Difference,
        format!(
            "{} and {} differ: {}",
            plan.comparison.original,
            plan.comparison.ghost,
            named.join("; ")
        ),
    )
}

/// The last word on one row: with the original's row locked nothing can change, and all that was changed
/// before is applied. What is different, in words; `None` if nothing is.
///
/// REPEATABLE READ, since there a locking read that finds no row locks the gap, so that none comes into it
/// meanwhile whose change is still to come.
async fn look_under_lock(
    plan: &VerifyPlan,
    look: &mut Look<'_>,
    suspect: &SidedKey,
) -> Result<Option<String>> {
    let needed = match plan.settle.replays() {
        true => LOCKED_LOOKS_AGREEING,
        false => 1,
    };
    let mut agreeing = 0;
    for _ in 0..LOCKED_LOOKS {
        look.source
            .execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .await?;
        look.source.execute("START TRANSACTION").await?;
        let looked = locked_look(plan, look, suspect).await;
        let ended = look.source.execute("COMMIT").await;
        let (settled, what) = looked?;
        ended?;
        match what {
            None => return Ok(None),
            Some(what) if settled => {
                agreeing += 1;
                if agreeing == needed {
                    return Ok(Some(what));
                }
            }
            Some(_) => agreeing = 0,
        }
    }
    Err(Failure::failed(format!(
        "the row {} of {} changes so often that it cannot be compared",
        describe_sided(&plan.comparison.key, suspect),
        plan.comparison.original
    ))
    .remedy("verify at a quieter time, or look at this row yourself"))
}

async fn locked_look(
    plan: &VerifyPlan,
    look: &mut Look<'_>,
    suspect: &SidedKey,
) -> Result<(bool, Option<String>)> {
    lock_row(plan, look.source, suspect).await?;
    let settled = plan.settle.settle(SETTLE_LIMIT_LOCKED).await?;
    Ok((settled, look.describe(suspect).await?))
}

async fn lock_row(plan: &VerifyPlan, session: &mut Session, key: &SidedKey) -> Result<()> {
    let comparison = &plan.comparison;
    let sql = format!(
        "SELECT 1 FROM {} FORCE INDEX ({}) WHERE {} {}",
        quote::table(&comparison.original),
        quote::ident(&comparison.key.source_index),
        bounds::any_of_sided(&comparison.key, Side::Source, std::slice::from_ref(key)),
        session.server().facts().share_lock()
    );
    let _: Vec<u8> = session.query(&sql).await?;
    Ok(())
}
