//! Names the commit in release builds, for `changeling --version`.
//!
//! Development builds carry none, so that a commit does not make everything be compiled again. Where
//! there is no git (a source archive made by `git archive`), git has put the commit into `COMMIT`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = match std::env::var("PROFILE").as_deref() {
        Ok("release") => from_git().or_else(from_archive),
        _ => None,
    };
    let text = commit.map_or(version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo::rustc-env=CHANGELING_VERSION={text}");
}

/// The commit of the working tree that this file lies in, with a `+` if it has been changed.
fn from_git() -> Option<String> {
    // A source archive unpacked within somebody else's repository is not described by that.
    let top = git(&["rev-parse", "--show-prefix"])?;
    if !top.is_empty() || git(&["ls-files", "build.rs"])?.is_empty() {
        return None;
    }
    for path in ["HEAD", "logs/HEAD", "index"] {
        println!(
            "cargo::rerun-if-changed={}",
            git(&["rev-parse", "--git-path", path])?
        );
    }
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed {
        format!("{commit}+")
    } else {
        commit
    })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// What `git archive` has put in place of its placeholder.
fn from_archive() -> Option<String> {
    let text = std::fs::read_to_string("COMMIT").ok()?;
    let commit = text.trim();
    let is_commit = commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| commit.to_string())
}
