//! Looking at both tables: sums of ranges, and which rows differ.

use std::collections::HashSet;

use super::comparison::{Comparison, Place, RowHash, Sums, side};
use crate::chunk::Chunk;
use crate::failure::{Failure, Result};
use crate::mysql::Session;
use crate::schema::MigrationKey;
use crate::walk::bounds::{self, Side, SidedKey};
use crate::walk::chunker::Keyed;
use crate::walk::keys;

/// Rows of a range that are compared one by one when its sums differ.
const ROWS_ONE_BY_ONE: u64 = 500;
/// Keys of one statement. (MariaDB turns lists of 1000 and more into joins.)
const KEYS_AT_ONCE: usize = 200;

/// The sessions that look, and what at.
pub(super) struct Look<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) source: &'a mut Session,
    /// Where the ghost is, if on another server.
    pub(super) target: Option<&'a mut Session>,
}

impl Look<'_> {
    fn at(&mut self, place: Place) -> &mut Session {
        match (place, &mut self.target) {
            (Place::Ghost, Some(target)) => target,
            _ => self.source,
        }
    }

    /// How many rows of the original the chunk has, and whether the ghost's are the same.
    pub(super) async fn compare(&mut self, chunk: &Chunk) -> Result<(u64, bool)> {
        let source = self.comparison.within(Place::Original, chunk);
        let target = self.comparison.within(Place::Ghost, chunk);
        let compared = self.compare_sums(&source, &target).await?;
        if compared == (0, true) && self.source.server().facts().claims_killed_statements() {
            // Believed only twice: a killed statement may find nothing on either side.
            return self.compare_sums(&source, &target).await;
        }
        Ok(compared)
    }

    /// How many rows of the original a condition has, and whether the other condition gives the same rows
    /// of the ghost.
    async fn compare_sums(&mut self, source: &str, target: &str) -> Result<(u64, bool)> {
        let comparison = self.comparison;
        let place = comparison.source(self.source, source).await?;
        let source = match place {
            Place::Assigned => comparison.sums_query(place, "TRUE"),
            _ => comparison.sums_query(place, source),
        };
        let target = comparison.sums_query(Place::Ghost, target);
        let sums: Vec<Sums> = if self.target.is_none() {
            // One statement, one snapshot.
            self.source
                .query::<(u64, u64)>(&format!("{source} UNION ALL {target}"))
                .await?
                .into_iter()
                .map(Sums::from)
                .collect()
        } else {
            let first: (u64, u64) = self.at(place).one(&source).await?;
            let second: (u64, u64) = self.at(Place::Ghost).one(&target).await?;
            vec![Sums::from(first), Sums::from(second)]
        };
        match sums.as_slice() {
            [source, target] => Ok((source.rows, source == target)),
            _ => Err(Failure::failed("the server gave no sums for a chunk")),
        }
    }

    /// The keys of a chunk's rows that differ now.
    pub(super) async fn differing_in(&mut self, chunk: &Chunk) -> Result<Vec<SidedKey>> {
        let mut found = Vec::new();
        let mut rest = Some(chunk.clone());
        while let Some(range) = rest {
            let table = Keyed {
                table: &self.comparison.original,
                key: &self.comparison.key,
                side: Side::Source,
            };
            let (piece, left) = table.cut(self.source, &range, ROWS_ONE_BY_ONE).await?;
            rest = left;
            if self.compare(&piece).await?.1 {
                continue;
            }
            let source = self.comparison.within(Place::Original, &piece);
            let target = self.comparison.within(Place::Ghost, &piece);
            found.extend(self.differing(&source, &target).await?);
        }
        Ok(found)
    }

    /// Those of the keys whose rows differ now.
    pub(super) async fn differing_of(&mut self, keys: &[SidedKey]) -> Result<Vec<SidedKey>> {
        let mut found = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            let source = bounds::any_of_sided(&self.comparison.key, Side::Source, some);
            let target = bounds::any_of_sided(&self.comparison.key, Side::Target, some);
            // Mostly they are the same, which sums tell at a fraction of the cost.
            if !self.compare_sums(&source, &target).await?.1 {
                found.extend(self.differing(&source, &target).await?);
            }
        }
        Ok(found)
    }

    async fn differing(&mut self, source: &str, target: &str) -> Result<Vec<SidedKey>> {
        let (place, originals) = self.originals(source).await?;
        let ghosts = self.rows(Place::Ghost, target).await?;
        let mut found = lacking(place, &originals, &ghosts);
        found.extend(lacking(Place::Ghost, &ghosts, &originals));
        Ok(found)
    }

    /// The original's rows, converted if need be, and whose types their keys have.
    async fn originals(&mut self, condition: &str) -> Result<(Place, Vec<RowHash>)> {
        let place = self.comparison.source(self.source, condition).await?;
        let condition = match place {
            Place::Assigned => "TRUE",
            _ => condition,
        };
        Ok((place, self.rows(place, condition).await?))
    }

    /// How many rows a chunk of one side has, and the keys of those that the other side lacks or has
    /// otherwise now, found there by their keys: for sides that are ordered differently.
    pub(super) async fn differing_along(
        &mut self,
        side: Side,
        order: &MigrationKey,
        chunk: &Chunk,
    ) -> Result<(u64, Vec<SidedKey>)> {
        let condition = bounds::within(order, side, chunk);
        let (place, rows) = match side {
            Side::Source => self.originals(&condition).await?,
            Side::Target => (Place::Ghost, self.rows(Place::Ghost, &condition).await?),
        };
        let mut found = Vec::new();
        for some in rows.chunks(KEYS_AT_ONCE) {
            let keys: Vec<SidedKey> = some.iter().map(|row| sided(place, row)).collect();
            let key = &self.comparison.key;
            let others = match side {
                Side::Source => {
                    let condition = bounds::any_of_sided(key, Side::Target, &keys);
                    self.rows(Place::Ghost, &condition).await?
                }
                Side::Target => {
                    let condition = bounds::any_of_sided(key, Side::Source, &keys);
                    self.originals(&condition).await?.1
                }
            };
            found.extend(lacking(place, some, &others));
        }
        Ok((rows.len() as u64, found))
    }

    /// Rows with their hashes.
    pub(super) async fn rows(&mut self, place: Place, condition: &str) -> Result<Vec<RowHash>> {
        let comparison = self.comparison;
        let sql = comparison.rows_query(place, condition);
        let rows = self.at(place).query_binary(&sql).await?;
        rows.iter()
            .map(|row| {
                Ok(RowHash {
                    key: keys::read(&comparison.key, side(place), row)?,
                    hash: row
                        .get::<Vec<u8>, _>(comparison.key.columns.len())
                        .unwrap_or_default(),
                })
            })
            .collect()
    }

    /// What is different about a row, in words; `None` if nothing is.
    pub(super) async fn describe(&mut self, key: &SidedKey) -> Result<Option<String>> {
        let comparison = self.comparison;
        let one = std::slice::from_ref(key);
        let source = bounds::any_of_sided(&comparison.key, Side::Source, one);
        let target = bounds::any_of_sided(&comparison.key, Side::Target, one);
        let place = comparison.source(self.source, &source).await?;
        let condition = match place {
            Place::Assigned => "TRUE",
            _ => &source,
        };
        let original: Option<String> = {
            let sql = comparison.columns_query(place, condition);
            self.at(place).first(&sql).await?
        };
        let ghost: Option<String> = {
            let sql = comparison.columns_query(Place::Ghost, &target);
            self.at(Place::Ghost).first(&sql).await?
        };
        Ok(match (original, ghost) {
            (None, None) => None,
            (Some(_), None) => Some(format!("not in {}", comparison.ghost.table)),
            (None, Some(_)) => Some(format!("only in {}", comparison.ghost.table)),
            (Some(original), Some(ghost)) => {
                let columns: Vec<&str> = comparison
                    .column_names()
                    .zip(original.split(',').zip(ghost.split(',')))
                    .filter(|(_, (original, ghost))| original != ghost)
                    .map(|(name, _)| name)
                    .collect();
                (!columns.is_empty()).then(|| columns.join(", "))
            }
        })
    }
}

fn sided(place: Place, row: &RowHash) -> SidedKey {
    SidedKey {
        types: side(place),
        key: row.key.clone(),
    }
}

/// The keys of those rows that are not among the others.
fn lacking(place: Place, rows: &[RowHash], others: &[RowHash]) -> Vec<SidedKey> {
    let others: HashSet<&[u8]> = others.iter().map(|row| row.hash.as_slice()).collect();
    rows.iter()
        .filter(|row| !others.contains(row.hash.as_slice()))
        .map(|row| sided(place, row))
        .collect()
}

impl From<(u64, u64)> for Sums {
    fn from((rows, hash): (u64, u64)) -> Sums {
        Sums { rows, hash }
    }
}
