//! The store on real files: what was promised is there when it is opened again.

mod absent;
mod again;
mod aging;
mod aside;
mod churn;
mod early;
mod full;

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::clock::Moment;
use crate::identity::{ClientId, Origin};
use crate::message::{Message, Parts};
use crate::mqtt::{PacketId, QoS, Will};
use crate::session::{Change, Options, OutState, SavedSubscription};
use crate::store::record::LaterWill;
use crate::store::{Publisher, Recipient, SessionRecord, WhenFull};

const ONE: SessionId = SessionId(1);
const EPOCH: Epoch = Epoch { wall_at_start_ms: 1_000_000 };

fn open_with(folder: &Path, bounds: Bounds) -> Rocks {
    Rocks::open(folder, Level::Sync, bounds, EPOCH).unwrap()
}

fn open(folder: &Path) -> Rocks {
    open_with(folder, Bounds::default())
}

/// What the live mark says of the last commit: its sequence, and up to where it was synced.
pub(super) fn marked(folder: &Path) -> (u64, u64) {
    let bytes = std::fs::read(folder.join(live::LIVE)).unwrap();
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    [0, 4096].map(|place| (number(place), number(place + 8))).into_iter().max().unwrap()
}

fn session(session: SessionId) -> Record {
    let client = ClientId::new(&format!("client{}", session.0));
    Record::Open(SessionRecord { session, client, owner: None, expiry_s: 60 })
}

fn message(payload: &str) -> Arc<Message> {
    let (qos, origin) = (QoS::AtLeastOnce, Origin(1));
    let parts = Parts {
        topic: "t",
        properties: &[1, 1],
        payload: payload.as_bytes(),
        qos,
        retain: false,
        expiry_s: None,
        origin,
    };
    Arc::new(Message::new(parts, Now::default()))
}

fn enqueue(payload: &str, sessions: impl IntoIterator<Item = u64>) -> Record {
    let to = |session| Recipient {
        session: SessionId(session),
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_ids: vec![7],
    };
    let recipients = sessions.into_iter().map(to).collect();
    Record::Enqueue { message: message(payload), recipients, publisher: Publisher::CanBeTold }
}

fn edit(store: &Rocks, change: Change) -> Ticket {
    store.append(vec![Record::Edit(ONE, change)])
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn settled(store: &Rocks, ticket: Ticket) {
    let until = Instant::now() + Duration::from_secs(20);
    while store.durable() < ticket {
        assert!(Instant::now() < until, "the commit does not come");
        std::thread::yield_now();
    }
}

fn wait(store: &Rocks, records: Vec<Record>) -> Ticket {
    let ticket = store.append(records);
    settled(store, ticket);
    ticket
}

fn load(store: &Rocks, session: SessionId) -> Saved {
    let (answer, answered) = mpsc::channel();
    store.load(session, Box::new(move |saved| answer.send(saved).unwrap()));
    answered.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn page(store: &Rocks, session: u64, after: Ticket, max: usize) -> Page {
    let (answer, answered) = mpsc::channel();
    let answer = Box::new(move |page| answer.send(page).unwrap());
    store.read_queue(SessionId(session), after, max, Now::default(), answer);
    answered.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn waiting(store: &Rocks, session: u64) -> Vec<String> {
    let page = page(store, session, Ticket::NONE, usize::MAX);
    page.messages.iter().map(|queued| String::from_utf8(queued.message.payload().to_vec()).unwrap()).collect()
}

#[test]
fn what_was_appended_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let options =
        Options { qos: QoS::ExactlyOnce, no_local: true, retain_as_published: false, subscription_id: Some(9) };
    let subscription = SavedSubscription { filter: "a/+".into(), options };
    store.append(vec![session(ONE), Record::Subscribe(ONE, subscription.clone()), Record::Retain(message("kept"))]);
    let tickets: Vec<Ticket> = (0..4).map(|n| store.append(vec![enqueue(&n.to_string(), [1])])).collect();
    store.append(vec![Record::Received { session: ONE, packet_id: id(4) }]);
    edit(&store, Change::Sent { ticket: tickets[0], packet_id: id(11), qos: QoS::ExactlyOnce });
    edit(&store, Change::Sent { ticket: tickets[1], packet_id: id(12), qos: QoS::ExactlyOnce });
    edit(&store, Change::Received { ticket: tickets[0] });
    edit(&store, Change::Done { ticket: tickets[2] });
    store.append(vec![Record::Leave { session: ONE, ends_wall_ms: Some(77) }]);
    drop(store);

    let store = open(folder.path());
    let found = store.recover();
    let (record, subscriptions, ends) = &found.sessions[0];
    assert_eq!((record.client.as_str(), record.expiry_s, *ends), ("client1", 60, Some(77)));
    assert_eq!((subscriptions, found.retained.len()), (&vec![subscription], 1));
    let saved = load(&store, ONE);
    assert_eq!(saved.received, [id(4)]);
    let outgoing: Vec<_> = saved.outgoing.iter().map(|out| (out.packet_id.get(), out.state, out.ticket)).collect();
    assert_eq!(outgoing, [(12, OutState::Published, tickets[1]), (11, OutState::Released, tickets[0])]);
    assert_eq!(saved.outgoing[0].message.as_ref().unwrap().payload(), b"1");
    let page = page(&store, 1, Ticket::NONE, 10);
    assert_eq!(page.messages.iter().map(|queued| queued.ticket).collect::<Vec<_>>(), [tickets[3]]);
    assert_eq!((&page.messages[0].subscription_ids, page.messages[0].retain), (&vec![7], true));
    assert!(store.append(Vec::new()) > tickets[3], "places in the order are not given twice while one is taken");
}

#[test]
fn a_copy_of_the_folder_as_a_kill_leaves_it_has_everything_that_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(vec![session(ONE)]);
    let mut last = Ticket::NONE;
    for n in 0..500 {
        last = store.append(vec![enqueue(&n.to_string(), [1])]);
    }
    settled(&store, last);
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let again = open(copy.path());
    assert_eq!(waiting(&again, 1).len(), 500);
    assert!(matches!(Rocks::open(folder.path(), Level::Sync, Bounds::default(), EPOCH), Err(OpenError::InUse(_))));
}

#[test]
fn a_broadcast_is_stored_once_and_goes_with_its_last_reader() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append((1..=20).map(|n| session(SessionId(n))).collect());
    let body = "b".repeat(1000);
    let ticket = store.append(vec![enqueue(&body, 1..=20)]);
    assert_eq!(waiting(&store, 20), std::slice::from_ref(&body));
    drop(store);
    let store = open(folder.path());
    for n in 1..=19 {
        store.append(vec![Record::Edit(SessionId(n), Change::Done { ticket })]);
    }
    assert_eq!((waiting(&store, 19).len(), waiting(&store, 20)), (0, vec![body]));
    let last = store.append(vec![Record::Edit(SessionId(20), Change::Done { ticket })]);
    settled(&store, last);
    assert!(!store.shared.ram.lock().refers_to(ticket));
}

#[test]
fn a_full_queue_refuses_its_own_messages_and_loses_the_oldest_to_a_broadcast() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { messages_max: 2, bytes_max: 10_000, when_full: WhenFull::Reject };
    let store = open_with(folder.path(), bounds);
    store.append(vec![session(ONE), session(SessionId(2))]);
    for n in 0..2 {
        settled(&store, store.append(vec![enqueue(&n.to_string(), [1])]));
    }
    let refused = store.append(vec![enqueue("refused", [1])]);
    settled(&store, refused);
    assert!(store.failed(refused));
    let taken = store.append(vec![enqueue("all", [1, 2])]);
    settled(&store, taken);
    assert_eq!((store.failed(taken), waiting(&store, 1)), (false, vec!["1".to_owned(), "all".to_owned()]));
    assert_eq!(store.lost(), Lost { queue_full: 1, ..Lost::default() });
    let Record::Enqueue { message, recipients, .. } = enqueue("told nobody", [1]) else { unreachable!() };
    let publisher = Publisher::CannotBeTold;
    let taken = store.append(vec![Record::Enqueue { message, recipients, publisher }]);
    settled(&store, taken);
    assert_eq!((store.failed(taken), waiting(&store, 1)), (false, vec!["all".to_owned(), "told nobody".to_owned()]));
    assert_eq!(store.lost(), Lost { queue_full: 2, ..Lost::default() });
}

/// A will that is put down for later.
fn will(due_wall_ms: u64) -> Record {
    let will = Will {
        topic: "w".into(),
        payload: Bytes::new(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_s: 1,
        expiry_s: None,
        properties: Bytes::new(),
    };
    Record::Will { session: ONE, will: Box::new(LaterWill { will, due_wall_ms }) }
}

#[test]
fn mqtt_3_1_2_8_only_the_will_that_is_published_is_forgotten() {
    let (first, second) = (|| will(1), || will(2));
    let over = |due_wall_ms| Record::NoWill { session: ONE, due_wall_ms };
    // Each list is one commit.
    let cases: [(Vec<Vec<Record>>, usize); 5] = [
        (vec![vec![first()], vec![over(1)]], 0),
        (vec![vec![first(), over(1)]], 0),
        (vec![vec![first()], vec![session(ONE), second()], vec![over(1)]], 1),
        (vec![vec![first()], vec![session(ONE), second(), over(1)]], 1),
        (vec![vec![first()], vec![session(ONE)], vec![over(1), second()], vec![over(2)]], 0),
    ];
    for (number, (commits, left)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        wait(&store, vec![session(ONE)]);
        for records in commits {
            wait(&store, records);
        }
        drop(store);
        let found = open(folder.path()).recover().wills;
        assert_eq!(found.len(), left, "{number}");
        assert!(found.iter().all(|(_, will)| will.due_wall_ms == 2), "{number}");
    }
}

#[test]
fn a_session_that_ends_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(vec![session(ONE)]);
    for n in 0..1500 {
        store.append(vec![enqueue(&n.to_string(), [1])]);
    }
    let ended = store.append(vec![Record::End(ONE)]);
    settled(&store, ended);
    assert_eq!(store.lost(), Lost { session_ended: 1500, ..Lost::default() });
    drop(store);
    let store = open(folder.path());
    assert!(store.recover().sessions.is_empty());
    assert_eq!((load(&store, ONE), waiting(&store, 1).len()), (Saved::default(), 0));
}

#[test]
fn a_queue_is_streamed_in_pages_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(vec![session(ONE)]);
    let last = (0..1000).map(|n| store.append(vec![enqueue(&n.to_string(), [1])])).last().unwrap();
    let (mut after, mut seen) = (Ticket::NONE, 0);
    loop {
        let page = page(&store, 1, after, 64);
        seen += page.messages.len();
        match page.complete_up_to {
            Some(mark) => break assert_eq!((seen, mark), (1000, last)),
            None => after = page.messages.last().unwrap().ticket,
        }
    }
}

fn filled() -> (tempfile::TempDir, usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(vec![session(ONE)]);
    for n in 0..50 {
        store.append(vec![enqueue(&n.to_string(), [1])]);
    }
    drop(store);
    (folder, 50)
}

fn refusal(folder: &Path) -> String {
    match Rocks::open(folder, Level::Sync, Bounds::default(), EPOCH) {
        Err(error) if error.is_damage() => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn a_missing_log_a_missing_database_and_a_missing_marker_are_refused_by_name() {
    let (folder, _) = filled();
    let log = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let log = log.filter(|file| file.extension().is_some_and(|end| end == "log")).max().unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(refusal(folder.path()).contains(log.file_name().unwrap().to_str().unwrap()));
    let (folder, _) = filled();
    std::fs::remove_file(folder.path().join("CURRENT")).unwrap();
    assert!(refusal(folder.path()).contains("CURRENT"));
    let (folder, _) = filled();
    std::fs::remove_file(folder.path().join("heraldmq.store")).unwrap();
    assert!(refusal(folder.path()).contains("heraldmq.store"));
}

#[test]
fn a_flipped_bit_never_opens_with_less_than_was_kept() {
    let (folder, count) = filled();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    let (mut refused, mut opened) = (0, 0);
    for file in files.iter().filter(|file| file.is_file() && !file.ends_with("LOCK")) {
        let bytes = std::fs::read(file).unwrap();
        for part in 0..4 {
            let Some(at) = (bytes.len() * (2 * part + 1) / 8).checked_sub(1).filter(|at| *at < bytes.len()) else {
                continue;
            };
            let copy = tempfile::tempdir().unwrap();
            for other in files.iter().filter(|file| file.is_file()) {
                std::fs::copy(other, copy.path().join(other.file_name().unwrap())).unwrap();
            }
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(copy.path().join(file.file_name().unwrap()), flipped).unwrap();
            match Rocks::open(copy.path(), Level::Sync, Bounds::default(), EPOCH) {
                Err(error) => {
                    assert!(error.is_damage(), "{error}");
                    refused += 1;
                }
                Ok(store) => {
                    assert_eq!(waiting(&store, 1).len(), count, "{} at {at}", file.display());
                    opened += 1;
                }
            }
        }
    }
    assert!(refused > 3 && opened > 0, "{refused} refused, {opened} opened");
}

#[test]
fn mqtt_3_3_2_5_a_retained_message_goes_when_it_has_expired_unless_another_took_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let retained = |topic: &str, expires: Option<u64>| {
        let (qos, origin) = (QoS::AtMostOnce, Origin(1));
        let parts = Parts { topic, properties: &[], payload: b"x", qos, retain: true, expiry_s: None, origin };
        let mut message = Message::new(parts, Now::default());
        message.expires = expires.map(Moment::from_ms);
        Record::Retain(Arc::new(message))
    };
    let expired = |topic: &str| Record::Expired(topic.into(), Moment::from_ms(10));
    for topic in ["gone", "replaced before", "replaced with it"] {
        store.append(vec![retained(topic, Some(10))]);
    }
    settled(&store, store.append(vec![retained("replaced before", Some(11)), retained("lives", Some(11))]));
    let topics = ["gone", "replaced before", "lives", "never there"];
    let records =
        topics.map(expired).into_iter().chain([retained("replaced with it", None), expired("replaced with it")]);
    settled(&store, store.append(records.collect()));
    settled(&store, store.append(vec![retained("replaced after", Some(10))]));
    settled(&store, store.append(vec![expired("replaced after"), retained("replaced after", None)]));
    drop(store);
    let mut left: Vec<_> = open(folder.path()).recover().retained.iter().map(|m| m.topic().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["lives", "replaced after", "replaced before", "replaced with it"]);
}
