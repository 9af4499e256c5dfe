//! What is read of the original's rows, and how a row becomes a change.

use super::bytes::{Corrupt, Read};
use super::decode::ColumnDecoder;
use super::literal::ValueWriter;
use super::rows::{Image, Wanted, cell};
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

    /// The change that a row's images tell, `None` for one that the event has not. `Ok(None)` where an
    /// image lacks a column of the key that no other image has, or has NULL there. `text` is
    /// room to write in.
    pub fn change(
        &self,
        before: Option<&Image<'_>>,
        after: Option<&Image<'_>>,
        text: &mut Vec<u8>,
    ) -> Read<Option<RowChange>> {
        let key_before = match before {
            Some(before) => match self.key(before, None)? {
                Some(key) => Some(key),
                None => return Ok(None),
            },
            None => None,
        };
        let Some(after) = after else {
            return Ok(Some(RowChange {
                before: key_before,
                after: None,
            }));
        };
        let Some(key) = self.key(after, key_before.as_ref())? else {
            return Ok(None);
        };
        let values = match &self.values {
            Some(writers) => self.literals(writers, after, text)?,
            None => None,
        };
        Ok(Some(RowChange {
            before: key_before,
            after: Some(After { key, values }),
        }))
    }

    /// The literals of an image; `None` if one of them is not exact.
    fn literals(
        &self,
        writers: &[ValueWriter],
        image: &Image<'_>,
        text: &mut Vec<u8>,
    ) -> Read<Option<Box<str>>> {
        text.clear();
        for (number, writer) in writers.iter().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            let written = match self.after.columns.get(writer.column()) {
                Some((decoder, _)) => writer.write(text, image, decoder)?,
                None => false,
            };
            if !written {
                return Ok(None);
            }
        }
        // Once for the whole row, since each look costs.
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(Corrupt("a value whose literal is no text")),
        }
    }

    /// The key of an image. A column that an after image lacks has not changed: it is the one before.
    fn key(&self, image: &Image<'_>, unchanged: Option<&Key>) -> Read<Option<Key>> {
        let mut cells = Vec::with_capacity(self.key.len());
        for (place, column) in self.key.iter().enumerate() {
            let own = match (image.get(*column), self.before.columns.get(*column)) {
                (Some(slot), Some((decoder, _))) => cell(*slot, decoder)?,
                _ => None,
            };
            let same = || unchanged.and_then(|key| key.0.get(place)).cloned();
            match own.or_else(same) {
                // NULL identifies no row.
                None | Some(Cell::Null) => return Ok(None),
                Some(cell) => cells.push(cell),
            }
        }
        Ok(Some(Key(cells)))
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
    pub fn entry(&self, before: &Image<'_>, after: &Image<'_>) -> Read<Option<(String, String)>> {
        let read = |image: &Image<'_>, column: usize| match (
            image.get(column),
            self.wanted.columns.get(column),
        ) {
            (Some(slot), Some((decoder, _))) => cell(*slot, decoder),
            _ => Ok(None),
        };
        let text = |column| match read(after, column)? {
            Some(Cell::Bytes(bytes)) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            _ => Ok(None),
        };
        let Some(value) = text(Self::VALUE)? else {
            return Ok(None);
        };
        if let Some(hint) = text(Self::HINT)? {
            return Ok(Some((hint, value)));
        }
        let heartbeat = read(before, Self::ID)? == Some(Self::HEARTBEAT_ID);
        Ok(heartbeat.then(|| (HEARTBEAT.to_string(), value)))
    }
}
