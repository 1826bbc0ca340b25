//! Cores driven turn by turn, with pipes for sockets: what is ready, and when the store commits, is the test's to say.

/// The methods of a store that does what the one in `$to` does. Only what is different has to be written.
macro_rules! passes_on {
    ($to:tt: $($method:ident)*) => { $(passes_on!(@$method $to);)* };
    (@append_at $to:tt) => {
        fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
            self.$to.append_at(records, level)
        }
    };
    (@marks $to:tt) => {
        fn marks(&self) -> Marks {
            self.$to.marks()
        }
    };
    (@failed $to:tt) => {
        fn failed(&self, ticket: Ticket) -> bool {
            self.$to.failed(ticket)
        }
    };
    (@load $to:tt) => {
        fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>) {
            self.$to.load(session, answer);
        }
    };
    (@read_queue $to:tt) => {
        fn read_queue(
            &self,
            session: SessionId,
            after: Ticket,
            max: usize,
            now: Now,
            answer: Box<dyn FnOnce(Page) + Send>,
        ) {
            self.$to.read_queue(session, after, max, now, answer);
        }
    };
    (@level $to:tt) => {
        fn level(&self) -> Level {
            self.$to.level()
        }
    };
    (@recover $to:tt) => {
        fn recover(&self) -> Recovered {
            self.$to.recover()
        }
    };
    (@lost $to:tt) => {
        fn lost(&self) -> Lost {
            self.$to.lost()
        }
    };
}
pub(super) use passes_on;

mod authority;
mod claims;
mod early;
mod flow;
mod full;
mod levels;
mod mutual;
mod order;
mod panics;
mod pressure;
mod refused;
mod seats;

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::auth::{Files, Options as AuthOptions};
use crate::broker::directory::Directory;
use crate::broker::index::Index;
use crate::broker::later::Later;
use crate::broker::repair::Repairs;
use crate::broker::retain::Retained;
use crate::net::{Pipe, pipe};
use crate::session::Limits;
use crate::store::memory::Memory;
use crate::store::{Bounds, Level, Levels, Store, TopicLevels};
use crate::threshold::Rules;
use crate::wake::Wake;

/// A few cores, their store, and the time.
pub(super) struct Bench {
    pub(super) cores: Vec<Core>,
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<Memory>,
    pub(super) door: Arc<Door>,
    pub(super) now_ms: u64,
    capacity: usize,
}

/// A connection from the client's side.
pub(super) struct Line {
    pub(super) core: usize,
    pub(super) slot: u32,
    pub(super) far: Pipe,
}

impl Bench {
    /// Two cores; each direction of a connection holds `capacity` bytes.
    pub(super) fn new(store: Memory, limits: Limits, capacity: usize) -> Self {
        let store = Arc::new(store);
        Self::over(Arc::clone(&store) as Arc<dyn Store>, store, limits, capacity)
    }

    /// With a store that commits when the test says so, and topics of these levels; its clients come in at `listener`.
    pub(super) fn with_levels(topics: &[(&str, Level)], listener: Level) -> Self {
        let store = Arc::new(Memory::manual(Bounds::default()));
        let topics = TopicLevels::new(topics.iter().map(|(pattern, level)| (Box::from(*pattern), *level)));
        let seen = Arc::clone(&store) as Arc<dyn Store>;
        Self::built((seen, store), Directory::new(), (Limits::default(), 1 << 20), (topics, listener))
    }

    /// The same, with `seen` being what the cores see of the store.
    pub(super) fn over(seen: Arc<dyn Store>, store: Arc<Memory>, limits: Limits, capacity: usize) -> Self {
        Self::with(seen, store, Directory::new(), limits, capacity)
    }

    /// With room for so many sessions, and a store where everything is durable at once.
    pub(super) fn bounded(sessions_max: usize) -> Self {
        let store = Arc::new(Memory::instant(Bounds::default()));
        let seen = Arc::clone(&store) as Arc<dyn Store>;
        Self::with(seen, store, Directory::bounded(sessions_max), Limits::default(), 1 << 16)
    }

    fn with(seen: Arc<dyn Store>, store: Arc<Memory>, directory: Directory, limits: Limits, capacity: usize) -> Self {
        Self::built((seen, store), directory, (limits, capacity), (TopicLevels::default(), Level::Sync))
    }

    fn built(
        (seen, store): (Arc<dyn Store>, Arc<Memory>),
        directory: Directory,
        (limits, capacity): (Limits, usize),
        (topic_levels, level): (TopicLevels, Level),
    ) -> Self {
        let broker = Arc::new(Broker {
            index: Index::new(),
            retained: Retained::default(),
            directory,
            later: Later::new(),
            repairs: Repairs::default(),
            store: seen,
            levels: Levels { topics: topic_levels, listeners: Vec::new() },
        });
        let inboxes = (0..2).map(|_| Arc::new(Inbox::new(Wake::silent()))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let files = Files::read(&AuthOptions { password_file: None, acl_file: None }).unwrap();
        let auth = Some(Arc::new(Auth::new(files, runtime.handle().clone())));
        let shared = Arc::new(Shared { broker, inboxes, auth, board: Arc::new(Board::new(2)) });
        let anonymous_may = Arc::new(Permissions::everything());
        let rules = Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may };
        let door = Door::new("bench", Arc::new(rules), Arc::new(limits), 10_000, 8192);
        let door = Arc::new(door.at_level(level));
        let cores = (0..2).map(|id| Core::new(id, Arc::clone(&shared), Now::default())).collect();
        Self { cores, shared, store, door, now_ms: 0, capacity }
    }

    /// With a store where everything is durable at once, and wires that hold much.
    pub(super) fn plain() -> Self {
        Self::new(Memory::instant(Bounds::default()), Limits::default(), 1 << 20)
    }

    pub(super) fn now(&self) -> Now {
        Now { moment: Moment::from_ms(self.now_ms), wall_ms: self.now_ms }
    }

    pub(super) fn connect_over(&mut self, core: usize, layers: Layers) -> Line {
        let (near, far) = pipe(self.capacity);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let slot = self.cores[core].admit(Transport::Pipe(near), layers, &self.door, peer);
        Line { core, slot, far }
    }

    /// A connection on `core` whose CONNECT (5.0, Clean Start 0, this Session Expiry Interval) has been sent.
    pub(super) fn enter(&mut self, core: usize, client: &str, expiry_s: u32) -> Line {
        let mut line = self.connect_over(core, Layers::Plain);
        line.send(&connect(client, 0, expiry_s, &[]));
        line
    }

    /// The same, let in.
    pub(super) fn open(&mut self, core: usize, client: &str, expiry_s: u32) -> Line {
        let mut line = self.enter(core, client, expiry_s);
        self.settle(&[&line]);
        assert_eq!(line.read().first(), Some(&0x20), "CONNACK");
        line
    }

    /// One turn of a core, in which these lines are ready for everything.
    pub(super) fn turn(&mut self, core: usize, lines: &[&Line]) {
        let ready: Vec<Ready> = lines
            .iter()
            .filter(|line| line.core == core)
            .map(|line| Ready { slot: line.slot, readable: true, writable: true, read_closed: false })
            .collect();
        let mut mail = Vec::new();
        self.shared.inboxes[core].take(&mut mail);
        let now = self.now();
        self.cores[core].turn(&ready, &mut mail, now);
    }

    /// The client is gone, and its core learns it.
    pub(super) fn vanish(&mut self, line: Line) {
        let Line { core, slot, far } = line;
        drop(far);
        let now = self.now();
        let ready = Ready { slot, readable: true, writable: true, read_closed: true };
        self.cores[core].turn(&[ready], &mut Vec::new(), now);
    }

    /// A few turns of both cores, with everything committed.
    pub(super) fn settle(&mut self, lines: &[&Line]) {
        for _ in 0..6 {
            self.store.commit(self.store.appended());
            for core in 0..self.cores.len() {
                self.turn(core, lines);
            }
        }
    }

    pub(super) fn count(&self, metric: Metric) -> u64 {
        self.cores.iter().map(|core| core.counters.value(metric)).sum()
    }
}

impl Line {
    pub(super) fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.far.write(bytes).unwrap(), bytes.len(), "the wire is too small for this test");
    }

    /// What has arrived; nothing if the broker closed.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let count = self.far.read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

fn field(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet with a body below 128 bytes.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8][..], body].concat()
}

/// CONNECT of 5.0 without a keep alive. `flags` and what belongs to them behind the Client Identifier.
pub(super) fn connect(client: &str, flags: u8, expiry_s: u32, rest: &[u8]) -> Vec<u8> {
    let head = [&field("MQTT")[..], &[5, flags, 0, 0, 5, 0x11], &expiry_s.to_be_bytes()].concat();
    packet(0x10, &[&head[..], &field(client), rest].concat())
}

/// The same without flags, and with these properties.
pub(super) fn connect_with(client: &str, properties: &[u8]) -> Vec<u8> {
    let head = [&field("MQTT")[..], &[5, 0, 0, 0, properties.len() as u8], properties].concat();
    packet(0x10, &[&head[..], &field(client)].concat())
}

/// The will of a CONNECT: delay 0, empty payload.
pub(super) fn will(topic: &str, payload: &str) -> Vec<u8> {
    [&[0][..], &field(topic), &field(payload)].concat()
}

/// A CONNECT of 3.1.1 with Clean Session, without a keep alive.
pub(super) fn connect_v3(client: &str) -> Vec<u8> {
    packet(0x10, &[&field("MQTT")[..], &[4, 2, 0, 0], &field(client)].concat())
}

pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1, 0][..], &field(filter), &[qos]].concat())
}

/// PUBLISH at QoS 0 with this first byte.
pub(super) fn publish(first: u8, topic: &str, payload: &str) -> Vec<u8> {
    packet(first, &[&field(topic)[..], &[0], payload.as_bytes()].concat())
}

/// PUBLISH of 5.0 with this first byte and Packet Identifier.
pub(super) fn publish_as(first: u8, id: u16, topic: &str, payload: &str) -> Vec<u8> {
    packet(first, &[&field(topic)[..], &id.to_be_bytes(), &[0], payload.as_bytes()].concat())
}
