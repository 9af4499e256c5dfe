//! Times of the week in which the copy may run: `22:00-06:00`, `Sat-Sun 00:00-24:00`,
//! `Mon-Fri 22:00-06:00 +02:00`. Without an offset the times are UTC.

use std::fmt;
use std::str::FromStr;

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
    /// Minutes east of UTC.
    offset: i64,
}

impl Window {
    /// Whether the window is open at a time, seconds since 1970 UTC.
    pub fn is_open(&self, unix_s: u64) -> bool {
        let minutes = i64::try_from(unix_s / 60).unwrap_or(i64::MAX / 2) + self.offset;
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

/// Whether the copy may run: no windows at all, or one that is open.
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
        if self.offset != 0 {
            let sign = if self.offset < 0 { '-' } else { '+' };
            write!(f, " {sign}{}", clock(self.offset.abs()))?;
        }
        Ok(())
    }
}

impl FromStr for Window {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Window> {
        let bad = || {
            Failure::usage(format!("`{text}` is no time window")).remedy(
                "write [DAYS] FROM-TO [OFFSET], for example `22:00-06:00` or \
                 `Mon-Fri 22:00-06:00 +02:00`; without an offset it is UTC",
            )
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let offset = match words.last() {
            Some(word) if word.starts_with(['+', '-']) => {
                let minutes = clock(&word[1..]).ok_or_else(bad)?;
                let sign = if word.starts_with('-') { -1 } else { 1 };
                words.pop();
                sign * minutes
            }
            _ => 0,
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
            offset,
        })
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
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
