//! The names of the tables that one migration touches.
//!
//! They are gh-ost's (`_t_gho`, `_t_ghc`, `_t_ghk`, `_t_del`), so that existing clean-up jobs, change
//! feeds and habits keep working.

use std::fmt;

/// The longest table name that MySQL and MariaDB take, in characters (manual, "Identifier Length Limits").
pub const TABLE_NAME_CHARS_MAX: usize = 64;

/// A table by schema and name. Not quoted; SQL text is made with [`crate::mysql::quote::table`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema (database).
    pub schema: String,
    /// The table's own name.
    pub table: String,
}

impl TableName {
    /// A table name from its two parts.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> TableName {
        TableName {
            schema: schema.into(),
            table: table.into(),
        }
    }

    /// Another table of the same schema.
    pub fn sibling(&self, table: impl Into<String>) -> TableName {
        TableName::new(self.schema.clone(), table)
    }
}

impl fmt::Display for TableName {
    /// For messages only: `schema.table` without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// All tables of one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The live table that the application uses.
    pub original: TableName,
    /// The copy with the new definition.
    pub ghost: TableName,
    /// Heartbeats, markers and state.
    pub changelog: TableName,
    /// What a resume needs.
    pub checkpoint: TableName,
    /// What the original is renamed to.
    pub old: TableName,
}

impl Names {
    /// The names for a table. `base` replaces the table's own name in the helper tables' names
    /// (gh-ost's `--force-table-names`); `old_stamp` goes into the old table's name
    /// (gh-ost's `--timestamp-old-table`: `_t_20261128130000_del`).
    ///
    /// ```
    /// use changeling::names::{Names, TableName};
    /// let names = Names::new(&TableName::new("shop", "orders"), None, None);
    /// assert_eq!(names.ghost, TableName::new("shop", "_orders_gho"));
    /// assert_eq!(names.old.table, "_orders_del");
    /// // A name that is too long for that is cut.
    /// let long = Names::new(&TableName::new("shop", "x".repeat(64)), None, None);
    /// assert_eq!(long.ghost.table.len(), 64);
    /// ```
    pub fn new(original: &TableName, base: Option<&str>, old_stamp: Option<&str>) -> Names {
        let base = base.unwrap_or(&original.table);
        let old_suffix = match old_stamp {
            Some(stamp) => format!("{stamp}_del"),
            None => "del".to_string(),
        };
        Names {
            original: original.clone(),
            ghost: original.sibling(helper(base, "gho")),
            changelog: original.sibling(helper(base, "ghc")),
            checkpoint: original.sibling(helper(base, "ghk")),
            old: original.sibling(helper(base, &old_suffix)),
        }
    }

    /// A further helper table, for a probe or a sentry, by its own suffix.
    pub fn helper(&self, suffix: &str) -> TableName {
        self.original.sibling(helper(&self.original.table, suffix))
    }
}

/// `_base_suffix`; a base too long for it is cut and gets a hash of its whole name, so that two long
/// names with one beginning do not meet.
fn helper(base: &str, suffix: &str) -> String {
    let room = TABLE_NAME_CHARS_MAX - suffix.chars().count() - 2;
    if base.chars().count() <= room {
        return format!("_{base}_{suffix}");
    }
    let hash = format!("{:08x}", fnv1a32(base.as_bytes()));
    let kept: String = base.chars().take(room - hash.len() - 1).collect();
    format!("_{kept}_{hash}_{suffix}")
}

/// FNV-1a, 32 bits: short, stable across versions of this program, which a resume needs.
pub(crate) fn fnv1a32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_gh_ost() {
        let names = Names::new(&TableName::new("d", "t"), None, None);
        assert_eq!(names.ghost, TableName::new("d", "_t_gho"));
        assert_eq!(names.changelog.table, "_t_ghc");
        assert_eq!(names.checkpoint.table, "_t_ghk");
        assert_eq!(names.old.table, "_t_del");
        let stamped = Names::new(&TableName::new("d", "t"), Some("x"), Some("20261128130000"));
        assert_eq!(stamped.old.table, "_x_20261128130000_del");
        assert_eq!(stamped.ghost.table, "_x_gho");
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        let a = "é".repeat(63) + "a";
        let b = "é".repeat(63) + "b";
        let (a, b) = (helper(&a, "gho"), helper(&b, "gho"));
        assert_eq!(a.chars().count(), TABLE_NAME_CHARS_MAX);
        assert_ne!(a, b);
        assert_eq!(helper(&"x".repeat(59), "gho").chars().count(), 64);
    }
}
