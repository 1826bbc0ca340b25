//! Messages whose time is over leave the store without their sessions.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::layout;
use super::*;

/// A store whose time the test turns on.
struct Aging {
    time: Arc<AtomicU64>,
    age_max_s: Option<u64>,
}

impl Aging {
    fn new(age_max_s: Option<u64>) -> Self {
        Self { time: Arc::default(), age_max_s }
    }

    fn open(&self, folder: &Path) -> Rocks {
        let time = Arc::clone(&self.time);
        let clock: Clock = Arc::new(move || Moment::from_ms(time.load(Ordering::Relaxed)));
        let settings =
            Settings { clock, age_max_s: self.age_max_s, ..Settings::new(Level::Sync, Bounds::default(), EPOCH) };
        Rocks::start(folder, settings).unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

fn expiring(payload: &str, expiry_s: u64, sessions: impl IntoIterator<Item = u64>) -> Record {
    let Record::Enqueue { message, recipients, publisher } = enqueue(payload, sessions) else { unreachable!() };
    let mut message = Message::clone(&message);
    message.expires = Some(Moment::from_ms(expiry_s * 1000));
    Record::Enqueue { message: Arc::new(message), recipients, publisher }
}

/// A session that is away.
fn away(store: &Rocks, number: u64) {
    let session_id = SessionId(number);
    wait(store, vec![session(session_id), Record::Leave { session: session_id, ends_wall_ms: None }]);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn rows(store: &Rocks, family: &str) -> usize {
    let db = store.shared.db().unwrap();
    db.iterator_cf(db.cf_handle(family).unwrap(), rocksdb::IteratorMode::Start).map(Result::unwrap).count()
}

#[test]
fn mqtt_3_3_2_5_what_expires_while_its_session_is_away_leaves_the_disk_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (aging, body) = (Aging::new(None), "b".repeat(200));
    let store = aging.open(folder.path());
    (1..=6).for_each(|number| away(&store, number));
    wait(&store, vec![enqueue("stays", [1])]);
    wait(&store, vec![expiring("late", 100, [1])]);
    // More than the sweeper looks at or hands over at a time.
    let many = (0..6_000).map(|n| store.append(vec![expiring(&n.to_string(), 10, [1])])).last().unwrap();
    settled(&store, many);
    wait(&store, vec![expiring(&body, 10, 1..=6)]);
    assert_eq!((rows(&store, layout::QUEUE), rows(&store, layout::BODY)), (6_008, 1));
    aging.pass(9);
    assert_eq!(store.lost(), Lost::default());
    aging.pass(1);
    until("what has expired is gone", || rows(&store, layout::QUEUE) == 2);
    until("it is counted", || store.lost() == Lost { expired: 6_006, ..Lost::default() });
    assert_eq!((waiting(&store, 1), rows(&store, layout::BODY)), (vec!["stays".to_owned(), "late".to_owned()], 0));
    assert_eq!(store.shared.ram.lock().tally(ONE).messages, 2);
    aging.pass(90);
    until("the next one goes by itself", || rows(&store, layout::QUEUE) == 1);
}

#[test]
fn what_expired_while_the_store_was_closed_goes_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let aging = Aging::new(None);
    let store = aging.open(folder.path());
    away(&store, 1);
    wait(&store, vec![expiring("gone", 10, [1])]);
    drop(store);
    aging.pass(11);
    let store = aging.open(folder.path());
    until("it is gone", || rows(&store, layout::QUEUE) == 0);
    assert_eq!(waiting(&store, 1).len(), 0);
}

#[test]
fn what_is_under_way_and_what_waits_for_a_client_that_is_there_is_its_sessions_business() {
    let folder = tempfile::tempdir().unwrap();
    let aging = Aging::new(None);
    let store = aging.open(folder.path());
    away(&store, 1);
    store.append(vec![session(SessionId(2))]);
    let sent = wait(&store, vec![expiring("sent", 10, [1])]);
    edit(&store, Change::Sent { ticket: sent, packet_id: id(5), qos: QoS::ExactlyOnce });
    wait(&store, vec![expiring("here", 10, [2])]);
    wait(&store, vec![expiring("waits", 10, [1])]);
    aging.pass(11);
    until("what waits is gone", || store.lost() == Lost { expired: 1, ..Lost::default() });
    assert_eq!(rows(&store, layout::QUEUE), 2);
    assert_eq!(load(&store, ONE).outgoing.len(), 1);
    // Its client leaves, and it is found when the sweeper looks again.
    wait(&store, vec![Record::Leave { session: SessionId(2), ends_wall_ms: None }]);
    aging.pass(61);
    until("it is gone, too", || store.lost() == Lost { expired: 2, ..Lost::default() });
}

#[test]
fn a_bound_on_age_holds_for_messages_that_never_expire_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let aging = Aging::new(Some(6_400));
    let store = aging.open(folder.path());
    away(&store, 1);
    let put = |store: &Rocks, payload| {
        let ticket = wait(store, vec![enqueue(payload, [1])]);
        until("it is put down how far tickets got", || store.shared.ages.lock().last() >= ticket);
    };
    put(&store, "old");
    aging.pass(3_200);
    put(&store, "younger");
    drop(store);
    aging.pass(3_200);
    let store = aging.open(folder.path());
    until("the old one is gone", || store.lost() == Lost { too_old: 1, ..Lost::default() });
    assert_eq!(waiting(&store, 1), ["younger"]);
    aging.pass(3_200);
    until("the other one, too", || store.lost() == Lost { too_old: 2, ..Lost::default() });
    drop(store);
    // Nothing is left that has a ticket, and yet none is given out again: it would be taken for an old one.
    let store = aging.open(folder.path());
    put(&store, "new");
    wait(&store, vec![expiring("expires", 0, [1])]);
    until("the sweeper has been there", || store.lost().expired == 1);
    assert_eq!((waiting(&store, 1), store.lost().too_old), (vec!["new".to_owned()], 0));
}
