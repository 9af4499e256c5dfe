//! `replay(x) = copy(x)` for types, changes of type and values taken at random.
//!
//! `CHANGELING_SEED=n` tries another draw.

use fastrand::Rng;

use super::fidelity::{Column, try_columns};
use crate::support::both;

const VALUES: usize = 12;
const COLUMNS: usize = 30;

#[tokio::test]
async fn random_types_and_values() {
    let seed = std::env::var("CHANGELING_SEED").map_or(20_261_128, |seed| seed.parse().unwrap());
    both(async |server| {
        let mut rng = Rng::with_seed(seed);
        let columns: Vec<Column> = (0..COLUMNS).map(|_| column(&mut rng)).collect();
        println!("seed {seed}");
        for column in &columns {
            println!("{column:?}");
        }
        assert_eq!(try_columns(server, &columns).await, 0);
    })
    .await;
}

fn column(rng: &mut Rng) -> Column {
    match rng.u8(0..13) {
        0 | 1 => integer(rng),
        2 => decimal(rng),
        3 => float(rng),
        4 => bit(rng),
        5 | 6 => text(rng),
        7 => binary(rng),
        8 => datetime(rng),
        9 => timestamp(rng),
        10 => time(rng),
        11 => choice(rng, "ENUM"),
        _ => choice(rng, "SET"),
    }
}

fn build(source: String, target: String, mut value: impl FnMut() -> String) -> Column {
    Column {
        source,
        target,
        values: (0..VALUES).map(|_| value()).collect(),
    }
}

fn integer(rng: &mut Rng) -> Column {
    const KINDS: [(&str, u32); 5] = [
        ("TINYINT", 8),
        ("SMALLINT", 16),
        ("MEDIUMINT", 24),
        ("INT", 32),
        ("BIGINT", 64),
    ];
    let pick = |rng: &mut Rng| {
        let (name, bits) = KINDS[rng.usize(0..KINDS.len())];
        match rng.bool() {
            true => (format!("{name} UNSIGNED"), 0, (1i128 << bits) - 1),
            false => (
                name.to_string(),
                -(1i128 << (bits - 1)),
                (1i128 << (bits - 1)) - 1,
            ),
        }
    };
    let (source, low, high) = pick(rng);
    let (target, target_low, target_high) = pick(rng);
    let (low, high) = (low.max(target_low), high.min(target_high));
    build(source, target, || {
        let number = match rng.u8(0..4) {
            0 => low,
            1 => high,
            2 => rng.i128(low.max(-3)..=3),
            _ => rng.i128(low..=high),
        };
        number.to_string()
    })
}

fn decimal(rng: &mut Rng) -> Column {
    let scale = rng.usize(0..=20);
    let whole = rng.usize(usize::from(scale == 0)..=25);
    let (more_whole, more_scale) = (rng.usize(0..=10), rng.usize(0..=10));
    build(
        format!("DECIMAL({},{scale})", whole + scale),
        format!(
            "DECIMAL({},{})",
            whole + scale + more_whole + more_scale,
            scale + more_scale
        ),
        || {
            let mut digits = |count: usize| -> String {
                let all = rng.u8(0..4);
                (0..count)
                    .map(|_| match all {
                        0 => '0',
                        1 => '9',
                        _ => rng.digit(10),
                    })
                    .collect()
            };
            let (whole, fraction) = (digits(whole), digits(scale));
            let sign = if rng.bool() { "-" } else { "" };
            format!("{sign}0{whole}.{fraction}0")
        },
    )
}

fn float(rng: &mut Rng) -> Column {
    if rng.bool() {
        let target = ["FLOAT", "DOUBLE"][rng.usize(0..2)];
        return build("FLOAT".into(), target.into(), || {
            let value = f32::from_bits(rng.u32(..));
            let value = if value.is_finite() { value } else { f32::MAX };
            format!("{:e}", f64::from(value))
        });
    }
    build("DOUBLE".into(), "DOUBLE".into(), || {
        let value = f64::from_bits(rng.u64(..));
        format!("{:e}", if value.is_finite() { value } else { f64::MIN })
    })
}

fn bit(rng: &mut Rng) -> Column {
    let bits = rng.u32(1..=64);
    let more = rng.u32(bits..=64);
    build(format!("BIT({bits})"), format!("BIT({more})"), || {
        (rng.u64(..) >> (64 - bits)).to_string()
    })
}

/// Characters that all of these character sets have.
const SETS: [&str; 6] = ["latin1", "utf8mb4", "utf8mb3", "utf16", "ucs2", "utf32"];
const CHARACTERS: &[char] = &[
    'a', 'Z', ' ', ' ', '\'', '"', '\\', '\n', '\0', '%', 'é', 'ß', 'ÿ', '€',
];

fn text(rng: &mut Rng) -> Column {
    let kind = |rng: &mut Rng| {
        let set = SETS[rng.usize(0..SETS.len())];
        let kind = [
            "CHAR(20)",
            "VARCHAR(20)",
            "VARCHAR(300)",
            "TINYTEXT",
            "TEXT",
            "LONGTEXT",
        ][rng.usize(0..6)];
        format!("{kind} CHARACTER SET {set}")
    };
    let (source, target) = (kind(rng), kind(rng));
    build(source, target, || {
        let length = rng.usize(0..=20);
        let text: String = (0..length)
            .map(|_| CHARACTERS[rng.usize(0..CHARACTERS.len())])
            .collect();
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        format!("_utf8mb4 x'{hex}'")
    })
}

fn binary(rng: &mut Rng) -> Column {
    const KINDS: [&str; 5] = [
        "BINARY(9)",
        "VARBINARY(9)",
        "VARBINARY(300)",
        "TINYBLOB",
        "MEDIUMBLOB",
    ];
    let source = KINDS[rng.usize(0..KINDS.len())].to_string();
    let target = KINDS[rng.usize(0..KINDS.len())].to_string();
    build(source, target, || {
        let bytes = (0..rng.usize(0..=9)).map(|_| match rng.u8(0..3) {
            0 => 0,
            1 => b' ',
            _ => rng.u8(..),
        });
        let hex: String = bytes.map(|byte| format!("{byte:02X}")).collect();
        format!("x'{hex}'")
    })
}

fn digits_and_more(rng: &mut Rng, kind: &str) -> (String, String, usize) {
    let digits = rng.usize(0..=6);
    let more = rng.usize(digits..=6);
    (
        format!("{kind}({digits})"),
        format!("{kind}({more})"),
        digits,
    )
}

fn fraction(rng: &mut Rng, digits: usize) -> String {
    match digits {
        0 => String::new(),
        _ => format!(
            ".{}",
            (0..digits).map(|_| rng.digit(10)).collect::<String>()
        ),
    }
}

fn datetime(rng: &mut Rng) -> Column {
    let (mut source, target, digits) = digits_and_more(rng, "DATETIME");
    if digits == 0 {
        source = ["DATE", "DATETIME"][rng.usize(0..2)].to_string();
    }
    build(source.clone(), target, || {
        if rng.u8(0..8) == 0 {
            return "'0000-00-00'".to_string();
        }
        let (year, month, day) = (rng.u16(0..=9999), rng.u8(0..=12), rng.u8(0..=31));
        let date = format!("{year:04}-{month:02}-{day:02}");
        if source == "DATE" {
            return format!("'{date}'");
        }
        let (hour, minute, second) = (rng.u8(0..24), rng.u8(0..60), rng.u8(0..60));
        format!(
            "'{date} {hour:02}:{minute:02}:{second:02}{}'",
            fraction(rng, digits)
        )
    })
}

fn timestamp(rng: &mut Rng) -> Column {
    let (source, target, digits) = digits_and_more(rng, "TIMESTAMP");
    build(source, target, || match rng.u8(0..6) {
        0 => "0".to_string(),
        1 => "'2038-01-19 03:14:07'".to_string(),
        _ => format!(
            "FROM_UNIXTIME({}{})",
            rng.u32(1..=i32::MAX as u32 - 1),
            fraction(rng, digits)
        ),
    })
}

fn time(rng: &mut Rng) -> Column {
    let (source, target, digits) = digits_and_more(rng, "TIME");
    build(source, target, || {
        let sign = if rng.bool() { "-" } else { "" };
        let most = [0, 1, 30, 837][rng.usize(0..4)];
        let hour = rng.u16(0..=most);
        let (minute, second) = (rng.u8(0..60), rng.u8(0..60));
        format!(
            "'{sign}{hour:02}:{minute:02}:{second:02}{}'",
            fraction(rng, digits)
        )
    })
}

/// Labels in any order, and some more.
fn choice(rng: &mut Rng, kind: &str) -> Column {
    let count = rng.usize(1..=40);
    let labels: Vec<String> = (0..count)
        .map(|n| format!("{}{n}", ["a", "é b", "it''s"][n % 3]))
        .collect();
    let mut more = labels.clone();
    if rng.bool() {
        more.push("more".to_string());
        rng.shuffle(&mut more);
    }
    let set = |rng: &mut Rng| ["latin1", "utf8mb4"][rng.usize(0..2)];
    let define = |labels: &[String], set: &str| {
        format!("{kind}('{}') CHARACTER SET {set}", labels.join("','"))
    };
    let (source, target) = (define(&labels, set(rng)), define(&more, set(rng)));
    build(source, target, || match kind {
        "ENUM" => format!("'{}'", labels[rng.usize(0..count)]),
        _ => {
            let chosen: Vec<&str> = labels
                .iter()
                .filter(|_| rng.bool())
                .map(String::as_str)
                .collect();
            format!("'{}'", chosen.join(","))
        }
    })
}
