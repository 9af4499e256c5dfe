//! The options of the throttle, and what an option file says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::connection::{Secret, first_line};
use super::values;
use crate::control::settings;
use crate::failure::{Context, Failure, Result};
use crate::mysql::ConnectOptions;
use crate::settings::ThrottleSettings;
use crate::tunables::Tunables;

/// What makes the copy pause or the run stop.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Throttle")]
pub struct ThrottleArgs {
    /// Pause while a replica lags more
    #[arg(long, env = "CHANGELING_MAX_LAG", default_value = "1.5s", value_parser = values::duration)]
    pub max_lag: Duration,
    /// Replicas to watch as host:port, separated by commas; without it they are found from the primary
    #[arg(long, env = "CHANGELING_REPLICAS", value_delimiter = ',')]
    pub replicas: Vec<String>,
    /// Replicas not to watch
    #[arg(long, env = "CHANGELING_IGNORE_REPLICA", value_delimiter = ',')]
    pub ignore_replica: Vec<String>,
    /// Account for replicas, where it is another than the primary's
    #[arg(long, env = "CHANGELING_REPLICA_USER", value_name = "USER")]
    pub replica_user: Option<String>,
    /// Its password, where it is another than the primary's. Better kept in a file
    #[arg(
        long,
        env = "CHANGELING_REPLICA_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        require_equals = true
    )]
    pub replica_password: Option<Secret>,
    /// File whose first line is the password for replicas
    #[arg(
        long,
        env = "CHANGELING_REPLICA_PASSWORD_FILE",
        value_name = "FILE",
        conflicts_with = "replica_password"
    )]
    pub replica_password_file: Option<PathBuf>,
    /// Pause while a status variable is above its limit: Threads_running=50,…
    #[arg(long, env = "CHANGELING_MAX_LOAD", default_value = "", value_parser = values::load, hide_default_value = true)]
    pub max_load: BTreeMap<String, u64>,
    /// Stop, resumably, when a status variable is above its limit
    #[arg(long, env = "CHANGELING_CRITICAL_LOAD", default_value = "", value_parser = values::load, hide_default_value = true)]
    pub critical_load: BTreeMap<String, u64>,
    /// Look at critical load a second time after this pause before stopping
    #[arg(long, env = "CHANGELING_CRITICAL_LOAD_INTERVAL", default_value = "2s", value_parser = values::duration)]
    pub critical_load_interval: Duration,
    /// Pause while the ghost is so far behind the original [default: 10s]
    #[arg(long, env = "CHANGELING_MAX_REPLAY_LAG", value_name = "DURATION|none")]
    pub max_replay_lag: Option<String>,
    /// Pause while COMMIT takes so long on average (needs performance_schema)
    #[arg(
        long,
        env = "CHANGELING_MAX_COMMIT_LATENCY",
        value_name = "DURATION|none"
    )]
    pub max_commit_latency: Option<String>,
    /// Pause while this share of the redo log waits for a checkpoint [default: 90%]
    #[arg(
        long,
        env = "CHANGELING_MAX_CHECKPOINT_AGE",
        value_name = "PERCENT|none"
    )]
    pub max_checkpoint_age: Option<String>,
    /// Pause while the table's own statements take so many times as long as before the copy (needs
    /// performance_schema)
    #[arg(
        long,
        env = "CHANGELING_MAX_LATENCY_FACTOR",
        value_name = "NUMBER|none"
    )]
    pub max_latency_factor: Option<String>,
    /// Copy only at these times: "22:00-06:00", "Mon-Fri 20:00-07:00 Europe/Berlin", separated by commas
    #[arg(long, env = "CHANGELING_COPY_WINDOW", value_name = "WINDOW,…")]
    pub copy_window: Option<String>,
    /// Pause while this query's first value is above 0
    #[arg(long, env = "CHANGELING_THROTTLE_QUERY")]
    pub throttle_query: Option<String>,
    /// Pause while this URL answers other than 200
    #[arg(long, env = "CHANGELING_THROTTLE_HTTP")]
    pub throttle_http: Option<String>,
    /// Pause while one of these files exists
    #[arg(long, env = "CHANGELING_THROTTLE_FLAG_FILE", value_delimiter = ',')]
    pub throttle_flag_file: Vec<PathBuf>,
    /// Stop, resumably, when this file appears
    #[arg(long, env = "CHANGELING_PANIC_FLAG_FILE")]
    pub panic_flag_file: Option<PathBuf>,
    /// Rest after each chunk for this multiple of its time
    #[arg(long, env = "CHANGELING_NICE_RATIO", default_value_t = 0.0)]
    pub nice_ratio: f64,
    /// How often the heartbeat is written
    #[arg(long, env = "CHANGELING_HEARTBEAT_INTERVAL", default_value = "100ms", value_parser = values::duration)]
    pub heartbeat_interval: Duration,
}

impl ThrottleArgs {
    /// Sets the limits.
    ///
    /// # Errors
    /// Usage: a value that its option cannot take.
    pub fn limit(&self, tunables: &mut Tunables) -> Result<()> {
        if !(0.0..=100.0).contains(&self.nice_ratio) {
            return Err(Failure::usage("--nice-ratio is outside of 0 to 100"));
        }
        tunables.nice_ratio = self.nice_ratio;
        tunables.lag_max = self.max_lag;
        tunables.max_load = self.max_load.clone();
        tunables.critical_load = self.critical_load.clone();
        for (name, value) in [
            ("max-replay-lag", &self.max_replay_lag),
            ("max-commit-latency", &self.max_commit_latency),
            ("max-checkpoint-age", &self.max_checkpoint_age),
            ("max-latency-factor", &self.max_latency_factor),
            ("copy-window", &self.copy_window),
            ("throttle-query", &self.throttle_query),
            ("throttle-http", &self.throttle_http),
        ] {
            set(tunables, name, value.as_deref())?;
        }
        Ok(())
    }

    /// What does not change while running.
    ///
    /// # Errors
    /// Usage: a password file that cannot be read.
    pub fn settings(self, primary: &ConnectOptions) -> Result<ThrottleSettings> {
        let password = match (self.replica_password, &self.replica_password_file) {
            (Some(secret), _) => Some(secret.into_text()),
            (None, Some(file)) => Some(first_line(file, "replica password")?),
            (None, None) => None,
        };
        let replica_account = (self.replica_user.is_some() || password.is_some()).then(|| {
            let mut account = primary.clone();
            if let Some(user) = self.replica_user {
                account.user = user;
            }
            if password.is_some() {
                account.password = password;
            }
            account
        });
        Ok(ThrottleSettings {
            replicas: self.replicas,
            ignore_replicas: self.ignore_replica,
            replica_account,
            flag_files: self.throttle_flag_file,
            panic_flag_file: self.panic_flag_file,
            critical_load_interval: self.critical_load_interval,
            ..ThrottleSettings::default()
        })
    }
}

/// Sets a setting of `changeling ctl set` from the option of its name, if that is given.
///
/// # Errors
/// Usage: a value that it cannot take.
pub fn set(tunables: &mut Tunables, name: &str, value: Option<&str>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let setting = settings::find(name)?;
    (setting.set)(tunables, value).doing(|| format!("read --{name}"))
}

/// Which options were given on the command line or by the environment, as clap calls them.
#[derive(Clone, Debug, Default)]
pub struct GivenOptions(BTreeSet<String>);

impl GivenOptions {
    /// Those of a command's matches.
    pub fn of(matches: &clap::ArgMatches) -> GivenOptions {
        use clap::parser::ValueSource;
        let given = matches.ids().map(clap::Id::as_str).filter(|id| {
            matches!(
                matches.value_source(id),
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            )
        });
        GivenOptions(given.map(str::to_string).collect())
    }

    /// Whether the option of a setting is among them.
    pub fn has(&self, setting: &settings::Setting) -> bool {
        self.0.contains(&setting.option().replace('-', "_"))
    }
}
