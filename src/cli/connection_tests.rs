use std::path::Path;

use clap::Parser;

use super::*;
use crate::mysql::option_files::FilePlaces;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    connection: ConnectionArgs,
    statement: Option<String>,
}

fn surroundings() -> Surroundings {
    Surroundings {
        places: FilePlaces::default(),
        mysql_pwd: None,
        login_user: "me".into(),
        prompt: |_| Ok("prompted".into()),
        socket_exists: |_: &Path| false,
    }
}

fn parse(words: &[&str]) -> Line {
    Line::try_parse_from(std::iter::once(&"line").chain(words)).unwrap()
}

fn resolved(words: &[&str]) -> ConnectOptions {
    parse(words).connection.resolve_in(&surroundings()).unwrap()
}

#[test]
fn short_and_long_spellings() {
    let options = resolved(&["-h", "db1", "-P", "7", "-u", "joe", "--password=x"]);
    assert_eq!(options.address(), "db1:7");
    assert_eq!(options.user, "joe");
    assert_eq!(options.password.as_deref(), Some("x"));
    assert_eq!(resolved(&["-hdb1", "-P7"]).address(), "db1:7");
    assert_eq!(resolved(&["-S", "/s"]).address(), "/s");
}

#[test]
fn p_alone_asks_and_takes_no_word_away() {
    let line = parse(&["-p", "ALTER TABLE d.t ENGINE=InnoDB"]);
    assert_eq!(
        line.statement.as_deref(),
        Some("ALTER TABLE d.t ENGINE=InnoDB")
    );
    let options = line.connection.resolve_in(&surroundings()).unwrap();
    assert_eq!(options.password.as_deref(), Some("prompted"));
}

#[test]
fn ssl_mode_is_spelled_as_with_the_client() {
    for word in ["VERIFY_CA", "verify-ca", "Verify_Ca"] {
        assert_eq!(resolved(&["--ssl-mode", word]).ssl_mode, SslMode::VerifyCa);
    }
    assert!(Line::try_parse_from(["line", "--ssl-mode", "maybe"]).is_err());
    assert_eq!(resolved(&["--ssl-ca", "/ca"]).ssl_mode, SslMode::VerifyCa);
}

#[test]
fn a_password_file_gives_its_first_line() {
    let path = std::env::temp_dir().join(format!("changeling-pwd-{}", std::process::id()));
    std::fs::write(&path, "from file\nnot this\n").unwrap();
    let options = resolved(&["--password-file", path.to_str().unwrap()]);
    let _ = std::fs::remove_file(&path);
    assert_eq!(options.password.as_deref(), Some("from file"));
    let failure = parse(&["--password-file", "/not/there"])
        .connection
        .resolve_in(&surroundings())
        .unwrap_err();
    assert_eq!(failure.kind().exit_code(), 2);
}

#[test]
fn secrets_are_not_shown() {
    let line = parse(&["--password=hush"]);
    assert!(!format!("{line:?}").contains("hush"));
    let options = line.connection.resolve_in(&surroundings()).unwrap();
    assert!(!format!("{options:?}").contains("hush"));
}
