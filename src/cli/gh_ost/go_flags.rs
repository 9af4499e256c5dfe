//! Flags as Go's `flag` package reads them: `-name`, `--name`, `--name=value`, `--name value`; a yes/no
//! flag takes a value only with `=`; the first word that is no flag ends the reading.

use std::collections::BTreeMap;

use crate::failure::{Failure, Result};

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Yes or no.
    Bool,
    /// Any text.
    Text,
    /// A signed 64-bit number.
    Int,
    /// An unsigned 64-bit number.
    Uint,
    /// A number with a fraction.
    Float,
    /// Any text; the flag may be repeated.
    List,
}

/// One flag: its name, what its value is, its default as text, its line of help.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) help: &'static str,
}

/// The values of a command line.
#[derive(Debug)]
pub(super) struct Values {
    flags: &'static [Flag],
    given: BTreeMap<&'static str, Vec<String>>,
    /// The words after the flags; gh-ost does not look at them.
    pub(super) rest: Vec<String>,
    /// `-h`, which is no flag of its own and asks for help.
    pub(super) short_help: bool,
}

/// Reads a command line.
///
/// # Errors
/// In Go's words: unknown flags, missing values, values of the wrong kind.
pub(super) fn read(flags: &'static [Flag], words: &[String]) -> Result<Values> {
    let mut values = Values {
        flags,
        given: BTreeMap::new(),
        rest: Vec::new(),
        short_help: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.len() < 2 || !word.starts_with('-') {
            values.rest = std::iter::once(word).chain(words).cloned().collect();
            break;
        }
        if word == "--" {
            values.rest = words.cloned().collect();
            break;
        }
        let body = word
            .strip_prefix("--")
            .or(word.strip_prefix('-'))
            .unwrap_or(word);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(wrong(format!("bad flag syntax: {word}")));
        }
        let (name, attached) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            if name == "h" {
                values.short_help = true;
                break;
            }
            return Err(wrong(format!("flag provided but not defined: -{name}")));
        };
        let value = match (attached, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true".to_string(),
            (None, _) => words
                .next()
                .cloned()
                .ok_or_else(|| wrong(format!("flag needs an argument: -{name}")))?,
        };
        check(flag, &value)?;
        let given = values.given.entry(flag.name).or_default();
        if flag.kind != Kind::List {
            given.clear();
        }
        given.push(value);
    }
    Ok(values)
}

fn wrong(cause: String) -> Failure {
    Failure::usage(cause).remedy("`gh-ost --help` lists the flags")
}

fn check(flag: &Flag, value: &str) -> Result<()> {
    let problem = match flag.kind {
        Kind::Text | Kind::List => return Ok(()),
        Kind::Bool => {
            return match bool_of(value) {
                Some(_) => Ok(()),
                None => Err(wrong(format!(
                    "invalid boolean value {value:?} for -{}: parse error",
                    flag.name
                ))),
            };
        }
        Kind::Int => int_of(value).err(),
        Kind::Uint => int_of(value)
            .and_then(|n| u64::try_from(n).map_err(|_| PARSE))
            .err(),
        Kind::Float => value.parse::<f64>().map_err(|_| PARSE).err(),
    };
    match problem {
        None => Ok(()),
        Some(problem) => Err(wrong(format!(
            "invalid value {value:?} for flag -{}: {problem}",
            flag.name
        ))),
    }
}

const PARSE: &str = "parse error";
const RANGE: &str = "value out of range";

fn bool_of(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Numbers may have a base prefix (`0x`, `0o`, `0b`, a bare `0`) and then underscores.
fn int_of(text: &str) -> std::result::Result<i64, &'static str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let body = if radix == 10 {
        body.to_string()
    } else {
        body.replace('_', "")
    };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return Err(PARSE);
    }
    let magnitude = i128::from_str_radix(&body, radix).map_err(|_| RANGE)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| RANGE)
}

impl Values {
    fn text_of(&self, name: &str) -> &str {
        match self.given.get(name).and_then(|values| values.last()) {
            Some(value) => value,
            None => self
                .flags
                .iter()
                .find(|flag| flag.name == name)
                .map_or("", |flag| flag.default),
        }
    }

    /// Whether the flag stands on the command line.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A yes/no flag.
    pub(super) fn switch(&self, name: &str) -> bool {
        bool_of(self.text_of(name)).unwrap_or(false)
    }

    /// A text, empty when not given.
    pub(super) fn text(&self, name: &str) -> String {
        self.text_of(name).to_string()
    }

    /// A text that is not empty.
    pub(super) fn some_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A number; the values have been checked when they were read.
    pub(super) fn int(&self, name: &str) -> i64 {
        int_of(self.text_of(name)).unwrap_or(0)
    }

    /// A number with a fraction.
    pub(super) fn float(&self, name: &str) -> f64 {
        self.text_of(name).parse().unwrap_or(0.0)
    }

    /// All values of a flag that may be repeated.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.given.get(name).cloned().unwrap_or_default()
    }
}

/// The flags with their help, laid out as Go lays them out.
pub(super) fn usage(flags: &[Flag]) -> String {
    let mut sorted: Vec<&Flag> = flags.iter().collect();
    sorted.sort_by_key(|flag| flag.name);
    let mut text = String::from("Usage of gh-ost:\n");
    for flag in sorted {
        let (kind, default) = match flag.kind {
            Kind::Bool => ("", show_default(flag.default, "false", false)),
            Kind::Text => (" string", show_default(flag.default, "", true)),
            Kind::Int => (" int", show_default(flag.default, "0", false)),
            Kind::Uint => (" uint", show_default(flag.default, "0", false)),
            Kind::Float => (" float", show_default(flag.default, "0", false)),
            Kind::List => (" value", String::new()),
        };
        text.push_str(&format!(
            "  -{}{kind}\n    \t{}{default}\n",
            flag.name, flag.help
        ));
    }
    text
}

fn show_default(default: &str, zero: &str, quoted: bool) -> String {
    match (default == zero, quoted) {
        (true, _) => String::new(),
        (false, true) => format!(" (default {default:?})"),
        (false, false) => format!(" (default {default})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: [Flag; 5] = [
        Flag {
            name: "yes",
            kind: Kind::Bool,
            default: "false",
            help: "a switch",
        },
        Flag {
            name: "text",
            kind: Kind::Text,
            default: "x",
            help: "a text",
        },
        Flag {
            name: "n",
            kind: Kind::Int,
            default: "7",
            help: "a number",
        },
        Flag {
            name: "f",
            kind: Kind::Float,
            default: "0",
            help: "a fraction",
        },
        Flag {
            name: "tag",
            kind: Kind::List,
            default: "",
            help: "a list",
        },
    ];

    fn words(line: &[&str]) -> Vec<String> {
        line.iter().map(|word| word.to_string()).collect()
    }

    fn ok(line: &[&str]) -> Values {
        read(&FLAGS, &words(line)).unwrap()
    }

    fn error(line: &[&str]) -> String {
        read(&FLAGS, &words(line)).unwrap_err().to_string()
    }

    #[test]
    fn spellings() {
        for line in [
            &["-yes", "-text", "a b", "-n", "5"][..],
            &["--yes", "--text=a b", "--n=5"],
            &["--yes=true", "-text=a b", "-n=0x5"],
        ] {
            let values = ok(line);
            assert!(values.switch("yes"), "{line:?}");
            assert_eq!(values.text("text"), "a b", "{line:?}");
            assert_eq!(values.int("n"), 5, "{line:?}");
        }
        assert!(!ok(&["--yes", "--yes=F"]).switch("yes"));
        assert_eq!(ok(&["--text="]).text("text"), "");
        assert_eq!(ok(&["--text", "--yes"]).text("text"), "--yes");
        assert_eq!(ok(&["--text=a=b"]).text("text"), "a=b");
        assert_eq!(ok(&["-n", "-5"]).int("n"), -5);
        assert_eq!(ok(&["-f", ".5"]).float("f"), 0.5);
        assert_eq!(ok(&["-tag", "a", "-tag=b"]).list("tag"), ["a", "b"]);
        assert_eq!(ok(&["-n", "1", "-n", "2"]).int("n"), 2);
    }

    #[test]
    fn defaults() {
        let values = ok(&[]);
        assert!(!values.switch("yes") && !values.is_given("n"));
        assert_eq!((values.text("text").as_str(), values.int("n")), ("x", 7));
        assert_eq!(values.float("f"), 0.0);
        assert!(values.list("tag").is_empty());
    }

    #[test]
    fn the_first_other_word_ends_the_flags() {
        let values = ok(&["-yes", "false", "-n", "1"]);
        assert!(values.switch("yes"));
        assert_eq!(values.int("n"), 7);
        assert_eq!(values.rest, ["false", "-n", "1"]);
        assert_eq!(ok(&["--", "-n"]).rest, ["-n"]);
        assert_eq!(ok(&["-", "-n"]).rest, ["-", "-n"]);
        assert!(ok(&["-h", "-n"]).short_help);
    }

    #[test]
    fn errors_have_gos_words() {
        assert_eq!(error(&["--nope"]), "flag provided but not defined: -nope");
        assert_eq!(error(&["-nope=1"]), "flag provided but not defined: -nope");
        assert_eq!(error(&["---yes"]), "bad flag syntax: ---yes");
        assert_eq!(error(&["--=x"]), "bad flag syntax: --=x");
        assert_eq!(error(&["-n"]), "flag needs an argument: -n");
        assert_eq!(
            error(&["-n", "x"]),
            "invalid value \"x\" for flag -n: parse error"
        );
        assert_eq!(
            error(&["-n", "1_0"]),
            "invalid value \"1_0\" for flag -n: parse error"
        );
        assert_eq!(
            error(&["-n", "9223372036854775808"]),
            "invalid value \"9223372036854775808\" for flag -n: value out of range"
        );
        assert_eq!(
            error(&["-f", "x"]),
            "invalid value \"x\" for flag -f: parse error"
        );
        assert_eq!(
            error(&["--yes=maybe"]),
            "invalid boolean value \"maybe\" for -yes: parse error"
        );
        assert_eq!(
            read(&FLAGS, &words(&["-n"]))
                .unwrap_err()
                .kind()
                .exit_code(),
            2
        );
    }

    #[test]
    fn numbers() {
        for (text, expect) in [
            ("10", Ok(10)),
            ("+10", Ok(10)),
            ("010", Ok(8)),
            ("0x1F", Ok(31)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("0x1_0", Ok(16)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("08", Err(PARSE)),
            ("", Err(PARSE)),
            ("-", Err(PARSE)),
            ("1.5", Err(PARSE)),
            ("99999999999999999999999999999999999999999999", Err(RANGE)),
        ] {
            assert_eq!(int_of(text), expect, "{text}");
        }
    }

    #[test]
    fn help_is_laid_out_as_gos() {
        assert_eq!(
            usage(&FLAGS),
            "Usage of gh-ost:\n  -f float\n    \ta fraction\n  -n int\n    \ta number (default 7)\n  \
             -tag value\n    \ta list\n  -text string\n    \ta text (default \"x\")\n  -yes\n    \ta switch\n"
        );
    }
}
