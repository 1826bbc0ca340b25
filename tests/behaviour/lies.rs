//! Lengths that are not true.

use crate::support::build::Connect;
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{field, frame};
use crate::support::{WAIT, unique};
use crate::{VERSIONS, sound};

/// Property blocks of which none is true: a length and what follows it.
fn false_blocks() -> Vec<Vec<u8>> {
    let user = [&[0x26][..], &field("a"), &field("b")].concat();
    let with = |length: &[u8]| [length, &user].concat();
    vec![
        with(&[user.len() as u8 + 100]),
        with(&[0xFF, 0xFF, 0xFF, 0x7F]),
        with(&[user.len() as u8 - 1]),
        with(&[1]),
        with(&[user.len() as u8 | 0x80, 0]),
        with(&[user.len() as u8 | 0x80, 0x80, 0x80, 0x80, 0x00]),
        with(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        vec![0x80],
        vec![],
        [&[5, 0x26, 0xFF, 0xFF][..], b"ab"].concat(),
        [&[7][..], &[0x26, 0, 1, b'a', 0xFF, 0xFF, b'b']].concat(),
        vec![2, 0x80, 0x01],
        vec![1, 0x7F],
    ]
}

#[test]
fn a_false_property_length_is_malformed_in_every_packet() {
    let topic = field(unique("t"));
    for block in false_blocks() {
        for (first, head, tail) in [
            (0x32, [&topic[..], &[0, 1]].concat(), vec![]),
            (0x40, vec![0, 1, 0], vec![]),
            (0x50, vec![0, 1, 0], vec![]),
            (0x62, vec![0, 1, 0], vec![]),
            (0x70, vec![0, 1, 0], vec![]),
            (0x82, vec![0, 1], [&topic[..], &[1]].concat()),
            (0xA2, vec![0, 1], topic.clone()),
            (0xE0, vec![0], vec![]),
            (0xF0, vec![0x18], vec![]),
        ] {
            // Behind a reason code a packet may end: that is no lie.
            if block.is_empty() && matches!(first, 0x40..=0x7F | 0xE0) {
                continue;
            }
            let mut client = connected(V5);
            client.send(&frame(first, &[head, block.clone(), tail].concat()));
            client.expect_refused(&[0x81, 0x82]);
        }
    }
    sound();
}

#[test]
fn a_false_property_length_lets_no_connect_in() {
    for block in false_blocks() {
        let head = [&field("MQTT")[..], &[5, 0x06, 0, 60]].concat();
        let id = field(unique("c"));
        let will = [field("topic"), field("payload")].concat();
        let in_connect = [&head[..], &block, &id, &[0], &will].concat();
        let in_will = [&head[..], &[0], &id, &block, &will].concat();
        for body in [in_connect, in_will] {
            let mut client = Client::raw(V5);
            client.send(&frame(0x10, &body));
            client.expect_no_entry(&[0x81, 0x82]);
        }
    }
    sound();
}

#[test]
fn a_string_longer_than_its_packet_closes() {
    for version in VERSIONS {
        for body in [&[0xFF, 0xFF, b'a'][..], &[0, 200, b'a', b'b'], &[0xFF], &[]] {
            let mut client = connected(version);
            client.send(&frame(0x30, body));
            client.expect_refused(&[0x81]);
        }
        let connect = Connect::new(version, unique("c")).bytes();
        for at in [2, connect.len() - 20] {
            let mut lie = connect.clone();
            lie[at] = 0xFF;
            let mut client = Client::raw(version);
            client.send(&lie);
            client.expect_no_entry(&[0x81, 0x82, 0x84, 1]);
        }
    }
    sound();
}

#[test]
fn a_remaining_length_shorter_than_the_packet_smuggles_nothing() {
    for version in VERSIONS {
        // The rest of the body would be a PINGREQ if it were read as a packet.
        let mut client = connected(version);
        client.send(&[0x32, 1, 0, 0xC0, 0x00]);
        match client.poll(WAIT) {
            Event::Closed => {}
            Event::Packet(Packet::Disconnect(reason)) if reason.code == 0x81 => client.expect_closed(CLOSE),
            other => client.fail(&format!("the end, got {other:?}")),
        }
    }
    sound();
}

#[test]
fn a_remaining_length_in_five_bytes_smuggles_nothing() {
    for version in VERSIONS {
        let mut client = connected(version);
        client.send(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x00]);
        client.expect_refused(&[0x81]);
        let mut client = Client::raw(version);
        client.send(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01, 0xC0, 0x00]);
        client.expect_closed(CLOSE);
    }
    sound();
}

#[test]
fn a_packet_above_the_announced_size_is_refused_before_it_is_read() {
    for version in VERSIONS {
        let mut client = connected(version);
        client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        client.expect_refused(&[0x95]);
    }
    sound();
}
