//! 3.8 SUBSCRIBE and 3.9 SUBACK.

use super::closes;
use crate::support::build::{Publication, subscribe};
use crate::support::client::Client;
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;
use crate::support::wire::{Props, field, frame};

/// [MQTT3-3.8.3-2]
#[test]
fn mqtt3_3_8_3_2_wildcards_are_supported() {
    let root = unique("t");
    let mut client = connected(V3);
    assert_eq!(client.subscribe(format!("{root}/+/c"), 1), 1);
    assert_eq!(client.subscribe(format!("{root}/b/#"), 2), 2);
    let mut publisher = connected(V3);
    publisher.publish(format!("{root}/a/c"), 1, "plus");
    publisher.publish(format!("{root}/b/x/y"), 1, "hash");
    client.receive_payload("plus");
    client.receive_payload("hash");
}

/// [MQTT3-3.8.3-3]
#[test]
fn mqtt3_3_8_3_3_a_subscribe_without_filter_closes() {
    closes(&subscribe(V3, 1, &Props::new(), &[]));
    closes(&frame(0x82, &[0]));
    closes(&frame(0x82, &[]));
}

/// [MQTT3-3.8.3-3]
#[test]
fn mqtt3_3_8_3_3_a_filter_without_qos_closes() {
    let without_qos = [&[0, 1][..], &field("t")].concat();
    closes(&frame(0x82, &without_qos));
    let second_without = [&[0, 1][..], &field("t"), &[1], &field("u")].concat();
    closes(&frame(0x82, &second_without));
}

/// [MQTT3-3.8.3-4]
#[test]
fn mqtt3_3_8_3_4_reserved_bits_and_qos_3_close() {
    for options in [0x03, 0x04, 0x05, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF] {
        closes(&subscribe(V3, 1, &Props::new(), &[(b"t", options)]));
        closes(&subscribe(V3, 1, &Props::new(), &[(b"t", 1), (b"u", options)]));
    }
}

/// [MQTT3-3.8.4-1] [MQTT3-3.8.4-2]
#[test]
fn mqtt3_3_8_4_2_each_subscribe_in_one_write_has_its_suback() {
    let mut client = connected(V3);
    let packets: Vec<u8> = [11, 7, 300].iter().flat_map(|id| subscribe(V3, *id, &Props::new(), &[(b"t", 0)])).collect();
    client.send(&packets);
    for id in [11, 7, 300] {
        assert_eq!(client.expect_suback(id).codes, [0]);
    }
}

/// Numbers of the QoS 2 messages of a stream, received to its end, with the QoS of each.
fn numbers(client: &mut Client, until: u32) -> Vec<(u32, u8)> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(number, _)| *number != until) {
        let publish = client.receive();
        if !publish.retain {
            let text = String::from_utf8(publish.payload).expect("a number");
            seen.push((text.parse().expect("a number"), publish.qos));
        }
    }
    seen
}

/// [MQTT3-3.8.4-3]
#[test]
fn mqtt3_3_8_4_3_the_same_filter_replaces_without_a_gap() {
    const COUNT: u32 = 60;
    let topic = unique("t");
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    client.subscribe(&topic, 2);
    for number in 1..=COUNT {
        publisher.publish(&topic, 1, number.to_string());
        if number == COUNT / 2 {
            client.subscribe(&topic, 0);
        }
    }
    let seen = numbers(&mut client, COUNT);
    let expected: Vec<(u32, u8)> = (1..=COUNT).map(|number| (number, u8::from(number <= COUNT / 2))).collect();
    assert_eq!(seen, expected, "no copy twice, none missing");
    client.expect_nothing();
}

/// [MQTT3-3.8.4-3]
#[test]
fn mqtt3_3_8_4_3_the_same_filter_again_sends_retained_messages_again() {
    let topic = unique("t");
    connected(V3).retain(&topic, 1, "r");
    let mut client = connected(V3);
    for qos in [1, 0, 1] {
        client.subscribe(&topic, qos);
        let publish = client.receive_payload("r");
        assert_eq!((publish.retain, publish.qos), (true, qos));
    }
    client.expect_nothing();
}

/// [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2]
#[test]
fn mqtt3_3_8_4_4_several_filters_have_one_suback_in_their_order() {
    let (one, two, zero) = (unique("t"), unique("t"), unique("t"));
    let forbidden = format!("forbidden/{one}");
    let mut client = connected(V3);
    let filters: [(&[u8], u8); 4] =
        [(two.as_bytes(), 2), (forbidden.as_bytes(), 1), (zero.as_bytes(), 0), (one.as_bytes(), 1)];
    assert_eq!(client.subscribe_with(&Props::new(), &filters).codes, [2, 0x80, 0, 1]);
    let mut publisher = connected(V3);
    for (topic, qos) in [(&two, 2), (&zero, 0), (&one, 1)] {
        publisher.publish(topic, 2, topic);
        assert_eq!(client.receive_payload(topic).qos, qos);
    }
    client.expect_nothing();
}

/// [MQTT3-3.9.3-2]
#[test]
fn mqtt3_3_9_3_2_a_refused_filter_has_code_80() {
    for qos in 0..=2 {
        assert_eq!(connected(V3).subscribe(format!("forbidden/{}", unique("t")), qos), 0x80);
    }
}

/// [MQTT3-3.8.4-5] [MQTT3-3.8.4-6]
#[test]
fn mqtt3_3_8_4_6_the_lower_qos_of_published_and_granted_counts() {
    for granted in 0..=2 {
        let topic = unique("t");
        let (mut publisher, mut client) = (connected(V3), connected(V3));
        assert_eq!(client.subscribe(&topic, granted), granted);
        for published in 0..=2 {
            publisher.publish(&topic, published, "x");
            assert_eq!(client.receive_payload("x").qos, published.min(granted));
        }
    }
}

/// [MQTT3-3.8.4-1]
#[test]
fn mqtt3_3_8_4_1_suback_comes_before_the_retained_messages() {
    let topic = unique("t");
    connected(V3).retain(&topic, 1, "r");
    let mut client = connected(V3);
    client.send_subscribe(3, &topic, 1);
    assert!(matches!(client.expect_packet("SUBACK"), Packet::Suback(codes) if codes.id == 3));
    client.receive_payload("r");
}

/// [MQTT3-3.8.4-1]
#[test]
fn mqtt3_3_8_4_1_a_client_gets_what_it_publishes_itself() {
    let topic = unique("t");
    let mut client = connected(V3);
    client.subscribe(&topic, 0);
    client.send_publish(&Publication::new(&topic, "own"));
    client.receive_payload("own");
}
