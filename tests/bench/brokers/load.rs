//! All clients of one broker, driven by one thread: connecting, subscribing, publishing and acknowledging.

use std::io::ErrorKind;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Poll};
use rustls::ClientConfig;

use super::link::Link;
use super::packet::{self, Frame, Publish};

const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// Without any packet for so long, what is missing is lost.
pub const PATIENCE: Duration = Duration::from_secs(2);
const PATIENT_STEP: Duration = Duration::from_millis(20);

/// Where a broker is reached.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

/// Packets that came from the broker.
#[derive(Default)]
pub struct Seen {
    pub connack: u64,
    pub suback: u64,
    pub puback: u64,
    pub pingresp: u64,
    pub publish: u64,
    /// Of each PUBLISH with a stamp, nanoseconds since that moment.
    pub latencies: Vec<u32>,
}

impl Seen {
    fn packets(&self) -> u64 {
        self.connack + self.suback + self.puback + self.pingresp + self.publish
    }
}

/// The clients of one broker.
pub struct Load {
    poll: Poll,
    events: Option<Events>,
    links: Vec<Link>,
    packet_ids: Vec<u16>,
    /// Links with something to write.
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    started: Instant,
    pub seen: Seen,
}

impl Load {
    pub fn new() -> Result<Load> {
        Ok(Load {
            poll: Poll::new()?,
            events: Some(Events::with_capacity(EVENTS)),
            links: Vec::new(),
            packet_ids: Vec::new(),
            dirty: Vec::new(),
            scratch: vec![0; READ_BYTES],
            started: Instant::now(),
            seen: Seen::default(),
        })
    }

    /// Nanoseconds since the load began: what a payload is stamped with.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Connects `count` more clients, at most `at_once` at a time, each until its CONNACK.
    pub fn connect(&mut self, target: &Target, count: usize, at_once: usize) -> Result<()> {
        let first = self.links.len();
        let opened = |load: &mut Load, i: usize| {
            let link = Link::open(target.address, target.tls.as_ref(), load.poll.registry(), first + i)?;
            load.links.push(link);
            load.packet_ids.push(0);
            packet::connect(&mut load.links[first + i].out, &format!("load-{}", first + i));
            load.dirty.push(first + i);
            Ok(())
        };
        self.in_steps("CONNECT", Steps { count, at_once, answered: |seen| seen.connack }, opened)
    }

    /// Has each client of the range subscribe to the filter it is given, one SUBSCRIBE each, until its SUBACK.
    pub fn subscribe(&mut self, clients: std::ops::Range<usize>, filters: &[String], qos: u8) -> Result<()> {
        let asked = |load: &mut Load, i: usize| {
            packet::subscribe(load.out(clients.start + i), 1, &filters[i % filters.len()], qos);
            Ok(())
        };
        self.in_steps("SUBSCRIBE", Steps { count: clients.len(), at_once: 50, answered: |seen| seen.suback }, asked)
    }

    /// One PINGREQ from each of the first `count` clients.
    pub fn ping(&mut self, count: usize) -> Result<()> {
        let asked = |load: &mut Load, i: usize| {
            packet::empty(load.out(i), packet::PINGREQ);
            Ok(())
        };
        self.in_steps("PINGREQ", Steps { count, at_once: 50, answered: |seen| seen.pingresp }, asked)
    }

    /// Does `one` for each number up to the count, with so many unanswered at a time, until all are answered.
    fn in_steps(
        &mut self,
        what: &str,
        steps: Steps,
        mut one: impl FnMut(&mut Load, usize) -> Result<()>,
    ) -> Result<()> {
        let before = (steps.answered)(&self.seen);
        let mut begun = 0;
        while begun < steps.count || (steps.answered)(&self.seen) - before < steps.count as u64 {
            let answered = ((steps.answered)(&self.seen) - before) as usize;
            while begun < steps.count && begun - answered < steps.at_once {
                one(self, begun).with_context(|| format!("{what} {begun} of {}", steps.count))?;
                begun += 1;
            }
            let context = || format!("{what}: {answered} of {} answered", steps.count);
            ensure!(self.turn_patiently().with_context(context)?, "no answer; {}", context());
        }
        Ok(())
    }

    /// Lets `publisher` send one message, stamped with `stamp`, with the next turn or flush.
    pub fn publish(&mut self, publisher: usize, qos: u8, topic: &str, payload: &mut [u8], stamp: u64) {
        if let Some(start) = payload.first_chunk_mut() {
            *start = stamp.to_le_bytes();
        }
        let id = &mut self.packet_ids[publisher];
        *id = id.checked_add(1).unwrap_or(1);
        let publish = Publish { topic: topic.as_bytes(), packet_id: *id, payload };
        packet::publish(self.out(publisher), qos, &publish);
    }

    fn out(&mut self, client: usize) -> &mut Vec<u8> {
        let link = &mut self.links[client];
        if link.out.is_empty() {
            self.dirty.push(client);
        }
        &mut link.out
    }

    /// Turns until some packet has come; `false` if none came in [`PATIENCE`].
    pub fn turn_patiently(&mut self) -> Result<bool> {
        let (before, until) = (self.seen.packets(), Instant::now() + PATIENCE);
        while self.seen.packets() == before {
            if Instant::now() > until {
                return Ok(false);
            }
            self.turn(PATIENT_STEP)?;
        }
        Ok(true)
    }

    /// Writes what is to be written, waits for something to read for at most `timeout`, and answers it.
    pub fn turn(&mut self, timeout: Duration) -> Result<()> {
        self.flush()?;
        let Some(mut events) = self.events.take() else { bail!("a turn inside a turn") };
        let result = match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Err(_) => Ok(()),
            Ok(()) => self.answer(&events),
        };
        self.events = Some(events);
        result?;
        self.flush()
    }

    pub fn flush(&mut self) -> Result<()> {
        let mut dirty = mem::take(&mut self.dirty);
        for client in dirty.drain(..) {
            self.links[client].flush().with_context(|| format!("client {client}"))?;
        }
        self.dirty = dirty;
        Ok(())
    }

    fn answer(&mut self, events: &Events) -> Result<()> {
        for event in events.iter() {
            let client = event.token().0;
            let context = || format!("client {client}");
            if event.is_writable() {
                self.links[client].writable().with_context(context)?;
            }
            if event.is_readable() {
                self.receive(client).with_context(context)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, client: usize) -> Result<()> {
        let mut scratch = mem::take(&mut self.scratch);
        loop {
            let Some(read) = self.links[client].read(&mut scratch)? else { break };
            let partial = mem::take(&mut self.links[client].partial);
            if partial.is_empty() {
                self.packets(client, &scratch[..read])?;
            } else {
                self.packets(client, &[&partial, &scratch[..read]].concat())?;
            }
            // A short read from a socket has emptied it; what TLS holds back cannot be seen.
            if read < READ_BYTES && !self.links[client].is_tls() {
                break;
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    fn packets(&mut self, client: usize, mut bytes: &[u8]) -> Result<()> {
        let now = self.now();
        while let Some(frame) = packet::take(&mut bytes)? {
            match frame.kind {
                packet::PUBLISH => self.delivered(client, &frame, now)?,
                packet::PUBACK => self.seen.puback += 1,
                packet::CONNACK => {
                    ensure!(frame.body.get(1) == Some(&0), "refused: CONNACK {:?}", frame.body);
                    self.seen.connack += 1;
                }
                packet::SUBACK => {
                    ensure!(frame.body.last().is_some_and(|code| *code < 0x80), "SUBSCRIBE refused");
                    self.seen.suback += 1;
                }
                packet::PINGRESP => self.seen.pingresp += 1,
                kind => bail!("a packet of type {kind}"),
            }
        }
        self.links[client].partial.extend_from_slice(bytes);
        Ok(())
    }

    fn delivered(&mut self, client: usize, frame: &Frame<'_>, now: u64) -> Result<()> {
        let publish = frame.publish()?;
        if frame.qos() == 1 {
            packet::puback(self.out(client), publish.packet_id);
        }
        if let Some(stamp) = publish.payload.first_chunk() {
            self.seen.latencies.push(now.saturating_sub(u64::from_le_bytes(*stamp)).try_into().unwrap_or(u32::MAX));
        }
        self.seen.publish += 1;
        Ok(())
    }
}

/// Something done many times over, some at a time.
struct Steps {
    count: usize,
    at_once: usize,
    /// How many were answered since the load began.
    answered: fn(&Seen) -> u64,
}
