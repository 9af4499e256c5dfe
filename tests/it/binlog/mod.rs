//! The binlog reader against real servers.

mod closed;
mod fidelity;
mod follow;
mod images;
mod plain;
