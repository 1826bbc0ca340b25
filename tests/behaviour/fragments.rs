//! Where the bytes of a stream are cut makes no difference, and it may end anywhere.

use std::time::Duration;

use crate::support::build::{Connect, PINGREQ, PUBREL, Publication, Will, ack, subscribe, unsubscribe};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::unique;
use crate::support::wire::{Props, Version, prop};
use crate::support::{WAIT, broker};
use crate::{VERSIONS, sound};

/// Long enough for the broker to have read what was sent before; if it was not, the cut is merely less interesting.
const CUT: Duration = Duration::from_millis(1);

/// Packets that the stream is answered with.
const ANSWERS: usize = 10;

/// A connection's whole stream: connect, subscribe, publish at each QoS, unsubscribe elsewhere, ping.
pub(super) fn stream(version: Version, id: &str, topic: &str) -> Vec<u8> {
    let props = if version == Version::V5 { Props::new().user("a", "b") } else { Props::new() };
    let publication = |payload: &str| Publication::new(topic, payload).props(props.clone());
    let will = Will::new("never", "sent").props(props.clone());
    [
        Connect::new(version, id).will(will).login("alice", "secret").props(props.clone()).bytes(),
        subscribe(version, 1, &props, &[(topic.as_bytes(), 0)]),
        publication("zero").bytes(version),
        publication("one").qos(1, 2).bytes(version),
        publication("two").qos(2, 3).bytes(version),
        ack(PUBREL, 3, 0),
        unsubscribe(version, 4, &props, &[b"elsewhere"]),
        PINGREQ.to_vec(),
    ]
    .concat()
}

/// Answers and deliveries, each in their order: between the two there is no order.
fn split(packets: Vec<Packet>) -> (Vec<Packet>, Vec<Packet>) {
    packets.into_iter().partition(|packet| matches!(packet, Packet::Publish(_)))
}

fn replay(version: Version, parts: &[&[u8]]) -> (Vec<Packet>, Vec<Packet>) {
    replay_over(Client::tcp(broker::shared(), version), parts)
}

/// Sends the parts one by one and collects everything that comes.
pub(super) fn replay_over(mut client: Client, parts: &[&[u8]]) -> (Vec<Packet>, Vec<Packet>) {
    let mut packets = Vec::new();
    for part in parts {
        client.send(part);
        if let Event::Packet(packet) = client.poll(CUT) {
            packets.push(packet);
        }
    }
    while packets.len() < ANSWERS {
        match client.poll(WAIT) {
            Event::Packet(packet) => packets.push(packet),
            other => client.fail(&format!("{ANSWERS} packets, got {other:?} after {packets:?}")),
        }
    }
    client.expect_nothing_for(CUT);
    client.leave();
    split(packets)
}

#[test]
fn a_stream_cut_in_two_anywhere_means_the_same() {
    for version in VERSIONS {
        let stream = stream(version, &unique("c"), &unique("t"));
        let whole = replay(version, &[&stream]);
        for at in 1..stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(replay(version, &[head, tail]), whole, "{version:?} cut at {at}");
        }
    }
    sound();
}

#[test]
fn a_stream_in_small_pieces_means_the_same() {
    for version in VERSIONS {
        let stream = stream(version, &unique("c"), &unique("t"));
        let whole = replay(version, &[&stream]);
        for size in [1, 2, 3, 7, 64] {
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(replay(version, &parts), whole, "{version:?} in pieces of {size}");
        }
    }
    sound();
}

#[test]
fn a_stream_may_end_after_any_byte() {
    for version in VERSIONS {
        let stream = stream(version, &unique("c"), &unique("t"));
        for length in 0..=stream.len() {
            let mut client = Client::tcp(broker::shared(), version);
            client.send(&stream[..length]);
            client.vanish();
        }
    }
    sound();
}

#[test]
fn each_packet_may_end_after_any_byte() {
    let topic = unique("t");
    for version in VERSIONS {
        let props = if version == Version::V5 { Props::new().user("a", "b") } else { Props::new() };
        let expiry = if version == Version::V5 { Props::new().u32(prop::MESSAGE_EXPIRY, 9) } else { Props::new() };
        for packet in [
            Publication::new(&topic, "xyz").qos(1, 1).props(expiry).bytes(version),
            subscribe(version, 1, &props, &[(topic.as_bytes(), 0), (b"other", 1)]),
            unsubscribe(version, 1, &props, &[topic.as_bytes(), b"other"]),
        ] {
            for length in 1..packet.len() {
                let mut client = Connect::new(version, unique("c")).open();
                client.send(&packet[..length]);
                client.vanish();
            }
        }
    }
    sound();
}
