//! The store on RocksDB: one thread writes and syncs, one reads, and an acknowledgement waits for the mark they move.
//!
//! ```text
//!  cores ──append──▶ inbox ──▶ writer: one WriteBatch, one sync ──▶ marks ──wake──▶ cores
//!                       │        │ reads behind everything before them
//!                       └────────▼
//!                             reader ──answer──▶ inbox of the core that asked
//! ```
//!
//! A key for each message and session (`layout.rs`), a checksum in each value (`store::record`), little in memory (`ram.rs`). What is
//! damaged is never passed over: a start is refused, a running process ends.
//!
//! *Architecture invariant:* nothing that asked for `os` or `sync` is acknowledged before it is in the log, nothing that asked for
//! `sync` before it is synced; a sync that failed is never tried again.
//!
//! Start with `writer.rs`, then `batch.rs` and `recover.rs`.

// Input decides nothing here by a panic or a lost bit. Bytes, rows and messages are added saturating: no disk has room for so many
// that their sum comes near the end of the numbers.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

mod age;
mod batch;
pub mod fail_point;
mod folder;
mod journal;
mod layout;
mod live;
mod marker;
mod oldest;
mod open;
pub mod operator;
mod ram;
mod reader;
mod recover;
mod shared;
mod sweeper;
#[cfg(test)]
mod tests;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

pub use folder::keep_files_private;
pub use layout::FILES_MAX;
pub use open::OpenError;

use crate::clock::{Moment, Now};
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::record::Epoch;
use crate::store::{Bounds, Level, Lost, Marks, Record, Recovered, Store};
use crate::wake::Wake;
use reader::Reader;
use shared::{Shared, What};
use sweeper::Sweeper;
use writer::Writer;

/// The exit code of a process that lost a thread of its store (EX_SOFTWARE of sysexits.h).
const EXIT_SOFTWARE: i32 = 70;

/// The exit code of a process to which the system refused something, as `main` has it.
const EXIT_SYSTEM: i32 = 1;

fn ms_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What moment it is, by the clock of the process.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// How a store is used.
#[derive(Clone)]
pub struct Settings {
    /// What an append is made at where nobody asks for another.
    pub level: Level,
    /// Of each session's queue.
    pub bounds: Bounds,
    /// How long a message waits for a session that is away, seconds; `None` = as long as the session lives.
    pub age_max_s: Option<u64>,
    /// The wall clock at moment 0.
    pub epoch: Epoch,
    /// Tells when messages are over.
    pub clock: Clock,
}

impl Settings {
    /// No bound on age, and a clock that begins now.
    pub fn new(level: Level, bounds: Bounds, epoch: Epoch) -> Self {
        let began = Instant::now();
        let clock: Clock = Arc::new(move || Moment::from_ms(ms_since(began)));
        Self { level, bounds, age_max_s: None, epoch, clock }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { level, bounds, age_max_s, .. } = self;
        f.debug_struct("Settings")
            .field("level", level)
            .field("bounds", bounds)
            .field("age_max_s", age_max_s)
            .finish_non_exhaustive()
    }
}

/// Ends the process because stored data is damaged: what would be given out without it is less than was promised.
fn damaged(what: &str) -> ! {
    tracing::error!(what, "the store is damaged: the process ends; `heraldmq store check` says more");
    std::process::exit(78)
}

/// Runs a thread of the store to its end. Without its writer nothing would be acknowledged ever again, without its reader no
/// session that comes back would be let in; and what the writer knows may be half changed. So the process ends, and the next one
/// begins with what is in the log.
fn outlive(thread: &str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!(thread, "a thread of the store ended by a panic: the process ends");
        std::process::exit(EXIT_SOFTWARE)
    }
}

/// What was read. Otherwise the process ends: if the database says that it is damaged, so that nobody starts it again before that is
/// looked at; if the system refused (no descriptor, a disk that is away for a moment), to be started again.
fn intact<T>(read: Result<T, rocksdb::Error>) -> T {
    match read {
        Ok(value) => value,
        Err(error) if is_damage(&error) => damaged(error.as_ref()),
        Err(error) => {
            tracing::error!(%error, "the store cannot be read: the process ends");
            std::process::exit(EXIT_SYSTEM)
        }
    }
}

fn is_damage(error: &rocksdb::Error) -> bool {
    OpenError::database(Path::new(""), error).is_damage()
}

/// A store in a folder.
pub struct Rocks {
    shared: Arc<Shared>,
    level: Level,
    recovered: Mutex<Option<Recovered>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Rocks {
    /// Starts a store with [`Settings::new`].
    ///
    /// # Errors
    /// As [`Rocks::start`].
    pub fn open(folder: &Path, level: Level, bounds: Bounds, epoch: Epoch) -> Result<Self, OpenError> {
        Self::start(folder, Settings::new(level, bounds, epoch))
    }

    /// Opens or makes the store in `folder`, reads what is there, and starts its threads.
    ///
    /// # Errors
    /// The folder is damaged, another process's, or of a newer format; or the system gives no thread.
    pub fn start(folder: &Path, settings: Settings) -> Result<Self, OpenError> {
        let began = Instant::now();
        let opened = open::open(folder)?;
        let opened_sequence = opened.db.latest_sequence_number();
        let (is_new, torn_bytes) = (opened.fresh, opened.torn_tail.map_or(0, |torn| torn.bytes));
        let db = Arc::new(opened.db);
        let mut found = recover::scan(&db, settings.epoch).map_err(|error| OpenError::unreadable(folder, &error))?;
        tracing::info!(
            is_new,
            torn_bytes,
            sessions = found.ram.sessions(),
            messages = found.messages,
            retained = found.recovered.retained.len(),
            ms = ms_since(began),
            "the store is open"
        );
        let (recovered, ended) = (std::mem::take(&mut found.recovered), std::mem::take(&mut found.ended));
        let level = settings.level;
        let shared = Arc::new(Shared::new(db, found, settings));
        let (reads, due) = std::sync::mpsc::channel();
        let spawn = |name: &'static str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || outlive(name, run))
                .map_err(|source| OpenError::System { folder: folder.to_owned(), source })
        };
        let (reader, sweeper) = (Reader::new(Arc::clone(&shared)), Sweeper { shared: Arc::clone(&shared) });
        let sweeper = spawn("store-sweeper", Box::new(|| sweeper.run()))?;
        let writer = Writer {
            shared: Arc::clone(&shared),
            synced: opened_sequence,
            marker: opened.marker,
            reads,
            ended,
            again: Default::default(),
            sweeper: Some(sweeper),
            failures: 0,
            unsynced: false,
            synced_at: Instant::now(),
            looked_at: Instant::now(),
        };
        let threads = vec![
            spawn("store-writer", Box::new(|| writer.run()))?,
            spawn("store-reader", Box::new(move || reader.run(&due)))?,
        ];
        Ok(Self { shared, level, recovered: Mutex::new(Some(recovered)), threads: Mutex::new(threads) })
    }
}

impl Store for Rocks {
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
        self.shared.append(records, level)
    }

    fn marks(&self) -> Marks {
        self.shared.marks()
    }

    fn is_early(&self, ticket: Ticket) -> bool {
        self.shared.early.has(ticket)
    }

    fn has_settled_early(&self) -> bool {
        self.shared.early.is_news()
    }

    fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    fn has_failed(&self) -> bool {
        self.shared.commit_failed.load(Ordering::Acquire)
    }

    fn failed(&self, ticket: Ticket) -> bool {
        self.shared.any_failed(ticket, ticket)
    }

    fn any_failed(&self, first: Ticket, last: Ticket) -> bool {
        self.shared.any_failed(first, last)
    }

    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>) {
        self.shared.read(session, What::Saved(answer));
    }

    fn read_queue(
        &self,
        session: SessionId,
        after: Ticket,
        max: usize,
        _now: Now,
        answer: Box<dyn FnOnce(Page) + Send>,
    ) {
        self.shared.read(session, What::Page { after, max, answer });
    }

    fn level(&self) -> Level {
        self.level
    }

    fn recover(&self) -> Recovered {
        self.recovered.lock().take().unwrap_or_default()
    }

    fn lost(&self) -> Lost {
        self.shared.lost()
    }

    fn wake_with(&self, wake: Wake) {
        // Set once, by who starts the cores.
        let _ = self.shared.wake.set(wake);
    }

    fn backup(&self, to: &Path) -> Result<(), String> {
        let db = self.shared.db().ok_or("the store is not open: writing failed, and is tried again every second")?;
        operator::backup(&db, to).map_err(|error| error.to_string())
    }

    fn close(&self) {
        self.shared.inbox.lock().stop = true;
        self.shared.bell.notify_one();
        self.shared.taken.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended by a panic");
            }
        }
    }
}

impl Drop for Rocks {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("level", &self.level).finish_non_exhaustive()
    }
}
