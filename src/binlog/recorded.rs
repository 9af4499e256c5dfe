//! A binlog file, read without a server by the same interpreter as the stream: for measuring.

use super::bytes::{Corrupt, Cursor, Read};
use super::event::{RawEvent, kind};
use super::foreign::Foreign;
use super::interpreter::{Emit, Interpreter};
use super::plan::Wishes;
use super::statement::Watched;
use super::tables::Subject;
use crate::coordinates::Coordinates;
use crate::failure::{Failure, Result};
use crate::names::Names;
use crate::schema::{ColumnMap, MigrationKey, TableDefinition};

/// What every binlog file begins with.
const MAGIC: &[u8] = b"\xfebin";
/// Bytes of an event's header.
const HEADER: usize = 19;
/// Bytes of a checksum, and the algorithm's number for CRC32 in the format description.
const CRC32: (usize, u8) = (4, 1);

/// The events of a file, and who reads them.
#[derive(Debug)]
pub struct Recorded<'a> {
    events: Vec<RawEvent<'a>>,
    interpreter: Interpreter,
}

impl<'a> Recorded<'a> {
    /// Takes a file apart; `images` as in [`super::Feed`].
    ///
    /// # Errors
    /// It is no whole binlog file.
    pub fn new(
        file: &'a [u8],
        names: &Names,
        definition: &TableDefinition,
        key: &MigrationKey,
        map: &ColumnMap,
        images: bool,
    ) -> Result<Recorded<'a>> {
        let subject = Subject {
            watched: Watched {
                original: names.original.clone(),
                ghost: names.ghost.clone(),
                reached_indirectly: false,
            },
            changelog: names.changelog.clone(),
            wishes: Wishes::new(definition, key, map, images),
            case_blind: false,
        };
        let start = Coordinates::File {
            name: "recorded.000001".to_string(),
            position: MAGIC.len() as u64,
        };
        let events = split(file)
            .map_err(|Corrupt(why)| Failure::failed(format!("this is no binlog file: {why}")))?;
        Ok(Recorded {
            events,
            interpreter: Interpreter::new(subject, &start, Foreign::default()),
        })
    }

    /// Reads all events, from the first to the last; may be done again and again.
    ///
    /// # Errors
    /// As [`Interpreter::handle`].
    pub fn read(&mut self, emit: Emit<'_>) -> Result<()> {
        self.events
            .iter()
            .try_for_each(|event| self.interpreter.handle(event, None, emit))
    }
}

fn split(file: &[u8]) -> Read<Vec<RawEvent<'_>>> {
    let mut cursor = Cursor::new(file);
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err(Corrupt("it does not begin as one"));
    }
    let mut checksum = 0;
    let mut events = Vec::new();
    while !cursor.is_empty() {
        let mut header = Cursor::new(cursor.take(HEADER)?);
        let (timestamp, kind, server_id) = (header.u32()?, header.u8()?, header.u32()?);
        let (size, log_pos, flags) = (header.u32()?, header.u32()?, header.u16()?);
        let length = (size as usize).checked_sub(HEADER);
        let data = cursor.take(length.ok_or(Corrupt("an event shorter than its header"))?)?;
        if kind == kind::FORMAT_DESCRIPTION {
            let algorithm = data.len().checked_sub(CRC32.0 + 1).map(|at| data[at]);
            checksum = match algorithm {
                Some(algorithm) if algorithm == CRC32.1 => CRC32.0,
                _ => 0,
            };
        }
        let length = data.len().checked_sub(checksum);
        events.push(RawEvent {
            kind,
            flags,
            timestamp,
            server_id,
            size,
            log_pos,
            data: &data[..length.ok_or(Corrupt("an event shorter than its checksum"))?],
        });
    }
    Ok(events)
}
