use super::*;
use bytes::Bytes;

fn peer(version: ProtocolVersion) -> Peer {
    Peer { version, maximum_packet_size: u32::MAX, problem_information: true }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

fn sent(packet: &Outgoing, peer: &Peer) -> Vec<u8> {
    let mut out = Out::default();
    put(packet, peer, &mut out);
    out.plain().to_vec()
}

fn to_5(packet: &Outgoing) -> Vec<u8> {
    sent(packet, &peer(ProtocolVersion::V5))
}

fn to_311(packet: &Outgoing) -> Vec<u8> {
    sent(packet, &peer(ProtocolVersion::V3_1_1))
}

fn puback(reason: ReasonCode, reason_string: Option<&'static str>) -> Outgoing {
    Outgoing::PubAck { packet_id: id(0x102), reason, reason_string }
}

#[test]
fn mqtt_2_2_1_5_plain_acknowledgements_are_four_bytes_with_the_id_of_their_publish() {
    let reason = ReasonCode::Success;
    let pubrec = Outgoing::PubRec { packet_id: id(0x102), reason, reason_string: None };
    for to in [to_5, to_311] {
        assert_eq!(to(&puback(reason, None)), [0x40, 2, 1, 2]);
        assert_eq!(to(&pubrec), [0x50, 2, 1, 2]);
        assert_eq!(to(&Outgoing::PubRel { packet_id: id(0x102), reason }), [0x62, 2, 1, 2]);
        assert_eq!(to(&Outgoing::PubComp { packet_id: id(0x102), reason }), [0x70, 2, 1, 2]);
        assert_eq!(to(&Outgoing::PingResp), [0xD0, 0]);
    }
}

#[test]
fn an_acknowledgement_that_fails_says_why_in_5_only() {
    let reason = ReasonCode::PacketIdentifierNotFound;
    assert_eq!(to_5(&Outgoing::PubComp { packet_id: id(1), reason }), [0x70, 3, 0, 1, 0x92]);
    assert_eq!(to_311(&Outgoing::PubComp { packet_id: id(1), reason }), [0x70, 2, 0, 1]);
    assert_eq!(to_5(&puback(ReasonCode::NotAuthorized, Some("no"))), [0x40, 9, 1, 2, 0x87, 5, 0x1F, 0, 2, b'n', b'o']);
    let pubrec = Outgoing::PubRec { packet_id: id(1), reason: ReasonCode::QuotaExceeded, reason_string: Some("x") };
    assert_eq!(to_5(&pubrec), [0x50, 8, 0, 1, 0x97, 4, 0x1F, 0, 1, b'x']);
    assert_eq!(to_311(&puback(ReasonCode::NotAuthorized, Some("no"))), [0x40, 2, 1, 2]);
}

#[test]
fn mqtt_3_4_2_2_a_reason_string_that_does_not_fit_is_left_out() {
    let packet = puback(ReasonCode::NotAuthorized, Some("no"));
    let of = |maximum_packet_size| sent(&packet, &Peer { maximum_packet_size, ..peer(ProtocolVersion::V5) });
    assert_eq!(of(11).len(), 11);
    assert_eq!(of(10), [0x40, 3, 1, 2, 0x87]);
}

#[test]
fn mqtt_3_1_2_24_what_does_not_fit_at_all_is_not_sent() {
    let small = Peer { maximum_packet_size: 4, ..peer(ProtocolVersion::V5) };
    assert!(sent(&puback(ReasonCode::NotAuthorized, None), &small).is_empty());
    assert_eq!(sent(&puback(ReasonCode::Success, None), &small).len(), 4);
}

#[test]
fn mqtt_3_1_2_29_without_problem_information_advice_goes_on_connack_and_disconnect_only() {
    let quiet = Peer { problem_information: false, ..peer(ProtocolVersion::V5) };
    assert_eq!(sent(&puback(ReasonCode::NotAuthorized, Some("no")), &quiet), [0x40, 3, 1, 2, 0x87]);
    let codes = vec![ReasonCode::NotAuthorized];
    let suback = Outgoing::SubAck { packet_id: id(1), codes, reason_string: Some("no") };
    assert_eq!(sent(&suback, &quiet), [0x90, 4, 0, 1, 0, 0x87]);
    assert_eq!(to_5(&suback), [0x90, 9, 0, 1, 5, 0x1F, 0, 2, b'n', b'o', 0x87]);
    let reason_string = Some("no".into());
    let disconnect = Outgoing::Disconnect { reason: ReasonCode::ProtocolError, reason_string };
    assert_eq!(sent(&disconnect, &quiet), [0xE0, 7, 0x82, 5, 0x1F, 0, 2, b'n', b'o']);
    let refused = ConnAck { reason_string: Some("no".into()), ..ConnAck::bare(ReasonCode::ServerBusy) };
    assert_eq!(sent(&Outgoing::ConnAck(Box::new(refused)), &quiet), [0x20, 8, 0, 0x89, 5, 0x1F, 0, 2, b'n', b'o']);
}

#[test]
fn mqtt_3_8_4_6_suback_and_unsuback_have_a_code_per_filter() {
    use ReasonCode as R;
    let codes = vec![R::Success, R::GrantedQoS1, R::GrantedQoS2, R::NotAuthorized, R::TopicFilterInvalid];
    let suback = Outgoing::SubAck { packet_id: id(7), codes, reason_string: None };
    assert_eq!(to_5(&suback), [0x90, 8, 0, 7, 0, 0, 1, 2, 0x87, 0x8F]);
    // [MQTT3-3.8.4-5]
    assert_eq!(to_311(&suback), [0x90, 7, 0, 7, 0, 1, 2, 0x80, 0x80]);
    let unsuback = Outgoing::UnsubAck { packet_id: id(9), codes: vec![R::Success, R::NoSubscriptionExisted] };
    assert_eq!(to_5(&unsuback), [0xB0, 5, 0, 9, 0, 0, 0x11]);
    assert_eq!(to_311(&unsuback), [0xB0, 2, 0, 9]);
}

#[test]
fn mqtt_3_14_2_3_disconnect_says_its_reason_and_drops_a_string_that_does_not_fit() {
    let of = |reason, text: Option<&str>| Outgoing::Disconnect { reason, reason_string: text.map(Box::from) };
    assert_eq!(to_5(&of(ReasonCode::Success, None)), [0xE0, 0]);
    assert_eq!(to_5(&of(ReasonCode::ServerShuttingDown, None)), [0xE0, 2, 0x8B, 0]);
    assert_eq!(to_5(&of(ReasonCode::BadAuthenticationMethod, Some("no"))), [0xE0, 2, 0x8C, 0]);
    let small = Peer { maximum_packet_size: 8, ..peer(ProtocolVersion::V5) };
    assert_eq!(sent(&of(ReasonCode::ProtocolError, Some("no")), &small), [0xE0, 2, 0x82, 0]);
    assert!(to_311(&of(ReasonCode::ProtocolError, None)).is_empty());
}

#[test]
fn mqtt_4_12_0_5_auth_names_its_method_and_is_never_sent_to_3_1_1() {
    let reason = ReasonCode::ContinueAuthentication;
    let auth = Outgoing::Auth { reason, method: "m".into(), data: Some([0, 0xFF].into()) };
    assert_eq!(to_5(&auth), [0xF0, 11, 0x18, 9, 0x15, 0, 1, b'm', 0x16, 0, 2, 0, 0xFF]);
    assert!(to_311(&auth).is_empty());
    let long = Outgoing::Auth { reason, method: "m".into(), data: Some(vec![1; 200].into()) };
    let wire = to_5(&long);
    assert_eq!((&wire[..6], wire.len()), (&[0xF0, 0xD2, 1, 0x18, 0xCF, 1][..], 3 + 210));
}

#[test]
fn mqtt3_3_2_2_4_the_return_codes_of_3_1_1() {
    use ReasonCode as R;
    for (reason, code) in [
        (R::Success, 0),
        (R::UnsupportedProtocolVersion, 1),
        (R::ClientIdentifierNotValid, 2),
        (R::ServerUnavailable, 3),
        (R::ServerBusy, 3),
        (R::QuotaExceeded, 3),
        (R::ConnectionRateExceeded, 3),
        (R::BadUserNameOrPassword, 4),
        (R::NotAuthorized, 5),
        (R::Banned, 5),
    ] {
        let connack = ConnAck { session_present: true, ..ConnAck::bare(reason) };
        let present = u8::from(code == 0);
        assert_eq!(to_311(&Outgoing::ConnAck(Box::new(connack))), [0x20, 2, present, code], "{reason:?}");
    }
}

#[test]
fn mqtt_3_2_2_6_a_refusal_has_no_session_and_a_code_connack_may_carry() {
    for (reason, code) in [(ReasonCode::ServerShuttingDown, 0x88), (ReasonCode::KeepAliveTimeout, 0x80)] {
        let connack = ConnAck { session_present: true, ..ConnAck::bare(reason) };
        assert_eq!(to_5(&Outgoing::ConnAck(Box::new(connack))), [0x20, 3, 0, code, 0]);
    }
}

fn full() -> ConnAck {
    ConnAck {
        session_present: true,
        session_expiry_s: Some(60),
        receive_maximum: Some(20),
        maximum_qos: Some(1),
        retain_available: Some(true),
        maximum_packet_size: Some(65_536),
        assigned_client_id: Some("id".into()),
        topic_alias_maximum: Some(10),
        reason_string: Some("why".into()),
        user_properties: vec![("b".into(), "1".into()), ("a".into(), "2".into())],
        server_keep_alive_s: Some(30),
        response_information: Some("r/".into()),
        authentication_method: Some("m".into()),
        authentication_data: Some([0, 0xFF].into()),
        ..ConnAck::bare(ReasonCode::Success)
    }
}

#[test]
fn a_connack_of_5_says_all_it_was_given() {
    let wire = to_5(&Outgoing::ConnAck(Box::new(full())));
    let expected: [&[u8]; 15] = [
        &[0x20, 65, 1, 0, 62],
        &[0x11, 0, 0, 0, 60],
        &[0x21, 0, 20],
        &[0x24, 1],
        &[0x25, 1],
        &[0x27, 0, 1, 0, 0],
        &[0x12, 0, 2, b'i', b'd'],
        &[0x22, 0, 10],
        &[0x1F, 0, 3, b'w', b'h', b'y'],
        &[0x26, 0, 1, b'b', 0, 1, b'1'],
        &[0x26, 0, 1, b'a', 0, 1, b'2'],
        &[0x13, 0, 30],
        &[0x1A, 0, 2, b'r', b'/'],
        &[0x15, 0, 1, b'm'],
        &[0x16, 0, 2, 0, 0xFF],
    ];
    assert_eq!(wire, expected.concat());
}

#[test]
fn a_connack_that_does_not_fit_loses_its_advice_first() {
    let whole = to_5(&Outgoing::ConnAck(Box::new(full()))).len() as u32;
    let small = Peer { maximum_packet_size: whole - 1, ..peer(ProtocolVersion::V5) };
    let wire = Bytes::from(sent(&Outgoing::ConnAck(Box::new(full())), &small));
    assert_eq!(wire.len(), whole as usize - 6 - 14);
    assert!(wire.windows(5).any(|part| part == [0x12, 0, 2, b'i', b'd']));
}
