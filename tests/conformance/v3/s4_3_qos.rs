//! 4.3 and 4.4: the three levels of service, and what is sent again after a reconnect.

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// A client with a lasting session that is subscribed at QoS 2.
fn lasting(id: &str, topic: &str) -> Client {
    let mut client = Connect::new(V3, id).clean(false).open();
    client.subscribe(topic, 2);
    client
}

fn back(id: &str) -> Client {
    Connect::new(V3, id).clean(false).open()
}

/// [MQTT3-4.3.1-1]
#[test]
fn mqtt3_4_3_1_1_qos_0_is_sent_once() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = lasting(&id, &topic);
    connected(V3).publish(&topic, 0, "x");
    assert_eq!(client.expect_publish().first, 0x30);
    client.expect_nothing();
    client.vanish();
    back(&id).expect_nothing();
}

/// [MQTT3-4.3.2-1] [MQTT3-4.4.0-1]
#[test]
fn mqtt3_4_3_2_1_qos_1_is_sent_until_puback() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = lasting(&id, &topic);
    connected(V3).publish(&topic, 1, "x");
    let first = client.expect_publish();
    assert_eq!(first.first, 0x32);
    for _ in 0..2 {
        client.vanish();
        client = back(&id);
        let again = client.expect_publish();
        assert_eq!((again.first, again.id), (0x3A, first.id));
    }
    client.send(&ack(PUBACK, first.id, 0));
    client.vanish();
    back(&id).expect_nothing();
}

/// [MQTT3-4.3.2-2]
#[test]
fn mqtt3_4_3_2_2_after_puback_the_identifier_is_a_new_message() {
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(&topic, 1);
    for (payload, dup) in [("one", false), ("two", true), ("three", false)] {
        let mut publication = Publication::new(&topic, payload).qos(1, 5);
        publication.dup = dup;
        publisher.send_publish(&publication);
        publisher.expect_ack(PUBACK, 5);
        subscriber.receive_payload(payload);
    }
}

/// [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1]
#[test]
fn mqtt3_4_3_3_1_qos_2_goes_on_where_it_was() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = lasting(&id, &topic);
    connected(V3).publish(&topic, 2, "x");
    let first = client.expect_publish();
    assert_eq!(first.first, 0x34);
    client.vanish();
    let mut client = back(&id);
    let again = client.expect_publish();
    assert_eq!((again.first, again.id), (0x3C, first.id));
    client.send(&ack(PUBREC, first.id, 0));
    client.expect_ack(PUBREL, first.id);
    for _ in 0..2 {
        client.vanish();
        client = back(&id);
        client.expect_ack(PUBREL, first.id);
    }
    client.expect_nothing();
    client.send(&ack(PUBCOMP, first.id, 0));
    client.vanish();
    back(&id).expect_nothing();
}

/// [MQTT3-4.3.3-1]
#[test]
fn mqtt3_4_3_3_1_pubrel_follows_pubrec_and_nothing_else() {
    let topic = unique("t");
    let mut client = connected(V3);
    client.subscribe(&topic, 2);
    connected(V3).publish(&topic, 2, "x");
    let publish = client.expect_publish();
    client.expect_nothing();
    client.send(&ack(PUBREC, publish.id, 0));
    client.expect_ack(PUBREL, publish.id);
    client.expect_nothing();
}

/// [MQTT3-4.3.3-2] [MQTT3-2.3.1-3]
#[test]
fn mqtt3_4_3_3_2_a_repeated_qos_2_publish_is_delivered_once() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut subscriber = connected(V3);
    subscriber.subscribe(&topic, 2);
    let mut publisher = back(&id);
    publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9));
    publisher.expect_ack(PUBREC, 9);
    for _ in 0..2 {
        publisher.vanish();
        publisher = back(&id);
        publisher.send_publish(&Publication::new(&topic, "x").qos(2, 9).dup());
        publisher.expect_ack(PUBREC, 9);
    }
    publisher.vanish();
    publisher = back(&id);
    for _ in 0..2 {
        publisher.send(&ack(PUBREL, 9, 0));
        publisher.expect_ack(PUBCOMP, 9);
    }
    subscriber.receive_payload("x");
    subscriber.expect_nothing();
    publisher.send_publish(&Publication::new(&topic, "y").qos(2, 9));
    publisher.expect_ack(PUBREC, 9);
    publisher.send(&ack(PUBREL, 9, 0));
    publisher.expect_ack(PUBCOMP, 9);
    subscriber.receive_payload("y");
}

/// [MQTT3-4.3.3-2]
#[test]
fn mqtt3_4_3_3_2_dup_says_nothing_about_what_was_received() {
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(&topic, 2);
    publisher.publish_this(Publication::new(&topic, "never seen before").dup(), 2);
    subscriber.receive_payload("never seen before");
}

/// [MQTT3-4.4.0-1]
#[test]
fn mqtt3_4_4_0_1_everything_open_is_sent_again_with_its_identifier() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = lasting(&id, &topic);
    let mut publisher = connected(V3);
    for (qos, payload) in [(1, "a"), (2, "b"), (2, "c")] {
        publisher.publish(&topic, qos, payload);
    }
    let (a, b, c) = (client.expect_publish(), client.expect_publish(), client.expect_publish());
    client.send(&ack(PUBREC, c.id, 0));
    client.expect_ack(PUBREL, c.id);
    client.vanish();
    let mut client = back(&id);
    client.await_ack(PUBREL, c.id);
    let (again_a, again_b) = (client.expect_publish(), client.expect_publish());
    assert_eq!((again_a.first, again_a.id, again_a.payload), (0x3A, a.id, a.payload));
    assert_eq!((again_b.first, again_b.id, again_b.payload), (0x3C, b.id, b.payload));
    client.expect_nothing();
}

/// [MQTT3-4.4.0-1]
#[test]
fn mqtt3_4_4_0_1_a_clean_session_sends_nothing_again() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).open();
    client.subscribe(&topic, 2);
    connected(V3).publish(&topic, 1, "x");
    client.expect_publish();
    client.vanish();
    Connect::new(V3, &id).open().expect_nothing();
}
