//! 3.10 UNSUBSCRIBE and 3.11 UNSUBACK.

use super::tight::tight;
use crate::support::build::{PUBCOMP, PUBREC, PUBREL, Publication, ack, unsubscribe};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, frame, prop};

/// [MQTT-3.10.1-1]
#[test]
fn mqtt_3_10_1_1_unsubscribe_with_other_flags_is_malformed() {
    for first in [0xA0, 0xA1, 0xA3, 0xA6] {
        let mut client = connected(V5);
        let mut bytes = unsubscribe(V5, 1, &Props::new(), &[b"t"]);
        bytes[0] = first;
        client.send(&bytes);
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-3.10.3-1]
#[test]
fn mqtt_3_10_3_1_a_filter_that_is_not_utf8_is_malformed() {
    for filter in [&[0xFF][..], b"a\0"] {
        let mut client = connected(V5);
        client.send(&unsubscribe(V5, 1, &Props::new(), &[filter]));
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-3.10.3-2]
#[test]
fn mqtt_3_10_3_2_an_unsubscribe_without_filter_is_a_protocol_error() {
    let mut client = connected(V5);
    client.send(&unsubscribe(V5, 1, &Props::new(), &[]));
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.10.4-1] [MQTT-3.11.3-2]
#[test]
fn mqtt_3_10_4_1_filters_are_compared_character_by_character() {
    let root = unique("t");
    let plus = format!("{root}/+");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&plus, 1);
    let others = [format!("{root}/b"), format!("{root}/#"), format!("{root}/+/"), plus.to_uppercase()];
    let codes = subscriber.unsubscribe(&others.each_ref().map(String::as_str));
    assert_eq!(codes, [0x11; 4]);
    publisher.publish(format!("{root}/b"), 1, "still");
    subscriber.receive_payload("still");
    assert_eq!(subscriber.unsubscribe(&[&plus]), [0]);
    publisher.publish(format!("{root}/b"), 1, "no more");
    subscriber.expect_nothing();
}

/// [MQTT-3.10.4-2]
#[test]
fn mqtt_3_10_4_2_after_unsubscribe_nothing_is_added() {
    for qos in 0..=2 {
        let topic = unique("t");
        let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
        subscriber.subscribe(&topic, qos);
        publisher.publish(&topic, qos, "before");
        subscriber.receive_payload("before");
        subscriber.unsubscribe(&[&topic]);
        publisher.publish(&topic, qos, "behind");
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.10.4-3]
#[test]
fn mqtt_3_10_4_3_a_delivery_already_begun_is_completed() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 2);
    connected(V5).publish(&topic, 2, "x");
    let publish = subscriber.expect_publish();
    assert_eq!(subscriber.unsubscribe(&[&topic]), [0]);
    subscriber.send(&ack(PUBREC, publish.id, 0));
    assert_eq!(subscriber.expect_ack(PUBREL, publish.id).code, 0);
    subscriber.send(&ack(PUBCOMP, publish.id, 0));
    subscriber.ping();
}

/// [MQTT-3.10.4-4] [MQTT-3.10.4-5]
#[test]
fn mqtt_3_10_4_5_unsuback_comes_even_if_nothing_was_subscribed() {
    let mut client = connected(V5);
    client.send(&unsubscribe(V5, 77, &Props::new().user("k", "v"), &[unique("t").as_bytes()]));
    assert_eq!(client.expect_unsuback(77).codes, [0x11]);
}

/// [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]
#[test]
fn mqtt_3_10_4_6_several_filters_act_like_several_unsubscribes() {
    let (a, b, c) = (unique("a"), unique("b"), unique("c"));
    let mut client = connected(V5);
    client.subscribe(&a, 0);
    client.subscribe(&c, 0);
    assert_eq!(client.unsubscribe(&[&a, &b, &c, &c]), [0, 0x11, 0, 0x11]);
    for topic in [&a, &b, &c] {
        client.send_publish(&Publication::new(topic, "x"));
    }
    client.expect_nothing();
}

/// [MQTT-3.11.2-1] [MQTT-3.11.2-2]
#[test]
fn mqtt_3_11_2_1_an_answer_fits_the_clients_maximum_packet_size() {
    let mut client = tight();
    client.send(&unsubscribe(V5, 7, &Props::new(), &[unique("t").as_bytes()]));
    let unsuback = client.expect_unsuback(7);
    assert_eq!(unsuback.codes, [0x11]);
    assert!(!unsuback.props.has(prop::REASON_STRING) && !unsuback.props.has(prop::USER_PROPERTY), "{unsuback:?}");
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_malformed_unsubscribes_end_the_connection() {
    let with = |props: &Props| unsubscribe(V5, 1, props, &[b"t"]);
    let cases = [
        (frame(0xA2, &[]), &[0x81][..]),
        (frame(0xA2, &[0, 1]), &[0x81]),
        (frame(0xA2, &[0, 1, 0, 0, 9, b't']), &[0x81]),
        (frame(0xA2, &[0, 1, 0, 0, 1, b't', 0]), &[0x81]),
        (with(&Props::new().varint(prop::SUBSCRIPTION_ID, 1)), &[0x81, 0x82]),
        (with(&Props::new().field(prop::REASON_STRING, "no")), &[0x81, 0x82]),
    ];
    for (bytes, codes) in cases {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_refused(codes);
    }
}
