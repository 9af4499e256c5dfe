//! SQL text as tokens: enough to find names and words, no grammar.

/// A piece of a statement. Comments are left out; what stands in version comments (`/*!40000 … */`,
/// `/*M!… */`) is taken as code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word or a number without quotes.
    Word(String),
    /// A name in backticks, without them.
    Quoted(String),
    /// A string in single quotes.
    Text(String),
    /// A string, or a name (`ANSI_QUOTES`), in double quotes.
    TextOrName(String),
    /// Anything else.
    Symbol(char),
}

impl Token {
    /// The word in upper case, if it is one without quotes.
    pub fn keyword(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.to_ascii_uppercase()),
            Token::Symbol('(') => Some("(".to_string()),
            _ => None,
        }
    }

    /// The name that it may be.
    pub fn name(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) | Token::TextOrName(name) => Some(name),
            Token::Text(_) | Token::Symbol(_) => None,
        }
    }
}

/// What a backslash in a string is (`sql_mode` has NO_BACKSLASH_ESCAPES or not).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backslash {
    /// It keeps the next character from closing the string.
    Escapes,
    /// A character like others.
    Plain,
}

/// Takes a statement apart.
pub fn tokens(text: &str, backslash: Backslash) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() || first == '\0' {
            rest = &rest[first.len_utf8()..];
        } else if let Some(after) = comment(rest) {
            rest = after;
        } else if rest.starts_with("*/") {
            // The end of a version comment, whose beginning was passed over.
            rest = &rest[2..];
        } else if matches!(first, '`' | '\'' | '"') {
            let (content, after) = quoted(&rest[1..], first, backslash);
            tokens.push(match first {
                '`' => Token::Quoted(content),
                '"' => Token::TextOrName(content),
                _ => Token::Text(content),
            });
            rest = after;
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_string()));
            rest = &rest[end..];
        } else {
            tokens.push(Token::Symbol(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

/// What follows a comment, or the beginning of a version comment; `None` if there is neither.
fn comment(text: &str) -> Option<&str> {
    if text.starts_with('#') || is_dash_comment(text) {
        return Some(text.find('\n').map_or("", |end| &text[end + 1..]));
    }
    let inner = text.strip_prefix("/*")?;
    for mark in ["!", "M!"] {
        if let Some(code) = inner.strip_prefix(mark) {
            return Some(code.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
    }
    Some(inner.find("*/").map_or("", |end| &inner[end + 2..]))
}

/// Two dashes begin a comment only before a space or at the end.
fn is_dash_comment(text: &str) -> bool {
    text.strip_prefix("--")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace()))
}

/// What stands before the closing quote, and what follows it. A doubled quote is one of the content.
fn quoted(text: &str, quote: char, backslash: Backslash) -> (String, &str) {
    let mut content = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' && backslash == Backslash::Escapes {
            if let Some((_, escaped)) = chars.next() {
                content.push(escaped);
            }
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                    content.push(quote);
                }
                _ => return (content, &text[at + quote.len_utf8()..]),
            }
        } else {
            content.push(c);
        }
    }
    (content, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_taken_apart() {
        let word = |text: &str| Token::Word(text.to_string());
        let text = "/* x */ DROP /*!40005 TEMPORARY */ TABLE `a``b`.c -- 't'\n, \"d\" # e";
        assert_eq!(
            tokens(text, Backslash::Escapes),
            [
                word("DROP"),
                word("TEMPORARY"),
                word("TABLE"),
                Token::Quoted("a`b".into()),
                Token::Symbol('.'),
                word("c"),
                Token::Symbol(','),
                Token::TextOrName("d".into()),
            ]
        );
        assert_eq!(
            tokens(r"'it\'s ''so''' x", Backslash::Escapes),
            [Token::Text("it's 'so'".into()), word("x")]
        );
        assert_eq!(
            tokens(r"'a\' x", Backslash::Plain),
            [Token::Text(r"a\".into()), word("x")]
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_taken_apart(text in ".*") {
            let _ = tokens(&text, Backslash::Escapes);
            let _ = tokens(&text, Backslash::Plain);
        }
    }
}
