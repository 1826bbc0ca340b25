//! Packet Identifiers and acknowledgements that go astray.

use std::collections::HashSet;

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::packet::{Packet, Publish};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version;
use crate::support::wire::Version::V5;
use crate::{VERSIONS, sound};

fn back(version: Version, id: &str) -> Client {
    Connect::new(version, id).resume().open()
}

#[test]
fn dup_is_never_what_tells_a_repeat() {
    for version in VERSIONS {
        let topic = unique("t");
        let (mut publisher, mut subscriber) = (connected(version), connected(version));
        subscriber.subscribe(&topic, 2);
        // Marked as a repeat, never seen: new. Not marked, identifier held: a repeat.
        publisher.send_publish(&Publication::new(&topic, "new").qos(2, 7).dup());
        publisher.expect_ack(PUBREC, 7);
        publisher.send_publish(&Publication::new(&topic, "new").qos(2, 7));
        publisher.expect_ack(PUBREC, 7);
        publisher.send(&ack(PUBREL, 7, 0));
        publisher.expect_ack(PUBCOMP, 7);
        publisher.send_publish(&Publication::new(&topic, "another").qos(2, 7).dup());
        publisher.expect_ack(PUBREC, 7);
        publisher.send(&ack(PUBREL, 7, 0));
        publisher.expect_ack(PUBCOMP, 7);
        subscriber.receive_payload("new");
        subscriber.receive_payload("another");
        subscriber.expect_nothing();
    }
    sound();
}

/// A subscriber whose window of three is full, and what it holds.
fn full_window(topic: &str, messages: usize) -> (Client, [Publish; 3]) {
    let mut subscriber = Connect::new(V5, unique("c")).receive_maximum(3).open();
    subscriber.subscribe(topic, 2);
    let mut publisher = connected(V5);
    for number in 0..messages {
        publisher.publish(topic, 1 + (number % 2) as u8, number.to_string());
    }
    let held = std::array::from_fn(|_| subscriber.expect_publish());
    subscriber.expect_nothing();
    (subscriber, held)
}

#[test]
fn stray_acknowledgements_open_no_window() {
    let (mut subscriber, held) = full_window(&unique("t"), 6);
    let held_ids: HashSet<u16> = held.iter().map(|publish| publish.id).collect();
    let stray: Vec<u16> = (1..=u16::MAX).filter(|id| !held_ids.contains(id)).take(20).collect();
    for id in &stray {
        subscriber.send(&ack(PUBACK, *id, 0));
        subscriber.send(&ack(PUBCOMP, *id, 0));
    }
    subscriber.expect_nothing();
    for id in &stray {
        subscriber.send(&ack(PUBREC, *id, 0));
        assert_eq!(subscriber.expect_ack(PUBREL, *id).code, 0x92);
        subscriber.send(&ack(PUBREC, *id, 0x80));
    }
    // The watch fails the test if a fourth message is in flight.
    subscriber.expect_nothing();
    subscriber.acknowledge(&held[0]);
    assert_eq!(subscriber.receive().payload, b"3", "the window still opens by one");
    sound();
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_does_not_count() {
    for version in VERSIONS {
        let topic = unique("t");
        let id = unique("c");
        let mut client = back(version, &id);
        client.subscribe(&topic, 2);
        let mut publisher = connected(version);
        publisher.publish(&topic, 1, "one");
        publisher.publish(&topic, 2, "two");
        let (one, two) = (client.expect_publish(), client.expect_publish());
        client.send(&[ack(PUBACK, two.id, 0), ack(PUBCOMP, two.id, 0), ack(PUBCOMP, one.id, 0)].concat());
        client.vanish();
        let mut client = back(version, &id);
        let again = (client.expect_publish(), client.expect_publish());
        assert_eq!((again.0.id, again.1.id), (one.id, two.id), "both are still unacknowledged");
    }
    sound();
}

#[test]
fn a_second_acknowledgement_changes_nothing() {
    let topic = unique("t");
    let (mut subscriber, held) = full_window(&topic, 8);
    for _ in 0..5 {
        subscriber.send(&ack(PUBACK, held[0].id, 0));
    }
    // One slot was freed; the identifier may be in use again by the message that took it.
    let next = subscriber.expect_publish();
    assert_eq!(next.payload, b"3");
    assert_ne!(next.id, held[0].id, "identifiers are not used again at once");
    subscriber.expect_nothing();
    sound();
}

#[test]
fn resume_passes_over_identifiers_in_use() {
    for version in VERSIONS {
        let (id, topic) = (unique("c"), unique("t"));
        let mut client = back(version, &id);
        client.subscribe(&topic, 1);
        let mut publisher = connected(version);
        for number in 0..10 {
            publisher.publish(&topic, 1, format!("held {number}"));
        }
        let held: Vec<Publish> = (0..10).map(|_| client.expect_publish()).collect();
        client.vanish();
        for number in 0..200 {
            publisher.publish(&topic, 1, format!("stored {number}"));
        }
        let mut client = back(version, &id);
        for first in &held {
            let again = client.expect_publish();
            assert_eq!((again.id, &again.payload, again.dup), (first.id, &first.payload, true));
        }
        // None of the repeats is acknowledged while what was stored drains through the rest of the window.
        let ids: HashSet<u16> = held.iter().map(|publish| publish.id).collect();
        for number in 0..200 {
            let publish = client.receive_payload(format!("stored {number}"));
            assert!(!ids.contains(&publish.id), "{} is in use", publish.id);
            assert!(!publish.dup);
        }
        for publish in &held {
            client.acknowledge(publish);
        }
        client.vanish();
        back(version, &id).expect_nothing();
    }
    sound();
}

#[test]
fn a_live_session_sends_nothing_twice() {
    for version in VERSIONS {
        let topic = unique("t");
        let mut client = connected(version);
        client.subscribe(&topic, 1);
        connected(version).publish(&topic, 1, "x");
        client.expect_publish();
        client.expect_nothing_for(std::time::Duration::from_secs(2));
        client.send(&crate::support::build::PINGREQ);
        assert!(matches!(client.expect_packet("PINGRESP"), Packet::Pingresp));
    }
    sound();
}
