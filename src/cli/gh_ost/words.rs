//! The last lines of a run that failed. Scripts look for gh-ost's words, so those that belong to what
//! happened stand beside ours.

use crate::change::now_micros;
use crate::failure::{Evidence, Failure};
use crate::observe::text::utc;

/// The lines, in the form of gh-ost's log.
pub(super) fn last_lines(failure: &Failure) -> Vec<String> {
    let now = utc(now_micros() / 1_000_000);
    let text = failure.to_string();
    let mut lines = Vec::new();
    for (ours, theirs) in WORDS {
        if text.contains(ours) {
            lines.push(format!("{now} FATAL {theirs}"));
        }
    }
    lines.extend(said(failure).map(|words| format!("{now} {words}")));
    lines.push(format!("{now} FATAL {text}"));
    if let Some(remedy) = failure.remedy_text() {
        lines.push(format!("hint: {}", with_its_flags(remedy)));
    }
    lines
}

/// A remedy with gh-ost's flags for our options.
fn with_its_flags(remedy: &str) -> String {
    FLAGS
        .iter()
        .fold(remedy.to_string(), |text, (ours, theirs)| {
            text.replace(ours, theirs)
        })
}

/// Our options that remedies name, and gh-ost's flags that do the same.
const FLAGS: [(&str, &str); 4] = [
    ("--restart", "--initially-drop-ghost-table"),
    ("--triggers=recreate", "--include-triggers"),
    ("--assume-primary", "--assume-master-host"),
    ("--replicas", "--throttle-control-replicas"),
];

/// What the server said, as gh-ost writes it: errors as Go's driver prints them.
fn said(failure: &Failure) -> impl Iterator<Item = String> {
    let warnings: Vec<String> = failure
        .evidence_given()
        .iter()
        .filter_map(|said| match said {
            Evidence::CopyWarning { code, message } => Some(warning(*code, message)),
            Evidence::Error { .. } | Evidence::ReplayWarning { .. } => None,
        })
        .collect();
    let copy = (!warnings.is_empty()).then(|| {
        format!(
            "ERROR ApplyIterationInsertQuery failed because of SQL warnings: [{}]",
            warnings.join("; ")
        )
    });
    let others = failure
        .evidence_given()
        .iter()
        .filter_map(|said| match said {
            Evidence::CopyWarning { .. } => None,
            Evidence::Error {
                code,
                state,
                message,
            } => Some(format!("FATAL Error {code} ({state}): {message}")),
            Evidence::ReplayWarning {
                statement,
                of,
                code,
                message,
            } => Some(format!(
                "ERROR warnings detected in statement {statement} of {of}: [{}]",
                warning(*code, message)
            )),
        });
    copy.into_iter()
        .chain(others)
        .collect::<Vec<_>>()
        .into_iter()
}

fn warning(code: u16, message: &str) -> String {
    format!("Warning: {message} ({code})")
}

/// Words of our findings, and what gh-ost says of the same thing.
const WORDS: [(&str, &str); 13] = [
    (
        " has triggers: ",
        "Found triggers on the table. Tables with triggers are supported only when using \
         \"include-triggers\" flag. Bailing out",
    ),
    (
        "names of triggers of the new table are taken: ",
        "found gh-ost triggers. Please use a different suffix or drop them. Bailing out",
    ),
    (
        "foreign keys point to ",
        "Found parent-side foreign keys. Parent-side foreign keys are not supported. Bailing out",
    ),
    (
        " has foreign keys: ",
        "Found child-side foreign keys. Child-side foreign keys are not supported. Bailing out",
    ),
    (
        "no key identifies a row in both definitions",
        "No shared unique key can be found after ALTER! Bailing out",
    ),
    (
        "has neither a PRIMARY KEY nor a UNIQUE index",
        "No PRIMARY nor UNIQUE key found in table! Bailing out",
    ),
    (
        " changes from datetime to timestamp",
        "No support at this time for converting a column from DATETIME to TIMESTAMP that is also part \
         of the chosen unique key",
    ),
    (
        "renames the table",
        "ALTER statement seems to RENAME the table. This is not supported, and you should run your RENAME \
         outside gh-ost.",
    ),
    (
        " is a view",
        "the table is a VIEW, not a real table. Bailing out",
    ),
    ("there is no table ", "Cannot find table!"),
    (
        " is part of a ring of servers",
        "There seems to be a master-master setup. This is unsupported. Bailing out",
    ),
    (
        " left of an earlier run",
        "Table already exists. Panicking. Use --initially-drop-ghost-table to force dropping it, though \
         I really prefer that you drop it or rename it away",
    ),
    (
        "the old table of an earlier run",
        "Table already exists. Panicking. Use --initially-drop-old-table to force dropping it, though I \
         really prefer that you drop it or rename it away",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn what_scripts_look_for_is_there() {
        let rejected = Failure::new(FailureKind::Refused, "the server rejects the ALTER").evidence(
            Evidence::Error {
                code: 1067,
                state: "42000".to_string(),
                message: "Invalid default value for 'dt'".to_string(),
            },
        );
        let lines = last_lines(&rejected);
        assert!(lines[0].ends_with(" FATAL Error 1067 (42000): Invalid default value for 'dt'"));
        assert!(lines[1].ends_with(" FATAL the server rejects the ALTER"));

        let warned = |message: &str| Evidence::CopyWarning {
            code: 1062,
            message: message.to_string(),
        };
        let doubles = Failure::failed("rows are duplicates")
            .evidence(warned("Duplicate entry 'John' for key 'k'"))
            .evidence(warned("Duplicate entry 'Ann' for key 'k'"));
        assert!(last_lines(&doubles)[0].ends_with(
            "failed because of SQL warnings: [Warning: Duplicate entry 'John' for key 'k' (1062); \
             Warning: Duplicate entry 'Ann' for key 'k' (1062)]"
        ));

        let late = Failure::failed("rows differ").evidence(Evidence::ReplayWarning {
            statement: 1,
            of: 2,
            code: 1062,
            message: "Duplicate entry 'a' for key 'k'".to_string(),
        });
        assert!(
            last_lines(&late)[0]
                .contains("ERROR warnings detected in statement 1 of 2: [Warning: ")
        );

        let changed =
            Failure::failed("it was of another statement").remedy("begin anew with --restart");
        let hint = last_lines(&changed).pop().unwrap();
        assert_eq!(hint, "hint: begin anew with --initially-drop-ghost-table");

        let keyless = Failure::failed(
            "no key identifies a row in both definitions: the new definition has neither a PRIMARY KEY nor a UNIQUE index",
        );
        let text = last_lines(&keyless).join("\n");
        assert!(text.contains("No PRIMARY nor UNIQUE key found in table! Bailing out"));
    }
}
