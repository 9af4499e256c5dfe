//! gh-ost's own command line, so that scripts written for it run unchanged: `changeling gh-ost …`, and
//! the program under the name `gh-ost`.
//!
//! This module knows flags, and nothing of what they set in motion: it gives a [`GhOstRun`].

pub mod conf;
mod execute;
mod flags;
mod go_flags;
pub mod run;
mod settle;
mod words;

use std::ffi::OsString;

pub use run::{
    GhOstBinlogFormat, GhOstControl, GhOstCutOver, GhOstEngine, GhOstHooks, GhOstLog,
    GhOstLogLevel, GhOstMetrics, GhOstPermissions, GhOstPlace, GhOstRenames, GhOstRun, GhOstTables,
    GhOstTask, GhOstThrottle, GhOstTopology, GhOstTriggers,
};

pub use execute::execute;

use crate::failure::{Failure, Result};

/// What a command line of gh-ost asks for.
#[derive(Debug)]
pub enum GhOstCommand {
    /// `--help`: the text, for stdout; exit code 0.
    ShowHelp(String),
    /// `--version`
    ShowVersion,
    /// `--check-flag`: all flags are known; exit code 0.
    CheckFlag,
    /// Everything else.
    Run(Box<GhOstRun>),
}

/// Reads the words after the program's name (or after `gh-ost`).
///
/// # Errors
/// Kind `Usage` for what Go's flag package refuses: gh-ost prints the message and its help to stdout
/// then, and exits with 2. Any other kind for what gh-ost refuses with exit code 1.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<GhOstCommand> {
    parse_with(words, || rpassword::prompt_password("Password:\n"))
}

fn parse_with(
    words: impl IntoIterator<Item = OsString>,
    ask: impl FnOnce() -> std::io::Result<String>,
) -> Result<GhOstCommand> {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| {
            word.into_string()
                .map_err(|_| Failure::usage("an argument is not valid UTF-8"))
        })
        .collect::<Result<_>>()?;
    let values = go_flags::read(&flags::FLAGS, &words)?;
    if values.switch("check-flag") {
        return Ok(GhOstCommand::CheckFlag);
    }
    if values.short_help || values.switch("help") {
        return Ok(GhOstCommand::ShowHelp(usage()));
    }
    if values.switch("version") {
        return Ok(GhOstCommand::ShowVersion);
    }
    settle::settle(&values, ask).map(|run| GhOstCommand::Run(Box::new(run)))
}

/// The text of `--help`, which also follows the message of a command line that cannot be read.
pub fn usage() -> String {
    go_flags::usage(&flags::FLAGS)
}

#[cfg(test)]
mod tests;
