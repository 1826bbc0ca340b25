//! Retained messages: the last one of each topic that was published with RETAIN 1.
//!
//! Topics lie in trees by hash of the whole name: publishing takes one lock of sixteen, and a filter with wildcards holds
//! each lock only as long as it takes to go through a sixteenth.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::clock::Now;
use crate::message::Message;
use crate::session::RESERVED;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, RwLock};
use crate::topic::names::NameTree;

const SHARDS: usize = 16;
/// Places a publication looks at for messages that have expired, in its own shard.
const SWEPT_PER_SET: usize = 8;
/// Places it looks at when there is no room.
const SWEPT_WHEN_FULL: usize = 256;
/// Expired messages that one search takes out of one shard.
const EXPIRED_PER_SEARCH: usize = 64;

/// How much may be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Topics that may have a retained message.
    pub messages: usize,
    /// Bytes of all retained messages: topics, properties and payloads.
    pub bytes: usize,
}

impl Default for Limits {
    /// A million messages, one gibibyte.
    fn default() -> Self {
        Self { messages: 1_000_000, bytes: 1 << 30 }
    }
}

/// What a search may still cost. Several may share one.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Messages that are found.
    pub messages: usize,
    /// Levels of topics that are looked at, whether anything is found or not.
    pub nodes: usize,
}

/// There is no room for another retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for another retained message")]
pub struct Full;

/// Padded, so that two cores which look into neighbouring shards do not share a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Shard(RwLock<NameTree<Arc<Message>>>);

/// All retained messages. One that has expired is never handed out [MQTT-3.3.2-5], and is forgotten sooner or later: each
/// publication and each search clears up a little. So does the store, which is told by way of [`Retained::take_expired`].
#[derive(Debug)]
pub struct Retained {
    shards: Box<[Shard]>,
    /// The broker's own: neither counted nor stored.
    own: Shard,
    limits: Limits,
    count: AtomicUsize,
    bytes: AtomicUsize,
    hasher: RandomState,
    /// Topics whose message has expired and was forgotten, for the store to forget it, too.
    expired: Mutex<Vec<Box<str>>>,
    any_expired: AtomicBool,
}

impl Default for Retained {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Retained {
    /// Nothing is retained.
    pub fn new(limits: Limits) -> Self {
        let hasher = RandomState::default();
        let tree = |n: usize| Shard(RwLock::new(NameTree::new(hasher.hash_one(n))));
        Self {
            shards: (0..SHARDS).map(tree).collect(),
            own: tree(SHARDS),
            limits,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            hasher,
            expired: Mutex::default(),
            any_expired: AtomicBool::new(false),
        }
    }

    fn shard(&self, topic: &str) -> &RwLock<NameTree<Arc<Message>>> {
        &self.shards[(self.hasher.hash_one(topic) >> 32) as usize % SHARDS].0
    }

    /// `message` is the retained message of its topic from now on; the one before is gone [MQTT-3.3.1-5]. Its payload is
    /// not empty: an empty one is never stored [MQTT-3.3.1-7] but clears ([`Retained::clear`]).
    ///
    /// # Errors
    /// There is no room: the topic would be one too many, or the message has too many bytes. What was retained stays.
    pub fn set(&self, message: Arc<Message>, now: Now) -> Result<(), Full> {
        let mut gone = Vec::new();
        let room = {
            let mut tree = self.shard(message.topic()).write();
            self.sweep(&mut tree, SWEPT_PER_SET, now, &mut gone);
            let mut room = self.reserve(&tree, &message);
            if !room {
                self.sweep(&mut tree, SWEPT_WHEN_FULL, now, &mut gone);
                room = self.reserve(&tree, &message);
            }
            room && self.put(&mut tree, message)
        };
        self.note_expired(gone);
        if room { Ok(()) } else { Err(Full) }
    }

    /// `message`, below [`RESERVED`], is one of the broker's own from now on. Those are few, take nobody's room, and are
    /// not worth a place in the store: the next ones are never far.
    pub fn set_own(&self, message: Arc<Message>) {
        // A tree of a few topics has room.
        drop(self.own.0.write().insert(message.topic(), Arc::clone(&message)));
    }

    /// Takes what a start found in the store, whatever the limits are by now. In no particular order; of two messages of
    /// one topic the later call wins; one for whose levels there is no number left ([`NameTree::insert`]) is not retained.
    pub fn load(&self, message: Arc<Message>) {
        let mut tree = self.shard(message.topic()).write();
        self.count.fetch_add(usize::from(tree.value(message.topic()).is_none()), Ordering::Relaxed);
        self.bytes.fetch_add(message.bytes(), Ordering::Relaxed);
        self.put(&mut tree, message);
    }

    /// Counts `message`, if the limits allow it. Its predecessor's bytes are still counted afterwards.
    fn reserve(&self, tree: &NameTree<Arc<Message>>, message: &Message) -> bool {
        let before = tree.value(message.topic());
        let freed = before.map_or(0, |before| before.bytes());
        let bytes = message.bytes();
        let more_bytes = |have: usize| {
            let sum = have + bytes;
            (sum <= self.limits.bytes.saturating_add(freed) || bytes <= freed).then_some(sum)
        };
        let more = |have: usize| (have < self.limits.messages).then_some(have + 1);
        if before.is_none() && self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return false;
        }
        if self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more_bytes).is_err() {
            self.count.fetch_sub(usize::from(before.is_none()), Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Stores a message that is counted; `false`, and it is counted no longer, if the tree has no room for its levels.
    fn put(&self, tree: &mut NameTree<Arc<Message>>, message: Arc<Message>) -> bool {
        match tree.insert(message.topic(), Arc::clone(&message)) {
            Ok(before) => {
                self.bytes.fetch_sub(before.map_or(0, |before| before.bytes()), Ordering::Relaxed);
                true
            }
            Err(message) => {
                self.uncount(&message);
                false
            }
        }
    }

    /// No longer counts a message that was taken out.
    fn uncount(&self, message: &Message) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.bytes(), Ordering::Relaxed);
    }

    fn sweep(&self, tree: &mut NameTree<Arc<Message>>, places: usize, now: Now, gone: &mut Vec<Box<str>>) {
        let dead = |message: &Arc<Message>| message.expired_by(now.moment);
        tree.sweep(places, dead, |message| {
            self.uncount(&message);
            gone.push(message.topic().into());
        });
    }

    fn note_expired(&self, mut gone: Vec<Box<str>>) {
        if !gone.is_empty() {
            self.expired.lock().append(&mut gone);
            self.any_expired.store(true, Ordering::Release);
        }
    }

    /// Topics whose message has expired and was forgotten since this was asked last. Another one may have taken its place.
    pub fn take_expired(&self) -> Vec<Box<str>> {
        if !self.any_expired.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.expired.lock())
    }

    /// Whether `message` is still the retained message of its topic.
    pub fn is_current(&self, message: &Arc<Message>) -> bool {
        let topic = message.topic();
        let shard = if topic.starts_with(RESERVED) { &self.own.0 } else { self.shard(topic) };
        shard.read().value(topic).is_some_and(|there| Arc::ptr_eq(there, message))
    }

    /// Forgets the retained message of `topic` [MQTT-3.3.1-6]. Whether there was one, expired or not.
    pub fn clear(&self, topic: &str) -> bool {
        let gone = self.shard(topic).write().remove(topic);
        gone.inspect(|message| self.uncount(message)).is_some()
    }

    /// Calls `found` for the retained message of each topic that the valid filter `filter` (without `$share`) matches and
    /// that has not expired, in no order. `found` runs under a lock and must not come back here.
    ///
    /// Without wildcards that is one look-up; with wildcards it costs the part of the trees that the filter's beginning
    /// matches, at most all topics, once. It ends early where `budget` ends: `false` if anything was left out.
    pub fn for_each_match(
        &self,
        filter: &str,
        now: Now,
        budget: &mut Budget,
        mut found: impl FnMut(&Arc<Message>),
    ) -> bool {
        // Wildcards do not reach them from outside [MQTT-4.7.2-1].
        if filter.starts_with(RESERVED) && !self.search(&self.own.0, filter, now, budget, &mut found) {
            return false;
        }
        if self.count() == 0 {
            return true;
        }
        if filter.contains(['+', '#']) {
            self.shards.iter().all(|shard| self.search(&shard.0, filter, now, budget, &mut found))
        } else {
            self.search(self.shard(filter), filter, now, budget, &mut found)
        }
    }

    fn search(
        &self,
        shard: &RwLock<NameTree<Arc<Message>>>,
        filter: &str,
        now: Now,
        budget: &mut Budget,
        found: &mut impl FnMut(&Arc<Message>),
    ) -> bool {
        let mut gone = Vec::new();
        let mut complete = true;
        let nodes = shard.read().search(filter, budget.nodes, |message| {
            if message.expired_by(now.moment) {
                if gone.len() < EXPIRED_PER_SEARCH {
                    gone.push(Arc::clone(message));
                }
                return true;
            }
            complete = budget.messages > 0;
            if complete {
                budget.messages -= 1;
                found(message);
            }
            complete
        });
        budget.nodes -= nodes;
        if !gone.is_empty() {
            self.forget(shard, gone);
        }
        complete && budget.nodes > 0
    }

    fn forget(&self, shard: &RwLock<NameTree<Arc<Message>>>, gone: Vec<Arc<Message>>) {
        let mut forgotten = Vec::new();
        {
            let mut tree = shard.write();
            for message in gone {
                // It may have been replaced in between.
                if tree.value(message.topic()).is_some_and(|now_there| Arc::ptr_eq(now_there, &message)) {
                    tree.remove(message.topic());
                    self.uncount(&message);
                    forgotten.push(message.topic().into());
                }
            }
        }
        self.note_expired(forgotten);
    }

    /// Topics that have a retained message, expired ones that nobody came by yet included, the broker's own not.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes of all retained messages.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
