//! What must be true of subscriptions that are ended, shared and taken over.

use std::collections::BTreeSet;

use heraldmq::store::Store;

use crate::client::{Client, Published, Seen, State, Wavering};
use crate::oracle::{messages, publisher, times_at_most};
use crate::world::World;

/// Every promise, for every client.
pub fn judge(world: &World) {
    for client in world.clients.iter().filter(|client| client.kind.wavers.is_some()) {
        nothing_after_unsuback(world, client);
        everything_between_suback_and_unsubscribe(world, client);
    }
    shared_once(world);
    one_rival_is_left(world);
    nothing_is_left_behind(world);
}

/// A message that was first published after an UNSUBACK, and taken over before the filter was asked for again, does not
/// come [MQTT-3.10.4-2].
fn nothing_after_unsuback(world: &World, client: &Client) {
    for seen in messages(client).filter(|seen| seen.topic.starts_with("u/")) {
        let published = publisher(world, seen).expect("somebody published it");
        let taken = published.known.map_or(seen.step, |(step, _)| step.min(seen.step));
        for (at, ended) in client.wavered.iter().enumerate() {
            let Wavering::Off(ended) = *ended else { continue };
            let asked = client.wavered[at..].iter().find_map(|event| match event {
                Wavering::Asked(step) => Some(*step),
                _ => None,
            });
            let is_off = published.step > ended && asked.is_none_or(|asked| asked > taken);
            assert!(!is_off, "{}: {seen:?}, {published:?}, {:?}", client.kind.name, client.wavered);
        }
    }
}

/// What was published after a SUBACK and accepted before UNSUBSCRIBE comes, later if need be.
fn everything_between_suback_and_unsubscribe(world: &World, client: &Client) {
    if !client.kind.lasting() {
        return;
    }
    for (at, made) in client.wavered.iter().enumerate() {
        let Wavering::On(made) = *made else { continue };
        let asked = client.wavered[at..].iter().find_map(|event| match event {
            Wavering::AskedToEnd(step) => Some(*step),
            _ => None,
        });
        for (from, sequence, published) in publications(world, "u/") {
            let known = published.known.map_or(u64::MAX, |(step, _)| step);
            let is_on = published.step > made && known < asked.unwrap_or(u64::MAX);
            if is_on && published.qos > 0 && !published.may_be_over(world.now_ms) {
                let here = |seen: &Seen| seen.publisher == from && seen.sequence == sequence;
                let arrived = messages(client).any(here);
                assert!(arrived, "{}: {from} {sequence} of {published:?} was lost", client.kind.name);
            }
        }
    }
}

fn publications<'a>(world: &'a World, topics: &'a str) -> impl Iterator<Item = (&'a str, u64, &'a Published)> {
    let of =
        |client: &'a Client| client.published.iter().map(|(n, published)| (client.kind.name.as_str(), *n, published));
    world.clients.iter().flat_map(of).filter(move |(_, _, published)| published.topic.starts_with(topics))
}

/// A shared message comes to one member for each time that it was taken over [MQTT-4.8.2-4]; where all members keep what waits for
/// them it comes to one for sure.
fn shared_once(world: &World) {
    for (topics, share) in [("s/", "$share/g/"), ("v/", "$share/h/")] {
        let is_member = |client: &&Client| client.kind.filters.iter().any(|(filter, _)| filter.starts_with(share));
        let members: Vec<&Client> = world.clients.iter().filter(is_member).collect();
        for (from, sequence, published) in publications(world, topics) {
            let here = |seen: &Seen| seen.publisher == from && seen.sequence == sequence;
            let got: BTreeSet<&str> = members
                .iter()
                .filter(|member| messages(member).any(here))
                .map(|member| member.kind.name.as_str())
                .collect();
            let times = times_at_most(world, from, published);
            assert!(got.len() <= times, "{got:?} got {from} {sequence}: {published:?}");
            let all_keep = members.iter().all(|member| member.kind.lasting());
            let joined = members.iter().filter_map(|member| member.subscribed_at).min().unwrap_or(u64::MAX);
            let is_owed = all_keep && published.accepted && published.qos > 0 && published.step > joined;
            let is_lost = is_owed && got.is_empty() && !published.may_be_over(world.now_ms);
            assert!(!is_lost, "nobody got {from} {sequence}: {published:?}");
        }
    }
}

/// Of those who claim one Client Identifier one is in, the others are out [MQTT-3.1.4-3].
fn one_rival_is_left(world: &World) {
    let states: Vec<State> =
        world.clients.iter().filter(|client| client.kind.rival).map(|client| client.state).collect();
    let connected = states.iter().filter(|state| **state == State::Connected).count();
    let away = states.iter().filter(|state| **state == State::Away).count();
    assert!(connected == 1 && away == states.len() - 1, "{states:?}");
}

/// Everybody is there: the broker has their sessions and their subscriptions and no others.
fn nothing_is_left_behind(world: &World) {
    let saved = world.store.recover();
    let connected = |client: &&Client| client.state == State::Connected;
    let brief = world.clients.iter().filter(connected).filter(|client| !client.kind.durable());
    let of = |client: &Client| {
        let wavers = matches!(client.wavered.last(), Some(Wavering::On(_)));
        client.kind.filters.len() + usize::from(wavers)
    };
    let (others, theirs) = brief.fold((0, 0), |(count, sum), client| (count + 1, sum + of(client)));
    if world.refused {
        // A store may have refused to forget a session, a subscription or to remember one: nobody was told otherwise.
        return;
    }
    let subscriptions: usize = saved.sessions.iter().map(|(_, subscriptions, _)| subscriptions.len()).sum();
    let broker = &world.shared.broker;
    assert_eq!(broker.directory.len(), saved.sessions.len() + others, "{:?}", saved.sessions);
    assert_eq!(broker.index.subscriptions(), subscriptions + theirs, "{:?}", saved.sessions);
}
