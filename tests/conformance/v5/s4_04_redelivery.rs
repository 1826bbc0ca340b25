//! 4.4 Message delivery retry: on resume, and at no other time.

use std::time::Duration;

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack};
use crate::support::client::Client;
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;

fn resume(id: &str) -> Client {
    Connect::new(V5, id).resume().open()
}

/// [MQTT-4.4.0-1]
#[test]
fn mqtt_4_4_0_1_nothing_is_repeated_on_a_live_connection() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    publisher.publish(&topic, 1, "1");
    publisher.publish(&topic, 2, "2");
    subscriber.expect_publish();
    let second = subscriber.expect_publish();
    subscriber.send(&ack(PUBREC, second.id, 0));
    subscriber.expect_ack(PUBREL, second.id);
    subscriber.expect_nothing_for(Duration::from_secs(4));
}

/// [MQTT-4.4.0-1] [MQTT-4.6.0-5]
#[test]
fn mqtt_4_4_0_1_what_is_owed_comes_first_and_in_order() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = resume(&id);
    subscriber.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    // One after the other: order is kept for messages of the same QoS only [MQTT-4.6.0-6].
    let send = |(number, qos): (usize, u8)| {
        publisher.publish(&topic, qos, number.to_string());
        subscriber.expect_publish()
    };
    let sent: Vec<_> = [1, 2, 1, 2, 2].into_iter().enumerate().map(send).collect();
    subscriber.send(&ack(PUBREC, sent[1].id, 0));
    subscriber.expect_ack(PUBREL, sent[1].id);
    subscriber.vanish();
    publisher.publish(&topic, 1, "meanwhile");
    let mut subscriber = resume(&id);
    let (mut repeats, mut releases) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        match subscriber.expect_packet("what is owed") {
            Packet::Publish(publish) => {
                assert!(publish.dup, "{publish:?}");
                repeats.push((publish.id, publish.payload));
            }
            Packet::Ack(ack) => releases.push((ack.first, ack.id)),
            other => subscriber.fail(&format!("what is owed, got {other:?}")),
        }
    }
    let expected: Vec<_> = [0, 2, 3, 4].map(|at: usize| (sent[at].id, sent[at].payload.clone())).into();
    assert_eq!(repeats, expected);
    assert_eq!(releases, [(PUBREL, sent[1].id)]);
    let fresh = subscriber.expect_publish();
    assert_eq!((fresh.payload.as_slice(), fresh.dup), (&b"meanwhile"[..], false));
    subscriber.send(&ack(PUBCOMP, sent[1].id, 0));
    subscriber.ping();
}

/// [MQTT-4.4.0-1]
#[test]
fn mqtt_4_4_0_1_a_clean_start_owes_nothing() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = resume(&id);
    subscriber.subscribe(&topic, 1);
    connected(V5).publish(&topic, 1, "x");
    subscriber.expect_publish();
    subscriber.vanish();
    Connect::new(V5, &id).clean(true).kept_s(600).open().expect_nothing();
    resume(&id).expect_nothing();
}

/// [MQTT-4.4.0-2]
#[test]
fn mqtt_4_4_0_2_a_failing_acknowledgement_settles_the_publish() {
    for (qos, first, code) in [(1, PUBACK, 0x83), (1, PUBACK, 0x80), (2, PUBREC, 0x97), (2, PUBREC, 0x91)] {
        let (topic, id) = (unique("t"), unique("c"));
        let mut subscriber = resume(&id);
        subscriber.subscribe(&topic, qos);
        connected(V5).publish(&topic, qos, "x");
        let publish = subscriber.expect_publish();
        subscriber.send(&ack(first, publish.id, code));
        subscriber.vanish();
        resume(&id).expect_nothing();
    }
}
