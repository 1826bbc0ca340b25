//! Two clients whose state at the broker changes: one subscribes and unsubscribes, one sets and clears retained messages. Each knows
//! what was acknowledged, so that what the broker kept can be held against it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::chance::Chance;
use super::link::{ANSWER, Gone, Link};
use super::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;
use super::world::World;

/// Filters of one changer, topics of one retainer.
pub const PLACES: usize = 6;

/// Whether each filter is subscribed; `None` while an answer is outstanding.
pub type Subscribed = Arc<Mutex<[Option<bool>; PLACES]>>;

/// Subscribes and unsubscribes.
pub struct Changer {
    name: usize,
    version: Version,
    chance: Chance,
    /// Whether the broker has a session; `None`: it may.
    session: Option<bool>,
    filters: Subscribed,
    heard: Arc<Mutex<BTreeSet<usize>>>,
    last_id: u16,
}

impl Changer {
    pub fn new(name: usize, seed: u64) -> Self {
        let version = if name.is_multiple_of(2) { Version::V3 } else { Version::V5 };
        let filters = Arc::new(Mutex::new([Some(false); PLACES]));
        let chance = Chance::new(seed ^ (0xC0 + name as u64));
        Self { name, version, chance, session: Some(false), filters, heard: Arc::default(), last_id: 0 }
    }

    /// The state, and the numbers of the filters on which something was heard.
    pub fn state(&self) -> (Subscribed, Arc<Mutex<BTreeSet<usize>>>) {
        (Arc::clone(&self.filters), Arc::clone(&self.heard))
    }

    pub fn run(mut self, world: &World) {
        let mut settled = false;
        world.keep_trying(|addr| self.session(addr, world, &mut settled));
    }

    fn session(&mut self, addr: SocketAddr, world: &World, settled: &mut bool) -> Result<(), Gone> {
        let clean = world.publishing() && self.chance.once_in(6);
        let before = self.session;
        if clean || self.session == Some(false) {
            self.session = None;
        }
        let mut filters = *self.filters();
        if clean {
            filters.iter_mut().filter(|filter| **filter == Some(true)).for_each(|filter| *filter = None);
            *self.filters() = filters;
        }
        // 3.1.1 says "new" and "kept" with one flag: a clean session there ends with its connection.
        let kept = self.version == Version::V5 || !clean;
        let connect = Connect::new(self.version, format!("changer-{}", self.name)).clean(clean);
        let mut link = Link::open(addr, &if kept { connect.kept_s(600) } else { connect })?;
        let present = link.connack.session_present;
        let expected = if clean { Some(false) } else { before };
        if expected.is_some_and(|expected| expected != present) {
            world.wrong(format!("changer {}: Session Present is {present}", self.name));
        }
        self.session = Some(kept);
        if !present {
            *self.filters() = [Some(false); PLACES];
        }
        if !kept {
            self.session = Some(false);
            return link.send(&[0xE0, 0x00]).and(Err(Gone));
        }
        self.change(&mut link, world, settled)
    }

    fn change(&mut self, link: &mut Link, world: &World, settled: &mut bool) -> Result<(), Gone> {
        while !world.over() {
            let unknown = self.filters().iter().position(Option::is_none);
            if world.publishing() || unknown.is_some() {
                self.change_one(link, unknown)?;
                if world.publishing() && self.chance.once_in(40) {
                    return Err(Gone);
                }
            } else if !*settled {
                *settled = true;
                world.one_settled();
            }
            let rest = Duration::from_millis(1 + self.chance.below(8) as u64);
            while let Some(packet) = link.next(rest)? {
                take(&self.heard, link, packet)?;
            }
        }
        Ok(())
    }

    fn change_one(&mut self, link: &mut Link, unknown: Option<usize>) -> Result<(), Gone> {
        let place = unknown.unwrap_or_else(|| self.chance.below(PLACES));
        let on = self.chance.once_in(2);
        let filter = format!("x/{}/{place}", self.name);
        self.last_id = self.last_id % 500 + 1;
        self.filters()[place] = None;
        let heard = Arc::clone(&self.heard);
        let codes = if on {
            link.subscribe(self.last_id, &[(&filter, 1)], |link, packet| take(&heard, link, packet))?
        } else {
            link.unsubscribe(self.last_id, &filter, |link, packet| take(&heard, link, packet))?
        };
        if codes.iter().all(|code| *code < 0x80) {
            self.filters()[place] = Some(on);
        }
        Ok(())
    }

    fn filters(&self) -> std::sync::MutexGuard<'_, [Option<bool>; PLACES]> {
        self.filters.lock().expect("nobody panics with it")
    }
}

fn take(heard: &Mutex<BTreeSet<usize>>, link: &mut Link, packet: Packet) -> Result<(), Gone> {
    match packet {
        Packet::Publish(publish) => {
            let place: Option<usize> = publish.topic.rsplit('/').next().and_then(|last| last.parse().ok());
            heard.lock().expect("nobody panics with it").extend(place);
            if publish.qos == 1 { link.ack(PUBACK, publish.id) } else { Ok(()) }
        }
        Packet::Disconnect(_) => Err(Gone),
        _ => Ok(()),
    }
}

/// For each topic the number of the last change, and whether it set a message.
pub type Retained = Arc<Mutex<[(usize, bool); PLACES]>>;

struct Open {
    place: usize,
    id: u16,
    qos: u8,
    received: bool,
}

/// Sets and clears retained messages, one after the other.
pub struct Retainer {
    name: usize,
    version: Version,
    chance: Chance,
    known: bool,
    state: Retained,
    open: Option<Open>,
    last_id: u16,
}

impl Retainer {
    pub fn new(name: usize, seed: u64) -> Self {
        let version = if name.is_multiple_of(2) { Version::V5 } else { Version::V3 };
        let chance = Chance::new(seed ^ (0x4E + name as u64));
        Self { name, version, chance, known: false, state: Retained::default(), open: None, last_id: 0 }
    }

    pub fn state(&self) -> Retained {
        Arc::clone(&self.state)
    }

    pub fn run(mut self, world: &World) {
        world.keep_trying(|addr| self.session(addr, world));
        world.one_settled();
    }

    fn session(&mut self, addr: SocketAddr, world: &World) -> Result<(), Gone> {
        let mut link = Link::open(addr, &Connect::new(self.version, format!("retainer-{}", self.name)).resume())?;
        if self.known && !link.connack.session_present {
            world.wrong(format!("the session of retainer {} is gone", self.name));
        }
        self.known = true;
        while !world.over() {
            if self.open.is_none() {
                if !world.publishing() {
                    return link.send(&[0xE0, 0x00]);
                }
                let place = self.chance.below(PLACES);
                let mut state = self.state.lock().expect("nobody panics with it");
                state[place] = (state[place].0 + 1, !self.chance.once_in(4));
                drop(state);
                self.last_id = self.last_id % 500 + 1;
                let qos = 1 + self.chance.below(2) as u8;
                self.open = Some(Open { place, id: self.last_id, qos, received: false });
                self.send(&mut link, false)?;
            } else {
                self.send(&mut link, true)?;
            }
            self.finish(&mut link)?;
            std::thread::sleep(Duration::from_millis(self.chance.below(6) as u64));
        }
        Ok(())
    }

    fn send(&self, link: &mut Link, again: bool) -> Result<(), Gone> {
        let Some(Open { place, id, qos, received }) = self.open else { return Ok(()) };
        if received {
            return link.ack(PUBREL, id);
        }
        let (number, set) = self.state.lock().expect("nobody panics with it")[place];
        let payload = if set { format!("{place}:{number}:{}", "r".repeat(number % 300)) } else { String::new() };
        let mut publication = Publication::new(format!("r/{}/{place}", self.name), payload).qos(qos, id).retain();
        publication.dup = again;
        link.publish(&publication)
    }

    fn finish(&mut self, link: &mut Link) -> Result<(), Gone> {
        while let Some(open) = &mut self.open {
            let Some(packet) = link.next(ANSWER)? else { return Err(Gone) };
            match packet {
                Packet::Ack(ack) if ack.id == open.id => match ack.first {
                    // What was refused is tried again.
                    PUBACK | PUBREC if ack.code >= 0x80 => return Ok(()),
                    PUBREC => {
                        open.received = true;
                        link.ack(PUBREL, ack.id)?;
                    }
                    PUBACK | PUBCOMP => self.open = None,
                    _ => {}
                },
                Packet::Disconnect(_) => return Err(Gone),
                _ => {}
            }
        }
        Ok(())
    }
}
