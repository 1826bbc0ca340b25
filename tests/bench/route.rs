//! What routing one message costs, and what one subscription weighs, as the number of subscriptions grows.
//!
//! `cargo bench --bench route` prints nanoseconds of CPU time per message and bytes of process memory per subscription.
//! Without `--bench` the numbers of subscriptions are small: it only shows that it runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use heraldmq::broker::Broker;
use heraldmq::broker::directory::Directory;
use heraldmq::broker::index::{Index, Interest};
use heraldmq::broker::later::Later;
use heraldmq::broker::plan::Plan;
use heraldmq::broker::repair::Repairs;
use heraldmq::broker::retain::Retained;
use heraldmq::broker::route::Routing;
use heraldmq::broker::seat::{Address, Seat};
use heraldmq::clock::Now;
use heraldmq::identity::{ClientId, Origin, SessionId, Ticket};
use heraldmq::message::{Message, Parts};
use heraldmq::mqtt::QoS;
use heraldmq::session::{Page, Saved};
use heraldmq::store::{Level, Levels, Lost, Marks, Record, Recovered, Store};
use heraldmq::topic::filter::TopicFilter;

/// The program's allocator, so that memory means the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Users that messages go to in turn, where there are so many: more than a core's own caches hold.
const USERS: usize = 65_536;
/// Messages of one measurement.
const MESSAGES: usize = USERS;
/// CPU time that a measurement takes at least, nanoseconds.
const ROUND_NS: u64 = 150_000_000;
/// Measurements, of which the best counts.
const ROUNDS: usize = 7;

/// Routing asks no store.
struct NoStore;

impl Store for NoStore {
    fn append_at(&self, _: Vec<Record>, _: Level) -> Ticket {
        Ticket::NONE
    }
    fn marks(&self) -> Marks {
        Marks::at(Ticket::NONE)
    }
    fn failed(&self, _: Ticket) -> bool {
        false
    }
    fn load(&self, _: SessionId, _: Box<dyn FnOnce(Saved) + Send>) {}
    fn read_queue(&self, _: SessionId, _: Ticket, _: usize, _: Now, _: Box<dyn FnOnce(Page) + Send>) {}
    fn level(&self) -> Level {
        Level::Memory
    }
    fn recover(&self) -> Recovered {
        Recovered::default()
    }
    fn lost(&self) -> Lost {
        Lost::default()
    }
}

fn broker() -> Broker {
    Broker {
        index: Index::new(),
        retained: Retained::default(),
        directory: Directory::new(),
        later: Later::new(),
        repairs: Repairs::default(),
        store: Arc::new(NoStore),
        levels: Levels::default(),
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
    assert!(broker.index.subscribe(&filter, seat, interest).is_some_and(|added| added.new));
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

/// The best of some rounds of `work`, nanoseconds per `count`. The kernel counts in ticks, so a round takes many of them.
fn best_of(count: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut round = |times: usize| {
        let before = cpu_ns(start);
        (0..times).for_each(|_| work());
        cpu_ns(start) - before
    };
    let mut times = 1;
    while round(times) < ROUND_NS {
        times *= 2;
    }
    let best = (0..ROUNDS).map(|_| round(times)).min().unwrap_or(0);
    best as f64 / (count * times) as f64
}

/// Nanoseconds per message when the messages go out in turn; each reaches one user.
fn measure(broker: &Broker, messages: &[Message]) -> f64 {
    let (mut routing, mut plan) = (Routing::default(), Plan::new(1));
    best_of(MESSAGES, || {
        for message in messages.iter().cycle().take(MESSAGES) {
            broker.route(message, &mut routing, &mut plan);
            assert_eq!(plan.by_core[0].len(), 1);
        }
    })
}

/// A filter with wildcards: some beside the topics that messages go to, some across all of them.
fn wildcard(n: usize, exact: usize) -> String {
    if n.is_multiple_of(2) { format!("user/{:07}/#", exact + n) } else { format!("+/{n:07}/news") }
}

/// One row: `exact` users with one subscription each, and `wild` subscriptions with wildcards. Nanoseconds per message for
/// one user again and again, for many users in turn, and, to compare, of only looking where each of the many sits.
fn row(exact: usize, wild: usize) -> (f64, f64) {
    let (broker, seats) = (broker(), seats(exact));
    seats.iter().enumerate().for_each(|(n, seat)| subscribe(&broker, &topic(n), seat));
    (0..wild).for_each(|n| subscribe(&broker, &wildcard(n, exact), &seats[n % exact]));
    // An odd stride visits users in an order that no prefetcher knows.
    let users: Vec<usize> = (0..exact.min(USERS)).map(|n| n * 48_271 % exact).collect();
    let messages: Vec<Message> = users.iter().map(|n| message(*n)).collect();
    let (one, many) = (measure(&broker, &messages[..1]), measure(&broker, &messages));
    let look = best_of(MESSAGES, || {
        for n in users.iter().cycle().take(MESSAGES) {
            assert!(black_box(&seats[*n]).address().is_some_and(|at| at.slot == *n as u32));
        }
    });
    println!("{exact:>9} {wild:>9} {one:>13.1} {many:>15.1} {look:>13.1}");
    (one, many)
}

/// Bytes of process memory per subscription, its filter's text included, the session's seat not.
fn weigh(exact: usize, wild: usize, crowd: usize) {
    let (broker, seats) = (broker(), seats(exact));
    let weigh = |count: usize, filter: &dyn Fn(usize) -> String| {
        let before = resident();
        (0..count).for_each(|n| subscribe(&broker, &filter(n), &seats[n]));
        resident().saturating_sub(before) / count
    };
    println!("bytes per subscription, {exact} exact filters of one user each: {}", weigh(exact, &topic));
    println!("bytes per subscription, {wild} filters with wildcards: {}", weigh(wild, &|n| wildcard(n, exact)));
    println!("bytes per subscription, {crowd} users of one filter: {}", weigh(crowd, &|_| "news".to_owned()));
}

/// One filter of very many: nanoseconds per subscriber of one broadcast, and per subscriber that leaves.
fn broadcast(count: usize) {
    let (broker, seats) = (broker(), seats(count));
    seats.iter().for_each(|seat| subscribe(&broker, "news", seat));
    let (topic, qos, origin) = ("news", QoS::AtMostOnce, Origin(0));
    let parts = Parts { topic, properties: &[], payload: b"x", qos, retain: false, expiry_s: None, origin };
    let (message, mut routing, mut plan) = (Message::new(parts, Now::default()), Routing::default(), Plan::new(1));
    let each = best_of(count, || {
        broker.route(&message, &mut routing, &mut plan);
        assert_eq!(plan.by_core[0].len(), count);
    });
    let filter = TopicFilter::parse("news", 128).expect("a valid filter");
    let start = Instant::now();
    let before = cpu_ns(start);
    assert!(seats.iter().all(|seat| broker.index.unsubscribe(&filter, seat)));
    let leaving = cpu_ns(start).saturating_sub(before) as f64 / count as f64;
    println!("broadcast to {count}: {each:.1} ns per subscriber; {leaving:.1} ns for each to leave");
}

fn main() {
    let all = std::env::args().any(|arg| arg == "--bench");
    let (few, many, wild) = if all { (1_000, 1_000_000, 10_000) } else { (100, 10_000, 1_000) };
    // First, while no memory can be used again.
    weigh(many, wild, many / 2);
    println!("    exact  wildcards  ns, one user  ns, many users  ns, a look");
    let small = row(few, 0);
    let large = row(many, 0);
    let small_wild = row(few, wild);
    let large_wild = row(many, wild);
    println!("{few} -> {many} exact: x{:.2} for one user, x{:.2} for many users", large.0 / small.0, large.1 / small.1);
    let ratios = (large_wild.0 / small_wild.0, large_wild.1 / small_wild.1);
    println!("the same with {wild} wildcards: x{:.2} for one user, x{:.2} for many users", ratios.0, ratios.1);
    broadcast(many / 2);
}
