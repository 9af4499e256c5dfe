//! Names that sort behind the original's.
//!
//! The server takes the metadata locks of one RENAME in the byte order of schema and name (seen on
//! MariaDB 10.11 and MySQL 9.7). A RENAME whose other names all sort behind the original's asks for
//! the original first, and holds it while it waits for any of the others.

use crate::names::{TABLE_NAME_CHARS_MAX, TableName, fnv1a32};

const GHOST: &str = "~gho";
/// Sorts behind [`GHOST`]: the RENAME comes to the sentry last.
const SENTRY: &str = "~sen";

/// The ghost's and the sentry's names during a two-session swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SortedNames {
    /// What the ghost is called for the time of an attempt.
    pub ghost: TableName,
    /// The sentry; after the swap, for a moment, the old table.
    pub sentry: TableName,
}

impl SortedNames {
    pub fn new(original: &TableName) -> SortedNames {
        SortedNames {
            ghost: original.sibling(behind(&original.table, GHOST)),
            sentry: original.sibling(behind(&original.table, SENTRY)),
        }
    }
}

/// A name of at most 64 characters that sorts behind `base` in bytes. A longer name with the same
/// beginning does; where there is no room, the beginning is cut and goes on with a greater character
/// than the base's at that place, and with a hash, so that two long names do not meet.
fn behind(base: &str, suffix: &str) -> String {
    /// The greatest character that names may have and that no name has in practice.
    const GREATEST: char = '\u{FFFD}';
    const HASH_CHARS: usize = 8;
    let room = TABLE_NAME_CHARS_MAX - suffix.chars().count();
    let chars: Vec<char> = base.chars().collect();
    if chars.len() <= room {
        return format!("{base}{suffix}");
    }
    let cut = room - HASH_CHARS - 1;
    let kept: String = chars[..cut].iter().collect();
    let greater = if chars[cut] < '~' { '~' } else { GREATEST };
    format!("{kept}{greater}{:08x}{suffix}", fnv1a32(base.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_behind_and_fit() {
        for base in [
            "t".to_string(),
            "T".to_string(),
            "_t".to_string(),
            "x".repeat(60),
            "x".repeat(61),
            "x".repeat(64),
            "~".repeat(64),
            "é".repeat(64),
            "字".repeat(62),
        ] {
            let names = SortedNames::new(&TableName::new("d", base.as_str()));
            let (ghost, sentry) = (names.ghost.table, names.sentry.table);
            assert!(base.as_bytes() < ghost.as_bytes(), "{base} {ghost}");
            assert!(ghost.as_bytes() < sentry.as_bytes(), "{ghost} {sentry}");
            assert!(ghost.chars().count() <= TABLE_NAME_CHARS_MAX);
            assert!(sentry.chars().count() <= TABLE_NAME_CHARS_MAX);
        }
    }
}
