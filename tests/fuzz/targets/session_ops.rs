//! One session through anything that may happen to it, beside a plain model of its queue in the store and of its client.
//!
//! The client answers rightly, wrongly and twice; mail, pages of the queue and durable answers come when they like; the
//! connection breaks and the session is resumed; the broker dies, and the session is rebuilt from what was durable. Packet Identifiers are unique while they are in use [MQTT-2.2.1-4], the
//! send quota is never exceeded [MQTT-3.3.4-9], a QoS 2 message is published once [MQTT-4.3.3-10], nothing goes out that
//! should not, and in the end everything has arrived.

mod application;
mod exchanges;
mod queue;

use std::collections::VecDeque;
use std::sync::Arc;

use heraldmq::access::{Action, Permissions, Rule};
use heraldmq::clock::{Moment, Now};
use heraldmq::identity::{ClientId, Origin, Ticket};
use heraldmq::message::{Message, Parts};
use heraldmq::mqtt::frame::{Split, split};
use heraldmq::mqtt::publish::Templates;
use heraldmq::mqtt::{
    Ack, Out, Packet, PacketId, Peer, ProtocolVersion, PublishView, QoS, ReasonCode, Subscribe, Subscription,
    Unsubscribe, decode,
};
use heraldmq::session::{Change, Delivery, Desk, Effect, Ending, Limits, Opening, Owed, Session, Taken};

use self::application::Application;
use self::exchanges::{Incoming, Outgoing};
use self::queue::Queue;
use super::decode::all_of;
use super::input::Input;

const QOS: [QoS; 3] = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce];
const TOPICS: [&str; 3] = ["t", "secret/t", "another/topic"];
/// Packet Identifiers a client uses, so that they meet.
const IDS: usize = 6;
const STEPS_MAX: usize = 400;

/// An answer that waits for its turn, and whether the store may still refuse what it waits for.
struct Waits {
    owed: Owed,
    refusable: bool,
    /// Records that have to be durable first.
    after: u64,
}

/// The session, and what surrounds it.
struct World {
    session: Session,
    limits: Arc<Limits>,
    version: ProtocolVersion,
    maximum_packet_size: u32,
    receive_maximum: u16,
    is_durable: bool,
    out: Out,
    /// Bytes of `out` that the client has seen.
    seen: usize,
    effects: Vec<Effect>,
    may: Permissions,
    now: Now,
    owed: VecDeque<Waits>,
    queue: Queue,
    outgoing: Outgoing,
    incoming: Incoming,
    application: Application,
    /// The effect before said that a message is dropped.
    dropped: bool,
}

/// The first bytes say what kind of client it is, the others what happens.
pub fn run(bytes: &[u8]) {
    live(bytes, None);
}

/// The same within these limits, where [`run`] has tight ones of its own.
#[allow(dead_code, reason = "libFuzzer's program runs without")]
pub fn run_within(bytes: &[u8], limits: &Arc<Limits>) {
    live(bytes, Some(limits));
}

fn live(bytes: &[u8], limits: Option<&Arc<Limits>>) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input, limits);
    world.look();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.look();
    }
    world.finish();
}

impl World {
    fn new(input: &mut Input<'_>, limits: Option<&Arc<Limits>>) -> Self {
        let version = input.one_of(&[ProtocolVersion::V5, ProtocolVersion::V3_1_1]);
        let bits = input.byte();
        let receive_maximum = 1 + u16::from(bits & 3);
        let limits = limits.map_or_else(|| Arc::new(tight(bits)), Arc::clone);
        let is_durable = bits & 16 == 0 && limits.session_expiry_s_max > 0;
        let maximum_packet_size = if bits & 32 == 0 { u32::MAX } else { 24 };
        let (mut out, mut effects) = (Out::default(), Vec::new());
        let now = Now::default();
        let opening = opening(version, receive_maximum, maximum_packet_size, is_durable);
        let session = Session::open(opening, &limits, now, &mut Desk::new(&mut out, &mut effects));
        Self {
            session,
            version,
            maximum_packet_size,
            receive_maximum,
            is_durable,
            out,
            seen: 0,
            effects,
            may: Permissions::everything(),
            now,
            owed: VecDeque::new(),
            queue: Queue::new(1 + input.below(5), input.is_set()),
            outgoing: Outgoing::new(usize::from(receive_maximum.min(limits.inflight_max))),
            incoming: Incoming::new(usize::from(limits.receive_maximum)),
            application: Application::default(),
            dropped: false,
            limits,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0 | 1 if self.is_durable => {
                let qos = QOS[input.below(2)];
                self.queue.append(|ticket| message(input.one_of(&TOPICS), ticket, qos, expiry(input)));
            }
            0..=2 => self.mail(),
            3 => self.pass_by_the_store(input),
            4 => self.page(),
            5 | 6 => self.right_ack(input),
            7 => self.any_ack(input),
            8 | 9 => self.answer(),
            10 => self.refuse(),
            11 | 12 => self.publish(input),
            13 => self.release(input),
            14 => self.subscribe(input),
            _ => match input.below(7) {
                0 => self.connect_again(&Ending::Lost),
                1 => self.may = if input.is_set() { restricted() } else { Permissions::everything() },
                2 => self.now = Now { moment: self.now.moment.plus_ms(600), wall_ms: 0 },
                3 | 4 => self.crash(),
                5 => self.queue.commit_some(|bound| input.below(bound.min(256))),
                _ => self.drain(),
            },
        }
    }

    fn packet(&mut self, packet: Packet<'_>) {
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        if let Err(ending) = self.session.handle_packet(packet, &self.may, self.now, &mut desk) {
            if let Ending::Violation(violation) = &ending {
                let over = violation.reason == ReasonCode::ReceiveMaximumExceeded;
                assert!(!over || self.incoming.may_be_over(), "the client kept to its Receive Maximum");
            }
            self.look();
            self.connect_again(&ending);
        }
    }

    fn deliver(&mut self, message: &Arc<Message>, ticket: Ticket, qos: QoS) {
        let delivery = Delivery { message, ticket, qos, retain: false, subscription_ids: &[] };
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_delivery(delivery, &mut Templates::default(), &self.may, self.now, &mut desk);
    }

    /// The next letter about a message in the store.
    fn mail(&mut self) {
        if let Some((ticket, message)) = self.queue.next_mail() {
            self.deliver(&message, ticket, message.qos);
        }
    }

    /// A message that no store has.
    fn pass_by_the_store(&mut self, input: &mut Input<'_>) {
        let qos = if self.is_durable { QoS::AtMostOnce } else { input.one_of(&QOS) };
        let message = message(input.one_of(&TOPICS), 0, qos, expiry(input));
        self.deliver(&message, Ticket::NONE, qos);
    }

    fn page(&mut self) {
        if let Some(page) = self.queue.answer() {
            let mut desk = Desk::new(&mut self.out, &mut self.effects);
            self.session.handle_queue(page, &self.may, self.now, &mut desk);
        }
    }

    fn drain(&mut self) {
        self.out = Out::default();
        self.seen = 0;
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_drained(&self.may, self.now, &mut desk);
    }

    /// The client answers one of the exchanges as it should.
    fn right_ack(&mut self, input: &mut Input<'_>) {
        let which = input.byte();
        let failing = self.version.is_v5() && which & 0x80 != 0;
        if let Some((kind, packet_id)) = self.outgoing.next_answer(usize::from(which & 0x7F)) {
            self.ack(kind, packet_id, if failing { ReasonCode::QuotaExceeded } else { ReasonCode::Success });
        }
    }

    /// The client answers something, whether it was asked or not.
    fn any_ack(&mut self, input: &mut Input<'_>) {
        let kind = input.one_of(&[4, 5, 7]);
        let packet_id = id(1 + input.below(IDS));
        let reason =
            if self.version.is_v5() && input.is_set() { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        self.ack(kind, packet_id, reason);
    }

    fn ack(&mut self, kind: u8, packet_id: PacketId, reason: ReasonCode) {
        if kind == 5 && reason.is_failure() && self.outgoing.is_unanswered(packet_id) {
            self.application.refused(packet_id);
        }
        self.outgoing.answered(kind, packet_id, reason.is_failure());
        let ack = Ack { packet_id, reason };
        self.packet(match kind {
            4 => Packet::PubAck(ack),
            5 => Packet::PubRec(ack),
            _ => Packet::PubComp(ack),
        });
    }

    fn publish(&mut self, input: &mut Input<'_>) {
        let qos = input.one_of(&QOS);
        let packet_id = (qos > QoS::AtMostOnce).then(|| id(1 + input.below(IDS)));
        let topic_alias = (self.version.is_v5() && input.below(4) == 3).then(|| 1 + input.below(17) as u16);
        let topic = if topic_alias.is_some() && input.is_set() { "" } else { input.one_of(&TOPICS) };
        if let Some(packet_id) = packet_id {
            self.incoming.begun(packet_id);
        }
        self.packet(Packet::Publish(PublishView {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            topic_alias,
            expiry_s: None,
            properties: &[],
            payload: b"in",
        }));
    }

    fn release(&mut self, input: &mut Input<'_>) {
        let packet_id = id(1 + input.below(IDS));
        self.incoming.released(packet_id);
        self.packet(Packet::PubRel(Ack { packet_id, reason: ReasonCode::Success }));
    }

    fn subscribe(&mut self, input: &mut Input<'_>) {
        let (packet_id, filter) = (id(9), input.one_of(&["t", "a/#", "secret/+", "#/t"]));
        if input.is_set() {
            return self.packet(Packet::Unsubscribe(Unsubscribe { packet_id, filters: vec![filter.into()] }));
        }
        let (qos, retain_handling) = (input.one_of(&QOS), Default::default());
        let no_local = false;
        let one = Subscription { filter: filter.into(), qos, no_local, retain_as_published: false, retain_handling };
        self.packet(Packet::Subscribe(Subscribe { packet_id, subscription_id: None, subscriptions: vec![one] }));
    }

    /// What has been owed for longest is durable now.
    fn answer(&mut self) {
        let Some(Waits { owed, after, .. }) = self.owed.pop_front() else { return };
        self.queue.commit(after);
        match &owed {
            Owed::Transmit(packet_id) => self.outgoing.may_transmit(*packet_id),
            Owed::Release(packet_id) => self.outgoing.may_release(*packet_id),
            Owed::Finish(packet_id) => self.outgoing.finished(*packet_id),
            Owed::Accepted { receipt, reason } if reason.is_failure() && receipt.qos() == QoS::ExactlyOnce => {
                self.incoming.refused(receipt.packet_id());
            }
            _ => {}
        }
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        self.session.handle_durable(owed, &self.may, self.now, &mut desk);
    }

    /// The store refuses a message that was to be appended.
    fn refuse(&mut self) {
        let Some(Waits { owed, .. }) = self.owed.pop_front_if(|waits| waits.refusable) else { return };
        if let Owed::Accepted { receipt, .. } = &owed {
            self.incoming.refused(receipt.packet_id());
        }
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        if let Err(ending) = self.session.handle_failed(owed, self.now, &mut desk) {
            self.connect_again(&ending);
        }
    }

    /// The connection ends, and the client comes back for its session.
    fn connect_again(&mut self, how: &Ending) {
        self.look();
        self.out = Out::default();
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        let nobody = Session::open(
            opening(self.version, self.receive_maximum, self.maximum_packet_size, false),
            &self.limits,
            self.now,
            &mut desk,
        );
        let farewell = std::mem::replace(&mut self.session, nobody).end(how);
        assert_eq!(farewell.session_expiry_s > 0, self.is_durable);
        farewell.changes.into_iter().for_each(|change| self.queue.save(change));
        self.resume();
    }

    /// The broker dies, and begins again with what was durable.
    fn crash(&mut self) {
        self.look();
        self.queue.crash();
        if self.is_durable {
            self.incoming.assert_kept(&self.queue.saved().received);
        }
        self.resume();
    }

    fn resume(&mut self) {
        self.out = Out::default();
        self.owed.clear();
        self.seen = 0;
        let saved = self.is_durable.then(|| self.queue.saved());
        self.outgoing.resume(saved.iter().flat_map(|saved| &saved.outgoing));
        self.incoming.resume(saved.iter().flat_map(|saved| &saved.received));
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        let opening = opening(self.version, self.receive_maximum, self.maximum_packet_size, self.is_durable);
        self.session = Session::open(Opening { saved, ..opening }, &self.limits, self.now, &mut desk);
        self.look();
    }

    /// Looks at what the session did.
    fn look(&mut self) {
        for _ in 0..100 {
            for effect in std::mem::take(&mut self.effects) {
                let dropped = matches!(effect, Effect::Dropped(_));
                self.perform(effect);
                self.dropped = dropped;
            }
            self.read();
            if self.effects.is_empty() {
                return;
            }
        }
        panic!("the session asks for more and more");
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Publish { message, receipt } => {
                assert_eq!(receipt.is_some(), message.qos > QoS::AtMostOnce, "who may acknowledge");
                assert!(self.may.may_publish(message.topic()));
                let Some(receipt) = receipt else { return };
                if receipt.qos() == QoS::ExactlyOnce {
                    self.incoming.published(receipt.packet_id());
                    self.queue.received(receipt.packet_id());
                }
                let after = self.queue.appended();
                self.owe(Owed::Accepted { receipt, reason: ReasonCode::Success }, true, after);
            }
            Effect::Owe(owed) => self.owe(owed, false, 0),
            Effect::Save { change, then } => {
                assert!(self.is_durable, "{change:?} of a session that is not saved");
                if let Change::Done { ticket } | Change::SetAside { ticket } = change {
                    if self.dropped {
                        self.application.dropped(ticket);
                    }
                    let done = self.outgoing.is_acknowledged(ticket) || self.dropped;
                    assert!(done, "{ticket:?} is forgotten before its client is done with it");
                }
                self.outgoing.saved(&change);
                self.queue.save(change);
                let after = self.queue.appended();
                then.into_iter().for_each(|owed| self.owe(owed, false, after));
            }
            Effect::Subscribe { packet_id, wanted } => {
                let taken = wanted.iter().map(|wanted| Taken {
                    code: wanted.verdict.map_or_else(|code| code, |_| ReasonCode::Success),
                    subscription: wanted.verdict.ok().map(|options| (Arc::from(&*wanted.filter), options)),
                    new: true,
                    retained: vec![(message("t", 0, QoS::AtMostOnce, None), Ticket::NONE); 2],
                    overtaken: vec![Ticket::NONE],
                });
                let owed = self.session.handle_subscribed(packet_id, taken.collect());
                self.owe(owed, false, 0);
            }
            Effect::Unsubscribe { packet_id, filters } => {
                let owed = self.session.handle_unsubscribed(packet_id, filters, vec![ReasonCode::Success]);
                self.owe(owed, false, 0);
            }
            Effect::ReadQueue { after, max } => self.queue.ask(after, max),
            Effect::Dropped(_) => {}
            Effect::Reauthenticate(_) => panic!("nobody asked for it"),
        }
    }

    fn owe(&mut self, owed: Owed, refusable: bool, after: u64) {
        self.owed.push_back(Waits { owed, refusable, after });
        let unanswered = self.owed.iter().filter(|waits| waits.refusable).count();
        let bound = usize::from(self.limits.receive_maximum);
        assert!(!self.version.is_v5() || unanswered <= bound, "{unanswered} unanswered, whatever the client does");
    }

    /// Reads what was written as the client would.
    fn read(&mut self) {
        let bytes = all_of(&self.out);
        let mut rest = &bytes[self.seen..];
        self.seen = bytes.len();
        while !rest.is_empty() {
            let Ok(Split::Whole { frame, len }) = split(rest, self.maximum_packet_size as usize) else {
                panic!("not a packet, or too large: {rest:x?}")
            };
            rest = &rest[len..];
            match frame.first >> 4 {
                9 | 11 => continue,
                2 | 14 => panic!("not for a session to send: {frame:x?}"),
                _ => {}
            }
            match decode(frame, Some(self.version)) {
                Ok(Packet::Publish(packet)) => {
                    self.outgoing.sent(&packet);
                    self.application.sent(&packet);
                }
                Ok(Packet::PubRel(ack)) => {
                    if self.outgoing.releases(ack) {
                        self.application.released(ack.packet_id);
                    }
                }
                Ok(Packet::PubAck(ack)) => self.incoming.acknowledged(ack.packet_id),
                Ok(Packet::PubRec(ack)) => self.incoming.recorded(ack),
                Ok(Packet::PubComp(ack)) => self.incoming.completed(ack.packet_id),
                other => panic!("{frame:x?}: {other:?}"),
            }
        }
    }

    /// Everything that is due happens: then nothing is left.
    fn finish(&mut self) {
        self.may = Permissions::everything();
        for _ in 0..4 * STEPS_MAX {
            self.mail();
            self.look();
            self.page();
            self.look();
            self.answer();
            self.look();
            self.drain();
            self.look();
            if let Some((kind, packet_id)) = self.outgoing.next_answer(0) {
                self.ack(kind, packet_id, ReasonCode::Success);
            }
            self.look();
            if self.queue.is_at_rest() && self.owed.is_empty() && self.outgoing.is_empty() {
                break;
            }
        }
        self.queue.assert_empty();
        assert!(self.owed.is_empty() && self.outgoing.is_empty(), "nothing is under way");
    }
}

fn tight(bits: u8) -> Limits {
    Limits {
        receive_maximum: 3,
        inflight_max: 1 + u16::from(bits >> 2 & 3),
        topic_alias_out_max: if bits & 64 == 0 { 0 } else { 2 },
        out_bytes_max: if bits & 128 == 0 { 1 << 20 } else { 60 },
        waiting_messages_max: 4,
        subscriptions_max: 2,
        ..Limits::default()
    }
}

fn opening(version: ProtocolVersion, receive_maximum: u16, maximum_packet_size: u32, is_durable: bool) -> Opening {
    Opening {
        client: ClientId::new("c"),
        origin: Origin(9),
        peer: Peer { version, maximum_packet_size, problem_information: true },
        receive_maximum,
        topic_alias_maximum: if version.is_v5() { 2 } else { 0 },
        keep_alive_s: 0,
        session_expiry_s: if is_durable { 60 } else { 0 },
        durable: is_durable,
        will: None,
        authentication_method: None,
        saved: None,
    }
}

fn restricted() -> Permissions {
    let rule = |action| Rule { allow: false, action: Some(action), filter: "secret/#".into() };
    Permissions::new(vec![rule(Action::Publish), rule(Action::Subscribe)], true)
}

fn message(topic: &str, ticket: u64, qos: QoS, expiry_s: Option<u32>) -> Arc<Message> {
    let payload = ticket.to_be_bytes();
    let parts = Parts { topic, properties: &[], payload: &payload, qos, retain: false, expiry_s, origin: Origin(1) };
    Arc::new(Message::new(parts, Now { moment: Moment::from_ms(0), wall_ms: 0 }))
}

fn expiry(input: &mut Input<'_>) -> Option<u32> {
    (input.below(8) == 7).then_some(1)
}

fn id(number: usize) -> PacketId {
    PacketId::new(number as u16).expect("not 0")
}

/// Some lives of a session.
pub fn seeds() -> Vec<Vec<u8>> {
    // Appended, mailed, acknowledged; then more than the window holds, with pages; then broken off and resumed.
    let sent = [0, 0, 0, 0, 2, 5, 0, 0, 1, 0, 0, 2, 8, 5, 0, 8, 5, 0];
    let burst = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 2, 4, 5, 0, 15, 0, 4, 8, 5, 0, 4];
    let incoming = [11, 1, 1, 0, 0, 8, 11, 1, 1, 0, 0, 8, 13, 1, 8, 11, 0, 2, 0, 0, 10, 14, 0, 0, 1, 8];
    let mut seeds = Vec::new();
    for version in [0, 1] {
        for bits in [0, 0x15, 0x22, 0x41, 0x8A] {
            seeds.push([&[version, bits, 2, 1][..], &sent, &burst, &incoming].concat());
            // Each of them with the broker dying behind it, once with some of it durable.
            let (dies, some) = ([15, 3], [15, 5, 1]);
            seeds.push(
                [&[version, bits, 2, 1][..], &sent, &dies, &burst, &some, &dies, &incoming, &dies, &sent].concat(),
            );
        }
    }
    seeds
}
