//! 4.9 Flow control.

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::packet::{Packet, Publish};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::prop;

/// A subscriber with this Receive Maximum, for whom so many QoS 2 messages wait.
fn waiting(receive_maximum: u16, messages: u32) -> (Client, String) {
    let (subscriber, topic, _) = waiting_as(receive_maximum, messages);
    (subscriber, topic)
}

/// The same, with its Client Identifier.
fn waiting_as(receive_maximum: u16, messages: u32) -> (Client, String, String) {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().open();
    subscriber.subscribe(&topic, 2);
    subscriber.vanish();
    let mut publisher = connected(V5);
    for number in 0..messages {
        publisher.publish(&topic, 2, number.to_string());
    }
    (Connect::new(V5, &id).resume().receive_maximum(receive_maximum).open(), topic, id)
}

#[track_caller]
fn expect_number(client: &mut Client, number: u32) -> Publish {
    let publish = client.expect_publish();
    assert_eq!(publish.payload, number.to_string().as_bytes());
    publish
}

/// [MQTT-4.9.0-1] [MQTT-3.3.4-9]
#[test]
fn mqtt_4_9_0_1_the_first_burst_is_the_receive_maximum_at_most() {
    let (mut subscriber, _) = waiting(3, 8);
    (0..3).for_each(|number| drop(expect_number(&mut subscriber, number)));
    subscriber.expect_nothing();
}

/// [MQTT-4.9.0-2]
#[test]
fn mqtt_4_9_0_2_the_next_message_comes_at_pubcomp_and_not_at_pubrec() {
    let (mut subscriber, _) = waiting(1, 3);
    for number in 0..3 {
        let publish = expect_number(&mut subscriber, number);
        subscriber.send(&ack(PUBREC, publish.id, 0));
        subscriber.expect_ack(PUBREL, publish.id);
        subscriber.expect_nothing();
        subscriber.send(&ack(PUBCOMP, publish.id, 0));
    }
    subscriber.expect_nothing();
}

/// [MQTT-4.9.0-2]
#[test]
fn mqtt_4_9_0_2_the_whole_queue_passes_a_window_of_1() {
    let (mut subscriber, topic) = waiting(1, 50);
    (0..50).for_each(|number| drop(subscriber.receive_payload(number.to_string())));
    connected(V5).publish(&topic, 1, "live");
    assert_eq!(subscriber.receive_payload("live").qos, 1);
}

/// Nothing gives a slot back twice. [MQTT-4.9.0-2]
#[test]
fn mqtt_4_9_0_2_acknowledgements_of_nothing_widen_no_window() {
    let (mut subscriber, _) = waiting(1, 4);
    let publish = expect_number(&mut subscriber, 0);
    for other in [publish.id.wrapping_add(1).max(1), publish.id.wrapping_add(7).max(1)] {
        subscriber.send(&ack(PUBACK, other, 0));
        subscriber.send(&ack(PUBCOMP, other, 0));
    }
    subscriber.expect_nothing();
    subscriber.send(&ack(PUBREC, publish.id, 0));
    subscriber.expect_ack(PUBREL, publish.id);
    subscriber.send(&ack(PUBCOMP, publish.id, 0));
    subscriber.send(&ack(PUBCOMP, publish.id, 0));
    expect_number(&mut subscriber, 1);
    subscriber.expect_nothing();
}

/// [MQTT-4.9.0-3] [MQTT-3.3.4-10]
#[test]
fn mqtt_4_9_0_3_everything_else_flows_at_zero_quota() {
    let (mut subscriber, topic) = waiting(1, 3);
    expect_number(&mut subscriber, 0);
    subscriber.ping();
    let other = unique("o");
    assert_eq!(subscriber.subscribe(&other, 0), 0);
    subscriber.send_publish(&Publication::new(&other, "own").qos(2, 1000));
    assert_eq!(subscriber.await_ack(PUBREC, 1000), 0);
    subscriber.send(&ack(PUBREL, 1000, 0));
    subscriber.await_ack(PUBCOMP, 1000);
    assert_eq!(subscriber.expect_publish().qos, 0);
    assert_eq!(subscriber.unsubscribe(&[&other, &topic]), [0, 0]);
    subscriber.expect_nothing();
}

/// The next connection may be narrower than the one that left its messages open. [MQTT-4.9.0-2] [MQTT-4.4.0-1]
#[test]
fn mqtt_4_9_0_2_repeats_keep_to_the_window_of_the_new_connection() {
    let (mut subscriber, topic, id) = waiting_as(10, 6);
    let open: Vec<Publish> = (0..6).map(|number| expect_number(&mut subscriber, number)).collect();
    subscriber.send(&ack(PUBREC, open[0].id, 0));
    subscriber.expect_ack(PUBREL, open[0].id);
    subscriber.vanish();
    connected(V5).publish(&topic, 1, "6");
    let mut subscriber = Connect::new(V5, &id).resume().receive_maximum(1).open();
    let mut expected = 1;
    let mut released = false;
    while expected <= 6 {
        match subscriber.expect_packet("a repeat or the PUBREL that is owed") {
            Packet::Publish(publish) => {
                assert_eq!(publish.payload, expected.to_string().as_bytes());
                assert_eq!(publish.dup, expected < 6);
                subscriber.acknowledge(&publish);
                expected += 1;
            }
            Packet::Ack(owed) if owed.first == PUBREL && owed.id == open[0].id && !released => {
                released = true;
                subscriber.send(&ack(PUBCOMP, owed.id, 0));
            }
            other => subscriber.fail(&format!("a repeat or the PUBREL that is owed, got {other:?}")),
        }
    }
    assert!(released);
    subscriber.expect_nothing();
}

/// A new connection begins with a full quota, whatever is still to be released. [MQTT-4.9.0-1] [MQTT-3.3.4-7]
#[test]
fn mqtt_4_9_0_1_the_publishers_quota_is_full_on_each_connection() {
    let id = unique("c");
    let publication = |number: u16| Publication::new(unique("t"), "x").qos(2, number);
    let mut publisher = Connect::new(V5, &id).resume().open();
    let maximum = publisher.announced(prop::RECEIVE_MAXIMUM).expect("a modest Receive Maximum is announced") as u16;
    for number in 1..=10 {
        publisher.send_publish(&publication(number));
        publisher.expect_ack(PUBREC, number);
    }
    publisher.vanish();
    let mut publisher = Connect::new(V5, &id).resume().open();
    for number in 101..=100 + maximum {
        publisher.send_publish(&publication(number));
        publisher.expect_ack(PUBREC, number);
    }
    for number in (1..=10).chain(101..=100 + maximum) {
        publisher.send(&ack(PUBREL, number, 0));
        assert_eq!(publisher.expect_ack(PUBCOMP, number).code, 0);
    }
}
