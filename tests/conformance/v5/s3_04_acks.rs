//! 3.4 to 3.7 PUBACK, PUBREC, PUBREL, PUBCOMP: flags, codes, and what must fit.

use super::tight::tight;
use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack, ack_with};
use crate::support::client::Client;
use crate::support::packet::{Ack, Publish};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, frame, prop};

fn bare(ack: &Ack) {
    assert!(!ack.props.has(prop::REASON_STRING), "no room for a Reason String: {ack:?}");
    assert!(!ack.props.has(prop::USER_PROPERTY), "no room for User Properties: {ack:?}");
}

/// A client with one delivery that it has not acknowledged.
fn owing(qos: u8) -> (Client, Publish) {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, qos);
    connected(V5).publish(&topic, qos, "x");
    let publish = client.expect_publish();
    (client, publish)
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1]
#[test]
fn mqtt_3_4_2_1_puback_and_pubrec_say_what_became_of_the_message() {
    for qos in [1, 2] {
        let (topic, mut client) = (unique("t"), connected(V5));
        let lonely = client.publish(&topic, qos, "nobody listens");
        assert!([0x00, 0x10].contains(&lonely), "0x{lonely:02X}");
        client.subscribe(&topic, 0);
        client.send_publish(&Publication::new(&topic, "x").qos(qos, 700));
        assert_eq!(client.await_ack(if qos == 1 { PUBACK } else { PUBREC }, 700), 0x00);
        assert_eq!(client.publish("forbidden/t", qos, "x"), 0x87);
    }
}

/// [MQTT-3.5.2-1]
#[test]
fn mqtt_3_5_2_1_a_refused_qos_2_publish_reaches_nobody() {
    let word = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    assert_eq!(subscriber.subscribe(format!("+/{word}"), 2), 2);
    assert_eq!(publisher.publish(format!("forbidden/{word}"), 2, "refused"), 0x87);
    publisher.publish(format!("allowed/{word}"), 2, "allowed");
    subscriber.receive_payload("allowed");
    subscriber.expect_nothing();
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
#[test]
fn mqtt_3_4_2_1_codes_of_no_table_are_refused() {
    // 0x10 is in the tables, but only a server says it.
    for (first, code) in
        [(PUBACK, 0x03), (PUBACK, 0x92), (PUBACK, 0x10), (PUBREC, 0x8F), (PUBREC, 0x10), (PUBREL, 0x80)]
    {
        let (mut client, publish) = owing(if first == PUBACK { 1 } else { 2 });
        client.send(&ack(first, publish.id, code));
        client.expect_refused(&[0x81, 0x82]);
    }
    let (mut client, publish) = owing(2);
    client.send(&ack(PUBREC, publish.id, 0));
    client.expect_ack(PUBREL, publish.id);
    client.send(&ack(PUBCOMP, publish.id, 0x87));
    client.expect_refused(&[0x81, 0x82]);
}

/// [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
#[test]
fn mqtt_3_4_2_2_a_refusal_fits_the_clients_maximum_packet_size() {
    let mut client = tight();
    client.send_publish(&Publication::new("forbidden/t", "x").qos(1, 5));
    let puback = client.expect_ack(PUBACK, 5);
    assert_eq!(puback.code, 0x87);
    bare(&puback);
    client.send_publish(&Publication::new("forbidden/t", "x").qos(2, 6));
    let pubrec = client.expect_ack(PUBREC, 6);
    assert_eq!(pubrec.code, 0x87);
    bare(&pubrec);
}

/// [MQTT-3.6.2-1] [MQTT-3.6.2-2] [MQTT-3.6.2-3]
#[test]
fn mqtt_3_6_2_1_pubrec_for_an_unknown_identifier() {
    let mut client = tight();
    client.send(&ack(PUBREC, 4711, 0));
    let pubrel = client.expect_ack(PUBREL, 4711);
    assert_eq!(pubrel.code, 0x92);
    bare(&pubrel);
    client.send(&ack(PUBCOMP, 4711, 0x92));
    client.ping();
}

/// [MQTT-3.6.2-1]
#[test]
fn mqtt_3_6_2_1_a_repeated_pubrec_gets_pubrel_again() {
    let (mut client, publish) = owing(2);
    for _ in 0..2 {
        client.send(&ack(PUBREC, publish.id, 0));
        assert_eq!(client.expect_ack(PUBREL, publish.id).code, 0);
    }
    client.send(&ack(PUBCOMP, publish.id, 0));
    client.ping();
}

/// [MQTT-3.7.2-1] [MQTT-3.7.2-2] [MQTT-3.7.2-3]
#[test]
fn mqtt_3_7_2_1_pubcomp_says_whether_the_identifier_was_known() {
    let mut client = tight();
    client.send(&ack(PUBREL, 4711, 0));
    let pubcomp = client.expect_ack(PUBCOMP, 4711);
    assert_eq!(pubcomp.code, 0x92);
    bare(&pubcomp);
    client.send_publish(&Publication::new(unique("t"), "x").qos(2, 4711));
    client.expect_ack(PUBREC, 4711);
    client.send(&ack(PUBREL, 4711, 0));
    assert_eq!(client.expect_ack(PUBCOMP, 4711).code, 0);
}

/// [MQTT-3.6.1-1]
#[test]
fn mqtt_3_6_1_1_pubrel_with_other_flags_is_malformed() {
    for first in [0x60, 0x61, 0x63, 0x66, 0x6A] {
        let mut client = connected(V5);
        client.send_publish(&Publication::new(unique("t"), "x").qos(2, 1));
        client.expect_ack(PUBREC, 1);
        client.send(&ack(first, 1, 0));
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_2_1_3_1_acknowledgements_with_flags_are_malformed() {
    for first in [0x41, 0x48, 0x52, 0x5F, 0x72] {
        let (mut client, publish) = owing(if first < 0x50 { 1 } else { 2 });
        client.send(&ack(first, publish.id, 0));
        client.expect_refused(&[0x81]);
    }
}

/// Acknowledgements may explain themselves; the broker reads on. [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1]
#[test]
fn mqtt_3_4_2_1_explained_acknowledgements_are_understood() {
    let why = Props::new().user("k", "v").field(prop::REASON_STRING, "because").user("k", "v");
    let (mut client, publish) = owing(1);
    client.send(&ack_with(PUBACK, publish.id, 0x97, &why));
    client.ping();
    let (mut client, publish) = owing(2);
    client.send(&ack_with(PUBREC, publish.id, 0, &why));
    client.expect_ack(PUBREL, publish.id);
    client.send(&ack_with(PUBCOMP, publish.id, 0, &why));
    client.send_publish(&Publication::new(unique("t"), "x").qos(2, 9));
    client.expect_ack(PUBREC, 9);
    client.send(&ack_with(PUBREL, 9, 0x92, &why));
    client.expect_ack(PUBCOMP, 9);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_malformed_acknowledgements_end_the_connection() {
    let twice = Props::new().field(prop::REASON_STRING, "a").field(prop::REASON_STRING, "b");
    let cases = [
        (frame(PUBACK, &[]), &[0x81][..]),
        (frame(PUBACK, &[1]), &[0x81]),
        (frame(PUBACK, &[0, 0]), &[0x81, 0x82]),
        (frame(PUBREC, &[0, 1, 0, 5, 0x1F]), &[0x81]),
        (frame(PUBREL, &[0, 1, 0, 0, 0]), &[0x81]),
        (ack_with(PUBCOMP, 1, 0, &twice), &[0x82]),
        (ack_with(PUBACK, 1, 0, &Props::new().u32(prop::SESSION_EXPIRY, 1)), &[0x81, 0x82]),
        (ack_with(PUBACK, 1, 0, &Props::new().field(prop::REASON_STRING, [0xFF])), &[0x81]),
        (ack_with(PUBACK, 1, 0, &Props::new().user("a", [b'b', 0])), &[0x81]),
    ];
    for (bytes, codes) in cases {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_refused(codes);
    }
}

/// An acknowledgement of nothing is no reason to part. [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_acknowledgements_of_nothing_are_overlooked() {
    let mut client = Connect::new(V5, unique("c")).receive_maximum(2).open();
    client.send(&ack(PUBACK, 99, 0));
    client.send(&ack(PUBCOMP, 99, 0));
    client.ping();
    let topic = unique("t");
    client.subscribe(&topic, 1);
    let mut publisher = connected(V5);
    for number in 0..4 {
        publisher.publish(&topic, 1, number.to_string());
    }
    (0..2).for_each(|_| drop(client.expect_publish()));
    client.expect_nothing();
}
