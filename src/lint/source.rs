//! A migration file as text: its statements, what tools put around them, and what its author accepted.
//!
//! A finding is accepted by a comment before the statement, in it, or behind it on its last line:
//! `-- changeling:allow RULE[, RULE…] reason`; for the whole file: `-- changeling:allow-file RULE reason`.

use crate::alter::lexer::{Dialect, Token, tokens};
use crate::alter::script;

/// A file's text, made readable.
#[derive(Debug)]
pub struct Source {
    text: String,
    /// Placeholders: what stands for them in `text`, and what the file says.
    placeholders: Vec<(String, String)>,
}

/// One statement of it.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Its number in the file, from 0.
    pub number: usize,
    /// Its text, without comments around it.
    pub text: &'a str,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether it stands in the part of the file that takes the migration back.
    pub way_back: bool,
}

/// A rule that the author accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The rule's id as written.
    pub rule: String,
    /// Why; must not be empty to count.
    pub reason: String,
    /// The line of the comment.
    pub line: usize,
    /// The statement it is about; `None` if there is none, or for the whole file.
    pub statement: Option<usize>,
    /// Whether it is about all statements of the file.
    pub whole_file: bool,
    /// Whether it accepted something.
    pub used: bool,
}

const ALLOW: &str = "changeling:allow";
const ALLOW_FILE: &str = "changeling:allow-file";

/// Comments after which a file says how to go back, and after which it goes on.
const WAY_BACK: [&str; 3] = ["+goose down", "migrate:down", "+migrate down"];
const WAY_ON: [&str; 3] = ["+goose up", "migrate:up", "+migrate up"];

impl Source {
    /// Takes a file's text. Two things that tools replace or skip before a server sees the text are made
    /// readable, byte for byte in the same place: `${name}` of Flyway becomes a name, and a comment
    /// without a blank (`--changeset`, as Liquibase writes it) becomes a comment.
    pub fn new(text: &str) -> Source {
        let mut bytes = text.as_bytes().to_vec();
        let mut placeholders = Vec::new();
        let mut line_start = true;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if let Some(length) = placeholder_length(rest) {
                let name: String = text[at..at + length]
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                    .collect();
                bytes[at..at + length].copy_from_slice(name.as_bytes());
                placeholders.push((name, text[at..at + length].to_string()));
            } else if line_start
                && rest.starts_with(b"--")
                && rest.get(2).is_some_and(u8::is_ascii_alphabetic)
            {
                bytes[at] = b'#';
            }
            line_start = match bytes[at] {
                b'\n' => true,
                b' ' | b'\t' | b'\r' => line_start,
                _ => false,
            };
            at += 1;
        }
        Source {
            // Only ASCII was put in the place of ASCII.
            text: String::from_utf8(bytes).unwrap_or_else(|_| text.to_string()),
            placeholders,
        }
    }

    /// A text about this file with its placeholders as the file has them.
    pub fn as_written(&self, text: &str) -> String {
        self.placeholders
            .iter()
            .fold(text.to_string(), |text, (name, written)| {
                text.replace(name, written)
            })
    }

    /// Whether a name stands for a placeholder.
    pub fn is_placeholder(&self, name: &str) -> bool {
        self.placeholders
            .iter()
            .any(|(stand_in, _)| stand_in == name)
    }

    /// Its statements.
    pub fn statements(&self) -> Vec<Statement<'_>> {
        let sections = self.sections();
        script::statements(&self.text, Dialect::default())
            .into_iter()
            .enumerate()
            .map(|(number, statement)| Statement {
                number,
                text: statement.text,
                line: statement.line,
                way_back: sections
                    .iter()
                    .rfind(|(start, _)| *start <= statement.start)
                    .is_some_and(|(_, back)| *back),
            })
            .collect()
    }

    /// Where sections begin, and whether each is the way back.
    fn sections(&self) -> Vec<(usize, bool)> {
        self.comments()
            .into_iter()
            .filter_map(|comment| {
                let words = comment_text(comment.text).to_ascii_lowercase();
                if WAY_BACK.iter().any(|mark| words.starts_with(mark)) {
                    Some((comment.start, true))
                } else if WAY_ON.iter().any(|mark| words.starts_with(mark)) {
                    Some((comment.start, false))
                } else {
                    None
                }
            })
            .collect()
    }

    fn comments(&self) -> Vec<Token<'_>> {
        tokens(&self.text, Dialect::default())
            .into_iter()
            .filter(Token::is_comment)
            .collect()
    }

    /// What its author accepts.
    pub fn acceptances(&self) -> Vec<Acceptance> {
        let bounds: Vec<(usize, usize)> = script::statements(&self.text, Dialect::default())
            .iter()
            .map(|statement| (statement.start, statement.start + statement.text.len()))
            .collect();
        let mut found = Vec::new();
        for comment in self.comments() {
            let words = comment_text(comment.text);
            let (whole_file, rest) = match words.strip_prefix(ALLOW_FILE) {
                Some(rest) => (true, rest),
                None => match words.strip_prefix(ALLOW) {
                    Some(rest) => (false, rest),
                    None => continue,
                },
            };
            let statement = match whole_file {
                true => None,
                false => self.statement_of(&comment, &bounds),
            };
            let (rules, reason) = rules_and_reason(rest);
            found.extend(rules.into_iter().map(|rule| Acceptance {
                rule,
                reason: reason.clone(),
                line: self.text[..comment.start].matches('\n').count() + 1,
                statement,
                whole_file,
                used: false,
            }));
        }
        found
    }

    /// The statement that a comment is about: the one around it, or that ends on its line, or the next.
    fn statement_of(&self, comment: &Token<'_>, bounds: &[(usize, usize)]) -> Option<usize> {
        let same_line =
            |end: usize| end <= comment.start && !self.text[end..comment.start].contains('\n');
        bounds
            .iter()
            .position(|(start, end)| (*start..*end).contains(&comment.start) || same_line(*end))
            .or_else(|| bounds.iter().position(|(start, _)| *start > comment.start))
    }
}

/// How long the placeholder is that the text begins with: `${schema}`, `${flyway:user}`.
fn placeholder_length(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"${")?;
    let name = inside.split(|byte| *byte == b'}').next()?;
    let is_name = !name.is_empty()
        && name.len() < inside.len()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'));
    is_name.then_some(name.len() + 3)
}

/// What a comment says, its marks left out.
fn comment_text(comment: &str) -> &str {
    let inner = comment
        .strip_prefix("/*")
        .map(|rest| rest.strip_suffix("*/").unwrap_or(rest))
        .or_else(|| comment.strip_prefix("--"))
        .unwrap_or(comment);
    inner.trim_start_matches(['#', '-', ' ', '\t']).trim()
}

/// ` drop-column, drop-index because …`
fn rules_and_reason(text: &str) -> (Vec<String>, String) {
    let mut rest = text.trim_start_matches(':').trim();
    let mut rules = Vec::new();
    loop {
        let end = rest
            .find(|c: char| c == ',' || c.is_whitespace())
            .unwrap_or(rest.len());
        rules.push(rest[..end].trim_end_matches(':').to_string());
        let after = rest[end..].trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => {
                rest = after;
                break;
            }
        }
    }
    (
        rules,
        rest.trim_start_matches([':', '-', ' ']).trim().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(usize, &str, bool)]) {
        let source = Source::new(text);
        let found: Vec<_> = source
            .statements()
            .into_iter()
            .map(|statement| {
                (
                    statement.line,
                    statement.text.to_string(),
                    statement.way_back,
                )
            })
            .collect();
        let expect: Vec<_> = expect
            .iter()
            .map(|(line, text, back)| (*line, text.to_string(), *back))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn what_tools_put_into_files() {
        check(
            "ALTER TABLE ${schema.name}.t ADD a INT;\nSELECT '$', \"${}\", a${ b};",
            &[
                (1, "ALTER TABLE __schema_name_.t ADD a INT", false),
                (2, "SELECT '$', \"${}\", a${ b}", false),
            ],
        );
        check(
            "--liquibase formatted sql\n--changeset me:1\nDROP TABLE a;\n--rollback CREATE TABLE a (b INT);\n",
            &[(3, "DROP TABLE a", false)],
        );
        check(
            "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;\n-- +goose Up\nSELECT 3;",
            &[
                (2, "SELECT 1", false),
                (4, "SELECT 2", true),
                (6, "SELECT 3", false),
            ],
        );
        check(
            "-- migrate:up\nSELECT 1;\n\n-- migrate:down\nSELECT 2;",
            &[(2, "SELECT 1", false), (5, "SELECT 2", true)],
        );
    }

    fn accepted(text: &str) -> Vec<(String, String, Option<usize>)> {
        Source::new(text)
            .acceptances()
            .into_iter()
            .map(|a| (a.rule, a.reason, a.statement))
            .collect()
    }

    #[test]
    fn acceptances_find_their_statement() {
        let one = |statement| vec![("drop-table".to_string(), "unused".to_string(), statement)];
        for text in [
            "-- changeling:allow drop-table unused\nDROP TABLE a; SELECT 1",
            "DROP TABLE /* changeling:allow drop-table: unused */ a; SELECT 1",
            "DROP TABLE a; # changeling:allow drop-table - unused\nSELECT 1",
            "DROP TABLE a -- changeling:allow drop-table unused\n;SELECT 1",
        ] {
            assert_eq!(accepted(text), one(Some(0)), "{text}");
        }
        assert_eq!(
            accepted("SELECT 1;\n-- changeling:allow drop-table unused\n\nDROP TABLE a"),
            one(Some(1))
        );
        assert_eq!(
            accepted("SELECT 1;\n-- changeling:allow drop-table unused"),
            one(None)
        );
        assert_eq!(
            accepted("-- changeling:allow-file drop-table unused\nSELECT 1"),
            one(None)
        );
        assert_eq!(
            accepted("-- changeling:allow a, b,c why not\nSELECT 1"),
            ["a", "b", "c"].map(|rule| (rule.to_string(), "why not".to_string(), Some(0)))
        );
        assert_eq!(
            accepted("-- changeling:allow a\nSELECT 1"),
            [("a".to_string(), String::new(), Some(0))]
        );
        assert!(accepted("SELECT '-- changeling:allow a b'").is_empty());
    }
}
