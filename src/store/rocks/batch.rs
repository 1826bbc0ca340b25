//! From appended records to one WriteBatch.
//!
//! A message that a session is done with in the same window as it was enqueued never reaches the disk; one that nobody is left to
//! wait for is not written at all.

mod exchange;

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use rocksdb::{ColumnFamily, DB, WriteBatch};
use smallvec::SmallVec;

use super::layout::{self, Row};
use super::oldest;
use super::ram::Ram;
use super::shared::{Append, Gone, Shared, Why};
use crate::clock::Moment;
use crate::identity::{SessionId, Ticket};
use crate::message::Message;
use crate::session::Change;
use crate::store::record;
use crate::store::{Level, Lost, Publisher, Recipient, Record, WhenFull};

/// From this many queues on a body is stored once.
const SHARED_FROM: usize = 5;
/// Shorter bodies are copied into each queue: a reference would cost as much.
const SHARED_BYTES: usize = 64;

/// What a commit of some hundred small messages needs; a larger one grows.
const BATCH_BYTES: usize = 64 * 1024;

/// The column families that are written.
pub(super) struct Families<'a> {
    pub(super) queue: &'a ColumnFamily,
    pub(super) body: &'a ColumnFamily,
    pub(super) session: &'a ColumnFamily,
    pub(super) retained: &'a ColumnFamily,
    pub(super) meta: &'a ColumnFamily,
}

impl<'a> Families<'a> {
    #[expect(clippy::expect_used, reason = "what opening the database decided, not what lies in it")]
    pub(super) fn of(db: &'a DB) -> Self {
        let family = |name| db.cf_handle(name).expect("every column family was opened with the database");
        Self {
            queue: family(layout::QUEUE),
            body: family(layout::BODY),
            session: family(layout::SESSION),
            retained: family(layout::RETAINED),
            meta: family(layout::META),
        }
    }
}

/// Puts one commit together.
pub(super) struct Builder<'a> {
    pub(super) db: &'a DB,
    pub(super) families: Families<'a>,
    pub(super) ram: &'a mut Ram,
    pub(super) batch: WriteBatch,
    shared: &'a Shared,
    /// Commits that have failed so far.
    pub(super) failures: u64,
    /// Appends refused: a queue is full, or something earlier of the same publisher has failed.
    pub(super) refused: Vec<Ticket>,
    /// Messages dropped by this commit, to be counted if it succeeds.
    pub(super) lost: Lost,
    /// The soonest expiry of what this commit enqueues.
    pub(super) soonest: Option<Moment>,
    /// An identifier of an incoming QoS 2 message is free again, and its client waits to hear of it: see [`Level::Os`].
    pub(super) releases: bool,
    /// Sessions that ended in this commit: their rows are removed later.
    pub(super) ended: Vec<SessionId>,
    cancelled: HashSet<(SessionId, Ticket), RandomState>,
    /// Topics whose retained message is said to have expired and was not replaced in this window so far.
    expired: HashSet<Box<str>, RandomState>,
    /// Taken out of their queues in this commit: a read finds them still.
    done: HashSet<(SessionId, Ticket), RandomState>,
    /// When wills are due that were put down in this window: a read does not find them yet.
    wills: HashMap<SessionId, u64, RandomState>,
    /// The first ticket of this window. What it enqueues is found by no read.
    first: Ticket,
}

impl<'a> Builder<'a> {
    pub(super) fn new(db: &'a DB, ram: &'a mut Ram, shared: &'a Shared) -> Self {
        Self {
            db,
            families: Families::of(db),
            ram,
            batch: WriteBatch::with_capacity_bytes(BATCH_BYTES),
            shared,
            failures: 0,
            refused: Vec::new(),
            lost: Lost::default(),
            soonest: None,
            releases: false,
            ended: Vec::new(),
            cancelled: HashSet::default(),
            expired: HashSet::default(),
            done: HashSet::default(),
            wills: HashMap::default(),
            first: Ticket(u64::MAX),
        }
    }

    /// Finds messages that are enqueued and done with in this window, and topics whose message has expired.
    pub(super) fn look_ahead(&mut self, window: &[Append]) {
        let first = window.first().map_or(Ticket::NONE, |append| append.ticket);
        self.first = first;
        for record in window.iter().flat_map(|append| &append.records) {
            match record {
                // Earlier tickets were enqueued by an earlier commit.
                Record::Edit(session, Change::Done { ticket }) if *ticket >= first => {
                    self.cancelled.insert((*session, *ticket));
                }
                Record::Expired(topic, _) => {
                    self.expired.insert(topic.clone());
                }
                _ => {}
            }
        }
    }

    /// Adds the records of one append.
    pub(super) fn add(&mut self, append: &Append) {
        let Append { ticket, level, records } = append;
        let (ticket, level) = (*ticket, *level);
        if self.is_refused(ticket, records) {
            self.refused.push(ticket);
            for record in records.iter().filter(|record| record.is_retained()) {
                self.add_record(ticket, record);
            }
            // Its publisher has its answer already, so it is counted as what it is: dropped.
            self.lost.queue_full = self.lost.queue_full.saturating_add(u64::from(level == Level::Memory));
            return;
        }
        let before = self.releases;
        for record in records {
            self.add_record(ticket, record);
        }
        self.releases = before || (self.releases && level > Level::Memory);
    }

    /// Whether an append is refused: somebody sends it again, behind something that has failed; or the only queue that it would
    /// grow is full, and its publisher is to be told. Whoever it was for may have it already.
    fn is_refused(&mut self, ticket: Ticket, records: &[Record]) -> bool {
        for record in records {
            let Record::Enqueue { message, recipients, publisher } = record else { continue };
            let is_refused = publisher.has_not_heard_of(self.failures)
                || match &recipients[..] {
                    [only] if *publisher == Publisher::CanBeTold => self.refuses(only.session, ticket, message),
                    _ => false,
                };
            if is_refused {
                recipients.iter().for_each(|to| self.ram.refuse(to.session));
                return true;
            }
        }
        false
    }

    /// Of what the session is done with already nobody is told: it needs no room.
    fn refuses(&self, session: SessionId, ticket: Ticket, message: &Message) -> bool {
        self.shared.bounds.when_full == WhenFull::Reject
            && !self.cancelled.contains(&(session, ticket))
            && self.is_full(session, message.bytes())
    }

    fn is_full(&self, session: SessionId, bytes: usize) -> bool {
        let tally = self.ram.tally(session);
        self.shared.bounds.is_full(tally.messages.into(), tally.bytes, bytes)
    }

    fn add_record(&mut self, ticket: Ticket, record: &Record) {
        match record {
            Record::Enqueue { message, recipients, .. } => self.enqueue(ticket, message, recipients),
            Record::Received { session, packet_id } if self.ram.knows(*session) => {
                self.put_row(&layout::received_key(*session, *packet_id), &[]);
            }
            Record::Received { .. } => {}
            Record::Retain(message) => {
                let key = message.topic().as_bytes();
                let value = record::seal(key, &record::message_body(message, self.shared.epoch));
                self.batch.put_cf(self.families.retained, key, value);
                self.expired.remove(message.topic());
            }
            Record::Expired(topic, by) => self.expire(topic, *by),
            Record::Unretain(topic) => self.batch.delete_cf(self.families.retained, topic.as_bytes()),
            Record::Open(record) => self.open(record),
            Record::Leave { session, ends_wall_ms } if self.ram.knows(*session) => {
                self.ram.leave(*session);
                self.put_row(&layout::row_key(*session, Row::Leave, &[]), &record::leave_body(*ends_wall_ms));
            }
            Record::Leave { .. } => {}
            Record::Will { session, will } if self.ram.knows(*session) => {
                self.wills.insert(*session, will.due_wall_ms);
                self.put_row(&layout::row_key(*session, Row::Will, &[]), &record::will_body(will));
            }
            Record::Will { .. } => {}
            Record::NoWill { session, due_wall_ms } => self.forget_will(*session, *due_wall_ms),
            Record::End(session) => self.end(*session),
            Record::Subscribe(session, subscription) if self.ram.knows(*session) => {
                let key = layout::row_key(*session, Row::Subscription, subscription.filter.as_bytes());
                self.put_row(&key, &record::options_body(subscription.options));
            }
            Record::Subscribe(..) => {}
            Record::Unsubscribe(session, filter) => {
                self.delete_row(&layout::row_key(*session, Row::Subscription, filter.as_bytes()));
            }
            Record::Edit(session, change) if self.ram.knows(*session) => self.edit(*session, change),
            Record::Edit(..) => {}
        }
    }

    /// Removes a retained message if it is the one that has expired.
    fn expire(&mut self, topic: &str, by: Moment) {
        let key = topic.as_bytes();
        if !self.expired.contains(topic) {
            return;
        }
        // One that cannot be read is left for the next start to refuse.
        let Ok(Some(value)) = self.db.get_pinned_cf(self.families.retained, key) else { return };
        let stored = record::unseal(key, &value).and_then(|body| record::message(body, self.shared.epoch));
        if stored.is_ok_and(|message| message.expired_by(by)) {
            self.batch.delete_cf(self.families.retained, key);
        }
    }

    /// Removes the will of a session if it is the one that was due then.
    fn forget_will(&mut self, session: SessionId, due_wall_ms: u64) {
        let key = layout::row_key(session, Row::Will, &[]);
        let stored = || {
            let value = super::intact(self.db.get_pinned_cf(self.families.session, &key))?;
            // One that cannot be read is left for the next start to refuse.
            record::unseal(&key, &value).and_then(record::will).ok().map(|later| later.due_wall_ms)
        };
        if self.wills.get(&session).copied().or_else(stored) == Some(due_wall_ms) {
            self.delete_row(&key);
        }
    }

    fn put_row(&mut self, key: &[u8], body: &[u8]) {
        self.batch.put_cf(self.families.session, key, record::seal(key, body));
    }

    fn delete_row(&mut self, key: &[u8]) {
        self.batch.delete_cf(self.families.session, key);
    }

    fn enqueue(&mut self, ticket: Ticket, message: &Message, recipients: &[Recipient]) {
        let waits = |to: &&Recipient| self.ram.knows(to.session) && !self.cancelled.contains(&(to.session, ticket));
        let waiting: SmallVec<[&Recipient; 4]> = recipients.iter().filter(waits).collect();
        if let Some(expires) = message.expires.filter(|_| !waiting.is_empty()) {
            self.soonest = Some(self.soonest.map_or(expires, |soonest| soonest.min(expires)));
        }
        let shared = waiting.len() >= SHARED_FROM && message.bytes() >= SHARED_BYTES;
        if shared {
            let key = layout::body_key(ticket);
            let value = record::seal(&key, &record::message_body(message, self.shared.epoch));
            self.batch.put_cf(self.families.body, key, value);
            self.ram.add_body(ticket, u32::try_from(waiting.len()).unwrap_or(u32::MAX));
        }
        for to in waiting {
            self.make_room(to.session, message.bytes());
            let key = layout::queue_key(to.session, ticket);
            let body = record::queue_body(to, (!shared).then_some(message), self.shared.epoch);
            self.batch.put_cf(self.families.queue, key, record::seal(&key, &body));
            self.ram.add(to.session, ticket, message.bytes());
        }
    }

    /// Drops the oldest messages that are not under way until another one fits. What this window added itself is not
    /// looked for: a queue exceeds its bounds by a window at most.
    fn make_room(&mut self, session: SessionId, bytes: usize) {
        while self.is_full(session, bytes) {
            let Some(oldest) = self.oldest(session) else { return };
            self.remove(session, oldest);
            self.ram.drop_oldest(session);
            self.done.insert((session, oldest));
            self.ram.found_head(session, oldest.following());
            self.lost.queue_full = self.lost.queue_full.saturating_add(1);
        }
    }

    fn oldest(&mut self, session: SessionId) -> Option<Ticket> {
        while let Some(ticket) = self.ram.oldest.next(session) {
            if self.may_go(session, ticket) {
                return Some(ticket);
            }
        }
        let from = (session, self.ram.tally(session).head);
        let read = oldest::read(self.db, self.families.queue, from, |ticket| self.may_go(session, ticket));
        let mut tickets = super::intact(read);
        let first = tickets.pop_front();
        self.ram.oldest.put(session, tickets);
        first
    }

    /// Whether a message that was read is neither under way nor taken out by this commit.
    fn may_go(&self, session: SessionId, ticket: Ticket) -> bool {
        self.ram.exchange(session, ticket).is_none() && !self.done.contains(&(session, ticket))
    }

    /// Takes a message out whose time is over; `false` if it has to stay: its client is there, or was sent it.
    pub(super) fn let_go(&mut self, gone: Gone) -> bool {
        let Gone { session, ticket, why } = gone;
        if !self.ram.is_away(session) || self.ram.exchange(session, ticket).is_some() {
            return false;
        }
        let key = layout::queue_key(session, ticket);
        // It may have gone since it was read.
        if super::intact(self.db.get_pinned_cf(self.families.queue, key)).is_some() {
            self.take_out(session, ticket);
            let lost = match why {
                Why::Expired => &mut self.lost.expired,
                Why::TooOld => &mut self.lost.too_old,
            };
            *lost = lost.saturating_add(1);
        }
        true
    }

    /// Takes a message out of a session's queue, and its body if nobody refers to it any more.
    pub(super) fn remove(&mut self, session: SessionId, ticket: Ticket) {
        self.batch.delete_cf(self.families.queue, layout::queue_key(session, ticket));
        if self.ram.release_body(ticket) == Some(true) {
            self.batch.delete_cf(self.families.body, layout::body_key(ticket));
        }
    }

    fn open(&mut self, record: &crate::store::SessionRecord) {
        let session = record.session;
        self.ram.begin(session);
        self.put_row(&layout::row_key(session, Row::Session, &[]), &record::session_body(record));
        for row in [Row::Leave, Row::Expiry, Row::Will] {
            self.delete_row(&layout::row_key(session, row, &[]));
        }
    }

    fn end(&mut self, session: SessionId) {
        if !self.ram.knows(session) {
            return;
        }
        let waiting = u64::from(self.ram.tally(session).messages);
        self.lost.session_ended = self.lost.session_ended.saturating_add(waiting);
        self.ram.end(session);
        self.delete_row(&layout::row_key(session, Row::Session, &[]));
        // Its other rows may be many: they go piece by piece, also after a restart.
        self.put_row(&layout::row_key(session, Row::Ended, &[]), &[]);
        self.ended.push(session);
    }
}
