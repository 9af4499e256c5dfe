use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::mysql::SslMode;
use crate::names::TableName;

fn command(line: &[&str]) -> Result<GhOstCommand> {
    parse_with(line.iter().map(OsString::from), || Ok("asked".to_string()))
}

/// A run with the flags that every run needs.
fn run(line: &[&str]) -> GhOstRun {
    let base = ["--database=d", "--table=t", "--alter=engine=innodb"];
    match command(&[&base[..], line].concat()).unwrap() {
        GhOstCommand::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

fn error(line: &[&str]) -> String {
    let base = ["--database=d", "--table=t", "--alter=engine=innodb"];
    let failure = command(&[&base[..], line].concat()).unwrap_err();
    assert_eq!(failure.kind().exit_code(), 1, "{failure}");
    failure.to_string()
}

#[test]
fn defaults_are_gh_osts() {
    let run = run(&[]);
    assert_eq!(run.table, TableName::new("d", "t"));
    assert_eq!(run.alter, "engine=innodb");
    assert!(!run.execute);
    assert_eq!(run.task, GhOstTask::Migrate);
    assert_eq!(run.inspect.address(), "127.0.0.1:3306");
    assert_eq!(
        (run.inspect.user.as_str(), &run.inspect.password),
        ("", &None)
    );
    assert_eq!(run.inspect.ssl_mode, SslMode::Disabled);
    assert!(run.primary.is_none() && run.triggers.is_none() && run.conf.is_none());
    assert_eq!(run.topology.place, GhOstPlace::Primary);
    assert_eq!(run.topology.binlog_format, GhOstBinlogFormat::Check);
    assert_eq!(run.permissions.renames, GhOstRenames::Undecided);
    assert_eq!(
        (run.engine.chunk_size, run.engine.dml_batch_size),
        (1000, 10)
    );
    assert_eq!((run.engine.retries, run.engine.server_id), (60, 99_999));
    assert_eq!(run.engine.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(run.engine.checkpoint_interval, None);
    assert!(run.engine.concurrent_rowcount && !run.engine.exact_rowcount);
    assert_eq!(run.cutover.lock_timeout, Duration::from_secs(3));
    assert_eq!(run.cutover.backoff_max, None);
    assert_eq!(run.throttle.lag_max, Duration::from_millis(1500));
    assert_eq!(run.throttle.flag_files, [Path::new("/tmp/gh-ost.throttle")]);
    assert_eq!(run.throttle.critical_load_hibernate, None);
    assert_eq!(run.control.socket_file, Path::new("/tmp/gh-ost.d.t.sock"));
    assert_eq!(run.control.tcp_port, None);
    assert_eq!(run.hooks.status_interval, Duration::from_secs(60));
    assert_eq!(run.log.level, GhOstLogLevel::Error);
    assert!(run.warnings.is_empty(), "{:?}", run.warnings);
}

#[test]
fn every_flag_of_a_full_command_line_arrives() {
    let run = run(&[
        "-host",
        "replica1",
        "-port=3307",
        "-user=u",
        "-password",
        "p",
        "-assume-master-host=db1:3308",
        "-master-user=mu",
        "-master-password=mp",
        "--ssl",
        "--ssl-ca=/ca",
        "--ssl-cert=/c",
        "--ssl-key=/k",
        "--execute",
        "--attempt-instant-ddl",
        "--exact-rowcount",
        "--concurrent-rowcount=false",
        "--allow-master-master",
        "--allow-nullable-unique-key",
        "--approve-renamed-columns",
        "--discard-foreign-keys",
        "--skip-foreign-key-checks",
        "--skip-strict-mode",
        "--allow-zero-in-date",
        "--skip-port-validation",
        "--gtid",
        "--assume-rbr",
        "--migrate-on-replica",
        "--ok-to-drop-table",
        "--initially-drop-old-table",
        "--initially-drop-ghost-table",
        "--timestamp-old-table",
        "--cut-over=default",
        "--force-named-cut-over",
        "--force-named-panic",
        "--cut-over-exponential-backoff",
        "--exponential-backoff-max-interval=30",
        "--chunk-size=500",
        "--dml-batch-size=100",
        "--default-retries=7",
        "--panic-on-warnings",
        "--cut-over-lock-timeout-seconds=5",
        "--nice-ratio=0.7",
        "--max-lag-millis=2000",
        "--throttle-control-replicas=a,b:3307",
        "--throttle-query=select 0",
        "--throttle-http=http://x/",
        "--throttle-http-interval-millis=200",
        "--throttle-http-timeout-millis=300",
        "--ignore-http-errors",
        "--heartbeat-interval-millis=500",
        "--throttle-flag-file=/f",
        "--throttle-additional-flag-file=/g",
        "--postpone-cut-over-flag-file=/h",
        "--panic-flag-file=/i",
        "--initially-drop-socket-file",
        "--serve-socket-file=/s",
        "--serve-tcp-port=10001",
        "--hooks-path=/hooks",
        "--hooks-hint=hint",
        "--hooks-hint-owner=owner",
        "--hooks-hint-token=token",
        "--hooks-status-interval=5",
        "--replica-server-id=7",
        "--allow-setup-metadata-lock-instruments",
        "--skip-metadata-lock-check",
        "--binlogsyncer-max-reconnect-attempts=9",
        "--include-triggers",
        "--trigger-suffix=_v2",
        "--remove-trigger-suffix-if-exists",
        "--checkpoint",
        "--checkpoint-seconds=10",
        "--resume",
        "--analyze-ghost-table-before-cutover",
        "--max-load=Threads_running=25,Threads_connected=500",
        "--critical-load=Threads_running=1000",
        "--critical-load-interval-millis=2500",
        "--critical-load-hibernate-seconds=60",
        "--statsd-addr=127.0.0.1:8125",
        "--statsd-tags=a:b",
        "--statsd-tags=c:d",
        "--verbose",
        "--stack",
        "--force-table-names=base",
    ]);
    assert_eq!(run.inspect.address(), "replica1:3307");
    assert_eq!(run.inspect.user, "u");
    assert_eq!(run.inspect.password.as_deref(), Some("p"));
    assert_eq!(run.inspect.ssl_mode, SslMode::VerifyIdentity);
    assert_eq!(run.inspect.ssl_key.as_deref(), Some(Path::new("/k")));
    let primary = run.primary.unwrap();
    assert_eq!(
        (primary.address().as_str(), primary.user.as_str()),
        ("db1:3308", "mu")
    );
    assert_eq!(primary.password.as_deref(), Some("mp"));
    assert_eq!(primary.ssl_mode, SslMode::VerifyIdentity);
    assert!(run.execute);
    assert_eq!(run.task, GhOstTask::Resume);
    let topology = GhOstTopology {
        place: GhOstPlace::Replica,
        allow_on_primary: false,
        allow_co_primaries: true,
        skip_port_validation: true,
        gtid: true,
        binlog_format: GhOstBinlogFormat::Assume,
    };
    assert_eq!(run.topology, topology);
    let tables = GhOstTables {
        base: Some("base".into()),
        stamp_old: true,
        drop_ghost_first: true,
        drop_old_first: true,
        drop_old_after: true,
    };
    assert_eq!(run.tables, tables);
    let permissions = GhOstPermissions {
        nullable_key: true,
        renames: GhOstRenames::Approved,
        discard_foreign_keys: true,
        skip_foreign_key_checks: true,
        skip_strict_mode: true,
        zero_in_date: true,
        panic_on_warnings: true,
    };
    assert_eq!(run.permissions, permissions);
    let triggers = GhOstTriggers {
        suffix: "_v2".into(),
        remove_if_there: true,
    };
    assert_eq!(run.triggers, Some(triggers));
    let engine = GhOstEngine {
        instant_first: true,
        exact_rowcount: true,
        concurrent_rowcount: false,
        chunk_size: 500,
        dml_batch_size: 100,
        retries: 7,
        nice_ratio: 0.7,
        server_id: 7,
        reconnects_max: Some(9),
        heartbeat_interval: Duration::from_millis(500),
        checkpoint_interval: Some(Duration::from_secs(10)),
        analyze: true,
    };
    assert_eq!(run.engine, engine);
    let cutover = GhOstCutOver {
        lock_timeout: Duration::from_secs(5),
        backoff_max: Some(Duration::from_secs(30)),
        postpone_flag_file: Some("/h".into()),
        skip_metadata_lock_check: true,
        allow_setup_instruments: true,
    };
    assert_eq!(run.cutover, cutover);
    let throttle = GhOstThrottle {
        lag_max: Duration::from_secs(2),
        replicas: vec!["a:3306".into(), "b:3307".into()],
        query: Some("select 0".into()),
        http: Some("http://x/".into()),
        http_interval: Duration::from_millis(200),
        http_timeout: Duration::from_millis(300),
        ignore_http_errors: true,
        flag_files: vec!["/f".into(), "/g".into()],
        panic_flag_file: Some("/i".into()),
        max_load: [
            ("Threads_running".to_string(), 25),
            ("Threads_connected".to_string(), 500),
        ]
        .into(),
        critical_load: [("Threads_running".to_string(), 1000)].into(),
        critical_load_interval: Duration::from_millis(2500),
        critical_load_hibernate: Some(Duration::from_secs(60)),
    };
    assert_eq!(run.throttle, throttle);
    let control = GhOstControl {
        socket_file: "/s".into(),
        drop_socket_first: true,
        tcp_port: Some(10_001),
        name_needed_for_cut_over: true,
        name_needed_for_panic: true,
    };
    assert_eq!(run.control, control);
    let hooks = GhOstHooks {
        path: Some("/hooks".into()),
        hint: "hint".into(),
        hint_owner: "owner".into(),
        hint_token: "token".into(),
        status_interval: Duration::from_secs(5),
    };
    assert_eq!(run.hooks, hooks);
    let metrics = GhOstMetrics {
        statsd: Some("127.0.0.1:8125".into()),
        tags: vec!["a:b".into(), "c:d".into()],
    };
    assert_eq!(run.metrics, metrics);
    assert_eq!(
        run.log,
        GhOstLog {
            level: GhOstLogLevel::Info,
            stack: true
        }
    );
}

#[test]
fn help_version_and_check_flag_need_nothing_else() {
    assert!(matches!(
        command(&["--version"]),
        Ok(GhOstCommand::ShowVersion)
    ));
    assert!(matches!(
        command(&[
            "--check-flag",
            "--cut-over-lock-timeout-seconds=1",
            "--nice-ratio",
            "0"
        ]),
        Ok(GhOstCommand::CheckFlag)
    ));
    let failure = command(&["--check-flag", "--no-such-flag"]).unwrap_err();
    assert_eq!(failure.kind().exit_code(), 2);
    for line in [&["--help"][..], &["-h"], &["-help"]] {
        let Ok(GhOstCommand::ShowHelp(text)) = command(line) else {
            panic!("{line:?}");
        };
        assert!(
            text.starts_with("Usage of gh-ost:\n  -aliyun-rds\n"),
            "{text}"
        );
        assert!(
            text.contains("  -chunk-size int\n    \trows a chunk, 10 to 100,000 (default 1000)\n")
        );
        assert!(text.contains("(default \"127.0.0.1\")"));
    }
}

#[test]
fn the_table_may_stand_in_the_alter() {
    let target = |line: &[&str]| match command(line) {
        Ok(GhOstCommand::Run(run)) => run.table.to_string(),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => failure.to_string(),
    };
    assert_eq!(
        target(&["--alter=alter table `a b`.t engine=innodb"]),
        "a b.t"
    );
    assert_eq!(
        target(&["--database=x", "--alter=ALTER TABLE y.t engine=innodb"]),
        "x.t"
    );
    assert_eq!(
        target(&["--table=x", "--alter=ALTER TABLE d.t engine=innodb"]),
        "d.x"
    );
    assert_eq!(
        target(&["--alter=ALTER TABLE t engine=innodb"]),
        "--database must be provided and database name must not be empty, or --alter must specify \
         database name"
    );
    assert_eq!(
        target(&["--database=d", "--alter=engine=innodb"]),
        "--table must be provided and table name must not be empty, or --alter must specify table name"
    );
    assert_eq!(
        target(&["--database=d", "--table=t"]),
        "--alter must be provided and statement must not be empty"
    );
}

#[test]
fn contradictions_have_gh_osts_words() {
    for (line, expect) in [
        (
            &["--allow-on-master", "--test-on-replica"][..],
            "--allow-on-master and --test-on-replica are mutually exclusive",
        ),
        (
            &["--allow-on-master", "--migrate-on-replica"],
            "--allow-on-master and --migrate-on-replica are mutually exclusive",
        ),
        (
            &["--test-on-replica", "--migrate-on-replica"],
            "--migrate-on-replica and --test-on-replica are mutually exclusive",
        ),
        (
            &["--switch-to-rbr", "--assume-rbr"],
            "--switch-to-rbr and --assume-rbr are mutually exclusive",
        ),
        (
            &["--test-on-replica-skip-replica-stop"],
            "--test-on-replica-skip-replica-stop requires --test-on-replica to be enabled",
        ),
        (
            &["--master-user=x"],
            "--master-user requires --assume-master-host",
        ),
        (
            &["--master-password=x"],
            "--master-password requires --assume-master-host",
        ),
        (&["--ssl-ca=x"], "--ssl-ca requires --ssl"),
        (&["--ssl-cert=x"], "--ssl-cert requires --ssl"),
        (&["--ssl-key=x"], "--ssl-key requires --ssl"),
        (
            &["--ssl-allow-insecure"],
            "--ssl-allow-insecure requires --ssl",
        ),
        (
            &["--include-triggers"],
            "--trigger-suffix must be used with --include-triggers",
        ),
        (
            &["--trigger-suffix=_x"],
            "--trigger-suffix cannot be be used without --include-triggers",
        ),
        (
            &["--include-triggers", "--trigger-suffix=a-b"],
            "--trigger-suffix must contain only alpha numeric characters and underscore \
             (0-9,a-z,A-Z,_)",
        ),
        (
            &["--checkpoint-seconds=9"],
            "--checkpoint-seconds should be >=10",
        ),
        (&["--cut-over=slow"], "Unknown cut-over: slow"),
        (&["--max-load=x"], "error parsing load condition: x"),
        (
            &["--critical-load=x=y"],
            "error parsing numeric value in load condition: x=y",
        ),
        (&["--serve-tcp-port=70000"], "invalid port: 70000"),
        (&["--throttle-control-replicas=a:b"], "invalid port: b"),
        (&["--revert"], "--revert must be called with --old-table"),
        (
            &["--revert", "--resume"],
            "--revert cannot be used with --resume",
        ),
    ] {
        assert_eq!(error(line), expect, "{line:?}");
    }
}

#[test]
fn numbers_are_moved_into_their_range() {
    let low = run(&[
        "--chunk-size=1",
        "--dml-batch-size=0",
        "--nice-ratio=-1",
        "--max-lag-millis=1",
        "--heartbeat-interval-millis=1",
        "--default-retries=0",
        "--cut-over-lock-timeout-seconds=0",
        "--exponential-backoff-max-interval=1",
        "--cut-over-exponential-backoff",
    ]);
    assert_eq!((low.engine.chunk_size, low.engine.dml_batch_size), (10, 1));
    assert_eq!(low.engine.nice_ratio, 0.0);
    assert_eq!(low.throttle.lag_max, Duration::from_millis(100));
    assert_eq!(low.engine.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(low.engine.retries, 60);
    assert_eq!(low.cutover.lock_timeout, Duration::from_secs(3));
    assert_eq!(low.cutover.backoff_max, Some(Duration::from_secs(64)));
    assert_eq!(
        low.warnings,
        [
            "minimal timeout is 1sec. Timeout remains at 3",
            "minimal maximum interval is 2sec. Timeout remains at 64",
            "--cut-over-exponential-backoff has no effect: pauses follow from what the tries cost writers",
        ]
    );
    let high = run(&[
        "--chunk-size=1000000",
        "--dml-batch-size=5000",
        "--nice-ratio=1000",
        "--heartbeat-interval-millis=9999",
        "--cut-over-lock-timeout-seconds=11",
    ]);
    assert_eq!(
        (high.engine.chunk_size, high.engine.dml_batch_size),
        (100_000, 1000)
    );
    assert_eq!(high.engine.nice_ratio, 100.0);
    assert_eq!(high.engine.heartbeat_interval, Duration::from_secs(1));
    assert_eq!(
        high.warnings,
        ["maximal timeout is 10sec. Timeout remains at 3"]
    );
}

#[test]
fn what_has_no_effect_is_warned_about_once() {
    let run = run(&[
        "--tungsten",
        "--stack",
        "--replica-server-id=7",
        "--runtime-metrics-interval=5",
        "--replication-lag-query=select 1",
        "--cut-over=two-step",
        "--storage-engine=rocksdb",
        "--exact-rowcount",
        "--panic-on-warnings",
        "--execute",
        "yes",
        "--quiet",
    ]);
    let has = |words: &str| run.warnings.iter().filter(|w| w.contains(words)).count();
    for words in [
        "--tungsten has no effect",
        "--stack has no effect",
        "--replica-server-id has no effect",
        "--runtime-metrics-interval has no effect",
        "--replication-lag-query is deprecated",
        "the swap will be atomic",
        "RocksDB",
        "row counts cannot be exact",
        "`yes` is no flag",
    ] {
        assert_eq!(has(words), 1, "{words}: {:?}", run.warnings);
    }
    assert!(run.execute);
}

#[test]
fn the_guide_names_every_flag_that_does_nothing() {
    let guide = include_str!("../../../docs/from-gh-ost.md");
    let (_, differences) = guide.split_once("## What differs").unwrap();
    for (name, _) in settle::NO_EFFECT {
        assert!(differences.contains(&format!("`--{name}`")), "--{name}");
    }
}

#[test]
fn test_on_replica_and_revert() {
    let test = run(&["--test-on-replica", "--test-on-replica-skip-replica-stop"]);
    assert_eq!(
        test.topology.place,
        GhOstPlace::TestOnReplica {
            stop_replication: false
        }
    );
    assert!(test.warnings[0].contains("We will not stop replication before cut-over"));
    let revert = run(&["--revert", "--old-table=_t_del", "--attempt-instant-ddl"]);
    assert_eq!(
        revert.task,
        GhOstTask::Revert {
            old_table: "_t_del".into()
        }
    );
    assert_eq!(
        revert.warnings,
        [
            "--alter was provided with --revert, it will be ignored",
            "--attempt-instant-ddl was provided with --revert, it will be ignored",
        ]
    );
    let without_alter = command(&[
        "--database=d",
        "--table=t",
        "--revert",
        "--old-table=_t_del",
    ]);
    assert!(
        matches!(without_alter, Ok(GhOstCommand::Run(_))),
        "{without_alter:?}"
    );
}

#[test]
fn log_levels() {
    for (line, expect) in [
        (&["--debug", "--verbose"][..], GhOstLogLevel::Debug),
        (&["--verbose"], GhOstLogLevel::Info),
        (&["--debug", "--quiet"], GhOstLogLevel::Error),
        (&["--verbose=false"], GhOstLogLevel::Error),
    ] {
        assert_eq!(run(line).log.level, expect, "{line:?}");
    }
}

#[test]
fn credentials_come_from_flag_prompt_or_file() {
    let path = std::env::temp_dir().join(format!("changeling-gh-ost-conf-{}", std::process::id()));
    std::fs::write(
        &path,
        "[client]\nuser=file_user\npassword=hush\n[osc]\nchunk_size=77\nmax_lag_millis=50\nmax_load=a=1\n",
    )
    .unwrap();
    let conf = format!("--conf={}", path.display());
    let from_file = run(&[&conf]);
    let overridden = run(&[
        &conf,
        "--user=flag_user",
        "--chunk-size=99",
        "--max-load=b=2",
        "--ask-pass",
    ]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(from_file.inspect.user, "file_user");
    assert_eq!(from_file.inspect.password.as_deref(), Some("hush"));
    assert_eq!(from_file.engine.chunk_size, 77);
    assert_eq!(from_file.throttle.lag_max, Duration::from_millis(100));
    assert_eq!(from_file.throttle.max_load.get("a"), Some(&1));
    assert_eq!(from_file.conf, Some(PathBuf::from(&path)));
    assert_eq!(overridden.inspect.user, "flag_user");
    assert_eq!(overridden.inspect.password.as_deref(), Some("asked"));
    assert_eq!(overridden.engine.chunk_size, 99);
    assert_eq!(overridden.throttle.max_load, [("b".to_string(), 2)].into());
    for run in [from_file, overridden] {
        let shown = format!("{run:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("asked"),
            "{shown}"
        );
    }
    assert!(error(&["--conf=/not/there"]).contains("/not/there"));
}
