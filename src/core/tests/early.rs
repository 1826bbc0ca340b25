//! Messages that everybody has acknowledged before they are committed: their publisher waits no longer.

use super::*;
use crate::identity::Ticket;

const NOTHING: [u8; 0] = [];

/// A publisher on the first core, and on the second a durable session that wants `t`.
fn pair() -> (Bench, Line, Line) {
    let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
    let publisher = bench.open(0, "p", 0);
    let mut reader = bench.open(1, "r", 600);
    reader.send(&subscribe("t", 2));
    bench.settle(&[&reader]);
    reader.read();
    (bench, publisher, reader)
}

/// The reader gets what came for it, and acknowledges it.
fn acknowledge(bench: &mut Bench, reader: &mut Line) {
    bench.turn(reader.core, &[reader]);
    let bytes = reader.read();
    assert_eq!(bytes[0], 0x32, "a message of QoS 1");
    for publication in bytes.chunks(2 + usize::from(bytes[1])) {
        reader.send(&[0x40, 2, publication[5], publication[6]]);
    }
    bench.turn(reader.core, &[reader]);
}

/// What a turn brings to the publisher, without a commit.
fn answers(bench: &mut Bench, publisher: &mut Line) -> Vec<u8> {
    bench.turn(publisher.core, &[publisher]);
    publisher.read()
}

#[test]
fn a_publisher_has_its_answer_when_everybody_has_the_message() {
    for together in [false, true] {
        let (mut bench, mut publisher, mut reader) = pair();
        if together {
            publisher = bench.open(1, "q", 0);
        }
        publisher.send(&publish_as(0x32, 7, "t", "x"));
        assert_eq!(answers(&mut bench, &mut publisher), NOTHING);
        acknowledge(&mut bench, &mut reader);
        if !together {
            let mut mail = Vec::new();
            bench.shared.inboxes[0].take(&mut mail);
            assert!(matches!(mail[..], [Mail::Durable]), "its core is woken: {mail:?}");
        }
        assert_eq!(answers(&mut bench, &mut publisher), [0x40, 2, 0, 7]);
        let commits = bench.store.durable();
        bench.store.crash();
        assert!(bench.store.durable() > commits, "none came");
        // Nothing is owed to anybody.
        bench.vanish(reader);
        let mut reader = bench.open(1, "r", 600);
        bench.settle(&[&reader]);
        assert_eq!(reader.read(), NOTHING);
    }
}

#[test]
fn mqtt_4_6_0_2_an_answer_that_comes_early_waits_for_those_before_it() {
    let (mut bench, mut publisher, mut reader) = pair();
    let mut away = bench.open(1, "away", 600);
    away.send(&subscribe("other", 1));
    bench.settle(&[&away]);
    bench.vanish(away);
    bench.settle(&[]);
    let first = Ticket(bench.store.appended().0 + 1);
    publisher.send(&publish_as(0x32, 1, "other", "x"));
    publisher.send(&publish_as(0x32, 2, "t", "x"));
    publisher.send(&publish_as(0x32, 3, "t", "x"));
    assert_eq!(answers(&mut bench, &mut publisher), NOTHING);
    acknowledge(&mut bench, &mut reader);
    assert_eq!(answers(&mut bench, &mut publisher), NOTHING);
    bench.store.commit(first);
    assert_eq!(answers(&mut bench, &mut publisher), [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
    assert_eq!(bench.store.durable(), first, "the others are not committed");
}

#[test]
fn an_answer_that_speaks_for_more_than_the_message_waits_for_the_commit() {
    type Prepare = fn(&mut Bench, &mut Line);
    let also_by_a_share: Prepare = |bench, reader| {
        reader.send(&subscribe("$share/group/t", 1));
        bench.settle(&[reader]);
        reader.read();
    };
    let for_somebody_else: Prepare = |bench, _| {
        let mut away = bench.open(0, "away", 600);
        away.send(&subscribe("t", 1));
        bench.settle(&[&away]);
        bench.vanish(away);
        bench.settle(&[]);
    };
    let nothing: Prepare = |_, _| {};
    for (first, prepare) in [(0x33, nothing), (0x32, also_by_a_share), (0x32, for_somebody_else)] {
        let (mut bench, mut publisher, mut reader) = pair();
        prepare(&mut bench, &mut reader);
        publisher.send(&publish_as(first, 7, "t", "x"));
        assert_eq!(answers(&mut bench, &mut publisher), NOTHING);
        acknowledge(&mut bench, &mut reader);
        assert_eq!(answers(&mut bench, &mut publisher), NOTHING);
        bench.settle(&[&publisher]);
        assert_eq!(publisher.read(), [0x40, 2, 0, 7]);
    }
}
