//! Both protocols as state machines, explored exhaustively: every order in which sessions, writers and
//! somebody else can come, and every loss of a connection. In every state every acknowledged write must
//! be in the table that has the original's name.
//!
//! With a part of the protocol left out, the exploration must find a lost write: that shows that the
//! part is needed, and that the model can lose.

mod locks;
mod one_session;
mod two_sessions;

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// What an exploration found.
#[derive(Debug)]
struct Found {
    states: usize,
    /// A way to a state that breaks the invariant, the shortest there is.
    broken: Option<Vec<String>>,
    /// Whether some way ends with the tables swapped.
    swaps: bool,
}

impl Found {
    fn holds(&self) {
        assert!(self.broken.is_none(), "{:#?}", self.broken);
        assert!(self.swaps, "never swaps");
    }

    fn breaks(&self) {
        assert!(self.broken.is_some(), "holds in {} states", self.states);
    }
}

/// Explores everything that can come after `start`, breadth first. `next` gives the states that can
/// follow, each with what happens.
fn explore<S: Copy + Eq + Hash + Debug>(
    start: S,
    next: impl Fn(&S) -> Vec<(&'static str, S)>,
    lost: impl Fn(&S) -> bool,
    swapped: impl Fn(&S) -> bool,
) -> Found {
    /// Far above what is needed; a model that grows beyond is wrong or too costly for a test.
    const STATES_MAX: usize = 3_000_000;
    let mut came_from: HashMap<S, Option<(S, &'static str)>> = HashMap::from([(start, None)]);
    let mut todo = VecDeque::from([start]);
    let mut swaps = false;
    while let Some(state) = todo.pop_front() {
        swaps |= swapped(&state);
        if lost(&state) {
            let mut way = vec![format!("{state:?}")];
            let mut at = state;
            while let Some((before, what)) = came_from[&at] {
                way.push(what.to_string());
                at = before;
            }
            way.reverse();
            return Found {
                states: came_from.len(),
                broken: Some(way),
                swaps,
            };
        }
        for (what, after) in next(&state) {
            if let std::collections::hash_map::Entry::Vacant(entry) = came_from.entry(after) {
                entry.insert(Some((state, what)));
                todo.push_back(after);
            }
        }
        assert!(came_from.len() < STATES_MAX, "too many states");
    }
    Found {
        states: came_from.len(),
        broken: None,
        swaps,
    }
}
