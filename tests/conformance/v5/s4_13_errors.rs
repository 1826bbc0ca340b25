//! 4.13 handling errors: what is malformed or a Protocol Error ends the connection, with its reason.

use std::time::Duration;

use crate::support::build::{Connect, PUBACK, PUBREC, Publication, Will, disconnect, subscribe, unsubscribe};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, field, frame, prop};
use crate::support::{WAIT, unique};

/// Each of these ends a connection with 0x81 or 0x82.
#[track_caller]
fn each_ends_it(packets: &[(&str, Vec<u8>)]) {
    for (what, packet) in packets {
        println!("{what}: {packet:02X?}");
        let mut client = connected(V5);
        client.send(packet);
        client.expect_disconnect(&[0x81, 0x82]);
    }
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_packet_types_a_client_never_sends_end_the_connection() {
    each_ends_it(&[
        ("type 0", frame(0x00, &[])),
        ("CONNACK", frame(0x20, &[0, 0, 0])),
        ("SUBACK", frame(0x90, &[0, 1, 0, 0])),
        ("UNSUBACK", frame(0xB0, &[0, 1, 0, 0])),
        ("PINGRESP", frame(0xD0, &[])),
    ]);
}

/// [MQTT-4.13.1-1]: property blocks that are wrong in every packet that has one.
#[test]
fn mqtt_4_13_1_1_wrong_properties_end_the_connection_in_every_packet() {
    let expiry = Props::new().u32(prop::MESSAGE_EXPIRY, 1);
    let session = Props::new().u32(prop::SESSION_EXPIRY, 1);
    let twice = expiry.clone().raw(expiry.bytes());
    let reasons = Props::new().field(prop::REASON_STRING, "a").field(prop::REASON_STRING, "b");
    let publish = |props: &Props| frame(0x30, &concat(&[&field("t"), &props.block()]));
    let tail = |reason: u8, props: &Props| concat(&[&[0, 7, reason], &props.block()]);
    each_ends_it(&[
        ("PUBLISH, twice", publish(&twice)),
        ("PUBLISH, of others", publish(&session)),
        ("PUBLISH, unknown", publish(&Props::new().raw(&[0x7E, 0]))),
        ("PUBLISH, cut off", publish(&Props::new().raw(&[prop::MESSAGE_EXPIRY, 0]))),
        ("PUBLISH, out of range", publish(&Props::new().u8(prop::PAYLOAD_FORMAT, 2))),
        ("PUBLISH, block beyond the packet", frame(0x30, &concat(&[&field("t"), &[9]]))),
        ("PUBACK, of others", frame(PUBACK, &tail(0, &session))),
        ("PUBACK, twice", frame(PUBACK, &tail(0, &reasons))),
        ("PUBREC, of others", frame(PUBREC, &tail(0, &expiry))),
        ("PUBREL, of others", frame(0x62, &tail(0, &expiry))),
        ("PUBCOMP, of others", frame(0x70, &tail(0, &expiry))),
        ("SUBSCRIBE, of others", subscribe(V5, 7, &expiry, &[(b"t", 0)])),
        ("SUBSCRIBE, identifier 0", subscribe(V5, 7, &Props::new().varint(prop::SUBSCRIPTION_ID, 0), &[(b"t", 0)])),
        ("UNSUBSCRIBE, of others", unsubscribe(V5, 7, &Props::new().varint(prop::SUBSCRIPTION_ID, 1), &[b"t"])),
        ("DISCONNECT, of others", frame(0xE0, &concat(&[&[0], &expiry.block()]))),
        ("DISCONNECT, twice", frame(0xE0, &concat(&[&[0], &session.clone().raw(session.bytes()).block()]))),
    ]);
}

/// [MQTT-4.13.1-1]: too short, too long, and codes that are not for the packet.
#[test]
fn mqtt_4_13_1_1_wrong_bodies_end_the_connection() {
    each_ends_it(&[
        ("PUBLISH without body", frame(0x30, &[])),
        ("PUBLISH, topic beyond the packet", frame(0x30, &[0, 9, b't'])),
        ("PUBLISH without identifier", frame(0x32, &field("t"))),
        ("PUBLISH without topic and alias", frame(0x30, &[0, 0, 0])),
        ("PUBACK without identifier", frame(PUBACK, &[0])),
        ("PUBACK with bytes behind", frame(PUBACK, &[0, 7, 0, 0, 0])),
        ("PUBACK with a code of others", frame(PUBACK, &[0, 7, 0x92])),
        ("PUBREC with a code of others", frame(PUBREC, &[0, 7, 0x18])),
        ("PUBREL with a code of others", frame(0x62, &[0, 7, 0x80])),
        ("PUBCOMP with a code of others", frame(0x70, &[0, 7, 0x10])),
        ("SUBSCRIBE without filter", subscribe(V5, 7, &Props::new(), &[])),
        ("SUBSCRIBE without options", frame(0x82, &concat(&[&[0, 7, 0], &field("t")]))),
        ("SUBSCRIBE, QoS 3", subscribe(V5, 7, &Props::new(), &[(b"t", 3)])),
        ("SUBSCRIBE, reserved bits", subscribe(V5, 7, &Props::new(), &[(b"t", 0x40)])),
        ("SUBSCRIBE, Retain Handling 3", subscribe(V5, 7, &Props::new(), &[(b"t", 0x30)])),
        ("UNSUBSCRIBE without filter", unsubscribe(V5, 7, &Props::new(), &[])),
        ("PINGREQ with body", frame(0xC0, &[0])),
        ("DISCONNECT with a code of servers", disconnect(V5, 0x8E)),
        ("DISCONNECT with bytes behind", frame(0xE0, &[0, 0, 0])),
    ]);
}

/// [MQTT-4.13.1-1] What came before the error in the same write is answered, what comes after is not looked at.
#[test]
fn mqtt_4_13_1_1_packets_before_an_error_count_and_those_behind_do_not() {
    let (before, behind) = (unique("t"), unique("t"));
    let mut watcher = connected(V5);
    watcher.subscribe(&before, 0);
    watcher.subscribe(&behind, 0);
    let mut client = connected(V5);
    client.send(&concat(&[
        &Publication::new(&before, "before").qos(1, 1).bytes(V5),
        &frame(0x00, &[]),
        &Publication::new(&behind, "behind").bytes(V5),
    ]));
    client.expect_ack(PUBACK, 1);
    client.expect_disconnect(&[0x81, 0x82]);
    watcher.receive_payload("before");
    watcher.expect_nothing();
}

/// [MQTT-4.13.1-1] [MQTT-3.14.4-1] The reason arrives although the client goes on writing.
#[test]
fn mqtt_4_13_1_1_the_reason_is_read_by_a_client_that_keeps_writing() {
    for _ in 0..5 {
        let mut client = connected(V5);
        let publish = Publication::new(unique("t"), vec![b'x'; 1000]).bytes(V5);
        client.send(&frame(0xD0, &[]));
        for _ in 0..50 {
            client.send(&publish);
        }
        client.expect_disconnect(&[0x81, 0x82]);
    }
}

/// [MQTT-4.13.1-1] Random bytes never keep a connection for long, and never do more than end it.
#[test]
fn mqtt_4_13_1_1_bytes_that_are_no_mqtt_end_the_connection() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..50 {
        let mut noise = Vec::new();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend(state.to_le_bytes());
        }
        // Nothing in it may begin as a long packet that would be waited for.
        noise[0] = 0x00;
        noise[1] &= 0x3F;
        let mut client = connected(V5);
        client.send(&noise);
        client.expect_disconnect(&[0x81, 0x82]);
        let mut stranger = Client::raw(V5);
        stranger.send(&noise);
        stranger.expect_no_entry(&[]);
    }
    connected(V5).ping();
}

/// [MQTT-4.13.2-1] [MQTT-3.14.4-2]
#[test]
fn mqtt_4_13_2_1_a_client_that_reports_an_error_is_closed_and_its_will_published() {
    let topic = unique("w");
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 0);
    let mut client = Connect::new(V5, unique("c")).will(Will::new(&topic, "error")).open();
    client.send(&disconnect(V5, 0x80));
    client.expect_closed(Duration::from_secs(5));
    watcher.receive_payload("error");
}

/// [MQTT-4.13.2-1] What the broker ends with a reason it ends: the socket is closed and the session waits.
#[test]
fn mqtt_4_13_2_1_behind_its_disconnect_the_broker_closes_and_the_session_stays() {
    let id = unique("c");
    let mut client = Connect::new(V5, &id).kept_s(60).open();
    client.send(&frame(0xC0, &[0]));
    client.expect_disconnect(&[0x81]);
    let again = Connect::new(V5, &id).clean(false).open();
    assert!(again.session_present());
}

/// [MQTT-4.13.2-1] A refused packet that has a reason code of its own is no end of the connection.
#[test]
fn mqtt_4_13_2_1_codes_of_80_and_above_elsewhere_do_not_close() {
    let mut client = connected(V5);
    assert_eq!(client.subscribe("forbidden/x", 1), 0x87);
    assert_eq!(client.publish("forbidden/x", 1, "x"), 0x87);
    assert_eq!(client.publish("forbidden/x", 2, "x"), 0x87);
    client.publish("forbidden/x", 0, "x");
    client.send(&frame(0x62, &[0x77, 0x77]));
    match client.poll(WAIT) {
        Event::Packet(Packet::Ack(ack)) => assert_eq!((ack.first, ack.id, ack.code), (0x70, 0x7777, 0x92)),
        other => client.fail(&format!("PUBCOMP 0x92, got {other:?}")),
    }
    client.ping();
}
