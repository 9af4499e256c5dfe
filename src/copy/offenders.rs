//! Names the rows that the new definition cannot hold.

use super::judge::{self, Meaning};
use super::{CopyPlan, statement};
use crate::chunk::Chunk;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::walk::Side;
use crate::walk::bounds::ends;
use crate::walk::chunker::Keyed;
use crate::walk::keys::describe;

/// How many rows are named.
const NAMED_MAX: usize = 20;
/// How many statements the search may take: 20 rows in a chunk of 50,000, twice over.
const STATEMENTS_MAX: usize = 1000;

/// Finds the offending rows of a chunk by halving: the chunk's own statement on ever smaller ranges,
/// each rolled back. Returns the failure that names them.
///
/// # Errors
/// What the server answered while searching.
pub(super) async fn name_them(
    session: &mut Session,
    plan: &CopyPlan,
    chunk: &Chunk,
) -> Result<Failure> {
    let table = Keyed {
        table: &plan.original.name,
        key: &plan.key,
        side: Side::Source,
    };
    let mut ranges = vec![Chunk {
        rows_expected: chunk.rows_expected.max(2),
        ..chunk.clone()
    }];
    let mut named = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut statements = 0;
    while let Some(range) = ranges.pop() {
        if named.len() == NAMED_MAX || statements == STATEMENTS_MAX {
            break;
        }
        statements += 1;
        let found = complaints(session, plan, &range).await?;
        if found.reasons.is_empty() && !found.incomplete {
            continue;
        }
        for reason in &found.reasons {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
        if found.rows <= 1 {
            let (lower, upper) = ends(&range);
            let key = table.key_at(session, lower, upper, 0).await?;
            let who = key.map_or_else(|| "a row".to_string(), |key| describe(&plan.key, &key));
            named.push(format!("{who} ({})", found.reasons.join("; ")));
            continue;
        }
        let (front, back) = table.cut(session, &range, found.rows.div_ceil(2)).await?;
        // The front is looked at first.
        ranges.extend(back);
        ranges.push(front);
    }
    Ok(failure(plan, &named, &reasons, !ranges.is_empty()))
}

/// What the statement complains about in one range.
struct Complaints {
    rows: u64,
    reasons: Vec<String>,
    incomplete: bool,
}

async fn complaints(session: &mut Session, plan: &CopyPlan, range: &Chunk) -> Result<Complaints> {
    let sql = statement::insert_select(plan, range, "", statement::Rows::All);
    let outcome = session.execute(&sql).await?;
    let warnings = match outcome.warnings {
        0 => Vec::new(),
        _ => session.warnings().await?,
    };
    session.execute("ROLLBACK").await?;
    let mut reasons = Vec::new();
    for warning in &warnings {
        if judge::meaning(warning, &plan.key, &plan.ghost) == Meaning::DoesNotFit {
            // The number is that of the row in this statement, which means nothing to anybody.
            let words = match warning.message.rfind(" at row ") {
                Some(end) => &warning.message[..end],
                None => &warning.message,
            };
            let reason = format!("{}: {words}", warning.code);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    Ok(Complaints {
        rows: outcome.records.unwrap_or(0),
        incomplete: usize::from(outcome.warnings) > warnings.len(),
        reasons,
    })
}

fn failure(plan: &CopyPlan, named: &[String], reasons: &[String], more: bool) -> Failure {
    let rows = if named.is_empty() {
        // They were changed while they were looked for.
        reasons.join("; ")
    } else {
        named.join(", ")
    };
    let more = if more { ", and more" } else { "" };
    Failure::new(
        FailureKind::DoesNotFit,
        format!(
            "rows of {} do not fit the new definition: {rows}{more}",
            plan.original.name
        ),
    )
    .remedy("correct these rows or the new definition, then start again")
}
