#![doc = include_str!("README.md")]

pub mod backlog;
pub mod dirty;
pub mod ledger;
pub mod uniqueness;
pub mod window;
