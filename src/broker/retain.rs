//! Retained messages: the last one of each topic that was published with RETAIN 1.
//!
//! Topics lie in trees by hash of the whole name: publishing takes one lock of sixteen, and a filter with wildcards holds
//! each lock only as long as it takes to go through a sixteenth.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::clock::Now;
use crate::message::Message;
use crate::sync::{AtomicUsize, Ordering, RwLock};
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
/// publication and each search clears up a little.
#[derive(Debug)]
pub struct Retained {
    shards: Box<[Shard]>,
    limits: Limits,
    count: AtomicUsize,
    bytes: AtomicUsize,
    hasher: RandomState,
}

impl Default for Retained {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// Whether `message` must not be delivered any more.
fn expired(message: &Message, now: Now) -> bool {
    message.expires.is_some_and(|at| at <= now.moment)
}

impl Retained {
    /// Nothing is retained.
    pub fn new(limits: Limits) -> Self {
        let hasher = RandomState::default();
        let tree = |n: usize| Shard(RwLock::new(NameTree::new(hasher.hash_one(n))));
        Self {
            shards: (0..SHARDS).map(tree).collect(),
            limits,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            hasher,
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
        let mut tree = self.shard(message.topic()).write();
        self.sweep(&mut tree, SWEPT_PER_SET, now);
        if !self.reserve(&tree, &message) {
            self.sweep(&mut tree, SWEPT_WHEN_FULL, now);
            if !self.reserve(&tree, &message) {
                return Err(Full);
            }
        }
        self.put(&mut tree, message);
        Ok(())
    }

    /// Takes what a start found in the store, whatever the limits are by now. In no particular order; of two messages of
    /// one topic the later call wins.
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

    /// Stores a message that is counted.
    fn put(&self, tree: &mut NameTree<Arc<Message>>, message: Arc<Message>) {
        let before = tree.insert(message.topic(), Arc::clone(&message));
        self.bytes.fetch_sub(before.map_or(0, |before| before.bytes()), Ordering::Relaxed);
    }

    /// No longer counts a message that was taken out.
    fn uncount(&self, message: &Message) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.bytes(), Ordering::Relaxed);
    }

    fn sweep(&self, tree: &mut NameTree<Arc<Message>>, places: usize, now: Now) {
        tree.sweep(places, |message| expired(message, now), |message| self.uncount(&message));
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
            if expired(message, now) {
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
        let mut tree = shard.write();
        for message in gone {
            // It may have been replaced in between.
            if tree.value(message.topic()).is_some_and(|now_there| Arc::ptr_eq(now_there, &message)) {
                tree.remove(message.topic());
                self.uncount(&message);
            }
        }
    }

    /// Topics that have a retained message, expired ones that nobody came by yet included.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes of all retained messages.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::identity::Origin;
    use crate::message::Parts;
    use crate::mqtt::QoS;

    const NOW: Now = Now { moment: Moment::from_ms(1_000), wall_ms: 0 };

    fn later(ms: u64) -> Now {
        Now { moment: NOW.moment.plus_ms(ms), wall_ms: 0 }
    }

    fn message(topic: &str, payload: &str, expiry_s: Option<u32>) -> Arc<Message> {
        let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
        let payload = payload.as_bytes();
        Arc::new(Message::new(Parts { topic, properties: &[], payload, qos, retain: true, expiry_s, origin }, NOW))
    }

    const ENOUGH: Budget = Budget { messages: 10_000, nodes: 100_000 };

    fn found(retained: &Retained, filter: &str, now: Now) -> Vec<String> {
        let mut found = Vec::new();
        let complete = retained.for_each_match(filter, now, &mut { ENOUGH }, |message| {
            found.push(format!("{}={}", message.topic(), String::from_utf8_lossy(message.payload())));
        });
        assert!(complete);
        found.sort();
        found
    }

    fn small(messages: usize, bytes: usize) -> Retained {
        Retained::new(Limits { messages, bytes })
    }

    #[test]
    fn mqtt_3_3_1_5_a_retained_message_replaces_the_one_before() {
        let retained = Retained::default();
        for payload in ["first", "2"] {
            assert_eq!(retained.set(message("a/b", payload, None), NOW), Ok(()));
        }
        assert_eq!(found(&retained, "a/b", NOW), ["a/b=2"]);
        assert_eq!((retained.count(), retained.bytes()), (1, 4));
    }

    #[test]
    fn mqtt_3_3_1_6_clearing_forgets_it_once() {
        let retained = Retained::default();
        retained.set(message("a/b", "1", None), NOW).unwrap();
        assert!(!retained.clear("a") && retained.clear("a/b") && !retained.clear("a/b"));
        assert_eq!(found(&retained, "#", NOW), [""; 0]);
        assert_eq!((retained.count(), retained.bytes()), (0, 0));
    }

    #[test]
    fn mqtt_3_3_1_9_a_filter_finds_its_topics_in_all_shards() {
        let retained = Retained::default();
        let mut topics: Vec<String> = (0..200).map(|n| format!("user/{n}/state")).collect();
        topics.push("user/7".into());
        topics.push("$SYS/x".into());
        topics.iter().for_each(|topic| retained.load(message(topic, "x", None)));
        assert_eq!(found(&retained, "user/7/#", NOW), ["user/7/state=x", "user/7=x"]);
        assert_eq!(found(&retained, "user/+/state", NOW).len(), 200);
        assert_eq!(found(&retained, "#", NOW).len(), 201, "[MQTT-4.7.2-1]");
        assert_eq!(found(&retained, "$SYS/#", NOW), ["$SYS/x=x"]);
    }

    #[test]
    fn mqtt_3_3_2_5_an_expired_message_is_not_found_and_soon_forgotten() {
        let retained = Retained::default();
        for n in 0..1000 {
            retained.set(message(&format!("a/{n}"), "x", Some(2)), NOW).unwrap();
        }
        retained.set(message("a/b", "y", None), NOW).unwrap();
        assert_eq!(found(&retained, "a/+", later(1_999)).len(), 1001);
        assert_eq!(found(&retained, "a/+", later(2_000)), ["a/b=y"]);
        let left = retained.count();
        assert!(left < 1001, "a search clears up");
        // So does a publication, in the shard of its topic.
        let cleared_up = (0..1_000).any(|n| {
            let topic = format!("b/{n}");
            retained.set(message(&topic, "z", None), later(2_000)).unwrap();
            assert!(retained.clear(&topic));
            retained.count() < left
        });
        assert!(cleared_up);
        while retained.count() > 1 {
            let before = retained.count();
            assert_eq!(found(&retained, "#", later(2_000)), ["a/b=y"]);
            assert!(retained.count() < before, "it goes on until nothing is left");
        }
        assert_eq!(retained.bytes(), 4);
    }

    #[test]
    fn a_search_does_not_forget_what_was_published_anew() {
        let retained = Retained::default();
        retained.set(message("a", "old", Some(1)), NOW).unwrap();
        retained.set(message("a", "new", None), later(5_000)).unwrap();
        assert_eq!(found(&retained, "+", later(5_000)), ["a=new"]);
    }

    #[test]
    fn a_search_costs_no_more_than_it_may() {
        let retained = Retained::default();
        (0..1000).for_each(|n| retained.load(message(&format!("a/{n}/b"), "x", None)));
        let search = |filter: &str, mut budget: Budget| {
            let mut count = 0;
            let complete = retained.for_each_match(filter, NOW, &mut budget, |_| count += 1);
            (count, complete)
        };
        assert_eq!(search("a/#", Budget { messages: 10, ..ENOUGH }), (10, false));
        assert_eq!(search("a/#", Budget { messages: 1000, ..ENOUGH }), (1000, true), "none was left out");
        assert_eq!(search("+/+/c", Budget { nodes: 500, ..ENOUGH }), (0, false));
        assert_eq!(search("+/+/c", ENOUGH), (0, true));
        assert_eq!(search("a/7/b", Budget { messages: 0, ..ENOUGH }), (0, false));
    }

    #[test]
    fn there_is_room_for_so_many_topics() {
        let retained = small(2, 1_000);
        assert_eq!(retained.set(message("a", "1", None), NOW), Ok(()));
        assert_eq!(retained.set(message("b", "1", Some(1)), NOW), Ok(()));
        assert_eq!(retained.set(message("c", "1", None), NOW), Err(Full));
        assert_eq!(retained.set(message("a", "2", None), NOW), Ok(()), "a topic that has one may always have another");
        assert_eq!(found(&retained, "#", NOW), ["a=2", "b=1"]);
        assert!(retained.clear("a") && retained.set(message("c", "1", None), NOW).is_ok());
        retained.load(message("d", "1", None));
        assert_eq!(retained.count(), 3, "what was stored is kept even when the limit is lower by now");
        assert_eq!(small(0, 1_000).set(message("a", "1", None), NOW), Err(Full));
    }

    #[test]
    fn there_is_room_for_so_many_bytes() {
        let retained = small(10, 10);
        assert_eq!(retained.set(message("a", "12345", None), NOW), Ok(()));
        assert_eq!(retained.set(message("b", "12345", None), NOW), Err(Full));
        assert_eq!(retained.set(message("a", "123456789", None), NOW), Ok(()));
        assert_eq!(retained.set(message("a", "1234567890", None), NOW), Err(Full));
        assert_eq!(found(&retained, "#", NOW), ["a=123456789"]);
        assert_eq!((retained.count(), retained.bytes()), (1, 10));
    }

    #[test]
    fn expired_messages_make_room_in_their_shard() {
        let retained = small(1, 1_000);
        retained.set(message("a", "1", Some(1)), NOW).unwrap();
        assert_eq!(retained.set(message("a/b", "1", None), NOW), Err(Full));
        let fits = (0..1_000).any(|n| retained.set(message(&format!("b/{n}"), "1", None), later(1_000)).is_ok());
        assert!(fits, "some topic lies in the same shard");
    }
}
