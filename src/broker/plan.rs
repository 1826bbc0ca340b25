//! Who gets a message, and how: the result of routing.

use smallvec::SmallVec;

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

/// Where one message goes. Kept by a core and used again for each message.
#[derive(Debug, Default)]
pub struct Plan {
    /// Connected clients, by core.
    pub by_core: Vec<Vec<Target>>,
    /// Durable sessions in whose queues it waits.
    pub recipients: Vec<Recipient>,
    /// Sessions it matched.
    pub matched: usize,
    /// QoS 0 copies for durable sessions without a connection: they are not kept.
    pub absent: usize,
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
        self.matched = 0;
        self.absent = 0;
    }
}
