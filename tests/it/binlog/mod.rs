//! The binlog reader against real servers.

mod fidelity;
mod follow;
mod plain;
