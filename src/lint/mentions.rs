//! Which tables a statement may be about, for looking them up: names behind words that tables follow.
//! Some of them are none (an alias, a view, an index); asking for these costs a look.

use super::catalogue::Table;
use super::definition::plain;
use crate::alter::lexer::Token;

/// The tables named in a statement, in its order, each once.
pub(super) fn tables(statement: &str) -> Vec<Table> {
    const BEFORE: [&str; 9] = [
        "TABLE", "TABLES", "ON", "TRUNCATE", "FROM", "UPDATE", "INTO", "JOIN", "LIKE",
    ];
    let tokens = plain(statement);
    let mut found: Vec<Table> = Vec::new();
    for at in 0..tokens.len() {
        if !BEFORE.iter().any(|word| tokens[at].is(word)) {
            continue;
        }
        let mut rest = &tokens[at + 1..];
        loop {
            while let [first, after @ ..] = rest
                && ["IF", "NOT", "EXISTS", "TABLE", "IGNORE", "LOW_PRIORITY"]
                    .iter()
                    .any(|word| first.is(word))
            {
                rest = after;
            }
            let Some((table, after)) = name(rest) else {
                break;
            };
            if !found.contains(&table) {
                found.push(table);
            }
            match after {
                [comma, after @ ..] if comma.is_char(',') => rest = after,
                _ => break,
            }
        }
    }
    found
}

fn name<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(Table, &'t [Token<'a>])> {
    let (first, rest) = tokens.split_first()?;
    let first = first.name()?;
    match rest {
        [dot, second, after @ ..] if dot.is_char('.') => {
            Some((Table::new(Some(first), second.name()?), after))
        }
        _ => Some((Table::new(None, first), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_behind_the_words_that_tables_follow() {
        let check = |statement: &str, expect: &[&str]| {
            let found: Vec<String> = tables(statement).iter().map(Table::sql).collect();
            assert_eq!(found, expect, "{statement}");
        };
        check("ALTER TABLE `a b`.t ADD x INT", &["`a b`.t"]);
        check("DROP TABLE IF EXISTS a, b.c, d", &["a", "b.c", "d"]);
        check("RENAME TABLE a TO b", &["a"]);
        check("TRUNCATE t", &["t"]);
        check("TRUNCATE TABLE t", &["t"]);
        check("CREATE INDEX i ON t (c)", &["t"]);
        check("UPDATE IGNORE t SET a = 1", &["t"]);
        check("DELETE FROM t WHERE a IN (SELECT b FROM u)", &["t", "u"]);
        check("SELECT 'FROM x'", &[]);
        check("DROP TABLE", &[]);
    }
}
