//! Rules that hold on every connection, whatever a test is about.
//!
//! The watch sees both directions. It knows what the client promised in CONNECT and which of its requests are open, and
//! judges each packet of the broker: CONNACK first and once, nothing behind DISCONNECT, no answer without a request, no
//! Packet Identifier used twice, the client's Receive Maximum, Maximum Packet Size, Topic Alias Maximum and Request
//! Problem Information respected, and no second copy of a PUBLISH on one live 5.0 connection.

use std::collections::{HashMap, HashSet};

use super::packet::{Packet, Publish};
use super::property::Properties;
use super::wire::{Version, prop};

/// What a client promised in its CONNECT.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Receive Maximum.
    pub receive_maximum: usize,
    /// Maximum Packet Size.
    pub packet_bytes_max: usize,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: u32,
    /// Request Problem Information.
    pub problem_information: bool,
    /// Whether an Authentication Method was named.
    pub method: bool,
}

impl Default for Promise {
    fn default() -> Self {
        Self {
            receive_maximum: 65_535,
            packet_bytes_max: usize::MAX,
            topic_alias_maximum: 0,
            problem_information: true,
            method: false,
        }
    }
}

impl Promise {
    /// Reads legal CONNECT properties; stops at the first that is not.
    pub fn of(props: &[u8]) -> Self {
        let mut promise = Self::default();
        let mut rest = props;
        while let [id, tail @ ..] = rest {
            let number = |width: usize| tail.iter().take(width).fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            let width = match *id {
                prop::REQUEST_PROBLEM | prop::REQUEST_RESPONSE => 1,
                prop::RECEIVE_MAXIMUM | prop::TOPIC_ALIAS_MAXIMUM => 2,
                prop::SESSION_EXPIRY | prop::MAXIMUM_PACKET_SIZE => 4,
                prop::AUTH_METHOD | prop::AUTH_DATA => 2 + number(2),
                prop::USER_PROPERTY => {
                    let name = 2 + number(2);
                    let value = tail.get(name..name + 2).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
                    name + 2 + value
                }
                _ => break,
            };
            match *id {
                prop::REQUEST_PROBLEM => promise.problem_information = number(1) != 0,
                prop::RECEIVE_MAXIMUM => promise.receive_maximum = number(2),
                prop::TOPIC_ALIAS_MAXIMUM => promise.topic_alias_maximum = number(2) as u32,
                prop::MAXIMUM_PACKET_SIZE => promise.packet_bytes_max = number(4),
                prop::AUTH_METHOD => promise.method = true,
                _ => {}
            }
            rest = tail.get(width..).unwrap_or_default();
        }
        promise
    }
}

/// The state of the watch over one connection.
#[derive(Debug)]
pub struct Watch {
    version: Version,
    promise: Promise,
    welcomed: bool,
    over: bool,
    resumed: bool,
    in_flight: HashSet<u16>,
    aliases: HashMap<u32, String>,
    open: HashMap<(u8, u16), usize>,
    /// What was sent of a packet that is not whole yet.
    begun: Vec<u8>,
}

impl Watch {
    /// Over a connection of this version.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            promise: Promise::default(),
            welcomed: false,
            over: false,
            resumed: false,
            in_flight: HashSet::new(),
            aliases: HashMap::new(),
            open: HashMap::new(),
            begun: Vec::new(),
        }
    }

    /// Takes note of what the client promises.
    pub fn promise(&mut self, promise: Promise) {
        self.promise = promise;
    }

    /// Takes note of what the client sends, cut anywhere; looks no further at bytes that are no packet.
    pub fn sent(&mut self, bytes: &[u8]) {
        let mut unsent = std::mem::take(&mut self.begun);
        unsent.extend_from_slice(bytes);
        let mut done = 0;
        while let Some((first, body, size)) = split(&unsent[done..]) {
            self.sent_one(first, body);
            done += size;
        }
        self.begun = unsent.split_off(done);
    }

    fn sent_one(&mut self, first: u8, body: &[u8]) {
        let id_at = |at: usize| body.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        let failed = body.get(2).is_some_and(|code| *code >= 0x80);
        let answer = match first {
            0x30..=0x3F if first & 6 != 0 => {
                Some((if first & 6 == 2 { 0x40 } else { 0x50 }, id_at(2 + usize::from(id_at(0)))))
            }
            0x62 => Some((0x70, id_at(0))),
            0x82 => Some((0x90, id_at(0))),
            0xA2 => Some((0xB0, id_at(0))),
            0x40 | 0x70 => {
                self.in_flight.remove(&id_at(0));
                None
            }
            0x50 if failed => {
                self.in_flight.remove(&id_at(0));
                None
            }
            _ => None,
        };
        if let Some(answer) = answer {
            *self.open.entry(answer).or_default() += 1;
        }
    }

    /// Judges a packet of the broker and fills in the Topic Name a Topic Alias stands for.
    pub fn received(&mut self, packet: &mut Packet, size: usize) -> Result<(), String> {
        if self.over {
            return Err(format!("[MQTT-3.14.4-1] behind its DISCONNECT the broker sent {packet:?}"));
        }
        if size > self.promise.packet_bytes_max {
            return Err(format!("[MQTT-3.1.2-24] {size} bytes are more than the client takes"));
        }
        if !self.welcomed && !matches!(packet, Packet::Connack(_) | Packet::Auth(_)) {
            return Err(format!("[MQTT-3.2.0-1] {packet:?} came before CONNACK"));
        }
        match packet {
            Packet::Connack(connack) => {
                if self.welcomed {
                    return Err("[MQTT-3.2.0-2] a second CONNACK".into());
                }
                self.welcomed = true;
                self.resumed = connack.session_present;
                self.over = connack.code != 0;
                if !self.promise.method && connack.props.has(prop::AUTH_METHOD) {
                    return Err("[MQTT-4.12.0-6] an Authentication Method the client did not name".into());
                }
                Ok(())
            }
            Packet::Publish(publish) => self.publish(publish),
            Packet::Ack(ack) => {
                self.may_explain(&ack.props)?;
                if ack.first == 0x62 { Ok(()) } else { self.answered(ack.first, ack.id) }
            }
            Packet::Suback(codes) => {
                self.may_explain(&codes.props)?;
                self.answered(0x90, codes.id)
            }
            Packet::Unsuback(codes) => {
                self.may_explain(&codes.props)?;
                self.answered(0xB0, codes.id)
            }
            Packet::Disconnect(_) => {
                self.over = true;
                Ok(())
            }
            Packet::Auth(auth) if self.promise.method => self.may_explain(&auth.props),
            Packet::Auth(_) => Err("[MQTT-4.12.0-6] AUTH to a client that named no method".into()),
            Packet::Pingresp => Ok(()),
        }
    }

    fn publish(&mut self, publish: &mut Publish) -> Result<(), String> {
        self.resolve(publish)?;
        if publish.qos == 0 {
            return Ok(());
        }
        let fresh = self.in_flight.insert(publish.id);
        if self.version == Version::V5 {
            if !fresh {
                return Err(format!("[MQTT-2.2.1-4] [MQTT-4.4.0-1] identifier {} is still in use", publish.id));
            }
            if publish.dup && !self.resumed {
                return Err("[MQTT-3.3.1-3] DUP 1 on a session that was not resumed".into());
            }
            if self.in_flight.len() > self.promise.receive_maximum {
                return Err(format!("[MQTT-3.3.4-9] {} unacknowledged PUBLISH packets", self.in_flight.len()));
            }
        } else if !fresh && !publish.dup {
            return Err(format!("[MQTT3-2.3.1-4] identifier {} is still in use", publish.id));
        }
        Ok(())
    }

    fn resolve(&mut self, publish: &mut Publish) -> Result<(), String> {
        match publish.props.number(prop::TOPIC_ALIAS) {
            Some(alias) if alias > self.promise.topic_alias_maximum => {
                return Err(format!("[MQTT-3.1.2-26] Topic Alias {alias}"));
            }
            Some(alias) if publish.topic.is_empty() => {
                let known = self.aliases.get(&alias).ok_or(format!("Topic Alias {alias} stands for nothing"))?;
                publish.topic.clone_from(known);
            }
            Some(alias) => {
                self.aliases.insert(alias, publish.topic.clone());
            }
            None => {}
        }
        if publish.topic.is_empty() { Err("[MQTT-4.7.3-1] PUBLISH without Topic Name".into()) } else { Ok(()) }
    }

    fn may_explain(&self, props: &Properties) -> Result<(), String> {
        let explains = props.has(prop::REASON_STRING) || props.has(prop::USER_PROPERTY);
        if explains && !self.promise.problem_information {
            return Err("[MQTT-3.1.2-29] Reason String or User Property the client asked not to get".into());
        }
        Ok(())
    }

    fn answered(&mut self, first: u8, id: u16) -> Result<(), String> {
        match self.open.get_mut(&(first, id)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                Ok(())
            }
            _ => {
                Err(format!("[MQTT-2.2.1-5] [MQTT-2.2.1-6] 0x{first:02X} answers identifier {id}, which asks nothing"))
            }
        }
    }
}

fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let first = *bytes.first()?;
    let (mut length, mut at) = (0usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if at > 4 {
            return None;
        }
    }
    Some((first, bytes.get(at..at + length)?, at + length))
}
