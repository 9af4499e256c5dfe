//! What the files read so far say of tables: which are new, and how columns were defined last.

use crate::mysql::quote::shown;
use std::collections::{BTreeMap, BTreeSet};

use super::definition::Column;

/// A table as statements name it. Without a schema it is another table than with one: which schema is
/// meant is not in the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    pub(super) fn new(schema: Option<String>, name: String) -> Table {
        Table { schema, name }
    }

    /// The table without its schema, if that is one of those.
    pub(super) fn without(mut self, is_none: impl Fn(&str) -> bool) -> Table {
        self.schema = self.schema.filter(|schema| !is_none(schema));
        self
    }

    /// Schema and name, the schema only if it is none of those.
    pub(super) fn into_parts(self, is_none: impl Fn(&str) -> bool) -> (Option<String>, String) {
        let table = self.without(is_none);
        (table.schema, table.name)
    }

    /// As a user writes it.
    pub(super) fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", shown(schema), shown(&self.name)),
            None => shown(&self.name),
        }
    }
}

/// Tables and columns that are known from the text.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    tables: BTreeMap<Table, BTreeMap<String, Column>>,
    /// Created by the file that is being read: nobody uses them yet.
    new: BTreeSet<Table>,
    /// How many ALTERs on a table that is not new the file has had.
    alters: BTreeMap<Table, usize>,
}

impl Catalogue {
    pub(super) fn begin_file(&mut self) {
        self.new.clear();
        self.alters.clear();
    }

    /// Whether the file itself has created the table.
    pub(super) fn is_new(&self, table: &Table) -> bool {
        self.new.contains(table)
    }

    /// A table was created; `surely` if not only where it was missing.
    pub(super) fn create(&mut self, table: &Table, columns: Vec<Column>, surely: bool) {
        if surely {
            self.new.insert(table.clone());
        }
        let columns = columns.into_iter().map(|c| (c.name.to_lowercase(), c));
        self.tables.insert(table.clone(), columns.collect());
    }

    /// A table that nothing is known of is the same as another.
    pub(super) fn know_as(&mut self, table: &Table, same: &Table) {
        if !self.tables.contains_key(table)
            && let Some(columns) = self.tables.get(same)
        {
            self.tables.insert(table.clone(), columns.clone());
        }
    }

    /// What is known of a table's columns.
    pub(super) fn columns(&self, table: &Table) -> Vec<Column> {
        self.tables
            .get(table)
            .map(|columns| columns.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn drop(&mut self, table: &Table) {
        self.tables.remove(table);
        self.new.remove(table);
    }

    pub(super) fn rename(&mut self, old: &Table, new: &Table) {
        if let Some(columns) = self.tables.remove(old) {
            self.tables.insert(new.clone(), columns);
        }
        if self.new.remove(old) {
            self.new.insert(new.clone());
        }
    }

    /// How the column was defined last.
    pub(super) fn column(&self, table: &Table, name: &str) -> Option<&Column> {
        self.tables.get(table)?.get(&name.to_lowercase())
    }

    /// The column is defined so from now on.
    pub(super) fn define(&mut self, table: &Table, column: Column) {
        self.tables
            .entry(table.clone())
            .or_default()
            .insert(column.name.to_lowercase(), column);
    }

    pub(super) fn forget(&mut self, table: &Table, column: &str) {
        if let Some(columns) = self.tables.get_mut(table) {
            columns.remove(&column.to_lowercase());
        }
    }

    pub(super) fn rename_column(&mut self, table: &Table, old: &str, new: &str) {
        if let Some(columns) = self.tables.get_mut(table)
            && let Some(mut column) = columns.remove(&old.to_lowercase())
        {
            column.name = new.to_string();
            columns.insert(new.to_lowercase(), column);
        }
    }

    /// Counts an ALTER; true from the second of a file on.
    pub(super) fn altered_before(&mut self, table: &Table) -> bool {
        let count = self.alters.entry(table.clone()).or_default();
        *count += 1;
        *count > 1
    }
}
