//! What was received and is not yet in the ghost.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::ledger::{Ledger, Mark};
use super::window::{KeyBytes, Window};
use crate::change::{After, BinlogEvent, ChangeSink, HEARTBEAT, RowChange, now_micros};
use crate::coordinates::Coordinates;
use crate::failure::{Failure, Result};
use crate::interlock::Interlock;
use crate::key::Key;
use crate::progress::Progress;

/// Names of markers that are remembered for those who ask late.
const MARKERS_REMEMBERED: usize = 256;
/// How often the reader, waiting for room, asks whether it shall stop.
const STOP_POLL: Duration = Duration::from_millis(10);

/// How large a backlog may grow, and how it is cut into windows.
#[derive(Clone, Copy, Debug)]
pub struct BacklogLimits {
    /// The reader waits when so many bytes are received and not applied.
    pub bytes_max: usize,
    /// A window is closed at so many rows. Larger ones fold more changes of hot rows together, smaller
    /// ones move the applied coordinate more often.
    pub window_rows_max: usize,
    /// A window is closed at so many bytes.
    pub window_bytes_max: usize,
    /// How often a heartbeat is written: what the age of the last one means.
    pub heartbeat_every: Duration,
    /// A lag up to this is near; see [`Backlog::calm`].
    pub near: Duration,
}

impl Default for BacklogLimits {
    fn default() -> BacklogLimits {
        BacklogLimits {
            bytes_max: 256 << 20,
            window_rows_max: 50_000,
            window_bytes_max: 32 << 20,
            heartbeat_every: Duration::from_millis(100),
            near: Duration::from_millis(500),
        }
    }
}

/// Received and not yet applied: windows in the order of the original's history, the rows that were left
/// behind, and the ledger that says what is applied. The reader's thread puts in, one flush at a time
/// takes out.
#[derive(Debug)]
pub struct Backlog {
    state: Mutex<State>,
    room: Condvar,
    work: Notify,
    /// Changes whenever a mark came or was passed.
    news: watch::Sender<u64>,
    limits: BacklogLimits,
    interlock: Arc<Interlock>,
    progress: Arc<Progress>,
    /// Whether keys compare in memory as on the server. If not, two keys that the server takes for one
    /// may differ in bytes, and then a delete must not be left behind on its own.
    keys_comparable: bool,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// Closed windows, the oldest first.
    closed: VecDeque<Window>,
    open: Window,
    /// Rows held back for a chunk that is being copied.
    held: Window,
    /// Rows that somebody had locked, to be tried again at `locked_until`.
    locked: Window,
    locked_until: Instant,
    locked_pause: Duration,
    /// Keys in flight that were locked before.
    locked_before: HashSet<KeyBytes>,
    in_flight_rows: usize,
    in_flight_bytes: usize,
    /// Row changes received so far, each delivery counted.
    changes: u64,
    /// Markers that have come, each with the changes before it.
    markers_received: VecDeque<(String, u64)>,
    markers_applied: VecDeque<String>,
    /// When the newest applied heartbeat was sent, microseconds since 1970, and how long it took.
    heartbeat_applied: Option<(u64, Duration)>,
    /// Since when every heartbeat was near.
    near_since: Option<Instant>,
}

/// The first and the longest pause before rows that somebody has locked are tried again: the pause grows
/// while the same rows stay locked.
const LOCKED_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

impl State {
    fn rows(&self) -> usize {
        let closed: usize = self.closed.iter().map(Window::len).sum();
        closed + self.open.len() + self.held.len() + self.locked.len() + self.in_flight_rows
    }

    fn bytes(&self) -> usize {
        let closed: usize = self.closed.iter().map(Window::bytes).sum();
        closed + self.open.bytes() + self.held.bytes() + self.locked.bytes() + self.in_flight_bytes
    }

    /// Puts rows that were left behind under a newer window.
    fn absorb(ledger: &mut Ledger, newer: &mut Window, older: Window) {
        newer.absorb(older, |place| ledger.release(place, 1));
    }
}

impl Backlog {
    /// An empty backlog of a stream that begins at `start`. `keys_comparable`: see
    /// [`crate::schema::MigrationKey::comparable`].
    pub fn new(
        start: Coordinates,
        keys_comparable: bool,
        limits: BacklogLimits,
        interlock: Arc<Interlock>,
        progress: Arc<Progress>,
    ) -> Arc<Backlog> {
        Arc::new(Backlog {
            state: Mutex::new(State {
                ledger: Ledger::new(start),
                closed: VecDeque::new(),
                open: Window::default(),
                held: Window::default(),
                locked: Window::default(),
                locked_until: Instant::now(),
                locked_pause: LOCKED_PAUSE.0,
                locked_before: HashSet::new(),
                in_flight_rows: 0,
                in_flight_bytes: 0,
                changes: 0,
                markers_received: VecDeque::new(),
                markers_applied: VecDeque::new(),
                heartbeat_applied: None,
                near_since: None,
            }),
            room: Condvar::new(),
            work: Notify::new(),
            news: watch::Sender::new(0),
            limits,
            interlock,
            progress,
            keys_comparable,
        })
    }

    /// Has a row of the original read again and brought into the ghost, as if it had just changed.
    pub fn look_again(&self, key: &Key) {
        let mut state = self.lock();
        let state = &mut *state;
        let place = state.ledger.place();
        let again = RowChange {
            before: None,
            after: Some(After {
                key: key.clone(),
                values: None,
            }),
        };
        let new = state.open.add(again, place);
        state.ledger.remember(place, new);
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic half way through a change of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to here was received.
    pub fn received(&self) -> Coordinates {
        self.lock().ledger.received().clone()
    }

    /// Everything up to here is in the ghost: what a checkpoint may say.
    pub fn applied(&self) -> Coordinates {
        self.lock().ledger.applied().clone()
    }

    /// How many rows wait or are being applied.
    pub fn rows(&self) -> usize {
        self.lock().rows()
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// How far the ghost is behind: the age of the newest heartbeat whose every predecessor is applied,
    /// less the time between two heartbeats. `None` before the first.
    pub fn lag(&self) -> Option<Duration> {
        let (_, took) = self.lock().heartbeat_applied?;
        Some(took.max(self.age()?.saturating_sub(self.limits.heartbeat_every)))
    }

    /// How old the newest heartbeat is whose every predecessor is applied: no change that is not applied is
    /// older. `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let (sent, _) = self.lock().heartbeat_applied?;
        Some(Duration::from_micros(now_micros().saturating_sub(sent)))
    }

    /// For how long the lag has been no more than [`BacklogLimits::near`]; zero if it is more now.
    pub fn calm(&self) -> Duration {
        if self.lag().is_none_or(|lag| lag > self.limits.near) {
            return Duration::ZERO;
        }
        let since = self.lock().near_since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until there is something to apply. Cancellation-safe.
    pub async fn wait_for_work(&self) {
        self.work.notified().await;
    }

    /// Whether there is something to apply now, besides what was left behind.
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        !state.closed.is_empty() || !state.open.is_empty()
    }

    /// Whether so little waits that more may come before the next flush: no window is full, and fewer
    /// rows than this wait.
    pub fn is_little(&self, rows: usize) -> bool {
        let state = self.lock();
        state.closed.is_empty() && state.open.len() < rows
    }

    /// When rows that were left behind are due, if there are any; they come without a notice.
    pub fn left_behind_until(&self) -> Option<Instant> {
        /// Open chunks end within their chunk time: a poll.
        const HELD_POLL: Duration = Duration::from_millis(20);
        let state = self.lock();
        if !state.held.is_empty() {
            return Some(Instant::now() + HELD_POLL);
        }
        (!state.locked.is_empty()).then_some(state.locked_until)
    }

    /// Takes the next window for a flush, with what was left behind and is due; rows of chunks that are
    /// being copied stay behind. Each call must be followed by [`Backlog::finish`] or
    /// [`Backlog::put_back`]. An empty window: there is nothing to do now.
    pub fn take(&self) -> Window {
        let mut window = {
            let mut state = self.lock();
            let state = &mut *state;
            let mut window = match state.closed.pop_front() {
                Some(closed) => closed,
                None => std::mem::take(&mut state.open),
            };
            let held = std::mem::take(&mut state.held);
            State::absorb(&mut state.ledger, &mut window, held);
            let locked = if state.locked_until <= Instant::now() {
                std::mem::take(&mut state.locked)
            } else {
                state.locked.split_off(|key| window.get(key).is_some())
            };
            state.locked_before = locked.rows().map(|(key, _)| key.clone()).collect();
            State::absorb(&mut state.ledger, &mut window, locked);
            state.in_flight_rows = window.len();
            state.in_flight_bytes = window.bytes();
            window
        };
        // Outside of the lock, which the reader needs. A chunk opened meanwhile sees in its snapshot all
        // that is in the window (see `interlock`).
        if window.is_empty() || !self.interlock.any_open() {
            return window;
        }
        let held = if self.keys_comparable {
            window
                .split_off(|key| Key::from_bytes(key).is_none_or(|key| self.interlock.holds(&key)))
        } else {
            std::mem::take(&mut window)
        };
        let mut state = self.lock();
        state.in_flight_rows = window.len();
        state.in_flight_bytes = window.bytes();
        state.held = held;
        window
    }

    /// Takes all there is as one window, whether due or not: for the last flush of a cut-over, when
    /// nothing is copied any more.
    pub fn take_all(&self) -> Window {
        let mut state = self.lock();
        let state = &mut *state;
        let mut window = std::mem::take(&mut state.open);
        while let Some(older) = state.closed.pop_back() {
            State::absorb(&mut state.ledger, &mut window, older);
        }
        for older in [
            std::mem::take(&mut state.held),
            std::mem::take(&mut state.locked),
        ] {
            State::absorb(&mut state.ledger, &mut window, older);
        }
        state.in_flight_rows = window.len();
        state.in_flight_bytes = window.bytes();
        window
    }

    /// A flush has ended: `done` is in the ghost, `locked` could not be read because somebody has the
    /// rows locked and is tried again later.
    pub fn finish(&self, done: &Window, locked: Window) {
        let mut released: Vec<u64> = done.rows().map(|(_, row)| row.oldest).collect();
        released.sort_unstable();
        let changes: u64 = done.rows().map(|(_, row)| u64::from(row.changes)).sum();
        let mut state = self.lock();
        for places in released.chunk_by(|a, b| a == b) {
            state.ledger.release(places[0], places.len() as u64);
        }
        state.in_flight_rows = 0;
        state.in_flight_bytes = 0;
        let before = std::mem::take(&mut state.locked_before);
        if !locked.is_empty() {
            state.locked_pause = match locked.rows().any(|(key, _)| before.contains(key)) {
                true => (state.locked_pause * 2).min(LOCKED_PAUSE.1),
                false => LOCKED_PAUSE.0,
            };
            state.locked_until = Instant::now() + state.locked_pause;
            // No row is both here and in what is already locked: `take` took those along.
            for (key, row) in locked.into_rows() {
                if let Some(place) = state.locked.absorb_row(key, row) {
                    state.ledger.release(place, 1);
                }
            }
        }
        self.progress.changes_applied.add(changes);
        self.settle(state);
    }

    /// A flush has failed: all of it goes back, before what was received meanwhile.
    pub fn put_back(&self, window: Window) {
        let mut state = self.lock();
        {
            let state = &mut *state;
            state.in_flight_rows = 0;
            state.in_flight_bytes = 0;
            if !window.is_empty() {
                // A window of its own in front, so that nothing of it can be left behind alone. What is
                // locked or held at present is not in it.
                state.closed.push_front(window);
            }
        }
        self.settle(state);
        self.work.notify_one();
    }

    /// Moves the applied coordinate and tells everybody.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let passed = state.ledger.settle();
        let any = !passed.is_empty();
        for mark in passed {
            match mark {
                Mark::Marker(name) => remember(&mut state.markers_applied, name),
                Mark::Heartbeat(sent) => {
                    let took = Duration::from_micros(now_micros().saturating_sub(sent));
                    state.heartbeat_applied = Some((sent, took));
                    state.near_since = (took <= self.limits.near)
                        .then(|| state.near_since.unwrap_or_else(Instant::now));
                    let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
                    self.progress
                        .replay_lag_micros
                        .store(micros, Ordering::Relaxed);
                }
            }
        }
        let bytes = state.bytes();
        self.progress.backlog_rows.set(state.rows() as u64);
        self.progress.backlog_bytes.set(bytes as u64);
        drop(state);
        if bytes < self.limits.bytes_max {
            self.room.notify_all();
        }
        if any {
            self.news.send_modify(|version| *version += 1);
        }
    }

    /// Waits until a marker has come back through the binlog: all events before it are received. Returns
    /// how many row changes those were; one delivered twice after a reconnect counts twice.
    /// Cancellation-safe.
    ///
    /// # Errors
    /// `limit` has passed.
    pub async fn marker_received(&self, name: &str, limit: Duration) -> Result<u64> {
        let find = |state: &State| {
            let found = state.markers_received.iter().find(|(n, _)| n == name);
            found.map(|(_, changes)| *changes)
        };
        let come = self.until(limit, |state| find(state).is_some()).await;
        come.and_then(|()| find(&self.lock()))
            .ok_or_else(|| late(name, "did not come back through the binlog", limit))
    }

    /// Waits until everything before a marker is in the ghost. Cancellation-safe.
    ///
    /// # Errors
    /// `limit` has passed.
    pub async fn marker_applied(&self, name: &str, limit: Duration) -> Result<()> {
        self.until(limit, |state| {
            state.markers_applied.iter().any(|n| n == name)
        })
        .await
        .ok_or_else(|| {
            late(
                name,
                "still has changes before it that are not applied",
                limit,
            )
        })
    }

    /// Waits for the first heartbeat to come back and be passed: the stream is live. Cancellation-safe.
    ///
    /// # Errors
    /// `limit` has passed.
    pub async fn heartbeat_applied(&self, limit: Duration) -> Result<()> {
        self.until(limit, |state| state.heartbeat_applied.is_some())
            .await
            .ok_or_else(|| late(HEARTBEAT, "did not come back through the binlog", limit))
    }

    async fn until(&self, limit: Duration, done: impl Fn(&State) -> bool) -> Option<()> {
        let mut news = self.news.subscribe();
        tokio::time::timeout(limit, async {
            loop {
                news.mark_unchanged();
                if done(&self.lock()) {
                    return Some(());
                }
                // An error would mean that the sender, which is ours, is gone.
                news.changed().await.ok()?;
            }
        })
        .await
        .ok()
        .flatten()
    }
}

fn late(name: &str, what: &str, limit: Duration) -> Failure {
    Failure::failed(format!(
        "marker `{name}` {what} within {}",
        humantime::format_duration(limit)
    ))
    .remedy("see whether the binlog reader keeps up (status, replay lag)")
}

fn remember<T>(names: &mut VecDeque<T>, name: T) {
    if names.len() == MARKERS_REMEMBERED {
        names.pop_front();
    }
    names.push_back(name);
}

impl ChangeSink for Backlog {
    fn accept(&self, event: BinlogEvent) {
        match event {
            BinlogEvent::Begin { step } => {
                // Before any of its changes can be taken.
                if let Some(step) = &step {
                    self.interlock.received(step);
                }
                self.lock().ledger.begin();
            }
            BinlogEvent::Change(change) => {
                let mut state = self.lock();
                let state = &mut *state;
                state.changes += 1;
                let place = state.ledger.place();
                let new = state.open.add(change, place);
                state.ledger.remember(place, new);
                if state.open.len() >= self.limits.window_rows_max
                    || state.open.bytes() >= self.limits.window_bytes_max
                {
                    state.closed.push_back(std::mem::take(&mut state.open));
                    self.work.notify_one();
                }
            }
            BinlogEvent::Changelog { hint, value } => self.accept_mark(hint, &value),
            BinlogEvent::Commit { step, .. } => {
                let mut state = self.lock();
                state.ledger.commit(step);
                let is_work = !state.open.is_empty();
                self.settle(state);
                if is_work {
                    self.work.notify_one();
                }
            }
        }
    }

    fn wait_for_room(&self, stop: &dyn Fn() -> bool) {
        let mut state = self.lock();
        while state.bytes() >= self.limits.bytes_max {
            // Nothing else tells while a flush is held up: the throttle must know, and who asks why.
            self.progress.backlog_rows.set(state.rows() as u64);
            self.progress.backlog_bytes.set(state.bytes() as u64);
            if stop() {
                return;
            }
            self.work.notify_one();
            (state, _) = self
                .room
                .wait_timeout(state, STOP_POLL)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Backlog {
    fn accept_mark(&self, hint: String, value: &str) {
        let mut state = self.lock();
        if hint == HEARTBEAT {
            // Our own table: a value that is no number was written by somebody else and says nothing.
            if let Ok(sent) = value.parse() {
                state.ledger.mark(Mark::Heartbeat(sent));
            }
            let since_start = self.progress.started.elapsed().as_micros();
            self.progress
                .heartbeat_at_micros
                .set(u64::try_from(since_start).unwrap_or(u64::MAX));
        } else {
            let changes = state.changes;
            remember(&mut state.markers_received, (hint.clone(), changes));
            state.ledger.mark(Mark::Marker(hint));
        }
        self.settle(state);
        self.news.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
