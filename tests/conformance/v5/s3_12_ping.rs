//! 3.12 PINGREQ and 3.13 PINGRESP.

use crate::support::build::{Connect, PINGREQ, Publication};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;

/// [MQTT-3.12.4-1]
#[test]
fn mqtt_3_12_4_1_each_pingreq_has_its_pingresp() {
    let mut client = connected(V5);
    client.send(&PINGREQ.repeat(3));
    (0..3).for_each(|_| client.expect_pingresp());
    client.expect_nothing();
}

/// [MQTT-3.12.4-1]
#[test]
fn mqtt_3_12_4_1_pingresp_comes_while_the_window_is_full() {
    let topic = unique("t");
    let mut client = Connect::new(V5, unique("c")).receive_maximum(1).open();
    client.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    for _ in 0..5 {
        publisher.publish(&topic, 2, "x");
    }
    client.expect_publish();
    client.send(&PINGREQ);
    client.expect_pingresp();
}

/// [MQTT-3.12.4-1]
#[test]
fn mqtt_3_12_4_1_pingresp_comes_in_the_middle_of_a_fan_out() {
    let topic = unique("t");
    let mut subscribers: Vec<_> = (0..20).map(|_| connected(V5)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe(&topic, 1);
    }
    let mut publisher = connected(V5);
    for _ in 0..10 {
        publisher.send_publish(&Publication::new(&topic, [b'x'; 1000]));
    }
    publisher.ping();
    for subscriber in &mut subscribers {
        subscriber.ping();
    }
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_2_1_3_1_pingreq_with_flags_is_malformed() {
    let mut client = connected(V5);
    client.send(&[0xC1, 0x00]);
    client.expect_refused(&[0x81]);
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_pingreq_with_a_body_is_malformed() {
    let mut client = connected(V5);
    client.send(&[0xC0, 0x01, 0x00]);
    client.expect_refused(&[0x81]);
}

/// Packets that only a server sends. [MQTT-4.13.1-1]
#[test]
fn mqtt_4_13_1_1_packets_of_the_server_are_a_protocol_error() {
    for bytes in [
        &[0xD0, 0x00][..],
        &[0x20, 0x03, 0x00, 0x00, 0x00],
        &[0x90, 0x04, 0x00, 0x01, 0x00, 0x00],
        &[0xB0, 0x04, 0x00, 0x01, 0x00, 0x00],
    ] {
        let mut client = connected(V5);
        client.send(bytes);
        client.expect_refused(&[0x81, 0x82]);
    }
}
