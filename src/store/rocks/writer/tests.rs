//! What the writer says when, and what it does not write at all.

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use super::super::Rocks;
use super::super::shared::{Append, Shared};
use super::super::tests::marked;
use crate::identity::{ClientId, Origin, SessionId, Ticket};
use crate::message::{Message, Parts};
use crate::mqtt::{PacketId, QoS};
use crate::session::Change;
use crate::store::record::Epoch;
use crate::store::{Bounds, Level, Marks, Publisher, Recipient, Record, SessionRecord, Store, WhenFull};
use crate::wake::Wake;

const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);

/// A store with two sessions, and what its marks were each time it rang.
struct Watched {
    store: Rocks,
    rung: mpsc::Receiver<Marks>,
    folder: tempfile::TempDir,
}

fn open(bounds: Bounds) -> Watched {
    let folder = tempfile::tempdir().unwrap();
    let store = Rocks::open(folder.path(), Level::Sync, bounds, Epoch { wall_at_start_ms: 1_000_000 }).unwrap();
    let session = |session| {
        let client = ClientId::new("c");
        Record::Open(SessionRecord { session, client, owner: None, expiry_s: 60 })
    };
    let ready = store.append(vec![session(ONE), session(TWO)]);
    let until = Instant::now() + Duration::from_secs(20);
    while store.durable() < ready {
        assert!(Instant::now() < until, "the commit does not come");
        std::thread::yield_now();
    }
    let (ring, rung) = mpsc::channel();
    let shared: Weak<Shared> = Arc::downgrade(&store.shared);
    store.wake_with(Wake::new(move || {
        // Who listens may be gone first.
        let _ = ring.send(shared.upgrade().unwrap().marks());
    }));
    Watched { store, rung, folder }
}

impl Watched {
    /// Appends that the writer takes as one window, the first with the ticket that `make` is given.
    fn append(&self, make: impl FnOnce(Ticket) -> Vec<(Level, Vec<Record>)>) -> (Ticket, Ticket) {
        let mut inbox = self.store.shared.inbox.lock();
        let first = Ticket(inbox.last + 1);
        for (level, records) in make(first) {
            inbox.last += 1;
            let ticket = Ticket(inbox.last);
            inbox.appends.push(Append { ticket, level, records });
        }
        let last = Ticket(inbox.last);
        drop(inbox);
        self.store.shared.bell.notify_one();
        (first, last)
    }

    /// What the marks were at each ring, up to the one that settles everything up to `last`.
    fn rings(&self, last: Ticket) -> Vec<Marks> {
        let mut all = Vec::new();
        while all.last().is_none_or(|marks: &Marks| marks.synced < last) {
            all.push(self.rung.recv_timeout(Duration::from_secs(20)).expect("it rings"));
        }
        all
    }

    fn sequence(&self) -> u64 {
        self.store.shared.db().unwrap().latest_sequence_number()
    }

    fn log_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let logs =
            files.filter(|file: &std::path::PathBuf| Path::new(file).extension().is_some_and(|end| end == "log"));
        logs.map(|file| std::fs::metadata(file).unwrap().len()).sum()
    }
}

fn enqueue(sessions: &[SessionId]) -> Vec<Record> {
    let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
    let parts = Parts { topic: "t", properties: &[], payload: b"x", qos, retain: false, expiry_s: None, origin };
    let to = |session: &SessionId| Recipient { session: *session, qos, retain: false, subscription_ids: Vec::new() };
    let message = Arc::new(Message::new(parts, crate::clock::Now::default()));
    let (recipients, publisher) = (sessions.iter().map(to).collect(), Publisher::CanBeTold);
    vec![Record::Enqueue { message, recipients, publisher }]
}

fn done(session: SessionId, ticket: Ticket) -> Vec<Record> {
    vec![Record::Edit(session, Change::Done { ticket })]
}

#[test]
fn who_waits_for_the_log_is_told_before_the_sync_that_others_wait_for() {
    let watched = open(Bounds::default());
    let before = watched.store.marks().synced;
    let (_, last) = watched.append(|_| {
        vec![(Level::Sync, enqueue(&[ONE])), (Level::Os, enqueue(&[ONE])), (Level::Memory, enqueue(&[ONE]))]
    });
    let told = Marks { written: last, synced: before, failures: 0, early: 0 };
    assert_eq!(watched.rings(last), [told, Marks::at(last)]);
}

#[test]
fn where_everybody_waits_for_the_same_there_is_one_ring() {
    let watched = open(Bounds::default());
    for level in [Level::Sync, Level::Os, Level::Memory] {
        let (_, last) = watched.append(|_| vec![(level, enqueue(&[ONE])), (level, enqueue(&[TWO]))]);
        assert_eq!(watched.rings(last), [Marks::at(last)], "{level:?}");
    }
}

#[test]
fn a_failed_write_fails_whoever_waits_and_counts_what_was_acknowledged_already() {
    let watched = open(Bounds::default());
    let store = &watched.store;
    // As a failed write leaves it: not open until it has been opened again.
    drop(store.shared.db.lock().take());
    let (first, last) = watched.append(|_| {
        vec![(Level::Sync, enqueue(&[ONE])), (Level::Os, enqueue(&[ONE])), (Level::Memory, enqueue(&[ONE, TWO]))]
    });
    let told = Marks { failures: 1, ..Marks::at(last) };
    assert_eq!(watched.rings(last), [told], "nobody is told anything before it is known");
    assert!((first.0..=last.0).all(|ticket| store.failed(Ticket(ticket))));
    assert_eq!(store.lost().unwritten, 2);
    let until = Instant::now() + Duration::from_secs(20);
    while store.shared.db().is_none() {
        assert!(Instant::now() < until, "it is not opened again");
        std::thread::yield_now();
    }
    let (_, last) = watched.append(|_| vec![(Level::Os, enqueue(&[ONE]))]);
    watched.rings(last);
    assert!(!store.failed(last));
}

#[test]
fn what_nobody_waits_for_is_behind_when_much_of_it_is_not_written() {
    let watched = open(Bounds::default());
    let store = &watched.store;
    let (topic, qos, origin) = ("t", QoS::AtLeastOnce, Origin(1));
    let payload = vec![0; 1 << 20];
    let parts = Parts { topic, properties: &[], payload: &payload, qos, retain: false, expiry_s: None, origin };
    let message = Arc::new(Message::new(parts, crate::clock::Now::default()));
    let publisher = Publisher::CannotBeTold;
    let nobody = || vec![Record::Enqueue { message: Arc::clone(&message), recipients: Vec::new(), publisher }];
    // The writer cannot go on without this.
    let held = store.shared.ram.lock();
    for _ in 0..64 {
        store.append_at(nobody(), Level::Os);
    }
    assert!(!store.is_behind(), "who waits bounds himself");
    for _ in 0..63 {
        store.append_at(nobody(), Level::Memory);
    }
    assert!(!store.is_behind());
    let last = store.append_at(nobody(), Level::Memory);
    assert!(store.is_behind());
    drop(held);
    watched.rings(last);
    assert!(!store.is_behind());
}

#[test]
fn a_full_queue_counts_what_it_refuses_too_late_to_tell() {
    let bounds = Bounds { messages_max: 1, bytes_max: 10_000, when_full: WhenFull::Reject };
    let watched = open(bounds);
    let (_, last) = watched.append(|_| {
        vec![(Level::Memory, enqueue(&[ONE])), (Level::Memory, enqueue(&[ONE])), (Level::Sync, enqueue(&[ONE]))]
    });
    watched.rings(last);
    assert!(watched.store.failed(last), "who waits is told");
    assert_eq!(watched.store.lost().queue_full, 1, "who did not wait is counted");
}

#[test]
fn a_message_acknowledged_by_all_before_its_commit_is_not_written() {
    let watched = open(Bounds::default());
    let before = (watched.sequence(), watched.log_bytes());
    let (_, last) = watched.append(|first| {
        vec![(Level::Sync, enqueue(&[ONE, TWO])), (Level::Sync, done(TWO, first)), (Level::Sync, done(ONE, first))]
    });
    watched.rings(last);
    assert_eq!((watched.sequence(), watched.log_bytes()), before, "no row and no byte");
    assert!(!watched.store.failed(last));
    // One that only some acknowledged is written for the others, and for them alone.
    let (_, last) = watched.append(|first| vec![(Level::Sync, enqueue(&[ONE, TWO])), (Level::Sync, done(TWO, first))]);
    watched.rings(last);
    assert_eq!(watched.sequence(), before.0 + 1, "one row");
    assert!(watched.log_bytes() > before.1);
    let waiting = |session| watched.store.shared.ram.lock().tally(session).messages;
    assert_eq!((waiting(ONE), waiting(TWO)), (1, 0));
}

#[test]
fn an_acknowledgement_after_the_commit_is_written_like_the_message_was() {
    let watched = open(Bounds::default());
    let before = watched.sequence();
    let (first, _) = watched.append(|_| vec![(Level::Sync, enqueue(&[ONE]))]);
    watched.rings(first);
    let (_, last) = watched.append(|_| vec![(Level::Sync, done(ONE, first))]);
    watched.rings(last);
    assert_eq!(watched.sequence(), before + 2, "the row, and its end");
}

#[test]
fn an_identifier_that_is_freed_is_synced_before_its_client_hears_of_it_unless_it_has_heard_already() {
    let watched = open(Bounds::default());
    let release = || vec![Record::Edit(ONE, Change::Released(PacketId::new(1).unwrap()))];
    for (level, other, is_synced) in [
        (Level::Memory, Level::Memory, false),
        (Level::Memory, Level::Os, false),
        (Level::Os, Level::Memory, true),
        (Level::Os, Level::Os, true),
        (Level::Os, Level::Sync, true),
    ] {
        let (_, last) =
            watched.append(|_| vec![(other, enqueue(&[ONE])), (level, release()), (other, enqueue(&[ONE]))]);
        assert_eq!(watched.rings(last), [Marks::at(last)], "PUBCOMP leaves at the end, {level:?} beside {other:?}");
        let (sequence, synced) = marked(watched.folder.path());
        assert_eq!(synced == sequence, is_synced, "{level:?} beside {other:?}");
    }
}

#[test]
fn what_was_said_before_and_not_synced_is_synced_for_who_says_it_again_and_asks_for_that() {
    let watched = open(Bounds::default());
    // The second time is in a commit of its own, at once behind the first: nothing else is synced in between.
    let hasty = (0..super::WINDOW).map(|_| (Level::Memory, vec![Record::End(ONE)]));
    let all = hasty.chain([(Level::Sync, vec![Record::End(ONE)])]);
    let (_, last) = watched.append(|_| all.collect());
    assert_eq!(watched.rings(last).len(), 2);
    let (sequence, synced) = marked(watched.folder.path());
    assert_eq!(synced, sequence);
}

#[test]
fn mqtt3_4_6_0_6_what_was_sent_behind_a_failure_fails_until_its_core_has_heard_of_it() {
    let watched = open(Bounds::default());
    let store = &watched.store;
    drop(store.shared.db.lock().take());
    let from = |publisher| {
        let mut records = enqueue(&[ONE]);
        let Some(Record::Enqueue { publisher: of, .. }) = records.first_mut() else { panic!("a message") };
        *of = publisher;
        vec![(Level::Sync, records)]
    };
    let again = |heard| move |_| from(Publisher::SendsAgain { heard });
    let (failed, _) = watched.append(again(0));
    let heard = watched.rings(failed).pop().unwrap().failures;
    assert_eq!((heard, store.failed(failed)), (1, true));
    let until = Instant::now() + Duration::from_secs(20);
    while store.shared.db().is_none() {
        assert!(Instant::now() < until, "it is not opened again");
        std::thread::yield_now();
    }
    let failed_with = |publisher| {
        let (ticket, _) = watched.append(|_| from(publisher));
        watched.rings(ticket);
        store.failed(ticket)
    };
    assert!(failed_with(Publisher::SendsAgain { heard: 0 }), "it would come before what has to be sent again");
    assert!(!failed_with(Publisher::SendsAgain { heard }));
    assert!(!failed_with(Publisher::CanBeTold), "who is told of each does not send it again");
    assert!(!failed_with(Publisher::CannotBeTold));
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 3);
}
