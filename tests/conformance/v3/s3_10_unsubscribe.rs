//! 3.10 UNSUBSCRIBE and 3.11 UNSUBACK.

use super::closes;
use crate::support::build::{PUBCOMP, PUBREC, PUBREL, ack, unsubscribe};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;
use crate::support::wire::{Props, frame};

/// [MQTT3-3.10.3-2]
#[test]
fn mqtt3_3_10_3_2_an_unsubscribe_without_filter_closes() {
    closes(&unsubscribe(V3, 1, &Props::new(), &[]));
    closes(&frame(0xA2, &[]));
}

/// [MQTT3-3.10.3-1]
#[test]
fn mqtt3_3_10_3_1_bytes_that_are_no_filter_close() {
    closes(&frame(0xA2, &[0, 1, 0, 1, b't', 0]));
    closes(&frame(0xA2, &[0, 1, 0, 5, b't']));
}

/// [MQTT3-3.10.4-1]
#[test]
fn mqtt3_3_10_4_1_only_an_equal_filter_ends_its_subscription() {
    let root = unique("t");
    let (plus, leaf, hash) = (format!("{root}/+"), format!("{root}/b"), format!("{root}/#"));
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    client.subscribe(&plus, 1);
    client.unsubscribe(&[&leaf, &hash, &plus.to_uppercase(), &root]);
    publisher.publish(&leaf, 1, "still");
    client.receive_payload("still");
    client.unsubscribe(&[&plus]);
    publisher.publish(&leaf, 1, "no more");
    client.expect_nothing();
}

/// [MQTT3-3.10.4-2] [MQTT3-3.10.4-4]
#[test]
fn mqtt3_3_10_4_2_after_unsuback_nothing_new_comes() {
    let topic = unique("t");
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    client.subscribe(&topic, 2);
    client.send(&unsubscribe(V3, 9, &Props::new(), &[topic.as_bytes()]));
    assert_eq!(client.expect_unsuback(9).size, 4);
    for qos in 0..=2 {
        publisher.publish(&topic, qos, "x");
    }
    client.expect_nothing();
}

/// [MQTT3-3.10.4-3]
#[test]
fn mqtt3_3_10_4_3_a_delivery_already_begun_is_completed() {
    let topic = unique("t");
    let mut client = connected(V3);
    client.subscribe(&topic, 2);
    connected(V3).publish(&topic, 2, "x");
    let publish = client.expect_publish();
    client.unsubscribe(&[&topic]);
    client.send(&ack(PUBREC, publish.id, 0));
    client.expect_ack(PUBREL, publish.id);
    client.send(&ack(PUBCOMP, publish.id, 0));
    client.ping();
}

/// [MQTT3-3.10.4-5]
#[test]
fn mqtt3_3_10_4_5_an_unknown_filter_has_its_unsuback() {
    let mut client = connected(V3);
    client.send(&unsubscribe(V3, 0x0909, &Props::new(), &[unique("t").as_bytes()]));
    client.expect_unsuback(0x0909);
}

/// [MQTT3-3.10.4-6]
#[test]
fn mqtt3_3_10_4_6_several_filters_have_one_unsuback() {
    let topics = [unique("t"), unique("t"), unique("t")];
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    for topic in &topics {
        client.subscribe(topic, 1);
    }
    let filters: Vec<&[u8]> = topics.iter().map(String::as_bytes).collect();
    client.send(&unsubscribe(V3, 21, &Props::new(), &filters));
    client.expect_unsuback(21);
    for topic in &topics {
        publisher.publish(topic, 1, "x");
    }
    client.expect_nothing();
}
