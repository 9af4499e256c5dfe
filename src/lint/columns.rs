//! Judges what a clause of ALTER TABLE does to columns.

use super::Remark;
use super::advice::{fill_older, in_batches, migrate};
use super::alter::Judge;
use super::definition::{Column, Generated, TypeChange, columns_of_clause, compare, plain};
use super::rules;
use crate::alter::{Clause, ClauseKind};
use crate::mysql::quote::shown;

impl Judge<'_, '_> {
    pub(super) fn add_columns(&mut self, clause: &Clause) {
        for column in columns_of_clause(&clause.text) {
            self.add_column(&column, clause);
            self.catalogue.define(self.table, column);
        }
    }

    pub(super) fn add_column(&mut self, column: &Column, clause: &Clause) {
        let (table, name) = (self.table.sql(), shown(&column.name));
        let filled = column.has_default || column.auto_increment || column.generated.is_some();
        if column.not_null && !filled {
            let type_text = column.type_text();
            self.remark(
                &rules::ADD_NOT_NULL,
                format!("column {name} of {table} must be given a value in every insert"),
                [
                    migrate(self.table, &format!("ADD COLUMN {name} {type_text} NULL")),
                    format!("deploy the application that writes {name}"),
                    fill_older(self.table, &name),
                    migrate(self.table, &format!("MODIFY {name} {type_text} NOT NULL")),
                ],
            );
        }
        if column.generated == Some(Generated::Stored) {
            self.online(
                &rules::TABLE_REBUILD,
                format!("{table} is built anew for the stored column {name}"),
                clause,
            );
        }
        if column.auto_increment {
            self.online(
                &rules::BLOCKING_ALTER,
                format!("{name} of {table} is numbered while nobody may write"),
                clause,
            );
        }
        self.keys_of(column, clause);
    }

    /// Keys and references that stand in a column's definition.
    pub(super) fn keys_of(&mut self, column: &Column, clause: &Clause) {
        if column.unique {
            self.add_unique(&column.name, clause);
        }
        if column.primary {
            self.key_or_constraint(&ClauseKind::AddPrimaryKey, clause);
        }
        if column.references {
            self.key_or_constraint(&ClauseKind::AddForeignKey { name: None }, clause);
        }
    }

    pub(super) fn drop_column(&mut self, dropped: &str) {
        let (table, name) = (self.table.sql(), shown(dropped));
        let fill = match self.catalogue.column(self.table, dropped) {
            Some(old) if old.not_null && !old.has_default && !old.auto_increment => Some(format!(
                "let inserts leave it out: {}",
                migrate(
                    self.table,
                    &format!("MODIFY {name} {} NULL", old.type_text())
                )
            )),
            Some(_) => None,
            None => Some(format!(
                "if {name} is NOT NULL without a default, make it NULL first, so that inserts may leave it out"
            )),
        };
        let steps = fill.into_iter().chain([
            format!("deploy an application that does not name {name} any more"),
            migrate(self.table, &format!("DROP COLUMN {name}")),
        ]);
        self.remarks.push(
            Remark::new(
                &rules::DROP_COLUMN,
                self.line,
                format!("column {name} of {table} is dropped"),
            )
            .instead(steps),
        );
        self.catalogue.forget(self.table, dropped);
    }

    pub(super) fn rename_column(&mut self, old_name: &str, new_name: &str, clause: &Clause) {
        let table = self.table.sql();
        let (old, new) = (shown(old_name), shown(new_name));
        let written = match clause.kind {
            ClauseKind::Change { .. } => columns_of_clause(&clause.text).pop(),
            _ => None,
        };
        let definition = written
            .as_ref()
            .or(self.catalogue.column(self.table, old_name))
            .map_or_else(|| "…".to_string(), Column::type_text);
        self.remark(
            &rules::RENAME_COLUMN,
            format!("column {old} of {table} becomes {new}"),
            [
                migrate(self.table, &format!("ADD COLUMN {new} {definition} NULL")),
                format!("deploy an application that writes both and reads {old}"),
                format!(
                    "copy the older rows: {}",
                    in_batches(
                        self.table,
                        &format!("{new} = {old}"),
                        &format!("NOT {new} <=> {old}")
                    )
                ),
                format!("deploy an application that uses {new} alone"),
                migrate(self.table, &format!("DROP COLUMN {old}")),
            ],
        );
        self.catalogue.rename_column(self.table, old_name, new_name);
    }

    pub(super) fn change_columns(&mut self, old_name: &str, clause: &Clause) {
        for column in columns_of_clause(&clause.text) {
            // CHANGE has renamed it in the catalogue already.
            let old = self
                .catalogue
                .column(self.table, old_name)
                .or_else(|| self.catalogue.column(self.table, &column.name))
                .cloned();
            self.change_column(old.as_ref(), &column, clause);
            self.catalogue.define(self.table, column);
        }
    }

    pub(super) fn change_column(&mut self, old: Option<&Column>, new: &Column, clause: &Clause) {
        let name = shown(&new.name);
        let what = format!("column {name} of {}", self.table.sql());
        self.change_type(old, new, &what, clause);
        if new.charset.is_some() && old.is_none_or(|old| old.charset != new.charset) {
            self.online(
                &rules::CHANGE_CHARSET,
                format!("{what} may get another character set or collation"),
                clause,
            );
        }
        if new.not_null && old.is_none_or(|old| !old.not_null) {
            let may = if old.is_none() {
                "may become"
            } else {
                "becomes"
            };
            self.remark(
                &rules::SET_NOT_NULL,
                format!("{what} {may} NOT NULL"),
                [
                    format!("deploy an application that writes no NULL into {name}"),
                    fill_older(self.table, &name),
                    migrate(self.table, &clause.text),
                ],
            );
        }
        let filled = new.has_default || new.auto_increment || new.generated.is_some();
        if old.is_some_and(|old| old.has_default) && new.not_null && !filled {
            self.remark(
                &rules::DROP_DEFAULT,
                format!("{what} loses its default, since the new definition has none"),
                ["repeat the default in the new definition".to_string()],
            );
        }
        if old.is_none_or(|old| !old.unique && !old.primary) {
            self.keys_of(new, clause);
        }
    }

    pub(super) fn change_type(
        &mut self,
        old: Option<&Column>,
        new: &Column,
        what: &str,
        clause: &Clause,
    ) {
        let to = new.type_text();
        let Some(old) = old else {
            return match new.is_labelled() {
                true => self.online(
                    &rules::ENUM_CHANGE,
                    format!("{what} gets other labels; which it had is not in these files"),
                    clause,
                ),
                false => self.online(
                    &rules::CHANGE_TYPE,
                    format!("{what} becomes {to}; what it was is not in these files"),
                    clause,
                ),
            };
        };
        let from = old.type_text();
        match compare(old, new) {
            TypeChange::Same => {}
            TypeChange::Wider
                if old.kind == new.kind && (old.kind == "VARCHAR" || old.is_labelled()) => {}
            TypeChange::Wider | TypeChange::Conversion => self.online(
                &rules::CHANGE_TYPE,
                format!("{what} becomes {to} from {from}"),
                clause,
            ),
            TypeChange::Narrower(why) => self.remark(
                &rules::NARROW_TYPE,
                format!("{what} becomes {to} from {from}: {why}"),
                [
                    "deploy an application that writes only values that fit".to_string(),
                    "correct the rows that do not: `changeling rehearse` names them".to_string(),
                    migrate(self.table, &clause.text),
                ],
            ),
            TypeChange::LabelsRemoved(labels) => self.remark(
                &rules::ENUM_REMOVAL,
                format!("{what} loses the labels {}", labels.join(", ")),
                [
                    "deploy an application that does not write them any more".to_string(),
                    format!(
                        "give the rows that have them other values: {}",
                        in_batches(
                            self.table,
                            &format!("{} = …", shown(&new.name)),
                            &holds_one_of(new, &labels)
                        )
                    ),
                    migrate(self.table, &clause.text),
                ],
            ),
            TypeChange::LabelsReordered => self.online(
                &rules::ENUM_CHANGE,
                format!("the labels of {what} get other numbers"),
                clause,
            ),
        }
    }

    pub(super) fn alter_column(&mut self, name: &str, clause: &Clause) {
        let tokens = plain(&clause.text);
        let drops = tokens
            .windows(2)
            .any(|pair| pair[0].is("DROP") && pair[1].is("DEFAULT"));
        if drops {
            self.remark(
                &rules::DROP_DEFAULT,
                format!("column {name} of {} loses its default", self.table.sql()),
                [format!(
                    "deploy an application that writes {name} in every insert first"
                )],
            );
        }
    }
}

/// The condition that a row has one of these labels of an ENUM or a SET.
fn holds_one_of(column: &Column, labels: &[String]) -> String {
    let name = shown(&column.name);
    let quoted = labels
        .iter()
        .map(|label| format!("'{}'", label.replace('\'', "''")));
    match column.kind.as_str() {
        "SET" => quoted
            .map(|label| format!("FIND_IN_SET({label}, {name})"))
            .collect::<Vec<_>>()
            .join(" OR "),
        _ => format!("{name} IN ({})", quoted.collect::<Vec<_>>().join(", ")),
    }
}
