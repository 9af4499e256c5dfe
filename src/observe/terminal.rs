//! The live block at the bottom of a terminal, with log lines scrolling above it.
//!
//! Plain cursor movements, no colours. Lines are cut to the width, so that nothing wraps; when the
//! terminal has become narrower meanwhile, what has wrapped is counted and erased too.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where lines and block go: stderr.
#[derive(Debug)]
pub struct Screen {
    is_live: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The block as it stands on the terminal.
    shown: Vec<String>,
    /// What is written instead of to stderr, in tests.
    captured: Option<String>,
}

/// Used where the terminal does not tell.
const COLUMNS: usize = 80;
/// Narrower ones are treated as this.
const COLUMNS_MIN: usize = 20;

impl Screen {
    /// Live if stderr is a terminal that can move its cursor.
    pub fn new() -> Screen {
        let can_move = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Screen {
            is_live: std::io::stderr().is_terminal() && can_move,
            state: Mutex::default(),
        }
    }

    /// Never live: plain lines, whatever stderr is.
    pub fn plain() -> Screen {
        Screen {
            is_live: false,
            state: Mutex::default(),
        }
    }

    /// Whether a block can be shown.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints text that ends with a newline above the block.
    pub fn print(&self, text: &str) {
        let mut state = self.state();
        let columns = columns();
        let mut out = erase(&state.shown, columns);
        out.push_str(text);
        let shown = state.shown.clone();
        out.push_str(&block(&shown, columns));
        state.write(&out);
    }

    /// Shows this block in place of the last one. Does nothing if the screen is not live.
    pub fn show(&self, lines: Vec<String>) {
        if !self.is_live {
            return;
        }
        let mut state = self.state();
        let columns = columns();
        let lines: Vec<String> = lines.iter().map(|line| cut(line, columns)).collect();
        let out = erase(&state.shown, columns) + &block(&lines, columns);
        state.shown = lines;
        state.write(&out);
    }

    /// Takes the block away.
    pub fn clear(&self) {
        let mut state = self.state();
        let out = erase(&state.shown, columns());
        state.shown.clear();
        state.write(&out);
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}

impl State {
    fn write(&mut self, text: &str) {
        match &mut self.captured {
            Some(captured) => captured.push_str(text),
            // A terminal that went away is no reason to fail.
            None => {
                let mut stderr = std::io::stderr().lock();
                let _ = stderr.write_all(text.as_bytes());
                let _ = stderr.flush();
            }
        }
    }
}

/// Moves to the beginning of the block and erases to the end of the screen. The cursor stands behind
/// the block's last line, which has no newline.
fn erase(shown: &[String], columns: usize) -> String {
    if shown.is_empty() {
        return String::new();
    }
    let rows: usize = shown
        .iter()
        .map(|line| line.chars().count().max(1).div_ceil(columns))
        .sum();
    match rows - 1 {
        0 => "\r\x1b[J".to_string(),
        up => format!("\r\x1b[{up}A\x1b[J"),
    }
}

fn block(lines: &[String], columns: usize) -> String {
    let cut: Vec<String> = lines.iter().map(|line| cut(line, columns)).collect();
    cut.join("\r\n")
}

/// A line that does not reach the last column (some terminals wrap there).
fn cut(line: &str, columns: usize) -> String {
    let room = columns.max(COLUMNS_MIN) - 1;
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    if clean.chars().count() <= room {
        return clean;
    }
    let mut short: String = clean.chars().take(room - 1).collect();
    short.push('…');
    short
}

/// The width of the terminal behind stderr.
pub fn columns() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    #[expect(
        unsafe_code,
        reason = "the standard library does not tell a terminal's size"
    )]
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is to a live, writable one.
    let answer = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    if answer == 0 && size.ws_col > 0 {
        usize::from(size.ws_col).max(COLUMNS_MIN)
    } else {
        COLUMNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen {
            is_live: true,
            state: Mutex::new(State {
                captured: Some(String::new()),
                ..State::default()
            }),
        }
    }

    fn written(screen: &Screen) -> String {
        std::mem::take(screen.state().captured.as_mut().unwrap())
    }

    #[test]
    fn log_lines_go_above_the_block() {
        let screen = screen();
        screen.show(vec!["one".into(), "two".into()]);
        assert_eq!(written(&screen), "one\r\ntwo");
        screen.print("log\n");
        assert_eq!(written(&screen), "\r\x1b[1A\x1b[Jlog\none\r\ntwo");
        screen.show(vec!["three".into()]);
        assert_eq!(written(&screen), "\r\x1b[1A\x1b[Jthree");
        screen.clear();
        assert_eq!(written(&screen), "\r\x1b[J");
        screen.print("last\n");
        assert_eq!(written(&screen), "last\n");
    }

    #[test]
    fn nothing_wraps_and_what_wrapped_is_erased() {
        assert_eq!(cut("0123456789012345678901234", 20), "012345678901234567…");
        assert_eq!(cut("ünï\tcode\u{1b}[1m", 20), "ünïcode[1m");
        let lines = vec!["x".repeat(79), "y".to_string()];
        assert_eq!(erase(&lines, 80), "\r\x1b[1A\x1b[J");
        assert_eq!(erase(&lines, 40), "\r\x1b[2A\x1b[J");
    }
}
