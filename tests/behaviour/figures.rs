//! What the metrics page says is what happened.

use std::time::{Duration, Instant};

use crate::support::broker;
use crate::support::build::Connect;
use crate::support::unique;
use crate::support::wire::Version;

/// Counters are shown once a second.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn packets_and_messages_are_counted_in_both_directions() {
    let broker = broker::with("");
    let addr = broker.addr("mqtt");
    let topic = unique("t");
    let mut subscriber = Connect::new(Version::V5, unique("c")).open_at(addr);
    subscriber.subscribe(&topic, 1);
    let mut publisher = Connect::new(Version::V3, unique("c")).open_at(addr);
    for _ in 0..3 {
        publisher.publish(&topic, 1, "x");
        subscriber.receive_payload("x");
    }
    subscriber.ping();
    let sent = |kind: &str| format!("heraldmq_packets_total{{type=\"{kind}\",direction=\"sent\"}}");
    let expected = [
        (sent("connack"), 2.0),
        (sent("suback"), 1.0),
        (sent("publish"), 3.0),
        (sent("puback"), 3.0),
        (sent("pingresp"), 1.0),
        ("heraldmq_packets_total{type=\"puback\",direction=\"received\"}".to_owned(), 3.0),
        ("heraldmq_messages_delivered_total{qos=\"1\"}".to_owned(), 3.0),
        ("heraldmq_messages_received_total{qos=\"1\"}".to_owned(), 3.0),
    ];
    let until = Instant::now() + SHOWN_WITHIN;
    for (name, value) in expected {
        while broker.metric(&name) != value {
            assert!(Instant::now() < until, "{name} is {} and not {value}", broker.metric(&name));
            std::thread::yield_now();
        }
    }
}
