//! Decoding of events that live servers wrote, and of nonsense.

use proptest::prelude::*;

use super::*;
use crate::binlog::event::kind;
use crate::binlog::rows::{self, Slot, Wanted, cell};
use crate::binlog::table_map;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
        .collect()
}

/// All columns of all rows, after images, of events as they came without their table's number.
fn decode(
    map: &str,
    kind: u8,
    rows: &str,
    unsigned: &[usize],
    padded: &[usize],
) -> Vec<Vec<Option<Cell>>> {
    let map = bytes(map);
    let wires = table_map::read_columns(table_map::read(&map).unwrap().columns).unwrap();
    let columns = wires.iter().enumerate().map(|(index, wire)| {
        let bytes = match wire {
            Wire::Fixed(bytes) if padded.contains(&index) => *bytes,
            _ => 0,
        };
        let decoder = ColumnDecoder {
            wire: *wire,
            unsigned: unsigned.contains(&index),
            padded: bytes,
            bytes_max: 1000,
        };
        (decoder, true)
    });
    let wanted = Wanted {
        columns: columns.collect(),
    };
    let data = bytes(rows);
    let event = rows::read(kind, &data).unwrap();
    let mut rows = event.rows(&wanted, &wanted);
    let mut before = vec![Slot::Absent; wires.len()];
    let mut after = before.clone();
    let mut images = Vec::new();
    while rows.next(&mut before, &mut after).unwrap() {
        let cells = after.iter().zip(&wanted.columns);
        images.push(
            cells
                .map(|(slot, (decoder, _))| cell(*slot, decoder).unwrap())
                .collect(),
        );
    }
    images
}

fn text(text: &str) -> Cell {
    Cell::Bytes(text.as_bytes().to_vec())
}

fn zero_timestamp() -> Cell {
    Cell::Timestamp {
        seconds: 0,
        micros: 0,
    }
}

fn zero_datetime() -> Cell {
    Cell::DateTime {
        year: 0,
        month: 0,
        day: 0,
        hour: 0,
        minute: 0,
        second: 0,
        micros: 0,
    }
}

fn last_datetime(micros: u32) -> Cell {
    Cell::DateTime {
        year: 9999,
        month: 12,
        day: 31,
        hour: 23,
        minute: 59,
        second: 59,
        micros,
    }
}

/// Written by MySQL 9.7: INT, MEDIUMINT, TIME(2), DECIMAL(20,3), YEAR, BINARY(4), ENUM, SET, BIT(10),
/// TIMESTAMP(3), DATETIME(6), VARCHAR(300), BLOB, FLOAT, DOUBLE, DATE, BIGINT UNSIGNED.
#[test]
fn what_mysql_wrote_is_read() {
    let map = "7C010000000001000E69745F7265635F31363233375F300001740011030913F60DFEFEFE1011120FFC04050A\
               0812021403FE04F701F80102010306B004020408FEFF0101011202053F01FCFF00";
    let rows = "7C01000000001100020011FFFFFF000000010000000000807F5D339D7F439EB1CA484078FF82000135020503\
               FF69C88EA804CEFEF3FF7EFB0F423F0200C3A9020000FFCDCCCC3D00000000000004C05FCA0FFFFFFFFFFFFF\
               FFFF42700102000000B46EFB0080000000000000000000FF0400000001000001000000000000800000000000\
               00000000000000";
    let first = [
        Cell::Int(1),
        Cell::Int(-8_388_608),
        Cell::Time {
            micros: -36_672_990_000,
        },
        Cell::Decimal("-12345678901234567.125".into()),
        Cell::UInt(0),
        Cell::Bytes(b"5\0\0\0".to_vec()),
        Cell::UInt(2),
        Cell::UInt(5),
        Cell::UInt(1023),
        Cell::Timestamp {
            seconds: 1_774_751_400,
            micros: 123_000,
        },
        last_datetime(999_999),
        text("é"),
        Cell::Bytes(vec![0, 255]),
        Cell::Float(0.1),
        Cell::Double(-2.5),
        Cell::Date {
            year: 2021,
            month: 2,
            day: 31,
        },
        Cell::UInt(u64::MAX),
    ];
    let second = [
        Cell::Int(2),
        Cell::Null,
        Cell::Time {
            micros: 3_020_399_000_000,
        },
        Cell::Decimal("0.000".into()),
        Cell::UInt(2155),
        Cell::Bytes(b"\0\0\0\x01".to_vec()),
        Cell::Null,
        Cell::UInt(0),
        Cell::UInt(1),
        zero_timestamp(),
        zero_datetime(),
        text(""),
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Date {
            year: 0,
            month: 0,
            day: 0,
        },
        Cell::Null,
    ];
    let images = decode(map, kind::WRITE_ROWS, rows, &[16], &[5]);
    assert_eq!(images, [first.map(Some), second.map(Some)]);
}

/// Written by MariaDB 10.11 with mysql56_temporal_format=OFF: INT, TIME, TIMESTAMP, DATETIME,
/// VARCHAR(200) COMPRESSED, TEXT COMPRESSED, UUID.
#[test]
fn what_mariadb_wrote_is_read() {
    let map =
        "1A000000000001000E69745F7265635F31363837395F310001740007030B070C8D8CFE05C90002FE107E";
    let rows = "1A00000000000100077F80010000000875FEA88EC8697787D105F15A00000989C84B4C4A1C16100006000073\
               686F72740F123E4567E89B12D3A4564266141740C002000000A7F57F000000000000000000000000000000";
    let first = [
        Cell::Int(1),
        Cell::Time {
            micros: -36_672_000_000,
        },
        Cell::Timestamp {
            seconds: 1_774_751_400,
            micros: 0,
        },
        last_datetime(0),
        text(&"ab".repeat(100)),
        text("short"),
        Cell::Bytes(bytes("123E4567E89B12D3A456426614174000")),
    ];
    let second = [
        Cell::Int(2),
        Cell::Time {
            micros: 3_020_399_000_000,
        },
        zero_timestamp(),
        zero_datetime(),
        text(""),
        text(""),
        Cell::Null,
    ];
    let images = decode(map, kind::WRITE_ROWS_V1, rows, &[], &[6]);
    assert_eq!(images, [first.map(Some), second.map(Some)]);
}

#[test]
fn what_is_compressed_stays_within_its_bound() {
    // 100,000 bytes promised where the column has 1,000.
    let promise = [0x83, 0x01, 0x86, 0xa0, 0];
    assert!(decompress(&promise, 1000).is_err());
    assert!(decompress(&[0x81, 2, 0], 1000).is_err());
    assert_eq!(decompress(&[0, 7], 1000), Ok(vec![7]));
    assert_eq!(decompress(&[], 1000), Ok(vec![]));
}

proptest! {
    /// Whatever the bytes, every form of value ends in a cell or an error.
    #[test]
    fn any_bytes_give_a_cell_or_an_error(
        kind in any::<u8>(),
        metadata in proptest::collection::vec(any::<u8>(), 2),
        data in proptest::collection::vec(any::<u8>(), 0..80),
        unsigned in any::<bool>(),
    ) {
        let Ok(wire) = Wire::read(kind, &mut Cursor::new(&metadata)) else {
            return Ok(());
        };
        let decoder = ColumnDecoder { wire, unsigned, padded: 0, bytes_max: 1000 };
        let _ = decoder.decode(&data);
        let mut cursor = Cursor::new(&data);
        let value = match wire.fixed_bytes() {
            Some(bytes) => cursor.take(bytes),
            None => cursor.sized(wire.length_bytes()),
        };
        if let Ok(value) = value {
            let _ = decoder.decode(value);
        }
    }

    /// DECIMAL written as the server does it, digit group by digit group.
    #[test]
    fn decimals_are_read_back(
        precision in 1u8..=65,
        scale in 0u8..=38,
        digits in proptest::collection::vec(0u8..=9, 65),
        negative in any::<bool>(),
    ) {
        let scale = scale.min(precision);
        let digits: String = digits[..usize::from(precision)].iter().map(|d| char::from(b'0' + d)).collect();
        let (whole, fraction) = digits.split_at(usize::from(precision - scale));
        let zero = digits.bytes().all(|digit| digit == b'0');
        let mut packed: Vec<u8> = Vec::new();
        for group in groups(whole, true).into_iter().chain(groups(fraction, false)) {
            let number: u32 = group.parse().unwrap();
            packed.extend(&number.to_be_bytes()[4 - DIGIT_BYTES[group.len()]..]);
        }
        if negative {
            packed.iter_mut().for_each(|byte| *byte = !*byte);
        }
        packed[0] ^= 0x80;
        let whole = whole.trim_start_matches('0');
        let mut expected = String::new();
        expected.push_str(if negative && !zero { "-" } else { "" });
        expected.push_str(if whole.is_empty() { "0" } else { whole });
        if scale > 0 {
            expected.push('.');
            expected.push_str(fraction);
        }
        prop_assert_eq!(decimal(&packed, precision, scale), Ok(expected));
        prop_assert_eq!(packed.len(), decimal_bytes(precision, scale));
    }
}

/// Nines, the incomplete group before the first or behind the last.
fn groups(digits: &str, incomplete_first: bool) -> Vec<String> {
    let rest = digits.len() % 9;
    let cut = if incomplete_first {
        rest
    } else {
        digits.len() - rest
    };
    let (head, tail) = digits.split_at(cut);
    [head, tail]
        .into_iter()
        .flat_map(|part| part.as_bytes().chunks(9))
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect()
}
