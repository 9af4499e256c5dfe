//! Some rows tried, for a plan: the copy's own statement on them, rolled back.

use super::offenders::name_them;
use super::{CopyPlan, judge, statement};
use crate::chunk::Chunk;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::walk::Side;
use crate::walk::chunker::Keyed;

/// Copies the first `rows` rows of each range into the plan's ghost, a table of the session's own, and
/// rolls back. Returns how many rows were tried.
///
/// # Errors
/// [`FailureKind::DoesNotFit`] with the rows named; else what the server answered.
pub async fn try_places(
    session: &mut Session,
    plan: &CopyPlan,
    places: Vec<Chunk>,
    rows: u64,
) -> Result<u64> {
    statement::prepare(session, false).await?;
    let table = Keyed {
        table: &plan.original.name,
        key: &plan.key,
        side: Side::Source,
    };
    let mut tried = 0;
    for place in places {
        let (piece, _) = table.cut(session, &place, rows).await?;
        let sql = statement::insert_select(plan, &piece, "", statement::Rows::All);
        let outcome = session.execute(&sql).await?;
        let warnings = match outcome.warnings {
            0 => Vec::new(),
            _ => session.warnings().await?,
        };
        let verdict = judge::verdict(outcome.warnings, &warnings, &plan.key, &plan.ghost);
        if verdict.does_not_fit || verdict.incomplete {
            session.execute("ROLLBACK").await?;
            return Err(name_them(session, plan, &piece).await?);
        }
        if verdict.other_duplicates {
            let words = warnings
                .first()
                .map_or("", |warning| warning.message.as_str());
            session.execute("ROLLBACK").await?;
            return Err(Failure::new(
                FailureKind::DoesNotFit,
                format!("rows of {} are duplicates: {words}", plan.original.name),
            ));
        }
        tried += outcome.records.unwrap_or(0);
    }
    session.execute("ROLLBACK").await?;
    Ok(tried)
}
