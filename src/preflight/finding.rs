//! One finding, and all of them.

use std::fmt;

use crate::failure::{Evidence, Failure, FailureKind, Result};

/// What a finding means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The run goes on; somebody should look.
    Warn,
    /// The run is refused.
    Refuse,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means for the run.
    pub severity: Severity,
    /// Its name, for scripts: stable across versions.
    pub code: &'static str,
    /// What was found: one sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// What the server said, if it was the server's refusal.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// A finding that stops the run.
    pub fn refuse(
        code: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            severity: Severity::Refuse,
            code,
            what: what.into(),
            remedy: remedy.into(),
            evidence: Vec::new(),
        }
    }

    /// With what the server said.
    pub fn evidence(mut self, failure: &Failure) -> Finding {
        self.evidence.extend_from_slice(failure.evidence_given());
        self
    }

    /// A finding that somebody should look at.
    pub fn warn(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warn,
            ..Finding::refuse(code, what, remedy)
        }
    }

    /// A finding that is worth knowing.
    pub fn note(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Note,
            ..Finding::refuse(code, what, remedy)
        }
    }
}

impl fmt::Display for Finding {
    /// `no-key: the table has …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.what)
    }
}

/// Refusals that are about rows that go over to a ghost table, and not about an ALTER that the server does
/// itself.
const GHOST_ONLY: [&str; 10] = [
    "binlog-filter",
    "binlog-format",
    "binlog-off",
    "foreign-key-child",
    "foreign-key-parent",
    "left-over",
    "left-over-old",
    "no-key",
    "row-image",
    "triggers",
];

/// All findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// All of them, the gravest first.
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self.0.iter().collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        all
    }

    /// Whether one of this name was found.
    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|finding| finding.code == code)
    }

    /// Whether one of this name stops the run.
    pub fn refuses(&self, code: &str) -> bool {
        self.refusals().any(|finding| finding.code == code)
    }

    /// Whether the run is refused.
    pub fn refused(&self) -> bool {
        self.refusals().next().is_some()
    }

    /// Whether all that stands against the run stands against the ghost table alone.
    pub fn concern_ghost_only(&self) -> bool {
        self.refusals()
            .all(|finding| GHOST_ONLY.contains(&finding.code))
    }

    pub(super) fn drop_refusals(&mut self) {
        self.0
            .retain(|finding| finding.severity != Severity::Refuse);
    }

    fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.0
            .iter()
            .filter(|finding| finding.severity == Severity::Refuse)
    }

    /// Writes warnings and notes to the log.
    pub fn log(&self) {
        for finding in self.sorted() {
            let Finding {
                code, what, remedy, ..
            } = finding;
            match finding.severity {
                Severity::Refuse => {}
                Severity::Warn => {
                    tracing::warn!(event = "finding", code = *code, "{what}; {remedy}");
                }
                Severity::Note => {
                    tracing::info!(event = "finding", code = *code, "{what}; {remedy}");
                }
            }
        }
    }

    /// Whether the migration may go on.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] with every refusal and its remedy.
    pub fn verdict(&self) -> Result<()> {
        let refusals: Vec<&Finding> = self.refusals().collect();
        let failure = match refusals.as_slice() {
            [] => return Ok(()),
            [one] => {
                Failure::new(FailureKind::Refused, one.what.clone()).remedy(one.remedy.clone())
            }
            several => {
                let mut text = format!("{} things stand against it", several.len());
                for finding in several {
                    text.push_str(&format!(
                        "\n  - {}\n    hint: {}",
                        finding.what, finding.remedy
                    ));
                }
                Failure::new(FailureKind::Refused, text)
                    .remedy("follow the hints above, then run the same command again")
            }
        };
        let said = refusals.iter().flat_map(|finding| &finding.evidence);
        Err(said.fold(failure, |failure, said| failure.evidence(said.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_refusals_are_told_together() {
        let mut findings = Findings::default();
        findings.push(Finding::note("n", "noted", "nothing"));
        assert!(findings.verdict().is_ok());
        findings.push(Finding::refuse("a", "no a", "add a"));
        let one = findings.verdict().unwrap_err();
        assert_eq!((one.cause(), one.remedy_text()), ("no a", Some("add a")));
        assert_eq!(one.kind(), FailureKind::Refused);
        findings.push(Finding::refuse("b", "no b", "add b"));
        let two = findings.verdict().unwrap_err().to_string();
        assert_eq!(
            two,
            "2 things stand against it\n  - no a\n    hint: add a\n  - no b\n    hint: add b"
        );
        assert_eq!(findings.sorted()[2].code, "n");
    }
}
