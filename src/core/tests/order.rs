//! What must not overtake what, while the store takes its time.

use super::*;

fn slow() -> Bench {
    Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16)
}

fn place(bytes: &[u8], wanted: &str) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes())
}

/// A subscriber whose SUBACK waits for the store while another retained message is published: what it gets.
fn subscribed_meanwhile(qos: u8, publisher_core: usize, payload: &str) -> (Bench, Line, Vec<u8>) {
    let mut bench = slow();
    let mut publisher = bench.open(publisher_core, "p", 0);
    let first = 0x31 | qos << 1;
    let publication = |id, payload: &str| match qos {
        0 => publish(first, "t", payload),
        _ => publish_as(first, id, "t", payload),
    };
    publisher.send(&publication(1, "old"));
    bench.settle(&[&publisher]);
    let mut line = bench.open(0, "c", 600);
    line.send(&subscribe("t", qos));
    bench.turn(0, &[&line]);
    publisher.send(&publication(2, payload));
    bench.turn(publisher_core, &[&publisher]);
    bench.turn(0, &[&line]);
    let mut bytes = line.read();
    bench.settle(&[&line, &publisher]);
    bytes.extend(line.read());
    (bench, line, bytes)
}

#[test]
fn mqtt_3_3_1_9_what_a_new_subscriber_gets_last_is_the_newest_state() {
    for qos in 0..=2 {
        for core in 0..2 {
            let (mut bench, line, bytes) = subscribed_meanwhile(qos, core, "new");
            assert!(place(&bytes, "new").is_some(), "QoS {qos}, core {core}: {bytes:?}");
            assert_eq!(place(&bytes, "old"), None, "QoS {qos}, core {core}: {bytes:?}");
            // Nor does it come when the client comes back.
            bench.vanish(line);
            bench.settle(&[]);
            let mut line = bench.enter(1, "c", 600);
            bench.settle(&[&line]);
            assert_eq!(place(&line.read(), "old"), None, "QoS {qos}, core {core}");
        }
    }
}

#[test]
fn mqtt_3_3_1_6_a_state_that_was_cleared_does_not_come_behind_its_end() {
    for qos in 0..=1 {
        let (_, _, bytes) = subscribed_meanwhile(qos, 1, "");
        assert_eq!(place(&bytes, "old"), None, "QoS {qos}: {bytes:?}");
    }
}

#[test]
fn mqtt_3_8_4_1_who_keeps_nothing_does_not_wait_for_the_store() {
    let mut bench = slow();
    let mut line = bench.open(0, "c", 0);
    line.send(&subscribe("t", 1));
    bench.turn(0, &[&line]);
    assert_eq!(line.read().first(), Some(&0x90));
}
