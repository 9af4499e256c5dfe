//! The program: parses, runs, and turns the result into an exit code.

use std::process::ExitCode;

use changeling::cli;

fn main() -> ExitCode {
    cli::run()
}
