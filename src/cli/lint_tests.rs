use clap::Parser;

use super::*;

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    lint: LintArgs,
}

fn run(words: &[&str]) -> (Result<u8>, String) {
    let line = Line::try_parse_from(std::iter::once(&"lint").chain(words)).unwrap();
    let mut out = Vec::new();
    // Nothing is waited for without --server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let code = runtime.block_on(line.lint.run(&mut out));
    (code, String::from_utf8(out).unwrap())
}

/// The example's report in a format, its path made relative to the repository.
fn example(format: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let (code, text) = run(&[&format!("{root}/tests/lint/migrations"), "--format", format]);
    assert_eq!(code.unwrap(), 1);
    text.replace(&format!("{root}/"), "")
}

/// Compares with `tests/lint/NAME`; with CHANGELING_WRITE_EXPECTED set it is written instead.
fn check(format: &str, name: &str) {
    let path = format!("{}/tests/lint/{name}", env!("CARGO_MANIFEST_DIR"));
    let found = example(format);
    if std::env::var_os("CHANGELING_WRITE_EXPECTED").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn the_example_in_all_formats() {
    check("text", "expected.txt");
    check("json", "expected.json");
    check("sarif", "expected.sarif");
    check("github", "expected.github");
}

#[test]
fn exit_codes_are_for_gates() {
    let folder = std::env::temp_dir().join(format!("changeling-lint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let clean = file("clean.sql", "ALTER TABLE t ADD a INT;");
    let note = file("note.sql", "CREATE INDEX a ON t (b);");
    let warning = file("warning.sql", "ALTER TABLE t FORCE;");
    let error = file("error.sql", "\u{feff}DROP TABLE t;");
    let code = |words: &[&str]| run(words).0.unwrap();
    let codes = [
        (code(&[&clean, "--fail-on", "note"]), 0),
        (code(&[&note]), 0),
        (code(&[&note, "--fail-on", "warning"]), 0),
        (code(&[&note, "--fail-on", "note"]), 1),
        (code(&[&warning]), 0),
        (code(&[&warning, "--fail-on", "warning"]), 1),
        (code(&[&error]), 1),
        (code(&[&clean, &error]), 1),
        (code(&[&error, "--fail-on", "never"]), 0),
        (code(&[&error, "--disable", "truncate,drop-table"]), 0),
        (code(&["--list-rules"]), 0),
    ];
    std::fs::remove_dir_all(&folder).unwrap();
    for (index, (found, expect)) in codes.into_iter().enumerate() {
        assert_eq!(found, expect, "number {index}");
    }
    for words in [
        &["/not/there.sql"][..],
        &["--list-rules", "--disable", "x", "-"],
        &["x", "--disable", "nope"],
    ] {
        match run(words).0 {
            Ok(code) => assert_eq!(code, 0, "{words:?}"),
            Err(failure) => assert_eq!(failure.kind().exit_code(), 2, "{words:?}"),
        }
    }
    assert!(run(&["/not/there.sql"]).0.is_err());
    assert!(run(&["x", "--disable", "nope"]).0.is_err());
}

#[test]
fn files_of_a_folder_come_in_the_order_in_which_they_run() {
    let mut names = [
        "V10__a.sql",
        "V2__a.sql",
        "V1__z.sql",
        "20260102_b.sql",
        "R__x.sql",
    ];
    names.sort_by_key(|name| natural_key(name));
    assert_eq!(
        names,
        [
            "20260102_b.sql",
            "R__x.sql",
            "V1__z.sql",
            "V2__a.sql",
            "V10__a.sql"
        ]
    );
}

#[test]
fn every_rule_is_documented() {
    let (_, listed) = run(&["--list-rules"]);
    let page =
        std::fs::read_to_string(format!("{}/docs/lint.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    // And nothing else is, in the same order.
    let (_, table) = page.split_once("## Rules").unwrap();
    let documented: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(documented, known);
    for rule in RULES {
        assert!(listed.contains(rule.id) && listed.contains(rule.why));
        let row = format!(
            "| `{}` | {} | {} |",
            rule.id,
            rule.severity.word(),
            rule.why
        );
        assert!(page.contains(&row), "docs/lint.md lacks: {row}");
    }
}
