//! XA transactions that were prepared before the stream began.
//!
//! Their rows stand in the binlog before the start, so nobody knows whether they changed the original.
//! They do no harm as long as they are resolved before the copy begins, which then reads what they left.
//! The copy begins when the first row of the changelog table has come back through the stream. So those
//! rows are held back here until every transaction that was prepared at the start is resolved, or its
//! XA PREPARE has come by, which means that its rows are known after all. One that is resolved later, and
//! was not known of, stops the reader.
//!
//! `XA RECOVER` does not show a transaction whose commit has begun and is not yet in the binlog (seen on
//! MySQL 9.7). That takes moments, so the rows are held back a moment in any case where XA is used at all.

use std::time::{Duration, Instant};

use super::event::Xid;

/// How long a commit may take from its beginning until it is in the binlog.
const COMMIT_LIMIT: Duration = Duration::from_millis(500);

/// More different hints than a run writes before the copy begins.
const WITHHELD_MAX: usize = 1024;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    unresolved: Vec<Xid>,
    not_before: Option<Instant>,
    live: bool,
    withheld: Vec<(String, String)>,
}

impl Foreign {
    /// With these transactions prepared `now`, before the stream begins; others may be on their way.
    pub fn new(prepared: Vec<Xid>, now: Instant) -> Foreign {
        Foreign {
            unresolved: prepared,
            not_before: Some(now + COMMIT_LIMIT),
            ..Foreign::default()
        }
    }

    /// A row of the changelog table came: gives out what may be handed on.
    pub fn changelog(
        &mut self,
        hint: String,
        value: String,
        now: Instant,
    ) -> Vec<(String, String)> {
        self.withheld.retain(|(other, _)| *other != hint);
        self.withheld.push((hint, value));
        if self.withheld.len() > WITHHELD_MAX {
            self.withheld.remove(0);
        }
        self.release(now)
    }

    /// The stream shows that a transaction is prepared: its rows are known.
    pub fn prepared(&mut self, xid: &Xid) {
        self.unresolved.retain(|other| other != xid);
    }

    /// A transaction is resolved whose rows are not known; false if that is too late.
    #[must_use]
    pub fn resolved(&mut self, xid: &Xid) -> bool {
        self.unresolved.retain(|other| other != xid);
        !self.live
    }

    /// What waits and may be handed on.
    pub fn release(&mut self, now: Instant) -> Vec<(String, String)> {
        let early = self.not_before.is_some_and(|at| now < at);
        if early || !self.unresolved.is_empty() || self.withheld.is_empty() {
            return Vec::new();
        }
        self.live = true;
        std::mem::take(&mut self.withheld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xid(format: u64) -> Xid {
        Xid {
            format,
            global: b"g".to_vec(),
            branch: Vec::new(),
        }
    }

    fn row(value: &str) -> (String, String) {
        ("heartbeat".to_string(), value.to_string())
    }

    #[test]
    fn nothing_is_live_before_all_are_resolved() {
        let now = Instant::now();
        let later = now + COMMIT_LIMIT;
        let mut foreign = Foreign::new(vec![xid(1), xid(2)], now);
        assert_eq!(foreign.changelog("heartbeat".into(), "1".into(), later), []);
        assert!(foreign.resolved(&xid(1)));
        assert!(foreign.resolved(&xid(7)), "its commit had begun");
        assert_eq!(foreign.release(later), []);
        assert_eq!(foreign.changelog("heartbeat".into(), "2".into(), later), []);
        foreign.prepared(&xid(2));
        assert_eq!(foreign.release(now), []);
        assert_eq!(foreign.release(later), [row("2")]);
        assert_eq!(
            foreign.changelog("heartbeat".into(), "3".into(), later),
            [row("3")]
        );
        assert!(!foreign.resolved(&xid(8)));
    }

    #[test]
    fn without_xa_nothing_waits() {
        let mut foreign = Foreign::default();
        let now = Instant::now();
        assert_eq!(
            foreign.changelog("heartbeat".into(), "1".into(), now),
            [row("1")]
        );
    }
}
