use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::seat::Address;
use super::*;
use crate::identity::{ClientId, Origin, SessionId};
use crate::topic::filter::matches;

fn seat(number: u64) -> Arc<Seat> {
    Seat::new(SessionId(number), ClientId::new("c"), Origin(number + 1), true)
}

fn seats(count: u64) -> Vec<Arc<Seat>> {
    (0..count).map(seat).collect()
}

fn connect(seat: &Seat) {
    assert!(seat.claim(Address { core: 0, slot: 1, generation: 1 }));
}

fn wants(subscription_id: u32) -> Interest {
    Interest { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, subscription_id }
}

fn parse(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text, usize::MAX).unwrap()
}

impl Index {
    fn add(&self, filter: &str, seat: &Arc<Seat>, subscription_id: u32) -> Added {
        self.subscribe(&parse(filter), seat, wants(subscription_id)).unwrap()
    }

    fn take(&self, filter: &str, seat: &Arc<Seat>) -> bool {
        self.unsubscribe(&parse(filter), seat)
    }

    /// Session and Subscription Identifier of each match.
    fn found(&self, topic: &str) -> Vec<(u64, u32)> {
        let mut found = Vec::new();
        self.for_each_match(topic, |m| found.push((m.seat.session.0, m.interest.subscription_id)));
        found.sort_unstable();
        found
    }

    fn members(&self, topic: &str, messages: usize) -> Vec<u64> {
        let mut found = Vec::new();
        for n in 0..messages {
            self.for_each_match(topic, |m| {
                assert!(m.shared);
                found.push(m.seat.session.0);
            });
            assert_eq!(found.len(), n + 1, "exactly one member gets it");
        }
        found
    }
}

#[test]
fn mqtt_3_8_4_3_the_same_filter_again_replaces_the_subscription() {
    let (index, a, b) = (Index::new(), seat(1), seat(2));
    for filter in ["t", "t/+", "$share/g/t/#"] {
        let name = if filter == "t" { "t" } else { "t/x" };
        assert!(index.add(filter, &a, 1).new, "{filter}");
        assert!(!index.add(filter, &a, 2).new, "{filter}");
        assert_eq!(index.found(name).iter().filter(|(session, _)| *session == 1).max(), Some(&(1, 2)));
        assert!(index.take(filter, &a));
        assert!(index.add(filter, &b, 3).new && index.add(filter, &a, 4).new && !index.add(filter, &a, 5).new);
        assert!(index.take(filter, &b) && index.take(filter, &a) && !index.take(filter, &a));
    }
    assert_eq!(index.subscriptions(), 0);
}

#[test]
fn a_filter_is_one_text_that_all_share() {
    let (index, a, b) = (Index::new(), seat(1), seat(2));
    for filter in ["t", "t/#", "$share/g/t", "$share/g/t/#"] {
        let (first, second) = (index.add(filter, &a, 0).filter, index.add(filter, &b, 0).filter);
        assert!(Arc::ptr_eq(&first, &second) && *first == *filter);
    }
    assert_eq!(index.subscriptions(), 8);
}

#[test]
fn mqtt_3_10_4_1_only_the_very_same_filter_is_ended() {
    let (index, a, b) = (Index::new(), seat(1), seat(2));
    index.add("a/+", &a, 1);
    index.add("a/b", &a, 2);
    index.add("$share/g/a/b", &a, 3);
    for (filter, who) in [("a/#", &a), ("a/+", &b), ("a/b", &b), ("$share/h/a/b", &a), ("$share/g/a/+", &a)] {
        assert!(!index.take(filter, who), "{filter}");
    }
    assert_eq!(index.found("a/b"), [(1, 1), (1, 2), (1, 3)]);
    assert!(index.take("a/b", &a));
    assert_eq!(index.found("a/b"), [(1, 1), (1, 3)]);
    assert!(index.take("$share/g/a/b", &a) && index.take("a/+", &a));
    assert!(index.found("a/b").is_empty() && index.subscriptions() == 0);
    assert_eq!(index.wild_filters.load(Ordering::Relaxed), 0, "the tree is not looked at any more");
}

#[test]
fn mqtt_4_8_2_3_a_member_gets_its_messages_with_its_own_interest() {
    let (index, a, b) = (Index::new(), seat(1), seat(2));
    connect(&a);
    connect(&b);
    let granted = [(QoS::AtMostOnce, &a), (QoS::ExactlyOnce, &b)];
    for (qos, member) in granted {
        index.subscribe(&parse("$share/g/t/+"), member, Interest { qos, ..wants(0) });
    }
    let mut found = Vec::new();
    for _ in 0..4 {
        index.for_each_match("t/x", |m| found.push((m.interest.qos, m.seat.session.0)));
    }
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|(qos, session)| (*qos == QoS::AtMostOnce) == (*session == 1)));
}

#[test]
fn connected_members_take_turns() {
    let (index, seats) = (Index::new(), seats(4));
    for member in &seats {
        index.add("$share/g/t", member, 0);
    }
    [0, 1, 3].iter().for_each(|n| connect(&seats[*n]));
    assert_eq!(index.members("t", 6), [0, 1, 3, 0, 1, 3]);
    assert!(index.take("$share/g/t", &seats[1]));
    assert_eq!(index.members("t", 4).iter().filter(|n| **n == 3).count(), 2);
}

#[test]
fn a_large_group_finds_its_one_connected_member_soon_and_keeps_to_it() {
    let (index, seats) = (Index::new(), seats(2_000));
    seats.iter().for_each(|member| assert!(index.add("$share/g/t", member, 0).new));
    connect(&seats[1_999]);
    let got = index.members("t", 100);
    assert!(got[7..].iter().all(|n| *n == 1_999), "{got:?}");
}

#[test]
fn as_many_groups_as_one_likes_cost_no_search() {
    let (index, member) = (Index::new(), seat(1));
    connect(&member);
    for n in 0..3_000 {
        assert!(index.add(&format!("$share/g{n}/t"), &member, n).new);
    }
    assert_eq!(index.found("t").len(), 3_000);
    assert!((0..3_000).all(|n| index.take(&format!("$share/g{n}/t"), &member)));
    assert!(index.found("t").is_empty());
}

#[test]
fn without_a_connected_member_a_session_that_keeps_messages_gets_it() {
    let index = Index::new();
    let gone = Seat::new(SessionId(1), ClientId::new("gone"), Origin(1), false);
    index.add("$share/g/#", &gone, 0);
    assert_eq!(index.found("t"), []);
    let (forgets, keeps) = (seat(2), seat(3));
    index.subscribe(&parse("$share/g/#"), &forgets, Interest { qos: QoS::AtMostOnce, ..wants(0) });
    assert_eq!(index.members("t", 2), [2, 2]);
    index.add("$share/g/#", &keeps, 0);
    assert_eq!(index.members("t", 3), [3, 3, 3]);
    connect(&gone);
    assert_eq!(index.members("t", 2), [1, 1]);
}

#[test]
fn each_group_and_each_session_gets_its_own_copy() {
    let (index, a, b) = (Index::new(), seat(1), seat(2));
    for (n, filter) in ["$share/g/t", "$share/h/t", "$share/g/+", "t", "#"].iter().enumerate() {
        index.add(filter, &a, n as u32 + 1);
    }
    index.add("$share/g/t", &b, 9);
    let found = index.found("t");
    assert_eq!(found.len(), 5, "{found:?}");
    let first_group = found.iter().filter(|(_, id)| *id == 1 || *id == 9).count();
    assert_eq!(first_group, 1);
}

#[test]
fn shards_fill_evenly() {
    let (index, seat) = (Index::new(), seat(1));
    for n in 0..6_400 {
        index.add(&format!("user/{n}"), &seat, 0);
    }
    let sizes: Vec<usize> = index.exact.iter().map(|shard| shard.0.read().len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 6_400);
    // A hundred each on average; ten is the standard deviation of a fair throw.
    assert!(sizes.iter().all(|size| (40..=160).contains(size)), "{sizes:?}");
    for n in 0..6_400 {
        assert!(index.take(&format!("user/{n}"), &seat));
    }
    assert!(index.exact.iter().all(|shard| shard.0.read().is_empty()));
}

#[test]
fn a_crowd_can_leave_one_by_one() {
    let (index, seats) = (Index::new(), seats(2_000));
    for filter in ["news", "news/#"] {
        assert!(seats.iter().all(|seat| index.add(filter, seat, 0).new));
        assert!(index.found("news").len() >= 2_000);
        assert!(seats.iter().rev().all(|seat| index.take(filter, seat)));
    }
    assert!(index.found("news").is_empty());
}

#[test]
fn subscribing_and_routing_at_once_loses_nothing() {
    let (index, fixed) = (Index::new(), seat(0));
    index.add("a/b", &fixed, 1);
    index.add("a/+", &fixed, 2);
    std::thread::scope(|scope| {
        for n in 1..3 {
            let index = &index;
            scope.spawn(move || {
                let seat = seat(n);
                for round in 0..2_000 {
                    let filter = ["a/b", "a/+", "a/#", "$share/g/a/b"][round % 4];
                    assert!(index.add(filter, &seat, 3).new);
                    assert!(index.take(filter, &seat));
                }
            });
        }
        for _ in 0..2_000 {
            let found = index.found("a/b");
            assert_eq!(found[..2], [(0, 1), (0, 2)]);
        }
    });
    assert_eq!(index.subscriptions(), 2);
}

fn text(wildcards: bool) -> impl Strategy<Value = String> {
    let level = if wildcards { "(a|b|\\+|é||\\$s)" } else { "(a|b|é||\\$s)" };
    (prop::collection::vec(level, 1..4), 0..3).prop_filter_map("empty", move |(levels, end)| {
        let text = levels.join("/");
        let text = if wildcards && end == 0 { text + "/#" } else { text };
        (!text.is_empty()).then_some(text)
    })
}

proptest! {
    #[test]
    fn the_index_finds_what_a_list_finds(
        steps in prop::collection::vec((text(true), 0usize..40, any::<bool>()), 1..150),
        names in prop::collection::vec(text(false), 1..12),
    ) {
        let (index, seats, mut list) = (Index::new(), seats(40), BTreeMap::new());
        for (n, (filter, who, add)) in steps.iter().enumerate() {
            // A later step often meets an earlier one.
            let filter = if n % 2 == 0 { filter } else { &steps[n / 3].0 };
            let key = (filter.clone(), *who as u64);
            if *add || n % 4 == 0 {
                let new = index.add(filter, &seats[*who], n as u32).new;
                prop_assert_eq!(new, list.insert(key, n as u32).is_none());
            } else {
                prop_assert_eq!(index.take(filter, &seats[*who]), list.remove(&key).is_some());
            }
            prop_assert_eq!(index.subscriptions(), list.len());
        }
        for name in &names {
            let mut wanted: Vec<(u64, u32)> =
                list.iter().filter(|((filter, _), _)| matches(filter, name)).map(|((_, who), n)| (*who, *n)).collect();
            wanted.sort_unstable();
            prop_assert_eq!(index.found(name), wanted);
        }
    }
}
