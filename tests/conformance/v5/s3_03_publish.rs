//! 3.3 PUBLISH: flags, topic, properties, what is forwarded and how.

use crate::support::build::{PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack, subscribe};
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, field, frame, prop};
use crate::support::{build::Connect, unique};

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_HANDLING_1: u8 = 0x10;
const RETAIN_HANDLING_2: u8 = 0x20;

/// [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.4.0-1]
#[test]
fn mqtt_3_3_1_1_a_redelivered_publish_has_dup_1() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut subscriber = Connect::new(V5, &id).resume().open();
    subscriber.subscribe(&topic, 1);
    connected(V5).publish(&topic, 1, "once");
    let first = subscriber.expect_publish();
    assert!(!first.dup);
    subscriber.vanish();
    let mut subscriber = Connect::new(V5, &id).resume().open();
    let again = subscriber.receive_payload("once");
    assert!(again.dup, "a repeat has DUP 1");
    assert_eq!(again.id, first.id, "a repeat keeps its Packet Identifier");
    subscriber.vanish();
    Connect::new(V5, &id).resume().open().expect_nothing();
}

/// [MQTT-3.3.1-2]
#[test]
fn mqtt_3_3_1_2_dup_with_qos_0_is_malformed() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new(unique("t"), "x").dup());
    client.expect_refused(&[0x81]);
}

/// [MQTT-3.3.1-2] [MQTT-4.3.1-1]
#[test]
fn mqtt_3_3_1_2_qos_0_deliveries_have_dup_0() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 0);
    connected(V5).send_publish(&Publication::new(&topic, "x").qos(1, 3).dup());
    let publish = subscriber.expect_publish();
    assert_eq!(publish.first, 0x30);
}

/// [MQTT-3.3.1-3]
#[test]
fn mqtt_3_3_1_3_the_publishers_dup_is_not_passed_on() {
    for qos in [1, 2] {
        let topic = unique("t");
        let mut subscriber = connected(V5);
        subscriber.subscribe(&topic, qos);
        connected(V5).publish_this(Publication::new(&topic, "x").dup(), qos);
        assert!(!subscriber.receive_payload("x").dup, "at QoS {qos}");
    }
}

/// [MQTT-3.3.1-4]
#[test]
fn mqtt_3_3_1_4_qos_3_is_malformed() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new(unique("t"), "x").qos(3, 1));
    client.expect_refused(&[0x81]);
}

/// [MQTT-3.3.1-5]
#[test]
fn mqtt_3_3_1_5_retain_replaces_the_retained_message() {
    let topic = unique("t");
    let mut publisher = connected(V5);
    publisher.retain(&topic, 1, "1");
    publisher.retain(&topic, 1, "2");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 1);
    assert!(subscriber.receive_payload("2").retain);
    subscriber.expect_nothing();
}

/// [MQTT-3.3.1-6]
#[test]
fn mqtt_3_3_1_6_an_empty_retained_message_is_delivered_and_removes() {
    let topic = unique("t");
    let (mut publisher, mut live) = (connected(V5), connected(V5));
    publisher.retain(&topic, 1, "1");
    live.subscribe(&topic, 1 | RETAIN_HANDLING_2);
    publisher.retain(&topic, 1, "");
    live.receive_payload("");
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT-3.3.1-7]
#[test]
fn mqtt_3_3_1_7_an_empty_retained_message_is_not_stored() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "");
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT-3.3.1-8]
#[test]
fn mqtt_3_3_1_8_without_retain_the_retained_message_stays() {
    let topic = unique("t");
    let mut publisher = connected(V5);
    publisher.retain(&topic, 1, "1");
    publisher.publish(&topic, 1, "2");
    publisher.publish(&topic, 1, "");
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.receive_payload("1");
    late.expect_nothing();
}

/// [MQTT-3.3.1-9]
#[test]
fn mqtt_3_3_1_9_retain_handling_0_sends_each_time() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "r");
    let mut subscriber = connected(V5);
    for _ in 0..2 {
        subscriber.subscribe(&topic, 1);
        assert!(subscriber.receive_payload("r").retain);
    }
}

/// [MQTT-3.3.1-10]
#[test]
fn mqtt_3_3_1_10_retain_handling_1_sends_to_a_new_subscription_only() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "r");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 1 | RETAIN_HANDLING_1);
    subscriber.receive_payload("r");
    subscriber.subscribe(&topic, 1 | RETAIN_HANDLING_1);
    subscriber.expect_nothing();
    subscriber.unsubscribe(&[&topic]);
    subscriber.subscribe(&topic, 1 | RETAIN_HANDLING_1);
    subscriber.receive_payload("r");
}

/// [MQTT-3.3.1-11]
#[test]
fn mqtt_3_3_1_11_retain_handling_2_sends_nothing() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "r");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 1 | RETAIN_HANDLING_2);
    subscriber.expect_nothing();
}

/// [MQTT-3.3.1-11]
#[test]
fn mqtt_3_3_1_11_retain_handling_3_is_a_protocol_error() {
    let mut client = connected(V5);
    client.send_subscribe(1, unique("t"), RETAIN_HANDLING_1 | RETAIN_HANDLING_2);
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn mqtt_3_3_1_12_retain_as_published_decides_about_the_flag() {
    let topic = unique("t");
    let (mut publisher, mut plain, mut keeping) = (connected(V5), connected(V5), connected(V5));
    plain.subscribe(&topic, 1);
    keeping.subscribe(&topic, 1 | RETAIN_AS_PUBLISHED);
    publisher.retain(&topic, 1, "1");
    publisher.publish(&topic, 1, "2");
    assert!(!plain.receive_payload("1").retain);
    assert!(!plain.receive_payload("2").retain);
    assert!(keeping.receive_payload("1").retain);
    assert!(!keeping.receive_payload("2").retain);
}

/// [MQTT-3.3.2-1]
#[test]
fn mqtt_3_3_2_1_a_topic_that_is_not_utf8_is_malformed() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new([0xFF], "x"));
    client.expect_refused(&[0x81]);
}

/// [MQTT-3.3.2-1] [MQTT-4.7.3-1]
#[test]
fn mqtt_3_3_2_1_an_empty_topic_without_alias_is_a_protocol_error() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new("", "x"));
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.3.2-2] [MQTT-4.7.0-1]
#[test]
fn mqtt_3_3_2_2_a_topic_name_with_a_wildcard_is_refused() {
    for (tail, qos) in [("/+", 0), ("/#", 0), ("/+", 1), ("/#", 2)] {
        let root = unique("t");
        let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
        subscriber.subscribe(format!("{root}/#"), 1);
        publisher.send_publish(&Publication::new(format!("{root}{tail}"), "x").qos(qos, 9));
        publisher.expect_refused(&[0x90]);
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.3.2-3]
#[test]
fn mqtt_3_3_2_3_a_delivery_matches_the_filter() {
    let (a, b) = (unique("a"), unique("b"));
    let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
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

/// [MQTT-3.3.2-4]
#[test]
fn mqtt_3_3_2_4_payload_format_indicator_is_forwarded() {
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    for (props, expected) in [
        (Props::new().u8(prop::PAYLOAD_FORMAT, 1), Some(1)),
        (Props::new().u8(prop::PAYLOAD_FORMAT, 0), Some(0)),
        (Props::new(), None),
    ] {
        publisher.publish_this(Publication::new(&topic, "x").props(props), 1);
        assert_eq!(subscriber.receive().props.number(prop::PAYLOAD_FORMAT), expected);
    }
}

/// [MQTT-3.3.2-7]
#[test]
fn mqtt_3_3_2_7_an_alias_ends_with_its_connection() {
    let (id, topic) = (unique("c"), unique("t"));
    let alias = Props::new().u16(prop::TOPIC_ALIAS, 1);
    let mut client = Connect::new(V5, &id).resume().open();
    client.publish_this(Publication::new(&topic, "x").props(alias.clone()), 1);
    client.publish_this(Publication::new("", "x").props(alias.clone()), 1);
    client.vanish();
    let mut client = Connect::new(V5, &id).resume().open();
    client.send_publish(&Publication::new("", "x").props(alias).qos(1, 1));
    client.expect_refused(&[0x82]);
}

/// [MQTT-3.3.2-8]
#[test]
fn mqtt_3_3_2_8_alias_0_is_refused() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new(unique("t"), "x").props(Props::new().u16(prop::TOPIC_ALIAS, 0)));
    client.expect_refused(&[0x94]);
}

/// [MQTT-3.3.2-9] [MQTT-3.2.2-17]
#[test]
fn mqtt_3_3_2_9_an_alias_above_the_maximum_is_refused() {
    let mut client = connected(V5);
    let maximum = client.announced(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0) as u16;
    assert!(maximum < u16::MAX, "a maximum that can be passed");
    client.send_publish(&Publication::new(unique("t"), "x").props(Props::new().u16(prop::TOPIC_ALIAS, maximum + 1)));
    client.expect_refused(&[0x94]);
}

/// [MQTT-3.3.2-12]
#[test]
fn mqtt_3_3_2_12_every_alias_up_to_the_maximum_works() {
    let root = unique("t");
    let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
    subscriber.subscribe(format!("{root}/+"), 1);
    let maximum = publisher.announced(prop::TOPIC_ALIAS_MAXIMUM).expect("aliases are on by default") as u16;
    let alias = |number| Props::new().u16(prop::TOPIC_ALIAS, number);
    let mut published = Vec::new();
    for number in [1, maximum] {
        let topic = format!("{root}/{number}");
        publisher.publish_this(Publication::new(&topic, "set").props(alias(number)), 1);
        publisher.publish_this(Publication::new("", "use").props(alias(number)), 1);
        published.extend([topic.clone(), topic]);
    }
    let topic = format!("{root}/other");
    publisher.publish_this(Publication::new(&topic, "remap").props(alias(1)), 1);
    publisher.publish_this(Publication::new("", "use").props(alias(1)), 1);
    publisher.publish_this(Publication::new("", "use").props(alias(maximum)), 1);
    published.extend([topic.clone(), topic, format!("{root}/{maximum}")]);
    for topic in published {
        let publish = subscriber.receive();
        assert_eq!(publish.topic, topic);
        assert!(!publish.props.has(prop::TOPIC_ALIAS), "the publisher's alias stays on its connection");
    }
}

/// [MQTT-3.3.2-13] [MQTT-3.3.2-19]
#[test]
fn mqtt_3_3_2_13_properties_that_are_not_utf8_are_malformed() {
    for (id, bytes) in [
        (prop::RESPONSE_TOPIC, &[0xFF][..]),
        (prop::RESPONSE_TOPIC, b"a\0b"),
        (prop::CONTENT_TYPE, &[0xED, 0xA0, 0x80]),
        (prop::CONTENT_TYPE, &[0xC0, 0x80]),
    ] {
        let mut client = connected(V5);
        client.send_publish(&Publication::new(unique("t"), "x").props(Props::new().field(id, bytes)));
        client.expect_refused(&[0x81]);
    }
}

/// [MQTT-3.3.2-14]
#[test]
fn mqtt_3_3_2_14_a_response_topic_with_a_wildcard_is_refused() {
    for response in ["a/#", "+"] {
        let topic = unique("t");
        let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
        subscriber.subscribe(&topic, 1);
        publisher
            .send_publish(&Publication::new(&topic, "x").props(Props::new().field(prop::RESPONSE_TOPIC, response)));
        publisher.expect_refused(&[0x82, 0x90]);
        subscriber.expect_nothing();
    }
}

/// All that a publisher may say about its message, in an order of its own.
fn rich() -> Props {
    Props::new()
        .user("b", "1")
        .field(prop::RESPONSE_TOPIC, "answers/to/\u{FEFF}me")
        .user("a", "2")
        .field(prop::CORRELATION_DATA, [0x00, 0xFF, 0x00])
        .user("b", "")
        .field(prop::CONTENT_TYPE, "text/plain; charset=utf-8")
        .u8(prop::PAYLOAD_FORMAT, 1)
        .user("", "empty name")
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn mqtt_3_3_2_15_properties_reach_live_shared_queued_and_retained_alike() {
    let (topic, sleeper) = (unique("t"), unique("c"));
    let (mut live, mut shared) = (connected(V5), connected(V5));
    live.subscribe(&topic, 1);
    shared.subscribe(format!("$share/g/{topic}"), 1);
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    queued.subscribe(&topic, 1);
    queued.vanish();
    connected(V5).publish_this(Publication::new(&topic, "x").retain().props(rich()), 1);
    let mut retained = connected(V5);
    retained.subscribe(&topic, 1);
    let mut queued = Connect::new(V5, &sleeper).resume().open();
    for (name, client) in
        [("live", &mut live), ("shared", &mut shared), ("retained", &mut retained), ("queued", &mut queued)]
    {
        let publish = client.receive_payload("x");
        let props = &publish.props;
        assert_eq!(props.text(prop::RESPONSE_TOPIC), Some("answers/to/\u{FEFF}me"), "{name}");
        assert_eq!(props.binary(prop::CORRELATION_DATA), Some(&[0x00, 0xFF, 0x00][..]), "{name}");
        assert_eq!(props.text(prop::CONTENT_TYPE), Some("text/plain; charset=utf-8"), "{name}");
        assert_eq!(props.number(prop::PAYLOAD_FORMAT), Some(1), "{name}");
        assert_eq!(props.user(), [("b", "1"), ("a", "2"), ("b", ""), ("", "empty name")], "{name}");
        assert!(!props.has(prop::MESSAGE_EXPIRY), "{name}: nothing is invented");
    }
}

/// [MQTT-3.3.4-1]
#[test]
fn mqtt_3_3_4_1_each_qos_has_its_answer() {
    let (topic, mut client) = (unique("t"), connected(V5));
    client.send_publish(&Publication::new(&topic, "0"));
    client.send_publish(&Publication::new(&topic, "1").qos(1, 11));
    client.expect_ack(PUBACK, 11);
    client.send_publish(&Publication::new(&topic, "2").qos(2, 12));
    client.expect_ack(PUBREC, 12);
    client.send(&ack(PUBREL, 12, 0));
    assert_eq!(client.expect_ack(PUBCOMP, 12).code, 0);
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn mqtt_3_3_4_4_one_copy_at_the_highest_qos_with_all_identifiers() {
    let root = unique("t");
    let mut subscriber = connected(V5);
    let id = |number| Props::new().varint(prop::SUBSCRIPTION_ID, number);
    subscriber.subscribe_with(&id(1), &[(format!("{root}/+").as_bytes(), 0)]);
    subscriber.subscribe_with(&id(268_435_455), &[(format!("{root}/#").as_bytes(), 1)]);
    subscriber.subscribe_with(&Props::new(), &[(format!("{root}/b").as_bytes(), 0)]);
    connected(V5).publish(format!("{root}/b"), 2, "x");
    let publish = subscriber.receive_payload("x");
    assert_eq!(publish.qos, 1);
    let mut ids = publish.props.numbers(prop::SUBSCRIPTION_ID);
    ids.sort_unstable();
    assert_eq!(ids, [1, 268_435_455]);
    subscriber.expect_nothing();
}

/// [MQTT-3.3.4-3]
#[test]
fn mqtt_3_3_4_3_a_retained_delivery_carries_its_identifier() {
    let topic = unique("t");
    connected(V5).retain(&topic, 1, "r");
    let mut subscriber = connected(V5);
    subscriber.subscribe_with(&Props::new().varint(prop::SUBSCRIPTION_ID, 77), &[(topic.as_bytes(), 1)]);
    assert_eq!(subscriber.receive_payload("r").props.numbers(prop::SUBSCRIPTION_ID), [77]);
}

/// [MQTT-3.3.4-6]
#[test]
fn mqtt_3_3_4_6_a_client_may_not_send_a_subscription_identifier() {
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    publisher.send_publish(&Publication::new(&topic, "x").props(Props::new().varint(prop::SUBSCRIPTION_ID, 1)));
    publisher.expect_refused(&[0x82]);
    subscriber.expect_nothing();
}

/// [MQTT-3.3.4-7]
#[test]
fn mqtt_3_3_4_7_more_than_the_receive_maximum_is_refused() {
    let mut client = connected(V5);
    let maximum = client.announced(prop::RECEIVE_MAXIMUM).expect("a modest Receive Maximum is announced") as u16;
    assert!(maximum < 1000, "{maximum} is not modest");
    let topic = unique("t");
    for id in 1..=maximum {
        client.send_publish(&Publication::new(&topic, "x").qos(2, id));
        client.expect_ack(PUBREC, id);
    }
    client.send_publish(&Publication::new(&topic, "x").qos(2, maximum + 1));
    client.expect_refused(&[0x93]);
}

/// [MQTT-3.3.4-7]
#[test]
fn mqtt_3_3_4_7_a_full_window_of_the_receive_maximum_is_accepted() {
    let mut client = connected(V5);
    let maximum = client.announced(prop::RECEIVE_MAXIMUM).expect("a modest Receive Maximum is announced") as u16;
    let topic = unique("t");
    let burst: Vec<u8> = (1..=maximum).flat_map(|id| Publication::new(&topic, "x").qos(2, id).bytes(V5)).collect();
    client.send(&burst);
    (1..=maximum).for_each(|id| drop(client.expect_ack(PUBREC, id)));
    for id in 1..=maximum {
        client.send(&ack(PUBREL, id, 0));
        client.expect_ack(PUBCOMP, id);
    }
    client.publish(&topic, 2, "more");
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn mqtt_3_3_4_9_the_clients_receive_maximum_is_respected() {
    let topic = unique("t");
    let mut subscriber = Connect::new(V5, unique("c")).receive_maximum(2).open();
    subscriber.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    for (payload, qos) in [("1", 1), ("2", 2), ("3", 2), ("4", 1), ("5", 1)] {
        publisher.publish(&topic, qos, payload);
    }
    let (one, two) = (subscriber.expect_publish(), subscriber.expect_publish());
    assert_eq!((one.payload.as_slice(), two.payload.as_slice()), (&b"1"[..], &b"2"[..]));
    subscriber.expect_nothing();
    subscriber.send(&ack(PUBACK, one.id, 0));
    let three = subscriber.expect_publish();
    subscriber.send(&ack(PUBREC, two.id, 0));
    subscriber.expect_ack(PUBREL, two.id);
    subscriber.expect_nothing();
    subscriber.send(&ack(PUBCOMP, two.id, 0));
    let four = subscriber.expect_publish();
    subscriber.expect_nothing();
    subscriber.send(&ack(PUBREC, three.id, 0x80));
    assert_eq!(subscriber.expect_publish().payload, b"5");
    assert_eq!(four.payload, b"4");
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
#[test]
fn mqtt_3_3_4_10_a_full_window_holds_nothing_else_back() {
    let topic = unique("t");
    let mut subscriber = Connect::new(V5, unique("c")).receive_maximum(1).open();
    subscriber.subscribe(&topic, 1);
    let mut publisher = connected(V5);
    publisher.publish(&topic, 1, "1");
    publisher.publish(&topic, 1, "2");
    subscriber.expect_publish();
    subscriber.ping();
    let other = unique("o");
    assert_eq!(subscriber.subscribe(&other, 0), 0);
    publisher.publish(&other, 0, "QoS 0 needs no window");
    assert_eq!(subscriber.expect_publish().qos, 0);
    subscriber.unsubscribe(&[&other]);
    subscriber.publish(unique("p"), 1, "x");
    subscriber.publish(unique("p"), 2, "x");
    subscriber.expect_nothing();
}

/// [MQTT-3.8.3-3]
#[test]
fn mqtt_3_8_3_3_no_local_keeps_a_clients_own_messages_away() {
    let topic = unique("t");
    let mut client = connected(V5);
    client.subscribe(&topic, 1 | NO_LOCAL);
    client.publish(&topic, 1, "own");
    connected(V5).publish(&topic, 1, "foreign");
    client.receive_payload("foreign");
    client.expect_nothing();
}

/// Malformed bodies of a PUBLISH: fields that end too early, property lengths that lie.
///
/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_a_publish_that_ends_too_early_is_malformed() {
    let topic = field("t");
    let cases: [(u8, Vec<u8>); 6] = [
        (0x30, vec![]),
        (0x30, vec![0x00]),
        (0x30, vec![0x00, 0x05, b'a']),
        (0x32, topic.clone()),
        (0x30, [&topic[..], &[0x05, 0x01]].concat()),
        (0x32, [&topic[..], &[0x00, 0x01, 0x80]].concat()),
    ];
    for (first, body) in cases {
        let mut client = connected(V5);
        client.send(&frame(first, &body));
        client.expect_refused(&[0x81]);
    }
    let mut client = connected(V5);
    client.send(&subscribe(V5, 1, &Props::new(), &[(b"x", 0)]));
    client.expect_suback(1);
}
