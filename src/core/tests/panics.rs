//! A panic ends the connection it came from, and harms nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::{Level, Record, Recovered};

/// A store whose next append panics, or whose next answer whether an append failed.
struct Fragile {
    store: Arc<Memory>,
    panics: AtomicBool,
    panics_when_asked: AtomicBool,
}

impl Store for Fragile {
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "as it was told to");
        self.store.append_at(records, level)
    }

    fn failed(&self, ticket: Ticket) -> bool {
        assert!(!self.panics_when_asked.swap(false, Ordering::Relaxed), "as it was told to");
        self.store.failed(ticket)
    }

    passes_on!(store: marks load read_queue level recover lost);
}

fn fragile() -> (Bench, Arc<Fragile>) {
    fragile_over(Memory::instant(Bounds::default()))
}

fn fragile_over(store: Memory) -> (Bench, Arc<Fragile>) {
    let store = Arc::new(store);
    let (panics, panics_when_asked) = (AtomicBool::new(false), AtomicBool::new(false));
    let seen = Arc::new(Fragile { store: Arc::clone(&store), panics, panics_when_asked });
    (Bench::over(Arc::clone(&seen) as Arc<dyn Store>, store, Limits::default(), 1 << 16), seen)
}

#[test]
fn after_a_panic_in_a_publication_others_are_still_delivered() {
    let (mut bench, store) = fragile();
    let mut line = bench.open(0, "c", 0);
    line.send(&subscribe("t", 0));
    bench.settle(&[&line]);
    line.read();
    let mut unlucky = bench.open(0, "unlucky", 0);
    store.panics.store(true, Ordering::Relaxed);
    unlucky.send(&publish(0x31, "r", "x"));
    bench.settle(&[&unlucky]);
    assert_eq!(bench.count(Metric::CaughtPanics), 1);
    let mut publisher = bench.open(0, "publisher", 0);
    publisher.send(&publish(0x30, "t", "still"));
    bench.settle(&[&publisher]);
    assert_eq!(line.read(), publish(0x30, "t", "still"));
}

#[test]
fn after_a_panic_at_its_end_a_client_comes_back() {
    let (mut bench, store) = fragile();
    let mut line = bench.open(0, "c", 60);
    store.panics.store(true, Ordering::Relaxed);
    line.send(&[0xE0, 0]);
    bench.settle(&[&line]);
    assert_eq!(bench.count(Metric::CaughtPanics), 1);
    bench.open(1, "c", 60);
}

/// A subscriber to `t` on core 0.
fn subscriber(bench: &mut Bench) -> Line {
    let mut line = bench.open(0, "subscriber", 0);
    line.send(&subscribe("t", 0));
    bench.settle(&[&line]);
    line.read();
    line
}

/// One panic was caught, and whoever is on core 0 is served.
fn expect_served(bench: &mut Bench, line: &mut Line) {
    assert_eq!(bench.count(Metric::CaughtPanics), 1);
    let mut publisher = bench.open(0, "publisher", 0);
    publisher.send(&publish(0x30, "t", "still"));
    bench.settle(&[&publisher, line]);
    assert_eq!(line.read(), publish(0x30, "t", "still"));
}

#[test]
fn a_panic_when_time_is_up_ends_the_client_whose_time_it_was() {
    let (mut bench, store) = fragile();
    let mut line = subscriber(&mut bench);
    let mut silent = bench.connect_over(0, Layers::Plain);
    // 5.0, Keep Alive 1, a session that is kept: its end is appended.
    silent.send(&packet(0x10, &[&field("MQTT")[..], &[5, 2, 0, 1, 5, 0x11, 0, 0, 0, 60], &field("silent")].concat()));
    bench.settle(&[&silent]);
    store.panics.store(true, Ordering::Relaxed);
    bench.now_ms += 1_502;
    bench.turn(0, &[]);
    assert_eq!(bench.cores[0].connections(), 1);
    expect_served(&mut bench, &mut line);
    bench.open(0, "silent", 60);
}

#[test]
fn a_panic_when_bytes_are_written_ends_the_client_they_are_for() {
    let (mut bench, store) = fragile();
    let mut line = subscriber(&mut bench);
    let mut gone = bench.open(0, "gone", 60);
    gone.send(&subscribe("u", 0));
    bench.settle(&[&gone]);
    drop(gone);
    let mut publisher = bench.open(0, "publisher-of-u", 0);
    publisher.send(&publish(0x30, "u", "x"));
    store.panics.store(true, Ordering::Relaxed);
    bench.turn(0, &[&publisher]);
    assert_eq!(bench.cores[0].connections(), 2);
    expect_served(&mut bench, &mut line);
}

#[test]
fn a_panic_when_an_answer_is_due_ends_the_client_it_is_for_and_others_get_theirs() {
    let (mut bench, store) = fragile_over(Memory::manual(Bounds::default()));
    let mut line = subscriber(&mut bench);
    let mut lines = [bench.open(0, "a", 0), bench.open(0, "b", 0)];
    for publisher in &mut lines {
        publisher.send(&packet(0x33, &[&field("r")[..], &[0, 1, 0], b"x"].concat()));
        bench.turn(0, &[publisher]);
        assert!(publisher.read().is_empty(), "the store has not said yet that it is safe");
    }
    store.panics_when_asked.store(true, Ordering::Relaxed);
    bench.settle(&[]);
    assert_eq!(bench.cores[0].connections(), 2);
    assert!(lines[0].read().is_empty() && lines[1].read().first() == Some(&0x40), "PUBACK");
    expect_served(&mut bench, &mut line);
}

#[test]
fn a_panic_at_a_will_that_is_due_takes_that_will_alone() {
    let (mut bench, store) = fragile();
    let mut line = subscriber(&mut bench);
    for (name, topic) in [("a", "r"), ("b", "t")] {
        let mut leaving = bench.connect_over(0, Layers::Plain);
        // Retained, with a delay of 1 s.
        let will = [&[5, 0x18, 0, 0, 0, 1][..], &field(topic), &field(name)].concat();
        leaving.send(&connect(name, 0x24, 60, &will));
        bench.settle(&[&leaving]);
        bench.vanish(leaving);
    }
    store.panics.store(true, Ordering::Relaxed);
    bench.now_ms += 1_002;
    bench.turn(0, &[]);
    bench.settle(&[]);
    let will = line.read();
    assert!(will.ends_with(b"b"), "the second will came: {will:?}");
    expect_served(&mut bench, &mut line);
}
