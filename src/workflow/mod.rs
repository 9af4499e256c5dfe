//! The stories, each readable from top to bottom, and the steps they share.
//!
//! A story hands engines their channels and waits for them; it has no SQL of its own.

mod approve;
mod back;
mod behind;
mod checkpointer;
mod claim;
mod compare;
mod count;
mod desk;
mod drop_old;
mod ending;
mod engines;
mod failover;
mod finish;
mod hold;
mod horizon;
mod in_step;
mod index_progress;
mod index_timing;
mod indexes;
mod interrupted;
mod keep;
mod last_changes;
mod limits;
mod migrate;
mod native;
mod outcome;
mod place;
mod plan;
mod prepare;
mod proof;
mod record;
mod rehearse;
mod repair;
mod resume;
mod run;
mod swap;

pub use back::{last_run, plan as plan_back};
pub use compare::{Compared, compare};
pub use desk::FaceKind;
pub use ending::{Ending, OriginalTable};
pub use failover::migrate_through_failovers;
pub use limits::apply as apply_limits;
pub use migrate::migrate;
pub use outcome::Outcome;
pub use plan::{Plan, plan};
pub use run::Run;
