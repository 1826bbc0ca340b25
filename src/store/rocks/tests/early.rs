//! Messages that everybody has acknowledged while they waited to be written.

use parking_lot::MutexGuard;

use super::super::ram::Ram;
use super::*;
use crate::store::early::FEW;

const TWO: SessionId = SessionId(2);

fn with_sessions(bounds: Bounds) -> (tempfile::TempDir, Rocks) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), bounds);
    wait(&store, vec![session(ONE), session(TWO)]);
    (folder, store)
}

/// A writer that has taken everything up to now and does not get on with it: what is appended from here on lies in the inbox.
fn busy(store: &Rocks) -> MutexGuard<'_, Ram> {
    let held = store.shared.ram.lock();
    // Comes to nothing, and the writer has to look at it to know that.
    store.append(vec![Record::Edit(SessionId(99), Change::Expiry { expiry_s: 1 })]);
    let until = Instant::now() + Duration::from_secs(20);
    while !store.shared.inbox.lock().is_empty() {
        assert!(Instant::now() < until, "the writer takes nothing");
        std::thread::yield_now();
    }
    held
}

fn done(session: SessionId, ticket: Ticket) -> Vec<Record> {
    vec![Record::Edit(session, Change::Done { ticket })]
}

#[test]
fn what_everybody_has_acknowledged_is_settled_while_the_disk_is_busy_and_never_written() {
    let (folder, store) = with_sessions(Bounds::default());
    let before = (marked(folder.path()), store.marks());
    let held = busy(&store);
    let first = store.append(vec![enqueue("first", [1, 2])]);
    let second = store.append_at(vec![enqueue("second", [2])], Level::Os);
    load_later(&store);
    store.append(done(TWO, first));
    assert!(!store.is_early(first) && !store.has_settled_early(), "one still waits");
    store.append_at(done(TWO, second), Level::Memory);
    let last = store.append(done(ONE, first));
    assert!(store.is_early(first) && store.is_early(second) && !store.is_early(last));
    assert!(store.has_settled_early() && !store.has_settled_early(), "it is told once");
    assert!(
        store.shared.inbox.lock().appends.iter().all(|append| append.records.is_empty()),
        "nor is anything left of them"
    );
    assert_eq!(store.marks(), Marks { early: 2, ..before.1 }, "the disk has not answered");
    drop(held);
    settled(&store, last);
    assert_eq!(marked(folder.path()), before.0, "nothing was written");
    assert!(!store.failed(first) && !store.failed(second));
    assert_eq!((waiting(&store, 1).len(), waiting(&store, 2).len()), (0, 0));
    drop(store);
    let store = open(folder.path());
    assert_eq!((waiting(&store, 1).len(), waiting(&store, 2).len()), (0, 0), "nobody gets it again");
}

/// A question in the middle of what is appended.
fn load_later(store: &Rocks) {
    store.load(ONE, Box::new(drop));
}

#[test]
fn what_some_have_acknowledged_is_written_for_the_others() {
    let (_folder, store) = with_sessions(Bounds::default());
    let held = busy(&store);
    let ticket = store.append(vec![enqueue("x", [1, 2])]);
    let last = store.append(done(ONE, ticket));
    drop(held);
    settled(&store, last);
    assert!(!store.is_early(ticket));
    assert_eq!((waiting(&store, 1).len(), waiting(&store, 2)), (0, vec!["x".to_owned()]));
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 0);
    // And again, for a session that has it no more.
    settled(&store, store.append(done(ONE, ticket)));
    assert_eq!(waiting(&store, 2), ["x"]);
}

#[test]
fn what_is_more_than_a_message_for_a_few_waits_for_the_disk() {
    let (_folder, store) = with_sessions(Bounds::default());
    let to_many: Vec<u64> = (1..=FEW as u64 + 1).collect();
    let Record::Enqueue { message, mut recipients, publisher } = enqueue("x", [1]) else { unreachable!() };
    recipients[0].qos = QoS::ExactlyOnce;
    let twice = Record::Enqueue { message, recipients, publisher };
    let appends = [
        (Level::Sync, vec![enqueue("x", [1]), Record::Received { session: TWO, packet_id: id(1) }], vec![1]),
        (Level::Sync, vec![Record::Retain(super::message("x")), enqueue("x", [1])], vec![1]),
        (Level::Sync, vec![enqueue("x", to_many.clone())], to_many),
        (Level::Sync, vec![twice], vec![1]),
        (Level::Memory, vec![enqueue("x", [1])], vec![1]),
        (Level::Sync, vec![enqueue("x", [2])], vec![1]),
    ];
    let held = busy(&store);
    for (level, records, sessions) in appends {
        let what = format!("{records:?}");
        let ticket = store.append_at(records, level);
        for session in sessions {
            store.append(done(SessionId(session), ticket));
        }
        assert!(!store.is_early(ticket), "{what}");
    }
    let last = store.append(Vec::new());
    drop(held);
    settled(&store, last);
    assert_eq!((waiting(&store, 1).len(), waiting(&store, 2).len(), store.shared.behind()), (0, 1, 0));
    // What the writer has taken is its business.
    let ticket = wait(&store, vec![enqueue("x", [1])]);
    wait(&store, done(ONE, ticket));
    assert_eq!((store.is_early(ticket), store.marks().early), (false, 0));
}

#[test]
fn what_somebody_has_is_not_refused_because_the_queue_of_another_is_full() {
    let (_folder, store) = with_sessions(Bounds { messages_max: 1, ..Bounds::default() });
    wait(&store, vec![enqueue("oldest", [2])]);
    let held = busy(&store);
    let ticket = store.append(vec![enqueue("for both", [1, 2])]);
    let last = store.append(done(ONE, ticket));
    drop(held);
    settled(&store, last);
    assert_eq!((store.failed(ticket), waiting(&store, 2)), (false, vec!["for both".to_owned()]));
}

#[test]
fn a_disk_that_does_not_answer_holds_back_those_whose_messages_are_acknowledged_too() {
    let (_folder, store) = with_sessions(Bounds::default());
    let held = busy(&store);
    let mut settled_early = 0;
    let last = loop {
        let ticket = store.append(vec![enqueue("x", [1])]);
        let last = store.append(done(ONE, ticket));
        if !store.is_early(ticket) {
            break last;
        }
        settled_early += 1;
    };
    assert!((30_000..40_000).contains(&settled_early), "after {settled_early}");
    drop(held);
    settled(&store, last);
    assert_eq!(waiting(&store, 1).len(), 0);
}
