//! A statement without its values, for messages.

/// One line, of at most so many characters, with literals blanked out: values are nobody's business in a
/// log or an error. What is quoted with backticks stays, since it is a name.
pub fn shape(sql: &str, chars_max: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    let mut chars = sql.chars().peekable();
    let (mut word, mut name) = (false, false);
    while let Some(c) = chars.next() {
        if length >= chars_max {
            out.push_str(" …");
            return out;
        }
        name ^= c == '`';
        let shown = match c {
            c if name => c,
            '\'' | '"' => {
                skip_literal(&mut chars, c);
                '?'
            }
            c if c.is_ascii_digit() && !word => {
                while chars
                    .next_if(|c| c.is_ascii_alphanumeric() || *c == '.')
                    .is_some()
                {}
                '?'
            }
            c if c.is_whitespace() => ' ',
            c => c,
        };
        word = c.is_alphanumeric() || matches!(c, '_' | '`' | '$');
        if shown == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        out.push(shown);
        length += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// To the end of a literal whose first quote has been read; one without an end goes to the end of the text.
fn skip_literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) {
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote && chars.next_if_eq(&quote).is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_show_no_values() {
        assert_eq!(
            shape(
                "UPDATE t1\n SET a = 'it''s \\' x', b=0x1F WHERE `id` IN (17,  -2.5)",
                100
            ),
            "UPDATE t1 SET a = ?, b=? WHERE `id` IN (?, -?)"
        );
        assert_eq!(
            shape(
                "REPLACE INTO `d 1`.`t` VALUES (_utf8mb4'a), (b',X'00', 5e3)",
                100
            ),
            "REPLACE INTO `d 1`.`t` VALUES (_utf8mb4?,X?, ?)"
        );
        assert_eq!(shape("SELECT 'without an end", 100), "SELECT ?");
        assert_eq!(shape(" \n", 100), "");
        let long = shape(&"SELECT a FROM b ".repeat(30), 100);
        assert_eq!(long.chars().count(), 102, "{long}");
    }
}
