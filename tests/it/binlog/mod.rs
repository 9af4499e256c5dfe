//! The binlog reader against real servers.

mod closed;
mod fidelity;
pub mod follow;
mod images;
mod outages;
mod plain;
mod random;
