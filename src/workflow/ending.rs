//! What a run leaves behind, said in the order in which a DBA asks.

use crate::failure::{Failure, FailureKind};
use crate::names::TableName;

/// What became of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginalTable {
    /// It is as it was.
    Untouched,
    /// It has the new definition; the former table is kept or gone, as asked.
    Swapped,
    /// The connection was lost in the swap and the catalogue did not tell.
    Unknown,
}

/// The state in which a run leaves the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What became of the original.
    pub original: OriginalTable,
    /// Tables of the run that are still there.
    pub left: Vec<TableName>,
    /// Whether the same command goes on from here.
    pub resumable: bool,
}

impl Ending {
    /// Nothing was changed.
    pub fn nothing_changed() -> Ending {
        Ending {
            original: OriginalTable::Untouched,
            left: Vec::new(),
            resumable: false,
        }
    }

    /// The last lines on stderr: what stopped, the state of the original, what remains, what to do.
    pub fn report(&self, failure: &Failure) -> String {
        let mut lines = vec![format!("error: {failure}")];
        lines.push(format!(
            "original table: {}",
            match self.original {
                OriginalTable::Untouched => "untouched",
                OriginalTable::Swapped => "swapped: it has the new definition",
                OriginalTable::Unknown =>
                    "UNKNOWN: look which of the tables exist before doing anything",
            }
        ));
        if !self.left.is_empty() {
            let names: Vec<String> = self.left.iter().map(ToString::to_string).collect();
            lines.push(format!("left on the server: {}", names.join(", ")));
        }
        if let Some(remedy) = failure.remedy_text() {
            lines.push(format!("hint: {remedy}"));
        }
        if self.resumable {
            lines.push(
                "next: the same command goes on from here; `changeling cleanup` removes what is left"
                    .to_string(),
            );
        } else if !self.left.is_empty() {
            lines.push("next: `changeling cleanup` removes what is left".to_string());
        } else if self.original == OriginalTable::Untouched {
            let again = if failure.kind() == FailureKind::Usage {
                "next: correct the command line"
            } else {
                "next: nothing was left behind; start again when the cause is gone"
            };
            lines.push(again.to_string());
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_dba_asks() {
        let ending = Ending {
            original: OriginalTable::Untouched,
            left: vec![TableName::new("d", "_t_gho")],
            resumable: true,
        };
        let text = ending.report(&Failure::failed("the server went away").remedy("start it"));
        assert_eq!(
            text,
            "error: the server went away\noriginal table: untouched\nleft on the server: d._t_gho\n\
             hint: start it\nnext: the same command goes on from here; `changeling cleanup` removes what is left"
        );
        assert!(
            Ending::nothing_changed()
                .report(&Failure::usage("no table"))
                .ends_with("correct the command line")
        );
    }
}
