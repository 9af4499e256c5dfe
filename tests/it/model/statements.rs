//! The statements that writers run, and what they do to the rows.

use fastrand::Rng;

use super::families::{GROUPS, Kind, random_literal};
use super::rows::{Changes, Row, Rows};
use super::writer::Traffic;

/// Statements for one of the two definitions.
pub struct Statements<'a> {
    traffic: &'a Traffic,
    /// Names of the model's columns in this definition; `None`: gone.
    names: Vec<Option<String>>,
}

impl<'a> Statements<'a> {
    pub fn new(traffic: &'a Traffic, is_altered: bool) -> Statements<'a> {
        let case = &traffic.case;
        let columns = traffic.shape.columns.iter();
        let names = columns
            .map(|(name, _)| {
                if is_altered {
                    case.new_name(name)
                } else {
                    Some(name.clone())
                }
            })
            .collect();
        Statements { traffic, names }
    }

    /// A random operation: its statements, to run in one transaction, with what they do noted in `changes`.
    pub fn plan(&self, known: &mut Rows, changes: &mut Changes, rng: &mut Rng) -> Vec<String> {
        match rng.u8(..16) {
            0 => self.exchange_keys(known, changes, rng),
            1 => self.exchange_numbers(Kind::Unique, known, changes, rng),
            2 => self.exchange_numbers(Kind::MaybeUnique, known, changes, rng),
            3 => self.shift_keys(known, changes, rng),
            4 => self.delete_and_insert(known, changes, rng),
            _ => Some(self.plan_one(known, changes, rng)),
        }
        .unwrap_or_default()
    }

    /// The same with one statement at most.
    pub fn plan_one(&self, known: &mut Rows, changes: &mut Changes, rng: &mut Rng) -> Vec<String> {
        let sql = match rng.u8(..32) {
            0..=4 => self.insert("INSERT", known, changes, rng),
            5 => self.insert("REPLACE", known, changes, rng),
            6..=8 => self.delete(known, changes, rng),
            9 => Some(self.delete_group(known, changes, rng)),
            10..=11 => Some(self.update_group(known, changes, rng)),
            12..=14 => self.move_key(known, changes, rng),
            15 => self.spell_key(known, changes, rng),
            16..=17 => self.replace(known, changes, rng),
            18..=19 => self.upsert(known, changes, rng),
            _ => self.update(known, changes, rng),
        };
        sql.into_iter().collect()
    }

    fn insert(
        &self,
        verb: &str,
        known: &mut Rows,
        changes: &mut Changes,
        rng: &mut Rng,
    ) -> Option<String> {
        let mut rows = Vec::new();
        for _ in 0..rng.usize(1..6) {
            let Some(slot) = changes.free(known, rng) else {
                break;
            };
            let row = known.new_row(&self.traffic.shape, slot, rng);
            rows.push(self.values(&row));
            changes.put(slot, row);
        }
        if rows.is_empty() {
            return None;
        }
        Some(format!(
            "{verb} INTO t ({}) VALUES {}",
            self.list(),
            rows.join(", ")
        ))
    }

    fn delete(&self, known: &Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        let slot = changes.taken(known, rng)?;
        let condition = self.condition(changes.get(known, slot)?);
        changes.remove(slot);
        Some(format!("DELETE FROM t WHERE {condition}"))
    }

    fn delete_group(&self, known: &Rows, changes: &mut Changes, rng: &mut Rng) -> String {
        let (group, slots) = self.group(known, changes, rng);
        for slot in slots {
            changes.remove(slot);
        }
        format!("DELETE FROM t WHERE w = {} AND g = {group}", known.writer)
    }

    fn update_group(&self, known: &Rows, changes: &mut Changes, rng: &mut Rng) -> String {
        let (group, slots) = self.group(known, changes, rng);
        let at = self.traffic.shape.at(Kind::MaybeInt);
        let value = random_literal(Kind::MaybeInt, rng);
        for slot in slots {
            if let Some(mut row) = changes.get(known, slot).cloned() {
                row[at].clone_from(&value);
                changes.put(slot, row);
            }
        }
        let name = self.name(at);
        format!(
            "UPDATE t SET {name} = {value} WHERE w = {} AND g = {group}",
            known.writer
        )
    }

    /// A group's number and its rows.
    fn group(&self, known: &Rows, changes: &Changes, rng: &mut Rng) -> (String, Vec<u64>) {
        let at = self.traffic.shape.at(Kind::Group);
        let group = rng.u32(..GROUPS).to_string();
        let mut slots = changes.slots(known);
        slots.retain(|slot| {
            changes
                .get(known, *slot)
                .is_some_and(|row| row[at] == group)
        });
        (group, slots)
    }

    fn update(&self, known: &mut Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        let slot = changes.taken(known, rng)?;
        let mut row = changes.get(known, slot)?.clone();
        let condition = self.condition(&row);
        let set = self.assignments(&mut row, known, rng)?;
        changes.put(slot, row);
        Some(format!("UPDATE t SET {set} WHERE {condition}"))
    }

    /// Gives some columns other than the key new values.
    fn assignments(&self, row: &mut Row, known: &mut Rows, rng: &mut Rng) -> Option<String> {
        let shape = &self.traffic.shape;
        let mut set = Vec::new();
        for (at, (_, kind)) in shape.columns.iter().enumerate().skip(shape.key_length()) {
            let Some(name) = &self.names[at] else {
                continue;
            };
            if *kind == Kind::Writer || rng.u8(..6) != 0 {
                continue;
            }
            row[at] = match kind {
                Kind::Unique | Kind::MaybeUnique => known.number().to_string(),
                other => random_literal(*other, rng),
            };
            set.push(format!("`{name}` = {}", row[at]));
        }
        (!set.is_empty()).then(|| set.join(", "))
    }

    fn move_key(&self, known: &Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        let (from, to) = (changes.taken(known, rng)?, changes.free(known, rng)?);
        let key = self.traffic.shape.key(known.writer, to, rng);
        self.set_key(from, to, key, known, changes)
    }

    /// Writes the key differently, which is the same key for the server.
    fn spell_key(&self, known: &Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        if !self.traffic.shape.has_spellings() {
            return None;
        }
        let slot = changes.taken(known, rng)?;
        let key = self.traffic.shape.key(known.writer, slot, rng);
        self.set_key(slot, slot, key, known, changes)
    }

    fn set_key(
        &self,
        from: u64,
        to: u64,
        key: Vec<String>,
        known: &Rows,
        changes: &mut Changes,
    ) -> Option<String> {
        let mut row = changes.get(known, from)?.clone();
        let condition = self.condition(&row);
        let set: Vec<String> = key
            .iter()
            .enumerate()
            .map(|(at, value)| format!("{} = {value}", self.name(at)))
            .collect();
        row.splice(..key.len(), key);
        changes.remove(from);
        changes.put(to, row);
        Some(format!("UPDATE t SET {} WHERE {condition}", set.join(", ")))
    }

    /// b to a free key, a to the key of b.
    fn shift_keys(
        &self,
        known: &Rows,
        changes: &mut Changes,
        rng: &mut Rng,
    ) -> Option<Vec<String>> {
        let (a, b) = (changes.taken(known, rng)?, changes.taken(known, rng)?);
        let free = changes.free(known, rng)?;
        if a == b {
            return None;
        }
        let shape = &self.traffic.shape;
        let (away, next) = (
            shape.key(known.writer, free, rng),
            shape.key(known.writer, b, rng),
        );
        Some(vec![
            self.set_key(b, free, away, known, changes)?,
            self.set_key(a, b, next, known, changes)?,
        ])
    }

    fn exchange_keys(
        &self,
        known: &Rows,
        changes: &mut Changes,
        rng: &mut Rng,
    ) -> Option<Vec<String>> {
        let (a, b) = (changes.taken(known, rng)?, changes.taken(known, rng)?);
        let free = changes.free(known, rng)?;
        if a == b {
            return None;
        }
        let shape = &self.traffic.shape;
        let mut steps = Vec::new();
        for (from, to) in [(a, free), (b, a), (free, b)] {
            let key = shape.key(known.writer, to, rng);
            steps.push(self.set_key(from, to, key, known, changes)?);
        }
        Some(steps)
    }

    /// Two rows exchange their values of a unique column.
    fn exchange_numbers(
        &self,
        kind: Kind,
        known: &Rows,
        changes: &mut Changes,
        rng: &mut Rng,
    ) -> Option<Vec<String>> {
        let (a, b) = (changes.taken(known, rng)?, changes.taken(known, rng)?);
        if a == b {
            return None;
        }
        let at = self.traffic.shape.at(kind);
        let name = self.name(at);
        let (mut row_a, mut row_b) = (
            changes.get(known, a)?.clone(),
            changes.get(known, b)?.clone(),
        );
        let between = match kind {
            Kind::MaybeUnique => "NULL".to_string(),
            // Below all numbers that rows have, and another for each writer.
            _ => format!("-{}", known.writer + 1),
        };
        let set = |row: &Row, value: &str| {
            format!(
                "UPDATE t SET {name} = {value} WHERE {}",
                self.condition(row)
            )
        };
        let steps = vec![
            set(&row_a, &between),
            set(&row_b, &row_a[at]),
            set(&row_a, &row_b[at]),
        ];
        let value = std::mem::take(&mut row_a[at]);
        row_a[at] = std::mem::replace(&mut row_b[at], value);
        changes.put(a, row_a);
        changes.put(b, row_b);
        Some(steps)
    }

    fn delete_and_insert(
        &self,
        known: &mut Rows,
        changes: &mut Changes,
        rng: &mut Rng,
    ) -> Option<Vec<String>> {
        let slot = changes.taken(known, rng)?;
        let condition = self.condition(changes.get(known, slot)?);
        let row = known.new_row(&self.traffic.shape, slot, rng);
        let insert = format!(
            "INSERT INTO t ({}) VALUES {}",
            self.list(),
            self.values(&row)
        );
        changes.put(slot, row);
        Some(vec![format!("DELETE FROM t WHERE {condition}"), insert])
    }

    /// REPLACE of a row that is there.
    fn replace(&self, known: &mut Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        if !self.traffic.case.alter.upserts {
            return None;
        }
        let slot = changes.taken(known, rng)?;
        let mut row = known.new_row(&self.traffic.shape, slot, rng);
        // Half of the time with a unique value kept.
        let at = self.traffic.shape.at(Kind::Unique);
        if rng.bool() {
            row[at].clone_from(&changes.get(known, slot)?[at]);
        }
        let sql = format!(
            "REPLACE INTO t ({}) VALUES {}",
            self.list(),
            self.values(&row)
        );
        changes.put(slot, row);
        Some(sql)
    }

    /// INSERT … ON DUPLICATE KEY UPDATE of a row that is there.
    fn upsert(&self, known: &mut Rows, changes: &mut Changes, rng: &mut Rng) -> Option<String> {
        if !self.traffic.case.alter.upserts {
            return None;
        }
        let slot = changes.taken(known, rng)?;
        let mut row = changes.get(known, slot)?.clone();
        let inserted = known.new_row(&self.traffic.shape, slot, rng);
        let set = self.assignments(&mut row, known, rng)?;
        let sql = format!(
            "INSERT INTO t ({}) VALUES {} ON DUPLICATE KEY UPDATE {set}",
            self.list(),
            self.values(&inserted)
        );
        changes.put(slot, row);
        Some(sql)
    }

    /// A column's name, which this definition has.
    fn name(&self, at: usize) -> String {
        format!("`{}`", self.names[at].as_ref().expect("never dropped"))
    }

    fn list(&self) -> String {
        let names: Vec<String> = self
            .names
            .iter()
            .flatten()
            .map(|name| format!("`{name}`"))
            .collect();
        names.join(", ")
    }

    fn values(&self, row: &Row) -> String {
        let pairs = self.names.iter().zip(row);
        let values: Vec<&str> = pairs
            .filter(|(name, _)| name.is_some())
            .map(|(_, value)| value.as_str())
            .collect();
        format!("({})", values.join(", "))
    }

    /// The row with this key.
    fn condition(&self, row: &Row) -> String {
        let key: Vec<String> = (0..self.traffic.shape.key_length())
            .map(|at| format!("{} = {}", self.name(at), row[at]))
            .collect();
        key.join(" AND ")
    }
}
