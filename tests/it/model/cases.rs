//! What is altered: every ALTER with a family of key.

use changeling::mysql::Flavour;

use super::families::{COLUMNS, FAMILIES, Family, Kind};

/// Unique keys on the columns `u` and `x`, besides the family's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Uniques {
    /// With and without, in turn.
    Either,
    /// Must be there.
    With,
    /// Must not be there.
    Without,
}

/// An ALTER and what it does to the columns that writers write.
pub struct Alter {
    pub name: &'static str,
    /// `{ci}`, `{other}`: collations; `{key}`: the key's columns; `{first}`: the first of them.
    pub sql: &'static str,
    pub renames: &'static [(&'static str, &'static str)],
    pub dropped: &'static [&'static str],
    pub uniques: Uniques,
    /// Whether writers write rows over others with the same key.
    pub upserts: bool,
    /// Further definitions in the original table.
    pub extra: &'static str,
}

const PLAIN: Alter = Alter {
    name: "",
    sql: "",
    renames: &[],
    dropped: &[],
    uniques: Uniques::Either,
    upserts: true,
    extra: "",
};

pub const ALTERS: &[Alter] = &[
    Alter {
        name: "add_column",
        sql: "ADD COLUMN added INT NOT NULL DEFAULT 7, ADD COLUMN note VARCHAR(20) DEFAULT 'n' AFTER g",
        ..PLAIN
    },
    Alter {
        name: "drop_column",
        sql: "DROP COLUMN f, DROP COLUMN txt",
        dropped: &["f", "txt"],
        ..PLAIN
    },
    Alter {
        name: "widen",
        sql: "MODIFY a BIGINT NOT NULL DEFAULT 0, MODIFY d DECIMAL(20, 6) NULL, MODIFY at DATETIME(6) NULL, \
              MODIFY bin VARBINARY(300) NULL, MODIFY bits BIT(20) NULL",
        ..PLAIN
    },
    Alter {
        name: "narrow",
        sql: "MODIFY d DECIMAL(11, 1) NULL, MODIFY f FLOAT NULL, MODIFY at DATETIME NULL",
        ..PLAIN
    },
    Alter {
        name: "other_types",
        sql: "DROP KEY by_name, MODIFY a VARCHAR(20) NOT NULL DEFAULT '0', MODIFY b DECIMAL(14, 2) NULL, \
              MODIFY name MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL, MODIFY doc LONGTEXT \
              CHARACTER SET utf8mb4 NULL",
        ..PLAIN
    },
    Alter {
        name: "change",
        sql: "CHANGE a amount_of BIGINT NOT NULL DEFAULT 1 FIRST",
        renames: &[("a", "amount_of")],
        ..PLAIN
    },
    Alter {
        name: "rename",
        sql: "RENAME COLUMN name TO title, RENAME COLUMN x TO y",
        renames: &[("name", "title"), ("x", "y")],
        ..PLAIN
    },
    Alter {
        name: "rename_key",
        sql: "RENAME COLUMN {first} TO renamed_key, ADD COLUMN added INT",
        renames: &[("{first}", "renamed_key")],
        ..PLAIN
    },
    Alter {
        name: "exchange_by_rename",
        sql: "RENAME COLUMN a TO b, RENAME COLUMN b TO a",
        renames: &[("a", "b"), ("b", "a")],
        ..PLAIN
    },
    Alter {
        name: "exchange_by_change",
        sql: "CHANGE x u BIGINT NOT NULL, CHANGE u x BIGINT NULL",
        renames: &[("x", "u"), ("u", "x")],
        ..PLAIN
    },
    Alter {
        name: "rename_and_add_old_name",
        sql: "RENAME COLUMN a TO old_a, ADD COLUMN a INT NOT NULL DEFAULT 5",
        renames: &[("a", "old_a")],
        ..PLAIN
    },
    Alter {
        name: "change_and_add_old_name",
        sql: "CHANGE b old_b BIGINT NULL, ADD COLUMN b VARCHAR(9) DEFAULT 'new' AFTER w",
        renames: &[("b", "old_b")],
        ..PLAIN
    },
    Alter {
        name: "reorder",
        sql: "MODIFY w TINYINT UNSIGNED NOT NULL AFTER doc, MODIFY txt TEXT NULL FIRST, MODIFY x BIGINT NOT NULL \
              AFTER b",
        ..PLAIN
    },
    Alter {
        name: "column_charset",
        sql: "MODIFY lat VARCHAR(40) CHARACTER SET utf8mb4 COLLATE {other} NOT NULL DEFAULT '', \
              MODIFY txt TEXT CHARACTER SET utf8mb4 NULL, MODIFY e ENUM('red', 'green', 'blue', 'émeraude') CHARACTER SET utf8mb4 NULL",
        ..PLAIN
    },
    Alter {
        name: "table_charset",
        sql: "CONVERT TO CHARACTER SET utf8mb4 COLLATE {other}",
        ..PLAIN
    },
    Alter {
        name: "enum_reorder",
        sql: "MODIFY e ENUM('new', 'blue', 'émeraude', 'red', 'green') NULL, MODIFY st SET('z', 'y', 'x', 'new') NULL",
        ..PLAIN
    },
    Alter {
        name: "add_unique",
        sql: "ADD UNIQUE KEY by_x (x), ADD UNIQUE KEY by_u (u), DROP KEY by_name",
        uniques: Uniques::Without,
        ..PLAIN
    },
    Alter {
        name: "add_generated",
        sql: "ADD COLUMN total BIGINT GENERATED ALWAYS AS (x + g) STORED, ADD COLUMN shown VARCHAR(80) CHARACTER \
              SET utf8mb4 GENERATED ALWAYS AS (CONCAT(lat, '-')) VIRTUAL, ADD KEY by_shown (shown)",
        ..PLAIN
    },
    Alter {
        name: "has_generated",
        sql: "ADD COLUMN added INT NOT NULL DEFAULT 3, MODIFY gs BIGINT GENERATED ALWAYS AS (x * 3) STORED, \
              DROP COLUMN gone",
        extra: ", gs BIGINT GENERATED ALWAYS AS (x * 2) STORED, gv BIGINT GENERATED ALWAYS AS (g + 1) VIRTUAL, \
                gone INT GENERATED ALWAYS AS (g + 2) STORED, KEY by_gv (gv)",
        ..PLAIN
    },
    Alter {
        // The key's columns are no longer unique by themselves: the other unique key identifies rows.
        name: "primary_key",
        sql: "DROP PRIMARY KEY, ADD PRIMARY KEY (g, {key})",
        uniques: Uniques::With,
        upserts: false,
        ..PLAIN
    },
    Alter {
        name: "rebuild",
        sql: "ENGINE=InnoDB, ROW_FORMAT=COMPACT, COMMENT='rebuilt; it''s new'",
        ..PLAIN
    },
    Alter {
        name: "partition",
        sql: "PARTITION BY KEY () PARTITIONS 3",
        uniques: Uniques::Without,
        ..PLAIN
    },
];

/// One table, one ALTER, one way of running the program.
pub struct Case {
    pub flavour: Flavour,
    pub seed: u64,
    pub alter: &'static Alter,
    pub family: &'static Family,
    /// Whether `u` and `x` are unique in the original.
    pub uniques: bool,
    /// Options of `changeling migrate`.
    pub options: Vec<String>,
}

impl Case {
    /// The case of this number (an ALTER's) under this seed. Over as many seeds as there are families
    /// every ALTER meets every family.
    pub fn new(flavour: Flavour, seed: u64, number: usize) -> Case {
        let alter = &ALTERS[number];
        let turn = number as u64 + seed;
        let mut family = &FAMILIES[(turn % FAMILIES.len() as u64) as usize];
        // Without a primary key there is nothing to drop.
        if alter.name == "primary_key" && family.name == "no_primary" {
            family = &FAMILIES[0];
        }
        let choice = |salt: u64, words: &[&str]| -> String {
            let at = fastrand::Rng::with_seed(turn * 31 + salt).usize(..words.len());
            words[at].to_string()
        };
        let chunk_size = choice(1, &["23", "100", "400"]);
        let options = [
            format!("--chunk-size={chunk_size}"),
            format!("--workers={}", choice(2, &["1", "2", "4"])),
            format!("--apply-workers={}", choice(3, &["1", "4"])),
            format!("--copy={}", choice(4, &["auto", "auto", "locking"])),
            format!("--replay={}", choice(5, &["auto", "auto", "reread"])),
            format!("--defer-indexes={}", choice(6, &["auto", "on", "off"])),
            format!("--verify={}", choice(7, &["after", "after", "off"])),
        ];
        Case {
            flavour,
            seed,
            alter,
            family,
            uniques: match alter.uniques {
                Uniques::Either => !turn.is_multiple_of(3),
                Uniques::With => true,
                Uniques::Without => false,
            },
            options: options.into(),
        }
    }

    pub fn name(&self) -> String {
        format!("{} on {}", self.alter.name, self.family.name)
    }

    /// The columns that writers write: name and content, the key's first.
    pub fn columns(&self) -> Vec<(String, Kind)> {
        let key = self.family.key.iter().enumerate();
        let key = key.map(|(at, name)| ((*name).to_string(), Kind::Key(at)));
        let others = COLUMNS
            .iter()
            .map(|(name, _, kind)| ((*name).to_string(), *kind));
        key.chain(others).collect()
    }

    /// `CREATE TABLE` of the original.
    pub fn create(&self) -> String {
        let columns: Vec<String> = COLUMNS
            .iter()
            .map(|(name, definition, _)| format!("{name} {definition}"))
            .collect();
        let uniques = if self.uniques {
            "UNIQUE KEY by_u (u), UNIQUE KEY by_x (x), "
        } else {
            ""
        };
        self.filled(&format!(
            "CREATE TABLE t ({}, {}, {}, {uniques}KEY by_w (w, g), KEY by_name (name){}) \
             ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT='a table'",
            self.family.columns,
            columns.join(", "),
            self.family.definition,
            self.alter.extra
        ))
    }

    /// The ALTER's clauses.
    pub fn clauses(&self) -> String {
        self.filled(self.alter.sql)
    }

    /// A column's name in the new definition; `None` if it is gone.
    pub fn new_name(&self, old: &str) -> Option<String> {
        if self.alter.dropped.contains(&old) {
            return None;
        }
        let renamed = self
            .alter
            .renames
            .iter()
            .find(|(from, _)| self.filled(from) == old);
        Some(renamed.map_or(old, |(_, to)| to).to_string())
    }

    /// Whether statements for the old definition can fail, or write to a wrong column, under the new one.
    pub fn writers_must_look(&self) -> bool {
        !self.alter.renames.is_empty() || !self.alter.dropped.is_empty()
    }

    fn filled(&self, text: &str) -> String {
        let ci = match self.flavour {
            Flavour::MySql => "utf8mb4_0900_ai_ci",
            Flavour::MariaDb => "utf8mb4_unicode_520_ci",
        };
        text.replace("{ci}", ci)
            // CONVERT TO spoils labels outside of ASCII on both servers (seen on 9.7 and 10.11).
            .replace(
                "{labels}",
                if self.alter.name == "table_charset" {
                    "utf8mb4"
                } else {
                    "latin1"
                },
            )
            .replace("{other}", "utf8mb4_general_ci")
            .replace("{key}", &self.family.key.join(", "))
            .replace("{first}", self.family.key[0])
    }
}
