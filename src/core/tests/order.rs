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

/// A publisher of QoS 2 on core 0 that is gone while its message waits for the store; a subscriber, and nothing has been committed.
fn gone(subscriber_core: usize, expiry_s: u32) -> (Bench, Line) {
    let mut bench = slow();
    let mut keeper = bench.open(0, "keeper", 600);
    keeper.send(&subscribe("t", 2));
    let mut line = bench.open(subscriber_core, "c", 0);
    line.send(&subscribe("t", 2));
    bench.settle(&[&keeper, &line]);
    line.read();
    let mut publisher = bench.open(0, "p", expiry_s);
    publisher.send(&publish_as(0x34, 1, "t", "first"));
    bench.turn(0, &[&publisher]);
    bench.vanish(publisher);
    (bench, line)
}

#[test]
fn mqtt_4_6_0_6_what_a_publisher_sends_on_another_core_comes_behind_what_waits_for_its_commit() {
    for (subscriber_core, expiry_s) in [(0, 0), (1, 0), (0, 600), (1, 600)] {
        let (mut bench, mut line) = gone(subscriber_core, expiry_s);
        // Both packets at once, and every core that could be ahead is.
        let mut again = bench.connect_over(1, Layers::Plain);
        again.send(&[connect("p", 0, expiry_s, &[]), publish_as(0x34, 2, "t", "second")].concat());
        bench.turn(1, &[&again]);
        for _ in 0..4 {
            bench.store.commit(bench.store.appended());
            bench.turn(1, &[&again, &line]);
        }
        for _ in 0..4 {
            bench.settle(&[&again, &line]);
        }
        let bytes = line.read();
        let (first, second) = (place(&bytes, "first"), place(&bytes, "second"));
        assert!(first.is_some() && first < second, "{subscriber_core} {expiry_s}: {first:?} {second:?}");
    }
}

#[test]
fn a_publisher_that_is_gone_keeps_its_seat_until_its_message_is_delivered_and_its_will_comes_behind() {
    let mut bench = slow();
    let mut line = bench.open(1, "c", 0);
    line.send(&subscribe("t", 2));
    let mut keeper = bench.open(0, "keeper", 600);
    keeper.send(&subscribe("t", 2));
    bench.settle(&[&line, &keeper]);
    line.read();
    let mut publisher = bench.connect_over(0, Layers::Plain);
    publisher.send(&connect("p", 0x04, 0, &will("t", "will")));
    bench.settle(&[&publisher]);
    publisher.send(&publish_as(0x34, 1, "t", "first"));
    bench.turn(0, &[&publisher]);
    bench.vanish(publisher);
    for core in [1, 0, 1, 0] {
        bench.turn(core, &[&line]);
    }
    assert!(line.read().is_empty());
    assert_eq!((bench.shared.broker.directory.len(), bench.cores[0].connections()), (3, 2));
    bench.settle(&[&line]);
    let bytes = line.read();
    assert!(place(&bytes, "first").is_some() && place(&bytes, "first") < place(&bytes, "will"), "{bytes:?}");
    assert_eq!((bench.shared.broker.directory.len(), bench.cores[0].connections()), (2, 1));
}

#[test]
fn what_clients_that_are_gone_have_left_behind_is_a_burden_until_it_is_delivered() {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 20);
    let mut keeper = bench.open(0, "keeper", 600);
    keeper.send(&subscribe("t", 2));
    bench.settle(&[&keeper]);
    // A little less than a client may have waiting, of one after the other.
    let payload = vec![b'x'; 1 << 19];
    let body = [&field("t")[..], &[0, 1, 0], &payload].concat();
    let digits = [(body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7 & 0x7f) as u8 | 0x80, (body.len() >> 14) as u8];
    let publication = [&[0x34][..], &digits, &body].concat();
    let mut gone = 0;
    while !bench.cores[0].is_burdened() {
        assert!(gone < 40, "16 MiB and no more");
        let mut publisher = bench.enter(0, &format!("p{gone}"), 0);
        bench.turn(0, &[&publisher]);
        publisher.send(&publication);
        for _ in 0..20 {
            bench.turn(0, &[&publisher]);
        }
        bench.vanish(publisher);
        gone += 1;
    }
    assert!(gone > 30, "{gone}");
    bench.settle(&[&keeper]);
    assert!(!bench.cores[0].is_burdened());
}
