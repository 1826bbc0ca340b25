//! Sessions whose time is over just when their client comes back, and the wills they leave.

use std::sync::Arc;

use crate::check;
use crate::post::{House, Post, settle};
use crate::steps::{TURNS, back, client, counts, disk, enter, once, publication, publishes, race};
use crate::store::Store as _;
use crate::support::build::{Connect, Will};

/// Milliseconds after which a session of one second that was left at 1 ms is over: a second for sure.
const OVER_MS: u64 = 1 + 1_000 + 1;

/// Session Expiry Interval 1, a will that is delayed for longer.
fn brief() -> Connect {
    client("s").clean(false).kept_s(1).will(Will::new("w", "will").qos(1).delay_s(5))
}

/// Core 1 has a session of one second whose client has just gone, core 2 a publisher that hears of wills; core 0 looks after
/// what comes due.
fn one_about_to_end((house, mut posts): (Arc<House>, Vec<Post>)) -> (Arc<House>, Vec<Post>) {
    enter(&mut posts, 2, &client("publisher"), Some(("w", 1)));
    enter(&mut posts, 1, &brief(), Some(("t", 1)));
    posts[1].peers[0].vanish();
    settle(&mut posts);
    (house, posts)
}

fn wills(posts: &[Post]) -> usize {
    posts[2].peers[0].payloads().len()
}

fn end_against_resume_and_publish() {
    let (house, posts) = one_about_to_end(House::new(3));
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let disk = disk(&house);
    let keeper = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.turns(TURNS);
    });
    let comes = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.enter(&brief());
        post.turns(TURNS);
    });
    let publisher = race(next(), |post| publishes(post, &["1", "2"], 1));
    let mut posts = back(vec![keeper, comes, publisher], disk);
    house.assert_consistent(&[1]);
    let client = &posts[1].peers[1];
    assert!(!client.closed, "it stays");
    match client.present {
        Some(true) => {
            assert_eq!(counts(&[client]), once(&["1", "2"]));
            assert!(wills(&posts) <= 1);
        }
        Some(false) => {
            assert_eq!(
                (client.payloads().len(), wills(&posts)),
                (0, 1),
                "nothing of a session that has ended but its will"
            );
            assert_eq!(house.shared.broker.index.subscriptions(), 1, "the publisher's");
        }
        None => panic!("it has no answer"),
    }
    // While its client is there a session does not end.
    let subscribed = client.present == Some(true);
    posts.iter_mut().for_each(|post| post.now_ms = 3 * OVER_MS);
    posts[2].peers[0].say(&publication("probe", 1));
    settle(&mut posts);
    let heard = posts[1].peers[1].payloads().contains(&"probe");
    assert!(heard == subscribed && !posts[1].peers[1].closed);
    house.assert_consistent(&[1]);
}

#[test]
fn a_session_whose_client_comes_when_its_time_is_over_is_whole_or_gone() {
    check(end_against_resume_and_publish);
}

/// The client comes back for a moment while the first core ends what was over: it has begun a new second.
fn end_against_visit() {
    let (house, posts) = one_about_to_end(House::without_disk(3));
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let disk = disk(&house);
    let keeper = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.turns(TURNS);
    });
    let comes = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.enter(&brief());
        post.turns(TURNS);
        post.peers[1].vanish();
        post.turns(1);
    });
    let watcher = race(next(), |post| post.turns(1));
    let mut posts = back(vec![keeper, comes, watcher], disk);
    let first = posts[1].peers[1].present;
    posts.iter_mut().for_each(|post| post.now_ms = OVER_MS + 500);
    posts[1].enter(&brief());
    settle(&mut posts);
    if first.is_some() {
        assert_eq!(posts[1].peers[2].present, Some(true), "half a second is left of it; before it was {first:?}");
    }
    house.assert_consistent(&[1]);
}

#[test]
fn a_session_whose_client_came_for_a_moment_has_its_whole_time_again() {
    check(end_against_visit);
}

/// A session that lives on, and a will that is delayed for a second.
fn patient() -> Connect {
    client("s").clean(false).kept_s(60).will(Will::new("w", "will").qos(1).delay_s(1))
}

/// The client comes back for a moment just when its will is due, and leaves another one behind: a crash must not lose that.
fn will_against_visit() {
    let (house, mut posts) = House::without_disk(2);
    enter(&mut posts, 1, &patient(), None);
    posts[1].peers[0].vanish();
    settle(&mut posts);
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("two");
    let disk = disk(&house);
    let keeper = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.turns(1);
    });
    let comes = race(next(), |post| {
        post.now_ms = OVER_MS;
        post.enter(&patient());
        post.turns(TURNS);
        post.peers[1].vanish();
        post.turns(1);
    });
    let posts = back(vec![keeper, comes], disk);
    let leaves_one = posts[1].peers[1].present.is_some();
    assert_eq!(house.store.recover().wills.len(), usize::from(leaves_one));
}

#[test]
fn mqtt_3_1_2_8_a_will_that_is_published_does_not_take_a_later_one_with_it() {
    check(will_against_visit);
}
