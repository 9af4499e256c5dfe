//! The program: parses, runs, and turns the result into an exit code.

use std::process::ExitCode;

use changeling::{cli, memory};

fn main() -> ExitCode {
    memory::bound();
    cli::run()
}
