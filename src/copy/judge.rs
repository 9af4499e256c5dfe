//! What the warnings of a chunk's statement mean.

use crate::mysql::Warning;
use crate::mysql::error::ER_DUP_ENTRY;
use crate::schema::{MigrationKey, TableDefinition};

/// The verdict on one statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// There are more warnings than the server has kept.
    pub(super) incomplete: bool,
    /// A value was changed to fit, or a row left out: the ghost cannot hold it.
    pub(super) does_not_fit: bool,
    /// A row met a duplicate on a unique key other than the migration key.
    pub(super) other_duplicates: bool,
}

/// What one warning means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The row is in the ghost already; or a note: what a native ALTER does without complaint, such as
    /// rounding to a smaller scale.
    Harmless,
    /// A duplicate on another unique key.
    OtherDuplicate,
    /// The row does not fit.
    DoesNotFit,
}

pub(super) fn verdict(
    counted: u16,
    shown: &[Warning],
    key: &MigrationKey,
    ghost: &TableDefinition,
) -> Verdict {
    let mut verdict = Verdict {
        incomplete: usize::from(counted) > shown.len(),
        ..Verdict::default()
    };
    for warning in shown {
        match meaning(warning, key, ghost) {
            Meaning::Harmless => {}
            Meaning::OtherDuplicate => verdict.other_duplicates = true,
            Meaning::DoesNotFit => verdict.does_not_fit = true,
        }
    }
    verdict
}

pub(super) fn meaning(warning: &Warning, key: &MigrationKey, ghost: &TableDefinition) -> Meaning {
    if warning.level == "Note" {
        return Meaning::Harmless;
    }
    if warning.code != ER_DUP_ENTRY {
        return Meaning::DoesNotFit;
    }
    // MySQL from 8.0.19 writes the table before the key's name; MariaDB and older ones do not. The
    // entry, which comes first, may contain anything, so only the end is looked at.
    let name = &key.target_index;
    let harmless = [
        format!(" for key '{name}'"),
        format!(" for key '{}.{name}'", ghost.name.table),
    ];
    match harmless.iter().any(|end| warning.message.ends_with(end)) {
        true => Meaning::Harmless,
        false => Meaning::OtherDuplicate,
    }
}
