//! Replay alone: the tests change the original through SQL and hand over the events that the binlog
//! would have brought.

mod histories;
mod locked;
mod misfits;
mod rest;
mod rig;
mod statements;
