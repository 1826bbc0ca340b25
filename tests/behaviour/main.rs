//! What the broker does with clients that are wrong, hostile or unlucky: it answers as documented, serves everybody
//! else, and nothing in it panics.
//!
//! The tests speak to the broker as a client does, through sockets. Each ends with [`sound`].

#[path = "../support/mod.rs"]
mod support;

#[path = "../fuzz/chance.rs"]
mod chance;
#[path = "../fuzz/targets/corpus.rs"]
mod corpus;

mod acknowledgements;
mod delivery;
mod depth;
mod figures;
mod fragments;
mod lies;
mod memory;
mod pressure;
mod settings;
mod slow;
mod states;
mod takeover;
mod tls;
mod websocket;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::broker::{self, Broker, CAUGHT_PANICS, EXTERNAL};
use support::build::Connect;
use support::unique;
use support::wire::Version;

/// Both versions.
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Two well-behaved clients are served.
#[track_caller]
fn serves(addr: SocketAddr) {
    let topic = unique("sound");
    let mut subscriber = Connect::new(Version::V5, unique("c")).open_at(addr);
    assert_eq!(subscriber.subscribe(&topic, 2), 2);
    let mut publisher = Connect::new(Version::V3, unique("c")).open_at(addr);
    for qos in 0..=2 {
        publisher.publish(&topic, qos, "x");
        assert_eq!(subscriber.receive_payload("x").qos, qos);
    }
}

/// The shared broker serves others, and nothing in it has panicked.
#[track_caller]
fn sound() {
    serves(broker::shared());
    if std::env::var_os(EXTERNAL).is_none() {
        no_panic(broker::own());
    }
}

/// This broker serves others, and nothing in it has panicked.
#[track_caller]
fn sound_at(broker: &Broker) {
    serves(broker.addr("mqtt"));
    no_panic(broker);
}

#[track_caller]
fn no_panic(broker: &Broker) {
    assert_eq!(broker.metric(CAUGHT_PANICS), 0.0, "{}", broker.log());
}

/// Memory of the broker, bytes.
fn resident_bytes(broker: &Broker) -> f64 {
    broker.metric("process_resident_memory_bytes")
}

/// Waits until a metric, which the cores show once a second, has this value.
#[track_caller]
fn await_metric(broker: &Broker, name: &str, expected: f64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while broker.metric(name) != expected && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(broker.metric(name), expected, "{name}");
}
