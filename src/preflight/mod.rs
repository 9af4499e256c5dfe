//! Everything that would make a migration unsafe or impossible, found before anything is created: all
//! findings together, each with the reason and the remedy.

mod data;
mod finding;
mod foreign_keys;
mod grants;
mod left_overs;
mod lock;
mod log_settings;
mod privileges;
mod server;
mod statement;
mod suggest;
mod table;
mod triggers;

pub use finding::{Finding, Findings, Severity};
pub use grants::Grants;
pub use lock::{MigrationLock, acquire_migration_lock};

use crate::alter::{AlterStatement, NativeAnswer};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::names::Names;
use crate::schema::{self, ColumnMap, MigrationKey, TableDefinition, TableKind};
use crate::settings::TriggerSuffix;

/// How long the server may make us wait for a table that somebody is altering.
const LOCK_WAIT_S: u32 = 10;

/// What the run means to do, as far as it changes the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Whether the tables of an interrupted run are to be continued with: they are no left-overs then.
    pub resumable: bool,
    /// Whether triggers are recreated.
    pub recreate_triggers: bool,
    /// Names of recreated triggers; `None`: their own.
    pub trigger_suffix: Option<TriggerSuffix>,
    /// Whether the migration key may have columns that may be NULL.
    pub nullable_key: bool,
    /// Whether foreign keys of the table may be lost.
    pub discard_foreign_keys: bool,
    /// Whether the replicas to watch are given: the primary need not be asked for them then.
    pub replicas_given: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All findings.
    pub findings: Findings,
    /// The original, if there is a table of its name.
    pub original: Option<TableDefinition>,
    /// What the server would do with the ALTER, and the definition it makes; `None` where it could not
    /// be asked.
    pub native: Option<NativeAnswer>,
    /// Which column goes where.
    pub map: Option<ColumnMap>,
    /// The migration key.
    pub key: Option<MigrationKey>,
    /// How many replicas are attached; 0 also where the account may not know.
    pub replicas: usize,
}

impl Report {
    /// Writes warnings and notes to the log. What is refused is the failure's business.
    pub fn log(&self) {
        self.findings.log();
    }

    /// The original, if nothing stands against the migration.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] with every finding that does.
    pub fn approve(self) -> Result<TableDefinition> {
        self.findings.verdict()?;
        self.original.ok_or_else(|| {
            Failure::new(
                FailureKind::Refused,
                "the table's definition could not be read",
            )
        })
    }

    /// What stands against the ghost table alone, and so not against the server's own ALTER. Those findings
    /// are taken out.
    pub fn set_aside_ghost_only(&mut self) -> Option<Failure> {
        if !self.findings.concern_ghost_only() {
            return None;
        }
        let against_ghost = self.findings.verdict().err();
        self.findings.drop_refusals();
        against_ghost
    }
}

/// Looks at everything; without an ALTER, at all but what one would bring with it. The server is asked about the ALTER on an empty scratch table, which is gone
/// when this returns. The session is a `Ddl` one.
///
/// # Errors
/// What the server answered to questions that it should have answered; not the findings.
pub async fn inspect(
    session: &mut Session,
    names: &Names,
    alter: Option<&AlterStatement>,
    requirements: &Requirements,
) -> Result<Report> {
    look(session, names, alter, requirements)
        .await
        .doing(|| format!("inspect {}", names.original))
}

/// Looks at the binlog of another server than that with the table, from which it is to be read.
///
/// # Errors
/// What the server answered to questions that it should have answered; not the findings.
pub async fn inspect_binlog(session: &mut Session, names: &Names) -> Result<Findings> {
    let mut findings = Findings::default();
    log_settings::check(session, &names.original, &mut findings)
        .await
        .doing(|| format!("inspect the binlog of {}", session.server().address()))?;
    Ok(findings)
}

async fn look(
    session: &mut Session,
    names: &Names,
    alter: Option<&AlterStatement>,
    requirements: &Requirements,
) -> Result<Report> {
    session
        .execute(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"))
        .await?;
    let mut report = Report::default();
    let findings = &mut report.findings;
    let grants = privileges::read(session).await?;
    privileges::check(session, &names.original, &grants, requirements, findings).await?;
    server::check(session, &grants, findings).await?;
    log_settings::check(session, &names.original, findings).await?;
    report.replicas = server::replicas(session).await?;
    if let Some(alter) = alter {
        statement::check(session, names, alter, findings).await?;
    }
    left_overs::check(session, names, requirements, findings).await?;
    report.original = schema::load(session, &names.original).await?;
    let Some(original) = &report.original else {
        findings.push(suggest::missing(session, &names.original).await?);
        return Ok(report);
    };
    table::check(original, names, session.server().facts(), findings);
    triggers::check(session, original, requirements, findings).await?;
    foreign_keys::check(original, requirements, findings);
    if original.kind != TableKind::Table {
        return Ok(report);
    }
    if let Some(alter) = alter {
        data::check(session, names, alter, requirements, &mut report).await?;
    }
    Ok(report)
}
