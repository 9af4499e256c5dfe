//! The statements that compare two tables.
//!
//! A range's sum is two numbers: how many rows, and the XOR of a hash of each ([`row_hash`]). Rows of a range
//! whose sums differ are compared one by one by SHA2.

use std::sync::Arc;

use super::columns::{Compared, Form, Turned};
use crate::chunk::Chunk;
use crate::failure::Result;
use crate::key::Key;
use crate::mysql::{Facts, Session, quote};
use crate::names::TableName;
use crate::schema::table::same_name;
use crate::schema::{Column, ColumnMap, ColumnPair, KeyColumn, MigrationKey, TableDefinition};
use crate::walk::bounds::{self, Side};

/// A temporary table's name is its session's own affair; this one is unlikely to hide a real table.
const ASSIGNED: &str = "_changeling_assigned";

/// How two tables are compared. Made once; no I/O but in the methods that take a session.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The original.
    pub original: TableName,
    /// The ghost.
    pub ghost: TableName,
    /// The key that pairs rows.
    pub key: Arc<MigrationKey>,
    key_columns: Vec<Compared>,
    others: Vec<Compared>,
    /// The columns of the temporary table: those of the key, then the others.
    assigned: ColumnMap,
    /// The key as the ghost's index has it, if that has its columns in another order: a range of the
    /// original is no range there.
    target_order: Option<Arc<MigrationKey>>,
}

/// Where a side's rows are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Original,
    /// The temporary table: the original's rows, assigned to the ghost's types.
    Assigned,
    Ghost,
}

/// The sums of a range on one side; equal sums, equal rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u64,
    pub(super) hash: u64,
}

/// One row on one side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowHash {
    /// As the side's own types have it.
    pub(super) key: Key,
    pub(super) hash: Vec<u8>,
}

impl Comparison {
    /// Plans the comparison of the columns that the map pairs.
    pub fn new(
        facts: &Facts,
        original: &TableDefinition,
        ghost: &TableDefinition,
        map: &ColumnMap,
        key: Arc<MigrationKey>,
    ) -> Comparison {
        // MariaDB's JSON is a text.
        let is_json = |column: &Column| column.data_type == "json" && !facts.is_mariadb();
        let compared =
            |pair: &ColumnPair| Compared::new(pair, is_json(&pair.source), is_json(&pair.target));
        // A key may have computed columns, which are no pairs of the map.
        let key_pairs: Vec<ColumnPair> = key
            .columns
            .iter()
            .map(|column| ColumnPair {
                source: column.source.clone(),
                target: column.target.clone(),
            })
            .collect();
        let in_key = |pair: &ColumnPair| {
            key_pairs
                .iter()
                .any(|own| same_name(&own.source.name, &pair.source.name))
        };
        let assigned = key_pairs
            .iter()
            .chain(map.pairs.iter().filter(|pair| !in_key(pair)))
            .cloned()
            .collect();
        let others = map
            .pairs
            .iter()
            .filter(|pair| !in_key(pair))
            .map(compared)
            .collect();
        let same_order = ghost.index(&key.target_index).is_some_and(|index| {
            index.columns.len() == key.columns.len()
                && index
                    .columns
                    .iter()
                    .zip(&key.columns)
                    .all(|(part, column)| {
                        part.column
                            .as_deref()
                            .is_some_and(|name| same_name(name, &column.target.name))
                    })
        });
        Comparison {
            original: original.name.clone(),
            ghost: ghost.name.clone(),
            key_columns: key_pairs.iter().map(compared).collect(),
            target_order: (!same_order)
                .then(|| along_target(&key, ghost))
                .flatten()
                .map(Arc::new),
            others,
            assigned: ColumnMap {
                pairs: assigned,
                ..ColumnMap::default()
            },
            key,
        }
    }

    /// For a way back, where the ghost is an old table whose rows came into the original by the ALTER: what
    /// that may have rounded is compared as it would be rounded again, or rows that nobody has changed
    /// since would differ. Returns the columns that cannot be compared so and are left out.
    pub fn back(mut self, facts: &Facts, map: &ColumnMap) -> (Comparison, Vec<String>) {
        let is_json = |column: &Column| column.data_type == "json" && !facts.is_mariadb();
        let mut left_out = Vec::new();
        self.others = std::mem::take(&mut self.others)
            .into_iter()
            .filter_map(|compared| {
                let own = |pair: &&ColumnPair| same_name(&pair.source.name, &compared.name);
                let Some(pair) = map.pairs.iter().find(own) else {
                    return Some(compared);
                };
                match Compared::turned(pair, is_json(&pair.source), is_json(&pair.target)) {
                    Turned::Same => Some(compared),
                    Turned::Otherwise(turned) => Some(turned),
                    Turned::Impossible => {
                        left_out.push(compared.name);
                        None
                    }
                }
            })
            .collect();
        (self, left_out)
    }

    /// The same comparison with the ghost under another name: within a swap it can have one.
    pub fn for_ghost(&self, ghost: &TableName) -> Comparison {
        Comparison {
            ghost: ghost.clone(),
            ..self.clone()
        }
    }

    /// Whether the original's rows must be assigned to a temporary table to be compared, since SQL cannot
    /// express some conversion.
    pub fn assigns(&self) -> bool {
        self.key_columns
            .iter()
            .chain(&self.others)
            .any(|column| column.source.is_none())
    }

    /// Whether the ghost orders rows differently, so that each side is walked along its own key.
    pub fn needs_two_walks(&self) -> bool {
        self.target_order.is_some()
    }

    /// The key in the order of the ghost's index, if that is another than the original's.
    pub(super) fn target_order(&self) -> Option<&Arc<MigrationKey>> {
        self.target_order.as_ref()
    }

    /// Prepares a session: the modes of the copy, since casts depend on them, and the temporary table.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn prepare(&self, session: &mut Session) -> Result<()> {
        session
            .execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
            .await?;
        if self.assigns() {
            let key: Vec<&str> = self
                .key
                .columns
                .iter()
                .map(|column| column.target.name.as_str())
                .collect();
            session
                .execute(&format!(
                    "CREATE TEMPORARY TABLE {} (PRIMARY KEY ({})) ENGINE = InnoDB SELECT {} FROM {} WHERE FALSE",
                    quote::table(&self.table(Place::Assigned)),
                    quote::idents(key),
                    quote::idents(self.assigned.target_names()),
                    quote::table(&self.ghost)
                ))
                .await?;
        }
        Ok(())
    }

    /// The place to read the original's rows from, filled with those of the condition if need be.
    pub(super) async fn source(&self, session: &mut Session, condition: &str) -> Result<Place> {
        if !self.assigns() {
            return Ok(Place::Original);
        }
        let table = quote::table(&self.table(Place::Assigned));
        session.execute(&format!("DELETE FROM {table}")).await?;
        session
            .execute(&format!(
                "INSERT IGNORE INTO {table} ({}) SELECT {} FROM {} WHERE {condition}",
                quote::idents(self.assigned.target_names()),
                self.assigned.select_list(),
                self.indexed(Place::Original),
            ))
            .await?;
        Ok(Place::Assigned)
    }

    /// The condition of a chunk on one side.
    pub(super) fn within(&self, place: Place, chunk: &Chunk) -> String {
        bounds::within(&self.key, side(place), chunk)
    }

    /// `SELECT rows, hash FROM … WHERE …`: the sums of a range on one side.
    pub(super) fn sums_query(&self, place: Place, condition: &str) -> String {
        let hash = row_hash(&self.key_columns, &self.others, place);
        format!(
            "SELECT COUNT(*), BIT_XOR({hash}) FROM {} WHERE {condition}",
            self.indexed(place)
        )
    }

    /// `SELECT key…, hash FROM … WHERE …`: the rows of a range on one side.
    pub(super) fn rows_query(&self, place: Place, condition: &str) -> String {
        let columns: Vec<&Compared> = self.key_columns.iter().chain(&self.others).collect();
        format!(
            "SELECT {}, SHA2({}, 256) FROM {} WHERE {condition}",
            crate::walk::keys::select_list(&self.key, side(place)),
            joined(&arguments(&columns, place)),
            self.indexed(place)
        )
    }

    /// `SELECT column… FROM … WHERE …`: each column's text, NULL as the word for it.
    pub(super) fn columns_query(&self, place: Place, condition: &str) -> String {
        let texts: Vec<String> = self
            .key_columns
            .iter()
            .chain(&self.others)
            .map(|column| {
                let value = expression(column, place);
                match column.form {
                    Form::Plain => format!("COALESCE(CAST({value} AS CHAR), 'NULL')"),
                    Form::Bytes | Form::Long => format!("COALESCE(CRC32({value}), 'NULL')"),
                }
            })
            .collect();
        format!(
            "SELECT CONCAT_WS(',', {}) FROM {} WHERE {condition}",
            texts.join(", "),
            self.indexed(place)
        )
    }

    /// The names of the columns of [`Comparison::columns_query`].
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.key_columns
            .iter()
            .chain(&self.others)
            .map(|column| column.name.as_str())
    }

    fn table(&self, place: Place) -> TableName {
        match place {
            Place::Original => self.original.clone(),
            Place::Assigned => self.ghost.sibling(ASSIGNED),
            Place::Ghost => self.ghost.clone(),
        }
    }

    fn indexed(&self, place: Place) -> String {
        let index = match place {
            Place::Original => quote::ident(&self.key.source_index),
            Place::Assigned => quote::ident("PRIMARY"),
            Place::Ghost => quote::ident(&self.key.target_index),
        };
        format!("{} FORCE INDEX ({index})", quote::table(&self.table(place)))
    }
}

/// The key in the order and directions of the ghost's index.
fn along_target(key: &MigrationKey, ghost: &TableDefinition) -> Option<MigrationKey> {
    let columns = ghost
        .index(&key.target_index)?
        .columns
        .iter()
        .map(|part| {
            let name = part.column.as_deref()?;
            let column = key
                .columns
                .iter()
                .find(|column| same_name(&column.target.name, name))?;
            Some(KeyColumn {
                descending: part.descending,
                ..column.clone()
            })
        })
        .collect::<Option<_>>()?;
    Some(MigrationKey {
        columns,
        ..key.clone()
    })
}

/// Which of the key's sides the rows have the types of.
pub(super) fn side(place: Place) -> Side {
    match place {
        Place::Original => Side::Source,
        Place::Assigned | Place::Ghost => Side::Target,
    }
}

fn expression(column: &Compared, place: Place) -> &str {
    match (place, &column.source) {
        (Place::Original, Some(source)) => source,
        _ => &column.target,
    }
}

/// A hash of a row's key and values, in 64 bits.
///
/// Each column gives its CRC32, or 2^32 for NULL. (CRC32 because every server has it: MySQL 9.6 took MD5 and
/// SHA1 out. One for each column, since joining the values first costs more than everything else: 1.0 instead
/// of 0.65 µs for a row of 190 bytes on MySQL 9.7, 0.56 instead of 0.37 on MariaDB 10.11.) They are joined by
/// XOR, each shifted by another number of bits, so that values exchanged between columns count.
///
/// A CRC is linear: the XOR of the CRCs of two rows stays the same when values are exchanged between them, and
/// even their sum often does. So what is joined is multiplied by a number made of the key, by which a value
/// counts only where it belongs. No product may exceed 64 bits, an error to the server: hence columns come in
/// groups of 7, each with the key in it, of at most 40 bits, and what they are multiplied with has 24.
fn row_hash(key: &[Compared], others: &[Compared], place: Place) -> String {
    let parts: Vec<String> = key.iter().map(|column| number(column, place)).collect();
    // At most 33 bits. Of a key of several columns that is not all, so those are among the others, too.
    let key_is_first = parts.len() > 1;
    let (own, columns) = match parts.as_slice() {
        [only] => (only.clone(), Vec::new()),
        _ => (
            format!("({} >> {})", shifted(&parts, 0), parts.len() - 1),
            parts,
        ),
    };
    let columns: Vec<String> = columns
        .into_iter()
        .chain(others.iter().map(|column| number(column, place)))
        .collect();
    if columns.is_empty() {
        return format!("(({own} >> 9) + 1) * {own}");
    }
    let products: Vec<String> = columns
        .chunks(GROUP)
        .enumerate()
        .map(|(group, columns)| {
            let by = match group {
                0 => format!("({own} >> 9)"),
                group => format!("(({own} >> 9) ^ {group})"),
            };
            let joined = match shifted(columns, 1) {
                joined if group == 0 && key_is_first => joined,
                joined => format!("({own} ^ {joined})"),
            };
            format!("({by} + 1) * {joined}")
        })
        .collect();
    match products.as_slice() {
        [only] => only.clone(),
        _ => format!("({})", products.join(") ^ (")),
    }
}

/// How many columns are joined before they are multiplied.
const GROUP: usize = 7;

/// Numbers joined by XOR, the first shifted by so many bits, the next by one more.
fn shifted(numbers: &[String], first: usize) -> String {
    let shifted: Vec<String> = numbers
        .iter()
        .zip(first..)
        .map(|(number, bits)| format!("({number} << {bits})"))
        .collect();
    format!("({})", shifted.join(" ^ "))
}

/// A column's value as a number of at most 33 bits. Never NULL: that would take the whole row out of the sum.
fn number(column: &Compared, place: Place) -> String {
    let value = expression(column, place);
    // A conversion could be NULL, too.
    let may_be_null = is_null(column, place).is_some() || !quote::is_ident(value);
    match may_be_null {
        true => format!("IFNULL(CRC32({value}), 4294967296)"),
        false => format!("CRC32({value})"),
    }
}

fn joined(arguments: &[String]) -> String {
    format!("CONCAT_WS(',', {})", arguments.join(", "))
}

/// Flags of NULLs, if any value may be NULL, then the lengths of strings, then the values, of which CONCAT_WS
/// leaves out those that are NULL: two rows give one text only if they are equal, since no other value has a
/// comma in its text. (The last string needs no length.)
fn arguments(columns: &[&Compared], place: Place) -> Vec<String> {
    let flags: Vec<&str> = columns
        .iter()
        .filter_map(|column| is_null(column, place))
        .collect();
    let flags = (!flags.is_empty()).then(|| format!("CONCAT({})", flags.join(", ")));
    let strings = columns.iter().filter(|column| column.form == Form::Bytes);
    let lengths = strings
        .rev()
        .skip(1)
        .map(|column| format!("LENGTH({})", expression(column, place)));
    let values = columns.iter().map(|column| {
        let value = expression(column, place);
        match column.form {
            Form::Plain => value.to_string(),
            // As bytes, so that nothing is converted. (MariaDB refuses to join several character sets.)
            Form::Bytes => format!("CAST({value} AS BINARY)"),
            Form::Long => format!("CRC32({value})"),
        }
    });
    flags.into_iter().chain(lengths).chain(values).collect()
}

fn is_null(column: &Compared, place: Place) -> Option<&str> {
    match place {
        Place::Original => column.source_null.as_deref(),
        Place::Assigned | Place::Ghost => column.target_null.as_deref(),
    }
}
