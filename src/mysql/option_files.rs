//! Option files (`my.cnf`) read as the `mysql` client reads them.
//!
//! The format is the server manual's "Using Option Files": sections, `key = value`, bare flags, quotes,
//! `\s`-style escapes, `#` comments outside quotes, `!include` and `!includedir`; `-` and `_` are the
//! same in a key, a `loose-` before it means nothing, and the last value read wins.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

use super::login_path;

/// How deep `!include` may nest; the client stops there too.
const INCLUDE_DEPTH_MAX: u32 = 10;

/// The groups that are read whatever was asked: `client` and its MariaDB variants are for every client
/// program, `changeling` is for this one.
const GROUPS: [&str; 4] = ["client", "client-server", "client-mariadb", "changeling"];

/// Which files and which groups of them to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSelection {
    /// Read only this file (and the login path).
    pub defaults_file: Option<PathBuf>,
    /// Read this file after the global ones and before the user's.
    pub defaults_extra_file: Option<PathBuf>,
    /// Read no file but the login path.
    pub no_defaults: bool,
    /// Read the groups with this suffix too: `_prod` reads `[client]` and `[client_prod]`.
    pub group_suffix: Option<String>,
    /// Read this group of the login file too.
    pub login_path: Option<String>,
}

/// The places that are looked at; a value, so that tests have their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePlaces {
    /// The global files, in the order in which they are read.
    pub global: Vec<PathBuf>,
    /// The user's file, `~/.my.cnf`.
    pub user: Option<PathBuf>,
    /// The login file, `~/.mylogin.cnf`.
    pub login: Option<PathBuf>,
}

/// Which option files are read, and where they are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionFiles {
    /// Which of them.
    pub selection: FileSelection,
    /// Where.
    pub places: FilePlaces,
}

/// What the chosen groups say; a bare flag has no value. `Debug` shows keys only: values may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OptionValues {
    values: HashMap<String, Option<String>>,
    order: u32,
    seen: HashMap<String, u32>,
}

impl std::fmt::Debug for OptionValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut keys: Vec<&String> = self.values.keys().collect();
        keys.sort();
        f.debug_tuple("OptionValues").field(&keys).finish()
    }
}

impl OptionValues {
    /// Adds one option; a later one of the same name wins.
    pub fn set(&mut self, key: &str, value: Option<String>) {
        let key = normal_key(key);
        self.order += 1;
        self.seen.insert(key.clone(), self.order);
        self.values.insert(key, value);
    }

    /// The value of an option, `None` if it is not given or given bare.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_deref()
    }

    /// Whether the option is given without a value.
    pub fn is_bare(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(None))
    }

    /// A yes/no option with its negations `skip-KEY` and `disable-KEY`; the last one given counts.
    pub fn switch(&self, key: &str) -> Option<bool> {
        let own = self.values.get(key).map(|value| {
            let said_no = matches!(
                value.as_deref().map(str::to_ascii_lowercase).as_deref(),
                Some("0" | "off" | "false" | "no")
            );
            (self.position(key), !said_no)
        });
        let negated = ["skip-", "disable-"].into_iter().filter_map(|prefix| {
            let name = format!("{prefix}{key}");
            self.values
                .contains_key(&name)
                .then(|| (self.position(&name), false))
        });
        own.into_iter().chain(negated).max().map(|(_, said)| said)
    }

    fn position(&self, key: &str) -> u32 {
        self.seen.get(key).copied().unwrap_or(0)
    }
}

/// Reads the chosen files in the client's order: global files, the extra file, the user's file, the
/// login path. Returns what they say and warnings for files that had to be ignored.
///
/// # Errors
/// A file that was named and cannot be read; a line that is neither a section nor an option.
pub fn read(selection: &FileSelection, places: &FilePlaces) -> Result<(OptionValues, Vec<String>)> {
    let mut reader = Reader {
        groups: groups_of(selection),
        values: OptionValues::default(),
        warnings: Vec::new(),
    };
    if let Some(file) = &selection.defaults_file {
        reader.file(file, Presence::Required, 0)?;
    } else if !selection.no_defaults {
        for file in &places.global {
            reader.file(file, Presence::Optional, 0)?;
        }
        if let Some(file) = &selection.defaults_extra_file {
            reader.file(file, Presence::Required, 0)?;
        }
        if let Some(file) = &places.user {
            reader.file(file, Presence::Optional, 0)?;
        }
    }
    reader.login_file(selection, places)?;
    Ok((reader.values, reader.warnings))
}

fn groups_of(selection: &FileSelection) -> Vec<String> {
    let suffix = selection.group_suffix.as_deref().filter(|s| !s.is_empty());
    let mut groups: Vec<String> = GROUPS.iter().map(|group| group.to_string()).collect();
    if let Some(suffix) = suffix {
        groups.extend(GROUPS.iter().map(|group| format!("{group}{suffix}")));
    }
    groups
}

#[derive(Clone, Copy, PartialEq)]
enum Presence {
    Required,
    Optional,
}

struct Reader {
    groups: Vec<String>,
    values: OptionValues,
    warnings: Vec<String>,
}

impl Reader {
    fn file(&mut self, path: &Path, presence: Presence, depth: u32) -> Result<()> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                let cause = format!("cannot read the option file {}: {error}", path.display());
                return match (presence, error.kind()) {
                    (Presence::Required, _) => {
                        Err(Failure::usage(cause).remedy("give the path of a readable option file"))
                    }
                    (Presence::Optional, std::io::ErrorKind::NotFound) => Ok(()),
                    (Presence::Optional, _) => {
                        self.warnings.push(cause);
                        Ok(())
                    }
                };
            }
        };
        if is_world_writable(path) {
            self.warnings.push(format!(
                "the option file {} is ignored, since everybody may write to it",
                path.display()
            ));
            return Ok(());
        }
        self.text(&text, path, depth)
    }

    fn text(&mut self, text: &str, path: &Path, depth: u32) -> Result<()> {
        let mut group: Option<bool> = None;
        for (index, line) in text.lines().enumerate() {
            let wrong = |what: &str| {
                Failure::usage(format!("{what} in {} line {}", path.display(), index + 1))
                    .remedy("correct the option file, or leave it out with --no-defaults")
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(directive) = line.strip_prefix('!') {
                self.directive(directive, path, depth)
                    .map_err(|failure| failure.doing(format!("read {}", path.display())))?;
            } else if let Some(rest) = line.strip_prefix('[') {
                let name = rest
                    .split_once(']')
                    .ok_or_else(|| wrong("a group without `]`"))?
                    .0;
                group = Some(self.groups.iter().any(|wanted| wanted == name.trim()));
            } else {
                match group {
                    None => return Err(wrong("an option before the first group")),
                    Some(false) => {}
                    Some(true) => {
                        if let Some((key, value)) = parse_option(line) {
                            self.values.set(key, value);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn directive(&mut self, directive: &str, path: &Path, depth: u32) -> Result<()> {
        let (word, argument) = directive
            .split_once(char::is_whitespace)
            .unwrap_or((directive, ""));
        let target = path
            .parent()
            .unwrap_or(Path::new("."))
            .join(argument.trim());
        if depth >= INCLUDE_DEPTH_MAX {
            self.warnings.push(format!(
                "{} is not included: option files are nested deeper than {INCLUDE_DEPTH_MAX}",
                target.display()
            ));
            return Ok(());
        }
        match word {
            "include" => self.file(&target, Presence::Optional, depth + 1),
            "includedir" => {
                let mut files: Vec<PathBuf> = fs::read_dir(&target)
                    .map_err(|error| {
                        Failure::usage(format!(
                            "cannot read the folder {}: {error}",
                            target.display()
                        ))
                    })?
                    .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                    .filter(|file| file.extension().is_some_and(|e| e == "cnf"))
                    .collect();
                files.sort();
                files
                    .iter()
                    .try_for_each(|file| self.file(file, Presence::Optional, depth + 1))
            }
            _ => Err(Failure::usage(format!("unknown directive `!{word}`"))),
        }
    }

    /// The login file is read whatever the other choices are; the client does so too.
    fn login_file(&mut self, selection: &FileSelection, places: &FilePlaces) -> Result<()> {
        let suffix = selection.group_suffix.as_deref().unwrap_or("");
        if let Some(name) = &selection.login_path {
            self.groups.push(name.clone());
            self.groups.push(format!("{name}{suffix}"));
        }
        let Some(path) = places.login.as_deref().filter(|path| path.exists()) else {
            return match &selection.login_path {
                None => Ok(()),
                Some(name) => Err(Failure::usage(format!(
                    "there is no login file for --login-path={name}"
                ))
                .remedy("make one with mysql_config_editor")),
            };
        };
        if let Some(warning) = login_path::unsafe_permissions(path) {
            self.warnings.push(warning);
            return Ok(());
        }
        let text = login_path::read(path)?;
        if let Some(name) = &selection.login_path
            && !has_group(&text, name)
        {
            return Err(
                Failure::usage(format!("{} has no login path `{name}`", path.display()))
                    .remedy("list them with `mysql_config_editor print --all`"),
            );
        }
        self.text(&text, path, INCLUDE_DEPTH_MAX)
    }
}

fn has_group(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        line.trim()
            .strip_prefix('[')
            .and_then(|l| l.strip_suffix(']'))
            == Some(name)
    })
}

fn is_world_writable(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o002 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// `key`, `key=value`, `key = "value" # comment`; `None` if the line holds nothing but a comment.
fn parse_option(line: &str) -> Option<(&str, Option<String>)> {
    let line = without_comment(line).trim();
    match line.split_once('=') {
        None if line.is_empty() => None,
        None => Some((line, None)),
        Some((key, value)) => Some((key.trim(), Some(unescape(unquote(value.trim()))))),
    }
}

/// Cuts the line at the first `#` that is not inside quotes.
fn without_comment(line: &str) -> &str {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            None if c == '#' => return &line[..at],
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open && !escaped => quote = None,
            _ => {}
        }
        escaped = quote.is_some() && c == '\\' && !escaped;
    }
    line
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

/// Resolves `\b \t \n \r \\ \s \" \'`; any other backslash stands for itself.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('s') => out.push(' '),
            Some(same @ ('\\' | '"' | '\'')) => out.push(same),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// Lower case, `_` as `-`, without `loose-`.
fn normal_key(key: &str) -> String {
    let key = key.trim().to_ascii_lowercase().replace('_', "-");
    match key.strip_prefix("loose-") {
        Some(rest) => rest.to_string(),
        None => key,
    }
}

#[cfg(test)]
#[path = "option_files_tests.rs"]
mod tests;
