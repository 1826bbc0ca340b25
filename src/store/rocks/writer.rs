//! The one thread that writes: gathers what was appended, puts it into one batch, syncs it once, and then lets everybody know.
//!
//! While a sync is under way, what is appended gathers by itself; when nothing is under way, a single append is committed at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteOptions};

use super::batch::Builder;
use super::fail_point::reached;
use super::layout::{self, Row};
use super::marker::Marker;
use super::recover;
use super::shared::{Append, Read, Shared, Work};
use crate::identity::{SessionId, Ticket};
use crate::store::{Level, Lost};

/// Appends in one commit.
const WINDOW: usize = 1024;
/// Bytes of messages in one commit; one append more than this is taken all the same.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Rows of ended sessions removed with one commit.
const SWEEP: usize = 512;
/// What nobody waits for is synced after this long at the latest.
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// The marker is looked after, and a store that failed is opened again, this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A read whose turn has come, with what is durable now.
pub(super) type Due = (Read, Ticket);

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// `None` while the store is being opened again.
    pub(super) marker: Option<Marker>,
    /// Sequence number up to which the log is synced.
    pub(super) synced: u64,
    pub(super) reads: Sender<Due>,
    /// Sessions whose rows are still there.
    pub(super) ended: Vec<SessionId>,
    pub(super) reopen: Box<dyn Fn() -> Result<(DB, Marker), String> + Send>,
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
            let (work, stop) = self.gather();
            let mut work = work.into_iter().peekable();
            while work.peek().is_some() {
                let window = Window::take(&mut work);
                self.commit(window);
            }
            self.look_after();
            if stop && self.shared.inbox.lock().work.is_empty() {
                return self.finish();
            }
        }
    }

    /// Waits for work, or for something that is due without any.
    fn gather(&self) -> (Vec<Work>, bool) {
        let mut inbox = self.shared.inbox.lock();
        if inbox.work.is_empty() && !inbox.stop && self.ended.is_empty() {
            let patience = if self.unsynced { SYNC_EVERY } else { LOOK_EVERY };
            self.shared.bell.wait_for(&mut inbox, patience);
        }
        (std::mem::take(&mut inbox.work), inbox.stop)
    }

    fn commit(&mut self, window: Window) {
        reached("gathered");
        if let (Some(first), Some(last)) = (window.appends.first(), window.appends.last()) {
            let (first, last) = (first.ticket, last.ticket);
            let unwritten = window.appends.iter().map(Append::unwritten).sum();
            let unwaited = window.appends.iter().map(Append::unwaited_bytes).sum();
            match self.write(window.appends) {
                Ok(()) => reached("marked"),
                Err(error) => {
                    self.fail(first, last, &error);
                    self.shared.count(Lost { unwritten, ..Lost::default() });
                }
            }
            self.shared.caught_up(unwaited);
            self.shared.settle(last);
            reached("answered");
        }
        let mark = self.shared.marks().synced;
        for read in window.reads {
            // A reader that is gone has nobody to answer to.
            let _ = self.reads.send((read, mark));
        }
    }

    /// One batch, and one sync if anything of it asked for that.
    fn write(&mut self, appends: Vec<Append>) -> Result<(), Failure> {
        let Some(db) = self.shared.db() else { return Err(Failure::NotOpen) };
        let mut ram = self.shared.ram.lock();
        let mut builder = Builder::new(&db, &mut ram, self.shared.epoch, self.shared.bounds);
        builder.look_ahead(&appends);
        let asked = |level| appends.iter().any(|append| append.level == level);
        let (os, sync) = (asked(Level::Os), asked(Level::Sync));
        // Nobody is told before the end where everybody waits for the same.
        let written_first = (os && sync).then(|| appends.last().map(|append| append.ticket)).flatten();
        for append in appends {
            builder.add(append);
        }
        let (refused, lost, ended) =
            (std::mem::take(&mut builder.refused), builder.lost, std::mem::take(&mut builder.ended));
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
        self.ended.extend(ended);
        if empty {
            return Ok(());
        }
        self.unsynced = true;
        if let Some(last) = written_first {
            self.note(db.latest_sequence_number());
            self.shared.settle_written(last);
        }
        if sync {
            self.sync(&db);
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
        if self.shared.db.lock().take().is_some() {
            tracing::error!(%error, "could not write: nobody who waits for it is acknowledged until writing works again");
        }
        self.shared.commit_failed.store(true, Ordering::Release);
        self.shared.fail(first, last);
    }

    /// What is done now and then, whether there is work or not.
    fn look_after(&mut self) {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.looked_at = Instant::now();
            match self.shared.db() {
                Some(_) => self.rotate(),
                None => self.open_again(),
            }
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
        if let Some(marker) = &mut self.marker
            && let Err(error) = marker.note_written(sequence, self.synced)
        {
            tracing::error!(%error, "could not note a commit beside the database");
        }
    }

    fn rotate(&mut self) {
        if let Some(marker) = &mut self.marker
            && let Err(error) = marker.rotate(self.synced)
        {
            tracing::error!(%error, "could not write the marker file");
        }
    }

    fn open_again(&mut self) {
        // It holds the lock of the folder.
        self.marker = None;
        match (self.reopen)() {
            Ok((db, marker)) => {
                let db = Arc::new(db);
                let found = match recover::scan(&db, self.shared.epoch) {
                    Ok(found) => found,
                    Err(error) => return tracing::error!(%error, "the store was opened again and cannot be read"),
                };
                self.marker = Some(marker);
                self.synced = db.latest_sequence_number();
                *self.shared.ram.lock() = found.ram;
                self.ended = found.ended;
                *self.shared.db.lock() = Some(db);
                tracing::info!("writing works again");
            }
            Err(error) => tracing::warn!(error, "the store cannot be opened yet"),
        }
    }

    /// Removes some rows of a session that has ended. `true` when none is left.
    fn sweep(&mut self, db: &DB, session: SessionId) -> bool {
        let mut ram = self.shared.ram.lock();
        let mut builder = Builder::new(db, &mut ram, self.shared.epoch, self.shared.bounds);
        let mut left = SWEEP;
        let prefix = session.0.to_be_bytes();
        for (key, _) in rows(db, builder.families.queue, &prefix, session).take(SWEEP) {
            if let Some((_, ticket)) = layout::parse_queue_key(&key) {
                builder.remove(session, ticket);
                left -= 1;
            }
        }
        let ended = layout::row_key(session, Row::Ended, &[]);
        for (key, _) in rows(db, builder.families.session, &prefix, session).take(left) {
            if *key == *ended {
                continue;
            }
            if let Some((_, Row::Exchange, rest)) = layout::parse_row_key(&key)
                && let Ok(ticket) = rest.try_into()
            {
                builder.ram.put_exchange(session, Ticket(u64::from_be_bytes(ticket)), None);
            }
            builder.batch.delete_cf(builder.families.session, &key);
            left -= 1;
        }
        let is_last = left > 0;
        if is_last {
            builder.batch.delete_cf(builder.families.session, &ended);
        }
        let batch = builder.batch;
        // It need not be safe at once: what comes back after a crash is removed then.
        match db.write_opt(batch, &WriteOptions::default()) {
            Ok(()) => ram.keep(),
            Err(error) => {
                ram.take_back();
                tracing::warn!(%error, "could not remove rows of an ended session");
                return true;
            }
        }
        is_last
    }

    fn finish(mut self) {
        let Some(db) = self.shared.db.lock().take() else { return };
        self.sync(&db);
        let sequence = db.latest_sequence_number();
        // The reader has nothing left to read: this is the last hold on the database.
        drop(db);
        if let Some(marker) = self.marker.take()
            && let Err(error) = marker.close_clean(sequence)
        {
            tracing::error!(%error, "could not mark the store as closed in order");
        }
        tracing::info!(sessions = self.shared.ram.lock().sessions(), "the store is closed");
    }
}

type KeyValue = (Box<[u8]>, Box<[u8]>);

/// Rows of one session, from `from` on.
pub(super) fn rows<'a>(
    db: &'a DB,
    family: &'a rocksdb::ColumnFamily,
    from: &[u8],
    session: SessionId,
) -> impl Iterator<Item = KeyValue> + 'a {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::end_of(session));
    let rows = db.iterator_cf_opt(family, options, IteratorMode::From(from, Direction::Forward));
    rows.map(|row| match row {
        Ok(row) => row,
        Err(error) => super::damaged(error.as_ref()),
    })
}

impl Window {
    fn take(work: &mut std::iter::Peekable<std::vec::IntoIter<Work>>) -> Self {
        let (mut window, mut bytes) = (Window::default(), 0);
        while window.appends.len() < WINDOW && bytes < WINDOW_BYTES {
            match work.next() {
                Some(Work::Append(append)) => {
                    bytes += append.bytes();
                    window.appends.push(append);
                }
                Some(Work::Read(read)) => window.reads.push(read),
                None => break,
            }
        }
        window
    }
}

#[cfg(test)]
mod tests;
