//! From the flags to a run.
//!
//! The order of the checks and the words of the errors are gh-ost's: scripts match on them. Numbers out
//! of range are moved into it, silently or with a warning, as gh-ost does.

use std::path::PathBuf;
use std::time::Duration;

use super::conf::{self, Conf};
use super::go_flags::Values;

use super::run::{
    GhOstBinlogFormat, GhOstControl, GhOstCutOver, GhOstEngine, GhOstHooks, GhOstLog,
    GhOstLogLevel, GhOstMetrics, GhOstPermissions, GhOstPlace, GhOstRenames, GhOstRun, GhOstTables,
    GhOstTask, GhOstThrottle, GhOstTopology, GhOstTriggers,
};
use crate::alter::AlterStatement;
use crate::control::gh_ost::lists::{instance, load};
use crate::failure::{Failure, Result};
use crate::mysql::{ConnectOptions, SslMode};
use crate::names::TableName;

fn fatal(cause: impl Into<String>) -> Failure {
    Failure::failed(cause)
}

/// Settles a run. `ask` asks for the password of `--ask-pass`.
pub(super) fn settle(
    flags: &Values,
    ask: impl FnOnce() -> std::io::Result<String>,
) -> Result<GhOstRun> {
    let mut warnings = Vec::new();
    let task = task(flags, &mut warnings)?;
    let alter = flags.text("alter");
    let table = target(flags, &alter)?;
    let topology = topology(flags, &mut warnings)?;
    check_pairs(flags, &mut warnings)?;
    let triggers = triggers(flags)?;
    let checkpoint = checkpoint(flags, &mut warnings)?;
    check_cut_over(flags, &mut warnings)?;
    let conf_path = flags.some_text("conf").map(PathBuf::from);
    let conf = match &conf_path {
        Some(path) => conf::read(path)?,
        None => Conf::default(),
    };
    let throttle = throttle(flags, &conf)?;
    let control = control(flags, &table)?;
    let asked = match flags.switch("ask-pass") {
        true => Some(ask().map_err(|error| fatal(format!("cannot read the password: {error}")))?),
        false => None,
    };
    let (inspect, primary) = servers(flags, &conf, asked)?;
    let engine = engine(flags, &conf, checkpoint)?;
    let cutover = cutover(flags, &mut warnings);
    warn_of_no_effect(flags, &mut warnings);
    Ok(GhOstRun {
        inspect,
        primary,
        topology,
        table,
        alter,
        execute: flags.switch("execute"),
        task,
        tables: GhOstTables {
            base: flags.some_text("force-table-names"),
            stamp_old: flags.switch("timestamp-old-table"),
            drop_ghost_first: flags.switch("initially-drop-ghost-table"),
            drop_old_first: flags.switch("initially-drop-old-table"),
            drop_old_after: flags.switch("ok-to-drop-table"),
        },
        permissions: permissions(flags),
        triggers,
        engine,
        cutover,
        throttle,
        control,
        hooks: GhOstHooks {
            path: flags.some_text("hooks-path").map(PathBuf::from),
            hint: flags.text("hooks-hint"),
            hint_owner: flags.text("hooks-hint-owner"),
            hint_token: flags.text("hooks-hint-token"),
            status_interval: Duration::from_secs(unsigned(flags.int("hooks-status-interval"))),
        },
        metrics: GhOstMetrics {
            statsd: flags.some_text("statsd-addr"),
            tags: flags.list("statsd-tags"),
        },
        log: log(flags),
        conf: conf_path,
        warnings,
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn task(flags: &Values, warnings: &mut Vec<String>) -> Result<GhOstTask> {
    if !flags.switch("revert") {
        if flags.text("alter").is_empty() {
            return Err(fatal(
                "--alter must be provided and statement must not be empty",
            ));
        }
        return Ok(match flags.switch("resume") {
            true => GhOstTask::Resume,
            false => GhOstTask::Migrate,
        });
    }
    if flags.switch("resume") {
        return Err(fatal("--revert cannot be used with --resume"));
    }
    let old_table = flags
        .some_text("old-table")
        .ok_or_else(|| fatal("--revert must be called with --old-table"))?;
    for name in [
        "alter",
        "attempt-instant-ddl",
        "include-triggers",
        "discard-foreign-keys",
    ] {
        let given = match name {
            "alter" => !flags.text(name).is_empty(),
            _ => flags.switch(name),
        };
        if given {
            warnings.push(format!(
                "--{name} was provided with --revert, it will be ignored"
            ));
        }
    }
    Ok(GhOstTask::Revert { old_table })
}

/// The table: from its flags, or from the ALTER where they are not given.
fn target(flags: &Values, alter: &str) -> Result<TableName> {
    let (database, table) = (flags.some_text("database"), flags.some_text("table"));
    let (named_schema, named_table) = match (&database, &table) {
        (Some(_), Some(_)) => (None, None),
        // A text that cannot be parsed names nothing; what is wrong with it is said later, by the server
        // or by the plan.
        _ => match AlterStatement::parse(alter)
            .ok()
            .and_then(|parsed| parsed.table)
        {
            Some((schema, table)) => (schema, Some(table)),
            None => (None, None),
        },
    };
    let schema = database.or(named_schema).ok_or_else(|| {
        fatal(
            "--database must be provided and database name must not be empty, or --alter must \
             specify database name",
        )
    })?;
    let table = table.or(named_table).ok_or_else(|| {
        fatal(
            "--table must be provided and table name must not be empty, or --alter must specify \
             table name",
        )
    })?;
    Ok(TableName::new(schema, table))
}

fn topology(flags: &Values, warnings: &mut Vec<String>) -> Result<GhOstTopology> {
    for (one, other) in [
        ("allow-on-master", "test-on-replica"),
        ("allow-on-master", "migrate-on-replica"),
        ("migrate-on-replica", "test-on-replica"),
        ("switch-to-rbr", "assume-rbr"),
    ] {
        if flags.switch(one) && flags.switch(other) {
            return Err(fatal(format!(
                "--{one} and --{other} are mutually exclusive"
            )));
        }
    }
    let test_on_replica = flags.switch("test-on-replica");
    let leave_replication = flags.switch("test-on-replica-skip-replica-stop");
    if leave_replication && !test_on_replica {
        return Err(fatal(
            "--test-on-replica-skip-replica-stop requires --test-on-replica to be enabled",
        ));
    }
    if leave_replication {
        warnings.push(
            "--test-on-replica-skip-replica-stop enabled. We will not stop replication before \
             cut-over. Ensure you have a plugin that does this."
                .to_string(),
        );
    }
    Ok(GhOstTopology {
        place: if test_on_replica {
            GhOstPlace::TestOnReplica {
                stop_replication: !leave_replication,
            }
        } else if flags.switch("migrate-on-replica") {
            GhOstPlace::Replica
        } else {
            GhOstPlace::Primary
        },
        allow_on_primary: flags.switch("allow-on-master"),
        allow_co_primaries: flags.switch("allow-master-master"),
        skip_port_validation: ["skip-port-validation", "aliyun-rds", "gcp", "azure"]
            .iter()
            .any(|name| flags.switch(name)),
        gtid: flags.switch("gtid"),
        binlog_format: if flags.switch("switch-to-rbr") {
            GhOstBinlogFormat::SwitchToRow
        } else if flags.switch("assume-rbr") {
            GhOstBinlogFormat::Assume
        } else {
            GhOstBinlogFormat::Check
        },
    })
}

/// Flags that need another one.
fn check_pairs(flags: &Values, warnings: &mut Vec<String>) -> Result<()> {
    for name in ["master-user", "master-password"] {
        if !flags.text(name).is_empty() && flags.text("assume-master-host").is_empty() {
            return Err(fatal(format!("--{name} requires --assume-master-host")));
        }
    }
    for name in ["ssl-ca", "ssl-cert", "ssl-key"] {
        if !flags.text(name).is_empty() && !flags.switch("ssl") {
            return Err(fatal(format!("--{name} requires --ssl")));
        }
    }
    if flags.switch("ssl-allow-insecure") && !flags.switch("ssl") {
        return Err(fatal("--ssl-allow-insecure requires --ssl"));
    }
    if !flags.text("replication-lag-query").is_empty() {
        warnings.push("--replication-lag-query is deprecated".to_string());
    }
    Ok(())
}

fn triggers(flags: &Values) -> Result<Option<GhOstTriggers>> {
    let suffix = flags.text("trigger-suffix");
    match (flags.switch("include-triggers"), suffix.is_empty()) {
        (true, true) => {
            return Err(fatal(
                "--trigger-suffix must be used with --include-triggers",
            ));
        }
        (false, false) => {
            return Err(fatal(
                "--trigger-suffix cannot be be used without --include-triggers",
            ));
        }
        (false, true) => return Ok(None),
        (true, false) => {}
    }
    if !suffix
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Err(fatal(
            "--trigger-suffix must contain only alpha numeric characters and underscore \
             (0-9,a-z,A-Z,_)",
        ));
    }
    Ok(Some(GhOstTriggers {
        suffix,
        remove_if_there: flags.switch("remove-trigger-suffix-if-exists"),
    }))
}

fn checkpoint(flags: &Values, warnings: &mut Vec<String>) -> Result<Option<Duration>> {
    if flags.text("storage-engine") == "rocksdb" {
        warnings.push("RocksDB storage engine support is experimental".to_string());
    }
    let seconds = flags.int("checkpoint-seconds");
    if seconds < 10 {
        return Err(fatal("--checkpoint-seconds should be >=10"));
    }
    if flags.switch("exact-rowcount") && flags.switch("panic-on-warnings") {
        warnings.push(
            "--exact-rowcount with --panic-on-warnings: row counts cannot be exact due to warning \
             detection"
                .to_string(),
        );
    }
    Ok(flags
        .switch("checkpoint")
        .then(|| Duration::from_secs(unsigned(seconds))))
}

fn check_cut_over(flags: &Values, warnings: &mut Vec<String>) -> Result<()> {
    match flags.text("cut-over").as_str() {
        "atomic" | "default" | "" => {}
        "two-step" => warnings.push(
            "--cut-over=two-step leaves a moment without a table; the swap will be atomic"
                .to_string(),
        ),
        other => return Err(fatal(format!("Unknown cut-over: {other}"))),
    }
    Ok(())
}

fn throttle(flags: &Values, conf: &Conf) -> Result<GhOstThrottle> {
    let from_conf = |name: &str, value: Option<i64>| match value {
        Some(value) if !flags.is_given(name) => value,
        _ => flags.int(name),
    };
    let replicas = match flags.text("throttle-control-replicas") {
        list if list.is_empty() => Vec::new(),
        list => list
            .split(',')
            .map(|item| instance(item).map(|(host, port)| format!("{host}:{port}")))
            .collect::<Result<_>>()?,
    };
    let max_load = match &conf.max_load {
        Some(list) if !flags.is_given("max-load") => list.clone(),
        _ => flags.text("max-load"),
    };
    let hibernate = unsigned(flags.int("critical-load-hibernate-seconds"));
    Ok(GhOstThrottle {
        lag_max: Duration::from_millis(unsigned(
            from_conf("max-lag-millis", conf.max_lag_millis).max(100),
        )),
        replicas,
        query: flags.some_text("throttle-query"),
        http: flags.some_text("throttle-http"),
        http_interval: Duration::from_millis(unsigned(flags.int("throttle-http-interval-millis"))),
        http_timeout: Duration::from_millis(unsigned(flags.int("throttle-http-timeout-millis"))),
        ignore_http_errors: flags.switch("ignore-http-errors"),
        flag_files: ["throttle-flag-file", "throttle-additional-flag-file"]
            .iter()
            .filter_map(|name| flags.some_text(name).map(PathBuf::from))
            .collect(),
        panic_flag_file: flags.some_text("panic-flag-file").map(PathBuf::from),
        max_load: load(&max_load)?,
        critical_load: load(&flags.text("critical-load"))?,
        critical_load_interval: Duration::from_millis(unsigned(
            flags.int("critical-load-interval-millis"),
        )),
        critical_load_hibernate: (hibernate > 0).then(|| Duration::from_secs(hibernate)),
    })
}

fn control(flags: &Values, table: &TableName) -> Result<GhOstControl> {
    Ok(GhOstControl {
        socket_file: match flags.some_text("serve-socket-file") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(format!("/tmp/gh-ost.{}.{}.sock", table.schema, table.table)),
        },
        drop_socket_first: flags.switch("initially-drop-socket-file"),
        tcp_port: match flags.int("serve-tcp-port") {
            0 => None,
            port => Some(u16::try_from(port).map_err(|_| fatal(format!("invalid port: {port}")))?),
        },
        name_needed_for_cut_over: flags.switch("force-named-cut-over"),
        name_needed_for_panic: flags.switch("force-named-panic"),
    })
}

/// The inspected server and, if it is named, the primary. User and password: flag, then `--conf`.
fn servers(
    flags: &Values,
    conf: &Conf,
    asked: Option<String>,
) -> Result<(ConnectOptions, Option<ConnectOptions>)> {
    let port = flags.int("port");
    let not_empty = |text: &String| !text.is_empty();
    let user = flags.some_text("user").or_else(|| conf.user.clone());
    let password = asked
        .filter(not_empty)
        .or_else(|| flags.some_text("password"))
        .or_else(|| conf.password.clone())
        .filter(not_empty);
    let inspect = ConnectOptions {
        host: flags.text("host"),
        port: u16::try_from(port).map_err(|_| fatal(format!("invalid port: {port}")))?,
        socket: None,
        user: user.unwrap_or_default(),
        password,
        ssl_mode: match (flags.switch("ssl"), flags.switch("ssl-allow-insecure")) {
            (false, _) => SslMode::Disabled,
            (true, true) => SslMode::Required,
            (true, false) => SslMode::VerifyIdentity,
        },
        ssl_ca: flags.some_text("ssl-ca").map(PathBuf::from),
        ssl_cert: flags.some_text("ssl-cert").map(PathBuf::from),
        ssl_key: flags.some_text("ssl-key").map(PathBuf::from),
    };
    let primary = match flags.some_text("assume-master-host") {
        None => None,
        Some(text) => {
            let (host, port) = instance(&text)?;
            let mut primary = inspect.at(&host, port);
            if let Some(user) = flags.some_text("master-user") {
                primary.user = user;
            }
            if let Some(password) = flags.some_text("master-password") {
                primary.password = Some(password);
            }
            Some(primary)
        }
    };
    Ok((inspect, primary))
}

fn permissions(flags: &Values) -> GhOstPermissions {
    GhOstPermissions {
        nullable_key: flags.switch("allow-nullable-unique-key"),
        renames: if flags.switch("skip-renamed-columns") {
            GhOstRenames::Dropped
        } else if flags.switch("approve-renamed-columns") {
            GhOstRenames::Approved
        } else {
            GhOstRenames::Undecided
        },
        discard_foreign_keys: flags.switch("discard-foreign-keys"),
        skip_foreign_key_checks: flags.switch("skip-foreign-key-checks"),
        skip_strict_mode: flags.switch("skip-strict-mode"),
        zero_in_date: flags.switch("allow-zero-in-date"),
        panic_on_warnings: flags.switch("panic-on-warnings"),
    }
}

fn engine(flags: &Values, conf: &Conf, checkpoint: Option<Duration>) -> Result<GhOstEngine> {
    let chunk_size = match conf.chunk_size {
        Some(size) if !flags.is_given("chunk-size") => size,
        _ => flags.int("chunk-size"),
    };
    let server_id = flags.int("replica-server-id");
    let retries = flags.int("default-retries");
    Ok(GhOstEngine {
        instant_first: flags.switch("attempt-instant-ddl"),
        exact_rowcount: flags.switch("exact-rowcount"),
        concurrent_rowcount: flags.switch("concurrent-rowcount"),
        chunk_size: unsigned(chunk_size.clamp(10, 100_000)),
        dml_batch_size: unsigned(flags.int("dml-batch-size").clamp(1, 1000)),
        // A number that is none leaves gh-ost's own.
        retries: u32::try_from(retries).ok().filter(|n| *n > 0).unwrap_or(60),
        nice_ratio: clamp_ratio(flags.float("nice-ratio")),
        server_id: u32::try_from(server_id)
            .map_err(|_| fatal(format!("invalid replica-server-id: {server_id}")))?,
        reconnects_max: u32::try_from(flags.int("binlogsyncer-max-reconnect-attempts"))
            .ok()
            .filter(|n| *n > 0),
        heartbeat_interval: Duration::from_millis(unsigned(
            flags.int("heartbeat-interval-millis").clamp(100, 1000),
        )),
        checkpoint_interval: checkpoint,
        analyze: flags.switch("analyze-ghost-table-before-cutover"),
    })
}

fn clamp_ratio(ratio: f64) -> f64 {
    if ratio.is_nan() {
        0.0
    } else {
        ratio.clamp(0.0, 100.0)
    }
}

fn cutover(flags: &Values, warnings: &mut Vec<String>) -> GhOstCutOver {
    const LOCK_TIMEOUT_S: i64 = 3;
    const BACKOFF_MAX_S: i64 = 64;
    let lock_timeout = match flags.int("cut-over-lock-timeout-seconds") {
        seconds @ 1..=10 => seconds,
        seconds => {
            let what = if seconds < 1 {
                "minimal timeout is 1sec"
            } else {
                "maximal timeout is 10sec"
            };
            warnings.push(format!("{what}. Timeout remains at {LOCK_TIMEOUT_S}"));
            LOCK_TIMEOUT_S
        }
    };
    let backoff_max = match flags.int("exponential-backoff-max-interval") {
        seconds @ 2.. => seconds,
        _ => {
            warnings.push(format!(
                "minimal maximum interval is 2sec. Timeout remains at {BACKOFF_MAX_S}"
            ));
            BACKOFF_MAX_S
        }
    };
    GhOstCutOver {
        lock_timeout: Duration::from_secs(unsigned(lock_timeout)),
        backoff_max: flags
            .switch("cut-over-exponential-backoff")
            .then(|| Duration::from_secs(unsigned(backoff_max))),
        postpone_flag_file: flags
            .some_text("postpone-cut-over-flag-file")
            .map(PathBuf::from),
        skip_metadata_lock_check: flags.switch("skip-metadata-lock-check"),
        allow_setup_instruments: flags.switch("allow-setup-metadata-lock-instruments"),
    }
}

/// `--quiet` overrides the others.
fn log(flags: &Values) -> GhOstLog {
    GhOstLog {
        level: if flags.switch("quiet") {
            GhOstLogLevel::Error
        } else if flags.switch("debug") {
            GhOstLogLevel::Debug
        } else if flags.switch("verbose") {
            GhOstLogLevel::Info
        } else {
            GhOstLogLevel::Error
        },
        stack: flags.switch("stack"),
    }
}

/// Flags that are taken so that scripts run, and that mean nothing here, with the reason.
pub(super) const NO_EFFECT: [(&str, &str); 10] = [
    ("tungsten", "--assume-master-host alone names the primary"),
    (
        "runtime-metrics-interval",
        "there is no Go runtime to measure",
    ),
    ("replica-server-id", "a free one is found"),
    (
        "binlogsyncer-max-reconnect-attempts",
        "the server is waited for by time",
    ),
    ("mysql-timeout", "every statement has a limit of its own"),
    ("charset", "the connection is utf8mb4"),
    (
        "cut-over-exponential-backoff",
        "pauses follow from what the tries cost writers",
    ),
    (
        "allow-setup-metadata-lock-instruments",
        "what the server shows is used",
    ),
    ("skip-foreign-key-checks", "foreign keys are looked at"),
    ("stack", "errors carry their circumstances"),
];

fn warn_of_no_effect(flags: &Values, warnings: &mut Vec<String>) {
    for (name, why) in NO_EFFECT {
        if flags.is_given(name) {
            warnings.push(format!("--{name} has no effect: {why}"));
        }
    }
    if let Some(word) = flags.rest.first() {
        warnings.push(format!(
            "`{word}` is no flag: it and everything after it on the command line is ignored"
        ));
    }
}
