#![doc = include_str!("README.md")]

mod bytes;
pub mod clearance;
pub mod continuation;
mod decode;
mod event;
mod foreign;
mod group;
mod interpreter;
mod literal;
mod plan;
pub mod position;
mod prepared;
mod reach;
pub mod reader;
pub mod recorded;
mod rows;
mod statement;
mod stream;
mod table_map;
mod tables;
mod token;
mod wire;

pub use clearance::image_pairs_cleared;
pub use continuation::{Continuation, continuation};
pub use position::{Retention, current_coordinates, retention};
pub use reader::{Feed, ReaderHandle, start};
