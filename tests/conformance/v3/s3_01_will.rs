//! 3.1.2.5 to 3.1.2.7: the will.

use crate::support::build::{Connect, Will};
use crate::support::client::{CLOSE, Client};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// A watcher of a fresh will topic.
fn watcher() -> (Client, String) {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 2);
    (watcher, topic)
}

/// [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_1_2_8_the_will_is_published_after_a_network_failure() {
    for qos in 0..=2 {
        let (mut watcher, topic) = watcher();
        let client = Connect::new(V3, unique("c")).will(Will::new(&topic, "gone").qos(qos)).open();
        watcher.expect_nothing();
        client.vanish();
        assert_eq!(watcher.receive_payload("gone").qos, qos);
    }
}

/// [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_1_2_8_the_will_is_published_after_a_protocol_error() {
    let (mut watcher, topic) = watcher();
    let mut client = Connect::new(V3, unique("c")).will(Will::new(&topic, "broken").qos(1)).open();
    client.send(&[0x00, 0x00]);
    client.expect_closed(CLOSE);
    watcher.receive_payload("broken");
}

/// [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_1_2_8_the_will_of_a_lasting_session_is_published_too() {
    let (mut watcher, topic) = watcher();
    Connect::new(V3, unique("c")).clean(false).will(Will::new(&topic, "gone").qos(1)).open().vanish();
    watcher.receive_payload("gone");
}

/// [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_1_2_8_a_will_may_be_empty() {
    let (mut watcher, topic) = watcher();
    Connect::new(V3, unique("c")).will(Will::new(&topic, "").qos(1)).open().vanish();
    watcher.receive_payload("");
}

/// [MQTT3-3.1.2-10]
#[test]
fn mqtt3_3_1_2_10_a_will_is_published_once() {
    let (mut watcher, topic) = watcher();
    let id = unique("c");
    Connect::new(V3, &id).clean(false).will(Will::new(&topic, "once").qos(1)).open().vanish();
    watcher.receive_payload("once");
    Connect::new(V3, &id).clean(false).open().vanish();
    watcher.expect_nothing();
}

/// [MQTT3-3.1.2-10] [MQTT3-3.14.4-3]
#[test]
fn mqtt3_3_1_2_10_disconnect_removes_the_will_for_good() {
    let (mut watcher, topic) = watcher();
    let id = unique("c");
    Connect::new(V3, &id).clean(false).will(Will::new(&topic, "never").qos(1)).open().leave();
    watcher.expect_nothing();
    Connect::new(V3, &id).clean(false).open().vanish();
    watcher.expect_nothing();
}

/// [MQTT3-3.1.2-12]
#[test]
fn mqtt3_3_1_2_12_without_will_flag_there_is_no_will() {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(format!("{topic}/#"), 1);
    Connect::new(V3, &topic).open().vanish();
    watcher.expect_nothing();
}

/// [MQTT3-3.1.2-16]
#[test]
fn mqtt3_3_1_2_16_will_retain_0_is_not_retained() {
    let (mut watcher, topic) = watcher();
    Connect::new(V3, unique("c")).will(Will::new(&topic, "gone").qos(1)).open().vanish();
    assert!(!watcher.receive_payload("gone").retain);
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}

/// [MQTT3-3.1.2-17]
#[test]
fn mqtt3_3_1_2_17_will_retain_1_is_retained() {
    let (mut watcher, topic) = watcher();
    Connect::new(V3, unique("c")).will(Will::new(&topic, "gone").qos(1).retain()).open().vanish();
    assert!(!watcher.receive_payload("gone").retain);
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    assert!(late.receive_payload("gone").retain);
}
