//! A model of a client: keeps its side of every session, resumes as the standard says, and remembers what it saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heraldmq::identity::Ticket;

use crate::chance::Chance;
use crate::support::build::{self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, Will};
use crate::support::packet::{Packet, Publish, decode};
use crate::support::wire::{Props, Version, prop};

/// A session that is kept so long outlives the run, seconds.
pub const LASTING_S: u32 = 600;

/// A will to be left behind.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub qos: u8,
    pub delay_s: u32,
}

/// What a client is, for the whole run.
#[derive(Debug, Clone)]
pub struct Kind {
    pub name: String,
    pub version: Version,
    /// How long its session outlives its connections, seconds.
    pub kept_s: u32,
    /// Whether it forgets what was before, now and then: several of these have one name.
    pub rival: bool,
    pub receive_maximum: u16,
    /// Filters, with the QoS asked for.
    pub filters: Vec<(String, u8)>,
    /// A filter that it ends and makes again.
    pub wavers: Option<String>,
    /// Topics it publishes to.
    pub topics: Vec<String>,
    /// Topic of its retained message.
    pub retained: String,
    pub will: Option<Wish>,
}

impl Kind {
    /// Whether its session outlives its connections.
    pub fn durable(&self) -> bool {
        self.kept_s > 0
    }

    /// Whether its session outlives the run.
    pub fn lasting(&self) -> bool {
        self.kept_s >= LASTING_S && !self.rival
    }
}

/// A publication of this client that is not finished.
#[derive(Debug, Clone)]
struct Pending {
    id: u16,
    sequence: u64,
    publication: Publication,
    released: bool,
}

/// One publication as its publisher knows it.
#[derive(Debug, Clone)]
pub struct Published {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// Whether the broker took it over: PUBACK or PUBREC without failure.
    pub accepted: bool,
    /// When it was sent: step, milliseconds.
    pub step: u64,
    pub at_ms: u64,
    /// When the publisher knew that it was accepted: step, milliseconds.
    pub known: Option<(u64, u64)>,
    /// How often it was sent.
    pub times: usize,
    /// Message Expiry Interval, seconds.
    pub expiry_s: Option<u32>,
}

impl Published {
    fn accept(&mut self, step: u64, now_ms: u64) {
        self.accepted = true;
        self.known.get_or_insert((step, now_ms));
    }

    /// Whether it may have expired by then.
    pub fn may_be_over(&self, at_ms: u64) -> bool {
        self.expiry_s.is_some_and(|expiry_s| at_ms >= self.at_ms + u64::from(expiry_s) * 1000)
    }
}

/// One message as it reached the application behind a client.
#[derive(Debug, Clone)]
pub struct Seen {
    pub publisher: String,
    pub sequence: u64,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub repeat: bool,
    /// When: step, milliseconds, and the milliseconds of the CONNECT of its connection.
    pub step: u64,
    pub at_ms: u64,
    pub entered_ms: u64,
    /// Message Expiry Interval, seconds.
    pub expiry_s: Option<u32>,
}

/// What a client did to the filter that it ends and makes again; each with its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wavering {
    Asked(u64),
    /// SUBACK.
    On(u64),
    AskedToEnd(u64),
    /// UNSUBACK, or its session is a new one.
    Off(u64),
}

/// How its connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Away,
    /// CONNECT was sent.
    Entering,
    Connected,
    /// DISCONNECT was sent.
    Leaving,
}

/// A connection that was let in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connection {
    /// It ended with DISCONNECT.
    pub said_goodbye: bool,
    /// The step and the milliseconds at which its client was gone.
    pub ended_at: Option<u64>,
    pub ended_ms: Option<u64>,
    /// When the broker had closed its side at the latest.
    pub noticed_ms: Option<u64>,
    /// When whoever looks after what comes due had looked last before this client came again.
    pub looked_ms: Option<u64>,
    /// When this client was let in again.
    pub back_ms: Option<u64>,
    /// The last append when it was noticed.
    pub noticed_at: Ticket,
    /// The broker died before its end was safe.
    pub forgotten: bool,
}

/// A client.
pub struct Client {
    pub kind: Kind,
    pub state: State,
    /// Whether it wants a Clean Start next time.
    pub clean: bool,
    /// Bytes to be written to the wire, cut as chance wills.
    pub to_send: VecDeque<u8>,
    unread: Vec<u8>,
    last_id: u16,
    pub sequence: u64,
    pending: Vec<Pending>,
    subscribing: Option<u16>,
    wavering: Option<(u16, bool)>,
    pub wavered: Vec<Wavering>,
    /// The step at which its subscriptions were acknowledged; they hold as long as its session.
    pub subscribed_at: Option<u64>,
    /// QoS 2 identifiers received and not released.
    received: BTreeSet<u16>,
    /// Identifiers of deliveries that are not finished on this connection.
    outstanding: BTreeSet<u16>,
    answers: Vec<Vec<u8>>,
    pub published: BTreeMap<u64, Published>,
    pub seen: Vec<Seen>,
    /// Connections that were let in, by number.
    pub connections: BTreeMap<u64, Connection>,
    pub connection: u64,
    pub entered_ms: u64,
    pub now_ms: u64,
    /// Until when its session is sure to be there, ms, and whether it was sure to be gone when it came.
    pub there_until_ms: u64,
    pub surely_gone: bool,
    /// When it said good-bye last.
    pub left_ms: u64,
    /// When the broker was done with its last connection.
    pub closed_ms: u64,
}

impl Client {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Away,
            clean: false,
            to_send: VecDeque::new(),
            unread: Vec::new(),
            last_id: 0,
            sequence: 0,
            pending: Vec::new(),
            subscribing: None,
            wavering: None,
            wavered: Vec::new(),
            subscribed_at: None,
            received: BTreeSet::new(),
            outstanding: BTreeSet::new(),
            answers: Vec::new(),
            published: BTreeMap::new(),
            seen: Vec::new(),
            connections: BTreeMap::new(),
            connection: 0,
            entered_ms: 0,
            now_ms: 0,
            there_until_ms: 0,
            surely_gone: false,
            left_ms: 0,
            closed_ms: 0,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.to_send.extend(bytes);
    }

    fn fresh_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            let id = self.last_id;
            let waits = self.subscribing == Some(id) || self.wavering.is_some_and(|(wavering, _)| wavering == id);
            if !waits && !self.pending.iter().any(|pending| pending.id == id) {
                return id;
            }
        }
    }

    /// Sends CONNECT on a new connection.
    pub fn enter(&mut self) {
        self.connection += 1;
        self.state = State::Entering;
        let mut connect = Connect::new(self.kind.version, &self.kind.name).keep_alive_s(0);
        if self.kind.durable() {
            connect = connect.kept_s(self.kind.kept_s).clean(self.clean);
        }
        if self.kind.version == Version::V5 {
            connect = connect.receive_maximum(self.kind.receive_maximum);
        }
        if let Some(Wish { qos, delay_s }) = self.kind.will {
            let payload = format!("{} {}", self.kind.name, self.connection);
            let will = Will::new(format!("w/{}", self.kind.name), payload).qos(qos);
            connect = connect.will(if delay_s > 0 { will.delay_s(delay_s) } else { will });
        }
        let bytes = connect.bytes();
        self.send(&bytes);
    }

    /// The connection is gone, for whatever reason.
    pub fn lost(&mut self) {
        self.state = State::Away;
        self.to_send.clear();
        self.unread.clear();
        self.outstanding.clear();
        self.answers.clear();
        self.subscribing = None;
        self.wavering = None;
        if !self.kind.durable() || self.kind.rival {
            self.forget();
        }
    }

    /// Its session is a new one.
    fn forget(&mut self) {
        self.pending.clear();
        self.received.clear();
        self.subscribed_at = None;
    }

    /// Sends DISCONNECT.
    pub fn leave(&mut self) {
        self.state = State::Leaving;
        self.left_ms = self.now_ms;
        let bytes = build::disconnect(self.kind.version, 0);
        self.send(&bytes);
    }

    /// Publishes the next message, if its window allows it.
    pub fn publish(&mut self, chance: &mut Chance, step: u64) {
        if self.state != State::Connected || self.pending.len() >= 8 || self.kind.topics.is_empty() {
            return;
        }
        self.sequence += 1;
        let retain = chance.once_in(6);
        let topic = if retain {
            self.kind.retained.clone()
        } else {
            self.kind.topics[chance.below(self.kind.topics.len())].clone()
        };
        let qos = if retain { 1 } else { chance.below(3) as u8 };
        let payload = format!("{} {}", self.kind.name, self.sequence);
        let mut publication = Publication::new(&topic, payload);
        if retain {
            publication = publication.retain();
        }
        let expires = self.kind.version == Version::V5 && !retain && chance.once_in(4);
        let expiry_s = expires.then(|| 1 + chance.below(3) as u32);
        if let Some(expiry_s) = expiry_s {
            publication = publication.props(Props::new().u32(prop::MESSAGE_EXPIRY, expiry_s));
        }
        if qos > 0 {
            let id = self.fresh_id();
            publication = publication.qos(qos, id);
            let pending = Pending { id, sequence: self.sequence, publication: publication.clone(), released: false };
            self.pending.push(pending);
        }
        let (accepted, known, at_ms) = (false, None, self.now_ms);
        let published = Published { topic, qos, retain, accepted, step, at_ms, known, times: 1, expiry_s };
        self.published.insert(self.sequence, published);
        let bytes = publication.bytes(self.kind.version);
        self.send(&bytes);
    }

    /// Ends the subscription it wavers about, or makes it again.
    pub fn waver(&mut self, step: u64) {
        let Some(filter) = self.kind.wavers.clone() else { return };
        if self.state != State::Connected || self.wavering.is_some() || self.subscribing.is_some() {
            return;
        }
        let ends = matches!(self.wavered.last(), Some(Wavering::On(_) | Wavering::AskedToEnd(_)));
        let id = self.fresh_id();
        self.wavering = Some((id, ends));
        let (version, props) = (self.kind.version, Props::new());
        let bytes = if ends {
            self.wavered.push(Wavering::AskedToEnd(step));
            build::unsubscribe(version, id, &props, &[filter.as_bytes()])
        } else {
            self.wavered.push(Wavering::Asked(step));
            build::subscribe(version, id, &props, &[(filter.as_bytes(), 2)])
        };
        self.send(&bytes);
    }

    /// Sends one of the acknowledgements it owes, not always the oldest.
    pub fn answer(&mut self, chance: &mut Chance) {
        if self.state == State::Connected && !self.answers.is_empty() {
            // PUBACKs and PUBRECs in the order of their PUBLISHs [MQTT-4.6.0-2].
            let at = if chance.once_in(8) { chance.below(self.answers.len()) } else { 0 };
            let bytes = self.answers.remove(at);
            if let [PUBACK | PUBCOMP, _, high, low, ..] = bytes[..] {
                // The broker may use the identifier again as soon as it has read this.
                self.outstanding.remove(&u16::from_be_bytes([high, low]));
            }
            self.send(&bytes);
        }
    }

    pub fn owes(&self) -> bool {
        !self.answers.is_empty() || !self.pending.is_empty() || self.is_asking() || !self.to_send.is_empty()
    }

    fn is_asking(&self) -> bool {
        self.subscribing.is_some() || self.wavering.is_some()
    }

    /// Bytes from the broker.
    pub fn receive(&mut self, bytes: &[u8], step: u64) {
        self.unread.extend_from_slice(bytes);
        loop {
            match decode(self.kind.version, &self.unread) {
                Ok(None) => return,
                Ok(Some((packet, size))) => {
                    self.unread.drain(..size);
                    self.take(packet, step);
                }
                Err(rule) => panic!("{}: the broker broke a rule: {rule}", self.kind.name),
            }
        }
    }

    fn take(&mut self, packet: Packet, step: u64) {
        match packet {
            Packet::Connack(connack) if connack.code == 0 => self.let_in(connack.session_present, step),
            Packet::Connack(_) | Packet::Disconnect(_) => {}
            Packet::Publish(publish) => self.take_publish(publish, step),
            Packet::Suback(codes) if self.wavering == Some((codes.id, false)) => {
                self.wavering = None;
                self.wavered.push(Wavering::On(step));
            }
            Packet::Unsuback(codes) => {
                assert_eq!(self.wavering.take(), Some((codes.id, true)), "{}: UNSUBACK", self.kind.name);
                self.wavered.push(Wavering::Off(step));
            }
            Packet::Suback(codes) => {
                assert_eq!(self.subscribing.take(), Some(codes.id), "{}: SUBACK", self.kind.name);
                assert!(codes.codes.iter().all(|code| *code <= 2), "{}: {codes:?}", self.kind.name);
                self.subscribed_at = Some(step);
            }
            Packet::Ack(ack) => match ack.first {
                PUBACK => self.finish(ack.id, 1, ack.code, step),
                PUBREC => self.take_pubrec(ack.id, ack.code, step),
                PUBREL => {
                    self.received.remove(&ack.id);
                    self.answers.push(build::ack(PUBCOMP, ack.id, 0));
                }
                _ => self.finish(ack.id, 2, ack.code, step),
            },
            other => panic!("{}: {other:?} was not asked for", self.kind.name),
        }
    }

    fn let_in(&mut self, session_present: bool, step: u64) {
        self.state = State::Connected;
        let (name, now_ms) = (&self.kind.name, self.now_ms);
        let been_there = !self.connections.is_empty() && self.kind.durable() && !self.kind.rival;
        if session_present {
            assert!(!self.surely_gone, "{name}: its session was over");
            assert!(!self.kind.rival || !self.clean, "{name}: a Clean Start finds no session");
        } else {
            let (until_ms, entered_ms) = (self.there_until_ms, self.entered_ms);
            let may_be_gone = !been_there || now_ms >= until_ms;
            assert!(may_be_gone, "{name}: its session was lost: {entered_ms} to {now_ms}, {until_ms}");
            self.forget();
            self.wavered.push(Wavering::Off(step));
        }
        self.connections.values_mut().for_each(|connection| {
            connection.back_ms.get_or_insert(now_ms);
        });
        self.connections.insert(self.connection, Connection::default());
        // Unfinished publications go out again, with their identifiers and in order [MQTT-4.4.0-1].
        let mut repeats: Vec<Vec<u8>> = Vec::new();
        for pending in &self.pending {
            repeats.push(match pending.released {
                true => build::ack(PUBREL, pending.id, 0),
                false => pending.publication.clone().dup().bytes(self.kind.version),
            });
            if let Some(published) = self.published.get_mut(&pending.sequence).filter(|_| !pending.released) {
                published.times += 1;
            }
        }
        repeats.iter().for_each(|bytes| self.send(bytes));
        if self.subscribed_at.is_none() && !self.kind.filters.is_empty() {
            let id = self.fresh_id();
            self.subscribing = Some(id);
            let filters: Vec<(&[u8], u8)> =
                self.kind.filters.iter().map(|(filter, qos)| (filter.as_bytes(), *qos)).collect();
            let bytes = build::subscribe(self.kind.version, id, &Props::new(), &filters);
            self.send(&bytes);
        }
    }

    fn take_pubrec(&mut self, id: u16, code: u8, step: u64) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) else { return };
        if code >= 0x80 {
            return self.finish(id, 2, code, step);
        }
        pending.released = true;
        self.published.get_mut(&pending.sequence).expect("it was published").accept(step, self.now_ms);
        self.send(&build::ack(PUBREL, id, 0));
    }

    fn finish(&mut self, id: u16, qos: u8, code: u8, step: u64) {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { return };
        let pending = self.pending.remove(at);
        let published = self.published.get_mut(&pending.sequence).expect("it was published");
        assert_eq!(published.qos, qos, "{}: the answer fits the QoS", self.kind.name);
        if code < 0x80 {
            published.accept(step, self.now_ms);
        }
    }

    fn take_publish(&mut self, publish: Publish, step: u64) {
        let name = &self.kind.name;
        if publish.qos > 0 {
            assert!(self.outstanding.insert(publish.id), "{name}: identifier {} is in use", publish.id);
            let window = if self.kind.version == Version::V5 { usize::from(self.kind.receive_maximum) } else { 64 };
            assert!(self.outstanding.len() <= window, "{name}: {} in flight", self.outstanding.len());
        }
        let fresh = match publish.qos {
            2 => self.received.insert(publish.id),
            _ => true,
        };
        if publish.qos > 0 {
            self.answers.push(build::ack(if publish.qos == 1 { PUBACK } else { PUBREC }, publish.id, 0));
        }
        if fresh {
            let text = String::from_utf8(publish.payload).expect("only text is published");
            let (publisher, sequence) = text.split_once(' ').expect("a name and a number");
            self.seen.push(Seen {
                publisher: publisher.to_owned(),
                sequence: sequence.parse().expect("a number"),
                topic: publish.topic,
                qos: publish.qos,
                retain: publish.retain,
                repeat: publish.dup,
                step,
                at_ms: self.now_ms,
                entered_ms: self.entered_ms,
                expiry_s: publish.props.number(prop::MESSAGE_EXPIRY),
            });
        }
    }
}
