use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rocksdb::DB;
use tempfile::TempDir;

use super::super::layout::{BODY, FAMILIES, QUEUE, RETAINED, SESSION};
use super::super::{Rocks, marker};
use super::*;
use crate::clock::Now;
use crate::identity::{ClientId, Origin, SessionId, Ticket};
use crate::message::{Message, Parts};
use crate::mqtt::QoS;
use crate::session::{Options, SavedSubscription};
use crate::store::record::Epoch;
use crate::store::{Bounds, Level, Publisher, Recipient, Record, SessionRecord, Store};

const EPOCH: Epoch = Epoch { wall_at_start_ms: 1_000_000 };
const SESSIONS: u64 = 8;
/// Messages for every session, and messages for one alone.
const SHARED: u64 = 40;
const OWN: u64 = 400;

fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn message(topic: &str, number: u64) -> Arc<Message> {
    let payload = number.to_be_bytes().repeat(40);
    let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
    let parts = Parts { topic, properties: &[], payload: &payload, qos, retain: false, expiry_s: None, origin };
    Arc::new(Message::new(parts, Now::default()))
}

fn recipient(session: u64) -> Recipient {
    Recipient { session: SessionId(session), qos: QoS::AtLeastOnce, retain: false, subscription_ids: Vec::new() }
}

fn open(folder: &Path) -> Rocks {
    Rocks::open(folder, Level::Sync, Bounds::default(), EPOCH).unwrap()
}

fn append(store: &Rocks, records: Vec<Record>) {
    let ticket = store.append(records);
    let waited = std::time::Instant::now();
    while store.durable() < ticket {
        assert!(waited.elapsed() < Duration::from_secs(30), "it is never durable");
        std::thread::yield_now();
    }
    assert!(!store.failed(ticket));
}

/// A store with something of everything.
fn fill(store: &Rocks) {
    let options = Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
    let mut records = Vec::new();
    for session in 1..=SESSIONS {
        let client = ClientId::new(&format!("client{session}"));
        records.push(Record::Open(SessionRecord {
            session: SessionId(session),
            client,
            owner: None,
            expiry_s: u32::MAX,
        }));
        records.push(Record::Subscribe(SessionId(session), SavedSubscription { filter: "a/#".into(), options }));
    }
    append(store, records);
    let publisher = Publisher::CanBeTold;
    for number in 0..SHARED {
        let recipients = (1..=SESSIONS).map(recipient).collect();
        append(store, vec![Record::Enqueue { message: message("a/shared", number), recipients, publisher }]);
    }
    for number in 0..OWN {
        let recipients = vec![recipient(3)];
        append(store, vec![Record::Enqueue { message: message("a/own", number), recipients, publisher }]);
    }
    append(store, (0..5).map(|number| Record::Retain(message(&format!("r/{number}"), number))).collect());
}

fn filled(folder: &Path) {
    let store = open(folder);
    fill(&store);
    store.close();
}

/// The same, with every row in a table.
fn flushed(folder: &Path) {
    filled(folder);
    let opened = super::super::open::open(folder).unwrap();
    for family in FAMILIES {
        opened.db.flush_cf(opened.db.cf_handle(family).unwrap()).unwrap();
    }
    let sequence = opened.db.latest_sequence_number();
    drop(opened.db);
    opened.marker.close_clean(sequence).unwrap();
}

/// The largest table of a column family.
fn table(folder: &Path, family: &str) -> PathBuf {
    let db = super::super::open::read_only(folder).unwrap();
    let files = db.live_files().unwrap().into_iter().filter(|file| file.column_family_name == family);
    folder.join(files.max_by_key(|file| file.size).unwrap().name.trim_start_matches('/'))
}

fn flip(file: &Path, at: u64) {
    let opened = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at).unwrap();
    opened.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn waiting(store: &Rocks, session: u64) -> usize {
    let (send, answer) = std::sync::mpsc::channel();
    let send = Box::new(move |page: crate::session::Page| send.send(page.messages.len()).unwrap());
    store.read_queue(SessionId(session), Ticket::NONE, 100_000, Now::default(), send);
    answer.recv_timeout(Duration::from_secs(30)).unwrap()
}

#[test]
fn a_store_that_is_whole_is_counted_and_left_as_it_is() {
    let place = place();
    filled(place.path());
    let before = folder::names(place.path()).unwrap().len();
    let found = survey(place.path()).unwrap();
    assert_eq!((found.damage, found.torn_tail), (vec![], None));
    let stats = found.stats;
    let counted = (stats.sessions, stats.subscriptions, stats.messages, stats.longest_queue, stats.retained);
    assert_eq!(counted, (SESSIONS, SESSIONS, SHARED * SESSIONS + OWN, SHARED + OWN, 5));
    assert_eq!(stats.message_bytes, SHARED * (320 + 8) + OWN * (320 + 5), "a shared message counts once");
    assert!(stats.disk_bytes > stats.message_bytes);
    assert_eq!(folder::names(place.path()).unwrap().len(), before);
    let running = open(place.path());
    assert!(matches!(survey(place.path()), Err(OpenError::InUse(_))));
    drop(running);
    assert!(matches!(survey(&place.path().join("nowhere")), Err(OpenError::System { .. })));
}

#[test]
fn damage_in_a_table_is_found_with_file_family_and_key_and_the_rest_is_saved() {
    let (place, new) = (place(), place());
    flushed(place.path());
    let table = table(place.path(), QUEUE);
    flip(&table, 20_000);
    let found = survey(place.path()).unwrap();
    let name = table.file_name().unwrap().to_string_lossy().into_owned();
    let damage = &found.damage[0];
    assert!(damage.place.starts_with("column family queue, behind key 0000000000000003"), "{damage}");
    assert!(damage.what.contains(&name), "{damage}");
    let all = SHARED * SESSIONS + OWN;
    assert!(found.stats.messages < all && found.stats.messages > all - 60, "one block is lost: {:?}", found.stats);

    let to = new.path().join("data");
    let salvaged = salvage(place.path(), &to).unwrap();
    assert_eq!(salvaged.lost.len(), 1, "{:?}", salvaged.lost);
    let again = survey(&to).unwrap();
    assert_eq!(again.damage, vec![]);
    assert_eq!((again.stats.messages, again.stats.retained), (found.stats.messages, 5));
    assert_eq!(folder::names(new.path()).unwrap(), ["data"], "nothing is left of the work");
    let store = open(&to);
    assert_eq!(waiting(&store, 2) as u64, SHARED);
    assert!(matches!(salvage(place.path(), &to), Err(OpenError::System { .. })), "there is something");
}

#[test]
fn what_is_not_whole_any_more_is_said_and_not_saved() {
    let (place, new) = (place(), place());
    flushed(place.path());
    let opened = super::super::open::open(place.path()).unwrap();
    let family = |name| opened.db.cf_handle(name).unwrap();
    // The first message for all, and the session of client 5.
    let body = opened.db.iterator_cf(family(BODY), rocksdb::IteratorMode::Start).next().unwrap().unwrap().0;
    opened.db.delete_cf(family(BODY), body).unwrap();
    let row = super::super::layout::row_key(SessionId(5), super::super::layout::Row::Session, &[]);
    opened.db.put_cf(family(SESSION), row, [1, 2, 3]).unwrap();
    opened.db.put_cf(family(RETAINED), "r/0", opened.db.get_cf(family(RETAINED), "r/1").unwrap().unwrap()).unwrap();
    let sequence = opened.db.latest_sequence_number();
    opened.db.flush_wal(true).unwrap();
    drop(opened.db);
    opened.marker.close_clean(sequence).unwrap();

    let told: Vec<String> = survey(place.path()).unwrap().damage.iter().map(ToString::to_string).collect();
    let has = |told: &[String], text: &str| told.iter().any(|line| line.contains(text));
    for text in [
        "session, key 000000000000000500: checksum",
        "retained, key 722f30: checksum",
        "session 5: there are rows",
        "is missing; session 1 waits",
    ] {
        assert!(has(&told, text), "{text} in {told:#?}");
    }
    let to = new.path().join("data");
    let salvaged = salvage(place.path(), &to).unwrap();
    let lost: Vec<String> = salvaged.lost.iter().map(ToString::to_string).collect();
    assert!(has(&lost, "its message is lost") && has(&lost, "its session is lost"), "{lost:#?}");
    let again = survey(&to).unwrap();
    assert_eq!(again.damage, vec![]);
    assert_eq!((again.stats.sessions, again.stats.retained), (SESSIONS - 1, 4));
    assert_eq!(again.stats.messages, (SHARED - 1) * (SESSIONS - 1) + OWN);
}

#[test]
fn a_damaged_log_costs_what_is_in_it_and_a_lost_manifest_nothing() {
    let (place, new) = (place(), place());
    filled(place.path());
    let all = survey(place.path()).unwrap().stats.messages;
    fs::remove_file(marker::manifest(place.path()).unwrap().unwrap().0).unwrap();
    assert!(!survey(place.path()).unwrap().damage.is_empty());
    let salvaged = salvage(place.path(), &new.path().join("one")).unwrap();
    assert_eq!(survey(&new.path().join("one")).unwrap().stats.messages, all, "{:?}", salvaged.lost);

    let other = super::tests::place();
    filled(other.path());
    let number = *marker::logs(other.path()).unwrap().last().unwrap();
    let log = other.path().join(format!("{number:06}.log"));
    flip(&log, fs::metadata(&log).unwrap().len() / 2);
    let salvaged = salvage(other.path(), &new.path().join("two")).unwrap();
    assert!(salvaged.lost[0].to_string().contains("is damaged at byte"), "{:?}", salvaged.lost);
    let stats = survey(&new.path().join("two")).unwrap().stats;
    assert!(stats.sessions == SESSIONS && stats.messages > all / 2 && stats.messages < all, "{stats:?} of {all}");
}

#[test]
fn what_is_saved_has_its_name_only_once_it_is_whole() {
    let (place, new) = (place(), place());
    filled(place.path());
    let to = new.path().join("data");
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| salvage(place.path(), &to).unwrap());
        while !to.exists() {
            std::thread::yield_now();
        }
        let state = marker::Contents::read(&to).unwrap().map(|contents| contents.state);
        assert_eq!(state, Some(marker::State::Clean), "a broker would open it as it is now");
        saving.join().unwrap();
    });
    assert_eq!(folder::names(new.path()).unwrap(), ["data"], "nothing is left of the work");
}

#[test]
fn a_backup_made_while_messages_come_in_is_whole_and_is_restored() {
    let (place, copies) = (place(), place());
    let store = open(place.path());
    fill(&store);
    let backup = copies.path().join("deep/monday");
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..200 {
                append(
                    &store,
                    vec![Record::Enqueue {
                        message: message("late", number),
                        recipients: vec![recipient(1)],
                        publisher: Publisher::CanBeTold,
                    }],
                );
            }
        });
        store.backup(&backup).unwrap();
        writing.join().unwrap();
    });
    assert!(store.backup(&backup).unwrap_err().contains("is there already"));
    let found = survey(&backup).unwrap();
    assert_eq!(found.damage, vec![]);
    let all = SHARED * SESSIONS + OWN;
    assert!((all..=all + 200).contains(&found.stats.messages), "{:?}", found.stats);

    let data = copies.path().join("data");
    restore(&backup, &data).unwrap();
    assert!(restore(&backup, &data).unwrap_err().to_string().contains("is not empty"));
    let restored = open(&data);
    assert_eq!(waiting(&restored, 3) as u64, SHARED + OWN);
    restored.close();
    assert_eq!(survey(&backup).unwrap().stats, found.stats, "the backup is what it was");
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let (place, to) = (place(), place());
    flushed(place.path());
    flip(&table(place.path(), BODY), 4000);
    let data = to.path().join("data");
    let error = restore(place.path(), &data).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("column family body"), "{error}");
    assert!(!data.exists());
}

#[test]
fn a_database_is_read_to_its_end_past_many_holes() {
    let place = place();
    flushed(place.path());
    let table = table(place.path(), QUEUE);
    let length = fs::metadata(&table).unwrap().len();
    for at in [9_000, 40_000, 90_000].into_iter().filter(|at| *at < length) {
        flip(&table, at);
    }
    let db: DB = super::super::open::read_only(place.path()).unwrap();
    let mut keys = Vec::new();
    let holes = walk::walk(&db, QUEUE, |key, _| keys.push(key.to_vec()));
    assert_eq!(holes.len(), 3, "{holes:?}");
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(keys, sorted, "in order, and none twice");
    assert!(keys.len() as u64 > SHARED * SESSIONS + OWN - 120, "{}", keys.len());
}
