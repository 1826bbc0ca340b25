//! What each acknowledgement waits for, where topics and listeners have levels of their own.

use super::*;
use crate::identity::Ticket;

const TOPICS: &[(&str, Level)] = &[("sync/#", Level::Sync), ("os/#", Level::Os), ("memory/#", Level::Memory)];
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;
const SUBACK: u8 = 0x90;

/// A bench, with a session that is away and wants everything.
fn bench(listener: Level) -> Bench {
    let mut bench = Bench::with_levels(TOPICS, listener);
    let mut away = bench.open(1, "away", 60);
    away.send(&subscribe("#", 2));
    bench.settle(&[&away]);
    assert_eq!(away.read().first(), Some(&SUBACK));
    bench.vanish(away);
    bench.settle(&[]);
    bench
}

fn publish_at(qos: u8, topic: &str, id: u8) -> Vec<u8> {
    packet(0x30 | qos << 1, &[&field(topic)[..], &[0, id, 0]].concat())
}

/// First byte and Packet Identifier of each packet that came.
fn answers(line: &mut Line) -> Vec<(u8, u8)> {
    let bytes = line.read();
    let mut rest = &bytes[..];
    let mut all = Vec::new();
    while let [first, length, body @ ..] = rest {
        all.push((*first, body[1]));
        rest = &body[usize::from(*length)..];
    }
    all
}

/// What comes in one turn without anything new being written or synced.
fn now(bench: &mut Bench, line: &mut Line) -> Vec<(u8, u8)> {
    bench.turn(line.core, &[line]);
    answers(line)
}

/// What comes once everything is in the log.
fn written(bench: &mut Bench, line: &mut Line) -> Vec<(u8, u8)> {
    bench.store.write(bench.store.appended());
    now(bench, line)
}

/// What comes once everything is synced.
fn synced(bench: &mut Bench, line: &mut Line) -> Vec<(u8, u8)> {
    bench.store.commit(bench.store.appended());
    now(bench, line)
}

#[test]
fn a_message_waits_for_what_its_topic_asks_for() {
    let mut bench = bench(Level::Sync);
    let mut line = bench.open(0, "c", 0);
    line.send(&publish_at(1, "memory/a", 1));
    assert_eq!(now(&mut bench, &mut line), [(PUBACK, 1)]);
    line.send(&publish_at(1, "os/a", 2));
    assert_eq!(now(&mut bench, &mut line), []);
    assert_eq!(written(&mut bench, &mut line), [(PUBACK, 2)]);
    for topic in ["sync/a", "elsewhere"] {
        line.send(&publish_at(1, topic, 3));
        assert_eq!((now(&mut bench, &mut line), written(&mut bench, &mut line)), (vec![], vec![]), "{topic}");
        assert_eq!(synced(&mut bench, &mut line), [(PUBACK, 3)], "{topic}");
    }
}

#[test]
fn a_topic_without_a_level_waits_for_what_its_publishers_listener_asks_for() {
    let mut bench = bench(Level::Os);
    let mut line = bench.open(0, "c", 0);
    line.send(&publish_at(1, "elsewhere", 1));
    assert_eq!(now(&mut bench, &mut line), []);
    assert_eq!(written(&mut bench, &mut line), [(PUBACK, 1)]);
    line.send(&publish_at(1, "sync/a", 2));
    assert_eq!((now(&mut bench, &mut line), written(&mut bench, &mut line)), (vec![], vec![]));
    assert_eq!(synced(&mut bench, &mut line), [(PUBACK, 2)]);
}

#[test]
fn mqtt_4_6_0_2_answers_to_one_client_stay_in_order_whatever_they_wait_for() {
    let mut bench = bench(Level::Sync);
    let (mut line, mut other) = (bench.open(0, "c", 0), bench.open(0, "d", 0));
    for (topic, id) in [("os/a", 1), ("memory/a", 2), ("sync/a", 3), ("memory/a", 4), ("os/a", 5)] {
        line.send(&publish_at(1, topic, id));
    }
    other.send(&publish_at(1, "memory/a", 1));
    assert_eq!(now(&mut bench, &mut line), []);
    assert_eq!(now(&mut bench, &mut other), [(PUBACK, 1)], "nobody waits for another client's topic");
    assert_eq!(written(&mut bench, &mut line), [(PUBACK, 1), (PUBACK, 2)]);
    assert_eq!(synced(&mut bench, &mut line), [(PUBACK, 3), (PUBACK, 4), (PUBACK, 5)]);
}

#[test]
fn session_state_waits_for_what_the_listener_asks_for_whatever_the_topic_is() {
    for (listener, by_now, by_write) in [(Level::Sync, 0, 0), (Level::Os, 0, 1), (Level::Memory, 1, 1)] {
        let mut bench = Bench::with_levels(&[("#", Level::Memory)], listener);
        let mut line = bench.open(0, "c", 60);
        line.send(&subscribe("a", 1));
        let mut came = now(&mut bench, &mut line).len();
        assert_eq!(came, by_now, "{listener:?}");
        came += written(&mut bench, &mut line).len();
        assert_eq!(came, by_write, "{listener:?}");
        came += synced(&mut bench, &mut line).len();
        assert_eq!(came, 1, "{listener:?}");
    }
}

#[test]
fn a_new_session_is_let_in_when_its_record_is_what_the_listener_asks_for() {
    for (listener, by_now, by_write) in
        [(Level::Sync, false, false), (Level::Os, false, true), (Level::Memory, true, true)]
    {
        let mut bench = Bench::with_levels(TOPICS, listener);
        let mut line = bench.enter(0, "c", 60);
        assert_eq!(!now(&mut bench, &mut line).is_empty(), by_now, "{listener:?}");
        assert_eq!(by_now || !written(&mut bench, &mut line).is_empty(), by_write, "{listener:?}");
        assert!(by_write || !synced(&mut bench, &mut line).is_empty(), "{listener:?}");
    }
}

#[test]
fn a_stored_identifier_of_qos_2_is_as_safe_as_the_more_careful_of_topic_and_listener() {
    let mut bench = bench(Level::Sync);
    let (mut kept, mut clean) = (bench.open(0, "kept", 60), bench.open(0, "clean", 0));
    for line in [&mut kept, &mut clean] {
        line.send(&publish_at(2, "memory/a", 1));
    }
    assert_eq!(now(&mut bench, &mut clean), [(PUBREC, 1)], "a clean session has no identifier to be stored");
    assert_eq!((now(&mut bench, &mut kept), written(&mut bench, &mut kept)), (vec![], vec![]));
    assert_eq!(synced(&mut bench, &mut kept), [(PUBREC, 1)]);
    kept.send(&packet(0x62, &[0, 1]));
    assert_eq!((now(&mut bench, &mut kept), written(&mut bench, &mut kept)), (vec![], vec![]));
    assert_eq!(synced(&mut bench, &mut kept), [(PUBCOMP, 1)]);
}

/// Payload-less messages by the last letter of their topics.
fn delivered(line: &mut Line) -> String {
    let bytes = line.read();
    let mut rest = &bytes[..];
    let mut all = String::new();
    while let [first, length, body @ ..] = rest {
        if first & 0xF0 == 0x30 {
            all.push(char::from(body[1 + usize::from(body[1])]));
        }
        rest = &body[usize::from(*length)..];
    }
    all
}

#[test]
fn mqtt_4_6_0_6_a_message_of_qos_2_does_not_overtake_its_publishers_earlier_ones_whatever_they_wait_for() {
    let mut bench = Bench::with_levels(TOPICS, Level::Sync);
    let mut reader = bench.open(0, "reader", 0);
    reader.send(&subscribe("#", 2));
    let away = bench.open(1, "away", 60);
    bench.settle(&[&reader, &away]);
    reader.read();
    let mut away = away;
    away.send(&subscribe("#", 2));
    bench.settle(&[&away]);
    bench.vanish(away);
    bench.settle(&[]);
    let mut line = bench.open(0, "c", 0);
    for (topic, id) in [("sync/a", 1), ("memory/b", 2)] {
        line.send(&publish_at(2, topic, id));
    }
    bench.turn(0, &[&line]);
    bench.vanish(line);
    // The same publisher again, while what it sent before still waits.
    let mut line = bench.enter(0, "c", 0);
    line.send(&publish_at(2, "memory/c", 1));
    bench.turn(0, &[&line, &reader]);
    bench.store.write(bench.store.appended());
    bench.turn(0, &[&line, &reader]);
    assert_eq!(delivered(&mut reader), "", "the first waits for its sync, and the others for the first");
    bench.store.commit(bench.store.appended());
    bench.turn(0, &[&line, &reader]);
    assert_eq!(delivered(&mut reader), "ab");
    bench.settle(&[&line, &reader]);
    assert_eq!(delivered(&mut reader), "c");
    assert_eq!(answers(&mut line).last(), Some(&(PUBREC, 1)));
}

/// A client on core 0 that is sent everything.
fn reader(bench: &mut Bench) -> Line {
    let mut reader = bench.open(0, "reader", 0);
    reader.send(&subscribe("#", 2));
    bench.settle(&[&reader]);
    reader.read();
    reader
}

/// A client on core 0 that leaves a will of QoS 2 behind.
fn leaves_will(bench: &mut Bench, client: &str, topic: &str) {
    let mut line = bench.connect_over(0, Layers::Plain);
    line.send(&connect(client, 0x14, 0, &will(topic, "")));
    bench.settle(&[&line]);
    bench.vanish(line);
    bench.turn(0, &[]);
}

#[test]
fn mqtt_4_6_0_6_a_hasty_message_does_not_overtake_its_publishers_own_will() {
    let mut bench = bench(Level::Sync);
    let mut reader = reader(&mut bench);
    leaves_will(&mut bench, "c", "sync/a");
    let mut line = bench.enter(0, "c", 0);
    bench.turn(0, &[&line, &reader]);
    assert_eq!(line.read().first(), Some(&0x20), "CONNACK");
    line.send(&publish_at(2, "memory/b", 1));
    bench.turn(0, &[&line, &reader]);
    bench.store.write(bench.store.appended());
    bench.turn(0, &[&line, &reader]);
    assert_eq!(delivered(&mut reader), "");
    bench.store.commit(bench.store.appended());
    bench.turn(0, &[&line, &reader]);
    assert_eq!(delivered(&mut reader), "ab");
}

#[test]
fn wills_that_come_later_hold_nobody_back() {
    let mut bench = bench(Level::Sync);
    let (mut reader, mut line) = (reader(&mut bench), bench.open(0, "c", 0));
    let mut leaver = bench.connect_over(0, Layers::Plain);
    leaver.send(&connect("w", 0x14, 0, &will("sync/w", "")));
    bench.settle(&[&leaver]);
    line.send(&publish_at(2, "sync/a", 1));
    line.send(&publish_at(2, "memory/b", 2));
    bench.turn(0, &[&line]);
    let before = bench.store.appended();
    bench.vanish(leaver);
    bench.turn(0, &[]);
    assert!(bench.store.appended() > before, "the will waits for the store, too");
    bench.store.commit(before);
    bench.turn(0, &[&line, &reader]);
    assert_eq!(delivered(&mut reader), "ab");
    assert_eq!(answers(&mut line), [(PUBREC, 1), (PUBREC, 2)]);
    bench.store.commit(bench.store.appended());
    bench.turn(0, &[&reader]);
    assert_eq!(delivered(&mut reader), "w");
}

#[test]
fn who_has_its_answer_already_is_not_refused_by_a_queue_that_is_full() {
    let store = Arc::new(Memory::manual(Bounds { messages_max: 1, ..Bounds::default() }));
    let (seen, topics) = (Arc::clone(&store) as Arc<dyn Store>, [("memory/#".into(), Level::Memory)]);
    let tools = (TopicLevels::new(topics), Level::Sync);
    let mut bench = Bench::built((seen, store), Directory::new(), (Limits::default(), 1 << 16), tools);
    let mut away = bench.open(1, "away", 60);
    away.send(&subscribe("#", 1));
    bench.settle(&[&away]);
    bench.vanish(away);
    bench.settle(&[]);
    let mut line = bench.open(0, "c", 0);
    for (topic, id) in [("memory/a", 1), ("memory/b", 2)] {
        line.send(&publish_at(1, topic, id));
        assert_eq!(now(&mut bench, &mut line), [(PUBACK, id)]);
    }
    line.send(&publish_at(1, "sync/c", 3));
    bench.settle(&[&line]);
    assert_eq!(line.read()[2..5], [0, 3, 0x97], "who waits for its answer is told");
    let mut away = bench.enter(1, "away", 60);
    bench.settle(&[&away]);
    assert_eq!(delivered(&mut away), "b", "the oldest was dropped");
}

#[test]
fn a_message_for_clean_sessions_only_never_waits_for_the_disk() {
    let mut bench = Bench::with_levels(&[], Level::Sync);
    let (mut reader, mut line) = (bench.open(1, "reader", 0), bench.open(0, "c", 0));
    reader.send(&subscribe("a", 2));
    bench.settle(&[&reader]);
    reader.read();
    let appended = bench.store.appended();
    // From here on nothing is written or synced any more.
    for (qos, id, answer) in [(1, 1, PUBACK), (2, 2, PUBREC)] {
        line.send(&publish_at(qos, "a", id));
        assert_eq!(now(&mut bench, &mut line), [(answer, id)]);
        bench.turn(1, &[&reader]);
        assert_eq!(delivered(&mut reader), "a");
    }
    assert_eq!(bench.store.appended(), appended, "the store was asked for nothing");
    assert!(appended == Ticket::NONE || bench.store.durable() == appended);
}

#[test]
fn who_waits_for_nothing_is_held_back_while_too_much_waits_to_be_written() {
    let mut bench = bench(Level::Memory);
    let mut line = bench.open(0, "c", 0);
    bench.store.set_behind(true);
    for topic in ["memory/a", "elsewhere"] {
        line.send(&publish_at(1, topic, 1));
        assert_eq!(now(&mut bench, &mut line), []);
        assert_eq!(written(&mut bench, &mut line), [(PUBACK, 1)]);
    }
    bench.store.set_behind(false);
    line.send(&publish_at(1, "memory/a", 2));
    assert_eq!(now(&mut bench, &mut line), [(PUBACK, 2)]);
}

#[test]
fn a_subscription_that_was_acknowledged_and_not_written_is_gone_when_its_client_is() {
    let mut bench = bench(Level::Memory);
    let mut line = bench.open(0, "c", 60);
    line.send(&subscribe("kept", 1));
    bench.settle(&[&line]);
    bench.store.fail_next();
    line.send(&subscribe("lost", 1));
    bench.settle(&[&line]);
    assert_eq!(line.read().len(), 2 * 6, "two SUBACKs, as if nothing were wrong");
    assert_eq!(bench.shared.broker.index.subscriptions(), 3);
    bench.vanish(line);
    for _ in 0..2 {
        bench.settle(&[]);
        bench.now_ms += 1_000;
    }
    assert_eq!(bench.shared.broker.index.subscriptions(), 2, "as the store has it");
}

#[test]
fn what_failed_is_told_to_who_waited_and_to_nobody_who_did_not() {
    let mut bench = bench(Level::Sync);
    let mut line = bench.open(0, "c", 0);
    bench.store.fail_next();
    line.send(&publish_at(1, "os/a", 1));
    assert_eq!(now(&mut bench, &mut line), []);
    bench.store.write(bench.store.appended());
    bench.turn(0, &[&line]);
    let refused = line.read();
    assert_eq!(refused[..5], [PUBACK, refused[1], 0, 1, 0x97], "quota exceeded");
    line.send(&publish_at(1, "memory/a", 2));
    assert_eq!(now(&mut bench, &mut line), [(PUBACK, 2)]);
}
