//! Which column of the original goes into which column of the ghost.

use serde::{Deserialize, Serialize};

use super::table::{Column, TableDefinition, same_name};
use crate::failure::{Failure, Result};

/// What an ALTER says about columns beyond the definitions before and after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnMoves {
    /// Old and new name of each renamed column (`CHANGE`, `RENAME COLUMN`). All old names are names
    /// before the ALTER and all new ones names after it, so that two may be exchanged.
    pub renamed: Vec<(String, String)>,
    /// Columns that it drops. One that it adds again under the same name is a new column.
    pub dropped: Vec<String>,
    /// Columns that it adds.
    pub added: Vec<String>,
}

/// A column that both tables have, generated columns left out: values move from source to target.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnPair {
    /// The original's column.
    pub source: Column,
    /// The ghost's column.
    pub target: Column,
}

impl ColumnPair {
    /// What to select from the original to get the value for the ghost's column: the column itself, the
    /// conversion is the server's own on assignment. The copy, replay by rereading and verification use
    /// the same.
    ///
    /// A TIMESTAMP that becomes something else, or the reverse, depends on the session's time zone: ours
    /// is UTC, a native ALTER's is the server's own.
    pub fn select_expression(&self) -> String {
        const ZERO: &str = "'0000-00-00 00:00:00'";
        let name = crate::mysql::quote::ident(&self.source.name);
        let zones = match (
            self.source.data_type.as_str(),
            self.target.data_type.as_str(),
        ) {
            ("timestamp", "timestamp") => return name,
            ("timestamp", "datetime" | "date" | "time" | "char" | "varchar") => {
                "'+00:00', @@GLOBAL.time_zone"
            }
            ("datetime" | "date" | "char" | "varchar", "timestamp") => {
                "@@GLOBAL.time_zone, '+00:00'"
            }
            _ => return name,
        };
        // CONVERT_TZ makes NULL of the zero date.
        format!("IF({name} = {ZERO}, {name}, CONVERT_TZ({name}, {zones}))")
    }

    /// Whether type, character set, collation and nullability are the same on both sides, so that a
    /// value goes over unchanged.
    pub fn unchanged(&self) -> bool {
        self.source.column_type == self.target.column_type
            && self.source.collation == self.target.collation
            && self.source.nullable == self.target.nullable
    }
}

/// The whole map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnMap {
    /// Columns that go over, in the ghost's order. The order of all column lists: of the copy, of
    /// replay, of verification, and of [`crate::change::After::values`].
    pub pairs: Vec<ColumnPair>,
    /// Columns that both tables have and the ghost computes: nobody writes them.
    pub computed: Vec<ColumnPair>,
    /// Columns of the original that have no place in the ghost.
    pub dropped: Vec<Column>,
    /// Columns of the ghost that the original does not feed (generated ones that are new among them).
    pub added: Vec<Column>,
}

impl ColumnMap {
    /// The map from the definitions before and after the ALTER, and what it renames and drops.
    ///
    /// # Errors
    /// A column that the ALTER neither renames nor drops is missing from the ghost, or one that it
    /// takes away is still there: the ALTER was understood differently here and by the server (an
    /// executable comment can do that), and going on would lose the column's values.
    pub fn build(
        original: &TableDefinition,
        ghost: &TableDefinition,
        moves: &ColumnMoves,
    ) -> Result<ColumnMap> {
        let mut map = ColumnMap::default();
        let mut fed: Vec<(usize, ColumnPair)> = Vec::new();
        for source in &original.columns {
            let name = moves.name_after(&source.name);
            let moved = name.is_none_or(|name| !same_name(name, &source.name));
            if moved && ghost.column(&source.name).is_some() && !moves.makes(&source.name) {
                return Err(unexplained(original, source, name.unwrap_or("gone")));
            }
            let Some(name) = name else {
                map.dropped.push(source.clone());
                continue;
            };
            let Some(target) = ghost.column(name) else {
                return Err(unexplained(original, source, name));
            };
            if fed.iter().any(|(position, _)| *position == target.position) {
                return Err(unexplained(original, source, name));
            }
            fed.push((
                target.position,
                ColumnPair {
                    source: source.clone(),
                    target: target.clone(),
                },
            ));
        }
        map.added = ghost
            .columns
            .iter()
            .filter(|column| !fed.iter().any(|(position, _)| *position == column.position))
            .cloned()
            .collect();
        fed.sort_by_key(|(position, _)| *position);
        for (_, pair) in fed {
            if pair.target.generated.is_some() {
                map.computed.push(pair);
            } else {
                map.pairs.push(pair);
            }
        }
        if map.pairs.is_empty() {
            return Err(Failure::failed(format!(
                "no column of {} is left in the new definition",
                original.name
            )));
        }
        Ok(map)
    }

    /// Where a column of the original goes, computed columns included.
    pub fn of_source(&self, name: &str) -> Option<&ColumnPair> {
        self.pairs
            .iter()
            .chain(&self.computed)
            .find(|pair| same_name(&pair.source.name, name))
    }

    /// The source's column names in the map's order.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| pair.source.name.as_str())
    }

    /// What a SELECT from the original reads, in the map's order: see
    /// [`ColumnPair::select_expression`].
    pub fn select_list(&self) -> String {
        let expressions: Vec<String> = self
            .pairs
            .iter()
            .map(ColumnPair::select_expression)
            .collect();
        expressions.join(", ")
    }

    /// The target's column names in the map's order.
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| pair.target.name.as_str())
    }
}

impl ColumnMoves {
    /// What takes it back: renames the other way, what was added goes, what was dropped comes.
    pub fn reversed(&self) -> ColumnMoves {
        let turned = |(old, new): &(String, String)| (new.clone(), old.clone());
        ColumnMoves {
            renamed: self.renamed.iter().map(turned).collect(),
            dropped: self.added.clone(),
            added: self.dropped.clone(),
        }
    }

    /// The name that a column has after the ALTER; `None` if it is dropped.
    fn name_after<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if let Some((_, new)) = self.renamed.iter().find(|(old, _)| same_name(old, name)) {
            return Some(new);
        }
        let dropped = self.dropped.iter().any(|dropped| same_name(dropped, name));
        (!dropped).then_some(name)
    }

    /// Whether a column of this name comes out of it, be it added or renamed to it.
    fn makes(&self, name: &str) -> bool {
        let renamed = self.renamed.iter().map(|(_, new)| new);
        self.added
            .iter()
            .chain(renamed)
            .any(|new| same_name(new, name))
    }
}

fn unexplained(original: &TableDefinition, source: &Column, name: &str) -> Failure {
    Failure::failed(format!(
        "column {} of {} should be {name} in the new definition, but the server understood it otherwise",
        source.name, original.name
    ))
    .remedy("report this ALTER; write renames and drops of columns as plain clauses without /*! … */")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::table::Generated;

    fn table(columns: &[&str]) -> TableDefinition {
        TableDefinition {
            columns: columns
                .iter()
                .enumerate()
                .map(|(position, name)| Column {
                    // A leading `=` marks a generated column.
                    name: name.trim_start_matches('=').to_string(),
                    generated: name.starts_with('=').then_some(Generated::Stored),
                    position,
                    ..Column::default()
                })
                .collect(),
            ..TableDefinition::default()
        }
    }

    /// A dropped column with a leading `+` is added again.
    fn moves(renamed: &[(&str, &str)], dropped: &[&str]) -> ColumnMoves {
        let again = dropped.iter().filter_map(|name| name.strip_prefix('+'));
        ColumnMoves {
            renamed: renamed
                .iter()
                .map(|(old, new)| (old.to_string(), new.to_string()))
                .collect(),
            dropped: dropped
                .iter()
                .map(|name| name.trim_start_matches('+').to_string())
                .collect(),
            added: again.map(str::to_string).collect(),
        }
    }

    /// The map as `source>target … | computed | dropped | added`.
    fn check(original: &[&str], ghost: &[&str], moves: ColumnMoves, expected: &str) {
        let map = ColumnMap::build(&table(original), &table(ghost), &moves).unwrap();
        let pairs = |pairs: &[ColumnPair]| {
            let pair = |p: &ColumnPair| format!("{}>{}", p.source.name, p.target.name);
            pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        let names = |columns: &[Column]| {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            names.join(" ")
        };
        let shown = format!(
            "{}|{}|{}|{}",
            pairs(&map.pairs),
            pairs(&map.computed),
            names(&map.dropped),
            names(&map.added)
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn columns_are_found_by_name_in_the_ghosts_order() {
        check(
            &["id", "A"],
            &["a", "id", "n"],
            moves(&[], &[]),
            "A>a id>id|||n",
        );
        check(&["id", "a"], &["id"], moves(&[], &["A"]), "id>id||a|");
    }

    #[test]
    fn renames_are_followed() {
        check(
            &["a", "b"],
            &["b", "a"],
            moves(&[("A", "b"), ("b", "a")], &[]),
            "a>b b>a|||",
        );
        let added = ColumnMoves {
            added: vec!["a".to_string()],
            ..moves(&[("a", "b")], &[])
        };
        check(&["a", "id"], &["b", "id", "a"], added, "a>b id>id|||a");
        check(
            &["id", "a", "b"],
            &["id", "a"],
            moves(&[("b", "a")], &["a"]),
            "id>id b>a||a|",
        );
    }

    #[test]
    fn a_column_dropped_and_added_again_is_new() {
        check(
            &["id", "a"],
            &["id", "a"],
            moves(&[], &["+a"]),
            "id>id||a|a",
        );
    }

    #[test]
    fn a_rename_of_a_column_that_is_not_there_means_nothing() {
        check(
            &["id", "b"],
            &["id", "b"],
            moves(&[("a", "b")], &[]),
            "id>id b>b|||",
        );
    }

    #[test]
    fn the_server_computes_generated_targets() {
        check(
            &["id", "=g", "=h", "r"],
            &["id", "=g", "h", "=r", "=n"],
            moves(&[], &[]),
            "id>id h>h|g>g r>r||n",
        );
    }

    #[test]
    fn a_missing_column_is_an_error() {
        let built = ColumnMap::build(&table(&["id", "a"]), &table(&["id"]), &moves(&[], &[]));
        assert!(built.unwrap_err().to_string().contains("column a"));
        let again = table(&["id", "a"]);
        assert!(ColumnMap::build(&again, &again, &moves(&[], &["a"])).is_err());
        assert!(
            ColumnMap::build(
                &again,
                &table(&["id", "a", "b"]),
                &moves(&[("a", "b")], &[])
            )
            .is_err()
        );
        let both = moves(&[("a", "x"), ("b", "x")], &[]);
        assert!(ColumnMap::build(&table(&["a", "b"]), &table(&["x"]), &both).is_err());
    }
}
