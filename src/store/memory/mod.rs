//! A store in memory: nothing survives the process, and every record's meaning in the plainest form.
//!
//! What is stored lies in shards, by session (a retained message by its topic). An append locks the shards it touches, in
//! ascending order, and takes its ticket while it holds them: so in every shard tickets are in order, and whoever holds a shard
//! knows that everything up to the last ticket given out is there.

mod kept;
mod shards;

use std::collections::{BTreeSet, VecDeque};

use crate::clock::Now;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::early::{self, Early, Struck};
use crate::store::{Bounds, Level, Lost, Marks, Record, Recovered, Store};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use shards::Shards;

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    live: Shards,
    /// `None`: everything appended is durable at once.
    disk: Option<Disk>,
}

/// What stands for a disk where a test says when something reaches it.
struct Disk {
    /// What a crash leaves.
    image: Shards,
    /// Appended and not committed, in order.
    log: Mutex<VecDeque<(Ticket, Vec<Record>)>>,
    /// Reads that wait until everything appended before them is committed.
    reads: Mutex<VecDeque<(Ticket, Reading)>>,
    written: AtomicU64,
    mark: AtomicU64,
    early: Early,
    failed: Mutex<BTreeSet<Ticket>>,
    fails_next: AtomicBool,
    behind: AtomicBool,
}

/// Answers a read out of the durable image.
type Reading = Box<dyn FnOnce(&Shards) + Send>;

impl Memory {
    /// A store where every append is durable at once: mode `memory`.
    pub fn instant(bounds: Bounds) -> Self {
        Self { live: Shards::new(bounds), disk: None }
    }

    /// A store where an append is durable when [`Memory::commit`] says so, for simulation.
    pub fn manual(bounds: Bounds) -> Self {
        let live = Shards::new(bounds);
        let disk = Disk {
            image: live.twin(),
            log: Mutex::default(),
            reads: Mutex::default(),
            written: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            early: Early::default(),
            failed: Mutex::default(),
            fails_next: AtomicBool::new(false),
            behind: AtomicBool::new(false),
        };
        Self { live, disk: Some(disk) }
    }

    /// The last ticket given out.
    pub fn appended(&self) -> Ticket {
        self.live.last()
    }

    /// Puts everything up to this ticket into the log, where a crash of the machine still wipes it out. Nothing to do for
    /// [`Memory::instant`].
    pub fn write(&self, up_to: Ticket) {
        if let Some(disk) = &self.disk {
            disk.written.fetch_max(up_to.min(self.live.last()).0, Ordering::AcqRel);
        }
    }

    /// Makes everything up to this ticket durable. Nothing to do for [`Memory::instant`].
    pub fn commit(&self, up_to: Ticket) {
        let Some(disk) = &self.disk else { return };
        self.write(up_to);
        {
            let mut log = disk.log.lock();
            while let Some((ticket, records)) = log.pop_front_if(|(ticket, _)| *ticket <= up_to) {
                disk.image.apply_as(ticket, records);
            }
            disk.mark.fetch_max(up_to.min(self.live.last()).0, Ordering::AcqRel);
        }
        disk.answer();
    }

    /// The power fails: what was not durable is gone, what was is there. Tickets are not given out again.
    pub fn crash(&self) {
        let Some(disk) = &self.disk else { return };
        let mut log = disk.log.lock();
        log.clear();
        disk.reads.lock().clear();
        disk.failed.lock().clear();
        self.live.restore(&disk.image);
        disk.written.store(self.live.last().0, Ordering::Release);
        disk.mark.store(self.live.last().0, Ordering::Release);
    }

    /// Says whether too much waits to be written, or not any more.
    pub fn set_behind(&self, is_behind: bool) {
        if let Some(disk) = &self.disk {
            disk.behind.store(is_behind, Ordering::Release);
        }
    }

    /// The next append fails: none of its records is kept but what is retained, and it is known when its ticket is written.
    pub fn fail_next(&self) {
        if let Some(disk) = &self.disk {
            disk.fails_next.store(true, Ordering::Release);
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl Disk {
    fn mark(&self) -> Ticket {
        Ticket(self.mark.load(Ordering::Acquire))
    }

    /// Known once it would have been written.
    fn failed(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.written.load(Ordering::Acquire) && self.failed.lock().contains(&ticket)
    }

    fn marks(&self) -> Marks {
        let synced = self.mark();
        let written = Ticket(self.written.load(Ordering::Acquire));
        let failures = self.failed.lock().iter().filter(|ticket| **ticket <= written).count() as u64;
        Marks { written, synced, failures, early: self.early.count() }
    }

    /// A session is done with a message: if that is not committed yet, it is not committed for this session.
    fn strike(&self, log: &mut VecDeque<(Ticket, Vec<Record>)>, (session, ticket): (SessionId, Ticket)) {
        let Ok(at) = log.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else { return };
        let Some((_, records)) = log.get_mut(at) else { return };
        if let Struck::NobodyWaits(_) = early::strike(records, session) {
            self.early.settle(ticket);
        }
    }

    /// Answers the reads whose turn has come. Without a lock: an answer may append.
    fn answer(&self) {
        loop {
            let mark = self.mark();
            let Some((_, reading)) = self.reads.lock().pop_front_if(|(after, _)| *after <= mark) else { return };
            reading(&self.image);
        }
    }

    fn read(&self, last: Ticket, reading: Reading) {
        self.reads.lock().push_back((last, reading));
        self.answer();
    }
}

impl Store for Memory {
    fn append_at(&self, records: Vec<Record>, _level: Level) -> Ticket {
        let Some(disk) = &self.disk else { return self.live.append(records) };
        let mut log = disk.log.lock();
        let failures = disk.failed.lock().len() as u64;
        let is_behind_a_failure = |record: &Record| matches!(record, Record::Enqueue { publisher, .. } if publisher.has_not_heard_of(failures));
        if disk.fails_next.swap(false, Ordering::AcqRel) || records.iter().any(is_behind_a_failure) {
            let kept: Vec<_> = records.into_iter().filter(Record::is_retained).collect();
            let ticket = self.live.append(kept.clone());
            disk.failed.lock().insert(ticket);
            log.push_back((ticket, kept));
            return ticket;
        }
        if let Some(done) = early::done(&records) {
            disk.strike(&mut log, done);
        }
        let ticket = self.live.append(records.clone());
        let refused = self.live.refused(ticket);
        log.push_back((ticket, records.into_iter().filter(|record| !refused || record.is_retained()).collect()));
        ticket
    }

    fn marks(&self) -> Marks {
        match &self.disk {
            // Whoever has a ticket has it from an append that has returned.
            None => Marks::at(self.live.last()),
            Some(disk) => disk.marks(),
        }
    }

    fn is_early(&self, ticket: Ticket) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.early.has(ticket))
    }

    fn has_settled_early(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.early.is_news())
    }

    fn is_behind(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.behind.load(Ordering::Acquire))
    }

    fn has_failed(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| !disk.failed.lock().is_empty())
    }

    fn failed(&self, ticket: Ticket) -> bool {
        self.live.refused(ticket) || self.disk.as_ref().is_some_and(|disk| disk.failed(ticket))
    }

    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>) {
        match &self.disk {
            // The answer is given without a lock: it may append.
            None => answer(self.live.load(session)),
            Some(disk) => disk.read(self.live.last(), Box::new(move |image| answer(image.load(session)))),
        }
    }

    fn read_queue(
        &self,
        session: SessionId,
        after: Ticket,
        max: usize,
        _now: Now,
        answer: Box<dyn FnOnce(Page) + Send>,
    ) {
        match &self.disk {
            None => answer(self.live.page(session, after, max)),
            Some(disk) => {
                disk.read(self.live.last(), Box::new(move |image| answer(image.page(session, after, max))));
            }
        }
    }

    fn level(&self) -> Level {
        if self.disk.is_some() { Level::Sync } else { Level::Memory }
    }

    fn recover(&self) -> Recovered {
        self.live.recover()
    }

    fn lost(&self) -> Lost {
        self.live.lost()
    }
}

#[cfg(test)]
mod tests;
