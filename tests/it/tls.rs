//! Encryption as asked for, and never less.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use changeling::failure::Failure;
use changeling::mysql::quote::civil_from_days;
use changeling::mysql::{ConnectOptions, Purpose, Server, SslMode};

use crate::support::{Client, TestServer, is_another_version, server};

/// Certificates made for one test by openssl, in a folder of their own.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new() -> Authority {
        let folder = std::env::temp_dir().join(format!("changeling-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority { folder };
        for name in ["ca", "other-ca"] {
            authority.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ]);
            std::fs::write(authority.path(&format!("{name}.index")), "").unwrap();
            std::fs::write(
                authority.path(&format!("{name}.cnf")),
                format!(
                    "[ca]\ndefault_ca=d\n[d]\ndatabase={name}.index\nnew_certs_dir=.\nrand_serial=yes\n\
                     unique_subject=no\ndefault_md=sha256\npolicy=p\ncertificate={name}.pem\n\
                     private_key={name}.key\ncopy_extensions=copy\n[p]\ncommonName=supplied\n"
                ),
            )
            .unwrap();
        }
        authority
    }

    /// A certificate with its key: `NAME.pem`, `NAME.key`.
    fn sign(&self, name: &str, by: &str, extension: Option<&str>, until: &str) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let subject = format!("/CN={name}");
        let mut arguments = vec![
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ];
        if let Some(extension) = extension {
            arguments.extend(["-addext", extension]);
        }
        self.openssl(&arguments);
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            &format!("{by}.cnf"),
            "-startdate",
            "20200101000000Z",
            "-enddate",
            until,
            "-extfile",
            &self.extensions(name, extension),
            "-in",
            &request,
            "-out",
            &format!("{name}.pem"),
        ]);
    }

    /// The extensions of a version 3 certificate, as servers' own have them.
    fn extensions(&self, name: &str, extension: Option<&str>) -> String {
        let file = format!("{name}.ext");
        let text = format!("basicConstraints=CA:FALSE\n{}\n", extension.unwrap_or(""));
        std::fs::write(self.path(&file), text).unwrap();
        file
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Connects and returns the cipher in use, empty for clear text.
async fn cipher(options: ConnectOptions) -> Result<String, Failure> {
    let mut session = Server::connect(options)
        .await?
        .session(Purpose::Monitor)
        .await?;
    let (_, cipher): (String, String) =
        session.one("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    session.close().await;
    Ok(cipher)
}

/// Makes the server present another certificate, signed by `ca`.
async fn present(server: &TestServer, made: &Authority, ca: &str, certificate: &str) {
    let answer = try_present(server, made, ca, certificate).await;
    assert!(answer.is_ok(), "{certificate}: {answer:?}");
}

async fn try_present(
    server: &TestServer,
    made: &Authority,
    ca: &str,
    certificate: &str,
) -> Result<(), Failure> {
    let options = ConnectOptions {
        socket: Some(server.socket.clone()),
        user: "root".into(),
        ..ConnectOptions::default()
    };
    let mut session = Server::connect(options)
        .await?
        .session(Purpose::Monitor)
        .await?;
    for (variable, file) in [
        ("ssl_ca", format!("{ca}.pem")),
        ("ssl_cert", format!("{certificate}.pem")),
        ("ssl_key", format!("{certificate}.key")),
    ] {
        let path = made.path(&file);
        session
            .execute(&format!("SET GLOBAL {variable} = '{}'", path.display()))
            .await?;
    }
    session.execute("ALTER INSTANCE RELOAD TLS").await?;
    session.close().await;
    Ok(())
}

/// Presents a certificate and waits until it has expired. MySQL refuses to load one that has expired
/// already, so it must be loaded before; on a busy machine that may take several attempts.
async fn present_expired(server: &TestServer, made: &Authority) {
    for lifetime in [
        Duration::from_secs(3),
        Duration::from_secs(12),
        Duration::from_secs(40),
    ] {
        let end = SystemTime::now() + lifetime;
        made.sign("expired", "ca", Some(ELSEWHERE), &asn1_time(end));
        if try_present(server, made, "ca", "expired").await.is_ok() {
            let rest = end.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(rest + Duration::from_secs(2)).await;
            return;
        }
    }
    panic!("the server took no certificate with little time left");
}

fn asn1_time(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (year, month, day) = civil_from_days((seconds / 86_400).cast_signed());
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

const LATER: &str = "20990101000000Z";
const HERE: &str = "subjectAltName=IP:127.0.0.1";
const ELSEWHERE: &str = "subjectAltName=DNS:elsewhere.example";

/// What each mode makes of each kind of certificate; `Err` holds words of the message and of the remedy.
#[tokio::test]
async fn modes() {
    use SslMode::*;
    type Expect = Result<(), (&'static str, &'static str)>;
    const OK: Expect = Ok(());
    const NAME: Expect = Err(("not valid for name", "--ssl-mode=verify-ca"));
    const ISSUER: Expect = Err(("UnknownIssuer", "--ssl-ca"));
    const DATE: Expect = Err(("expired", "renew"));

    let server = server("mysql-tls");
    let made = Authority::new();
    made.sign("good", "ca", Some(HERE), LATER);
    made.sign("elsewhere", "ca", Some(ELSEWHERE), LATER);
    made.sign("nameless", "ca", None, LATER);
    made.sign("foreign", "other-ca", Some(HERE), LATER);
    made.sign("foreign-nameless", "other-ca", None, LATER);

    for (certificate, verify_ca, verify_identity) in [
        ("good", OK, OK),
        ("elsewhere", OK, NAME),
        ("nameless", OK, NAME),
        ("expired", DATE, DATE),
        ("foreign", ISSUER, ISSUER),
        ("foreign-nameless", ISSUER, ISSUER),
    ] {
        match certificate {
            "expired" => present_expired(server, &made).await,
            "foreign" | "foreign-nameless" => {
                present(server, &made, "other-ca", certificate).await;
            }
            _ => present(server, &made, "ca", certificate).await,
        }
        for (mode, expect) in [
            (Preferred, OK),
            (Required, OK),
            (VerifyCa, verify_ca),
            (VerifyIdentity, verify_identity),
        ] {
            let options = ConnectOptions {
                ssl_mode: mode,
                ssl_ca: Some(made.path("ca.pem")),
                ..server.options()
            };
            let what = format!("{certificate}, {mode:?}");
            match (cipher(options).await, expect) {
                (Ok(cipher), Ok(())) => assert_ne!(cipher, "", "{what}"),
                (Err(failure), Err((words, remedy))) => {
                    assert!(failure.to_string().contains(words), "{what}: {failure}");
                    let given = failure.remedy_text().unwrap_or_default();
                    assert!(given.contains(remedy), "{what}: {failure:?}");
                }
                (got, expect) => panic!("{what}: {got:?} instead of {expect:?}"),
            }
        }
    }

    clear_text_is_refused(server).await;
    client_certificates(server, &made).await;
    // Public authorities do not count where one is named, and where none is named only they do.
    present(server, &made, "ca", "good").await;
    let options = ConnectOptions {
        ssl_mode: VerifyIdentity,
        ..server.options()
    };
    let failure = cipher(options).await.unwrap_err();
    assert!(failure.to_string().contains("UnknownIssuer"), "{failure}");
}

async fn clear_text_is_refused(server: &TestServer) {
    let options = ConnectOptions {
        ssl_mode: SslMode::Disabled,
        ..server.options()
    };
    let failure = cipher(options).await.unwrap_err();
    assert_eq!(failure.code(), Some(3159), "{failure}");
    assert_eq!(failure.remedy_text(), Some("use --ssl-mode=required"));

    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        password: Some("hush-hush".into()),
        ..server.options()
    };
    let failure = cipher(options).await.unwrap_err();
    assert_eq!(failure.code(), Some(1045), "{failure}");
    assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
}

/// An account that must show a certificate.
async fn client_certificates(server: &TestServer, made: &Authority) {
    made.sign("client", "ca", None, LATER);
    present(server, made, "ca", "good").await;
    let with_certificate = ConnectOptions {
        ssl_mode: SslMode::VerifyIdentity,
        ssl_ca: Some(made.path("ca.pem")),
        ssl_cert: Some(made.path("client.pem")),
        ssl_key: Some(made.path("client.key")),
        user: "x509".into(),
        ..server.options()
    };
    let admin = ConnectOptions {
        user: server.user.clone(),
        ..with_certificate.clone()
    };
    let mut session = Server::connect(admin)
        .await
        .unwrap()
        .session(Purpose::Monitor)
        .await
        .unwrap();
    session.execute("DROP USER IF EXISTS x509").await.unwrap();
    session
        .execute(&format!(
            "CREATE USER x509 IDENTIFIED BY '{}' REQUIRE X509",
            server.password
        ))
        .await
        .unwrap();
    session.close().await;
    cipher(with_certificate.clone()).await.unwrap();

    let without = ConnectOptions {
        ssl_cert: None,
        ssl_key: None,
        ..with_certificate.clone()
    };
    let failure = cipher(without).await.unwrap_err();
    assert_eq!(failure.code(), Some(1045), "{failure}");
    assert!(failure.remedy_text().unwrap().contains("REQUIRE X509"));

    let missing = ConnectOptions {
        ssl_key: Some(made.path("not-there.key")),
        ..with_certificate
    };
    let failure = cipher(missing).await.unwrap_err();
    assert!(failure.to_string().contains("not-there.key"), "{failure}");
}

/// A server without TLS: only `preferred` falls back to clear text.
#[tokio::test]
async fn a_server_without_tls() {
    let server = server("mariadb-primary");
    let offers: String = Client::connect(server, None)
        .await
        .one("SELECT @@have_ssl")
        .await;
    if offers == "YES" {
        // MariaDB 11.4 and later make themselves a certificate.
        assert!(is_another_version());
        return;
    }
    for (mode, connects) in [
        (SslMode::Disabled, true),
        (SslMode::Preferred, true),
        (SslMode::Required, false),
        (SslMode::VerifyCa, false),
        (SslMode::VerifyIdentity, false),
    ] {
        let options = ConnectOptions {
            ssl_mode: mode,
            ..server.options()
        };
        match cipher(options).await {
            Ok(cipher) => assert!(connects && cipher.is_empty(), "{mode:?} {cipher}"),
            Err(failure) => {
                assert!(!connects, "{mode:?}: {failure}");
                let remedy = failure.remedy_text().unwrap();
                assert!(remedy.contains("offers no TLS"), "{mode:?}: {failure:?}");
            }
        }
    }
}
