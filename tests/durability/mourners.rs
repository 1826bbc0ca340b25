//! Clients that are lost and leave delayed wills, and somebody who hears of them.
//!
//! A loss counts as seen when the broker has closed its side and has then, still alive, acknowledged a publication that it had to
//! keep. From then on the will is owed: once, when it is due, whatever happens to the broker meanwhile; or not at all, if its client is back
//! before that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::link::{ANSWER, Gone, Link};
use super::subscriber::parse;
use super::support::build::{Connect, PUBCOMP, PUBREC, PUBREL, Publication, Will};
use super::support::packet::Packet;
use super::support::wire::Version;
use super::world::World;

/// Will Delay Interval.
const DELAY_S: u32 = 1;
const DELAY: Duration = Duration::from_secs(DELAY_S as u64);
/// A will that does not come so long after it was due does not come: the broker begins many lives in this time.
const PATIENCE: Duration = Duration::from_secs(45);

/// How often each will was heard, by mourner and number.
pub type Heard = Arc<Mutex<HashMap<(usize, usize), usize>>>;

/// What is known of one will.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// The connection it belongs to was lost at this moment or later.
    lost: Instant,
    /// The loss was seen.
    seen: bool,
    /// Its client was let in again before it was due.
    called_off: bool,
}

/// Wills by their number.
pub type Fates = Arc<Mutex<Vec<Fate>>>;

/// Hears of wills with a persistent session.
pub struct Listener {
    heard: Heard,
    held: HashMap<u16, Vec<u8>>,
    subscribed: bool,
}

impl Listener {
    pub fn new() -> Self {
        Self { heard: Heard::default(), held: HashMap::new(), subscribed: false }
    }

    pub fn heard(&self) -> Heard {
        Arc::clone(&self.heard)
    }

    pub fn run(mut self, world: &World) {
        world.keep_trying(|addr| self.session(addr, world));
    }

    fn session(&mut self, addr: SocketAddr, world: &World) -> Result<(), Gone> {
        let mut link = Link::open(addr, &Connect::new(Version::V5, "listener").resume())?;
        if !self.subscribed {
            link.subscribe(1, &[("d/#", 2)], |_, _| Ok(()))?;
            self.subscribed = true;
            world.one_settled();
        }
        while !world.over() {
            match link.next(Duration::from_millis(50))? {
                Some(Packet::Publish(publish)) if publish.qos == 2 => {
                    if self.held.insert(publish.id, publish.payload.clone()).is_none() {
                        self.note(&publish.payload, world);
                    }
                    link.ack(PUBREC, publish.id)?;
                }
                Some(Packet::Ack(ack)) if ack.first == PUBREL => {
                    self.held.remove(&ack.id);
                    link.ack(PUBCOMP, ack.id)?;
                }
                Some(Packet::Disconnect(_)) => return Err(Gone),
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&self, payload: &[u8], world: &World) {
        match parse(payload) {
            Some(will) => *self.heard.lock().expect("nobody panics with it").entry(will).or_default() += 1,
            None => world.wrong(format!("a will that nobody wrote: {payload:x?}")),
        }
    }
}

/// Is lost again and again.
pub struct Mourner {
    name: usize,
    chance: Chance,
    all: Fates,
    heard: Heard,
    settled: bool,
}

impl Mourner {
    pub fn new(name: usize, seed: u64, heard: Heard) -> Self {
        let chance = Chance::new(seed ^ (0xD1E + name as u64));
        Self { name, chance, all: Fates::default(), heard, settled: false }
    }

    pub fn log(&self) -> Fates {
        Arc::clone(&self.all)
    }

    pub fn run(mut self, world: &World) {
        world.keep_trying(|addr| self.session(addr, world));
    }

    fn session(&mut self, addr: SocketAddr, world: &World) -> Result<(), Gone> {
        if !world.publishing() {
            if !std::mem::replace(&mut self.settled, true) {
                world.one_settled();
            }
            return Err(Gone);
        }
        let number = self.live_and_be_lost(addr)?;
        self.fates()[number].seen = true;
        // One that comes back at once calls its will off; the others wait for it.
        if !self.chance.once_in(3) {
            self.wait(number, world);
        }
        Err(Gone)
    }

    /// One connection from CONNECT to a loss that was seen for sure; the number of its will.
    fn live_and_be_lost(&mut self, addr: SocketAddr) -> Result<usize, Gone> {
        let mut witness = Link::open(addr, &Connect::new(Version::V5, format!("witness-{}", self.name)))?;
        let number = self.fates().len();
        let fate = Fate { lost: Instant::now(), seen: false, called_off: false };
        self.fates().push(fate);
        let will = Will::new(format!("d/{}", self.name), format!("{}:{number}", self.name)).qos(2).delay_s(DELAY_S);
        let link = Link::open(addr, &Connect::new(Version::V5, format!("mourner-{}", self.name)).resume().will(will))?;
        let now = Instant::now();
        self.fates()[..number].iter_mut().for_each(|fate| {
            fate.called_off |= now < fate.lost + DELAY;
        });
        std::thread::sleep(Duration::from_millis(self.chance.below(20) as u64));
        self.fates()[number].lost = Instant::now();
        // A good-bye that keeps the will, or none.
        link.hang_up(if self.chance.once_in(2) { &[0xE0, 0x01, 0x04] } else { &[] })?;
        let kept = Publication::new(format!("witness/{}", self.name), number.to_string()).qos(1, 1).retain();
        match witness.publish_and_wait(&kept, ANSWER)? {
            Some(code) if code < 0x80 => Ok(number),
            _ => Err(Gone),
        }
    }

    /// Stays away until its will has been heard.
    fn wait(&self, number: usize, world: &World) {
        let lost = self.fates()[number].lost;
        while lost.elapsed() < DELAY + PATIENCE && !world.over() {
            if self.heard.lock().expect("nobody panics with it").contains_key(&(self.name, number)) {
                if lost.elapsed() < DELAY {
                    world.wrong(format!("will {number} of mourner {} came before it was due", self.name));
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        world.wrong(format!("will {number} of mourner {} never came", self.name));
    }

    fn fates(&self) -> MutexGuard<'_, Vec<Fate>> {
        self.all.lock().expect("nobody panics with it")
    }
}

/// No will came twice, and none that was called off. How many were seen to be owed.
pub fn judge(mourners: &[Fates], heard: &Heard, world: &World) -> usize {
    let heard = heard.lock().expect("nobody panics with it");
    let mut owed = 0;
    for (name, fates) in mourners.iter().enumerate() {
        for (number, fate) in fates.lock().expect("nobody panics with it").iter().enumerate() {
            let times = heard.get(&(name, number)).copied().unwrap_or(0);
            owed += usize::from(fate.seen);
            if times > usize::from(!fate.called_off) {
                world.wrong(format!("will {number} of mourner {name} came {times} times: {fate:?}"));
            }
        }
    }
    owed
}
