//! How column values lie in row images.

use super::bytes::{Corrupt, Cursor, Read};

/// The form of one column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// An integer of this many bytes.
    Int(u8),
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// DECIMAL.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// TIME of before MySQL 5.6.
    OldTime,
    /// DATETIME of before MySQL 5.6.
    OldDateTime,
    /// TIMESTAMP of before MySQL 5.6.
    OldTimestamp,
    /// TIME with this many fractional digits.
    Time(u8),
    /// DATETIME with this many fractional digits.
    DateTime(u8),
    /// TIMESTAMP with this many fractional digits.
    Timestamp(u8),
    /// CHAR, BINARY and MariaDB's fixed types: at most this many bytes.
    Fixed(u16),
    /// VARCHAR, VARBINARY: at most this many bytes.
    Varying(u16),
    /// The same, compressed by MariaDB.
    VaryingCompressed(u16),
    /// BLOB and TEXT of all sizes: so many bytes tell the length.
    Blob(u8),
    /// The same, compressed by MariaDB.
    BlobCompressed(u8),
    /// JSON in MySQL's binary form.
    Json(u8),
    /// All geometry types.
    Geometry(u8),
    /// VECTOR of MySQL.
    Vector(u8),
    /// ENUM in this many bytes.
    Enum(u8),
    /// SET in this many bytes.
    Set(u8),
    /// BIT in this many bytes.
    Bit(u8),
}

impl Wire {
    /// The form of a column by its type number in a TABLE_MAP event and the metadata that follows.
    pub fn read(kind: u8, metadata: &mut Cursor<'_>) -> Read<Wire> {
        Ok(match kind {
            1 => Wire::Int(1),
            2 => Wire::Int(2),
            3 => Wire::Int(4),
            4 => {
                metadata.u8()?;
                Wire::Float
            }
            5 => {
                metadata.u8()?;
                Wire::Double
            }
            7 => Wire::OldTimestamp,
            8 => Wire::Int(8),
            9 => Wire::Int(3),
            // 14 is the storage type of DATE; table maps say 10.
            10 | 14 => Wire::Date,
            11 => Wire::OldTime,
            12 => Wire::OldDateTime,
            13 => Wire::Year,
            15 => Wire::Varying(metadata.u16()?),
            16 => {
                let (bits, bytes) = (metadata.u8()?, metadata.u8()?);
                Wire::Bit(width(bytes.saturating_add(u8::from(bits > 0)), 8)?)
            }
            17 => Wire::Timestamp(width(metadata.u8()?, 6)?),
            18 => Wire::DateTime(width(metadata.u8()?, 6)?),
            19 => Wire::Time(width(metadata.u8()?, 6)?),
            140 => Wire::BlobCompressed(width(metadata.u8()?, 4)?),
            141 => Wire::VaryingCompressed(metadata.u16()?),
            242 => Wire::Vector(width(metadata.u8()?, 4)?),
            245 => Wire::Json(width(metadata.u8()?, 4)?),
            246 => decimal(metadata)?,
            249..=252 => Wire::Blob(width(metadata.u8()?, 4)?),
            254 => fixed(metadata)?,
            255 => Wire::Geometry(width(metadata.u8()?, 4)?),
            _ => return Err(Corrupt("it has a column of a type that is not known")),
        })
    }

    /// How many bytes every value has; `None` where their number stands before them.
    pub fn fixed_bytes(self) -> Option<usize> {
        Some(match self {
            Wire::Int(bytes) | Wire::Enum(bytes) | Wire::Set(bytes) | Wire::Bit(bytes) => {
                usize::from(bytes)
            }
            Wire::Float | Wire::OldTimestamp => 4,
            Wire::Double | Wire::OldDateTime => 8,
            Wire::Decimal { precision, scale } => decimal_bytes(precision, scale),
            Wire::Year => 1,
            Wire::Date | Wire::OldTime => 3,
            Wire::Time(digits) => 3 + fraction_bytes(digits),
            Wire::DateTime(digits) => 5 + fraction_bytes(digits),
            Wire::Timestamp(digits) => 4 + fraction_bytes(digits),
            Wire::Fixed(_)
            | Wire::Varying(_)
            | Wire::VaryingCompressed(_)
            | Wire::Blob(_)
            | Wire::BlobCompressed(_)
            | Wire::Json(_)
            | Wire::Geometry(_)
            | Wire::Vector(_) => return None,
        })
    }

    /// How many bytes tell the length of a string.
    #[inline]
    pub fn length_bytes(self) -> usize {
        match self {
            Wire::Fixed(max) | Wire::Varying(max) | Wire::VaryingCompressed(max) => {
                if max > 255 {
                    2
                } else {
                    1
                }
            }
            Wire::Blob(bytes)
            | Wire::BlobCompressed(bytes)
            | Wire::Json(bytes)
            | Wire::Geometry(bytes)
            | Wire::Vector(bytes) => usize::from(bytes),
            _ => 0,
        }
    }
}

fn width(bytes: u8, max: u8) -> Read<u8> {
    if bytes > max {
        return Err(Corrupt("a column's metadata is out of range"));
    }
    Ok(bytes)
}

fn decimal(metadata: &mut Cursor<'_>) -> Read<Wire> {
    let (precision, scale) = (metadata.u8()?, metadata.u8()?);
    // The server's limits are 65 and 38 (MySQL: 30).
    if precision > 65 || scale > precision {
        return Err(Corrupt("a DECIMAL column's metadata is out of range"));
    }
    Ok(Wire::Decimal { precision, scale })
}

/// CHAR and all that share its type number: the first byte is the real type, with two bits of the
/// length turned over in it for a CHAR of more than 255 bytes; the second is the length.
fn fixed(metadata: &mut Cursor<'_>) -> Read<Wire> {
    let (first, second) = (metadata.u8()?, metadata.u8()?);
    if first & 0x30 != 0x30 {
        let high = u16::from((first & 0x30) ^ 0x30) << 4;
        return match first | 0x30 {
            254 => Ok(Wire::Fixed(high | u16::from(second))),
            _ => Err(Corrupt("a CHAR column's metadata is out of range")),
        };
    }
    match first {
        247 => Ok(Wire::Enum(width(second, 2)?)),
        248 => Ok(Wire::Set(width(second, 8)?)),
        254 => Ok(Wire::Fixed(u16::from(second))),
        _ => Err(Corrupt("a CHAR column's metadata is out of range")),
    }
}

/// Bytes of the fraction of TIME, DATETIME and TIMESTAMP.
#[inline]
pub fn fraction_bytes(digits: u8) -> usize {
    usize::from(digits).div_ceil(2)
}

/// Bytes for a number of up to nine decimal digits.
pub const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Bytes of a DECIMAL: four for nine digits, the rest as needed, both sides of the point apart.
#[inline]
pub fn decimal_bytes(precision: u8, scale: u8) -> usize {
    let side = |digits: u8| usize::from(digits / 9) * 4 + DIGIT_BYTES[usize::from(digits % 9)];
    side(precision - scale) + side(scale)
}
