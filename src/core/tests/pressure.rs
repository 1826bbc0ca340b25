//! Publishers and a core that does not keep up with them; and that nobody is taken for silent who is not read.

use super::flow::{frame, open_websocket};
use super::*;
use crate::core::outbox::{CROWDED, OVERFULL};
use crate::identity::Ticket;
use crate::metrics::{Direction, Dropped, PacketKind, Qos};

const RECEIVED: Metric = Metric::Packets(PacketKind::Publish, Direction::Received);
/// Payload of a large message.
const LARGE: usize = 64 * 1024;
/// What a letter may count for besides its message.
const LETTER: usize = 1024;
/// Keep Alive, seconds.
const ALIVE: u8 = 10;
/// Longer than one and a half times that.
const TOO_LONG_MS: u64 = 15_002;

/// PUBLISH with a payload of `size` bytes. `id` is empty at QoS 0.
fn large(first: u8, topic: &str, id: &[u8], size: usize) -> Vec<u8> {
    let body = [&field(topic)[..], id, &[0], &vec![b'x'; size]].concat();
    let length = body.len();
    let digits = [(length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8];
    [&[first][..], &digits, &body].concat()
}

/// A publisher that sends one large message after another as fast as it is read.
struct Flood {
    line: Line,
    qos: u8,
    topic: &'static str,
    sent: usize,
    rest: Vec<u8>,
}

impl Flood {
    fn new(bench: &mut Bench, core: usize, topic: &'static str, qos: u8) -> Self {
        let name = format!("publisher-{core}-{}", bench.cores[core].connections());
        Self { line: bench.open(core, &name, 0), qos, topic, sent: 0, rest: Vec::new() }
    }

    /// Writes what there is room for, and takes what was answered. `false` if there was no room.
    fn push(&mut self) -> bool {
        if self.rest.is_empty() {
            self.sent += 1;
            let id = (self.sent as u16 % 60_000 + 1).to_be_bytes();
            let id = if self.qos > 0 { &id[..] } else { &[] };
            self.rest = large(0x30 | self.qos << 1, self.topic, id, LARGE);
        }
        if self.qos > 0 {
            self.line.read();
        }
        let count = self.line.far.write(&self.rest).unwrap_or(0);
        self.rest.drain(..count);
        count > 0
    }
}

/// A subscriber on core 1.
fn subscriber(bench: &mut Bench, topic: &str) -> Line {
    let mut line = bench.open(1, &format!("subscriber-{topic}"), 0);
    line.send(&subscribe(topic, 0));
    bench.settle(&[&line]);
    line
}

/// Turns of the first core alone, until its publisher is not read any more.
fn flood(bench: &mut Bench, publisher: &mut Flood) {
    for _ in 0..10_000 {
        let wrote = publisher.push();
        bench.turn(0, &[&publisher.line]);
        if !wrote {
            return;
        }
    }
    panic!("it is read for ever: {} messages", publisher.sent);
}

fn outcomes(bench: &Bench) -> u64 {
    let delivered = [Qos::AtMostOnce, Qos::AtLeastOnce].map(|qos| bench.count(Metric::MessagesDelivered(qos)));
    let dropped =
        [Dropped::SlowConsumer, Dropped::QueueFull].map(|reason| bench.count(Metric::MessagesDropped(reason)));
    delivered.iter().chain(&dropped).sum()
}

#[test]
fn a_publisher_waits_for_a_core_that_does_not_keep_up_and_nobody_else_does() {
    for qos in [0, 1] {
        let mut bench = Bench::plain();
        let mut slow = subscriber(&mut bench, "t");
        let mut publisher = Flood::new(&mut bench, 0, "t", qos);
        flood(&mut bench, &mut publisher);
        let waiting = bench.shared.inboxes[1].waiting_bytes();
        assert!((CROWDED..=CROWDED + LARGE + LETTER).contains(&waiting), "QoS {qos}: {waiting}");
        assert_eq!((bench.cores[0].paused(), bench.count(Metric::PublisherPauses)), (1, 1));
        // Those of its own core go on, publishers too.
        let mut near = bench.enter(0, "near", 0);
        bench.turn(0, &[&near]);
        near.send(&subscribe("near", 0));
        near.send(&publish(0x30, "near", "x"));
        near.send(&[0xC0, 0]);
        bench.turn(0, &[&near]);
        assert!(near.read().ends_with(&[&publish(0x30, "near", "x")[..], &[0xD0, 0]].concat()));
        // The other core takes in what it has, and its answer brings the publisher back.
        let taken = bench.count(RECEIVED);
        bench.turn(1, &[]);
        assert_eq!(bench.shared.inboxes[1].waiting_bytes(), 0);
        slow.read();
        bench.turn(0, &[]);
        assert_eq!(bench.cores[0].paused(), 0);
        flood(&mut bench, &mut publisher);
        assert!(bench.count(RECEIVED) > taken + 100, "QoS {qos}");
        bench.settle(&[&publisher.line]);
        let (received, went) = (bench.count(RECEIVED), outcomes(&bench));
        assert_eq!(went, received, "QoS {qos}: each was delivered, or dropped and counted");
    }
}

#[test]
fn small_messages_are_bounded_by_their_number() {
    let mut bench = Bench::plain();
    let _slow = subscriber(&mut bench, "t");
    let mut line = bench.open(0, "publisher", 0);
    let small = publish(0x30, "t", "").repeat(1000);
    for _ in 0..200 {
        if line.far.write(&small).is_ok() {
            bench.turn(0, &[&line]);
        }
    }
    let mut mail = Vec::new();
    bench.shared.inboxes[1].take(&mut mail);
    assert!((10_000..=20_000).contains(&mail.len()), "{}", mail.len());
}

#[test]
fn two_cores_that_flood_each_other_go_on() {
    let mut bench = Bench::plain();
    let _slow = subscriber(&mut bench, "one");
    let mut other = bench.open(0, "subscriber-zero", 0);
    other.send(&subscribe("zero", 0));
    bench.settle(&[&other]);
    let mut floods = [Flood::new(&mut bench, 0, "one", 0), Flood::new(&mut bench, 1, "zero", 0)];
    // Both read their publishers, and neither its mail.
    for publisher in &mut floods {
        while publisher.push() {
            let Line { core, slot, .. } = publisher.line;
            let ready = Ready { slot, readable: true, writable: true, read_closed: false };
            let now = bench.now();
            bench.cores[core].turn(&[ready], &mut Vec::new(), now);
        }
    }
    assert_eq!([0, 1].map(|core: usize| bench.cores[core].paused()), [1, 1]);
    let taken = bench.count(RECEIVED);
    for _ in 0..300 {
        for (core, publisher) in floods.iter_mut().enumerate() {
            publisher.push();
            bench.turn(core, &[&publisher.line]);
        }
    }
    assert!(bench.count(RECEIVED) > taken + 150, "{} after {taken}", bench.count(RECEIVED));
    // What is on the wires yet is read, and then delivered.
    (0..3).for_each(|_| bench.settle(&[]));
    assert_eq!(outcomes(&bench), bench.count(RECEIVED));
}

#[test]
fn very_many_publishers_with_one_message_each_are_bounded_too() {
    const PUBLISHERS: usize = 400;
    let mut bench = Bench::plain();
    let _slow = subscriber(&mut bench, "t");
    let mut lines: Vec<Line> = (0..PUBLISHERS).map(|n| bench.enter(0, &format!("p{n}"), 0)).collect();
    bench.turn(0, &lines.iter().collect::<Vec<_>>());
    for line in &mut lines {
        line.send(&large(0x30, "t", &[], LARGE));
    }
    // A message is larger than what is read at once.
    bench.turn(0, &lines.iter().collect::<Vec<_>>());
    for _ in 0..3 {
        bench.turn(0, &lines.iter().collect::<Vec<_>>());
        let waiting = bench.shared.inboxes[1].waiting_bytes();
        assert!((OVERFULL - LARGE..=OVERFULL + LARGE + LETTER).contains(&waiting), "{waiting}");
    }
    for _ in 0..20 {
        bench.turn(1, &[]);
        bench.turn(0, &[]);
        assert!(bench.shared.inboxes[1].waiting_bytes() <= OVERFULL + LARGE + LETTER);
    }
    assert_eq!((bench.count(RECEIVED), bench.cores[0].paused()), (PUBLISHERS as u64, 0));
}

#[test]
fn of_many_that_wait_nobody_is_passed_over() {
    // Each has two messages on the wire; more of them come back at once than there is room for.
    let mut bench = Bench::new(Memory::instant(Bounds::default()), Limits::default(), 2 * LARGE);
    let _slow = subscriber(&mut bench, "t");
    let mut floods: Vec<Flood> = (0..200).map(|_| Flood::new(&mut bench, 0, "t", 0)).collect();
    for _ in 0..8 {
        for _ in 0..4 {
            floods.iter_mut().for_each(|publisher| {
                publisher.push();
            });
            let lines: Vec<&Line> = floods.iter().map(|publisher| &publisher.line).collect();
            bench.turn(0, &lines);
        }
        bench.turn(1, &[]);
    }
    let sent: Vec<usize> = floods.iter().map(|one| one.sent).collect();
    let (least, most) = (sent.iter().min().copied().unwrap_or(0), sent.iter().max().copied().unwrap_or(0));
    assert!(least > 4 && most <= least + 2, "between {least} and {most} messages");
}

#[test]
fn who_comes_back_to_a_core_that_others_have_filled_waits_again() {
    let mut bench = Bench::plain();
    let _slow = subscriber(&mut bench, "t");
    let mut line = bench.open(0, "publisher", 0);
    bench.cores[0].post.overfull = Some(1);
    line.send(&publish(0x30, "t", "x"));
    bench.turn(0, &[&line]);
    bench.turn(1, &[]);
    // A third core is quicker than the answer.
    let parts = crate::message::Parts {
        topic: "other",
        properties: &[],
        payload: &vec![0; CROWDED],
        qos: crate::mqtt::QoS::AtMostOnce,
        retain: false,
        expiry_s: None,
        origin: crate::identity::Origin::default(),
    };
    let message = Arc::new(crate::message::Message::new(parts, bench.now()));
    bench.shared.inboxes[1].post(Mail::Deliver { message, ticket: Ticket::NONE, targets: Vec::new() });
    bench.turn(0, &[]);
    assert_eq!((bench.cores[0].paused(), bench.count(RECEIVED)), (1, 0));
    bench.turn(1, &[]);
    bench.turn(0, &[]);
    assert_eq!((bench.cores[0].paused(), bench.count(RECEIVED)), (0, 1));
}

#[test]
fn clients_that_end_while_they_wait_are_forgotten() {
    let mut bench = Bench::plain();
    let _slow = subscriber(&mut bench, "t");
    let mut publisher = Flood::new(&mut bench, 0, "t", 0);
    flood(&mut bench, &mut publisher);
    // Another connection takes its name.
    let mut line = bench.enter(1, "publisher-0-0", 0);
    bench.settle(&[&line, &publisher.line]);
    assert_eq!(line.read().first(), Some(&0x20));
    assert_eq!((bench.cores[0].paused(), bench.count(Metric::ConnectionsClosed(Closed::TakenOver))), (0, 1));
    let mut publisher = Flood::new(&mut bench, 0, "t", 0);
    flood(&mut bench, &mut publisher);
    assert_eq!(bench.cores[0].paused(), 1);
}

#[test]
fn what_came_before_a_layers_end_does_not_wait() {
    let mut bench = Bench::plain();
    let mut line = open_websocket(&mut bench);
    bench.cores[0].post.overfull = Some(1);
    line.send(&frame(&publish(0x30, "t", "").repeat(20)).repeat(200));
    line.send(&frame(&[0xE0, 0]));
    line.send(&[0x88, 0x80, 0, 0, 0, 0]);
    bench.turn(0, &[&line]);
    assert_eq!(bench.count(RECEIVED), 4000);
    assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::ByClient)), 1);
}

fn closed_for_silence(bench: &Bench) -> u64 {
    bench.count(Metric::ConnectionsClosed(Closed::KeepAlive))
}

/// A client with a Keep Alive on core 0.
fn alive(bench: &mut Bench) -> Line {
    let mut line = bench.connect_over(0, Layers::Plain);
    let body = [&field("MQTT")[..], &[4, 2, 0, ALIVE], &field("alive")].concat();
    line.send(&packet(0x10, &body));
    bench.settle(&[&line]);
    assert_eq!(line.read(), [0x20, 2, 0, 0]);
    line
}

#[test]
fn mqtt_3_1_2_22_a_publisher_that_waits_for_a_core_is_not_silent() {
    let mut bench = Bench::plain();
    let mut line = alive(&mut bench);
    bench.cores[0].post.overfull = Some(1);
    line.send(&packet(0x30, &[&field("t")[..], b"x"].concat()));
    bench.turn(0, &[&line]);
    for _ in 0..3 {
        bench.now_ms += TOO_LONG_MS;
        bench.turn(0, &[]);
    }
    assert_eq!((closed_for_silence(&bench), bench.count(RECEIVED)), (0, 0));
    bench.settle(&[]);
    assert_eq!(bench.count(RECEIVED), 1, "it goes on");
    bench.now_ms += TOO_LONG_MS;
    bench.turn(0, &[]);
    assert_eq!(closed_for_silence(&bench), 1, "and is silent now");
}

#[test]
fn mqtt_3_1_2_22_a_client_that_waits_for_the_store_is_not_silent() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 20);
    let mut line = alive(&mut bench);
    // Retained, so that the store has something to do; 3.1.1 knows no property length, which is then payload.
    for id in 1..=200_u16 {
        let bytes = large(0x33, "t", &id.to_be_bytes(), LARGE);
        let count = line.far.write(&bytes).unwrap_or(0);
        for _ in 0..3 {
            bench.turn(0, &[&line]);
        }
        if count < bytes.len() {
            break;
        }
    }
    bench.now_ms += TOO_LONG_MS;
    bench.turn(0, &[]);
    bench.now_ms += TOO_LONG_MS;
    bench.turn(0, &[]);
    assert_eq!(closed_for_silence(&bench), 0);
    let taken = bench.count(RECEIVED);
    bench.settle(&[]);
    assert!(bench.count(RECEIVED) > taken, "it goes on");
}

#[test]
fn mqtt_3_1_2_22_what_arrived_while_the_core_was_busy_was_heard_in_time() {
    let mut bench = Bench::plain();
    let mut line = alive(&mut bench);
    line.send(&[0xC0, 0]);
    bench.now_ms += TOO_LONG_MS;
    // The poll has more to tell than fits in one turn: this connection's turn has not come.
    bench.turn(0, &[]);
    assert_eq!((closed_for_silence(&bench), line.read()), (0, vec![0xD0, 0]));
    bench.now_ms += TOO_LONG_MS;
    bench.turn(0, &[]);
    assert_eq!(closed_for_silence(&bench), 1);
}
