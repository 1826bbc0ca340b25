//! 3.1 CONNECT: what is let in, and what each field of it brings about. Will and properties have files of their own.

use std::time::{Duration, Instant};

use crate::support::broker;
use crate::support::build::{Connect, PINGREQ, PUBACK, Publication, Will, disconnect, subscribe};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, concat, field, frame, prop};
use crate::support::{WAIT, unique};

/// The flags of a CONNECT with Clean Start.
const CLEAN: u8 = 0x02;

/// A CONNECT of a fresh name.
fn connect() -> Connect {
    Connect::new(V5, unique("c"))
}

/// Sends these bytes as the first of a connection: they let nobody in.
#[track_caller]
fn lets_nobody_in(bytes: &[u8], codes: &[u8]) {
    let mut client = Client::raw(V5);
    client.send(bytes);
    client.expect_no_entry(codes);
}

/// [MQTT-3.1.0-1]
#[test]
fn mqtt_3_1_0_1_another_packet_before_connect_ends_the_connection() {
    let first = [
        PINGREQ.to_vec(),
        Publication::new(unique("t"), "x").bytes(V5),
        subscribe(V5, 1, &Props::new(), &[(b"t", 0)]),
        disconnect(V5, 0),
        frame(0xF0, &[0x18, 0]),
        frame(0x20, &[0, 0, 0]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for packet in first {
        lets_nobody_in(&packet, &[]);
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.2.0-2]
#[test]
fn mqtt_3_1_0_2_a_second_connect_is_a_protocol_error() {
    let connect = connect();
    let mut client = connect.open();
    client.ping();
    client.send(&connect.bytes());
    client.expect_disconnect(&[0x82]);
}

/// [MQTT-3.1.2-1]
#[test]
fn mqtt_3_1_2_1_another_protocol_name_lets_nobody_in() {
    for name in [&b"MQTX"[..], b"mqtt", b"MQTTS", b"MQT", b""] {
        let mut connect = connect();
        connect.name = name.to_vec();
        connect.attempt().expect_no_entry(&[0x84]);
    }
}

/// [MQTT-3.1.2-2]
#[test]
fn mqtt_3_1_2_2_an_unknown_version_lets_nobody_in() {
    for level in [6, 99, 0x85, 255] {
        let mut connect = connect();
        connect.level = level;
        let connack = connect.attempt().expect_no_entry(&[0x84]);
        assert!(connack.is_none_or(|connack| connack.props.0.is_empty()));
    }
}

/// [MQTT-3.1.2-3]
#[test]
fn mqtt_3_1_2_3_the_reserved_flag_is_checked() {
    connect().flags(CLEAN | 1).attempt().expect_no_entry(&[0x81]);
}

/// [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.1.4-4]
#[test]
fn mqtt_3_1_2_4_clean_start_drops_the_session() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut client = Connect::new(V5, &id).kept_s(600).open();
    client.subscribe(&topic, 1);
    client.vanish();
    connected(V5).publish(&topic, 1, "queued");
    let mut client = Connect::new(V5, &id).kept_s(600).open();
    assert!(!client.session_present());
    connected(V5).publish(&topic, 1, "later");
    client.expect_nothing();
}

/// [MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT-3.1.4-4] [MQTT-4.1.0-1]
#[test]
fn mqtt_3_1_2_5_a_session_is_continued() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut client = Connect::new(V5, &id).resume().open();
    client.subscribe(&topic, 1);
    client.vanish();
    connected(V5).publish(&topic, 1, "meanwhile");
    let mut client = Connect::new(V5, &id).resume().open();
    assert!(client.session_present());
    client.receive_payload("meanwhile");
    connected(V5).publish(&topic, 1, "afterwards");
    client.receive_payload("afterwards");
}

/// [MQTT-3.1.2-6] [MQTT-3.2.2-3] [MQTT-3.1.4-4]
#[test]
fn mqtt_3_1_2_6_without_a_session_one_is_made() {
    let topic = unique("t");
    let mut client = connect().resume().open();
    assert!(!client.session_present());
    client.subscribe(&topic, 1);
    client.publish(&topic, 1, "x");
    client.receive_payload("x");
}

/// [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.3-3]
#[test]
fn mqtt_3_1_2_9_a_connect_without_a_field_its_flags_announce_lets_nobody_in() {
    let (will, user, password) = (0x04, 0x80, 0x40);
    for flags in [CLEAN | will, CLEAN | user, CLEAN | password, CLEAN | user | password | will] {
        connect().flags(flags).attempt().expect_no_entry(&[0x81]);
    }
    // Will Properties and Will Topic, and then nothing.
    connect().flags(CLEAN | will).tail(&concat(&[&[0], &field("t")])).attempt().expect_no_entry(&[0x81]);
    // No payload at all.
    let body = concat(&[&field("MQTT"), &[5, CLEAN, 0, 60, 0]]);
    lets_nobody_in(&frame(0x10, &body), &[0x81]);
}

/// [MQTT-3.1.2-16] [MQTT-3.1.2-18]
#[test]
fn mqtt_3_1_2_16_a_field_the_flags_do_not_announce_lets_nobody_in() {
    let login = connect().login("alice", "secret");
    for flags in [CLEAN, CLEAN | 0x80, CLEAN | 0x40] {
        login.clone().flags(flags).attempt().expect_no_entry(&[0x81]);
    }
    connect().tail(&[0]).attempt().expect_no_entry(&[0x81]);
}

/// [MQTT-3.1.2-11] [MQTT-3.1.2-13]
#[test]
fn mqtt_3_1_2_11_will_qos_and_will_retain_without_will_let_nobody_in() {
    for flags in [CLEAN | 0x08, CLEAN | 0x10, CLEAN | 0x18, CLEAN | 0x20] {
        connect().flags(flags).attempt().expect_no_entry(&[0x81, 0x82]);
    }
}

/// [MQTT-3.1.2-12]
#[test]
fn mqtt_3_1_2_12_will_qos_3_lets_nobody_in() {
    let mut will = Will::new("t", "x");
    will.qos = 3;
    connect().will(will).attempt().expect_no_entry(&[0x81]);
}

/// [MQTT-3.1.2-19] 5.0 allows a password without a user name: nobody is known by it, but it is well formed.
#[test]
fn mqtt_3_1_2_19_a_password_without_user_name_is_well_formed() {
    let mut connect = connect();
    connect.password = Some(b"secret".to_vec());
    let code = connect.attempt().expect_connack().code;
    assert!([0x00, 0x86, 0x87].contains(&code), "0x{code:02X}");
}

/// [MQTT-3.1.3-1]
#[test]
fn mqtt_3_1_3_1_the_fields_of_the_payload_are_read_in_their_order() {
    let (topic, id) = (unique("w"), unique("c"));
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 2);
    let will = Will::new(&topic, "payload").qos(2).props(Props::new().user("k", "v"));
    let props = Props::new().user("connect", "property").u16(prop::RECEIVE_MAXIMUM, 10);
    let client = Connect::new(V5, &id).props(props).kept_s(60).will(will).login("alice", "secret").open();
    client.vanish();
    Connect::new(V5, &id).login("alice", "secret").open();
    let publish = watcher.receive_payload("payload");
    assert_eq!((publish.qos, publish.props.user()), (2, vec![("k", "v")]));
}

/// [MQTT-3.1.3-2]
#[test]
fn mqtt_3_1_3_2_a_session_is_found_by_its_client_identifier() {
    let ids = [unique("a"), unique("A"), unique("ä/+/#")];
    for id in &ids {
        let mut client = Connect::new(V5, id).resume().open();
        client.subscribe(id.replace(['+', '#'], "_"), 1);
        client.vanish();
    }
    for id in &ids {
        connected(V5).publish(id.replace(['+', '#'], "_"), 1, id);
    }
    for id in ids.iter().rev() {
        let mut client = Connect::new(V5, id).resume().open();
        assert!(client.session_present());
        client.receive_payload(id);
        client.expect_nothing();
    }
}

/// [MQTT-3.1.3-5]
#[test]
fn mqtt_3_1_3_5_identifiers_of_1_to_23_letters_and_digits_are_let_in() {
    let long = format!("{:0>23}", unique("Zz9").replace('-', "0"));
    for id in ["q", &long] {
        assert!(id.len() <= 23);
        Connect::new(V5, id).open().leave();
    }
    for id in ["x".repeat(24), format!("{}-with space, ü and /+#$", unique("c")), "l".repeat(4000)] {
        Connect::new(V5, id).open().leave();
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.2.2-16]
#[test]
fn mqtt_3_1_3_6_an_empty_client_identifier_gets_one_that_is_nobody_elses() {
    let mut assigned = Vec::new();
    let mut clients = Vec::new();
    for clean in [true, false, true, false] {
        let client = Connect::new(V5, "").clean(clean).open();
        let connack = client.connack.as_ref().expect("it was let in");
        assert!(!connack.session_present);
        assigned.push(connack.props.text(prop::ASSIGNED_CLIENT_ID).expect("an assigned identifier").to_owned());
        clients.push(client);
    }
    for client in &mut clients {
        client.ping();
    }
    let count = assigned.len();
    assigned.sort_unstable();
    assigned.dedup();
    assert_eq!(assigned.len(), count);
    assert!(assigned.iter().all(|id| !id.is_empty()));
}

/// [MQTT-3.1.3-7]
#[test]
fn mqtt_3_1_3_7_an_assigned_client_identifier_is_the_sessions() {
    let topic = unique("t");
    let mut client = Connect::new(V5, "").kept_s(60).open();
    client.subscribe(&topic, 1);
    let connack = client.connack.clone().expect("it was let in");
    client.vanish();
    connected(V5).publish(&topic, 1, "meanwhile");
    let id = connack.props.text(prop::ASSIGNED_CLIENT_ID).expect("an assigned identifier");
    let mut again = Connect::new(V5, id).clean(false).open();
    let connack = again.connack.clone().expect("it was let in");
    assert!(connack.session_present);
    assert!(!connack.props.has(prop::ASSIGNED_CLIENT_ID));
    again.receive_payload("meanwhile");
}

/// [MQTT-3.1.3-8]
#[test]
fn mqtt_3_1_3_8_a_client_identifier_over_the_limit_lets_nobody_in() {
    let broker = broker::with("[limits]\nclient_id_bytes_max = 30\n");
    let at = broker.addr("mqtt");
    Connect::new(V5, "x".repeat(30)).open_at(at).leave();
    let mut client = Connect::new(V5, "x".repeat(31)).attempt_at(at);
    assert_eq!(client.expect_connack().code, 0x85);
    client.drain_to_close();
}

/// Properties that make a CONNECT malformed or a Protocol Error.
fn wrong_properties() -> Vec<Props> {
    let twice = |one: Props| one.clone().raw(one.bytes());
    vec![
        Props::new().u16(prop::RECEIVE_MAXIMUM, 0),
        Props::new().u32(prop::MAXIMUM_PACKET_SIZE, 0),
        Props::new().u8(prop::REQUEST_PROBLEM, 2),
        Props::new().u8(prop::REQUEST_RESPONSE, 2),
        Props::new().field(prop::AUTH_DATA, "without a method"),
        twice(Props::new().u32(prop::SESSION_EXPIRY, 1)),
        twice(Props::new().u16(prop::RECEIVE_MAXIMUM, 1)),
        twice(Props::new().u32(prop::MAXIMUM_PACKET_SIZE, 100)),
        twice(Props::new().u16(prop::TOPIC_ALIAS_MAXIMUM, 0)),
        twice(Props::new().u8(prop::REQUEST_RESPONSE, 0)),
        twice(Props::new().u8(prop::REQUEST_PROBLEM, 1)),
        twice(Props::new().field(prop::AUTH_METHOD, "SCRAM-SHA-256")),
        // Of other packets, or of none.
        Props::new().u8(prop::PAYLOAD_FORMAT, 1),
        Props::new().u32(prop::MESSAGE_EXPIRY, 1),
        Props::new().u32(prop::WILL_DELAY, 1),
        Props::new().varint(prop::SUBSCRIPTION_ID, 1),
        Props::new().field(prop::ASSIGNED_CLIENT_ID, "x"),
        Props::new().u16(prop::SERVER_KEEP_ALIVE, 1),
        Props::new().field(prop::REASON_STRING, "x"),
        Props::new().u16(prop::TOPIC_ALIAS, 1),
        Props::new().u8(prop::MAXIMUM_QOS, 1),
        Props::new().raw(&[0x00]),
        Props::new().raw(&[0x7F, 0]),
        Props::new().raw(&[0xA6, 0x00, 0, 1, b'k', 0, 1, b'v']),
        // Cut off.
        Props::new().raw(&[prop::SESSION_EXPIRY, 0, 0]),
        Props::new().raw(&[prop::USER_PROPERTY, 0, 1, b'k', 0, 5, b'v']),
    ]
}

/// [MQTT-3.1.4-1] [MQTT-4.13.1-1]
#[test]
fn mqtt_3_1_4_1_wrong_connect_properties_let_nobody_in() {
    for props in wrong_properties() {
        println!("{props:02X?}");
        connect().props(props).attempt().expect_no_entry(&[0x81, 0x82]);
    }
}

/// [MQTT-3.1.4-1] [MQTT-3.1.2-9]
#[test]
fn mqtt_3_1_4_1_wrong_will_properties_let_nobody_in() {
    let twice = |one: Props| one.clone().raw(one.bytes());
    let wrong = [
        Props::new().u8(prop::PAYLOAD_FORMAT, 2),
        twice(Props::new().u32(prop::WILL_DELAY, 1)),
        twice(Props::new().u32(prop::MESSAGE_EXPIRY, 1)),
        twice(Props::new().u8(prop::PAYLOAD_FORMAT, 0)),
        twice(Props::new().field(prop::CORRELATION_DATA, "x")),
        Props::new().field(prop::RESPONSE_TOPIC, "with/+"),
        Props::new().u16(prop::TOPIC_ALIAS, 1),
        Props::new().varint(prop::SUBSCRIPTION_ID, 1),
        Props::new().u32(prop::SESSION_EXPIRY, 1),
        Props::new().raw(&[prop::WILL_DELAY, 0]),
    ];
    for props in wrong {
        println!("{props:02X?}");
        connect().will(Will::new("t", "x").props(props)).attempt().expect_no_entry(&[0x81, 0x82]);
    }
    for topic in ["", "a/+", "#"] {
        connect().will(Will::new(topic, "x")).attempt().expect_no_entry(&[0x81, 0x82, 0x90]);
    }
}

/// [MQTT-3.1.4-1]: CONNECT with every field, cut off behind each of its bytes with a Remaining Length to match.
#[test]
fn mqtt_3_1_4_1_a_connect_cut_off_anywhere_lets_nobody_in() {
    let will = Will::new("t", "x").props(Props::new().u32(prop::WILL_DELAY, 1));
    let whole = connect().props(Props::new().user("k", "v")).will(will).login("alice", "secret").body();
    for size in 0..whole.len() {
        lets_nobody_in(&frame(0x10, &whole[..size]), &[0x81, 0x82, 0x84]);
    }
}

/// [MQTT-3.1.4-1] A CONNECT that never comes to its end is not waited for.
#[test]
fn mqtt_3_1_4_1_a_connect_that_does_not_come_is_given_up() {
    let broker = broker::with("[limits]\nconnect_timeout_s = 1\n");
    let whole = connect().bytes();
    let begun = Instant::now();
    let mut waiting: Vec<Client> = [0, 1, whole.len() - 1]
        .iter()
        .map(|size| {
            let mut client = Client::tcp(broker.addr("mqtt"), V5);
            client.send(&whole[..*size]);
            client
        })
        .collect();
    for client in &mut waiting {
        client.expect_closed(Duration::from_secs(4));
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "it was waited for");
    Connect::new(V5, unique("c")).open_at(broker.addr("mqtt")).expect_nothing_for(Duration::from_millis(1500));
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-4.13.2-1]
#[test]
fn mqtt_3_1_4_2_a_wrong_login_lets_nobody_in() {
    for (user, password) in [("alice", "wrong"), ("alice", ""), ("bob", "secret"), ("", "secret"), ("Alice", "secret")]
    {
        let mut client = connect().login(user, password).attempt();
        let code = client.expect_connack().code;
        assert!([0x86, 0x87].contains(&code), "0x{code:02X} for {user} {password}");
        client.drain_to_close();
    }
    connect().login("alice", "secret").open().ping();
}

/// [MQTT-3.1.4-2] A user name alone is no proof.
#[test]
fn mqtt_3_1_4_2_a_user_name_without_password_lets_nobody_in() {
    let mut connect = connect();
    connect.user = Some(b"alice".to_vec());
    let mut client = connect.attempt();
    let code = client.expect_connack().code;
    assert!([0x86, 0x87].contains(&code), "0x{code:02X}");
    client.drain_to_close();
}

/// [MQTT-3.1.4-2] Where anonymous clients are not let in.
#[test]
fn mqtt_3_1_4_2_where_a_login_is_demanded_nobody_comes_in_without() {
    let broker = broker::with("[auth]\nallow_anonymous = false\npassword_file = \"users\"\n");
    let at = broker.addr("mqtt");
    let mut client = connect().attempt_at(at);
    let code = client.expect_connack().code;
    assert!([0x86, 0x87].contains(&code), "0x{code:02X}");
    client.drain_to_close();
    connect().login("alice", "secret").open_at(at).ping();
}

/// [MQTT-3.1.4-3]
#[test]
fn mqtt_3_1_4_3_a_second_client_takes_over_the_first_ones_place() {
    let id = unique("c");
    for clean in [true, false] {
        let mut first = Connect::new(V5, &id).resume().clean(clean).open();
        let mut second = Connect::new(V5, &id).resume().clean(clean).open();
        assert_eq!(second.session_present(), !clean);
        first.expect_disconnect(&[0x8E]);
        second.ping();
    }
}

/// [MQTT-3.1.4-3] [MQTT-3.1.2-4] A take-over with Clean Start 1 leaves nothing of the session to the second client, and
/// one with Clean Start 0 everything.
#[test]
fn mqtt_3_1_4_3_what_a_take_over_keeps_is_decided_by_clean_start() {
    for clean in [true, false] {
        let (topic, id) = (unique("t"), unique("c"));
        let mut first = Connect::new(V5, &id).resume().open();
        first.subscribe(&topic, 1);
        let mut second = Connect::new(V5, &id).resume().clean(clean).open();
        first.expect_disconnect(&[0x8E]);
        connected(V5).publish(&topic, 1, "x");
        if clean {
            second.expect_nothing();
        } else {
            second.receive_payload("x");
        }
    }
}

/// [MQTT-3.1.4-5]
#[test]
fn mqtt_3_1_4_5_an_accepted_connect_is_answered_by_connack_0() {
    let mut client = connect().attempt();
    assert_eq!(client.expect_connack().code, 0);
    client.expect_nothing();
}

/// [MQTT-3.1.4-6] [MQTT-3.2.2-7]
#[test]
fn mqtt_3_1_4_6_what_follows_a_refused_connect_is_not_processed() {
    let topic = unique("t");
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 0);
    let mut client = Client::raw(V5);
    let refused = connect().login("alice", "wrong").bytes();
    client.send(&concat(&[&refused, &Publication::new(&topic, "x").retain().bytes(V5)]));
    let code = client.expect_connack().code;
    assert!([0x86, 0x87].contains(&code), "0x{code:02X}");
    client.drain_to_close();
    watcher.expect_nothing();
    let mut late = connected(V5);
    late.subscribe(&topic, 0);
    late.expect_nothing();
}

/// [MQTT-3.1.4-5] What follows an accepted CONNECT in the same write is processed behind it, however long the login takes.
#[test]
fn mqtt_3_1_4_5_packets_sent_before_connack_came_are_processed() {
    let topic = unique("t");
    for connect in [connect(), connect().login("alice", "secret")] {
        let mut client = Client::raw(V5);
        let subscribe = subscribe(V5, 1, &Props::new(), &[(topic.as_bytes(), 1)]);
        let publish = Publication::new(&topic, "x").qos(1, 2).bytes(V5);
        client.send(&concat(&[&connect.bytes(), &subscribe, &publish, &PINGREQ]));
        assert_eq!(client.expect_connack().code, 0);
        assert_eq!(client.expect_suback(1).codes, [1]);
        client.await_ack(PUBACK, 2);
        client.receive_payload("x");
        client.expect_pingresp();
    }
}

/// [MQTT-3.1.4-3] However many come at once, on whatever core: one of them stays, and the session is what was sent last.
#[test]
fn mqtt_3_1_4_3_of_many_clients_with_one_identifier_one_stays() {
    let (id, topic) = (unique("c"), unique("t"));
    Connect::new(V5, &id).resume().open().subscribe(&topic, 1);
    let mut clients: Vec<Client> = (0..60).map(|_| Connect::new(V5, &id).resume().attempt()).collect();
    let stay = |client: &mut Client| {
        let connack = client.expect_connack();
        if connack.code != 0 {
            // Its place was gone before what its CONNACK promises was in the store.
            assert_eq!(connack.code, 0x80);
            return false;
        }
        assert!(connack.session_present);
        client.send(&PINGREQ);
        match client.expect_packet("PINGRESP or DISCONNECT") {
            Packet::Pingresp => true,
            Packet::Disconnect(reason) => {
                assert_eq!(reason.code, 0x8E);
                false
            }
            other => client.fail(&format!("PINGRESP or DISCONNECT, got {other:?}")),
        }
    };
    // Whoever was let in and answered may still lose its place to one that came later.
    clients.retain_mut(stay);
    connected(V5).publish(&topic, 1, "x");
    let receives = |client: &mut Client| loop {
        match client.poll(WAIT) {
            Event::Packet(Packet::Publish(publish)) => return publish.payload == b"x",
            Event::Packet(Packet::Disconnect(_)) | Event::Closed => return false,
            Event::Packet(_) => {}
            Event::Silence => client.fail("the message, or the end"),
        }
    };
    assert_eq!(clients.iter_mut().filter_map(|client| receives(client).then_some(())).count(), 1);
}

/// [MQTT-3.1.3-4] The longest Client Identifier is taken where strangers may send so much.
#[test]
fn mqtt_3_1_3_4_a_client_identifier_of_65_535_bytes_is_taken_where_a_connect_may_be_so_large() {
    let broker = broker::with("[limits]\npreauth_bytes_max = 262144\n");
    Connect::new(V5, "x".repeat(65_535)).open_at(broker.addr("mqtt")).leave();
}

/// [MQTT-3.1.4-1] [MQTT-3.2.2-15] Who is not known yet is not given room for a large packet.
#[test]
fn mqtt_3_1_4_1_a_connect_larger_than_strangers_may_send_lets_nobody_in() {
    let broker = broker::with("[limits]\npreauth_bytes_max = 1000\n");
    let at = broker.addr("mqtt");
    connect().will(Will::new("t", vec![b'x'; 900])).open_at(at).leave();
    connect().will(Will::new("t", vec![b'x'; 1000])).attempt_at(at).expect_no_entry(&[0x95]);
    // The length alone is enough.
    let mut stranger = Client::tcp(at, V5);
    stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    stranger.expect_no_entry(&[0x95]);
}
