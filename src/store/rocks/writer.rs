//! The one thread that writes: gathers what was appended, puts it into one batch, syncs it once, and then lets everybody know.
//!
//! While a sync is under way, what is appended gathers by itself; when nothing is under way, what comes in one turn of a core is
//! committed at once.

mod again;
mod clearing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use rocksdb::{DB, WriteOptions};

use again::Again;

use super::batch::{Builder, Families};
use super::fail_point::reached;
use super::layout;
use super::marker::Marker;
use super::shared::{Append, Inbox, Read, Shared};
use super::{open, recover};
use crate::identity::{SessionId, Ticket};
use crate::store::{Level, Lost, record};

/// Appends in one commit.
const WINDOW: usize = 1024;
/// Bytes of messages in one commit; one append more than this is taken all the same.
const WINDOW_BYTES: usize = 1024 * 1024;
/// What nobody waits for is synced after this long at the latest.
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// So long after the last one, a sync is not held up any more.
const SYNC_DUE: Duration = Duration::from_millis(50);
/// The marker is looked after, and a store that failed is opened again, this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the reader is told.
pub(super) enum Due {
    /// A read whose turn has come, with what is durable now.
    Read(Read, Ticket),
    /// The database was opened again: what could not be answered can be.
    Opened,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// Held as long as the writer is there, also while the database is opened again: it holds the lock of the folder.
    pub(super) marker: Marker,
    /// Sequence number up to which the log is synced.
    pub(super) synced: u64,
    pub(super) reads: Sender<Due>,
    /// Sessions whose rows are still there.
    pub(super) ended: Vec<SessionId>,
    /// What failed and is written again.
    pub(super) again: Again,
    /// Ended before the database is closed.
    pub(super) sweeper: Option<JoinHandle<()>>,
    /// Commits that have failed.
    pub(super) failures: u64,
    /// Something is written that was not synced.
    pub(super) unsynced: bool,
    pub(super) synced_at: Instant,
    pub(super) looked_at: Instant,
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it failed before and is not open")]
    NotOpen,
    #[error(transparent)]
    Database(#[from] rocksdb::Error),
}

/// What was taken from the inbox at one time.
struct Work {
    appends: std::vec::IntoIter<Append>,
    reads: std::iter::Peekable<std::vec::IntoIter<Read>>,
}

/// A part of the work: appends that become one commit, and the reads behind them.
#[derive(Default)]
struct Window {
    appends: Vec<Append>,
    reads: Vec<Read>,
}

impl Writer {
    /// Writes until it is told to stop and nothing is left.
    pub(super) fn run(mut self) {
        loop {
            let (mut work, stop) = self.gather();
            while !work.is_empty() {
                let window = work.window();
                self.commit(window);
            }
            self.look_after();
            if stop && self.shared.inbox.lock().is_empty() {
                return self.finish();
            }
        }
    }

    /// Waits for work, or for something that is due without any.
    fn gather(&self) -> (Work, bool) {
        let mut inbox = self.shared.inbox.lock();
        if inbox.is_empty()
            && inbox.gone.is_empty()
            && !inbox.stop
            && let Some(patience) = self.patience()
        {
            self.shared.bell.wait_for(&mut inbox, patience);
            let is_due = self.unsynced && self.synced_at.elapsed() >= SYNC_DUE;
            if !inbox.is_empty() && !inbox.stop && !is_due {
                // Whoever rang is in the middle of its turn. Where it shares a processor with this thread, it goes on first: a
                // whole turn is synced at once, instead of its first message alone and the rest after it.
                MutexGuard::unlocked(&mut inbox, std::thread::yield_now);
            }
        }
        (Work::take(&mut inbox), inbox.stop)
    }

    /// How long to wait for work at most; `None` if there is something to do without any.
    pub(super) fn patience(&self) -> Option<Duration> {
        let is_open = self.shared.db.lock().is_some();
        match () {
            // Rows of ended sessions wait, too, until the store is open again.
            () if !is_open => Some(LOOK_EVERY),
            () if !self.ended.is_empty() => None,
            () if self.unsynced => Some(SYNC_EVERY),
            () => Some(LOOK_EVERY),
        }
    }

    fn commit(&mut self, window: Window) {
        reached("gathered");
        if let (Some(first), Some(last)) = (window.appends.first(), window.appends.last()) {
            let (first, last) = (first.ticket, last.ticket);
            let unwritten = window.appends.iter().map(Append::unwritten).sum();
            let mut unwaited: usize = window.appends.iter().map(Append::unwaited_bytes).sum();
            match self.write(&window.appends) {
                Ok(()) => reached("marked"),
                Err(error) => {
                    self.fail(first, last, &error);
                    self.shared.count(Lost { unwritten, ..Lost::default() });
                    unwaited = unwaited.saturating_sub(self.again.keep(window.appends));
                }
            }
            self.shared.caught_up(unwaited);
            self.shared.settle(last, self.failures);
            reached("answered");
        }
        let mark = self.shared.marks().synced;
        for read in window.reads {
            // A reader that is gone has nobody to answer to.
            let _ = self.reads.send(Due::Read(read, mark));
        }
    }

    /// Writes what failed before, to a database that nobody else sees yet: who reads it finds what was acknowledged.
    fn write_again(&mut self, db: &DB) -> Result<(), Failure> {
        while !self.again.is_empty() {
            let taken = self.again.take();
            if let Err(error) = self.write_to(db, &taken) {
                self.again.put_back(taken);
                return Err(error);
            }
            self.shared.caught_up(taken.iter().map(Append::unwaited_bytes).sum());
        }
        Ok(())
    }

    fn write(&mut self, appends: &[Append]) -> Result<(), Failure> {
        // Everybody had it before its turn came.
        if appends.iter().all(|append| append.records.is_empty()) {
            return Ok(());
        }
        let db = self.shared.db().ok_or(Failure::NotOpen)?;
        self.write_to(&db, appends)
    }

    /// One batch, and one sync if anything of it asked for that or must not come back: see [`Level::Os`].
    fn write_to(&mut self, db: &DB, appends: &[Append]) -> Result<(), Failure> {
        let mut ram = self.shared.ram.lock();
        let mut builder = Builder::new(db, &mut ram, &self.shared);
        builder.failures = self.failures;
        builder.look_ahead(appends);
        let asked = |level| appends.iter().any(|append| append.level == level && !append.records.is_empty());
        let (os, sync) = (asked(Level::Os), asked(Level::Sync));
        let last = appends.last().map(|append| append.ticket);
        for append in appends {
            builder.add(append);
        }
        let (refused, lost, ended) =
            (std::mem::take(&mut builder.refused), builder.lost, std::mem::take(&mut builder.ended));
        let (soonest, releases) = (builder.soonest, builder.releases);
        let batch = builder.batch;
        reached("batched");
        let empty = batch.is_empty();
        let result = if empty { Ok(()) } else { db.write_opt(batch, &WriteOptions::default()) };
        match result {
            Ok(()) => ram.keep(),
            Err(error) => {
                ram.take_back();
                return Err(error.into());
            }
        }
        drop(ram);
        reached("written");
        for ticket in refused {
            self.shared.fail(ticket, ticket);
        }
        self.shared.count(lost);
        // Behind the commit: a pass of the sweeper that does not see it begins before this.
        if let Some(soonest) = soonest {
            self.shared.soonest.fetch_min(soonest.as_ms(), Ordering::AcqRel);
        }
        self.ended.extend(ended);
        if empty && !(sync && self.unsynced) {
            return Ok(());
        }
        // What is written twice may be there already, and not be safe: nothing new is no reason to promise it.
        self.unsynced = true;
        // Nobody is told before the end where everybody waits for the same.
        if let Some(last) = last.filter(|_| os && sync && !releases) {
            self.note(db.latest_sequence_number());
            self.shared.settle_written(last);
        }
        if sync || releases {
            self.sync(db);
        }
        self.note(db.latest_sequence_number());
        Ok(())
    }

    /// Makes what was written safe. A sync that fails is never tried again: nobody knows what the kernel has kept, so the
    /// process ends, and the next start finds what is there.
    fn sync(&mut self, db: &DB) {
        if let Err(error) = db.flush_wal(true) {
            tracing::error!(%error, "could not sync what was written: the process ends, so that nothing unsafe is acknowledged");
            std::process::abort();
        }
        reached("synced");
        self.synced = db.latest_sequence_number();
        self.unsynced = false;
        self.synced_at = Instant::now();
    }

    /// A commit failed: nobody who waits is acknowledged for it. What the database thinks of itself is found out by opening it
    /// again.
    fn fail(&mut self, first: Ticket, last: Ticket, error: &Failure) {
        self.give_up(error);
        self.failures = self.failures.saturating_add(1);
        self.shared.commit_failed.store(true, Ordering::Release);
        self.shared.fail(first, last);
    }

    fn give_up(&mut self, error: &Failure) {
        if self.shared.db.lock().take().is_some() {
            tracing::error!(%error, "could not write: nobody who waits for it is acknowledged until writing works again");
        }
    }

    /// What is done now and then, whether there is work or not.
    fn look_after(&mut self) {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.looked_at = Instant::now();
            match self.shared.db() {
                Some(db) => {
                    self.rotate();
                    self.note_age(&db);
                }
                None => self.open_again(),
            }
        }
        let gone = std::mem::take(&mut self.shared.inbox.lock().gone);
        if !gone.is_empty() {
            self.let_go(gone);
            self.shared.taken.notify_all();
        }
        let Some(db) = self.shared.db() else { return };
        if self.unsynced && self.synced_at.elapsed() >= SYNC_EVERY {
            self.sync(&db);
        }
        if let Some(session) = self.ended.last().copied()
            && self.sweep(&db, session)
        {
            self.ended.pop();
        }
    }

    fn note(&mut self, sequence: u64) {
        if let Err(error) = self.marker.note_written(sequence, self.synced) {
            tracing::error!(%error, "could not note a commit beside the database");
        }
    }

    fn rotate(&mut self) {
        if let Err(error) = self.marker.rotate(self.synced) {
            tracing::error!(%error, "could not write the marker file");
        }
    }

    fn open_again(&mut self) {
        let db = match open::again(&mut self.marker) {
            Ok(db) => Arc::new(db),
            Err(error) => return tracing::warn!(%error, "the store cannot be opened yet"),
        };
        let found = match recover::scan(&db, self.shared.epoch) {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "the store was opened again and cannot be read"),
        };
        self.synced = db.latest_sequence_number();
        let mut ram = self.shared.ram.lock();
        let before = std::mem::replace(&mut *ram, found.ram);
        ram.inherit(before);
        drop(ram);
        self.ended = found.ended;
        self.shared.soonest.fetch_min(found.soonest.as_ms(), Ordering::AcqRel);
        if let Err(error) = self.write_again(&db) {
            return tracing::warn!(%error, "the store was opened again and cannot be written yet");
        }
        *self.shared.db.lock() = Some(db);
        let _ = self.reads.send(Due::Opened);
        tracing::info!("writing works again");
    }

    /// Writes down how far tickets have got, now and then.
    fn note_age(&mut self, db: &DB) {
        let Some(ages) = self.shared.note_age() else { return };
        let meta = Families::of(db).meta;
        match db.put_cf(meta, layout::AGES, record::seal(layout::AGES, &ages.body())) {
            Ok(()) => *self.shared.ages.lock() = ages,
            Err(error) => self.give_up(&error.into()),
        }
    }

    fn finish(mut self) {
        if let Some(sweeper) = self.sweeper.take()
            && sweeper.join().is_err()
        {
            tracing::error!("the thread that looks for expired messages ended by a panic");
        }
        let Some(db) = self.shared.db.lock().take() else { return };
        self.sync(&db);
        let sequence = db.latest_sequence_number();
        // The reader has nothing left to read: this is the last hold on the database.
        drop(db);
        if let Err(error) = self.marker.close_clean(sequence) {
            tracing::error!(%error, "could not mark the store as closed in order");
        }
        tracing::info!(sessions = self.shared.ram.lock().sessions(), "the store is closed");
    }
}

impl Work {
    fn take(inbox: &mut Inbox) -> Self {
        let (appends, reads) = (std::mem::take(&mut inbox.appends), std::mem::take(&mut inbox.reads));
        Self { appends: appends.into_iter(), reads: reads.into_iter().peekable() }
    }

    fn is_empty(&mut self) -> bool {
        self.appends.len() == 0 && self.reads.peek().is_none()
    }

    /// The next part: as many appends as make a commit, and the reads that are behind no later one.
    fn window(&mut self) -> Window {
        let (mut window, mut bytes) = (Window::default(), 0);
        while window.appends.len() < WINDOW && bytes < WINDOW_BYTES {
            let Some(append) = self.appends.next() else { break };
            bytes = append.bytes().saturating_add(bytes);
            window.appends.push(append);
        }
        let last = window.appends.last().map_or(Ticket(u64::MAX), |append| append.ticket);
        window.reads.extend(std::iter::from_fn(|| self.reads.next_if(|read| read.behind <= last)));
        window
    }
}

#[cfg(test)]
mod tests;
