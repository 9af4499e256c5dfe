//! Verification.

mod conversions;
mod damage;
mod live;
mod setup;
mod under_way;
