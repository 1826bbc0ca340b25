//! 3.14 DISCONNECT, in both directions.

use super::tight::tight;
use crate::support::build::{Connect, PINGREQ, Will, disconnect, disconnect_with};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, field, frame, prop};
use crate::support::{WAIT, unique};

/// A client with a will, and one that waits for it.
fn with_will() -> (Client, Client) {
    let topic = unique("will");
    let mut heir = connected(V5);
    heir.subscribe(&topic, 1);
    (Connect::new(V5, unique("c")).will(Will::new(&topic, "will")).open(), heir)
}

/// [MQTT-3.14.0-1]
#[test]
fn mqtt_3_14_0_1_a_refused_connect_gets_no_disconnect() {
    let id = unique("c");
    let connect = || Connect::new(V5, &id);
    let mut level_99 = connect();
    level_99.level = 99;
    let mut no_mqtt = connect();
    no_mqtt.name = b"MQXX".to_vec();
    for refused in [
        level_99,
        no_mqtt,
        connect().props(Props::new().field(prop::AUTH_METHOD, "no-such")),
        connect().props(Props::new().u16(prop::RECEIVE_MAXIMUM, 0)),
        connect().props(Props::new().u16(prop::TOPIC_ALIAS, 1)),
        connect().flags(0x03),
        connect().tail(b"behind the end"),
        Connect::new(V5, [0xFF]),
    ] {
        let mut client = refused.attempt();
        match client.poll(WAIT) {
            Event::Packet(Packet::Connack(connack)) if connack.code >= 0x80 => client.expect_closed(CLOSE),
            Event::Closed => {}
            other => client.fail(&format!("CONNACK with an error, or the end; got {other:?}")),
        }
    }
}

/// [MQTT-3.14.1-1]
#[test]
fn mqtt_3_14_1_1_disconnect_with_flags_is_malformed() {
    for first in [0xE1, 0xE2, 0xEF] {
        let (mut client, mut heir) = with_will();
        client.send(&[first, 0x00]);
        client.expect_refused(&[0x81]);
        heir.receive_payload("will");
    }
}

/// [MQTT-3.14.2-1]
#[test]
fn mqtt_3_14_2_1_codes_of_no_table_are_refused() {
    for code in [0x03, 0x19, 0x92, 0xFF] {
        let (mut client, mut heir) = with_will();
        client.send(&disconnect(V5, code));
        client.expect_refused(&[0x81, 0x82]);
        heir.receive_payload("will");
    }
}

/// [MQTT-3.14.2-2] [MQTT-3.14.2-1] [MQTT-3.1.4-3]
#[test]
fn mqtt_3_14_2_2_a_disconnect_of_the_broker_has_no_session_expiry() {
    let id = unique("c");
    let mut old = Connect::new(V5, &id).resume().open();
    let _new = Connect::new(V5, &id).resume().open();
    let reason = old.expect_disconnect(&[0x8E]);
    assert!(!reason.props.has(prop::SESSION_EXPIRY));
    let mut wrong = Connect::new(V5, unique("c")).resume().open();
    wrong.send(&frame(0x30, &[]));
    let reason = wrong.expect_disconnect(&[0x81]);
    assert!(!reason.props.has(prop::SESSION_EXPIRY));
}

/// [MQTT-3.14.2-3] [MQTT-3.14.2-4]
#[test]
fn mqtt_3_14_2_3_a_disconnect_fits_the_clients_maximum_packet_size() {
    let cases: [(Vec<u8>, u8); 3] = [
        (frame(0x36, &[0, 1, b't', 0, 1, 0]), 0x81),
        (frame(0x82, &[0, 1, 0]), 0x82),
        (frame(0x30, &[&field("a/#")[..], &[0]].concat()), 0x90),
    ];
    for (bytes, code) in cases {
        let mut client = tight();
        client.send(&bytes);
        let reason = client.expect_disconnect(&[code]);
        assert!(!reason.props.has(prop::REASON_STRING) && !reason.props.has(prop::USER_PROPERTY), "{reason:?}");
    }
}

/// [MQTT-3.14.4-1]
#[test]
fn mqtt_3_14_4_1_nothing_is_answered_behind_a_disconnect() {
    let mut client = connected(V5);
    client.send(&[&disconnect(V5, 0)[..], &PINGREQ].concat());
    client.expect_closed(CLOSE);
}

/// The watch sees that nothing follows. [MQTT-3.14.4-1] [MQTT-3.14.4-2]
#[test]
fn mqtt_3_14_4_2_the_broker_closes_behind_its_own_disconnect() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 0);
    client.send(&[&frame(0x30, &[])[..], &PINGREQ, &PINGREQ].concat());
    connected(V5).publish(&topic, 0, "too late, or just in time");
    let deadline = std::time::Instant::now() + WAIT;
    let reason = loop {
        match client.poll(deadline.saturating_duration_since(std::time::Instant::now())) {
            Event::Packet(Packet::Publish(_)) => {}
            Event::Packet(Packet::Disconnect(reason)) => break reason,
            other => client.fail(&format!("DISCONNECT, got {other:?}")),
        }
    };
    assert_eq!(reason.code, 0x81);
    client.expect_closed(CLOSE);
}

/// [MQTT-3.14.4-2] [MQTT-4.13.2-1]
#[test]
fn mqtt_4_13_2_1_the_broker_closes_after_any_disconnect_of_a_client() {
    for bytes in [
        disconnect(V5, 0),
        frame(0xE0, &[0]),
        frame(0xE0, &[0, 0]),
        disconnect(V5, 0x04),
        disconnect(V5, 0x80),
        disconnect_with(0x98, &Props::new().field(prop::REASON_STRING, "tired").user("k", "v")),
    ] {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_closed(CLOSE);
    }
}

/// [MQTT-3.14.4-3] [MQTT-3.1.2-10]
#[test]
fn mqtt_3_14_4_3_disconnect_0_throws_the_will_away() {
    for bytes in [disconnect(V5, 0), frame(0xE0, &[0]), disconnect_with(0, &Props::new())] {
        let (mut client, mut heir) = with_will();
        client.send(&bytes);
        client.expect_closed(CLOSE);
        heir.expect_nothing();
    }
}

/// [MQTT-3.14.4-3] [MQTT-4.13.2-1]
#[test]
fn mqtt_3_14_4_3_any_other_code_publishes_the_will() {
    for code in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let (mut client, mut heir) = with_will();
        client.send(&disconnect(V5, code));
        client.expect_closed(CLOSE);
        heir.receive_payload("will");
    }
}

/// [MQTT-4.1.0-2]
#[test]
fn mqtt_4_1_0_2_a_disconnect_can_shorten_and_prolong_the_session() {
    let id = unique("c");
    let resume = || Connect::new(V5, &id).clean(false).kept_s(600).open();
    let leave = |mut client: Client, seconds| {
        client.send(&disconnect_with(0, &Props::new().u32(prop::SESSION_EXPIRY, seconds)));
        client.drain_to_close();
    };
    let present = |client: &Client| client.connack.as_ref().is_some_and(|connack| connack.session_present);
    leave(resume(), 700);
    let again = resume();
    assert!(present(&again), "prolonged");
    leave(again, 0);
    assert!(!present(&resume()), "over at once");
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_a_disconnect_cannot_raise_a_session_expiry_of_0() {
    let mut client = connected(V5);
    client.send(&disconnect_with(0, &Props::new().u32(prop::SESSION_EXPIRY, 5)));
    client.expect_refused(&[0x82]);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_malformed_disconnects_end_the_connection_with_a_reason() {
    let text = |bytes: &[u8]| Props::new().field(prop::REASON_STRING, bytes);
    let cases = [
        (frame(0xE0, &[0, 5, 0x1F]), &[0x81][..]),
        (frame(0xE0, &[0, 0, 0]), &[0x81]),
        (disconnect_with(0, &text(b"a").field(prop::REASON_STRING, "b")), &[0x82]),
        (disconnect_with(0, &text(&[0xFF])), &[0x81]),
        (disconnect_with(0, &Props::new().field(prop::SERVER_REFERENCE, "there")), &[0x81, 0x82]),
        (disconnect_with(0, &Props::new().u8(prop::PAYLOAD_FORMAT, 0)), &[0x81, 0x82]),
    ];
    for (bytes, codes) in cases {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_refused(codes);
    }
}
