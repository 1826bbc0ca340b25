//! What a client knows of its exchanges, out of a session and into it.

use std::collections::{BTreeMap, BTreeSet};

use heraldmq::identity::Ticket;
use heraldmq::mqtt::{Ack, PacketId, PublishView, QoS, ReasonCode};
use heraldmq::session::{Change, OutState, SavedOut};

/// How far an exchange out of the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Saved, its PUBLISH must not go out yet.
    Saving,
    /// From an earlier connection; its PUBLISH is to come again.
    Repeat,
    /// From an earlier connection; its PUBLISH will not come again.
    Aside,
    /// The next PUBLISH may go out.
    Due,
    /// PUBLISH is with the client.
    Published,
    /// The client said PUBREC; PUBREL must not go out yet if that has to be saved.
    Received,
    /// PUBREL may go out, or did.
    Release,
    /// The client said PUBCOMP; the identifier is taken until that is saved.
    Finished,
}

#[derive(Debug)]
struct Out {
    qos: QoS,
    ticket: Ticket,
    stage: Stage,
}

/// Exchanges out of the session, by Packet Identifier.
#[derive(Debug)]
pub struct Outgoing {
    exchanges: BTreeMap<PacketId, Out>,
    window: usize,
    /// Messages of the queue that went out on this connection; the last of each QoS.
    seen: BTreeSet<Ticket>,
    last: [Ticket; 3],
    /// Messages of the queue that the client is done with.
    acknowledged: BTreeSet<Ticket>,
}

impl Outgoing {
    /// None, and room for so many at a time.
    pub fn new(window: usize) -> Self {
        Self {
            exchanges: BTreeMap::new(),
            window,
            seen: BTreeSet::new(),
            last: [Ticket::NONE; 3],
            acknowledged: BTreeSet::new(),
        }
    }

    /// Whether none is unfinished, but for those of which nothing more is to come.
    pub fn is_empty(&self) -> bool {
        self.exchanges.values().all(|exchange| exchange.stage == Stage::Aside)
    }

    /// A PUBLISH reached the client.
    pub fn sent(&mut self, packet: &PublishView<'_>) {
        let ticket = Ticket(u64::from_be_bytes(packet.payload.try_into().expect("ours")));
        let Some(id) = packet.packet_id else { return };
        match self.exchanges.get_mut(&id) {
            Some(exchange) => {
                assert_eq!((exchange.qos, exchange.ticket), (packet.qos, ticket), "{id:?} stands for one message");
                let expected = if packet.dup { Stage::Repeat } else { Stage::Due };
                assert_eq!(exchange.stage, expected, "{id:?}");
                exchange.stage = Stage::Published;
            }
            None => {
                assert!(!packet.dup, "a repeat of nothing");
                assert!(packet.qos == QoS::AtLeastOnce || ticket == Ticket::NONE, "an identifier that is not saved");
                self.exchanges.insert(id, Out { qos: packet.qos, ticket, stage: Stage::Published });
            }
        }
        self.assert_quota();
        if ticket != Ticket::NONE {
            assert!(self.seen.insert(ticket), "{ticket:?} went out twice");
            let last = &mut self.last[packet.qos as usize];
            assert!(*last < ticket, "{ticket:?} behind {last:?}");
            *last = ticket;
        }
    }

    fn assert_quota(&self) {
        let taken = self
            .exchanges
            .values()
            .filter(|exchange| !matches!(exchange.stage, Stage::Repeat | Stage::Aside | Stage::Finished))
            .count();
        assert!(taken <= self.window, "{taken} exchanges in a window of {}", self.window);
    }

    /// The session has an edit saved.
    pub fn saved(&mut self, change: &Change) {
        match *change {
            Change::SetAside { ticket } => {
                let aside = self.exchanges.values_mut().find(|exchange| exchange.ticket == ticket).expect("known");
                assert_eq!((aside.qos, aside.stage), (QoS::ExactlyOnce, Stage::Repeat), "{ticket:?}");
                aside.stage = Stage::Aside;
            }
            Change::Sent { ticket, packet_id, .. } => {
                let exchange = Out { qos: QoS::ExactlyOnce, ticket, stage: Stage::Saving };
                let before = self.exchanges.insert(packet_id, exchange);
                assert!(before.is_none(), "{packet_id:?} is in use by {before:?}");
                self.assert_quota();
            }
            Change::Done { ticket } => {
                self.exchanges.retain(|_, exchange| exchange.ticket != ticket || exchange.stage == Stage::Finished);
            }
            _ => {}
        }
    }

    /// The identifier is saved.
    pub fn may_transmit(&mut self, id: PacketId) {
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            assert_eq!(exchange.stage, Stage::Saving);
            exchange.stage = Stage::Due;
        }
    }

    /// The PUBREC is saved.
    pub fn may_release(&mut self, id: PacketId) {
        let exchange = self.exchanges.get_mut(&id).expect("PUBCOMP before PUBREL counts for nothing");
        assert_eq!(exchange.stage, Stage::Received);
        exchange.stage = Stage::Release;
    }

    /// The PUBCOMP is saved.
    pub fn finished(&mut self, id: PacketId) {
        let exchange = self.exchanges.remove(&id);
        assert_eq!(exchange.map(|exchange| exchange.stage), Some(Stage::Finished), "{id:?}");
    }

    /// A PUBREL reached the client. Whether it is part of an exchange.
    pub fn releases(&self, ack: Ack) -> bool {
        let exchange = self.exchanges.get(&ack.packet_id).filter(|exchange| exchange.qos == QoS::ExactlyOnce);
        match exchange.map(|exchange| exchange.stage) {
            Some(Stage::Release) => {
                assert_eq!(ack.reason, ReasonCode::Success);
                true
            }
            // The answer to a PUBREC that answers nothing.
            None | Some(Stage::Saving) => false,
            Some(stage) => panic!("PUBREL at {stage:?}"),
        }
    }

    /// The packet with which the client would answer one of its exchanges: its type and its identifier.
    pub fn next_answer(&self, which: usize) -> Option<(u8, PacketId)> {
        let due: Vec<_> = self
            .exchanges
            .iter()
            .filter_map(|(id, exchange)| match (exchange.stage, exchange.qos) {
                (Stage::Published, QoS::AtLeastOnce) => Some((4, *id)),
                (Stage::Published, _) => Some((5, *id)),
                (Stage::Release, _) => Some((7, *id)),
                _ => None,
            })
            .collect();
        due.get(which % due.len().max(1)).copied()
    }

    /// The client sends PUBACK, PUBREC or PUBCOMP, which may answer nothing.
    pub fn answered(&mut self, kind: u8, id: PacketId, is_failure: bool) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        match (kind, exchange.qos, exchange.stage) {
            (7, _, Stage::Release) if exchange.ticket != Ticket::NONE => {
                exchange.stage = Stage::Finished;
                self.acknowledged.insert(exchange.ticket);
                return;
            }
            (4, QoS::AtLeastOnce, Stage::Published) | (7, _, Stage::Release) => {}
            // In `Repeat` it answers the PUBLISH of the earlier connection.
            (5, QoS::ExactlyOnce, Stage::Published | Stage::Repeat | Stage::Aside) if is_failure => {}
            (5, QoS::ExactlyOnce, Stage::Published | Stage::Repeat | Stage::Aside) => {
                exchange.stage = if exchange.ticket == Ticket::NONE { Stage::Release } else { Stage::Received };
                return;
            }
            _ => return,
        }
        self.acknowledged.extend(self.exchanges.remove(&id).map(|exchange| exchange.ticket));
    }

    /// Whether the client is done with this message of the queue.
    pub fn is_acknowledged(&self, ticket: Ticket) -> bool {
        self.acknowledged.contains(&ticket)
    }

    /// Whether the client waits for it with this identifier and has not answered yet.
    pub fn is_unanswered(&self, id: PacketId) -> bool {
        self.exchanges
            .get(&id)
            .is_some_and(|exchange| matches!(exchange.stage, Stage::Published | Stage::Repeat | Stage::Aside))
    }

    /// A new connection goes on with what was saved.
    pub fn resume<'a>(&mut self, saved: impl Iterator<Item = &'a SavedOut>) {
        *self = Self::new(self.window);
        for one in saved {
            let stage = match one.state {
                OutState::Published => Stage::Repeat,
                OutState::Released => Stage::Release,
                OutState::SetAside => Stage::Aside,
            };
            let exchange = Out { qos: one.qos, ticket: one.ticket, stage };
            let before = self.exchanges.insert(one.packet_id, exchange);
            assert!(before.is_none(), "{:?} is saved for two messages", one.packet_id);
        }
    }
}

/// How far an exchange into the session is, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// PUBLISH is not answered.
    Begun,
    /// PUBREC came.
    Recorded,
    /// PUBREL went.
    Released,
}

/// Exchanges into the session.
#[derive(Debug)]
pub struct Incoming {
    unfinished: BTreeMap<PacketId, Step>,
    /// Identifiers that the client may use again, because it got PUBCOMP.
    completed: BTreeSet<PacketId>,
    /// Identifiers it used again before, on this connection: no answer says which exchange it ends.
    muddled: BTreeSet<PacketId>,
    /// QoS 2 identifiers whose message was published and that were not released.
    published: BTreeSet<PacketId>,
    /// Whether the client has used no identifier twice and released nothing before its PUBREC.
    keeps_rules: bool,
    receive_maximum: usize,
}

impl Incoming {
    /// None yet, of a client that was told this Receive Maximum.
    pub fn new(receive_maximum: usize) -> Self {
        Self {
            unfinished: BTreeMap::new(),
            completed: BTreeSet::new(),
            muddled: BTreeSet::new(),
            published: BTreeSet::new(),
            keeps_rules: true,
            receive_maximum,
        }
    }

    /// The client sends a PUBLISH.
    pub fn begun(&mut self, id: PacketId) {
        if self.unfinished.insert(id, Step::Begun).is_some() {
            self.keeps_rules = false;
            self.muddled.insert(id);
        }
        self.completed.remove(&id);
    }

    /// The client sends PUBREL.
    pub fn released(&mut self, id: PacketId) {
        self.keeps_rules &= self.unfinished.insert(id, Step::Released) == Some(Step::Recorded);
        self.published.remove(&id);
    }

    /// The session has a QoS 2 message published.
    pub fn published(&mut self, id: PacketId) {
        assert!(self.published.insert(id), "{id:?} is published twice");
    }

    /// A QoS 2 message is refused: its failing PUBREC ends the exchange.
    pub fn refused(&mut self, id: PacketId) {
        self.published.remove(&id);
    }

    /// PUBACK came.
    pub fn acknowledged(&mut self, id: PacketId) {
        assert!(self.unfinished.remove(&id).is_some() || !self.keeps_rules, "PUBACK for nothing");
    }

    /// PUBREC came.
    pub fn recorded(&mut self, ack: Ack) {
        let before = if ack.reason.is_failure() {
            self.unfinished.remove(&ack.packet_id)
        } else {
            self.unfinished.insert(ack.packet_id, Step::Recorded)
        };
        assert!(before.is_some() || !self.keeps_rules, "PUBREC for nothing");
    }

    /// PUBCOMP came.
    pub fn completed(&mut self, id: PacketId) {
        let step = self.unfinished.remove(&id);
        assert!(step.is_some() || !self.keeps_rules, "PUBCOMP for nothing");
        if step == Some(Step::Released) && !self.muddled.contains(&id) {
            self.completed.insert(id);
        }
    }

    /// The broker has died, and knows this of it: what it has said it must know.
    pub fn assert_kept(&self, received: &[PacketId]) {
        let recorded = self.unfinished.iter().filter(|(_, step)| **step == Step::Recorded);
        // 3.1.1 has no other answer to a message that was not let in, of which nothing is kept.
        for (id, _) in recorded.filter(|(id, _)| self.keeps_rules && self.published.contains(id)) {
            assert!(received.contains(id), "{id:?} has its PUBREC and is not kept");
        }
        for id in &self.completed {
            assert!(!received.contains(id), "{id:?} has its PUBCOMP and is still taken");
        }
    }

    /// Whether the client may have more unfinished than it was allowed.
    pub fn may_be_over(&self) -> bool {
        !self.keeps_rules || self.unfinished.len() > self.receive_maximum
    }

    /// A new connection goes on with what was saved. What the client makes of that is not followed.
    pub fn resume<'a>(&mut self, saved: impl Iterator<Item = &'a PacketId>) {
        self.unfinished.clear();
        self.muddled.clear();
        self.published = saved.copied().collect();
        self.keeps_rules = self.published.is_empty();
    }
}
