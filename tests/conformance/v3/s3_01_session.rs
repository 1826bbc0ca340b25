//! 3.1.2.4 CleanSession: what a session keeps, and when it ends.

use crate::support::build::{Connect, PUBACK, ack};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// [MQTT3-3.1.2-4] [MQTT3-3.1.3-2] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT3-4.1.0-1]
#[test]
fn mqtt3_3_1_2_4_clean_session_0_continues_the_session() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    assert!(!client.session_present());
    assert_eq!(client.subscribe(&topic, 1), 1);
    client.vanish();
    connected(V3).publish(&topic, 1, "x");
    let mut client = Connect::new(V3, &id).clean(false).open();
    assert!(client.session_present());
    client.receive_payload("x");
    connected(V3).publish(&topic, 1, "y");
    client.receive_payload("y");
}

/// [MQTT3-3.1.2-4]
#[test]
fn mqtt3_3_1_2_4_disconnect_does_not_end_the_session() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 1);
    client.leave();
    connected(V3).publish(&topic, 1, "x");
    let mut client = Connect::new(V3, &id).clean(false).open();
    assert!(client.session_present());
    client.receive_payload("x");
}

/// [MQTT3-3.1.2-5]
#[test]
fn mqtt3_3_1_2_5_qos_1_and_2_wait_for_an_absent_client() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 2);
    client.leave();
    let mut publisher = connected(V3);
    for (qos, payload) in [(1, "one"), (2, "two"), (1, "three")] {
        publisher.publish(&topic, qos, payload);
    }
    let mut client = Connect::new(V3, &id).clean(false).open();
    let mut came: Vec<_> = (0..3).map(|_| client.receive()).collect();
    // Messages of different QoS have no order among them.
    came.sort_by_key(|publish| publish.qos);
    let came: Vec<_> = came.iter().map(|publish| (publish.qos, publish.dup, publish.payload.as_slice())).collect();
    assert_eq!(came, [(1, false, &b"one"[..]), (1, false, b"three"), (2, false, b"two")], "never sent before");
    client.expect_nothing();
}

/// [MQTT3-3.1.2-6] [MQTT3-3.1.4-3] [MQTT3-3.2.2-1]
#[test]
fn mqtt3_3_1_2_6_clean_session_1_discards_what_was() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 1);
    client.leave();
    connected(V3).publish(&topic, 1, "waiting");
    let mut client = Connect::new(V3, &id).open();
    assert!(!client.session_present());
    client.expect_nothing();
    client.leave();
    let mut client = Connect::new(V3, &id).clean(false).open();
    assert!(!client.session_present());
    connected(V3).publish(&topic, 1, "x");
    client.expect_nothing();
}

/// [MQTT3-3.1.2-6]
#[test]
fn mqtt3_3_1_2_6_a_clean_session_ends_with_its_connection() {
    for says_goodbye in [false, true] {
        let (id, topic) = (unique("c"), unique("t"));
        let mut client = Connect::new(V3, &id).open();
        client.subscribe(&topic, 1);
        if says_goodbye {
            client.leave()
        } else {
            client.vanish()
        }
        connected(V3).publish(&topic, 1, "x");
        let mut client = Connect::new(V3, &id).clean(false).open();
        assert!(!client.session_present());
        client.expect_nothing();
    }
}

/// [MQTT3-3.1.2-6] [MQTT3-3.1.4-2] [MQTT3-3.1.4-3]
#[test]
fn mqtt3_3_1_2_6_a_takeover_with_clean_session_1_discards_too() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut first = Connect::new(V3, &id).clean(false).open();
    first.subscribe(&topic, 1);
    let mut second = Connect::new(V3, &id).open();
    assert!(!second.session_present());
    first.drain_to_close();
    connected(V3).publish(&topic, 1, "x");
    second.expect_nothing();
}

/// [MQTT3-3.1.4-2] [MQTT3-3.1.4-3] [MQTT3-3.1.2-4]
#[test]
fn mqtt3_3_1_4_3_a_takeover_with_clean_session_0_continues() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut first = Connect::new(V3, &id).clean(false).open();
    first.subscribe(&topic, 1);
    connected(V3).publish(&topic, 1, "unacknowledged");
    let sent = first.expect_publish();
    let mut second = Connect::new(V3, &id).clean(false).open();
    assert!(second.session_present());
    first.drain_to_close();
    let again = second.expect_publish();
    assert_eq!((again.id, again.dup, again.payload), (sent.id, true, sent.payload));
    second.send(&ack(PUBACK, again.id, 0));
    connected(V3).publish(&topic, 1, "next");
    second.receive_payload("next");
}

/// [MQTT3-3.1.2-7]
#[test]
fn mqtt3_3_1_2_7_a_retained_message_outlives_its_session() {
    let topic = unique("t");
    let mut publisher = connected(V3);
    publisher.retain(&topic, 1, "x");
    publisher.leave();
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    assert!(late.receive_payload("x").retain);
}

/// [MQTT3-3.1.3-2]
#[test]
fn mqtt3_3_1_3_2_each_client_id_has_its_own_session() {
    let (one, two, topic) = (unique("c"), unique("c"), unique("t"));
    let mut client = Connect::new(V3, &one).clean(false).open();
    client.subscribe(&topic, 1);
    client.leave();
    Connect::new(V3, &two).clean(false).open().leave();
    connected(V3).publish(&topic, 1, "x");
    Connect::new(V3, &two).clean(false).open().expect_nothing();
    let upper = one.to_uppercase();
    assert!(!Connect::new(V3, upper).clean(false).open().session_present());
    Connect::new(V3, &one).clean(false).open().receive_payload("x");
}
