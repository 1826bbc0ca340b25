//! 3.1 CONNECT: its layout, and what is let in.

use std::time::{Duration, Instant};

use super::{closes, closes_at_once};
use crate::support::build::{Connect, PINGREQ, Publication, Will, disconnect, subscribe};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V3;
use crate::support::wire::{Props, field, frame};
use crate::support::{WAIT, broker, unique};

/// [MQTT3-3.1.0-1]
#[test]
fn mqtt3_3_1_0_1_anything_before_connect_closes_without_an_answer() {
    closes_at_once(&PINGREQ);
    closes_at_once(&Publication::new("t", "x").bytes(V3));
    closes_at_once(&Publication::new("t", "x").qos(1, 1).bytes(V3));
    closes_at_once(&subscribe(V3, 1, &Props::new(), &[(b"t", 0)]));
    closes_at_once(&disconnect(V3, 0));
}

/// [MQTT3-3.1.0-2]
#[test]
fn mqtt3_3_1_0_2_a_second_connect_closes() {
    let id = unique("c");
    let mut client = Connect::new(V3, &id).open();
    client.send(&Connect::new(V3, &id).bytes());
    client.expect_closed(CLOSE);
    closes(&Connect::new(V3, unique("c")).bytes());
}

/// [MQTT3-3.1.2-1]
#[test]
fn mqtt3_3_1_2_1_another_protocol_name_is_never_let_in() {
    for name in ["MQTX", "mqtt", "MQT", "MQTTT", "", "MQIsdp"] {
        let mut connect = Connect::new(V3, unique("c"));
        connect.name = name.into();
        let mut client = connect.attempt();
        match client.poll(WAIT) {
            Event::Closed => {}
            Event::Packet(Packet::Connack(connack)) if connack.code != 0 => client.expect_closed(CLOSE),
            other => client.fail(&format!("{name:?} to be refused, got {other:?}")),
        }
    }
}

/// [MQTT3-3.1.2-2] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn mqtt3_3_1_2_2_an_unknown_level_is_answered_with_1() {
    for level in [0, 1, 2] {
        let mut connect = Connect::new(V3, unique("c"));
        connect.level = level;
        let mut client = connect.attempt();
        let connack = client.expect_connack();
        assert_eq!((connack.session_present, connack.code), (false, 1), "level {level}");
        client.expect_closed(CLOSE);
    }
}

/// [MQTT3-3.1.2-3]
#[test]
fn mqtt3_3_1_2_3_the_reserved_connect_flag_closes() {
    for flags in [0x01, 0x03] {
        Connect::new(V3, unique("c")).flags(flags).attempt().expect_closed(CLOSE);
    }
}

/// [MQTT3-3.1.2-9] [MQTT3-3.1.4-1]
#[test]
fn mqtt3_3_1_2_9_a_will_flag_without_will_closes() {
    Connect::new(V3, unique("c")).flags(0x06).attempt().expect_closed(CLOSE);
    let topic_only = Connect::new(V3, unique("c")).flags(0x06).tail(&field("topic"));
    topic_only.attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-15]
#[test]
fn mqtt3_3_1_2_11_without_will_flag_there_is_nothing_of_a_will() {
    for flags in [0x0A, 0x12, 0x1A, 0x22, 0x2A] {
        Connect::new(V3, unique("c")).flags(flags).attempt().expect_closed(CLOSE);
    }
    Connect::new(V3, unique("c")).will(Will::new("t", "x")).flags(0x02).attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.2-14]
#[test]
fn mqtt3_3_1_2_14_will_qos_3_closes() {
    Connect::new(V3, unique("c")).will(Will::new("t", "x").qos(3)).attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.2-18] [MQTT3-3.1.2-20] [MQTT3-3.1.4-1]
#[test]
fn mqtt3_3_1_2_18_a_field_without_its_flag_closes() {
    Connect::new(V3, unique("c")).flags(0x02).tail(&field("alice")).attempt().expect_closed(CLOSE);
    let password_more = Connect::new(V3, unique("c")).flags(0x82).tail(&[field("alice"), field("secret")].concat());
    password_more.attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.2-19] [MQTT3-3.1.2-21] [MQTT3-3.1.4-1]
#[test]
fn mqtt3_3_1_2_19_a_flag_without_its_field_closes() {
    Connect::new(V3, unique("c")).flags(0x82).attempt().expect_closed(CLOSE);
    Connect::new(V3, unique("c")).flags(0xC2).tail(&field("alice")).attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.2-22]
#[test]
fn mqtt3_3_1_2_22_a_password_without_user_name_closes() {
    Connect::new(V3, unique("c")).flags(0x42).tail(&field("secret")).attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.3-1]
#[test]
fn mqtt3_3_1_3_1_every_field_is_found_in_its_place() {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    let will = Will::new(&topic, "the will").qos(1);
    Connect::new(V3, unique("c")).will(will).login("alice", "secret").open().vanish();
    let publish = watcher.receive_payload("the will");
    assert_eq!((publish.topic, publish.qos), (topic, 1));
}

/// [MQTT3-3.1.3-3]
#[test]
fn mqtt3_3_1_3_3_a_connect_without_client_id_closes() {
    closes_at_once(&frame(0x10, &[0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60]));
}

/// [MQTT3-3.1.3-5]
#[test]
fn mqtt3_3_1_3_5_ids_of_1_to_23_letters_and_digits_are_allowed() {
    for id in ["0", "a", "Z", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"] {
        Connect::new(V3, id).open().leave();
    }
}

/// [MQTT3-3.1.3-6]
#[test]
fn mqtt3_3_1_3_6_clients_without_id_are_different_clients() {
    let mut first = Connect::new(V3, "").open();
    let mut second = Connect::new(V3, "").open();
    let topic = unique("t");
    first.subscribe(&topic, 1);
    second.ping();
    second.publish(&topic, 1, "x");
    first.receive_payload("x");
    second.expect_nothing();
}

/// [MQTT3-3.1.3-8] [MQTT3-3.1.3-9] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn mqtt3_3_1_3_8_an_empty_id_with_clean_session_0_is_answered_with_2() {
    let mut client = Connect::new(V3, "").clean(false).attempt();
    let connack = client.expect_connack();
    assert_eq!((connack.session_present, connack.code), (false, 2));
    client.expect_closed(CLOSE);
}

/// [MQTT3-3.1.3-9] [MQTT3-3.1.3-5] [MQTT3-3.2.2-5]
#[test]
fn mqtt3_3_1_3_9_an_id_above_the_limit_is_answered_with_2() {
    let broker = broker::with("[limits]\nclient_id_bytes_max = 23\n");
    let mut client = Connect::new(V3, "x".repeat(24)).attempt_at(broker.addr("mqtt"));
    assert_eq!(client.expect_connack().code, 2);
    client.expect_closed(CLOSE);
    Connect::new(V3, "x".repeat(23)).open_at(broker.addr("mqtt")).leave();
}

/// [MQTT3-3.1.4-1]
#[test]
fn mqtt3_3_1_4_1_a_connect_that_ends_too_early_closes_without_an_answer() {
    let body = Connect::new(V3, "c").will(Will::new("t", "x")).login("alice", "secret").body();
    for length in 0..body.len() {
        closes_at_once(&frame(0x10, &body[..length]));
    }
}

/// [MQTT3-3.1.4-1]
#[test]
fn mqtt3_3_1_4_1_bytes_behind_the_last_field_close_without_an_answer() {
    Connect::new(V3, unique("c")).tail(&[0]).attempt().expect_closed(CLOSE);
    Connect::new(V3, unique("c")).login("alice", "secret").tail(&field("more")).attempt().expect_closed(CLOSE);
}

/// [MQTT3-3.1.4-2]
#[test]
fn mqtt3_3_1_4_2_a_second_client_of_the_name_disconnects_the_first() {
    let (id, topic) = (unique("c"), unique("w"));
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    let mut first = Connect::new(V3, &id).will(Will::new(&topic, "taken over").qos(1)).open();
    let mut second = Connect::new(V3, &id).open();
    first.expect_closed(CLOSE);
    watcher.receive_payload("taken over");
    second.ping();
}

/// [MQTT3-3.1.4-4]
#[test]
fn mqtt3_3_1_4_4_a_valid_connect_is_let_in() {
    for connect in [
        Connect::new(V3, unique("c")),
        Connect::new(V3, unique("c")).keep_alive_s(0),
        Connect::new(V3, unique("c")).clean(false),
        Connect::new(V3, unique("c")).login("alice", "secret"),
        Connect::new(V3, unique("c")).will(Will::new("w", "").qos(2).retain()),
        Connect::new(V3, "with space/and+#"),
    ] {
        let mut client = connect.open();
        client.ping();
        client.leave();
    }
}

/// [MQTT3-3.1.4-5] [MQTT3-3.2.2-5]
#[test]
fn mqtt3_3_1_4_5_nothing_behind_a_refused_connect_is_processed() {
    let topic = unique("t");
    let mut client = Client::raw(V3);
    let connect = Connect::new(V3, unique("c")).login("alice", "wrong").bytes();
    client.send(&[connect, Publication::new(&topic, "x").retain().bytes(V3)].concat());
    let code = client.expect_connack().code;
    assert!(matches!(code, 4 | 5), "CONNACK {code}");
    client.expect_closed(CLOSE);
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT3-3.1.2-24] [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_1_2_24_silence_of_one_and_a_half_keep_alive_disconnects() {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    let will = Will::new(&topic, "silent").qos(1);
    let asked = Instant::now();
    let mut client = Connect::new(V3, unique("c")).keep_alive_s(2).will(will).open();
    client.expect_closed(CLOSE);
    let closed = asked.elapsed().as_millis();
    assert!((3_000..4_000).contains(&closed), "closed after {closed} ms");
    watcher.receive_payload("silent");
}

/// [MQTT3-3.1.2-24]
#[test]
fn mqtt3_3_1_2_24_only_packets_of_the_client_count() {
    let topic = unique("t");
    let mut publisher = connected(V3);
    let mut client = Connect::new(V3, unique("c")).keep_alive_s(1).open();
    let asked = Instant::now();
    client.subscribe(&topic, 0);
    let closed = loop {
        publisher.publish(&topic, 0, "busy");
        match client.poll(Duration::from_millis(100)) {
            Event::Closed => break asked.elapsed(),
            _ if asked.elapsed() > WAIT => client.fail("the end of a client that says nothing"),
            _ => {}
        }
    };
    assert!((1_500..2_500).contains(&closed.as_millis()), "closed after {closed:?}");
}

/// [MQTT3-3.1.2-24] [MQTT3-4.1.0-2] [MQTT3-3.12.4-1]
#[test]
fn mqtt3_3_1_2_24_pings_keep_the_connection_and_its_subscriptions() {
    let topic = unique("t");
    let mut client = Connect::new(V3, unique("c")).keep_alive_s(1).open();
    client.subscribe(&topic, 1);
    for _ in 0..4 {
        client.expect_nothing_for(Duration::from_millis(800));
        client.ping();
    }
    connected(V3).publish(&topic, 1, "x");
    client.receive_payload("x");
}

/// [MQTT3-3.1.2-24]
#[test]
fn mqtt3_3_1_2_24_keep_alive_0_never_ends() {
    let mut client = Connect::new(V3, unique("c")).keep_alive_s(0).open();
    client.expect_nothing_for(Duration::from_secs(3));
    client.ping();
}
