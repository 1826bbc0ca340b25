//! Subscriptions that are ended or shared while others publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::check;
use crate::post::{House, Peer, settle};
use crate::steps::{TURNS, back, client, counts, disk, enter, publication, publishes, race};
use crate::support::build;
use crate::support::wire::{Props, Version};

/// A subscriber ends its subscription; whatever is published once it has its UNSUBACK is not for it.
fn unsubscribe_against_publish(durable: bool, qos: u8) {
    let (house, mut posts) = House::new(2);
    let connect = if durable { client("s").resume() } else { client("s") };
    enter(&mut posts, 0, &connect, Some(("t", qos)));
    enter(&mut posts, 1, &client("publisher"), None);
    let (publisher, subscriber) = (posts.pop().expect("two"), posts.pop().expect("two"));
    let disk = disk(&house);
    // The two clients know of each other, the cores do not: no step of the schedule.
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let subscriber = race(subscriber, move |post| {
        post.peers[0].say(&build::unsubscribe(Version::V5, 2, &Props::new(), &[b"t"]));
        for _ in 0..TURNS {
            post.turn();
            ended.fetch_or(post.peers[0].finished.contains(&2), Ordering::SeqCst);
        }
    });
    let publisher = race(publisher, move |post| {
        for number in 0..TURNS {
            let when = if has_ended.load(Ordering::SeqCst) { "late" } else { "early" };
            post.peers[0].say(&publication(&format!("{number} {when}"), qos));
            post.turn();
        }
    });
    let posts = back(vec![subscriber, publisher], disk);
    let subscriber = &posts[0].peers[0];
    assert!(subscriber.finished.contains(&2), "UNSUBACK");
    let got = subscriber.payloads();
    assert!(got.iter().all(|payload| payload.ends_with("early")), "{got:?}");
    assert!(counts(&[subscriber]).into_values().all(|count| count == 1));
    assert_eq!(house.shared.broker.index.subscriptions(), 0);
    house.assert_consistent(if durable { &[0] } else { &[0, 0] });
}

#[test]
fn mqtt_3_10_4_2_nothing_published_after_an_unsuback_comes_to_a_durable_session() {
    check(|| unsubscribe_against_publish(true, 1));
    check(|| unsubscribe_against_publish(true, 2));
}

#[test]
fn mqtt_3_10_4_2_nothing_published_after_an_unsuback_comes_to_a_brief_session() {
    check(|| unsubscribe_against_publish(false, 1));
}

/// Of two durable members of a share one loses its connection, and comes back.
fn share_against_publish(qos: u8) {
    let (house, mut posts) = House::new(3);
    for core in 0..2 {
        let connect = client(["a", "b"][core]).resume();
        enter(&mut posts, core, &connect, Some(("$share/g/t", qos)));
    }
    enter(&mut posts, 2, &client("publisher"), None);
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let disk = disk(&house);
    let first = race(next(), |post| {
        post.peers[0].vanish();
        post.turn();
        post.enter(&client("a").resume());
        post.turns(TURNS);
    });
    let tasks = vec![
        first,
        race(next(), |post| post.turns(TURNS)),
        race(next(), move |post| publishes(post, &["1", "2", "3"], qos)),
    ];
    let mut posts = back(tasks, disk);
    settle(&mut posts);
    let of = |core: usize| counts(&posts[core].peers.iter().collect::<Vec<&Peer>>());
    let (first, second) = (of(0), of(1));
    for payload in ["1", "2", "3"] {
        let times = [&first, &second].map(|counts| counts.get(payload).copied().unwrap_or(0));
        assert_eq!(times.iter().sum::<usize>(), 1, "{payload} came to the members so often: {times:?}");
    }
    house.assert_consistent(&[0]);
}

#[test]
fn a_shared_message_is_new_to_one_member_once_at_qos_1_though_a_connection_breaks() {
    check(|| share_against_publish(1));
}

#[test]
fn a_shared_message_is_new_to_one_member_once_at_qos_2_though_a_connection_breaks() {
    check(|| share_against_publish(2));
}
