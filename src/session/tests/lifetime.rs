//! Keep Alive, DISCONNECT, the will, and what is left.

use super::*;
use crate::mqtt::{Disconnect, Will};
use crate::session::{Change, Farewell};
use ProtocolVersion::{V3_1_1, V5};

fn will() -> Will {
    Will {
        topic: "w".into(),
        payload: bytes::Bytes::new(),
        qos: QOS[0],
        retain: false,
        delay_s: 0,
        expiry_s: None,
        properties: bytes::Bytes::new(),
    }
}

fn disconnect(reason: ReasonCode, session_expiry_s: Option<u32>) -> Packet<'static> {
    Packet::Disconnect(Disconnect { reason, session_expiry_s })
}

#[test]
fn mqtt_3_1_2_22_only_silence_ends_the_connection() {
    let mut bench = Bench::new(Opening { keep_alive_s: 2, ..opening(V5) });
    assert_eq!(bench.session.deadline(), Some(Moment::from_ms(3_001)), "not a moment early");
    bench.now = at(2_000);
    bench.packet(Packet::PingReq).unwrap();
    assert_eq!(bench.bytes(), [0xD0, 0], "[MQTT-3.12.4-1]");
    let mut desk = Desk::new(&mut bench.out, &mut bench.effects);
    assert_eq!(bench.session.handle_timeout(at(5_000), &mut desk), Ok(()));
    assert_eq!(bench.session.handle_timeout(at(5_001), &mut desk), Err(Ending::KeepAlive));
    let farewell = bench.session.end(&Ending::KeepAlive);
    assert_eq!(farewell.disconnect, Some(ReasonCode::KeepAliveTimeout));
}

#[test]
fn mqtt_3_14_4_3_only_disconnect_0x00_deletes_the_will() {
    for (how, expected) in [
        (Ending::ByClient { reason: ReasonCode::Success, session_expiry_s: None }, false),
        (Ending::ByClient { reason: ReasonCode::DisconnectWithWill, session_expiry_s: None }, true),
        (Ending::Lost, true),
        (Ending::KeepAlive, true),
        (Ending::TakenOver { clean_start: false }, true),
        (Ending::ByServer(ReasonCode::ServerShuttingDown), true),
    ] {
        let bench = Bench::new(Opening { will: Some(will()), ..opening(V5) });
        assert_eq!(bench.session.end(&how).will.is_some(), expected, "{how:?}");
    }
}

#[test]
fn the_expiry_of_a_disconnect_counts_but_cannot_keep_what_was_to_end() {
    let mut ends = Bench::new(opening(V5));
    let refused = ends.packet(disconnect(ReasonCode::Success, Some(5)));
    assert_eq!(refused, violation(ReasonCode::ProtocolError, "3.14.2.2.2"));
    let mut kept = Bench::new(durable(V5));
    let ending = kept.packet(disconnect(ReasonCode::Success, Some(5))).unwrap_err();
    assert_eq!(kept.session.end(&ending).session_expiry_s, 5);
    let limits = Limits { session_expiry_s_max: 3, ..Limits::default() };
    let bounded = Bench::with(durable(V5), limits);
    assert_eq!(bounded.session.end(&ending).session_expiry_s, 3);
    let replaced = Bench::new(durable(V5));
    assert_eq!(replaced.session.end(&Ending::TakenOver { clean_start: true }).session_expiry_s, 0);
}

#[test]
fn mqtt_4_13_1_1_311_gets_no_disconnect() {
    let how = Ending::Violation(Violation { reason: ReasonCode::ProtocolError, statement: "x" });
    assert_eq!(Bench::new(opening(V3_1_1)).session.end(&how).disconnect, None);
    assert_eq!(Bench::new(opening(V5)).session.end(&how).disconnect, Some(ReasonCode::ProtocolError));
}

#[test]
fn what_is_unfinished_is_saved_with_its_identifiers_in_order() {
    let mut bench = Bench::new(durable(V5));
    for (ticket, qos) in [(3, QOS[1]), (5, QOS[2]), (8, QOS[1])] {
        bench.deliver(&message("t", b"x", qos, None), ticket, qos);
    }
    bench.durable(Owed::Transmit(id(2)));
    bench.ack(Packet::PubAck, 1, ReasonCode::Success);
    let sent = |ticket, packet_id, qos| Change::Sent { ticket: Ticket(ticket), packet_id: id(packet_id), qos };
    let expected = Farewell {
        disconnect: None,
        session_expiry_s: 60,
        changes: vec![sent(5, 2, QOS[2]), sent(8, 3, QOS[1])],
        will: None,
        subscriptions: Vec::new(),
        lost_messages: 0,
    };
    assert_eq!(bench.session.end(&Ending::Lost), expected);
}

#[test]
fn messages_that_end_with_their_session_are_counted() {
    let mut bench = Bench::new(Opening { receive_maximum: 1, ..opening(V5) });
    for _ in 0..3 {
        bench.deliver(&message("t", b"x", QOS[1], None), 0, QOS[1]);
    }
    assert_eq!(bench.session.end(&Ending::Lost).lost_messages, 3, "one unacknowledged, two waiting");
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_is_a_protocol_error() {
    let connect = crate::mqtt::Connect {
        version: V5,
        clean_start: true,
        keep_alive_s: 0,
        client_id: "c".into(),
        will: None,
        user_name: None,
        password: None,
        session_expiry_s: 0,
        receive_maximum: 65_535,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        authentication_data: None,
    };
    let result = Bench::new(opening(V5)).packet(Packet::Connect(Box::new(connect)));
    assert_eq!(result, violation(ReasonCode::ProtocolError, "MQTT-3.1.0-2"));
}
