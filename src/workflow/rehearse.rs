//! A rehearsal: the same story without the swap, of a sample or of everything, watched all the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::prepare::Prepared;
use super::run::Run;
use crate::chunk::Chunk;
use crate::failure::{Context, Result};
use crate::mysql::Purpose;
use crate::observe::forecast::{self, KeptForecast};
use crate::observe::rehearsal::{Felt, Look, Measured, Rehearsal, Speed};
use crate::probe::{Counted, Probe, Times, count_rows};
use crate::progress::{Phase, Progress};
use crate::schema;
use crate::settings::RehearsalScope;
use crate::supervise::Supervisor;
use crate::walk::spread::{self, Spread};

/// How long the application is measured before the copy begins.
const BASELINE: Duration = Duration::from_secs(2);
/// How long counting the rows may take.
const COUNT_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks.
const TICK: Duration = Duration::from_millis(50);
/// Looks that are kept; beyond that every second one is.
const LOOKS_MAX: usize = 20_000;
/// Places at which a sample is taken, at least and at most.
const PLACES: std::ops::RangeInclusive<u64> = 4..=64;
/// Rows a place should give, so that chunks have about the size that they have in earnest. With 2,500 they stayed
/// small, and forecasts came out too long by a quarter to a half.
const PLACE_ROWS: u64 = 10_000;

/// A rehearsal under way.
pub struct Rehearsing {
    rows_total: u64,
    rows_counted: bool,
    sample: Option<Arc<Spread>>,
    seen: Arc<Mutex<Seen>>,
    counted_before: Option<Counted>,
    counted_at_copy: Option<Counted>,
    /// Time that a migration does not spend: choosing the sample, measuring before the copy.
    own_time: Duration,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    copying: bool,
    read_before: Times,
    read_during: Times,
    write_before: Times,
    write_during: Times,
    lag_before: Option<f64>,
    lag_during: Option<f64>,
    copy: Vec<Look>,
    verify: Vec<Look>,
}

impl Seen {
    /// Nothing is done at the beginning of a work.
    fn new() -> Seen {
        Seen {
            copy: vec![Look::default()],
            verify: vec![Look::default()],
            ..Seen::default()
        }
    }

    fn look(&mut self, progress: &Progress) {
        let micros = progress
            .replica_lag_micros
            .load(std::sync::atomic::Ordering::Relaxed);
        let lag = u64::try_from(micros).ok().map(|micros| micros as f64 / 1e6);
        let worst = if self.copying {
            &mut self.lag_during
        } else {
            &mut self.lag_before
        };
        *worst = match (*worst, lag) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let (phase, since) = progress.phase();
        let (looks, rows) = match phase {
            Phase::Copy => (&mut self.copy, progress.rows_copied.get()),
            Phase::Verify => (&mut self.verify, progress.rows_verified.get()),
            _ => return,
        };
        looks.push(Look {
            at: since.elapsed(),
            rows,
        });
        if looks.len() > LOOKS_MAX {
            let mut keep = false;
            looks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chooses the sample, measures the application for a moment, and goes on measuring.
///
/// # Errors
/// What the server answered; a stop.
pub async fn begin(
    run: &Run,
    prepared: &Prepared,
    scope: RehearsalScope,
    group: &mut Supervisor,
) -> Result<Rehearsing> {
    let began = Instant::now();
    let original = &run.names.original;
    let counted = count_rows(&run.server, original, COUNT_LIMIT)
        .await
        .doing(|| format!("count the rows of {original}"))?;
    let rows_total = counted.unwrap_or(prepared.original.rows_estimate);
    let mut session = run.server.session(Purpose::Monitor).await?;
    let wanted = match scope {
        RehearsalScope::Full => None,
        RehearsalScope::Share { ppm } => {
            Some((rows_total as f64 * f64::from(ppm) / 1e6).ceil() as u64)
        }
        RehearsalScope::For(_) => None,
    };
    let places = match (scope, wanted) {
        (RehearsalScope::Full, _) => 1,
        (_, Some(rows)) => (rows / PLACE_ROWS).clamp(*PLACES.start(), *PLACES.end()),
        // A small table is copied whole: a few large chunks show all of its rows that do not fit.
        (_, None) => (rows_total / PLACE_ROWS).clamp(1, *PLACES.end()),
    };
    let strata = spread::strata(&mut session, original, &prepared.key, places as usize)
        .await
        .doing(|| format!("choose the sample of {original}"))?;
    let keys = strata.iter().filter_map(|one| one.lower.clone()).collect();
    let counted_before = Counted::so_far(&mut session, original).await?;
    let mut probe = Probe::open(
        &run.server,
        original,
        &run.names.changelog,
        &prepared.key,
        keys,
    )
    .await?;
    let seen = Arc::new(Mutex::new(Seen::new()));
    group.spawn("measure what the application feels", {
        let (seen, progress, cancel) = (seen.clone(), run.progress.clone(), group.token());
        async move {
            let measured = measure(&mut probe, &seen, &progress, &cancel).await;
            probe.close().await;
            measured
        }
    });
    tokio::select! {
        () = tokio::time::sleep(BASELINE) => {}
        () = run.stop.cancelled() => {}
    }
    run.check_stop()?;
    let counted_at_copy = Counted::so_far(&mut session, original).await?;
    session.close().await;
    lock(&seen).copying = true;
    let until = match scope {
        RehearsalScope::For(time) => Some(Instant::now() + time),
        RehearsalScope::Full | RehearsalScope::Share { .. } => None,
    };
    let sample = (scope != RehearsalScope::Full)
        .then(|| Arc::new(Spread::new(strata, wanted.map(|rows| rows.max(1)), until)));
    Ok(Rehearsing {
        rows_total,
        rows_counted: counted.is_some(),
        sample,
        seen,
        counted_before,
        counted_at_copy,
        own_time: began.elapsed(),
    })
}

async fn measure(
    probe: &mut Probe,
    seen: &Mutex<Seen>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    while !cancel.is_cancelled() {
        let (read, write) = (probe.read().await, probe.write().await);
        {
            let mut seen = lock(seen);
            let (reads, writes) = match seen.copying {
                false => {
                    let seen = &mut *seen;
                    (&mut seen.read_before, &mut seen.write_before)
                }
                true => {
                    let seen = &mut *seen;
                    (&mut seen.read_during, &mut seen.write_during)
                }
            };
            match (read, write) {
                (Ok(read), Ok(write)) => {
                    reads.push(read);
                    writes.push(write);
                }
                (Err(failure), _) | (_, Err(failure)) if failure.is_transient() => {}
                (Err(failure), _) | (_, Err(failure)) => {
                    return Err(failure).doing(|| "measure what the application feels");
                }
            }
            seen.look(progress);
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = cancel.cancelled() => {}
        }
    }
    Ok(())
}

impl Rehearsing {
    /// What is to be copied instead of the whole.
    pub fn sample(&self) -> Option<Arc<Spread>> {
        self.sample.clone()
    }

    /// How many rows are expected to be copied.
    pub fn rows_expected(&self) -> u64 {
        let wanted = self.sample.as_ref().and_then(|sample| sample.rows_max);
        wanted.unwrap_or(self.rows_total)
    }

    /// What was copied instead of the whole; `None`: the whole.
    pub fn covered(&self) -> Option<Vec<Chunk>> {
        self.sample.as_ref().and_then(|sample| sample.covered())
    }

    /// The account of it. To be called when all is compared and the ghost is still there.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn account(
        &self,
        run: &Run,
        prepared: &Prepared,
        built_in: Duration,
    ) -> Result<Rehearsal> {
        let mut session = run.server.session(Purpose::Monitor).await?;
        let ghost = schema::load(&mut session, &run.names.ghost).await?;
        let counted_now = Counted::so_far(&mut session, &run.names.original).await?;
        session.close().await;
        let progress = &run.progress;
        let rows_copied = progress.rows_copied.get();
        let (phase, since) = progress.phase();
        let phases = progress
            .phases()
            .into_iter()
            .chain([(phase, since.elapsed())]);
        let mut fixed = -(self.own_time + built_in).as_secs_f64();
        let mut seen = lock(&self.seen);
        for (phase, time) in phases {
            // The works' ends, which no look may have met.
            match phase {
                Phase::Copy => seen.copy.push(Look {
                    at: time,
                    rows: rows_copied,
                }),
                Phase::Verify => seen.verify.push(Look {
                    at: time,
                    rows: progress.rows_verified.get(),
                }),
                _ => fixed += time.as_secs_f64(),
            }
        }
        let measured = Measured {
            rows_total: self.rows_total.max(rows_copied),
            rows_counted: self.rows_counted,
            places: match &self.sample {
                Some(sample) if sample.covered().is_some() => sample.strata.len(),
                _ => 0,
            },
            copy: Speed::of(&seen.copy),
            verify: Speed::of(&seen.verify),
            indexes_s: built_in.as_secs_f64(),
            fixed_s: fixed.max(0.0),
        };
        let bytes = ghost.map_or(0, |ghost| ghost.bytes_estimate);
        let share = progress.rows_inserted.get().max(1) as f64;
        let times = |counted: Option<Counted>, then: Option<Counted>| {
            counted.zip(then).and_then(|(now, then)| now.since(then))
        };
        Ok(Rehearsal {
            measured,
            estimate: measured.estimate(),
            table_bytes: prepared.original.bytes_estimate,
            new_table_bytes: (bytes as f64 * (measured.rows_total as f64 / share).max(1.0)) as u64,
            replica_lag_before_s: seen.lag_before,
            replica_lag_max_s: seen.lag_during,
            felt: Felt {
                read_before: seen.read_before.percentiles(),
                read_during: seen.read_during.percentiles(),
                write_before: seen.write_before.percentiles(),
                write_during: seen.write_during.percentiles(),
                own_before: times(self.counted_at_copy, self.counted_before),
                own_during: times(counted_now, self.counted_at_copy),
            },
            conversion_errors: 0,
        })
    }
}

/// Where this run's forecast is kept.
fn place(run: &Run) -> Option<std::path::PathBuf> {
    run.settings.forecast.clone().or_else(|| {
        forecast::default_path(
            &run.server.facts().identity(),
            &run.names.original.to_string(),
        )
    })
}

/// Keeps the forecast of a rehearsal, or says why not.
pub fn keep(run: &Run, statement: &str, rehearsal: &Rehearsal) {
    let Some(path) = place(run) else {
        return tracing::info!(
            event = "forecast_not_kept",
            "the forecast is not kept: there is no home folder; name a file with --forecast"
        );
    };
    let kept = KeptForecast::new(
        run.names.original.to_string(),
        statement.to_string(),
        &rehearsal.estimate,
        rehearsal.measured.rows_total,
    );
    match kept.keep(&path) {
        Ok(()) => tracing::info!(
            event = "forecast_kept",
            "the forecast is kept in {}: a migration will say how good it was",
            path.display()
        ),
        Err(failure) => tracing::warn!(event = "forecast_not_kept", "{failure}"),
    }
}

/// The forecast that is kept for this statement. One that cannot be read is told in the log.
pub fn kept(run: &Run, statement: &str) -> Option<KeptForecast> {
    let table = run.names.original.to_string();
    KeptForecast::read(&place(run)?, &table, statement).unwrap_or_else(|failure| {
        tracing::warn!(event = "forecast_unread", "{failure}");
        None
    })
}

/// How good the forecast for this statement was, if one was kept.
pub fn judge(run: &Run, statement: &str) -> Option<forecast::Outcome> {
    let held: Duration = run
        .progress
        .phases()
        .into_iter()
        .filter(|(phase, _)| *phase == Phase::Postponed)
        .map(|(_, time)| time)
        .sum();
    let took = run.progress.started.elapsed().saturating_sub(held);
    kept(run, statement).map(|kept| kept.outcome(took.as_secs_f64()))
}
