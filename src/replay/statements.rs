//! The SQL of replay.

use std::sync::Arc;

use super::keep::{Keep, Kept};
use super::uniqueness::Uniqueness;
use super::window::KeyBytes;
use crate::key::Key;
use crate::mysql::{Facts, quote};
use crate::names::TableName;
use crate::schema::{ColumnMap, Fill, KeyKind, MigrationKey};
use crate::walk::Side;
use crate::walk::bounds::{any_of, equals};
use crate::walk::keys::select_list;

/// One row of a flush.
#[derive(Clone, Debug)]
pub struct Row<'w> {
    /// Its key.
    pub key: Key,
    /// The key's bytes in the window.
    pub bytes: &'w KeyBytes,
    /// Its values as literals; `None`: read again from the original, or delete.
    pub values: Option<&'w str>,
    /// See [`super::window::Pending::recreated`].
    pub recreated: bool,
}

/// How a row goes into the ghost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Fails where a row is in the way.
    Insert,
    /// Whatever a row in the way has, it is gone.
    Replace,
    /// Changes the row of the same key: cheaper than REPLACE where no other row can be in the way.
    Update,
    /// As [`Verb::Update`], also where others can be in the way: refused then. What the row has in columns
    /// that replay does not feed stays.
    Keep,
}

/// How rereading treats rows of the original that somebody has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLock {
    /// Waits for them.
    Wait,
    /// Fails at once.
    Refuse,
}

/// Stands for the ghost in statements that are made before its name is known.
const GHOST: &str = "\u{0}";

/// Makes statements for one original and one ghost.
#[derive(Clone, Debug)]
pub struct Statements {
    key: Arc<MigrationKey>,
    /// `` FROM `d`.`t` FORCE INDEX (`PRIMARY`) ``
    from_original: String,
    ghost: String,
    columns: String,
    select: String,
    /// See [`Fill`].
    fill_values: String,
    /// The assignments of ON DUPLICATE KEY UPDATE, after the name of the new row where the server has
    /// one.
    update: String,
    wait: &'static str,
    refuse: Option<&'static str>,
    skip: Option<&'static str>,
    /// As `update`, after a SELECT.
    update_selected: String,
    keep: Option<Keep>,
    /// How replay puts rows in when nobody asks for the exact way.
    pub plain: Verb,
}

impl Statements {
    /// For these tables on a server with these facts.
    pub fn new(
        facts: &Facts,
        original: &TableName,
        ghost: &TableName,
        map: &ColumnMap,
        key: Arc<MigrationKey>,
        uniqueness: Uniqueness,
        keep: Option<Keep>,
    ) -> Statements {
        // Where two different keys may be one to the server, the key's own columns must be set too.
        let all = !key.comparable();
        let mut names: Vec<&str> = map
            .target_names()
            .filter(|name| all || !key.columns.iter().any(|column| column.target.name == *name))
            .collect();
        // A table of nothing but its key: something must be assigned.
        if names.is_empty() {
            names.extend(map.target_names().take(1));
        }
        let guard = keep
            .as_ref()
            .filter(|_| uniqueness != Uniqueness::KeyOnly)
            .and(key.columns.first());
        let update = |new: &dyn Fn(&str) -> String| {
            let mut assignments: Vec<String> = Vec::new();
            if let Some(first) = guard {
                assignments.push(guarded(&key, first, all, new));
            }
            let own = guard.map(|first| first.target.name.as_str());
            assignments.extend(
                names
                    .iter()
                    .filter(|name| Some(**name) != own)
                    .map(|name| format!("{} = {}", quote::ident(name), new(&quote::ident(name)))),
            );
            assignments.join(", ")
        };
        let fill = Fill::of(map);
        let old_form = |name: &str| format!("VALUES({name})");
        let new_form = |name: &str| format!("changeling_new.{name}");
        let (row_name, update_row) = match facts.names_inserted_row() {
            true => ("AS changeling_new ", update(&new_form)),
            false => ("", update(&old_form)),
        };
        Statements {
            from_original: format!(
                "FROM {} FORCE INDEX ({})",
                quote::table(original),
                Side::Source.index(&key)
            ),
            ghost: quote::table(ghost),
            columns: quote::idents(map.target_names()) + &fill.columns,
            select: map.select_list() + &fill.values,
            fill_values: fill.values,
            update: format!("{row_name}ON DUPLICATE KEY UPDATE {update_row}"),
            update_selected: format!("ON DUPLICATE KEY UPDATE {}", update(&old_form)),
            wait: facts.share_lock(),
            refuse: facts.share_lock_nowait(),
            skip: facts.share_lock_skip_locked(),
            plain: match uniqueness {
                _ if keep.is_some() => Verb::Keep,
                Uniqueness::KeyOnly => Verb::Update,
                Uniqueness::Implied | Uniqueness::Stricter => Verb::Replace,
            },
            keep,
            key,
        }
    }

    /// The same with another name for the ghost.
    pub fn for_ghost(&self, ghost: &TableName) -> Statements {
        Statements {
            ghost: quote::table(ghost),
            ..self.clone()
        }
    }

    /// Whether rows keep what replay does not feed, and none may go for another.
    pub fn keeps(&self) -> bool {
        self.keep.is_some()
    }

    /// Selects the keys, in the original's terms, and the kept columns of those rows of the ghost that
    /// are there; see [`Statements::restore`].
    pub fn select_kept(&self, rows: &[Row<'_>]) -> String {
        let keys = self
            .key
            .columns
            .iter()
            .map(|column| in_source_terms(column, &Side::Target.column(column)));
        let kept = self.keep.iter().flat_map(|keep| &keep.columns);
        let list: Vec<String> = keys.chain(kept.map(Kept::select)).collect();
        format!(
            "SELECT {} FROM {} WHERE {}",
            list.join(", "),
            self.ghost,
            self.any_of(rows, Side::Target)
        )
    }

    /// Gives a row of the ghost the kept columns back that [`Statements::select_kept`] has selected;
    /// `None`: there are none.
    pub fn restore(&self, key: &Key, selected: &mysql_async::Row) -> Option<String> {
        let columns = &self.keep.as_ref()?.columns;
        let first = self.key.columns.len();
        let set: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let text: Option<String> = selected.get(first + index).unwrap_or_default();
                format!("{} = {}", column.name, column.literal(text.as_deref()))
            })
            .collect();
        (!set.is_empty()).then(|| {
            format!(
                "UPDATE {} SET {} WHERE {}",
                self.ghost,
                set.join(", "),
                equals(&self.key, Side::Target, key)
            )
        })
    }

    /// The migration key.
    pub fn key(&self) -> &MigrationKey {
        &self.key
    }

    /// Whether [`RowLock::Refuse`] and [`Statements::free_keys`] can be had.
    pub fn can_skip_locked(&self) -> bool {
        self.refuse.is_some() && self.skip.is_some()
    }

    /// Deletes rows of the ghost by their keys.
    pub fn delete(&self, rows: &[Row<'_>]) -> String {
        format!(
            "DELETE FROM {} WHERE {}",
            self.ghost,
            self.any_of(rows, Side::Target)
        )
    }

    /// Puts rows in from their images; all rows have values.
    pub fn put_images(&self, verb: Verb, rows: &[Row<'_>]) -> String {
        let room: usize = rows
            .iter()
            .map(|row| row.values.map_or(0, str::len) + 4)
            .sum();
        let head = format!(
            "{} INTO {} ({}) VALUES ",
            word(verb),
            self.ghost,
            self.columns
        );
        let mut sql = String::with_capacity(head.len() + room + self.update.len() + 200);
        sql.push_str(&head);
        for (index, row) in rows.iter().enumerate() {
            sql.push_str(if index == 0 { "(" } else { ", (" });
            sql.push_str(row.values.unwrap_or_default());
            sql.push_str(&self.fill_values);
            sql.push(')');
        }
        if matches!(verb, Verb::Update | Verb::Keep) {
            sql.push(' ');
            sql.push_str(&self.update.replace(GHOST, &self.ghost));
        }
        sql
    }

    /// Puts rows in by reading them again from the original. REPLACE stands for [`Verb::Update`] too: an
    /// INSERT … SELECT has no name for the new row, and the two were measured to cost the same.
    pub fn put_reread(&self, verb: Verb, rows: &[Row<'_>], lock: RowLock) -> String {
        let (verb, update) = match verb {
            Verb::Insert => ("INSERT", String::new()),
            Verb::Replace | Verb::Update => ("REPLACE", String::new()),
            Verb::Keep => ("INSERT", self.update_selected.replace(GHOST, &self.ghost)),
        };
        format!(
            "{verb} INTO {} ({}) SELECT {} {} WHERE {} {} {update}",
            self.ghost,
            self.columns,
            self.select,
            self.from_original,
            self.any_of(rows, Side::Source),
            self.lock(lock)
        )
    }

    fn lock(&self, lock: RowLock) -> &'static str {
        match lock {
            RowLock::Wait => self.wait,
            RowLock::Refuse => self.refuse.unwrap_or(self.wait),
        }
    }

    /// Selects, and locks, the keys of those rows of the original that nobody else has locked, as
    /// [`crate::walk::keys::read`] takes them. `None`: the server cannot.
    pub fn free_keys(&self, rows: &[Row<'_>]) -> Option<String> {
        Some(format!(
            "SELECT {} {} WHERE {} {}",
            select_list(&self.key, Side::Source),
            self.from_original,
            self.any_of(rows, Side::Source),
            self.skip?
        ))
    }

    /// Forgets what [`Statements::insert_or_capture`] has captured.
    pub fn forget_captured(&self) -> String {
        let clear: Vec<String> = (0..self.key.columns.len())
            .map(|index| format!("@changeling_k{index} = NULL"))
            .collect();
        format!("SET {}", clear.join(", "))
    }

    /// Inserts one row, or, where another stands in the way over any unique key, leaves both as they
    /// are and keeps the other's key in user variables: the server itself says which row it is, whatever
    /// the unique key is made of.
    pub fn insert_or_capture(&self, row: &Row<'_>) -> String {
        let capture: Vec<String> = self
            .key
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let name = Side::Target.column(column);
                let own = format!("{}.{name}", self.ghost);
                let kept = match column.kind {
                    // BIT, ENUM and SET by number.
                    KeyKind::Integer => format!("{own} + 0"),
                    KeyKind::Temporal => format!("CAST({own} AS CHAR)"),
                    KeyKind::Decimal | KeyKind::Binary | KeyKind::Text | KeyKind::Opaque => {
                        own.clone()
                    }
                };
                // A condition that the optimiser cannot decide without evaluating it: `IS NULL` of a column
                // that is NOT NULL it can (MySQL 9.7), and nothing is kept then.
                format!("{name} = IF(LENGTH(@changeling_k{index} := {kept}) < 0, {own}, {own})")
            })
            .collect();
        let source = match row.values {
            Some(values) => format!("VALUES ({values}{})", self.fill_values),
            None => format!(
                "SELECT {} {} WHERE {} {}",
                self.select,
                self.from_original,
                equals(&self.key, Side::Source, &row.key),
                self.lock(RowLock::Wait)
            ),
        };
        format!(
            "INSERT INTO {} ({}) {source} ON DUPLICATE KEY UPDATE {}",
            self.ghost,
            self.columns,
            capture.join(", ")
        )
    }

    /// Whether a key was captured.
    pub fn has_captured(&self) -> &'static str {
        "SELECT @changeling_k0 IS NOT NULL"
    }

    /// Selects the captured row's key in the original's terms, as
    /// [`crate::walk::keys::read`] of [`Side::Source`] takes it.
    pub fn captured_key(&self) -> String {
        let expressions: Vec<String> = self
            .key
            .columns
            .iter()
            .map(|column| in_source_terms(column, &Side::Target.column(column)))
            .collect();
        format!(
            "SELECT {} FROM {} WHERE {}",
            expressions.join(", "),
            self.ghost,
            self.is_captured()
        )
    }

    /// Deletes the captured row.
    pub fn delete_captured(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.ghost, self.is_captured())
    }

    fn is_captured(&self) -> String {
        let parts: Vec<String> = self
            .key
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let kept = format!("@changeling_k{index}");
                let value = match (column.kind, column.target.data_type.as_str()) {
                    (KeyKind::Temporal, "date") => format!("CAST({kept} AS DATE)"),
                    (KeyKind::Temporal, "time") => format!("CAST({kept} AS TIME(6))"),
                    (KeyKind::Temporal, _) => format!("CAST({kept} AS DATETIME(6))"),
                    _ => kept,
                };
                format!("{} = {value}", Side::Target.column(column))
            })
            .collect();
        parts.join(" AND ")
    }

    fn any_of(&self, rows: &[Row<'_>], side: Side) -> String {
        let keys: Vec<&Key> = rows.iter().map(|row| &row.key).collect();
        any_of(&self.key, side, &keys)
    }
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert | Verb::Update | Verb::Keep => "INSERT",
        Verb::Replace => "REPLACE",
    }
}

/// An assignment that changes nothing if the row in the way has the same key, and fails (error 1690,
/// whatever the `sql_mode`) if it is another's, which ON DUPLICATE KEY UPDATE would change in its stead.
/// `new` names the value of a column that was to be put in; it is assigned if `all`.
fn guarded(
    key: &MigrationKey,
    first: &crate::schema::KeyColumn,
    all: bool,
    new: &dyn Fn(&str) -> String,
) -> String {
    let own = |column: &crate::schema::KeyColumn| {
        format!("{GHOST}.{}", quote::ident(&column.target.name))
    };
    let same: Vec<String> = key
        .columns
        .iter()
        .map(|column| {
            let value = new(&quote::ident(&column.target.name));
            format!("{} <=> {value}", own(column))
        })
        .collect();
    let name = quote::ident(&first.target.name);
    let kept = own(first);
    let value = if all { new(&name) } else { kept.clone() };
    // The sum depends on the row, so that nobody computes it beforehand.
    format!(
        "{name} = IF(IF({}, 0, 9223372036854775807 + (1 + LENGTH({kept}))) < 0, {kept}, {value})",
        same.join(" AND ")
    )
}

/// An expression over the ghost's key column that gives the original's value of it.
fn in_source_terms(column: &crate::schema::KeyColumn, name: &str) -> String {
    let source = &column.source;
    match (column.kind, source.data_type.as_str()) {
        (KeyKind::Integer, "tinyint" | "smallint" | "mediumint" | "int" | "bigint") => {
            let sign = if source.unsigned() {
                "UNSIGNED"
            } else {
                "SIGNED"
            };
            format!("CAST({name} AS {sign})")
        }
        (KeyKind::Integer, _) => format!("CAST({name} AS UNSIGNED)"),
        (KeyKind::Decimal, _) => {
            let (precision, scale) = source.decimal.unwrap_or((65, 30));
            format!("CAST({name} AS DECIMAL({precision}, {scale}))")
        }
        (KeyKind::Temporal, "timestamp") => format!("UNIX_TIMESTAMP({name})"),
        (KeyKind::Temporal, "date") => format!("CAST({name} AS DATE)"),
        (KeyKind::Temporal, _) => name.to_string(),
        (KeyKind::Text, _) => match &source.charset {
            Some(charset) => format!("CAST(CONVERT({name} USING {charset}) AS BINARY)"),
            None => format!("CAST({name} AS BINARY)"),
        },
        (KeyKind::Opaque, _) => format!("CAST({name} AS BINARY)"),
        (KeyKind::Binary, _) => name.to_string(),
    }
}
