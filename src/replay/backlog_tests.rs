use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::change::{After, RowChange};
use crate::chunk::Chunk;
use crate::coordinates::Step;
use crate::replay::window::FinalState;
use crate::row::Cell;

const KEYS: i64 = 6;

fn key(n: i64) -> Key {
    Key(vec![Cell::Int(n)])
}

fn backlog(limits: BacklogLimits) -> (Arc<Backlog>, Arc<Interlock>) {
    let interlock = Arc::new(Interlock::new(vec![false]));
    let start = Coordinates::File {
        name: "f".into(),
        position: 0,
    };
    let progress = Arc::new(Progress::default());
    let backlog = Backlog::new(start, true, limits, interlock.clone(), progress);
    (backlog, interlock)
}

#[derive(Clone, Debug)]
enum Act {
    /// A transaction that changes these keys. (Deletes would tell nothing apart; windows have their own
    /// test.)
    Transaction(Vec<i64>),
    /// A transaction that is not committed yet, and goes on with the next act of its kind.
    Part(Vec<i64>),
    /// Take a window; the rows whose bit is set turn out to be locked.
    Flush(u8),
    /// Take a window and fail.
    Fail,
    /// Open a chunk over these keys; the one before is closed.
    Chunk(i64, i64),
    Close,
    Mark,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let changes = || proptest::collection::vec(0..KEYS, 0..5);
    let act = prop_oneof![
        4 => changes().prop_map(Act::Transaction),
        1 => changes().prop_map(Act::Part),
        4 => any::<u8>().prop_map(Act::Flush),
        1 => Just(Act::Fail),
        1 => (0..KEYS, 0..KEYS).prop_map(|(a, b)| Act::Chunk(a.min(b), a.max(b))),
        1 => Just(Act::Close),
        1 => Just(Act::Mark),
    ];
    proptest::collection::vec(act, 1..60)
}

/// What each key went through: transaction and state, numbered from 1.
#[derive(Default)]
struct Model {
    histories: BTreeMap<KeyBytes, Vec<(u64, FinalState)>>,
    /// How much of its history each key has in the ghost.
    applied: BTreeMap<KeyBytes, usize>,
    ghost: BTreeMap<KeyBytes, FinalState>,
    transaction: u64,
    serial: u64,
}

impl Model {
    fn change(&mut self, n: i64) -> RowChange {
        self.serial += 1;
        let values: Box<str> = self.serial.to_string().into();
        let state = FinalState::Upsert(Some(values.clone()));
        self.histories
            .entry(key(n).to_bytes())
            .or_default()
            .push((self.transaction + 1, state));
        RowChange {
            before: Some(key(n)),
            after: Some(After {
                key: key(n),
                values: Some(values),
            }),
        }
    }

    fn apply(&mut self, window: &Window) {
        for (key, row) in window.rows() {
            let history = &self.histories[key];
            let at = history.iter().rposition(|(_, state)| *state == row.state);
            let at = at.expect("a state that the key has had") + 1;
            let before = self.applied.insert(key.clone(), at).unwrap_or(0);
            assert!(before <= at, "an older state was applied after a newer one");
            self.ghost.insert(key.clone(), row.state.clone());
        }
    }

    /// The first transaction that is not wholly in the ghost.
    fn first_unapplied(&self) -> Option<u64> {
        self.histories
            .iter()
            .filter_map(|(key, history)| {
                let from = self.applied.get(key).copied().unwrap_or(0);
                history.get(from).map(|(transaction, _)| *transaction)
            })
            .min()
    }
}

fn applied(backlog: &Backlog) -> u64 {
    match backlog.applied() {
        Coordinates::File { position, .. } => position,
        other => panic!("{other}"),
    }
}

fn play(acts: Vec<Act>, window_rows_max: usize) -> std::result::Result<(), TestCaseError> {
    let (backlog, interlock) = backlog(BacklogLimits {
        window_rows_max,
        ..BacklogLimits::default()
    });
    let mut model = Model::default();
    let mut open = None;
    let mut in_transaction = false;
    let mut marks = 0;
    for act in acts {
        match act {
            Act::Transaction(ref changes) | Act::Part(ref changes) => {
                if !in_transaction {
                    backlog.accept(BinlogEvent::Begin { step: None });
                }
                for n in changes {
                    let change = model.change(*n);
                    backlog.accept(BinlogEvent::Change(change));
                }
                in_transaction = matches!(act, Act::Part(_));
                if !in_transaction {
                    model.transaction += 1;
                    let step = Step::File("f".into(), model.transaction);
                    let committed_micros = 0;
                    backlog.accept(BinlogEvent::Commit {
                        step,
                        committed_micros,
                    });
                }
            }
            Act::Flush(locked) => {
                let mut window = backlog.take();
                let locked = window.split_off(|key| locked >> (key[1] % 8) & 1 == 1);
                model.apply(&window);
                backlog.finish(&window, locked);
            }
            Act::Fail => {
                let window = backlog.take();
                backlog.put_back(window);
            }
            Act::Chunk(from, to) => {
                open = Some(interlock.open(&Chunk {
                    number: 0,
                    lower: Some(key(from)),
                    upper: Some(key(to)),
                    upper_included: false,
                    rows_expected: 1,
                }));
            }
            Act::Close => open = None,
            Act::Mark => {
                marks += 1;
                backlog.accept(BinlogEvent::Changelog {
                    hint: format!("m{marks}"),
                    value: String::new(),
                });
            }
        }
        let first = model.first_unapplied();
        prop_assert!(first.is_none_or(|first| applied(&backlog) < first));
    }
    drop(open);
    let rest = backlog.take_all();
    model.apply(&rest);
    backlog.finish(&rest, Window::default());
    prop_assert_eq!(model.first_unapplied(), None);
    for (key, history) in &model.histories {
        prop_assert_eq!(model.ghost.get(key), history.last().map(|(_, state)| state));
    }
    prop_assert_eq!(backlog.applied(), backlog.received());
    prop_assert_eq!((backlog.rows(), backlog.bytes()), (0, 0));
    let state = backlog.lock();
    if !in_transaction {
        prop_assert_eq!(state.markers_applied.len(), marks);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is taken, left behind, put back and cut: states of a key are applied in their order, the
    /// applied coordinate never passes a change that is not in the ghost, and in the end all is there.
    #[test]
    fn nothing_is_lost_and_nothing_overtaken(acts in acts(), window_rows_max in 1usize..5) {
        play(acts, window_rows_max)?;
    }
}

#[test]
fn held_rows_stay_behind_until_their_chunk_is_closed() {
    let (backlog, interlock) = backlog(BacklogLimits::default());
    let mut model = Model::default();
    backlog.accept(BinlogEvent::Begin { step: None });
    for n in 0..3 {
        backlog.accept(BinlogEvent::Change(model.change(n)));
    }
    backlog.accept(BinlogEvent::Commit {
        step: Step::File("f".into(), 1),
        committed_micros: 0,
    });
    let open = interlock.open(&Chunk {
        number: 0,
        lower: Some(key(1)),
        upper: Some(key(2)),
        upper_included: false,
        rows_expected: 1,
    });
    let window = backlog.take();
    assert_eq!(window.len(), 2);
    backlog.finish(&window, Window::default());
    assert_eq!((applied(&backlog), backlog.rows()), (0, 1));
    assert!(backlog.left_behind_until().is_some());
    drop(open);
    let window = backlog.take();
    assert!(window.get(&key(1).to_bytes()).is_some());
    backlog.finish(&window, Window::default());
    assert_eq!((applied(&backlog), backlog.rows()), (1, 0));
}

#[test]
fn a_full_backlog_makes_the_reader_wait() {
    let (backlog, _) = backlog(BacklogLimits {
        bytes_max: 100_000,
        ..BacklogLimits::default()
    });
    let reader = backlog.clone();
    let thread = std::thread::spawn(move || {
        let mut model = Model::default();
        let mut most = 0;
        for n in 0..5000 {
            reader.accept(BinlogEvent::Begin { step: None });
            reader.accept(BinlogEvent::Change(model.change(n)));
            reader.accept(BinlogEvent::Commit {
                step: Step::File("f".into(), n as u64),
                committed_micros: 0,
            });
            most = most.max(reader.bytes());
            reader.wait_for_room(&|| false);
        }
        most
    });
    let mut rows = 0;
    while rows < 5000 {
        let window = backlog.take();
        rows += window.len();
        backlog.finish(&window, Window::default());
        std::thread::yield_now();
    }
    let most = thread.join().unwrap();
    assert!(most < 101_000, "{most} bytes");
    assert!(most > 90_000, "the limit was never reached: {most} bytes");
}
