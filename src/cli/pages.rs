//! `changeling completions` and `changeling man`: what shells and manuals need to know, made from the
//! command line itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};

use crate::failure::{Failure, Result};

/// Print the completions of a shell
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Writes the script.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let mut script = Vec::new();
        let mut command = super::Cli::command();
        clap_complete::generate(self.shell, &mut command, "changeling", &mut script);
        out.write_all(&script).map_err(unwritten)
    }
}

/// Print a manual page, or write all of them into a folder
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// The command whose page is wanted; the program's own without
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,

    /// Write all pages into this folder, which is made if need be
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub into: Option<PathBuf>,
}

impl ManArgs {
    /// Writes the page, or all pages.
    ///
    /// # Errors
    /// Usage: no such command. The pages cannot be written.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let pages = pages()?;
        if let Some(folder) = &self.into {
            return write_all(folder, &pages);
        }
        let name = match &self.command {
            Some(command) => format!("changeling-{command}"),
            None => "changeling".to_string(),
        };
        let (_, page) = pages
            .iter()
            .find(|(page, _)| *page == name)
            .ok_or_else(|| {
                Failure::usage(format!("there is no page {name}"))
                    .remedy("`changeling --help` lists the commands")
            })?;
        out.write_all(page).map_err(unwritten)
    }
}

/// All pages by name: `changeling`, `changeling-migrate`, ….
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut program = super::Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = vec![("changeling".to_string(), render(program.clone())?)];
    for command in program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = format!("changeling-{}", command.get_name());
        pages.push((name, render(command.clone())?));
    }
    Ok(pages)
}

fn render(command: Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(unwritten)?;
    Ok(page)
}

fn write_all(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<()> {
    let failed =
        |error| Failure::failed(format!("cannot write into {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (name, page) in pages {
        std::fs::write(folder.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(())
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot write the page: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        super::super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        for name in ["changeling", "changeling-migrate", "changeling-lint"] {
            let (_, page) = pages.iter().find(|(page, _)| page == name).unwrap();
            let text = String::from_utf8_lossy(page).replace('\\', "");
            assert!(text.contains(&format!("{name} ")), "{name}: {text}");
        }
        let migrate = pages
            .iter()
            .find(|(name, _)| name == "changeling-migrate")
            .unwrap();
        let text = String::from_utf8_lossy(&migrate.1).replace('\\', "");
        for words in [
            "--ssl-mode",
            "CHANGELING_SSL_MODE",
            "verify-ca",
            "--password",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }

    #[test]
    fn completions_know_commands_and_options() {
        for shell in ["bash", "zsh", "fish"] {
            let mut script = Vec::new();
            let shell = shell.parse().unwrap();
            CompletionsArgs { shell }.run(&mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["migrate", "lint", "ssl-mode", "verify-identity"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn pages_are_written_into_a_folder() {
        let folder = std::env::temp_dir().join(format!("changeling-man-{}", std::process::id()));
        let all = ManArgs {
            command: None,
            into: Some(folder.join("man1")),
        };
        all.run(&mut Vec::new()).unwrap();
        let written = std::fs::read_to_string(folder.join("man1/changeling-lint.1")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(written.contains(".TH"), "{written}");
        let none = ManArgs {
            command: Some("nonsense".into()),
            into: None,
        };
        assert_eq!(none.run(&mut Vec::new()).unwrap_err().kind().exit_code(), 2);
    }
}
