//! Values of the migration key: identity, order, and the bytes that windows are keyed by.

use std::cmp::Ordering;

use crate::row::Cell;

/// Bytes as hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values of the migration key's columns, in the key's order. None is NULL.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(pub Vec<Cell>);

impl Key {
    /// Compares column by column in the direction of the index (`true` = descending). `None` where a
    /// kind has no order in memory.
    ///
    /// ```
    /// use std::cmp::Ordering;
    /// use changeling::{key::Key, row::Cell};
    /// let key = |a, b| Key(vec![Cell::Int(a), Cell::Int(b)]);
    /// assert_eq!(key(1, 2).compare(&key(1, 3), &[]), Some(Ordering::Less));
    /// assert_eq!(key(1, 2).compare(&key(1, 3), &[false, true]), Some(Ordering::Greater));
    /// assert_eq!(key(1, 2).compare(&Key(vec![Cell::Null]), &[]), None);
    /// ```
    pub fn compare(&self, other: &Key, descending: &[bool]) -> Option<Ordering> {
        for (index, (a, b)) in self.0.iter().zip(&other.0).enumerate() {
            let mut order = a.compare(b)?;
            if descending.get(index).copied().unwrap_or(false) {
                order = order.reverse();
            }
            if order != Ordering::Equal {
                return Some(order);
            }
        }
        Some(Ordering::Equal)
    }

    /// About how many bytes the key holds in memory.
    pub fn heap_bytes(&self) -> usize {
        self.0
            .iter()
            .map(|cell| std::mem::size_of::<Cell>() + cell.heap_bytes())
            .sum()
    }
}

impl Key {
    /// Compact bytes that identify the key: equal keys, equal bytes; what windows are keyed by.
    ///
    /// ```
    /// use changeling::{key::Key, row::Cell};
    /// let key = Key(vec![Cell::UInt(7), Cell::Bytes(b"x".to_vec())]);
    /// assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
    /// ```
    pub fn to_bytes(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(self.0.len() * 9);
        for cell in &self.0 {
            write_cell(&mut out, cell);
        }
        out.into_boxed_slice()
    }

    /// The key that [`Key::to_bytes`] wrote; `None` for other bytes.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Key> {
        let mut cells = Vec::new();
        while !bytes.is_empty() {
            cells.push(read_cell(&mut bytes)?);
        }
        Some(Key(cells))
    }
}

fn write_cell(out: &mut Vec<u8>, cell: &Cell) {
    let mut number = |tag: u8, value: u64| {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    };
    match cell {
        Cell::Null => out.push(0),
        Cell::Int(value) => number(1, value.cast_unsigned()),
        Cell::UInt(value) => number(2, *value),
        Cell::Float(value) => number(3, u64::from(value.to_bits())),
        Cell::Double(value) => number(4, value.to_bits()),
        Cell::Decimal(text) => write_bytes(out, 5, text.as_bytes()),
        Cell::Bytes(bytes) => write_bytes(out, 6, bytes),
        Cell::Date { year, month, day } => number(
            7,
            u64::from(*year) << 16 | u64::from(*month) << 8 | u64::from(*day),
        ),
        Cell::DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } => {
            number(
                8,
                u64::from(*year) << 40
                    | u64::from(*month) << 32
                    | u64::from(*day) << 24
                    | u64::from(*hour) << 16
                    | u64::from(*minute) << 8
                    | u64::from(*second),
            );
            out.extend_from_slice(&micros.to_le_bytes());
        }
        Cell::Time { micros } => number(9, micros.cast_unsigned()),
        Cell::Timestamp { seconds, micros } => {
            number(10, *seconds);
            out.extend_from_slice(&micros.to_le_bytes());
        }
        Cell::Json(bytes) => write_bytes(out, 11, bytes),
    }
}

fn write_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    // A key has at most 3072 bytes (InnoDB), a JSON value is no key: 32 bits are ample.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn read_cell(bytes: &mut &[u8]) -> Option<Cell> {
    let tag = take(bytes, 1)?[0];
    Some(match tag {
        0 => Cell::Null,
        1 => Cell::Int(take_u64(bytes)?.cast_signed()),
        2 => Cell::UInt(take_u64(bytes)?),
        3 => Cell::Float(f32::from_bits(take_u64(bytes)? as u32)),
        4 => Cell::Double(f64::from_bits(take_u64(bytes)?)),
        5 => Cell::Decimal(String::from_utf8(take_sized(bytes)?.to_vec()).ok()?),
        6 => Cell::Bytes(take_sized(bytes)?.to_vec()),
        7 => {
            let packed = take_u64(bytes)?;
            Cell::Date {
                year: (packed >> 16) as u16,
                month: (packed >> 8) as u8,
                day: packed as u8,
            }
        }
        8 => {
            let packed = take_u64(bytes)?;
            Cell::DateTime {
                year: (packed >> 40) as u16,
                month: (packed >> 32) as u8,
                day: (packed >> 24) as u8,
                hour: (packed >> 16) as u8,
                minute: (packed >> 8) as u8,
                second: packed as u8,
                micros: take_u32(bytes)?,
            }
        }
        9 => Cell::Time {
            micros: take_u64(bytes)?.cast_signed(),
        },
        10 => Cell::Timestamp {
            seconds: take_u64(bytes)?,
            micros: take_u32(bytes)?,
        },
        11 => Cell::Json(take_sized(bytes)?.to_vec()),
        _ => return None,
    })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?))
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(bytes)?;
    take(bytes, length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_give_the_key_back() {
        let key = Key(vec![
            Cell::Null,
            Cell::Int(-5),
            Cell::UInt(u64::MAX),
            Cell::Decimal("-1.50".into()),
            Cell::Bytes(vec![0, 255]),
            Cell::Date {
                year: 2026,
                month: 2,
                day: 31,
            },
            Cell::DateTime {
                year: 9999,
                month: 12,
                day: 31,
                hour: 23,
                minute: 59,
                second: 59,
                micros: 999_999,
            },
            Cell::Time {
                micros: -3_020_399_000_000,
            },
            Cell::Timestamp {
                seconds: 1 << 31,
                micros: 7,
            },
        ]);
        assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
        assert_eq!(Key::from_bytes(&[99]), None);
        assert_eq!(Key::from_bytes(&[1, 0]), None);
    }
}
