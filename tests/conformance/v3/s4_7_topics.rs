//! 4.7 Topic Names and Topic Filters.

use super::closes;
use crate::support::build::{Connect, Publication, Will, subscribe};
use crate::support::client::{CLOSE, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Props;
use crate::support::wire::Version::V3;
use crate::support::{WAIT, unique};

/// Filters that are none are answered with 0x80, or with the end of the connection.
#[track_caller]
fn is_no_filter(filter: &[u8]) {
    let mut client = connected(V3);
    client.send(&subscribe(V3, 4, &Props::new(), &[(filter, 1)]));
    match client.poll(WAIT) {
        Event::Closed => {}
        Event::Packet(Packet::Suback(codes)) if codes.id == 4 && codes.codes == [0x80] => {}
        other => client.fail(&format!("{} to be refused, got {other:?}", filter.escape_ascii())),
    }
}

/// Publishes to each topic its own name; those expected arrive through the filter, and no others.
#[track_caller]
fn matching(filter: &str, topics: &[&str], expected: &[&str]) {
    let end = unique("end");
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    assert_eq!(client.subscribe(filter, 1), 1, "{filter}");
    client.subscribe(&end, 1);
    for topic in topics {
        publisher.publish(topic, 1, topic);
    }
    publisher.publish(&end, 1, "");
    let mut arrived = Vec::new();
    loop {
        let publish = client.receive();
        if publish.topic == end {
            break;
        }
        assert_eq!(publish.topic.as_bytes(), publish.payload);
        arrived.push(publish.topic);
    }
    assert_eq!(arrived, expected, "through {filter}");
}

/// [MQTT3-4.7.1-1]
#[test]
fn mqtt3_4_7_1_1_a_wildcard_in_a_will_topic_closes() {
    for topic in ["a/#", "a/+", "+", "a#"] {
        Connect::new(V3, unique("c")).will(Will::new(topic, "x")).attempt().expect_closed(CLOSE);
    }
}

/// [MQTT3-4.7.1-2]
#[test]
fn mqtt3_4_7_1_2_hash_stands_alone_and_last() {
    for filter in ["a#", "a/#/b", "#/a", "##", "a/b#", "a/#b", "#/"] {
        is_no_filter(filter.as_bytes());
    }
    let root = unique("t");
    let (a, b, c) = (format!("{root}/a"), format!("{root}/a/b/c"), format!("{root}x"));
    // The parent too.
    matching(&format!("{root}/#"), &[&root, &a, &b, &c], &[&root, &a, &b]);
}

/// [MQTT3-4.7.1-3]
#[test]
fn mqtt3_4_7_1_3_plus_fills_a_whole_level() {
    for filter in ["a+", "+a", "a/b+", "a/+b/c", "++", "+#"] {
        is_no_filter(filter.as_bytes());
    }
    let root = unique("t");
    let topics = [root.clone(), format!("{root}/"), format!("{root}/a"), format!("{root}/a/b"), format!("{root}//b")];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    // An empty level is a level.
    matching(&format!("{root}/+"), &names, &names[1..3]);
    matching(&format!("{root}/+/b"), &names, &names[3..5]);
    matching(&format!("{root}/+/#"), &names, &names[1..5]);
    let leading = format!("/{root}");
    matching(&format!("+/{root}"), &[&leading, &root], &[&leading]);
    matching(&format!("/{root}"), &[&leading, &root], &[&leading]);
}

/// [MQTT3-4.7.2-1]
#[test]
fn mqtt3_4_7_2_1_a_leading_wildcard_does_not_match_a_dollar() {
    let leaf = unique("t");
    let (topic, plain) = (format!("$heraldry/{leaf}"), format!("a/{leaf}"));
    matching(&format!("+/{leaf}"), &[&topic, &plain], &[&plain]);
    matching(&format!("+/{leaf}/#"), &[&topic, &plain], &[&plain]);
    matching(&format!("$heraldry/{leaf}/#"), &[&topic, &plain], &[&topic]);
    let deeper = format!("$heraldry/x/{leaf}");
    matching(&format!("$heraldry/+/{leaf}"), &[&deeper], &[&deeper]);
    let mut all = connected(V3);
    all.subscribe("#", 0);
    let mut publisher = connected(V3);
    publisher.publish(&topic, 0, "hidden");
    publisher.publish(&plain, 0, "shown");
    let first = loop {
        let publish = all.expect_publish();
        assert!(!publish.topic.starts_with('$'), "{publish:?}");
        if publish.topic.ends_with(&leaf) {
            break publish;
        }
    };
    assert_eq!(first.payload, b"shown");
}

/// [MQTT3-4.7.2-1]
#[test]
fn mqtt3_4_7_2_1_nor_does_it_match_a_retained_dollar_topic() {
    let leaf = unique("t");
    connected(V3).retain(format!("$heraldry/{leaf}"), 1, "r");
    let mut client = connected(V3);
    client.subscribe(format!("+/{leaf}"), 1);
    client.expect_nothing();
    client.subscribe(format!("$heraldry/{leaf}"), 1);
    client.receive_payload("r");
}

/// [MQTT3-4.7.3-1]
#[test]
fn mqtt3_4_7_3_1_an_empty_topic_or_filter_is_none() {
    is_no_filter(b"");
    closes(&Publication::new("", "x").bytes(V3));
    closes(&Publication::new("", "x").qos(1, 1).bytes(V3));
    Connect::new(V3, unique("c")).will(Will::new("", "x")).attempt().expect_closed(CLOSE);
    // A level may be empty.
    let slash = format!("{}/", unique("t"));
    matching(&slash, &[&slash], &[&slash]);
}

/// [MQTT3-4.7.3-3]
#[test]
fn mqtt3_4_7_3_3_the_longest_topic_is_delivered() {
    let head = unique("t");
    let topic = format!("{head}/{}", "x".repeat(65_535 - head.len() - 1));
    let (mut publisher, mut client) = (connected(V3), connected(V3));
    assert_eq!(client.subscribe(format!("{head}/+"), 1), 1);
    publisher.publish(&topic, 1, "by wildcard");
    assert_eq!(client.receive_payload("by wildcard").topic, topic);
    client.unsubscribe(&[&format!("{head}/+")]);
    assert_eq!(client.subscribe(&topic, 1), 1);
    publisher.publish(&topic, 1, "by name");
    client.receive_payload("by name");
}

/// [MQTT3-4.7.3-4]
#[test]
fn mqtt3_4_7_3_4_every_character_is_compared_as_it_is() {
    let root = unique("t");
    let variants = ["\u{E9}", "e\u{301}", "E", "e", "e/", "/e", " e", "e ", "\u{FF45}", "%65"];
    let topics: Vec<String> = variants.iter().map(|end| format!("{root}/{end}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for topic in &topics {
        matching(topic, &names, &[topic]);
    }
}
