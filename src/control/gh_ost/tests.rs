use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::UNIX_EPOCH;

use tokio::sync::mpsc;

use super::*;
use crate::control::{ControlCommand, HookEvent};
use crate::progress::Phase;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("cl-gh-ost-{}", fastrand::u64(..)));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Folder(path)
    }

    /// Written by another process, so that it is not open for writing when a parallel test forks.
    fn hook(&self, name: &str, script: &str) {
        let status = std::process::Command::new("sh")
            .args([
                "-c",
                "printf '%s' \"$2\" > \"$1\" && chmod 755 \"$1\"",
                "sh",
            ])
            .arg(self.0.join(name))
            .arg(format!("#!/bin/sh\n{script}\n"))
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn server(host: &str) -> GhOstServer {
    GhOstServer {
        host: host.into(),
        port: 3306,
        version: "9.7.4".into(),
    }
}

fn facts() -> GhOstFacts {
    GhOstFacts {
        table: TableName::new("d", "t"),
        applier: server("primary"),
        inspector: server("replica"),
        executing_host: "here".into(),
        started: UNIX_EPOCH,
        dml_batch_size: 10,
        throttle_flag_file: None,
        additional_flag_file: Some("/no/such.throttle".into()),
        replicas: vec!["r1:3306".into(), "r2:3307".into()],
        postpone_flag_file: None,
        panic_flag_file: Some("/no/panic".into()),
        socket_file: "/tmp/gh-ost.d.t.sock".into(),
        tcp_port: Some(10_001),
        name_needed_for_cut_over: false,
        name_needed_for_panic: false,
        hint: "hint".into(),
        hint_owner: "owner".into(),
        hint_token: "token".into(),
        dry_run: false,
        revert: false,
        reread: None,
    }
}

fn face(facts: GhOstFacts, hooks: Option<PathBuf>) -> (Arc<GhOst>, mpsc::Receiver<ControlCommand>) {
    let (controller, commands) = crate::control::tests::controller();
    (GhOst::new(controller, facts, hooks), commands)
}

const HINT: &str = "\
# Migrating `d`.`t`; Ghost table is `d`.`_t_gho`
# Migrating primary:3306; inspecting replica:3306; executing on here
# Migration started at Thu Jan 01 00:00:00 +0000 1970
# chunk-size: 500; max-lag-millis: 1500ms; dml-batch-size: 10; max-load: a=1,b=2; critical-load: ; nice-ratio: 0.500000
# throttle-additional-flag-file: /no/such.throttle \n\
# throttle-control-replicas count: 2
# panic-flag-file: /no/panic
# Serving on unix socket: /tmp/gh-ost.d.t.sock
# Serving on TCP port: 10001";

#[tokio::test]
async fn status_is_hint_and_line() {
    let (face, _commands) = face(facts(), None);
    face.answer("chunk-size=500").await;
    face.answer("max-load=b=2,a=1").await;
    face.answer("nice-ratio=0.5").await;
    let status = face.answer("status").await;
    let (hint, line) = status.rsplit_once('\n').unwrap();
    assert_eq!(hint, HINT);
    assert!(line.starts_with("Copy: 0/0 "), "{line}");
    assert!(!face.answer("sup").await.contains('\n'));
    assert_eq!(face.answer(" info ").await.lines().count(), 10);
}

#[tokio::test]
async fn limits_are_shown_and_set() {
    let (face, _commands) = face(facts(), None);
    for (set, ask, expect) in [
        ("chunk-size=250", "chunk-size=?", "250"),
        ("chunk-size=1", "chunk-size=?", "10"),
        ("chunk-size = 9999999", "chunk-size = ?", "100000"),
        ("dml-batch-size=5000", "dml-batch-size=?", "1000"),
        ("max-lag-millis=1", "max-lag-millis=?", "100"),
        ("nice-ratio=0.7", "nice-ratio=?", "0.7"),
        ("nice-ratio=1000", "nice-ratio=?", "100"),
        (
            "max-load=Threads_running=50,Threads_connected=1000",
            "max-load=?",
            "Threads_connected=1000,Threads_running=50",
        ),
        ("max-load=", "max-load=?", ""),
        ("critical-load=x=1", "critical-load=?", "x=1"),
        (
            "throttle-query=select 1 = 2",
            "throttle-query=?",
            "select 1 = 2",
        ),
        (
            "throttle-query=\"select \\\"a\\\"\"",
            "throttle-query=?",
            "select \"a\"",
        ),
        ("throttle-http=http://a/b", "throttle-http=?", "http://a/b"),
        ("throttle-http=", "throttle-http=?", ""),
        (
            "throttle-control-replicas=r2:3307",
            "throttle-control-replicas=?",
            "r2:3307",
        ),
        (
            "throttle-control-replicas=r1,r2:3307",
            "throttle-control-replicas=?",
            "r1:3306,r2:3307",
        ),
    ] {
        let answer = face.answer(set).await;
        assert!(answer.contains("# Migrating `d`.`t`"), "{set}: {answer}");
        assert_eq!(face.answer(ask).await, expect, "{set}");
    }
    let noted = face.answer("throttle-query=select 0").await;
    assert!(noted.starts_with(
        "# Note: you may only throttle for as long as your binary logs are not purged\n"
    ));
}

#[tokio::test]
async fn mistakes_have_gh_osts_words() {
    let (face, _commands) = face(facts(), None);
    for (line, expect) in [
        ("frob", "unknown command: frob"),
        (
            "chunk-size=x",
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        ("chunk-size", "strconv.Atoi: parsing \"\": invalid syntax"),
        (
            "max-lag-millis=99999999999999999999",
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "nice-ratio=fast",
            "strconv.ParseFloat: parsing \"fast\": invalid syntax",
        ),
        ("max-load=a", "error parsing load condition: a"),
        ("coordinates=1", "coordinates are read-only"),
        (
            "replication-lag-query=x",
            "replication-lag-query is deprecated. gh-ost uses an internal, subsecond resolution query",
        ),
        (
            "throttle=u",
            "user commanded 'throttle' on u, but migrated table is t; ignoring request",
        ),
        (
            "continue=u",
            "user commanded 'no-throttle' on u, but migrated table is t; ignoring request",
        ),
        (
            "cut-over=u",
            "user commanded 'unpostpone' on u, but migrated table is t; ignoring request",
        ),
        (
            "panic=u",
            "user commanded 'panic' on u, but migrated table is t; ignoring request",
        ),
        (
            "postpone-cut-over-flag-file",
            "user commanded 'postpone-cut-over-flag-file' without specifying file path",
        ),
        (
            "unpostpone",
            "You may only invoke this when gh-ost is actively postponing migration. At this time it is not",
        ),
    ] {
        assert_eq!(face.answer(line).await, expect, "{line}");
    }
    let unknown = face.answer("throttle-control-replicas=r1,r3").await;
    assert!(
        unknown.starts_with("r3:3306 is not among the replicas"),
        "{unknown}"
    );
    let (named, mut commands) = self::face(
        GhOstFacts {
            name_needed_for_cut_over: true,
            name_needed_for_panic: true,
            ..facts()
        },
        None,
    );
    assert_eq!(
        named.answer("panic").await,
        "user commanded 'panic' without specifying table name, but --force-named-panic is set"
    );
    assert_eq!(
        named.answer("unpostpone").await,
        "user commanded 'unpostpone' without specifying table name, but --force-named-cut-over is set"
    );
    assert!(commands.try_recv().is_err());
    assert!(
        named
            .answer("panic=t")
            .await
            .starts_with("user commanded 'panic'. The migration will be aborted")
    );
    assert_eq!(commands.try_recv().unwrap(), ControlCommand::Panic);
}

#[tokio::test]
async fn servers_coordinates_and_help() {
    let (face, _commands) = face(facts(), None);
    assert_eq!(
        face.answer("applier").await,
        "Host: primary:3306, Version: 9.7.4"
    );
    assert_eq!(
        face.answer("inspector").await,
        "Host: replica:3306, Version: 9.7.4"
    );
    *face
        .controller
        .source()
        .progress
        .reader_position
        .lock()
        .unwrap() = "binlog.000001:4".into();
    assert_eq!(face.answer("coordinates").await, "binlog.000001:4");
    assert_eq!(face.answer("coordinates=?").await, "binlog.000001:4");
    let help = face.answer("help").await;
    assert!(help.starts_with("available commands:\n"), "{help}");
    for line in help.lines().filter(|line| line.contains(" # ")) {
        let word = line.split(['=', ' ']).next().unwrap();
        if word != "panic" {
            let answer = face.answer(word).await;
            assert!(!answer.starts_with("unknown command"), "{word}: {answer}");
        }
    }
}

#[tokio::test]
async fn pauses_and_postponements() {
    let folder = Folder::new();
    let (face, _commands) = face(facts(), None);
    assert!(face.answer("throttle").await.starts_with("# Note: "));
    assert!(face.controller.tunables().paused);
    face.answer("unthrottle=t").await;
    assert!(!face.controller.tunables().paused);

    let flag = folder.0.join("flag");
    let answer = face
        .answer(&format!("postpone-cut-over-flag-file={}", flag.display()))
        .await;
    assert!(answer.starts_with("Postponed\n# Migrating"), "{answer}");
    assert!(answer.contains(&format!(
        "# postpone-cut-over-flag-file: {} [set]\n",
        flag.display()
    )));
    assert!(flag.exists() && face.controller.tunables().postpone_cutover);

    face.controller.source().progress.enter(Phase::Postponed);
    assert!(
        face.answer("unpostpone")
            .await
            .starts_with("Unpostponed\n# Migrating")
    );
    let tunables = face.controller.tunables();
    assert!(!tunables.postpone_cutover && tunables.cutover_released);

    face.answer(&format!("postpone-cut-over-flag-file={}", flag.display()))
        .await;
    let cancel = CancellationToken::new();
    let watch = face.clone().watch_flag_file(cancel.clone());
    let remove = async {
        fs::remove_file(&flag).unwrap();
        while face.controller.tunables().postpone_cutover {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (watched, ()) = tokio::join!(watch, remove);
    watched.unwrap();
    let bad = face
        .answer("postpone-cut-over-flag-file=/no/such/folder/flag")
        .await;
    assert!(
        bad.starts_with("failed to create postpone cut-over flag file /no/such/folder/flag: "),
        "{bad}"
    );
}

#[tokio::test]
async fn hooks_are_gh_osts() {
    let folder = Folder::new();
    let out = folder.0.join("out");
    let script = format!("env | grep ^GH_OST_ | sort >> {}", out.display());
    for name in [
        "gh-ost-on-startup--mail",
        "gh-ost-on-status",
        "gh-ost-on-interactive-command",
        "gh-ost-on-batch-copy-retry",
        "gh-ost-on-success",
    ] {
        folder.hook(name, &script);
    }
    folder.hook("gh-ost-on-validated", "echo not on a Friday; exit 1");
    folder.hook("gh-ost-on-failure", "exit 1");
    let (face, _commands) = face(facts(), Some(folder.0.clone()));
    let told = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();

    face.announce(HookEvent::Startup).await.unwrap();
    let startup = told(&fs::read_to_string(&out).unwrap());
    for line in [
        "GH_OST_DATABASE_NAME=d",
        "GH_OST_TABLE_NAME=t",
        "GH_OST_GHOST_TABLE_NAME=_t_gho",
        "GH_OST_OLD_TABLE_NAME=_t_del",
        "GH_OST_DDL=ADD c INT",
        "GH_OST_MIGRATED_HOST=primary",
        "GH_OST_INSPECTED_HOST=replica",
        "GH_OST_EXECUTING_HOST=here",
        "GH_OST_ESTIMATED_ROWS=0",
        "GH_OST_COPIED_ROWS=0",
        "GH_OST_PROGRESS=0.000000",
        "GH_OST_HOOKS_HINT=hint",
        "GH_OST_HOOKS_HINT_OWNER=owner",
        "GH_OST_HOOKS_HINT_TOKEN=token",
        "GH_OST_DRY_RUN=false",
        "GH_OST_REVERT=false",
    ] {
        assert!(
            startup.iter().any(|told| told == line),
            "{line}: {startup:#?}"
        );
    }
    assert_eq!(startup.len(), 21, "{startup:#?}");

    let last = |name: &str| {
        let text = fs::read_to_string(&out).unwrap();
        text.lines()
            .rfind(|line| line.starts_with(name))
            .map(String::from)
    };
    face.announce(HookEvent::Status).await.unwrap();
    assert!(
        last("GH_OST_STATUS=")
            .unwrap()
            .starts_with("GH_OST_STATUS='Copy: 0/0 ")
    );
    face.answer("sup").await;
    assert_eq!(last("GH_OST_COMMAND=").unwrap(), "GH_OST_COMMAND='sup'");
    face.controller.source().progress.chunk_refused(&"1213");
    face.announce(HookEvent::BatchCopyRetry).await.unwrap();
    assert_eq!(
        last("GH_OST_LAST_BATCH").unwrap(),
        "GH_OST_LAST_BATCH_COPY_ERROR=1213"
    );
    face.announce(HookEvent::Success).await.unwrap();
    assert_eq!(
        last("GH_OST_INSTANT_DDL").unwrap(),
        "GH_OST_INSTANT_DDL=false"
    );
    face.announce(HookEvent::Failure).await.unwrap();
    let vetoed = face.announce(HookEvent::Validated).await.unwrap_err();
    assert_eq!(vetoed.kind().exit_code(), 6);
    assert!(vetoed.to_string().contains("not on a Friday"), "{vetoed}");

    folder.hook("gh-ost-on-interactive-command", "echo ask me first; exit 1");
    let refused = face.answer("throttle").await;
    assert!(refused.contains("ask me first"), "{refused}");
    assert!(!face.controller.tunables().paused);
}
