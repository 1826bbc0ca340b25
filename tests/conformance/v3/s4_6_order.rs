//! 4.6 Message ordering. Every topic is an Ordered Topic.

use crate::support::build::{Connect, PUBACK, PUBREC, PUBREL, Publication, ack};
use crate::support::client::Client;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V3;

/// A subscriber with a lasting session that has received these messages and acknowledged none.
fn holding(id: &str, qos: u8, payloads: &[&str]) -> (Client, Vec<u16>) {
    let topic = unique("t");
    let mut client = Connect::new(V3, id).clean(false).open();
    client.subscribe(&topic, qos);
    let mut publisher = connected(V3);
    for payload in payloads {
        publisher.publish(&topic, qos, payload);
    }
    let ids = payloads
        .iter()
        .map(|payload| {
            let publish = client.expect_publish();
            assert_eq!(publish.payload, payload.as_bytes());
            publish.id
        })
        .collect();
    (client, ids)
}

/// [MQTT3-4.6.0-1] [MQTT3-4.6.0-6]
#[test]
fn mqtt3_4_6_0_1_repeats_keep_the_order() {
    const PAYLOADS: [&str; 5] = ["1", "2", "3", "4", "5"];
    for qos in [1, 2] {
        let id = unique("c");
        let (client, ids) = holding(&id, qos, &PAYLOADS);
        client.vanish();
        let mut client = Connect::new(V3, &id).clean(false).open();
        for (payload, id) in PAYLOADS.iter().zip(ids) {
            let again = client.expect_publish();
            assert_eq!((again.payload.as_slice(), again.id, again.dup), (payload.as_bytes(), id, true));
        }
        client.expect_nothing();
    }
}

/// [MQTT3-4.6.0-2] [MQTT3-4.6.0-3]
#[test]
fn mqtt3_4_6_0_2_acknowledgements_come_in_the_order_of_the_messages() {
    let topic = unique("t");
    for (qos, answer) in [(1, PUBACK), (2, PUBREC)] {
        let mut client = connected(V3);
        let bytes: Vec<u8> =
            [3, 1, 2].iter().flat_map(|id| Publication::new(&topic, "x").qos(qos, *id).bytes(V3)).collect();
        client.send(&bytes);
        for id in [3, 1, 2] {
            client.expect_ack(answer, id);
        }
    }
}

/// [MQTT3-4.6.0-4] [MQTT3-4.6.0-6]
#[test]
fn mqtt3_4_6_0_4_pubrels_come_in_the_order_of_the_pubrecs() {
    let (mut client, ids) = holding(&unique("c"), 2, &["1", "2", "3"]);
    let order = [ids[1], ids[0], ids[2]];
    let bytes: Vec<u8> = order.iter().flat_map(|id| ack(PUBREC, *id, 0)).collect();
    client.send(&bytes);
    for id in order {
        client.expect_ack(PUBREL, id);
    }
}

/// Numbers that arrived, until `last` did; the subscriber comes back now and then, losing its acknowledgements.
fn numbers(id: &str, mut client: Client, last: u32) -> Vec<u32> {
    let mut seen: Vec<u32> = Vec::new();
    while seen.last() != Some(&last) {
        let publish = client.expect_publish();
        let number = String::from_utf8_lossy(&publish.payload).parse().expect("a number");
        assert!(publish.dup || seen.last().is_none_or(|before| *before < number), "{number} after {:?}", seen.last());
        if seen.last().is_none_or(|before| *before < number) {
            seen.push(number);
        }
        if number % 97 == 0 && !publish.dup {
            client.vanish();
            client = Connect::new(V3, id).clean(false).open();
        } else {
            client.acknowledge(&publish);
        }
    }
    seen
}

/// [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn mqtt3_4_6_0_6_numbers_never_go_back() {
    const COUNT: u32 = 600;
    for qos in [1, 2] {
        let (id, topic) = (unique("c"), unique("t"));
        let mut subscriber = Connect::new(V3, &id).clean(false).open();
        subscriber.subscribe(&topic, qos);
        let publishing = std::thread::spawn(move || {
            let mut publisher = connected(V3);
            for number in 1..=COUNT {
                publisher.publish(&topic, qos, number.to_string());
            }
        });
        let seen = numbers(&id, subscriber, COUNT);
        publishing.join().expect("the publisher is served");
        assert_eq!(seen, (1..=COUNT).collect::<Vec<_>>(), "at QoS {qos}");
    }
}

/// [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]
#[test]
fn mqtt3_4_6_0_6_qos_0_comes_in_order() {
    const COUNT: u32 = 500;
    let topic = unique("t");
    let (mut publisher, mut subscriber) = (connected(V3), connected(V3));
    subscriber.subscribe(&topic, 0);
    for number in 1..=COUNT {
        publisher.publish(&topic, 0, number.to_string());
    }
    for number in 1..=COUNT {
        subscriber.receive_payload(number.to_string());
    }
}
