//! The steps: each is prepared once and then done again and again.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use heraldmq::access::Permissions;
use heraldmq::broker::Broker;
use heraldmq::broker::directory::Directory;
use heraldmq::broker::index::{Index, Interest};
use heraldmq::broker::later::Later;
use heraldmq::broker::plan::Plan;
use heraldmq::broker::repair::Repairs;
use heraldmq::broker::retain::Retained;
use heraldmq::broker::route::Routing;
use heraldmq::broker::seat::{Address, Seat};
use heraldmq::clock::Now;
use heraldmq::core::{Core, Door, Inbox, Ready, Shared};
use heraldmq::identity::{ClientId, Origin, SessionId, Ticket};
use heraldmq::message::{Message, Parts};
use heraldmq::metrics::Board;
use heraldmq::mqtt::frame::{Split, split};
use heraldmq::mqtt::publish::Templates;
use heraldmq::mqtt::{Ack, Out, Packet, PacketId, Peer, ProtocolVersion, QoS, ReasonCode, decode};
use heraldmq::net::{Layers, Pipe, Transport, pipe};
use heraldmq::session::{Change, Delivery, Desk, Effect, Limits, Opening, Session};
use heraldmq::store::memory::Memory;
use heraldmq::store::record::{self, Epoch};
use heraldmq::store::{Bounds, Levels, Publisher, Recipient, Record, SessionRecord, Store};
use heraldmq::threshold::Rules;
use heraldmq::topic::filter::TopicFilter;
use heraldmq::wake::Wake;

/// Users that have a subscription where a message is routed to one of them.
const USERS: usize = 20_000;
/// Of those, so many that get messages in turn.
const ROUTED: usize = 500;
const PAYLOAD: [u8; 64] = [b'p'; 64];
const TOPIC: &str = "biz/order/user/00000042";

type Step = Box<dyn FnMut()>;

pub const NAMES: [&str; 10] = [
    "decode PUBLISH",
    "decode SUBSCRIBE",
    "message and its first frame",
    "frame from a template",
    "route to one of 20000",
    "session: PUBLISH in, PUBACK",
    "session: PUBLISH out, PUBACK",
    "store: memory, put and done",
    "store: record",
    "core: one to one, QoS 1",
];

/// The step with this name.
pub fn prepare(name: &str) -> Option<Step> {
    Some(match name {
        "decode PUBLISH" => decoding(publish(1)),
        "decode SUBSCRIBE" => decoding(subscribe(TOPIC)),
        "message and its first frame" => first_frame(),
        "frame from a template" => frame_again(),
        "route to one of 20000" => route(),
        "session: PUBLISH in, PUBACK" => session_in(),
        "session: PUBLISH out, PUBACK" => session_out(),
        "store: memory, put and done" => memory(),
        "store: record" => stored_record(),
        "core: one to one, QoS 1" => one_to_one(),
        _ => return None,
    })
}

fn field(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet with a body below 128 bytes.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8][..], body].concat()
}

fn publish(qos: u8) -> Vec<u8> {
    let id: &[u8] = if qos > 0 { &[0, 7] } else { &[] };
    packet(0x30 | qos << 1, &[&field(TOPIC)[..], id, &[0], &PAYLOAD].concat())
}

fn subscribe(filter: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1, 0][..], &field(filter), &[1]].concat())
}

fn connect(client: &str) -> Vec<u8> {
    packet(0x10, &[&field("MQTT")[..], &[5, 2, 0, 0, 0], &field(client)].concat())
}

fn parsed(bytes: &[u8]) -> Packet<'_> {
    match split(bytes, 1 << 20) {
        Ok(Split::Whole { frame, .. }) => decode(frame, Some(ProtocolVersion::V5)).expect("a valid packet"),
        _ => unreachable!("a whole packet"),
    }
}

fn decoding(bytes: Vec<u8>) -> Step {
    Box::new(move || drop(black_box(parsed(black_box(&bytes)))))
}

fn parts(qos: QoS) -> Parts<'static> {
    Parts { topic: TOPIC, properties: &[], payload: &PAYLOAD, qos, retain: false, expiry_s: None, origin: Origin(1) }
}

fn message(qos: QoS) -> Arc<Message> {
    Arc::new(Message::new(parts(qos), Now::default()))
}

fn topic(user: usize) -> String {
    format!("biz/order/user/{user:08}")
}

fn session(durable: bool) -> (Session, Arc<Limits>) {
    let limits = Arc::new(Limits::default());
    let opening = Opening {
        client: ClientId::new("phone"),
        origin: Origin(9),
        peer: Peer { version: ProtocolVersion::V5, maximum_packet_size: u32::MAX, problem_information: true },
        receive_maximum: 64,
        topic_alias_maximum: 0,
        keep_alive_s: 60,
        session_expiry_s: if durable { 3600 } else { 0 },
        durable,
        will: None,
        authentication_method: None,
        saved: None,
    };
    let (mut out, mut effects) = (Out::default(), Vec::new());
    let session = Session::open(opening, &limits, Now::default(), &mut Desk::new(&mut out, &mut effects));
    (session, limits)
}

/// A session, its desk and what it may do.
struct Table {
    session: Session,
    out: Out,
    effects: Vec<Effect>,
    may: Permissions,
}

impl Table {
    fn new() -> Self {
        let (session, _) = session(false);
        Self { session, out: Out::default(), effects: Vec::new(), may: Permissions::everything() }
    }

    fn with<R>(&mut self, decide: impl FnOnce(&mut Session, &Permissions, &mut Desk<'_>) -> R) -> R {
        self.out.advance(usize::MAX);
        let mut desk = Desk::new(&mut self.out, &mut self.effects);
        decide(&mut self.session, &self.may, &mut desk)
    }

    /// Sends one message; says under which identifier it went.
    fn deliver(&mut self, message: &Arc<Message>, templates: &mut Templates) -> PacketId {
        templates.clear();
        let (ticket, qos) = (Ticket::NONE, QoS::AtLeastOnce);
        let delivery = Delivery { message, ticket, qos, retain: false, subscription_ids: &[] };
        self.with(|session, may, desk| session.handle_delivery(delivery, templates, may, Now::default(), desk));
        let at = 2 + 2 + TOPIC.len();
        let id = self.out.plain().get(at..at + 2).expect("a PUBLISH");
        PacketId::new(u16::from_be_bytes([id[0], id[1]])).expect("an identifier")
    }

    fn acknowledge(&mut self, packet_id: PacketId) {
        let ack = Packet::PubAck(Ack { packet_id, reason: ReasonCode::Success });
        self.with(|session, may, desk| session.handle_packet(ack, may, Now::default(), desk)).expect("it is right");
    }
}

/// A message is made and sent to the first of those who get it.
fn first_frame() -> Step {
    let (mut table, mut templates) = (Table::new(), Templates::default());
    Box::new(move || {
        let id = table.deliver(&message(QoS::AtLeastOnce), &mut templates);
        table.acknowledge(id);
    })
}

/// Each further one who gets the same message.
fn frame_again() -> Step {
    let (mut table, mut templates) = (Table::new(), Templates::default());
    let message = message(QoS::AtLeastOnce);
    table.deliver(&message, &mut templates);
    Box::new(move || {
        let (ticket, qos) = (Ticket::NONE, QoS::AtMostOnce);
        let delivery = Delivery { message: &message, ticket, qos, retain: false, subscription_ids: &[] };
        table.with(|session, may, desk| session.handle_delivery(delivery, &mut templates, may, Now::default(), desk));
    })
}

/// The window is half full all the time, and what was sent first is acknowledged first.
fn session_out() -> Step {
    let (mut table, mut templates) = (Table::new(), Templates::default());
    let message = message(QoS::AtLeastOnce);
    let mut sent = std::collections::VecDeque::new();
    (0..32).for_each(|_| sent.push_back(table.deliver(&message, &mut templates)));
    Box::new(move || {
        sent.push_back(table.deliver(&message, &mut templates));
        table.acknowledge(sent.pop_front().expect("32 are under way"));
    })
}

fn session_in() -> Step {
    let (mut table, bytes) = (Table::new(), publish(1));
    Box::new(move || {
        let packet = parsed(&bytes);
        table.with(|session, may, desk| session.handle_packet(packet, may, Now::default(), desk)).expect("it is right");
        let Some(Effect::Publish { receipt: Some(receipt), .. }) = table.effects.pop() else {
            unreachable!("a publication that is to be answered")
        };
        let owed = heraldmq::session::Owed::Accepted { receipt, reason: ReasonCode::Success };
        table.with(|session, may, desk| session.handle_durable(owed, may, Now::default(), desk));
        assert_eq!(table.out.plain().first(), Some(&0x40), "PUBACK");
    })
}

fn broker() -> Broker {
    Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        repairs: Repairs::default(),
        store: Arc::new(Memory::instant(Bounds::default())),
        levels: Levels::default(),
    }
}

fn route() -> Step {
    let broker = broker();
    for n in 0..USERS {
        let seat = Seat::new(SessionId(n as u64 + 1), ClientId::new("phone"), Origin(n as u64 + 1), false);
        assert!(seat.claim(Address { core: 0, slot: n as u32, generation: 1 }));
        let filter = topic(n);
        let filter = TopicFilter::parse(&filter, 128).expect("a valid filter");
        let interest =
            Interest { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: 0 };
        broker.index.subscribe(&filter, &seat, interest);
    }
    // Many: where a filter lies in its table is different in each process.
    let message = |n| Message::new(Parts { topic: &topic(n), ..parts(QoS::AtLeastOnce) }, Now::default());
    let messages: Vec<Message> = (0..ROUTED).map(message).collect();
    let (mut next, mut routing, mut plan) = (0, Routing::default(), Plan::new(1));
    Box::new(move || {
        next = (next + 1) % ROUTED;
        broker.route(&messages[next], &mut routing, &mut plan);
        assert_eq!(plan.matched, 1);
    })
}

fn recipient() -> Recipient {
    Recipient { session: SessionId(1), qos: QoS::AtLeastOnce, retain: false, subscription_ids: Vec::new() }
}

fn memory() -> Step {
    let store = Memory::instant(Bounds::default());
    let client = ClientId::new("phone");
    store.append(vec![Record::Open(SessionRecord { session: SessionId(1), client, owner: None, expiry_s: 60 })]);
    let message = message(QoS::AtLeastOnce);
    Box::new(move || {
        let (recipients, publisher) = (vec![recipient()], Publisher::CannotBeTold);
        let record = Record::Enqueue { message: Arc::clone(&message), recipients, publisher };
        let ticket = store.append(vec![record]);
        store.append(vec![Record::Edit(SessionId(1), Change::Done { ticket })]);
    })
}

fn stored_record() -> Step {
    let (message, epoch, key) = (message(QoS::AtLeastOnce), Epoch { wall_at_start_ms: 0 }, [7; 16]);
    Box::new(move || {
        let value = record::seal(&key, &record::queue_body(&recipient(), Some(&message), epoch));
        let body = record::unseal(black_box(&key), black_box(&value)).expect("it is whole");
        drop(black_box(record::queue_entry(body, epoch).expect("it can be read")));
    })
}

/// A connection from the client's side.
struct Line {
    slot: u32,
    far: Pipe,
}

impl Line {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.far.read(buffer).unwrap_or(0)
    }
}

/// A core with a publisher and a subscriber, from bytes in to bytes out.
fn one_to_one() -> Step {
    let inboxes = vec![Arc::new(Inbox::new(Wake::silent()))];
    let shared = Arc::new(Shared { broker: Arc::new(broker()), inboxes, auth: None, board: Arc::new(Board::new(1)) });
    let rules =
        Rules { allow_anonymous: true, methods: Vec::new(), anonymous_may: Arc::new(Permissions::everything()) };
    let door = Arc::new(Door::new("bench", Arc::new(rules), Arc::new(Limits::default()), 10_000, 8192));
    let mut core = Core::new(0, shared, Now::default());
    let line = |core: &mut Core, packets: &[Vec<u8>]| {
        let (near, mut far) = pipe(64 * 1024);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let slot = core.admit(Transport::Pipe(near), Layers::Plain, &door, peer);
        packets.iter().for_each(|packet| assert_eq!(far.write(packet).expect("room"), packet.len()));
        // What comes behind a CONNECT is read in the next turn.
        (0..3).for_each(|_| turn(core, &[slot]));
        let mut line = Line { slot, far };
        assert!(line.read(&mut [0; 64]) > 0, "an answer");
        line
    };
    let mut subscriber = line(&mut core, &[connect("phone"), subscribe(TOPIC)]);
    let mut publisher = line(&mut core, &[connect("backend")]);
    let (publish, mut buffer) = (publish(1), [0; 256]);
    Box::new(move || {
        publisher.far.write(&publish).expect("room");
        turn(&mut core, &[publisher.slot]);
        let count = subscriber.read(&mut buffer);
        assert!(count > 0 && buffer[0] == 0x32, "PUBLISH");
        let at = 2 + 2 + TOPIC.len();
        subscriber.far.write(&[0x40, 2, buffer[at], buffer[at + 1]]).expect("room");
        turn(&mut core, &[subscriber.slot]);
        assert!(publisher.read(&mut buffer) > 0 && buffer[0] == 0x40, "PUBACK");
    })
}

fn turn(core: &mut Core, slots: &[u32]) {
    let ready = slots.iter().map(|slot| Ready { slot: *slot, readable: true, writable: true, read_closed: false });
    core.turn(&ready.collect::<Vec<_>>(), &mut Vec::new(), Now::default());
}
