//! The file of `--conf`: `[client]` with user and password, `[osc]` with some limits.
//!
//! Its format is that of Go's INI files, which differ from the option files of MySQL: `:` may stand for
//! `=`, `#` and `;` begin a comment anywhere outside quotes, backslashes mean nothing. A value of the
//! form `${NAME}` for user or password comes from the environment.

use std::path::Path;

use crate::failure::{Failure, Result};

/// What the file says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Conf {
    /// `user` of `[client]`.
    pub user: Option<String>,
    /// `password` of `[client]`.
    pub password: Option<String>,
    /// `chunk_size` of `[osc]`.
    pub chunk_size: Option<i64>,
    /// `max_lag_millis` of `[osc]`.
    pub max_lag_millis: Option<i64>,
    /// `max_load` of `[osc]`.
    pub max_load: Option<String>,
}

impl std::fmt::Debug for Conf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conf")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "[hidden]"))
            .field("chunk_size", &self.chunk_size)
            .field("max_lag_millis", &self.max_lag_millis)
            .field("max_load", &self.max_load)
            .finish()
    }
}

/// Reads the file; also called when it is to be read again while running.
///
/// # Errors
/// A file that cannot be read, a number that is none.
pub fn read(path: &Path) -> Result<Conf> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::failed(format!("open {}: {error}", path.display()))
            .remedy("--conf needs a readable file with [client] user and password")
    })?;
    parse(&text, |name| std::env::var(name).ok()).map_err(|f| f.doing(path.display().to_string()))
}

fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Conf> {
    let mut conf = Conf::default();
    let mut section = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            section = rest
                .split(']')
                .next()
                .unwrap_or_default()
                .trim()
                .to_string();
            continue;
        }
        // gh-ost refuses lines without a value; files of the mysql client have some, so they are let be.
        let Some((key, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        let value = value_of(value.trim());
        match (section.as_str(), key.trim()) {
            ("client", "user") => conf.user = Some(from_environment(value, &variable)),
            ("client", "password") => conf.password = Some(from_environment(value, &variable)),
            ("osc", "chunk_size") => conf.chunk_size = Some(number(value, "chunk size")?),
            ("osc", "max_lag_millis") => {
                conf.max_lag_millis = Some(number(value, "max lag millis")?);
            }
            ("osc", "max_load") => conf.max_load = Some(value.to_string()),
            _ => {}
        }
    }
    Ok(conf)
}

/// Takes quotes off, or a comment away. Where quotes enclose a `#` or `;` Go's reader would cut them
/// open; nobody's file relies on that.
fn value_of(text: &str) -> &str {
    for quote in ["\"\"\"", "\"", "'", "`"] {
        let Some(rest) = text.strip_prefix(quote) else {
            continue;
        };
        let closing = rest.rmatch_indices(quote).find(|(at, _)| {
            let after = rest[at + quote.len()..].trim_start();
            after.is_empty() || after.starts_with(['#', ';'])
        });
        if let Some((at, _)) = closing {
            return &rest[..at];
        }
    }
    match text.find(['#', ';']) {
        Some(comment) => text[..comment].trim_end(),
        None => text,
    }
}

fn from_environment(value: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let name = value
        .split_once("${")
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    match name {
        Some((name, _)) => variable(name).unwrap_or_default(),
        None => value.to_string(),
    }
}

fn number(text: &str, what: &str) -> Result<i64> {
    text.parse()
        .map_err(|_| Failure::failed(format!("unable to read osc {what}: {text} is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Conf {
        parse(text, |name| {
            (name == "SECRET").then(|| "from env".to_string())
        })
        .unwrap()
    }

    #[test]
    fn client_and_osc() {
        let conf = parsed(
            "# comment\n[client]\nuser = gromit ; who\npassword: \"a#b;c\" # why\n\
             [osc]\nchunk_size=500\nmax_lag_millis=2000\nmax_load=Threads_running=25,x=1\n[other]\nuser=x\n",
        );
        assert_eq!(conf.user.as_deref(), Some("gromit"));
        assert_eq!(conf.password.as_deref(), Some("a#b;c"));
        assert_eq!(conf.chunk_size, Some(500));
        assert_eq!(conf.max_lag_millis, Some(2000));
        assert_eq!(conf.max_load.as_deref(), Some("Threads_running=25,x=1"));
        assert!(!format!("{conf:?}").contains("a#b"));
    }

    #[test]
    fn values_come_from_the_environment() {
        let conf = parsed("[client]\nuser=${NOBODY}\npassword=\"${SECRET}\"\n");
        assert_eq!(conf.user.as_deref(), Some(""));
        assert_eq!(conf.password.as_deref(), Some("from env"));
    }

    #[test]
    fn quotes() {
        for (text, expect) in [
            ("a b", "a b"),
            ("'a'", "a"),
            ("`a#b`", "a#b"),
            ("\"\"\"a\"b\"\"\"", "a\"b"),
            ("\"a\"b\"", "a\"b"),
            ("\"a\" # \"b\"", "a\" # \"b"),
            ("\"a\"b", "\"a\"b"),
            ("a#b", "a"),
            ("\"", "\""),
        ] {
            assert_eq!(value_of(text), expect, "{text}");
        }
    }

    #[test]
    fn oddities() {
        assert_eq!(
            parsed("[client]\nskip-ssl\nuser=a\n").user.as_deref(),
            Some("a")
        );
        assert_eq!(parsed("user=a\n"), Conf::default());
        assert_eq!(
            parsed("[client]\npassword=a\\tb\n").password.as_deref(),
            Some("a\\tb")
        );
        let failure = parse("[osc]\nchunk_size=many\n", |_| None).unwrap_err();
        assert!(
            failure
                .to_string()
                .contains("unable to read osc chunk size")
        );
        assert!(read(Path::new("/not/there")).is_err());
    }
}
