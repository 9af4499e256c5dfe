//! Events as they stand in the binlog: their header, their kinds, and the small ones' contents.
//!
//! Layouts: MySQL's internals manual ("Binlog Event") and `libbinlogevents`, MariaDB's knowledge base
//! ("Replication Protocol"); all of them were seen on live servers by the tests.

use super::bytes::{Corrupt, Cursor, Read};
use crate::coordinates::{GtidSource, Step};

/// Kinds of events.
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const APPEND_BLOCK: u8 = 9;
    pub const DELETE_FILE: u8 = 11;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const BEGIN_LOAD_QUERY: u8 = 17;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const MARIA_ANNOTATE_ROWS: u8 = 160;
    pub const MARIA_CHECKPOINT: u8 = 161;
    pub const MARIA_GTID: u8 = 162;
    pub const MARIA_GTID_LIST: u8 = 163;
    pub const MARIA_START_ENCRYPTION: u8 = 164;
    pub const MARIA_QUERY_COMPRESSED: u8 = 165;
    pub const MARIA_WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub const MARIA_UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub const MARIA_DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub const MARIA_WRITE_ROWS_COMPRESSED: u8 = 169;
    pub const MARIA_UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub const MARIA_DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// The event was made by the server for this stream and stands in no file.
const FLAG_ARTIFICIAL: u16 = 0x20;
/// Whoever does not know the event may skip it.
const FLAG_IGNORABLE: u16 = 0x80;

/// One event: the fields of its header that matter, and its contents without checksum.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    /// What it is; see [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u16,
    /// When its statement began, seconds since 1970.
    pub timestamp: u32,
    /// Where it was first executed.
    pub server_id: u32,
    /// Its bytes in the binlog, header included.
    pub size: u32,
    /// The lower 32 bits of the offset behind it; 0 for one that stands in no file by itself.
    pub log_pos: u32,
    /// What follows the header.
    pub data: &'a [u8],
}

impl RawEvent<'_> {
    /// Whether it stands in the binlog file, so that its offset counts.
    pub fn in_file(&self) -> bool {
        self.log_pos != 0
            && self.flags & FLAG_ARTIFICIAL == 0
            && !matches!(self.kind, kind::HEARTBEAT | kind::HEARTBEAT_V2)
    }

    /// Whether it shows that the stream is alive: anything but what every stream begins with.
    pub fn is_alive(&self) -> bool {
        self.in_file() || matches!(self.kind, kind::HEARTBEAT | kind::HEARTBEAT_V2)
    }

    /// Whether its writer says that whoever does not know it may skip it.
    pub fn ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }
}

/// The event's name for messages.
pub fn name(kind: u8) -> String {
    let known = match kind {
        kind::QUERY => "QUERY",
        kind::EXECUTE_LOAD_QUERY => "EXECUTE_LOAD_QUERY",
        kind::TABLE_MAP => "TABLE_MAP",
        kind::WRITE_ROWS | kind::WRITE_ROWS_V1 => "WRITE_ROWS",
        kind::UPDATE_ROWS | kind::UPDATE_ROWS_V1 => "UPDATE_ROWS",
        kind::DELETE_ROWS | kind::DELETE_ROWS_V1 => "DELETE_ROWS",
        kind::PARTIAL_UPDATE_ROWS => "PARTIAL_UPDATE_ROWS",
        kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED => {
            "compressed rows"
        }
        kind::MARIA_QUERY_COMPRESSED => "compressed QUERY",
        kind::INCIDENT => "INCIDENT",
        kind::GTID | kind::GTID_TAGGED | kind::MARIA_GTID => "GTID",
        kind::ANONYMOUS_GTID => "ANONYMOUS_GTID",
        kind::XID => "XID",
        kind::XA_PREPARE => "XA_PREPARE",
        kind::TRANSACTION_PAYLOAD => "TRANSACTION_PAYLOAD",
        kind::ROTATE => "ROTATE",
        _ => "",
    };
    match known {
        "" => format!("type-{kind}"),
        known => format!("{known} (type {kind})"),
    }
}

/// What a GTID event of either family says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// The transaction's GTID; `None` if it is anonymous.
    pub step: Option<Step>,
    /// When it was committed, microseconds since 1970.
    pub committed_micros: u64,
    /// MariaDB: no BEGIN event follows, this is it.
    pub begins: bool,
    /// MariaDB: this is the beginning of an XA transaction that will be prepared.
    pub prepares: bool,
}

/// Reads MySQL's GTID and ANONYMOUS_GTID events.
pub fn read_gtid(event: &RawEvent<'_>) -> Read<GtidEvent> {
    let mut cursor = Cursor::new(event.data);
    cursor.u8()?;
    let uuid = uuid_text(cursor.take(16)?);
    let number = cursor.u64()?;
    let mut committed_micros = u64::from(event.timestamp) * 1_000_000;
    // Older servers end here or after the two logical clocks (typecode 2), 8.0.1 added times.
    if cursor.u8() == Ok(2)
        && cursor.take(16).is_ok()
        && let Ok(time) = cursor.uint(7)
    {
        // The highest bit says that the time at the original server follows.
        committed_micros = time & ((1 << 55) - 1);
    }
    let source = GtidSource {
        uuid,
        tag: String::new(),
    };
    Ok(GtidEvent {
        step: (event.kind == kind::GTID).then_some(Step::Gtid(source, number)),
        committed_micros,
        begins: false,
        prepares: false,
    })
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

/// Reads a tagged GTID event, whose self-describing format the driver's library knows.
pub fn tagged_gtid(
    parsed: &mysql_async::binlog::events::GtidEvent,
    event: &RawEvent<'_>,
) -> GtidEvent {
    let source = GtidSource {
        uuid: uuid_text(&parsed.sid()),
        tag: parsed.tag().map(ToString::to_string).unwrap_or_default(),
    };
    let time = parsed.immediate_commit_timestamp();
    GtidEvent {
        step: Some(Step::Gtid(source, parsed.gno())),
        committed_micros: match time {
            0 => u64::from(event.timestamp) * 1_000_000,
            time => time,
        },
        begins: false,
        prepares: false,
    }
}

/// Reads MariaDB's GTID event.
pub fn read_maria_gtid(event: &RawEvent<'_>) -> Read<GtidEvent> {
    /// The group is one statement without COMMIT.
    const STANDALONE: u8 = 1;
    /// The group is the first half of an XA transaction.
    const PREPARED_XA: u8 = 64;
    /// The group is the second half of an XA transaction.
    const COMPLETED_XA: u8 = 128;
    let mut cursor = Cursor::new(event.data);
    let sequence = cursor.u64()?;
    let domain = cursor.u32()?;
    let flags = cursor.u8()?;
    Ok(GtidEvent {
        step: Some(Step::Maria(domain, event.server_id, sequence)),
        committed_micros: u64::from(event.timestamp) * 1_000_000,
        begins: flags & (STANDALONE | COMPLETED_XA) == 0,
        prepares: flags & PREPARED_XA != 0,
    })
}

/// A statement in the binlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The connection that ran it.
    pub thread_id: u32,
    /// The default schema it ran in.
    pub schema: &'a [u8],
    /// Its text, in the client's character set.
    pub text: &'a [u8],
}

/// Reads a QUERY event, or the beginning of an EXECUTE_LOAD_QUERY event, whose own fields stand
/// between.
pub fn read_query<'a>(event: &RawEvent<'a>) -> Read<Query<'a>> {
    let mut cursor = Cursor::new(event.data);
    let thread_id = cursor.u32()?;
    cursor.u32()?;
    let schema_length = usize::from(cursor.u8()?);
    cursor.u16()?;
    let status_length = usize::from(cursor.u16()?);
    if event.kind == kind::EXECUTE_LOAD_QUERY {
        cursor.take(13)?;
    }
    cursor.take(status_length)?;
    let schema = cursor.take(schema_length)?;
    cursor.u8()?;
    Ok(Query {
        thread_id,
        schema,
        text: cursor.rest(),
    })
}

/// Where a ROTATE event points: file name and offset.
///
/// MariaDB's first, artificial one has four bytes of checksum behind the name, since the driver cannot
/// yet know of checksums; the name ends with its number, so the digits tell where it ends.
pub fn read_rotate(event: &RawEvent<'_>) -> Read<(String, u64)> {
    let mut cursor = Cursor::new(event.data);
    let position = cursor.u64()?;
    let name = cursor.rest();
    let dot = name
        .iter()
        .rposition(|byte| *byte == b'.')
        .ok_or(Corrupt("a binlog's name without a number"))?;
    let digits = name[dot + 1..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    Ok((
        String::from_utf8_lossy(&name[..dot + 1 + digits]).into_owned(),
        position,
    ))
}

/// How many bytes of events a TRANSACTION_PAYLOAD event holds.
pub fn payload_size(event: &RawEvent<'_>) -> Read<u64> {
    /// The field that holds the size before compression.
    const UNCOMPRESSED_SIZE: u64 = 3;
    let mut cursor = Cursor::new(event.data);
    let mut size = None;
    loop {
        let field = cursor.packed()?;
        if field == 0 {
            return size.ok_or(Corrupt("it does not say how many bytes it holds"));
        }
        let length = cursor.packed_len()?;
        let mut value = Cursor::new(cursor.take(length)?);
        if field == UNCOMPRESSED_SIZE {
            size = Some(value.packed()?);
        }
    }
}

/// The identity of an XA transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    /// The format number.
    pub format: u64,
    /// The global part.
    pub global: Vec<u8>,
    /// The branch.
    pub branch: Vec<u8>,
}

/// Reads XA_PREPARE: the transaction, and whether it is committed at once (`ONE PHASE`).
pub fn read_xa_prepare(event: &RawEvent<'_>) -> Read<(Xid, bool)> {
    let mut cursor = Cursor::new(event.data);
    let one_phase = cursor.u8()? != 0;
    let format = u64::from(cursor.u32()?);
    let (global, branch) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let xid = Xid {
        format,
        global: cursor.take(global)?.to_vec(),
        branch: cursor.take(branch)?.to_vec(),
    };
    Ok((xid, one_phase))
}
