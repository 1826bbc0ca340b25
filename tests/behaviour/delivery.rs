//! Retained messages, wills, shares, expiry and flow control, where several of them meet.

use std::time::Duration;

use crate::support::build::{Connect, PUBREC, PUBREL, Publication, Will, ack};
use crate::support::client::{Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::unique;
use crate::support::wire::Version::{V3, V5};
use crate::support::wire::{Props, prop};
use crate::{VERSIONS, sound};

fn expiring(topic: &str, payload: &str, seconds: u32) -> Publication {
    Publication::new(topic, payload).props(Props::new().u32(prop::MESSAGE_EXPIRY, seconds))
}

#[test]
fn a_version_does_not_matter_to_who_receives() {
    for (from, to) in [(V3, V5), (V5, V3)] {
        let topic = unique("t");
        let (mut publisher, mut subscriber) = (connected(from), connected(to));
        subscriber.subscribe(&topic, 2);
        for qos in 0..=2 {
            publisher.retain(&topic, qos, "x");
            let publish = subscriber.receive_payload("x");
            assert_eq!((publish.qos, publish.retain, publish.props.0.len()), (qos, false, 0), "nothing is invented");
        }
        let mut late = connected(to);
        late.subscribe(&topic, 2);
        assert!(late.receive_payload("x").retain);
    }
    sound();
}

#[test]
fn properties_do_not_reach_a_client_that_cannot_read_them() {
    let topic = unique("t");
    let mut older = connected(V3);
    older.subscribe(&topic, 1);
    let props = Props::new().user("a", "b").field(prop::CONTENT_TYPE, "text/plain").u32(prop::MESSAGE_EXPIRY, 100);
    connected(V5).publish_this(Publication::new(&topic, "payload").props(props), 1);
    let publish = older.receive_payload("payload");
    assert_eq!(publish.size, 2 + 2 + topic.len() + 2 + 7);
    sound();
}

#[test]
fn a_retained_message_expires() {
    let topic = unique("t");
    let mut publisher = connected(V5);
    publisher.publish_this(expiring(&topic, "short", 1).retain(), 1);
    for version in VERSIONS {
        let mut early = connected(version);
        early.subscribe(&topic, 1);
        early.receive_payload("short");
    }
    publisher.expect_nothing_for(Duration::from_millis(1_600));
    for version in VERSIONS {
        let mut late = connected(version);
        late.subscribe(&topic, 1);
        late.expect_nothing();
    }
    sound();
}

#[test]
fn a_waiting_message_expires_for_both_versions() {
    for version in VERSIONS {
        let (id, topic) = (unique("c"), unique("t"));
        let mut client = Connect::new(version, &id).resume().open();
        client.subscribe(&topic, 1);
        client.leave();
        let mut publisher = connected(V5);
        publisher.publish_this(expiring(&topic, "short", 1), 1);
        publisher.publish_this(expiring(&topic, "long", 100), 1);
        publisher.expect_nothing_for(Duration::from_millis(1_600));
        let mut client = Connect::new(version, &id).resume().open();
        let publish = client.receive_payload("long");
        if version == V5 {
            let left = publish.props.number(prop::MESSAGE_EXPIRY).expect("the interval is sent on");
            assert!((95..100).contains(&left), "{left} s left");
        }
        client.expect_nothing();
    }
    sound();
}

#[test]
fn a_session_ends_in_time_and_its_will_with_it() {
    let (id, topic) = (unique("c"), unique("w"));
    let mut watcher = connected(V3);
    watcher.subscribe(&topic, 1);
    let will = Will::new(&topic, "gone").qos(1).delay_s(100);
    Connect::new(V5, &id).clean(false).kept_s(1).will(will).open().vanish();
    watcher.expect_nothing_for(Duration::from_millis(700));
    watcher.receive_payload("gone");
    assert!(!Connect::new(V5, &id).clean(false).open().session_present());
    sound();
}

#[test]
fn a_client_that_comes_back_in_time_has_no_will_published() {
    let (id, topic) = (unique("c"), unique("w"));
    let mut watcher = connected(V5);
    watcher.subscribe(&topic, 1);
    let will = Will::new(&topic, "gone").qos(1).delay_s(1);
    Connect::new(V5, &id).resume().will(will).open().vanish();
    let back = Connect::new(V5, &id).resume().open();
    watcher.expect_nothing_for(Duration::from_millis(1_700));
    back.leave();
    watcher.expect_nothing();
    sound();
}

#[test]
fn a_will_goes_everywhere_a_publish_goes() {
    let topic = unique("w");
    let (mut live, mut shared) = (connected(V3), connected(V5));
    live.subscribe(&topic, 1);
    shared.subscribe(format!("$share/g/{topic}"), 2);
    let absent = unique("c");
    let mut client = Connect::new(V3, &absent).resume().open();
    client.subscribe(&topic, 2);
    client.leave();
    Connect::new(V3, unique("c")).will(Will::new(&topic, "will").qos(2).retain()).open().vanish();
    assert_eq!(live.receive_payload("will").qos, 1);
    assert_eq!(shared.receive_payload("will").qos, 2);
    assert_eq!(Connect::new(V3, &absent).resume().open().receive_payload("will").qos, 2);
    let mut late = connected(V5);
    late.subscribe(&topic, 1);
    assert!(late.receive_payload("will").retain);
    sound();
}

#[test]
fn a_forbidden_will_goes_nowhere() {
    for version in VERSIONS {
        let leaf = unique("w");
        let mut watcher = connected(V5);
        watcher.subscribe(format!("+/{leaf}"), 1);
        let will = Will::new(format!("forbidden/{leaf}"), "no").qos(1).retain();
        let mut client = Connect::new(version, unique("c")).will(will).attempt();
        if let Event::Packet(Packet::Connack(connack)) = client.poll(Duration::from_secs(5))
            && connack.code == 0
        {
            client.vanish();
        }
        watcher.expect_nothing();
        watcher.subscribe(format!("+/{leaf}"), 1);
        watcher.expect_nothing();
    }
    sound();
}

/// Takes what is there now from each of them, acknowledged.
fn take_all(clients: &mut [Client]) -> Vec<Vec<Vec<u8>>> {
    let take = |client: &mut Client| {
        let mut payloads = Vec::new();
        while let Event::Packet(Packet::Publish(publish)) = client.poll(Duration::from_millis(300)) {
            client.acknowledge(&publish);
            payloads.push(publish.payload);
        }
        payloads
    };
    clients.iter_mut().map(take).collect()
}

#[test]
fn a_share_gives_each_message_to_one() {
    const MESSAGES: usize = 90;
    let topic = unique("t");
    let filter = format!("$share/g/{topic}");
    let mut members = [connected(V5), connected(V5), connected(V3)];
    for member in &mut members {
        member.subscribe(&filter, 1);
    }
    let mut publisher = connected(V3);
    for number in 0..MESSAGES {
        publisher.publish(&topic, 1, number.to_string());
    }
    let taken = take_all(&mut members);
    let mut all: Vec<usize> =
        taken.iter().flatten().map(|payload| String::from_utf8_lossy(payload).parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>(), "each once");
    assert!(taken.iter().all(|part| part.len() >= MESSAGES / 10), "nobody is left out");
    sound();
}

#[test]
fn a_share_goes_on_without_a_member_that_left() {
    let topic = unique("t");
    let filter = format!("$share/g/{topic}");
    let mut members = vec![connected(V5), connected(V5)];
    for member in &mut members {
        member.subscribe(&filter, 1);
    }
    members.pop().expect("two").leave();
    let mut publisher = connected(V5);
    for number in 0..10 {
        publisher.publish(&topic, 1, number.to_string());
    }
    assert_eq!(take_all(&mut members)[0].len(), 10);
    members[0].unsubscribe(&[&filter]);
    publisher.publish(&topic, 1, "to nobody");
    members[0].expect_nothing();
    sound();
}

#[test]
fn a_window_moves_at_every_acknowledgement_that_frees_a_place() {
    let topic = unique("t");
    let mut client = Connect::new(V5, unique("c")).receive_maximum(1).open();
    client.subscribe(&topic, 2);
    let mut publisher = connected(V5);
    for (qos, payload) in [(2, "refused"), (2, "finished"), (1, "acknowledged"), (0, "free"), (1, "last")] {
        publisher.publish(&topic, qos, payload);
    }
    let mut in_window = Vec::new();
    while in_window.len() < 5 {
        let publish = client.expect_publish();
        in_window.push(String::from_utf8_lossy(&publish.payload).into_owned());
        match publish.payload.as_slice() {
            b"refused" => client.send(&ack(PUBREC, publish.id, 0x80)),
            b"finished" => {
                client.send(&ack(PUBREC, publish.id, 0));
                client.await_ack(PUBREL, publish.id);
                client.send(&ack(0x70, publish.id, 0));
            }
            _ => client.acknowledge(&publish),
        }
    }
    in_window.retain(|payload| payload != "free");
    assert_eq!(in_window, ["refused", "finished", "acknowledged", "last"]);
    sound();
}

#[test]
fn a_message_too_large_for_one_reaches_the_others() {
    let topic = unique("t");
    let mut small = Connect::new(V5, unique("c")).packet_bytes_max(100).receive_maximum(1).open();
    let mut large = connected(V5);
    small.subscribe(&topic, 1);
    large.subscribe(&topic, 1);
    let mut publisher = connected(V5);
    for payload in ["x".repeat(200), "y".repeat(10), "z".repeat(300), "end".into()] {
        publisher.publish(&topic, 1, &payload);
        large.receive_payload(&payload);
    }
    small.receive_payload("y".repeat(10));
    small.receive_payload("end");
    sound();
}
