//! What `scripts/package` makes is whole, and what it installs runs; the version names the commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::CommandFactory;

use crate::support::is_wanted;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("changeling-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// The package of the program under test (the release build takes minutes, and packs in the same way).
#[test]
fn packages_are_whole_and_run() {
    let folder = Folder::new("package");
    run(Command::new(root().join("scripts/package"))
        .args(["--binary", env!("CARGO_BIN_EXE_changeling"), "--out"])
        .arg(folder.path("out")));
    let names: Vec<String> = fs::read_dir(folder.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let find = |end: &str| {
        let found = names
            .iter()
            .find(|name| name.ends_with(end) && !name.contains("SHA"));
        folder
            .path("out")
            .join(found.unwrap_or_else(|| panic!("no {end} in {names:?}")))
    };
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(folder.path("out")));

    let deb = find(".deb");
    let control = text(run(Command::new("dpkg-deb").arg("--field").arg(&deb)));
    for field in [
        "Package: changeling",
        "Version: 0",
        "Architecture: ",
        "Description: online schema",
    ] {
        assert!(control.contains(field), "{field}: {control}");
    }
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(&deb)
        .arg(folder.path("deb")));
    // dpkg compares these when the package is verified.
    run(Command::new("dpkg-deb")
        .arg("--control")
        .arg(&deb)
        .arg(folder.path("control")));
    run(Command::new("md5sum")
        .args(["--check", "--strict", "--quiet"])
        .arg(folder.path("control/md5sums"))
        .current_dir(folder.path("deb")));
    installed(&folder.path("deb/usr"));

    let architecture = text(run(Command::new("uname").arg("-m")));
    let archive = find(&format!("{}.tar.gz", architecture.trim()));
    run(Command::new("tar")
        .args(["-xzf"])
        .arg(&archive)
        .arg("-C")
        .arg(&folder.0));
    let name = archive
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .trim_end_matches(".tar.gz");
    installed(&folder.path(name));
}

fn installed(tree: &Path) {
    let program = tree.join("bin/changeling");
    let version = text(run(Command::new(&program).arg("--version")));
    assert!(
        version.starts_with(concat!("changeling ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    for command in changeling::cli::Cli::command().get_subcommands() {
        let page = tree.join(format!(
            "share/man/man1/changeling-{}.1.gz",
            command.get_name()
        ));
        let page = text(run(Command::new("gzip").arg("-dc").arg(&page)));
        assert!(page.contains(".TH"), "{page}");
    }
    let completions = tree.join("share/bash-completion/completions/changeling");
    run(Command::new("bash").arg("-n").arg(&completions));
    let offered = format!(
        "source {}; COMP_WORDS=(changeling mig); COMP_CWORD=1; _changeling changeling mig changeling; \
         echo \"${{COMPREPLY[@]}}\"",
        completions.display()
    );
    assert_eq!(
        text(run(Command::new("bash").args(["-c", &offered]))).trim(),
        "migrate"
    );
    for file in [
        "share/zsh/vendor-completions/_changeling",
        "share/fish/vendor_completions.d/changeling.fish",
        "share/doc/changeling/README.md",
        "share/doc/changeling/docs/operations.md",
        "share/doc/changeling/examples/changeling@.service",
        "share/doc/changeling/copyright",
    ] {
        assert!(fs::metadata(tree.join(file)).unwrap().len() > 0, "{file}");
    }
}

/// Each variable of the example is one that the program reads, and its options are right.
#[test]
fn the_service_example_is_right() {
    let example = fs::read_to_string(root().join("packaging/orders.env")).unwrap();
    let command = changeling::cli::Cli::command();
    let migrate = command.find_subcommand("migrate").unwrap();
    let known: Vec<String> = migrate
        .get_arguments()
        .chain(command.get_arguments())
        .filter_map(|argument| {
            argument
                .get_env()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .collect();
    let lines = example.lines().filter(|line| !line.starts_with('#'));
    for (name, _) in lines.map(|line| line.split_once('=').unwrap()) {
        assert!(
            known.iter().any(|known| known == name),
            "{name} is not among {known:?}"
        );
    }
    let unit = fs::read_to_string(root().join("packaging/changeling@.service")).unwrap();
    assert!(
        unit.contains("RestartPreventExitStatus=2 3 4 5 6"),
        "{unit}"
    );
    if !is_wanted("mysql")
        || Command::new("systemd-analyze")
            .arg("--version")
            .output()
            .is_err()
    {
        eprintln!("systemd-analyze is not installed: the unit is not looked at by systemd");
        return;
    }
    let folder = Folder::new("unit");
    let here = unit.replace("/usr/bin/changeling", env!("CARGO_BIN_EXE_changeling"));
    fs::write(folder.path("changeling@.service"), here).unwrap();
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(folder.path("changeling@.service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!said.contains("changeling@"), "{said}");
}

/// `build.rs` alone: in a repository, in a source archive of one, and in neither.
#[test]
fn the_version_names_the_commit() {
    let folder = Folder::new("version");
    let script = folder.path("build-script");
    run(Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .arg(&script)
        .arg(root().join("build.rs")));
    let version = |place: &Path, profile: &str| {
        let said = text(run(Command::new(&script)
            .current_dir(place)
            .env("CARGO_PKG_VERSION", "1.2.3")
            .env("PROFILE", profile)
            // Nothing above the folder counts.
            .env("GIT_CEILING_DIRECTORIES", std::env::temp_dir())));
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("cargo::rustc-env=CHANGELING_VERSION="));
        line.unwrap_or_else(|| panic!("{said}")).to_string()
    };
    let repository = folder.path("repository");
    fs::create_dir(&repository).unwrap();
    let git = |arguments: &[&str]| {
        text(run(Command::new("git")
            .args(["-c", "user.name=n", "-c", "user.email=e@example.org"])
            .args(arguments)
            .current_dir(&repository)))
    };
    for file in ["build.rs", "COMMIT", ".gitattributes"] {
        fs::copy(root().join(file), repository.join(file)).unwrap();
    }
    assert_eq!(version(&repository, "release"), "1.2.3", "no repository");
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).trim().to_string();
    assert_eq!(version(&repository, "release"), format!("1.2.3 ({commit})"));
    assert_eq!(version(&repository, "debug"), "1.2.3");
    fs::write(repository.join("build.rs"), "fn main() {}").unwrap();
    assert_eq!(
        version(&repository, "release"),
        format!("1.2.3 ({commit}+)")
    );
    git(&["archive", "--output=../source.tar", "HEAD"]);
    let unpacked = folder.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(folder.path("source.tar"))
        .arg("-C")
        .arg(&unpacked));
    let from_archive = version(&unpacked, "release");
    assert!(
        commit.starts_with(
            from_archive
                .trim_start_matches("1.2.3 (")
                .trim_end_matches(')')
        ),
        "{from_archive}"
    );
    assert_ne!(from_archive, "1.2.3");
}
