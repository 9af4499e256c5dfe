//! Rows events: one statement's changed rows of one table.

use std::borrow::Cow;

use super::bytes::{Bitmap, Corrupt, Cursor, Read};
use super::decode::{ColumnDecoder, inflate};
use super::event::kind;
use crate::row::Cell;

/// What happened to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Rows came.
    Write,
    /// Rows changed.
    Update,
    /// Rows changed, and JSON columns may come as differences.
    PartialUpdate,
    /// Rows went.
    Delete,
}

/// The form of a rows event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    action: Action,
    extra_header: bool,
    compressed: bool,
}

fn form(kind: u8) -> Option<Form> {
    let of = |action, extra_header, compressed| {
        Some(Form {
            action,
            extra_header,
            compressed,
        })
    };
    match kind {
        kind::WRITE_ROWS_V1 => of(Action::Write, false, false),
        kind::UPDATE_ROWS_V1 => of(Action::Update, false, false),
        kind::DELETE_ROWS_V1 => of(Action::Delete, false, false),
        kind::WRITE_ROWS => of(Action::Write, true, false),
        kind::UPDATE_ROWS => of(Action::Update, true, false),
        kind::DELETE_ROWS => of(Action::Delete, true, false),
        kind::PARTIAL_UPDATE_ROWS => of(Action::PartialUpdate, true, false),
        kind::MARIA_WRITE_ROWS_COMPRESSED_V1 => of(Action::Write, false, true),
        kind::MARIA_UPDATE_ROWS_COMPRESSED_V1 => of(Action::Update, false, true),
        kind::MARIA_DELETE_ROWS_COMPRESSED_V1 => of(Action::Delete, false, true),
        kind::MARIA_WRITE_ROWS_COMPRESSED => of(Action::Write, true, true),
        kind::MARIA_UPDATE_ROWS_COMPRESSED => of(Action::Update, true, true),
        kind::MARIA_DELETE_ROWS_COMPRESSED => of(Action::Delete, true, true),
        _ => None,
    }
}

/// Whether a kind of event is a rows event.
pub fn is_rows(kind: u8) -> bool {
    form(kind).is_some()
}

/// The table's number: all that is read of other tables' events.
pub fn table_id(data: &[u8]) -> Read<u64> {
    Cursor::new(data).uint(6)
}

/// A rows event taken apart as far as its rows.
#[derive(Clone, Debug)]
pub struct RowsEvent<'a> {
    /// What happened.
    pub action: Action,
    /// How many columns the table has.
    pub columns: usize,
    before: Option<Bitmap<'a>>,
    after: Option<Bitmap<'a>>,
    body: Cow<'a, [u8]>,
}

/// MariaDB's compressed rows may become this long: the largest event that the servers write.
const INFLATED_MAX: u64 = 1 << 30;

/// Reads a rows event; `kind` must be one ([`is_rows`]).
pub fn read(kind: u8, data: &[u8]) -> Read<RowsEvent<'_>> {
    let form = form(kind).ok_or(Corrupt("it is no rows event"))?;
    let mut cursor = Cursor::new(data);
    cursor.uint(6)?;
    cursor.u16()?;
    if form.extra_header {
        // The length counts its own two bytes.
        let length = usize::from(cursor.u16()?);
        cursor.take(length.saturating_sub(2))?;
    }
    let columns = cursor.packed_len()?;
    let first = Bitmap::read(&mut cursor, columns)?;
    let (before, after) = match form.action {
        Action::Write => (None, Some(first)),
        Action::Delete => (Some(first), None),
        Action::Update | Action::PartialUpdate => {
            (Some(first), Some(Bitmap::read(&mut cursor, columns)?))
        }
    };
    let body = if form.compressed {
        Cow::Owned(inflate_sized(cursor.rest())?)
    } else {
        Cow::Borrowed(cursor.rest())
    };
    Ok(RowsEvent {
        action: form.action,
        columns,
        before,
        after,
        body,
    })
}

/// Inflates MariaDB's compressed rows and statements: a byte that says how and in how many bytes the
/// length follows, the length highest byte first, zlib.
pub fn inflate_sized(data: &[u8]) -> Read<Vec<u8>> {
    let mut cursor = Cursor::new(data);
    let head = cursor.u8()?;
    if head & 0xf0 != 0x80 {
        return Err(Corrupt("rows compressed in a way that is not known"));
    }
    let length = cursor.uint_be(usize::from(head & 7))?;
    if length > INFLATED_MAX {
        return Err(Corrupt("compressed rows longer than an event can be"));
    }
    inflate(cursor.rest(), length, false)
}

/// What is read of one image: a decoder for each column, and which columns are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Each column of the table with whether its value is wanted.
    pub columns: Vec<(ColumnDecoder, bool)>,
}

/// A column's place in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Not wanted, or the image has it not.
    Absent,
    /// NULL.
    Null,
    /// The bytes of its value, not decoded yet.
    Value(&'a [u8]),
}

/// The wanted values of one image, by column.
pub type Image<'a> = Vec<Slot<'a>>;

/// The cell in a slot; `None` if it is absent.
#[inline]
pub fn cell(slot: Slot<'_>, decoder: &ColumnDecoder) -> Read<Option<Cell>> {
    match slot {
        Slot::Absent => Ok(None),
        Slot::Null => Ok(Some(Cell::Null)),
        Slot::Value(bytes) => decoder.decode(bytes).map(Some),
    }
}

/// The rows of an event, one after the other.
#[derive(Debug)]
pub struct Rows<'a> {
    cursor: Cursor<'a>,
    partial: bool,
    before: Option<Plan>,
    after: Option<Plan>,
    json_columns: usize,
}

/// The columns that an image has, in order.
#[derive(Debug)]
struct Plan {
    steps: Vec<Step>,
}

/// One of them: what has to be known to take it or to pass over it.
#[derive(Debug)]
struct Step {
    place: usize,
    /// Bytes of each value; `None`: so many bytes before it tell.
    fixed: Option<usize>,
    length_bytes: usize,
    wanted: bool,
}

impl Plan {
    fn new(present: &Bitmap<'_>, wanted: &Wanted) -> Plan {
        let steps = wanted
            .columns
            .iter()
            .enumerate()
            .filter(|(place, _)| present.is_set(*place))
            .map(|(place, (decoder, wanted))| Step {
                place,
                fixed: decoder.wire.fixed_bytes(),
                length_bytes: decoder.wire.length_bytes(),
                wanted: *wanted,
            })
            .collect();
        Plan { steps }
    }

    fn read<'a>(&self, cursor: &mut Cursor<'a>, image: &mut Image<'a>) -> Read<()> {
        // The bits count only columns that are present.
        let nulls = Bitmap::read(cursor, self.steps.len())?;
        for (bit, step) in self.steps.iter().enumerate() {
            let slot = if nulls.is_set(bit) {
                Slot::Null
            } else {
                Slot::Value(match step.fixed {
                    Some(bytes) => cursor.take(bytes)?,
                    None => cursor.sized(step.length_bytes)?,
                })
            };
            if step.wanted
                && let Some(place) = image.get_mut(step.place)
            {
                *place = slot;
            }
        }
        Ok(())
    }
}

impl RowsEvent<'_> {
    /// Whether its rows have an image of before.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Whether its rows have an image of after.
    pub fn has_after(&self) -> bool {
        self.after.is_some()
    }

    /// Its rows, of which `before` and `after` are read. The table must have as many columns as those.
    pub fn rows(&self, before: &Wanted, after: &Wanted) -> Rows<'_> {
        Rows {
            cursor: Cursor::new(&self.body),
            partial: self.action == Action::PartialUpdate,
            before: self.before.as_ref().map(|bits| Plan::new(bits, before)),
            after: self.after.as_ref().map(|bits| Plan::new(bits, after)),
            json_columns: after
                .columns
                .iter()
                .filter(|(decoder, _)| matches!(decoder.wire, super::wire::Wire::Json(_)))
                .count(),
        }
    }
}

impl<'a> Rows<'a> {
    /// Reads the next row into the two images, which are emptied first; false at the end.
    pub fn next(&mut self, before: &mut Image<'a>, after: &mut Image<'a>) -> Read<bool> {
        if self.cursor.is_empty() {
            return Ok(false);
        }
        before.fill(Slot::Absent);
        after.fill(Slot::Absent);
        let left = self.cursor.rest().len();
        if let Some(plan) = &self.before {
            plan.read(&mut self.cursor, before)?;
        }
        if let Some(plan) = &self.after {
            if self.partial {
                skip_partial_header(&mut self.cursor, self.json_columns)?;
            }
            plan.read(&mut self.cursor, after)?;
        }
        if self.cursor.rest().len() == left {
            // A table without a single column in the image: nothing would ever end.
            return Err(Corrupt("a row of no bytes"));
        }
        Ok(true)
    }
}

/// Before a partial after image: options, and one bit for each JSON column that tells whether it comes
/// as differences. A difference lies like a value, behind its length in four bytes, so who reads no
/// JSON need not know.
fn skip_partial_header(cursor: &mut Cursor<'_>, json_columns: usize) -> Read<()> {
    const PARTIAL_JSON: u64 = 1;
    let options = cursor.packed()?;
    if options & !PARTIAL_JSON != 0 {
        return Err(Corrupt("row value options that are not known"));
    }
    if options & PARTIAL_JSON != 0 {
        Bitmap::read(cursor, json_columns)?;
    }
    Ok(())
}
