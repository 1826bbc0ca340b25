use bytes::Bytes;

use super::*;
use crate::mqtt::frame::{Split, split};
use crate::mqtt::{Ack, ConnAck, Disconnect, PacketId, QoS, Will, decode};

/// An empty CONNECT of 5.0 for "c".
fn connect() -> Connect {
    Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "c".into(),
        will: None,
        user_name: None,
        password: None,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        authentication_data: None,
    }
}

fn will() -> Will {
    let (topic, payload) = ("w/x".into(), Bytes::from_static(b"gone"));
    Will { topic, payload, qos: QoS::ExactlyOnce, retain: true, delay_s: 0, expiry_s: None, properties: Bytes::new() }
}

fn threshold(limits: Limits) -> Threshold {
    let rules = Rules {
        allow_anonymous: true,
        methods: vec!["SCRAM-SHA-256".into()],
        anonymous_may: Arc::new(Permissions::everything()),
    };
    Threshold::new(&Arc::new(rules), &Arc::new(limits))
}

/// Limits that a client need not be told.
fn silent() -> Limits {
    let (receive_maximum, packet_bytes_max) = (u16::MAX, u32::MAX);
    Limits { receive_maximum, packet_bytes_max, topic_alias_maximum: 0, ..Limits::default() }
}

/// What is decided about a CONNECT, and what is said.
fn decide(threshold: &mut Threshold, connect: Connect) -> (Result<Step, Refused>, Option<Outgoing>) {
    take(threshold, Packet::Connect(Box::new(connect)))
}

fn take(threshold: &mut Threshold, packet: Packet<'_>) -> (Result<Step, Refused>, Option<Outgoing>) {
    let mut said = None;
    let step = threshold.take_packet(packet, &mut said);
    (step, said.map(|said| said.packet))
}

fn challenged(threshold: &mut Threshold, answer: Challenge) -> (Result<Step, Refused>, Option<Outgoing>) {
    let mut said = None;
    let step = threshold.take_challenge(answer, &mut said);
    (step, said.map(|said| said.packet))
}

fn auth(reason: ReasonCode, method: &str) -> Packet<'static> {
    Packet::Auth(Auth { reason, method: Some(method.into()), data: Some(b"2".as_slice().into()) })
}

fn proving() -> Connect {
    let (method, data) = (Some("SCRAM-SHA-256".into()), Some(b"1".as_slice().into()));
    Connect { authentication_method: method, authentication_data: data, ..connect() }
}

/// Who is refused with a CONNACK is told the reason and nothing else, Session Present 0 [MQTT-3.2.2-6].
#[track_caller]
fn assert_refused(decided: (Result<Step, Refused>, Option<Outgoing>), reason: ReasonCode, why: &str) {
    let (Err(refused), Some(Outgoing::ConnAck(said))) = decided else { panic!("not refused: {decided:?}") };
    assert_eq!((refused.reason, refused.why, *said), (reason, why, ConnAck::bare(reason)));
}

#[track_caller]
fn refused(limits: Limits, connect: Connect, reason: ReasonCode, why: &str) {
    assert_refused(decide(&mut threshold(limits), connect), reason, why);
}

fn claim(limits: Limits, connect: Connect) -> Claim {
    match decide(&mut threshold(limits), connect) {
        (Ok(Step::Claim(claim)), None) => claim,
        other => panic!("no claim: {other:?}"),
    }
}

/// The CONNACK of a client that is let in as "c", or as "auto-1" if it named no identifier.
fn accepted(limits: Limits, connect: Connect, saved: Option<Saved>) -> ConnAck {
    let mut threshold = threshold(limits);
    let (step, _) = decide(&mut threshold, connect);
    let Ok(Step::Claim(claim)) = step else { panic!("no claim: {step:?}") };
    let client = claim.client.unwrap_or_else(|| ClientId::new("auto-1"));
    let claimed = Claimed { client, origin: Origin(1), durable: claim.session_expiry_s > 0, saved };
    connack::accepting(&threshold.asked, &threshold.limits, &claimed, None)
}

fn opening(limits: Limits, connect: Connect) -> crate::session::Opening {
    let (asked, _) = Asked::of(connect);
    let claimed = Claimed { client: ClientId::new("c"), origin: Origin(1), durable: true, saved: None };
    asked.into_opening(claimed, &limits)
}

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
fn mqtt_4_12_0_1_a_method_that_is_not_offered_is_refused() {
    let connect = Connect { authentication_method: Some("KERBEROS".into()), ..connect() };
    refused(Limits::default(), connect, ReasonCode::BadAuthenticationMethod, "MQTT-4.12.0-1");
}

#[test]
fn mqtt_4_12_0_2_the_exchange_asks_with_0x18_and_ends_in_a_connack_with_method_and_data() {
    let mut threshold = threshold(silent());
    let method = || Box::<str>::from("SCRAM-SHA-256");
    let first = Step::Challenge { method: method(), data: Some(b"1".as_slice().into()) };
    assert_eq!(decide(&mut threshold, proving()), (Ok(first), None));
    let data = || Box::<[u8]>::from(b"more".as_slice());
    let asks = Outgoing::Auth { reason: ReasonCode::ContinueAuthentication, method: method(), data: Some(data()) };
    assert_eq!(challenged(&mut threshold, Challenge::Continue(data())), (Ok(Step::Wait), Some(asks)));
    let second = Step::Challenge { method: method(), data: Some(b"2".as_slice().into()) };
    let answer = auth(ReasonCode::ContinueAuthentication, "SCRAM-SHA-256");
    assert_eq!(take(&mut threshold, answer), (Ok(second), None));
    let identity = Identity { user: Some("alice".into()) };
    let done = Challenge::Done(identity, Arc::new(Permissions::everything()), Some(data()));
    let (step, said) = challenged(&mut threshold, done);
    assert!(matches!(step, Ok(Step::Claim(claim)) if claim.owner.as_deref() == Some("alice")));
    assert_eq!(said, None);
    let claimed = Claimed { client: ClientId::new("c"), origin: Origin(1), durable: false, saved: None };
    let connack = connack::accepting(&threshold.asked, &threshold.limits, &claimed, threshold.authentication_data);
    let (authentication_method, authentication_data) = (Some(method()), Some(data()));
    let expected = ConnAck { authentication_method, authentication_data, ..ConnAck::bare(ReasonCode::Success) };
    assert_eq!(connack, expected);
}

/// A threshold in the middle of an exchange.
fn exchanging() -> Threshold {
    let mut threshold = threshold(Limits::default());
    decide(&mut threshold, proving()).0.unwrap();
    threshold
}

#[test]
fn mqtt_4_12_0_3_the_client_goes_on_with_0x18_only() {
    let again = auth(ReasonCode::ReAuthenticate, "SCRAM-SHA-256");
    assert_refused(take(&mut exchanging(), again), ReasonCode::ProtocolError, "MQTT-4.12.0-3");
}

#[test]
fn mqtt_4_12_0_4_the_exchange_may_end_at_any_step() {
    let denied = challenged(&mut exchanging(), Challenge::Denied(ReasonCode::NotAuthorized));
    assert_refused(denied, ReasonCode::NotAuthorized, "enhanced authentication");
}

#[test]
fn mqtt_4_12_0_5_the_method_stays_the_same() {
    let other = auth(ReasonCode::ContinueAuthentication, "SCRAM-SHA-1");
    assert_refused(take(&mut exchanging(), other), ReasonCode::BadAuthenticationMethod, "MQTT-4.12.0-5");
}

#[test]
fn mqtt_3_1_2_30_nothing_but_auth_and_disconnect_before_connack() {
    assert_refused(take(&mut exchanging(), Packet::PingReq), ReasonCode::ProtocolError, "MQTT-3.1.2-30");
    let again = Packet::Connect(Box::new(connect()));
    assert_refused(take(&mut exchanging(), again), ReasonCode::ProtocolError, "MQTT-3.1.2-30");
    let left = Packet::Disconnect(Disconnect { reason: ReasonCode::Success, session_expiry_s: None });
    let (step, said) = take(&mut exchanging(), left);
    assert_eq!((step.unwrap_err().reason, said), (ReasonCode::Success, None));
    let error = DecodeError { reason: ReasonCode::MalformedPacket, statement: "MQTT-3.15.1-1" };
    let mut say = None;
    let refused = exchanging().take_malformed(error, &mut say);
    assert_refused((Err(refused), say.map(|said| said.packet)), ReasonCode::MalformedPacket, "MQTT-3.15.1-1");
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

#[test]
fn mqtt_3_1_2_24_a_client_that_takes_too_little_is_told_less_or_refused() {
    // 20 len 0 0 len: receive maximum 3, packet size 5, alias maximum 3.
    let small = |bytes| Connect { maximum_packet_size: Some(bytes), ..connect() };
    refused(Limits::default(), small(15), ReasonCode::PacketTooLarge, "MQTT-3.1.2-24");
    claim(Limits::default(), small(16));
    let (step, said) = decide(&mut threshold(Limits::default()), small(4));
    assert_eq!((step.is_err(), said), (true, None), "not even the refusal fits");
    let asking = |bytes| Connect { request_response_information: true, ..small(bytes) };
    // Response Information: 1 + 2 + "response/c".
    assert_eq!(accepted(Limits::default(), asking(28), None).response_information, None);
    assert!(accepted(Limits::default(), asking(29), None).response_information.is_some());
    let mut threshold = threshold(silent());
    decide(&mut threshold, Connect { maximum_packet_size: Some(25), ..proving() }).0.unwrap();
    // f0 len 18 len, method 3 + 13, data 3 + 3: 26.
    let asked = challenged(&mut threshold, Challenge::Continue(b"abc".as_slice().into()));
    assert_refused(asked, ReasonCode::PacketTooLarge, "MQTT-3.1.2-24");
}

#[test]
fn the_length_that_is_foreseen_is_the_length_on_the_wire() {
    let limits = Limits {
        maximum_qos: QoS::AtMostOnce,
        retain_available: false,
        keep_alive_s_max: 7,
        session_expiry_s_max: 9,
        response_information: "x".repeat(200).into(),
        ..Limits::default()
    };
    for (client_id, asks) in [("", true), ("", false), ("c", true), ("c", false)] {
        let asked = Connect {
            client_id: client_id.into(),
            request_response_information: asks,
            session_expiry_s: 10,
            ..proving()
        };
        let (asked, _) = Asked::of(asked);
        let client = ClientId::new("auto-1");
        let claimed = Claimed { client, origin: Origin(1), durable: true, saved: None };
        let connack = connack::accepting(&asked, &limits, &claimed, Some(b"data".as_slice().into()));
        let mut out = Out::default();
        outgoing::put(&Outgoing::ConnAck(Box::new(connack.clone())), &asked.peer, &mut out);
        assert_eq!(out.len() as u64, connack::encoded_len(&connack), "{connack:?}");
    }
}

#[test]
fn mqtt_3_1_4_5_connack_says_only_what_differs_from_what_is_taken_for_granted() {
    assert_eq!(accepted(silent(), connect(), None), ConnAck::bare(ReasonCode::Success));
    let expected = ConnAck {
        receive_maximum: Some(64),
        maximum_packet_size: Some(1024 * 1024),
        topic_alias_maximum: Some(16),
        ..ConnAck::bare(ReasonCode::Success)
    };
    assert_eq!(accepted(Limits::default(), connect(), None), expected);
    let old = Connect { version: ProtocolVersion::V3_1_1, ..connect() };
    assert_eq!(accepted(Limits::default(), old, None), ConnAck::bare(ReasonCode::Success));
}

#[test]
fn mqtt_3_2_2_9_a_lower_maximum_qos_and_no_retain_are_announced() {
    let limits = Limits { maximum_qos: QoS::AtLeastOnce, retain_available: false, ..silent() };
    let connack = accepted(limits, connect(), None);
    assert_eq!((connack.maximum_qos, connack.retain_available), (Some(1), Some(false)));
}

#[test]
fn mqtt_3_2_2_3_session_present_if_and_only_if_something_was_saved() {
    let back = || Connect { clean_start: false, session_expiry_s: 5, ..connect() };
    assert!(accepted(silent(), back(), Some(Saved::default())).session_present);
    assert!(!accepted(silent(), back(), None).session_present);
    let old = Connect { version: ProtocolVersion::V3_1_1, ..back() };
    assert!(accepted(silent(), old, Some(Saved::default())).session_present);
}

#[test]
fn mqtt_3_2_2_16_an_assigned_identifier_is_told() {
    let connack = accepted(silent(), Connect { client_id: "".into(), ..connect() }, None);
    assert_eq!(connack.assigned_client_id.as_deref(), Some("auto-1"));
}

#[test]
fn mqtt_3_1_2_28_response_information_only_for_who_asks() {
    let asking = |limits| accepted(limits, Connect { request_response_information: true, ..connect() }, None);
    assert_eq!(asking(silent()).response_information.as_deref(), Some("response/c"));
    assert_eq!(asking(Limits { response_information: "".into(), ..silent() }).response_information, None);
    assert_eq!(accepted(silent(), connect(), None).response_information, None);
}

#[test]
fn mqtt_3_1_2_21_keep_alive_is_kept_in_bounds_and_5_0_is_told() {
    let limits = || Limits { keep_alive_s_min: 10, keep_alive_s_max: 100, ..silent() };
    let asking = |keep_alive_s, version| Connect { keep_alive_s, version, ..connect() };
    for (asked, granted, told) in
        [(0, 100, Some(100)), (5, 10, Some(10)), (10, 10, None), (100, 100, None), (600, 100, Some(100))]
    {
        let connect = || asking(asked, ProtocolVersion::V5);
        assert_eq!(opening(limits(), connect()).keep_alive_s, granted, "{asked}");
        assert_eq!(accepted(limits(), connect(), None).server_keep_alive_s, told, "{asked}");
    }
    // 3.1.1 cannot be told: it is not asked to send less often than it wants, but ends when it is too silent.
    for (asked, granted) in [(0, 100), (5, 5), (600, 100)] {
        let connect = asking(asked, ProtocolVersion::V3_1_1);
        assert_eq!(opening(limits(), connect).keep_alive_s, granted, "{asked}");
    }
    assert_eq!(opening(Limits { keep_alive_s_min: 10, ..silent() }, asking(0, ProtocolVersion::V5)).keep_alive_s, 0);
}

#[test]
fn mqtt_3_1_2_23_the_session_expiry_is_bounded_and_told_if_it_differs() {
    let limits = || Limits { session_expiry_s_max: 100, ..silent() };
    let asking = |session_expiry_s| Connect { session_expiry_s, ..connect() };
    assert_eq!(claim(limits(), asking(u32::MAX)).session_expiry_s, 100);
    assert_eq!(opening(limits(), asking(u32::MAX)).session_expiry_s, 100);
    assert_eq!(accepted(limits(), asking(u32::MAX), None).session_expiry_s, Some(100));
    assert_eq!(
        (claim(limits(), asking(7)).session_expiry_s, accepted(limits(), asking(7), None).session_expiry_s),
        (7, None)
    );
}

#[test]
fn what_a_session_needs_of_a_connect_reaches_it() {
    let connect = Connect {
        will: Some(will()),
        receive_maximum: 3,
        topic_alias_maximum: 4,
        maximum_packet_size: Some(500),
        request_problem_information: false,
        ..proving()
    };
    let opening = opening(Limits::default(), connect);
    assert_eq!((opening.receive_maximum, opening.topic_alias_maximum, opening.keep_alive_s), (3, 4, 60));
    let peer = Peer { version: ProtocolVersion::V5, maximum_packet_size: 500, problem_information: false };
    assert_eq!((opening.peer, opening.will), (peer, Some(will())));
    assert_eq!(opening.authentication_method.as_deref(), Some("SCRAM-SHA-256"));
}
