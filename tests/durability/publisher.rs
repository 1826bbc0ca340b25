//! A publisher that writes down what it means to publish, and what was acknowledged.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::link::{Gone, Link};
use super::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication};
use super::support::packet::{Ack, Packet};
use super::support::wire::Version;
use super::world::World;

/// Topics of one publisher; the QoS belongs to the topic, so that order has a meaning.
pub const TOPICS: usize = 4;

/// QoS of a topic.
pub fn qos_of(topic: usize) -> u8 {
    1 + (topic % 2) as u8
}

/// What is known of one message.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub topic: usize,
    /// When the broker took it over.
    pub acknowledged: Option<Instant>,
    /// The broker said no.
    pub refused: bool,
    /// It was sent again when a later one had been taken over: their order is lost.
    pub late: bool,
}

/// A publisher that waits longer for any answer connects again: 3.1.1 has no other way to hear of a refusal.
const PATIENCE: Duration = Duration::from_secs(3);

/// Messages of one publisher by their number.
pub type Log = Arc<Mutex<Vec<Message>>>;

struct Flight {
    id: u16,
    number: usize,
    /// PUBREC has come.
    received: bool,
}

/// One publisher with its persistent session.
pub struct Publisher {
    name: usize,
    version: Version,
    chance: Chance,
    window: usize,
    log: Log,
    flights: VecDeque<Flight>,
    last_id: u16,
    /// It uses so many identifiers, one after the other.
    ids: u16,
    known: bool,
    /// Longest rest between two batches, ms.
    rest_ms: usize,
}

impl Publisher {
    pub fn new(name: usize, seed: u64, rest_ms: usize) -> Self {
        let mut chance = Chance::new(seed ^ (0xB00 + name as u64));
        let window = [1, 4, 16][chance.below(3)];
        let version = if name.is_multiple_of(2) { Version::V5 } else { Version::V3 };
        let (log, flights) = (Log::default(), VecDeque::new());
        Self { name, version, chance, window, log, flights, last_id: 0, ids: 200, known: false, rest_ms }
    }

    pub fn log(&self) -> Log {
        Arc::clone(&self.log)
    }

    /// Publishes until told to settle, and finishes what is open.
    pub fn run(mut self, world: &World) {
        if world.forgetful {
            // A broker that forgot a PUBREL takes a new message with that identifier for the old one.
            self.ids = 60_000;
        }
        world.keep_trying(|addr| self.session(addr, world));
        world.one_settled();
    }

    fn session(&mut self, addr: SocketAddr, world: &World) -> Result<(), Gone> {
        let mut link = Link::open(addr, &Connect::new(self.version, format!("publisher-{}", self.name)).resume())?;
        let present = link.connack.session_present;
        if self.known && !present {
            world.wrong(format!("the session of publisher {} is gone", self.name));
        }
        self.known = true;
        if !present {
            self.flights.retain(|flight| !flight.received);
        }
        for flight in 0..self.flights.len() {
            self.send(&mut link, flight, present)?;
        }
        let mut heard = Instant::now();
        while !world.over() {
            if heard.elapsed() > PATIENCE && !self.flights.is_empty() {
                return Err(Gone);
            }
            if world.publishing() {
                self.begin_some(&mut link)?;
            } else if self.flights.is_empty() {
                return link.send(&[0xE0, 0x00]);
            }
            while let Some(packet) = link.next(Duration::from_millis(1 + self.chance.below(self.rest_ms) as u64))? {
                heard = Instant::now();
                match packet {
                    Packet::Ack(ack) => self.acknowledged(&mut link, &ack)?,
                    Packet::Disconnect(_) => return Err(Gone),
                    _ => {}
                }
                if self.flights.len() < self.window && self.chance.once_in(3) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn begin_some(&mut self, link: &mut Link) -> Result<(), Gone> {
        while self.flights.len() < self.window {
            let topic = self.chance.below(TOPICS);
            let mut log = self.log.lock().expect("nobody panics with it");
            let number = log.len();
            log.push(Message { topic, acknowledged: None, refused: false, late: false });
            drop(log);
            let id = self.fresh_id();
            self.flights.push_back(Flight { id, number, received: false });
            self.send(link, self.flights.len() - 1, false)?;
        }
        Ok(())
    }

    fn fresh_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % self.ids + 1;
            if self.flights.iter().all(|flight| flight.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    fn send(&mut self, link: &mut Link, flight: usize, again: bool) -> Result<(), Gone> {
        let Flight { id, number, received } = self.flights[flight];
        if received {
            return link.ack(PUBREL, id);
        }
        let mut log = self.log.lock().expect("nobody panics with it");
        let topic = log[number].topic;
        if again {
            log[number].late = log[number + 1..].iter().any(|later| later.acknowledged.is_some());
        }
        drop(log);
        let size = if number % 97 == 96 { 20_000 } else { number * 37 % 400 };
        let payload = format!("{}:{number}:{}", self.name, "x".repeat(size));
        let mut publication = Publication::new(format!("t/{}/{topic}", self.name), payload).qos(qos_of(topic), id);
        publication.dup = again;
        link.publish(&publication)
    }

    fn acknowledged(&mut self, link: &mut Link, ack: &Ack) -> Result<(), Gone> {
        let Some(at) = self.flights.iter().position(|flight| flight.id == ack.id) else { return Ok(()) };
        let number = self.flights[at].number;
        if matches!(ack.first, PUBACK | PUBREC) {
            let message = &mut self.log.lock().expect("nobody panics with it")[number];
            if ack.code >= 0x80 {
                message.refused = true;
            } else if message.acknowledged.is_none() {
                message.acknowledged = Some(Instant::now());
            }
        }
        match ack.first {
            PUBREC if ack.code < 0x80 => {
                self.flights[at].received = true;
                link.ack(PUBREL, ack.id)
            }
            PUBACK | PUBREC | PUBCOMP => {
                self.flights.remove(at);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
