//! How a migration ended, and its report.

use std::collections::BTreeMap;

use super::ending::{Ending, OriginalTable};
use super::rehearse;
use super::run::Run;
use crate::alter::{AlterStatement, NativeWay};
use crate::failure::Failure;
use crate::mysql::Server;
use crate::names::TableName;
use crate::observe::forecast;
use crate::observe::rehearsal::Rehearsal;
use crate::observe::{self, Report, StatusSource, Verification};
use crate::settings::Extent;

/// How a migration ended.
#[derive(Debug)]
pub struct Outcome {
    /// All about it, for tickets, files and pages.
    pub report: Report,
    /// Why it stopped and what is left; `None` if the table has its new definition.
    pub failure: Option<(Failure, Ending)>,
}

/// The swap as the story's end knows it.
#[derive(Clone, Debug)]
pub struct Done {
    /// Where the original is now; under its own name after a rehearsal.
    pub old: TableName,
    /// Whether it has been dropped since.
    pub old_dropped: bool,
    /// What the comparison came to.
    pub verification: Option<Verification>,
    /// Replicas that must apply the swap, by name.
    pub replicas: BTreeMap<String, Server>,
    /// The server's own way, if that was taken: there is no old table then.
    pub native: Option<NativeWay>,
    /// What a rehearsal found.
    pub rehearsal: Option<Box<Rehearsal>>,
}

impl Done {
    /// The original is under its own name.
    pub fn in_place(run: &Run) -> Done {
        Done {
            old: run.names.original.clone(),
            old_dropped: false,
            verification: None,
            native: None,
            rehearsal: None,
            replicas: BTreeMap::new(),
        }
    }
}

/// Draws up the report, and writes it where that was asked for.
pub fn account(
    run: &Run,
    status: &StatusSource,
    result: std::result::Result<Done, (Failure, Ending)>,
) -> Outcome {
    let (mut verification, mut old, mut native) = (None, None, None);
    let (mut rehearsal, mut forecast) = (None, None);
    let (ending, failure) = match result {
        Ok(done) => {
            verification = done.verification;
            old = Some((done.old.to_string(), done.old_dropped));
            native = done.native;
            rehearsal = done.rehearsal;
            forecast = after_forecast(run, native.is_none(), rehearsal.as_deref());
            let ending = match run.settings.extent {
                Extent::Migration => observe::Ending::Done,
                Extent::Rehearsal(_) | Extent::Noop | Extent::ReplicaTest { .. } => {
                    observe::Ending::Rehearsed
                }
            };
            (ending, None)
        }
        Err((failure, left)) if left.original == OriginalTable::Unknown => {
            (observe::Ending::Unknown, Some((failure, left)))
        }
        Err((failure, left)) => (observe::Ending::of(&failure), Some((failure, left))),
    };
    let mut report = Report::new(status, ending, failure.as_ref().map(|(failure, _)| failure));
    report.verification = verification;
    if let (Some((old, dropped)), observe::Ending::Done) = (old, ending) {
        report.old_table = old;
        report.old_table_dropped = dropped;
    }
    report.native = native.map(|way| way.to_string());
    report
        .notes
        .extend(forecast.iter().map(forecast::Outcome::words));
    report
        .notes
        .extend(rehearsal.iter().flat_map(|found| found.lines()));
    report.forecast = forecast;
    report.rehearsal = rehearsal;
    if let Some(path) = &run.settings.report
        && let Err(unwritten) = report.write(path)
    {
        tracing::warn!(event = "report_unwritten", "{unwritten}");
    }
    Outcome { report, failure }
}

/// Keeps a rehearsal's forecast; says how good one was that is kept for what was migrated.
fn after_forecast(
    run: &Run,
    by_ghost: bool,
    rehearsal: Option<&Rehearsal>,
) -> Option<forecast::Outcome> {
    let statement = AlterStatement::parse(&run.settings.alter)
        .ok()?
        .clauses_sql();
    if let Some(found) = rehearsal {
        rehearse::keep(run, &statement, found);
    }
    let is_migration = run.settings.extent == Extent::Migration && by_ghost;
    is_migration
        .then(|| rehearse::judge(run, &statement))
        .flatten()
}
