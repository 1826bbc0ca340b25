//! 3.2 CONNACK: when it comes, what it says, and that the limits it announces hold.

use crate::support::broker;
use crate::support::build::{Connect, PINGREQ, PUBACK, PUBREC, Publication, Will, subscribe};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, prop};
use crate::support::{WAIT, unique};

fn connect() -> Connect {
    Connect::new(V5, unique("c"))
}

/// [MQTT-3.2.0-1]: the watch refuses every packet before CONNACK.
#[test]
fn mqtt_3_2_0_1_connack_comes_before_what_was_queued_and_what_was_asked() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut client = Connect::new(V5, &id).resume().open();
    client.subscribe(&topic, 1);
    client.vanish();
    let mut publisher = connected(V5);
    for number in 0..5 {
        publisher.publish(&topic, 1, number.to_string());
    }
    let mut client = Client::raw(V5);
    let more = subscribe(V5, 1, &Props::new(), &[(unique("t").as_bytes(), 0)]);
    client.send(&concat(&[&Connect::new(V5, &id).resume().bytes(), &more, &PINGREQ]));
    assert!(client.expect_connack().session_present);
    for number in 0..5 {
        client.await_packet("a queued message", |packet| match packet {
            Packet::Publish(publish) if publish.payload == number.to_string().as_bytes() => Some(()),
            _ => None,
        });
    }
}

/// [MQTT-3.2.0-2]: the watch refuses a second one.
#[test]
fn mqtt_3_2_0_2_there_is_one_connack_on_a_connection() {
    let connect = connect();
    let mut client = connect.open();
    client.publish(unique("t"), 2, "x");
    client.send(&connect.bytes());
    client.send(&connect.bytes());
    client.expect_disconnect(&[0x82]);
}

/// [MQTT-3.2.2-1] [MQTT-3.2.2-8]: the decoder refuses other bits and codes; here are the cases it is shown.
#[test]
fn mqtt_3_2_2_1_flags_and_codes_are_legal_in_every_refusal() {
    let mut unknown = connect();
    unknown.level = 77;
    let refused = [
        connect().login("alice", "wrong"),
        connect().login("nobody", "secret"),
        connect().props(Props::new().field(prop::AUTH_METHOD, "no-such")),
        connect().props(Props::new().u16(prop::RECEIVE_MAXIMUM, 0)),
        connect().flags(0x03),
        unknown,
    ];
    for connect in refused {
        let mut client = connect.attempt();
        if let Event::Packet(packet) = client.poll(WAIT) {
            assert!(matches!(packet, Packet::Connack(connack) if connack.code >= 0x80));
        }
        client.drain_to_close();
    }
}

/// [MQTT-3.2.2-2]
#[test]
fn mqtt_3_2_2_2_clean_start_has_session_present_0() {
    let id = unique("c");
    Connect::new(V5, &id).resume().open().vanish();
    for _ in 0..2 {
        let client = Connect::new(V5, &id).kept_s(60).open();
        let connack = client.connack.clone().expect("it was let in");
        assert_eq!((connack.session_present, connack.code), (false, 0));
        client.vanish();
    }
}

/// [MQTT-3.2.2-3]
#[test]
fn mqtt_3_2_2_3_session_present_tells_whether_there_was_a_session() {
    let id = unique("c");
    for known in [false, true, true] {
        let client = Connect::new(V5, &id).resume().open();
        let connack = client.connack.clone().expect("it was let in");
        assert_eq!((connack.session_present, connack.code), (known, 0));
        client.vanish();
    }
}

/// [MQTT-3.2.2-6]
#[test]
fn mqtt_3_2_2_6_a_refusal_has_session_present_0_and_leaves_the_session() {
    let id = unique("c");
    let mut client = Connect::new(V5, &id).login("alice", "secret").resume().open();
    let topic = unique("t");
    client.subscribe(&topic, 1);
    client.vanish();
    for clean in [false, true] {
        let mut refused = Connect::new(V5, &id).login("alice", "wrong").clean(clean).attempt();
        let connack = refused.expect_connack();
        assert!(connack.code >= 0x80 && !connack.session_present, "{connack:?}");
        refused.drain_to_close();
    }
    let mut client = Connect::new(V5, &id).login("alice", "secret").resume().open();
    assert!(client.session_present());
    client.publish(&topic, 1, "x");
    client.receive_payload("x");
}

/// [MQTT-3.2.2-6] [MQTT-3.1.4-2] Somebody who may not come in does not drive out who is there.
#[test]
fn mqtt_3_2_2_6_a_refused_connect_does_not_take_over() {
    let id = unique("c");
    let mut client = Connect::new(V5, &id).login("alice", "secret").open();
    let mut refused = Connect::new(V5, &id).login("alice", "wrong").attempt();
    assert!(refused.expect_connack().code >= 0x80);
    refused.drain_to_close();
    client.expect_nothing();
    client.ping();
}

/// [MQTT-3.2.2-7]
#[test]
fn mqtt_3_2_2_7_the_broker_closes_behind_a_refusal_without_being_asked() {
    let mut client = connect().login("alice", "wrong").attempt();
    assert!(client.expect_connack().code >= 0x80);
    client.drain_to_close();
}

/// [MQTT-3.2.2-7] The refusal arrives although the client goes on writing.
#[test]
fn mqtt_3_2_2_7_a_refusal_is_read_by_a_client_that_keeps_writing() {
    for _ in 0..5 {
        let mut client = Client::raw(V5);
        let publish = Publication::new(unique("t"), vec![b'x'; 1000]).bytes(V5);
        client.send(&connect().login("alice", "wrong").bytes());
        for _ in 0..20 {
            client.send(&publish);
        }
        assert!(client.expect_connack().code >= 0x80);
        client.drain_to_close();
    }
}

/// [MQTT-3.2.2-9] A broker of all three QoS announces none, because 2 is no legal value; one of less says so.
#[test]
fn mqtt_3_2_2_9_maximum_qos_is_announced_where_it_is_not_2() {
    assert_eq!(connected(V5).announced(prop::MAXIMUM_QOS), None);
    for qos in [0u8, 1] {
        let broker = broker::with(&format!("[limits]\nmaximum_qos = {qos}\n"));
        assert_eq!(connect().open_at(broker.addr("mqtt")).announced(prop::MAXIMUM_QOS), Some(u32::from(qos)));
    }
}

/// [MQTT-3.2.2-10] [MQTT-3.2.2-11] [MQTT-3.2.2-12]
#[test]
fn mqtt_3_2_2_10_below_maximum_qos_subscriptions_are_granted_and_publications_refused() {
    let topic = unique("t");
    for most in [0u8, 1] {
        let broker = broker::with(&format!("[limits]\nmaximum_qos = {most}\n"));
        let at = broker.addr("mqtt");
        let mut client = connect().open_at(at);
        for qos in 0..=2 {
            let granted = client.subscribe(&topic, qos);
            assert!(granted <= qos, "QoS {qos} is granted as 0x{granted:02X}");
        }
        client.publish(&topic, most, "x");
        assert_eq!(client.receive_payload("x").qos, most);
        client.send_publish(&Publication::new(&topic, "y").qos(most + 1, 9));
        client.expect_disconnect(&[0x9B]);
        let mut refused = connect().will(Will::new(&topic, "w").qos(most + 1)).attempt_at(at);
        assert_eq!(refused.expect_connack().code, 0x9B);
        refused.drain_to_close();
        connect().will(Will::new(&topic, "w").qos(most)).open_at(at).ping();
    }
}

/// [MQTT-3.2.2-13] [MQTT-3.2.2-14]
#[test]
fn mqtt_3_2_2_13_without_retain_a_retained_will_and_a_retained_publish_are_refused() {
    let broker = broker::with("[limits]\nretain_available = false\n");
    let (at, topic) = (broker.addr("mqtt"), unique("t"));
    let mut refused = connect().will(Will::new(&topic, "w").retain()).attempt_at(at);
    assert_eq!(refused.expect_connack().code, 0x9A);
    refused.drain_to_close();
    let mut client = connect().will(Will::new(&topic, "w")).open_at(at);
    assert_eq!(client.announced(prop::RETAIN_AVAILABLE), Some(0));
    client.subscribe(&topic, 0);
    client.publish(&topic, 0, "x");
    client.receive_payload("x");
    client.send_publish(&Publication::new(&topic, "y").retain());
    client.expect_disconnect(&[0x9A]);
    assert!(connected(V5).announced(prop::RETAIN_AVAILABLE).is_none_or(|available| available == 1));
}

/// [MQTT-3.2.2-15]
#[test]
fn mqtt_3_2_2_15_a_packet_over_the_announced_size_is_too_large() {
    let broker = broker::with("[limits]\npacket_bytes_max = 2000\n");
    let topic = unique("t");
    let mut client = connect().open_at(broker.addr("mqtt"));
    assert_eq!(client.announced(prop::MAXIMUM_PACKET_SIZE), Some(2000));
    client.subscribe(&topic, 0);
    let head = 3 + 2 + topic.len() + 1;
    let fits = vec![b'x'; 2000 - head];
    client.send_publish(&Publication::new(&topic, &fits));
    assert_eq!(client.receive_payload(&fits).size, 2000);
    client.send_publish(&Publication::new(&topic, vec![b'x'; 2001 - head]));
    client.expect_disconnect(&[0x95]);
    // The length alone is enough.
    let mut client = connect().open_at(broker.addr("mqtt"));
    client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    client.expect_disconnect(&[0x95]);
}

/// [MQTT-3.2.2-16]
#[test]
fn mqtt_3_2_2_16_a_thousand_empty_client_identifiers_get_a_thousand_names() {
    let mut clients: Vec<Client> = (0..1000).map(|_| Connect::new(V5, "").attempt()).collect();
    let name = |client: &mut Client| {
        let connack = client.expect_connack();
        connack.props.text(prop::ASSIGNED_CLIENT_ID).expect("an assigned identifier").to_owned()
    };
    let mut names: Vec<String> = clients.iter_mut().map(name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1000);
    for client in &mut clients {
        client.send(&PINGREQ);
    }
    for client in &mut clients {
        client.expect_pingresp();
    }
}

/// [MQTT-3.2.2-16] A client that sent a Client Identifier is not given another.
#[test]
fn mqtt_3_2_2_16_a_client_identifier_that_was_sent_is_not_replaced() {
    let connack = connected(V5).connack.clone().expect("it was let in");
    assert!(!connack.props.has(prop::ASSIGNED_CLIENT_ID));
}

/// [MQTT-3.2.2-17] [MQTT-3.3.2-9]
#[test]
fn mqtt_3_2_2_17_an_alias_above_the_announced_maximum_is_invalid() {
    let topic = unique("t");
    let mut client = connected(V5);
    let most = client.announced(prop::TOPIC_ALIAS_MAXIMUM).unwrap_or(0) as u16;
    let with = |alias| Publication::new(&topic, "x").props(Props::new().u16(prop::TOPIC_ALIAS, alias));
    client.subscribe(&topic, 0);
    if most > 0 {
        client.send_publish(&with(most));
        client.receive_payload("x");
    }
    client.send_publish(&with(most + 1));
    client.expect_disconnect(&[0x94]);
}

/// [MQTT-3.2.2-18]
#[test]
fn mqtt_3_2_2_18_without_topic_alias_maximum_every_alias_is_invalid() {
    let broker = broker::with("[limits]\ntopic_alias_maximum = 0\n");
    let mut client = connect().open_at(broker.addr("mqtt"));
    assert!(client.announced(prop::TOPIC_ALIAS_MAXIMUM).is_none_or(|most| most == 0));
    client.send_publish(&Publication::new(unique("t"), "x").props(Props::new().u16(prop::TOPIC_ALIAS, 1)));
    client.expect_disconnect(&[0x94]);
}

/// [MQTT-3.2.2-19] [MQTT-3.2.2-20]: the watch counts; a refusal of five bytes still arrives.
#[test]
fn mqtt_3_2_2_19_a_refusal_fits_into_the_clients_maximum_packet_size() {
    for size in [20, 5] {
        for refused in [
            connect().login("alice", "wrong"),
            connect().login("nobody", "x"),
            connect().props(Props::new().field(prop::AUTH_METHOD, "no-such")),
        ] {
            let mut client = refused.packet_bytes_max(size).attempt();
            let connack = client.expect_connack();
            assert!(connack.code >= 0x80);
            assert!(!connack.props.has(prop::REASON_STRING) && !connack.props.has(prop::USER_PROPERTY));
            client.drain_to_close();
        }
    }
}

/// [MQTT-3.1.2-24] [MQTT-3.2.2-19] An acceptance that does not fit is not sent.
#[test]
fn mqtt_3_2_2_19_where_not_even_the_acceptance_fits_nobody_is_let_in() {
    let mut client = connect().packet_bytes_max(2).attempt();
    client.expect_closed(WAIT);
}

/// [MQTT-3.2.2-22]
#[test]
fn mqtt_3_2_2_22_a_keep_alive_the_broker_accepts_is_not_replaced() {
    for seconds in [0, 60, 65_535] {
        assert_eq!(connect().keep_alive_s(seconds).open().announced(prop::SERVER_KEEP_ALIVE), None);
    }
}

/// [MQTT-3.2.2-9] [MQTT-3.3.4-7] The Receive Maximum that is announced can be used to the last packet, and no further.
#[test]
fn mqtt_3_2_2_9_the_announced_receive_maximum_holds() {
    let broker = broker::with("[limits]\nreceive_maximum = 3\n");
    let topic = unique("t");
    let mut client = connect().open_at(broker.addr("mqtt"));
    assert_eq!(client.announced(prop::RECEIVE_MAXIMUM), Some(3));
    for id in 1..=3 {
        client.send_publish(&Publication::new(&topic, "x").qos(2, id));
        client.expect_ack(PUBREC, id);
    }
    client.send_publish(&Publication::new(&topic, "x").qos(2, 4));
    client.expect_disconnect(&[0x93]);
    let mut client = connect().open_at(broker.addr("mqtt"));
    for id in 1..=20 {
        client.send_publish(&Publication::new(&topic, "x").qos(1, id));
        client.expect_ack(PUBACK, id);
    }
}
