//! The database is opened again after a write failed; what must be on the disk before an answer.

use std::collections::BTreeSet;

use super::super::shared::Read;
use super::super::writer::Due;
use super::*;

/// As a write that failed leaves it.
pub(super) fn break_off(store: &Rocks) {
    drop(store.shared.db.lock().take());
}

pub(super) fn opened_again(store: &Rocks) {
    let until = Instant::now() + Duration::from_secs(20);
    while store.shared.db.lock().is_none() {
        assert!(Instant::now() < until, "it is not opened again");
        std::thread::yield_now();
    }
}

#[test]
fn nobody_can_take_the_folder_while_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    break_off(&store);
    let until = Instant::now() + Duration::from_secs(20);
    while store.shared.db.lock().is_none() {
        assert!(Instant::now() < until, "it is not opened again");
        assert!(live::lock(folder.path(), false).is_err(), "the lock was free for a moment");
    }
    settled(&store, store.append(vec![session(ONE)]));
}

#[test]
fn what_is_dropped_is_counted_once_though_the_database_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { messages_max: 2, when_full: WhenFull::DropOldest, ..Bounds::default() };
    let store = open_with(folder.path(), bounds);
    store.append(vec![session(ONE)]);
    let tickets: Vec<Ticket> = (0..3).map(|n| wait(&store, vec![enqueue(&n.to_string(), [1])])).collect();
    assert_eq!(store.lost().queue_full, 1);
    break_off(&store);
    let failed = wait(&store, vec![enqueue("nobody", [1]), Record::End(ONE)]);
    assert!(store.failed(failed));
    opened_again(&store);
    assert_eq!(store.lost(), Lost { queue_full: 1, ..Lost::default() });
    // The session had read it before it was dropped.
    wait(&store, vec![Record::Edit(ONE, Change::Done { ticket: tickets[0] })]);
    wait(&store, vec![Record::End(ONE)]);
    assert_eq!(store.lost(), Lost { queue_full: 1, session_ended: 2, ..Lost::default() });
}

#[test]
fn a_queue_of_shared_messages_has_its_size_after_it_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append((1..=5).map(|n| session(SessionId(n))).collect());
    wait(&store, vec![enqueue(&"b".repeat(500), 1..=5)]);
    let before = store.shared.ram.lock().tally(ONE);
    assert!(before.bytes > 500);
    break_off(&store);
    opened_again(&store);
    assert_eq!(store.shared.ram.lock().tally(ONE), before);
}

#[test]
fn what_is_asked_while_the_store_is_opened_again_is_answered_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    wait(&store, vec![session(ONE), Record::Received { session: ONE, packet_id: id(4) }, enqueue("waits", [1])]);
    let db = store.shared.db().unwrap();
    let mut reader = Reader::new(Arc::clone(&store.shared));
    // The store's own threads are not needed any more.
    store.close();
    let (answer, answered) = mpsc::channel();
    let answer_too = answer.clone();
    let page = Box::new(move |page: Page| answer.send(page.messages.len()).unwrap());
    let saved = Box::new(move |saved: Saved| answer_too.send(saved.received.len()).unwrap());
    let page = What::Page { after: Ticket::NONE, max: 10, answer: page };
    for what in [page, What::Saved(saved)] {
        reader.handle(Due::Read(Read { session: ONE, what, behind: Ticket::NONE }, store.durable()));
    }
    assert_eq!(answered.try_recv(), Err(mpsc::TryRecvError::Empty), "there is nothing to read");
    *store.shared.db.lock() = Some(db);
    reader.handle(Due::Opened);
    assert_eq!(answered.try_iter().collect::<Vec<_>>(), [1, 1]);
}

fn subscribed(filter: &str) -> Record {
    let options = Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
    Record::Subscribe(ONE, SavedSubscription { filter: filter.into(), options })
}

fn filters(saved: &Saved) -> Vec<&str> {
    saved.subscriptions.iter().map(|subscription| &*subscription.filter).collect()
}

#[test]
fn what_was_acknowledged_without_waiting_and_could_not_be_written_is_written_later_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    wait(&store, vec![session(ONE), subscribed("given up"), subscribed("kept")]);
    break_off(&store);
    store.append_at(vec![subscribed("made"), Record::Unsubscribe(ONE, "given up".into())], Level::Memory);
    store.append_at(vec![enqueue("lost", [1]), Record::Received { session: ONE, packet_id: id(4) }], Level::Memory);
    store.append_at(vec![Record::Edit(ONE, Change::Released(id(4)))], Level::Memory);
    for n in 0..1500 {
        store.append_at(vec![subscribed("wavers"), subscribed(&n.to_string())], Level::Memory);
        store.append_at(vec![Record::Unsubscribe(ONE, "wavers".into())], Level::Memory);
    }
    let refused = wait(&store, vec![subscribed("refused")]);
    assert!(store.failed(refused));
    assert!(store.shared.behind() > 3000 * 256, "what is still to be written counts");
    opened_again(&store);
    let saved = load(&store, ONE);
    assert_eq!((store.shared.behind(), store.lost().unwritten), (0, 1));
    drop(store);
    let store = open(folder.path());
    assert_eq!(load(&store, ONE), saved, "it is on the disk");
    let expected = (0..1500).map(|n| n.to_string()).chain(["kept", "made"].map(str::to_owned));
    assert_eq!(
        filters(&saved).into_iter().collect::<BTreeSet<_>>(),
        expected.collect::<Vec<_>>().iter().map(|s| &**s).collect()
    );
    assert_eq!((saved.received, waiting(&store, 1).len()), (vec![], 0));
}

fn retained(topic: &str, payload: &str) -> Record {
    let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
    let parts =
        Parts { topic, properties: &[], payload: payload.as_bytes(), qos, retain: true, expiry_s: None, origin };
    Record::Retain(Arc::new(Message::new(parts, Now::default())))
}

fn all_retained(folder: &Path) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let found = open(folder).recover().retained;
    let mut all: Vec<_> = found.iter().map(|m| (m.topic().to_owned(), text(m.payload()))).collect();
    all.sort();
    all
}

#[test]
fn mqtt_3_3_1_5_what_was_retained_while_nothing_could_be_written_is_retained_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    wait(&store, vec![retained("replaced", "old"), retained("cleared", "old"), retained("kept", "old")]);
    break_off(&store);
    store.append(vec![retained("cleared", "between"), enqueue("x", [1]), retained("replaced", "between")]);
    store.append_at(vec![Record::Unretain("cleared".into())], Level::Memory);
    let failed = wait(
        &store,
        vec![
            retained("replaced", "new"),
            Record::Open(SessionRecord { session: ONE, client: ClientId::new("c"), owner: None, expiry_s: 60 }),
        ],
    );
    assert!(store.failed(failed));
    opened_again(&store);
    drop(store);
    let pair = |topic: &str, payload: &str| (topic.to_owned(), payload.to_owned());
    assert_eq!(all_retained(folder.path()), [pair("kept", "old"), pair("replaced", "new")]);
    assert!(open(folder.path()).recover().sessions.is_empty(), "who waited was told that it failed");
}

#[test]
fn a_retained_message_that_one_full_queue_refuses_is_retained_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), Bounds { messages_max: 1, ..Bounds::default() });
    wait(&store, vec![session(ONE), enqueue("fills it", [1]), retained("t", "old")]);
    let refused = wait(&store, vec![retained("t", "new"), enqueue("new", [1])]);
    assert_eq!((store.failed(refused), waiting(&store, 1)), (true, vec!["fills it".to_owned()]));
    drop(store);
    assert_eq!(all_retained(folder.path()), [("t".to_owned(), "new".to_owned())]);
}

#[test]
fn a_message_that_was_sent_and_could_not_be_written_takes_no_other_one_out_of_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), Bounds { messages_max: 1, ..Bounds::default() });
    wait(&store, vec![session(ONE), enqueue("waits", [1])]);
    let refused = wait(&store, vec![enqueue("no room", [1])]);
    break_off(&store);
    let unwritten = wait(&store, vec![enqueue("no disk", [1])]);
    opened_again(&store);
    for ticket in [refused, unwritten] {
        assert!(store.failed(ticket));
        // It was delivered before that was known, and its client has answered.
        wait(&store, vec![Record::Edit(ONE, Change::Sent { ticket, packet_id: id(3), qos: QoS::AtLeastOnce })]);
        wait(&store, vec![Record::Edit(ONE, Change::Done { ticket })]);
    }
    assert_eq!(waiting(&store, 1), ["waits"]);
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 1);
}

#[test]
fn a_session_that_comes_back_while_writing_fails_finds_its_queue() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    wait(&store, vec![session(ONE), enqueue("waits", [1])]);
    break_off(&store);
    assert_eq!(waiting(&store, 1), ["waits"]);
    break_off(&store);
    load(&store, ONE);
}

#[test]
fn rows_of_ended_sessions_wait_until_the_store_is_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let opened = super::super::open::open(folder.path()).unwrap();
    let db = Arc::new(opened.db);
    let found = super::super::recover::Found::default();
    let settings = Settings::new(Level::Sync, Bounds::default(), EPOCH);
    let shared = Arc::new(Shared::new(Arc::clone(&db), found, settings));
    let (reads, _due) = mpsc::channel();
    let writer = Writer {
        shared: Arc::clone(&shared),
        marker: opened.marker,
        synced: 0,
        reads,
        ended: vec![ONE],
        again: Default::default(),
        sweeper: None,
        failures: 0,
        unsynced: false,
        synced_at: Instant::now(),
        looked_at: Instant::now(),
    };
    assert_eq!(writer.patience(), None, "there is something to do");
    shared.db.lock().take();
    assert!(writer.patience() > Some(Duration::ZERO), "nothing can be done before it is open again");
}

#[test]
fn what_frees_an_identifier_is_synced_before_pubcomp_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let store = Rocks::open(folder.path(), Level::Os, Bounds::default(), EPOCH).unwrap();
    wait(&store, vec![session(ONE)]);
    for number in 1..20 {
        wait(&store, vec![Record::Received { session: ONE, packet_id: id(number) }, enqueue("x", [1])]);
        wait(&store, vec![Record::Edit(ONE, Change::Released(id(number)))]);
        let (sequence, synced) = marked(folder.path());
        assert_eq!(synced, sequence, "a power cut could take the release back");
    }
}

#[test]
fn the_number_of_an_ended_session_is_not_free_before_its_rows_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, new) = (SessionId(2), SessionId(3));
    let opened = super::super::open::open(folder.path()).unwrap();
    // As a kill leaves it behind the commit that ends the session.
    let key = layout::row_key(ended, layout::Row::Ended, &[]);
    let sessions = opened.db.cf_handle(layout::SESSION).unwrap();
    opened.db.put_cf(sessions, &key, crate::store::record::seal(&key, &[])).unwrap();
    let found = super::super::recover::scan(&opened.db, EPOCH).unwrap();
    assert_eq!((found.ended, found.recovered.last_session), (vec![ended], ended));
    let directory = crate::broker::directory::Directory::new();
    directory.reserve(ended);
    let client = ClientId::new("c");
    let room = crate::broker::directory::Room::Needed;
    let wish = crate::broker::directory::Wish { client: &client, owner: None, clean_start: false, durable: true, room };
    let at = crate::broker::seat::Address { core: 0, slot: 1, generation: 1 };
    let crate::broker::directory::Claim::Fresh(seat) = directory.claim(wish, at) else { panic!("there is none") };
    assert_eq!(seat.session, new);
}
