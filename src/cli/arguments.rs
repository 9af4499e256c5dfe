//! The process's arguments: passwords among them are taken out of everybody's sight.
//!
//! Every user of a machine can read every process's arguments. The `mysql` client overwrites a password
//! there as soon as it has read it, and so do we.

use std::ffi::{OsStr, OsString};

/// The arguments, ready for the parser.
pub struct Taken {
    /// All arguments, with `-pSECRET` as `--password=SECRET`.
    pub arguments: Vec<OsString>,
    /// What to warn about once logging is set up: passwords on the command line.
    pub warning: Option<String>,
}

/// Takes the arguments of this process, and overwrites passwords among them where others could read
/// them. To be called before anything else, so that they stand there for a moment only.
pub fn take() -> Taken {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let secrets = secrets_in(&arguments);
    let warning = (!secrets.is_empty()).then(|| warning(erase(&secrets)));
    Taken {
        arguments: normalise(arguments),
        warning,
    }
}

fn warning(erased: std::io::Result<()>) -> String {
    let what = "a password on the command line can be seen in the shell's history";
    match erased {
        Ok(()) => format!(
            "{what}, and for a moment in the list of processes; better: an option file, or -p alone to be asked"
        ),
        Err(error) => format!(
            "{what}, and in the list of processes as long as this runs ({error}); better: an option file, or -p alone to be asked"
        ),
    }
}

/// A password within one argument: the argument's number and where the password begins in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    argument: usize,
    from: usize,
}

/// Options whose value is a password: ours and those of gh-ost's command line.
const PASSWORD_OPTIONS: [&[u8]; 4] = [
    b"password",
    b"master-password",
    b"replica-password",
    b"control-token",
];

/// True when the command line is gh-ost's: by the first word, or by the name of the program.
pub fn is_gh_ost(arguments: &[OsString]) -> bool {
    let called_so = arguments.first().is_some_and(|program| {
        std::path::Path::new(program)
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("gh-ost"))
    });
    called_so || arguments.get(1).is_some_and(|word| word == "gh-ost")
}

fn secrets_in(arguments: &[OsString]) -> Vec<Place> {
    let as_gh_ost = is_gh_ost(arguments);
    let mut places = Vec::new();
    let mut value_is_secret = false;
    for (argument, word) in arguments.iter().enumerate().skip(1) {
        let bytes = word.as_encoded_bytes();
        if std::mem::take(&mut value_is_secret) {
            places.push(Place { argument, from: 0 });
            continue;
        }
        if bytes == b"--" {
            break;
        }
        if let Some(from) = attached_secret(bytes, as_gh_ost) {
            places.push(Place { argument, from });
        }
        // Go's flags take a value from the next argument, ours only an attached one.
        value_is_secret =
            as_gh_ost && option_name(bytes).is_some_and(|name| PASSWORD_OPTIONS.contains(&name));
    }
    places.retain(|place| place.from < arguments[place.argument].len());
    places
}

fn option_name(bytes: &[u8]) -> Option<&[u8]> {
    let name = bytes.strip_prefix(b"-")?;
    Some(name.strip_prefix(b"-").unwrap_or(name))
}

fn attached_secret(bytes: &[u8], as_gh_ost: bool) -> Option<usize> {
    if !as_gh_ost && bytes.starts_with(b"-p") {
        return Some(2);
    }
    let equals = bytes.iter().position(|b| *b == b'=')?;
    let name = option_name(&bytes[..equals])?;
    PASSWORD_OPTIONS.contains(&name).then_some(equals + 1)
}

/// `-pSECRET` becomes `--password=SECRET`; gh-ost's command line stays as it is.
pub fn normalise(arguments: Vec<OsString>) -> Vec<OsString> {
    if is_gh_ost(&arguments) {
        return arguments;
    }
    let mut options_ended = false;
    arguments
        .into_iter()
        .enumerate()
        .map(|(index, word)| {
            options_ended |= word == "--";
            match attached_to_p(&word) {
                Some(value) if index > 0 && !options_ended => {
                    let mut long = OsString::from("--password=");
                    long.push(value);
                    long
                }
                _ => word,
            }
        })
        .collect()
}

#[cfg(unix)]
fn attached_to_p(word: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let value = word.as_bytes().strip_prefix(b"-p")?;
    (!value.is_empty()).then(|| OsString::from_vec(value.to_vec()))
}

#[cfg(not(unix))]
fn attached_to_p(word: &OsStr) -> Option<OsString> {
    let value = word.to_str()?.strip_prefix("-p")?;
    (!value.is_empty()).then(|| OsString::from(value))
}

/// Overwrites the given places in the memory that the kernel shows as this process's arguments.
///
/// The place of that memory is in `/proc/self/stat` (`arg_start`, `arg_end`: proc(5)), and writing goes
/// through `/proc/self/mem`, so that it needs no pointer. The standard library reads the arguments anew
/// each time they are asked for and copies them; nothing else points into that memory.
#[cfg(target_os = "linux")]
fn erase(places: &[Place]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let shown = std::fs::read("/proc/self/cmdline")?;
    let (start, end) = argument_memory(&std::fs::read_to_string("/proc/self/stat")?)
        .ok_or_else(|| std::io::Error::other("/proc/self/stat does not tell where they are"))?;
    if end - start != shown.len() as u64 {
        return Err(std::io::Error::other("the arguments have been moved"));
    }
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")?;
    for range in ranges(&shown, places) {
        // One `x` says that something was there, and does not tell how long it was.
        let mut cover = vec![0u8; range.len()];
        cover[0] = b'x';
        memory.write_all_at(&cover, start + range.start as u64)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn erase(_places: &[Place]) -> std::io::Result<()> {
    Err(std::io::Error::other("they can be erased on Linux only"))
}

/// `arg_start` and `arg_end`, fields 48 and 49. The second field is the program's name in parentheses
/// and may contain anything, so counting begins after the last `)`.
#[cfg(target_os = "linux")]
fn argument_memory(stat: &str) -> Option<(u64, u64)> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(48 - 3);
    let start: u64 = fields.next()?.parse().ok()?;
    let end: u64 = fields.next()?.parse().ok()?;
    (start > 0 && end > start).then_some((start, end))
}

/// Where the places are in the arguments as the kernel shows them: each ends with a zero byte.
#[cfg(target_os = "linux")]
fn ranges(shown: &[u8], places: &[Place]) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    let mut bounds = Vec::new();
    for word in shown.split(|byte| *byte == 0) {
        bounds.push(at..at + word.len());
        at += word.len() + 1;
    }
    places
        .iter()
        .filter_map(|place| {
            let word = bounds.get(place.argument)?;
            let range = word.start + place.from..word.end;
            (!range.is_empty()).then_some(range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn shown_secrets(line: &[&str]) -> Vec<String> {
        secrets_in(&words(line))
            .into_iter()
            .map(|place| line[place.argument][place.from..].to_string())
            .collect()
    }

    #[test]
    fn passwords_are_found_wherever_they_can_stand() {
        let check =
            |line: &[&str], expect: &[&str]| assert_eq!(shown_secrets(line), expect, "{line:?}");
        check(
            &["changeling", "migrate", "-psecret", "-u", "x"],
            &["secret"],
        );
        check(&["changeling", "migrate", "--password=a=b"], &["a=b"]);
        check(&["changeling", "migrate", "-p", "--password"], &[]);
        check(&["changeling", "migrate", "--password="], &[]);
        check(
            &[
                "changeling",
                "migrate",
                "--replica-password=x",
                "--control-token=y",
            ],
            &["x", "y"],
        );
        check(&["changeling", "migrate", "--password-file=x"], &[]);
        check(&["changeling", "migrate", "--", "-pnot"], &[]);
        check(
            &[
                "gh-ost",
                "--password",
                "one",
                "-master-password=two",
                "-port",
                "3",
            ],
            &["one", "two"],
        );
        check(&["x/gh-ost", "-panic-on-warnings"], &[]);
        check(&["x/gh-ost-1.1", "-panic-on-warnings"], &[]);
        check(&["changeling", "gh-ost", "-password", "one"], &["one"]);
    }

    #[test]
    fn an_attached_password_becomes_a_long_option() {
        let check = |line: &[&str], expect: &[&str]| {
            assert_eq!(normalise(words(line)), words(expect));
        };
        check(
            &["c", "migrate", "-psecret"],
            &["c", "migrate", "--password=secret"],
        );
        check(&["c", "migrate", "-p"], &["c", "migrate", "-p"]);
        check(
            &["c", "migrate", "--", "-px"],
            &["c", "migrate", "--", "-px"],
        );
        check(&["c", "gh-ost", "-panic"], &["c", "gh-ost", "-panic"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn places_are_counted_in_what_the_kernel_shows() {
        let shown = b"prog\0-psecret\0\0--password=x\0";
        let places = [
            Place {
                argument: 1,
                from: 2,
            },
            Place {
                argument: 3,
                from: 11,
            },
            Place {
                argument: 9,
                from: 0,
            },
        ];
        assert_eq!(ranges(shown, &places), vec![7..13, 26..27]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_is_found_behind_any_program_name() {
        let mut fields = vec!["0"; 52];
        fields[48 - 3] = "4096";
        fields[49 - 3] = "4196";
        let stat = format!("7 (a) b) {}", fields.join(" "));
        assert_eq!(argument_memory(&stat), Some((4096, 4196)));
        assert_eq!(argument_memory("7 (a)"), None);
    }
}
