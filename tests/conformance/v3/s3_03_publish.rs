//! 3.3 PUBLISH: flags, topic, retained messages, what is answered.

use super::closes;
use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::{CLOSE, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V3;
use crate::support::{WAIT, unique};

/// [MQTT3-3.3.1-1]
#[test]
fn mqtt3_3_3_1_1_a_redelivered_publish_has_dup_1() {
    for qos in [1, 2] {
        let (topic, id) = (unique("t"), unique("c"));
        let mut subscriber = Connect::new(V3, &id).clean(false).open();
        subscriber.subscribe(&topic, 2);
        connected(V3).publish(&topic, qos, "once");
        let first = subscriber.expect_publish();
        assert!(!first.dup);
        subscriber.vanish();
        let mut subscriber = Connect::new(V3, &id).clean(false).open();
        let again = subscriber.receive_payload("once");
        assert_eq!((again.dup, again.id), (true, first.id), "at QoS {qos}");
        subscriber.vanish();
        Connect::new(V3, &id).clean(false).open().expect_nothing();
    }
}

/// [MQTT3-3.3.1-2]
#[test]
fn mqtt3_3_3_1_2_dup_with_qos_0_closes() {
    closes(&Publication::new(unique("t"), "x").dup().bytes(V3));
}

/// [MQTT3-3.3.1-2] [MQTT3-3.3.1-3] [MQTT3-4.3.1-1]
#[test]
fn mqtt3_3_3_1_3_the_publishers_dup_is_not_passed_on() {
    for (published, granted) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        let topic = unique("t");
        let mut subscriber = connected(V3);
        subscriber.subscribe(&topic, granted);
        connected(V3).publish_this(Publication::new(&topic, "x").dup(), published);
        assert_eq!(subscriber.expect_publish().first, 0x30 | granted << 1, "published at {published}");
    }
}

/// [MQTT3-3.3.1-4]
#[test]
fn mqtt3_3_3_1_4_qos_3_closes() {
    closes(&Publication::new(unique("t"), "x").qos(3, 1).bytes(V3));
    closes(&Publication::new(unique("t"), "x").qos(3, 1).dup().retain().bytes(V3));
}

/// [MQTT3-3.3.1-5] [MQTT3-3.3.1-8]
#[test]
fn mqtt3_3_3_1_5_message_and_qos_are_retained() {
    for (qos, requested, expected) in [(0, 2, 0), (1, 2, 1), (2, 2, 2), (2, 1, 1), (2, 0, 0)] {
        let topic = unique("t");
        connected(V3).retain(&topic, qos, "r");
        let mut late = connected(V3);
        late.subscribe(&topic, requested);
        let publish = late.receive_payload("r");
        assert_eq!((publish.qos, publish.retain), (expected, true));
        late.expect_nothing();
    }
}

/// [MQTT3-3.3.1-6]
#[test]
fn mqtt3_3_3_1_6_a_new_subscription_gets_the_last_of_each_topic() {
    let root = unique("t");
    let mut publisher = connected(V3);
    for payload in ["old", "new"] {
        for leaf in ["1", "2"] {
            publisher.retain(format!("{root}/{leaf}"), 1, format!("{leaf}-{payload}"));
        }
    }
    let mut late = connected(V3);
    late.subscribe(format!("{root}/+"), 1);
    let mut payloads = [late.receive().payload, late.receive().payload];
    payloads.sort();
    assert_eq!(payloads, [b"1-new".to_vec(), b"2-new".to_vec()]);
    late.expect_nothing();
}

/// [MQTT3-3.3.1-7]
#[test]
fn mqtt3_3_3_1_7_a_retained_qos_0_message_replaces_the_one_before() {
    let topic = unique("t");
    let mut publisher = connected(V3);
    publisher.retain(&topic, 1, "1");
    publisher.retain(&topic, 0, "2");
    publisher.ping();
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    match late.poll(WAIT) {
        Event::Silence => {}
        Event::Packet(Packet::Publish(publish)) if publish.payload == b"2" => late.expect_nothing(),
        other => late.fail(&format!("the new message or none, got {other:?}")),
    }
}

/// [MQTT3-3.3.1-9]
#[test]
fn mqtt3_3_3_1_9_an_established_subscription_gets_retain_0() {
    let topic = unique("t");
    let mut subscriber = connected(V3);
    subscriber.subscribe(&topic, 1);
    connected(V3).retain(&topic, 1, "x");
    assert!(!subscriber.receive_payload("x").retain);
}

/// [MQTT3-3.3.1-9]
#[test]
fn mqtt3_3_3_1_9_a_retained_message_that_waited_has_retain_0() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V3, &id).clean(false).open();
    subscriber.subscribe(&topic, 1);
    subscriber.leave();
    connected(V3).retain(&topic, 1, "x");
    assert!(!Connect::new(V3, &id).clean(false).open().receive_payload("x").retain);
}

/// [MQTT3-3.3.1-10]
#[test]
fn mqtt3_3_3_1_10_an_empty_retained_message_is_delivered_and_removes() {
    let topic = unique("t");
    let (mut publisher, mut live) = (connected(V3), connected(V3));
    publisher.retain(&topic, 1, "1");
    live.subscribe(&topic, 1);
    live.receive_payload("1");
    publisher.retain(&topic, 1, "");
    assert!(!live.receive_payload("").retain);
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT3-3.3.1-11]
#[test]
fn mqtt3_3_3_1_11_an_empty_retained_message_is_not_stored() {
    let topic = unique("t");
    connected(V3).retain(&topic, 1, "");
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT3-3.3.1-12]
#[test]
fn mqtt3_3_3_1_12_without_retain_the_retained_message_stays() {
    let topic = unique("t");
    let mut publisher = connected(V3);
    publisher.retain(&topic, 1, "1");
    publisher.publish(&topic, 1, "2");
    publisher.publish(&topic, 1, "");
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.receive_payload("1");
    late.expect_nothing();
}

/// [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]
#[test]
fn mqtt3_3_3_2_2_a_topic_name_with_a_wildcard_closes() {
    for (tail, qos) in [("/+", 0), ("/#", 0), ("+", 1), ("/#/x", 2)] {
        let root = unique("t");
        let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
        subscriber.subscribe(format!("{root}/#"), 1);
        publisher.send_publish(&Publication::new(format!("{root}{tail}"), "x").qos(qos, 9));
        publisher.expect_closed(CLOSE);
        subscriber.expect_nothing();
    }
}

/// [MQTT3-3.3.2-3]
#[test]
fn mqtt3_3_3_2_3_a_delivery_matches_the_filter() {
    let (a, b) = (unique("a"), unique("b"));
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(format!("{a}/+"), 1);
    subscriber.subscribe(format!("{b}/#"), 1);
    let wanted = [format!("{a}/1"), b.clone(), format!("{b}/x/y")];
    for topic in [&wanted[0], &wanted[1], &a, &format!("{a}/1/2"), &unique("c"), &wanted[2]] {
        publisher.publish(topic, 1, topic);
    }
    for topic in &wanted {
        assert_eq!(&subscriber.receive_payload(topic).topic, topic);
    }
    subscriber.expect_nothing();
}

/// [MQTT3-3.3.4-1]
#[test]
fn mqtt3_3_3_4_1_a_publish_is_answered_as_its_qos_demands() {
    let mut client = connected(V3);
    client.send_publish(&Publication::new(unique("t"), "x"));
    client.expect_nothing();
    client.send_publish(&Publication::new(unique("t"), "x").qos(1, 1));
    client.expect_ack(PUBACK, 1);
    client.send_publish(&Publication::new(unique("t"), "x").qos(2, 2));
    client.expect_ack(PUBREC, 2);
    client.send(&ack(PUBREL, 2, 0));
    client.expect_ack(PUBCOMP, 2);
    client.expect_nothing();
}

/// [MQTT3-3.3.5-1]
#[test]
fn mqtt3_3_3_5_1_overlapping_subscriptions_deliver_at_the_highest_qos() {
    for (plus, hash) in [(0, 2), (2, 0), (1, 2), (0, 1)] {
        let root = unique("t");
        let mut subscriber = connected(V3);
        subscriber.subscribe(format!("{root}/+"), plus);
        subscriber.subscribe(format!("{root}/#"), hash);
        connected(V3).publish(format!("{root}/b"), 2, "x");
        assert_eq!(subscriber.receive_payload("x").qos, plus.max(hash));
        subscriber.expect_nothing();
    }
}

/// [MQTT3-3.3.5-2]
#[test]
fn mqtt3_3_3_5_2_a_forbidden_publish_is_acknowledged_or_closes() {
    for (qos, answer) in [(1, PUBACK), (2, PUBREC)] {
        let leaf = unique("t");
        let (mut publisher, mut watcher) = (connected(V3), connected(V3));
        watcher.subscribe(format!("+/{leaf}"), 1);
        publisher.send_publish(&Publication::new(format!("forbidden/{leaf}"), "x").qos(qos, 9));
        match publisher.poll(WAIT) {
            Event::Closed => {}
            Event::Packet(Packet::Ack(ack)) if ack.first == answer && ack.id == 9 => publisher.expect_nothing(),
            other => publisher.fail(&format!("the usual acknowledgement or the end, got {other:?}")),
        }
        watcher.expect_nothing();
    }
}
