//! Who wants what: every subscription of every session, asked with a Topic Name.
//!
//! Filters without wildcards lie in shards by hash, so that a message to one user costs the same however many users there
//! are. Filters with wildcards lie in one tree, which a message does not even lock while there are none.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::seat::Seat;
use super::subscribers::Subscribers;
use crate::mqtt::QoS;
use crate::session::Options;
use crate::sync::{AtomicUsize, Ordering, RwLock};
use crate::topic::filter::TopicFilter;
use crate::topic::tree::FilterTree;

const SHARDS: usize = 64;
/// A shard's table gives memory back when less than a sixteenth of it is used, but not below this many places.
const SHRINK_ABOVE: usize = 256;

/// How a session wants what a subscription matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// The granted QoS.
    pub qos: QoS,
    /// No Local [MQTT-3.8.3-3].
    pub no_local: bool,
    /// Retain As Published [MQTT-3.3.1-12].
    pub retain_as_published: bool,
    /// Subscription Identifier, at most 268,435,455; 0 = none.
    pub subscription_id: u32,
}

impl From<Options> for Interest {
    fn from(options: Options) -> Self {
        Interest {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            subscription_id: options.subscription_id.unwrap_or(0),
        }
    }
}

/// What [`Index::subscribe`] did.
#[derive(Debug)]
pub struct Added {
    /// Whether this session did not have this filter before; otherwise its subscription was replaced [MQTT-3.8.4-3].
    pub new: bool,
    /// The filter as the client wrote it, shared by everybody who has it.
    pub filter: Arc<str>,
}

/// One matching subscription.
#[derive(Debug)]
pub struct Match<'a> {
    /// Whose.
    pub seat: &'a Arc<Seat>,
    /// How it is wanted.
    pub interest: Interest,
    /// Whether this is the one member of a Shared Subscription whose turn it is.
    pub shared: bool,
}

/// One filter, without `$share/ShareName/`, and who has it.
#[derive(Debug)]
struct Subscribed {
    filter: Arc<str>,
    by: Subscribers,
}

/// Padded, so that two cores which look into neighbouring shards do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<Subscribed>>);

/// All subscriptions. Each call takes one lock, or one after the other.
#[derive(Debug)]
pub struct Index {
    exact: Box<[Shard]>,
    wild: RwLock<FilterTree<Subscribed>>,
    /// Filters in `wild`.
    wild_filters: AtomicUsize,
    subscriptions: AtomicUsize,
    hasher: RandomState,
}

impl Default for Index {
    fn default() -> Self {
        let hasher = RandomState::default();
        Self {
            exact: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            wild: RwLock::new(FilterTree::new(hasher.hash_one(0))),
            wild_filters: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            hasher,
        }
    }
}

impl Index {
    /// Nobody wants anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bits that choose a shard are none of those by which its table places and tells apart.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Subscribed>> {
        &self.exact[(hash >> 48) as usize % SHARDS].0
    }

    /// Makes a subscription, or replaces the one that the session has with the same filter [MQTT-3.8.4-3]. From its return
    /// on every message finds it. `None`, and nothing is made, if there is no room for a filter with so many levels: there may be
    /// some four billion in all.
    pub fn subscribe(&self, filter: &TopicFilter<'_>, seat: &Arc<Seat>, interest: Interest) -> Option<Added> {
        let fresh = || Subscribed { filter: Arc::from(filter.filter), by: Subscribers::default() };
        let add = |to: &mut Subscribed| match filter.share {
            Some(share) => to.by.join(share, filter.filter, seat, interest),
            None => Added { new: to.by.add(seat, interest), filter: Arc::clone(&to.filter) },
        };
        let added = if filter.wildcards {
            let mut tree = self.wild.write();
            let added = add(tree.value_or_insert_with(filter.filter, fresh)?);
            self.wild_filters.store(tree.len(), Ordering::Release);
            added
        } else {
            let hash = self.hasher.hash_one(filter.filter);
            let mut table = self.shard(hash).write();
            let same = |other: &Subscribed| *other.filter == *filter.filter;
            match table.entry(hash, same, |other| self.hasher.hash_one(&*other.filter)) {
                Entry::Occupied(mut place) => add(place.get_mut()),
                Entry::Vacant(place) => add(place.insert(fresh()).get_mut()),
            }
        };
        if added.new {
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        Some(added)
    }

    /// Ends a session's subscription. Whether it had one with exactly this filter [MQTT-3.10.4-1].
    pub fn unsubscribe(&self, filter: &TopicFilter<'_>, seat: &Arc<Seat>) -> bool {
        let remove = |from: &mut Subscribed| match filter.share {
            Some(share) => from.by.leave(share, seat),
            None => from.by.remove(seat),
        };
        let there = if filter.wildcards {
            self.unsubscribe_wild(filter.filter, remove)
        } else {
            self.unsubscribe_exact(filter.filter, remove)
        };
        if there {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        there
    }

    fn unsubscribe_wild(&self, filter: &str, remove: impl Fn(&mut Subscribed) -> bool) -> bool {
        let mut tree = self.wild.write();
        let Some(subscribed) = tree.value_mut(filter) else { return false };
        let there = remove(subscribed);
        if subscribed.by.is_empty() {
            tree.remove(filter);
            self.wild_filters.store(tree.len(), Ordering::Release);
        }
        there
    }

    fn unsubscribe_exact(&self, filter: &str, remove: impl Fn(&mut Subscribed) -> bool) -> bool {
        let hash = self.hasher.hash_one(filter);
        let mut table = self.shard(hash).write();
        let Ok(mut place) = table.find_entry(hash, |other| *other.filter == *filter) else { return false };
        let there = remove(place.get_mut());
        if place.get().by.is_empty() {
            place.remove();
            if table.capacity() > SHRINK_ABOVE && table.len() < table.capacity() / 16 {
                let places = table.len() * 2;
                table.shrink_to(places, |other| self.hasher.hash_one(&*other.filter));
            }
        }
        there
    }

    /// Calls `found` for each subscription that matches the Topic Name `topic`: for a session that has several overlapping
    /// ones several times, for a Shared Subscription once. `found` runs under a lock and must not come back here.
    ///
    /// Says how many filters matched: up to one, no session was found twice but for Shared Subscriptions.
    pub fn for_each_match(&self, topic: &str, mut found: impl FnMut(Match<'_>)) -> usize {
        let hash = self.hasher.hash_one(topic);
        let mut filters = 0;
        let mut visit = |subscribed: &Subscribed| {
            filters += 1;
            subscribed.by.for_each(&mut found);
        };
        // The guard lives as long as this statement: no two locks are held.
        self.shard(hash).read().find(hash, |other| *other.filter == *topic).into_iter().for_each(&mut visit);
        if self.wild_filters.load(Ordering::Acquire) > 0 {
            self.wild.read().for_each_match(topic, visit);
        }
        filters
    }

    /// Subscriptions of all sessions.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
