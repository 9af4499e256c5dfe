//! Rows that do not fit the ghost, gathered instead of ending the run: a way back tells them all at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::window::KeyBytes;
use crate::failure::{Failure, FailureKind, Result};
use crate::key::hex;
use crate::progress::Progress;

/// So many are named in a failure.
const NAMED_MAX: usize = 100;

/// The rows that do not fit now. One that changes so that it fits, or goes, is none any more.
#[derive(Debug)]
pub struct Misfits {
    max: usize,
    rows: Mutex<BTreeMap<KeyBytes, String>>,
    progress: Arc<Progress>,
}

impl Misfits {
    /// Gathers up to `max` rows; 0: the first one ends the run.
    pub fn new(max: usize, progress: Arc<Progress>) -> Misfits {
        Misfits {
            max,
            rows: Mutex::default(),
            progress,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyBytes, String>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another row can be gathered; does it.
    pub(super) fn gather(&self, key: &KeyBytes, why: String) -> bool {
        let mut rows = self.lock();
        if rows.len() >= self.max {
            return false;
        }
        rows.insert(key.clone(), why);
        self.progress.misfits.set(rows.len() as u64);
        true
    }

    /// These rows are about to be put in anew.
    pub(super) fn forget<'k>(&self, keys: impl Iterator<Item = &'k KeyBytes>) {
        let mut rows = self.lock();
        if rows.is_empty() {
            return;
        }
        for key in keys {
            rows.remove(key);
        }
        self.progress.misfits.set(rows.len() as u64);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Their keys, as hex of the keys' bytes.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().map(|key| hex(key)).collect()
    }

    /// Fails if there are any.
    ///
    /// # Errors
    /// [`FailureKind::DoesNotFit`] with the rows named.
    pub fn verdict(&self) -> Result<()> {
        let rows = self.lock();
        if rows.is_empty() {
            return Ok(());
        }
        let mut named: Vec<&str> = rows.values().map(String::as_str).collect();
        named.truncate(NAMED_MAX);
        let more = match rows.len() - named.len() {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        Err(Failure::new(
            FailureKind::DoesNotFit,
            format!(
                "{} row(s) do not fit the old definition:\n  {}{more}",
                rows.len(),
                named.join("\n  ")
            ),
        )
        .remedy("correct these rows in the table, then start the same command again; nothing was swapped"))
    }
}
