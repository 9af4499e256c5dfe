//! Tables that bear the names this run needs.

use super::Requirements;
use super::finding::{Finding, Findings};
use crate::failure::Result;
use crate::mysql::Session;
use crate::names::Names;
use crate::schema;

/// Finds them.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    names: &Names,
    requirements: &Requirements,
    findings: &mut Findings,
) -> Result<()> {
    let own = [&names.ghost, &names.changelog, &names.checkpoint];
    let mut left: Vec<String> = Vec::new();
    for table in own {
        if !requirements.resumable && schema::exists(session, table).await? {
            left.push(table.to_string());
        }
    }
    if !left.is_empty() {
        let (is, it) = if left.len() == 1 {
            ("is", "it")
        } else {
            ("are", "them")
        };
        findings.push(Finding::refuse(
            "left-over",
            format!("{} {is} left of an earlier run", left.join(", ")),
            format!(
                "if no such run is at work, remove {it} with `changeling cleanup`, or begin anew with \
                 --restart"
            ),
        ));
    }
    if schema::exists(session, &names.old).await? {
        findings.push(Finding::refuse(
            "left-over-old",
            format!(
                "{} is there, which the original is to be renamed to: the old table of an earlier run",
                names.old
            ),
            "drop it with `changeling cleanup` if nobody needs it, or use --timestamp-old-table",
        ));
    }
    Ok(())
}
