//! Which unique keys the ghost has, and so how rows may be put into it.

use crate::schema::table::same_name;
use crate::schema::{ColumnMap, ColumnPair, Index, MigrationKey, TableDefinition};

/// What uniqueness in the ghost means for replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniqueness {
    /// The migration key is the ghost's only unique key, and distinct keys of the original stay distinct:
    /// putting a row in can meet that row only.
    KeyOnly,
    /// There are others, and each is implied by one of the original: a row that stands in the way is
    /// stale, and its own change is still to come. REPLACE converges.
    Implied,
    /// A unique key of the ghost may be violated by rows that the original holds rightly: a row that
    /// stands in the way may be one that must stay.
    Stricter,
}

impl Uniqueness {
    /// From the definitions on both sides.
    pub fn of(
        original: &TableDefinition,
        ghost: &TableDefinition,
        columns: &ColumnMap,
        key: &MigrationKey,
    ) -> Uniqueness {
        let mut found = Uniqueness::KeyOnly;
        for index in ghost.indexes.iter().filter(|index| index.unique) {
            if !implied(index, original, columns) {
                return Uniqueness::Stricter;
            }
            if !same_name(&index.name, &key.target_index) {
                found = Uniqueness::Implied;
            }
        }
        found
    }
}

/// Whether no two rows that the original may hold collide in this unique index of the ghost: its columns
/// include all columns of a unique index of the original, and distinct values of these stay distinct.
fn implied(index: &Index, original: &TableDefinition, columns: &ColumnMap) -> bool {
    original
        .indexes
        .iter()
        .filter(|candidate| candidate.unique)
        .any(|candidate| {
            candidate.columns.iter().all(|part| {
                let Some(source) = &part.column else {
                    return false;
                };
                let Some(pair) = columns
                    .pairs
                    .iter()
                    .find(|pair| same_name(&pair.source.name, source))
                else {
                    return false;
                };
                keeps_distinct(pair)
                    && index.columns.iter().any(|target| {
                        let same = target
                            .column
                            .as_deref()
                            .is_some_and(|name| same_name(name, &pair.target.name));
                        // A prefix is as fine as another only if it is no shorter.
                        same && target
                            .prefix
                            .is_none_or(|long| part.prefix.is_some_and(|short| short <= long))
                    })
            })
        })
}

/// Whether two values that differ in the source differ in the target too, as their indexes compare them.
/// Only what is sure; anything else takes the exact way, which is slower and right as well.
fn keeps_distinct(pair: &ColumnPair) -> bool {
    const INTEGERS: [&str; 6] = ["tinyint", "smallint", "mediumint", "int", "bigint", "year"];
    let (source, target) = (&pair.source, &pair.target);
    let integer = |name: &str| INTEGERS.contains(&name);
    if source.column_type == target.column_type && source.collation == target.collation {
        return true;
    }
    match (source.data_type.as_str(), target.data_type.as_str()) {
        // Strict mode: a value that does not fit is an error, never another value.
        (a, b) if integer(a) && integer(b) && a != "year" && b != "year" => true,
        ("varchar", "varchar") => source.collation == target.collation,
        ("varbinary", "varbinary") => true,
        ("decimal", "decimal") => match (source.decimal, target.decimal) {
            (Some((_, from)), Some((_, to))) => from <= to,
            _ => false,
        },
        ("datetime", "datetime") | ("timestamp", "timestamp") | ("time", "time") => {
            source.fraction_digits <= target.fraction_digits
        }
        _ => false,
    }
}
