//! 4.8 Errors: a broken rule ends the connection it came on, and no other.

use super::{closes, closes_at_once};
use crate::support::build::{PUBACK, PUBCOMP, PUBREC, PUBREL, ack};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// [MQTT3-4.8.0-1]
#[test]
fn mqtt3_4_8_0_1_packets_a_client_never_sends_close() {
    let topic = unique("t");
    let mut other = connected(V3);
    other.subscribe(&topic, 1);
    for bytes in
        [&[0x00, 0][..], &[0xF0, 0], &[0xF0, 1, 0], &[0x20, 2, 0, 0], &[0x90, 3, 0, 1, 0], &[0xB0, 2, 0, 1], &[0xD0, 0]]
    {
        closes(bytes);
        closes_at_once(bytes);
    }
    connected(V3).publish(&topic, 1, "unharmed");
    other.receive_payload("unharmed");
}

/// [MQTT3-4.8.0-1]
#[test]
fn mqtt3_4_8_0_1_a_remaining_length_of_five_bytes_closes() {
    for first in [0x30, 0x82, 0x40, 0xC0, 0xE0] {
        closes(&[first, 0x80, 0x80, 0x80, 0x80, 0x01]);
        closes(&[first, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    closes_at_once(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01]);
}

/// [MQTT3-4.8.0-1]
#[test]
fn mqtt3_4_8_0_1_lengths_that_do_not_fit_close() {
    for bytes in [
        &[0x30, 0][..],
        &[0x30, 1, 0],
        &[0x30, 3, 0, 5, b'a'],
        &[0x32, 3, 0, 1, b'a'],
        &[0x32, 4, 0, 1, b'a', 1],
        &[0x40, 0],
        &[0x40, 1, 1],
        &[0x40, 3, 0, 1, 0],
        &[0x50, 3, 0, 1, 0],
        &[0x62, 3, 0, 1, 0],
        &[0x70, 3, 0, 1, 0],
        &[0x82, 4, 0, 1, 0, 9],
        &[0xC0, 1, 0],
        &[0xE0, 1, 0],
    ] {
        closes(bytes);
    }
}

/// [MQTT3-4.8.0-1] [MQTT3-2.3.1-6]
#[test]
fn mqtt3_4_8_0_1_acknowledgements_nobody_waits_for_do_no_harm() {
    let mut client = connected(V3);
    client.send(&ack(PUBACK, 4711, 0));
    client.send(&ack(PUBCOMP, 4711, 0));
    client.expect_nothing();
    client.send(&ack(PUBREC, 4711, 0));
    client.expect_ack(PUBREL, 4711);
    client.send(&ack(PUBREL, 4712, 0));
    client.expect_ack(PUBCOMP, 4712);
    client.ping();
}
