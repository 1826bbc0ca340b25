//! 4.3.3: exactly once.

use std::thread::sleep;
use std::time::Duration;

use crate::support::build::{Connect, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::packet::Publish;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, frame, prop};

/// A session whose QoS 2 delivery is still open, and its id.
fn owing(receive_maximum: u16) -> (Client, String, Publish, String) {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().receive_maximum(receive_maximum).open();
    subscriber.subscribe(&topic, 2);
    connected(V5).publish(&topic, 2, "x");
    let publish = subscriber.expect_publish();
    (subscriber, id, publish, topic)
}

fn resume(id: &str) -> Client {
    Connect::new(V5, id).resume().open()
}

/// [MQTT-4.3.3-1] [MQTT-4.3.3-2]
#[test]
fn mqtt_4_3_3_1_an_identifier_is_busy_until_pubcomp() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 2);
    let mut ids = Vec::new();
    for number in 0..10 {
        publisher.publish(&topic, 2, number.to_string());
        let publish = subscriber.expect_publish();
        assert_eq!(publish.first, 0x34);
        subscriber.send(&ack(PUBREC, publish.id, 0));
        subscriber.expect_ack(PUBREL, publish.id);
        assert!(!ids.contains(&publish.id), "{} is not free before PUBCOMP", publish.id);
        ids.push(publish.id);
    }
    ids.iter().for_each(|id| subscriber.send(&ack(PUBCOMP, *id, 0)));
    publisher.publish(&topic, 2, "after");
    subscriber.receive_payload("after");
}

/// [MQTT-4.3.3-3]
#[test]
fn mqtt_4_3_3_3_a_publish_is_unacknowledged_until_its_pubrec() {
    let (subscriber, id, publish, _) = owing(10);
    subscriber.vanish();
    let mut subscriber = resume(&id);
    let again = subscriber.receive_payload("x");
    assert_eq!((again.id, again.first), (publish.id, 0x3C), "the same identifier, DUP 1, QoS 2");
    subscriber.vanish();
    resume(&id).expect_nothing();
}

/// [MQTT-4.3.3-4] [MQTT-3.3.4-9]
#[test]
fn mqtt_4_3_3_4_a_failing_pubrec_ends_the_exchange() {
    let (mut subscriber, id, publish, topic) = owing(1);
    let mut publisher = connected(V5);
    publisher.publish(&topic, 2, "next");
    subscriber.expect_nothing();
    subscriber.send(&ack(PUBREC, publish.id, 0x80));
    subscriber.receive_payload("next");
    subscriber.expect_nothing();
    subscriber.vanish();
    resume(&id).expect_nothing();
}

/// [MQTT-4.3.3-4]
#[test]
fn mqtt_4_3_3_4_pubrec_is_answered_by_pubrel() {
    for pubrec in [ack(PUBREC, 1, 0), frame(PUBREC, &[0, 1, 0]), frame(PUBREC, &[0, 1, 0, 0])] {
        let (mut subscriber, _, publish, _) = owing(10);
        let with_its_id = [&pubrec[..2], &publish.id.to_be_bytes(), &pubrec[4..]].concat();
        subscriber.send(&with_its_id);
        assert_eq!(subscriber.expect_ack(PUBREL, publish.id).code, 0);
    }
}

/// [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1]
#[test]
fn mqtt_4_3_3_5_pubrel_is_owed_until_pubcomp() {
    let (mut subscriber, id, publish, _) = owing(10);
    subscriber.send(&ack(PUBREC, publish.id, 0));
    subscriber.expect_ack(PUBREL, publish.id);
    subscriber.vanish();
    let mut subscriber = resume(&id);
    assert_eq!(subscriber.expect_ack(PUBREL, publish.id).code, 0, "PUBREL, and not PUBLISH");
    subscriber.expect_nothing();
    subscriber.vanish();
    let mut subscriber = resume(&id);
    subscriber.expect_ack(PUBREL, publish.id);
    subscriber.send(&ack(PUBCOMP, publish.id, 0));
    subscriber.vanish();
    resume(&id).expect_nothing();
}

/// [MQTT-4.3.3-7]
#[test]
fn mqtt_4_3_3_7_what_was_sent_does_not_expire() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = resume(&id);
    subscriber.subscribe(&topic, 2);
    let expiring = Props::new().u32(prop::MESSAGE_EXPIRY, 1);
    connected(V5).publish_this(Publication::new(&topic, "x").props(expiring), 2);
    subscriber.expect_publish();
    subscriber.vanish();
    sleep(Duration::from_millis(2100));
    assert!(resume(&id).receive_payload("x").dup);
}

/// [MQTT-4.3.3-8]
#[test]
fn mqtt_4_3_3_8_pubrec_has_the_identifier_of_its_publish_and_means_ownership() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = resume(&id);
    subscriber.subscribe(&topic, 2);
    subscriber.vanish();
    let mut publisher = connected(V5);
    publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9));
    assert!(publisher.expect_ack(PUBREC, 9).code < 0x80);
    publisher.vanish();
    resume(&id).receive_payload("x");
}

/// [MQTT-4.3.3-9]
#[test]
fn mqtt_4_3_3_9_after_a_failing_pubrec_the_identifier_is_a_new_message() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 2);
    publisher.send_publish(&Publication::new("forbidden/t", "no").qos(2, 9));
    assert_eq!(publisher.expect_ack(PUBREC, 9).code, 0x87);
    publisher.send_publish(&Publication::new(&topic, "yes").qos(2, 9));
    assert_eq!(publisher.expect_ack(PUBREC, 9).code, 0x00);
    publisher.send(&ack(PUBREL, 9, 0));
    assert_eq!(publisher.expect_ack(PUBCOMP, 9).code, 0x00);
    subscriber.receive_payload("yes");
    subscriber.expect_nothing();
}

/// [MQTT-4.3.3-10]
#[test]
fn mqtt_4_3_3_10_a_repeat_before_pubrel_is_not_delivered_twice() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 2);
    let mut publisher = resume(&id);
    publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9));
    assert_eq!(publisher.expect_ack(PUBREC, 9).code, 0);
    for _ in 0..2 {
        publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9).dup());
        assert_eq!(publisher.expect_ack(PUBREC, 9).code, 0, "on the same connection");
        publisher.vanish();
        publisher = resume(&id);
        publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9).dup());
        assert_eq!(publisher.expect_ack(PUBREC, 9).code, 0, "on the next connection");
    }
    publisher.send(&ack(PUBREL, 9, 0));
    assert_eq!(publisher.expect_ack(PUBCOMP, 9).code, 0);
    subscriber.receive_payload("x");
    subscriber.expect_nothing();
}

/// [MQTT-4.3.3-11]
#[test]
fn mqtt_4_3_3_11_each_pubrel_has_its_pubcomp() {
    let mut publisher = connected(V5);
    publisher.send_publish(&Publication::new(unique("t"), "x").qos(2, 9));
    publisher.expect_ack(PUBREC, 9);
    publisher.send(&ack(PUBREL, 9, 0));
    assert_eq!(publisher.expect_ack(PUBCOMP, 9).code, 0);
    publisher.send(&ack(PUBREL, 9, 0));
    publisher.expect_ack(PUBCOMP, 9);
}

/// [MQTT-4.3.3-12]
#[test]
fn mqtt_4_3_3_12_after_pubcomp_the_identifier_is_a_new_message() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 2);
    for (payload, dup) in [("first", false), ("second", false), ("third", true)] {
        let mut publication = Publication::new(&topic, payload).qos(2, 9);
        publication.dup = dup;
        publisher.send_publish(&publication);
        publisher.expect_ack(PUBREC, 9);
        publisher.send(&ack(PUBREL, 9, 0));
        assert_eq!(publisher.expect_ack(PUBCOMP, 9).code, 0);
        subscriber.receive_payload(payload);
    }
}

/// [MQTT-4.3.3-13]
#[test]
fn mqtt_4_3_3_13_an_exchange_is_finished_though_the_message_expired() {
    let mut publisher = connected(V5);
    let expiring = Props::new().u32(prop::MESSAGE_EXPIRY, 1);
    publisher.send_publish(&Publication::new(unique("t"), "x").qos(2, 9).props(expiring));
    publisher.expect_ack(PUBREC, 9);
    publisher.expect_nothing_for(Duration::from_millis(2100));
    publisher.send(&ack(PUBREL, 9, 0));
    assert_eq!(publisher.expect_ack(PUBCOMP, 9).code, 0);
}
