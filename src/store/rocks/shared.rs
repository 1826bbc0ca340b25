//! What the writer, the reader and whoever appends have in common.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};
use rocksdb::DB;

use super::ram::Ram;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::record::Epoch;
use crate::store::{Bounds, Lost, Record};
use crate::wake::Wake;

/// Failed appends are remembered in this many stretches; nobody asks about a ticket that old.
const FAILED_KEPT: usize = 4096;

/// Something for the writer to do, in order.
pub(super) enum Work {
    Append(Ticket, Vec<Record>),
    Read(Read),
}

/// A question about a session, answered once everything before it is durable.
pub(super) struct Read {
    pub(super) session: SessionId,
    pub(super) what: What,
}

pub(super) enum What {
    Saved(Box<dyn FnOnce(Saved) + Send>),
    Page { after: Ticket, max: usize, answer: Box<dyn FnOnce(Page) + Send> },
}

/// What was appended and not taken by the writer yet. Bounded by what cores let their clients publish before an answer.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) work: Vec<Work>,
    /// The last ticket given out.
    pub(super) last: u64,
    pub(super) stop: bool,
}

/// Shared by all threads of the store.
pub(super) struct Shared {
    /// A mutex: tickets are drawn and work is queued as one step.
    pub(super) inbox: Mutex<Inbox>,
    pub(super) bell: Condvar,
    /// Everything up to here is safe.
    pub(super) durable: AtomicU64,
    failed: Mutex<VecDeque<RangeInclusive<u64>>>,
    any_failed: AtomicBool,
    pub(super) wake: OnceLock<Wake>,
    /// The writer's, but for the reader's hints and the operator's questions.
    pub(super) ram: Mutex<Ram>,
    /// `None` while it is being opened again after an error.
    pub(super) db: Mutex<Option<Arc<DB>>>,
    pub(super) queue_full: AtomicU64,
    pub(super) session_ended: AtomicU64,
    pub(super) epoch: Epoch,
    pub(super) bounds: Bounds,
}

impl Shared {
    pub(super) fn new(db: Arc<DB>, ram: Ram, last: Ticket, epoch: Epoch, bounds: Bounds) -> Self {
        Self {
            inbox: Mutex::new(Inbox { last: last.0, ..Inbox::default() }),
            bell: Condvar::new(),
            durable: AtomicU64::new(last.0),
            failed: Mutex::default(),
            any_failed: AtomicBool::new(false),
            wake: OnceLock::new(),
            ram: Mutex::new(ram),
            db: Mutex::new(Some(db)),
            queue_full: AtomicU64::new(0),
            session_ended: AtomicU64::new(0),
            epoch,
            bounds,
        }
    }

    pub(super) fn append(&self, records: Vec<Record>) -> Ticket {
        let mut inbox = self.inbox.lock();
        inbox.last += 1;
        let ticket = Ticket(inbox.last);
        inbox.work.push(Work::Append(ticket, records));
        drop(inbox);
        self.bell.notify_one();
        ticket
    }

    pub(super) fn read(&self, read: Read) {
        self.inbox.lock().work.push(Work::Read(read));
        self.bell.notify_one();
    }

    pub(super) fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    pub(super) fn fail(&self, first: Ticket, last: Ticket) {
        let mut failed = self.failed.lock();
        failed.push_back(first.0..=last.0);
        if failed.len() > FAILED_KEPT {
            failed.pop_front();
        }
        self.any_failed.store(true, Ordering::Release);
    }

    pub(super) fn failed(&self, ticket: Ticket) -> bool {
        self.any_failed.load(Ordering::Acquire)
            && self.failed.lock().iter().rev().any(|range| range.contains(&ticket.0))
    }

    /// The mark has moved: everybody who waits for it may look.
    pub(super) fn settle(&self, up_to: Ticket) {
        self.durable.store(up_to.0, Ordering::Release);
        if let Some(wake) = self.wake.get() {
            wake.ring();
        }
    }

    pub(super) fn count(&self, lost: Lost) {
        self.queue_full.fetch_add(lost.queue_full, Ordering::Relaxed);
        self.session_ended.fetch_add(lost.session_ended, Ordering::Relaxed);
    }

    pub(super) fn db(&self) -> Option<Arc<DB>> {
        self.db.lock().clone()
    }
}
