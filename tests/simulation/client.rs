//! A model of a client: keeps its side of every session, resumes as the standard says, and remembers what it saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::chance::Chance;
use crate::support::build::{self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, Will};
use crate::support::packet::{Packet, Publish, decode};
use crate::support::wire::{Props, Version};

/// What a client is, for the whole run.
#[derive(Debug, Clone)]
pub struct Kind {
    pub name: String,
    pub version: Version,
    /// Whether its session outlives its connections.
    pub durable: bool,
    pub receive_maximum: u16,
    /// Filters, with the QoS asked for.
    pub filters: Vec<(String, u8)>,
    /// Topics it publishes to.
    pub topics: Vec<String>,
    /// Topic of its retained message.
    pub retained: String,
    pub will: bool,
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
    /// When it was sent.
    pub step: u64,
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
    /// The step at which its client was gone.
    pub ended_at: Option<u64>,
}

/// A client.
pub struct Client {
    pub kind: Kind,
    pub state: State,
    /// Bytes to be written to the wire, cut as chance wills.
    pub to_send: VecDeque<u8>,
    unread: Vec<u8>,
    last_id: u16,
    pub sequence: u64,
    pending: Vec<Pending>,
    subscribing: Option<u16>,
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
}

impl Client {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Away,
            to_send: VecDeque::new(),
            unread: Vec::new(),
            last_id: 0,
            sequence: 0,
            pending: Vec::new(),
            subscribing: None,
            subscribed_at: None,
            received: BTreeSet::new(),
            outstanding: BTreeSet::new(),
            answers: Vec::new(),
            published: BTreeMap::new(),
            seen: Vec::new(),
            connections: BTreeMap::new(),
            connection: 0,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.to_send.extend(bytes);
    }

    fn fresh_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            let id = self.last_id;
            if self.subscribing != Some(id) && !self.pending.iter().any(|pending| pending.id == id) {
                return id;
            }
        }
    }

    /// Sends CONNECT on a new connection.
    pub fn enter(&mut self) {
        self.connection += 1;
        self.state = State::Entering;
        let mut connect = Connect::new(self.kind.version, &self.kind.name).keep_alive_s(0);
        if self.kind.durable {
            connect = connect.resume();
        }
        if self.kind.version == Version::V5 {
            connect = connect.receive_maximum(self.kind.receive_maximum);
        }
        if self.kind.will {
            let payload = format!("{} {}", self.kind.name, self.connection);
            connect = connect.will(Will::new(format!("w/{}", self.kind.name), payload).qos(1));
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
        if !self.kind.durable {
            self.pending.clear();
            self.received.clear();
            self.subscribed_at = None;
        }
    }

    /// Sends DISCONNECT.
    pub fn leave(&mut self) {
        self.state = State::Leaving;
        let bytes = build::disconnect(self.kind.version, 0);
        self.send(&bytes);
    }

    /// Publishes the next message, if its window allows it.
    pub fn publish(&mut self, chance: &mut Chance, step: u64) {
        if self.state != State::Connected || self.pending.len() >= 8 {
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
        if qos > 0 {
            let id = self.fresh_id();
            publication = publication.qos(qos, id);
            let pending = Pending { id, sequence: self.sequence, publication: publication.clone(), released: false };
            self.pending.push(pending);
        }
        self.published.insert(self.sequence, Published { topic, qos, retain, accepted: false, step });
        let bytes = publication.bytes(self.kind.version);
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
        !self.answers.is_empty() || !self.pending.is_empty() || self.subscribing.is_some() || !self.to_send.is_empty()
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
            Packet::Connack(connack) if connack.code == 0 => self.let_in(connack.session_present),
            Packet::Connack(_) | Packet::Disconnect(_) => {}
            Packet::Publish(publish) => self.take_publish(publish),
            Packet::Suback(codes) => {
                assert_eq!(self.subscribing.take(), Some(codes.id), "{}: SUBACK", self.kind.name);
                assert!(codes.codes.iter().all(|code| *code <= 2), "{}: {codes:?}", self.kind.name);
                self.subscribed_at = Some(step);
            }
            Packet::Ack(ack) => match ack.first {
                PUBACK => self.finish(ack.id, 1, ack.code),
                PUBREC => self.take_pubrec(ack.id, ack.code),
                PUBREL => {
                    self.received.remove(&ack.id);
                    self.answers.push(build::ack(PUBCOMP, ack.id, 0));
                }
                _ => self.finish(ack.id, 2, ack.code),
            },
            other => panic!("{}: {other:?} was not asked for", self.kind.name),
        }
    }

    fn let_in(&mut self, session_present: bool) {
        self.state = State::Connected;
        self.connections.insert(self.connection, Connection::default());
        if !session_present {
            assert!(self.subscribed_at.is_none(), "{}: its session was lost", self.kind.name);
            self.received.clear();
        }
        // Unfinished publications go out again, with their identifiers and in order [MQTT-4.4.0-1].
        let repeats: Vec<Vec<u8>> = self
            .pending
            .iter()
            .map(|pending| match pending.released {
                true => build::ack(PUBREL, pending.id, 0),
                false => pending.publication.clone().dup().bytes(self.kind.version),
            })
            .collect();
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

    fn take_pubrec(&mut self, id: u16, code: u8) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) else { return };
        if code >= 0x80 {
            return self.finish(id, 2, code);
        }
        pending.released = true;
        self.published.get_mut(&pending.sequence).expect("it was published").accepted = true;
        self.send(&build::ack(PUBREL, id, 0));
    }

    fn finish(&mut self, id: u16, qos: u8, code: u8) {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { return };
        let pending = self.pending.remove(at);
        let published = self.published.get_mut(&pending.sequence).expect("it was published");
        assert_eq!(published.qos, qos, "{}: the answer fits the QoS", self.kind.name);
        published.accepted |= code < 0x80;
    }

    fn take_publish(&mut self, publish: Publish) {
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
            });
        }
    }
}
