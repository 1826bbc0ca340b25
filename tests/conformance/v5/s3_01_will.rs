//! 3.1.2.5 and 3.1.3.2: the will, when it is published and when it is not.

use std::time::{Duration, Instant};

use crate::support::build::{Connect, Will, disconnect};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, frame, prop};

/// A topic and a client that watches it.
fn watched() -> (String, Client) {
    let topic = unique("w");
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 2);
    (topic, watcher)
}

fn connect() -> Connect {
    Connect::new(V5, unique("c"))
}

/// [MQTT-3.1.2-7] [MQTT-3.1.2-8]
#[test]
fn mqtt_3_1_2_7_a_vanished_clients_will_is_published_with_all_it_has() {
    let (topic, mut watcher) = watched();
    let props = Props::new()
        .u8(prop::PAYLOAD_FORMAT, 1)
        .u32(prop::MESSAGE_EXPIRY, 60)
        .field(prop::CONTENT_TYPE, "text")
        .field(prop::RESPONSE_TOPIC, "answer")
        .field(prop::CORRELATION_DATA, [0, 0xFF])
        .user("k", "v");
    connect().will(Will::new(&topic, "gone").qos(1).props(props)).open().vanish();
    let will = watcher.receive_payload("gone");
    assert_eq!((will.topic.as_str(), will.qos, will.retain, will.dup), (topic.as_str(), 1, false, false));
    assert_eq!(will.props.number(prop::PAYLOAD_FORMAT), Some(1));
    assert!(will.props.number(prop::MESSAGE_EXPIRY).is_some_and(|s| s <= 60));
    assert_eq!(will.props.text(prop::CONTENT_TYPE), Some("text"));
    assert_eq!(will.props.text(prop::RESPONSE_TOPIC), Some("answer"));
    assert_eq!(will.props.binary(prop::CORRELATION_DATA), Some(&[0, 0xFF][..]));
    assert_eq!(will.props.user(), [("k", "v")]);
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-7] A will without properties has none when it is published, and its payload may be empty.
#[test]
fn mqtt_3_1_2_7_nothing_is_added_to_a_will() {
    let (topic, mut watcher) = watched();
    connect().will(Will::new(&topic, "").delay_s(0)).open().vanish();
    assert!(watcher.receive_payload("").props.0.is_empty());
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt_3_1_2_8_a_delayed_will_comes_when_its_delay_is_over() {
    let (topic, mut watcher) = watched();
    let client = connect().kept_s(60).will(Will::new(&topic, "late").delay_s(1)).open();
    let before = Instant::now();
    client.vanish();
    watcher.receive_payload("late");
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(1), "after {waited:?} already");
    assert!(waited < Duration::from_millis(2500), "after {waited:?} only");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn mqtt_3_1_2_8_a_delayed_will_comes_no_later_than_the_end_of_the_session() {
    let (topic, mut watcher) = watched();
    let client = connect().kept_s(1).will(Will::new(&topic, "late").delay_s(60)).open();
    let before = Instant::now();
    client.vanish();
    watcher.receive_payload("late");
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(1), "after {waited:?} already");
    assert!(waited < Duration::from_millis(2500), "after {waited:?} only");
    // A session that ends with its connection does not wait at all.
    connect().will(Will::new(&topic, "at once").delay_s(60)).open().vanish();
    watcher.receive_payload("at once");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3]
#[test]
fn mqtt_3_1_2_8_disconnect_0_takes_the_will_away_and_every_other_code_publishes_it() {
    let (topic, mut watcher) = watched();
    connect().will(Will::new(&topic, "never")).open().leave();
    for code in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let mut client = connect().will(Will::new(&topic, [code])).open();
        client.send(&disconnect(V5, code));
        client.drain_to_close();
        watcher.receive_payload([code]);
    }
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-8] [MQTT-4.13.1-1] A client that breaks the rules is closed by the broker, and its will is published.
#[test]
fn mqtt_3_1_2_8_the_will_of_a_client_that_broke_the_rules_is_published() {
    let (topic, mut watcher) = watched();
    let mut client = connect().will(Will::new(&topic, "broken")).open();
    client.send(&frame(0x00, &[]));
    client.expect_disconnect(&[0x81, 0x82]);
    watcher.receive_payload("broken");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-3] Another client in its place ends the first one's connection: the will without delay goes
/// out, and so does a delayed one where Clean Start ends the session.
#[test]
fn mqtt_3_1_2_8_a_take_over_publishes_the_will_unless_its_session_goes_on_within_the_delay() {
    let (topic, mut watcher) = watched();
    let id = unique("c");
    let with = |payload: &str, delay_s| {
        Connect::new(V5, &id).clean(false).kept_s(60).will(Will::new(&topic, payload).delay_s(delay_s)).open()
    };
    let _first = with("without delay", 0);
    let _second = with("never", 60);
    watcher.receive_payload("without delay");
    let _third = with("session ends", 60);
    watcher.expect_nothing();
    let _fourth = Connect::new(V5, &id).open();
    watcher.receive_payload("session ends");
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-10]
#[test]
fn mqtt_3_1_2_10_a_published_will_is_gone() {
    let (topic, mut watcher) = watched();
    let id = unique("c");
    Connect::new(V5, &id).kept_s(60).will(Will::new(&topic, "once")).open().vanish();
    watcher.receive_payload("once");
    Connect::new(V5, &id).resume().open().vanish();
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-10] The will is the connection's: one that is let in without a will has none, with another that one.
#[test]
fn mqtt_3_1_2_10_a_new_connection_replaces_the_will() {
    let (topic, mut watcher) = watched();
    let id = unique("c");
    let with = |payload: &str| {
        Connect::new(V5, &id).clean(false).kept_s(60).will(Will::new(&topic, payload).delay_s(1)).open()
    };
    with("first").vanish();
    with("second").vanish();
    watcher.receive_payload("second");
    watcher.expect_nothing_for(Duration::from_millis(1300));
}

/// [MQTT-3.1.2-12]
#[test]
fn mqtt_3_1_2_12_a_will_is_published_at_its_qos() {
    for qos in 0..=2 {
        let (topic, mut watcher) = watched();
        connect().will(Will::new(&topic, "x").qos(qos)).open().vanish();
        assert_eq!(watcher.receive_payload("x").qos, qos);
    }
}

/// [MQTT-3.1.2-14]
#[test]
fn mqtt_3_1_2_14_without_will_retain_nothing_is_retained() {
    let (topic, mut watcher) = watched();
    connect().will(Will::new(&topic, "x").qos(1)).open().vanish();
    assert!(!watcher.receive_payload("x").retain);
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT-3.1.2-15]
#[test]
fn mqtt_3_1_2_15_with_will_retain_the_will_is_retained() {
    let (topic, mut watcher) = watched();
    connect().will(Will::new(&topic, "x").qos(1).retain()).open().vanish();
    watcher.receive_payload("x");
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    assert!(late.receive_payload("x").retain);
}

/// [MQTT-3.1.2-15] An empty one removes what was retained.
#[test]
fn mqtt_3_1_2_15_an_empty_retained_will_removes_the_retained_message() {
    let (topic, mut watcher) = watched();
    connected(V5).retain(&topic, 1, "old");
    watcher.receive_payload("old");
    connect().will(Will::new(&topic, "").retain()).open().vanish();
    watcher.receive_payload("");
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT-3.1.3-9]
#[test]
fn mqtt_3_1_3_9_a_client_that_is_back_within_the_delay_has_no_will_published() {
    let (topic, mut watcher) = watched();
    let id = unique("c");
    Connect::new(V5, &id).kept_s(60).will(Will::new(&topic, "never").delay_s(1)).open().vanish();
    let _back = Connect::new(V5, &id).clean(false).kept_s(60).open();
    watcher.expect_nothing_for(Duration::from_millis(1800));
}

/// [MQTT-3.1.3-9] [MQTT-3.1.2-8] Coming back with Clean Start 1 is no return: the session has ended.
#[test]
fn mqtt_3_1_3_9_clean_start_within_the_delay_publishes_the_will_at_once() {
    let (topic, mut watcher) = watched();
    let id = unique("c");
    Connect::new(V5, &id).kept_s(60).will(Will::new(&topic, "ended").delay_s(60)).open().vanish();
    let _again = Connect::new(V5, &id).open();
    watcher.receive_payload("ended");
}

/// [MQTT-3.1.3-10]
#[test]
fn mqtt_3_1_3_10_user_properties_of_a_will_keep_their_order() {
    let (topic, mut watcher) = watched();
    let props = Props::new().user("k", "1").user("a", "2").user("k", "3");
    connect().will(Will::new(&topic, "x").props(props)).open().vanish();
    assert_eq!(watcher.receive_payload("x").props.user(), [("k", "1"), ("a", "2"), ("k", "3")]);
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-2] A will for a topic the client may not publish to is not published.
#[test]
fn mqtt_3_1_2_8_a_will_the_client_may_not_publish_goes_nowhere() {
    let topic = format!("read-only/{}", unique("w"));
    let mut watcher = connected(V5);
    assert_eq!(watcher.subscribe(&topic, 0), 0);
    let mut client = connect().will(Will::new(&topic, "secret").retain()).attempt();
    let code = client.expect_connack().code;
    if code == 0 {
        client.vanish();
    } else {
        assert_eq!(code, 0x87);
        client.drain_to_close();
    }
    watcher.expect_nothing();
    let mut late = connected(V5);
    late.subscribe(&topic, 0);
    late.expect_nothing();
}

/// [MQTT-3.1.2-8] DISCONNECT may change how long the session is kept, and with it when the will comes at the latest.
#[test]
fn mqtt_3_1_2_8_a_session_expiry_in_disconnect_counts_for_the_will() {
    let (topic, mut watcher) = watched();
    let mut client = connect().kept_s(60).will(Will::new(&topic, "ended").delay_s(60)).open();
    let expiry = Props::new().u32(prop::SESSION_EXPIRY, 0).block();
    client.send(&frame(0xE0, &concat(&[&[0x04], &expiry])));
    client.drain_to_close();
    watcher.receive_payload("ended");
}
