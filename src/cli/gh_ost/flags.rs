//! gh-ost's flags, in the order of its own list, with their defaults.

use super::go_flags::{Flag, Kind};

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        kind,
        default,
        help,
    }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    flag(name, Kind::Bool, "false", help)
}

const fn text(name: &'static str, help: &'static str) -> Flag {
    flag(name, Kind::Text, "", help)
}

/// All of them.
pub(super) static FLAGS: [Flag; 108] = [
    flag(
        "host",
        Kind::Text,
        "127.0.0.1",
        "server to inspect, preferably a replica",
    ),
    text(
        "assume-master-host",
        "the primary's host[:port], where it is not to be found by replication",
    ),
    flag("port", Kind::Int, "3306", "port of --host"),
    flag(
        "mysql-timeout",
        Kind::Float,
        "0",
        "taken; timeouts are set per statement",
    ),
    text("user", "account"),
    text("password", "password"),
    text(
        "master-user",
        "account on the primary, if another; requires --assume-master-host",
    ),
    text(
        "master-password",
        "password on the primary, if another; requires --assume-master-host",
    ),
    text("conf", "file with [client] user and password"),
    switch("ask-pass", "ask for the password"),
    flag(
        "charset",
        Kind::Text,
        "utf8mb4,utf8,latin1",
        "taken; values are moved as they are",
    ),
    switch("ssl", "encrypt connections"),
    text("ssl-ca", "certificate authority (PEM); requires --ssl"),
    text("ssl-cert", "client certificate (PEM); requires --ssl"),
    text(
        "ssl-key",
        "key of the client certificate (PEM); requires --ssl",
    ),
    switch(
        "ssl-allow-insecure",
        "do not check the server's certificate; requires --ssl",
    ),
    text(
        "database",
        "schema of the table (mandatory unless the ALTER names it)",
    ),
    text("table", "table (mandatory unless the ALTER names it)"),
    text(
        "alter",
        "the ALTER's clauses, or the whole statement (mandatory)",
    ),
    switch("attempt-instant-ddl", "try ALGORITHM=INSTANT first"),
    flag(
        "storage-engine",
        Kind::Text,
        "innodb",
        "no effect: the table's engine is looked up",
    ),
    switch(
        "exact-rowcount",
        "count the rows instead of estimating them",
    ),
    flag(
        "concurrent-rowcount",
        Kind::Bool,
        "true",
        "with --exact-rowcount: count while copying",
    ),
    switch("allow-on-master", "allow --host to be the primary"),
    switch(
        "allow-master-master",
        "allow primaries that replicate each other",
    ),
    switch(
        "allow-nullable-unique-key",
        "allow a migration key with columns that may be NULL but are not",
    ),
    switch(
        "approve-renamed-columns",
        "the ALTER's renames are meant as renames",
    ),
    switch(
        "skip-renamed-columns",
        "columns that the ALTER renames lose their data",
    ),
    switch("tungsten", "no effect: give --assume-master-host"),
    switch(
        "discard-foreign-keys",
        "the new table has none of the foreign keys",
    ),
    switch("skip-foreign-key-checks", "do not look for foreign keys"),
    switch("skip-strict-mode", "values that do not fit are made to fit"),
    switch("allow-zero-in-date", "dates with zero parts are allowed"),
    switch(
        "aliyun-rds",
        "the server is in this cloud: as --skip-port-validation",
    ),
    switch(
        "gcp",
        "the server is in this cloud: as --skip-port-validation",
    ),
    switch(
        "azure",
        "the server is in this cloud: as --skip-port-validation",
    ),
    switch("gtid", "use GTID positions"),
    switch(
        "execute",
        "do it; without this flag all is tried and nothing is migrated",
    ),
    switch(
        "test-on-replica",
        "migrate on the replica, stop replication, swap, swap back, leave both tables",
    ),
    switch(
        "test-on-replica-skip-replica-stop",
        "with --test-on-replica: leave replication to a hook",
    ),
    switch("migrate-on-replica", "migrate on the replica only"),
    switch("ok-to-drop-table", "drop the old table at the end"),
    switch(
        "initially-drop-old-table",
        "drop an old table of an earlier run first",
    ),
    switch(
        "initially-drop-ghost-table",
        "drop a ghost table of an earlier run first",
    ),
    switch(
        "timestamp-old-table",
        "put the time into the old table's name",
    ),
    flag(
        "cut-over",
        Kind::Text,
        "atomic",
        "atomic, default or two-step: the swap is atomic in any case",
    ),
    switch(
        "force-named-cut-over",
        "the cut-over command must name the table",
    ),
    switch("force-named-panic", "the panic command must name the table"),
    switch(
        "switch-to-rbr",
        "set binlog_format to ROW on the replica if need be",
    ),
    switch("assume-rbr", "trust that the replica writes ROW events"),
    switch(
        "cut-over-exponential-backoff",
        "wait longer after each failed cut-over",
    ),
    flag(
        "exponential-backoff-max-interval",
        Kind::Int,
        "64",
        "longest such wait, seconds",
    ),
    flag(
        "chunk-size",
        Kind::Int,
        "1000",
        "rows a chunk, 10 to 100,000",
    ),
    flag(
        "dml-batch-size",
        Kind::Int,
        "10",
        "changes applied together, 1 to 1000",
    ),
    flag(
        "default-retries",
        Kind::Int,
        "60",
        "attempts before giving up",
    ),
    switch(
        "panic-on-warnings",
        "taken; a copy that loses data always fails",
    ),
    flag(
        "cut-over-lock-timeout-seconds",
        Kind::Int,
        "3",
        "longest lock of a cut-over attempt, 1 to 10",
    ),
    flag(
        "nice-ratio",
        Kind::Float,
        "0",
        "rest for this multiple of each chunk's time, 0 to 100",
    ),
    flag(
        "max-lag-millis",
        Kind::Int,
        "1500",
        "replication lag above which the copy pauses",
    ),
    text(
        "replication-lag-query",
        "no effect: lag is measured by heartbeats",
    ),
    text(
        "throttle-control-replicas",
        "replicas whose lag counts, host[:port],…",
    ),
    text(
        "throttle-query",
        "a query that pauses the copy while it returns more than 0",
    ),
    text(
        "throttle-http",
        "a URL that pauses the copy while its HEAD answers other than 200",
    ),
    flag(
        "throttle-http-interval-millis",
        Kind::Int,
        "100",
        "how often the URL is asked",
    ),
    flag(
        "throttle-http-timeout-millis",
        Kind::Int,
        "1000",
        "how long the URL may take",
    ),
    switch(
        "ignore-http-errors",
        "a URL that cannot be asked does not pause",
    ),
    flag(
        "heartbeat-interval-millis",
        Kind::Int,
        "100",
        "how often a heartbeat is written, 100 to 1000",
    ),
    text(
        "throttle-flag-file",
        "the copy pauses while this file exists",
    ),
    flag(
        "throttle-additional-flag-file",
        Kind::Text,
        "/tmp/gh-ost.throttle",
        "another such file, for all runs",
    ),
    text(
        "postpone-cut-over-flag-file",
        "the cut-over waits while this file exists",
    ),
    text(
        "panic-flag-file",
        "the run ends at once, without cleaning up, when this file appears",
    ),
    switch(
        "initially-drop-socket-file",
        "remove a socket file that is in the way",
    ),
    text(
        "serve-socket-file",
        "control socket; default: /tmp/gh-ost.DATABASE.TABLE.sock",
    ),
    flag("serve-tcp-port", Kind::Int, "0", "control port"),
    text("hooks-path", "folder with hooks"),
    text("hooks-hint", "text for hooks, as GH_OST_HOOKS_HINT"),
    text(
        "hooks-hint-owner",
        "owner for hooks, as GH_OST_HOOKS_HINT_OWNER",
    ),
    text(
        "hooks-hint-token",
        "token for hooks, as GH_OST_HOOKS_HINT_TOKEN",
    ),
    flag(
        "hooks-status-interval",
        Kind::Int,
        "60",
        "seconds between calls of the status hook",
    ),
    flag(
        "replica-server-id",
        Kind::Uint,
        "99999",
        "server id of the binlog reader",
    ),
    switch(
        "allow-setup-metadata-lock-instruments",
        "allow switching on the metadata lock instrument",
    ),
    switch(
        "skip-metadata-lock-check",
        "allow a cut-over without the metadata lock check",
    ),
    flag(
        "binlogsyncer-max-reconnect-attempts",
        Kind::Int,
        "0",
        "reconnects of the binlog reader; 0: no limit",
    ),
    switch("include-triggers", "recreate the triggers on the new table"),
    text(
        "trigger-suffix",
        "suffix of the recreated triggers; requires --include-triggers",
    ),
    switch(
        "remove-trigger-suffix-if-exists",
        "take the suffix off where a trigger has it",
    ),
    switch(
        "skip-port-validation",
        "the port that the server knows may be another",
    ),
    switch("checkpoint", "write checkpoints"),
    flag(
        "checkpoint-seconds",
        Kind::Int,
        "300",
        "seconds between checkpoints, at least 10",
    ),
    switch("resume", "continue from a checkpoint"),
    switch(
        "revert",
        "take a finished migration back; requires --old-table",
    ),
    text("old-table", "the old table, for --revert"),
    switch(
        "analyze-ghost-table-before-cutover",
        "compute the new table's statistics before the swap",
    ),
    text(
        "max-load",
        "status variables above which the copy pauses: Threads_running=100,…",
    ),
    text("critical-load", "status variables above which the run ends"),
    flag(
        "critical-load-interval-millis",
        Kind::Int,
        "0",
        "look again after this time before ending on critical load",
    ),
    flag(
        "critical-load-hibernate-seconds",
        Kind::Int,
        "0",
        "sleep for this time instead of ending on critical load",
    ),
    text("statsd-addr", "host:port of a StatsD server"),
    flag(
        "statsd-tags",
        Kind::List,
        "",
        "tag of all metrics, may be repeated",
    ),
    flag(
        "runtime-metrics-interval",
        Kind::Int,
        "10",
        "no effect: there is no Go runtime",
    ),
    switch("quiet", "log errors only"),
    switch("verbose", "log what happens"),
    switch("debug", "log everything"),
    switch("stack", "no effect: errors carry their circumstances"),
    switch("help", "show this text"),
    switch("version", "show the version"),
    switch(
        "check-flag",
        "exit with 0 if all other flags are known, with another code if not",
    ),
    text("force-table-names", "base of the helper tables' names"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::cli::gh_ost::go_flags::read;

    #[test]
    fn names_are_unique_and_defaults_are_values() {
        let names: HashSet<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
        for flag in &FLAGS {
            read(&FLAGS, &[format!("--{}={}", flag.name, flag.default)]).unwrap();
            assert!(!flag.help.is_empty(), "{}", flag.name);
        }
    }
}
