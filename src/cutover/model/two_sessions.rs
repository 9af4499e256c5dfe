//! The sentry protocol, as `sentry` does it, and with parts left out; gh-ost's order is one of these.

use super::locks::{Lock, Mode};
use super::{Found, explore};

const HOLDER: u8 = 0;
const RENAMER: u8 = 1;
const KEEPER: u8 = 2;
const TRAP: u8 = 3;
const WRITERS: [u8; 2] = [4, 5];
const THIRD: u8 = 6;

/// Names whose locks there are: the original, the ghost, the sentry; and the server's backup lock.
const T: usize = 0;
const G: usize = 1;
const S: usize = 2;
const BACKUP: usize = 3;

/// What somebody else does, once, at any time, for as long as he likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Third {
    Nobody,
    /// Asks for this name in this mode. On the original that is a change that must not be lost.
    Has(usize, Mode),
}

/// Which parts of the protocol there are, and what can happen.
#[derive(Clone, Copy)]
struct Variant {
    /// The order in which the RENAME asks for its names.
    order: [usize; 3],
    /// The holder unlocks only after the RENAME was seen to wait for some table.
    queue_check: bool,
    /// The trap is set, and seen to wait.
    trap: bool,
    /// A look at the original's definition is seen to wait.
    scout: bool,
    /// A second marker proves that nothing was written since the first.
    proof: bool,
    /// The sentry stands until the end; otherwise there is none.
    sentry: bool,
    /// Now and then the server lets writers in first.
    unpreferred: bool,
    /// Connections get lost, one by one or all together.
    losses: bool,
    third: Third,
    /// Bits of those who write once each.
    writers: u8,
}

const WHOLE: Variant = Variant {
    order: [T, G, S],
    queue_check: true,
    trap: true,
    scout: true,
    proof: true,
    sentry: true,
    unpreferred: true,
    losses: true,
    third: Third::Nobody,
    writers: 0b11,
};

/// The part that decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Lead {
    Locks,
    Applies,
    Sends,
    Unlocks,
    SetsTrap,
    Scouts,
    Proves,
    Drops,
    Waits,
    GivesUp,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Rename {
    Idle,
    /// Asks for the name at this place of the order.
    Asks(u8),
    Waits(u8),
    WantsBackupLock,
    WaitsForBackup,
    Renames,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Session {
    Alive,
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    locks: [Lock; 4],
    lead: Lead,
    rename: Rename,
    holder: Session,
    keeper: Session,
    trap: Session,
    trap_asked: bool,
    armed: bool,
    third_asked: bool,
    third_done: bool,
    sentry: bool,
    swapped: bool,
    /// Bits of those who write.
    idle: u8,
    original: u8,
    ghost: u8,
    /// What the first marker covered.
    covered: u8,
    acknowledged: u8,
}

impl State {
    fn leave(&mut self, who: u8, unpreferred: bool) {
        for name in [T, G, S, BACKUP] {
            self.locks[name].leave(who, unpreferred);
        }
    }

    fn write(&mut self, bit: u8) {
        if self.swapped {
            self.ghost |= bit;
        } else {
            self.original |= bit;
        }
        self.acknowledged |= bit;
    }

    fn holds_all(&self, who: u8) -> bool {
        self.locks[T].holds(who) && self.locks[G].holds(who)
    }
}

/// Successors of one state.
struct Next<'a> {
    variant: &'a Variant,
    state: &'a State,
    all: Vec<(&'static str, State)>,
}

impl Next<'_> {
    fn to(&mut self, what: &'static str, change: impl FnOnce(&mut State)) {
        let mut after = *self.state;
        change(&mut after);
        self.all.push((what, after));
    }

    /// The same where locks are given back: the server may let writers in first.
    fn releasing(&mut self, what: &'static str, change: impl Fn(&mut State, bool)) {
        self.to(what, |s| change(s, false));
        if self.variant.unpreferred {
            self.to(what, |s| change(s, true));
        }
    }

    fn lead(&mut self) {
        let (v, s) = (*self.variant, *self.state);
        match s.lead {
            Lead::Locks if s.holds_all(HOLDER) => {
                self.to("lock granted", |s| s.lead = Lead::Applies);
            }
            Lead::Applies if s.holder == Session::Alive => self.to("applies", |s| {
                s.ghost = s.original;
                s.covered = s.original;
                s.lead = Lead::Sends;
            }),
            Lead::Sends => self.to("sends RENAME", |s| {
                s.rename = Rename::Asks(0);
                s.lead = Lead::Unlocks;
            }),
            Lead::Unlocks if !v.queue_check || matches!(s.rename, Rename::Waits(_)) => {
                self.releasing("holder unlocks", |s, first| {
                    s.leave(HOLDER, first);
                    s.lead = Lead::SetsTrap;
                });
            }
            Lead::SetsTrap => self.trap_is_set(),
            Lead::Scouts if !v.scout || s.locks[T].is_had_exclusively() => {
                self.to("scout is seen to wait", |s| s.lead = Lead::Proves);
            }
            Lead::Proves if !v.proof || s.original == s.covered => {
                self.to("proves", |s| s.lead = Lead::Drops);
            }
            Lead::Drops if s.keeper == Session::Alive => {
                self.releasing("keeper drops the sentry", |s, first| {
                    s.sentry = false;
                    s.leave(KEEPER, first);
                    s.lead = Lead::Waits;
                });
            }
            Lead::Waits if s.rename == Rename::Ended => {
                self.to("RENAME has ended", |s| s.lead = Lead::GivesUp);
            }
            Lead::GivesUp => self.give_up(),
            _ => {}
        }
        if !matches!(s.lead, Lead::GivesUp | Lead::Ended) {
            // The budget, an error, or the trap: sooner or later, or never.
            self.to("gives up", |s| s.lead = Lead::GivesUp);
        }
    }

    fn trap_is_set(&mut self) {
        let (v, s) = (self.variant, self.state);
        if !v.trap {
            self.to("no trap", |s| s.lead = Lead::Scouts);
        } else if !s.trap_asked {
            self.to("trap asks for the ghost", |s| {
                s.locks[G].ask(TRAP, Mode::Shared);
                s.trap_asked = true;
            });
        } else if s.locks[G].waits(TRAP) {
            self.to("trap is seen to wait", |s| {
                s.armed = true;
                s.lead = Lead::Scouts;
            });
        } else if s.locks[G].holds(TRAP) {
            self.releasing("trap was too early", |s, first| {
                s.locks[G].leave(TRAP, first);
                s.trap_asked = false;
            });
        }
    }

    /// Kills the RENAME and only when it has ended gives back the rest.
    fn give_up(&mut self) {
        match self.state.rename {
            Rename::Idle | Rename::Ended => {
                self.releasing("all is given back", |s, first| {
                    for who in [HOLDER, KEEPER, TRAP] {
                        s.leave(who, first);
                    }
                    s.rename = Rename::Ended;
                    s.lead = Lead::Ended;
                });
            }
            Rename::Waits(_) | Rename::WaitsForBackup => {
                self.releasing("RENAME is killed", |s, first| {
                    s.leave(RENAMER, first);
                    s.rename = Rename::Ended;
                });
            }
            // Between its waits it does not look.
            Rename::Asks(_) | Rename::WantsBackupLock | Rename::Renames => {}
        }
    }

    fn rename(&mut self) {
        let (v, s) = (*self.variant, *self.state);
        match s.rename {
            Rename::Asks(place) => self.to("RENAME asks for a name", |s| {
                s.locks[v.order[usize::from(place)]].ask(RENAMER, Mode::Exclusive);
                s.rename = Rename::Waits(place);
            }),
            Rename::Waits(place) if s.locks[v.order[usize::from(place)]].holds(RENAMER) => {
                self.to("RENAME has a name", |s| {
                    s.rename = if place < 2 {
                        Rename::Asks(place + 1)
                    } else {
                        Rename::WantsBackupLock
                    };
                });
            }
            Rename::WantsBackupLock if s.locks[BACKUP].is_free_for(RENAMER, Mode::Shared) => {
                self.to("RENAME has the backup lock", |s| {
                    s.locks[BACKUP].ask(RENAMER, Mode::Shared);
                    s.rename = Rename::Renames;
                });
            }
            Rename::WantsBackupLock => self.releasing("RENAME gives its names back", |s, first| {
                s.leave(RENAMER, first);
                s.locks[BACKUP].ask(RENAMER, Mode::Shared);
                s.rename = Rename::WaitsForBackup;
            }),
            Rename::WaitsForBackup if s.locks[BACKUP].holds(RENAMER) => {
                self.releasing("RENAME starts again", |s, first| {
                    s.leave(RENAMER, first);
                    s.rename = Rename::Asks(0);
                });
            }
            Rename::Renames => self.releasing("RENAME is executed", |s, first| {
                s.swapped = !s.sentry;
                s.leave(RENAMER, first);
                s.rename = Rename::Ended;
            }),
            _ => {}
        }
    }

    /// Connections get lost. A statement that waits goes on in the server, and a lock that it gets then
    /// goes at once.
    fn losses(&mut self) {
        let s = *self.state;
        if !self.variant.losses {
            return;
        }
        if s.holder == Session::Alive {
            self.releasing("holder is lost", |s, first| {
                s.leave(HOLDER, first);
                s.holder = Session::Lost;
            });
        }
        if s.keeper == Session::Alive {
            self.releasing("keeper is lost", |s, first| {
                s.leave(KEEPER, first);
                s.keeper = Session::Lost;
            });
        }
        if s.trap == Session::Alive {
            self.to("trap is lost", |s| s.trap = Session::Lost);
        }
        if s.trap == Session::Lost && s.locks[G].holds(TRAP) {
            self.releasing("a lost trap goes", |s, first| s.locks[G].leave(TRAP, first));
        }
        if s.lead != Lead::Ended {
            // Whatever it would have done: nobody does it.
            self.to("the program dies", |s| s.lead = Lead::Ended);
        }
    }

    fn others(&mut self) {
        for who in WRITERS {
            let bit = 1 << (who - WRITERS[0]);
            if self.state.idle & bit != 0 {
                self.to("somebody asks to write", |s| {
                    s.idle &= !bit;
                    s.locks[T].ask(who, Mode::Shared);
                });
            } else if self.state.locks[T].holds(who) {
                self.releasing("a write is acknowledged", |s, first| {
                    s.write(bit);
                    s.leave(who, first);
                });
            }
        }
        let Third::Has(name, mode) = self.variant.third else {
            return;
        };
        if !self.state.third_asked {
            self.to("a third one asks", |s| {
                s.locks[name].ask(THIRD, mode);
                s.third_asked = true;
            });
        } else if !self.state.third_done && self.state.locks[name].holds(THIRD) {
            self.releasing("the third one goes", |s, first| {
                if name == T {
                    s.write(1 << 2);
                }
                s.leave(THIRD, first);
                s.third_done = true;
            });
        }
    }
}

fn next(variant: &Variant, state: &State) -> Vec<(&'static str, State)> {
    let mut next = Next {
        variant,
        state,
        all: Vec::new(),
    };
    next.lead();
    next.rename();
    next.losses();
    next.others();
    next.all
}

fn explored(variant: Variant) -> Found {
    let mut start = State {
        locks: [Lock::default(); 4],
        lead: Lead::Locks,
        rename: Rename::Idle,
        holder: Session::Alive,
        keeper: Session::Alive,
        trap: Session::Alive,
        trap_asked: false,
        armed: false,
        third_asked: false,
        third_done: false,
        sentry: variant.sentry,
        swapped: false,
        idle: variant.writers,
        original: 0,
        ghost: 0,
        covered: 0,
        acknowledged: 0,
    };
    // LOCK TABLES … WRITE takes the backup lock along.
    start.locks[BACKUP].ask(HOLDER, Mode::Shared);
    if variant.sentry {
        start.locks[BACKUP].ask(KEEPER, Mode::Shared);
        start.locks[S].ask(KEEPER, Mode::Locked);
    }
    for name in [T, G] {
        start.locks[name].ask(HOLDER, Mode::Locked);
    }
    let lost = |s: &State| {
        let table = if s.swapped { s.ghost } else { s.original };
        s.acknowledged & !table != 0
    };
    let found = explore(start, |state| next(&variant, state), lost, |s| s.swapped);
    println!("{} states", found.states);
    found
}

/// All that somebody else can do to one table.
const THIRDS: [Third; 9] = [
    Third::Nobody,
    Third::Has(T, Mode::Locked),
    Third::Has(T, Mode::Exclusive),
    Third::Has(G, Mode::Shared),
    Third::Has(G, Mode::Locked),
    Third::Has(G, Mode::Exclusive),
    Third::Has(S, Mode::Shared),
    Third::Has(S, Mode::Locked),
    Third::Has(S, Mode::Exclusive),
];
const BACKS_UP: Third = Third::Has(BACKUP, Mode::Exclusive);

/// Whoever is lost, whatever one other does to one of the tables, whomever the server prefers.
#[test]
fn the_whole_protocol_loses_nothing() {
    for third in THIRDS {
        // One writer beside a third one: a second makes four times the states, and nothing new.
        let writers = if third == Third::Nobody { 0b11 } else { 0b01 };
        explored(Variant {
            third,
            writers,
            ..WHOLE
        })
        .holds();
    }
}

/// A backup at any moment, as long as our connections live. (What is left: a backup that begins in the
/// very moment between the sentry's end and the RENAME in which the trap's connection is lost, too.)
#[test]
fn a_backup_costs_nothing() {
    let variant = Variant {
        third: BACKS_UP,
        losses: false,
        ..WHOLE
    };
    explored(variant).holds();
    explored(Variant {
        trap: false,
        ..variant
    })
    .breaks();
}

/// A server that behaves, with nobody else about.
const CALM: Variant = Variant {
    unpreferred: false,
    losses: false,
    ..WHOLE
};

#[test]
fn the_queue_check_alone_is_enough_only_on_a_calm_server() {
    let alone = Variant {
        trap: false,
        scout: false,
        proof: false,
        ..CALM
    };
    explored(alone).holds();
    explored(Variant {
        queue_check: false,
        ..alone
    })
    .breaks();
    // Other DDL waited before the RENAME.
    explored(Variant {
        third: Third::Has(T, Mode::Exclusive),
        ..alone
    })
    .breaks();
    explored(Variant {
        unpreferred: true,
        ..alone
    })
    .breaks();
    explored(Variant {
        third: BACKS_UP,
        ..alone
    })
    .breaks();
}

/// Names that sort before the original's: the RENAME may wait for the ghost, and does not yet for the
/// original.
#[test]
fn the_order_of_names_matters_to_the_queue_check() {
    let alone = Variant {
        order: [S, G, T],
        third: Third::Has(G, Mode::Shared),
        trap: false,
        scout: false,
        proof: false,
        ..CALM
    };
    explored(alone).breaks();
    explored(Variant {
        order: [T, G, S],
        ..alone
    })
    .holds();
}

/// Each of the two sees what the other takes for something else.
#[test]
fn the_proof_needs_trap_and_scout() {
    explored(Variant {
        trap: false,
        third: Third::Has(T, Mode::Exclusive),
        ..CALM
    })
    .breaks();
    explored(Variant {
        scout: false,
        third: Third::Has(G, Mode::Locked),
        unpreferred: true,
        ..CALM
    })
    .breaks();
}

#[test]
fn the_proof_is_needed_and_the_sentry_is_needed_when_connections_are_lost() {
    explored(Variant {
        proof: false,
        third: Third::Has(T, Mode::Exclusive),
        ..CALM
    })
    .breaks();
    explored(Variant {
        sentry: false,
        losses: true,
        ..CALM
    })
    .breaks();
}

/// The second marker makes up for the queue check: without that, more attempts fail, and no write.
#[test]
fn without_the_queue_check_the_proof_still_holds() {
    explored(Variant {
        queue_check: false,
        ..WHOLE
    })
    .holds();
}
