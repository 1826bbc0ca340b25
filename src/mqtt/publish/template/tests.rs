use super::*;
use crate::mqtt::frame::{Split, split};
use crate::mqtt::{Packet, decode, reader};
use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn sent(out: &Out) -> Vec<u8> {
    let mut all = Vec::new();
    out.slices(|slice| all.extend_from_slice(slice));
    all
}

fn shape(version: ProtocolVersion, qos: QoS) -> Shape<'static> {
    let packet_id = if qos == QoS::AtMostOnce { None } else { PacketId::new(0x102) };
    let (retain, dup, expiry_s, alias, subscription_ids) = (false, false, None, None, &[][..]);
    Shape { version, qos, retain, dup, packet_id, expiry_s, alias, subscription_ids }
}

#[test]
fn mqtt_2_2_1_2_and_2_2_2_1_the_bytes_are_those_of_the_standard() {
    let payload = Bytes::from_static(b"hi");
    let content = Content { topic: "a/b", properties: &[1, 1], payload: &payload, body: Some(&payload) };
    let mut out = Out::default();
    let mut templates = Templates::default();
    templates.put(&content, &shape(ProtocolVersion::V5, QoS::AtMostOnce), &mut out);
    templates.put(&content, &shape(ProtocolVersion::V3_1_1, QoS::AtMostOnce), &mut out);
    let repeat = Shape { dup: true, retain: true, expiry_s: Some(9), ..shape(ProtocolVersion::V5, QoS::ExactlyOnce) };
    templates.put(&content, &repeat, &mut out);
    let expected = [
        &[0x30, 10, 0, 3, b'a', b'/', b'b', 2, 1, 1, b'h', b'i'][..],
        &[0x30, 7, 0, 3, b'a', b'/', b'b', b'h', b'i'],
        &[0x3D, 17, 0, 3, b'a', b'/', b'b', 1, 2, 7, 2, 0, 0, 0, 9, 1, 1, b'h', b'i'],
    ];
    assert_eq!(sent(&out), expected.concat());
}

#[test]
fn mqtt_3_3_1_2_no_repeat_is_marked_at_qos_0() {
    let payload = Bytes::new();
    let content = Content { topic: "a", properties: &[], payload: &payload, body: Some(&payload) };
    let mut out = Out::default();
    Templates::default().put(&content, &Shape { dup: true, ..shape(ProtocolVersion::V5, QoS::AtMostOnce) }, &mut out);
    assert_eq!(sent(&out)[0], 0x30);
}

#[test]
fn a_frame_is_forgotten_with_its_message() {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    let mut templates = Templates::default();
    let mut out = Out::default();
    let layout = shape(ProtocolVersion::V3_1_1, QoS::AtMostOnce);
    templates.put(&Content { topic: "a", properties: &[], payload: &first, body: Some(&first) }, &layout, &mut out);
    templates.clear();
    templates.put(&Content { topic: "b", properties: &[], payload: &second, body: Some(&second) }, &layout, &mut out);
    assert!(sent(&out).ends_with(b"\x30\x09\x00\x01bsecond"));
}

#[test]
fn payloads_are_shared_above_8_kib_and_copied_up_to_it() {
    for (len, shared) in [(8 * 1024, false), (8 * 1024 + 1, true)] {
        let payload = Bytes::from(vec![7; len]);
        let content = Content { topic: "a", properties: &[], payload: &payload, body: Some(&payload) };
        let plain = shape(ProtocolVersion::V5, QoS::AtMostOnce);
        for layout in [plain, Shape { subscription_ids: &[1], ..plain }] {
            let mut out = Out::default();
            Templates::default().put(&content, &layout, &mut out);
            assert_eq!((out.has_shared(), out.len()), (shared, encoded_len(&content, &layout)));
            assert!(sent(&out).ends_with(&payload));
        }
    }
}

#[test]
fn a_known_alias_stands_for_the_topic_and_identifiers_are_repeated() {
    let payload = Bytes::from_static(b"hi");
    let content = Content { topic: "a/b", properties: &[1, 1], payload: &payload, body: Some(&payload) };
    let plain = shape(ProtocolVersion::V5, QoS::AtMostOnce);
    let mut out = Out::default();
    let known = Shape { alias: Some(Alias::Known(3)), subscription_ids: &[1, 300], ..plain };
    Templates::default().put(&content, &known, &mut out);
    assert_eq!(sent(&out), [0x30, 15, 0, 0, 10, 0x23, 0, 3, 0x0B, 1, 0x0B, 0xAC, 2, 1, 1, b'h', b'i']);
    let mut out = Out::default();
    Templates::default().put(&content, &Shape { alias: Some(Alias::Teach(3)), ..plain }, &mut out);
    assert_eq!(sent(&out), [0x30, 13, 0, 3, b'a', b'/', b'b', 5, 0x23, 0, 3, 1, 1, b'h', b'i']);
}

/// A shape and the Subscription Identifiers it borrows.
fn any_shape() -> impl Strategy<Value = (Shape<'static>, Vec<u32>)> {
    let version = prop_oneof![Just(ProtocolVersion::V5), Just(ProtocolVersion::V3_1_1), Just(ProtocolVersion::V3_1)];
    let alias =
        prop::option::of(prop_oneof![(1..=u16::MAX).prop_map(Alias::Teach), (1..=u16::MAX).prop_map(Alias::Known)]);
    let ids = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(1..=VARIABLE_MAX as u32, 1..4)];
    (version, 0..3_u8, any::<(bool, bool)>(), 1..=u16::MAX, any::<Option<u32>>(), alias, ids).prop_map(
        |(version, qos, (retain, dup), id, expiry_s, alias, ids)| {
            let qos = QoS::from_bits(qos).expect("0 to 2");
            let packet_id = PacketId::new(id).filter(|_| qos != QoS::AtMostOnce);
            let shape = Shape { version, qos, retain, dup, packet_id, expiry_s, alias, subscription_ids: &[] };
            (shape, ids)
        },
    )
}

proptest! {
    #[test]
    fn what_is_put_has_the_length_foretold_and_is_read_as_it_was_meant(
        topic in "[a-zé/]{1,30}",
        payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), Just(vec![1; 9000])],
        shapes in prop::collection::vec(any_shape(), 1..8),
    ) {
        let payload = Bytes::from(payload);
        let content = Content { topic: &topic, properties: &[1, 1, 0x26, 0, 1, b'k', 0, 0], payload: &payload, body: Some(&payload) };
        let mut templates = Templates::default();
        for (shape, ids) in &shapes {
            let shape = Shape { subscription_ids: ids, ..*shape };
            let is_v5 = shape.version.is_v5();
            let mut out = Out::default();
            out.put(b"before");
            templates.put(&content, &shape, &mut out);
            let wire = sent(&out).split_off(6);
            prop_assert_eq!(wire.len(), encoded_len(&content, &shape));
            let Ok(Split::Whole { frame, len }) = split(&wire, wire.len()) else { panic!("{wire:x?}") };
            prop_assert_eq!(len, wire.len());
            if is_v5 && !ids.is_empty() {
                // A client may not send identifiers, so these are read by hand.
                let mut listed = Vec::new();
                ids.iter().for_each(|id| { listed.push(0x0B); reader::put_variable(*id as usize, &mut listed); });
                prop_assert!(wire.windows(listed.len()).any(|part| part == listed));
                continue;
            }
            let Ok(Packet::Publish(read)) = decode(frame, Some(shape.version)) else { panic!("{wire:x?}") };
            let (taught, expects_topic) = match shape.alias.filter(|_| is_v5) {
                Some(Alias::Known(alias)) => (Some(alias), ""),
                Some(Alias::Teach(alias)) => (Some(alias), &*topic),
                None => (None, &*topic),
            };
            prop_assert_eq!((read.topic, read.topic_alias), (expects_topic, taught));
            prop_assert_eq!((read.qos, read.retain, read.packet_id), (shape.qos, shape.retain, shape.packet_id));
            prop_assert_eq!(read.dup, shape.dup && shape.qos != QoS::AtMostOnce);
            prop_assert_eq!(read.expiry_s, shape.expiry_s.filter(|_| is_v5));
            prop_assert_eq!(read.payload, &payload[..]);
            let forwarded = if is_v5 { content.properties } else { &[] };
            let mut spare = Vec::new();
            prop_assert_eq!(read.forwardable(&mut spare), forwarded);
        }
    }
}
