//! A reader whose sink collects what arrives.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use changeling::binlog::{self, Feed, ReaderHandle, current_coordinates};
use changeling::change::{BinlogEvent, ChangeSink, RowChange};
use changeling::changelog;
use changeling::coordinates::Coordinates;
use changeling::failure::Failure;
use changeling::mysql::{Purpose, Server, Session};
use changeling::names::{Names, TableName};
use changeling::progress::Progress;
use changeling::schema::{ColumnMap, ColumnMoves, MigrationKey, load};
use tokio_util::sync::CancellationToken;

use crate::support::wait::PATIENCE;
use crate::support::{TestDb, eventually};

/// Tests that change the global state of `mysql-minimal`, `mysql-nogtid` and `mariadb-minimal`, which no
/// others use, go one by one.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// Keeps all events.
#[derive(Default)]
pub struct Collect {
    events: Mutex<Vec<BinlogEvent>>,
    pub full: AtomicBool,
}

impl ChangeSink for Collect {
    fn accept(&self, event: BinlogEvent) {
        self.events().push(event);
    }

    fn wait_for_room(&self, stop: &dyn Fn() -> bool) {
        while self.full.load(Ordering::SeqCst) && !stop() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Collect {
    pub fn events(&self) -> MutexGuard<'_, Vec<BinlogEvent>> {
        self.events.lock().unwrap()
    }
}

/// What a reader is to follow, before it starts.
pub struct Setup {
    pub server: Server,
    pub names: Names,
    pub session: Session,
    pub feed: Feed,
}

impl Setup {
    /// For table `t`, which the ghost equals, along its primary key.
    pub async fn new(db: &TestDb, images: bool) -> Setup {
        let server = Server::connect(db.server.options()).await.unwrap();
        Setup::on(db, server, images).await
    }

    /// The same through a server of one's own making.
    pub async fn on(db: &TestDb, server: Server, images: bool) -> Setup {
        let names = Names::new(&TableName::new(&db.name, "t"), None, None);
        let mut session = server.session(Purpose::Monitor).await.unwrap();
        let definition = load(&mut session, &names.original).await.unwrap().unwrap();
        let map = ColumnMap::build(&definition, &definition, &ColumnMoves::default()).unwrap();
        let key = MigrationKey::choose(&definition, &definition, &map).unwrap();
        changelog::create(&mut session, &names.changelog)
            .await
            .unwrap();
        let start = current_coordinates(&mut session).await.unwrap();
        let feed = Feed {
            server: server.clone(),
            start,
            original: names.original.clone(),
            changelog: names.changelog.clone(),
            ghost: names.ghost.clone(),
            definition: Arc::new(definition),
            key,
            map,
            images,
            reconnect_limit: Duration::from_secs(60),
        };
        Setup {
            server,
            names,
            session,
            feed,
        }
    }

    pub fn start(self) -> Follow {
        let feed = self.feed.clone();
        let sink = Arc::new(Collect::default());
        let progress = Arc::new(Progress::default());
        let cancel = CancellationToken::new();
        let reader =
            binlog::start(self.feed, sink.clone(), progress.clone(), cancel.clone()).unwrap();
        Follow {
            names: self.names,
            session: self.session,
            sink,
            progress,
            cancel,
            reader,
            feed,
        }
    }
}

/// A running reader.
pub struct Follow {
    pub names: Names,
    pub session: Session,
    pub sink: Arc<Collect>,
    pub progress: Arc<Progress>,
    pub cancel: CancellationToken,
    pub reader: ReaderHandle,
    feed: Feed,
}

impl Follow {
    pub async fn new(db: &TestDb, images: bool) -> Follow {
        Setup::new(db, images).await.start()
    }

    /// Waits until all that was committed so far has arrived, and gives the changes of the table that
    /// came since the last time.
    pub async fn changes(&mut self) -> Vec<RowChange> {
        self.events()
            .await
            .into_iter()
            .filter_map(|event| match event {
                BinlogEvent::Change(change) => Some(change),
                _ => None,
            })
            .collect()
    }

    /// The same with all kinds of events, up to the marker.
    pub async fn events(&mut self) -> Vec<BinlogEvent> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        changelog::write_marker(&mut self.session, &self.names.changelog, &name)
            .await
            .unwrap();
        let at = eventually(PATIENCE, "the marker", async || {
            if let Some(end) = self.reader.try_finished() {
                panic!("the reader has ended: {end:?}");
            }
            self.sink.events().iter().position(
                |event| matches!(event, BinlogEvent::Changelog { hint, .. } if *hint == name),
            )
        })
        .await;
        self.sink.events().drain(..=at).collect()
    }

    pub fn received(&self) -> Coordinates {
        self.reader.received().borrow().clone()
    }

    /// Waits until the first event has come.
    pub async fn streaming(&self) {
        eventually(PATIENCE, "the first event", async || {
            let position = self.progress.reader_position.lock().unwrap();
            (!position.is_empty()).then_some(())
        })
        .await;
    }

    /// A new session for markers, after the server has gone.
    pub async fn reopen(&mut self) {
        self.session = self.feed.server.session(Purpose::Monitor).await.unwrap();
    }

    /// One more reader of the same, from other coordinates.
    pub async fn again(&self, from: &Coordinates) -> Follow {
        let server = self.feed.server.clone();
        Setup {
            names: self.names.clone(),
            session: server.session(Purpose::Monitor).await.unwrap(),
            feed: Feed {
                start: from.clone(),
                ..self.feed.clone()
            },
            server,
        }
        .start()
    }

    /// Waits until the reader fails.
    pub async fn failure(self) -> Failure {
        tokio::time::timeout(PATIENCE, self.reader.finished())
            .await
            .expect("the reader fails")
            .expect_err("the reader fails")
    }

    /// Stops the reader, which must still be well.
    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.reader.finished())
            .await
            .expect("the reader ends when told to")
            .unwrap();
    }
}
