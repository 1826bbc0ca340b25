use super::*;
use crate::mqtt::frame::{Split, split};
use crate::mqtt::testing::{V4, V5, connect, field, read, valid};

#[test]
fn a_full_connect_of_5_comes_out_whole() {
    let (_, first, body) = valid().swap_remove(0);
    let Ok(Packet::Connect(connect)) = read(first, &body, None) else { panic!("a CONNECT") };
    let user = [&[0x26][..], &field("k"), &field("v")].concat();
    let will = Will {
        topic: "w/t".into(),
        payload: Bytes::from_static(&[0xFF, 0]),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_s: 9,
        expiry_s: Some(7),
        properties: Bytes::from([&[3, 0, 1, b'c'][..], &user].concat()),
    };
    let expected = Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "id".into(),
        will: Some(will),
        user_name: Some("user".into()),
        password: Some([0, 0xFF].into()),
        session_expiry_s: 60,
        receive_maximum: 20,
        maximum_packet_size: Some(65_536),
        topic_alias_maximum: 5,
        request_response_information: true,
        request_problem_information: false,
        authentication_method: Some("m".into()),
        authentication_data: Some([0, 0xFF].into()),
    };
    assert!(*connect == expected, "{connect:?}");
}

#[test]
fn what_a_connect_of_5_leaves_out_has_the_standards_value() {
    let body = connect(5, 0, &[&[0], &field("")]);
    let Ok(Packet::Connect(connect)) = read(0x10, &body, None) else { panic!("a CONNECT") };
    assert_eq!((connect.clean_start, connect.session_expiry_s, &*connect.client_id), (false, 0, ""));
    assert_eq!((connect.receive_maximum, connect.topic_alias_maximum), (65_535, 0));
    assert_eq!((connect.maximum_packet_size, connect.will), (None, None));
    assert_eq!((connect.request_response_information, connect.request_problem_information), (false, true));
}

#[test]
fn mqtt3_3_1_2_4_and_6_clean_session_is_a_clean_start_and_an_expiry() {
    for (flags, clean, expiry) in [(2, true, 0), (0, false, u32::MAX)] {
        let body = connect(4, flags, &[&field("a")]);
        let Ok(Packet::Connect(connect)) = read(0x10, &body, None) else { panic!("a CONNECT") };
        assert_eq!((connect.clean_start, connect.session_expiry_s), (clean, expiry));
        assert_eq!(connect.version, ProtocolVersion::V3_1_1);
    }
}

#[test]
fn mqisdp_is_read_as_3_1() {
    let (_, first, body) = valid().swap_remove(2);
    let Ok(Packet::Connect(connect)) = read(first, &body, None) else { panic!("a CONNECT") };
    assert_eq!((connect.version, &*connect.client_id, connect.keep_alive_s), (ProtocolVersion::V3_1, "old", 60));
}

#[test]
fn a_password_is_never_printed() {
    let body = connect(5, 0xC2, &[&[0], &field("a"), &field("u"), &field("geheim")]);
    let printed = format!("{:?}", read(0x10, &body, None));
    assert!(printed.contains("\"a\"") && !printed.contains("geheim") && !printed.contains("103, 101"), "{printed}");
}

#[test]
fn a_subscribe_keeps_its_options_and_its_one_subscription_identifier() {
    let user = [&[0x26][..], &field("k"), &field("v")].concat();
    for list in [[&[0x0B, 0x85, 1][..], &user].concat(), [&user[..], &[0x0B, 0x85, 1], &user].concat()] {
        let body = [&[0, 9, list.len() as u8][..], &list, &field("a/#"), &[0x2E], &field("b"), &[0x11]].concat();
        let Ok(Packet::Subscribe(subscribe)) = read(0x82, &body, V5) else { panic!("a SUBSCRIBE") };
        assert_eq!((subscribe.packet_id.get(), subscribe.subscription_id), (9, Some(133)));
        let of = |filter: &str, qos, flag, retain_handling| Subscription {
            filter: filter.into(),
            qos,
            no_local: flag,
            retain_as_published: flag,
            retain_handling,
        };
        let expected = [
            of("a/#", QoS::ExactlyOnce, true, RetainHandling::Never),
            of("b", QoS::AtLeastOnce, false, RetainHandling::IfNew),
        ];
        assert_eq!(subscribe.subscriptions, expected);
    }
}

#[test]
fn unsubscribe_auth_and_acknowledgements_come_out_as_they_were_sent() {
    let body = [&[0, 9, 0][..], &field("a"), &field("é/#")].concat();
    let Ok(Packet::Unsubscribe(unsubscribe)) = read(0xA2, &body, V5) else { panic!("an UNSUBSCRIBE") };
    assert_eq!(unsubscribe.filters, ["a".into(), "é/#".into()]);
    let Ok(Packet::Unsubscribe(old)) = read(0xA2, &[&[0, 9][..], &body[3..]].concat(), V4) else { panic!("one") };
    assert_eq!(old, unsubscribe);

    let auth = read(0xF0, &[0x18, 8, 0x15, 0, 1, b'm', 0x16, 0, 1, 0xFF], V5);
    let expected =
        Auth { reason: ReasonCode::ContinueAuthentication, method: Some("m".into()), data: Some([0xFF].into()) };
    assert_eq!(auth, Ok(Packet::Auth(expected)));

    let id = |number| PacketId::new(number).expect("not 0");
    let plain = Ack { packet_id: id(0x102), reason: ReasonCode::Success };
    assert_eq!(read(0x40, &[1, 2], V4), Ok(Packet::PubAck(plain)));
    let failed = Ack { packet_id: id(0x102), reason: ReasonCode::QuotaExceeded };
    assert_eq!(read(0x50, &[1, 2, 0x97], V5), Ok(Packet::PubRec(failed)));
    assert_eq!(read(0x50, &[1, 2, 0x97, 4, 0x1F, 0, 1, b'r'], V5), Ok(Packet::PubRec(failed)));
    let unknown = Ack { packet_id: id(0x102), reason: ReasonCode::PacketIdentifierNotFound };
    assert_eq!(read(0x62, &[1, 2, 0x92, 0], V5), Ok(Packet::PubRel(unknown)));
    assert_eq!(read(0x70, &[1, 2, 0x92], V5), Ok(Packet::PubComp(unknown)));
}

fn on_the_wire(first: u8, body: &[u8]) -> Vec<u8> {
    let mut wire = vec![first];
    crate::mqtt::reader::put_variable(body.len(), &mut wire);
    wire.extend_from_slice(body);
    wire
}

#[test]
fn every_prefix_of_a_valid_packet_is_incomplete_and_says_how_much_is_missing() {
    for (version, first, body) in valid() {
        let wire = on_the_wire(first, &body);
        for end in 0..wire.len() {
            match split(&wire[..end], 1000) {
                Ok(Split::Incomplete { need }) => assert!(need > end && need <= wire.len(), "{need} at {end}"),
                other => panic!("{other:?}"),
            }
        }
        let Ok(Split::Whole { frame, len }) = split(&wire, 1000) else { panic!("{wire:x?}") };
        assert_eq!((frame.body, len), (&body[..], wire.len()));
        // Cut inside the frame it is an error or another valid packet, and never waited for.
        for end in 0..body.len() {
            let _ = read(first, &body[..end], version);
        }
    }
}

mod proptests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    /// A valid packet with some of its bytes changed, put in or taken out.
    fn mutated() -> impl Strategy<Value = (Option<ProtocolVersion>, u8, Vec<u8>)> {
        let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
        let packet = prop::sample::select(valid());
        (packet, any::<Option<u8>>(), prop::collection::vec(change, 1..6)).prop_map(|(packet, new_first, changes)| {
            let (version, mut first, mut body) = packet;
            if let Some(new) = new_first.filter(|new| new % 4 == 0) {
                first = new;
            }
            for (at, byte, how) in changes {
                let at = at.index(body.len() + 1);
                match how {
                    0 if at < body.len() => body[at] = byte,
                    1 if at < body.len() => drop(body.remove(at)),
                    _ => body.insert(at, byte),
                }
            }
            (version, first, body)
        })
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_makes_the_reader_panic((version, first, body) in mutated()) {
            for version in [version, None, V4, V5] {
                if let Ok(Packet::Publish(publish)) = read(first, &body, version) {
                    publish.forwardable(&mut Vec::new());
                }
            }
        }

        #[test]
        fn random_bytes_are_split_and_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Split::Whole { frame, len }) = split(&bytes, 64) {
                prop_assert_eq!(frame.body, &bytes[len - frame.body.len()..len]);
                for version in [None, V4, V5] {
                    let _ = decode(frame, version);
                }
            }
        }
    }
}
