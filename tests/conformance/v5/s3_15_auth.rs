//! 3.15 AUTH, as far as one step shows it; whole exchanges belong to 4.12.

use crate::support::build::{Connect, auth};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, frame, prop};
use crate::support::{WAIT, unique};

const METHOD: &str = "SCRAM-SHA-256";

fn method() -> Props {
    Props::new().field(prop::AUTH_METHOD, METHOD)
}

/// CONNECT that begins an exchange.
fn begin() -> Connect {
    let first = Props::new().field(prop::AUTH_DATA, "n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL");
    Connect::new(V5, unique("c")).props(method()).props(first)
}

#[track_caller]
fn expect_challenge(client: &mut Client) -> crate::support::packet::Reason {
    match client.expect_packet("AUTH") {
        Packet::Auth(reason) => reason,
        other => client.fail(&format!("AUTH, got {other:?}")),
    }
}

/// An answer during login: CONNACK with an error, or nothing; then the end.
#[track_caller]
fn expect_turned_away(client: &mut Client) {
    match client.poll(WAIT) {
        Event::Packet(Packet::Connack(connack)) if connack.code >= 0x80 => client.expect_closed(CLOSE),
        Event::Closed => {}
        other => client.fail(&format!("CONNACK with an error, or the end; got {other:?}")),
    }
}

/// [MQTT-3.15.1-1]
#[test]
fn mqtt_3_15_1_1_auth_with_flags_is_malformed() {
    for first in [0xF1, 0xF2, 0xFF] {
        let mut client = connected(V5);
        let mut bytes = auth(0x19, &method());
        bytes[0] = first;
        client.send(&bytes);
        client.expect_refused(&[0x81]);
    }
    let mut client = begin().attempt();
    expect_challenge(&mut client);
    client.send(&frame(0xF8, &[0x18, 0x00]));
    expect_turned_away(&mut client);
}

/// [MQTT-3.15.2-1] [MQTT-4.12.0-2]
#[test]
fn mqtt_3_15_2_1_the_brokers_challenge_has_code_0x18() {
    let mut client = begin().attempt();
    let challenge = expect_challenge(&mut client);
    assert_eq!(challenge.code, 0x18);
    assert_eq!(challenge.props.text(prop::AUTH_METHOD), Some(METHOD));
}

/// [MQTT-3.15.2-1]
#[test]
fn mqtt_3_15_2_1_codes_of_no_table_are_refused() {
    for code in [0x01, 0x80, 0x87] {
        let mut client = connected(V5);
        client.send(&auth(code, &method()));
        client.expect_refused(&[0x81, 0x82]);
        let mut client = begin().attempt();
        expect_challenge(&mut client);
        client.send(&auth(code, &method()));
        expect_turned_away(&mut client);
    }
}

/// [MQTT-3.15.2-2] [MQTT-3.15.2-3]
#[test]
fn mqtt_3_15_2_2_auth_fits_the_clients_maximum_packet_size() {
    let mut client = begin().attempt();
    let size = expect_challenge(&mut client).size as u32;
    let mut client = begin().packet_bytes_max(size).attempt();
    let challenge = expect_challenge(&mut client);
    assert!(!challenge.props.has(prop::REASON_STRING) && !challenge.props.has(prop::USER_PROPERTY), "{challenge:?}");
    let mut client = begin().packet_bytes_max(size - 1).attempt();
    expect_turned_away(&mut client);
}

/// [MQTT-4.12.0-7]
#[test]
fn mqtt_4_12_0_7_auth_of_a_client_that_named_no_method_is_a_protocol_error() {
    for bytes in [frame(0xF0, &[]), auth(0x19, &method()), auth(0x18, &method())] {
        let mut client = connected(V5);
        client.send(&bytes);
        client.expect_refused(&[0x82]);
    }
}
