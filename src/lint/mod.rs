//! Reads SQL migration files and says what in them destroys data, blocks, or breaks the application that
//! is deployed while they run. No server is asked: only what the text tells is said.
//!
//! Statements of kinds that are not known are said to be unknown, never passed over. The rules are in
//! [`rules`], how to accept a finding in [`source`].

mod advice;
mod alter;
mod catalogue;
mod columns;
mod definition;
mod mentions;
pub mod output;
pub mod rules;
pub mod source;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use catalogue::{Catalogue, Table};
use rules::{Rule, Severity};
use source::{Acceptance, Source, Statement};

/// Something to know about a statement.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// The file as it was named.
    pub file: String,
    /// The line of the clause, from 1.
    pub line: usize,
    /// What the statement does, in one sentence without a full stop.
    pub message: String,
    /// What to do instead, step by step; may be empty.
    pub instead: Vec<String>,
    /// The reason for which it was accepted.
    pub accepted: Option<String>,
}

/// What was found in some files.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything found, in the order of the files; accepted ones too.
    pub findings: Vec<Finding>,
    /// How many files were read.
    pub files: usize,
    /// How many statements were judged.
    pub statements: usize,
    /// How many statements stand in sections for going back, which are not judged.
    pub way_back: usize,
}

impl Report {
    /// What has not been accepted.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.accepted.is_none())
    }

    /// The worst that has not been accepted.
    pub fn worst(&self) -> Option<Severity> {
        self.open().map(|finding| finding.rule.severity).max()
    }
}

/// Judges files, one after the other. What earlier files say of a table is remembered, so that a whole
/// history of migrations tells more than its last file.
#[derive(Debug, Default)]
pub struct Linter {
    disabled: BTreeSet<String>,
    catalogue: Catalogue,
    sizes: BTreeMap<Table, String>,
    report: Report,
}

/// A table that a server has.
#[derive(Clone, Debug)]
pub struct ServerTable {
    /// The schema as statements write it; `None` if they leave it to the connection.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// What SHOW CREATE TABLE says.
    pub create: String,
    /// Its size in words, to be shown with findings; may be empty.
    pub size: String,
}

/// The tables that a file may be about: schema, if it is written, and name. Placeholders of tools stand
/// for no schema.
pub fn tables_of(text: &str) -> Vec<(Option<String>, String)> {
    let source = Source::new(text);
    let mut found = Vec::new();
    for statement in source.statements() {
        for table in mentions::tables(statement.text) {
            if !found.contains(&table) {
                found.push(table);
            }
        }
    }
    found
        .into_iter()
        .map(|table| table.into_parts(|schema| source.is_placeholder(schema)))
        .collect()
}

impl Linter {
    /// A linter without the rules of these ids.
    pub fn new(disabled: impl IntoIterator<Item = String>) -> Linter {
        Linter {
            disabled: disabled.into_iter().collect(),
            ..Linter::default()
        }
    }

    /// Takes in what a server says of a table, before any file is read.
    pub fn learn(&mut self, table: ServerTable) {
        let columns = statement::created_columns(&table.create);
        let known = Table::new(table.schema, table.name);
        self.catalogue.create(&known, columns, false);
        if !table.size.is_empty() {
            self.sizes.insert(known, table.size);
        }
    }

    /// How large the first table is that a statement is about. What a server has told of a table counts
    /// for a name with a placeholder for its schema too.
    fn size_note(&mut self, statement: &Statement<'_>, source: &Source) -> Option<String> {
        let mut note = None;
        for table in mentions::tables(statement.text) {
            let bare = table
                .clone()
                .without(|schema| source.is_placeholder(schema));
            if bare != table {
                self.catalogue.know_as(&table, &bare);
            }
            let size = self.sizes.get(&bare);
            note = note.or_else(|| size.map(|size| format!(" ({size})")));
        }
        note
    }

    /// Judges one file.
    pub fn read(&mut self, name: &str, text: &str) {
        let source = Source::new(text);
        self.catalogue.begin_file();
        let mut found = Vec::new();
        let mut acceptances = source.acceptances();
        for statement in source.statements() {
            if statement.way_back {
                self.report.way_back += 1;
                continue;
            }
            self.report.statements += 1;
            let note = self.size_note(&statement, &source);
            let mut judged = statement::judge(&statement, &mut self.catalogue);
            if let Some(note) = note {
                judged
                    .iter_mut()
                    .for_each(|remark| remark.message.push_str(&note));
            }
            judged.retain(|remark| !self.disabled.contains(remark.rule.id));
            accept(&mut judged, &statement, &mut acceptances);
            found.extend(judged);
        }
        found.extend(self.about(&acceptances));
        found.sort_by_key(|remark| remark.line);
        self.report.findings.extend(found.into_iter().map(|remark| {
            Finding {
                rule: remark.rule,
                file: name.to_string(),
                line: remark.line,
                message: source.as_written(&remark.message),
                instead: remark
                    .instead
                    .iter()
                    .map(|step| source.as_written(step))
                    .collect(),
                accepted: remark.accepted,
            }
        }));
        self.report.files += 1;
    }

    /// What was found.
    pub fn finish(self) -> Report {
        self.report
    }

    /// What is wrong with the acceptances themselves.
    fn about(&self, acceptances: &[Acceptance]) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for acceptance in acceptances {
            if rules::by_id(&acceptance.rule).is_none() {
                remarks.push(Remark::new(
                    &rules::UNUSED_ALLOW,
                    acceptance.line,
                    format!("there is no rule `{}`", acceptance.rule),
                ));
            } else if acceptance.reason.is_empty() {
                remarks.push(Remark::new(
                    &rules::ALLOW_WITHOUT_REASON,
                    acceptance.line,
                    format!("`{}` is accepted without a reason", acceptance.rule),
                ));
            } else if !acceptance.used && !self.disabled.contains(&acceptance.rule) {
                remarks.push(Remark::new(
                    &rules::UNUSED_ALLOW,
                    acceptance.line,
                    format!("`{}` is accepted where it was not found", acceptance.rule),
                ));
            }
        }
        remarks.retain(|remark| !self.disabled.contains(remark.rule.id));
        remarks
    }
}

/// A finding before it knows its file.
#[derive(Clone, Debug)]
pub(crate) struct Remark {
    rule: &'static Rule,
    line: usize,
    message: String,
    instead: Vec<String>,
    accepted: Option<String>,
}

impl Remark {
    fn new(rule: &'static Rule, line: usize, message: impl Into<String>) -> Remark {
        Remark {
            rule,
            line,
            message: message.into(),
            instead: Vec::new(),
            accepted: None,
        }
    }

    fn instead(mut self, steps: impl IntoIterator<Item = impl Into<String>>) -> Remark {
        self.instead = steps.into_iter().map(Into::into).collect();
        self
    }
}

fn accept(remarks: &mut [Remark], statement: &Statement<'_>, acceptances: &mut [Acceptance]) {
    for remark in remarks {
        let matching = acceptances.iter_mut().find(|acceptance| {
            acceptance.rule == remark.rule.id
                && !acceptance.reason.is_empty()
                && (acceptance.whole_file || acceptance.statement == Some(statement.number))
        });
        if let Some(acceptance) = matching {
            acceptance.used = true;
            remark.accepted = Some(acceptance.reason.clone());
        }
    }
}

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod tests;
