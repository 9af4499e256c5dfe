//! What a migration would do, and what stands against it. Nothing is left on the server: the ALTER is
//! tried on an empty scratch table that is dropped at once.

use serde::Serialize;

use super::index_timing;
use super::run::Run;
use crate::alter::{AlterStatement, ClauseKind, NativeWay};
use crate::binlog;
use crate::copy::choose_mode;
use crate::cutover;
use crate::failure::{ErrorClass, Result};
use crate::mysql::Purpose;
use crate::preflight::{self, Severity};
use crate::settings::CopySetting;

/// The answer of `changeling plan`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// `schema.table`.
    pub table: String,
    /// The ALTER.
    pub alter: String,
    /// Flavour and version of the server.
    pub server: String,
    /// Whether a migration would be refused.
    pub refused: bool,
    /// Everything found.
    pub findings: Vec<PlanFinding>,
    /// The cheapest way in which the server itself would do it.
    pub native: Option<String>,
    /// The cheaper ways that the server refused, with its words.
    pub native_refused: Vec<String>,
    /// Which way is advised, and why.
    pub advice: Option<String>,
    /// The index that identifies rows in both tables.
    pub migration_key: Option<String>,
    /// How rows would be copied, and why.
    pub copy: Option<String>,
    /// How changes would be replayed, and why.
    pub replay: Option<String>,
    /// When secondary indexes would be built, and why.
    pub indexes: Option<String>,
    /// Rows, by the server's estimate.
    pub rows: u64,
    /// Bytes of data and indexes, by the server's estimate: about what is needed in addition, plus as
    /// much again in the binlog.
    pub bytes: u64,
    /// Replicas attached.
    pub replicas: usize,
    /// Sessions that hold the table now and would stand in the way of the swap, and whether they could
    /// be killed for it.
    pub blockers: Vec<String>,
    /// What the change means to the deployed application, with the safe order of steps.
    pub application: Vec<String>,
    /// How to go back.
    pub way_back: String,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFinding {
    /// `refuse`, `warn` or `note`.
    pub severity: &'static str,
    /// A stable name.
    pub code: &'static str,
    /// What was found.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Looks at everything.
///
/// # Errors
/// What the server answered to questions that it should have answered; findings are no errors.
pub async fn plan(run: &Run) -> Result<Plan> {
    let alter = AlterStatement::parse(&run.settings.alter)?;
    let mut session = run.server.session(Purpose::Ddl).await?;
    let report = preflight::inspect(
        &mut session,
        &run.names,
        Some(&alter),
        &preflight::Requirements {
            replicas_given: !run.settings.throttle.replicas.is_empty(),
            ..preflight::Requirements::default()
        },
    )
    .await?;
    session.close().await;
    let facts = run.server.facts();
    let mut plan = Plan {
        table: run.names.original.to_string(),
        alter: alter.clauses_sql(),
        server: facts.to_string(),
        refused: report.findings.refused(),
        findings: report
            .findings
            .sorted()
            .into_iter()
            .map(|finding| PlanFinding {
                severity: match finding.severity {
                    Severity::Refuse => "refuse",
                    Severity::Warn => "warn",
                    Severity::Note => "note",
                },
                code: finding.code,
                what: finding.what.clone(),
                remedy: finding.remedy.clone(),
            })
            .collect(),
        replicas: report.replicas,
        application: effects(&alter),
        way_back: format!(
            "`changeling revert {}` loses no write, as long as the old table {} and the binlog since the swap \
             are there; --keep-revertible makes it a matter of seconds",
            run.names.original, run.names.old
        ),
        ..Plan::default()
    };
    if let Some(native) = &report.native {
        plan.native = Some(way_words(native.way).to_string());
        plan.native_refused = native
            .refused
            .iter()
            .map(|(way, why)| format!("{way}: {why}"))
            .collect();
        plan.advice = Some(advice(native.way, report.replicas));
    }
    if let Some(original) = &report.original {
        plan.rows = original.rows_estimate;
        let (timing, why) = index_timing::decide(
            run.settings.defer_indexes,
            original,
            &alter,
            report.replicas,
            run.settings.tunables.lag_max,
        );
        plan.indexes = Some(format!("{}: {why}", index_timing::words(timing)));
        plan.bytes = original.bytes_estimate;
        let settings = &run.settings.cutover;
        let holders =
            cutover::who_holds(&run.server, &run.names.original, settings.budget, &[]).await;
        plan.blockers = match holders {
            // The grant that is missing is among the findings.
            Err(failure) if failure.class() == Some(ErrorClass::Refused) => Vec::new(),
            holders => holders?
                .iter()
                .map(|one| format!("{one}: {}", cutover::fate(one, settings.kill_rows_max)))
                .collect(),
        };
    }
    if let Some(key) = &report.key {
        plan.migration_key = Some(key.source_index.clone());
        if let Ok((mode, why)) = choose_mode(facts, key, CopySetting::Auto) {
            plan.copy = Some(format!("{mode}: {why}"));
        }
    }
    if let Some(map) = &report.map {
        plan.replay = Some(match binlog::image_pairs_cleared(map) {
            Ok(()) => "image: every shared column goes over exactly from the binlog".to_string(),
            Err(why) => format!("reread: {why}"),
        });
    }
    Ok(plan)
}

fn way_words(way: NativeWay) -> &'static str {
    match way {
        NativeWay::Instant => "INSTANT: metadata only",
        NativeWay::InplaceNoRebuild => {
            "INPLACE: writers go on, rows stay as they are (metadata, or an index build)"
        }
        NativeWay::InplaceRebuild => {
            "INPLACE: writers go on, but the table is worked through, and replicas stand still for as long"
        }
        NativeWay::InplaceShared => "INPLACE, but writers must wait",
        NativeWay::Copy => "COPY: writers must wait",
    }
}

fn advice(way: NativeWay, replicas: usize) -> String {
    match way {
        NativeWay::Instant => {
            "the server's own ALTER takes a moment: run it with a short lock_wait_timeout, and again if it \
             does not get the lock"
                .to_string()
        }
        NativeWay::InplaceNoRebuild if replicas > 0 => {
            "metadata only: the server's own ALTER takes a moment; an index build: replicas stand still for \
             as long as it takes, changeling does not make them"
                .to_string()
        }
        NativeWay::InplaceNoRebuild | NativeWay::InplaceRebuild if replicas == 0 => {
            "without replicas the server's own ALTER is possible; changeling can be paused, stopped and \
             resumed, and compares before it swaps"
                .to_string()
        }
        NativeWay::InplaceNoRebuild
        | NativeWay::InplaceRebuild
        | NativeWay::InplaceShared
        | NativeWay::Copy => {
            "changeling: neither writers nor replicas wait".to_string()
        }
    }
}

/// What the change means to the application that is deployed while it happens.
fn effects(alter: &AlterStatement) -> Vec<String> {
    let mut effects = Vec::new();
    for kind in alter.kinds() {
        match kind {
            ClauseKind::DropColumn { name } => effects.push(format!(
                "column `{name}` is dropped: first deploy code that does not name it, then migrate"
            )),
            ClauseKind::RenameColumn { old, new } | ClauseKind::Change { old, new }
                if !old.eq_ignore_ascii_case(new) =>
            {
                effects.push(format!(
                    "column `{old}` becomes `{new}`: code that names `{old}` fails from the swap on; safer: \
                     add `{new}`, write both, fill it, read `{new}`, then drop `{old}`"
                ));
            }
            ClauseKind::AddColumn { name } => effects.push(format!(
                "column `{name}` is new: INSERT without a column list and SELECT * see it from the swap on"
            )),
            _ => {}
        }
    }
    effects
}
