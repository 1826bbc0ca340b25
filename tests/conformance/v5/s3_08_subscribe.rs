//! 3.8 SUBSCRIBE and 3.9 SUBACK: what is refused, what is answered, what is delivered.

use super::tight::tight;
use crate::support::build::{Publication, subscribe};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, field, frame, prop};

const NO_LOCAL: u8 = 0x04;

/// [MQTT-3.8.1-1]
#[test]
fn mqtt_3_8_1_1_subscribe_with_other_flags_is_malformed() {
    for first in [0x80, 0x81, 0x83, 0x8A] {
        let mut client = connected(V5);
        let mut bytes = subscribe(V5, 1, &Props::new(), &[(unique("t").as_bytes(), 0)]);
        bytes[0] = first;
        client.send(&bytes);
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-3.8.3-1]
#[test]
fn mqtt_3_8_3_1_a_filter_that_is_not_utf8_is_malformed() {
    for filter in [&[0xFF][..], b"a\xED\xA0\x80", b"a\xC0\x80"] {
        let mut client = connected(V5);
        client.send_subscribe(1, filter, 0);
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-3.8.3-2]
#[test]
fn mqtt_3_8_3_2_a_subscribe_without_filter_is_a_protocol_error() {
    let mut client = connected(V5);
    client.send(&subscribe(V5, 1, &Props::new(), &[]));
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.8.3-4]
#[test]
fn mqtt_3_8_3_4_no_local_on_a_share_is_a_protocol_error() {
    let mut client = connected(V5);
    client.send_subscribe(1, format!("$share/g/{}", unique("t")), NO_LOCAL);
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.8.3-5]
#[test]
fn mqtt_3_8_3_5_reserved_option_bits_are_malformed() {
    for options in [0x40, 0x80, 0xC1] {
        let mut client = connected(V5);
        client.send_subscribe(1, unique("t"), options);
        client.expect_refused(&[0x81]);
    }
}

/// QoS 3 in the options. [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_a_subscription_at_qos_3_is_refused() {
    let mut client = connected(V5);
    client.send_subscribe(1, unique("t"), 3);
    client.expect_refused(&[0x81, 0x82]);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_malformed_subscribes_end_the_connection() {
    let id = |number| Props::new().varint(prop::SUBSCRIPTION_ID, number);
    let with = |props: &Props| subscribe(V5, 1, props, &[(b"t", 0)]);
    let cases = [
        (frame(0x82, &[]), &[0x81][..]),
        (frame(0x82, &[0, 1]), &[0x81]),
        (frame(0x82, &concat(&[&[0, 1, 0], &field("t")])), &[0x81]),
        (frame(0x82, &[0, 1, 0, 0, 9, b't', 0]), &[0x81]),
        (frame(0x82, &[0, 1, 9, 0, 1, b't', 0]), &[0x81]),
        (with(&id(0)), &[0x82]),
        (with(&id(1).varint(prop::SUBSCRIPTION_ID, 2)), &[0x82]),
        (with(&Props::new().u8(prop::PAYLOAD_FORMAT, 0)), &[0x81, 0x82]),
        (with(&Props::new().field(prop::REASON_STRING, "no")), &[0x81, 0x82]),
        (with(&Props::new().user("k", [0xFF])), &[0x81]),
    ];
    for (bytes, codes) in cases {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_refused(codes);
    }
}

/// [MQTT-3.8.4-1] [MQTT-3.8.4-6]
#[test]
fn mqtt_3_8_4_1_a_subscribe_is_answered_even_if_all_is_refused() {
    let mut client = connected(V5);
    let codes = client.subscribe_with(&Props::new(), &[(b"forbidden/a", 1), (b"forbidden/b", 2)]);
    assert_eq!(codes.codes, [0x87, 0x87]);
    client.ping();
}

/// [MQTT-3.8.4-2]
#[test]
fn mqtt_3_8_4_2_each_suback_has_the_identifier_of_its_subscribe() {
    let mut client = connected(V5);
    let ids = [65_535, 1, 258];
    let bytes: Vec<u8> =
        ids.iter().flat_map(|id| subscribe(V5, *id, &Props::new(), &[(unique("t").as_bytes(), 0)])).collect();
    client.send(&bytes);
    for id in ids {
        client.expect_suback(id);
    }
}

/// [MQTT-3.8.4-5] [MQTT-3.9.3-1]
#[test]
fn mqtt_3_8_4_5_several_filters_act_like_several_subscribes() {
    let (a, b) = (unique("a"), unique("b"));
    let mut client = connected(V5);
    let codes = client.subscribe_with(&Props::new(), &[(a.as_bytes(), 2), (b"forbidden/t", 1), (b.as_bytes(), 0)]);
    assert_eq!(codes.codes, [2, 0x87, 0]);
    let mut publisher = connected(V5);
    publisher.publish(&a, 2, "a");
    publisher.publish(&b, 2, "b");
    assert_eq!(client.receive_payload("a").qos, 2);
    assert_eq!(client.receive_payload("b").qos, 0);
    client.expect_nothing();
}

/// [MQTT-3.8.4-6] [MQTT-3.9.3-1]
#[test]
fn mqtt_3_8_4_6_there_is_one_code_per_filter_in_their_order() {
    let names = ["a", "b", "c", "d"].map(unique);
    let mut client = connected(V5);
    let codes = client.subscribe_with(
        &Props::new(),
        &[
            (names[0].as_bytes(), 1),
            (names[1].as_bytes(), 2),
            (names[0].as_bytes(), 0),
            (names[2].as_bytes(), 2),
            (names[3].as_bytes(), 0),
        ],
    );
    assert_eq!(codes.codes, [1, 2, 0, 2, 0]);
}

/// [MQTT-3.8.4-7] [MQTT-3.9.3-2]
#[test]
fn mqtt_3_8_4_7_a_code_is_the_granted_qos_or_says_why_not() {
    let mut client = connected(V5);
    for qos in 0..=2 {
        assert_eq!(client.subscribe(unique("t"), qos), qos);
    }
    assert_eq!(client.subscribe("forbidden/t", 1), 0x87);
    assert_eq!(client.subscribe("$share/g/forbidden/t", 1), 0x87, "a share opens no door");
    for filter in ["a#", "a/#/b", "a+", "$share/g"] {
        assert_eq!(client.subscribe(filter, 1), 0x8F, "{filter}");
    }
    client.ping();
}

/// [MQTT-3.8.4-8]
#[test]
fn mqtt_3_8_4_8_the_lower_qos_decides() {
    for granted in 0..=2 {
        for published in 0..=2 {
            let topic = unique("t");
            let (mut live, mut late, mut publisher) = (connected(V5), connected(V5), connected(V5));
            live.subscribe(&topic, granted);
            publisher.retain(&topic, published, "x");
            publisher.ping();
            late.subscribe(&topic, granted);
            for (name, client) in [("live", &mut live), ("retained", &mut late)] {
                let got = client.receive_payload("x").qos;
                assert_eq!(got, granted.min(published), "{name}: granted {granted}, published {published}");
            }
        }
    }
}

/// [MQTT-3.9.2-1] [MQTT-3.9.2-2]
#[test]
fn mqtt_3_9_2_1_a_refusal_fits_the_clients_maximum_packet_size() {
    let mut client = tight();
    for (filter, code) in [("forbidden/t", 0x87), ("a#", 0x8F)] {
        let suback = client.subscribe_with(&Props::new(), &[(filter.as_bytes(), 0)]);
        assert_eq!(suback.codes, [code]);
        assert!(!suback.props.has(prop::REASON_STRING) && !suback.props.has(prop::USER_PROPERTY), "{suback:?}");
    }
}

/// [MQTT-3.8.3-3]
#[test]
fn mqtt_3_8_3_3_no_local_counts_for_its_own_subscription_only() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 1 | NO_LOCAL);
    client.subscribe(format!("{topic}/#"), 0);
    client.publish(&topic, 1, "own");
    assert_eq!(client.receive_payload("own").qos, 0, "by way of the other subscription");
    client.send_publish(&Publication::new(format!("{topic}/x"), "below"));
    client.receive_payload("below");
    client.expect_nothing();
}
