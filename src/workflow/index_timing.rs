//! When secondary indexes are built: with the table, or in one statement after the copy.
//!
//! After the copy is faster by far. But replicas run the building as one statement and apply nothing else
//! meanwhile, so it is right only where they stand still for no longer than the operator allows.

use std::time::Duration;

use crate::alter::{AlterStatement, ClauseKind, IndexTiming, deferred};
use crate::schema::TableDefinition;
use crate::settings::DeferIndexes;

/// Index entries that a replica builds in a second: a fifth of what MySQL 9.7 was measured to build on two
/// idle cores with the table in memory.
const ENTRIES_A_SECOND: f64 = 500_000.0;

/// Decides, and says why.
pub fn decide(
    setting: DeferIndexes,
    original: &TableDefinition,
    alter: &AlterStatement,
    replicas: usize,
    lag_max: Duration,
) -> (IndexTiming, String) {
    let added = |kind: &&ClauseKind| matches!(kind, ClauseKind::AddIndex { unique: false, .. });
    let indexes = deferred::deferrable(original).len() + alter.kinds().filter(added).count();
    let seconds = original.rows_estimate as f64 * indexes as f64 / ENTRIES_A_SECOND;
    // Rounded up to tenths of a second.
    let build = Duration::from_millis((seconds * 10.0).ceil() as u64 * 100);
    let build = humantime::format_duration(build);
    let limit = humantime::format_duration(lag_max);
    match setting {
        DeferIndexes::On => (IndexTiming::AfterCopy, "asked for".to_string()),
        DeferIndexes::Off => (IndexTiming::WithTable, "asked for".to_string()),
        DeferIndexes::Auto if replicas == 0 => (
            IndexTiming::AfterCopy,
            "no replica is attached that the build would hold up".to_string(),
        ),
        DeferIndexes::Auto if seconds <= lag_max.as_secs_f64() => (
            IndexTiming::AfterCopy,
            format!(
                "{replicas} replica(s) would stand still for about {build}, within the limit of {limit}"
            ),
        ),
        DeferIndexes::Auto => (
            IndexTiming::WithTable,
            format!(
                "{replicas} replica(s) would stand still for about {build} while {indexes} index(es) are \
                 built, longer than the limit of {limit}"
            ),
        ),
    }
}

/// What it means, in words.
pub fn words(timing: IndexTiming) -> &'static str {
    match timing {
        IndexTiming::AfterCopy => "after the copy",
        IndexTiming::WithTable => "with the table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::table::{Index, IndexColumn, IndexKind};

    fn check(alter: &str, rows: u64, replicas: usize, expected: IndexTiming, says: &str) {
        let original = TableDefinition {
            rows_estimate: rows,
            indexes: vec![Index {
                name: "by_a".to_string(),
                unique: false,
                kind: IndexKind::Btree,
                visible: true,
                columns: vec![IndexColumn {
                    column: Some("a".to_string()),
                    expression: None,
                    prefix: None,
                    descending: false,
                }],
            }],
            ..TableDefinition::default()
        };
        let limit = Duration::from_millis(1500);
        let alter = AlterStatement::parse(alter).unwrap();
        let (timing, why) = decide(DeferIndexes::Auto, &original, &alter, replicas, limit);
        assert_eq!(timing, expected, "{why}");
        assert!(why.contains(says), "{why}");
    }

    #[test]
    fn replicas_are_held_up_no_longer_than_allowed() {
        const FORCE: &str = "ENGINE=InnoDB";
        check(FORCE, 100_000_000, 0, IndexTiming::AfterCopy, "no replica");
        check(
            FORCE,
            100_000,
            2,
            IndexTiming::AfterCopy,
            "about 200ms, within",
        );
        check(
            "ADD KEY (b), ADD UNIQUE (c)",
            10_000_000,
            2,
            IndexTiming::WithTable,
            "about 40s while 2 index(es) are built, longer than the limit of 1s 500ms",
        );
    }
}
