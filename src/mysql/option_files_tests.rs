use super::*;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!(
            "changeling-option-files-{}-{name}",
            std::process::id()
        ));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(text: &str) -> OptionValues {
    parse_as(text, &FileSelection::default())
}

fn parse_as(text: &str, selection: &FileSelection) -> OptionValues {
    let mut reader = Reader {
        groups: groups_of(selection),
        values: OptionValues::default(),
        warnings: Vec::new(),
    };
    reader.text(text, Path::new("my.cnf"), 0).unwrap();
    reader.values
}

#[test]
fn values_are_read_as_the_client_reads_them() {
    let check = |line: &str, expect: Option<&str>| {
        let values = parse(&format!("[client]\n{line}\n"));
        assert_eq!(values.text("password"), expect, "{line}");
    };
    check("password=secret", Some("secret"));
    check("  password =  secret  ", Some("secret"));
    check("password=\"p#a;=b\" # comment", Some("p#a;=b"));
    check("password='it\\'s'", Some("it's"));
    check("password=\"a\\\"b\"", Some("a\"b"));
    check("password=a#b", Some("a"));
    check("password=a;b", Some("a;b"));
    check("password=\\sa\\tb\\\\c\\q", Some(" a\tb\\c\\q"));
    check("password=", Some(""));
    check("password=a=b", Some("a=b"));
    check("password=\"open", Some("\"open"));
    check("password=\"x\" y", Some("\"x\" y"));
    check("password = \"a\" # \"b\"", Some("a"));
    check("password=a\\", Some("a\\"));
    check("password='a\"b'", Some("a\"b"));
    check("password=\"a\\\\\"", Some("a\\"));
    check("password='a\\\\' # c", Some("a\\"));
    check("password=\"a' # b", Some("\"a' # b"));
    check("password", None);
    check("loose-password=x", Some("x"));
    check("PASSWORD=x", Some("x"));
    check("# password=x", None);
    check("; password=x", None);
}

#[test]
fn a_bare_flag_keeps_its_line_to_itself() {
    let values = parse("[client]\nskip-ssl\n[mysql]\nno-auto-rehash\nuser=other\n[client]\nuser\n");
    assert!(values.is_bare("skip-ssl"));
    assert!(values.is_bare("user"));
    assert_eq!(values.switch("ssl"), Some(false));
    assert_eq!(values.text("no-auto-rehash"), None);
}

#[test]
fn the_last_value_wins_and_dashes_are_underscores() {
    let values = parse("[client]\nssl_ca=a\n[changeling]\nssl-ca=b\n[client]\nssl_ca=c\n");
    assert_eq!(values.text("ssl-ca"), Some("c"));
    assert_eq!(
        parse("[client]\nssl=1\nskip_ssl\n").switch("ssl"),
        Some(false)
    );
    assert_eq!(parse("[client]\nskip_ssl\nssl\n").switch("ssl"), Some(true));
    assert_eq!(parse("[client]\nssl=0\n").switch("ssl"), Some(false));
}

#[test]
fn groups_with_the_suffix_are_read_too() {
    let text = "[client]\nuser=a\nhost=h\n[client_prod]\nuser=b\n[mysqld]\nuser=c\n";
    assert_eq!(parse(text).text("user"), Some("a"));
    let selection = FileSelection {
        group_suffix: Some("_prod".into()),
        ..FileSelection::default()
    };
    let values = parse_as(text, &selection);
    assert_eq!(values.text("user"), Some("b"));
    assert_eq!(values.text("host"), Some("h"));
}

#[test]
fn includes_are_followed_and_bounded() {
    let folder = Folder::new("includes");
    folder.file("d/2.cnf", "[client]\nuser=second\n");
    folder.file("d/1.cnf", "[client]\nuser=first\nport=1\n");
    folder.file("d/3.txt", "[client]\nuser=third\n");
    folder.file("one.cnf", "[client]\nhost=included\n");
    let main = folder.file(
        "main.cnf",
        "!include one.cnf\n!include missing.cnf\n!includedir d\n!include main.cnf\n",
    );
    let selection = FileSelection {
        defaults_file: Some(main),
        ..FileSelection::default()
    };
    let (values, warnings) = read(&selection, &FilePlaces::default()).unwrap();
    assert_eq!(values.text("host"), Some("included"));
    assert_eq!(values.text("user"), Some("second"));
    assert_eq!(values.text("port"), Some("1"));
    assert!(
        warnings.iter().any(|w| w.contains("nested deeper")),
        "{warnings:?}"
    );
}

#[test]
fn files_are_read_in_the_clients_order() {
    let folder = Folder::new("order");
    let places = FilePlaces {
        global: vec![
            folder.file("a", "[client]\nhost=global\nuser=global\nport=1\n"),
            folder.0.join("not-there"),
        ],
        user: Some(folder.file("u", "[client]\nhost=user\n")),
        login: None,
    };
    let extra = folder.file("x", "[client]\nhost=extra\nuser=extra\n");
    let mut selection = FileSelection {
        defaults_extra_file: Some(extra.clone()),
        ..FileSelection::default()
    };
    let (values, _) = read(&selection, &places).unwrap();
    assert_eq!(
        ["host", "user", "port"].map(|key| values.text(key).unwrap_or("-").to_string()),
        ["user", "extra", "1"]
    );
    selection.no_defaults = true;
    assert_eq!(read(&selection, &places).unwrap().0.text("host"), None);
    selection = FileSelection {
        defaults_file: Some(extra),
        ..FileSelection::default()
    };
    let (values, _) = read(&selection, &places).unwrap();
    assert_eq!(values.text("host"), Some("extra"));
    assert_eq!(values.text("port"), None);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_without_its_text() {
    let folder = Folder::new("wrong");
    for (text, expect) in [
        ("password=hush\n", "an option before the first group"),
        ("\n[client\n", "a group without `]`"),
        ("!password hush\n", "unknown directive"),
    ] {
        let selection = FileSelection {
            defaults_file: Some(folder.file("bad.cnf", text)),
            ..FileSelection::default()
        };
        let failure = read(&selection, &FilePlaces::default()).unwrap_err();
        assert!(failure.to_string().contains(expect), "{failure}");
        assert!(!failure.to_string().contains("hush"), "{failure}");
    }
    let selection = FileSelection {
        defaults_file: Some(folder.0.join("absent")),
        ..FileSelection::default()
    };
    let failure = read(&selection, &FilePlaces::default()).unwrap_err();
    assert!(failure.to_string().contains("absent"), "{failure}");
    assert_eq!(failure.kind().exit_code(), 2);
}

#[cfg(unix)]
#[test]
fn a_file_everybody_may_write_to_is_ignored_with_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("writable");
    let file = folder.file("w.cnf", "[client]\nhost=evil\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let places = FilePlaces {
        user: Some(file),
        ..FilePlaces::default()
    };
    let (values, warnings) = read(&FileSelection::default(), &places).unwrap();
    assert_eq!(values.text("host"), None);
    assert!(warnings[0].contains("everybody may write"), "{warnings:?}");
}

#[test]
fn values_are_not_shown_by_debug() {
    let shown = format!("{:?}", parse("[client]\npassword=hush\n"));
    assert_eq!(shown, "OptionValues([\"password\"])");
}
