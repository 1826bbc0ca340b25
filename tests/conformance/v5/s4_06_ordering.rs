//! 4.6 Message ordering.

use std::thread;

use crate::support::build::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;

/// Few enough to wait in any queue.
const MESSAGES: u32 = 600;

/// Publishes the numbers from 0 up from a thread of its own.
fn count_up(topic: &str, qos: u8) -> thread::JoinHandle<()> {
    let topic = topic.to_owned();
    thread::spawn(move || {
        let mut publisher = connected(V5);
        for number in 0..MESSAGES {
            publisher.publish(&topic, qos, number.to_string());
        }
        publisher.ping();
    })
}

fn resume(id: &str) -> Client {
    Connect::new(V5, id).resume().open()
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn mqtt_4_6_0_5_messages_come_in_the_order_they_were_received() {
    for qos in 0..=2 {
        let topic = unique("t");
        let mut subscriber = connected(V5);
        subscriber.subscribe(&topic, qos);
        let publisher = count_up(&topic, qos);
        for number in 0..MESSAGES {
            let publish = subscriber.receive_payload(number.to_string());
            assert_eq!((publish.qos, publish.dup), (qos, false));
        }
        publisher.join().expect("the publisher was served");
    }
}

/// One message is left unacknowledged at each break: the sequence goes on with it. [MQTT-4.6.0-5] [MQTT-4.4.0-1]
#[test]
fn mqtt_4_6_0_5_the_order_survives_reconnects() {
    for qos in 1..=2 {
        let (topic, id) = (unique("t"), unique("c"));
        let mut subscriber = resume(&id);
        subscriber.subscribe(&topic, qos);
        let publisher = count_up(&topic, qos);
        for number in 0..MESSAGES {
            if number % 100 == 50 {
                let open = subscriber.expect_publish();
                assert_eq!(open.payload, number.to_string().as_bytes());
                subscriber.vanish();
                subscriber = resume(&id);
            }
            let publish = subscriber.receive_payload(number.to_string());
            assert!(publish.dup || number % 100 != 50, "a repeat says so: {publish:?}");
        }
        publisher.join().expect("the publisher was served");
        subscriber.expect_nothing();
    }
}

/// [MQTT-4.6.0-6]
#[test]
fn mqtt_4_6_0_6_every_topic_is_ordered_for_each_of_many_publishers() {
    let root = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(format!("{root}/+"), 1);
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let topic = format!("{root}/{publisher}");
            thread::spawn(move || {
                let mut client = connected(V5);
                for number in 0..100 {
                    client.publish(&topic, 1, number.to_string());
                }
            })
        })
        .collect();
    let mut next = [0u32; 4];
    for _ in 0..400 {
        let publish = subscriber.receive();
        let publisher: usize = publish.topic.rsplit('/').next().and_then(|n| n.parse().ok()).expect("0 to 3");
        assert_eq!(publish.payload, next[publisher].to_string().as_bytes(), "on {}", publish.topic);
        next[publisher] += 1;
    }
    publishers.into_iter().for_each(|publisher| publisher.join().expect("the publisher was served"));
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3]
#[test]
fn mqtt_4_6_0_2_acknowledgements_come_in_the_order_of_the_messages() {
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        let mut client = connected(V5);
        let topic = unique("t");
        let burst: Vec<u8> =
            [3, 1, 2].iter().flat_map(|id| Publication::new(&topic, "x").qos(qos, *id).bytes(V5)).collect();
        client.send(&burst);
        for id in [3, 1, 2] {
            client.expect_ack(first, id);
        }
    }
}

/// [MQTT-4.6.0-4]
#[test]
fn mqtt_4_6_0_4_pubrel_comes_in_the_order_of_pubrec() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    for _ in 0..3 {
        publisher.publish(&topic, 2, "x");
    }
    let mut ids: Vec<u16> = (0..3).map(|_| subscriber.expect_publish().id).collect();
    ids.rotate_left(1);
    let burst: Vec<u8> = ids.iter().flat_map(|id| ack(PUBREC, *id, 0)).collect();
    subscriber.send(&burst);
    ids.iter().for_each(|id| drop(subscriber.expect_ack(PUBREL, *id)));
    ids.iter().for_each(|id| subscriber.send(&ack(PUBCOMP, *id, 0)));
    subscriber.ping();
}

/// The new connection goes on where the old one's acknowledgements ended. [MQTT-4.6.0-5] [MQTT-3.1.4-3]
#[test]
fn mqtt_4_6_0_5_the_order_survives_take_overs() {
    for qos in 1..=2 {
        let (topic, id) = (unique("t"), unique("c"));
        let mut subscriber = resume(&id);
        subscriber.subscribe(&topic, qos);
        let publisher = count_up(&topic, qos);
        for number in 0..MESSAGES {
            subscriber.receive_payload(number.to_string());
            if number % 20 == 0 {
                subscriber.ping();
                let new = resume(&id);
                subscriber.drain_to_close();
                subscriber = new;
            }
        }
        publisher.join().expect("the publisher was served");
        subscriber.expect_nothing();
    }
}
