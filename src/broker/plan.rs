//! Who gets a message, and how: the result of routing.

use std::sync::Arc;

use smallvec::SmallVec;

use super::seat::Seat;
use crate::mqtt::QoS;
use crate::store::Recipient;

/// One connected client that gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Slot on its core.
    pub slot: u32,
    /// Generation of the slot: a letter that comes too late finds nobody.
    pub generation: u32,
    /// The lower of published and granted QoS [MQTT-3.8.4-8].
    pub qos: QoS,
    /// RETAIN to send.
    pub retain: bool,
    /// Whether the message also lies in this client's queue in the store.
    pub stored: bool,
    /// Identifiers of all matching subscriptions that have one [MQTT-3.3.4-4].
    pub subscription_ids: SmallVec<[u32; 2]>,
}

/// A durable session that gets a message, before it is known where it sits.
///
/// Whether a client is connected is asked only after the message lies in its queue: one that comes back before that reads its
/// queue too early to find the message, but has its seat by then; one that comes back later finds it in the queue.
#[derive(Debug)]
pub struct Stored {
    /// Its seat.
    pub seat: Arc<Seat>,
    /// How it gets the message; slot and generation are filled in by [`Plan::seat_stored`].
    pub target: Target,
}

/// Where one message goes. Kept by a core and used again for each message.
#[derive(Debug, Default)]
pub struct Plan {
    /// Connected clients, by core; those with a durable copy only after [`Plan::seat_stored`].
    pub by_core: Vec<Vec<Target>>,
    /// Durable sessions in whose queues it waits.
    pub recipients: Vec<Recipient>,
    /// The same sessions, to be looked up once the message is appended.
    pub stored: Vec<Stored>,
    /// Further copies for sessions that have one in `stored`: a member of a share that is subscribed by itself, too. A place in a
    /// queue is one message's, so each of these is appended by itself.
    pub extra: Vec<Stored>,
    /// Sessions it matched.
    pub matched: usize,
    /// QoS 0 copies for durable sessions without a connection: they are not kept.
    pub absent: usize,
}

impl Stored {
    /// How the session gets the message, as the store keeps it.
    pub fn recipient(&self) -> Recipient {
        Recipient {
            session: self.seat.session,
            qos: self.target.qos,
            retain: self.target.retain,
            subscription_ids: self.target.subscription_ids.to_vec(),
        }
    }
}

impl Plan {
    /// An empty plan for this many cores.
    pub fn new(cores: usize) -> Self {
        Self { by_core: vec![Vec::new(); cores], ..Self::default() }
    }

    /// Empties it, keeping its buffers.
    pub fn clear(&mut self) {
        self.by_core.iter_mut().for_each(Vec::clear);
        self.recipients.clear();
        self.stored.clear();
        self.extra.clear();
        self.matched = 0;
        self.absent = 0;
    }

    /// The message lies in the queues: adds those of their owners that are connected now to `by_core`.
    pub fn seat_stored(stored: &mut Vec<Stored>, by_core: &mut [Vec<Target>]) {
        for Stored { seat, mut target } in stored.drain(..) {
            let Some(address) = seat.address() else { continue };
            target.slot = address.slot;
            target.generation = address.generation;
            if let Some(targets) = by_core.get_mut(usize::from(address.core)) {
                targets.push(target);
            }
        }
    }
}
