//! Clients that are a burden to a broker, and what they do while the others are measured.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use heraldmq::bench::BenchError;
use heraldmq::bench::load::{Kin, Load};

use super::durable;
use super::rogue::{Buffer, Rogue};

/// A deaf client's sockets are full when it is measured: this many messages of this many bytes were sent to it.
const STUFFING: u16 = 512;
const STUFFING_BYTES: usize = 16 * 1024;
/// Between two reads of a slow reader, of 8 KiB each.
const SLOWLY: Duration = Duration::from_millis(10);
const NOBODYS: &str = "flood/nobody";
const READ_SLOWLY: &str = "flood/slow";
const WAITING: &str = "waiting/state";
const WAITING_BYTES: usize = 64;
/// Who comes back.
const AWAY: &str = "away-0";

/// Who is a burden, and how.
#[derive(Clone, Copy)]
pub enum Trouble {
    /// Nobody: what chance alone makes of the ratio.
    Nobody,
    /// Subscribes to everything with this QoS, and does not read.
    Deaf(u8),
    /// Publishes with this QoS as fast as the broker takes it, to nobody.
    Flood(u8),
    /// The same, to one subscriber that reads slowly.
    FloodToSlow(u8),
    /// A session comes back to so many messages.
    Back(usize),
    /// Subscribes to everything with this QoS, and reads.
    Everything(u8),
}

/// The burden at work.
pub struct Active {
    trouble: Trouble,
    /// The one that is moved.
    rogue: Rogue,
    slow: Option<(Rogue, Instant)>,
}

impl Trouble {
    /// What must be there before the others are measured without it.
    pub fn prepare(&self, kin: &Kin) -> Result<()> {
        let Trouble::Back(waiting) = *self else { return Ok(()) };
        let named = |name: &str, durable| Kin { name: name.to_owned(), durable, ..kin.clone() };
        let mut load = Load::new()?;
        load.connect(&named("away", true), 1, 1)?;
        load.subscribe(0..1, &[WAITING.to_owned()], 1)?;
        load.leave()?;
        durable::fill(&named("backend", false), &[WAITING.to_owned()], waiting as u64, WAITING_BYTES)?;
        Ok(())
    }

    /// It begins.
    pub fn begin(self, kin: &Kin) -> Result<Active> {
        let (mut slow, is_back) = (None, matches!(self, Trouble::Back(_)));
        let name = if is_back { AWAY } else { "rogue" };
        let buffer = if let Trouble::Deaf(_) = self { Buffer::Least } else { Buffer::Usual };
        let mut rogue = Rogue::enter(kin, name, is_back, buffer)?;
        match self {
            Trouble::Deaf(qos) => {
                rogue.subscribe("#", qos)?;
                let mut stuffer = Rogue::enter(kin, "stuffer", false, Buffer::Usual)?;
                stuffer.stuff("stuff", qos, &[0; STUFFING_BYTES], STUFFING)?;
            }
            Trouble::Everything(qos) => rogue.subscribe("#", qos)?,
            Trouble::FloodToSlow(qos) => {
                let mut reader = Rogue::enter(kin, "slow", false, Buffer::Usual)?;
                reader.subscribe(READ_SLOWLY, qos)?;
                reader.hurry()?;
                slow = Some((reader, Instant::now()));
            }
            Trouble::Nobody | Trouble::Flood(_) | Trouble::Back(_) => {}
        }
        rogue.hurry()?;
        Ok(Active { trouble: self, rogue, slow })
    }

    /// How long it lasts, if that is not for the others' sake.
    pub fn lasts(&self) -> Option<Duration> {
        if let Trouble::Back(_) = self { Some(Duration::from_secs(60)) } else { None }
    }
}

impl Active {
    /// One step of some microseconds; `false` if it is over.
    pub fn step(&mut self) -> Result<bool, BenchError> {
        if let Some((reader, due)) = &mut self.slow
            && Instant::now() >= *due
        {
            reader.read()?;
            *due += SLOWLY;
        }
        match self.trouble {
            Trouble::Nobody | Trouble::Deaf(_) => Ok(true),
            Trouble::Flood(qos) => self.rogue.flood(NOBODYS, qos).map(|()| true),
            Trouble::FloodToSlow(qos) => self.rogue.flood(READ_SLOWLY, qos).map(|()| true),
            Trouble::Everything(_) => self.rogue.read().map(|()| true),
            Trouble::Back(waiting) => self.rogue.read().map(|()| self.rogue.came < waiting as u64),
        }
    }

    /// It lets go: messages it moved.
    pub fn end(self) -> u64 {
        if let Trouble::Back(_) = self.trouble {
            // Its last acknowledgements arrive, so that nothing waits for it the next time but what is new.
            thread::sleep(Duration::from_millis(200));
        }
        match self.trouble {
            Trouble::Flood(0) | Trouble::FloodToSlow(0) => self.rogue.sent,
            Trouble::Flood(_) | Trouble::FloodToSlow(_) => self.rogue.acknowledged,
            Trouble::Nobody | Trouble::Deaf(_) | Trouble::Back(_) | Trouble::Everything(_) => self.rogue.came,
        }
    }
}
