//! Values of row images as cells.

use std::io::Read as _;

use super::bytes::{Corrupt, Cursor, Read};
use super::wire::{DIGIT_BYTES, Wire, decimal_bytes, fraction_bytes};
use crate::row::Cell;

/// How one column's values become cells: their form, and what only the definition knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDecoder {
    /// How they lie in the image.
    pub wire: Wire,
    /// Whether an integer is unsigned.
    pub unsigned: bool,
    /// BINARY and the like: the image leaves trailing zero bytes out, the value has this many bytes.
    pub padded: u16,
    /// No value is longer: the bound for what a compressed one may become.
    pub bytes_max: u64,
}

impl ColumnDecoder {
    /// The cell of one value that is not NULL, from its bytes as [`Wire::take`] gives them.
    #[inline]
    pub fn decode(&self, value: &[u8]) -> Read<Cell> {
        let cursor = &mut Cursor::new(value);
        Ok(match self.wire {
            Wire::Int(width) => integer(cursor.uint(usize::from(width))?, width, self.unsigned),
            Wire::Float => Cell::Float(f32::from_bits(cursor.u32()?)),
            Wire::Double => Cell::Double(f64::from_bits(cursor.u64()?)),
            Wire::Decimal { precision, scale } => Cell::Decimal(decimal(value, precision, scale)?),
            Wire::Year => match cursor.u8()? {
                0 => Cell::UInt(0),
                year => Cell::UInt(1900 + u64::from(year)),
            },
            Wire::Date => date(cursor.uint(3)?),
            Wire::OldTime => old_time(cursor.uint(3)?),
            Wire::OldDateTime => old_datetime(cursor.u64()?)?,
            Wire::OldTimestamp => Cell::Timestamp {
                seconds: u64::from(cursor.u32()?),
                micros: 0,
            },
            Wire::Time(digits) => time(cursor, digits)?,
            Wire::DateTime(digits) => datetime(cursor, digits)?,
            Wire::Timestamp(digits) => Cell::Timestamp {
                seconds: cursor.uint_be(4)?,
                micros: fraction(cursor, digits)?,
            },
            Wire::Enum(width) | Wire::Set(width) => Cell::UInt(cursor.uint(usize::from(width))?),
            Wire::Bit(width) => Cell::UInt(cursor.uint_be(usize::from(width))?),
            Wire::Json(_) => Cell::Json(value.to_vec()),
            Wire::VaryingCompressed(_) | Wire::BlobCompressed(_) => {
                Cell::Bytes(decompress(value, self.bytes_max)?)
            }
            Wire::Fixed(_)
            | Wire::Varying(_)
            | Wire::Blob(_)
            | Wire::Geometry(_)
            | Wire::Vector(_) => {
                let mut bytes = Vec::with_capacity(value.len().max(usize::from(self.padded)));
                bytes.extend_from_slice(value);
                if bytes.len() < usize::from(self.padded) {
                    bytes.resize(usize::from(self.padded), 0);
                }
                Cell::Bytes(bytes)
            }
        })
    }

    /// The bytes of a string whose cell they are as they stand, so that none need be made.
    #[inline]
    pub fn plain_bytes<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        match self.wire {
            Wire::Fixed(_)
            | Wire::Varying(_)
            | Wire::Blob(_)
            | Wire::Geometry(_)
            | Wire::Vector(_)
                if value.len() >= usize::from(self.padded) =>
            {
                Some(value)
            }
            _ => None,
        }
    }
}

fn integer(raw: u64, width: u8, unsigned: bool) -> Cell {
    if unsigned {
        return Cell::UInt(raw);
    }
    // Moves the sign bit to the top and back.
    let shift = 64 - 8 * u32::from(width).min(8);
    Cell::Int((raw << shift).cast_signed() >> shift)
}

fn decimal(value: &[u8], precision: u8, scale: u8) -> Read<String> {
    let mut text = Vec::with_capacity(usize::from(precision) + 3);
    write_decimal(&mut text, value, precision, scale)?;
    String::from_utf8(text).map_err(|_| Corrupt("a DECIMAL of other than digits"))
}

/// Writes a DECIMAL in canonical text.
///
/// Groups of nine digits in four bytes each, highest first; the incomplete groups stand at both ends. The
/// first bit is turned over, and all bits of a negative number.
pub fn write_decimal(out: &mut Vec<u8>, value: &[u8], precision: u8, scale: u8) -> Read<()> {
    let mut bytes = [0u8; 32];
    let length = decimal_bytes(precision, scale);
    let bytes = bytes
        .get_mut(..length)
        .ok_or(Corrupt("a DECIMAL of more digits than there can be"))?;
    bytes.copy_from_slice(Cursor::new(value).take(length)?);
    let Some(first) = bytes.first_mut() else {
        out.push(b'0');
        return Ok(());
    };
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut groups = Cursor::new(bytes);
    // The server's limit is 65.
    let mut digits = [b'0'; 72];
    let whole = precision - scale;
    let mut end = 0;
    let mut group = |size: u8| -> Read<()> {
        let size = usize::from(size);
        let mut number = groups.uint_be(DIGIT_BYTES[size])? as u32;
        let places = digits
            .get_mut(end..end + size)
            .ok_or(Corrupt("a DECIMAL of more digits than there can be"))?;
        for place in places.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        end += size;
        if number > 0 {
            return Err(Corrupt("a DECIMAL with digits above nine"));
        }
        Ok(())
    };
    group(whole % 9)?;
    for _ in 0..whole / 9 + scale / 9 {
        group(9)?;
    }
    group(scale % 9)?;
    let (whole, fraction) = digits[..end].split_at(usize::from(whole));
    let is_zero = |digit: &&u8| **digit == b'0';
    // Zero has no sign, whatever was stored.
    if negative && !digits[..end].iter().all(|digit| *digit == b'0') {
        out.push(b'-');
    }
    match &whole[whole.iter().take_while(is_zero).count()..] {
        [] => out.push(b'0'),
        whole => out.extend_from_slice(whole),
    }
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
    Ok(())
}

fn date(packed: u64) -> Cell {
    Cell::Date {
        year: (packed >> 9) as u16,
        month: (packed >> 5 & 15) as u8,
        day: (packed & 31) as u8,
    }
}

/// `hhmmss` as a signed number.
fn old_time(raw: u64) -> Cell {
    let number = (raw << 40).cast_signed() >> 40;
    let all = number.unsigned_abs();
    let seconds = all / 10_000 * 3600 + all / 100 % 100 * 60 + all % 100;
    let micros = seconds.cast_signed() * 1_000_000;
    Cell::Time {
        micros: if number < 0 { -micros } else { micros },
    }
}

/// `YYYYMMDDhhmmss` as a number.
fn old_datetime(raw: u64) -> Read<Cell> {
    let (day, time) = (raw / 1_000_000, raw % 1_000_000);
    if day > 99_991_231 {
        return Err(Corrupt("a DATETIME beyond the year 9999"));
    }
    Ok(Cell::DateTime {
        year: (day / 10_000) as u16,
        month: (day / 100 % 100) as u8,
        day: (day % 100) as u8,
        hour: (time / 10_000) as u8,
        minute: (time / 100 % 100) as u8,
        second: (time % 100) as u8,
        micros: 0,
    })
}

/// Hours, minutes and seconds in 24 bits and the fraction behind, all one number that is biased so
/// that bytes sort as times do: a negative time's fraction counts up from the second before.
fn time(cursor: &mut Cursor<'_>, digits: u8) -> Read<Cell> {
    let fraction_width = fraction_bytes(digits);
    let packed = cursor.uint_be(3 + fraction_width)?.cast_signed();
    let fraction_bits = 8 * fraction_width as u32;
    let number = packed - (0x80_0000 << fraction_bits);
    let all = number.unsigned_abs();
    let whole = all >> fraction_bits;
    let fraction = all & ((1 << fraction_bits) - 1);
    let seconds = (whole >> 12 & 0x3ff) * 3600 + (whole >> 6 & 63) * 60 + (whole & 63);
    let micros = seconds * 1_000_000 + u64::from(fraction_micros(fraction, digits)?);
    let micros = micros.cast_signed();
    Ok(Cell::Time {
        micros: if number < 0 { -micros } else { micros },
    })
}

fn datetime(cursor: &mut Cursor<'_>, digits: u8) -> Read<Cell> {
    // The highest bit is set for all that is not before year 0.
    let packed = cursor.uint_be(5)? & 0x7f_ffff_ffff;
    let micros = fraction(cursor, digits)?;
    let (day, time) = (packed >> 17, packed & 0x1_ffff);
    let months = day >> 5;
    let year = months / 13;
    if year > 9999 {
        return Err(Corrupt("a DATETIME beyond the year 9999"));
    }
    Ok(Cell::DateTime {
        year: year as u16,
        month: (months % 13) as u8,
        day: (day & 31) as u8,
        hour: (time >> 12) as u8,
        minute: (time >> 6 & 63) as u8,
        second: (time & 63) as u8,
        micros,
    })
}

fn fraction(cursor: &mut Cursor<'_>, digits: u8) -> Read<u32> {
    let raw = cursor.uint_be(fraction_bytes(digits))?;
    fraction_micros(raw, digits)
}

/// One byte holds hundredths, two hold ten-thousandths, three hold millionths.
fn fraction_micros(raw: u64, digits: u8) -> Read<u32> {
    let micros = raw
        * match digits {
            1 | 2 => 10_000,
            3 | 4 => 100,
            _ => 1,
        };
    if micros > 999_999 {
        return Err(Corrupt("a fraction of a second of a second or more"));
    }
    Ok(micros as u32)
}

/// MariaDB's COMPRESSED columns: a byte that says how, then for zlib the length in as many bytes as the
/// lowest three bits say, highest first, then the data; bit 3 is set when it has no zlib header. A first
/// byte of zero: not compressed. Nothing at all: the empty string.
fn decompress(stored: &[u8], bytes_max: u64) -> Read<Vec<u8>> {
    const ZLIB: u8 = 0x80;
    const RAW: u8 = 8;
    let mut cursor = Cursor::new(stored);
    if cursor.is_empty() {
        return Ok(Vec::new());
    }
    let head = cursor.u8()?;
    if head == 0 {
        return Ok(cursor.rest().to_vec());
    }
    if head & 0xf0 != ZLIB {
        return Err(Corrupt("a column compressed in a way that is not known"));
    }
    let length = cursor.uint_be(usize::from(head & 7))?;
    if length > bytes_max {
        return Err(Corrupt(
            "a compressed column longer than its definition allows",
        ));
    }
    inflate(cursor.rest(), length, head & RAW != 0)
}

/// Inflates to exactly this length.
pub fn inflate(compressed: &[u8], length: u64, raw: bool) -> Read<Vec<u8>> {
    // Not reserved by the promised length, which nobody has checked yet.
    let mut out = Vec::new();
    // One more than promised is enough to see that the promise was wrong.
    let read = if raw {
        flate2::read::DeflateDecoder::new(compressed)
            .take(length + 1)
            .read_to_end(&mut out)
    } else {
        flate2::read::ZlibDecoder::new(compressed)
            .take(length + 1)
            .read_to_end(&mut out)
    };
    match read {
        Ok(_) if out.len() as u64 == length => Ok(out),
        Ok(_) => Err(Corrupt("compressed data of another length than promised")),
        Err(_) => Err(Corrupt("compressed data that cannot be inflated")),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
