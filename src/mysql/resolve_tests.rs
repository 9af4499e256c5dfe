use super::*;

fn surroundings() -> Surroundings {
    Surroundings {
        places: FilePlaces::default(),
        mysql_pwd: None,
        login_user: "me".into(),
        prompt: |words| {
            assert!(words.starts_with("Password of "), "{words}");
            Ok("prompted".into())
        },
        socket_exists: |_| false,
    }
}

fn file(options: &[(&str, Option<&str>)]) -> OptionValues {
    let mut values = OptionValues::default();
    for (key, value) in options {
        values.set(key, value.map(str::to_string));
    }
    values
}

fn resolved(given: Given, options: &[(&str, Option<&str>)]) -> ConnectOptions {
    resolve(given, &file(options), &surroundings()).unwrap()
}

#[test]
fn nothing_said_is_tcp_to_this_machine_as_the_login_user() {
    let options = resolved(Given::default(), &[]);
    assert_eq!(options.address(), "127.0.0.1:3306");
    assert_eq!(options.user, "me");
    assert_eq!(options.password, None);
    assert_eq!(options.ssl_mode, SslMode::Preferred);
}

#[test]
fn tcp_or_socket() {
    let check = |host: Option<&str>,
                 port: Option<u16>,
                 socket: Option<&str>,
                 file: &[(&str, &str)],
                 expect: &str| {
        let given = Given {
            host: host.map(str::to_string),
            port,
            socket: socket.map(PathBuf::from),
            ..Given::default()
        };
        let file: Vec<_> = file.iter().map(|(k, v)| (*k, Some(*v))).collect();
        assert_eq!(
            resolved(given, &file).address(),
            expect,
            "{host:?} {port:?} {socket:?} {file:?}"
        );
    };
    check(Some("db1"), None, None, &[], "db1:3306");
    check(Some("db1"), Some(7), None, &[], "db1:7");
    check(None, Some(7), None, &[], "127.0.0.1:7");
    check(None, None, Some("/s"), &[], "/s");
    check(Some("localhost"), None, Some("/s"), &[], "/s");
    // What a flag says beats what a file says, whatever it is.
    check(
        None,
        None,
        Some("/s"),
        &[("host", "db1"), ("port", "7")],
        "/s",
    );
    check(
        Some("db1"),
        None,
        None,
        &[("socket", "/f"), ("port", "7")],
        "db1:7",
    );
    check(
        Some("127.0.0.1"),
        None,
        None,
        &[("socket", "/f")],
        "127.0.0.1:3306",
    );
    check(None, Some(7), None, &[("socket", "/f")], "127.0.0.1:7");
    // A distribution's [client] has both a port and a socket, and means the socket.
    check(
        None,
        None,
        None,
        &[("socket", "/f"), ("port", "3306")],
        "/f",
    );
    check(
        Some("localhost"),
        None,
        None,
        &[("socket", "/f"), ("port", "3306")],
        "/f",
    );
    check(
        None,
        None,
        None,
        &[("socket", "/f"), ("host", "db1")],
        "db1:3306",
    );
    check(
        None,
        None,
        None,
        &[("socket", "/f"), ("protocol", "TCP")],
        "127.0.0.1:3306",
    );
    // The client would take the socket and ignore the port.
    check(
        Some("localhost"),
        Some(7),
        None,
        &[("socket", "/f")],
        "localhost:7",
    );
    // localhost without any socket on the machine.
    check(Some("localhost"), None, None, &[], "localhost:3306");
}

#[test]
fn localhost_finds_the_usual_socket() {
    let mut surroundings = surroundings();
    surroundings.socket_exists = |path| path == Path::new("/tmp/mysql.sock");
    let given = |host: Option<&str>| Given {
        host: host.map(str::to_string),
        ..Given::default()
    };
    let none = OptionValues::default();
    let found = resolve(given(Some("localhost")), &none, &surroundings).unwrap();
    assert_eq!(found.address(), "/tmp/mysql.sock");
    let default = resolve(given(None), &none, &surroundings).unwrap();
    assert_eq!(default.address(), "127.0.0.1:3306");
}

#[test]
fn a_socket_and_a_remote_host_contradict_each_other() {
    let given = Given {
        host: Some("db1".into()),
        socket: Some("/s".into()),
        ..Given::default()
    };
    let failure = resolve(given, &OptionValues::default(), &surroundings()).unwrap_err();
    assert_eq!(failure.kind().exit_code(), 2);
    assert!(failure.to_string().contains("db1"), "{failure}");
}

#[test]
fn password_precedence_is_the_clients() {
    let given = |password: GivenPassword| Given {
        password,
        ..Given::default()
    };
    let mut env = surroundings();
    env.mysql_pwd = Some("variable".into());
    let check =
        |password: GivenPassword, options: &[(&str, Option<&str>)], expect: Option<&str>| {
            let options = resolve(given(password), &file(options), &env).unwrap();
            assert_eq!(options.password.as_deref(), expect);
        };
    let in_file: &[(&str, Option<&str>)] = &[("password", Some("file"))];
    check(GivenPassword::Text("flag".into()), in_file, Some("flag"));
    check(GivenPassword::Text("".into()), in_file, None);
    check(GivenPassword::Prompt, in_file, Some("prompted"));
    check(GivenPassword::Unsaid, in_file, Some("file"));
    check(
        GivenPassword::Unsaid,
        &[("password", None)],
        Some("prompted"),
    );
    check(GivenPassword::Unsaid, &[], Some("variable"));
}

#[test]
fn no_terminal_is_said_with_a_way_out() {
    let mut surroundings = surroundings();
    surroundings.prompt = |_| Err(std::io::Error::other("no tty"));
    let given = Given {
        password: GivenPassword::Prompt,
        ..Given::default()
    };
    let failure = resolve(given, &OptionValues::default(), &surroundings).unwrap_err();
    assert!(failure.remedy_text().unwrap().contains("--password-file"));
}

#[test]
fn encryption_is_never_less_than_asked_for() {
    let check = |options: &[(&str, Option<&str>)], expect: SslMode| {
        assert_eq!(
            resolved(Given::default(), options).ssl_mode,
            expect,
            "{options:?}"
        );
    };
    check(
        &[("ssl-mode", Some("VERIFY_IDENTITY"))],
        SslMode::VerifyIdentity,
    );
    check(&[("ssl-ca", Some("/ca"))], SslMode::VerifyCa);
    check(
        &[("ssl-ca", Some("/ca")), ("ssl-mode", Some("REQUIRED"))],
        SslMode::Required,
    );
    check(&[("ssl-ca", Some("/ca")), ("ssl", None)], SslMode::VerifyCa);
    check(
        &[("ssl-ca", Some("/ca")), ("ssl-verify-server-cert", None)],
        SslMode::VerifyIdentity,
    );
    check(
        &[
            ("ssl-ca", Some("/ca")),
            ("skip-ssl-verify-server-cert", None),
        ],
        SslMode::Required,
    );
    check(&[("ssl", None)], SslMode::Required);
    check(&[("skip-ssl", None)], SslMode::Disabled);
    check(&[("ssl", Some("0"))], SslMode::Disabled);
    let given = Given {
        ssl_mode: Some(SslMode::Required),
        ..Given::default()
    };
    let options = resolved(given, &[("ssl-mode", Some("DISABLED"))]);
    assert_eq!(options.ssl_mode, SslMode::Required);
    let failure = resolve(
        Given::default(),
        &file(&[("ssl-mode", Some("verified"))]),
        &surroundings(),
    )
    .unwrap_err();
    assert!(failure.to_string().contains("verified"), "{failure}");
}

#[test]
fn certificate_and_key_go_together() {
    let given = Given {
        ssl_cert: Some("/c".into()),
        ..Given::default()
    };
    assert!(resolve(given, &OptionValues::default(), &surroundings()).is_err());
}

#[test]
fn a_port_that_is_none_is_named() {
    let failure = resolve(
        Given::default(),
        &file(&[("port", Some("70000"))]),
        &surroundings(),
    )
    .unwrap_err();
    assert!(failure.to_string().contains("70000"), "{failure}");
}

#[test]
fn a_given_password_is_not_shown_by_debug() {
    let given = Given {
        password: GivenPassword::Text("hush".into()),
        ..Given::default()
    };
    assert!(!format!("{given:?}").contains("hush"));
}
