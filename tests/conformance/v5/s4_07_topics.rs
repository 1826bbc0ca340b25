//! 4.7 Topic Names and Topic Filters.

use crate::support::WAIT;
use crate::support::build::{Connect, Publication, Will};
use crate::support::client::{CLOSE, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;

const RETAIN_HANDLING_2: u8 = 0x20;

/// Publishes to all of these topics; the subscriber of `filter` must get exactly those that are wanted, in order.
#[track_caller]
fn matches(filter: &str, topics: &[&str], wanted: &[&str]) {
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    assert_eq!(subscriber.subscribe(filter, 1), 1, "{filter}");
    for topic in topics {
        publisher.publish(topic, 1, "x");
    }
    for topic in wanted {
        assert_eq!(&subscriber.receive().topic, topic, "{filter}");
    }
    subscriber.expect_nothing();
}

/// Filters that are none: refused one by one, and the connection stands.
#[track_caller]
fn refused(filters: &[&str]) {
    let mut client = connected(V5);
    for filter in filters {
        assert_eq!(client.subscribe(filter, 1), 0x8F, "{filter}");
    }
    client.ping();
}

/// [MQTT-4.7.0-1] [MQTT-3.1.3-11]
#[test]
fn mqtt_4_7_0_1_a_will_topic_with_a_wildcard_is_refused() {
    for topic in ["a/#", "+", "a+"] {
        let mut client = Connect::new(V5, unique("c")).will(Will::new(topic, "x")).attempt();
        match client.poll(WAIT) {
            Event::Packet(Packet::Connack(connack)) if [0x81, 0x82, 0x90].contains(&connack.code) => {
                client.expect_closed(CLOSE);
            }
            Event::Closed => {}
            other => client.fail(&format!("CONNACK 0x90 or 0x81, or the end; got {other:?}")),
        }
    }
}

/// [MQTT-4.7.1-1]
#[test]
fn mqtt_4_7_1_1_a_hash_stands_alone_and_last() {
    refused(&["a#", "a/#/b", "#/a", "##", "a/b#", "#a", "/#a"]);
}

/// [MQTT-4.7.1-1]
#[test]
fn mqtt_4_7_1_1_a_hash_takes_its_parent_and_all_below() {
    let root = unique("t");
    let topic = |tail: &str| format!("{root}{tail}");
    let all = [topic(""), topic("/"), topic("/a"), topic("/a/b/c"), topic("//"), topic("x")];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    matches(&topic("/#"), &all, &all[..5]);
    matches(&topic("/a/#"), &all, &all[2..4]);
}

/// [MQTT-4.7.1-2]
#[test]
fn mqtt_4_7_1_2_a_plus_fills_a_whole_level() {
    refused(&["a+", "+a/b", "a/b+", "a/+b/c", "++", "a/++"]);
}

/// [MQTT-4.7.1-2]
#[test]
fn mqtt_4_7_1_2_a_plus_takes_one_level_empty_or_not() {
    let root = unique("t");
    let topic = |tail: &str| format!("{root}{tail}");
    let all = [topic(""), topic("/"), topic("/a"), topic("/a/b"), topic("/b/b"), topic("//b"), topic("/a/")];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    matches(&topic("/+"), &all, &all[1..3]);
    matches(&topic("/+/b"), &all, &all[3..6]);
    matches(&topic("/a/+"), &all, &[all[3], all[6]]);
    matches(&topic("/+/+"), &all, &all[3..]);
    matches(&topic("/+/b/#"), &all, &all[3..6]);
}

/// [MQTT-4.7.1-2]
#[test]
fn mqtt_4_7_1_2_a_plus_may_come_first() {
    let tail = unique("t");
    let (deep, shallow, empty) = (format!("a/{tail}"), tail.clone(), format!("/{tail}"));
    matches(&format!("+/{tail}"), &[&deep, &shallow, &empty], &[&deep, &empty]);
    matches(&format!("/{tail}"), &[&deep, &shallow, &empty], &[&empty]);
}

/// [MQTT-4.7.2-1]
#[test]
fn mqtt_4_7_2_1_wildcards_do_not_reach_topics_that_start_with_a_dollar() {
    let word = unique("d");
    let (hidden, open) = (format!("$a/{word}/x"), format!("a/$a/{word}/x"));
    matches(&format!("$a/{word}/#"), &[&hidden, &open], &[&hidden]);
    matches(&hidden, &[&hidden], &[&hidden]);
    matches(&format!("a/+/{word}/x"), &[&hidden, &open], &[&open]);
    matches(&format!("+/{word}/#"), &[&hidden, &open], &[]);
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe("#", 1 | RETAIN_HANDLING_2);
    publisher.publish(&hidden, 1, "x");
    publisher.publish(&open, 1, "marker");
    // Other tests publish too.
    loop {
        let publish = subscriber.receive();
        assert!(!publish.topic.starts_with('$'), "# delivered {}", publish.topic);
        if publish.topic == open {
            break;
        }
    }
}

/// [MQTT-4.7.2-1]
#[test]
fn mqtt_4_7_2_1_the_rule_holds_for_retained_messages_too() {
    let word = unique("d");
    connected(V5).retain(format!("$a/{word}"), 1, "r");
    let mut client = connected(V5);
    client.subscribe(format!("+/{word}"), 1);
    client.expect_nothing();
    client.subscribe(format!("$a/{word}"), 1);
    client.receive_payload("r");
    connected(V5).retain(format!("$a/{word}"), 1, "");
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt_4_7_3_1_a_filter_has_at_least_one_character() {
    let mut client = connected(V5);
    client.send_subscribe(1, "", 0);
    match client.expect_packet("SUBACK 0x8F or DISCONNECT") {
        Packet::Suback(codes) => assert_eq!(codes.codes, [0x8F]),
        Packet::Disconnect(reason) => assert!([0x81, 0x82, 0x8F].contains(&reason.code), "{reason:?}"),
        other => client.fail(&format!("SUBACK 0x8F or DISCONNECT, got {other:?}")),
    }
}

/// [MQTT-4.7.3-1]
#[test]
fn mqtt_4_7_3_1_one_character_is_enough() {
    let mut client = connected(V5);
    for filter in ["/", "#", "+", " "] {
        assert_eq!(client.subscribe(filter, 0), 0);
        assert_eq!(client.unsubscribe(&[filter]), [0]);
    }
    assert!(client.publish("/", 1, "x") < 0x80);
}

/// [MQTT-4.7.3-2]
#[test]
fn mqtt_4_7_3_2_u_0000_stands_in_no_topic_and_no_filter() {
    let mut client = connected(V5);
    client.send_publish(&Publication::new("a\0", "x"));
    client.expect_refused(&[0x81]);
    let mut client = connected(V5);
    client.send_subscribe(1, "a\0", 0);
    client.expect_refused(&[0x81]);
}

/// [MQTT-4.7.3-3]
#[test]
fn mqtt_4_7_3_3_names_and_filters_may_have_65535_bytes() {
    let word = unique("t");
    let longest = format!("{word}{}", "x".repeat(65_535 - word.len()));
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    assert_eq!(subscriber.subscribe(&longest, 1), 1);
    publisher.publish(&longest, 1, "x");
    publisher.publish(&longest[..65_534], 1, "one byte less");
    assert!(subscriber.receive_payload("x").topic == longest);
    subscriber.expect_nothing();
}

/// [MQTT-4.7.3-4] [MQTT-1.5.4-3]
#[test]
fn mqtt_4_7_3_4_no_character_is_normalized_or_replaced() {
    let root = unique("t");
    for (one, other) in [
        ("\u{E9}", "e\u{301}"),
        ("A", "a"),
        ("a/", "a"),
        ("/a", "a"),
        ("a//b", "a/b"),
        ("\u{FEFF}a", "a"),
        ("a ", "a"),
        ("\u{212B}", "\u{C5}"),
    ] {
        let (one, other) = (format!("{root}{one}"), format!("{root}{other}"));
        matches(&one, &[&one, &other], &[&one]);
        matches(&other, &[&one, &other], &[&other]);
    }
}
