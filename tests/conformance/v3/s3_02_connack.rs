//! 3.2 CONNACK.

use crate::support::build::{Connect, Will, subscribe};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::talk::connected;
use crate::support::wire::Props;
use crate::support::wire::Version::V3;
use crate::support::{WAIT, unique};

/// [MQTT3-3.2.0-1]
#[test]
fn mqtt3_3_2_0_1_connack_comes_before_what_waited() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).open();
    client.subscribe(&topic, 1);
    client.vanish();
    connected(V3).publish(&topic, 1, "x");
    // `open` takes nothing but CONNACK for a first packet.
    Connect::new(V3, &id).clean(false).open().receive_payload("x");
}

/// [MQTT3-3.2.0-1]
#[test]
fn mqtt3_3_2_0_1_connack_comes_before_the_answers_to_what_follows_connect() {
    let topic = unique("t");
    connected(V3).retain(&topic, 1, "r");
    let mut client = Client::raw(V3);
    let subscribe = subscribe(V3, 5, &Props::new(), &[(topic.as_bytes(), 1)]);
    client.send(&[Connect::new(V3, unique("c")).bytes(), subscribe].concat());
    assert_eq!(client.expect_connack().code, 0);
    client.expect_suback(5);
    client.receive_payload("r");
}

/// [MQTT3-3.2.2-1] [MQTT3-3.1.4-4]
#[test]
fn mqtt3_3_2_2_1_clean_session_1_has_no_session_present() {
    let id = unique("c");
    Connect::new(V3, &id).clean(false).open().leave();
    assert!(!Connect::new(V3, &id).open().session_present());
}

/// [MQTT3-3.2.2-2]
#[test]
fn mqtt3_3_2_2_2_a_stored_session_is_present_even_without_subscriptions() {
    let id = unique("c");
    Connect::new(V3, &id).clean(false).open().leave();
    for _ in 0..2 {
        let client = Connect::new(V3, &id).clean(false).open();
        assert!(client.session_present());
        client.vanish();
    }
}

/// [MQTT3-3.2.2-3]
#[test]
fn mqtt3_3_2_2_3_an_unknown_client_has_no_session_present() {
    assert!(!Connect::new(V3, unique("c")).clean(false).open().session_present());
}

/// [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
#[test]
fn mqtt3_3_2_2_4_a_refusal_has_no_session_present() {
    let (id, topic) = (unique("c"), unique("t"));
    let mut client = Connect::new(V3, &id).clean(false).login("alice", "secret").open();
    client.subscribe(&topic, 1);
    client.leave();
    for clean in [false, true] {
        let mut refused = Connect::new(V3, &id).clean(clean).login("alice", "wrong").attempt();
        let connack = refused.expect_connack();
        assert!(matches!(connack.code, 4 | 5), "CONNACK {}", connack.code);
        assert!(!connack.session_present);
        refused.expect_closed(CLOSE);
    }
    let client = Connect::new(V3, &id).clean(false).login("alice", "secret").open();
    assert!(client.session_present(), "a refusal does not touch the session");
}

/// [MQTT3-3.2.2-6]
#[test]
fn mqtt3_3_2_2_6_where_no_code_fits_the_connection_is_closed_unanswered() {
    let long = "x".repeat(65_535);
    let mut client = Connect::new(V3, unique("c")).will(Will::new("w", &long)).login(&long, &long).attempt();
    match client.poll(WAIT) {
        Event::Closed => {}
        other => client.fail(&format!("a CONNECT above the size before authentication to be closed, got {other:?}")),
    }
}
