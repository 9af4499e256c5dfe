//! Places in the binlog: GTID sets, MariaDB's GTID positions, file and offset.
//!
//! *Received* and *applied* coordinates are both of this type; they are kept apart by who holds them:
//! the reader knows what was received, only replay says what was applied.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::failure::{Failure, Result};

/// A source of MySQL GTIDs: server UUID and tag (empty for none), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GtidSource {
    /// The server's UUID in its usual text form.
    pub uuid: String,
    /// The tag of MySQL 8.3 and later; empty for none.
    pub tag: String,
}

/// A set of MySQL GTIDs, read from and written as the server writes it.
///
/// ```
/// use changeling::coordinates::GtidSet;
/// let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
/// let executed: GtidSet = format!("{uuid}:1-5:7").parse()?;
/// let received: GtidSet = format!("{uuid}:4-7").parse()?;
/// assert!(!executed.contains(&received));
/// assert_eq!(received.difference(&executed).to_string(), format!("{uuid}:6"));
/// # Ok::<(), changeling::failure::Failure>(())
/// ```
///
/// Inside: disjoint, ascending, half-open intervals a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    intervals: BTreeMap<GtidSource, Vec<(u64, u64)>>,
}

impl GtidSet {
    /// Whether it has no GTID.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Each source with its half-open intervals.
    pub fn sources(&self) -> impl Iterator<Item = (&GtidSource, &[(u64, u64)])> {
        self.intervals
            .iter()
            .map(|(source, intervals)| (source, intervals.as_slice()))
    }

    /// Adds one GTID.
    pub fn add(&mut self, source: &GtidSource, number: u64) {
        if let Some(intervals) = self.intervals.get_mut(source) {
            // Nearly always the next one of the last interval.
            if let Some(last) = intervals.last_mut()
                && last.1 == number
            {
                last.1 += 1;
                return;
            }
            add_interval(intervals, number, number + 1);
        } else {
            self.intervals
                .insert(source.clone(), vec![(number, number + 1)]);
        }
    }

    /// Adds all of another set.
    pub fn union(&mut self, other: &GtidSet) {
        for (source, intervals) in &other.intervals {
            let own = self.intervals.entry(source.clone()).or_default();
            for (start, end) in intervals {
                add_interval(own, *start, *end);
            }
        }
    }

    /// What is in this set and not in the other.
    pub fn difference(&self, other: &GtidSet) -> GtidSet {
        let mut left = GtidSet::default();
        for (source, intervals) in &self.intervals {
            let taken = other.intervals.get(source).map_or(&[][..], Vec::as_slice);
            let mut rest = Vec::new();
            for (start, end) in intervals {
                let mut from = *start;
                for (s, e) in taken {
                    if *e <= from || *s >= *end {
                        continue;
                    }
                    if *s > from {
                        rest.push((from, *s));
                    }
                    from = from.max(*e);
                }
                if from < *end {
                    rest.push((from, *end));
                }
            }
            if !rest.is_empty() {
                left.intervals.insert(source.clone(), rest);
            }
        }
        left
    }

    /// Whether every GTID of the other set is in this one.
    pub fn contains(&self, other: &GtidSet) -> bool {
        other.difference(self).is_empty()
    }
}

fn add_interval(intervals: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    let at = intervals.partition_point(|(_, e)| *e < start);
    let mut merged = (start, end);
    let mut until = at;
    while until < intervals.len() && intervals[until].0 <= end {
        merged.0 = merged.0.min(intervals[until].0);
        merged.1 = merged.1.max(intervals[until].1);
        until += 1;
    }
    intervals.splice(at..until, [merged]);
}

impl fmt::Display for GtidSet {
    /// As MySQL prints it, without line breaks: `uuid:1-5:7:tag:1,uuid2:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uuid = "";
        for (source, intervals) in &self.intervals {
            if source.uuid != uuid {
                if !uuid.is_empty() {
                    f.write_str(",")?;
                }
                f.write_str(&source.uuid)?;
                uuid = &source.uuid;
            }
            if !source.tag.is_empty() {
                write!(f, ":{}", source.tag)?;
            }
            for (start, end) in intervals {
                match end - start {
                    1 => write!(f, ":{start}")?,
                    _ => write!(f, ":{start}-{}", end - 1)?,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = Failure;

    fn from_str(text: &str) -> Result<GtidSet> {
        let bad = |part: &str| {
            Failure::failed(format!("`{part}` is no part of a GTID set"))
                .remedy("give a GTID set as the server prints it in @@gtid_executed")
        };
        let mut set = GtidSet::default();
        for group in text.split(',').map(str::trim).filter(|g| !g.is_empty()) {
            let mut parts = group.split(':').map(str::trim);
            let uuid = parts.next().unwrap_or_default().to_ascii_lowercase();
            if uuid.len() != 36 {
                return Err(bad(group));
            }
            let mut source = GtidSource {
                uuid,
                tag: String::new(),
            };
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    let (start, end) = part.split_once('-').unwrap_or((part, part));
                    let start: u64 = start.trim().parse().map_err(|_| bad(part))?;
                    let end: u64 = end.trim().parse().map_err(|_| bad(part))?;
                    if start == 0 || end < start || end == u64::MAX {
                        return Err(bad(part));
                    }
                    let intervals = set.intervals.entry(source.clone()).or_default();
                    add_interval(intervals, start, end + 1);
                } else if part.is_empty() {
                    return Err(bad(group));
                } else {
                    source.tag = part.to_ascii_lowercase();
                }
            }
        }
        Ok(set)
    }
}

/// MariaDB's GTID position: for each replication domain the last GTID (`0-1-100,1-5-3`).
///
/// ```
/// use changeling::coordinates::MariaGtids;
/// let replica: MariaGtids = "0-1-100,1-5-3".parse()?;
/// assert!(replica.contains(&"0-2-99".parse()?));
/// assert!(!replica.contains(&"2-1-1".parse()?));
/// # Ok::<(), changeling::failure::Failure>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MariaGtids(pub BTreeMap<u32, (u32, u64)>);

impl MariaGtids {
    /// Whether everything up to the other position is contained in this one. Sequence numbers grow
    /// within a domain (gtid_strict_mode or a single writer), which a primary guarantees.
    pub fn contains(&self, other: &MariaGtids) -> bool {
        other.0.iter().all(|(domain, (_, sequence))| {
            self.0.get(domain).is_some_and(|(_, own)| own >= sequence)
        })
    }
}

impl fmt::Display for MariaGtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, (server, sequence))) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

impl FromStr for MariaGtids {
    type Err = Failure;

    fn from_str(text: &str) -> Result<MariaGtids> {
        let bad = |part: &str| Failure::failed(format!("`{part}` is no MariaDB GTID"));
        let mut position = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let numbers: Vec<&str> = part.split('-').collect();
            let [domain, server, sequence] = numbers[..] else {
                return Err(bad(part));
            };
            position.insert(
                domain.parse().map_err(|_| bad(part))?,
                (
                    server.parse().map_err(|_| bad(part))?,
                    sequence.parse().map_err(|_| bad(part))?,
                ),
            );
        }
        Ok(MariaGtids(position))
    }
}

/// A place in the binlog: everything before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// MySQL with GTIDs.
    Gtid(GtidSet),
    /// MariaDB.
    Maria(MariaGtids),
    /// A file and the offset in it, 64 bits: a transaction can make a file grow over 4 GiB, past what
    /// an event's header can say.
    File {
        /// Name of the binlog file.
        name: String,
        /// Offset of the next event.
        position: u64,
    },
}

/// What one transaction adds to coordinates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A MySQL GTID.
    Gtid(GtidSource, u64),
    /// A MariaDB GTID: domain, server, sequence.
    Maria(u32, u32, u64),
    /// The place behind the transaction.
    File(std::sync::Arc<str>, u64),
}

impl Coordinates {
    /// Moves past one transaction. A step of another kind than the coordinates is ignored: streams
    /// never mix them.
    pub fn advance(&mut self, step: &Step) {
        match (self, step) {
            (Coordinates::Gtid(set), Step::Gtid(source, number)) => set.add(source, *number),
            (Coordinates::Maria(position), Step::Maria(domain, server, sequence)) => {
                position.0.insert(*domain, (*server, *sequence));
            }
            (Coordinates::File { name, position }, Step::File(file, offset)) => {
                if name.as_str() != file.as_ref() {
                    *name = file.to_string();
                }
                *position = *offset;
            }
            _ => {}
        }
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Coordinates::Gtid(set) => write!(f, "gtid {set}"),
            Coordinates::Maria(position) => write!(f, "mariadb {position}"),
            Coordinates::File { name, position } => write!(f, "file {name}:{position}"),
        }
    }
}

impl FromStr for Coordinates {
    type Err = Failure;

    /// Reads what `Display` wrote: for the checkpoint table.
    fn from_str(text: &str) -> Result<Coordinates> {
        let bad = || Failure::failed(format!("`{text}` are no coordinates"));
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        match kind {
            "gtid" => Ok(Coordinates::Gtid(rest.parse()?)),
            "mariadb" => Ok(Coordinates::Maria(rest.parse()?)),
            "file" => {
                let (name, position) = rest.rsplit_once(':').ok_or_else(bad)?;
                Ok(Coordinates::File {
                    name: name.to_string(),
                    position: position.parse().map_err(|_| bad())?,
                })
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn sets_are_read_as_the_server_prints_them() {
        let text = format!("{A}:1-25:30:tag:1-3,\n{B}:7");
        assert_eq!(set(&text).to_string(), format!("{A}:1-25:30:tag:1-3,{B}:7"));
        assert!("nonsense:1".parse::<GtidSet>().is_err());
        assert!(format!("{A}:5-3").parse::<GtidSet>().is_err());
    }

    #[test]
    fn coordinates_survive_the_checkpoint_table() {
        for text in [
            format!("gtid {A}:1-5"),
            "gtid ".to_string(),
            "mariadb 0-1-100,1-5-3".to_string(),
            "file binlog.000001:5000000000".to_string(),
        ] {
            assert_eq!(text.parse::<Coordinates>().unwrap().to_string(), text);
        }
        assert!("file x".parse::<Coordinates>().is_err());
    }

    #[test]
    fn steps_move_each_kind() {
        let mut at: Coordinates = "mariadb 0-1-5".parse().unwrap();
        at.advance(&Step::Maria(0, 2, 6));
        at.advance(&Step::Maria(1, 2, 1));
        assert_eq!(at.to_string(), "mariadb 0-2-6,1-2-1");
        let mut at: Coordinates = "file a.1:4".parse().unwrap();
        at.advance(&Step::File("a.2".into(), 1 << 33));
        assert_eq!(at.to_string(), "file a.2:8589934592");
    }

    proptest! {
        /// The algebra against plain sets of numbers.
        #[test]
        fn algebra_is_that_of_sets(
            a in proptest::collection::btree_set(1u64..60, 0..40),
            b in proptest::collection::btree_set(1u64..60, 0..40),
        ) {
            let source = GtidSource { uuid: A.into(), tag: String::new() };
            let make = |numbers: &std::collections::BTreeSet<u64>| {
                let mut set = GtidSet::default();
                // Out of order, as commits of several threads arrive.
                for number in numbers.iter().rev() { set.add(&source, *number); }
                set
            };
            let (x, y) = (make(&a), make(&b));
            prop_assert_eq!(x.contains(&y), b.is_subset(&a));
            prop_assert_eq!(x.difference(&y), make(&a.difference(&b).copied().collect()));
            let mut z = x.clone();
            z.union(&y);
            prop_assert_eq!(&z, &make(&a.union(&b).copied().collect()));
            prop_assert_eq!(&set(&z.to_string()), &z);
        }
    }
}
