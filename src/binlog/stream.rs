//! The connection that the server sends its binlog through.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream as _;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::{Event, GtidEvent as DriverGtid};
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Sid};

use super::event::{self, GtidEvent, RawEvent, kind};
use crate::coordinates::{Coordinates, GtidSet, GtidSource};
use crate::failure::{Context, ErrorClass, Failure, Result};
use crate::mysql::{OwnConnection, Server};

/// How often the server says that it is alive when there is nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After this time without any event or heartbeat the connection is taken for dead: long enough for a
/// server that is busy, short against everything that waits for the stream.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Until the first event the server may have to search its files for the place to start.
const FIRST_SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long connecting and asking may take.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// `net_write_timeout` for the stream, seconds: while the backlog is full we do not read, and the
/// server must not drop us for it. The variable's maximum.
const WRITE_TIMEOUT_S: u32 = 31_536_000;

/// The server ids that readers choose from at random; replicas are usually given small ones.
const SERVER_IDS: std::ops::RangeInclusive<u32> = 3_221_225_472..=4_294_967_294;

/// A server id of our own: two clients of one id throw each other out.
pub fn random_server_id() -> u32 {
    fastrand::u32(SERVER_IDS)
}

/// An open stream.
pub struct Stream {
    /// While it is here, load limits do not count the connection.
    _own: OwnConnection,
    inner: Option<BinlogStream>,
    begun: bool,
    broken: bool,
}

impl Stream {
    /// Connects and asks for everything behind the coordinates. Another server behind the same address than
    /// that which was met first is refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(server: &Server, from: &Coordinates, server_id: u32) -> Result<Stream> {
        if let Coordinates::File { name, position } = from
            && *position > u64::from(u32::MAX)
        {
            return Err(Failure::failed(format!(
                "the binlog cannot be read from {name}:{position}: the protocol has no offsets over 4 GiB"
            ))
            .remedy("start the migration again, or turn gtid_mode on"));
        }
        let opening = async {
            let mut conn = Conn::new(mysql_async::Opts::from(server.driver_options()?)).await?;
            server.check_same(&mut conn).await?;
            let request = prepare(&mut conn, from, server_id).await?;
            let own = server.mark_own(conn.id());
            Ok::<_, Failure>((own, conn.get_binlog_stream(request).await?))
        };
        let inner = match tokio::time::timeout(OPEN_LIMIT, opening).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(silent(OPEN_LIMIT)),
        };
        let (own, inner) =
            inner.doing(|| format!("ask {} for its binlog from {from}", server.address()))?;
        Ok(Stream {
            _own: own,
            inner: Some(inner),
            begun: false,
            broken: false,
        })
    }

    /// The next event, its checksum verified. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection's end, which is class `Disconnected`; what the server says (1236).
    pub async fn next(&mut self) -> Result<Event> {
        let limit = if self.begun {
            SILENCE_MAX
        } else {
            FIRST_SILENCE_MAX
        };
        let event = match tokio::time::timeout(limit, self.poll_event()).await {
            Ok(event) => event?,
            Err(_elapsed) => return Err(silent(limit)),
        };
        self.begun |= event.header().event_type_raw() != kind::ROTATE;
        let verified = verify(&event);
        self.broken |= verified.is_err();
        verified.map(|()| event)
    }

    /// The driver panics on an event that ends too early; that is the stream's failure, not ours.
    async fn poll_event(&mut self) -> Result<Event> {
        let Some(inner) = &mut self.inner else {
            return Err(disconnected("the stream has ended"));
        };
        let polled = std::future::poll_fn(|context| {
            let poll = AssertUnwindSafe(|| Pin::new(&mut *inner).poll_next(context));
            match catch_unwind(poll) {
                Ok(poll) => poll.map(Ok),
                Err(_panic) => std::task::Poll::Ready(Err(())),
            }
        })
        .await;
        match polled {
            Ok(Some(Ok(event))) => Ok(event),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(None) => Err(disconnected("the server ended the stream")),
            Err(()) => {
                self.inner = None;
                self.broken = true;
                Err(disconnected("the server sent an event that ends too early"))
            }
        }
    }

    /// Whether it ended by an event that came broken.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Says goodbye; errors are of no interest any more.
    pub async fn close(mut self) {
        if let Some(inner) = self.inner.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), inner.close()).await;
        }
    }
}

fn silent(limit: Duration) -> Failure {
    disconnected(format!(
        "no event and no heartbeat within {}",
        humantime::format_duration(limit)
    ))
}

fn disconnected(cause: impl Into<String>) -> Failure {
    Failure::from_server(ErrorClass::Disconnected, None, cause)
}

/// The session variables that the server looks at when it begins to send, and the request.
async fn prepare<'a>(
    conn: &mut Conn,
    from: &'a Coordinates,
    server_id: u32,
) -> Result<BinlogStreamRequest<'a>> {
    // The first name is for MySQL 8.4 and later, the second for all others; each ignores the other.
    let period = HEARTBEAT.as_nanos();
    conn.query_drop(format!(
        "SET @source_heartbeat_period = {period}, @master_heartbeat_period = {period}"
    ))
    .await?;
    conn.query_drop(format!(
        "SET SESSION net_write_timeout = {WRITE_TIMEOUT_S}, net_read_timeout = {WRITE_TIMEOUT_S}"
    ))
    .await?;
    // MariaDB sends its own events only to those who say that they know them; MySQL takes it for a
    // variable of no meaning.
    conn.query_drop("SET @mariadb_slave_capability = 4").await?;
    let request = BinlogStreamRequest::new(server_id);
    Ok(match from {
        Coordinates::Gtid(set) => request.with_gtid().with_gtid_set(sids(set)?),
        Coordinates::Maria(position) => {
            conn.query_drop(format!(
                "SET @slave_connect_state = '{position}', @slave_gtid_strict_mode = 0, \
                 @slave_gtid_ignore_duplicates = 0"
            ))
            .await?;
            request
        }
        Coordinates::File { name, position } => request
            .with_filename(name.as_bytes())
            .with_pos((*position).max(4)),
    })
}

/// The set in the driver's words, which are one for each server and tag.
fn sids(set: &GtidSet) -> Result<Vec<Sid<'static>>> {
    set.sources()
        .map(|(source, intervals)| sid_text(source, intervals).parse())
        .collect::<std::io::Result<_>>()
        .map_err(|error| Failure::failed(format!("cannot ask for the GTIDs {set}: {error}")))
}

fn sid_text(source: &GtidSource, intervals: &[(u64, u64)]) -> String {
    let mut text = source.uuid.clone();
    if !source.tag.is_empty() {
        text.push(':');
        text.push_str(&source.tag);
    }
    for (start, end) in intervals {
        text.push_str(&format!(":{start}-{}", end - 1));
    }
    text
}

/// Compares the checksum, where the event has one of its own: those made for this stream, and those
/// inside a compressed transaction, which has its own, have none. The driver cuts it off unseen.
fn verify(event: &Event) -> Result<()> {
    let Ok(Some(algorithm)) = event.footer().get_checksum_alg() else {
        return Ok(());
    };
    if algorithm != BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32 || !raw(event).in_file() {
        return Ok(());
    }
    match event.checksum() {
        Some(sent) if u32::from_le_bytes(sent) != event.calc_checksum(algorithm) => {
            Err(disconnected(format!(
                "an event before offset {} does not have the checksum that it came with",
                event.header().log_pos()
            )))
        }
        _ => Ok(()),
    }
}

/// The event in our words.
pub fn raw(event: &Event) -> RawEvent<'_> {
    let header = event.header();
    RawEvent {
        kind: header.event_type_raw(),
        flags: header.flags_raw(),
        timestamp: header.timestamp(),
        server_id: header.server_id(),
        size: header.event_size(),
        log_pos: header.log_pos(),
        data: event.data(),
    }
}

/// What the driver's library reads of a tagged GTID event; `None` for all others.
pub fn tagged(event: &Event) -> Option<GtidEvent> {
    let raw = raw(event);
    if raw.kind != kind::GTID_TAGGED {
        return None;
    }
    let parsed = event.read_event::<DriverGtid>().ok()?;
    Some(event::tagged_gtid(&parsed, &raw))
}

#[cfg(test)]
mod tests {
    use mysql_async::binlog::BinlogVersion;
    use mysql_async::binlog::events::{BinlogEventFooter, FormatDescriptionEvent};

    use super::*;

    /// An XID event with this checksum, as the driver reads it.
    fn event(checksum: u32) -> Event {
        let mut bytes = Vec::new();
        bytes.extend(1_700_000_000u32.to_le_bytes());
        bytes.push(kind::XID);
        for field in [7u32, 31, 1000] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([0, 0]);
        bytes.extend(77u64.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        let footer = BinlogEventFooter::new(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
        let format = FormatDescriptionEvent::new(BinlogVersion::Version4).with_footer(footer);
        Event::read(&format, &bytes[..]).unwrap()
    }

    #[test]
    fn a_wrong_checksum_is_a_broken_stream() {
        let right = event(0).calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
        assert!(verify(&event(right)).is_ok());
        let failure = verify(&event(right ^ 1)).unwrap_err();
        assert!(failure.is_disconnected(), "{failure}");
    }

    #[test]
    fn sets_go_to_the_driver_one_source_and_tag_at_a_time() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set: GtidSet = format!("{uuid}:1-25:30:tag:1-3").parse().unwrap();
        let texts: Vec<String> = set.sources().map(|(s, i)| sid_text(s, i)).collect();
        assert_eq!(
            texts,
            [format!("{uuid}:1-25:30-30"), format!("{uuid}:tag:1-3")]
        );
        assert_eq!(sids(&set).unwrap().len(), 2);
    }
}
