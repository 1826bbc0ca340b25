//! 3.12 PINGREQ and 3.14 DISCONNECT.

use super::closes;
use crate::support::build::{Connect, PINGREQ, Publication, Will, disconnect};
use crate::support::client::CLOSE;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// [MQTT3-3.12.4-1]
#[test]
fn mqtt3_3_12_4_1_each_pingreq_has_its_pingresp() {
    let mut client = connected(V3);
    client.send(&PINGREQ.repeat(3));
    for _ in 0..3 {
        client.expect_pingresp();
    }
    client.expect_nothing();
    closes(&[0xC0, 1, 0]);
}

/// [MQTT3-3.14.1-1] [MQTT3-3.1.2-8]
#[test]
fn mqtt3_3_14_1_1_disconnect_with_reserved_bits_is_an_error() {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    for bytes in [&[0xE1, 0][..], &[0xE8, 0], &[0xE0, 1, 0]] {
        let mut client = Connect::new(V3, unique("c")).will(Will::new(&topic, "error").qos(1)).open();
        client.send(bytes);
        client.expect_closed(CLOSE);
        watcher.receive_payload("error");
    }
}

/// [MQTT3-3.14.4-1]
#[test]
fn mqtt3_3_14_4_1_the_broker_closes_after_disconnect() {
    let mut client = connected(V3);
    client.send(&disconnect(V3, 0));
    client.expect_closed(CLOSE);
}

/// [MQTT3-3.14.4-2]
#[test]
fn mqtt3_3_14_4_2_nothing_behind_disconnect_is_processed() {
    let topic = unique("t");
    let (mut client, mut watcher) = (connected(V3), connected(V3));
    watcher.subscribe(&topic, 1);
    let publish = Publication::new(&topic, "late").bytes(V3);
    client.send(&[&disconnect(V3, 0)[..], &PINGREQ, &publish].concat());
    client.expect_closed(CLOSE);
    watcher.expect_nothing();
}

/// [MQTT3-3.14.4-3]
#[test]
fn mqtt3_3_14_4_3_disconnect_throws_the_will_away() {
    let topic = unique("w");
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    Connect::new(V3, unique("c")).will(Will::new(&topic, "never").qos(1).retain()).open().leave();
    watcher.expect_nothing();
    let mut late = connected(V3);
    late.subscribe(&topic, 1);
    late.expect_nothing();
}
