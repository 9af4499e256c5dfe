//! TABLE_MAP events: which table a number stands for, and how its columns lie in row images.

use super::bytes::{Corrupt, Cursor, Read};
use super::wire::Wire;

/// The beginning of a TABLE_MAP event: enough to know whether it is of any interest.
#[derive(Clone, Copy, Debug)]
pub struct TableMap<'a> {
    /// The number that rows events use.
    pub id: u64,
    /// The schema's name.
    pub schema: &'a [u8],
    /// The table's name.
    pub table: &'a [u8],
    /// Everything behind the names.
    pub columns: &'a [u8],
}

/// Reads the beginning of a TABLE_MAP event.
pub fn read(data: &[u8]) -> Read<TableMap<'_>> {
    let mut cursor = Cursor::new(data);
    let id = cursor.uint(6)?;
    cursor.u16()?;
    let schema = cursor.sized(1)?;
    cursor.u8()?;
    let table = cursor.sized(1)?;
    cursor.u8()?;
    Ok(TableMap {
        id,
        schema,
        table,
        columns: cursor.rest(),
    })
}

/// How the columns lie in row images, in the table's order. Optional metadata is left alone: what a
/// column *means* is taken from information_schema, which always has it.
pub fn read_columns(columns: &[u8]) -> Read<Vec<Wire>> {
    let mut cursor = Cursor::new(columns);
    let count = cursor.packed_len()?;
    let kinds = cursor.take(count)?;
    let length = cursor.packed_len()?;
    let mut metadata = Cursor::new(cursor.take(length)?);
    let wires = kinds
        .iter()
        .map(|kind| Wire::read(*kind, &mut metadata))
        .collect::<Read<Vec<Wire>>>()?;
    if !metadata.is_empty() {
        return Err(Corrupt(
            "its column metadata is longer than its columns need",
        ));
    }
    Ok(wires)
}
