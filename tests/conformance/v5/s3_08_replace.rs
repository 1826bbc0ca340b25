//! 3.8.4 A subscription that is made again, and the order of SUBACK and retained messages.

use std::thread;

use crate::support::build::subscribe;
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::V5;
use crate::support::wire::{Props, prop};

fn id(number: u32) -> Props {
    Props::new().varint(prop::SUBSCRIPTION_ID, number)
}

/// [MQTT-3.8.4-3]
#[test]
fn mqtt_3_8_4_3_the_same_filter_replaces_the_subscription() {
    let topic = unique("t");
    let (mut subscriber, mut publisher) = (connected(V5), connected(V5));
    subscriber.subscribe_with(&id(1), &[(topic.as_bytes(), 2)]);
    subscriber.subscribe_with(&id(2), &[(topic.as_bytes(), 0)]);
    publisher.publish(&topic, 2, "one copy");
    let publish = subscriber.receive_payload("one copy");
    assert_eq!((publish.qos, publish.props.numbers(prop::SUBSCRIPTION_ID)), (0, vec![2]));
    subscriber.subscribe_with(&Props::new(), &[(topic.as_bytes(), 1)]);
    publisher.publish(&topic, 2, "raised again");
    let publish = subscriber.receive_payload("raised again");
    assert_eq!((publish.qos, publish.props.numbers(prop::SUBSCRIPTION_ID)), (1, vec![]));
    subscriber.unsubscribe(&[&topic]);
    publisher.publish(&topic, 2, "gone");
    subscriber.expect_nothing();
}

/// [MQTT-3.8.4-3]
#[test]
fn mqtt_3_8_4_3_a_share_and_a_plain_filter_do_not_replace_each_other() {
    let topic = unique("t");
    let mut subscriber = connected(V5);
    subscriber.subscribe(&topic, 1);
    subscriber.subscribe(format!("$share/g/{topic}"), 1);
    let codes = subscriber.unsubscribe(&[&format!("$share/other/{topic}"), &format!("$share/g/{topic}"), &topic]);
    assert_eq!(codes, [0x11, 0, 0]);
}

/// [MQTT-3.8.4-4]
#[test]
fn mqtt_3_8_4_4_replacing_sends_retained_messages_and_loses_none() {
    const MESSAGES: u32 = 400;
    const AGAIN: u16 = 100;
    let (topic, retained) = (unique("t"), unique("r"));
    let mut subscriber = connected(V5);
    connected(V5).retain(&retained, 1, "r");
    let filters = [(topic.as_bytes(), 1), (retained.as_bytes(), 1)];
    subscriber.subscribe_with(&Props::new(), &filters);
    subscriber.receive_payload("r");
    let publisher = {
        let topic = topic.clone();
        thread::spawn(move || {
            let mut publisher = connected(V5);
            for number in 0..MESSAGES {
                publisher.publish(&topic, 1, number.to_string());
            }
        })
    };
    let (mut next, mut welcome, mut subacks) = (0, 0, 0);
    subscriber.send(&subscribe(V5, 1, &Props::new(), &filters));
    while next < MESSAGES || welcome < AGAIN {
        match subscriber.expect_packet("a PUBLISH or a SUBACK") {
            Packet::Publish(publish) => {
                subscriber.acknowledge(&publish);
                if publish.topic == retained {
                    welcome += 1;
                    assert!(subacks >= welcome, "SUBACK first");
                    if welcome < AGAIN {
                        subscriber.send(&subscribe(V5, welcome + 1, &Props::new(), &filters));
                    }
                } else {
                    assert_eq!(publish.payload, next.to_string().as_bytes(), "no gap, no copy");
                    next += 1;
                }
            }
            Packet::Suback(_) => subacks += 1,
            other => subscriber.fail(&format!("a PUBLISH or a SUBACK, got {other:?}")),
        }
    }
    publisher.join().expect("the publisher was served");
    subscriber.expect_nothing();
}
