//! 1.5.3 UTF-8 encoded strings, in every field that is one.

use super::closes;
use crate::support::build::{Connect, Publication, Will, subscribe, unsubscribe};
use crate::support::client::CLOSE;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Props;
use crate::support::wire::Version::V3;

/// A lone continuation byte, a surrogate, an overlong form, a value above U+10FFFF, a cut sequence.
const ILL_FORMED: [&[u8]; 6] =
    [&[0xFF], b"a\x80", &[0xED, 0xA0, 0x80], &[0xC0, 0x80], &[0xF4, 0x90, 0x80, 0x80], b"a\xE2\x82"];

#[track_caller]
fn closes_in_every_field(text: &[u8]) {
    closes(&Publication::new(text, "x").bytes(V3));
    closes(&Publication::new(text, "x").qos(1, 1).bytes(V3));
    closes(&subscribe(V3, 1, &Props::new(), &[(text, 0)]));
    closes(&subscribe(V3, 1, &Props::new(), &[(b"fine", 0), (text, 0)]));
    closes(&unsubscribe(V3, 1, &Props::new(), &[text]));
    for connect in [
        Connect::new(V3, text),
        Connect::new(V3, unique("c")).will(Will::new(text, "x")),
        Connect::new(V3, unique("c")).login(text, "secret"),
    ] {
        connect.attempt().expect_closed(CLOSE);
    }
}

/// [MQTT3-1.5.3-1] [MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11] [MQTT3-3.3.2-1] [MQTT3-3.8.3-1] [MQTT3-3.10.3-1]
#[test]
fn mqtt3_1_5_3_1_ill_formed_utf8_closes() {
    for text in ILL_FORMED {
        closes_in_every_field(text);
    }
}

/// [MQTT3-1.5.3-2] [MQTT3-4.7.3-2]
#[test]
fn mqtt3_1_5_3_2_the_null_character_closes() {
    for text in [b"a\0b".as_slice(), b"\0", b"a\0"] {
        closes_in_every_field(text);
    }
}

/// [MQTT3-1.5.3-3]
#[test]
fn mqtt3_1_5_3_3_a_byte_order_mark_is_an_ordinary_character() {
    let plain = unique("t");
    let marked = format!("\u{FEFF}{plain}");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    assert_eq!(subscriber.subscribe(&marked, 1), 1);
    publisher.publish(&plain, 1, "without");
    publisher.publish(&marked, 1, "with");
    assert_eq!(subscriber.receive_payload("with").topic, marked);
    subscriber.expect_nothing();
}
