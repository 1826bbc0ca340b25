//! All clients of one broker, driven by one thread: connecting, subscribing, publishing and acknowledging.

mod receive;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::mem;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::BenchError;
use super::histogram::Histogram;
use super::link::{Link, Target};
use super::packet::{self, Connect, Publish, Version};

const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// Without any packet for so long, what is missing is lost.
pub const PATIENCE: Duration = Duration::from_secs(10);
const PATIENT_STEP: Duration = Duration::from_millis(20);
/// SUBSCRIBE and PINGREQ packets unanswered at one time.
const ASKED_AT_ONCE: usize = 50;

/// Clients that are alike.
#[derive(Debug, Clone)]
pub struct Kin {
    /// Where they connect.
    pub target: Target,
    /// What they speak.
    pub version: Version,
    /// Each is called this and a number.
    pub name: String,
    /// Whether their sessions outlive their connections, and former ones are gone on with.
    pub durable: bool,
    /// Seconds of their Keep Alive, which nobody keeps; 0: none, so that nothing happens that the load did not ask for.
    pub keep_alive_s: u16,
    /// User Name and Password.
    pub login: Option<(String, String)>,
}

/// What came from the broker.
#[derive(Debug, Default)]
pub struct Seen {
    /// CONNACK packets that accept.
    pub connack: u64,
    /// SUBACK packets that grant.
    pub suback: u64,
    /// PUBACK and PUBCOMP: publications that are done.
    pub acknowledged: u64,
    /// Acknowledgements that refuse.
    pub refused: u64,
    /// PINGRESP packets.
    pub pingresp: u64,
    /// PUBLISH packets.
    pub publish: u64,
    /// Connections that failed.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// From the moment a message was due to its arrival.
    pub deliveries: Histogram,
    /// From the moment a message was due to its PUBACK or PUBCOMP.
    pub acknowledgements: Histogram,
}

impl Seen {
    fn packets(&self) -> u64 {
        self.connack + self.suback + self.acknowledged + self.pingresp + self.publish + self.errors
    }
}

/// One client.
#[derive(Debug)]
struct Client {
    link: Link,
    version: Version,
    packet_id: u16,
    /// How many publications may be unacknowledged.
    window: usize,
    /// When those that are unacknowledged were due, in order.
    due: VecDeque<u64>,
    is_closed: bool,
    /// It does not read.
    is_deaf: bool,
}

/// The clients of one broker.
#[derive(Debug)]
pub struct Load {
    poll: Poll,
    events: Option<Events>,
    clients: Vec<Client>,
    /// Clients with something to write.
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    started: Instant,
    /// Whether a client that fails is counted, and the others go on.
    pub is_tolerant: bool,
    /// What came so far.
    pub seen: Seen,
}

impl Load {
    /// Without clients.
    ///
    /// # Errors
    /// The kernel gives no `epoll`.
    pub fn new() -> Result<Load, BenchError> {
        Ok(Load {
            poll: Poll::new()?,
            events: Some(Events::with_capacity(EVENTS)),
            clients: Vec::new(),
            dirty: Vec::new(),
            scratch: vec![0; READ_BYTES],
            started: Instant::now(),
            is_tolerant: false,
            seen: Seen::default(),
        })
    }

    /// Nanoseconds since the load began: what a payload is stamped with.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Connects `count` more clients, at most `at_once` at a time, each until its CONNACK.
    ///
    /// # Errors
    /// One could not connect, or was not answered.
    pub fn connect(&mut self, kin: &Kin, count: usize, at_once: usize) -> Result<(), BenchError> {
        let first = self.clients.len();
        let opened = |load: &mut Load, i: usize| {
            let link = Link::open(&kin.target, load.poll.registry(), first + i)?;
            load.clients.push(Client {
                link,
                version: kin.version,
                packet_id: 0,
                window: usize::from(u16::MAX),
                due: VecDeque::new(),
                is_closed: false,
                is_deaf: false,
            });
            let login = kin.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            let (client_id, version) = (&format!("{}-{i}", kin.name), kin.version);
            let (durable, keep_alive_s) = (kin.durable, kin.keep_alive_s);
            let connect = Connect { version, client_id, durable, keep_alive_s, login };
            packet::connect(load.out(first + i), &connect);
            Ok(())
        };
        self.in_steps(&Steps { what: "CONNECT", count, at_once, answered: |seen| seen.connack }, opened)
    }

    /// Has each client of the range subscribe to the filter it is given, one SUBSCRIBE each, until its SUBACK.
    ///
    /// # Errors
    /// One was refused or not answered.
    pub fn subscribe(&mut self, clients: Range<usize>, filters: &[String], qos: u8) -> Result<(), BenchError> {
        let asked = |load: &mut Load, i: usize| {
            let version = load.clients[clients.start + i].version;
            packet::subscribe(load.out(clients.start + i), version, &filters[i % filters.len()..][..1], qos);
            Ok(())
        };
        self.in_steps(&Steps::asked("SUBSCRIBE", clients.len(), |seen| seen.suback), asked)
    }

    /// Has one client subscribe to all the filters, `in_one` in each SUBSCRIBE.
    ///
    /// # Errors
    /// It was refused or not answered.
    pub fn subscribe_to_all(&mut self, client: usize, filters: &[String], in_one: usize) -> Result<(), BenchError> {
        let parts: Vec<&[String]> = filters.chunks(in_one).collect();
        let asked = |load: &mut Load, i: usize| {
            let version = load.clients[client].version;
            packet::subscribe(load.out(client), version, parts[i], 1);
            Ok(())
        };
        self.in_steps(&Steps::asked("SUBSCRIBE", parts.len(), |seen| seen.suback), asked)
    }

    /// One PINGREQ from each of the first `count` clients.
    ///
    /// # Errors
    /// One was not answered.
    pub fn ping(&mut self, count: usize) -> Result<(), BenchError> {
        let asked = |load: &mut Load, i: usize| {
            packet::empty(load.out(i), packet::PINGREQ);
            Ok(())
        };
        self.in_steps(&Steps::asked("PINGREQ", count, |seen| seen.pingresp), asked)
    }

    /// Does `one` for each number up to the count, with so many unanswered at a time, until all are answered.
    fn in_steps(
        &mut self,
        steps: &Steps,
        mut one: impl FnMut(&mut Load, usize) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let before = (steps.answered)(&self.seen);
        let mut begun = 0;
        while begun < steps.count || (steps.answered)(&self.seen) - before < steps.count as u64 {
            let answered = ((steps.answered)(&self.seen) - before) as usize;
            while begun < steps.count && begun - answered < steps.at_once {
                one(self, begun).map_err(|e| e.during(format!("{} {begun} of {}", steps.what, steps.count)))?;
                begun += 1;
            }
            let context = format!("{}: {answered} of {} answered", steps.what, steps.count);
            match self.turn_patiently() {
                Ok(true) => {}
                Ok(false) => return BenchError::broker(format!("{context}, then nothing")),
                Err(error) => return Err(error.during(context)),
            }
            if let Some(error) = self.seen.first_error.take() {
                return BenchError::broker(format!("{context}; {error}"));
            }
        }
        Ok(())
    }

    /// Cuts off all clients but the first `count`, none of which has anything under way.
    pub fn cut_off(&mut self, count: usize) {
        self.clients.truncate(count);
        self.dirty.retain(|client| *client < count);
    }

    /// From here on the client reads nothing more.
    pub fn deafen(&mut self, client: usize) {
        self.clients[client].is_deaf = true;
    }

    /// Whether the client's Receive Maximum leaves room for one more publication, and its connection stands.
    pub fn may_publish(&self, client: usize) -> bool {
        let client = &self.clients[client];
        !client.is_closed && client.due.len() < client.window
    }

    /// Lets `publisher` send one message that was due at `stamp`, with the next turn or flush.
    pub fn publish(&mut self, publisher: usize, qos: u8, topic: &str, payload: &mut [u8], stamp: u64) {
        if let Some(start) = payload.first_chunk_mut() {
            *start = stamp.to_le_bytes();
        }
        let client = &mut self.clients[publisher];
        if qos > 0 {
            client.due.push_back(stamp);
            client.packet_id = client.packet_id.checked_add(1).unwrap_or(1);
        }
        let (version, packet_id) = (client.version, client.packet_id);
        packet::publish(self.out(publisher), version, qos, &Publish { topic: topic.as_bytes(), packet_id, payload });
    }

    fn out(&mut self, client: usize) -> &mut Vec<u8> {
        let link = &mut self.clients[client].link;
        if link.out.is_empty() {
            self.dirty.push(client);
        }
        &mut link.out
    }

    /// Turns until some packet has come; `false` if none came in [`PATIENCE`].
    ///
    /// # Errors
    /// A client failed.
    pub fn turn_patiently(&mut self) -> Result<bool, BenchError> {
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
    ///
    /// # Errors
    /// A client failed.
    pub fn turn(&mut self, timeout: Duration) -> Result<(), BenchError> {
        self.flush()?;
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS));
        let result = match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Err(_) => Ok(()),
            Ok(()) => self.answer(&events),
        };
        self.events = Some(events);
        result?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let mut dirty = mem::take(&mut self.dirty);
        for client in dirty.drain(..) {
            let result = if self.clients[client].is_closed { Ok(()) } else { self.clients[client].link.flush() };
            self.judge(client, result)?;
        }
        self.dirty = dirty;
        Ok(())
    }

    fn answer(&mut self, events: &Events) -> Result<(), BenchError> {
        for event in events.iter() {
            let client = event.token().0;
            if event.is_writable() && !self.clients[client].is_closed {
                let result = self.clients[client].link.writable();
                self.judge(client, result)?;
            }
            if event.is_readable() && !self.clients[client].is_deaf && !self.clients[client].is_closed {
                let result = self.receive(client);
                self.judge(client, result)?;
            }
        }
        Ok(())
    }

    /// What becomes of a client's failure.
    fn judge(&mut self, client: usize, result: Result<(), BenchError>) -> Result<(), BenchError> {
        let Err(error) = result.map_err(|error| error.during(format!("client {client}"))) else { return Ok(()) };
        if !self.is_tolerant {
            return Err(error);
        }
        self.clients[client].is_closed = true;
        self.seen.errors += 1;
        self.seen.first_error.get_or_insert(error.to_string());
        Ok(())
    }

    /// All clients disconnect, and what they have written arrives.
    ///
    /// # Errors
    /// A connection is broken already.
    pub fn leave(mut self) -> Result<(), BenchError> {
        for client in 0..self.clients.len() {
            packet::empty(self.out(client), packet::DISCONNECT);
        }
        self.flush()?;
        self.clients.into_iter().try_for_each(|client| client.link.close())
    }
}

/// Something done many times over, some at a time.
struct Steps {
    what: &'static str,
    count: usize,
    at_once: usize,
    /// How many were answered since the load began.
    answered: fn(&Seen) -> u64,
}

impl Steps {
    fn asked(what: &'static str, count: usize, answered: fn(&Seen) -> u64) -> Self {
        Self { what, count, at_once: ASKED_AT_ONCE, answered }
    }
}
