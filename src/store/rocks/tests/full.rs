//! Queues at their bounds: what they lose is the oldest, and finding it costs no seek for each message.

use std::os::unix::fs::FileExt as _;

use super::super::{layout, oldest};
use super::*;

fn dropping(messages_max: usize) -> Bounds {
    Bounds { messages_max, bytes_max: 10_000, when_full: WhenFull::DropOldest }
}

#[test]
fn a_full_queue_loses_its_oldest_in_order_whatever_its_session_does_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), dropping(200));
    store.append(vec![session(ONE)]);
    let put = |n: usize| wait(&store, vec![enqueue(&n.to_string(), [1])]);
    let tickets: Vec<Ticket> = (0..200).map(put).collect();
    put(200);
    // 1 is done with, 2 is under way: 3 is the next to go.
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: tickets[1] })]);
    wait(&store, vec![Record::Edit(ONE, Change::Sent { ticket: tickets[2], packet_id: id(1), qos: QoS::ExactlyOnce })]);
    put(201);
    put(202);
    let expected = |from: usize| (from..203).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(waiting(&store, 1), expected(4));
    assert_eq!(store.lost().queue_full, 2);
    // Done with in the commit that needs the room: a read finds it still, and it must not count twice.
    let done = Record::Edit(ONE, Change::Done { ticket: tickets[4] });
    wait(&store, vec![done, enqueue(&"x".repeat(9_500), [1])]);
    let left = waiting(&store, 1).len();
    assert!((2..190).contains(&left), "{left} are left");
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, left as u32 + 1, "with the one under way");
}

#[test]
fn the_oldest_of_a_full_queue_are_read_several_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), dropping(100));
    store.append(vec![session(ONE)]);
    let tickets: Vec<Ticket> = (0..101).map(|n| wait(&store, vec![enqueue(&n.to_string(), [1])])).collect();
    let mut ram = store.shared.ram.lock();
    let read: Vec<Ticket> = std::iter::from_fn(|| ram.oldest.next(ONE)).collect();
    assert_eq!(read, tickets[1..64], "one went, the others of that read are known");
}

/// A store where a broadcast to six sessions has been dropped from the full queue of the first, whose client may have it all the same.
fn lost_by_one(folder: &Path) -> (Rocks, Ticket, String) {
    let store = open_with(folder, dropping(1));
    store.append((1..=6).map(|n| session(SessionId(n))).collect());
    let body = "b".repeat(1000);
    let ticket = wait(&store, vec![enqueue(&body, 1..=6)]);
    wait(&store, vec![enqueue("next", [1])]);
    assert_eq!((waiting(&store, 1), store.lost().queue_full), (vec!["next".to_owned()], 1));
    (store, ticket, body)
}

#[test]
fn what_a_full_queue_lost_is_let_go_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ticket, body) = lost_by_one(folder.path());
    for n in 1..=5 {
        wait(&store, vec![Record::Edit(SessionId(n), Change::Done { ticket })]);
    }
    assert_eq!(waiting(&store, 1), ["next"]);
    assert_eq!(waiting(&store, 6), [body], "its message is stored once for all six");
    drop(store);
    assert_eq!(waiting(&open(folder.path()), 6).len(), 1);
}

#[test]
fn a_queue_that_cannot_be_read_is_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(vec![session(ONE)]);
    let records = (0..500).map(|n| enqueue(&format!("{n}{}", "x".repeat(200)), [1]));
    let last = records.map(|record| store.append(vec![record])).last().unwrap();
    settled(&store, last);
    let db = store.shared.db().unwrap();
    let queue = db.cf_handle(layout::QUEUE).unwrap();
    db.flush_cf(queue).unwrap();
    let table = db.live_files().unwrap().into_iter().find(|file| file.column_family_name == layout::QUEUE).unwrap();
    let file = folder.path().join(table.name.trim_start_matches('/'));
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[0xAA; 64], 100).unwrap();
    let error = oldest::read(&db, queue, (ONE, Ticket::NONE), |_| true).unwrap_err();
    assert!(is_damage(&error), "{error}");
    let refused = rocksdb::DB::open_default(folder.path()).unwrap_err();
    assert!(!is_damage(&refused), "{refused}: another time it may not be");
}
