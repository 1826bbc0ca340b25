//! 4.12 enhanced authentication, with SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client does it.

use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::support::broker;
use crate::support::build::{Connect, Publication, disconnect, subscribe};
use crate::support::client::Client;
use crate::support::packet::{Packet, Reason};
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, frame, prop};

const METHOD: &str = "SCRAM-SHA-256";
const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

/// The client's side of one exchange.
struct Scram {
    bare: String,
    /// What the server's last message must prove.
    signature: String,
}

impl Scram {
    fn new(user: &str) -> Self {
        Self { bare: format!("n={user},r={}", unique("nonce")), signature: String::new() }
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The last message, in answer to the server's first.
    fn last(&mut self, server: &[u8], password: &str) -> String {
        let server = std::str::from_utf8(server).expect("the server's message is text");
        let part = |name: &str| server.split(',').find_map(|part| part.strip_prefix(name)).expect(name);
        let own = self.bare.rsplit("r=").next().expect("it is there");
        assert!(part("r=").starts_with(own) && part("r=").len() > own.len(), "a nonce longer than ours: {server}");
        let salt = BASE64.decode(part("s=")).expect("base64");
        let rounds = part("i=").parse().expect("a number above 0");
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let without_proof = format!("c=biws,r={}", part("r="));
        let said = format!("{},{server},{without_proof}", self.bare);
        let client_key = mac(&salted, b"Client Key");
        let mask = mac(digest::digest(&digest::SHA256, &client_key).as_ref(), said.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(mask).map(|(key, mask)| key ^ mask).collect();
        self.signature = format!("v={}", BASE64.encode(mac(&mac(&salted, b"Server Key"), said.as_bytes())));
        format!("{without_proof},p={}", BASE64.encode(proof))
    }
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// An AUTH of a client.
fn auth(reason: u8, method: &str, data: impl AsRef<[u8]>) -> Vec<u8> {
    let props = Props::new().field(prop::AUTH_METHOD, method).field(prop::AUTH_DATA, data);
    frame(0xF0, &concat(&[&[reason], &props.block()]))
}

/// A CONNECT that begins this exchange.
fn connect(scram: &Scram) -> Connect {
    let props = Props::new().field(prop::AUTH_METHOD, METHOD).field(prop::AUTH_DATA, scram.first());
    Connect::new(V5, unique("c")).props(props)
}

/// AUTH with this reason and the method of the connection; its data.
#[track_caller]
fn expect_auth(client: &mut Client, reason: u8) -> Vec<u8> {
    match client.expect_packet("AUTH") {
        Packet::Auth(Reason { code, props, .. }) if code == reason => {
            assert_eq!(props.text(prop::AUTH_METHOD), Some(METHOD), "[MQTT-4.12.0-5]");
            props.binary(prop::AUTH_DATA).unwrap_or_default().to_vec()
        }
        other => client.fail(&format!("AUTH 0x{reason:02X}, got {other:?}")),
    }
}

/// A client that has begun to log in as `alice`, and the broker's answer.
#[track_caller]
fn begun() -> (Client, Scram, Vec<u8>) {
    let scram = Scram::new("alice");
    let mut client = connect(&scram).attempt();
    let server = expect_auth(&mut client, CONTINUE);
    (client, scram, server)
}

/// A client that came in as `alice`.
#[track_caller]
fn proved() -> Client {
    let (mut client, mut scram, server) = begun();
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "secret")));
    let connack = client.expect_connack();
    assert_eq!(connack.code, 0);
    assert_eq!(connack.props.text(prop::AUTH_METHOD), Some(METHOD), "[MQTT-4.12.0-5]");
    assert_eq!(connack.props.binary(prop::AUTH_DATA), Some(scram.signature.as_bytes()), "the broker knows us too");
    client
}

/// [MQTT-4.12.0-1]
#[test]
fn mqtt_4_12_0_1_an_unsupported_method_is_refused() {
    for method in ["no-such", "scram-sha-256", "SCRAM-SHA-1", ""] {
        for data in [Props::new(), Props::new().field(prop::AUTH_DATA, "n,,n=alice,r=x")] {
            let props = Props::new().field(prop::AUTH_METHOD, method).raw(data.bytes());
            let mut client = Connect::new(V5, unique("c")).props(props).attempt();
            assert_eq!(client.expect_connack().code, 0x8C, "{method:?}");
            client.drain_to_close();
        }
    }
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-5]
#[test]
fn mqtt_4_12_0_2_the_broker_asks_with_0x18_and_lets_in_who_proves_it() {
    let mut client = proved();
    client.ping();
    assert_eq!(client.subscribe(unique("t"), 1), 1);
}

/// [MQTT-4.12.0-2] The first message may follow in an AUTH of its own.
#[test]
fn mqtt_4_12_0_2_an_exchange_may_begin_without_data() {
    let mut scram = Scram::new("alice");
    let props = Props::new().field(prop::AUTH_METHOD, METHOD);
    let mut client = Connect::new(V5, unique("c")).props(props).attempt();
    assert!(expect_auth(&mut client, CONTINUE).is_empty());
    client.send(&auth(CONTINUE, METHOD, scram.first()));
    let server = expect_auth(&mut client, CONTINUE);
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "secret")));
    assert_eq!(client.expect_connack().code, 0);
}

/// [MQTT-4.12.0-3]
#[test]
fn mqtt_4_12_0_3_a_client_that_does_not_answer_with_0x18_is_not_let_in() {
    for reason in [AGAIN, 0x00, 0x87] {
        let (mut client, mut scram, server) = begun();
        client.send(&auth(reason, METHOD, scram.last(&server, "secret")));
        client.expect_no_entry(&[0x81, 0x82]);
    }
}

/// [MQTT-4.12.0-4] [MQTT-3.1.4-2]
#[test]
fn mqtt_4_12_0_4_a_wrong_proof_lets_nobody_in() {
    let (mut client, mut scram, server) = begun();
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "wrong")));
    let connack = client.expect_connack();
    assert!([0x86, 0x87].contains(&connack.code), "0x{:02X}", connack.code);
    client.drain_to_close();
}

/// [MQTT-4.12.0-4] Whether a user is known is not told before the end.
#[test]
fn mqtt_4_12_0_4_an_unknown_user_is_refused_as_one_with_a_wrong_password() {
    let mut answers = Vec::new();
    for user in ["alice", "nobody"] {
        let mut scram = Scram::new(user);
        let mut client = connect(&scram).attempt();
        let server = expect_auth(&mut client, CONTINUE);
        client.send(&auth(CONTINUE, METHOD, scram.last(&server, "wrong")));
        let connack = client.expect_connack();
        client.drain_to_close();
        answers.push((server.len(), connack));
    }
    assert_eq!(answers[0], answers[1]);
}

/// [MQTT-4.12.0-4]
#[test]
fn mqtt_4_12_0_4_messages_that_are_no_scram_let_nobody_in() {
    for data in [&b"n,,"[..], b"\xFF\xFE", b"p=tls-unique,,n=alice,r=x", b"n,,n=alice", b"n,,n=,r=x"] {
        let props = Props::new().field(prop::AUTH_METHOD, METHOD).field(prop::AUTH_DATA, data);
        let mut client = Connect::new(V5, unique("c")).props(props).attempt();
        assert!([0x80, 0x81, 0x82, 0x83, 0x86, 0x87].contains(&client.expect_connack().code));
        client.drain_to_close();
    }
    for data in ["", "c=biws", "c=biws,r=x,p=AAAA"] {
        let (mut client, ..) = begun();
        client.send(&auth(CONTINUE, METHOD, data));
        assert!(client.expect_connack().code >= 0x80);
        client.drain_to_close();
    }
}

/// [MQTT-4.12.0-5]
#[test]
fn mqtt_4_12_0_5_another_method_in_the_middle_lets_nobody_in() {
    for method in ["other", "scram-sha-256", ""] {
        let (mut client, mut scram, server) = begun();
        client.send(&auth(CONTINUE, method, scram.last(&server, "secret")));
        client.expect_no_entry(&[0x81, 0x82, 0x87, 0x8C]);
    }
}

/// [MQTT-4.12.0-5] An AUTH of a login without its method, or with a property of other packets.
#[test]
fn mqtt_4_12_0_5_a_malformed_auth_lets_nobody_in() {
    let twice = Props::new().field(prop::AUTH_METHOD, METHOD).field(prop::AUTH_METHOD, METHOD);
    let bodies = [
        vec![],
        vec![CONTINUE],
        vec![CONTINUE, 0],
        concat(&[&[CONTINUE], &Props::new().field(prop::AUTH_DATA, "x").block()]),
        concat(&[&[CONTINUE], &twice.block()]),
        concat(&[&[CONTINUE], &Props::new().field(prop::AUTH_METHOD, METHOD).u8(prop::MAXIMUM_QOS, 1).block()]),
        concat(&[&[CONTINUE], &Props::new().field(prop::AUTH_METHOD, METHOD).block(), &[0]]),
    ];
    for body in bodies {
        let (mut client, ..) = begun();
        client.send(&frame(0xF0, &body));
        client.expect_no_entry(&[0x81, 0x82]);
    }
}

/// [MQTT-4.12.0-6]: the watch refuses AUTH and a method in CONNACK where CONNECT named none.
#[test]
fn mqtt_4_12_0_6_without_a_method_there_is_no_auth_and_none_in_connack() {
    for connect in [Connect::new(V5, unique("c")), Connect::new(V5, unique("c")).login("alice", "secret")] {
        let mut client = connect.open();
        assert!(!client.connack.as_ref().is_some_and(|connack| connack.props.has(prop::AUTH_METHOD)));
        client.ping();
    }
}

/// [MQTT-4.12.0-7]
#[test]
fn mqtt_4_12_0_7_auth_from_a_client_that_named_no_method_is_a_protocol_error() {
    for reason in [CONTINUE, AGAIN] {
        let mut client = connected(V5);
        client.send(&auth(reason, METHOD, "n,,n=alice,r=x"));
        client.expect_disconnect(&[0x82]);
    }
}

/// [MQTT-3.1.2-30]
#[test]
fn mqtt_3_1_2_30_other_packets_during_the_exchange_let_nobody_in() {
    let topic = unique("t");
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 0);
    let packets = [
        Publication::new(&topic, "x").retain().bytes(V5),
        subscribe(V5, 1, &Props::new(), &[(b"t", 0)]),
        vec![0xC0, 0],
        Connect::new(V5, unique("c")).bytes(),
    ];
    for packet in packets {
        let (mut client, mut scram, server) = begun();
        let proof = auth(CONTINUE, METHOD, scram.last(&server, "secret"));
        client.send(&concat(&[&packet, &proof]));
        client.expect_no_entry(&[0x81, 0x82]);
    }
    watcher.expect_nothing();
}

/// [MQTT-3.1.2-30] A client may give up.
#[test]
fn mqtt_3_1_2_30_disconnect_ends_the_exchange() {
    let (mut client, ..) = begun();
    client.send(&disconnect(V5, 0));
    client.expect_closed(Duration::from_secs(5));
}

/// [MQTT-3.1.4-3] [MQTT-4.12.0-4] Who has not proved anything takes nobody's place.
#[test]
fn mqtt_4_12_0_4_an_unfinished_exchange_takes_over_nothing() {
    let id = unique("c");
    let mut client = Connect::new(V5, &id).open();
    let mut connect = connect(&Scram::new("alice"));
    connect.client = id.into_bytes();
    let mut stranger = connect.attempt();
    expect_auth(&mut stranger, CONTINUE);
    client.expect_nothing();
    client.ping();
}

/// [MQTT-4.12.0-4] An exchange that is not finished in time is ended.
#[test]
fn mqtt_4_12_0_4_an_exchange_does_not_last_for_ever() {
    let broker = broker::with("[limits]\nconnect_timeout_s = 1\n");
    let mut client = connect(&Scram::new("alice")).attempt_at(broker.addr("mqtt"));
    expect_auth(&mut client, CONTINUE);
    client.drain_to_close();
}

/// Proves again to be `alice`, on a connection that is up.
#[track_caller]
fn prove_again(client: &mut Client) {
    let mut scram = Scram::new("alice");
    client.send(&auth(AGAIN, METHOD, scram.first()));
    let server = expect_auth(client, CONTINUE);
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "secret")));
    assert_eq!(expect_auth(client, 0x00), scram.signature.as_bytes());
}

/// [MQTT-4.12.1-1] [MQTT-4.12.0-5]
#[test]
fn mqtt_4_12_1_1_a_client_may_prove_itself_again_and_again() {
    let mut client = proved();
    for _ in 0..2 {
        prove_again(&mut client);
        client.ping();
    }
}

/// [MQTT-4.12.1-1] Other packets flow while it does.
#[test]
fn mqtt_4_12_1_1_traffic_goes_on_during_re_authentication() {
    let topic = unique("t");
    let mut client = proved();
    client.subscribe(&topic, 1);
    let mut scram = Scram::new("alice");
    client.send(&auth(AGAIN, METHOD, scram.first()));
    let server = expect_auth(&mut client, CONTINUE);
    client.publish(&topic, 1, "x");
    client.receive_payload("x");
    client.ping();
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "secret")));
    expect_auth(&mut client, 0x00);
}

/// [MQTT-4.12.1-1]
#[test]
fn mqtt_4_12_1_1_another_method_than_at_connect_is_refused() {
    for method in ["other", "scram-sha-256", ""] {
        let mut client = proved();
        client.send(&auth(AGAIN, method, Scram::new("alice").first()));
        client.expect_disconnect(&[0x82, 0x8C]);
    }
}

/// [MQTT-4.12.1-2]
#[test]
fn mqtt_4_12_1_2_a_failed_re_authentication_ends_the_connection() {
    let mut client = proved();
    let mut scram = Scram::new("alice");
    client.send(&auth(AGAIN, METHOD, scram.first()));
    let server = expect_auth(&mut client, CONTINUE);
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "wrong")));
    client.expect_disconnect(&[0x87]);
}

/// [MQTT-4.12.1-2] Nobody becomes somebody else on a connection that is up: its session and its rights stay.
#[test]
fn mqtt_4_12_1_2_re_authentication_as_somebody_else_ends_the_connection() {
    let mut client = proved();
    let mut scram = Scram::new("nobody");
    client.send(&auth(AGAIN, METHOD, scram.first()));
    let server = expect_auth(&mut client, CONTINUE);
    client.send(&auth(CONTINUE, METHOD, scram.last(&server, "secret")));
    client.expect_disconnect(&[0x87]);
}

/// [MQTT-4.12.1-1] [MQTT-4.13.1-1] AUTH out of its order.
#[test]
fn mqtt_4_12_1_1_auth_out_of_order_is_a_protocol_error() {
    let mut client = proved();
    client.send(&auth(CONTINUE, METHOD, "c=biws,r=x,p=AAAA"));
    client.expect_disconnect(&[0x82]);
    let mut client = proved();
    client.send(&auth(0x00, METHOD, ""));
    client.expect_disconnect(&[0x81, 0x82]);
    let mut client = proved();
    client.send(&auth(AGAIN, METHOD, Scram::new("alice").first()));
    expect_auth(&mut client, CONTINUE);
    client.send(&auth(AGAIN, METHOD, Scram::new("alice").first()));
    client.expect_disconnect(&[0x82]);
}
