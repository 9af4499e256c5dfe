//! The binlog as a stream of changes of one table: connection, decoding, judgement of every event.
//!
//! The reader hands [`crate::change::BinlogEvent`]s to a [`crate::change::ChangeSink`] in the binlog's
//! order. It knows the original's definition and which columns replay needs; it knows nothing of the
//! ghost but its name, of windows or of who applies.

mod bytes;
pub mod clearance;
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
mod rows;
mod statement;
mod stream;
mod table_map;
mod tables;
mod token;
mod wire;

pub use clearance::image_pairs_cleared;
pub use position::{Retention, current_coordinates, retention};
pub use reader::{Feed, ReaderHandle, start};
