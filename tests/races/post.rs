//! A core with the clients it let in, what those saw, and the house that several cores share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::access::Permissions;
use crate::broker::Broker;
use crate::broker::directory::Directory;
use crate::broker::index::Index;
use crate::broker::later::Later;
use crate::broker::repair::Repairs;
use crate::broker::retain::Retained;
use crate::clock::{Moment, Now};
use crate::core::{Core, Door, Inbox, Mail, Ready, Shared};
use crate::metrics::{Board, Metric};
use crate::net::{Layers, Pipe, Transport, pipe};
use crate::session::Limits;
use crate::store::memory::Memory;
use crate::store::{Bounds, Levels, Store};
use crate::support::build::{self, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::support::packet::{Packet, Publish, decode};
use crate::support::wire::Version;
use crate::threshold::Rules;
use crate::wake::Wake;

/// Bytes a wire holds: more than any of these races writes.
const WIRE: usize = 16 * 1024;

/// What all cores of one race share.
pub struct House {
    pub store: Arc<Memory>,
    pub shared: Arc<Shared>,
    door: Arc<Door>,
}

impl House {
    /// A broker of so many cores, at time 1 ms, on a disk that has to be told to commit.
    pub fn new(cores: usize) -> (Arc<Self>, Vec<Post>) {
        Self::on(Memory::manual(Bounds::default()), cores)
    }

    /// One where everything is durable at once.
    pub fn without_disk(cores: usize) -> (Arc<Self>, Vec<Post>) {
        Self::on(Memory::instant(Bounds::default()), cores)
    }

    fn on(store: Memory, cores: usize) -> (Arc<Self>, Vec<Post>) {
        let store = Arc::new(store);
        let broker = Broker {
            index: Index::new(),
            retained: Retained::default(),
            directory: Directory::new(),
            later: Later::new(),
            repairs: Repairs::default(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            levels: Levels::default(),
        };
        let inboxes = (0..cores).map(|_| Arc::new(Inbox::new(Wake::silent()))).collect();
        let board = Arc::new(Board::new(cores));
        let shared = Arc::new(Shared { broker: Arc::new(broker), inboxes, auth: None, board });
        let everything = Arc::new(Permissions::everything());
        let rules = Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may: everything };
        let door = Arc::new(Door::new("raced", Arc::new(rules), Arc::new(Limits::default()), 10_000, 100));
        let house = Arc::new(Self { store, shared, door });
        let posts = (0..cores).map(|id| Post::new(id, &house)).collect();
        (house, posts)
    }

    /// Everything appended so far reaches the disk.
    pub fn commit(&self) {
        self.store.commit(self.store.appended());
    }

    /// What is true at rest, whatever happened: the store and the index know the same subscriptions, the directory the same
    /// sessions and `others` that end with their connection, each with so many subscriptions.
    pub fn assert_consistent(&self, others: &[usize]) {
        let saved = self.store.recover();
        let subscriptions: usize = saved.sessions.iter().map(|(_, subscriptions, _)| subscriptions.len()).sum();
        assert_eq!(
            self.shared.broker.index.subscriptions(),
            subscriptions + others.iter().sum::<usize>(),
            "{:?}",
            saved.sessions
        );
        assert_eq!(self.shared.broker.directory.len(), saved.sessions.len() + others.len(), "{:?}", saved.sessions);
        assert_eq!(self.shared.board.sum().value(Metric::CaughtPanics), 0, "a panic was caught");
    }
}

/// One client's connection.
pub struct Peer {
    slot: u32,
    far: Pipe,
    unread: Vec<u8>,
    hung_up: bool,
    /// Session Present of its CONNACK.
    pub present: Option<bool>,
    /// Reason code of the CONNACK that refused it.
    pub refused: Option<u8>,
    /// The broker has closed it.
    pub closed: bool,
    /// PUBLISHs and PUBRELs in their order.
    pub got: Vec<Got>,
    /// Identifiers of the PUBACKs and PUBCOMPs, SUBACKs and UNSUBACKs it got.
    pub finished: Vec<u16>,
}

/// What a client was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Message { payload: String, qos: u8, id: u16, dup: bool },
    Release(u16),
}

impl Peer {
    fn read(&mut self) -> bool {
        let mut chunk = [0; 1024];
        let mut busy = false;
        while let Ok(count) = self.far.read(&mut chunk) {
            if count == 0 {
                busy |= !self.closed;
                self.closed = true;
                break;
            }
            busy = true;
            self.unread.extend_from_slice(&chunk[..count]);
        }
        while let Some((packet, size)) = decode(Version::V5, &self.unread).expect("a server's packet") {
            self.unread.drain(..size);
            self.take(packet);
        }
        busy
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Connack(connack) if connack.code == 0 => self.present = Some(connack.session_present),
            Packet::Connack(connack) => self.refused = Some(connack.code),
            Packet::Publish(publish) => self.take_publish(publish),
            Packet::Suback(codes) | Packet::Unsuback(codes) => self.finished.push(codes.id),
            Packet::Ack(ack) => match ack.first {
                PUBREC => self.say(&build::ack(PUBREL, ack.id, 0)),
                PUBREL => {
                    self.got.push(Got::Release(ack.id));
                    self.say(&build::ack(PUBCOMP, ack.id, 0));
                }
                _ => self.finished.push(ack.id),
            },
            Packet::Disconnect(_) => {}
            other => panic!("{other:?} was not asked for"),
        }
    }

    fn take_publish(&mut self, publish: Publish) {
        let Publish { qos, id, dup, .. } = publish;
        let payload = String::from_utf8(publish.payload).expect("only text is published");
        self.got.push(Got::Message { payload, qos, id, dup });
        match qos {
            0 => {}
            1 => self.say(&build::ack(PUBACK, id, 0)),
            _ => self.say(&build::ack(PUBREC, id, 0)),
        }
    }

    /// Writes a packet; one that nobody reads any more is lost.
    pub fn say(&mut self, bytes: &[u8]) {
        if !self.hung_up
            && let Ok(count) = self.far.write(bytes)
        {
            assert_eq!(count, bytes.len(), "the wire is long enough");
        }
    }

    /// Its network breaks.
    pub fn vanish(&mut self) {
        self.far.close_write();
        self.hung_up = true;
    }

    /// Payloads in the order in which they came, repeats included.
    pub fn payloads(&self) -> Vec<&str> {
        self.got
            .iter()
            .filter_map(|got| match got {
                Got::Message { payload, .. } => Some(payload.as_str()),
                Got::Release(_) => None,
            })
            .collect()
    }
}

/// A core and its connections.
pub struct Post {
    pub house: Arc<House>,
    pub peers: Vec<Peer>,
    /// What its clock says.
    pub now_ms: u64,
    id: usize,
    core: Core,
    /// Something happened in its last turn, so there may be more to read.
    is_restless: bool,
}

impl Post {
    fn new(id: usize, house: &Arc<House>) -> Self {
        let core = Core::new(id as u8, Arc::clone(&house.shared), now(1));
        Self { house: Arc::clone(house), peers: Vec::new(), now_ms: 1, id, core, is_restless: false }
    }

    /// A client comes; the number of its connection.
    pub fn enter(&mut self, connect: &Connect) -> usize {
        let (near, far) = pipe(WIRE);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let slot = self.core.admit(Transport::Pipe(near), Layers::Plain, &self.house.door, peer);
        let (unread, got, finished) = Default::default();
        let mut peer =
            Peer { slot, far, unread, hung_up: false, present: None, refused: None, closed: false, got, finished };
        peer.say(&connect.bytes());
        self.peers.push(peer);
        self.peers.len() - 1
    }

    /// One turn of the core, and of its clients. `true` if anything happened.
    pub fn turn(&mut self) -> bool {
        let mail = self.mail();
        self.turn_with(mail)
    }

    /// One turn, if there is mail or something to read.
    pub fn turn_if_woken(&mut self) -> bool {
        let mail = self.mail();
        (self.is_restless || !mail.is_empty()) && {
            self.turn_with(mail);
            true
        }
    }

    fn mail(&self) -> Vec<Mail> {
        let mut mail = Vec::new();
        self.house.shared.inboxes[self.id].take(&mut mail);
        mail
    }

    fn turn_with(&mut self, mut mail: Vec<Mail>) -> bool {
        let mut busy = !mail.is_empty();
        let open = self.peers.iter().filter(|peer| !peer.closed);
        let ready: Vec<Ready> = open
            .map(|peer| Ready { slot: peer.slot, readable: true, writable: true, read_closed: peer.hung_up })
            .collect();
        self.core.turn(&ready, &mut mail, now(self.now_ms));
        for peer in &mut self.peers {
            busy |= !peer.closed && peer.read();
        }
        self.is_restless = busy;
        busy
    }

    /// So many turns, whatever happens.
    pub fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.turn();
        });
    }
}

fn now(ms: u64) -> Now {
    Now { moment: Moment::from_ms(ms), wall_ms: ms }
}

/// Takes turns and commits until nothing happens any more.
pub fn settle(posts: &mut [Post]) {
    let mut quiet = 0;
    for _ in 0..200 {
        posts[0].house.commit();
        let busy = posts.iter_mut().fold(false, |busy, post| post.turn() | busy);
        quiet = if busy { 0 } else { quiet + 1 };
        if quiet > 2 {
            return;
        }
    }
    panic!("it does not come to rest");
}
