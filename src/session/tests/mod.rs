//! The session as a function: packets and time in, bytes and effects out.

mod aside;
mod incoming;
mod lifetime;
mod outgoing;
mod window;

use std::sync::Arc;

use super::{Delivery, Desk, Effect, Ending, Limits, Opening, Owed, Saved, Session, Violation};
use crate::access::{Action, Permissions, Rule};
use crate::clock::{Moment, Now};
use crate::identity::{ClientId, Origin, Ticket};
use crate::message::{Message, Parts};
use crate::mqtt::publish::Templates;
use crate::mqtt::{Ack, Out, Packet, PacketId, Peer, ProtocolVersion, PublishView, QoS, ReasonCode};

pub(super) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A session with its desk, and what it may do.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) out: Out,
    pub(super) effects: Vec<Effect>,
    pub(super) may: Permissions,
    pub(super) now: Now,
}

pub(super) fn opening(version: ProtocolVersion) -> Opening {
    Opening {
        client: ClientId::new("c"),
        origin: Origin(9),
        peer: Peer { version, maximum_packet_size: u32::MAX, problem_information: true },
        receive_maximum: 65_535,
        topic_alias_maximum: 0,
        keep_alive_s: 0,
        session_expiry_s: 0,
        durable: false,
        will: None,
        authentication_method: None,
        saved: None,
    }
}

pub(super) fn durable(version: ProtocolVersion) -> Opening {
    Opening { durable: true, session_expiry_s: 60, ..opening(version) }
}

pub(super) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(super) fn at(ms: u64) -> Now {
    Now { moment: Moment::from_ms(ms), wall_ms: 0 }
}

pub(super) fn message(topic: &str, payload: &[u8], qos: QoS, expiry_s: Option<u32>) -> Arc<Message> {
    let parts = Parts { topic, properties: &[], payload, qos, retain: false, expiry_s, origin: Origin(1) };
    Arc::new(Message::new(parts, at(0)))
}

pub(super) fn publish<'a>(topic: &'a str, qos: QoS, packet_id: u16) -> PublishView<'a> {
    PublishView {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: PacketId::new(packet_id),
        topic_alias: None,
        expiry_s: None,
        properties: &[],
        payload: b"x",
    }
}

/// One PUBLISH as it went out: first byte, Packet Identifier (0 at QoS 0), payload.
pub(super) type Sent = (u8, u16, Vec<u8>);

impl Bench {
    pub(super) fn new(opening: Opening) -> Self {
        Self::with(opening, Limits::default())
    }

    pub(super) fn with(opening: Opening, limits: Limits) -> Self {
        let (mut out, mut effects) = (Out::default(), Vec::new());
        let mut desk = Desk::new(&mut out, &mut effects);
        let session = Session::open(opening, &Arc::new(limits), at(0), &mut desk);
        Self { session, out, effects, may: Permissions::everything(), now: at(0) }
    }

    /// Nothing may be published to or received from below `secret/`.
    pub(super) fn restrict(&mut self) {
        let rule = |action| Rule { allow: false, action: Some(action), filter: "secret/#".into() };
        self.may = Permissions::new(vec![rule(Action::Publish), rule(Action::Subscribe)], true);
    }

    pub(super) fn packet(&mut self, packet: Packet<'_>) -> Result<(), Ending> {
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_packet(packet, &self.may, self.now, &mut desk)
    }

    pub(super) fn deliver(&mut self, message: &Arc<Message>, ticket: u64, qos: QoS) {
        let delivery = Delivery { message, ticket: Ticket(ticket), qos, retain: false, subscription_ids: &[] };
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_delivery(delivery, &mut Templates::default(), &self.may, self.now, &mut desk);
    }

    pub(super) fn durable(&mut self, owed: Owed) {
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_durable(owed, &self.may, self.now, &mut desk);
    }

    pub(super) fn page(&mut self, page: super::Page) {
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_queue(page, &self.may, self.now, &mut desk);
    }

    pub(super) fn ack(&mut self, make: fn(Ack) -> Packet<'static>, packet_id: u16, reason: ReasonCode) {
        self.packet(make(Ack { packet_id: id(packet_id), reason })).unwrap();
    }

    pub(super) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What was written, emptied.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.out.slices(|slice| bytes.extend_from_slice(slice));
        self.out = Out::default();
        bytes
    }

    /// The PUBLISHs that were written; fails on anything else. For 3.1.1, whose PUBLISH has no properties.
    pub(super) fn publishes(&mut self) -> Vec<Sent> {
        let bytes = self.bytes();
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            assert_eq!(rest[0] >> 4, 3, "not a PUBLISH: {rest:02X?}");
            let (len, qos) = (usize::from(rest[1]), rest[0] >> 1 & 3);
            assert!(len < 128, "short packets only");
            let body = &rest[2..2 + len];
            let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            let mut packet_id = 0;
            if qos > 0 {
                packet_id = u16::from_be_bytes([body[at], body[at + 1]]);
                at += 2;
            }
            found.push((rest[0], packet_id, body[at..].to_vec()));
            rest = &rest[2 + len..];
        }
        found
    }
}

pub(super) fn violation(reason: ReasonCode, statement: &'static str) -> Result<(), Ending> {
    Err(Ending::Violation(Violation { reason, statement }))
}

pub(super) fn resumed(saved: Saved) -> Opening {
    Opening { saved: Some(saved), ..durable(ProtocolVersion::V3_1_1) }
}
