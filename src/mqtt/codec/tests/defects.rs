//! What mqttbytes gets wrong, pinned, and that we are not bitten. A test whose first half fails says that a
//! way around may go. (D14, tests of the crate that are never compiled, is nothing a user can see.)

use bytes::{Bytes, BytesMut};
use mqttbytes::{Error, FixedHeader, check, matches, v4, v5};

use crate::mqtt::frame::{Split, split};
use crate::mqtt::publish::{Content, Shape, Templates, encoded_len};
use crate::mqtt::reader::STRUCTURE;
use crate::mqtt::testing::{MALFORMED, V5, connect, field, read, refusal};
use crate::mqtt::{Auth, ConnAck, Out, Outgoing, Packet, PacketId, Peer, ProtocolVersion, QoS, ReasonCode, outgoing};

fn theirs(bytes: &[u8]) -> (FixedHeader, Bytes) {
    let (first, body) = bytes.split_first().expect("a packet");
    (FixedHeader::new(*first, 0, body.len()), Bytes::copy_from_slice(bytes))
}

fn sent(packet: &Outgoing) -> Vec<u8> {
    let peer = Peer { version: ProtocolVersion::V5, maximum_packet_size: u32::MAX, problem_information: true };
    let mut out = Out::default();
    outgoing::put(packet, &peer, &mut out);
    out.plain().to_vec()
}

fn shape(qos: QoS) -> Shape<'static> {
    Shape {
        version: ProtocolVersion::V5,
        qos,
        retain: false,
        dup: false,
        packet_id: PacketId::new(7).filter(|_| qos != QoS::AtMostOnce),
        expiry_s: None,
        alias: None,
        subscription_ids: &[],
    }
}

#[test]
fn d1_topics_that_begin_beyond_ascii_are_read_and_never_matched_by_mqttbytes() {
    assert!(std::panic::catch_unwind(|| matches("é/x", "+/x")).is_err());
    assert!(!matches("$a/x", "$a/x"));
    let body = [&field("é/x")[..], &[0]].concat();
    assert!(read(0x30, &body, V5).is_ok_and(|packet| matches!(packet, Packet::Publish(p) if p.topic == "é/x")));
}

#[test]
fn d2_a_disconnect_of_no_or_one_byte_is_a_disconnect() {
    let mut normal = BytesMut::from(&[0xE0, 0][..]);
    assert_eq!(v5::read(&mut normal, 100), Err(Error::PayloadRequired));
    let (header, bytes) = theirs(&[0xE0, 4]);
    assert_eq!(v5::Disconnect::read(header, bytes), Err(Error::InsufficientBytes(1)));
    let reason = |body: &'static [u8]| match read(0xE0, body, V5) {
        Ok(Packet::Disconnect(disconnect)) => disconnect.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!((reason(&[]), reason(&[4])), (ReasonCode::Success, ReasonCode::DisconnectWithWill));
}

#[test]
fn d3_a_whole_packet_without_its_property_length_is_malformed_and_not_waited_for() {
    let wire = [0x30, 3, 0, 1, b'a'];
    let mut stream = BytesMut::from(&wire[..]);
    assert_eq!(v5::read(&mut stream, 100), Err(Error::InsufficientBytes(1)));
    let Ok(Split::Whole { frame, .. }) = split(&wire, 100) else { panic!("it is all there") };
    assert_eq!(refusal(frame.first, frame.body, V5), (MALFORMED, STRUCTURE));
}

#[test]
fn d4_a_connack_without_properties_still_has_their_length() {
    let mut buffer = BytesMut::new();
    v5::ConnAck::new(v5::ConnectReturnCode::Success, false).write(&mut buffer).expect("written");
    assert_eq!(&buffer[..], [0x20, 2, 0, 0]);
    assert_eq!(sent(&Outgoing::ConnAck(Box::new(ConnAck::bare(ReasonCode::Success)))), [0x20, 3, 0, 0, 0]);
}

#[test]
fn d5_auth_is_read_and_written() {
    let mut stream = BytesMut::from(&[0xF0, 6, 0x18, 4, 0x15, 0, 1, b'm'][..]);
    assert!(v5::read(&mut stream, 100).is_err());
    let auth = read(0xF0, &[0x18, 4, 0x15, 0, 1, b'm'], V5);
    let reason = ReasonCode::ContinueAuthentication;
    assert_eq!(auth, Ok(Packet::Auth(Auth { reason, method: Some("m".into()), data: None })));
    let answer = sent(&Outgoing::Auth { reason, method: "m".into(), data: None });
    assert_eq!(answer, [0xF0, 6, 0x18, 4, 0x15, 0, 1, b'm']);
}

#[test]
fn d6_a_subscription_identifier_takes_its_own_bytes_and_no_others() {
    let payload = Bytes::from_static(b"hi");
    let content = Content { topic: "a", properties: &[], payload: &payload, body: Some(&payload) };
    let mut out = Out::default();
    Templates::default().put(&content, &Shape { subscription_ids: &[1, 2, 3], ..shape(QoS::AtMostOnce) }, &mut out);
    // The Remaining Length, one byte here, is not for mqttbytes.
    let bytes = [&out.plain()[..1], &out.plain()[2..]].concat();
    let (header, bytes) = theirs(&bytes);
    let leaked = v5::Publish::read(header, bytes).expect("it reads something");
    assert_eq!(&leaked.payload[..], [0x0B, 3, b'h', b'i']);
    // Where it counts for us, in SUBSCRIBE, what follows an identifier is read all the same.
    let body = [&[0, 1, 8, 0x0B, 5, 0x26, 0, 1, b'k', 0, 0][..], &field("a"), &[1]].concat();
    let Ok(Packet::Subscribe(subscribe)) = read(0x82, &body, V5) else { panic!("a SUBSCRIBE") };
    assert_eq!((subscribe.subscription_id, &*subscribe.subscriptions[0].filter), (Some(5), "a"));
}

#[test]
fn d7_a_disconnect_never_loses_its_reason() {
    let mut packet = v5::Disconnect::new();
    packet.reason_code = v5::DisconnectReasonCode::ServerShuttingDown;
    packet.properties = Some(v5::DisconnectProperties::new());
    let mut buffer = BytesMut::new();
    packet.write(&mut buffer).expect("written");
    assert_eq!(&buffer[..], [0xE0, 0]);
    let reason = ReasonCode::ServerShuttingDown;
    assert_eq!(sent(&Outgoing::Disconnect { reason, reason_string: None }), [0xE0, 2, 0x8B, 0]);
    let too_long = Some("x".repeat(70_000).into());
    assert_eq!(sent(&Outgoing::Disconnect { reason, reason_string: too_long }), [0xE0, 2, 0x8B, 0]);
}

#[test]
fn d8_passwords_are_bytes_and_an_empty_user_name_is_one() {
    let binary = connect(5, 0xC2, &[&[0], &field("a"), &field("u"), &field([0xFF])]);
    let (header, bytes) = theirs(&[&[0x10][..], &binary].concat());
    assert_eq!(v5::Connect::read(header, bytes), Err(Error::TopicNotUtf8));
    let login = |body: &[u8]| match read(0x10, body, None) {
        Ok(Packet::Connect(connect)) => (connect.user_name, connect.password),
        other => panic!("{other:?}"),
    };
    assert_eq!(login(&binary), (Some("u".into()), Some([0xFF].into())));
    let empty = connect(4, 0xC2, &[&field("a"), &field(""), &field("")]);
    assert_eq!(login(&empty), (Some("".into()), Some([].into())));
    assert_eq!(login(&connect(4, 2, &[&field("a")])), (None, None));
}

#[test]
fn d9_a_connect_is_read_by_the_rules_of_its_own_level() {
    let with_will = connect(4, 0x06, &[&field("a"), &field("w"), &field("bye")]);
    let (header, bytes) = theirs(&[&[0x10][..], &with_will].concat());
    assert!(v5::Connect::read(header, bytes).is_err());
    let (header, bytes) = theirs(&[&[0x10][..], &connect(5, 2, &[&[0], &field("id")])].concat());
    assert_ne!(v4::Connect::read(header, bytes).expect("it reads something").client_id, "id");
    let Ok(Packet::Connect(four)) = read(0x10, &with_will, None) else { panic!("a CONNECT") };
    assert_eq!(four.will.map(|will| will.payload), Some(Bytes::from_static(b"bye")));
    let five = connect(5, 2, &[&[0], &field("id")]);
    let Ok(Packet::Connect(five)) = read(0x10, &five, None) else { panic!("a CONNECT") };
    assert_eq!(&*five.client_id, "id");
    let old = [&field("MQIsdp")[..], &[3, 2, 0, 0], &field("id")].concat();
    let (header, bytes) = theirs(&[&[0x10][..], &old].concat());
    assert_eq!(v4::Connect::read(header, bytes), Err(Error::InvalidProtocol));
    assert!(read(0x10, &old, None).is_ok());
}

#[test]
fn d10_unsubscribe_of_5_is_not_handed_to_what_writes_to_standard_error() {
    // Its read takes the Property Length for the first half of a filter's length, so that an answer with
    // the right filter is ours.
    let body = [&[0, 9, 0][..], &field("a/b")].concat();
    let Ok(Packet::Unsubscribe(unsubscribe)) = read(0xA2, &body, V5) else { panic!("an UNSUBSCRIBE") };
    assert_eq!(unsubscribe.filters, ["a/b".into()]);
    let reading = include_str!("../read.rs");
    assert!(!reading.contains("v5::Unsubscribe"));
}

#[test]
fn d11_no_string_goes_out_under_a_length_that_is_not_its_own() {
    let mut buffer = BytesMut::new();
    let long = "x".repeat(70_000);
    v4::Publish::new(&*long, mqttbytes::QoS::AtMostOnce, vec![]).write(&mut buffer).expect("written");
    assert_eq!(buffer[4..6], 4464_u16.to_be_bytes());
    let advice = ConnAck { reason_string: Some(long.as_str().into()), ..ConnAck::bare(ReasonCode::ServerBusy) };
    let pair = ConnAck { user_properties: vec![("k".into(), long.as_str().into())], ..advice.clone() };
    for connack in [advice, pair] {
        assert_eq!(sent(&Outgoing::ConnAck(Box::new(connack))), [0x20, 3, 0, 0x89, 0]);
    }
}

#[test]
fn d12_nothing_is_written_into_bytes_that_were_there_before() {
    let mut buffer = BytesMut::from(&[0xAA; 20][..]);
    v4::Connect::new("a").write(&mut buffer).expect("written");
    assert_ne!(buffer[..20], [0xAA; 20]);
    let peer = Peer { version: ProtocolVersion::V5, maximum_packet_size: u32::MAX, problem_information: true };
    let mut out = Out::default();
    out.put(&[0xAA; 20]);
    let all = [
        Outgoing::ConnAck(Box::new(ConnAck::bare(ReasonCode::Success))),
        Outgoing::Disconnect { reason: ReasonCode::ServerBusy, reason_string: Some("x".into()) },
        Outgoing::UnsubAck { packet_id: PacketId::new(1).expect("not 0"), codes: vec![ReasonCode::Success] },
    ];
    all.iter().for_each(|packet| outgoing::put(packet, &peer, &mut out));
    assert_eq!(out.plain()[..20], [0xAA; 20]);
    assert_eq!(out.len(), 20 + all.iter().map(|packet| sent(packet).len()).sum::<usize>());
}

#[test]
fn d13_a_packet_that_cannot_be_written_leaves_nothing_behind() {
    let mut buffer = BytesMut::new();
    let publish = v5::Publish::new("a", mqttbytes::QoS::AtLeastOnce, vec![]);
    assert_eq!((publish.write(&mut buffer), buffer.is_empty()), (Err(Error::PacketIdZero), false));
    // Our Packet Identifiers are never 0; what is too long is refused before the first byte.
    let payload = Bytes::from(vec![0; 268_435_456]);
    let content = Content { topic: "a", properties: &[], payload: &payload, body: Some(&payload) };
    let mut out = Out::default();
    for subscription_ids in [&[][..], &[1]] {
        let shape = Shape { subscription_ids, ..shape(QoS::AtLeastOnce) };
        Templates::default().put(&content, &shape, &mut out);
        assert_eq!((encoded_len(&content, &shape), out.len()), (usize::MAX, 0));
    }
}

#[test]
fn d15_the_limit_is_on_the_whole_packet_and_type_0_is_not_buffered() {
    let wire = [&[0x30, 98][..], &[0; 98]].concat();
    assert!(check(wire.iter(), 98).is_ok());
    assert_eq!(split(&wire, 99).map_err(|error| error.reason), Err(ReasonCode::PacketTooLarge));
    assert!(split(&wire, 100).is_ok());
    assert!(matches!(check([0x00, 50].iter(), 98), Err(Error::InsufficientBytes(_))));
    assert_eq!(split(&[0x00, 50], 100).map_err(|error| error.reason), Err(ReasonCode::MalformedPacket));
}
