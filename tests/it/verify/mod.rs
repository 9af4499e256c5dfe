//! Verification.

mod conversions;
mod damage;
mod during;
mod live;
mod setup;
mod under_way;
