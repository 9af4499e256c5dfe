//! Metadata locks as the servers grant them (seen on MariaDB 10.11 and MySQL 9.7): who waits is asked in
//! the order of asking, but nobody is let in before a waiting request of higher priority, unless the
//! server has preferred such requests `max_write_lock_count` times.

/// How a lock is asked for. Greater means preferred.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Reads and writes of rows.
    Shared = 1,
    /// `LOCK TABLES … WRITE`.
    Locked = 2,
    /// DDL.
    Exclusive = 3,
}

pub const ACTORS: usize = 7;

/// One name's lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lock {
    granted: [Option<Mode>; ACTORS],
    /// In the order of asking.
    queue: [Option<(u8, Mode)>; ACTORS],
}

impl Lock {
    pub fn holds(&self, actor: u8) -> bool {
        self.granted[usize::from(actor)].is_some()
    }

    pub fn waits(&self, actor: u8) -> bool {
        self.queue.iter().flatten().any(|(who, _)| *who == actor)
    }

    /// Whether a look at the definition would have to wait: it lets nobody go first but those who have
    /// the name exclusively.
    pub fn is_had_exclusively(&self) -> bool {
        self.granted.contains(&Some(Mode::Exclusive))
    }

    pub fn is_free_for(&self, actor: u8, mode: Mode) -> bool {
        self.may_have(actor, mode, false)
    }

    fn may_have(&self, actor: u8, mode: Mode, unpreferred: bool) -> bool {
        let others = |who: u8| who != actor;
        let granted = (0..ACTORS as u8).filter(|who| others(*who));
        let compatible = granted
            .filter_map(|who| self.granted[usize::from(who)])
            .all(|held| held == Mode::Shared && mode == Mode::Shared);
        let first = self
            .queue
            .iter()
            .flatten()
            .filter(|(who, _)| others(*who))
            .all(|(_, waiting)| *waiting <= mode);
        compatible && (first || unpreferred)
    }

    /// Asks: is let in at once, or waits.
    pub fn ask(&mut self, actor: u8, mode: Mode) {
        if self.may_have(actor, mode, false) {
            self.granted[usize::from(actor)] = Some(mode);
        } else if let Some(end) = self.queue.iter_mut().find(|place| place.is_none()) {
            *end = Some((actor, mode));
        }
    }

    /// Gives back what `actor` has, or stops asking; then lets in who can be. With `unpreferred`, those
    /// without priority are let in first.
    pub fn leave(&mut self, actor: u8, unpreferred: bool) {
        self.granted[usize::from(actor)] = None;
        let mut rest: Vec<(u8, Mode)> = self.queue.iter().flatten().copied().collect();
        rest.retain(|(who, _)| *who != actor);
        self.set_queue(&rest);
        let mut index = 0;
        while index < rest.len() {
            let (who, mode) = rest[index];
            let passed_over = unpreferred && mode != Mode::Shared;
            if !passed_over && self.may_have(who, mode, unpreferred) {
                self.granted[usize::from(who)] = Some(mode);
                rest.remove(index);
                self.set_queue(&rest);
            } else {
                index += 1;
            }
        }
    }

    fn set_queue(&mut self, queue: &[(u8, Mode)]) {
        self.queue = [None; ACTORS];
        for (place, one) in self.queue.iter_mut().zip(queue) {
            *place = Some(*one);
        }
    }
}

#[test]
fn exclusive_requests_are_preferred_unless_starving_others() {
    let mut lock = Lock::default();
    lock.ask(0, Mode::Locked);
    lock.ask(1, Mode::Shared);
    lock.ask(2, Mode::Exclusive);
    lock.ask(3, Mode::Shared);
    let mut starved = lock;
    lock.leave(0, false);
    assert!(lock.holds(2) && lock.waits(1) && lock.waits(3));
    lock.leave(2, false);
    assert!(lock.holds(1) && lock.holds(3));
    starved.leave(0, true);
    assert!(starved.holds(1) && starved.holds(3) && starved.waits(2));
}
