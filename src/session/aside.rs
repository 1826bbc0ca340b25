//! Packet Identifiers that are set aside: taken, though nothing is sent under them.
//!
//! A QoS 2 message whose PUBLISH is under way when the connection ends may be dropped when the client comes back: it may not receive the
//! topic any more, or the packet is too large for it now. The client may hold the message as received, waiting for PUBREL, and would
//! take a new one with that identifier for a repeat [MQTT-4.3.3-10], and lose it. To send PUBREL unasked is no way out: a client
//! that never got the PUBLISH may take that for an error.

use std::collections::VecDeque;

use crate::identity::Ticket;
use crate::mqtt::PacketId;

/// Identifiers that one session has set aside; beyond it the one set aside first is free again. So many of the 65,535 are no
/// loss, and it takes as many drops for one to come round.
pub(super) const ASIDE_MAX: usize = 1000;

/// The identifiers, in the order in which they were set aside, each with its message's place in the queue.
#[derive(Debug, Default)]
pub(super) struct Aside(VecDeque<(PacketId, Ticket)>);

impl Aside {
    /// Sets an identifier aside.
    pub(super) fn add(&mut self, id: PacketId, ticket: Ticket) {
        self.0.push_back((id, ticket));
    }

    /// Frees the first one if there are too many.
    pub(super) fn free_surplus(&mut self) -> Option<Ticket> {
        if self.0.len() > ASIDE_MAX { self.0.pop_front().map(|(_, ticket)| ticket) } else { None }
    }

    /// Takes an identifier out again.
    pub(super) fn remove(&mut self, id: PacketId) -> Option<Ticket> {
        let at = self.0.iter().position(|(aside, _)| *aside == id)?;
        self.0.remove(at).map(|(_, ticket)| ticket)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The identifiers.
    pub(super) fn ids(&self) -> impl Iterator<Item = PacketId> {
        self.0.iter().map(|(id, _)| *id)
    }
}
