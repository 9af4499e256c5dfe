//! Splits a file of SQL into its statements, as the mysql client does: at `;`, or at what the client's
//! DELIMITER command says. Bodies of stored programs may hold `;` without a DELIMITER, as some
//! migration tools write them.

use super::lexer::{Dialect, Lexer, Token, TokenKind};

/// One statement of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptStatement<'a> {
    /// Its text from its first token to its last, comments before it and the delimiter left out.
    pub text: &'a str,
    /// Byte offset of its beginning in the file.
    pub start: usize,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// All statements of a file. Comments that stand alone are none.
pub fn statements(text: &str, dialect: Dialect) -> Vec<ScriptStatement<'_>> {
    let mut lexer = Lexer::new(text, dialect);
    let mut delimiter = ";".to_string();
    let mut found = Vec::new();
    let mut current = Current::default();
    loop {
        lexer.skip_blanks();
        if current.is_empty()
            && let Some(new) = delimiter_command(lexer.rest())
        {
            delimiter = new.to_string();
            lexer.skip(line_end(lexer.rest()));
            continue;
        }
        if lexer.rest().starts_with(&delimiter) {
            current.close_block();
            if delimiter != ";" || current.depth == 0 {
                lexer.skip(delimiter.len());
                found.extend(current.finish(text));
                continue;
            }
        }
        match lexer.next_token(Some(&delimiter)) {
            Some(token) => current.take(token),
            None => break,
        }
    }
    found.extend(current.finish(text));
    found
}

/// `DELIMITER //` on a line of its own.
fn delimiter_command(rest: &str) -> Option<&str> {
    const COMMAND: &str = "DELIMITER";
    let line = &rest[..line_end(rest)];
    let (word, argument) = line.split_once([' ', '\t'])?;
    let argument = argument.trim();
    let argument = argument.split([' ', '\t']).next().unwrap_or_default();
    (word.eq_ignore_ascii_case(COMMAND) && !argument.is_empty()).then_some(argument)
}

fn line_end(rest: &str) -> usize {
    rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// The statement being read.
#[derive(Default)]
struct Current {
    start: Option<usize>,
    end: usize,
    /// How many bare words came, up to a few: what kind of statement it is stands at the beginning.
    words: usize,
    creates: bool,
    /// Whether it makes a procedure, function, trigger or event, whose body may hold `;`.
    has_body: bool,
    /// Open BEGIN and CASE.
    depth: usize,
    after_end: bool,
}

impl Current {
    fn is_empty(&self) -> bool {
        self.start.is_none()
    }

    fn take(&mut self, token: Token<'_>) {
        if token.is_comment() {
            return;
        }
        self.start.get_or_insert(token.start);
        self.end = token.end();
        if token.kind != TokenKind::Word {
            return;
        }
        self.words += 1;
        if self.words == 1 {
            self.creates = token.is("CREATE");
        }
        // `CREATE OR REPLACE DEFINER = a@b AGGREGATE FUNCTION`: the kind comes among the first words.
        const KIND_WITHIN_WORDS: usize = 12;
        if self.creates && !self.has_body && self.words <= KIND_WITHIN_WORDS {
            self.has_body = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"]
                .iter()
                .any(|kind| token.is(kind));
        }
        if self.has_body {
            self.follow_blocks(token);
        }
    }

    /// BEGIN and CASE open; END closes, except the END of IF, LOOP, WHILE, REPEAT and FOR, which are
    /// not counted when they open. The CASE of END CASE opens nothing.
    fn follow_blocks(&mut self, token: Token<'_>) {
        if self.after_end {
            let other = ["IF", "LOOP", "WHILE", "REPEAT", "FOR"]
                .iter()
                .any(|word| token.is(word));
            if other {
                self.after_end = false;
                return;
            }
            self.close_block();
            if token.is("CASE") {
                return;
            }
        }
        if token.is("BEGIN") || token.is("CASE") {
            self.depth += 1;
        } else if token.is("END") {
            self.after_end = true;
        }
    }

    /// The END before this place was that of a block.
    fn close_block(&mut self) {
        if std::mem::take(&mut self.after_end) {
            self.depth = self.depth.saturating_sub(1);
        }
    }

    fn finish<'a>(&mut self, text: &'a str) -> Option<ScriptStatement<'a>> {
        let done = std::mem::take(self);
        let start = done.start?;
        Some(ScriptStatement {
            text: &text[start..done.end],
            start,
            line: text[..start].matches('\n').count() + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let found: Vec<_> = statements(text, Dialect::default())
            .iter()
            .map(|statement| (statement.line, statement.text))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn semicolons_end_statements_but_not_inside_strings() {
        check(
            "-- first; comment\nSELECT ';' ;\n/* ; */ ; ;\nALTER TABLE t -- why;\n ADD a INT",
            &[(2, "SELECT ';'"), (4, "ALTER TABLE t -- why;\n ADD a INT")],
        );
        check("# nothing", &[]);
    }

    #[test]
    fn delimiter_is_a_command_of_the_client() {
        check(
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; END//\ndelimiter ;\nSELECT 2;SELECT 3",
            &[
                (2, "CREATE PROCEDURE p() BEGIN SELECT 1; END"),
                (4, "SELECT 2"),
                (4, "SELECT 3"),
            ],
        );
        check(
            "DELIMITER $$\nBEGIN; END$$\nx$$",
            &[(2, "BEGIN; END"), (3, "x")],
        );
    }

    #[test]
    fn bodies_hold_semicolons() {
        let body = "CREATE DEFINER=`a`@`b` TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN \
                    IF 1 THEN SET @a = CASE 1 WHEN 1 THEN 2 END; END IF; \
                    CASE 1 WHEN 1 THEN SELECT 1; END CASE; \
                    l: LOOP LEAVE l; END LOOP; BEGIN END; END";
        check(&format!("{body}; SELECT 1"), &[(1, body), (1, "SELECT 1")]);
        check(
            "CREATE TABLE t (begin INT); CREATE PROCEDURE p() SELECT 1; BEGIN; COMMIT",
            &[
                (1, "CREATE TABLE t (begin INT)"),
                (1, "CREATE PROCEDURE p() SELECT 1"),
                (1, "BEGIN"),
                (1, "COMMIT"),
            ],
        );
    }
}
