//! 3.3.2.3 PUBLISH properties that change on the way, 3.3.4 the copies a subscriber gets.

use std::thread::sleep;
use std::time::Duration;

use crate::support::build::{Connect, Publication};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, prop};

fn expiring(topic: &str, payload: &str, seconds: u32) -> Publication {
    Publication::new(topic, payload).props(Props::new().u32(prop::MESSAGE_EXPIRY, seconds))
}

fn id(number: u32) -> Props {
    Props::new().varint(prop::SUBSCRIPTION_ID, number)
}

/// [MQTT-3.3.2-5]
#[test]
fn mqtt_3_3_2_5_an_expired_copy_is_not_delivered() {
    let (topic, sleeper) = (unique("t"), unique("c"));
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    queued.subscribe(&topic, 1);
    queued.vanish();
    let mut publisher = connected(V5);
    publisher.publish_this(expiring(&topic, "short", 1).retain(), 1);
    publisher.publish_this(expiring(&topic, "long", 60), 1);
    sleep(Duration::from_millis(2100));
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    queued.receive_payload("long");
    queued.expect_nothing();
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT-3.3.2-6]
#[test]
fn mqtt_3_3_2_6_the_time_waited_is_taken_off_the_expiry() {
    let (topic, sleeper) = (unique("t"), unique("c"));
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    queued.subscribe(&topic, 1);
    queued.vanish();
    let mut live = connected(V5);
    live.subscribe(&topic, 1);
    connected(V5).publish_this(expiring(&topic, "x", 30).retain(), 1);
    let at_once = live.receive_payload("x").props.number(prop::MESSAGE_EXPIRY);
    assert!(matches!(at_once, Some(29 | 30)), "at once, {at_once:?}");
    sleep(Duration::from_secs(3));
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    for (name, client) in [("queued", &mut queued), ("retained", &mut late)] {
        let left = client.receive_payload("x").props.number(prop::MESSAGE_EXPIRY);
        assert!(matches!(left, Some(26 | 27)), "{name}, after three seconds: {left:?}");
    }
}

/// [MQTT-3.3.2-11] [MQTT-3.1.2-26]
#[test]
fn mqtt_3_3_2_11_the_broker_keeps_to_the_clients_topic_alias_maximum() {
    let root = unique("t");
    let allowed = Props::new().u16(prop::TOPIC_ALIAS_MAXIMUM, 2);
    let mut subscriber = Connect::new(V5, unique("c")).props(allowed).open();
    subscriber.subscribe(format!("{root}/+"), 1);
    let mut publisher = connected(V5);
    for round in 0..3 {
        for number in 0..4 {
            publisher.publish(format!("{root}/{number}"), 1, round.to_string());
        }
    }
    for round in 0..3 {
        for number in 0..4 {
            let publish = subscriber.receive_payload(round.to_string());
            assert_eq!(publish.topic, format!("{root}/{number}"), "whatever an alias stands for");
            assert!(publish.props.number(prop::TOPIC_ALIAS).is_none_or(|alias| alias <= 2));
        }
    }
}

/// [MQTT-3.3.4-5]
#[test]
fn mqtt_3_3_4_5_two_copies_carry_an_identifier_each() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe_with(&id(1), &[(topic.as_bytes(), 1)]);
    subscriber.subscribe_with(&id(2), &[(format!("$share/g/{topic}").as_bytes(), 1)]);
    connected(V5).publish(&topic, 1, "x");
    let mut ids: Vec<u32> = Vec::new();
    for _ in 0..2 {
        let copy = subscriber.receive_payload("x").props.numbers(prop::SUBSCRIPTION_ID);
        assert_eq!(copy.len(), 1, "its own identifier only, {copy:?}");
        ids.extend(copy);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "one copy is the subscription's own, the other the share's");
    subscriber.expect_nothing();
}

/// [MQTT-3.3.4-3]
#[test]
fn mqtt_3_3_4_3_a_queued_copy_carries_its_identifiers() {
    let (topic, sleeper) = (unique("t"), unique("c"));
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    queued.subscribe_with(&id(300), &[(topic.as_bytes(), 1)]);
    queued.subscribe_with(&id(7), &[(format!("{topic}/#").as_bytes(), 1)]);
    queued.vanish();
    connected(V5).publish(&topic, 1, "x");
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    let mut ids = queued.receive_payload("x").props.numbers(prop::SUBSCRIPTION_ID);
    ids.sort_unstable();
    assert_eq!(ids, [7, 300]);
}

/// [MQTT-3.3.4-1]
#[test]
fn mqtt_3_3_4_1_a_refused_publish_is_answered_by_its_qos() {
    let mut client = connected(V5);
    assert_eq!(client.publish("forbidden/t", 0, "x"), 0);
    assert_eq!(client.publish("forbidden/t", 1, "x"), 0x87);
    assert_eq!(client.publish("forbidden/t", 2, "x"), 0x87);
    client.ping();
}
