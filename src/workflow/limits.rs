//! Limits from the group `[changeling]` of the option files: at the start those that nobody has said
//! otherwise, at HUP those that have been changed since.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::control::{Controller, settings};
use crate::failure::{Context, Failure, Result};
use crate::mysql::option_files::{self, OptionFiles};
use crate::tunables::Tunables;

/// What the option files say, by the name of the setting.
type Said = BTreeMap<&'static str, String>;

/// Reads the option files again when asked.
pub struct Limits {
    files: Option<OptionFiles>,
    last: Mutex<Said>,
}

impl Limits {
    /// Limits of these files, as they are now; `None`: there are none to read.
    pub fn new(files: Option<OptionFiles>) -> Limits {
        // What cannot be read now could not be read at the start, which has told it.
        let last = files
            .as_ref()
            .and_then(|files| said(files).ok())
            .unwrap_or_default();
        Limits {
            files,
            last: Mutex::new(last),
        }
    }

    /// Reads the files again, takes what has changed since they were last read, and says what that is.
    /// What cannot be used is told and changes nothing.
    pub fn reread(&self, controller: &Controller) {
        let Some(files) = &self.files else {
            tracing::info!(
                event = "hup",
                "no option file is used: nothing is read again"
            );
            return;
        };
        let now = match said(files) {
            Ok(now) => now,
            Err(failure) => {
                tracing::warn!(event = "hup_failed", "nothing is changed: {failure}");
                return;
            }
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = changes(&last, &now);
        if changes.is_empty() {
            tracing::info!(event = "hup", "the option files say what they said before");
        }
        for (name, value) in changes {
            let Some(value) = value else {
                tracing::info!(
                    event = "hup",
                    "{name} is gone from the option files and stays as it is"
                );
                continue;
            };
            let before = settings::find(name).map(|known| (known.show)(&controller.tunables()));
            match (before, controller.set(name, value)) {
                (Ok(before), Ok(after)) => tracing::info!(
                    event = "hup",
                    name,
                    "{name} was {before} and is {after}, as the option files say now"
                ),
                (_, Err(failure)) | (Err(failure), _) => {
                    tracing::warn!(
                        event = "hup_failed",
                        name,
                        "{name} is not changed: {failure}"
                    );
                }
            }
        }
        *last = now;
    }
}

/// What is different, in the order of names; `None`: it is not said any more.
fn changes<'a>(last: &'a Said, now: &'a Said) -> Vec<(&'static str, Option<&'a str>)> {
    let gone = last
        .keys()
        .filter(|name| !now.contains_key(*name))
        .map(|name| (*name, None));
    let new = now
        .iter()
        .filter(|(name, value)| last.get(*name) != Some(value))
        .map(|(name, value)| (*name, Some(value.as_str())));
    gone.chain(new).collect()
}

fn said(files: &OptionFiles) -> Result<Said> {
    let (values, _) = option_files::read(&files.selection, &files.places)?;
    let mut said = Said::new();
    for setting in settings::SETTINGS {
        for key in [setting.name, setting.option()] {
            if values.is_bare(key) {
                return Err(Failure::usage(format!(
                    "`{key}` in the option files has no value"
                )));
            }
            if let Some(value) = values.text(key) {
                said.insert(setting.name, value.to_string());
            }
        }
    }
    Ok(said)
}

/// Sets what the option files say, but for settings that were given otherwise.
///
/// # Errors
/// Usage: a value that its setting cannot take.
pub fn apply(
    files: &OptionFiles,
    tunables: &mut Tunables,
    is_given: impl Fn(&settings::Setting) -> bool,
) -> Result<()> {
    for (name, value) in said(files)? {
        let setting = settings::find(name)?;
        if !is_given(setting) {
            (setting.set)(tunables, &value)
                .doing(|| format!("read {name} from the option files"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_changed_is_taken() {
        let said = |list: &[(&'static str, &str)]| -> Said {
            list.iter()
                .map(|(name, value)| (*name, value.to_string()))
                .collect()
        };
        let last = said(&[("max-lag", "1s"), ("workers", "2"), ("max-load", "a=1")]);
        let now = said(&[("max-lag", "2s"), ("workers", "2"), ("nice-ratio", "1")]);
        assert_eq!(
            changes(&last, &now),
            [
                ("max-load", None),
                ("max-lag", Some("2s")),
                ("nice-ratio", Some("1"))
            ]
        );
        assert!(changes(&now, &now).is_empty());
    }
}
