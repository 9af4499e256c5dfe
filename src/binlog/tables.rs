//! Rows events: which table they are of, and what they say of the tables that matter.

use std::collections::HashMap;
use std::sync::Arc;

use super::bytes::{Corrupt, Read};
use super::event::RawEvent;
use super::plan::{ChangelogPlan, OriginalPlan, PlanError, Wishes};
use super::rows::{self, Slot};
use super::statement::Watched;
use super::table_map::{self, TableMap};
use crate::change::RowChange;
use crate::names::TableName;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Original and ghost.
    pub watched: Watched,
    /// The changelog table.
    pub changelog: TableName,
    /// What is wanted of the original's rows.
    pub wishes: Wishes,
    /// Whether the server takes names that differ in case for one table.
    pub case_blind: bool,
}

/// Why an event stops the reader.
#[derive(Debug)]
pub enum Stop {
    /// It cannot be read.
    Corrupt(Corrupt),
    /// What it does, and what to do about it.
    Because(String, &'static str),
}

impl From<Corrupt> for Stop {
    fn from(corrupt: Corrupt) -> Stop {
        Stop::Corrupt(corrupt)
    }
}

/// What judging an event gives.
pub type Judged<T> = std::result::Result<T, Stop>;

/// A row that matters.
#[derive(Debug)]
pub enum Row {
    /// One of the original.
    Original(RowChange),
    /// One of the changelog table.
    Changelog {
        /// Its hint.
        hint: String,
        /// Its value.
        value: String,
    },
}

/// The tables that the events of a transaction have named.
#[derive(Debug)]
pub struct Tables {
    subject: Subject,
    roles: HashMap<u64, Role>,
    original: Option<Arc<OriginalPlan>>,
    changelog: Option<Arc<ChangelogPlan>>,
    /// Room to write literals in.
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Role {
    Original(Arc<OriginalPlan>),
    Changelog(Arc<ChangelogPlan>),
    Other,
}

/// An event without rows that only ends a statement has this table number.
const NO_TABLE: u64 = 0xff_ffff;

impl Tables {
    /// None is named yet.
    pub fn new(subject: Subject) -> Tables {
        Tables {
            subject,
            roles: HashMap::new(),
            original: None,
            changelog: None,
            text: Vec::new(),
        }
    }

    /// Forgets the numbers: every transaction names its tables anew.
    pub fn clear(&mut self) {
        self.roles.clear();
    }

    /// Takes a TABLE_MAP event.
    pub fn map(&mut self, event: &RawEvent<'_>) -> Judged<()> {
        let map = table_map::read(event.data)?;
        let is = |table| names(&map, table, self.subject.case_blind);
        let role = if is(&self.subject.watched.original) {
            Role::Original(self.original_plan(map.columns)?)
        } else if is(&self.subject.changelog) {
            Role::Changelog(self.changelog_plan(map.columns)?)
        } else {
            Role::Other
        };
        self.roles.insert(map.id, role);
        Ok(())
    }

    fn original_plan(&mut self, columns: &[u8]) -> Judged<Arc<OriginalPlan>> {
        if let Some(plan) = &self.original
            && plan.is_for(columns)
        {
            return Ok(plan.clone());
        }
        let plan =
            OriginalPlan::new(&self.subject.wishes, columns).map_err(|error| match error {
                PlanError::Corrupt(corrupt) => Stop::Corrupt(corrupt),
                PlanError::Differs(how) => Stop::Because(
                    format!(
                        "shows that {} is not the table that was looked at: {how}",
                        self.subject.watched.original
                    ),
                    "let nobody change the table's definition meanwhile; begin anew with --restart",
                ),
            })?;
        let plan = Arc::new(plan);
        self.original = Some(plan.clone());
        Ok(plan)
    }

    fn changelog_plan(&mut self, columns: &[u8]) -> Read<Arc<ChangelogPlan>> {
        if let Some(plan) = &self.changelog
            && plan.is_for(columns)
        {
            return Ok(plan.clone());
        }
        let plan = Arc::new(ChangelogPlan::new(columns)?);
        self.changelog = Some(plan.clone());
        Ok(plan)
    }

    /// Takes a rows event; other tables' rows are not even looked at.
    pub fn rows(
        &mut self,
        event: &RawEvent<'_>,
        take: &mut dyn FnMut(Row) -> Judged<()>,
    ) -> Judged<()> {
        let id = rows::table_id(event.data)?;
        match self.roles.get(&id).cloned() {
            Some(Role::Other) => Ok(()),
            Some(Role::Original(plan)) => self.original_rows(event, &plan, take),
            Some(Role::Changelog(plan)) => changelog_rows(event, &plan, take),
            None if id == NO_TABLE => Ok(()),
            None => Err(Corrupt("it has rows of a table that was not named").into()),
        }
    }

    fn original_rows(
        &mut self,
        event: &RawEvent<'_>,
        plan: &OriginalPlan,
        take: &mut dyn FnMut(Row) -> Judged<()>,
    ) -> Judged<()> {
        let rows_event = rows::read(event.kind, event.data)?;
        same_width(rows_event.columns, plan.before.columns.len())?;
        let mut before = vec![Slot::Absent; rows_event.columns];
        let mut after = before.clone();
        let (has_before, has_after) = (rows_event.has_before(), rows_event.has_after());
        let mut rows = rows_event.rows(&plan.before, &plan.after);
        while rows.next(&mut before, &mut after)? {
            let change = plan.change(
                has_before.then_some(&before),
                has_after.then_some(&after),
                &mut self.text,
            )?;
            let Some(change) = change else {
                return Err(Stop::Because(
                    "has a row image that lacks columns of the migration key, or has NULL in them"
                        .to_string(),
                    "set binlog_row_image=FULL in all sessions, or migrate along the primary key; \
                     start the migration again",
                ));
            };
            take(Row::Original(change))?;
        }
        Ok(())
    }
}

fn changelog_rows(
    event: &RawEvent<'_>,
    plan: &ChangelogPlan,
    take: &mut dyn FnMut(Row) -> Judged<()>,
) -> Judged<()> {
    let rows_event = rows::read(event.kind, event.data)?;
    same_width(rows_event.columns, plan.wanted.columns.len())?;
    let mut before = vec![Slot::Absent; rows_event.columns];
    let mut after = before.clone();
    let mut rows = rows_event.rows(&plan.wanted, &plan.wanted);
    while rows.next(&mut before, &mut after)? {
        if let Some((hint, value)) = plan.entry(&before, &after)? {
            take(Row::Changelog { hint, value })?;
        }
    }
    Ok(())
}

fn same_width(event: usize, table: usize) -> Read<()> {
    if event == table {
        return Ok(());
    }
    Err(Corrupt("it has another number of columns than its table"))
}

/// Whether the event names this table. On a server that minds case, `T` must not be taken for `t`: its
/// deletes would be ours.
fn names(map: &TableMap<'_>, table: &TableName, case_blind: bool) -> bool {
    let same = |bytes: &[u8], name: &str| {
        bytes == name.as_bytes()
            || (case_blind && String::from_utf8_lossy(bytes).to_lowercase() == name.to_lowercase())
    };
    same(map.table, &table.table) && same(map.schema, &table.schema)
}
