//! The server's own ALTER first, where it takes a moment: nothing is copied then.

use super::desk::Desk;
use super::run::{Run, stopped};
use crate::alter::{AlterStatement, ClauseKind, NativeAnswer, NativeWay};
use crate::cutover::{self, NativeEnd, NativePlan};
use crate::failure::{Context, Result};
use crate::progress::Phase;
use crate::schema::TableDefinition;
use crate::settings::NativeSetting;

/// After so many attempts the ghost table is the better way: it waits for the same lock only once, at its
/// end, and can be told to wait for a quiet hour.
const ATTEMPTS_MAX: u32 = 5;

/// Which of the server's ways a migration takes before the ghost table; `Err`: none, and why.
pub fn choose(
    run: &Run,
    alter: &AlterStatement,
    answer: Option<&NativeAnswer>,
) -> std::result::Result<NativeWay, String> {
    if run.settings.keep_revertible.is_some() {
        return Err("--keep-revertible needs the old table".to_string());
    }
    let Some(answer) = answer else {
        return Err("the server could not be asked".to_string());
    };
    let way = answer.way;
    let drops = |kind: &ClauseKind| matches!(kind, ClauseKind::DropColumn { .. });
    let adds = |kind: &ClauseKind| matches!(kind, ClauseKind::AddColumn { .. });
    let moves_columns = alter.kinds().any(|kind| drops(kind) || adds(kind));
    match run.settings.native {
        NativeSetting::Never => return Err("--native=never".to_string()),
        NativeSetting::Instant if way != NativeWay::Instant => {
            return Err(format!("the server's own way is {way}"));
        }
        NativeSetting::Auto if !way.takes_a_moment() => {
            return Err(format!(
                "the server's own way is {way}: it takes as long as the table is large"
            ));
        }
        NativeSetting::Auto if alter.kinds().any(drops) => {
            return Err(format!(
                "the server's own way is {way}, but the values of dropped columns would be gone; by the \
                 ghost table they stay in the old table (--native=instant drops them)"
            ));
        }
        NativeSetting::Instant | NativeSetting::Auto => {}
    }
    if way == NativeWay::Instant
        && moves_columns
        && answer.row_versions_left(run.server.facts()) == Some(0)
    {
        return Err(
            "the table has no row version left for INSTANT: a rebuild, as by the ghost table, gives it \
             new ones"
                .to_string(),
        );
    }
    Ok(way)
}

/// Takes it. `None`: not taken, for the reason that is logged; the table is as it was.
///
/// # Errors
/// A hook's veto; a stop; what the server answered to the looks around it.
pub async fn try_first(
    run: &Run,
    desk: &Desk,
    table: &TableDefinition,
    alter: &AlterStatement,
    answer: Option<&NativeAnswer>,
) -> Result<Option<NativeWay>> {
    let not = |why: &str| {
        tracing::info!(event = "native_way", "by the ghost table: {why}");
        Ok(None)
    };
    let way = match choose(run, alter, answer) {
        Ok(way) => way,
        Err(why) => return not(&why),
    };
    let original = &run.names.original;
    let modifiers = answer.map_or("", |answer| answer.modifiers);
    let Some(sql) = alter.sql_with(original, modifiers) else {
        return not("there is nothing to do");
    };
    tracing::info!(event = "native_way", "by the server's own ALTER: {way}");
    desk.announce_native().await?;
    run.progress.enter(Phase::Native);
    run.record.begin_native(run, table, alter).await;
    let settings = &run.settings.cutover;
    let attempts_max = match settings.attempts_max {
        0 => ATTEMPTS_MAX,
        max => max.min(ATTEMPTS_MAX),
    };
    let plan = NativePlan {
        server: run.server.clone(),
        table: original.clone(),
        sql,
        budget: settings.budget,
        attempts_max,
    };
    let end = cutover::alter(
        &plan,
        desk.hold.clone(),
        &run.progress,
        &|attempt| desk.tell_attempt(attempt),
        &run.stop,
    )
    .await
    .doing(|| format!("alter {original} in place"))?;
    match end {
        NativeEnd::Altered => {
            run.record.altered(way, original).await;
            Ok(Some(way))
        }
        NativeEnd::NoLock { attempts } => not(&format!(
            "the lock for the server's own ALTER was not to be had in {attempts} attempt(s)"
        )),
        NativeEnd::Refused(words) => not(&format!(
            "the server refuses on the table what it took on an empty copy: {words}"
        )),
        NativeEnd::Cancelled => Err(stopped()),
    }
}
