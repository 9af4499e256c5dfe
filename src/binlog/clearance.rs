//! Which columns replay may take from row images.

use crate::schema::{ColumnMap, ColumnPair};

/// Whether image mode is exact for every column of the map: `replay(x) = copy(x)` for all values.
///
/// # Errors
/// The reason why not, naming the column: to be logged as the reason for rereading.
pub fn image_pairs_cleared(map: &ColumnMap) -> Result<(), String> {
    map.pairs.iter().try_for_each(pair_cleared)
}

fn pair_cleared(pair: &ColumnPair) -> Result<(), String> {
    let name = &pair.source.name;
    if pair.source.data_type == "json" || pair.target.data_type == "json" {
        return Err(format!("`{name}` is JSON, which has no exact text"));
    }
    if !pair.unchanged() {
        return Err(format!(
            "`{name}` changes from {} to {}",
            pair.source.column_type, pair.target.column_type
        ));
    }
    Ok(())
}
