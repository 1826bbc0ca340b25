//! From a message to a [`Plan`]: every matching subscription, merged to one copy per session.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Broker;
use super::index::Interest;
use super::plan::{Plan, Stored, Target};
use super::seat::{Address, Seat};
use crate::identity::SessionId;
use crate::message::Message;
use crate::mqtt::QoS;

/// One matching subscription.
#[derive(Debug)]
struct Hit {
    session: SessionId,
    address: Option<Address>,
    /// Its seat, if it is durable: where it sits is asked again once the message is stored.
    durable: Option<Arc<Seat>>,
    /// A shared subscription's copy is its own and is not merged with others [MQTT-4.8.2-3].
    shared: bool,
    qos: QoS,
    retain: bool,
    subscription_ids: SmallVec<[u32; 2]>,
}

/// Room for matches that a core keeps; a larger broadcast's is given back.
const HITS_KEPT: usize = 16 * 1024;

/// Buffers of routing, kept by a core.
#[derive(Debug, Default)]
pub struct Routing {
    hits: Vec<Hit>,
}

impl Broker {
    /// Finds out who gets `message`. Takes one shard's lock, and the wildcard tree's only if there is a wildcard subscription.
    pub fn route(&self, message: &Message, routing: &mut Routing, plan: &mut Plan) {
        plan.clear();
        let hits = &mut routing.hits;
        hits.clear();
        let filters = self.index.for_each_match(message.topic(), |found| {
            // No Local: not back to the client it came from [MQTT-3.8.3-3].
            if !(found.interest.no_local && found.seat.origin == message.origin) {
                hits.push(Hit::new(found.seat, found.interest, found.shared, message));
            }
        });
        // One filter has each session once: a broadcast to very many is not sorted for nothing.
        if filters > 1 && hits.len() > 1 {
            merge(hits);
        }
        plan.matched = hits.len();
        for hit in hits.drain(..) {
            hit.into_plan(plan);
        }
        hits.shrink_to(HITS_KEPT);
    }
}

/// Overlapping subscriptions of a session become one copy at the highest QoS [MQTT-3.3.4-2] with all Subscription
/// Identifiers [MQTT-3.3.4-4].
fn merge(hits: &mut Vec<Hit>) {
    let key = |hit: &Hit| (hit.shared, hit.session);
    if !hits.is_sorted_by_key(key) {
        hits.sort_by_key(key);
    }
    hits.dedup_by(|next, kept| {
        let same = !next.shared && !kept.shared && next.session == kept.session;
        if same {
            kept.qos = kept.qos.max(next.qos);
            kept.retain |= next.retain;
            kept.subscription_ids.append(&mut next.subscription_ids);
        }
        same
    });
}

impl Hit {
    fn new(seat: &Arc<Seat>, interest: Interest, shared: bool, message: &Message) -> Self {
        Self {
            session: seat.session,
            address: seat.address(),
            durable: seat.is_durable().then(|| Arc::clone(seat)),
            shared,
            qos: interest.qos.min(message.qos),
            // Retain As Published decides [MQTT-3.3.1-12] [MQTT-3.3.1-13].
            retain: interest.retain_as_published && message.retain,
            subscription_ids: Some(interest.subscription_id).filter(|id| *id > 0).into_iter().collect(),
        }
    }

    fn into_plan(self, plan: &mut Plan) {
        let (slot, generation) = self.address.map_or((0, 0), |address| (address.slot, address.generation));
        let mut target = Target {
            slot,
            generation,
            qos: self.qos,
            retain: self.retain,
            stored: false,
            subscription_ids: self.subscription_ids,
        };
        match (self.durable, self.address) {
            (Some(seat), _) if self.qos > QoS::AtMostOnce => {
                target.stored = true;
                let stored = Stored { seat, target };
                if self.shared && plan.stored.iter().any(|other| other.seat.session == self.session) {
                    plan.extra.push(stored);
                } else {
                    plan.recipients.push(stored.recipient());
                    plan.stored.push(stored);
                }
            }
            (_, Some(address)) => {
                if let Some(targets) = plan.by_core.get_mut(usize::from(address.core)) {
                    targets.push(target);
                }
            }
            (_, None) => plan.absent += 1,
        }
    }
}

#[cfg(test)]
mod tests;
