//! What tests share: servers, databases of their own, the program as a user runs it, comparisons.

#![allow(
    dead_code,
    unused_imports,
    reason = "a toolbox: which of it is used depends on the tests there are"
)]

pub mod client;
pub mod compare;
pub mod database;
pub mod program;
pub mod proxy;
pub mod server;
pub mod wait;

pub use client::Client;
pub use compare::{assert_same_rows, compare_tables};
pub use database::TestDb;
pub use program::{Live, Program, Run};
pub use proxy::{Network, Proxy};
pub use server::{
    TestServer, alone_on_scratch, alone_with_replicas, both, is_another_version, is_long,
    is_wanted, server, setting,
};
pub use wait::eventually;
