//! Who comes back: by a Clean Start at one listener that ends a session of another, which keeps its state at another level; or while the
//! store is slow.

use super::*;
use crate::identity::{SessionId, Ticket};
use crate::session::{Page, Saved};
use crate::store::{Marks, Record, Recovered};
use crate::sync::Mutex;

const LEVELS: [Level; 3] = [Level::Memory, Level::Os, Level::Sync];

/// What the old session is doing when its successor comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Old {
    IsAway,
    IsThere,
    /// A QoS 2 message of its client waits to be synced, and keeps the seat.
    WaitsForItsMessage,
}

/// Notes at which levels ends of sessions were appended.
struct Noted {
    store: Arc<Memory>,
    ends: Mutex<Vec<Level>>,
}

impl Store for Noted {
    fn append_at(&self, records: Vec<Record>, level: Level) -> Ticket {
        let is_end = |record: &Record| matches!(record, Record::End(_) | Record::Leave { .. });
        if records.iter().any(is_end) {
            self.ends.lock().push(level);
        }
        self.store.append_at(records, level)
    }

    passes_on!(store: marks failed load read_queue level recover lost);
}

/// Turns of both cores in which nothing is written or synced; whether anything came.
fn answered(bench: &mut Bench, line: &mut Line) -> bool {
    for core in [1, 0, 1, 0, 1, 0, 1] {
        bench.turn(core, &[&*line]);
    }
    line.read().first() == Some(&0x20)
}

fn succeed(old: Old, first: Level, second: Level) {
    let store = Arc::new(Memory::manual(Bounds::default()));
    let noted = Arc::new(Noted { store: Arc::clone(&store), ends: Mutex::default() });
    let seen = Arc::clone(&noted) as Arc<dyn Store>;
    let tools = (TopicLevels::new([("sync".into(), Level::Sync)]), first);
    let mut bench = Bench::built((seen, store), Directory::new(), (Limits::default(), 1 << 16), tools);
    let mut line = bench.open(0, "c", 60);
    match old {
        Old::IsAway => bench.vanish(line),
        Old::IsThere => {}
        Old::WaitsForItsMessage => {
            line.send(&publish_as(0x34, 1, "sync", "x"));
            bench.turn(0, &[&line]);
        }
    }
    let waits = old == Old::WaitsForItsMessage;
    if !waits {
        bench.settle(&[]);
    }
    let (rules, limits) = (bench.door.rules.load_full(), bench.door.limits.load_full());
    bench.door = Arc::new(Door::new("second", rules, limits, 10_000, 8192).at_level(second));
    let mut line = bench.connect_over(1, Layers::Plain);
    line.send(&connect("c", 2, 0, &[]));
    if waits {
        assert!(!answered(&mut bench, &mut line), "the seat is not free");
        bench.store.commit(bench.store.appended());
    }
    noted.ends.lock().clear();
    let mut came = answered(&mut bench, &mut line);
    let case = format!("{old:?}, {first:?}, {second:?}");
    assert!(noted.ends.lock().contains(&second), "it waits for what nobody asked for: {case}");
    assert_eq!(came, second == Level::Memory, "{case}");
    bench.store.write(bench.store.appended());
    came |= answered(&mut bench, &mut line);
    assert_eq!(came, second <= Level::Os, "{case}");
    bench.store.commit(bench.store.appended());
    came |= answered(&mut bench, &mut line);
    assert!(came, "{case}");
    bench.settle(&[]);
    assert!(bench.store.recover().sessions.is_empty(), "{case}");
}

#[test]
fn a_clean_start_is_answered_when_the_old_session_s_end_is_what_its_own_listener_asks_for() {
    for old in [Old::IsAway, Old::IsThere, Old::WaitsForItsMessage] {
        for first in LEVELS {
            LEVELS.iter().for_each(|second| succeed(old, first, *second));
        }
    }
}

#[test]
fn mqtt_3_1_2_8_a_client_that_was_on_its_way_back_and_was_not_let_in_has_not_called_off_its_will() {
    for expiry_s in [600, 0] {
        let mut bench = Bench::new(Memory::manual(Bounds::default()), Limits::default(), 1 << 16);
        let mut mourner = bench.open(0, "mourner", 0);
        mourner.send(&subscribe("t", 0));
        bench.settle(&[&mourner]);
        mourner.read();
        let mut line = bench.connect_over(1, Layers::Plain);
        // Will Flag, Will QoS 0, a delay of 30 seconds.
        let will = [&[5, 0x18, 0, 0, 0, 30][..], &field("t"), &field("gone")].concat();
        line.send(&connect("c", 4, 600, &will));
        bench.settle(&[&line]);
        assert_eq!(line.read().first(), Some(&0x20));
        bench.vanish(line);
        bench.settle(&[]);
        // The store is slow: its time to connect is over before its CONNACK.
        let line = bench.enter(1, "c", expiry_s);
        bench.turn(1, &[&line]);
        bench.now_ms += 11_000;
        bench.turn(1, &[&line]);
        assert_eq!(bench.count(Metric::ConnectionsClosed(Closed::ConnectTimeout)), 1);
        bench.settle(&[&mourner]);
        bench.now_ms += 31_000;
        bench.settle(&[&mourner]);
        assert!(mourner.read().ends_with(b"gone"), "{expiry_s}");
        assert!(bench.store.recover().wills.is_empty());
    }
}
