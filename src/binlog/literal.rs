//! Values of row images as literals for the ghost.

use super::bytes::Read;
use super::decode::{ColumnDecoder, write_decimal};
use super::rows::{Image, Slot};
use super::wire::Wire;
use crate::mysql::quote;
use crate::row::Cell;
use crate::schema::ColumnPair;

/// Writes one column's values so that the server stores what it would have stored by copying.
#[derive(Clone, Debug)]
pub struct ValueWriter {
    column: usize,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    /// By itself, tagged with the source's character set if it is a character string.
    Plain(Option<String>),
    /// ENUM to the same ENUM: by number.
    EnumNumber,
    /// ENUM to something else: by label.
    EnumLabel(Vec<String>),
    /// SET to something else: by labels.
    SetLabels(Vec<String>),
    /// JSON's text is not exact.
    Never,
}

impl ValueWriter {
    /// For a pair of columns.
    pub fn new(pair: &ColumnPair) -> ValueWriter {
        let source = &pair.source;
        let how = match source.data_type.as_str() {
            "json" => How::Never,
            "enum" if pair.unchanged() => How::EnumNumber,
            "enum" => How::EnumLabel(source.labels()),
            "set" if !pair.unchanged() => How::SetLabels(source.labels()),
            _ => How::Plain(source.charset.clone()),
        };
        ValueWriter {
            column: source.position,
            how,
        }
    }

    /// Whether it reads this column.
    pub fn takes(&self, column: usize) -> bool {
        self.column == column && !matches!(self.how, How::Never)
    }

    /// Which column it reads.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Writes the column's value; false if the image has it not, or it has no exact literal.
    pub fn write(
        &self,
        text: &mut Vec<u8>,
        image: &Image<'_>,
        decoder: &ColumnDecoder,
    ) -> Read<bool> {
        let value = match image.get(self.column) {
            Some(Slot::Null) => {
                text.extend_from_slice(b"NULL");
                return Ok(true);
            }
            Some(Slot::Value(value)) => *value,
            Some(Slot::Absent) | None => return Ok(false),
        };
        if let (How::Plain(charset), Some(bytes)) = (&self.how, decoder.plain_bytes(value)) {
            quote::append_bytes(text, bytes, charset.as_deref());
            return Ok(true);
        }
        if let (How::Plain(_), Wire::Decimal { precision, scale }) = (&self.how, decoder.wire) {
            write_decimal(text, value, precision, scale)?;
            return Ok(true);
        }
        Ok(self.write_cell(text, &decoder.decode(value)?))
    }

    fn write_cell(&self, text: &mut Vec<u8>, cell: &Cell) -> bool {
        match (&self.how, cell) {
            (How::Never, _) | (_, Cell::Json(_)) => return false,
            // The number of an ENUM's invalid value is refused in strict mode.
            (How::EnumNumber | How::EnumLabel(_), Cell::UInt(0)) => return false,
            (How::EnumLabel(labels), Cell::UInt(number)) => {
                let label = usize::try_from(*number)
                    .ok()
                    .and_then(|n| labels.get(n - 1));
                match label {
                    Some(label) => text.extend_from_slice(quote::string(label).as_bytes()),
                    None => return false,
                }
            }
            (How::SetLabels(labels), Cell::UInt(bits)) => {
                if labels.len() < 64 && bits >> labels.len() != 0 {
                    return false;
                }
                let chosen: Vec<&str> = labels
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| bits >> bit & 1 == 1)
                    .map(|(_, label)| label.as_str())
                    .collect();
                text.extend_from_slice(quote::string(&chosen.join(",")).as_bytes());
            }
            (How::Plain(charset), cell) => quote::append_cell(text, cell, charset.as_deref()),
            (_, cell) => quote::append_cell(text, cell, None),
        }
        true
    }
}
