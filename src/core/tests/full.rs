//! A queue that is full: who is refused, and who is not.

use super::*;
use crate::metrics::Dropped;

const ROOM: usize = 2;

/// The queue of a client that is not there is full.
fn full() -> Bench {
    let bounds = Bounds { messages_max: ROOM, ..Bounds::default() };
    let mut bench = Bench::new(Memory::instant(bounds), Limits::default(), 1 << 16);
    let mut phone = bench.open(0, "phone", 600);
    phone.send(&subscribe("t", 2));
    bench.settle(&[&phone]);
    bench.vanish(phone);
    let mut publisher = bench.open(1, "first", 0);
    for id in 1..=ROOM as u16 {
        publisher.send(&publish_as(0x32, id, "t", "old"));
    }
    bench.settle(&[&publisher]);
    assert_eq!(publisher.read().len() / 4, ROOM, "acknowledged");
    bench
}

fn dropped(bench: &mut Bench) -> u64 {
    bench.now_ms += 1_000;
    bench.settle(&[]);
    bench.count(Metric::MessagesDropped(Dropped::QueueFull))
}

/// What the client that was not there gets when it comes back.
fn waited(bench: &mut Bench, payload: &str) -> usize {
    let mut phone = bench.enter(0, "phone", 600);
    bench.settle(&[&phone]);
    let bytes = phone.read();
    bytes.windows(payload.len()).filter(|window| *window == payload.as_bytes()).count()
}

#[test]
fn a_publisher_of_5_0_is_told_that_a_queue_is_full() {
    let mut bench = full();
    let mut publisher = bench.open(1, "p", 0);
    publisher.send(&publish_as(0x32, 7, "t", "new"));
    bench.settle(&[&publisher]);
    let answer = publisher.read();
    assert_eq!((&answer[..1], &answer[2..5]), (&[0x40][..], &[0, 7, 0x97][..]));
    assert_eq!((dropped(&mut bench), waited(&mut bench, "new")), (0, 0));
}

#[test]
fn mqtt3_3_3_5_2_a_publisher_of_3_1_1_is_not_closed_for_a_queue_that_is_full() {
    for (first, answer) in [(0x32, 0x40), (0x34, 0x50)] {
        let mut bench = full();
        let mut publisher = bench.connect_over(1, Layers::Plain);
        publisher.send(&connect_v3("p"));
        bench.settle(&[&publisher]);
        assert_eq!(publisher.read(), [0x20, 2, 0, 0]);
        publisher.send(&packet(first, &[&field("t")[..], &[0, 7], b"new"].concat()));
        bench.settle(&[&publisher]);
        assert_eq!(publisher.read(), [answer, 2, 0, 7]);
        assert_eq!((dropped(&mut bench), waited(&mut bench, "new")), (1, 1));
    }
}

#[test]
fn a_will_is_not_refused_by_a_queue_that_is_full() {
    let mut bench = full();
    let mut line = bench.connect_over(1, Layers::Plain);
    // Will Flag and Will QoS 1.
    line.send(&connect("w", 0x0C, 0, &will("t", "new")));
    bench.settle(&[&line]);
    bench.vanish(line);
    bench.settle(&[]);
    assert_eq!((dropped(&mut bench), waited(&mut bench, "new")), (1, 1));
}

#[test]
fn a_retained_message_for_a_new_subscription_is_not_refused_by_a_queue_that_is_full() {
    let mut bench = full();
    let mut publisher = bench.open(1, "p", 0);
    publisher.send(&publish_as(0x33, 7, "r", "new"));
    bench.settle(&[&publisher]);
    let mut phone = bench.connect_over(0, Layers::Plain);
    // It takes nothing out of its queue: two messages are all it gets without an answer.
    phone.send(&connect_with("phone", &[&[0x11][..], &600_u32.to_be_bytes(), &[0x21, 0, 1]].concat()));
    bench.settle(&[&phone]);
    phone.read();
    for _ in 0..ROOM {
        publisher.send(&publish_as(0x32, 8, "t", "old"));
        bench.settle(&[&publisher]);
    }
    phone.send(&subscribe("r", 1));
    bench.settle(&[&phone]);
    assert_eq!(phone.read().first(), Some(&0x90), "SUBACK");
}
