//! A panic ends the connection it came from, and harms nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::{Level, Record, Recovered};

/// A store whose next append panics.
struct Fragile {
    store: Arc<Memory>,
    panics: AtomicBool,
}

impl Store for Fragile {
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "as it was told to");
        self.store.append_at(records, level)
    }

    fn marks(&self) -> Marks {
        self.store.marks()
    }

    fn failed(&self, ticket: Ticket) -> bool {
        self.store.failed(ticket)
    }

    fn load(&self, session: SessionId, answer: Box<dyn FnOnce(Saved) + Send>) {
        self.store.load(session, answer);
    }

    fn read_queue(
        &self,
        session: SessionId,
        after: Ticket,
        max: usize,
        now: Now,
        answer: Box<dyn FnOnce(Page) + Send>,
    ) {
        self.store.read_queue(session, after, max, now, answer);
    }

    fn level(&self) -> Level {
        self.store.level()
    }

    fn recover(&self) -> Recovered {
        self.store.recover()
    }

    fn lost(&self) -> Lost {
        self.store.lost()
    }
}

fn fragile() -> (Bench, Arc<Fragile>) {
    let store = Arc::new(Memory::instant(Bounds::default()));
    let seen = Arc::new(Fragile { store: Arc::clone(&store), panics: AtomicBool::new(false) });
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
