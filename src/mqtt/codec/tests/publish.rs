//! Every valid PUBLISH means the same to mqttbytes and to us.

use bytes::Bytes;
use mqttbytes::{FixedHeader, v4, v5};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use crate::mqtt::testing::{V4, V5, field, read};
use crate::mqtt::{Packet, PublishView, reader};

/// First byte, topic and Packet Identifier of a valid PUBLISH.
fn head() -> impl Strategy<Value = (u8, String, Vec<u8>)> {
    (any::<(bool, bool)>(), 0..3_u8, "[ -*,-~é世\u{FEFF}😀]{1,60}", 1..=u16::MAX).prop_map(
        |((dup, retain), qos, topic, id)| {
            // "#" lies in the first range and "+" between the two.
            let topic = topic.replace('#', "/");
            let first = 0x30 | u8::from(dup && qos > 0) << 3 | qos << 1 | u8::from(retain);
            (first, topic, if qos > 0 { id.to_be_bytes().to_vec() } else { vec![] })
        },
    )
}

/// Properties in wire form, each at most once but User Property, in any order.
fn list() -> impl Strategy<Value = Vec<u8>> {
    let text = || "[a-zé]{0,12}".prop_map(field);
    let behind = |id: u8| move |value: Vec<u8>| [&[id][..], &value].concat();
    let once = (
        prop::option::of((0..2_u8).prop_map(|format| vec![1, format])),
        prop::option::of(any::<u32>().prop_map(|expiry| expiry.to_be_bytes().to_vec()).prop_map(behind(2))),
        prop::option::of(text().prop_map(behind(3))),
        prop::option::of(text().prop_map(behind(8))),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(field).prop_map(behind(9))),
        prop::option::of((1..=u16::MAX).prop_map(|alias| alias.to_be_bytes().to_vec()).prop_map(behind(0x23))),
    );
    let pair = (text(), text()).prop_map(|(name, value)| [&[0x26][..], &name, &value].concat());
    let pairs = prop::collection::vec(pair, 0..4);
    (once, pairs)
        .prop_map(|((a, b, c, d, e, f), pairs)| [a, b, c, d, e, f].into_iter().flatten().chain(pairs).collect())
        .prop_flat_map(|all: Vec<Vec<u8>>| proptest::strategy::Just(all).prop_shuffle())
        .prop_map(|all| all.concat())
}

fn handed_over(first: u8, body: &[u8]) -> (FixedHeader, Bytes) {
    (FixedHeader::new(first, 0, body.len()), Bytes::from([&[first][..], body].concat()))
}

fn ours(first: u8, body: &[u8], version: Option<crate::mqtt::ProtocolVersion>) -> PublishView<'_> {
    match read(first, body, version) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

/// What of a property list mqttbytes can tell, read off our wire form.
fn properties_of(wire: &[u8]) -> v5::PublishProperties {
    let (mut all, mut rest) = (empty(), reader::Reader::new(wire));
    let text = |rest: &mut reader::Reader<'_>| rest.string().expect("checked").to_owned();
    while let Ok(id) = rest.byte() {
        match id {
            1 => all.payload_format_indicator = rest.byte().ok(),
            2 => all.message_expiry_interval = rest.four_bytes().ok(),
            3 => all.content_type = Some(text(&mut rest)),
            8 => all.response_topic = Some(text(&mut rest)),
            9 => all.correlation_data = rest.binary().ok().map(Bytes::copy_from_slice),
            0x23 => all.topic_alias = rest.two_bytes().ok(),
            _ => all.user_properties.push((text(&mut rest), text(&mut rest))),
        }
    }
    all
}

fn empty() -> v5::PublishProperties {
    v5::PublishProperties {
        payload_format_indicator: None,
        message_expiry_interval: None,
        topic_alias: None,
        response_topic: None,
        correlation_data: None,
        user_properties: vec![],
        subscription_identifiers: vec![],
        content_type: None,
    }
}

proptest! {
    #[test]
    fn a_publish_of_5_is_the_same_to_both(
        (first, topic, id) in head(),
        list in list(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut length = Vec::new();
        reader::put_variable(list.len(), &mut length);
        let body = [&field(&topic)[..], &id, &length, &list, &payload].concat();
        let ours = ours(first, &body, V5);
        let (header, bytes) = handed_over(first, &body);
        let theirs = v5::Publish::read(header, bytes).expect("it is valid");
        prop_assert_eq!((ours.dup, ours.qos as u8, ours.retain), (theirs.dup, theirs.qos as u8, theirs.retain));
        prop_assert_eq!(ours.topic, &theirs.topic);
        prop_assert_eq!(ours.packet_id.map_or(0, |id| id.get()), theirs.pkid);
        prop_assert_eq!(ours.payload, &theirs.payload[..]);
        let read = theirs.properties.unwrap_or_else(empty);
        prop_assert_eq!((ours.topic_alias, ours.expiry_s), (read.topic_alias, read.message_expiry_interval));
        prop_assert_eq!(properties_of(ours.properties), read);
        prop_assert_eq!(ours.properties, &list);
    }

    #[test]
    fn a_publish_of_3_1_1_is_the_same_to_both(
        (first, topic, id) in head(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let body = [&field(&topic)[..], &id, &payload].concat();
        let ours = ours(first, &body, V4);
        let (header, bytes) = handed_over(first, &body);
        let theirs = v4::Publish::read(header, bytes).expect("it is valid");
        prop_assert_eq!((ours.dup, ours.qos as u8, ours.retain), (theirs.dup, theirs.qos as u8, theirs.retain));
        prop_assert_eq!((ours.topic, ours.payload), (&*theirs.topic, &theirs.payload[..]));
        prop_assert_eq!(ours.packet_id.map_or(0, |id| id.get()), theirs.pkid);
        prop_assert!(ours.properties.is_empty());
    }
}
