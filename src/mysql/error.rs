//! What the server's and the driver's errors mean: the only place that knows error numbers as classes.

use crate::failure::{ErrorClass, Evidence, Failure};

/// Deadlock found when trying to get lock.
pub const ER_LOCK_DEADLOCK: u16 = 1213;
/// Lock wait timeout exceeded, row or metadata lock.
pub const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
/// Access denied for the user.
pub const ER_ACCESS_DENIED: u16 = 1045;
/// Too many connections.
pub const ER_TOO_MANY_CONNECTIONS: u16 = 1040;
/// `require_secure_transport` is on and the connection is in clear text.
pub const ER_SECURE_TRANSPORT_REQUIRED: u16 = 3159;
/// An index of that name exists.
pub const ER_DUP_KEYNAME: u16 = 1061;
/// Duplicate entry for a unique key.
pub const ER_DUP_ENTRY: u16 = 1062;
/// A value is out of range in an expression.
pub const ER_DATA_OUT_OF_RANGE: u16 = 1690;
/// Table already exists.
pub const ER_TABLE_EXISTS: u16 = 1050;
/// Unknown table in a DROP.
pub const ER_BAD_TABLE: u16 = 1051;
/// Table does not exist.
pub const ER_NO_SUCH_TABLE: u16 = 1146;
/// There is no such schema.
pub const ER_BAD_DB: u16 = 1049;
/// Unknown system variable.
pub const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// Query execution was interrupted (KILL QUERY).
pub const ER_QUERY_INTERRUPTED: u16 = 1317;

/// Whether the server refused to write because it is read-only: a state that may pass.
pub fn is_read_only(failure: &Failure) -> bool {
    // 1290 option prevents statement (read_only, super_read_only), 1836 running in read-only mode.
    matches!(failure.code(), Some(1290 | 1836))
}

/// Whether a transaction was too large for the server: for its binlog cache, or for group replication,
/// which says only that a hook refused the commit.
pub fn is_transaction_too_large(failure: &Failure) -> bool {
    // 1197 multi-statement transaction required more than max_binlog_cache_size, 3100 error on observer
    // while running replication hook.
    matches!(failure.code(), Some(1197 | 3100))
}

/// Whether the server refused a row because of its values: the table's definition cannot hold it.
/// Numbers from the reference manuals of both families.
pub fn does_not_fit(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Some(
            // 1048 NULL, 1062 duplicate, 1264 out of range, 1265 truncated, 1292 wrong value,
            // 1300 wrong string of a character set, 1364 no default, 1366 wrong value for the column,
            // 1367 illegal value, 1406 too long, 1411 wrong value for a function, 1416 no geometry,
            // 1526 no partition, 1690 out of range in an expression, 1748 wrong partition,
            1048 | 1062 | 1264 | 1265 | 1292 | 1300 | 1364 | 1366 | 1367 | 1406 | 1411 | 1416 | 1526
                | 1690 | 1748
            // 3140 no JSON, 3143 no JSON path, 3156 JSON cast, 3643 wrong SRID, 3819 CHECK (MySQL),
            // 3903 JSON cast for an index, 4025 CHECK (MariaDB), 4078 wrong types of an operation,
            // 1118 and 139 row too large.
            | 3140 | 3143 | 3156 | 3643 | 3819 | 3903 | 4025 | 4078 | 1118 | 139
        )
    )
}

/// Whether a table of information_schema cannot be read because of a statement that somebody runs just
/// now: its text has characters that the table's columns cannot hold (MySQL, error 3854, measured on 9.7
/// with INNODB_TRX and PROCESSLIST, whichever columns are asked for).
pub fn is_unreadable_text(failure: &Failure) -> bool {
    failure.code() == Some(3854)
}

/// Whether a warning speaks of the statement and not of its values: deprecated syntax (1287, 1681, 3719,
/// 3778), a statement that would not be safe in statement format (1592). Notes tell what a native ALTER
/// does without complaint, such as rounding to a smaller scale.
pub fn is_advice(warning: &super::Warning) -> bool {
    warning.level == "Note" || matches!(warning.code, 1287 | 1592 | 1681 | 3719 | 3778)
}

/// The class of a server error code.
pub fn class_of_code(code: u16) -> ErrorClass {
    match code {
        // 1205 lock wait timeout, 1213 deadlock, 3572 NOWAIT refused, 1614 XA deadlock,
        // 1020 MariaDB "record has changed since last read" (innodb_snapshot_isolation).
        1205 | 1213 | 3572 | 1614 | 1020 => ErrorClass::Transient,
        // 1317 interrupted, 1969 MariaDB max_statement_time, 3024 MySQL max_execution_time.
        1317 | 1969 | 3024 => ErrorClass::Killed,
        // 1053 shutdown in progress, 1077/1079 shutdown, 1152/1158-1161 network, 1927 MariaDB killed
        // connection, 4031 idle disconnect.
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1927 | 4031 => ErrorClass::Disconnected,
        // 1044/1045/1142/1143/1227 grants, 1290 read-only option, 1792 read-only transaction,
        // 1836 read-only mode.
        1044 | 1045 | 1142 | 1143 | 1227 | 1290 | 1792 | 1836 => ErrorClass::Refused,
        _ => ErrorClass::Definite,
    }
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Failure {
        use mysql_async::Error;
        match error {
            Error::Server(server) => Failure::from_server(
                class_of_code(server.code),
                Some(server.code),
                server.message.clone(),
            )
            .evidence(Evidence::Error {
                code: server.code,
                state: server.state,
                message: server.message,
            }),
            Error::Io(io) => Failure::from_server(
                ErrorClass::Disconnected,
                None,
                format!("the connection to the server failed: {io}"),
            ),
            Error::Driver(mysql_async::DriverError::ConnectionClosed) => Failure::from_server(
                ErrorClass::Disconnected,
                None,
                "the server closed the connection",
            ),
            Error::Driver(driver) => {
                Failure::from_server(ErrorClass::Definite, None, driver.to_string())
            }
            Error::Url(url) => Failure::usage(url.to_string()),
            other => Failure::from_server(ErrorClass::Definite, None, other.to_string()),
        }
    }
}

/// The server refuses to send its binlog, or ends sending it; why is in the text alone.
pub const ER_BINLOG_DUMP_FAILED: u16 = 1236;
/// MariaDB: another client with the same server id asked for the binlog.
const ER_SLAVE_SAME_ID: u16 = 4052;

/// Whether the server has too many connections now and may have fewer soon.
pub fn is_crowded(failure: &Failure) -> bool {
    // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS.
    matches!(failure.code(), Some(1040 | 1203))
}

/// Why a server refuses to send its binlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpRefusal {
    /// Somebody else with the same server id has connected.
    DuplicateServerId,
    /// What is asked for has been purged.
    Purged,
    /// Anything else: coordinates of another server, a broken file.
    Other,
}

/// What error 1236 means (and MariaDB's 4052): its number stands for many things that only the text tells apart (seen on
/// MySQL 9.7 and MariaDB 10.11; the older words are from the sources of MySQL 5.7 and 8.0).
pub fn dump_refusal(failure: &Failure) -> Option<DumpRefusal> {
    if failure.code() == Some(ER_SLAVE_SAME_ID) {
        return Some(DumpRefusal::DuplicateServerId);
    }
    if failure.code() != Some(ER_BINLOG_DUMP_FAILED) {
        return None;
    }
    let text = failure.cause().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    Some(if says(&["same server_uuid/server_id", "same server_id"]) {
        DumpRefusal::DuplicateServerId
    } else if says(&[
        "purged",
        "could not find first log file",
        "not in the master's binlog",
        "could not find gtid state",
    ]) {
        DumpRefusal::Purged
    } else {
        DumpRefusal::Other
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_to_send_the_binlog_are_told_apart() {
        use DumpRefusal::*;
        for (code, text, expected) in [
            (
                1236,
                "A replica with the same server_uuid/server_id as this replica has connected to the source",
                Some(DuplicateServerId),
            ),
            (
                4052,
                "A slave with the same server_uuid/server_id is already connected",
                Some(DuplicateServerId),
            ),
            (
                1236,
                "Cannot replicate because the source purged required binary logs.",
                Some(Purged),
            ),
            (
                1236,
                "Could not find first log file name in binary log index file",
                Some(Purged),
            ),
            (
                1236,
                "Could not find GTID state requested by slave in any binlog files. Probably the slave \
                 state is too old and required binlog files have been purged.",
                Some(Purged),
            ),
            (
                1236,
                "Replica has more GTIDs than the source has",
                Some(Other),
            ),
            (1045, "Access denied", None),
        ] {
            let failure = Failure::from_server(class_of_code(code), Some(code), text);
            assert_eq!(dump_refusal(&failure), expected, "{text}");
        }
    }
}
