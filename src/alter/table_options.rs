//! Table options: `ENGINE = InnoDB COMMENT 'x' ROW_FORMAT=DYNAMIC`, with blanks between them.

use super::lexer::{Token, TokenKind};

/// The options' names that may stand without an equals sign (manuals of both servers).
const NAMES: [&str; 36] = [
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "ENGINE",
    "ENGINE_ATTRIBUTE",
    "IETF_QUOTES",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PAGE_CHECKSUM",
    "PASSWORD",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SEQUENCE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TABLE_CHECKSUM",
    "TRANSACTIONAL",
    "TYPE",
    "UNION",
];

/// Options with their values as written; `None` if anything else stands among them, so that a clause
/// with a forgotten comma is not taken for an option.
pub(super) fn table_options(mut tokens: &[Token<'_>]) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while !tokens.is_empty() {
        let (name, rest) = option_name(tokens)?;
        let (value, rest) = option_value(rest)?;
        found.push((name, value));
        tokens = rest;
    }
    (!found.is_empty()).then_some(found)
}

fn option_name<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(String, &'t [Token<'a>])> {
    let (first, after) = tokens.split_first()?;
    if first.is("DEFAULT") {
        let (name, rest) = option_name(after)?;
        let is_charset = matches!(name.as_str(), "CHARSET" | "COLLATE");
        return is_charset.then_some((name, rest));
    }
    let second = after.first();
    if first.is("CHARACTER") && second.is_some_and(|token| token.is("SET")) {
        return Some(("CHARSET".to_string(), &after[1..]));
    }
    if (first.is("DATA") || first.is("INDEX")) && second.is_some_and(|token| token.is("DIRECTORY"))
    {
        let name = format!("{} DIRECTORY", first.text.to_ascii_uppercase());
        return Some((name, &after[1..]));
    }
    let name = first.name()?.to_ascii_uppercase();
    let known = NAMES.contains(&name.as_str()) && first.kind == TokenKind::Word;
    // MariaDB takes any option of an engine, written with an equals sign.
    let assigned = second.is_some_and(|token| token.is_char('='));
    (known || assigned).then_some((name, after))
}

fn option_value<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(String, &'t [Token<'a>])> {
    let tokens = match tokens.first() {
        Some(token) if token.is_char('=') => &tokens[1..],
        _ => tokens,
    };
    let (first, rest) = tokens.split_first()?;
    if first.is_char('(') {
        let close = tokens.iter().position(|token| token.is_char(')'))?;
        let inside: Vec<&str> = tokens[..=close].iter().map(|token| token.text).collect();
        return Some((inside.join(" "), &tokens[close + 1..]));
    }
    let is_value = matches!(
        first.kind,
        TokenKind::Word | TokenKind::String | TokenKind::Backticked | TokenKind::DoubleQuoted
    );
    is_value.then(|| (first.text.to_string(), rest))
}
