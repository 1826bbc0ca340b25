//! What the application behind the client got, over all connections and all lives of the broker.

use std::collections::{BTreeMap, BTreeSet};

use heraldmq::identity::Ticket;
use heraldmq::mqtt::{PacketId, PublishView, QoS};

/// Messages of the store as they came.
#[derive(Debug, Default)]
pub struct Application {
    /// Messages of QoS 2 that were not released, by Packet Identifier.
    held: BTreeMap<PacketId, Ticket>,
    /// What it took.
    got: BTreeSet<Ticket>,
    /// What came or was dropped; the last that came of each QoS.
    seen: BTreeSet<Ticket>,
    last: [Ticket; 3],
}

impl Application {
    /// A PUBLISH reached the client.
    pub fn sent(&mut self, packet: &PublishView<'_>) {
        let ticket = Ticket(u64::from_be_bytes(packet.payload.try_into().expect("ours")));
        let Some(id) = packet.packet_id.filter(|_| ticket != Ticket::NONE) else { return };
        if packet.qos == QoS::ExactlyOnce {
            match self.held.insert(id, ticket) {
                Some(before) => assert_eq!(before, ticket, "{id:?} is in use"),
                None => assert!(self.got.insert(ticket), "{ticket:?} is new to the application twice"),
            }
        } else {
            self.got.insert(ticket);
        }
        if self.seen.insert(ticket) {
            let last = &mut self.last[packet.qos as usize];
            assert!(*last < ticket, "{ticket:?} comes for the first time behind {last:?}");
            *last = ticket;
        }
    }

    /// The PUBREL of an exchange reached the client.
    pub fn released(&mut self, id: PacketId) {
        self.held.remove(&id);
    }

    /// A message was dropped. A crash may bring it back, behind later ones. One that was dropped when it should have been repeated is
    /// held on to: nobody tells the client.
    pub fn dropped(&mut self, ticket: Ticket) {
        self.seen.insert(ticket);
        self.got.remove(&ticket);
    }

    /// The client says that it does not take a QoS 2 message.
    pub fn refused(&mut self, id: PacketId) {
        if let Some(ticket) = self.held.remove(&id) {
            self.got.remove(&ticket);
        }
    }
}
