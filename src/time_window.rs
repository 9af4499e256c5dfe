//! Times of the week, for the copy and for the cut-over: `22:00-06:00`, `Sat-Sun 00:00-24:00`,
//! `Mon-Fri 22:00-06:00 +02:00`, `02:00-05:00 Europe/Berlin`. Without a zone the times are UTC.
//!
//! A window is open while a clock on the wall of its zone shows a time in it. So where the clock is put
//! forward over a part of it, that part does not happen, and where the clock is put back, that hour
//! happens twice.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::failure::{Failure, Result};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: i64 = 24 * 60;

/// A time window that comes back every day or on some days of the week. One that ends before it
/// begins ends on the next day, and belongs to the day on which it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// First and last day, 0 is Monday; the last may be before the first (`Sat-Mon`).
    days: Option<(usize, usize)>,
    /// Minutes after midnight.
    from: i64,
    /// Minutes after midnight, up to 24:00; not included.
    to: i64,
    zone: Zone,
}

/// Whose clock it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Zone {
    /// Minutes east of UTC.
    Offset(i64),
    /// By name, with its changes of the clock.
    Named(TimeZone),
}

impl Zone {
    /// Minutes east of UTC at a time, seconds since 1970.
    fn offset_at(&self, unix_s: i64) -> i64 {
        match self {
            Zone::Offset(minutes) => *minutes,
            Zone::Named(zone) => {
                // Times that jiff cannot hold are thousands of years away.
                let at = Timestamp::from_second(unix_s).unwrap_or(Timestamp::MAX);
                i64::from(zone.to_offset(at).seconds()).div_euclid(60)
            }
        }
    }
}

impl Window {
    /// Whether the window is open at a time, seconds since 1970 UTC.
    pub fn is_open(&self, unix_s: u64) -> bool {
        let unix_s = i64::try_from(unix_s).unwrap_or(i64::MAX / 2);
        let minutes = unix_s / 60 + self.zone.offset_at(unix_s);
        // 1970-01-01 was a Thursday.
        let day = (minutes.div_euclid(DAY_MINUTES) + 3).rem_euclid(7) as usize;
        let minute = minutes.rem_euclid(DAY_MINUTES);
        let yesterday = (day + 6) % 7;
        if self.from < self.to {
            self.has_day(day) && (self.from..self.to).contains(&minute)
        } else {
            (self.has_day(day) && minute >= self.from)
                || (self.has_day(yesterday) && minute < self.to)
        }
    }

    fn has_day(&self, day: usize) -> bool {
        match self.days {
            None => true,
            Some((first, last)) if first <= last => (first..=last).contains(&day),
            Some((first, last)) => day >= first || day <= last,
        }
    }
}

/// Seconds since 1970 UTC.
pub fn now_unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// In how many seconds the next of these windows opens; 0 if one is open, or there are none. `None`:
/// not within two weeks.
pub fn opens_in_s(windows: &[Window], unix_s: u64) -> Option<u64> {
    const LOOK_AHEAD_S: u64 = 15 * 86_400;
    if any_open(windows, unix_s) {
        return Some(0);
    }
    let minute = unix_s - unix_s % 60;
    (minute + 60..=minute + LOOK_AHEAD_S)
        .step_by(60)
        .find(|at| any_open(windows, *at))
        .map(|at| at - unix_s)
}

/// Windows separated by commas; none for an empty text.
///
/// ```
/// use changeling::time_window::{any_open, opens_in_s, parse_windows};
/// let windows = parse_windows("Mon-Fri 22:00-06:00, Sun 12:00-13:00")?;
/// const HOUR: u64 = 3600;
/// // 1970 began on a Thursday. Saturday's night belongs to Friday, on which it began.
/// assert!(any_open(&windows, 2 * 24 * HOUR + 5 * HOUR));
/// assert!(!any_open(&windows, 3 * 24 * HOUR + 5 * HOUR));
/// assert_eq!(opens_in_s(&windows, 3 * 24 * HOUR + 5 * HOUR), Some(7 * HOUR));
/// # Ok::<(), changeling::failure::Failure>(())
/// ```
///
/// # Errors
/// Usage, with the part that is no window.
pub fn parse_windows(text: &str) -> Result<Vec<Window>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect()
}

/// The windows as [`parse_windows`] reads them.
pub fn windows_text(windows: &[Window]) -> String {
    let list: Vec<String> = windows.iter().map(ToString::to_string).collect();
    list.join(",")
}

/// Whether it may happen: no windows at all, or one that is open.
pub fn any_open(windows: &[Window], unix_s: u64) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.is_open(unix_s))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            Some((first, last)) if first == last => write!(f, "{} ", DAYS[first])?,
            Some((first, last)) => write!(f, "{}-{} ", DAYS[first], DAYS[last])?,
            None => {}
        }
        let clock = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{}-{}", clock(self.from), clock(self.to))?;
        match &self.zone {
            Zone::Offset(0) => Ok(()),
            Zone::Offset(minutes) => {
                let sign = if *minutes < 0 { '-' } else { '+' };
                write!(f, " {sign}{}", clock(minutes.abs()))
            }
            Zone::Named(zone) => write!(f, " {}", zone.iana_name().unwrap_or("UTC")),
        }
    }
}

impl FromStr for Window {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Window> {
        let bad = || {
            Failure::usage(format!("`{text}` is no time window")).remedy(
                "write [DAYS] FROM-TO [ZONE], for example `22:00-06:00`, `Mon-Fri 22:00-06:00 +02:00` or \
                 `02:00-05:00 Europe/Berlin`; without a zone it is UTC",
            )
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        // The zone is what stands behind the times, which have colons.
        let zone = match words.last() {
            Some(word) if word.starts_with(['+', '-']) || !word.contains(':') => {
                let zone = zone(word).ok_or_else(|| {
                    Failure::usage(format!("`{word}` in `{text}` is no time zone")).remedy(
                        "give a name such as `Europe/Berlin`, or an offset such as `+02:00`",
                    )
                })?;
                words.pop();
                zone
            }
            _ => Zone::Offset(0),
        };
        let (days, times) = match words[..] {
            [times] => (None, times),
            [days, times] => (Some(parse_days(days).ok_or_else(bad)?), times),
            _ => return Err(bad()),
        };
        let (from, to) = times.split_once('-').ok_or_else(bad)?;
        let (from, to) = (clock(from).ok_or_else(bad)?, clock(to).ok_or_else(bad)?);
        if from == to || from == DAY_MINUTES {
            return Err(bad());
        }
        Ok(Window {
            days,
            from,
            to,
            zone,
        })
    }
}

fn zone(word: &str) -> Option<Zone> {
    match word.strip_prefix(['+', '-']) {
        Some(offset) => {
            let minutes = clock(offset)?;
            Some(Zone::Offset(if word.starts_with('-') {
                -minutes
            } else {
                minutes
            }))
        }
        None if word.eq_ignore_ascii_case("UTC") => Some(Zone::Offset(0)),
        None => TimeZone::get(word).ok().map(Zone::Named),
    }
}

fn parse_days(text: &str) -> Option<(usize, usize)> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((day(first)?, day(last)?))
}

/// Minutes after midnight of `HH:MM`, up to 24:00.
fn clock(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours * 60 + minutes;
    (hours >= 0 && (0..60).contains(&minutes) && all <= DAY_MINUTES).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970 of a time in the week that began on Monday 2024-01-01.
    fn time(day: u64, hour: u64, minute: u64) -> u64 {
        1_704_067_200 + day * 86_400 + hour * 3600 + minute * 60
    }

    fn open(window: &str, at: u64) -> bool {
        window.parse::<Window>().unwrap().is_open(at)
    }

    #[test]
    fn windows_open_and_close() {
        assert!(open("08:00-18:00", time(0, 8, 0)));
        assert!(!open("08:00-18:00", time(0, 18, 0)));
        assert!(open("22:00-06:00", time(3, 23, 0)) && open("22:00-06:00", time(3, 5, 59)));
        assert!(!open("22:00-06:00", time(3, 6, 0)));
        // Friday's night goes on into Saturday, Sunday's does not begin.
        assert!(open("Mon-Fri 22:00-06:00", time(5, 3, 0)));
        assert!(!open("Mon-Fri 22:00-06:00", time(6, 23, 0)));
        assert!(!open("Mon-Fri 22:00-06:00", time(0, 3, 0)));
        assert!(open("Sat-Mon 00:00-24:00", time(6, 12, 0)));
        assert!(!open("Sat-Mon 00:00-24:00", time(2, 12, 0)));
        // 22:00 at +02:00 is 20:00 UTC.
        assert!(open("22:00-23:00 +02:00", time(1, 20, 30)));
        assert!(open("Mon 23:00-24:00 -01:00", time(1, 0, 30)));
        assert!(any_open(&[], 0));
    }

    #[test]
    fn windows_are_read_and_printed() {
        for text in [
            "22:00-06:00",
            "Mon-Fri 22:00-06:00 +02:00",
            "Sat 00:00-24:00 -05:30",
            "02:00-05:00 Europe/Berlin",
        ] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "22-06",
            "25:00-26:00",
            "Foo 10:00-11:00",
            "10:00-10:00",
            "10:00",
            "+",
            "10:00-11:00 Europe/Nowhere",
            "Europe/Berlin",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }

    /// The clock of Berlin was put from 02:00 to 03:00 on 2024-03-31 at 01:00 UTC, and from 03:00 to
    /// 02:00 on 2024-10-27 at 01:00 UTC.
    #[test]
    fn named_zones_change_their_clocks() {
        let berlin = |times: &str, at: u64| open(&format!("{times} Europe/Berlin"), at);
        let (winter, summer) = (1_711_756_800, 1_719_964_800);
        // 2024-03-30 00:00 UTC is 01:00 there, 2024-07-03 00:00 UTC is 02:00.
        assert!(!berlin("02:00-05:00", winter) && berlin("01:00-02:00", winter));
        assert!(berlin("02:00-05:00", summer));
        let forward = 1_711_846_800;
        assert!(berlin("01:59-03:01", forward - 60) && berlin("02:00-05:00", forward));
        for minute in 0..24 * 60 {
            assert!(!berlin("02:00-03:00", forward - 12 * 3600 + minute * 60));
        }
        let back = 1_729_990_800;
        assert!(berlin("02:00-03:00", back - 3600) && berlin("02:00-03:00", back));
        assert!(!berlin("02:00-03:00", back + 3600));
    }

    #[test]
    fn the_next_opening_is_known() {
        let windows = parse_windows("Mon 02:00-03:00, Wed 04:00-05:00 +01:00").unwrap();
        assert_eq!(
            windows_text(&windows),
            "Mon 02:00-03:00,Wed 04:00-05:00 +01:00"
        );
        assert_eq!(opens_in_s(&windows, time(0, 2, 30)), Some(0));
        assert_eq!(opens_in_s(&windows, time(0, 1, 59) + 30), Some(30));
        assert_eq!(opens_in_s(&windows, time(0, 3, 0)), Some(2 * 86_400));
        assert_eq!(opens_in_s(&[], 0), Some(0));
        // The Sunday on which 02:10 does not happen is passed over.
        let swallowed = parse_windows("Sun 02:10-02:20 Europe/Berlin").unwrap();
        let from = 1_711_756_800;
        assert_eq!(opens_in_s(&swallowed, from), Some(8 * 86_400 + 600));
    }
}
