//! 4.3.1 and 4.3.2: at most once, at least once.

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;

/// [MQTT-4.3.1-1]
#[test]
fn mqtt_4_3_1_1_qos_0_is_sent_once() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().open();
    subscriber.subscribe(&topic, 0);
    connected(V5).publish(&topic, 2, "once");
    assert_eq!(subscriber.expect_publish().first, 0x30);
    subscriber.vanish();
    Connect::new(V5, &id).resume().open().expect_nothing();
}

/// [MQTT-4.3.2-1] [MQTT-2.2.1-4] [MQTT-4.3.2-2]
#[test]
fn mqtt_4_3_2_1_messages_in_flight_have_identifiers_of_their_own() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    for number in 0..10 {
        publisher.publish(&topic, 1, number.to_string());
    }
    let mut in_flight: Vec<_> = (0..10).map(|_| subscriber.expect_publish()).collect();
    assert!(in_flight.iter().all(|publish| publish.first == 0x32));
    // Every second one is finished; what comes now may take their identifiers and no others that are in use.
    in_flight.iter().step_by(2).for_each(|publish| subscriber.send(&ack(PUBACK, publish.id, 0)));
    subscriber.ping();
    in_flight = in_flight.into_iter().skip(1).step_by(2).collect();
    for number in 10..20 {
        publisher.publish(&topic, 1, number.to_string());
    }
    in_flight.extend((0..10).map(|_| subscriber.expect_publish()));
    let mut ids: Vec<u16> = in_flight.iter().map(|publish| publish.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 15);
}

/// [MQTT-4.3.2-3] [MQTT-4.4.0-1]
#[test]
fn mqtt_4_3_2_3_a_publish_is_unacknowledged_until_its_puback() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().open();
    subscriber.subscribe(&topic, 1);
    let mut publisher = connected(V5);
    for number in 0..3 {
        publisher.publish(&topic, 1, number.to_string());
    }
    let sent: Vec<_> = (0..3).map(|_| subscriber.expect_publish()).collect();
    subscriber.send(&ack(PUBACK, sent[1].id, 0));
    subscriber.vanish();
    let mut subscriber = Connect::new(V5, &id).resume().open();
    for publish in [&sent[0], &sent[2]] {
        let again = subscriber.receive();
        assert_eq!((again.id, &again.payload, again.dup), (publish.id, &publish.payload, true));
    }
    subscriber.expect_nothing();
    subscriber.vanish();
    Connect::new(V5, &id).resume().open().expect_nothing();
}

/// [MQTT-4.3.2-4]
#[test]
fn mqtt_4_3_2_4_what_is_acknowledged_is_owned() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().open();
    subscriber.subscribe(&topic, 1);
    subscriber.vanish();
    let mut publisher = connected(V5);
    publisher.send_publish(&Publication::new(&topic, "x").qos(1, 65_535));
    assert!(publisher.expect_ack(PUBACK, 65_535).code < 0x80);
    publisher.vanish();
    Connect::new(V5, &id).resume().open().receive_payload("x");
}

/// [MQTT-4.3.2-5]
#[test]
fn mqtt_4_3_2_5_after_puback_the_identifier_is_a_new_message() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    for (payload, dup) in [("first", false), ("second", true), ("third", false)] {
        let mut publication = Publication::new(&topic, payload).qos(1, 5);
        publication.dup = dup;
        publisher.send_publish(&publication);
        publisher.expect_ack(PUBACK, 5);
        subscriber.receive_payload(payload);
    }
}

/// The same id in both directions at once is two ids. [MQTT-4.3.2-1] [MQTT-2.2.1-4]
#[test]
fn mqtt_4_3_2_1_each_direction_has_its_own_identifiers() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 1);
    connected(V5).publish(&topic, 1, "theirs");
    let theirs = client.expect_publish();
    client.send_publish(&Publication::new(unique("o"), "ours").qos(2, theirs.id));
    client.expect_ack(PUBREC, theirs.id);
    client.send(&ack(PUBACK, theirs.id, 0));
    client.send(&ack(PUBREL, theirs.id, 0));
    assert_eq!(client.expect_ack(PUBCOMP, theirs.id).code, 0);
}
