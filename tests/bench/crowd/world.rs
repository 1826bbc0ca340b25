//! One core, its broker and store, and the clients' ends of all connections.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heraldmq::access::Permissions;
use heraldmq::broker::Broker;
use heraldmq::broker::directory::Directory;
use heraldmq::broker::index::Index;
use heraldmq::broker::later::Later;
use heraldmq::broker::repair::Repairs;
use heraldmq::broker::retain::Retained;
use heraldmq::clock::{Moment, Now};
use heraldmq::core::{Core, Door, Inbox, Ready, Shared};
use heraldmq::metrics::Board;
use heraldmq::net::{Layers, Pipe, Transport, pipe};
use heraldmq::session::Limits;
use heraldmq::store::memory::Memory;
use heraldmq::store::record::Epoch;
use heraldmq::store::rocks::Rocks;
use heraldmq::store::{Bounds, Level, Levels, Store};
use heraldmq::threshold::Rules;
use heraldmq::wake::Wake;

use crate::packet;

pub const KEEP_ALIVE_S: u16 = 300;
/// Connections that come in together.
const BATCH: usize = 500;
/// Messages that a publisher has outstanding.
const OUTSTANDING: usize = 60;
/// Descriptors left for everything else.
const SPARE_DESCRIPTORS: u64 = 600;
const PAYLOAD: [u8; 64] = [b'p'; 64];

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sync,
    Memory,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sync => "sync",
            Kind::Memory => "memory",
        }
    }
}

/// A client's end.
enum Far {
    Pipe(Pipe),
    Socket(TcpStream),
}

struct Client {
    far: Far,
    slot: u32,
}

pub struct World {
    core: Core,
    shared: Arc<Shared>,
    door: Arc<Door>,
    started: Instant,
    /// Simulated time that has passed beyond the real one.
    skipped: Duration,
    sessions: usize,
    publisher: Option<Client>,
    clients: Vec<Client>,
}

/// The ends of connections that nobody came in by yet.
pub type Wires = Vec<(Pipe, Pipe)>;

impl World {
    /// A broker on the store in `folder`, with what that has kept.
    pub fn open(kind: Kind, folder: &Path) -> Self {
        let started = Instant::now();
        let wall_at_start_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        let store: Arc<dyn Store> = match kind {
            Kind::Memory => Arc::new(Memory::instant(Bounds::default())),
            Kind::Sync => {
                let epoch = Epoch { wall_at_start_ms };
                Arc::new(Rocks::open(folder, Level::Sync, Bounds::default(), epoch).expect("a store"))
            }
        };
        let inboxes = vec![Arc::new(Inbox::new(Wake::silent()))];
        let broker = Arc::new(Broker {
            index: Index::new(),
            retained: Retained::default(),
            directory: Directory::new(),
            later: Later::new(),
            repairs: Repairs::default(),
            store,
            levels: Levels::default(),
        });
        let sessions = broker.recover(Now::default());
        let shared = Arc::new(Shared { broker, inboxes, auth: None, board: Arc::new(Board::new(1)) });
        let anonymous_may = Arc::new(Permissions::everything());
        let rules = Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may };
        let door = Arc::new(Door::new("crowd", Arc::new(rules), Arc::new(Limits::default()), 60_000, 8192));
        let core = Core::new(0, Arc::clone(&shared), Now::default());
        let skipped = Duration::ZERO;
        Self { core, shared, door, started, skipped, sessions, publisher: None, clients: Vec::new() }
    }

    /// Sessions that the store had.
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    pub fn connections(&self) -> usize {
        self.core.connections()
    }

    /// Connections over sockets that this process may have: each takes two descriptors here.
    pub fn sockets_allowed(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024);
        (limit.saturating_sub(SPARE_DESCRIPTORS) / 2) as usize
    }

    /// Pipes for so many connections.
    pub fn lay_wires(&self, count: usize) -> Wires {
        (0..count).map(|_| pipe(4096)).collect()
    }

    /// So many clients come in, the last `sockets` of them over sockets.
    pub fn connect(&mut self, count: usize, sockets: usize) {
        let wires = self.lay_wires(count - sockets);
        self.connect_over(wires);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("an address");
        let mut left = sockets;
        while left > 0 {
            let batch = left.min(100);
            let ends = (0..batch).map(|_| {
                let far = TcpStream::connect(at).expect("a connection");
                let (near, _) = listener.accept().expect("its other end");
                near.set_nonblocking(true).and_then(|()| far.set_nonblocking(true)).expect("a socket");
                (Transport::Tcp(mio::net::TcpStream::from_std(near)), Far::Socket(far))
            });
            let ends = ends.collect();
            self.enter(ends);
            left -= batch;
        }
    }

    /// A client comes in by each of these.
    pub fn connect_over(&mut self, wires: Wires) {
        let mut wires = wires.into_iter();
        loop {
            let batch = wires.by_ref().take(BATCH).map(|(near, far)| (Transport::Pipe(near), Far::Pipe(far)));
            let batch: Vec<_> = batch.collect();
            if batch.is_empty() {
                return;
            }
            self.enter(batch);
        }
    }

    fn enter(&mut self, ends: Vec<(Transport, Far)>) {
        let first = self.clients.len();
        for (near, far) in ends {
            let number = self.clients.len();
            let mut client = self.admit(near, far);
            client.send(&packet::connect(&format!("device-{number:08}"), KEEP_ALIVE_S));
            client.send(&packet::subscribe(&topic_of(number), 1));
            self.clients.push(client);
        }
        let mut codes = vec![Vec::new(); self.clients.len() - first];
        self.turn_until(first..self.clients.len(), |at, packet| {
            codes[at - first].push((packet[0], *packet.last().expect("no empty packet")));
            codes[at - first].len() == 2
        });
        assert!(codes.iter().all(|seen| seen[0].0 == packet::CONNACK && seen[1] == (0x90, 1)), "let in and subscribed");
    }

    fn admit(&mut self, near: Transport, far: Far) -> Client {
        let slot = self.core.admit(near, Layers::Plain, &self.door, IpAddr::V4(Ipv4Addr::LOCALHOST));
        Client { far, slot }
    }

    fn now(&self) -> Now {
        let ms = (self.started.elapsed() + self.skipped).as_millis() as u64;
        Now { moment: Moment::from_ms(ms), wall_ms: ms }
    }

    fn turn(&mut self, slots: impl IntoIterator<Item = u32>) {
        let ready = slots.into_iter().map(|slot| Ready { slot, readable: true, writable: true, read_closed: false });
        let ready: Vec<Ready> = ready.collect();
        let mut mail = Vec::new();
        self.shared.inboxes[0].take(&mut mail);
        let now = self.now();
        self.core.turn(&ready, &mut mail, now);
    }

    /// Turns until `enough` was true once for each of these clients. It is given whose packet it is, and the packet.
    fn turn_until(&mut self, clients: std::ops::Range<usize>, mut enough: impl FnMut(usize, &[u8]) -> bool) {
        let mut waiting: Vec<usize> = clients.collect();
        self.turn(waiting.iter().map(|at| self.clients[*at].slot).collect::<Vec<_>>());
        let mut buffer = vec![0; 64 * 1024];
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|at| {
                let (mut done, mut acks) = (false, Vec::new());
                let client = &mut self.clients[*at];
                let count = client.receive(&mut buffer);
                packet::each(&buffer[..count], |packet| {
                    if packet[0] & 0xF6 == 0x32 {
                        acks.extend(packet::puback(packet::id_of(packet)));
                    }
                    done |= enough(*at, packet);
                });
                client.send(&acks);
                !done
            });
            let slots: Vec<u32> = waiting.iter().map(|at| self.clients[*at].slot).collect();
            if slots.len() == before {
                // For the store.
                std::thread::sleep(Duration::from_micros(100));
            }
            self.turn(slots);
        }
    }

    /// One publisher sends so many QoS 1 messages to the first `users` in turn; everybody acknowledges.
    pub fn push(&mut self, messages: usize, users: usize) {
        let mut publisher = self.publisher.take().unwrap_or_else(|| {
            let (near, far) = pipe(1 << 20);
            let mut publisher = self.admit(Transport::Pipe(near), Far::Pipe(far));
            publisher.send(&packet::connect("publisher", 0));
            let slot = publisher.slot;
            while publisher.receive(&mut [0; 64]) == 0 {
                self.turn([slot]);
            }
            publisher
        });
        // A stride that comes by everybody: the next user's memory is not the neighbour's.
        let user = |number: usize| number * 7919 % users;
        let (mut sent, mut answered) = (0, 0);
        let mut buffer = vec![0; 64 * 1024];
        while answered < messages {
            let from = sent;
            while sent < messages && sent - answered < OUTSTANDING {
                publisher.send(&packet::publish(&topic_of(user(sent)), 1, sent as u16 % 60_000 + 1, &PAYLOAD));
                sent += 1;
            }
            self.turn([publisher.slot]);
            for number in from..sent {
                let client = &mut self.clients[user(number)];
                let count = client.receive(&mut buffer);
                let mut acks = Vec::new();
                packet::each(&buffer[..count], |packet| acks.extend(packet::puback(packet::id_of(packet))));
                client.send(&acks);
            }
            let slots: Vec<u32> = (from..sent).map(|number| self.clients[user(number)].slot).collect();
            self.turn(slots);
            let count = publisher.receive(&mut buffer);
            packet::each(&buffer[..count], |packet| answered += usize::from(packet[0] == packet::PUBACK));
            if count == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        self.publisher = Some(publisher);
    }

    /// Lets time pass, a second a turn; everybody keeps alive, some each second. Returns the number of PINGREQs.
    pub fn pass(&mut self, time: Duration) -> usize {
        let mut pings = 0;
        let mut buffer = [0; 64];
        for second in 0..time.as_secs() as usize {
            self.skipped += Duration::from_secs(1);
            let of_this_second = (second % usize::from(KEEP_ALIVE_S)..self.clients.len()).step_by(KEEP_ALIVE_S.into());
            let mut slots = Vec::with_capacity(of_this_second.len());
            for at in of_this_second.clone() {
                self.clients[at].send(&packet::PINGREQ);
                slots.push(self.clients[at].slot);
            }
            pings += slots.len();
            self.turn(slots);
            for at in of_this_second {
                let count = self.clients[at].receive(&mut buffer);
                assert_eq!(buffer[..count], [0xD0, 0], "PINGRESP");
            }
        }
        pings
    }

    pub fn subscribe_all(&mut self, filter: &str) {
        for first in (0..self.clients.len()).step_by(BATCH) {
            let batch = first..(first + BATCH).min(self.clients.len());
            self.clients[batch.clone()].iter_mut().for_each(|client| client.send(&packet::subscribe(filter, 1)));
            self.turn_until(batch, |_, packet| packet[0] == 0x90);
        }
    }

    /// One message; returns how many got it.
    pub fn broadcast(&mut self, topic: &str, qos: u8) -> usize {
        let Some(publisher) = &mut self.publisher else { return 0 };
        publisher.send(&packet::publish(topic, qos, 1, &PAYLOAD));
        let slot = publisher.slot;
        self.turn([slot]);
        let mut got = 0;
        self.turn_until(0..self.clients.len(), |_, packet| {
            let is_it = packet[0] & 0xF0 == 0x30;
            got += usize::from(is_it);
            is_it
        });
        // The acknowledgements of the last.
        let slots: Vec<u32> = self.clients.iter().map(|client| client.slot).chain([slot]).collect();
        self.turn(slots);
        got
    }

    /// Everybody's connection is gone.
    pub fn forget_connections(&mut self) {
        let slots: Vec<u32> = self.clients.drain(..).chain(self.publisher.take()).map(|client| client.slot).collect();
        self.turn(slots.iter().copied());
        self.turn(slots);
        assert_eq!(self.connections(), 0);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shared.broker.store.close();
    }
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.far {
            _ if bytes.is_empty() => Ok(0),
            Far::Pipe(pipe) => pipe.write(bytes),
            Far::Socket(socket) => socket.write(bytes),
        };
        assert_eq!(sent.expect("room"), bytes.len(), "the wire is wide enough");
    }

    fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let received = match &mut self.far {
            Far::Pipe(pipe) => pipe.read(buffer),
            Far::Socket(socket) => socket.read(buffer),
        };
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other.expect("the connection is there"),
        }
    }
}

fn topic_of(number: usize) -> String {
    format!("biz/order/user/{number:08}")
}
