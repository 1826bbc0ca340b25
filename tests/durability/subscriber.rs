//! A subscriber with a persistent session that writes down what it got.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::chance::Chance;
use super::link::{Gone, Link};
use super::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL};
use super::support::packet::{Packet, Publish};
use super::support::wire::Version;
use super::world::World;

/// How a subscriber behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub version: Version,
    pub qos: u8,
    /// Only this topic of each publisher; `None`: all.
    pub topic: Option<usize>,
    /// Goes once in so many packets; 0 = never by itself.
    pub goes_once_in: usize,
    /// Longest absence, ms.
    pub away_ms: usize,
    /// Receive Maximum where the version has it.
    pub receive_maximum: u16,
}

/// Everybody a run has.
pub const MANNERS: [Manner; 5] = [
    Manner { version: Version::V5, qos: 2, topic: None, goes_once_in: 0, away_ms: 0, receive_maximum: 64 },
    Manner { version: Version::V3, qos: 1, topic: None, goes_once_in: 200, away_ms: 30, receive_maximum: 64 },
    Manner { version: Version::V3, qos: 2, topic: Some(1), goes_once_in: 60, away_ms: 100, receive_maximum: 64 },
    Manner { version: Version::V5, qos: 2, topic: None, goes_once_in: 150, away_ms: 400, receive_maximum: 5 },
    Manner { version: Version::V5, qos: 1, topic: Some(0), goes_once_in: 500, away_ms: 2000, receive_maximum: 20 },
];

/// One message as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub publisher: usize,
    pub number: usize,
    pub qos: u8,
    pub topic: String,
    pub id: u16,
    pub dup: bool,
    /// On which connection of this subscriber, counted from 1.
    pub connection: usize,
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { publisher, number, qos, topic, id, dup, connection } = self;
        write!(f, "{publisher}:{number} on {topic}, QoS {qos}, id {id}, dup {dup}, connection {connection}")
    }
}

/// What came, in order.
pub type Log = Arc<Mutex<Vec<Got>>>;

/// Publisher and number in a payload.
pub fn parse(payload: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut parts = text.split(':');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// One subscriber.
pub struct Subscriber {
    name: usize,
    manner: Manner,
    chance: Chance,
    log: Log,
    known: bool,
    connections: usize,
    subscribed: bool,
    /// Messages of QoS 2 that were not released yet, by Packet Identifier.
    held: HashMap<u16, Vec<u8>>,
}

impl Subscriber {
    pub fn new(name: usize, manner: Manner, seed: u64) -> Self {
        let chance = Chance::new(seed ^ (0x50B + name as u64));
        Self {
            name,
            manner,
            chance,
            log: Log::default(),
            known: false,
            connections: 0,
            subscribed: false,
            held: HashMap::new(),
        }
    }

    pub fn log(&self) -> Log {
        Arc::clone(&self.log)
    }

    /// Receives until the run is over.
    pub fn run(mut self, world: &World) {
        world.keep_trying(|addr| {
            let ended = self.session(addr, world);
            if world.publishing() && self.manner.away_ms > 0 {
                std::thread::sleep(Duration::from_millis(self.chance.below(self.manner.away_ms) as u64));
            }
            ended
        });
    }

    fn session(&mut self, addr: SocketAddr, world: &World) -> Result<(), Gone> {
        let mut connect = Connect::new(self.manner.version, format!("subscriber-{}", self.name)).resume();
        if self.manner.version == Version::V5 {
            connect = connect.receive_maximum(self.manner.receive_maximum);
        }
        let mut link = Link::open(addr, &connect)?;
        if !link.connack.session_present {
            if self.known {
                world.wrong(format!("the session of subscriber {} is gone", self.name));
            }
            self.held.clear();
        }
        self.known = true;
        self.connections += 1;
        if !self.subscribed {
            let filter = self.manner.topic.map_or("t/#".to_owned(), |topic| format!("t/+/{topic}"));
            link.subscribe(1, &[(&filter, self.manner.qos)], |_, _| Ok(()))?;
            self.subscribed = true;
            world.one_settled();
        }
        while !world.over() {
            let Some(packet) = link.next(Duration::from_millis(50))? else { continue };
            let goes = self.manner.goes_once_in > 0 && world.publishing();
            if goes && self.chance.once_in(self.manner.goes_once_in) {
                return Err(Gone);
            }
            self.take(&mut link, packet, world)?;
            if goes && self.chance.once_in(self.manner.goes_once_in) {
                return Err(Gone);
            }
        }
        Ok(())
    }

    fn take(&mut self, link: &mut Link, packet: Packet, world: &World) -> Result<(), Gone> {
        match packet {
            Packet::Publish(publish) if publish.qos == 2 => {
                match self.held.get(&publish.id) {
                    // To a broker that forgot the first message the identifier was free.
                    Some(held) if *held != publish.payload && world.forgetful => {
                        self.note(&publish, world);
                        self.held.insert(publish.id, publish.payload);
                    }
                    Some(held) if *held != publish.payload => {
                        world.wrong(format!("subscriber {}: identifier {} has two messages", self.name, publish.id));
                    }
                    Some(_) => {}
                    None => {
                        self.note(&publish, world);
                        self.held.insert(publish.id, publish.payload);
                    }
                }
                link.ack(PUBREC, publish.id)
            }
            Packet::Publish(publish) => {
                self.note(&publish, world);
                if publish.qos == 1 { link.ack(PUBACK, publish.id) } else { Ok(()) }
            }
            Packet::Ack(ack) if ack.first == PUBREL => {
                self.held.remove(&ack.id);
                link.ack(PUBCOMP, ack.id)
            }
            Packet::Disconnect(_) => Err(Gone),
            _ => Ok(()),
        }
    }

    fn note(&self, publish: &Publish, world: &World) {
        let Some((publisher, number)) = parse(&publish.payload) else {
            return world.wrong(format!("subscriber {} got what nobody published on {}", self.name, publish.topic));
        };
        let got = Got {
            publisher,
            number,
            qos: publish.qos,
            topic: publish.topic.clone(),
            id: publish.id,
            dup: publish.dup,
            connection: self.connections,
        };
        self.log.lock().expect("nobody panics with it").push(got);
    }
}
