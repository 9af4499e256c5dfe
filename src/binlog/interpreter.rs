//! What events mean: a state machine from events to changes. No I/O.
//!
//! Every event is judged. What is known to be harmless is passed over; everything else is understood or
//! fails the run with its type and its coordinates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::bytes::Corrupt;
use super::event::{self, GtidEvent, RawEvent, Xid, kind};
use super::foreign::Foreign;
use super::group::{Group, TooLate, bytes_of};
use super::prepared::{Prepared, PreparedTransactions};
use super::rows;
use super::statement::{self, Verdict, Watched};
use super::tables::{Judged, Row, Stop, Subject, Tables};
use crate::change::{BinlogEvent, RowChange};
use crate::coordinates::{Coordinates, Step};
use crate::failure::{Failure, Result};

/// Rows of prepared XA transactions are held up to this many bytes.
const HELD_BYTES_MAX: usize = 256 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct Interpreter {
    watched: Watched,
    tables: Tables,
    kind: CoordinateKind,
    place: Place,
    group: Option<Group>,
    prepared: PreparedTransactions,
    foreign: Foreign,
    held_bytes: usize,
    last_step: HashMap<Option<u32>, Step>,
    payload_left: u64,
    /// Row changes handed on.
    pub changes: u64,
}

/// What coordinates are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CoordinateKind {
    Gtid,
    Maria,
    File,
}

/// Where the reader is in the binlog.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<str>,
    offset: u64,
}

const START_AGAIN: &str = "the ghost cannot be trusted any more: start the migration again";

/// Takes what events mean.
pub type Emit<'a> = &'a mut dyn FnMut(BinlogEvent);

impl Interpreter {
    /// An interpreter for a stream that begins at these coordinates.
    pub fn new(subject: Subject, start: &Coordinates, foreign: Foreign) -> Interpreter {
        let (kind, place) = match start {
            Coordinates::Gtid(_) => (CoordinateKind::Gtid, None),
            Coordinates::Maria(_) => (CoordinateKind::Maria, None),
            Coordinates::File { name, position } => (CoordinateKind::File, Some((name, *position))),
        };
        let (file, offset) = place.map_or(("".into(), 0), |(name, at)| (name.as_str().into(), at));
        let last_step = last_steps(start);
        Interpreter {
            watched: subject.watched.clone(),
            tables: Tables::new(subject),
            kind,
            place: Place { file, offset },
            group: None,
            prepared: PreparedTransactions::default(),
            foreign,
            held_bytes: 0,
            last_step,
            payload_left: 0,
            changes: 0,
        }
    }

    /// What is known of XA transactions from before the stream: for the next stream.
    pub fn into_foreign(self) -> Foreign {
        self.foreign
    }

    /// Where the reader is, for people: `binlog.000012:4711`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.place.file, self.place.offset)
    }

    /// Takes one event; `tagged` is what the driver's library read of a tagged GTID event.
    ///
    /// # Errors
    /// An event that cannot be understood, or that makes going on unsafe: its type, its coordinates, and
    /// what to do.
    pub fn handle(
        &mut self,
        event: &RawEvent<'_>,
        tagged: Option<GtidEvent>,
        emit: Emit<'_>,
    ) -> Result<()> {
        self.judge(event, tagged, emit).map_err(|stop| {
            let at = self.place();
            let name = event::name(event.kind);
            let step = self.group.as_ref().and_then(|group| group.step.as_ref());
            let gtid = step.map(|step| format!(", transaction {}", show(step)));
            let (why, remedy) = match stop {
                Stop::Corrupt(Corrupt(why)) => (
                    format!("cannot be read: {why}"),
                    "check the binlog with mysqlbinlog; start the migration again",
                ),
                Stop::Because(why, remedy) => (why, remedy),
            };
            Failure::failed(format!(
                "the {name} event before {at}{} {why}",
                gtid.unwrap_or_default()
            ))
            .remedy(remedy)
            .doing("follow the binlog")
        })
    }

    fn judge(
        &mut self,
        event: &RawEvent<'_>,
        tagged: Option<GtidEvent>,
        emit: Emit<'_>,
    ) -> Judged<()> {
        self.move_place(event)?;
        match event.kind {
            kind::TABLE_MAP => self.tables.map(event),
            kind if rows::is_rows(kind) => self.rows(event, emit),
            kind::XID => self.end(emit),
            kind::QUERY => self.statement(event, emit),
            kind::EXECUTE_LOAD_QUERY => self.statement(event, emit),
            kind::GTID | kind::ANONYMOUS_GTID => self.begin(event::read_gtid(event)?, emit),
            kind::GTID_TAGGED => match tagged {
                Some(gtid) => self.begin(gtid, emit),
                None => Err(Corrupt("a tagged GTID in a form that is not known").into()),
            },
            kind::MARIA_GTID => self.begin(event::read_maria_gtid(event)?, emit),
            kind::MARIA_QUERY_COMPRESSED => self.compressed_statement(event, emit),
            kind::TRANSACTION_PAYLOAD => {
                self.payload_left = event::payload_size(event)?;
                Ok(())
            }
            kind::XA_PREPARE => self.prepare(event, emit),
            kind::ROTATE => {
                let (file, offset) = event::read_rotate(event)?;
                if *self.place.file != *file {
                    self.place.file = file.into();
                }
                self.place.offset = offset;
                Ok(())
            }
            kind::FORMAT_DESCRIPTION => self.new_file(event),
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => {
                self.announce(emit);
                Ok(())
            }
            kind::STOP
            | kind::INTVAR
            | kind::APPEND_BLOCK
            | kind::DELETE_FILE
            | kind::RAND
            | kind::USER_VAR
            | kind::BEGIN_LOAD_QUERY
            | kind::IGNORABLE
            | kind::ROWS_QUERY
            | kind::PREVIOUS_GTIDS
            | kind::TRANSACTION_CONTEXT
            | kind::VIEW_CHANGE
            | kind::MARIA_ANNOTATE_ROWS
            | kind::MARIA_CHECKPOINT
            | kind::MARIA_GTID_LIST
            | kind::MARIA_START_ENCRYPTION => Ok(()),
            kind::INCIDENT => Err(Stop::Because(
                "says that the server could not log all changes".to_string(),
                START_AGAIN,
            )),
            _ if event.ignorable() => Ok(()),
            _ => Err(Stop::Because(
                "is of a kind that this version does not know".to_string(),
                "use a version that knows this server",
            )),
        }
    }

    /// Follows offsets past 4 GiB: an event's header has the lower 32 bits only, and no event is that
    /// long.
    fn move_place(&mut self, event: &RawEvent<'_>) -> Judged<()> {
        if self.payload_left > 0 {
            if event.log_pos != 0 {
                return Err(Stop::Because(
                    "comes where events of a compressed transaction are missing".to_string(),
                    "check the binlog with mysqlbinlog; start the migration again",
                ));
            }
            self.payload_left = self
                .payload_left
                .checked_sub(u64::from(event.size))
                .ok_or(Corrupt("a compressed transaction is longer than it says"))?;
        } else if event.in_file() {
            let low = self.place.offset as u32;
            self.place.offset += u64::from(event.log_pos.wrapping_sub(low));
        }
        Ok(())
    }

    fn new_file(&mut self, event: &RawEvent<'_>) -> Judged<()> {
        if !event.in_file() {
            // Sent when a stream begins in the middle of a file.
            return Ok(());
        }
        // A file that begins inside a transaction: the server broke down in it.
        match self.group.take() {
            Some(group) if group.begun_to_hand_on() => Err(Stop::Because(
                "begins a new file inside a transaction that changed the table".to_string(),
                START_AGAIN,
            )),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, gtid: GtidEvent, emit: Emit<'_>) -> Judged<()> {
        if self.group.is_some() {
            return Err(Stop::Because(
                "comes before the end of the transaction before it".to_string(),
                START_AGAIN,
            ));
        }
        let step = match self.kind {
            CoordinateKind::File => None,
            CoordinateKind::Gtid | CoordinateKind::Maria if gtid.step.is_none() => {
                return Err(Stop::Because(
                    "has no GTID although the migration began with GTIDs".to_string(),
                    "set gtid_mode=ON again and start the migration again",
                ));
            }
            CoordinateKind::Gtid | CoordinateKind::Maria => gtid.step,
        };
        self.open(step, gtid.committed_micros, emit);
        if let Some(group) = &mut self.group {
            group.begun = gtid.begins;
            group.xa = gtid.prepares;
        }
        Ok(())
    }

    fn open(&mut self, step: Option<Step>, committed_micros: u64, emit: Emit<'_>) {
        self.tables.clear();
        emit(BinlogEvent::Begin { step: step.clone() });
        self.group = Some(Group::new(step, committed_micros));
    }

    /// The end of the open group: its step, or as far as open XA transactions allow.
    fn end(&mut self, emit: Emit<'_>) -> Judged<()> {
        if self.payload_left > 0 {
            return Err(Corrupt("a compressed transaction ends before its last event").into());
        }
        let mut group = self.take_group()?;
        self.release(group.take(), emit);
        self.commit(group.step, group.committed_micros, emit);
        Ok(())
    }

    fn commit(&mut self, step: Option<Step>, committed_micros: u64, emit: Emit<'_>) {
        let own = step.unwrap_or_else(|| self.file_step());
        // Where nothing may be announced, a step of another kind than the coordinates moves nothing.
        let step = self
            .prepared
            .allowed(&own)
            .unwrap_or_else(|| self.file_step());
        self.last_step.insert(line(&own), own);
        emit(BinlogEvent::Commit {
            step,
            committed_micros,
        });
    }

    fn file_step(&self) -> Step {
        Step::File(self.place.file.clone(), self.place.offset)
    }

    fn statement(&mut self, event: &RawEvent<'_>, emit: Emit<'_>) -> Judged<()> {
        let query = event::read_query(event)?;
        self.judge_statement(event, query.schema, query.text, emit)
    }

    fn compressed_statement(&mut self, event: &RawEvent<'_>, emit: Emit<'_>) -> Judged<()> {
        let query = event::read_query(event)?;
        let text = rows::inflate_sized(query.text)?;
        self.judge_statement(event, query.schema, &text, emit)
    }

    fn judge_statement(
        &mut self,
        event: &RawEvent<'_>,
        schema: &[u8],
        text: &[u8],
        emit: Emit<'_>,
    ) -> Judged<()> {
        let verdict = statement::judge(schema, text, &self.watched);
        if self.group.is_none() {
            // Servers without any GTID events.
            self.open(None, u64::from(event.timestamp) * 1_000_000, emit);
        }
        match verdict.clone() {
            Verdict::Begin => {
                self.set_begun();
                Ok(())
            }
            Verdict::Commit => self.end(emit),
            Verdict::Rollback => {
                if self.group.as_ref().is_some_and(Group::begun_to_hand_on) {
                    return Err(taken_back());
                }
                let group = self.take_group()?;
                self.commit(group.step, group.committed_micros, emit);
                Ok(())
            }
            Verdict::Savepoint(name) => {
                if let Some(group) = &mut self.group {
                    group.savepoint(name);
                }
                Ok(())
            }
            Verdict::RollbackTo(name) => match &mut self.group {
                Some(group) => group.roll_back_to(&name).map_err(|TooLate| taken_back()),
                None => Ok(()),
            },
            Verdict::XaStart(_) => {
                self.set_begun();
                if let Some(group) = &mut self.group {
                    group.xa = true;
                }
                Ok(())
            }
            Verdict::XaCommit(xid) => self.resolve(&xid, true, emit),
            Verdict::XaRollback(xid) => self.resolve(&xid, false, emit),
            Verdict::Changes => Err(Stop::Because(
                format!(
                    "is a statement that changes {}, or may do so: {}",
                    self.watched.original,
                    shorten(text)
                ),
                "have all sessions use binlog_format=ROW and start the migration again",
            )),
            Verdict::Redefines(table) => Err(Stop::Because(
                format!("changes what {table} is: {}", shorten(text)),
                "let nobody change the table's definition meanwhile; begin anew with --restart",
            )),
            Verdict::Harmless | Verdict::Reaches => {
                self.watched.reached_indirectly |= verdict == Verdict::Reaches;
                let inside = self.group.as_ref().is_some_and(|group| group.begun);
                if inside { Ok(()) } else { self.end(emit) }
            }
        }
    }

    fn set_begun(&mut self) {
        if let Some(group) = &mut self.group {
            group.begun = true;
        }
    }

    fn take_group(&mut self) -> Judged<Group> {
        let never_began = Corrupt("it ends a transaction that never began");
        self.group.take().ok_or(never_began.into())
    }

    fn prepare(&mut self, event: &RawEvent<'_>, emit: Emit<'_>) -> Judged<()> {
        let (xid, one_phase) = event::read_xa_prepare(event)?;
        let mut group = self.take_group()?;
        self.held_bytes += group.kept_bytes();
        let changes = group.take();
        if one_phase {
            self.held_bytes -= bytes_of_all(&changes);
            self.release(changes, emit);
            self.commit(group.step, group.committed_micros, emit);
            return Ok(());
        }
        self.foreign.prepared(&xid);
        self.announce(emit);
        let step = group.step;
        let before = match &step {
            Some(own) => self.last_step.get(&line(own)).cloned(),
            None => self.last_step.get(&None).cloned(),
        };
        self.prepared.hold(Prepared {
            xid,
            changes,
            step,
            before,
        });
        Ok(())
    }

    fn resolve(&mut self, xid: &Xid, commit: bool, emit: Emit<'_>) -> Judged<()> {
        let Some(prepared) = self.prepared.resolve(xid) else {
            return self.resolve_foreign(xid, emit);
        };
        self.held_bytes = self
            .held_bytes
            .saturating_sub(bytes_of_all(&prepared.changes));
        if commit {
            self.release(prepared.changes, emit);
        }
        if let Some(step @ Step::Gtid(..)) = prepared.step {
            emit(BinlogEvent::Commit {
                step,
                committed_micros: 0,
            });
        }
        self.end(emit)
    }

    fn resolve_foreign(&mut self, xid: &Xid, emit: Emit<'_>) -> Judged<()> {
        if !self.foreign.resolved(xid) {
            return Err(Stop::Because(
                "resolves an XA transaction that was prepared before the stream began, so that it \
                 is not known whether it changed the table"
                    .to_string(),
                "start the migration again when XA RECOVER shows no prepared transaction, by an \
                 account that may see them (XA_RECOVER_ADMIN)",
            ));
        }
        self.end(emit)?;
        self.announce(emit);
        Ok(())
    }

    /// Hands on rows of the changelog table that waited.
    fn announce(&mut self, emit: Emit<'_>) {
        for (hint, value) in self.foreign.release(Instant::now()) {
            emit(BinlogEvent::Changelog { hint, value });
        }
    }

    fn release(&mut self, changes: Vec<RowChange>, emit: Emit<'_>) {
        for change in changes {
            self.changes += 1;
            emit(BinlogEvent::Change(change));
        }
    }

    fn rows(&mut self, event: &RawEvent<'_>, emit: Emit<'_>) -> Judged<()> {
        let Interpreter {
            tables,
            group,
            changes,
            held_bytes,
            foreign,
            ..
        } = self;
        let mut hand_on = |rows: Vec<RowChange>, emit: Emit<'_>| {
            *changes += rows.len() as u64;
            rows.into_iter().map(BinlogEvent::Change).for_each(emit);
        };
        tables.rows(event, &mut |row| {
            let group = group
                .as_mut()
                .ok_or(Corrupt("it stands outside of any transaction"))?;
            match row {
                Row::Changelog { hint, value } => {
                    hand_on(group.take(), emit);
                    for (hint, value) in foreign.changelog(hint, value, Instant::now()) {
                        emit(BinlogEvent::Changelog { hint, value });
                    }
                    Ok(())
                }
                Row::Original(change) => {
                    hand_on(group.push(change), emit);
                    within_bound(*held_bytes + group.kept_bytes())
                }
            }
        })
    }
}

fn taken_back() -> Stop {
    Stop::Because(
        "takes back changes of the table that were handed on".to_string(),
        "start the migration again; do not mix engines or temporary tables with the table in one \
         large transaction",
    )
}

fn bytes_of_all(changes: &[RowChange]) -> usize {
    changes.iter().map(bytes_of).sum()
}

fn within_bound(held_bytes: usize) -> Judged<()> {
    if held_bytes <= HELD_BYTES_MAX {
        return Ok(());
    }
    Err(Stop::Because(
        format!("makes prepared XA transactions hold more than {HELD_BYTES_MAX} bytes of rows"),
        "commit or roll back what XA RECOVER shows; start the migration again",
    ))
}

/// The last step of each line before the coordinates.
fn last_steps(start: &Coordinates) -> HashMap<Option<u32>, Step> {
    match start {
        Coordinates::Gtid(_) => HashMap::new(),
        Coordinates::Maria(position) => position
            .0
            .iter()
            .map(|(domain, (server, sequence))| {
                (Some(*domain), Step::Maria(*domain, *server, *sequence))
            })
            .collect(),
        Coordinates::File { name, position } => {
            HashMap::from([(None, Step::File(name.as_str().into(), *position))])
        }
    }
}

/// The line in which a step stands: MariaDB's domain, or the one there is.
fn line(step: &Step) -> Option<u32> {
    match step {
        Step::Maria(domain, ..) => Some(*domain),
        Step::Gtid(..) | Step::File(..) => None,
    }
}

fn show(step: &Step) -> String {
    match step {
        Step::Gtid(source, number) if source.tag.is_empty() => format!("{}:{number}", source.uuid),
        Step::Gtid(source, number) => format!("{}:{}:{number}", source.uuid, source.tag),
        Step::Maria(domain, server, sequence) => format!("{domain}-{server}-{sequence}"),
        Step::File(file, offset) => format!("{file}:{offset}"),
    }
}

/// A statement's beginning, for a message.
fn shorten(text: &[u8]) -> String {
    const CHARS_MAX: usize = 120;
    crate::mysql::shape(&String::from_utf8_lossy(text), CHARS_MAX)
}

#[cfg(test)]
#[path = "interpreter_tests.rs"]
mod tests;
