//! 4.8 Shared Subscriptions.

use std::time::Duration;

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack};
use crate::support::client::{Client, Event};
use crate::support::packet::{Packet, Publish};
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::{QUIET, unique};

/// A member with an open QoS 2 delivery, its id, and another member that came later.
fn open_delivery(kept_s: u32) -> (Client, String, Publish, Client) {
    let (topic, id) = (unique("t"), unique("c"));
    let share = format!("$share/g/{topic}");
    let mut member = Connect::new(V5, &id).clean(false).kept_s(kept_s).open();
    member.subscribe(&share, 2);
    connected(V5).publish(&topic, 2, "x");
    let publish = member.expect_publish();
    let mut other = connected(V5);
    other.subscribe(&share, 2);
    (member, id, publish, other)
}

#[track_caller]
fn refused(filters: &[&str]) {
    let mut client = connected(V5);
    for filter in filters {
        assert_eq!(client.subscribe(filter, 1), 0x8F, "{filter}");
    }
    client.ping();
}

/// [MQTT-4.8.2-1]
#[test]
fn mqtt_4_8_2_1_a_share_has_a_name_and_a_filter() {
    refused(&["$share//t", "$share/g", "$share/"]);
}

/// [MQTT-4.8.2-2]
#[test]
fn mqtt_4_8_2_2_a_share_name_has_no_wildcard_and_a_filter_follows() {
    refused(&["$share/g+/t", "$share/g#/t", "$share/+/t", "$share/#/t", "$share/#", "$share/g/", "$share/g/a#"]);
}

/// [MQTT-4.8.2-1]
#[test]
fn mqtt_4_8_2_1_a_share_takes_any_filter() {
    let topic = unique("t");
    let mut member = connected(V5);
    for filter in [&topic, &format!("{topic}/#"), &format!("{topic}/+/x"), &format!("/{topic}")] {
        assert_eq!(member.subscribe(format!("$share/a b/{filter}"), 1), 1);
    }
    let mut publisher = connected(V5);
    for (topic, copies) in
        [(format!("/{topic}"), 1), (format!("{topic}/a"), 1), (format!("{topic}/a/x"), 2), (topic.clone(), 2)]
    {
        publisher.publish(&topic, 1, "x");
        (0..copies).for_each(|_| assert_eq!(member.receive().topic, topic, "without the share's prefix"));
        member.expect_nothing();
    }
}

/// [MQTT-4.8.2-3]
#[test]
fn mqtt_4_8_2_3_each_member_gets_its_own_granted_qos() {
    let topic = unique("t");
    let share = format!("$share/g/{topic}");
    let (mut low, mut high, mut publisher) = (connected(V5), connected(V5), connected(V5));
    low.subscribe(&share, 0);
    publisher.publish(&topic, 2, "to the only member");
    assert_eq!(low.receive_payload("to the only member").qos, 0);
    high.subscribe(&share, 2);
    low.unsubscribe(&[&share]);
    publisher.publish(&topic, 2, "to the other member");
    assert_eq!(high.receive_payload("to the other member").qos, 2);
    low.expect_nothing();
}

/// [MQTT-4.8.2-3]
#[test]
fn mqtt_4_8_2_3_each_message_goes_to_one_member_of_each_share() {
    const MESSAGES: usize = 40;
    let topic = unique("t");
    let mut members: Vec<(&str, u8, Client)> = Vec::new();
    for (group, qos) in [("one", 0), ("one", 2), ("one", 1), ("two", 1), ("two", 2)] {
        let mut member = connected(V5);
        member.subscribe(format!("$share/{group}/{topic}"), qos);
        members.push((group, qos, member));
    }
    let mut publisher = connected(V5);
    for number in 0..MESSAGES {
        publisher.publish(&topic, 2, number.to_string());
    }
    let mut seen: Vec<(&str, Vec<u8>)> = Vec::new();
    for (group, qos, member) in &mut members {
        while let Event::Packet(packet) = member.poll(QUIET) {
            let Packet::Publish(publish) = packet else { member.fail(&format!("PUBLISH, got {packet:?}")) };
            member.acknowledge(&publish);
            assert_eq!(publish.qos, *qos);
            seen.push((group, publish.payload));
        }
    }
    seen.sort();
    let total = seen.len();
    seen.dedup();
    assert_eq!((total, seen.len()), (2 * MESSAGES, 2 * MESSAGES), "each share once, nobody twice");
}

/// [MQTT-4.8.2-4]
#[test]
fn mqtt_4_8_2_4_an_open_publish_stays_with_its_session() {
    let (member, id, publish, mut other) = open_delivery(600);
    member.vanish();
    other.expect_nothing();
    let mut member = Connect::new(V5, &id).resume().open();
    let again = member.receive_payload("x");
    assert_eq!((again.id, again.dup), (publish.id, true));
    other.expect_nothing();
}

/// [MQTT-4.8.2-4]
#[test]
fn mqtt_4_8_2_4_an_open_pubrel_stays_with_its_session() {
    let (mut member, id, publish, mut other) = open_delivery(600);
    member.send(&ack(PUBREC, publish.id, 0));
    member.expect_ack(PUBREL, publish.id);
    member.vanish();
    let mut member = Connect::new(V5, &id).resume().open();
    member.expect_ack(PUBREL, publish.id);
    member.send(&ack(PUBCOMP, publish.id, 0));
    member.expect_nothing();
    other.expect_nothing();
}

/// [MQTT-4.8.2-5]
#[test]
fn mqtt_4_8_2_5_when_the_session_ends_its_open_message_goes_to_nobody_else() {
    let (member, _, _, mut other) = open_delivery(0);
    member.vanish();
    other.expect_nothing();
    let (mut member, _, publish, mut other) = open_delivery(1);
    member.send(&ack(PUBREC, publish.id, 0));
    member.expect_ack(PUBREL, publish.id);
    member.vanish();
    other.expect_nothing_for(Duration::from_millis(2300));
}

/// [MQTT-4.8.2-6]
#[test]
fn mqtt_4_8_2_6_a_message_one_member_rejects_goes_to_no_other() {
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        let topic = unique("t");
        let share = format!("$share/g/{topic}");
        let (mut member, mut other) = (connected(V5), connected(V5));
        member.subscribe(&share, qos);
        connected(V5).publish(&topic, qos, "x");
        let publish = member.expect_publish();
        other.subscribe(&share, qos);
        member.send(&ack(first, publish.id, 0x83));
        member.expect_nothing();
        other.expect_nothing();
    }
}

/// The standard leaves retained messages out of shares in its text. [MQTT-3.3.1-9]
#[test]
fn mqtt_3_3_1_9_a_share_gets_no_retained_message() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "r");
    let mut member = connected(V5);
    member.subscribe(format!("$share/g/{topic}"), 1);
    member.expect_nothing();
}
