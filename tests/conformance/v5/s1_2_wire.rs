//! 1.5 data types and 2 packet format: strings, lengths, flags, Packet Identifiers, property blocks.

use std::collections::HashSet;

use crate::support::build::{Connect, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, Will, ack, disconnect};
use crate::support::build::{subscribe, unsubscribe};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, field, frame, prop};

/// Byte strings that are no UTF-8: a surrogate, a byte that never occurs, an over-long form, a value beyond U+10FFFF, and
/// the beginning of a character.
const NOT_UTF_8: &[&[u8]] = &[b"a\xED\xA0\x80", b"a\xFF", b"\xC0\xAF", b"\xF4\x90\x80\x80", b"a\xE2\x82"];

/// Every way to put a string into a packet of a running connection.
fn packets_with(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let publish = |props: Props| Publication::new("t", "x").props(props).bytes(V5);
    let id_and_props = |props: &Props| concat(&[&[0, 7, 0], &props.block()]);
    let pair = Props::new().user(text, "v");
    let value = Props::new().user("k", text);
    vec![
        ("Topic Name", Publication::new(text, "x").bytes(V5)),
        ("Topic Filter", subscribe(V5, 7, &Props::new(), &[(text, 0)])),
        ("Topic Filter of UNSUBSCRIBE", unsubscribe(V5, 7, &Props::new(), &[text])),
        ("Response Topic", publish(Props::new().field(prop::RESPONSE_TOPIC, text))),
        ("Content Type", publish(Props::new().field(prop::CONTENT_TYPE, text))),
        ("User Property name in PUBLISH", publish(pair.clone())),
        ("User Property value in PUBLISH", publish(value.clone())),
        ("User Property in SUBSCRIBE", subscribe(V5, 7, &pair, &[(b"t", 0)])),
        ("User Property in UNSUBSCRIBE", unsubscribe(V5, 7, &value, &[b"t"])),
        ("User Property in PUBREL", frame(PUBREL, &id_and_props(&pair))),
        ("Reason String in PUBACK", frame(PUBACK, &id_and_props(&Props::new().field(prop::REASON_STRING, text)))),
        ("Reason String in DISCONNECT", {
            frame(0xE0, &concat(&[&[0x04], &Props::new().field(prop::REASON_STRING, text).block()]))
        }),
    ]
}

/// Every way to put a string into CONNECT.
fn connects_with(text: &[u8]) -> Vec<(&'static str, Connect)> {
    let plain = || Connect::new(V5, unique("c"));
    vec![
        ("Client Identifier", Connect::new(V5, text)),
        ("User Name", plain().login(text, "secret")),
        ("Will Topic", plain().will(Will::new(text, "x"))),
        ("User Property name", plain().props(Props::new().user(text, "v"))),
        ("User Property value", plain().props(Props::new().user("k", text))),
        ("Authentication Method", plain().props(Props::new().field(prop::AUTH_METHOD, text))),
        ("User Property of the will", plain().will(Will::new("t", "x").props(Props::new().user("k", text)))),
        ("Content Type of the will", {
            plain().will(Will::new("t", "x").props(Props::new().field(prop::CONTENT_TYPE, text)))
        }),
    ]
}

/// Each packet is the end of its connection, with 0x81.
#[track_caller]
fn each_is_malformed(packets: Vec<(&'static str, Vec<u8>)>) {
    for (what, packet) in packets {
        println!("{what}: {packet:02X?}");
        let mut client = connected(V5);
        client.send(&packet);
        client.expect_disconnect(&[0x81]);
    }
}

#[track_caller]
fn none_lets_in(connects: Vec<(&'static str, Connect)>) {
    for (what, connect) in connects {
        println!("{what}: {connect:?}");
        connect.attempt().expect_no_entry(&[0x81, 0x82, 0x85]);
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-4.7.3-2]
#[test]
fn mqtt_1_5_4_1_a_string_that_is_not_utf_8_is_malformed_wherever_it_stands() {
    each_is_malformed(packets_with(NOT_UTF_8[0]));
    for text in &NOT_UTF_8[1..] {
        each_is_malformed(packets_with(text).into_iter().take(2).collect());
    }
}

/// [MQTT-1.5.4-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]
#[test]
fn mqtt_1_5_4_1_a_connect_with_a_string_that_is_not_utf_8_lets_nobody_in() {
    none_lets_in(connects_with(NOT_UTF_8[0]));
    for text in &NOT_UTF_8[1..] {
        none_lets_in(connects_with(text).into_iter().take(1).collect());
    }
}

/// [MQTT-1.5.4-2] [MQTT-1.5.7-1]
#[test]
fn mqtt_1_5_4_2_u_0000_is_malformed_wherever_it_stands() {
    each_is_malformed(packets_with(b"a\0b"));
}

/// [MQTT-1.5.4-2]
#[test]
fn mqtt_1_5_4_2_a_connect_with_u_0000_lets_nobody_in() {
    none_lets_in(connects_with(b"a\0b"));
}

/// [MQTT-1.5.4-3]
#[test]
fn mqtt_1_5_4_3_a_byte_order_mark_is_a_character_and_is_kept() {
    let plain = unique("bom");
    let marked = format!("\u{FEFF}{plain}");
    let (mut with, mut without) = (connected(V5), connected(V5));
    with.subscribe(&marked, 0);
    without.subscribe(&plain, 0);
    let user = Props::new().user("\u{FEFF}k", "v\u{FEFF}");
    connected(V5).publish_this(Publication::new(&marked, "x").props(user), 1);
    let publish = with.receive_payload("x");
    assert_eq!(publish.topic, marked);
    assert_eq!(publish.props.user(), [("\u{FEFF}k", "v\u{FEFF}")]);
    without.expect_nothing();
}

/// [MQTT-1.5.5-1]
#[test]
fn mqtt_1_5_5_1_a_remaining_length_longer_than_needed_is_malformed() {
    for ping in [&[0xC0, 0x80, 0x00][..], &[0xC0, 0x80, 0x80, 0x00], &[0xC0, 0x80, 0x80, 0x80, 0x00]] {
        let mut client = connected(V5);
        client.send(ping);
        client.expect_disconnect(&[0x81]);
    }
}

/// [MQTT-1.5.5-1]
#[test]
fn mqtt_1_5_5_1_a_remaining_length_of_five_bytes_is_malformed() {
    let mut client = connected(V5);
    client.send(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
    client.expect_disconnect(&[0x81, 0x95]);
    let mut stranger = Client::raw(V5);
    stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
    stranger.expect_no_entry(&[0x81, 0x95]);
}

/// [MQTT-1.5.5-1]
#[test]
fn mqtt_1_5_5_1_a_property_length_longer_than_needed_is_malformed() {
    let mut client = connected(V5);
    client.send(&frame(0x30, &concat(&[&field("t"), &[0x80, 0x00], b"x"])));
    client.expect_disconnect(&[0x81]);
    let mut client = connected(V5);
    // The Subscription Identifier as well: 1 in two bytes.
    client.send(&frame(0x82, &concat(&[&[0, 1, 3, prop::SUBSCRIPTION_ID, 0x81, 0x00], &field("t"), &[0]])));
    client.expect_disconnect(&[0x81]);
}

/// [MQTT-1.5.5-1]: the decoder of these tests refuses a length that is not minimal.
#[test]
fn mqtt_1_5_5_1_lengths_of_the_broker_are_minimal_at_each_border() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 0);
    let head = 2 + topic.len() + 1;
    for size in [127, 128, 16_383, 16_384] {
        let payload = vec![b'x'; size - head];
        client.send_publish(&Publication::new(&topic, &payload));
        let publish = client.receive_payload(&payload);
        let length_bytes = if size < 128 { 1 } else { 2 + usize::from(size > 16_383) };
        assert_eq!(publish.size, 1 + length_bytes + size);
    }
}

/// [MQTT-1.5.7-1]
#[test]
fn mqtt_1_5_7_1_name_and_value_of_a_user_property_are_both_strings() {
    for props in [Props::new().user(b"\xED\xA0\x80", "v"), Props::new().user("k", b"\xED\xA0\x80")] {
        let mut client = connected(V5);
        client.send_publish(&Publication::new(unique("t"), "x").props(props));
        client.expect_disconnect(&[0x81]);
    }
}

/// [MQTT-1.5.7-1] The same name may come more than once, the order stays, and both may be empty.
#[test]
fn mqtt_1_5_7_1_user_properties_arrive_as_they_were_sent() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 0);
    let sent = [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("ü", "\u{1F980}")];
    let props = sent.iter().fold(Props::new(), |props, (name, value)| props.user(name, value));
    client.send_publish(&Publication::new(&topic, "x").props(props));
    assert_eq!(client.receive_payload("x").props.user(), sent);
}

/// [MQTT-2.1.3-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.6.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
#[test]
fn mqtt_2_1_3_1_wrong_flags_in_the_fixed_header_are_malformed() {
    let whole = [
        frame(PUBACK, &[0, 7]),
        frame(PUBREC, &[0, 7]),
        frame(PUBREL, &[0, 7]),
        frame(PUBCOMP, &[0, 7]),
        subscribe(V5, 7, &Props::new(), &[(b"t", 0)]),
        unsubscribe(V5, 7, &Props::new(), &[b"t"]),
        PINGREQ.to_vec(),
        disconnect(V5, 0x04),
        frame(0xF0, &[0x19, 0]),
    ];
    for mut packet in whole {
        for bit in [1, 2, 4, 8] {
            let right = packet[0];
            packet[0] ^= bit;
            let mut client = connected(V5);
            client.send(&packet);
            client.expect_disconnect(&[0x81]);
            packet[0] = right;
        }
    }
}

/// [MQTT-2.1.3-1] [MQTT-3.1.4-1]
#[test]
fn mqtt_2_1_3_1_wrong_flags_in_the_fixed_header_of_connect_let_nobody_in() {
    for bit in [1, 2, 4, 8] {
        let mut client = Client::raw(V5);
        client.send(&frame(0x10 | bit, &Connect::new(V5, unique("c")).body()));
        client.expect_no_entry(&[0x81]);
    }
}

/// [MQTT-2.2.1-2]
#[test]
fn mqtt_2_2_1_2_a_delivery_of_qos_0_has_no_packet_identifier() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 0);
    client.publish(&topic, 0, "x");
    let publish = client.expect_publish();
    assert_eq!(publish.payload, b"x");
    assert_eq!(publish.size, 2 + 2 + topic.len() + 1 + 1, "topic, Property Length, payload");
}

/// [MQTT-2.2.1-3]
#[test]
fn mqtt_2_2_1_3_packet_identifier_0_is_refused() {
    let packets = [
        subscribe(V5, 0, &Props::new(), &[(b"t", 0)]),
        unsubscribe(V5, 0, &Props::new(), &[b"t"]),
        Publication::new("t", "x").qos(1, 0).bytes(V5),
        Publication::new("t", "x").qos(2, 0).bytes(V5),
        ack(PUBACK, 0, 0),
        ack(PUBREL, 0, 0),
    ];
    for packet in packets {
        let mut client = connected(V5);
        client.send(&packet);
        client.expect_disconnect(&[0x81, 0x82]);
    }
}

/// [MQTT-2.2.1-4]
#[test]
fn mqtt_2_2_1_4_identifiers_of_deliveries_without_acknowledgement_all_differ() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 2);
    for number in 0..50 {
        publisher.publish(&topic, 1 + number % 2, number.to_string());
    }
    let ids: HashSet<u16> = (0..50).map(|_| subscriber.expect_publish().id).collect();
    assert_eq!(ids.len(), 50);
    assert!(!ids.contains(&0));
}

/// [MQTT-2.2.1-4]: more deliveries than there are identifiers, while the first stays without acknowledgement. Shares
/// multiply what is published; the watch over the connection would see a second use.
#[test]
fn mqtt_2_2_1_4_an_identifier_in_use_is_left_out_when_all_have_been_used() {
    const COPIES: usize = 40;
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    for copy in 0..COPIES {
        subscriber.subscribe(format!("$share/{copy}/{topic}"), 1);
    }
    let mut kept = None;
    let mut seen = HashSet::new();
    let mut deliveries = 0;
    while deliveries < 65_535 + COPIES {
        publisher.publish(&topic, 1, "");
        let mut acks = Vec::new();
        for _ in 0..COPIES {
            let id = subscriber.expect_publish().id;
            seen.insert(id);
            deliveries += 1;
            if kept.is_none() {
                kept = Some(id);
            } else {
                assert_ne!(kept, Some(id), "it is still in use");
                acks.extend(ack(PUBACK, id, 0));
            }
        }
        subscriber.send(&acks);
    }
    assert!(seen.len() < deliveries, "some have been used again");
}

/// [MQTT-2.2.1-5]
#[test]
fn mqtt_2_2_1_5_acknowledgements_repeat_the_identifier() {
    let mut client = connected(V5);
    let topic = unique("t");
    for id in [1, 0x1234, 65_535] {
        client.send_publish(&Publication::new(&topic, "x").qos(1, id));
        client.expect_ack(PUBACK, id);
        client.send_publish(&Publication::new(&topic, "x").qos(2, id));
        client.expect_ack(PUBREC, id);
        client.send(&ack(PUBREL, id, 0));
        client.expect_ack(PUBCOMP, id);
    }
}

/// [MQTT-2.2.1-5] The other direction: PUBREL has the identifier of the delivery.
#[test]
fn mqtt_2_2_1_5_pubrel_repeats_the_identifier_of_the_delivery() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 2);
    connected(V5).publish(&topic, 2, "x");
    let id = client.expect_publish().id;
    client.send(&ack(PUBREC, id, 0));
    client.expect_ack(PUBREL, id);
    client.send(&ack(PUBCOMP, id, 0));
    client.expect_nothing();
}

/// [MQTT-2.2.1-6]
#[test]
fn mqtt_2_2_1_6_suback_and_unsuback_repeat_the_identifier() {
    let mut client = connected(V5);
    let topic = unique("t");
    for id in [7, 65_535] {
        client.send_subscribe(id, &topic, 0);
        client.expect_suback(id);
        client.send(&unsubscribe(V5, id - 1, &Props::new(), &[topic.as_bytes()]));
        client.expect_unsuback(id - 1);
    }
}

/// [MQTT-2.2.2-1]: the decoder of these tests demands the Property Length; here is that it is one byte of 0.
#[test]
fn mqtt_2_2_2_1_no_properties_are_a_property_length_of_0() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.send_subscribe(9, &topic, 0);
    let codes = client.expect_suback(9);
    assert!(!codes.props.0.is_empty() || codes.size == 2 + 2 + 1 + 1, "{codes:?}");
    client.send(&unsubscribe(V5, 10, &Props::new(), &[topic.as_bytes()]));
    let codes = client.expect_unsuback(10);
    assert!(!codes.props.0.is_empty() || codes.size == 2 + 2 + 1 + 1, "{codes:?}");
}

/// [MQTT-2.2.2-1] A client that leaves out the Property Length is malformed.
#[test]
fn mqtt_2_2_2_1_a_packet_without_property_length_is_malformed() {
    let mut client = connected(V5);
    // What would be the Property Length is the upper byte of the filter's length, and no filter is left then.
    client.send(&frame(0x82, &concat(&[&[0, 1], &field("t"), &[0]])));
    client.expect_disconnect(&[0x81, 0x82]);
    let mut client = connected(V5);
    client.send(&frame(0x30, &field("t")));
    client.expect_disconnect(&[0x81]);
}

/// [MQTT-2.2.2-1] [MQTT-4.13.1-1] In the packets of the table that may do without, both ways count.
#[test]
fn mqtt_2_2_2_1_acknowledgements_may_end_before_reason_code_and_properties() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 1);
    for tail in [&[][..], &[0], &[0, 0]] {
        client.publish(&topic, 1, "x");
        let id = client.expect_publish().id;
        client.send(&frame(PUBACK, &concat(&[&id.to_be_bytes(), tail])));
        client.ping();
    }
}
