//! A column's definition as text: enough of it to tell what a change would do to values.

use crate::alter::lexer::{Dialect, Token, TokenKind, tokens};

/// A column as a statement defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// First word of the type, in upper case, synonyms resolved.
    pub(super) kind: String,
    /// What stands in the type's parentheses: numbers, or labels with their quotes taken off.
    pub(super) arguments: Vec<String>,
    pub(super) unsigned: bool,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    pub(super) auto_increment: bool,
    pub(super) generated: Option<Generated>,
    /// CHARACTER SET or COLLATE is written.
    pub(super) charset: Option<String>,
    pub(super) unique: bool,
    pub(super) primary: bool,
    pub(super) references: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generated {
    Virtual,
    Stored,
}

impl Column {
    /// The type as it is shown: `VARCHAR(20)`, `INT UNSIGNED`, `ENUM('a','b')`.
    pub(super) fn type_text(&self) -> String {
        let arguments = match (self.is_labelled(), self.arguments.is_empty()) {
            (_, true) => String::new(),
            (true, _) => {
                let labels = self.arguments.iter().map(|label| label.replace('\'', "''"));
                format!("('{}')", labels.collect::<Vec<_>>().join("','"))
            }
            (false, _) => format!("({})", self.arguments.join(",")),
        };
        let sign = if self.unsigned { " UNSIGNED" } else { "" };
        format!("{}{arguments}{sign}", self.kind)
    }

    /// ENUM or SET.
    pub(super) fn is_labelled(&self) -> bool {
        matches!(self.kind.as_str(), "ENUM" | "SET")
    }

    fn number(&self, index: usize) -> Option<u64> {
        self.arguments.get(index)?.parse().ok()
    }
}

/// The columns that a clause defines: `ADD a INT`, `ADD (a INT, KEY (a))`, `CHANGE a b INT`, `MODIFY a INT`.
pub(super) fn columns_of_clause(clause: &str) -> Vec<Column> {
    let all = plain(clause);
    let mut rest = all.as_slice();
    let Some(verb) = rest.first() else {
        return Vec::new();
    };
    let changes = verb.is("CHANGE");
    rest = skip_words(&rest[1..], &["COLUMN"]);
    rest = skip_words(rest, &["IF", "NOT", "EXISTS"]);
    if changes {
        rest = rest.get(1..).unwrap_or_default();
    }
    if rest.first().is_some_and(|token| token.is_char('(')) {
        return columns_in_parentheses(rest);
    }
    column(rest).into_iter().collect()
}

/// The columns of `CREATE TABLE … (…)`, from its opening parenthesis on.
pub(super) fn columns_in_parentheses(tokens: &[Token<'_>]) -> Vec<Column> {
    definitions(tokens)
        .into_iter()
        .filter(|part| !is_index_or_constraint(part))
        .filter_map(column)
        .collect()
}

/// The comma-separated parts inside the parentheses that the tokens begin with; none without them.
pub(super) fn definitions<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    if !tokens.first().is_some_and(|token| token.is_char('(')) {
        return parts;
    }
    let mut depth = 0usize;
    let mut start = 1;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                parts.push(&tokens[start.min(at)..at]);
                break;
            }
        } else if token.is_char(',') && depth == 1 {
            parts.push(&tokens[start.min(at)..at]);
            start = at + 1;
        }
    }
    parts
}

/// Tokens without comments and the marks of executable comments.
pub(super) fn plain(text: &str) -> Vec<Token<'_>> {
    tokens(text, Dialect::default())
        .into_iter()
        .filter(|token| {
            !matches!(
                token.kind,
                TokenKind::Comment | TokenKind::ExecutableStart | TokenKind::ExecutableEnd
            )
        })
        .collect()
}

fn skip_words<'t, 'a>(tokens: &'t [Token<'a>], words: &[&str]) -> &'t [Token<'a>] {
    let mut rest = tokens;
    for word in words {
        if let [first, after @ ..] = rest
            && first.is(word)
            && !after.is_empty()
        {
            rest = after;
        }
    }
    rest
}

/// Whether a part of CREATE TABLE defines no column.
pub(super) fn is_index_or_constraint(part: &[Token<'_>]) -> bool {
    const WORDS: [&str; 10] = [
        "PRIMARY",
        "UNIQUE",
        "KEY",
        "INDEX",
        "FULLTEXT",
        "SPATIAL",
        "FOREIGN",
        "CONSTRAINT",
        "CHECK",
        "PERIOD",
    ];
    part.first()
        .is_some_and(|first| WORDS.iter().any(|word| first.is(word)))
}

/// `name type attributes…`
fn column(tokens: &[Token<'_>]) -> Option<Column> {
    let (name, rest) = tokens.split_first()?;
    let (kind, rest) = rest.split_first()?;
    let mut column = Column {
        name: name.name()?,
        ..Column::default()
    };
    if kind.kind != TokenKind::Word {
        return None;
    }
    let (kind, words, implied) = type_of(&kind.text.to_ascii_uppercase(), rest);
    let mut rest = &rest[words..];
    column.kind = kind;
    column.arguments = implied.into_iter().map(str::to_string).collect();
    if column.kind == "SERIAL" {
        column.kind = "BIGINT".into();
        (column.unsigned, column.not_null) = (true, true);
        (column.auto_increment, column.unique) = (true, true);
    }
    if rest.first().is_some_and(|token| token.is_char('(')) {
        let parts = definitions(rest);
        column.arguments = parts.iter().map(|part| argument(part)).collect();
        let close = closing(rest);
        rest = rest.get(close + 1..).unwrap_or_default();
    }
    attributes(&mut column, rest);
    Some(column)
}

/// The type's name with synonyms resolved, how many further words belong to it, and arguments that a
/// synonym implies.
fn type_of(word: &str, rest: &[Token<'_>]) -> (String, usize, Option<&'static str>) {
    let next = |index: usize, word: &str| rest.get(index).is_some_and(|token| token.is(word));
    let (name, words, implied) = match word {
        "INTEGER" | "INT4" => ("INT", 0, None),
        "BOOL" | "BOOLEAN" => ("TINYINT", 0, Some("1")),
        "INT1" => ("TINYINT", 0, None),
        "INT2" => ("SMALLINT", 0, None),
        "INT3" | "MIDDLEINT" => ("MEDIUMINT", 0, None),
        "INT8" => ("BIGINT", 0, None),
        "DEC" | "NUMERIC" | "FIXED" => ("DECIMAL", 0, None),
        "REAL" | "FLOAT8" => ("DOUBLE", 0, None),
        "FLOAT4" => ("FLOAT", 0, None),
        "DOUBLE" => ("DOUBLE", usize::from(next(0, "PRECISION")), None),
        "NATIONAL" | "NCHAR" | "NVARCHAR" | "CHARACTER" | "CHAR" | "VARCHARACTER" => {
            let start = usize::from(word == "NATIONAL");
            let varies = word == "NVARCHAR"
                || word == "VARCHARACTER"
                || next(0, "VARYING")
                || next(1, "VARYING")
                || (start == 1 && (next(0, "VARCHAR") || next(0, "VARCHARACTER")));
            let varying = next(start, "VARYING") || next(0, "VARYING");
            (
                if varies { "VARCHAR" } else { "CHAR" },
                start + usize::from(varying),
                None,
            )
        }
        "LONG" if next(0, "VARBINARY") => ("MEDIUMBLOB", 1, None),
        "LONG" => ("MEDIUMTEXT", usize::from(next(0, "VARCHAR")), None),
        other => return (other.to_string(), 0, None),
    };
    (name.to_string(), words, implied)
}

fn argument(part: &[Token<'_>]) -> String {
    match part {
        [one] if one.kind == TokenKind::String => {
            let inside = one.text.strip_prefix('\'').unwrap_or(one.text);
            inside
                .strip_suffix('\'')
                .unwrap_or(inside)
                .replace("''", "'")
        }
        [one] if one.kind == TokenKind::DoubleQuoted => one.name().unwrap_or_default(),
        tokens => tokens.iter().map(|token| token.text).collect(),
    }
}

fn closing(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len()
}

fn attributes(column: &mut Column, tokens: &[Token<'_>]) {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            depth = depth.saturating_sub(1);
        }
        if depth > 0 {
            continue;
        }
        let next = |offset: usize, word: &str| tokens.get(at + offset).is_some_and(|t| t.is(word));
        if token.is("UNSIGNED") || token.is("ZEROFILL") {
            column.unsigned = true;
        } else if token.is("NOT") && next(1, "NULL") {
            column.not_null = true;
        } else if token.is("DEFAULT") {
            column.has_default = true;
        } else if token.is("AUTO_INCREMENT") {
            column.auto_increment = true;
        } else if token.is("AS") {
            column.generated.get_or_insert(Generated::Virtual);
        } else if token.is("STORED") || token.is("PERSISTENT") {
            column.generated = Some(Generated::Stored);
        } else if token.is("CHARACTER") && next(1, "SET") {
            column.charset = tokens.get(at + 2).map(|t| t.text.to_ascii_lowercase());
        } else if token.is("CHARSET") {
            column.charset = tokens.get(at + 1).map(|t| t.text.to_ascii_lowercase());
        } else if token.is("COLLATE") {
            let collation = tokens.get(at + 1).map(|t| t.text.to_ascii_lowercase());
            column.charset = collation.or(column.charset.take());
        } else if token.is("UNIQUE") {
            column.unique = true;
        } else if token.is("PRIMARY") || (token.is("KEY") && !after_unique_or_primary(tokens, at)) {
            column.primary = true;
        } else if token.is("REFERENCES") {
            column.references = true;
        }
    }
    column.not_null |= column.primary;
}

fn after_unique_or_primary(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0 && (tokens[at - 1].is("UNIQUE") || tokens[at - 1].is("PRIMARY"))
}

/// What a change from one type to another does to values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TypeChange {
    /// All values fit and stay what they are.
    Same,
    /// All values fit.
    Wider,
    /// Values may not fit; why.
    Narrower(String),
    /// Labels are gone.
    LabelsRemoved(Vec<String>),
    /// No label is gone, but they have other numbers.
    LabelsReordered,
    /// Between kinds of types: values are converted.
    Conversion,
}

/// Compares two definitions.
pub(super) fn compare(old: &Column, new: &Column) -> TypeChange {
    if old.is_labelled() && old.kind == new.kind {
        return compare_labels(&old.arguments, &new.arguments);
    }
    if let (Some(from), Some(to)) = (integer_bytes(&old.kind), integer_bytes(&new.kind)) {
        return compare_integers((from, old.unsigned), (to, new.unsigned));
    }
    if old.kind != new.kind {
        return match (text_capacity(old), text_capacity(new)) {
            (Some((from, family)), Some((to, other))) if family == other => {
                by_size(from, to, "long")
            }
            _ => TypeChange::Conversion,
        };
    }
    if let (Some((from, _)), Some((to, _))) = (text_capacity(old), text_capacity(new)) {
        return by_size(from, to, "long");
    }
    match old.kind.as_str() {
        "DECIMAL" => compare_decimals(old, new),
        // Precision of fractions of a second.
        "DATETIME" | "TIMESTAMP" | "TIME" => by_size(
            old.number(0).unwrap_or(0),
            new.number(0).unwrap_or(0),
            "digits after the second",
        ),
        "BIT" => by_size(
            old.number(0).unwrap_or(1),
            new.number(0).unwrap_or(1),
            "bits",
        ),
        _ if old.unsigned != new.unsigned && new.unsigned => {
            TypeChange::Narrower("negative values do not fit".into())
        }
        _ => TypeChange::Same,
    }
}

fn by_size(from: u64, to: u64, what: &str) -> TypeChange {
    match from.cmp(&to) {
        std::cmp::Ordering::Less => TypeChange::Wider,
        std::cmp::Ordering::Equal => TypeChange::Same,
        std::cmp::Ordering::Greater => {
            TypeChange::Narrower(format!("at most {to} instead of {from} {what}"))
        }
    }
}

fn integer_bytes(kind: &str) -> Option<u32> {
    [
        "",
        "TINYINT",
        "SMALLINT",
        "MEDIUMINT",
        "INT",
        "",
        "",
        "",
        "BIGINT",
    ]
    .iter()
    .position(|name| *name == kind && !name.is_empty())
    .and_then(|bytes| u32::try_from(bytes).ok())
}

fn compare_integers(old: (u32, bool), new: (u32, bool)) -> TypeChange {
    let range = |(bytes, unsigned): (u32, bool)| -> (i128, i128) {
        let values = 1i128 << (8 * bytes);
        if unsigned {
            (0, values - 1)
        } else {
            (-values / 2, values / 2 - 1)
        }
    };
    let ((old_min, old_max), (new_min, new_max)) = (range(old), range(new));
    if old == new {
        TypeChange::Same
    } else if new_min <= old_min && new_max >= old_max {
        TypeChange::Wider
    } else if new_max < old_max {
        TypeChange::Narrower(format!("values above {new_max} do not fit"))
    } else {
        TypeChange::Narrower(format!("values below {new_min} do not fit"))
    }
}

/// How long values may be, and whether they are text: `VARCHAR` counts characters, `TEXT` bytes of up to
/// four a character.
fn text_capacity(column: &Column) -> Option<(u64, bool)> {
    let length = column.number(0);
    Some(match column.kind.as_str() {
        "CHAR" => (length.unwrap_or(1), true),
        "VARCHAR" | "VARCHAR2" => (length?, true),
        "TINYTEXT" => (63, true),
        "TEXT" => (16_383, true),
        "MEDIUMTEXT" => (4_194_303, true),
        "LONGTEXT" => (1_073_741_823, true),
        "BINARY" => (length.unwrap_or(1), false),
        "VARBINARY" => (length?, false),
        "TINYBLOB" => (255, false),
        "BLOB" => (65_535, false),
        "MEDIUMBLOB" => (16_777_215, false),
        "LONGBLOB" => (4_294_967_295, false),
        _ => return None,
    })
}

fn compare_decimals(old: &Column, new: &Column) -> TypeChange {
    let digits = |column: &Column| {
        let scale = column.number(1).unwrap_or(0);
        (column.number(0).unwrap_or(10).saturating_sub(scale), scale)
    };
    let ((old_whole, old_scale), (new_whole, new_scale)) = (digits(old), digits(new));
    if new_whole < old_whole {
        TypeChange::Narrower(format!(
            "{new_whole} instead of {old_whole} digits before the point"
        ))
    } else if new_scale < old_scale {
        TypeChange::Narrower(format!(
            "{new_scale} instead of {old_scale} digits after the point"
        ))
    } else if !old.unsigned && new.unsigned {
        TypeChange::Narrower("negative values do not fit".into())
    } else if (old_whole, old_scale) == (new_whole, new_scale) {
        TypeChange::Same
    } else {
        TypeChange::Wider
    }
}

fn compare_labels(old: &[String], new: &[String]) -> TypeChange {
    let removed: Vec<String> = old
        .iter()
        .filter(|label| !new.contains(label))
        .cloned()
        .collect();
    if !removed.is_empty() {
        TypeChange::LabelsRemoved(removed)
    } else if old == new {
        TypeChange::Same
    } else if new.starts_with(old) {
        TypeChange::Wider
    } else {
        TypeChange::LabelsReordered
    }
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
