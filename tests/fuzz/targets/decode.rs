//! Bytes of a client, read as a stream: frames, then packets.
//!
//! Nothing panics; a packet is the same wherever its bytes were cut; and what was accepted comes back as it was when it is
//! written and read again.

use heraldmq::clock::Now;
use heraldmq::identity::Origin;
use heraldmq::message::{Message, Parts};
use heraldmq::mqtt::frame::{Split, split};
use heraldmq::mqtt::publish::{Alias, Content, Shape, Templates, encoded_len};
use heraldmq::mqtt::{Ack, Out, Outgoing, Packet, PacketId, Peer, ProtocolVersion, PublishView, decode, outgoing};

use super::corpus::packets;
use super::input::Input;

const VERSIONS: [Option<ProtocolVersion>; 4] =
    [None, Some(ProtocolVersion::V3_1), Some(ProtocolVersion::V3_1_1), Some(ProtocolVersion::V5)];

/// Longer packets are cut in two only so often.
const CUTS_MAX: usize = 300;

/// The first byte is the version, the second the largest packet, the rest the stream.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut version = input.one_of(&VERSIONS);
    let packet_bytes_max = input.one_of(&[1 << 20, 268_435_460, 64, 300]);
    let mut stream = input.rest();
    while let Ok(Split::Whole { frame, len }) = split_at_every_cut(stream, packet_bytes_max) {
        let Ok(packet) = decode(frame, version) else { return };
        match (&packet, version) {
            (Packet::Connect(connect), None) => version = Some(connect.version),
            (Packet::Connect(_), _) => {}
            (Packet::Publish(view), Some(version)) => written_and_read_again(view, version),
            (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack), Some(version)) => {
                acknowledged_again(&packet, *ack, version);
            }
            (_, None) => panic!("{packet:?} before CONNECT"),
            _ => {}
        }
        stream = &stream[len..];
    }
}

/// What the stream begins with, after a look at each beginning of it: less is never more sure, and never of another mind.
fn split_at_every_cut(stream: &[u8], max: usize) -> Result<Split<'_>, heraldmq::mqtt::DecodeError> {
    let whole = split(stream, max);
    for cut in 0..stream.len().min(CUTS_MAX) {
        match (split(&stream[..cut], max), &whole) {
            (Ok(Split::Incomplete { need }), Ok(Split::Whole { len, .. })) => {
                assert!(need > cut && need <= *len, "{need} bytes wanted of {len} with {cut} there");
            }
            (Ok(Split::Incomplete { need }), Ok(Split::Incomplete { need: later })) => {
                assert!(need > cut && need <= *later, "{need} bytes wanted, later only {later}");
            }
            (Ok(Split::Incomplete { need }), Err(_)) => assert!(need > cut),
            (early, _) => assert_eq!(early, whole, "with {cut} bytes there"),
        }
    }
    whole
}

/// An accepted PUBLISH, sent on as it came: by a template's first use, by its second, and with its alias.
fn written_and_read_again(view: &PublishView<'_>, version: ProtocolVersion) {
    let mut spare = Vec::new();
    let properties = view.forwardable(&mut spare);
    let parts = Parts {
        topic: view.topic,
        properties,
        payload: view.payload,
        qos: view.qos,
        retain: view.retain,
        expiry_s: view.expiry_s,
        origin: Origin(1),
    };
    let message = Message::new(parts, Now::default());
    assert_eq!((message.topic(), message.properties(), message.payload()), (view.topic, properties, view.payload));
    let (properties, payload) = (message.properties(), message.payload());
    let content = Content { topic: message.topic(), properties, payload, body: Some(message.body()) };
    let alias =
        view.topic_alias.map(|alias| if view.topic.is_empty() { Alias::Known(alias) } else { Alias::Teach(alias) });
    let shape = Shape {
        version,
        qos: view.qos,
        retain: view.retain,
        dup: view.dup,
        packet_id: view.packet_id,
        expiry_s: view.expiry_s,
        alias,
        subscription_ids: &[],
    };
    let mut templates = Templates::default();
    let mut expected = PublishView { properties, ..*view };
    comes_back(&mut templates, &content, &shape, &expected);
    if !view.topic.is_empty() {
        // Without its alias, which other receivers do not have.
        let by_name = Shape { alias: None, ..shape };
        expected.topic_alias = None;
        comes_back(&mut templates, &content, &by_name, &expected);
        let packet_id = view.packet_id.and_then(|_| PacketId::new(0xA5A5));
        let other = PublishView { packet_id, dup: false, retain: !view.retain, ..expected };
        let for_other = Shape { packet_id, dup: false, retain: !view.retain, ..by_name };
        comes_back(&mut templates, &content, &for_other, &other);
    }
}

/// `expected` has only the properties that are forwarded.
fn comes_back(templates: &mut Templates, content: &Content<'_>, shape: &Shape<'_>, expected: &PublishView<'_>) {
    let mut out = Out::default();
    templates.put(content, shape, &mut out);
    let bytes = all_of(&out);
    assert_eq!(bytes.len(), encoded_len(content, shape));
    let Packet::Publish(again) = only_packet(&bytes, shape.version) else { panic!("not a PUBLISH: {bytes:x?}") };
    let mut spare = Vec::new();
    assert_eq!(PublishView { properties: again.forwardable(&mut spare), ..again }, *expected);
}

/// An acknowledgement says the same after it was written again.
fn acknowledged_again(packet: &Packet<'_>, ack: Ack, version: ProtocolVersion) {
    let Ack { packet_id, reason } = ack;
    let again = match packet {
        Packet::PubAck(_) => Outgoing::PubAck { packet_id, reason, reason_string: None },
        Packet::PubRec(_) => Outgoing::PubRec { packet_id, reason, reason_string: None },
        Packet::PubRel(_) => Outgoing::PubRel { packet_id, reason },
        _ => Outgoing::PubComp { packet_id, reason },
    };
    let mut out = Out::default();
    outgoing::put(&again, &Peer { version, maximum_packet_size: u32::MAX, problem_information: true }, &mut out);
    assert_eq!(only_packet(&all_of(&out), version), *packet);
}

fn only_packet(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    match split(bytes, usize::MAX) {
        Ok(Split::Whole { frame, len }) if len == bytes.len() => match decode(frame, Some(version)) {
            Ok(packet) => packet,
            Err(error) => panic!("our own packet is refused: {error}: {bytes:x?}"),
        },
        other => panic!("not one packet: {other:?}"),
    }
}

/// Everything that waits in `out`.
pub fn all_of(out: &Out) -> Vec<u8> {
    let mut all = Vec::new();
    out.slices(|slice| all.extend_from_slice(slice));
    all
}

/// Packets alone, then those of a version one after the other.
pub fn seeds() -> Vec<Vec<u8>> {
    let packets = packets();
    let mut seeds: Vec<Vec<u8>> =
        packets.iter().map(|sample| [&[sample.over, 0][..], &sample.bytes].concat()).collect();
    for wanted in [2, 3] {
        let stream = packets.iter().filter(|sample| sample.over == wanted).flat_map(|sample| sample.bytes.clone());
        seeds.push([wanted, 0].into_iter().chain(stream).collect());
    }
    seeds
}
