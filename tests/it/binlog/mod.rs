//! The binlog reader against real servers.

mod follow;
mod plain;
