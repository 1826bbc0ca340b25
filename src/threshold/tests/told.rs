//! What CONNACK says to whom, and how long that is; and what reaches the session.

use super::*;

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
