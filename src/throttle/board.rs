//! Where sources leave what they saw.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::reading::Reading;

/// The latest readings of all sources.
#[derive(Debug, Default)]
pub struct Board {
    slots: Mutex<BTreeMap<String, Slot>>,
}

#[derive(Debug)]
struct Slot {
    readings: Vec<Reading>,
    source: &'static str,
    posted: Instant,
    /// After this time without news the slot counts as silent.
    valid: Duration,
    /// Whether the source has looked at all.
    seen: bool,
}

/// How long a source may take for its first look before its silence is told.
const FIRST_LOOK: Duration = Duration::from_secs(15);

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a source before its first look.
    pub fn expect(&self, slot: &str, source: &'static str) {
        self.lock().insert(
            slot.to_string(),
            Slot {
                readings: vec![Reading::trouble(source, slot, "has not been looked at yet")],
                source,
                posted: Instant::now(),
                valid: FIRST_LOOK,
                seen: false,
            },
        );
    }

    /// Whether every source has looked at least once.
    pub fn complete(&self) -> bool {
        self.lock().values().all(|slot| slot.seen)
    }

    /// Leaves what a source saw in its last look; an empty list says that all is well. After `valid`
    /// without another post the source counts as silent, which stops the copy.
    pub fn post(&self, slot: &str, source: &'static str, readings: Vec<Reading>, valid: Duration) {
        self.lock().insert(
            slot.to_string(),
            Slot {
                readings,
                source,
                posted: Instant::now(),
                valid,
                seen: true,
            },
        );
    }

    /// Takes a source off: it is not used any more.
    pub fn remove(&self, slot: &str) {
        self.lock().remove(slot);
    }

    /// All that is known at this moment, with a reading of its own for each silent source.
    pub fn readings(&self, now: Instant) -> Vec<Reading> {
        let mut all = Vec::new();
        for (name, slot) in self.lock().iter() {
            all.extend(slot.readings.iter().cloned());
            let silent = now.saturating_duration_since(slot.posted);
            if silent > slot.valid {
                all.push(Reading::trouble(
                    slot.source,
                    name.clone(),
                    format!("has not answered for {} s", slot.valid.as_secs()),
                ));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_reason() {
        let board = Board::default();
        board.post("load", "max-load", Vec::new(), Duration::from_secs(3));
        let now = Instant::now();
        assert!(board.readings(now).is_empty());
        let late = board.readings(now + Duration::from_secs(4));
        assert_eq!(late.len(), 1);
        assert_eq!(
            late[0].reason(now).to_string(),
            "max-load: load has not answered for 3 s"
        );
        board.remove("load");
        assert!(board.readings(now + Duration::from_secs(4)).is_empty());
    }
}
