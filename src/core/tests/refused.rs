//! A store that refuses what belongs to subscriptions and sessions: what is believed afterwards is what it has.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::identity::{SessionId, Ticket};
use crate::mqtt::ReasonCode;
use crate::session::{Page, Saved};
use crate::store::{Marks, Record, Recovered};

fn slow() -> Bench {
    Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16)
}

/// Time for what is tried again.
fn later(bench: &mut Bench, lines: &[&Line]) {
    bench.settle(lines);
    bench.now_ms += 1_000;
    bench.settle(lines);
}

fn unsubscribe(filter: &str) -> Vec<u8> {
    packet(0xA2, &[&[0, 2, 0][..], &field(filter)].concat())
}

/// A client with one subscription, which asks for an edit that the store refuses.
fn refused(edit: &[u8]) -> Bench {
    let mut bench = slow();
    let mut line = bench.open(1, "c", 600);
    line.send(&subscribe("kept", 1));
    bench.settle(&[&line]);
    line.read();
    bench.store.fail_next();
    line.send(edit);
    bench.settle(&[&line]);
    assert_eq!(line.read()[..1], [0xE0], "there is nothing but to close");
    bench.vanish(line);
    bench
}

/// How many copies of a publication there are.
fn copies(bench: &mut Bench, topic: &str) -> usize {
    let mut publisher = bench.open(0, "p", 0);
    publisher.send(&publish_as(0x32, 1, topic, "x"));
    bench.settle(&[&publisher]);
    let answer = publisher.read();
    bench.vanish(publisher);
    usize::from(answer[..] == [0x40, 2, 0, 1])
}

#[test]
fn a_subscription_that_the_store_refused_is_none() {
    let mut bench = refused(&subscribe("new", 1));
    later(&mut bench, &[]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 1);
    assert_eq!((copies(&mut bench, "new"), copies(&mut bench, "kept")), (0, 1));
}

#[test]
fn a_subscription_whose_end_the_store_refused_is_there_when_its_client_comes_back_at_once() {
    for waits in [true, false] {
        let mut bench = refused(&unsubscribe("kept"));
        if waits {
            later(&mut bench, &[]);
        }
        let line = bench.open(0, "c", 600);
        assert_eq!(bench.shared.broker.index.subscriptions(), 1, "{waits}");
        assert_eq!(copies(&mut bench, "kept"), 1, "{waits}");
        // What is tried again does not undo what the client does meanwhile.
        let mut line = line;
        line.send(&unsubscribe("kept"));
        later(&mut bench, &[&line]);
        assert_eq!(bench.shared.broker.index.subscriptions(), 0, "{waits}");
    }
}

#[test]
fn an_edit_whose_end_nobody_saw_is_as_the_store_has_it() {
    let mut bench = slow();
    let mut line = bench.open(1, "c", 600);
    bench.store.fail_next();
    line.send(&subscribe("lost", 1));
    line.send(&subscribe("taken", 1));
    bench.turn(1, &[&line]);
    bench.vanish(line);
    later(&mut bench, &[]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 1);
    assert_eq!(copies(&mut bench, "taken"), 1);
}

#[test]
fn a_session_whose_end_the_store_refused_is_ended_again() {
    let mut bench = slow();
    let line = bench.open(1, "c", 600);
    bench.vanish(line);
    bench.settle(&[]);
    // Clean Start ends it; the record of that is the first to be appended.
    let mut line = bench.connect_over(0, Layers::Plain);
    bench.store.fail_next();
    line.send(&connect("c", 2, 0, &[]));
    later(&mut bench, &[&line]);
    assert!(bench.store.recover().sessions.is_empty());
}

/// A store that leaves questions unanswered while it is told to.
struct Silent {
    store: Arc<Memory>,
    says_nothing: AtomicBool,
}

impl Store for Silent {
    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>) {
        if !self.says_nothing.load(Ordering::Relaxed) {
            self.store.load(session, answer);
        }
    }

    passes_on!(store: append_at marks failed read_queue level recover lost);
}

#[test]
fn a_session_that_ends_while_the_store_answers_nothing_leaves_nothing_once_it_does() {
    let store = Arc::new(Memory::instant(Bounds::default()));
    let seen = Arc::new(Silent { store: Arc::clone(&store), says_nothing: AtomicBool::new(false) });
    let mut bench = Bench::over(Arc::clone(&seen) as Arc<dyn Store>, store, Limits::default(), 1 << 16);
    let mut line = bench.open(1, "c", 600);
    line.send(&subscribe("t", 1));
    bench.settle(&[&line]);
    bench.vanish(line);
    seen.says_nothing.store(true, Ordering::Relaxed);
    let mut line = bench.connect_over(0, Layers::Plain);
    line.send(&connect("c", 2, 0, &[]));
    later(&mut bench, &[&line]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 1);
    seen.says_nothing.store(false, Ordering::Relaxed);
    later(&mut bench, &[&line]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 0);
    assert!(bench.store.recover().sessions.is_empty());
}

/// A store that has refused before its answer is looked at, while it is told to: one that is closed is quick to say so.
struct Quick {
    store: Arc<Memory>,
    refuses: AtomicBool,
}

impl Store for Quick {
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
        if self.refuses.load(Ordering::Relaxed) {
            self.store.fail_next();
        }
        let ticket = self.store.append_at(records, level);
        self.store.commit(ticket);
        ticket
    }

    passes_on!(store: marks failed load read_queue level recover lost);
}

#[test]
fn a_client_whose_session_the_store_refused_at_once_is_not_let_in() {
    let store = Arc::new(Memory::manual(Bounds::default()));
    let seen = Arc::new(Quick { store: Arc::clone(&store), refuses: AtomicBool::new(true) });
    let mut bench = Bench::over(Arc::clone(&seen) as Arc<dyn Store>, store, Limits::default(), 1 << 16);
    let mut line = bench.enter(0, "c", 600);
    bench.settle(&[&line]);
    let answer = line.read();
    assert_eq!((answer[0], answer[3]), (0x20, ReasonCode::ServerUnavailable as u8), "{answer:02x?}");
    bench.vanish(line);
    // What it would have been promised is kept for who comes when the store works again.
    seen.refuses.store(false, Ordering::Relaxed);
    let mut line = bench.open(0, "c", 600);
    line.send(&subscribe("t", 1));
    bench.settle(&[&line]);
    bench.vanish(line);
    assert_eq!(copies(&mut bench, "t"), 1);
    let mut line = bench.enter(0, "c", 600);
    bench.settle(&[&line]);
    assert!(line.read().ends_with(b"x"), "the message that waited");
}

#[test]
fn a_subscription_that_the_store_refused_is_none_though_it_kept_the_retained_messages() {
    let mut bench = slow();
    let mut publisher = bench.open(0, "p", 0);
    publisher.send(&publish_as(0x33, 1, "r", "x"));
    bench.settle(&[&publisher]);
    let mut line = bench.open(1, "c", 600);
    bench.store.fail_next();
    line.send(&subscribe("r", 1));
    bench.settle(&[&line]);
    assert_eq!(line.read()[..1], [0xE0], "there is nothing but to close");
}

#[test]
fn mqtt_3_1_2_8_a_will_of_qos_2_that_cannot_be_stored_for_one_comes_to_all_others() {
    let mut bench = slow();
    let mut away = bench.open(1, "away", 600);
    away.send(&subscribe("t", 2));
    let mut there = bench.open(1, "there", 0);
    there.send(&subscribe("t", 2));
    bench.settle(&[&away, &there]);
    there.read();
    bench.vanish(away);
    let mut line = bench.connect_over(0, Layers::Plain);
    // Will Flag and Will QoS 2.
    line.send(&connect("w", 0x14, 0, &will("t", "gone")));
    bench.settle(&[&line]);
    bench.store.fail_next();
    bench.vanish(line);
    bench.settle(&[&there]);
    assert!(there.read().ends_with(b"gone"));
    assert_eq!(bench.count(Metric::MessagesDropped(crate::metrics::Dropped::Unwritten)), 1);
}

#[test]
fn a_message_is_refused_if_only_a_further_copy_of_it_was_kept() {
    let mut bench = slow();
    let mut line = bench.open(1, "c", 600);
    line.send(&subscribe("t", 1));
    line.send(&subscribe("$share/group/t", 1));
    bench.settle(&[&line]);
    let mut publisher = bench.open(0, "p", 0);
    for (fails, code) in [(true, 0x97), (false, 0)] {
        if fails {
            bench.store.fail_next();
        }
        publisher.send(&publish_as(0x32, 1, "t", "x"));
        bench.settle(&[&line, &publisher]);
        let answer = publisher.read();
        assert_eq!((answer[0], answer.get(4).copied().unwrap_or(0)), (0x40, code), "{answer:02x?}");
    }
}

#[test]
fn a_subscription_is_refused_if_only_its_retained_messages_were_kept() {
    let mut bench = slow();
    let mut publisher = bench.open(0, "p", 0);
    publisher.send(&publish_as(0x33, 1, "t", "x"));
    let mut line = bench.open(1, "c", 600);
    bench.settle(&[&publisher]);
    bench.store.fail_next();
    line.send(&subscribe("t", 1));
    bench.settle(&[&line]);
    assert_eq!(line.read()[..1], [0xE0], "there is nothing but to close");
    bench.vanish(line);
    later(&mut bench, &[]);
    assert_eq!(bench.shared.broker.index.subscriptions(), 0);
}

#[test]
fn mqtt_3_3_1_5_what_is_retained_though_the_store_refused_it_is_what_the_store_keeps_later() {
    let mut bench = slow();
    let mut publisher = bench.open(0, "p", 0);
    for (id, payload) in [(1, "old"), (2, "new"), (3, "")] {
        if payload != "old" {
            bench.store.fail_next();
        }
        publisher.send(&publish_as(0x33, id, "t", payload));
        bench.settle(&[&publisher]);
        let kept: Vec<_> = bench.store.recover().retained.iter().map(|message| message.payload().to_vec()).collect();
        let expected = if payload.is_empty() { Vec::new() } else { vec![payload.as_bytes().to_vec()] };
        assert_eq!((kept, bench.shared.broker.retained.count()), (expected.clone(), expected.len()), "{payload}");
    }
}
