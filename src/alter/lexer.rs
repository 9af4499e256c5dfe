//! Splits SQL text into tokens. It knows how MySQL and MariaDB write strings, quoted names and comments,
//! and nothing of grammar.
//!
//! It cannot fail: what is not closed becomes a token that says so, and every character of the text
//! that is not blank belongs to exactly one token.

/// Settings of the server (or of the file) that change where tokens end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Whether a backslash in a string escapes: no under `sql_mode` NO_BACKSLASH_ESCAPES.
    pub backslash_escapes: bool,
    /// Whether `"…"` is a name, in which nothing escapes: under `sql_mode` ANSI_QUOTES.
    pub ansi_quotes: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect {
            backslash_escapes: true,
            ansi_quotes: false,
        }
    }
}

impl Dialect {
    /// The dialect of a `sql_mode`.
    pub fn of_sql_mode(sql_mode: &str) -> Dialect {
        let has = |wanted: &str| {
            sql_mode
                .split(',')
                .any(|mode| mode.eq_ignore_ascii_case(wanted))
        };
        Dialect {
            backslash_escapes: !has("NO_BACKSLASH_ESCAPES"),
            ansi_quotes: has("ANSI_QUOTES"),
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Keyword, bare name or number.
    Word,
    /// `` `name` ``.
    Backticked,
    /// `"…"`: a string, or a name under `sql_mode` ANSI_QUOTES. Where a name must stand it is a name.
    DoubleQuoted,
    /// `'…'`.
    String,
    /// Any other single character.
    Punctuation,
    /// `-- …`, `# …`, `/* … */`, hints (`/*+ … */`).
    Comment,
    /// The opening of an executable comment: `/*!`, `/*!80013`, `/*M!100301`. What follows up to its
    /// [`TokenKind::ExecutableEnd`] is text to some servers and a comment to others.
    ExecutableStart,
    /// The `*/` of an executable comment.
    ExecutableEnd,
    /// A string, quoted name or comment that is not closed; it reaches to the end of the text.
    Unclosed,
}

/// A token and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text, quotes included.
    pub text: &'a str,
    /// Byte offset of its beginning.
    pub start: usize,
}

impl Token<'_> {
    /// Byte offset of its end.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword, in any case, unquoted.
    pub fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this character, outside of strings and names.
    pub fn is_char(&self, character: char) -> bool {
        self.kind == TokenKind::Punctuation && self.text.starts_with(character)
    }

    /// Whether it says nothing to the server: a comment.
    pub fn is_comment(&self) -> bool {
        self.kind == TokenKind::Comment
    }

    /// The name that it stands for, where a name must stand: quotes taken off.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_string()),
            TokenKind::Backticked => Some(unquote(self.text, '`')),
            TokenKind::DoubleQuoted => Some(unquote(self.text, '"')),
            _ => None,
        }
    }
}

fn unquote(text: &str, quote: char) -> String {
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// All tokens of a text, comments among them.
pub fn tokens(text: &str, dialect: Dialect) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text, dialect);
    std::iter::from_fn(|| lexer.next_token(None)).collect()
}

/// Walks through a text token by token.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
    /// How many executable comments are open here.
    executable: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            dialect,
            executable: 0,
        }
    }

    /// The text that is still to come.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Goes on past blanks.
    pub(super) fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
    }

    /// Goes on by so many bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.text.len());
    }

    /// The next token. A bare word ends before `stop` (the delimiter of a script: `END//`, `END$$`).
    pub(super) fn next_token(&mut self, stop: Option<&str>) -> Option<Token<'a>> {
        self.skip_blanks();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let (kind, length) = match first {
            '`' => quoted(rest, '`', false, TokenKind::Backticked),
            '"' => quoted(
                rest,
                '"',
                self.dialect.backslash_escapes && !self.dialect.ansi_quotes,
                TokenKind::DoubleQuoted,
            ),
            '\'' => quoted(
                rest,
                '\'',
                self.dialect.backslash_escapes,
                TokenKind::String,
            ),
            '#' => (TokenKind::Comment, line_length(rest)),
            '-' if is_dash_comment(rest) => (TokenKind::Comment, line_length(rest)),
            '/' if rest.starts_with("/*") => self.slash_comment(rest),
            '*' if self.executable > 0 && rest.starts_with("*/") => {
                self.executable -= 1;
                (TokenKind::ExecutableEnd, 2)
            }
            _ if is_word_char(first) => (TokenKind::Word, word_length(rest, stop)),
            _ => (TokenKind::Punctuation, first.len_utf8()),
        };
        let start = self.at;
        self.at += length;
        Some(Token {
            kind,
            text: &rest[..length],
            start,
        })
    }

    fn slash_comment(&mut self, rest: &str) -> (TokenKind, usize) {
        let marker = rest
            .strip_prefix("/*!")
            .or_else(|| rest.strip_prefix("/*M!"));
        if let Some(after) = marker {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            // A version has five or six digits; with any other count they belong to the text.
            let digits = if matches!(digits, 5 | 6) { digits } else { 0 };
            self.executable += 1;
            return (
                TokenKind::ExecutableStart,
                rest.len() - after.len() + digits,
            );
        }
        match rest[2..].find("*/") {
            Some(end) => (TokenKind::Comment, end + 4),
            None => (TokenKind::Unclosed, rest.len()),
        }
    }
}

fn quoted(rest: &str, quote: char, escapes: bool, kind: TokenKind) -> (TokenKind, usize) {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return (kind, at + quote.len_utf8()),
            }
        }
    }
    (TokenKind::Unclosed, rest.len())
}

/// Two dashes begin a comment only before a blank, a control character or the end.
fn is_dash_comment(rest: &str) -> bool {
    rest.strip_prefix("--").is_some_and(|after| {
        after
            .chars()
            .next()
            .is_none_or(|c| is_blank(c) || c.is_control())
    })
}

fn line_length(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

fn word_length(rest: &str, stop: Option<&str>) -> usize {
    let length = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
    match stop.and_then(|stop| rest[..length].find(stop)) {
        Some(end) if end > 0 => end,
        _ => length,
    }
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || c >= '\u{80}'
}

/// What the server skips between tokens.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(TokenKind, &str)]) {
        let found: Vec<_> = tokens(text, Dialect::default())
            .iter()
            .map(|token| (token.kind, token.text))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn strings_and_names() {
        use TokenKind::*;
        check(
            r#"a`b``c`'d''e\'f'"g""h",_x'i'"#,
            &[
                (Word, "a"),
                (Backticked, "`b``c`"),
                (String, r"'d''e\'f'"),
                (DoubleQuoted, r#""g""h""#),
                (Punctuation, ","),
                (Word, "_x"),
                (String, "'i'"),
            ],
        );
        check("'a", &[(Unclosed, "'a")]);
        check(r"`a\`b", &[(Backticked, r"`a\`"), (Word, "b")]);
        let plain = Dialect::of_sql_mode("REAL_AS_FLOAT,NO_BACKSLASH_ESCAPES");
        assert_eq!(tokens(r"'a\'b", plain)[0].text, r"'a\'");
        let ansi = Dialect::of_sql_mode("ANSI_QUOTES,ANSI");
        assert_eq!(tokens(r#""a\"'b\''"#, ansi)[0].text, r#""a\""#);
    }

    #[test]
    fn comments() {
        use TokenKind::*;
        check(
            "a -- b, c\n# d\n/* e; */f--g",
            &[
                (Word, "a"),
                (Comment, "-- b, c"),
                (Comment, "# d"),
                (Comment, "/* e; */"),
                (Word, "f"),
                (Punctuation, "-"),
                (Punctuation, "-"),
                (Word, "g"),
            ],
        );
        check(
            "/*!80013 a /* b */ */ c */",
            &[
                (ExecutableStart, "/*!80013"),
                (Word, "a"),
                (Comment, "/* b */"),
                (ExecutableEnd, "*/"),
                (Word, "c"),
                (Punctuation, "*"),
                (Punctuation, "/"),
            ],
        );
        check(
            "/*M!100301 a*/",
            &[
                (ExecutableStart, "/*M!100301"),
                (Word, "a"),
                (ExecutableEnd, "*/"),
            ],
        );
        check("/* a", &[(Unclosed, "/* a")]);
    }

    #[test]
    fn names_are_unquoted() {
        let found: Vec<_> = tokens(r#"a `b``c` "d""e" 'f'"#, Dialect::default())
            .iter()
            .map(Token::name)
            .collect();
        let expected = [Some("a"), Some("b`c"), Some("d\"e"), None];
        assert_eq!(found, expected.map(|name| name.map(str::to_string)));
    }

    proptest! {
        #[test]
        fn every_character_is_in_one_token(text in "[-a-z0-9'\"`#/*!M\\\\ ,;()\n\u{e9}]{0,60}") {
            let mut at = 0;
            for token in tokens(&text, Dialect::default()) {
                prop_assert!(text[at..token.start].chars().all(is_blank));
                prop_assert_eq!(&text[token.start..token.end()], token.text);
                prop_assert!(!token.text.is_empty());
                at = token.end();
            }
            prop_assert!(text[at..].chars().all(is_blank));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            tokens(&text, Dialect::default());
        }
    }
}
