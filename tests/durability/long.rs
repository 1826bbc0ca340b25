//! A session with very many waiting messages, and a store with very many sessions.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heraldmq::clock::Now;
use heraldmq::identity::{ClientId, Origin, SessionId};
use heraldmq::message::{Message, Parts};
use heraldmq::mqtt::QoS;
use heraldmq::session::{Options, SavedSubscription};
use heraldmq::store::record::Epoch;
use heraldmq::store::rocks::Rocks;
use heraldmq::store::{Bounds, Level, Publisher, Recipient, Record, SessionRecord, Store as _};

use super::link::Link;
use super::process::{Place, Program, Running};
use super::support::build::{Connect, PUBACK, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;

const FEEDERS: usize = 8;
/// Below the Receive Maximum that the broker announces.
const WINDOW: usize = 60;
const SIZE: usize = 100;
/// What a session that drains may add to the broker's memory.
const MEMORY_MAX: u64 = 96 << 20;
/// What a session with a subscription and two waiting messages may hold of the broker's memory after a start, all caches included.
const BYTES_MAX: u64 = 800;

/// Publishes `count` messages to one topic and waits for all acknowledgements.
fn feed(addr: SocketAddr, feeder: usize, count: usize) {
    let mut link = Link::open(addr, &Connect::new(Version::V5, format!("feeder-{feeder}"))).unwrap();
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        let mut bytes = Vec::new();
        while sent < count && sent - answered < WINDOW {
            let payload = format!("{feeder}:{sent}:{}", "w".repeat(SIZE));
            let id = (sent % 60_000 + 1) as u16;
            bytes.extend(Publication::new(format!("wait/{feeder}"), payload).qos(1, id).bytes(Version::V5));
            sent += 1;
        }
        link.send(&bytes).unwrap();
        match link.next(Duration::from_secs(30)).unwrap() {
            Some(Packet::Ack(ack)) if ack.first == PUBACK && ack.code == 0 => answered += 1,
            other => panic!("instead of an acknowledgement: {other:?}"),
        }
    }
}

fn feed_all(addr: SocketAddr, count: usize) {
    let feeders: Vec<_> =
        (0..FEEDERS).map(|feeder| std::thread::spawn(move || feed(addr, feeder, count / FEEDERS))).collect();
    feeders.into_iter().for_each(|feeder| feeder.join().unwrap());
}

/// Round trips of a clean client until told to end; the slowest and the median.
fn beside(addr: SocketAddr, over: &std::sync::atomic::AtomicBool) -> (Duration, Duration) {
    let mut link = Link::open(addr, &Connect::new(Version::V5, "beside")).unwrap();
    let mut times = Vec::new();
    let mut id = 0;
    while !over.load(std::sync::atomic::Ordering::Relaxed) || times.is_empty() {
        id = id % 1000 + 1;
        let begun = Instant::now();
        let publication = Publication::new("beside", "x").qos(1, id);
        assert!(link.publish_and_wait(&publication, Duration::from_secs(10)).unwrap().is_some());
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    times.sort();
    (times[times.len() * 99 / 100], times[times.len() / 2])
}

fn drain(link: &mut Link, count: usize, running: &Running) -> (Duration, u64) {
    let begun = Instant::now();
    let (mut first, mut most) = (Duration::ZERO, 0);
    let mut next = [0; FEEDERS];
    for got in 0..count {
        let Some(Packet::Publish(publish)) = link.next(Duration::from_secs(30)).unwrap() else {
            panic!("after {got} of {count} messages nothing comes")
        };
        if got == 0 {
            first = begun.elapsed();
        }
        let (feeder, number) = super::subscriber::parse(&publish.payload).unwrap();
        assert_eq!(number, next[feeder], "the order of feeder {feeder} is kept, nothing is left out");
        next[feeder] += 1;
        link.ack(PUBACK, publish.id).unwrap();
        if got % 5000 == 0 {
            most = most.max(running.rss());
        }
    }
    (first, most)
}

fn waiting(mode: &'static str, count: usize) {
    let place = Place::new(Program::Herald(mode), "");
    let mut running = place.start().unwrap();
    let addr = running.addr("mqtt");
    let connect = Connect::new(Version::V5, "absent").resume();
    let mut link = Link::open(addr, &connect).unwrap();
    link.subscribe(1, &[("wait/#", 1)], |_, _| Ok(())).unwrap();
    drop(link);
    let begun = Instant::now();
    feed_all(addr, count);
    let fed = begun.elapsed();
    running.kill();
    let begun = Instant::now();
    let running = place.start().unwrap();
    let opened = begun.elapsed();
    let addr = running.addr("mqtt");
    let before = running.rss();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let others = std::thread::spawn({
        let over = std::sync::Arc::clone(&over);
        move || beside(addr, &over)
    });
    let begun = Instant::now();
    let mut link = Link::open(addr, &connect).unwrap();
    let resumed = begun.elapsed();
    assert!(link.connack.session_present);
    let (first, most) = drain(&mut link, count, &running);
    let drained = begun.elapsed();
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let (slow, median) = others.join().unwrap();
    let grown = most.saturating_sub(before);
    println!(
        "{}",
        serde_json::json!({"run": "waiting session", "mode": mode, "messages": count, "fed_s": fed.as_secs_f64(),
            "opened_s": opened.as_secs_f64(), "resumed_ms": resumed.as_secs_f64() * 1e3,
            "first_message_ms": first.as_secs_f64() * 1e3, "drained_s": drained.as_secs_f64(),
            "rss_mib": [before >> 20, most >> 20], "others_p50_ms": median.as_secs_f64() * 1e3,
            "others_p99_ms": slow.as_secs_f64() * 1e3})
    );
    assert!(resumed + first < Duration::from_secs(1), "resumed in {resumed:?}, first message after {first:?}");
    assert!(grown < MEMORY_MAX, "the broker grew by {grown} bytes while a session drained");
    assert!(median < Duration::from_millis(100), "others wait {median:?} for an answer");
}

#[test]
fn a_session_with_very_many_waiting_messages_resumes_at_once_and_streams() {
    waiting("os", 100_000);
}

#[test]
#[ignore = "long: make torture"]
fn a_session_with_a_million_waiting_messages() {
    waiting("sync", 1_000_000);
}

/// Writes sessions, with one subscription and two waiting messages each, into a new store: connections would take minutes.
fn fill(data: &Path, sessions: u64) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let (epoch, ends_wall_ms) = (Epoch { wall_at_start_ms: wall }, Some(wall + 86_400_000));
    let store = Rocks::open(data, Level::Os, Bounds::default(), epoch).unwrap();
    let options = Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id: None };
    for number in 1..=sessions {
        let (session, client) = (SessionId(number), ClientId::new(&format!("session-{number}")));
        let subscription = SavedSubscription { filter: "everybody".into(), options };
        store.append(vec![
            Record::Open(SessionRecord { session, client, owner: None, expiry_s: 86_400 }),
            Record::Subscribe(session, subscription),
            Record::Leave { session, ends_wall_ms },
        ]);
    }
    for _ in 0..2 {
        let (qos, payload, origin) = (QoS::AtLeastOnce, &[b'x'; SIZE], Origin(u64::MAX));
        let parts = Parts { topic: "everybody", properties: &[], payload, qos, retain: false, expiry_s: None, origin };
        let to = |session| Recipient { session, qos, retain: false, subscription_ids: Vec::new() };
        store.append(vec![Record::Enqueue {
            message: Arc::new(Message::new(parts, Now::default())),
            recipients: (1..=sessions).map(SessionId).map(to).collect(),
            publisher: Publisher::CannotBeTold,
        }]);
    }
}

#[test]
#[ignore = "long: make torture; needs a release build"]
fn a_million_messages_of_half_a_million_sessions_are_recovered() {
    const SESSIONS: u64 = 500_000;
    let (place, empty) = (Place::new(Program::Herald("os"), ""), Place::new(Program::Herald("os"), ""));
    let begun = Instant::now();
    fill(&place.data(), SESSIONS);
    let made = begun.elapsed();
    let without = empty.start().unwrap().rss();
    // First from the log, as after a kill, then from tables.
    for run in ["from the log", "from tables"] {
        let begun = Instant::now();
        let mut running = place.start().unwrap();
        let opened = begun.elapsed();
        let rss = running.rss();
        println!(
            "{}",
            serde_json::json!({"run": "recovery", "from": run, "sessions": SESSIONS, "messages": 2 * SESSIONS,
                "made_s": made.as_secs_f64(), "opened_s": opened.as_secs_f64(), "rss_mib": rss >> 20,
                "bytes_per_session": (rss - without) / SESSIONS})
        );
        assert!(running.log().contains("reading the store"), "a long opening shows how far it is");
        assert!(cfg!(debug_assertions) || opened < Duration::from_secs(10), "opened in {opened:?}");
        assert!((rss - without) / SESSIONS < BYTES_MAX, "{} bytes for each session", (rss - without) / SESSIONS);
        running.kill();
    }
}
