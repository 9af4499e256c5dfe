//! Cut-over on real servers: no write is lost, nobody waits long, and whatever breaks, one whole table
//! is there under the original's name and it is the one that was told.

mod blocked;
mod disturbed;
mod field;
mod killed;
mod swaps;
mod triggers;
