//! Reads SHOW GRANTS.

use std::collections::HashSet;

use crate::alter::lexer::{Dialect, Token, tokens};

/// What an account may do, all its active roles included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants {
    entries: Vec<Entry>,
    /// Whether a schema's name is a name and not a pattern: under `partial_revokes` (manual).
    literal_schemas: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    revoked: bool,
    /// `None` is `*.*`.
    schema: Option<String>,
    privileges: HashSet<String>,
}

impl Grants {
    /// Reads the lines of SHOW GRANTS. Lines about roles, proxies, routines and single tables or columns
    /// give no privilege that counts here: our own tables need one on the schema.
    pub fn parse<'l>(lines: impl IntoIterator<Item = &'l str>, literal_schemas: bool) -> Grants {
        Grants {
            entries: lines.into_iter().filter_map(entry).collect(),
            literal_schemas,
        }
    }

    /// Whether it has a privilege on everything.
    pub fn everywhere(&self, privilege: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| !entry.revoked && entry.schema.is_none() && entry.gives(privilege))
    }

    /// Whether it has a privilege on all tables of a schema.
    pub fn on_schema(&self, schema: &str, privilege: &str) -> bool {
        let matches = |entry: &&Entry| match &entry.schema {
            Some(name) if self.literal_schemas || entry.revoked => name == schema,
            Some(pattern) => like(pattern, schema),
            None => false,
        };
        let here = |revoked: bool| {
            self.entries
                .iter()
                .filter(|entry| entry.revoked == revoked)
                .filter(matches)
                .any(|entry| entry.gives(privilege))
        };
        here(false) || self.everywhere(privilege) && !here(true)
    }
}

impl Entry {
    fn gives(&self, privilege: &str) -> bool {
        self.privileges.contains(privilege)
            || self.privileges.contains("ALL PRIVILEGES")
            || self.privileges.contains("ALL")
    }
}

/// `GRANT a, b (column), c ON schema.* TO account`, `REVOKE … ON … FROM account`.
fn entry(line: &str) -> Option<Entry> {
    let all = tokens(line, Dialect::default());
    let (verb, rest) = all.split_first()?;
    let on = rest.iter().position(|token| token.is("ON"))?;
    let privileges = rest[..on]
        .split(|token| token.is_char(','))
        .filter_map(privilege)
        .collect();
    let mut object = &rest[on + 1..];
    if object.first().is_some_and(|token| token.is("TABLE")) {
        object = &object[1..];
    }
    let [schema, dot, star, ..] = object else {
        return None;
    };
    if !dot.is_char('.') || !star.is_char('*') {
        return None;
    }
    let schema = if schema.is_char('*') {
        None
    } else {
        Some(schema.name()?)
    };
    Some(Entry {
        revoked: verb.is("REVOKE"),
        schema,
        privileges,
    })
}

/// The words of one privilege; `None` for one on columns. (A list of columns is split at its commas,
/// which leaves pieces that are no privileges.)
fn privilege(words: &[Token<'_>]) -> Option<String> {
    let plain = words.iter().all(|token| {
        token
            .text
            .bytes()
            .all(|b| b.is_ascii_alphabetic() || b == b'_')
    });
    let text: Vec<String> = words
        .iter()
        .map(|token| token.text.to_ascii_uppercase())
        .collect();
    (plain && !text.is_empty()).then(|| text.join(" "))
}

/// The server's LIKE: `%`, `_`, and a backslash before what is meant as it is.
fn like(pattern: &str, text: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = chars.as_str();
            let mut at = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            at.any(|at| like(rest, &text[at..]))
        }
        Some(mut first) => {
            let any = first == '_';
            if first == '\\' {
                first = chars.next().unwrap_or('\\');
            }
            let mut others = text.chars();
            match others.next() {
                Some(c) if any || c == first => like(chars.as_str(), others.as_str()),
                _ => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(lines.iter().copied(), false)
    }

    #[test]
    fn schemas_are_patterns() {
        let found = grants(&[
            "GRANT USAGE ON *.* TO `g`@`%`",
            r"GRANT SELECT, INSERT ON `a\_b%`.* TO `g`@`%` WITH GRANT OPTION",
            "GRANT ALL PRIVILEGES ON `o_1`.* TO `g`@`%`",
        ]);
        assert!(found.on_schema("a_bc", "INSERT"));
        assert!(!found.on_schema("axb", "INSERT"));
        assert!(!found.on_schema("a_bc", "DELETE"));
        assert!(found.on_schema("ox1", "TRIGGER"));
        assert!(!found.everywhere("SELECT"));
        let literal = Grants::parse(["GRANT SELECT ON `a%`.* TO `g`@`%`"], true);
        assert!(literal.on_schema("a%", "SELECT") && !literal.on_schema("ab", "SELECT"));
    }

    #[test]
    fn names_of_privileges_are_whole() {
        let found = grants(&[
            "GRANT DELETE HISTORY, REPLICATION SLAVE ADMIN, BINLOG MONITOR ON *.* TO `g`@`%`",
        ]);
        assert!(found.everywhere("BINLOG MONITOR"));
        assert!(!found.everywhere("REPLICATION SLAVE"));
        assert!(!found.on_schema("d", "DELETE"));
    }

    #[test]
    fn tables_columns_routines_roles_and_proxies_do_not_count() {
        let found = grants(&[
            "GRANT SELECT (`a`, `SELECT`), UPDATE (`a`), DELETE ON `x`.`t` TO `g`@`%`",
            "GRANT EXECUTE ON PROCEDURE `x`.`p` TO `g`@`%`",
            "GRANT `r1`@`%`,`r2`@`%` TO `g`@`%`",
            "GRANT PROXY ON ``@`` TO `root`@`localhost` WITH GRANT OPTION",
            "SET DEFAULT ROLE `r1` FOR `g`@`localhost`",
        ]);
        for privilege in ["SELECT", "UPDATE", "DELETE", "EXECUTE", "PROXY"] {
            assert!(!found.on_schema("x", privilege), "{privilege}");
        }
    }

    #[test]
    fn partial_revokes_take_away() {
        let found = Grants::parse(
            [
                "GRANT SELECT, INSERT, ALTER ON *.* TO `g`@`%`",
                "REVOKE INSERT ON `x`.* FROM `g`@`%`",
            ],
            true,
        );
        assert!(found.on_schema("x", "SELECT") && found.on_schema("y", "INSERT"));
        assert!(!found.on_schema("x", "INSERT"));
    }

    #[test]
    fn everything_is_everything() {
        let found =
            grants(&["GRANT ALL PRIVILEGES ON *.* TO `g`@`%` IDENTIFIED BY PASSWORD '*59'"]);
        assert!(found.everywhere("BINLOG MONITOR") && found.on_schema("d", "LOCK TABLES"));
    }
}
