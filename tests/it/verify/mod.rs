//! Verification.

mod conversions;
mod damage;
mod during;
mod live;
mod setup;
mod trail;
mod under_way;
