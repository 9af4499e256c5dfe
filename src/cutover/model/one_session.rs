//! Lock and rename: one session does everything under its lock.

use super::locks::{Lock, Mode};
use super::{Found, explore};

const HOLDER: u8 = 0;
const WRITERS: [u8; 2] = [1, 2];
/// Somebody else, who locks the table, writes to it and lets it go.
const THIRD: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Asked,
    Applied,
    Renamed,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    lock: Lock,
    holder: At,
    /// Bits of writers: who has not begun, whose write is in which table, who has been told.
    idle: u8,
    original: u8,
    ghost: u8,
    acknowledged: u8,
    swapped: bool,
}

/// Which parts of the protocol there are.
#[derive(Clone, Copy)]
struct Variant {
    /// The rename is done under the lock, not after it.
    under_lock: bool,
    /// The last changes are applied under the lock, not before it.
    apply_under_lock: bool,
}

fn next(variant: Variant, state: &State) -> Vec<(&'static str, State)> {
    let mut all = Vec::new();
    let mut to = |what, change: &dyn Fn(&mut State)| {
        let mut after = *state;
        change(&mut after);
        all.push((what, after));
    };
    match state.holder {
        At::Idle => to("asks for the lock", &|s| {
            if !variant.apply_under_lock {
                s.ghost = s.original;
            }
            s.lock.ask(HOLDER, Mode::Locked);
            s.holder = At::Asked;
        }),
        At::Asked if state.lock.holds(HOLDER) => to("applies the last changes", &|s| {
            if variant.apply_under_lock {
                s.ghost = s.original;
            }
            if !variant.under_lock {
                s.lock.leave(HOLDER, false);
            }
            s.holder = At::Applied;
        }),
        At::Applied => to("renames", &|s| {
            s.swapped = true;
            s.holder = At::Renamed;
        }),
        At::Renamed => to("unlocks", &|s| {
            s.lock.leave(HOLDER, false);
            s.holder = At::Gone;
        }),
        At::Asked | At::Gone => {}
    }
    if !matches!(state.holder, At::Idle | At::Gone) {
        for unpreferred in [false, true] {
            to("the holder dies", &|s| {
                s.lock.leave(HOLDER, unpreferred);
                s.holder = At::Gone;
            });
        }
    }
    for who in [WRITERS[0], WRITERS[1], THIRD] {
        let bit = 1 << who;
        if state.idle & bit != 0 {
            to("somebody asks to write", &|s| {
                let mode = if who == THIRD {
                    Mode::Locked
                } else {
                    Mode::Shared
                };
                s.idle &= !bit;
                s.lock.ask(who, mode);
            });
        } else if state.lock.holds(who) {
            for unpreferred in [false, true] {
                to("a write is acknowledged", &|s| {
                    if s.swapped {
                        s.ghost |= bit;
                    } else {
                        s.original |= bit;
                    }
                    s.acknowledged |= bit;
                    s.lock.leave(who, unpreferred);
                });
            }
        }
    }
    all
}

fn explored(variant: Variant) -> Found {
    let start = State {
        lock: Lock::default(),
        holder: At::Idle,
        idle: WRITERS.iter().fold(1 << THIRD, |bits, who| bits | 1 << who),
        original: 0,
        ghost: 0,
        acknowledged: 0,
        swapped: false,
    };
    let lost = |s: &State| {
        let table = if s.swapped { s.ghost } else { s.original };
        s.acknowledged & !table != 0
    };
    explore(start, |state| next(variant, state), lost, |s| s.swapped)
}

#[test]
fn one_session_loses_nothing() {
    let found = explored(Variant {
        under_lock: true,
        apply_under_lock: true,
    });
    println!("{} states", found.states);
    found.holds();
}

#[test]
fn each_part_is_needed() {
    explored(Variant {
        under_lock: false,
        apply_under_lock: true,
    })
    .breaks();
    explored(Variant {
        under_lock: true,
        apply_under_lock: false,
    })
    .breaks();
}
