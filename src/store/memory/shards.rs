//! Everything that is stored, behind locks that few share.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::kept::Kept;
use crate::identity::{SessionId, Ticket};
use crate::message::Message;
use crate::session::{Page, Saved};
use crate::store::{Bounds, Lost, Publisher, Record, Recovered, WhenFull};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};

/// Refused appends that are remembered.
const REFUSED_KEPT: usize = 4096;
/// A set of shards is one word.
const SHARDS: usize = 64;
/// A table gives memory back when less than an eighth of it is used, but not below this many places.
const SHRINK_ABOVE: usize = 256;

#[derive(Debug, Clone, Default)]
struct Shard {
    sessions: HashMap<SessionId, Kept, RandomState>,
    retained: HashMap<Box<str>, Arc<Message>, RandomState>,
}

/// All shards, and the ticket counter they have in common.
#[derive(Debug)]
pub(super) struct Shards {
    shards: Box<[Mutex<Shard>]>,
    /// The last ticket given out.
    last: AtomicU64,
    bounds: Bounds,
    topics: RandomState,
    /// Appends that were refused, the latest ones: nobody asks about older ones.
    refused: Mutex<VecDeque<Ticket>>,
    any_refused: AtomicBool,
    queue_full: AtomicU64,
    session_ended: AtomicU64,
}

/// The shards an append touches, locked in ascending order, so that two appends never wait for each other.
struct Held<'a> {
    set: u64,
    guards: SmallVec<[MutexGuard<'a, Shard>; 4]>,
}

impl Held<'_> {
    fn at(&mut self, shard: usize) -> Option<&mut Shard> {
        let below = self.set & ((1 << shard) - 1);
        self.guards.get_mut(below.count_ones() as usize).map(|guard| &mut **guard)
    }
}

impl Shards {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self::with(bounds, RandomState::default())
    }

    /// Empty shards where everything has the same place as here.
    pub(super) fn twin(&self) -> Self {
        Self::with(self.bounds, self.topics.clone())
    }

    fn with(bounds: Bounds, topics: RandomState) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            last: AtomicU64::new(0),
            refused: Mutex::default(),
            any_refused: AtomicBool::new(false),
            bounds,
            topics,
            queue_full: AtomicU64::new(0),
            session_ended: AtomicU64::new(0),
        }
    }

    pub(super) fn last(&self) -> Ticket {
        Ticket(self.last.load(Ordering::Acquire))
    }

    pub(super) fn lost(&self) -> Lost {
        Lost {
            queue_full: self.queue_full.load(Ordering::Relaxed),
            session_ended: self.session_ended.load(Ordering::Relaxed),
            ..Lost::default()
        }
    }

    /// Applies `records` as one, with the next ticket.
    pub(super) fn append(&self, records: Vec<Record>) -> Ticket {
        let mut held = self.hold(&records);
        let ticket = Ticket(self.last.fetch_add(1, Ordering::AcqRel) + 1);
        if self.is_full(&records, &mut held) {
            let mut refused = self.refused.lock();
            refused.push_back(ticket);
            if refused.len() > REFUSED_KEPT {
                refused.pop_front();
            }
            self.any_refused.store(true, Ordering::Release);
            drop(refused);
            let retained = records.into_iter().filter(Record::is_retained).collect();
            self.apply(ticket, retained, &mut held);
        } else {
            self.apply(ticket, records, &mut held);
        }
        ticket
    }

    /// Whether the append with this ticket was refused because a queue is full.
    pub(super) fn refused(&self, ticket: Ticket) -> bool {
        self.any_refused.load(Ordering::Acquire) && self.refused.lock().contains(&ticket)
    }

    /// Whether the one queue that the append would grow is full, and the publisher is to be told.
    fn is_full(&self, records: &[Record], held: &mut Held<'_>) -> bool {
        self.bounds.when_full == WhenFull::Reject
            && records.iter().any(|record| match record {
                Record::Enqueue { message, recipients, publisher: Publisher::CanBeTold } => {
                    matches!(&recipients[..], [only] if kept(held, only.session)
                        .is_some_and(|kept| kept.is_full(message.bytes(), self.bounds)))
                }
                _ => false,
            })
    }

    /// Applies `records` with a ticket that was given out elsewhere.
    pub(super) fn apply_as(&self, ticket: Ticket, records: Vec<Record>) {
        let mut held = self.hold(&records);
        self.last.fetch_max(ticket.0, Ordering::AcqRel);
        self.apply(ticket, records, &mut held);
    }

    /// Takes over what is in `other`, a twin. The ticket counter goes on.
    pub(super) fn restore(&self, other: &Shards) {
        for (mine, theirs) in self.shards.iter().zip(&other.shards) {
            *mine.lock() = theirs.lock().clone();
        }
    }

    pub(super) fn load(&self, session: SessionId) -> Saved {
        let shard = self.lock(session);
        shard.sessions.get(&session).map(Kept::saved).unwrap_or_default()
    }

    pub(super) fn page(&self, session: SessionId, after: Ticket, max: usize) -> Page {
        let shard = self.lock(session);
        // Read under the lock: an append to this shard has its ticket only while it holds it.
        let last = self.last();
        match shard.sessions.get(&session) {
            Some(kept) => kept.page(after, max, last),
            None => Page { messages: Vec::new(), complete_up_to: Some(last) },
        }
    }

    /// Everything, sessions in the order of their numbers.
    pub(super) fn recover(&self) -> Recovered {
        let mut found = Recovered::default();
        for shard in &self.shards {
            let shard = shard.lock();
            found.sessions.extend(shard.sessions.values().map(Kept::recovered));
            let will = |(session, kept): (&SessionId, &Kept)| Some((*session, *kept.will.clone()?));
            found.wills.extend(shard.sessions.iter().filter_map(will));
            found.retained.extend(shard.retained.values().cloned());
        }
        found.sessions.sort_by_key(|(record, ..)| record.session);
        found
    }

    fn lock(&self, session: SessionId) -> MutexGuard<'_, Shard> {
        self.shards[place(session)].lock()
    }

    fn hold(&self, records: &[Record]) -> Held<'_> {
        let set = records.iter().fold(0, |set, record| set | self.touched(record));
        let touched = (0..SHARDS).filter(|shard| set & (1 << shard) != 0);
        Held { set, guards: touched.map(|shard| self.shards[shard].lock()).collect() }
    }

    fn touched(&self, record: &Record) -> u64 {
        match record {
            Record::Enqueue { recipients, .. } => {
                recipients.iter().fold(0, |set, recipient| set | 1 << place(recipient.session))
            }
            Record::Retain(message) => 1 << self.place_of_topic(message.topic()),
            Record::Unretain(topic) | Record::Expired(topic, _) => 1 << self.place_of_topic(topic),
            Record::Open(record) => 1 << place(record.session),
            Record::Received { session, .. }
            | Record::Leave { session, .. }
            | Record::Will { session, .. }
            | Record::NoWill { session, .. }
            | Record::End(session)
            | Record::Subscribe(session, _)
            | Record::Unsubscribe(session, _)
            | Record::Edit(session, _) => 1 << place(*session),
        }
    }

    fn place_of_topic(&self, topic: &str) -> usize {
        self.topics.hash_one(topic) as usize % SHARDS
    }

    fn apply(&self, ticket: Ticket, records: Vec<Record>, held: &mut Held<'_>) {
        for record in records {
            match record {
                Record::Enqueue { message, recipients, .. } => {
                    for to in recipients {
                        let dropped = kept(held, to.session).map(|k| k.enqueue(ticket, &message, to, self.bounds));
                        self.queue_full.fetch_add(dropped.unwrap_or(0), Ordering::Relaxed);
                    }
                }
                Record::Retain(message) => {
                    if let Some(shard) = held.at(self.place_of_topic(message.topic())) {
                        shard.retained.insert(message.topic().into(), message);
                    }
                }
                Record::Unretain(topic) => {
                    if let Some(shard) = held.at(self.place_of_topic(&topic)) {
                        shard.retained.remove(&topic);
                        shrink(&mut shard.retained);
                    }
                }
                Record::Expired(topic, by) => {
                    if let Some(shard) = held.at(self.place_of_topic(&topic))
                        && shard.retained.get(&topic).is_some_and(|message| message.expired_by(by))
                    {
                        shard.retained.remove(&topic);
                    }
                }
                record => self.apply_to_session(record, held),
            }
        }
    }

    /// A session that is not there has ended: what is said of it means nothing any more.
    fn apply_to_session(&self, record: Record, held: &mut Held<'_>) {
        match record {
            Record::Open(record) => match kept(held, record.session) {
                Some(kept) => kept.reopen(record),
                None => {
                    if let Some(shard) = held.at(place(record.session)) {
                        shard.sessions.insert(record.session, Kept::new(record));
                    }
                }
            },
            Record::End(session) => {
                let ended = held.at(place(session)).and_then(|shard| {
                    let ended = shard.sessions.remove(&session);
                    shrink(&mut shard.sessions);
                    ended
                });
                self.session_ended.fetch_add(ended.map_or(0, |kept| kept.undelivered()), Ordering::Relaxed);
            }
            Record::Will { session, will } => with(held, session, |kept| kept.will = Some(will)),
            Record::NoWill { session, due_wall_ms } => with(held, session, |kept| {
                kept.will.take_if(|will| will.due_wall_ms == due_wall_ms);
            }),
            Record::Leave { session, ends_wall_ms } => with(held, session, |kept| kept.leave(ends_wall_ms)),
            Record::Received { session, packet_id } => with(held, session, |kept| kept.receive(packet_id)),
            Record::Subscribe(session, subscription) => with(held, session, |kept| kept.subscribe(subscription)),
            Record::Unsubscribe(session, filter) => with(held, session, |kept| kept.unsubscribe(&filter)),
            Record::Edit(session, change) => with(held, session, |kept| kept.edit(change)),
            Record::Enqueue { .. } | Record::Retain(_) | Record::Unretain(_) | Record::Expired(..) => {}
        }
    }
}

/// Gives back what a peak has left.
fn shrink<K: Hash + Eq, V>(map: &mut HashMap<K, V, RandomState>) {
    if map.capacity() > SHRINK_ABOVE && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

fn place(session: SessionId) -> usize {
    session.0 as usize % SHARDS
}

fn kept<'h>(held: &'h mut Held<'_>, session: SessionId) -> Option<&'h mut Kept> {
    held.at(place(session))?.sessions.get_mut(&session)
}

fn with(held: &mut Held<'_>, session: SessionId, change: impl FnOnce(&mut Kept)) {
    if let Some(kept) = kept(held, session) {
        change(kept);
    }
}
