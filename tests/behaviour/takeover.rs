//! Two connections of one Client Identifier.

use std::sync::Barrier;

use crate::support::build::{Connect, Will};
use crate::support::client::{CLOSE, Client, Event};
use crate::support::packet::Packet;
use crate::support::talk::connected;
use crate::support::wire::Version;
use crate::support::wire::Version::{V3, V5};
use crate::support::{WAIT, broker, unique};
use crate::{VERSIONS, sound, sound_at};

fn as_alice(version: Version, id: &str) -> Connect {
    Connect::new(version, id).login("alice", "secret")
}

/// The victim of somebody else's attempt still has its socket, its session and what is sent to it.
fn untouched(mut victim: Client, topic: &str, reconnect: &Connect) {
    victim.ping();
    connected(V5).publish(topic, 1, "mine");
    victim.receive_payload("mine");
    victim.vanish();
    connected(V5).publish(topic, 1, "waiting");
    let mut victim = reconnect.open();
    assert!(victim.session_present());
    victim.receive_payload("waiting");
}

#[test]
fn another_identity_takes_over_nothing() {
    for version in VERSIONS {
        for clean in [false, true] {
            let (id, topic) = (unique("c"), unique("t"));
            let reconnect = as_alice(version, &id).resume();
            let mut victim = reconnect.open();
            victim.subscribe(&topic, 1);
            let mut other = Connect::new(version, &id).resume().clean(clean).attempt();
            let refusal = if version == V5 { 0x87 } else { 5 };
            assert_eq!(other.expect_connack().code, refusal);
            other.expect_closed(CLOSE);
            untouched(victim, &topic, &reconnect);
        }
    }
    sound();
}

#[test]
fn a_session_at_rest_is_its_owners_too() {
    for version in VERSIONS {
        let (id, topic) = (unique("c"), unique("t"));
        let mut owner = as_alice(version, &id).resume().open();
        owner.subscribe(&topic, 1);
        owner.leave();
        connected(V5).publish(&topic, 1, "for alice");
        let mut other = Connect::new(version, &id).clean(true).attempt();
        assert_eq!(other.expect_connack().code, if version == V5 { 0x87 } else { 5 });
        other.expect_closed(CLOSE);
        as_alice(version, &id).resume().open().receive_payload("for alice");
    }
    sound();
}

#[test]
fn failed_authentication_leaves_the_session() {
    for version in VERSIONS {
        let (id, topic) = (unique("c"), unique("t"));
        let reconnect = as_alice(version, &id).resume();
        let mut victim = reconnect.open();
        victim.subscribe(&topic, 1);
        let mut wrong = Connect::new(version, &id).login("alice", "wrong").attempt();
        assert_ne!(wrong.expect_connack().code, 0);
        wrong.expect_closed(CLOSE);
        untouched(victim, &topic, &reconnect);
    }
    sound();
}

#[test]
fn the_older_connection_is_told_and_closed() {
    for (old, new) in [(V5, V5), (V5, V3), (V3, V5), (V3, V3)] {
        let (id, topic) = (unique("c"), unique("t"));
        let mut watcher = connected(V5);
        watcher.subscribe(&topic, 1);
        let mut first = Connect::new(old, &id).will(Will::new(&topic, "taken").qos(1)).open();
        let mut second = Connect::new(new, &id).open();
        match old {
            V5 => drop(first.expect_disconnect(&[0x8E])),
            V3 => first.expect_closed(CLOSE),
        }
        watcher.receive_payload("taken");
        second.ping();
    }
    sound();
}

#[test]
fn messages_move_with_the_session_from_version_to_version() {
    for (old, new) in [(V3, V5), (V5, V3)] {
        let (id, topic) = (unique("c"), unique("t"));
        let mut first = Connect::new(old, &id).resume().open();
        first.subscribe(&topic, 1);
        let mut publisher = connected(V5);
        publisher.publish(&topic, 1, "in flight");
        let sent = first.expect_publish();
        let mut second = Connect::new(new, &id).resume().open();
        assert!(second.session_present());
        first.drain_to_close();
        let again = second.receive_payload("in flight");
        assert_eq!((again.id, again.dup), (sent.id, true));
        publisher.publish(&topic, 1, "next");
        second.receive_payload("next");
    }
    sound();
}

/// One of many that fight for a name: let in, or out again before it was.
fn contend(addr: std::net::SocketAddr, id: &str, version: Version) -> Client {
    let mut client = Connect::new(version, id).resume().attempt_at(addr);
    if let Event::Packet(Packet::Connack(connack)) = client.poll(WAIT) {
        assert!(matches!(connack.code, 0 | 0x80 | 3), "CONNACK 0x{:02X}", connack.code);
    }
    client
}

#[test]
fn of_many_takeovers_at_once_exactly_one_lives() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 50;
    let broker = broker::with("");
    let addr = broker.addr("mqtt");
    let (id, topic) = (unique("c"), unique("t"));
    let mut first = Connect::new(V5, &id).resume().open_at(addr);
    first.subscribe(&topic, 1);
    let start = Barrier::new(THREADS);
    let fight = |thread: usize| {
        start.wait();
        let mut last = contend(addr, &id, VERSIONS[thread % 2]);
        for round in 1..ROUNDS {
            last = contend(addr, &id, VERSIONS[(thread + round) % 2]);
        }
        last
    };
    let clients: Vec<Client> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let fight = &fight;
                    move || fight(thread)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a fight ends")).collect()
    });
    first.drain_to_close();
    let mut publisher = Connect::new(V5, unique("p")).open_at(addr);
    publisher.publish(&topic, 1, "to the one");
    let mut alive = 0;
    for mut client in clients {
        match client.poll(std::time::Duration::from_millis(500)) {
            Event::Packet(Packet::Publish(publish)) => {
                assert_eq!(publish.payload, b"to the one");
                alive += 1;
            }
            Event::Packet(Packet::Disconnect(reason)) => assert_eq!(reason.code, 0x8E),
            Event::Closed => {}
            other => client.fail(&format!("the message or the end, got {other:?}")),
        }
    }
    assert_eq!(alive, 1);
    sound_at(&broker);
}
