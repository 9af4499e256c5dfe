//! How values are written on the command line: durations, sizes, shares, lists, loads.

use std::collections::BTreeMap;
use std::time::Duration;

/// A duration as humantime reads it (`500ms`, `1h30m`); bare digits are seconds.
///
/// # Errors
/// A sentence for clap to print.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("`{text}` is no duration; write `500ms`, `90s`, `1h30m`"));
    }
    humantime::parse_duration(text).map_err(|error| {
        format!("`{text}` is no duration ({error}); write `500ms`, `90s`, `1h30m`")
    })
}

/// A size in bytes, binary units as MySQL's: `65536`, `64K`, `64MiB`, `1G`.
///
/// # Errors
/// A sentence for clap to print.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no size; write `65536`, `64K`, `64MiB`, `1G`");
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let number: u64 = trimmed[..digits].parse().map_err(|_| bad())?;
    let shift = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// A share of a whole in millionths: `5%`, `0.5%`.
///
/// # Errors
/// A sentence for clap to print.
pub fn share(text: &str) -> Result<u32, String> {
    text.trim()
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .map(|percent| ((percent * 1e4).round() as u32).max(1))
        .ok_or_else(|| format!("`{text}` is no share; write `5%`, `0.5%`"))
}

/// Status variables with their limits: `Threads_running=50,Threads_connected=400`.
///
/// # Errors
/// A sentence for clap to print.
pub fn load(text: &str) -> Result<BTreeMap<String, u64>, String> {
    let mut limits = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is not `Status_variable=number`"))?;
        let value = value
            .trim()
            .parse()
            .map_err(|_| format!("the limit in `{part}` is no whole number"))?;
        limits.insert(name.trim().to_string(), value);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-1").is_err() && duration("soon").is_err());
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("100"), Ok(100));
        assert!(size("M").is_err() && size("99999999999G").is_err() && size("1X").is_err());
    }

    #[test]
    fn shares() {
        assert_eq!(share("5%"), Ok(50_000));
        assert_eq!(share("0.5 %"), Ok(5_000));
        assert_eq!(share("100%"), Ok(1_000_000));
        assert!(share("5").is_err() && share("0%").is_err() && share("101%").is_err());
    }

    #[test]
    fn loads() {
        assert_eq!(
            load("Threads_running=50, x=1"),
            Ok(BTreeMap::from([
                ("Threads_running".to_string(), 50),
                ("x".to_string(), 1)
            ]))
        );
        assert!(load("Threads_running").is_err());
        assert_eq!(load(""), Ok(BTreeMap::new()));
    }
}
