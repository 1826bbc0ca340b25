//! What must be true of what clients saw.

use std::collections::BTreeMap;

use crate::client::{Client, Published, Seen};
use crate::world::World;

/// Every promise, for every client.
pub fn judge(world: &World) {
    for client in world.clients.iter().filter(|client| !client.kind.rival) {
        only_what_was_published(world, client);
        order_per_publisher(world, client);
        qos_2_once(world, client);
        what_was_accepted_arrives(world, client);
    }
}

pub fn publisher<'a>(world: &'a World, seen: &Seen) -> Option<&'a Published> {
    let client = world.clients.iter().find(|client| client.kind.name == seen.publisher)?;
    client.published.get(&seen.sequence)
}

pub fn messages(client: &Client) -> impl Iterator<Item = &Seen> {
    client.seen.iter().filter(|seen| !seen.topic.starts_with("w/"))
}

fn only_what_was_published(world: &World, client: &Client) {
    for seen in messages(client) {
        let published = publisher(world, seen).expect("somebody published it");
        assert_eq!(published.topic, seen.topic, "{}: {seen:?}", client.kind.name);
        assert!(seen.qos <= published.qos, "{}: {seen:?}", client.kind.name);
        assert!(!seen.retain || published.retain, "{}: {seen:?}", client.kind.name);
    }
}

/// The first deliveries of one publisher's messages of one topic and QoS come in the order of publishing [MQTT-4.6.0-6]. One
/// that was sent before there was a subscription may come late, when it is repeated; and so may one that was refused at first, and
/// one that went to another member of a share or had expired at first.
fn order_per_publisher(world: &World, client: &Client) {
    let mut last: BTreeMap<(&str, &str, u8, u8), u64> = BTreeMap::new();
    let mut known = std::collections::BTreeSet::new();
    let since = client.subscribed_at.unwrap_or(u64::MAX);
    let of_all = |published: &Published| {
        published.times == 1 || published.topic.starts_with(['t', 'r']) && published.expiry_s.is_none()
    };
    let counts = |seen: &&Seen| {
        let published = publisher(world, seen).filter(|_| !seen.topic.starts_with('u'));
        published.is_some_and(|published| published.step > since && of_all(published))
    };
    for seen in messages(client).filter(counts).filter(|_| !world.refused) {
        let first_time = known.insert((&seen.publisher, seen.sequence));
        let published = publisher(world, seen).map_or(0, |published| published.qos);
        let last = last.entry((&seen.publisher, &seen.topic, published, seen.qos)).or_default();
        let mine = publisher(world, seen);
        assert!(!first_time || *last < seen.sequence, "{}: {seen:?} after {last}: {mine:?}", client.kind.name);
        *last = (*last).max(seen.sequence);
    }
}

/// How often a message may be taken over. A QoS 2 message once, however often it is sent; but a client may take a new session
/// for its old one, if it never heard of the new one's beginning.
pub fn times_at_most(world: &World, from: &str, published: &Published) -> usize {
    let forgets = world.clients.iter().any(|client| client.kind.name == from && !client.kind.lasting());
    if published.qos == 2 && !forgets { 1 } else { published.times }
}

/// Exactly once, not at least once [MQTT-4.3.3-1].
fn qos_2_once(world: &World, client: &Client) {
    let mut count: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for seen in messages(client).filter(|seen| seen.qos == 2 && client.kind.durable()) {
        *count.entry((&seen.publisher, seen.sequence)).or_default() += 1;
    }
    for ((from, sequence), times) in count {
        let published = world.clients.iter().find(|client| client.kind.name == from);
        let published = published.and_then(|from| from.published.get(&sequence)).expect("somebody published it");
        let most = times_at_most(world, from, published);
        assert!(times <= most, "{}: {times} times {from} {sequence} of {published:?}", client.kind.name);
    }
}

/// What a publisher was acknowledged for reaches every durable session that had its SUBACK before.
fn what_was_accepted_arrives(world: &World, client: &Client) {
    let Some(since) = client.subscribed_at.filter(|_| client.kind.lasting()) else { return };
    for from in &world.clients {
        for (sequence, published) in &from.published {
            let granted = client.kind.filters.iter().filter(|(filter, _)| matches(filter, &published.topic));
            let granted = granted.map(|(_, qos)| *qos).max();
            let Some(qos) = granted.map(|granted| granted.min(published.qos)).filter(|qos| *qos > 0) else { continue };
            if !published.accepted || published.step <= since || published.may_be_over(world.now_ms) {
                continue;
            }
            let arrived = messages(client)
                .filter(|seen| seen.publisher == from.kind.name && seen.sequence == *sequence)
                .inspect(|seen| assert_eq!(seen.qos, qos, "{}: {seen:?}", client.kind.name))
                .count();
            assert!(arrived > 0, "{}: {} {sequence} of {published:?} was lost", client.kind.name, from.kind.name);
        }
    }
}

/// Only the filters of this simulation, shares apart.
pub fn matches(filter: &str, topic: &str) -> bool {
    filter == topic || filter.strip_suffix(['#', '+']).is_some_and(|start| topic.starts_with(start))
}

/// A newcomer gets each topic's last retained message: the last one accepted, or one sent after it.
pub fn judge_retained(world: &World, newcomer: &Client) {
    for client in &world.clients {
        let retained = client.published.iter().filter(|(_, published)| published.retain);
        let accepted = retained.filter(|(_, published)| published.accepted).map(|(sequence, _)| *sequence).max();
        let got: Vec<&Seen> = newcomer.seen.iter().filter(|seen| seen.topic == client.kind.retained).collect();
        match accepted {
            Some(accepted) => {
                let [seen] = got[..] else { panic!("{}: {got:?} instead of one", client.kind.retained) };
                assert!(seen.retain && seen.sequence >= accepted, "{seen:?} instead of {accepted}");
            }
            None => assert!(got.len() <= 1),
        }
    }
}
