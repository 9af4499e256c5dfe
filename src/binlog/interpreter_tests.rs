//! The interpreter against events made by hand.

use super::*;
use crate::binlog::plan::Wishes;
use crate::key::Key;
use crate::names::TableName;
use crate::row::Cell;
use crate::schema::{
    Column, ColumnMap, ColumnPair, KeyColumn, KeyKind, MigrationKey, TableDefinition,
};

/// A stream of events of one file, numbered as the server does.
struct Script {
    interpreter: Interpreter,
    offset: u64,
    events: Vec<BinlogEvent>,
}

const HEADER: u64 = 19;

fn subject() -> Subject {
    let column = |position, name: &str, data_type: &str| Column {
        name: name.to_string(),
        position,
        data_type: data_type.to_string(),
        column_type: data_type.to_string(),
        ..Column::default()
    };
    let (id, a) = (column(0, "id", "int"), column(1, "a", "int"));
    let pair = |column: &Column| ColumnPair {
        source: column.clone(),
        target: column.clone(),
    };
    let key = MigrationKey {
        source_index: "PRIMARY".to_string(),
        target_index: "PRIMARY".to_string(),
        columns: vec![KeyColumn {
            source: id.clone(),
            target: id.clone(),
            descending: false,
            kind: KeyKind::Integer,
        }],
    };
    let map = ColumnMap {
        pairs: vec![pair(&id), pair(&a)],
        ..ColumnMap::default()
    };
    let definition = TableDefinition {
        columns: vec![id, a],
        ..TableDefinition::default()
    };
    Subject {
        watched: Watched {
            original: TableName::new("d", "t"),
            ghost: TableName::new("d", "_t_gho"),
            reached_indirectly: false,
        },
        changelog: TableName::new("d", "_t_ghc"),
        wishes: Wishes::new(&definition, &key, &map, true),
        case_blind: false,
    }
}

impl Script {
    fn new(start: &str) -> Script {
        let start: Coordinates = start.parse().unwrap();
        let offset = match &start {
            Coordinates::File { position, .. } => *position,
            _ => 4,
        };
        Script {
            interpreter: Interpreter::new(subject(), &start, Foreign::default()),
            offset,
            events: Vec::new(),
        }
    }

    fn raw(&mut self, event: &RawEvent<'_>) -> Result<()> {
        let events = &mut self.events;
        self.interpreter
            .handle(event, None, &mut |event| events.push(event))
    }

    fn event(&mut self, kind: u8, data: &[u8]) -> Result<()> {
        let size = HEADER + data.len() as u64 + 4;
        self.offset += size;
        self.raw(&RawEvent {
            kind,
            flags: 0,
            timestamp: 1_700_000_000,
            server_id: 7,
            size: size as u32,
            log_pos: self.offset as u32,
            data,
        })
    }

    fn inner(&mut self, kind: u8, data: &[u8]) -> Result<()> {
        self.raw(&RawEvent {
            kind,
            flags: 0,
            timestamp: 1_700_000_000,
            server_id: 7,
            size: (HEADER + data.len() as u64) as u32,
            log_pos: 0,
            data,
        })
    }

    /// A whole transaction that inserts one row.
    fn insert(&mut self, id: i32) {
        self.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
        self.event(kind::QUERY, &query("d", "BEGIN")).unwrap();
        self.event(kind::TABLE_MAP, &table_map("t", 3)).unwrap();
        self.event(kind::WRITE_ROWS, &write_row(id)).unwrap();
        self.event(kind::XID, &[0; 8]).unwrap();
    }

    fn changes(&self) -> Vec<i64> {
        let id = |event: &BinlogEvent| match event {
            BinlogEvent::Change(change) => match change.after.as_ref()?.key {
                Key(ref cells) => match cells[..] {
                    [Cell::Int(id)] => Some(id),
                    _ => None,
                },
            },
            _ => None,
        };
        self.events.iter().filter_map(id).collect()
    }

    fn last_commit(&self) -> Step {
        let step = |event: &BinlogEvent| match event {
            BinlogEvent::Commit { step, .. } => Some(step.clone()),
            _ => None,
        };
        self.events.iter().rev().find_map(step).unwrap()
    }
}

fn gtid(number: u64) -> Vec<u8> {
    let mut data = vec![1];
    data.extend([0xab; 16]);
    data.extend(number.to_le_bytes());
    data.push(2);
    data.extend([0; 16]);
    data.extend(&1_700_000_000_123_456u64.to_le_bytes()[..7]);
    data
}

fn maria_gtid(sequence: u64, flags: u8) -> Vec<u8> {
    let mut data = sequence.to_le_bytes().to_vec();
    data.extend(0u32.to_le_bytes());
    data.push(flags);
    data.extend([0; 6]);
    data
}

fn query(schema: &str, text: &str) -> Vec<u8> {
    let mut data = vec![0; 8];
    data.push(schema.len() as u8);
    data.extend([0; 4]);
    data.extend(schema.as_bytes());
    data.push(0);
    data.extend(text.as_bytes());
    data
}

/// Two columns of these types.
fn table_map(table: &str, second: u8) -> Vec<u8> {
    let mut data = vec![5, 0, 0, 0, 0, 0, 1, 0, 1];
    data.extend(b"d\0");
    data.push(table.len() as u8);
    data.extend(table.as_bytes());
    data.extend([0, 2, 3, second, 0, 2]);
    data
}

fn write_row(id: i32) -> Vec<u8> {
    let mut data = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0xff, 0];
    data.extend(id.to_le_bytes());
    data.extend(9i32.to_le_bytes());
    data
}

fn xa_prepare(global: &[u8], one_phase: u8) -> Vec<u8> {
    let mut data = vec![one_phase];
    data.extend(1u32.to_le_bytes());
    data.extend((global.len() as u32).to_le_bytes());
    data.extend(0u32.to_le_bytes());
    data.extend(global);
    data
}

fn payload(uncompressed: u8) -> Vec<u8> {
    vec![2, 1, 0, 3, 1, uncompressed, 1, 1, 0, 0]
}

#[track_caller]
fn fails(result: Result<()>, words: &str) {
    let failure = result.unwrap_err();
    assert!(failure.to_string().contains(words), "{failure}");
    assert!(failure.remedy_text().is_some());
}

#[test]
fn offsets_go_on_beyond_four_gigabytes() {
    let start = (1u64 << 32) - 300;
    let mut script = Script::new(&format!("file b.000001:{start}"));
    for id in 0..5 {
        script.insert(id);
    }
    assert!(script.offset > 1 << 32);
    let expected = Step::File("b.000001".into(), script.offset);
    assert_eq!(script.last_commit(), expected);
    // A new file begins anew.
    let mut rotate = 4u64.to_le_bytes().to_vec();
    rotate.extend(b"b.000002");
    script.event(kind::ROTATE, &rotate).unwrap();
    script.offset = 4;
    script.insert(9);
    assert_eq!(
        script.last_commit(),
        Step::File("b.000002".into(), script.offset)
    );
    assert_eq!(script.changes(), [0, 1, 2, 3, 4, 9]);
}

#[test]
fn unknown_events_stop_unless_marked_as_ignorable() {
    let mut script = Script::new("file b.000001:4");
    script.event(kind::IGNORABLE, b"x").unwrap();
    fails(script.event(99, b"x"), "type-99 event before b.000001:");
    script
        .raw(&RawEvent {
            kind: 99,
            flags: 0x80,
            timestamp: 0,
            server_id: 7,
            size: 20,
            log_pos: 0,
            data: b"x",
        })
        .unwrap();
    fails(
        script.event(kind::INCIDENT, &[1, 0]),
        "could not log all changes",
    );
}

#[test]
fn a_compressed_transaction_must_be_whole() {
    let begin = query("d", "BEGIN");
    let size = |data: &[u8]| (HEADER + data.len() as u64) as u8;
    let whole = size(&begin) + size(&[0; 8]);
    let mut script = Script::new("file b.000001:4");
    script.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    script
        .event(kind::TRANSACTION_PAYLOAD, &payload(whole))
        .unwrap();
    let behind = script.offset;
    script.inner(kind::QUERY, &begin).unwrap();
    script.inner(kind::XID, &[0; 8]).unwrap();
    assert_eq!(script.last_commit(), Step::File("b.000001".into(), behind));

    let mut nothing = Script::new("file b.000001:4");
    nothing.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    nothing
        .event(kind::TRANSACTION_PAYLOAD, &payload(whole))
        .unwrap();
    fails(
        nothing.event(kind::ANONYMOUS_GTID, &gtid(0)),
        "compressed transaction are missing",
    );

    let mut longer = Script::new("file b.000001:4");
    longer.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    longer
        .event(kind::TRANSACTION_PAYLOAD, &payload(whole + 9))
        .unwrap();
    longer.inner(kind::QUERY, &begin).unwrap();
    fails(longer.inner(kind::XID, &[0; 8]), "before its last event");
}

#[test]
fn rows_stand_in_transactions_and_are_of_tables_that_were_named() {
    let mut script = Script::new("file b.000001:4");
    script.insert(1);
    fails(
        script.event(kind::WRITE_ROWS, &write_row(2)),
        "outside of any transaction",
    );
    let mut script = Script::new("file b.000001:4");
    script.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    fails(
        script.event(kind::WRITE_ROWS, &write_row(2)),
        "was not named",
    );
}

#[test]
fn a_table_that_differs_only_in_case_is_another() {
    let mut script = Script::new("file b.000001:4");
    script.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    script.event(kind::QUERY, &query("d", "BEGIN")).unwrap();
    script.event(kind::TABLE_MAP, &table_map("T", 3)).unwrap();
    script.event(kind::WRITE_ROWS, &write_row(2)).unwrap();
    script.event(kind::XID, &[0; 8]).unwrap();
    assert!(script.changes().is_empty());
    script.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    // BIGINT where INT was.
    fails(
        script.event(kind::TABLE_MAP, &table_map("t", 8)),
        "not the table that was looked at",
    );
}

#[test]
fn gtids_and_times_are_read() {
    let mut script = Script::new("gtid ");
    script.event(kind::GTID, &gtid(77)).unwrap();
    script.event(kind::QUERY, &query("d", "BEGIN")).unwrap();
    script.event(kind::XID, &[0; 8]).unwrap();
    let source = crate::coordinates::GtidSource {
        uuid: "abababab-abab-abab-abab-abababababab".to_string(),
        tag: String::new(),
    };
    let step = Step::Gtid(source, 77);
    assert_eq!(
        script.events,
        [
            BinlogEvent::Begin {
                step: Some(step.clone())
            },
            BinlogEvent::Commit {
                step,
                committed_micros: 1_700_000_000_123_456
            },
        ]
    );
    fails(script.event(kind::ANONYMOUS_GTID, &gtid(0)), "has no GTID");
}

#[test]
fn a_transaction_without_an_end_stops() {
    let mut script = Script::new("mariadb 0-7-1");
    script.event(kind::MARIA_GTID, &maria_gtid(2, 4)).unwrap();
    fails(
        script.event(kind::MARIA_GTID, &maria_gtid(3, 4)),
        "before the end of the transaction",
    );
}

#[test]
fn no_position_passes_a_prepared_transaction() {
    let mut script = Script::new("mariadb 0-7-1");
    let prepare = |script: &mut Script, sequence, name: &[u8], id| {
        script
            .event(kind::MARIA_GTID, &maria_gtid(sequence, 4 | 64))
            .unwrap();
        script.event(kind::TABLE_MAP, &table_map("t", 3)).unwrap();
        script.event(kind::WRITE_ROWS, &write_row(id)).unwrap();
        script
            .event(kind::QUERY, &query("d", "XA END X'61',X'',1"))
            .unwrap();
        script
            .event(kind::XA_PREPARE, &xa_prepare(name, 0))
            .unwrap();
    };
    let empty = |script: &mut Script, sequence| {
        script
            .event(kind::MARIA_GTID, &maria_gtid(sequence, 4))
            .unwrap();
        script.event(kind::XID, &[0; 8]).unwrap();
    };
    let resolve = |script: &mut Script, sequence, text: &str| {
        script
            .event(kind::MARIA_GTID, &maria_gtid(sequence, 128))
            .unwrap();
        script.event(kind::QUERY, &query("d", text)).unwrap();
    };
    empty(&mut script, 2);
    prepare(&mut script, 3, b"a", 1);
    empty(&mut script, 4);
    prepare(&mut script, 5, b"b", 2);
    empty(&mut script, 6);
    assert_eq!(script.last_commit(), Step::Maria(0, 7, 2));
    assert!(script.changes().is_empty());
    resolve(&mut script, 7, "XA COMMIT X'61',X'',1");
    assert_eq!(script.changes(), [1]);
    assert_eq!(script.last_commit(), Step::Maria(0, 7, 4));
    resolve(&mut script, 8, "XA ROLLBACK X'62',X'',1");
    assert_eq!(script.changes(), [1]);
    assert_eq!(script.last_commit(), Step::Maria(0, 7, 8));
}

#[test]
fn a_file_that_begins_inside_a_transaction_forgets_it() {
    let mut script = Script::new("file b.000001:4");
    script.event(kind::ANONYMOUS_GTID, &gtid(0)).unwrap();
    script.event(kind::QUERY, &query("d", "BEGIN")).unwrap();
    script.event(kind::TABLE_MAP, &table_map("t", 3)).unwrap();
    script.event(kind::WRITE_ROWS, &write_row(2)).unwrap();
    script.event(kind::FORMAT_DESCRIPTION, &[0; 60]).unwrap();
    script.insert(3);
    assert_eq!(script.changes(), [3]);
}

#[test]
fn any_bytes_are_judged_without_breaking() {
    use proptest::prelude::*;
    proptest!(|(events in proptest::collection::vec(
        (0u8..180, proptest::collection::vec(any::<u8>(), 0..60)), 0..40))| {
        let mut script = Script::new("file b.000001:4");
        let _ = script.event(kind::ANONYMOUS_GTID, &gtid(0));
        let _ = script.event(kind::TABLE_MAP, &table_map("t", 3));
        for (kind, data) in events {
            if script.event(kind, &data).is_err() {
                break;
            }
        }
    });
}
