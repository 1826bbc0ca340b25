//! 3.1.2.10 and 3.1.2.11: Keep Alive and the properties of CONNECT, and that the broker keeps to them.

use std::time::{Duration, Instant};

use crate::support::broker;
use crate::support::build::{Connect, Publication, Will};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, frame, prop};

/// A CONNECT of a fresh name.
fn connect() -> Connect {
    Connect::new(V5, unique("c"))
}

/// [MQTT-3.1.2-21] [MQTT-3.1.2-22]
#[test]
fn mqtt_3_1_2_21_server_keep_alive_is_announced_and_enforced() {
    let broker = broker::with("[limits]\nkeep_alive_s_max = 1\n");
    for asked_s in [600, 0] {
        let before = Instant::now();
        let client = Connect::new(V5, unique("c")).keep_alive_s(asked_s).open_at(broker.addr("mqtt"));
        assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), Some(1));
        closes_at(client, before + AND_A_HALF);
    }
    let same = Connect::new(V5, unique("c")).keep_alive_s(1).open_at(broker.addr("mqtt"));
    assert!(same.announced(prop::SERVER_KEEP_ALIVE).is_none_or(|s| s == 1));
}

/// When a client is closed that has a Keep Alive of 1 s and says nothing.
const AND_A_HALF: Duration = Duration::from_millis(1500);

/// The client says nothing more: DISCONNECT 0x8D and the end come, not before this time and not much later.
#[track_caller]
fn closes_at(mut client: Client, time: Instant) {
    match client.poll(Duration::from_secs(5)) {
        Event::Packet(Packet::Disconnect(reason)) => assert_eq!(reason.code, 0x8D),
        Event::Closed => {}
        other => client.fail(&format!("the end of an idle connection, got {other:?}")),
    }
    let now = Instant::now();
    client.drain_to_close();
    assert!(now >= time, "closed {:?} too early", time - now);
    assert!(now < time + Duration::from_secs(1), "closed {:?} too late", now - time);
}

/// [MQTT-3.1.2-22] [MQTT-3.2.2-22]
#[test]
fn mqtt_3_1_2_22_an_idle_client_is_closed_after_one_and_a_half_keep_alive() {
    let before = Instant::now();
    let client = connect().keep_alive_s(1).open();
    assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), None);
    closes_at(client, before + AND_A_HALF);
}

/// [MQTT-3.1.2-22] The time counts from the last packet, not from the first.
#[test]
fn mqtt_3_1_2_22_each_packet_begins_the_time_anew() {
    let mut client = connect().keep_alive_s(1).open();
    client.expect_nothing_for(Duration::from_millis(700));
    let before = Instant::now();
    client.ping();
    closes_at(client, before + AND_A_HALF);
}

/// [MQTT-3.1.2-22] What the broker sends does not keep a silent client alive.
#[test]
fn mqtt_3_1_2_22_deliveries_do_not_count_as_life() {
    let topic = unique("t");
    let begun = Instant::now();
    let mut silent = connect().keep_alive_s(1).open();
    silent.subscribe(&topic, 0);
    let mut publisher = connected(V5);
    loop {
        publisher.send_publish(&Publication::new(&topic, "x"));
        match silent.poll(Duration::from_millis(100)) {
            Event::Packet(Packet::Publish(_)) | Event::Silence if begun.elapsed() < Duration::from_secs(4) => {}
            Event::Packet(Packet::Disconnect(reason)) => break assert_eq!(reason.code, 0x8D),
            Event::Closed => break,
            other => silent.fail(&format!("the end of a silent connection, got {other:?}")),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > AND_A_HALF);
}

/// [MQTT-3.1.2-22] [MQTT-3.12.4-1]
#[test]
fn mqtt_3_1_2_22_pings_keep_a_connection_and_keep_alive_0_needs_none() {
    let mut kept = connect().keep_alive_s(1).open();
    let mut endless = connect().keep_alive_s(0).open();
    for _ in 0..3 {
        kept.expect_nothing_for(Duration::from_millis(700));
        kept.ping();
    }
    endless.expect_nothing();
    endless.ping();
}

/// [MQTT-3.1.2-22] [MQTT-3.1.2-8] Silence is a network failure: the will is published.
#[test]
fn mqtt_3_1_2_22_the_will_of_an_idle_client_is_published() {
    let topic = unique("w");
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 0);
    let mut client = connect().keep_alive_s(1).will(Will::new(&topic, "gone")).open();
    client.drain_to_close();
    watcher.receive_payload("gone");
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-2]
#[test]
fn mqtt_3_1_2_23_a_session_lives_for_its_session_expiry_interval() {
    let (lasting, brief) = (unique("c"), unique("c"));
    Connect::new(V5, &lasting).kept_s(60).open().vanish();
    Connect::new(V5, &brief).kept_s(1).open().vanish();
    let present = |id: &str| Connect::new(V5, id).clean(false).open().session_present();
    // Nothing can be awaited here: that the session is still there would renew it.
    std::thread::sleep(Duration::from_millis(2200));
    assert!(present(&lasting), "60 s are not over");
    assert!(!present(&brief), "1 s is over");
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-2] Without Session Expiry Interval the session ends with the connection.
#[test]
fn mqtt_3_1_2_23_without_session_expiry_interval_a_session_ends_with_its_connection() {
    let id = unique("c");
    for connect in [Connect::new(V5, &id), Connect::new(V5, &id).kept_s(0)] {
        connect.open().vanish();
        let again = Connect::new(V5, &id).clean(false).open();
        assert!(!again.session_present());
        again.leave();
    }
}

/// [MQTT-3.1.2-23] 0xFFFFFFFF is no bound, and a lower bound of the broker is announced and kept.
#[test]
fn mqtt_3_1_2_23_a_session_that_never_expires_is_there_again_and_a_bound_is_announced() {
    let id = unique("c");
    let client = Connect::new(V5, &id).kept_s(u32::MAX).open();
    assert!(client.announced(prop::SESSION_EXPIRY).is_none_or(|granted| granted == u32::MAX));
    client.vanish();
    let again = Connect::new(V5, &id).clean(false).open();
    assert!(again.session_present());
    let broker = broker::with("[limits]\nsession_expiry_s_max = 1\n");
    let at = broker.addr("mqtt");
    let client = Connect::new(V5, &id).kept_s(600).open_at(at);
    assert_eq!(client.announced(prop::SESSION_EXPIRY), Some(1));
    client.vanish();
    // Nothing can be awaited here: asking whether the session is there would renew it.
    std::thread::sleep(Duration::from_millis(2200));
    let again = Connect::new(V5, &id).clean(false).open_at(at);
    assert!(!again.session_present());
}

/// [MQTT-3.1.2-24]
#[test]
fn mqtt_3_1_2_24_a_delivery_may_be_as_large_as_maximum_packet_size_and_no_larger() {
    let topic = unique("t");
    for qos in 0..=2 {
        let mut subscriber = connect().packet_bytes_max(100).open();
        subscriber.subscribe(&topic, qos);
        let head = 2 + 2 + topic.len() + 1 + if qos > 0 { 2 } else { 0 };
        let (fits, large) = (vec![b'f'; 100 - head], vec![b'l'; 101 - head]);
        let mut publisher = connected(V5);
        publisher.publish(&topic, qos, &large);
        publisher.publish(&topic, qos, &fits);
        assert_eq!(subscriber.receive_payload(&fits).size, 100);
        subscriber.ping();
    }
}

/// [MQTT-3.1.2-24] A retained message too large for a client is not sent, a queued one neither.
#[test]
fn mqtt_3_1_2_24_retained_and_queued_messages_keep_to_maximum_packet_size() {
    let (topic, id) = (unique("t"), unique("c"));
    let mut publisher = connected(V5);
    publisher.retain(&topic, 1, vec![b'l'; 200]);
    let small = || Connect::new(V5, &id).resume().packet_bytes_max(100);
    let mut client = small().open();
    client.subscribe(&topic, 1);
    client.expect_nothing();
    client.vanish();
    publisher.publish(&topic, 1, vec![b'l'; 200]);
    publisher.publish(&topic, 1, "small");
    let mut client = small().open();
    client.receive_payload("small");
    client.expect_nothing();
}

/// [MQTT-3.1.2-25]
#[test]
fn mqtt_3_1_2_25_a_message_too_large_for_a_client_counts_as_delivered() {
    let topic = unique("t");
    for qos in 1..=2 {
        let mut subscriber = connect().receive_maximum(1).packet_bytes_max(100).open();
        subscriber.subscribe(&topic, qos);
        let mut publisher = connected(V5);
        for number in 0..5 {
            assert!(publisher.publish(&topic, qos, vec![b'l'; 200]) < 0x80);
            publisher.publish(&topic, qos, format!("small {number}"));
        }
        for number in 0..5 {
            subscriber.receive_payload(format!("small {number}"));
        }
    }
}

/// [MQTT-3.1.2-26]
#[test]
fn mqtt_3_1_2_26_aliases_stay_within_the_clients_topic_alias_maximum() {
    let base = unique("t");
    let mut subscriber = connect().props(Props::new().u16(prop::TOPIC_ALIAS_MAXIMUM, 2)).open();
    subscriber.subscribe(format!("{base}/#"), 0);
    let mut publisher = connected(V5);
    for round in 0..3 {
        for topic in 0..5 {
            publisher.publish(format!("{base}/{topic}"), 0, round.to_string());
        }
    }
    for round in 0..3 {
        for topic in 0..5 {
            let publish = subscriber.receive_payload(round.to_string());
            assert_eq!(publish.topic, format!("{base}/{topic}"));
            assert!(publish.props.number(prop::TOPIC_ALIAS).is_none_or(|alias| alias == 1 || alias == 2));
        }
    }
}

/// [MQTT-3.1.2-27]
#[test]
fn mqtt_3_1_2_27_without_topic_alias_maximum_no_delivery_has_an_alias() {
    let topic = unique("t");
    for connect in [connect(), connect().props(Props::new().u16(prop::TOPIC_ALIAS_MAXIMUM, 0))] {
        let mut client = connect.open();
        client.subscribe(&topic, 0);
        for _ in 0..3 {
            connected(V5).publish(&topic, 0, "x");
            assert!(!client.receive_payload("x").props.has(prop::TOPIC_ALIAS));
        }
    }
}

/// [MQTT-3.1.2-28]
#[test]
fn mqtt_3_1_2_28_no_response_information_where_it_is_not_asked_for() {
    let asking = |value| connect().props(Props::new().u8(prop::REQUEST_RESPONSE, value));
    for connect in [connect(), asking(0)] {
        let client = connect.open();
        assert!(!client.connack.as_ref().is_some_and(|connack| connack.props.has(prop::RESPONSE_INFORMATION)));
    }
    asking(1).open();
}

/// [MQTT-3.1.2-29]: the watch refuses Reason String and User Property wherever they are not allowed.
#[test]
fn mqtt_3_1_2_29_without_problem_information_refusals_carry_no_explanation() {
    let mut client = connect().props(Props::new().u8(prop::REQUEST_PROBLEM, 0)).open();
    let refused = client.subscribe_with(&Props::new(), &[(b"forbidden/x", 1), (b"a#", 1)]);
    assert!(refused.props.0.is_empty());
    client.publish("forbidden/x", 1, "x");
    client.publish("forbidden/x", 2, "x");
    client.unsubscribe(&["never/there"]);
    client.send(&frame(0x62, &[0x77, 0x77]));
    client.ping();
}

/// [MQTT-3.1.2-29]
#[test]
fn mqtt_3_1_2_29_user_properties_of_a_publish_arrive_all_the_same() {
    let topic = unique("t");
    let mut client = connect().props(Props::new().u8(prop::REQUEST_PROBLEM, 0)).open();
    client.subscribe(&topic, 1);
    connected(V5).publish_this(Publication::new(&topic, "x").props(Props::new().user("k", "v")), 1);
    assert_eq!(client.receive_payload("x").props.user(), [("k", "v")]);
}

/// [MQTT-3.1.2-28] Asked for, it is the client's prefix for response topics.
#[test]
fn mqtt_3_1_2_28_response_information_is_given_where_it_is_asked_for() {
    let broker = broker::with("[limits]\nresponse_information = \"answers/{client}\"\n");
    let id = unique("c");
    let asking = Connect::new(V5, &id).props(Props::new().u8(prop::REQUEST_RESPONSE, 1)).open_at(broker.addr("mqtt"));
    let connack = asking.connack.clone().expect("it was let in");
    assert_eq!(connack.props.text(prop::RESPONSE_INFORMATION), Some(format!("answers/{id}").as_str()));
    let silent = broker::with("[limits]\nresponse_information = \"\"\n");
    let asking = Connect::new(V5, &id).props(Props::new().u8(prop::REQUEST_RESPONSE, 1)).open_at(silent.addr("mqtt"));
    assert!(asking.connack.as_ref().is_some_and(|connack| !connack.props.has(prop::RESPONSE_INFORMATION)));
}

/// [MQTT-3.1.2-21] A Keep Alive that is too short for the broker is raised, and the raised one counts.
#[test]
fn mqtt_3_1_2_21_a_short_keep_alive_is_raised_where_the_broker_wants_it() {
    let broker = broker::with("[limits]\nkeep_alive_s_min = 30\n");
    let mut client = connect().keep_alive_s(1).open_at(broker.addr("mqtt"));
    assert_eq!(client.announced(prop::SERVER_KEEP_ALIVE), Some(30));
    client.expect_nothing_for(Duration::from_millis(2000));
    client.ping();
}
