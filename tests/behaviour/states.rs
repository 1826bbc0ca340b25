//! Each control packet in each state of a connection: a documented answer, or the end of the connection.

use std::time::Duration;

use crate::support::build::{Connect, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack, disconnect};
use crate::support::build::{subscribe, unsubscribe};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::{Ack, Packet};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::{V3, V5};
use crate::support::wire::{Props, Version, field, frame};
use crate::{VERSIONS, sound};

/// What a connected client sees after a packet.
enum Reaction {
    /// Nothing: the packet asks for no answer, and the connection lives.
    Quiet,
    /// This answer, and the connection lives.
    Answer(fn(&Packet) -> bool),
    /// The end; in 5.0 behind a DISCONNECT with one of these codes.
    Refused(&'static [u8]),
    /// The end, without a word.
    End,
}

fn acked(first: u8, code: u8, packet: &Packet) -> bool {
    matches!(packet, Packet::Ack(Ack { first: got, id: 9, code: why, .. }) if *got == first && *why == code)
}

/// A well-formed packet of each of the sixteen types, as its sender would make it, and what comes of it.
fn packets(version: Version) -> Vec<(Vec<u8>, Reaction)> {
    use Reaction::{Answer, End, Quiet, Refused};
    let topic = unique("t");
    let none: &[u8] = if version == V5 { &[0] } else { &[] };
    let server_only = |first: u8, body: &[&[u8]]| (frame(first, &body.concat()), Refused(&[0x81, 0x82]));
    let publish = Publication::new(&topic, "x");
    vec![
        server_only(0x00, &[]),
        (Connect::new(version, unique("c")).bytes(), Refused(&[0x82])),
        server_only(0x20, &[&[0, 0], none]),
        (publish.bytes(version), Quiet),
        (
            publish.clone().qos(1, 9).bytes(version),
            Answer(|packet| matches!(packet, Packet::Ack(Ack { first: PUBACK, id: 9, .. }))),
        ),
        (
            publish.qos(2, 10).bytes(version),
            Answer(|packet| matches!(packet, Packet::Ack(Ack { first: PUBREC, id: 10, .. }))),
        ),
        (ack(PUBACK, 9, 0), Quiet),
        (
            ack(PUBREC, 9, 0),
            Answer(if version == V5 {
                |packet| acked(PUBREL, 0x92, packet)
            } else {
                |packet| acked(PUBREL, 0, packet)
            }),
        ),
        (
            ack(PUBREL, 9, 0),
            Answer(if version == V5 {
                |packet| acked(PUBCOMP, 0x92, packet)
            } else {
                |packet| acked(PUBCOMP, 0, packet)
            }),
        ),
        (ack(PUBCOMP, 9, 0), Quiet),
        (
            subscribe(version, 9, &Props::new(), &[(topic.as_bytes(), 1)]),
            Answer(|packet| matches!(packet, Packet::Suback(codes) if codes.id == 9 && codes.codes == [1])),
        ),
        server_only(0x90, &[&[0, 9], none, &[0]]),
        (
            unsubscribe(version, 9, &Props::new(), &[topic.as_bytes()]),
            Answer(|packet| matches!(packet, Packet::Unsuback(codes) if codes.id == 9)),
        ),
        server_only(0xB0, &[&[0, 9], none, none]),
        (PINGREQ.to_vec(), Answer(|packet| matches!(packet, Packet::Pingresp))),
        server_only(0xD0, &[]),
        (disconnect(version, 0), End),
        (frame(0xF0, if version == V5 { &[0x18, 0] } else { &[] }), Refused(&[0x82])),
    ]
}

#[test]
fn before_connect_everything_else_closes() {
    for version in VERSIONS {
        for (bytes, _) in packets(version).iter().filter(|(bytes, _)| bytes[0] != 0x10) {
            let mut client = Client::raw(version);
            client.send(bytes);
            client.expect_closed(CLOSE);
        }
    }
    sound();
}

#[test]
fn connected_each_packet_has_its_answer() {
    for version in VERSIONS {
        for (bytes, reaction) in packets(version) {
            let mut client = connected(version);
            client.send(&bytes);
            match reaction {
                Reaction::Quiet => client.ping(),
                Reaction::Answer(fits) => {
                    let packet = client.expect_packet("an answer");
                    assert!(fits(&packet), "{bytes:02X?} in {version:?} is answered {packet:?}");
                    client.ping();
                }
                Reaction::Refused(codes) => client.expect_refused(codes),
                Reaction::End => client.expect_closed(CLOSE),
            }
        }
    }
    sound();
}

#[test]
fn behind_disconnect_nothing_has_an_answer() {
    for version in VERSIONS {
        for (bytes, _) in packets(version) {
            let mut client = connected(version);
            client.send(&[disconnect(version, 0), bytes].concat());
            client.expect_closed(CLOSE);
        }
    }
    sound();
}

#[test]
fn behind_a_broken_rule_nothing_has_an_answer() {
    for version in VERSIONS {
        for (bytes, _) in packets(version) {
            let mut client = connected(version);
            client.send(&[vec![0xC1, 0], bytes].concat());
            client.expect_refused(&[0x81]);
        }
    }
    sound();
}

#[test]
fn behind_a_refused_connect_nothing_has_an_answer() {
    for version in VERSIONS {
        for (bytes, _) in packets(version) {
            let mut client = Client::raw(version);
            let connect = Connect::new(version, unique("c")).login("alice", "wrong").bytes();
            client.send(&[connect, bytes].concat());
            assert_ne!(client.expect_connack().code, 0);
            client.expect_closed(CLOSE);
        }
    }
    sound();
}

#[test]
fn while_it_is_being_let_in_a_client_may_send_on() {
    for version in VERSIONS {
        let topic = unique("t");
        let mut client = Client::raw(version);
        let connect = Connect::new(version, unique("c")).login("alice", "secret").bytes();
        let subscribe = subscribe(version, 1, &Props::new(), &[(topic.as_bytes(), 1)]);
        let publish = Publication::new(&topic, "early").qos(1, 2).bytes(version);
        client.send(&[connect, subscribe, publish, PINGREQ.to_vec()].concat());
        assert_eq!(client.expect_connack().code, 0);
        client.expect_suback(1);
        client.await_ack(PUBACK, 2);
        client.receive_payload("early");
        client.expect_pingresp();
    }
    sound();
}

#[test]
fn odd_sequences_of_whole_packets_end_nothing_but_themselves() {
    for version in VERSIONS {
        let kinds = packets(version);
        for first in 0..kinds.len() {
            let mut client = connected(version);
            for step in 0..kinds.len() {
                client.send(&kinds[(first + step * 7) % kinds.len()].0);
            }
            client.drain_to_close();
        }
    }
    sound();
}

#[test]
fn types_that_do_not_exist_close_in_every_state() {
    for (version, bytes) in [(V3, vec![0xF0, 0]), (V3, vec![0x0F, 0]), (V5, vec![0x0F, 0]), (V5, vec![0xFF, 0])] {
        let mut client = Client::raw(version);
        client.send(&bytes);
        client.expect_closed(CLOSE);
        let mut client = connected(version);
        client.send(&bytes);
        client.expect_refused(&[0x81, 0x82]);
    }
    sound();
}

/// MQTT 3.1 (`MQIsdp`, level 3) differs from 3.1.1 in nothing that a client of it would notice.
#[test]
fn a_client_of_3_1_is_served_by_the_rules_of_3_1_1() {
    let mut connect = Connect::new(V3, unique("c"));
    (connect.name, connect.level) = (b"MQIsdp".to_vec(), 3);
    let mut client = connect.open();
    let topic = unique("t");
    client.subscribe(&topic, 2);
    client.publish(&topic, 2, "x");
    client.receive_payload("x");
    client.send(&[0xC1, 0]);
    client.expect_refused(&[]);
    sound();
}

#[test]
fn a_connection_that_says_nothing_waits_and_may_leave() {
    let mut client = Client::raw(V5);
    match client.poll(Duration::from_millis(200)) {
        Event::Silence => {}
        other => client.fail(&format!("patience, got {other:?}")),
    }
    client.vanish();
    let mut half = Client::raw(V3);
    half.send(&frame(0x10, &field("MQTT"))[..4]);
    half.vanish();
    sound();
}
