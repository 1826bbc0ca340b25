//! Bytes out and in where buffers are full.

use super::*;
use crate::metrics::{Direction, PacketKind, Qos};
use crate::net::websocket::WebSocket;

fn small() -> Limits {
    Limits { out_bytes_max: 1000, ..Limits::default() }
}

fn narrow() -> Bench {
    Bench::new(Memory::instant(Bounds::default()), small(), 900)
}

const RETAINED: usize = 40;

/// Retained messages of about 100 bytes each, and a client that wants them all.
fn wanting(bench: &mut Bench) -> Line {
    let mut publisher = bench.open(0, "publisher", 0);
    for number in 0..RETAINED {
        publisher.send(&publish(0x31, &format!("r/{number}"), &"x".repeat(90)));
        bench.settle(&[&publisher]);
    }
    let mut line = bench.open(0, "c", 0);
    line.send(&subscribe("r/+", 0));
    line
}

/// Reads as long as anything comes, and tells the core each time that there is room.
fn read_all(bench: &mut Bench, line: &mut Line) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        bench.turn(0, &[line]);
        bench.turn(0, &[]);
        let bytes = line.read();
        if bytes.is_empty() {
            return all;
        }
        all.extend(bytes);
    }
}

fn times(bytes: &[u8], wanted: &str) -> usize {
    bytes.windows(wanted.len()).filter(|window| *window == wanted.as_bytes()).count()
}

#[test]
fn what_was_held_back_goes_on_however_little_was_written_last() {
    let mut bench = narrow();
    let mut line = wanting(&mut bench);
    let bytes = read_all(&mut bench, &mut line);
    assert_eq!(times(&bytes, &"x".repeat(90)), RETAINED);
}

#[test]
fn a_client_is_read_again_however_little_was_written_last() {
    let mut bench = narrow();
    let mut line = bench.open(0, "c", 0);
    const PINGS: usize = 2000;
    let mut unsent = [0xC0, 0].repeat(PINGS);
    let mut answered = 0;
    for _ in 0..200 {
        let count = line.far.write(&unsent).unwrap_or(0);
        unsent.drain(..count);
        if unsent.is_empty() || count == 0 {
            answered += line.read().len() / 2;
        }
        bench.turn(0, &[&line]);
        bench.turn(0, &[]);
    }
    assert_eq!(answered, PINGS);
}

/// Unframes what a server sends: no mask, lengths below 65,536.
fn unframed(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (length, rest) = match (*length, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (length, rest) => (usize::from(length), rest),
        };
        all.extend_from_slice(&rest[..length.min(rest.len())]);
        bytes = rest.get(length..).unwrap_or_default();
    }
    all
}

/// A masked binary frame, the mask being zero.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A client over WebSocket that was let in.
pub(super) fn open_websocket(bench: &mut Bench) -> Line {
    let mut line = bench.connect_over(0, Layers::Ws(Box::new(WebSocket::new("/mqtt".into()))));
    line.send(REQUEST);
    bench.turn(0, &[&line]);
    assert!(line.read().starts_with(b"HTTP/1.1 101 "));
    line.send(&frame(&connect("c", 0, 0, &[])));
    bench.turn(0, &[&line]);
    assert_eq!(unframed(&line.read()).first(), Some(&0x20));
    line
}

#[test]
fn what_came_before_a_layers_end_counts_however_much_it_is() {
    let mut bench = Bench::plain();
    let mut line = open_websocket(&mut bench);
    line.send(&frame(&publish(0x30, "t", "").repeat(20)).repeat(200));
    line.send(&frame(&[0xE0, 0]));
    line.send(&[0x88, 0x80, 0, 0, 0, 0]);
    bench.turn(0, &[&line]);
    assert_eq!(bench.count(Metric::Packets(PacketKind::Publish, Direction::Received)), 4000);
    assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::ByClient)), 1);
}

#[test]
fn what_came_while_a_layer_waited_to_be_written_is_written_behind_it() {
    let mut bench = narrow();
    let mut line = open_websocket(&mut bench);
    line.send(&frame(&subscribe("t", 0)));
    bench.turn(0, &[&line]);
    assert_eq!(unframed(&line.read()).first(), Some(&0x90));
    let mut publisher = bench.open(0, "publisher", 0);
    let mut bytes = Vec::new();
    // More than the wire holds, then a little more while that waits.
    for number in 0..14 {
        publisher.send(&publish(0x30, "t", &format!("{number:02}{}", "y".repeat(80))));
        if number % 4 == 3 || number > 10 {
            bench.turn(0, &[&publisher]);
        }
    }
    for _ in 0..20 {
        bytes.extend(line.read());
        bench.turn(0, &[&line]);
        bench.turn(0, &[]);
    }
    assert_eq!(times(&unframed(&bytes), &"y".repeat(80)), 14);
}

#[test]
fn a_client_with_many_small_packets_does_not_have_the_turn_for_itself() {
    let mut bench = Bench::plain();
    let mut line = bench.open(0, "c", 0);
    let received = Metric::Packets(PacketKind::Publish, Direction::Received);
    let total = 6000;
    line.send(&publish(0x30, "t", "").repeat(total));
    line.send(&subscribe("#", 0));
    bench.turn(0, &[&line]);
    assert!(bench.count(received) < 500, "{} in one turn", bench.count(received));
    // The end of the stream does not overtake what came before it.
    line.far.close_write();
    let mut turns = 1;
    while bench.cores[0].next_turn() == Some(bench.now().moment) {
        bench.turn(0, &[]);
        turns += 1;
        assert!(turns < 40);
    }
    assert_eq!(bench.count(received), total as u64);
    assert_eq!(bench.count(Metric::Packets(PacketKind::Subscribe, Direction::Received)), 1);
    assert_eq!(bench.cores[0].connections(), 0);
}

#[test]
fn who_sends_without_end_comes_behind_the_others() {
    for one in [publish(0x30, "t", ""), publish_as(0x32, 7, "t", "")] {
        let mut bench = Bench::plain();
        let mut reader = bench.open(0, "reader", 0);
        reader.send(&subscribe("t", 0));
        let (mut flood, mut other) = (bench.open(0, "flood", 0), bench.open(0, "other", 0));
        flood.send(&one.repeat(3000));
        bench.turn(0, &[&reader, &flood]);
        let received = Metric::Packets(PacketKind::Publish, Direction::Received);
        let first = bench.count(received);
        reader.read();
        other.send(&publish(0x30, "t", "other"));
        bench.turn(0, &[&flood, &other]);
        assert!(first < 300, "{first} in one turn");
        assert_eq!(
            bench.count(received),
            2 * first + 1,
            "as much again, although it was answered and there was an edge"
        );
        assert!(reader.read().starts_with(&publish(0x30, "t", "other")), "it waited for the flood");
    }
}

#[test]
fn what_is_written_is_counted() {
    let mut bench = Bench::plain();
    let mut line = bench.open(0, "c", 0);
    line.send(&subscribe("t", 1));
    for _ in 0..3 {
        line.send(&publish(0x30, "t", "x"));
    }
    line.send(&[0xC0, 0]);
    bench.settle(&[&line]);
    bench.now_ms += 1_000;
    bench.turn(0, &[]);
    let sent = |kind| bench.count(Metric::Packets(kind, Direction::Sent));
    assert_eq!(bench.count(Metric::MessagesDelivered(Qos::AtMostOnce)), 3);
    assert_eq!(
        [PacketKind::ConnAck, PacketKind::SubAck, PacketKind::Publish, PacketKind::PingResp].map(sent),
        [1, 1, 3, 1]
    );
}

/// PUBLISH of 3.1.1 with this first byte and 64 KiB of payload. A Remaining Length of 64 KiB has three bytes.
fn large(first: u8, id: u16) -> Vec<u8> {
    let id = if first & 6 == 0 { [b'x'; 2] } else { id.to_be_bytes() };
    [&[first, 0x80, 0x80, 4][..], &[0, 1, b't'], &id, &[0; 65_531]].concat()
}

#[test]
fn a_publisher_is_read_only_as_fast_as_the_store_takes_its_bytes() {
    // Retained, so that the store has something to do; at QoS 0 nobody waits for an answer.
    for first in [0x33, 0x31] {
        let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 20);
        let mut line = bench.connect_over(0, Layers::Plain);
        line.send(&connect_v3("c"));
        bench.settle(&[&line]);
        assert_eq!(line.read(), [0x20, 2, 0, 0]);
        let received = Metric::Packets(PacketKind::Publish, Direction::Received);
        for id in 1..=200 {
            if line.far.writable() {
                let bytes = large(first, id);
                let mut rest = &bytes[..];
                for _ in 0..4 {
                    let count = line.far.write(rest).unwrap_or(0);
                    rest = &rest[count..];
                    bench.turn(0, &[&line]);
                }
                if !rest.is_empty() {
                    break;
                }
            }
        }
        let taken = bench.count(received);
        assert!((60..80).contains(&taken), "{taken} times 64 KiB");
        bench.settle(&[&line]);
        for _ in 0..40 {
            bench.turn(0, &[&line]);
        }
        assert!(bench.count(received) > taken, "and goes on");
    }
}

#[test]
fn small_retained_messages_of_qos_0_are_taken_as_fast_as_the_store_takes_them_and_one_it_refuses_closes_nobody() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 20);
    let mut line = bench.open(0, "c", 0);
    let total = 10_000;
    line.send(&publish(0x31, "t", "x").repeat(total));
    bench.store.fail_next();
    for _ in 0..40 {
        bench.turn(0, &[&line]);
    }
    let received = Metric::Packets(PacketKind::Publish, Direction::Received);
    assert!((4096..4200).contains(&bench.count(received)), "{} and nothing was committed", bench.count(received));
    for _ in 0..10 {
        bench.settle(&[&line]);
    }
    assert_eq!(bench.count(received), total as u64);
    line.send(&[0xC0, 0]);
    bench.settle(&[&line]);
    assert_eq!(line.read(), [0xD0, 0]);
}

#[test]
fn the_brokers_own_figures_leave_the_store_alone() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
    let mut watcher = bench.open(1, "watcher", 0);
    let before = bench.store.appended();
    bench.now_ms += 3_600_000;
    bench.turn(0, &[]);
    assert_eq!(bench.store.appended(), before);
    assert_eq!((bench.shared.broker.retained.count(), bench.store.recover().retained.len()), (0, 0));
    watcher.send(&subscribe("$SYS/broker/uptime", 0));
    bench.settle(&[&watcher]);
    assert_eq!(times(&watcher.read(), "3600 seconds"), 1, "and whoever asks is told at once");
}

#[test]
fn mqtt_3_3_2_5_a_retained_message_that_has_expired_leaves_the_store_and_its_successor_stays() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
    let mut line = bench.open(1, "c", 0);
    let expiring = |topic: &str| packet(0x31, &[&field(topic)[..], &[5, 2, 0, 0, 0, 1], b"old"].concat());
    line.send(&[expiring("gone"), expiring("kept")].concat());
    bench.settle(&[&line]);
    bench.now_ms += 1_000;
    line.send(&publish(0x31, "kept", "new"));
    line.send(&subscribe("#", 0));
    bench.settle(&[&line]);
    let stored = bench.store.recover().retained;
    let stored: Vec<_> = stored.iter().map(|message| (message.topic(), message.payload())).collect();
    assert_eq!(stored, [("kept", &b"new"[..])]);
}

#[test]
fn mqtt3_4_6_0_6_what_a_3_1_1_client_sent_behind_a_message_that_failed_comes_behind_it_again() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
    let mut phone = bench.open(1, "phone", 600);
    phone.send(&subscribe("t", 1));
    bench.settle(&[&phone]);
    bench.vanish(phone);
    bench.settle(&[]);
    let enter = |bench: &mut Bench| {
        let mut line = bench.connect_over(0, Layers::Plain);
        line.send(&connect_v3("p"));
        bench.settle(&[&line]);
        assert_eq!(line.read(), [0x20, 2, 0, 0]);
        line
    };
    let send = |line: &mut Line, id: u8, payload: &[u8]| {
        line.send(&packet(0x32, &[&field("t")[..], &[0, id], payload].concat()));
    };
    let mut line = enter(&mut bench);
    bench.store.fail_next();
    send(&mut line, 1, b"first");
    bench.turn(0, &[&line]);
    // The store works again, and nobody knows yet that it did not.
    send(&mut line, 2, b"second");
    bench.turn(0, &[&line]);
    bench.settle(&[&line]);
    assert_eq!(line.read().len(), 0, "closed without an acknowledgement");
    let mut line = enter(&mut bench);
    send(&mut line, 1, b"first");
    send(&mut line, 2, b"second");
    bench.settle(&[&line]);
    assert_eq!(line.read(), [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    let mut phone = bench.enter(1, "phone", 600);
    bench.settle(&[&phone]);
    let got = phone.read();
    assert_eq!((times(&got, "first"), times(&got, "second")), (1, 1), "what failed is not in the queue");
}
