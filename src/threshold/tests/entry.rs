//! Who is let in, and who is not.

use super::*;

#[test]
fn mqtt_3_1_0_1_whoever_does_not_begin_with_connect_is_told_nothing() {
    let ack = Ack { packet_id: PacketId::new(1).unwrap(), reason: ReasonCode::Success };
    for packet in [Packet::PingReq, Packet::PubAck(ack), auth(ReasonCode::ContinueAuthentication, "SCRAM-SHA-256")] {
        let mut threshold = threshold(Limits::default());
        let (step, said) = take(&mut threshold, packet);
        assert_eq!(step, Err(Refused { reason: ReasonCode::ProtocolError, why: "MQTT-3.1.0-1" }));
        assert_eq!((said, threshold.version(), threshold.client_id()), (None, None, None));
    }
}

#[test]
fn mqtt_3_1_2_2_an_unknown_level_is_answered_in_the_layout_it_may_read_and_a_malformed_connect_not_at_all() {
    let told = |level: u8, flags: u8| {
        let bytes = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 60, 0, 1, b'c'];
        let Ok(Split::Whole { frame, .. }) = split(&bytes, 100) else { panic!("a whole packet") };
        let error = decode(frame, None).unwrap_err();
        let mut out = Out::default();
        let refused = threshold(Limits::default()).handle_malformed(error, &mut out);
        assert_eq!(refused.reason, error.reason);
        out.plain().to_vec()
    };
    assert_eq!(told(6, 2), [0x20, 3, 0, 0x84, 0]);
    assert_eq!(told(99, 2), [0x20, 3, 0, 0x84, 0]);
    for old in 0..=3 {
        assert_eq!(told(old, 2), [0x20, 2, 0, 1], "level {old}");
    }
    assert_eq!(told(5, 3), [0_u8; 0], "the reserved flag");
}

#[test]
fn mqtt_3_1_3_8_an_identifier_over_the_limit_is_not_valid() {
    let limits = || Limits { client_id_bytes_max: 3, ..Limits::default() };
    let named = |name: &str| Connect { client_id: name.into(), ..connect() };
    refused(limits(), named("four"), ReasonCode::ClientIdentifierNotValid, "MQTT-3.1.3-8");
    assert_eq!(claim(limits(), named("abc")).client, Some(ClientId::new("abc")));
}

#[test]
fn mqtt3_3_1_3_8_no_identifier_and_no_clean_session_is_return_code_2_in_3_1_1_and_let_in_by_5_0() {
    let nameless = |version, clean_start| Connect { version, clean_start, client_id: "".into(), ..connect() };
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let why = "MQTT3-3.1.3-8";
        refused(Limits::default(), nameless(version, false), ReasonCode::ClientIdentifierNotValid, why);
        assert_eq!(claim(Limits::default(), nameless(version, true)).client, None);
    }
    assert_eq!(claim(Limits::default(), nameless(ProtocolVersion::V5, false)).client, None);
    let mut out = Out::default();
    let packet = Packet::Connect(Box::new(nameless(ProtocolVersion::V3_1_1, false)));
    threshold(Limits::default()).handle_packet(packet, &mut out).unwrap_err();
    assert_eq!(out.plain(), [0x20, 2, 0, 2]);
}

#[test]
fn mqtt_3_2_2_12_a_will_above_the_maximum_qos_is_refused() {
    let limits = |maximum_qos| Limits { maximum_qos, ..Limits::default() };
    let willing = || Connect { will: Some(will()), ..connect() };
    refused(limits(QoS::AtLeastOnce), willing(), ReasonCode::QoSNotSupported, "MQTT-3.2.2-12");
    claim(limits(QoS::ExactlyOnce), willing());
}

#[test]
fn mqtt_3_2_2_13_a_retained_will_is_refused_where_nothing_is_retained() {
    let limits = || Limits { retain_available: false, ..Limits::default() };
    let willing = |retain| Connect { will: Some(Will { retain, ..will() }), ..connect() };
    refused(limits(), willing(true), ReasonCode::RetainNotSupported, "MQTT-3.2.2-13");
    claim(limits(), willing(false));
}

#[test]
fn a_will_beyond_the_limits_of_topics_is_refused() {
    let willing = || Connect { will: Some(will()), ..connect() };
    let why = "the will's topic is beyond the limits";
    refused(Limits { topic_levels_max: 1, ..Limits::default() }, willing(), ReasonCode::TopicNameInvalid, why);
    refused(Limits { topic_bytes_max: 2, ..Limits::default() }, willing(), ReasonCode::TopicNameInvalid, why);
    claim(Limits { topic_levels_max: 2, topic_bytes_max: 3, ..Limits::default() }, willing());
}

#[test]
fn mqtt_3_1_4_2_who_is_anonymous_is_let_in_only_where_that_is_allowed() {
    let rules =
        Rules { allow_anonymous: false, methods: Vec::new(), anonymous_may: Arc::new(Permissions::everything()) };
    let mut strict = Threshold::new(&Arc::new(rules), &Arc::new(Limits::default()));
    let why = "anonymous clients are not let in";
    assert_refused(decide(&mut strict, connect()), ReasonCode::NotAuthorized, why);
    assert!(strict.permissions().is_none());
    let mut open = threshold(Limits::default());
    let (step, said) = decide(&mut open, connect());
    let expected = Claim { client: Some(ClientId::new("c")), clean_start: true, session_expiry_s: 0, owner: None };
    assert_eq!((step, said), (Ok(Step::Claim(expected)), None));
    assert!(open.permissions().is_some_and(|may| may.may_publish("a")));
}

#[test]
fn a_user_name_or_a_password_is_checked_and_the_user_owns_the_session() {
    let user = Connect { user_name: Some("alice".into()), password: Some(b"pw".as_slice().into()), ..connect() };
    let mut threshold = threshold(Limits::default());
    let (step, said) = decide(&mut threshold, user);
    let expected =
        Credentials { client: "c".into(), user_name: Some("alice".into()), password: Some(b"pw".as_slice().into()) };
    assert_eq!((step, said), (Ok(Step::Authenticate(expected)), None));
    let identity = Identity { user: Some("alice".into()) };
    let mut say = None;
    let step = threshold.take_identity(Ok((identity.clone(), Arc::new(Permissions::everything()))), &mut say);
    let Ok(Step::Claim(claim)) = step else { panic!("{step:?}") };
    assert_eq!((claim.owner, &say), (identity.user, &None));
    let late = threshold.take_identity(Err(ReasonCode::BadUserNameOrPassword), &mut say);
    assert_eq!((late, say), (Ok(Step::Wait), None), "an answer nobody waits for");
    let password_alone = Connect { password: Some(b"pw".as_slice().into()), ..connect() };
    let (step, _) = decide(&mut self::threshold(Limits::default()), password_alone);
    assert!(matches!(step, Ok(Step::Authenticate(Credentials { user_name: None, .. }))), "{step:?}");
}

#[test]
fn mqtt_3_2_2_6_a_wrong_password_is_refused_without_session_present() {
    let mut threshold = threshold(Limits::default());
    decide(&mut threshold, Connect { user_name: Some("alice".into()), clean_start: false, ..connect() }).0.unwrap();
    let mut out = Out::default();
    let refused = threshold.handle_identity(Err(ReasonCode::BadUserNameOrPassword), &mut out).unwrap_err();
    assert_eq!(refused.reason, ReasonCode::BadUserNameOrPassword);
    assert_eq!(out.plain(), [0x20, 3, 0, 0x86, 0]);
}

#[test]
fn mqtt_3_2_2_8_what_lies_outside_is_said_in_a_code_of_connack_or_not_at_all_before_connect() {
    let mut threshold = threshold(Limits::default());
    let mut say = None;
    threshold.take_refusal(ReasonCode::ServerShuttingDown, None, &mut say);
    assert_eq!(say, None);
    decide(&mut threshold, Connect { user_name: Some("u".into()), ..connect() }).0.unwrap();
    let refused = threshold.take_refusal(ReasonCode::ServerShuttingDown, Some("bye"), &mut say);
    let bare = ConnAck::bare(ReasonCode::ServerUnavailable);
    let expected = Outgoing::ConnAck(Box::new(ConnAck { reason_string: Some("bye".into()), ..bare }));
    assert_eq!((refused.reason, say.map(|said| said.packet)), (ReasonCode::ServerUnavailable, Some(expected)));
    assert_eq!(connack::sayable(ReasonCode::SessionTakenOver), ReasonCode::UnspecifiedError);
}
