//! The families of keys, and the values of the other columns.

use fastrand::Rng;

/// A kind of primary key.
pub struct Family {
    pub name: &'static str,
    /// Definitions of its columns; `{ci}` is the flavour's usual case-insensitive collation.
    pub columns: &'static str,
    pub key: &'static [&'static str],
    pub definition: &'static str,
    /// Literals of the key with this number, in this spelling: equal keys for the server, other bytes.
    pub literals: fn(u64, u64) -> Vec<String>,
    pub spellings: u64,
}

pub const FAMILIES: &[Family] = &[
    Family {
        name: "bigint",
        columns: "id BIGINT UNSIGNED NOT NULL",
        key: &["id"],
        definition: "PRIMARY KEY (id)",
        // Both ends of the range, far apart.
        literals: |n, _| {
            vec![if n.is_multiple_of(3) {
                (u64::MAX - n).to_string()
            } else {
                n.to_string()
            }]
        },
        spellings: 1,
    },
    Family {
        name: "int",
        columns: "id INT NOT NULL",
        key: &["id"],
        definition: "PRIMARY KEY (id)",
        literals: |n, _| vec![(n.cast_signed() - 1000).to_string()],
        spellings: 1,
    },
    Family {
        name: "composite",
        columns: "tenant INT NOT NULL, seq BIGINT NOT NULL",
        key: &["tenant", "seq"],
        definition: "PRIMARY KEY (tenant, seq)",
        literals: |n, _| vec![(n % 7).to_string(), n.to_string()],
        spellings: 1,
    },
    Family {
        name: "mixed",
        columns: "tenant VARCHAR(10) CHARACTER SET utf8mb4 COLLATE {ci} NOT NULL, day DATE NOT NULL, \
                  nr INT NOT NULL",
        key: &["tenant", "day", "nr"],
        definition: "PRIMARY KEY (tenant DESC, day, nr DESC)",
        literals: |n, spelling| {
            let tenant = ["'ab'", "'AB'", "'áb'"][spelling as usize];
            vec![
                if n.is_multiple_of(2) { tenant } else { "'zz'" }.to_string(),
                format!("'20{:02}-0{}-11'", n % 40, 1 + n % 9),
                n.to_string(),
            ]
        },
        spellings: 3,
    },
    Family {
        name: "ci_string",
        columns: "code VARCHAR(40) CHARACTER SET utf8mb4 COLLATE {ci} NOT NULL",
        key: &["code"],
        definition: "PRIMARY KEY (code)",
        literals: |n, spelling| vec![format!("'{}{n}'", ["key", "KEY", "këY"][spelling as usize])],
        spellings: 3,
    },
    Family {
        name: "padded_string",
        columns: "code VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL",
        key: &["code"],
        definition: "PRIMARY KEY (code)",
        literals: |n, spelling| {
            let (start, end) = [("k", ""), ("K", " "), ("k", "  ")][spelling as usize];
            vec![format!("'{start}{n}{end}'")]
        },
        spellings: 3,
    },
    Family {
        name: "uuid_text",
        columns: "code CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
        key: &["code"],
        definition: "PRIMARY KEY (code)",
        literals: |n, _| {
            let hex = format!("{:032x}", scattered(n));
            vec![format!(
                "'{}-{}-{}-{}-{}'",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )]
        },
        spellings: 1,
    },
    Family {
        name: "uuid_binary",
        columns: "code BINARY(16) NOT NULL",
        key: &["code"],
        definition: "PRIMARY KEY (code)",
        literals: |n, _| vec![format!("x'{:032x}'", scattered(n))],
        spellings: 1,
    },
    Family {
        name: "varbinary",
        columns: "code VARBINARY(20) NOT NULL",
        key: &["code"],
        definition: "PRIMARY KEY (code)",
        // Zeros at the end count in VARBINARY.
        literals: |n, _| vec![format!("x'{:08x}{}'", n / 3, "00".repeat((n % 3) as usize))],
        spellings: 1,
    },
    Family {
        name: "decimal",
        columns: "amount DECIMAL(18, 4) NOT NULL",
        key: &["amount"],
        definition: "PRIMARY KEY (amount)",
        literals: |n, _| {
            let sign = if n.is_multiple_of(2) { "" } else { "-" };
            vec![format!("{sign}{}.{:04}", n / 10, n % 10 * 101)]
        },
        spellings: 1,
    },
    Family {
        name: "datetime",
        columns: "moment DATETIME(6) NOT NULL",
        key: &["moment"],
        definition: "PRIMARY KEY (moment)",
        literals: |n, _| {
            let (minute, second) = (n / 60 % 60, n % 60);
            vec![format!(
                "'{}-03-01 12:{minute:02}:{second:02}.{n:06}'",
                1969 + n % 5
            )]
        },
        spellings: 1,
    },
    Family {
        name: "timestamp",
        columns: "nr SMALLINT NOT NULL, moment TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)",
        key: &["moment", "nr"],
        definition: "PRIMARY KEY (moment, nr)",
        literals: |n, _| {
            vec![
                format!(
                    "'2024-10-27 00:{:02}:{:02}.{:03}'",
                    n / 60 % 60,
                    n % 60,
                    n % 1000
                ),
                (n / 3600).to_string(),
            ]
        },
        spellings: 1,
    },
    Family {
        name: "time",
        columns: "span TIME(3) NOT NULL",
        key: &["span"],
        definition: "PRIMARY KEY (span)",
        literals: |n, _| {
            let sign = if n.is_multiple_of(2) { "" } else { "-" };
            vec![format!(
                "'{sign}{}:{:02}:{:02}.{:03}'",
                n % 800,
                n / 60 % 60,
                n % 60,
                n % 1000
            )]
        },
        spellings: 1,
    },
    Family {
        name: "enum",
        columns: "kind ENUM('zeta', 'alpha', 'mid') CHARACTER SET utf8mb4 NOT NULL, nr INT NOT NULL",
        key: &["kind", "nr"],
        definition: "PRIMARY KEY (kind, nr)",
        literals: |n, _| {
            vec![
                ["'zeta'", "'alpha'", "'mid'"][(n % 3) as usize].to_string(),
                (n / 2).to_string(),
            ]
        },
        spellings: 1,
    },
    Family {
        name: "no_primary",
        columns: "code INT NOT NULL",
        key: &["code"],
        definition: "UNIQUE KEY by_code (code)",
        literals: |n, _| vec![n.to_string()],
        spellings: 1,
    },
];

/// A number's own 16 bytes, in no order; different numbers have different ones, since multiplying by an
/// odd number can be undone.
fn scattered(n: u64) -> u128 {
    (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Part of the key.
    Key(usize),
    /// The writer that the row belongs to.
    Writer,
    /// A small number that many rows share.
    Group,
    /// Unique, may be NULL.
    MaybeUnique,
    /// Unique.
    Unique,
    Int,
    MaybeInt,
    Name,
    Latin,
    Enum,
    Set,
    Decimal,
    Double,
    DateTime,
    Timestamp,
    Binary,
    Bits,
    Json,
    Text,
}

/// Groups of rows.
pub const GROUPS: u32 = 40;

/// All columns but the key's: name, type, what it holds. The table's character set is latin1.
pub const COLUMNS: &[(&str, &str, Kind)] = &[
    ("w", "TINYINT UNSIGNED NOT NULL", Kind::Writer),
    ("g", "SMALLINT NOT NULL", Kind::Group),
    ("u", "BIGINT NULL", Kind::MaybeUnique),
    ("x", "BIGINT NOT NULL", Kind::Unique),
    ("a", "INT NOT NULL DEFAULT 0", Kind::Int),
    ("b", "INT NULL", Kind::MaybeInt),
    (
        "name",
        "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE {ci} NULL",
        Kind::Name,
    ),
    ("lat", "VARCHAR(40) NOT NULL DEFAULT ''", Kind::Latin),
    (
        "e",
        "ENUM('red', 'green', 'blue', 'émeraude') CHARACTER SET {labels} NULL",
        Kind::Enum,
    ),
    ("st", "SET('x', 'y', 'z') NULL", Kind::Set),
    ("d", "DECIMAL(12, 3) NULL", Kind::Decimal),
    ("f", "DOUBLE NULL", Kind::Double),
    ("at", "DATETIME(3) NULL", Kind::DateTime),
    ("ts", "TIMESTAMP(6) NULL DEFAULT NULL", Kind::Timestamp),
    ("bin", "VARBINARY(24) NULL", Kind::Binary),
    ("bits", "BIT(9) NULL", Kind::Bits),
    ("doc", "JSON NULL", Kind::Json),
    ("txt", "TEXT NULL", Kind::Text),
];

/// A value as a literal. Key, writer and unique values are not random; the caller knows them.
pub fn random_literal(kind: Kind, rng: &mut Rng) -> String {
    let may_be_null = !matches!(kind, Kind::Group | Kind::Int | Kind::Latin);
    if may_be_null && rng.u8(..8) == 0 {
        return "NULL".to_string();
    }
    match kind {
        Kind::Key(_) | Kind::Writer | Kind::MaybeUnique | Kind::Unique => {
            unreachable!("{kind:?} is never random")
        }
        Kind::Group => rng.u32(..GROUPS).to_string(),
        Kind::Int | Kind::MaybeInt => match rng.u8(..6) {
            0 => i32::MIN.to_string(),
            1 => i32::MAX.to_string(),
            2 => rng.i32(..).to_string(),
            _ => rng.i32(-50..50).to_string(),
        },
        Kind::Name => text(
            rng,
            &["a", "B", "ß", "é", "日本", "😀", " ", "'", "\\", "\0", "%"],
            9,
        ),
        Kind::Latin => latin(rng),
        Kind::Enum => ["'red'", "'green'", "'blue'", "'émeraude'"][rng.usize(..4)].to_string(),
        Kind::Set => ["''", "'x'", "'y,z'", "'x,y,z'", "'x,z'"][rng.usize(..5)].to_string(),
        Kind::Decimal => format!("{}.{:03}", rng.i32(-9_999_999..9_999_999), rng.u16(..1000)),
        Kind::Double => format!("{:e}", (rng.f64() - 0.5) * 10f64.powi(rng.i32(-8..12))),
        Kind::DateTime => format!(
            "'{}-{:02}-{:02} {:02}:{:02}:59.{:03}'",
            rng.u16(1000..9999),
            rng.u8(1..=12),
            rng.u8(1..=28),
            rng.u8(..24),
            rng.u8(..60),
            rng.u16(..1000)
        ),
        Kind::Timestamp => format!(
            "'{}-{:02}-{:02} {:02}:{:02}:00.{:06}'",
            rng.u16(1971..2037),
            rng.u8(1..=12),
            rng.u8(1..=28),
            rng.u8(..24),
            rng.u8(..60),
            rng.u32(..1_000_000)
        ),
        Kind::Binary => {
            let bytes: Vec<u8> = (0..rng.usize(..24)).map(|_| rng.u8(..)).collect();
            format!("x'{}'", hex(&bytes))
        }
        Kind::Bits => format!("b'{:b}'", rng.u16(..512)),
        // As the server itself writes it, so that a text column holds the same.
        Kind::Json => format!(
            "'{{\"k\": {}, \"list\": [true, null, \"ü\"]}}'",
            rng.i32(..)
        ),
        Kind::Text => {
            let length = if rng.u8(..20) == 0 { 900 } else { 12 };
            text(rng, &["lorem ", "ipsum\n", "é", "\t", "0"], length)
        }
    }
}

fn text(rng: &mut Rng, alphabet: &[&str], length_max: usize) -> String {
    let text: String = (0..rng.usize(..length_max))
        .map(|_| alphabet[rng.usize(..alphabet.len())])
        .collect();
    format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
}

/// Any bytes but those that latin1 (Windows-1252) leaves undefined.
fn latin(rng: &mut Rng) -> String {
    let bytes: Vec<u8> = (0..rng.usize(..20))
        .map(|_| match rng.u8(..) {
            byte @ 0x81..=0x9f => byte + 0x20,
            byte => byte,
        })
        .collect();
    format!("_latin1 x'{}'", hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
