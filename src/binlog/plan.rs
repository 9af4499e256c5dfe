//! What is read of the original's rows, and how a row becomes a change.

use super::bytes::{Corrupt, Read};
use super::decode::ColumnDecoder;
use super::literal::ValueWriter;
use super::rows::{Image, Wanted};
use super::table_map;
use super::wire::Wire;
use crate::change::{After, HEARTBEAT, RowChange};
use crate::key::Key;
use crate::row::Cell;
use crate::schema::{Column, ColumnMap, MigrationKey, TableDefinition};

/// What the feed wants of the original, independent of any event.
#[derive(Clone, Debug)]
pub struct Wishes {
    columns: Vec<Column>,
    key: Vec<usize>,
    values: Option<Vec<ValueWriter>>,
}

impl Wishes {
    /// From the original's definition.
    pub fn new(
        definition: &TableDefinition,
        key: &MigrationKey,
        map: &ColumnMap,
        images: bool,
    ) -> Wishes {
        Wishes {
            columns: definition.columns.clone(),
            key: key.columns.iter().map(|c| c.source.position).collect(),
            values: images.then(|| map.pairs.iter().map(ValueWriter::new).collect()),
        }
    }
}

/// How the original's images are read: made for one TABLE_MAP event, good for all that say the same.
#[derive(Clone, Debug)]
pub struct OriginalPlan {
    /// Of before images: the key.
    pub before: Wanted,
    /// Of after images: the key, and the values in image mode.
    pub after: Wanted,
    key: Vec<usize>,
    values: Option<Vec<ValueWriter>>,
    made_from: Box<[u8]>,
}

/// Why a TABLE_MAP event of the original cannot be followed.
#[derive(Debug)]
pub enum PlanError {
    /// It cannot be read.
    Corrupt(Corrupt),
    /// The table is not the one that was looked at.
    Differs(String),
}

impl From<Corrupt> for PlanError {
    fn from(corrupt: Corrupt) -> PlanError {
        PlanError::Corrupt(corrupt)
    }
}

impl OriginalPlan {
    /// A plan for the columns as the TABLE_MAP event has them.
    pub fn new(wishes: &Wishes, columns: &[u8]) -> Result<OriginalPlan, PlanError> {
        let wires = table_map::read_columns(columns)?;
        if wires.len() != wishes.columns.len() {
            return Err(PlanError::Differs(format!(
                "the binlog has {} columns, the table had {}",
                wires.len(),
                wishes.columns.len()
            )));
        }
        let mut decoders = Vec::with_capacity(wires.len());
        for (column, wire) in wishes.columns.iter().zip(wires) {
            if !fits(column, wire) {
                return Err(PlanError::Differs(format!(
                    "column `{}` is {} by the table's definition, {wire:?} in the binlog",
                    column.name, column.column_type
                )));
            }
            decoders.push(decoder(column, wire));
        }
        let wanted = |is_wanted: &dyn Fn(usize) -> bool| Wanted {
            columns: decoders
                .iter()
                .enumerate()
                .map(|(index, decoder)| (*decoder, is_wanted(index)))
                .collect(),
        };
        let in_key = |index| wishes.key.contains(&index);
        let is_value = |index| {
            wishes
                .values
                .iter()
                .flatten()
                .any(|writer| writer.takes(index))
        };
        Ok(OriginalPlan {
            before: wanted(&in_key),
            after: wanted(&|index| in_key(index) || is_value(index)),
            key: wishes.key.clone(),
            values: wishes.values.clone(),
            made_from: columns.into(),
        })
    }

    /// Whether it was made from the same columns.
    pub fn is_for(&self, columns: &[u8]) -> bool {
        *self.made_from == *columns
    }

    /// The change that a row's images tell. `None` where an image lacks a column of the key that no
    /// other image has.
    pub fn change(
        &self,
        has_before: bool,
        has_after: bool,
        before: &mut Image,
        after: &mut Image,
    ) -> Option<RowChange> {
        let key_before = if has_before {
            Some(self.take_key(before, None)?)
        } else {
            None
        };
        if !has_after {
            return Some(RowChange {
                before: key_before,
                after: None,
            });
        }
        let values = self.values.as_ref().and_then(|writers| {
            let mut text = String::new();
            let exact = writers.iter().enumerate().all(|(number, writer)| {
                if number > 0 {
                    text.push(',');
                }
                writer.write(&mut text, after)
            });
            exact.then(|| text.into_boxed_str())
        });
        let key = self.take_key(after, key_before.as_ref())?;
        Some(RowChange {
            before: key_before,
            after: Some(After { key, values }),
        })
    }

    /// The key of an image. A column that an after image lacks has not changed: it is the one before.
    fn take_key(&self, image: &mut Image, unchanged: Option<&Key>) -> Option<Key> {
        let mut cells = Vec::with_capacity(self.key.len());
        for (place, column) in self.key.iter().enumerate() {
            let own = image.get_mut(*column).and_then(Option::take);
            cells.push(match own {
                Some(cell) => cell,
                None => unchanged?.0.get(place)?.clone(),
            });
        }
        Some(Key(cells))
    }
}

fn decoder(column: &Column, wire: Wire) -> ColumnDecoder {
    let padded = match (column.data_type.as_str(), wire) {
        ("binary" | "uuid" | "inet6" | "inet4", Wire::Fixed(bytes)) => bytes,
        _ => 0,
    };
    ColumnDecoder {
        wire,
        unsigned: column.unsigned(),
        padded,
        bytes_max: column.octet_length.unwrap_or(u64::from(u32::MAX)),
    }
}

/// Whether a column's form in the binlog is the one that its definition gives it.
fn fits(column: &Column, wire: Wire) -> bool {
    let digits = column.fraction_digits;
    let bytes = column.octet_length;
    let long = |max: u16| bytes.is_none_or(|bytes| bytes == u64::from(max));
    match column.data_type.as_str() {
        "tinyint" => wire == Wire::Int(1),
        "smallint" => wire == Wire::Int(2),
        "mediumint" => wire == Wire::Int(3),
        "int" => wire == Wire::Int(4),
        "bigint" => wire == Wire::Int(8),
        "float" => wire == Wire::Float,
        "double" => wire == Wire::Double,
        "decimal" => {
            matches!(wire, Wire::Decimal { precision, scale } if column.decimal == Some((precision, scale)))
        }
        "bit" => matches!(wire, Wire::Bit(_)),
        "year" => wire == Wire::Year,
        "date" => wire == Wire::Date,
        // The old forms have no fraction; MariaDB's own old form with one says nothing of it.
        "time" => wire == Wire::Time(digits) || (wire == Wire::OldTime && digits == 0),
        "datetime" => wire == Wire::DateTime(digits) || (wire == Wire::OldDateTime && digits == 0),
        "timestamp" => {
            wire == Wire::Timestamp(digits) || (wire == Wire::OldTimestamp && digits == 0)
        }
        "char" | "binary" => matches!(wire, Wire::Fixed(max) if long(max)),
        "varchar" | "varbinary" => match wire {
            Wire::Varying(max) => long(max),
            Wire::VaryingCompressed(_) => true,
            _ => false,
        },
        "tinyblob" | "tinytext" => is_blob(wire, 1),
        "blob" | "text" => is_blob(wire, 2),
        "mediumblob" | "mediumtext" => is_blob(wire, 3),
        "longblob" | "longtext" => is_blob(wire, 4),
        "json" => wire == Wire::Json(4) || is_blob(wire, 4),
        "enum" => matches!(wire, Wire::Enum(_)),
        "set" => matches!(wire, Wire::Set(_)),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection" => {
            matches!(wire, Wire::Geometry(_))
        }
        "vector" => matches!(wire, Wire::Vector(_) | Wire::Varying(_)),
        "uuid" | "inet6" => wire == Wire::Fixed(16),
        "inet4" => wire == Wire::Fixed(4),
        _ => false,
    }
}

fn is_blob(wire: Wire, width: u8) -> bool {
    wire == Wire::Blob(width) || wire == Wire::BlobCompressed(width)
}

/// How the changelog table's rows are read: the id of before and after, hint and value of after.
#[derive(Clone, Debug)]
pub struct ChangelogPlan {
    /// Of both images.
    pub wanted: Wanted,
    made_from: Box<[u8]>,
}

impl ChangelogPlan {
    const ID: usize = 0;
    const HINT: usize = 2;
    const VALUE: usize = 3;
    /// The row that the heartbeat is written to again and again.
    const HEARTBEAT_ID: Cell = Cell::UInt(1);

    /// A plan for the columns as the TABLE_MAP event has them.
    pub fn new(columns: &[u8]) -> Read<ChangelogPlan> {
        let wires = table_map::read_columns(columns)?;
        if wires.len() <= Self::VALUE {
            return Err(Corrupt("the changelog table has too few columns"));
        }
        let decoder = |wire: &Wire| ColumnDecoder {
            wire: *wire,
            unsigned: true,
            padded: 0,
            bytes_max: u64::from(u32::MAX),
        };
        let is_wanted = |index| [Self::ID, Self::HINT, Self::VALUE].contains(&index);
        Ok(ChangelogPlan {
            wanted: Wanted {
                columns: wires
                    .iter()
                    .enumerate()
                    .map(|(index, wire)| (decoder(wire), is_wanted(index)))
                    .collect(),
            },
            made_from: columns.into(),
        })
    }

    /// Whether it was made from the same columns.
    pub fn is_for(&self, columns: &[u8]) -> bool {
        *self.made_from == *columns
    }

    /// Hint and value that a row's images tell. A minimal image leaves out the hint, which no update
    /// changes: the heartbeat's row is known by its id, and no other that is updated matters. `None`
    /// for those, and for a row that went.
    pub fn entry(&self, before: &Image, after: &Image) -> Option<(String, String)> {
        let text = |column: usize| match after.get(column)? {
            Some(Cell::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let value = text(Self::VALUE)?;
        match text(Self::HINT) {
            Some(hint) => Some((hint, value)),
            None if before.get(Self::ID) == Some(&Some(Self::HEARTBEAT_ID)) => {
                Some((HEARTBEAT.to_string(), value))
            }
            None => None,
        }
    }
}
