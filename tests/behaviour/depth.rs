//! Topics of more levels than anybody needs.

use crate::support::broker;
use crate::support::build::{Connect, Publication, Will, subscribe};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version::{V3, V5};
use crate::support::wire::{Props, Version};
use crate::support::{WAIT, unique};
use crate::{VERSIONS, sound, sound_at};

/// As long as a topic can be, and of as many levels.
fn deep() -> [String; 3] {
    ["/".repeat(65_535), "a/".repeat(32_767), "é/".repeat(21_845)]
}

/// Filters as deep, with as many wildcards as fit.
fn deep_filters() -> [String; 5] {
    let [slashes, letters, accents] = deep();
    [slashes, letters, accents, "+/".repeat(32_767), "+/".repeat(32_766) + "#"]
}

#[test]
fn a_topic_of_too_many_levels_is_refused() {
    for version in VERSIONS {
        for topic in deep() {
            let mut client = connected(version);
            client.send_publish(&Publication::new(&topic, "x").qos(1, 1));
            match (client.poll(WAIT), version) {
                (Event::Packet(Packet::Ack(ack)), Version::V5) if ack.id == 1 && ack.code == 0x90 => client.ping(),
                (Event::Packet(Packet::Disconnect(reason)), Version::V5) if reason.code == 0x90 => {
                    client.expect_closed(CLOSE);
                }
                (Event::Closed, Version::V3) => {}
                (other, _) => client.fail(&format!("a refusal, got {other:?}")),
            }
        }
    }
    sound();
}

#[test]
fn a_filter_of_too_many_levels_is_refused() {
    for version in VERSIONS {
        for filter in deep_filters() {
            let mut client = connected(version);
            client.send(&subscribe(version, 1, &Props::new(), &[(filter.as_bytes(), 1)]));
            match (client.poll(WAIT), version) {
                (Event::Packet(Packet::Suback(codes)), Version::V5) if codes.codes == [0x8F] => client.ping(),
                (Event::Packet(Packet::Suback(codes)), Version::V3) if codes.codes == [0x80] => client.ping(),
                (Event::Packet(Packet::Disconnect(reason)), Version::V5) if reason.code == 0x8F => {}
                (Event::Closed, Version::V3) => {}
                (other, _) => client.fail(&format!("a refusal, got {other:?}")),
            }
        }
    }
    sound();
}

#[test]
fn unsubscribing_from_a_deep_filter_does_no_harm() {
    for version in VERSIONS {
        for filter in deep_filters() {
            let mut client = connected(version);
            client.send(&crate::support::build::unsubscribe(version, 1, &Props::new(), &[filter.as_bytes()]));
            match client.poll(WAIT) {
                Event::Packet(Packet::Unsuback(codes)) if codes.id == 1 => client.ping(),
                Event::Packet(Packet::Disconnect(reason)) if reason.code == 0x8F => client.expect_closed(CLOSE),
                Event::Closed if version == V3 => {}
                other => client.fail(&format!("UNSUBACK or a refusal, got {other:?}")),
            }
        }
    }
    sound();
}

#[test]
fn a_deep_will_topic_lets_nobody_in() {
    for version in VERSIONS {
        for topic in deep().into_iter().chain(["a/".repeat(2_000)]) {
            let mut client = Client::raw(version);
            Connect::new(version, unique("c")).will(Will::new(topic, "x")).attempt_over(&mut client);
            client.expect_no_entry(&[0x90, 0x95, 0x81, 3]);
        }
    }
    sound();
}

/// Where an operator allows every depth, every way through the broker must bear it.
#[test]
fn where_every_depth_is_allowed_every_depth_works() {
    let broker = broker::with("[limits]\ntopic_levels_max = 65536\n");
    let addr = broker.addr("mqtt");
    for version in [V5, V3] {
        let mut publisher = Connect::new(version, unique("c")).open_at(addr);
        for topic in deep() {
            let mut live = Connect::new(version, unique("c")).open_at(addr);
            assert_eq!(live.subscribe(&topic, 1), 1);
            publisher.retain(&topic, 1, "deep");
            assert_eq!(live.receive_payload("deep").topic, topic);
            for filter in [topic.clone(), "#".into()] {
                let mut late = Connect::new(version, unique("c")).open_at(addr);
                assert_eq!(late.subscribe(&filter, 1), 1);
                assert!(late.receive_payload("deep").retain);
                late.leave();
            }
            live.unsubscribe(&[&topic]);
            publisher.retain(&topic, 1, "");
        }
        let mut greedy = Connect::new(version, unique("c")).open_at(addr);
        for filter in deep_filters() {
            assert_eq!(greedy.subscribe(&filter, 0), 0);
        }
        publisher.publish("a/".repeat(32_767), 1, "x");
        greedy.receive_payload("x");
        greedy.vanish();
    }
    sound_at(&broker);
}

#[test]
fn many_wildcards_against_many_topics_end() {
    let root = unique("t");
    let mut publisher = connected(V3);
    for number in 0..64 {
        publisher.retain(format!("{root}/{}", format!("{}/", number % 2).repeat(8)), 0, "r");
    }
    publisher.retain(format!("{root}/end"), 1, "r");
    let mut client = connected(V5);
    for filter in ["+/+/+/+/+/+/+/+/+", "+/+/+/+/+/+/+/+/#", "#", "+/1/+/0/#"] {
        assert_eq!(client.subscribe(format!("{root}/{filter}"), 0), 0);
    }
    client.ping();
    sound();
}
