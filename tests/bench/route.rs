//! What routing one message costs, and what one subscription weighs, as the number of subscriptions grows.
//!
//! `cargo bench --bench route` prints nanoseconds of CPU time per message and bytes of process memory per subscription.
//! Without `--bench` the numbers of subscriptions are small: it only shows that it runs.

use std::sync::Arc;
use std::time::Instant;

use heraldmq::broker::Broker;
use heraldmq::broker::directory::Directory;
use heraldmq::broker::index::{Index, Interest};
use heraldmq::broker::later::Later;
use heraldmq::broker::plan::Plan;
use heraldmq::broker::retain::Retained;
use heraldmq::broker::route::Routing;
use heraldmq::broker::seat::{Address, Seat};
use heraldmq::clock::Now;
use heraldmq::identity::{ClientId, Origin, SessionId, Ticket};
use heraldmq::message::{Message, Parts};
use heraldmq::mqtt::QoS;
use heraldmq::session::{Page, Saved};
use heraldmq::store::{Record, Recovered, Store};
use heraldmq::topic::filter::TopicFilter;

/// The program's allocator, so that memory means the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Users that messages go to in turn, where there are so many: more than a core's own caches hold.
const USERS: usize = 65_536;
/// Messages of one measurement.
const MESSAGES: usize = 4 * USERS;
/// Measurements, of which the best counts.
const ROUNDS: usize = 7;

/// Routing asks no store.
struct NoStore;

impl Store for NoStore {
    fn append(&self, _: Vec<Record>) -> Ticket {
        Ticket::NONE
    }
    fn durable(&self) -> Ticket {
        Ticket::NONE
    }
    fn failed(&self, _: Ticket) -> bool {
        false
    }
    fn load(&self, _: SessionId, _: Box<dyn FnOnce(Saved) + Send>) {}
    fn read_queue(&self, _: SessionId, _: Ticket, _: usize, _: Now, _: Box<dyn FnOnce(Page) + Send>) {}
    fn mode(&self) -> &'static str {
        "memory"
    }
    fn recover(&self) -> Recovered {
        Recovered::default()
    }
}

fn broker() -> Broker {
    Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        store: Arc::new(NoStore),
    }
}

fn seats(count: usize) -> Vec<Arc<Seat>> {
    let seat = |n: usize| {
        let seat = Seat::new(SessionId(n as u64 + 1), ClientId::new("phone"), Origin(n as u64 + 1), false);
        assert!(seat.claim(Address { core: 0, slot: n as u32, generation: 1 }));
        seat
    };
    (0..count).map(seat).collect()
}

fn subscribe(broker: &Broker, filter: &str, seat: &Arc<Seat>) {
    let filter = TopicFilter::parse(filter, 128).expect("a valid filter");
    let interest = Interest { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, subscription_id: 0 };
    assert!(broker.index.subscribe(&filter, seat, interest).new);
}

fn topic(n: usize) -> String {
    format!("user/{n:07}/inbox")
}

fn message(n: usize) -> Message {
    let (topic, qos, origin) = (topic(n), QoS::AtMostOnce, Origin(0));
    let parts = Parts { topic: &topic, properties: &[], payload: b"x", qos, retain: false, expiry_s: None, origin };
    Message::new(parts, Now::default())
}

/// Nanoseconds this thread has had a processor; the wall clock where the kernel does not say.
fn cpu_ns(start: Instant) -> u64 {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let said = said.and_then(|text| text.split_whitespace().next()?.parse().ok());
    said.unwrap_or_else(|| start.elapsed().as_nanos() as u64)
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Nanoseconds per message when the messages go out in turn; each reaches one user.
fn measure(broker: &Broker, messages: &[Message]) -> f64 {
    let (mut routing, mut plan) = (Routing::default(), Plan::new(1));
    let (start, mut best) = (Instant::now(), f64::MAX);
    for _ in 0..ROUNDS {
        let before = cpu_ns(start);
        for message in messages.iter().cycle().take(MESSAGES) {
            broker.route(message, &mut routing, &mut plan);
            assert_eq!(plan.by_core[0].len(), 1);
        }
        best = best.min((cpu_ns(start) - before) as f64 / MESSAGES as f64);
    }
    best
}

/// One row: `exact` users with one subscription each, and `wild` subscriptions with wildcards. Nanoseconds per message for
/// one user again and again, and for many users in turn.
fn row(exact: usize, wild: usize) -> (f64, f64) {
    let (broker, seats) = (broker(), seats(exact));
    let before = resident();
    for (n, seat) in seats.iter().enumerate() {
        subscribe(&broker, &topic(n), seat);
    }
    let exact_bytes = resident().saturating_sub(before) / exact;
    let before = resident();
    for n in 0..wild {
        // Some beside the topics that messages go to, some across all of them.
        let filter = if n % 2 == 0 { format!("user/{:07}/#", exact + n) } else { format!("+/{n:07}/news") };
        subscribe(&broker, &filter, &seats[n % exact]);
    }
    let wild_bytes = resident().saturating_sub(before) / wild.max(1);
    // An odd stride visits users in an order that no prefetcher knows.
    let messages: Vec<Message> = (0..exact.min(USERS)).map(|n| message(n * 48_271 % exact)).collect();
    let (one, many) = (measure(&broker, &messages[..1]), measure(&broker, &messages));
    println!("{exact:>9} {wild:>7} {one:>12.1} {many:>14.1} {exact_bytes:>12} {wild_bytes:>12}");
    (one, many)
}

/// One filter of very many: nanoseconds per subscriber of one broadcast, and per subscriber that leaves.
fn broadcast(count: usize) {
    let (broker, seats) = (broker(), seats(count));
    let before = resident();
    seats.iter().for_each(|seat| subscribe(&broker, "news", seat));
    let bytes = resident().saturating_sub(before) / count;
    let parts = Parts {
        topic: "news",
        properties: &[],
        payload: b"x",
        qos: QoS::AtMostOnce,
        retain: false,
        expiry_s: None,
        origin: Origin(0),
    };
    let (message, mut routing, mut plan) = (Message::new(parts, Now::default()), Routing::default(), Plan::new(1));
    let (start, mut best) = (Instant::now(), f64::MAX);
    for _ in 0..ROUNDS {
        let before = cpu_ns(start);
        broker.route(&message, &mut routing, &mut plan);
        assert_eq!(plan.by_core[0].len(), count);
        best = best.min((cpu_ns(start) - before) as f64 / count as f64);
    }
    let (before, filter) = (cpu_ns(start), TopicFilter::parse("news", 128).expect("a valid filter"));
    assert!(seats.iter().all(|seat| broker.index.unsubscribe(&filter, seat)));
    let leaving = (cpu_ns(start) - before) as f64 / count as f64;
    println!("broadcast to {count}: {best:.1} ns and {bytes} bytes per subscriber; {leaving:.1} ns for each to leave");
}

fn main() {
    let all = std::env::args().any(|arg| arg == "--bench");
    let (few, many, wild) = if all { (1_000, 1_000_000, 10_000) } else { (100, 10_000, 1_000) };
    println!("    exact    wild  ns, one user  ns, many users  bytes/exact   bytes/wild");
    let small = row(few, 0);
    let large = row(many, 0);
    let small_wild = row(few, wild);
    let large_wild = row(many, wild);
    println!("{few} -> {many} exact: x{:.2} for one user, x{:.2} for many users", large.0 / small.0, large.1 / small.1);
    let ratios = (large_wild.0 / small_wild.0, large_wild.1 / small_wild.1);
    println!("the same with {wild} wildcards: x{:.2} for one user, x{:.2} for many users", ratios.0, ratios.1);
    broadcast(if all { 500_000 } else { 5_000 });
}
