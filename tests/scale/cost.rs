//! What one of each costs, and the code for one too many.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::crowd::Crowd;
use crate::support::broker::{self, Broker};
use crate::support::build::{Connect, Will};
use crate::support::wire::Version::V5;
use crate::support::{WAIT, unique};
use crate::{MIB, report, resident, settled};

/// An ordinary run's.
const FEW: usize = 100_000;
/// `make scale`'s.
const MANY: usize = 1_000_000;
/// So many more than the limit are asked for.
const BEYOND: usize = 100;
/// Quota exceeded.
const QUOTA: u8 = 0x97;

/// A broker that keeps everything in memory and allows so many of each.
fn roomy(count: usize) -> Broker {
    broker::with(&format!(
        "[limits]\nreceive_maximum = 1000\nretained_messages_max = {count}\nsubscriptions_per_client_max = {count}\n[store]\nmode = \"memory\"\n"
    ))
}

fn crowd(broker: &Broker) -> Crowd {
    Crowd::enter(broker.addr("mqtt"), &Connect::new(V5, unique("c")))
}

/// Memory before: with a client that has done what follows, once.
fn before(broker: &Broker) -> f64 {
    let mut first = crowd(broker);
    first.subscribe(["first".to_owned()].into_iter());
    first.unsubscribe(["first".to_owned()].into_iter());
    resident(broker)
}

/// After all of it has gone, little more is left than there was.
#[track_caller]
fn comes_back(broker: &Broker, before: f64, peak: f64) {
    // A tenth of what was there, and a fiftieth of what came.
    let bound = before * 1.1 + (peak - before) * 0.02 + 4.0 * MIB;
    let left = settled(broker, bound);
    println!("{{\"before\":{before},\"peak\":{peak},\"left\":{left}}}");
    assert!(left <= bound, "{left} bytes are left, of {before} before and {peak} at the peak");
}

fn retained(count: usize) {
    let broker = roomy(count);
    let before = before(&broker);
    let mut client = crowd(&broker);
    let topic = |n: usize| format!("device/{n}/state");
    let codes = client.retain((0..count + BEYOND).map(|n| (topic(n), "0123456789abcdef".to_owned())));
    let kept = codes.iter().take_while(|code| **code < 0x80).count();
    assert_eq!(kept, count, "the broker's own do not count");
    assert!(codes[kept..].iter().all(|code| *code == QUOTA), "{:x?}", &codes[kept..]);
    let peak = resident(&broker);
    report("retained message", kept, peak - before, 800.0);
    let codes = client.retain((0..count).map(|n| (topic(n), String::new())));
    assert!(codes.iter().all(|code| *code < 0x80));
    comes_back(&broker, before, peak);
}

fn subscriptions_of_one(count: usize) {
    let broker = roomy(count);
    let before = before(&broker);
    let mut client = crowd(&broker);
    let filter = |n: usize| format!("device/{n}/state");
    let codes = client.subscribe((0..count + BEYOND).map(filter));
    assert!(codes[..count].iter().all(|code| *code == 1));
    assert!(codes[count..].iter().all(|code| *code == QUOTA), "{:x?}", &codes[count..]);
    let peak = resident(&broker);
    report("subscription of one client", count, peak - before, 400.0);
    assert!(client.unsubscribe((0..count).map(filter)).iter().all(|code| *code == 0));
    comes_back(&broker, before, peak);
}

fn subscriptions_of_many(count: usize) {
    const CLIENTS: usize = 500;
    let broker = roomy(count);
    let before = before(&broker);
    let mut clients: Vec<Crowd> = (0..CLIENTS).map(|_| crowd(&broker)).collect();
    // Each has filters of its own, one with a wildcard in ten, and one of everybody.
    let filter = |client: usize, n: usize| match n % 10 {
        0 => format!("user/{client}/+/{n}"),
        _ => format!("user/{client}/topic/{n}"),
    };
    for (number, client) in clients.iter_mut().enumerate() {
        let own = (1..count / CLIENTS).map(|n| filter(number, n));
        assert!(client.subscribe(own.chain(["news".to_owned()])).iter().all(|code| *code == 1));
    }
    let peak = resident(&broker);
    report("subscription of many clients", count, peak - before, 400.0);
    clients.into_iter().for_each(Crowd::vanish);
    comes_back(&broker, before, peak);
}

fn share_groups(count: usize) {
    let broker = roomy(count);
    let before = before(&broker);
    let mut client = crowd(&broker);
    // Half of them share one filter, half have one each.
    let filter = |n: usize| match n % 2 {
        0 => format!("$share/group-{n}/work"),
        _ => format!("$share/group/jobs/{n}"),
    };
    let codes = client.subscribe((0..count + BEYOND).map(filter));
    assert!(codes[..count].iter().all(|code| *code == 1));
    assert!(codes[count..].iter().all(|code| *code == QUOTA), "{:x?}", &codes[count..]);
    let peak = resident(&broker);
    report("shared subscription", count, peak - before, 800.0);
    assert!(client.unsubscribe((0..count).map(filter)).iter().all(|code| *code == 0));
    comes_back(&broker, before, peak);
}

/// Sessions whose clients have gone, each with a will that waits and a subscription.
/// Of clients that go at once.
const KEEP_ALIVE_S: u16 = 10;

fn wills(count: usize) {
    let broker = roomy(count);
    let before = before(&broker);
    let connect = |n: usize| {
        let will = Will::new(format!("device/{n}/gone"), "0123456789abcdef").delay_s(100_000);
        // What is down for a client that has gone is forgotten after one and a half Keep Alives.
        Connect::new(V5, format!("device-{n}")).kept_s(200_000).will(will).keep_alive_s(KEEP_ALIVE_S)
    };
    for n in 0..count {
        let mut client = Crowd::enter(broker.addr("mqtt"), &connect(n));
        client.subscribe([format!("device/{n}/orders")].into_iter());
        client.vanish();
    }
    let peak = resident(&broker);
    report("session at rest with a will", count, peak - before, 3000.0);
    // Shown once a second.
    let deadline = Instant::now() + WAIT;
    while broker.metric("heraldmq_sessions") < count as f64 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(broker.metric("heraldmq_sessions"), count as f64);
    for n in 0..count {
        let connect = Connect::new(V5, format!("device-{n}")).keep_alive_s(KEEP_ALIVE_S);
        Crowd::enter(broker.addr("mqtt"), &connect).vanish();
    }
    comes_back(&broker, before, peak);
}

/// Connections with a session each, all there at once.
fn connections(count: usize) {
    let mut descriptors = getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    setrlimit(Resource::Nofile, descriptors).expect("as many as it may have");
    let broker = roomy(count);
    let before = before(&broker);
    let clients: Vec<Crowd> = (0..count).map(|_| crowd(&broker)).collect();
    let peak = resident(&broker);
    report("connection", count, peak - before, 4000.0);
    clients.into_iter().for_each(Crowd::vanish);
    comes_back(&broker, before, peak);
}

#[test]
fn a_connection_costs_so_much() {
    connections(2_000);
}

#[test]
#[ignore = "make scale"]
fn eight_thousand_connections() {
    connections(8_000);
}

#[test]
fn a_retained_message_costs_so_much_and_one_too_many_is_refused() {
    retained(FEW);
}

#[test]
fn a_subscription_of_one_client_costs_so_much_and_one_too_many_is_refused() {
    subscriptions_of_one(FEW);
}

#[test]
fn a_subscription_of_many_clients_costs_so_much() {
    subscriptions_of_many(FEW);
}

#[test]
fn a_shared_subscription_costs_so_much_and_one_too_many_is_refused() {
    share_groups(FEW / 10);
}

#[test]
fn a_session_at_rest_with_a_will_costs_so_much() {
    wills(FEW / 20);
}

#[test]
#[ignore = "make scale"]
fn a_million_retained_messages() {
    retained(MANY);
}

#[test]
#[ignore = "make scale"]
fn a_million_subscriptions_of_one_client() {
    subscriptions_of_one(MANY);
}

#[test]
#[ignore = "make scale"]
fn a_million_subscriptions_of_many_clients() {
    subscriptions_of_many(MANY);
}

#[test]
#[ignore = "make scale"]
fn a_hundred_thousand_shared_subscriptions() {
    share_groups(MANY / 10);
}

#[test]
#[ignore = "make scale"]
fn a_hundred_thousand_sessions_at_rest_with_a_will() {
    wills(MANY / 10);
}
