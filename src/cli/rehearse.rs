//! `changeling rehearse`.

use std::time::Duration;

use clap::Args;

use super::migrate::MigrateArgs;
use super::values;
use crate::failure::Result;
use crate::settings::{Extent, Place, RehearsalScope, Settings};

/// How much is rehearsed: everything that a migration does, but the swap.
#[derive(Args, Debug, Clone)]
pub struct RehearseArgs {
    /// Copy so much of the table, spread over the key: 5%
    #[arg(
        long,
        env = "CHANGELING_SAMPLE",
        value_parser = values::share,
        help_heading = "Rehearsal",
        group = "scope"
    )]
    sample: Option<u32>,
    /// Copy for so long, spread over the key; a table that is copied sooner is copied whole [default: 60s]
    #[arg(
        long = "for",
        env = "CHANGELING_FOR",
        value_parser = values::duration,
        help_heading = "Rehearsal",
        group = "scope"
    )]
    time: Option<Duration>,
    /// Copy the whole table
    #[arg(
        long,
        env = "CHANGELING_FULL",
        help_heading = "Rehearsal",
        group = "scope"
    )]
    full: bool,
    /// The migration that is rehearsed
    #[command(flatten)]
    pub migrate: MigrateArgs,
}

/// How long is copied where nothing is said.
const TIME: Duration = Duration::from_secs(60);

impl RehearseArgs {
    /// The settings of the rehearsal.
    ///
    /// # Errors
    /// As [`MigrateArgs::resolve`].
    pub fn resolve(self) -> Result<Settings> {
        let scope = match (self.sample, self.full) {
            (Some(ppm), _) => RehearsalScope::Share { ppm },
            (None, true) => RehearsalScope::Full,
            (None, false) => RehearsalScope::For(self.time.unwrap_or(TIME)),
        };
        let assumed = self.migrate.assumes_primary();
        let mut settings = self.migrate.resolve()?;
        settings.extent = Extent::Rehearsal(scope);
        if !assumed {
            // A replica is a good place to rehearse on.
            settings.place = Place::Here;
        }
        Ok(settings)
    }
}
