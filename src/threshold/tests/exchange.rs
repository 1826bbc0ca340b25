//! Enhanced authentication: what AUTH says before there is a CONNACK.

use super::*;

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
