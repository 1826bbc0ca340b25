//! A threshold, a CONNECT, and what is decided about it.

mod entry;
mod exchange;
mod told;

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
