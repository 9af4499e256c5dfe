//! Verification.

mod conversions;
mod damage;
mod setup;
mod under_way;
