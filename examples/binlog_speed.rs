//! How fast the binlog reader is: fills a table, changes every row, and reads those changes from the
//! binlog, once as keys and once as whole rows.
//!
//! `cargo run --release --example binlog_speed -- HOST PORT USER PASSWORD [ROWS]`; makes and drops the
//! schema `changeling_speed`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use changeling::binlog::{self, Feed, current_coordinates};
use changeling::change::{BinlogEvent, ChangeSink};
use changeling::changelog;
use changeling::failure::{Failure, Result};
use changeling::mysql::{ConnectOptions, Purpose, Server, Session};
use changeling::names::{Names, TableName};
use changeling::progress::Progress;
use changeling::schema::{ColumnMap, ColumnMoves, MigrationKey, load};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Counts rows, and tells when a row of the changelog table comes by.
#[derive(Default)]
struct Counter {
    rows: AtomicU64,
    bytes: AtomicU64,
    end: Notify,
}

impl ChangeSink for Counter {
    fn accept(&self, event: BinlogEvent) {
        match event {
            BinlogEvent::Change(change) => {
                self.rows.fetch_add(1, Ordering::Relaxed);
                let values = change.after.and_then(|after| after.values);
                let bytes = values.map_or(0, |values| values.len() as u64);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            BinlogEvent::Changelog { .. } => self.end.notify_one(),
            BinlogEvent::Begin { .. } | BinlogEvent::Commit { .. } => {}
        }
    }

    fn wait_for_room(&self, _stop: &dyn Fn() -> bool) {}
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, user, password, rows @ ..] = &arguments[..] else {
        return Err(Failure::usage("HOST PORT USER PASSWORD [ROWS]"));
    };
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|e| Failure::usage(e.to_string()))
    };
    let rows = rows.first().map_or(Ok(1_000_000), |rows| number(rows))?;
    let server = Server::connect(ConnectOptions {
        host: host.clone(),
        port: number(port)? as u16,
        user: user.clone(),
        password: Some(password.clone()),
        ..ConnectOptions::default()
    })
    .await?;
    let mut session = server.session(Purpose::Ddl).await?;
    session.set_limit(Duration::from_secs(3600));
    let result = measure(&server, &mut session, rows).await;
    session
        .execute("DROP DATABASE IF EXISTS changeling_speed")
        .await?;
    result
}

async fn measure(server: &Server, session: &mut Session, rows: u64) -> Result<()> {
    session.execute("CREATE DATABASE changeling_speed").await?;
    session
        .execute(
            "CREATE TABLE changeling_speed.t (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, k INT, \
             c CHAR(120) CHARACTER SET latin1, pad CHAR(60) CHARACTER SET latin1, \
             at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), d DECIMAL(12,2))",
        )
        .await?;
    session
        .execute(
            "INSERT INTO changeling_speed.t (k, c, pad, d) \
             VALUES (1, REPEAT('0123456789-', 10), REPEAT('abcde-', 9), 12345.67)",
        )
        .await?;
    let mut filled = 1;
    while filled < rows {
        let outcome = session
            .execute(&format!(
                "INSERT INTO changeling_speed.t (k, c, pad, d) \
                 SELECT k, c, pad, d FROM changeling_speed.t LIMIT {}",
                rows - filled
            ))
            .await?;
        filled += outcome.affected;
    }
    let names = Names::new(&TableName::new("changeling_speed", "t"), None, None);
    changelog::create(session, &names.changelog).await?;
    let start = current_coordinates(session).await?;
    session
        .execute("UPDATE changeling_speed.t SET k = k + 1")
        .await?;
    changelog::write_marker(session, &names.changelog, "end").await?;
    let definition = load(session, &names.original)
        .await?
        .ok_or_else(|| Failure::failed("the table is gone"))?;
    let map = ColumnMap::build(&definition, &definition, &ColumnMoves::default())?;
    let key = MigrationKey::choose(&definition, &definition, &map)
        .map_err(|reasons| Failure::failed(reasons.join("; ")))?;
    for images in [false, true, false, true] {
        let feed = Feed {
            server: server.clone(),
            start: start.clone(),
            original: names.original.clone(),
            changelog: names.changelog.clone(),
            ghost: names.ghost.clone(),
            definition: Arc::new(definition.clone()),
            key: key.clone(),
            map: map.clone(),
            images,
            reconnect_limit: Duration::from_secs(10),
        };
        run(feed).await?;
    }
    Ok(())
}

async fn run(feed: Feed) -> Result<()> {
    let counter = Arc::new(Counter::default());
    let progress = Arc::new(Progress::default());
    let cancel = CancellationToken::new();
    let what = if feed.images { "whole rows" } else { "keys" };
    let began = Instant::now();
    let cpu = cpu_seconds();
    let reader = binlog::start(feed, counter.clone(), progress.clone(), cancel.clone())?;
    counter.end.notified().await;
    let took = began.elapsed();
    cancel.cancel();
    reader.finished().await?;
    let rows = counter.rows.load(Ordering::Relaxed);
    println!(
        "{what}: {rows} rows in {took:?}, {:.0} rows/s ({:.0} by processor time), {} bytes of binlog, \
         {} bytes of literals",
        rows as f64 / took.as_secs_f64(),
        rows as f64 / (cpu_seconds() - cpu),
        progress.binlog_bytes.get(),
        counter.bytes.load(Ordering::Relaxed),
    );
    Ok(())
}

/// Processor time of this process, user and system (Linux; proc(5), fields 14 and 15, in hundredths).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
    (ticks(12).unwrap_or(0.0) + ticks(13).unwrap_or(0.0)) / 100.0
}
