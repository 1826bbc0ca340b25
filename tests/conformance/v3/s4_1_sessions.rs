//! 4.1 and 4.5: what a session keeps, and who receives a message.

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// [MQTT3-4.1.0-1] [MQTT3-3.1.2-4] [MQTT3-4.4.0-1]
#[test]
fn mqtt3_4_1_0_1_subscriptions_queue_and_identifiers_survive_a_reconnect() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 2);
    client.send_publish(&Publication::new(unique("t"), "open").qos(2, 500));
    client.expect_ack(PUBREC, 500);
    connected(V3).publish(&topic, 1, "in flight");
    let sent = client.expect_publish();
    client.vanish();
    connected(V3).publish(&topic, 2, "queued");

    let mut client = Connect::new(V3, &id).clean(false).open();
    let again = client.receive_payload("in flight");
    assert_eq!((again.id, again.dup), (sent.id, true));
    client.receive_payload("queued");
    client.send(&ack(PUBREL, 500, 0));
    client.expect_ack(PUBCOMP, 500);
    connected(V3).publish(&topic, 0, "subscribed");
    client.receive_payload("subscribed");
}

/// [MQTT3-4.1.0-2]
#[test]
fn mqtt3_4_1_0_2_a_session_lasts_as_long_as_its_connection() {
    let topic = unique("t");
    let mut client = Connect::new(V3, unique("c")).keep_alive_s(0).open();
    client.subscribe(&topic, 1);
    for round in 0..3 {
        client.expect_nothing_for(std::time::Duration::from_millis(500));
        connected(V3).publish(&topic, 1, round.to_string());
        client.receive_payload(round.to_string());
    }
}

/// [MQTT3-4.5.0-1]
#[test]
fn mqtt3_4_5_0_1_every_matching_session_gets_the_message() {
    let root = unique("t");
    let absent = unique("c");
    let mut client = Connect::new(V3, &absent).clean(false).open();
    client.subscribe(format!("{root}/#"), 1);
    client.leave();
    let mut present = [connected(V3), connected(V3), connected(V3), connected(V3)];
    for (client, tail) in present.iter_mut().zip(["a", "+", "a/#", "b"]) {
        client.subscribe(format!("{root}/{tail}"), 1);
    }
    connected(V3).publish(format!("{root}/a"), 1, "x");
    for client in &mut present[..3] {
        client.receive_payload("x");
    }
    present[3].expect_nothing();
    Connect::new(V3, &absent).clean(false).open().receive_payload("x");
}

/// [MQTT3-4.5.0-1] [MQTT3-4.1.0-1]
#[test]
fn mqtt3_4_5_0_1_what_was_acknowledged_is_not_sent_again() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 1);
    let mut publisher = connected(V3);
    publisher.publish(&topic, 1, "one");
    publisher.publish(&topic, 1, "two");
    let (one, two) = (client.expect_publish(), client.expect_publish());
    client.send(&ack(PUBACK, one.id, 0));
    client.vanish();
    let mut client = Connect::new(V3, &id).clean(false).open();
    assert_eq!(client.receive_payload("two").id, two.id);
    client.expect_nothing();
}
