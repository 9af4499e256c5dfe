//! What went wrong, what the server answered, and what to do next.
//!
//! One error type for the whole program: a [`Failure`] has a kind (which becomes the exit code), a
//! cause, the things that were being done when it happened, and a remedy. Callers that must branch do
//! so on [`Failure::class`] or [`Failure::code`], never on text.

use std::fmt;

/// The result of anything that can fail.
pub type Result<T> = std::result::Result<T, Failure>;

/// How a run ended badly. Each kind is one exit code, documented in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Exit code 1: anything without a code of its own.
    Failed,
    /// Exit code 2: the command line is wrong.
    Usage,
    /// Exit code 3: preflight refused; nothing was changed.
    Refused,
    /// Exit code 4: the data does not fit the new definition; nothing was swapped.
    DoesNotFit,
    /// Exit code 5: verification found a difference; nothing was swapped.
    Difference,
    /// Exit code 6: stopped on request or by a critical limit.
    Stopped,
    /// Exit code 7: interrupted; the same command continues.
    Interrupted,
}

impl FailureKind {
    /// The process exit code of this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureKind::Failed => 1,
            FailureKind::Usage => 2,
            FailureKind::Refused => 3,
            FailureKind::DoesNotFit => 4,
            FailureKind::Difference => 5,
            FailureKind::Stopped => 6,
            FailureKind::Interrupted => 7,
        }
    }
}

/// What an error from the server allows the caller to do. The verdict is given in `mysql::error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Lock wait timeout, deadlock, NOWAIT refusal: nothing happened, try again.
    Transient,
    /// The connection is gone; whether the statement took effect is unknown.
    Disconnected,
    /// Our own KILL QUERY, or somebody else's: the statement did not take effect.
    Killed,
    /// Grants or settings forbid it (for now: also a server turned read-only).
    Refused,
    /// The statement itself is wrong, or the data is.
    Definite,
}

/// What the server said of it, word for word: for those who know its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It answered a statement with an error.
    Error {
        /// The error's number.
        code: u16,
        /// SQLSTATE.
        state: String,
        /// Its words.
        message: String,
    },
    /// It warns, or would, when rows are copied.
    CopyWarning {
        /// The error's number.
        code: u16,
        /// Its words.
        message: String,
    },
    /// A change met a row with the same value of a unique key.
    ReplayWarning {
        /// Which change of those that were brought in together, from 1.
        statement: usize,
        /// How many were brought in together.
        of: usize,
        /// The error's number.
        code: u16,
        /// Its words.
        message: String,
    },
}

/// An error with its cause, its circumstances and its remedy.
#[derive(Clone)]
pub struct Failure(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: FailureKind,
    class: Option<ErrorClass>,
    code: Option<u16>,
    cause: String,
    doing: Vec<String>,
    remedy: Option<String>,
    evidence: Vec<Evidence>,
}

impl Failure {
    /// A failure of the given kind with its cause in one sentence, without a full stop.
    pub fn new(kind: FailureKind, cause: impl Into<String>) -> Failure {
        Failure(Box::new(Inner {
            kind,
            class: None,
            code: None,
            cause: cause.into(),
            doing: Vec::new(),
            remedy: None,
            evidence: Vec::new(),
        }))
    }

    /// A plain failure (exit code 1).
    pub fn failed(cause: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Failed, cause)
    }

    /// A wrong command line (exit code 2).
    pub fn usage(cause: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Usage, cause)
    }

    /// An answer of the server: its class, its error code if it gave one, its words.
    pub fn from_server(class: ErrorClass, code: Option<u16>, cause: impl Into<String>) -> Failure {
        let mut failure = Failure::failed(cause);
        failure.0.class = Some(class);
        failure.0.code = code;
        failure
    }

    /// Adds what was being done, as a bare verb phrase: `copy chunk 17 of d.t`. Outer calls come later
    /// and are printed first.
    pub fn doing(mut self, what: impl Into<String>) -> Failure {
        self.0.doing.push(what.into());
        self
    }

    /// Sets what to do next, unless something nearer to the cause already did.
    pub fn remedy(mut self, what: impl Into<String>) -> Failure {
        self.0.remedy.get_or_insert_with(|| what.into());
        self
    }

    /// Adds what the server said.
    pub fn evidence(mut self, said: Evidence) -> Failure {
        self.0.evidence.push(said);
        self
    }

    /// What the server said, in the order in which it was added.
    pub fn evidence_given(&self) -> &[Evidence] {
        &self.0.evidence
    }

    /// Changes the kind, and so the exit code.
    pub fn kind_is(mut self, kind: FailureKind) -> Failure {
        self.0.kind = kind;
        self
    }

    /// The kind of the failure.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// What the server's answer allows, if the failure came from a server.
    pub fn class(&self) -> Option<ErrorClass> {
        self.0.class
    }

    /// The server's error code, if it gave one.
    pub fn code(&self) -> Option<u16> {
        self.0.code
    }

    /// The bare cause, without circumstances.
    pub fn cause(&self) -> &str {
        &self.0.cause
    }

    /// What to do next, if known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// True when trying the same thing again can succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.class, Some(ErrorClass::Transient))
    }

    /// True when somebody interrupted the statement, which then did not take effect.
    pub fn is_killed(&self) -> bool {
        matches!(self.0.class, Some(ErrorClass::Killed))
    }

    /// True when the connection is gone and the outcome of the last statement is unknown.
    pub fn is_disconnected(&self) -> bool {
        matches!(self.0.class, Some(ErrorClass::Disconnected))
    }
}

impl fmt::Display for Failure {
    /// `migrate d.t: copy chunk 17: server answered 1205: Lock wait timeout exceeded`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in self.0.doing.iter().rev() {
            write!(f, "{what}: ")?;
        }
        if let Some(code) = self.0.code {
            write!(f, "server answered {code}: ")?;
        }
        f.write_str(&self.0.cause)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(remedy) = &self.0.remedy {
            write!(f, " (remedy: {remedy})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Adds circumstances to the error of a result.
pub trait Context<T> {
    /// See [`Failure::doing`]; the text is only made when there is an error.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
    /// See [`Failure::remedy`].
    fn remedy(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|failure| failure.doing(what()))
    }

    fn remedy(self, what: &str) -> Result<T> {
        self.map_err(|failure| failure.remedy(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_from_the_outside_in() {
        let failure = Failure::from_server(ErrorClass::Transient, Some(1205), "Lock wait timeout")
            .doing("copy chunk 17")
            .doing("migrate d.t")
            .remedy("inner")
            .remedy("outer");
        assert_eq!(
            failure.to_string(),
            "migrate d.t: copy chunk 17: server answered 1205: Lock wait timeout"
        );
        assert_eq!(failure.remedy_text(), Some("inner"));
        assert!(failure.is_transient());
        assert_eq!(failure.kind().exit_code(), 1);
    }
}
