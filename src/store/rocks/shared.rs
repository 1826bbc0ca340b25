//! What the writer, the reader and whoever appends have in common.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};
use rocksdb::DB;

use super::age::Ages;
use super::ram::Ram;
use super::recover::Found;
use super::{Clock, Settings};
use crate::clock::Moment;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::early::{self, Early, Struck};
use crate::store::record::Epoch;
use crate::store::{Bounds, Level, Lost, Marks, Record};
use crate::wake::Wake;

/// Failed appends are remembered in this many stretches, 16 bytes each. Who waits asks as soon as it is its turn, and what a core lets its
/// clients publish between two looks, all of it refused, must be among them: one that is forgotten is acknowledged.
const FAILED_KEPT: usize = 1 << 20;
/// Bytes of appends that nobody waits for, above which somebody has to.
const BEHIND_BYTES: usize = 64 * 1024 * 1024;
/// Appends in the inbox beyond which none is settled early: whoever is acknowledged sends more, and what is settled keeps its place
/// there until the disk answers.
const EARLY_MAX: usize = 65_536;
/// What an append weighs beside its messages, about.
const APPEND_BYTES: usize = 256;

/// Records that are kept together or not at all.
pub(super) struct Append {
    pub(super) ticket: Ticket,
    /// How safe they must be before somebody is told.
    pub(super) level: Level,
    pub(super) records: Vec<Record>,
}

impl Append {
    /// Bytes of its messages.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |record: &Record| match record {
            Record::Enqueue { message, .. } | Record::Retain(message) => message.bytes(),
            _ => 0,
        };
        self.records.iter().map(bytes).sum()
    }

    /// What it weighs while nobody waits for it.
    pub(super) fn unwaited_bytes(&self) -> usize {
        if self.level > Level::Memory { 0 } else { self.bytes().saturating_add(APPEND_BYTES) }
    }

    /// Messages for sessions that are lost if it cannot be written, because their publisher has its answer already.
    pub(super) fn unwritten(&self) -> u64 {
        let recipients = |record: &Record| match record {
            Record::Enqueue { recipients, .. } => recipients.len() as u64,
            _ => 0,
        };
        if self.level > Level::Memory { 0 } else { self.records.iter().map(recipients).sum() }
    }
}

/// A question about a session, answered once everything before it is durable.
pub(super) struct Read {
    pub(super) session: SessionId,
    pub(super) what: What,
    /// The last ticket given out before it was asked.
    pub(super) behind: Ticket,
}

pub(super) enum What {
    Saved(Box<dyn FnOnce(Saved) + Send>),
    Page { after: Ticket, max: usize, answer: Box<dyn FnOnce(Page) + Send> },
}

/// A message whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) session: SessionId,
    pub(super) ticket: Ticket,
    pub(super) why: Why,
}

/// Why a message goes though nobody is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its Message Expiry Interval passed.
    Expired,
    /// It waits longer than a message may.
    TooOld,
}

/// What was appended and not taken by the writer yet. Bounded by what cores let their clients publish before an answer, and by
/// [`Shared::is_behind`] where they wait for none.
#[derive(Default)]
pub(super) struct Inbox {
    /// One for each ticket, up to the last.
    pub(super) appends: Vec<Append>,
    pub(super) reads: Vec<Read>,
    /// What the sweeper found; it waits until the writer has taken this.
    pub(super) gone: Vec<Gone>,
    /// The last ticket given out.
    pub(super) last: u64,
    pub(super) stop: bool,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.reads.is_empty()
    }

    /// A session is done with a message: if that is not written yet, it is not written for this session.
    fn strike(&mut self, session: SessionId, ticket: Ticket) -> Struck {
        if self.appends.len() > EARLY_MAX {
            return Struck::Not;
        }
        let behind = self.last.checked_sub(ticket.0).and_then(|behind| usize::try_from(behind).ok()?.checked_add(1));
        let at = behind.and_then(|behind| self.appends.len().checked_sub(behind));
        let Some(append) = at.and_then(|at| self.appends.get_mut(at)) else { return Struck::Not };
        debug_assert_eq!(append.ticket, ticket, "tickets are given out one by one");
        // Who waits for nothing has been told already, and what it weighs is counted.
        if append.level == Level::Memory { Struck::Not } else { early::strike(&mut append.records, session) }
    }
}

/// Shared by all threads of the store.
pub(super) struct Shared {
    /// A mutex: tickets are drawn and work is queued as one step.
    pub(super) inbox: Mutex<Inbox>,
    pub(super) bell: Condvar,
    /// Tells the sweeper that the writer has taken what it found, or that nothing follows.
    pub(super) taken: Condvar,
    /// [`Marks::written`].
    written: AtomicU64,
    /// [`Marks::synced`].
    synced: AtomicU64,
    /// [`Marks::failures`].
    failures: AtomicU64,
    /// [`Marks::early`].
    pub(super) early: Early,
    /// Bytes of appends at [`Level::Memory`] that are not written yet.
    behind: AtomicUsize,
    failed: Mutex<VecDeque<RangeInclusive<u64>>>,
    any_failed: AtomicBool,
    /// A whole commit has failed, not only an append that a full queue refused.
    pub(super) commit_failed: AtomicBool,
    pub(super) wake: OnceLock<Wake>,
    /// The writer's, but for the reader's hints and the operator's questions.
    pub(super) ram: Mutex<Ram>,
    /// `None` while it is being opened again after an error.
    pub(super) db: Mutex<Option<Arc<DB>>>,
    lost: Mutex<Lost>,
    /// The moment at which the first waiting message can be over, ms. Lowered by the writer after it has committed one.
    pub(super) soonest: AtomicU64,
    /// Which tickets were there when: the writer's, and read by the sweeper.
    pub(super) ages: Mutex<Ages>,
    pub(super) epoch: Epoch,
    pub(super) bounds: Bounds,
    age_max_ms: Option<u64>,
    clock: Clock,
}

impl Shared {
    pub(super) fn new(db: Arc<DB>, found: Found, settings: Settings) -> Self {
        let Settings { bounds, epoch, age_max_s, clock, .. } = settings;
        Self {
            inbox: Mutex::new(Inbox { last: found.last.0, ..Inbox::default() }),
            bell: Condvar::new(),
            taken: Condvar::new(),
            written: AtomicU64::new(found.last.0),
            synced: AtomicU64::new(found.last.0),
            failures: AtomicU64::new(0),
            early: Early::default(),
            behind: AtomicUsize::new(0),
            failed: Mutex::default(),
            any_failed: AtomicBool::new(false),
            commit_failed: AtomicBool::new(false),
            wake: OnceLock::new(),
            ram: Mutex::new(found.ram),
            db: Mutex::new(Some(db)),
            lost: Mutex::default(),
            soonest: AtomicU64::new(found.soonest.as_ms()),
            ages: Mutex::new(found.ages),
            epoch,
            bounds,
            age_max_ms: age_max_s.map(|s| s.saturating_mul(1000)),
            clock,
        }
    }

    pub(super) fn append(&self, records: Vec<Record>, level: Level) -> Ticket {
        let mut append = Append { ticket: Ticket::NONE, level, records };
        if level == Level::Memory {
            self.behind.fetch_add(append.unwaited_bytes(), Ordering::Relaxed);
        }
        let done = early::done(&append.records);
        let mut inbox = self.inbox.lock();
        let struck = done.map_or(Struck::Not, |(session, ticket)| inbox.strike(session, ticket));
        if struck != Struck::Not {
            append.records = Vec::new();
        }
        let ticket = Ticket(inbox.last).following();
        inbox.last = ticket.0;
        append.ticket = ticket;
        inbox.appends.push(append);
        drop(inbox);
        if let (Struck::NobodyWaits(_), Some((_, ticket))) = (struck, done) {
            self.early.settle(ticket);
        }
        self.bell.notify_one();
        ticket
    }

    pub(super) fn read(&self, session: SessionId, what: What) {
        let mut inbox = self.inbox.lock();
        let behind = Ticket(inbox.last);
        inbox.reads.push(Read { session, what, behind });
        drop(inbox);
        self.bell.notify_one();
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > BEHIND_BYTES
    }

    #[cfg(test)]
    pub(super) fn behind(&self) -> usize {
        self.behind.load(Ordering::Relaxed)
    }

    /// Some of what nobody waits for has been written, or has failed.
    pub(super) fn caught_up(&self, bytes: usize) {
        if bytes > 0 {
            self.behind.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn marks(&self) -> Marks {
        // In this order: no failure is seen without the marks that cover it, and `synced` never ahead of `written`.
        let failures = self.failures.load(Ordering::Acquire);
        let synced = Ticket(self.synced.load(Ordering::Acquire));
        let written = Ticket(self.written.load(Ordering::Acquire));
        Marks { written, synced, failures, early: self.early.count() }
    }

    pub(super) fn fail(&self, first: Ticket, last: Ticket) {
        let mut failed = self.failed.lock();
        match failed.back_mut() {
            Some(before) if before.end().checked_add(1) == Some(first.0) => *before = *before.start()..=last.0,
            _ => failed.push_back(first.0..=last.0),
        }
        if failed.len() > FAILED_KEPT {
            failed.pop_front();
        }
        self.any_failed.store(true, Ordering::Release);
    }

    /// Whether one of these tickets failed.
    pub(super) fn any_failed(&self, first: Ticket, last: Ticket) -> bool {
        self.any_failed.load(Ordering::Acquire) && {
            // The writer fails them in their order.
            let failed = self.failed.lock();
            let behind = failed.partition_point(|range| *range.start() <= last.0);
            behind.checked_sub(1).and_then(|at| failed.get(at)).is_some_and(|range| *range.end() >= first.0)
        }
    }

    /// Everything up to here is in the log: who waits for no more than that may look.
    pub(super) fn settle_written(&self, up_to: Ticket) {
        self.written.store(up_to.0, Ordering::Release);
        self.ring();
    }

    /// Everything up to here is as safe as it asked to be, or has failed: everybody who waits may look.
    pub(super) fn settle(&self, up_to: Ticket, failures: u64) {
        self.written.store(up_to.0, Ordering::Release);
        self.synced.store(up_to.0, Ordering::Release);
        self.failures.store(failures, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        if let Some(wake) = self.wake.get() {
            wake.ring();
        }
    }

    pub(super) fn count(&self, lost: Lost) {
        if lost != Lost::default() {
            let mut sum = self.lost.lock();
            *sum = sum.plus(lost);
        }
    }

    pub(super) fn lost(&self) -> Lost {
        *self.lost.lock()
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    fn wall_ms(&self) -> u64 {
        self.epoch.wall_at_start_ms.saturating_add(self.now().as_ms())
    }

    /// Messages up to this ticket wait too long.
    pub(super) fn too_old(&self) -> Ticket {
        self.age_max_ms.map_or(Ticket::NONE, |max| self.ages.lock().over(self.wall_ms(), max))
    }

    /// What is to be written down of the age of tickets, if it is time to.
    pub(super) fn note_age(&self) -> Option<Ages> {
        let max = self.age_max_ms?;
        let last = Ticket(self.inbox.lock().last);
        let mut ages = self.ages.lock().clone();
        ages.note(self.wall_ms(), last, max).then_some(ages)
    }

    pub(super) fn db(&self) -> Option<Arc<DB>> {
        self.db.lock().clone()
    }
}
