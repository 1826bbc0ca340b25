//! 2.2 and 2.3: flags of the fixed header, Packet Identifiers.

use std::collections::HashSet;

use super::{closes, closes_at_once};
use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack, subscribe, unsubscribe};
use crate::support::client::Client;
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Props;
use crate::support::wire::Version::V3;

/// [MQTT3-2.2.2-1] [MQTT3-3.6.1-1]
#[test]
fn mqtt3_2_2_2_1_the_broker_sends_the_flags_prescribed() {
    // The decoder takes 20, 40, 50, 62, 70, 90, B0 and D0 as first bytes and nothing else.
    let topic = unique("t");
    let mut client = connected(V3);
    client.subscribe(&topic, 2);
    client.send_publish(&Publication::new(&topic, "x").qos(2, 77));
    client.await_ack(PUBREC, 77);
    client.send(&ack(PUBREL, 77, 0));
    client.await_ack(PUBCOMP, 77);
    let publish = client.expect_publish();
    assert_eq!(publish.first, 0x34);
    client.send(&ack(PUBREC, publish.id, 0));
    assert_eq!(client.expect_ack(PUBREL, publish.id).size, 4);
    client.send(&ack(PUBCOMP, publish.id, 0));
    client.unsubscribe(&[&topic]);
    client.ping();
}

/// [MQTT3-2.2.2-2] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1]
#[test]
fn mqtt3_2_2_2_2_other_flags_close() {
    let subscribe = subscribe(V3, 1, &Props::new(), &[(b"t", 0)]);
    let unsubscribe = unsubscribe(V3, 1, &Props::new(), &[b"t"]);
    let fixed = [
        (0x40, ack(PUBACK, 1, 0)),
        (0x50, ack(PUBREC, 1, 0)),
        (0x62, ack(PUBREL, 1, 0)),
        (0x70, ack(PUBCOMP, 1, 0)),
        (0x82, subscribe),
        (0xA2, unsubscribe),
        (0xC0, vec![0xC0, 0]),
        (0xE0, vec![0xE0, 0]),
    ];
    for (right, mut packet) in fixed {
        for flags in 0..16 {
            packet[0] = (right & 0xF0) | flags;
            if packet[0] != right {
                closes(&packet);
            }
        }
    }
}

/// [MQTT3-2.2.2-2] [MQTT3-3.1.4-1]
#[test]
fn mqtt3_2_2_2_2_other_flags_of_connect_close() {
    for flags in 1..16 {
        let mut connect = Connect::new(V3, unique("c")).bytes();
        connect[0] |= flags;
        closes_at_once(&connect);
    }
}

/// [MQTT3-2.3.1-1]
#[test]
fn mqtt3_2_3_1_1_packet_identifier_0_closes() {
    closes(&subscribe(V3, 0, &Props::new(), &[(b"t", 0)]));
    closes(&unsubscribe(V3, 0, &Props::new(), &[b"t"]));
    closes(&Publication::new("t", "x").qos(1, 0).bytes(V3));
    closes(&Publication::new("t", "x").qos(2, 0).bytes(V3));
}

/// [MQTT3-2.3.1-3] [MQTT3-2.3.1-6]
#[test]
fn mqtt3_2_3_1_3_a_repeat_is_acknowledged_with_its_own_identifier() {
    let mut client = connected(V3);
    for _ in 0..2 {
        client.send_publish(&Publication::new(unique("t"), "x").qos(1, 0x0102).dup());
        client.expect_ack(PUBACK, 0x0102);
    }
    let topic = unique("t");
    for dup in [false, true] {
        let mut publication = Publication::new(&topic, "x").qos(2, 0x0102);
        publication.dup = dup;
        client.send_publish(&publication);
        client.expect_ack(PUBREC, 0x0102);
    }
    client.send(&ack(PUBREL, 0x0102, 0));
    client.expect_ack(PUBCOMP, 0x0102);
}

/// [MQTT3-2.3.1-4] [MQTT3-2.3.1-1]
#[test]
fn mqtt3_2_3_1_4_unacknowledged_identifiers_are_distinct() {
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(&topic, 2);
    for qos in [1, 2, 1, 2, 1, 2, 1, 2] {
        publisher.publish(&topic, qos, "x");
    }
    let ids: HashSet<u16> = (0..8).map(|_| subscriber.expect_publish().id).collect();
    assert_eq!(ids.len(), 8, "{ids:?}");
    assert!(!ids.contains(&0));
}

/// [MQTT3-2.3.1-4]
#[test]
fn mqtt3_2_3_1_4_an_identifier_in_use_is_passed_over_after_65535() {
    const BATCH: usize = 16;
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(&topic, 1);
    publisher.publish(&topic, 1, "held");
    let held = subscriber.expect_publish().id;
    let batch: Vec<u8> = (1..=BATCH as u16).flat_map(|id| Publication::new(&topic, "x").qos(1, id).bytes(V3)).collect();
    let mut low = 0;
    for _ in 0..(65_536 / BATCH + 2) {
        publisher.send(&batch);
        let ids: Vec<u16> = (0..BATCH).map(|_| subscriber.expect_publish().id).collect();
        assert!(!ids.contains(&held), "{held} is not acknowledged yet");
        low += ids.iter().filter(|id| **id <= held + 32).count();
        let acks: Vec<u8> = ids.iter().flat_map(|id| ack(PUBACK, *id, 0)).collect();
        subscriber.send(&acks);
        acknowledged(&mut publisher, BATCH);
    }
    assert!(low > 0, "identifiers begin again");
}

fn acknowledged(publisher: &mut Client, count: usize) {
    for _ in 0..count {
        assert!(matches!(publisher.expect_packet("PUBACK"), Packet::Ack(ack) if ack.first == PUBACK));
    }
}

/// [MQTT3-2.3.1-5] [MQTT3-4.3.1-1]
#[test]
fn mqtt3_2_3_1_5_qos_0_has_no_packet_identifier() {
    let topic = unique("t");
    let mut client = connected(V3);
    client.subscribe(&topic, 0);
    client.publish(&topic, 0, "payload");
    let publish = client.expect_publish();
    assert_eq!((publish.first, publish.payload.as_slice()), (0x30, b"payload".as_slice()));
    assert_eq!(publish.size, 2 + 2 + topic.len() + 7, "topic and payload fill it");
}

/// [MQTT3-2.3.1-6] [MQTT3-3.3.4-1]
#[test]
fn mqtt3_2_3_1_6_acknowledgements_repeat_the_identifier() {
    let mut client = connected(V3);
    for id in [1, 0x1234, 0xFFFF] {
        client.send_publish(&Publication::new(unique("t"), "x").qos(1, id));
        assert_eq!(client.expect_ack(PUBACK, id).size, 4);
        client.send_publish(&Publication::new(unique("t"), "x").qos(2, id));
        assert_eq!(client.expect_ack(PUBREC, id).size, 4);
        client.send(&ack(PUBREL, id, 0));
        assert_eq!(client.expect_ack(PUBCOMP, id).size, 4);
    }
}

/// [MQTT3-2.3.1-7] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.10.4-4]
#[test]
fn mqtt3_2_3_1_7_suback_and_unsuback_repeat_the_identifier() {
    let mut client = connected(V3);
    for id in [7, 9, 0xFFFF] {
        client.send_subscribe(id, "t", 0);
        client.expect_suback(id);
        client.send(&unsubscribe(V3, id, &Props::new(), &[b"t"]));
        assert_eq!(client.expect_unsuback(id).size, 4);
    }
}
