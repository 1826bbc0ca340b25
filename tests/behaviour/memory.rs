//! Nobody makes the broker hold more than the limits say.

use std::time::{Duration, Instant};

use crate::support::broker;
use crate::support::build::{Connect, PUBACK, PUBREC, PUBREL, Publication, Will, ack, subscribe, unsubscribe};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::{V3, V5};
use crate::support::wire::{Props, field, frame, prop};
use crate::{VERSIONS, await_metric, resident_bytes, sound, sound_at};

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn claims_before_connect_cost_nothing() {
    const SOCKETS: usize = 200;
    let broker = broker::with("");
    sound_at(&broker);
    let before = resident_bytes(&broker);
    let mut claims: Vec<Client> = (0..SOCKETS).map(|_| Client::tcp(broker.addr("mqtt"), V5)).collect();
    for client in &mut claims {
        client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4, b'M', b'Q', b'T', b'T', 5]);
    }
    let asked = Instant::now();
    sound_at(&broker);
    assert!(asked.elapsed() < Duration::from_secs(2), "others wait {:?}", asked.elapsed());
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 64.0 * MIB, "{growth} bytes for {SOCKETS} claims of 256 MiB");
}

#[test]
fn connects_that_never_end_hold_what_they_sent() {
    const SOCKETS: usize = 200;
    let broker = broker::with("");
    sound_at(&broker);
    let before = resident_bytes(&broker);
    let connect = Connect::new(V5, unique("c")).will(Will::new("w", "x".repeat(7_900))).bytes();
    let mut claims: Vec<Client> = (0..SOCKETS).map(|_| Client::tcp(broker.addr("mqtt"), V5)).collect();
    for client in &mut claims {
        client.send(&connect[..connect.len() - 1]);
    }
    sound_at(&broker);
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 16.0 * MIB, "{growth} bytes for {SOCKETS} connections of 8 KiB");
    let last = claims.last_mut().expect("there are some");
    last.send(&connect[connect.len() - 1..]);
    assert_eq!(last.expect_connack().code, 0, "a CONNECT that ends is one");
}

#[test]
fn qos_2_without_pubrel_ends_at_receive_maximum() {
    let mut client = connected(V5);
    let most = client.announced(prop::RECEIVE_MAXIMUM).unwrap_or(65_535) as u16;
    let topic = unique("t");
    for id in 1..=most {
        client.send_publish(&Publication::new(&topic, "x").qos(2, id));
        client.expect_ack(PUBREC, id);
    }
    client.send_publish(&Publication::new(&topic, "x").qos(2, most + 1));
    client.expect_disconnect(&[0x93]);
    sound();
}

/// 3.1.1 has no Receive Maximum: every identifier may be open, and costs next to nothing.
#[test]
fn qos_2_without_pubrel_costs_a_bit_in_3_1_1() {
    let broker = broker::with("");
    let mut client = Connect::new(V3, unique("c")).open_at(broker.addr("mqtt"));
    let before = resident_bytes(&broker);
    let topic = unique("t");
    for first in (1..=u16::MAX).step_by(255) {
        let ids = first..=first.saturating_add(254);
        let batch: Vec<u8> = ids.clone().flat_map(|id| Publication::new(&topic, "x").qos(2, id).bytes(V3)).collect();
        client.send(&batch);
        for id in ids {
            client.expect_ack(PUBREC, id);
        }
    }
    let growth = resident_bytes(&broker) - before;
    assert!(growth < 4.0 * MIB, "{growth} bytes for 65,535 identifiers");
    client.send(&ack(PUBREL, 40_000, 0));
    client.expect_ack(0x70, 40_000);
    sound_at(&broker);
}

#[test]
fn a_receive_maximum_comes_back_with_pubcomp() {
    let mut client = connected(V5);
    let most = client.announced(prop::RECEIVE_MAXIMUM).unwrap_or(65_535) as u16;
    let topic = unique("t");
    for id in 1..=most {
        client.send_publish(&Publication::new(&topic, "x").qos(2, id));
        client.expect_ack(PUBREC, id);
    }
    client.send(&ack(PUBREL, 1, 0));
    client.await_ack(0x70, 1);
    client.send_publish(&Publication::new(&topic, "x").qos(1, 1));
    client.expect_ack(PUBACK, 1);
    client.ping();
}

/// 64 KiB of the smallest User Properties.
fn many() -> Props {
    (0..9_000).fold(Props::new(), |props, _| props.user("a", "b"))
}

#[test]
fn user_properties_by_the_thousand_are_read_in_no_time() {
    const ROUNDS: u16 = 20;
    let topic = unique("t");
    let (mut client, mut subscriber) = (connected(V5), connected(V5));
    subscriber.subscribe(&topic, 1);
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        client.send_publish(&Publication::new(&topic, "x").qos(1, round).props(many()));
        client.expect_ack(PUBACK, round);
        assert_eq!(subscriber.receive_payload("x").props.user().len(), 9_000);
        client.send(&subscribe(V5, round, &many(), &[(b"u", 0)]));
        client.expect_suback(round);
        client.send(&unsubscribe(V5, round, &many(), &[b"u"]));
        client.expect_unsuback(round);
        client.send(&frame(0x40, &[&[0, 9, 0][..], &many().block()].concat()));
        client.ping();
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{ROUNDS} rounds took {:?}", begun.elapsed());
    client.send(&frame(0xE0, &[&[0][..], &many().block()].concat()));
    client.expect_closed(CLOSE);
    let mut will = Client::raw(V5);
    Connect::new(V5, unique("c")).props(many()).attempt_over(&mut will);
    // Before it is known who asks, less is read.
    will.expect_no_entry(&[0x95]);
    sound();
}

#[test]
fn filters_by_the_thousand_in_one_subscribe_are_answered_one_by_one() {
    for version in VERSIONS {
        let root = unique("t");
        let filters: Vec<String> = (0..3_000).map(|number| format!("{root}/{number}")).collect();
        let asked: Vec<(&[u8], u8)> = filters.iter().map(|filter| (filter.as_bytes(), 1)).collect();
        let mut client = connected(version);
        let codes = client.subscribe_with(&Props::new(), &asked).codes;
        assert_eq!(codes.len(), filters.len());
        let refusal = if version == V5 { 0x97 } else { 0x80 };
        assert!(codes.iter().all(|code| *code == 1 || *code == refusal), "granted or over quota");
        assert_eq!(codes.iter().filter(|code| **code == 1).count(), 1_000, "the documented limit");
        client.unsubscribe(&[&filters[0]]);
        assert_eq!(client.subscribe(&filters[2_999], 1), 1, "room again");
    }
    sound();
}

#[test]
fn a_topic_above_the_retained_limit_is_refused() {
    const TOPICS: u32 = 200;
    let broker = broker::with("[limits]\nretained_messages_max = 200\n");
    let root = unique("t");
    let mut client = Connect::new(V5, unique("c")).open_at(broker.addr("mqtt"));
    let topic = |number: u32| format!("{root}/{number}");
    // The broker's own retained messages count too.
    let refused = (1..=TOPICS + 1).find(|number| client.retain(topic(*number), 1, "r") == 0x97);
    let refused = refused.expect("there is a limit");
    assert!(refused > TOPICS / 2, "the limit is {refused}");
    assert!(client.retain(topic(1), 1, "again") < 0x80, "replacing needs no room");
    client.retain(topic(2), 1, "");
    assert!(client.retain(topic(refused), 1, "r") < 0x80, "room again");
    let mut late = Connect::new(V5, unique("c")).open_at(broker.addr("mqtt"));
    late.subscribe(topic(refused + 1), 1);
    late.expect_nothing();
    sound_at(&broker);
}

#[test]
fn a_client_that_acknowledges_nothing_holds_no_more_than_the_queue_limit() {
    const WAITING: usize = 50;
    const WINDOW: usize = 10;
    let broker = broker::with("[limits]\nwaiting_messages_max = 50\ninflight_max = 10\n");
    let topic = unique("t");
    let mut client = Connect::new(V5, unique("c")).open_at(broker.addr("mqtt"));
    client.subscribe(&topic, 1);
    let mut publisher = Connect::new(V5, unique("p")).open_at(broker.addr("mqtt"));
    for number in 0..4 * WAITING {
        publisher.publish(&topic, 1, number.to_string());
    }
    // A PUBACK may leave before the message has reached the subscriber's core: what is still on its way would find the room that
    // the first acknowledgement makes. The publisher's core has posted it when it answers again, and the subscriber's takes it
    // before it answers.
    publisher.ping();
    client.ping();
    let mut numbers: Vec<usize> = Vec::new();
    while let Event::Packet(Packet::Publish(publish)) = client.poll(Duration::from_millis(500)) {
        client.acknowledge(&publish);
        numbers.push(String::from_utf8_lossy(&publish.payload).parse().expect("a number"));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(numbers.len(), WAITING + WINDOW);
    sound_at(&broker);
}

#[test]
fn a_session_at_rest_keeps_no_more_than_its_queue_limit_and_the_newest() {
    const KEPT: usize = 50;
    let broker = broker::with("[store]\nmode = \"memory\"\nqueue_full = \"drop_oldest\"\nqueue_messages_max = 50\n");
    for version in VERSIONS {
        let (id, topic) = (unique("c"), unique("t"));
        let mut client = Connect::new(version, &id).resume().open_at(broker.addr("mqtt"));
        client.subscribe(&topic, 1);
        client.leave();
        let mut publisher = Connect::new(V5, unique("p")).open_at(broker.addr("mqtt"));
        for number in 0..4 * KEPT {
            publisher.publish(&topic, 1, number.to_string());
        }
        let mut client = Connect::new(version, &id).resume().open_at(broker.addr("mqtt"));
        for number in 3 * KEPT..4 * KEPT {
            client.receive_payload(number.to_string());
        }
        client.expect_nothing();
    }
    sound_at(&broker);
}

#[test]
fn a_session_above_the_limit_is_refused_and_those_that_are_there_are_not() {
    let broker = broker::with("[limits]\nsessions_max = 3\n");
    let addr = broker.addr("mqtt");
    let connect = |version, id: &str| Connect::new(version, id).resume();
    let (kept, brief) = (unique("kept"), unique("brief"));
    connect(V5, &kept).open_at(addr).leave();
    let mut first = Connect::new(V3, &brief).open_at(addr);
    let mut third = Connect::new(V5, unique("c")).open_at(addr);
    for _ in 0..2 {
        for (refused, code) in [
            (Connect::new(V5, unique("new")), 0x97),
            (Connect::new(V3, unique("new")), 3),
            (connect(V5, &unique("new")), 0x97),
        ] {
            assert!(refused.attempt_at(addr).expect_no_entry(&[code]).is_some(), "it is told why");
        }
    }
    await_metric(&broker, "heraldmq_connects_refused_total", 6.0);
    // One is taken over, one is resumed, one begins anew.
    let second = Connect::new(V3, &brief).open_at(addr);
    first.drain_to_close();
    let back = connect(V5, &kept).open_at(addr);
    assert!(back.session_present());
    back.leave();
    let anew = Connect::new(V5, &kept).open_at(addr);
    assert!(!anew.session_present());
    third.ping();
    // Who leaves makes room.
    second.leave();
    anew.leave();
    // The name is free when the connection has been seen to end.
    third.leave();
    await_metric(&broker, "heraldmq_sessions", 0.0);
    sound_at(&broker);
}

#[test]
fn long_strings_everywhere_are_taken_or_refused() {
    let long = "x".repeat(65_535);
    for version in VERSIONS {
        let mut client = connected(version);
        assert_eq!(client.subscribe(&long, 1), 1);
        client.publish(&long, 1, &long);
        client.receive_payload(&long);
        client.unsubscribe(&[&long]);
        let mut lie = Client::raw(version);
        lie.send(&frame(0x10, &[field("MQTT"), vec![4, 2, 0, 9], field(&long)].concat()));
        lie.expect_no_entry(&[0x95, 2, 0x85]);
    }
    sound();
}
