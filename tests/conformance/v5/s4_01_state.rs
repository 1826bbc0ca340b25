//! 4.1 Session State, 4.2 network connections, 4.5 what the broker takes over.

use std::thread::sleep;
use std::time::Duration;

use crate::support::build::{Connect, PINGREQ, PUBACK, Publication, ack};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Props;
use crate::support::wire::Version::V5;

fn present(client: &Client) -> bool {
    client.connack.as_ref().is_some_and(|connack| connack.session_present)
}

/// [MQTT-4.1.0-1]
#[test]
fn mqtt_4_1_0_1_an_open_connection_keeps_its_session_whatever_the_expiry() {
    for seconds in [0, 1] {
        let topic = unique("t");
        let mut subscriber = Connect::new(V5, unique("c")).kept_s(seconds).open();
        subscriber.subscribe(&topic, 1);
        let mut publisher = connected(V5);
        publisher.publish(&topic, 1, "in flight");
        let publish = subscriber.expect_publish();
        subscriber.expect_nothing_for(Duration::from_millis(2500));
        subscriber.send(&ack(PUBACK, publish.id, 0));
        publisher.publish(&topic, 1, "still subscribed");
        subscriber.receive_payload("still subscribed");
    }
}

/// [MQTT-4.1.0-2]
#[test]
fn mqtt_4_1_0_2_a_session_is_dropped_when_its_expiry_has_passed() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).kept_s(1).open();
    subscriber.subscribe(&topic, 1);
    subscriber.vanish();
    connected(V5).publish(&topic, 1, "for the session that ends");
    sleep(Duration::from_millis(2500));
    let mut subscriber = Connect::new(V5, &id).clean(false).open();
    assert!(!present(&subscriber));
    connected(V5).publish(&topic, 1, "for nobody");
    subscriber.expect_nothing();
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-23]
#[test]
fn mqtt_4_1_0_2_a_session_with_expiry_0_is_gone_at_once() {
    let id = unique("c");
    let mut subscriber = Connect::new(V5, &id).kept_s(0).open();
    subscriber.subscribe(unique("t"), 1);
    subscriber.vanish();
    assert!(!present(&Connect::new(V5, &id).clean(false).open()));
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-23]
#[test]
fn mqtt_4_1_0_2_a_session_whose_expiry_has_not_passed_is_there() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).kept_s(30).open();
    subscriber.subscribe(&topic, 2);
    subscriber.leave();
    connected(V5).publish(&topic, 2, "meanwhile");
    let mut subscriber = Connect::new(V5, &id).clean(false).open();
    assert!(present(&subscriber));
    assert_eq!(subscriber.receive_payload("meanwhile").qos, 2);
}

/// [MQTT-4.2.0-1]
#[test]
fn mqtt_4_2_0_1_packets_may_be_cut_anywhere() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 0);
    let publication = Publication::new(&topic, "in crumbs").props(Props::new().user("a", "b")).bytes(V5);
    for byte in publication.iter().chain(&PINGREQ) {
        client.send(&[*byte]);
    }
    client.receive_payload("in crumbs");
    client.expect_pingresp();
}

/// [MQTT-4.2.0-1]
#[test]
fn mqtt_4_2_0_1_a_large_payload_arrives_whole_and_in_order() {
    let topic = unique("t");
    let payload: Vec<u8> = (0..200_000u32).flat_map(u32::to_be_bytes).collect();
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    publisher.publish(&topic, 1, &payload);
    let publish = subscriber.receive();
    assert!(publish.payload == payload, "{} of {} bytes, or other ones", publish.payload.len(), payload.len());
}

/// [MQTT-4.5.0-1]
#[test]
fn mqtt_4_5_0_1_a_message_is_added_to_every_session_that_matches() {
    let (topic, sleeper) = (unique("t"), unique("c"));
    let mut offline = Connect::new(V5, &sleeper).resume().open();
    offline.subscribe(format!("{topic}/#"), 1);
    offline.vanish();
    let (mut first, mut second) = (connected(V5), connected(V5));
    first.subscribe(&topic, 2);
    second.subscribe(format!("{topic}/#"), 1);
    connected(V5).publish(&topic, 1, "for all");
    let mut offline = Connect::new(V5, &sleeper).resume().open();
    for client in [&mut first, &mut second, &mut offline] {
        client.receive_payload("for all");
        client.expect_nothing();
    }
}
