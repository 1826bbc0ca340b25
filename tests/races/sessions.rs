//! Sessions that are resumed, taken over and replaced while others publish.

use std::sync::Arc;

use crate::check;
use crate::post::{Got, House, Post, settle};
use crate::steps::{TURNS, back, client, counts, disk, enter, once, publication, publishes, race};
use crate::support::build::Connect;

/// Core 0 has a durable session whose client is away, core 1 a publisher.
fn one_away((house, mut posts): (Arc<House>, Vec<Post>), session: &Connect, qos: u8) -> (Arc<House>, Vec<Post>) {
    enter(&mut posts, 1, &client("publisher"), None);
    let peer = enter(&mut posts, 0, session, Some(("t", qos)));
    posts[0].peers[peer].vanish();
    settle(&mut posts);
    assert!(posts[0].peers[peer].closed);
    (house, posts)
}

fn resume_against_publish(of_two: fn(usize) -> (Arc<House>, Vec<Post>), qos: u8) {
    let (house, mut posts) = one_away(of_two(2), &client("s").resume(), qos);
    let (publisher, subscriber) = (posts.pop().expect("two"), posts.pop().expect("two"));
    let disk = disk(&house);
    let subscriber = race(subscriber, |post| {
        post.enter(&client("s").resume());
        post.turns(TURNS);
    });
    let publisher = race(publisher, move |post| publishes(post, &["1", "2"], qos));
    let posts = back(vec![subscriber, publisher], disk);
    let resumed = &posts[0].peers[1];
    assert_eq!((resumed.present, resumed.refused, resumed.closed), (Some(true), None, false));
    assert_eq!(resumed.payloads(), ["1", "2"], "in the page that is read or by mail: never lost, never twice");
    assert!(resumed.got.iter().all(|got| !matches!(got, Got::Message { dup: true, .. })));
}

#[test]
fn a_message_for_a_session_that_is_being_resumed_comes_once_at_qos_1() {
    check(|| resume_against_publish(House::new, 1));
    // Without a disk to wait for it takes fewer steps to come between a publication's.
    check(|| resume_against_publish(House::without_disk, 1));
}

#[test]
fn a_message_for_a_session_that_is_being_resumed_comes_once_at_qos_2() {
    check(|| resume_against_publish(House::new, 2));
    check(|| resume_against_publish(House::without_disk, 2));
}

fn takeover_against_publish(qos: u8) {
    let (house, mut posts) = House::new(3);
    let first = enter(&mut posts, 0, &client("s").resume(), Some(("t", qos)));
    enter(&mut posts, 2, &client("publisher"), None);
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let disk = disk(&house);
    let old = race(next(), |post| post.turns(TURNS));
    let new = race(next(), |post| {
        post.enter(&client("s").resume());
        post.turns(TURNS);
    });
    let publisher = race(next(), move |post| publishes(post, &["1", "2", "3"], qos));
    let posts = back(vec![old, new, publisher], disk);
    let (old, new) = (&posts[0].peers[first], &posts[1].peers[0]);
    assert!(old.closed && !new.closed && new.present == Some(true));
    assert_eq!(counts(&[old, new]), once(&["1", "2", "3"]));
}

#[test]
fn a_message_for_a_session_that_is_taken_over_is_new_once_at_qos_1() {
    check(|| takeover_against_publish(1));
}

#[test]
fn a_message_for_a_session_that_is_taken_over_is_new_once_at_qos_2() {
    check(|| takeover_against_publish(2));
}

/// How a claimant comes: with Clean Start or without, and how long its session is to outlive it.
#[derive(Clone, Copy)]
struct Claimant {
    clean: bool,
    expiry_s: u32,
}

impl Claimant {
    fn connect(self) -> Connect {
        client("s").clean(self.clean).kept_s(self.expiry_s)
    }
}

/// One is in with a durable session, and these two come at once.
fn rivals(second: Claimant, third: Claimant) {
    let (house, mut posts) = House::new(3);
    enter(&mut posts, 0, &client("publisher"), None);
    enter(&mut posts, 0, &client("s").resume(), Some(("t", 1)));
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let first = race(next(), |post| publishes(post, &["1", "2"], 1));
    let comes = |claimant: Claimant| {
        move |post: &mut Post| {
            post.enter(&claimant.connect());
            post.turns(TURNS);
        }
    };
    let tasks = vec![first, race(next(), comes(second)), race(next(), comes(third))];
    let disk = disk(&house);
    let mut posts = back(tasks, disk);
    let connections = [&posts[0].peers[1], &posts[1].peers[0], &posts[2].peers[0]];
    assert!(connections[0].closed, "two have come since");
    let open = connections.map(|peer| !peer.closed && peer.present.is_some());
    let waiting = connections.iter().filter(|peer| !peer.closed && peer.present.is_none()).count();
    assert!(open.iter().filter(|open| **open).count() == 1 && waiting == 0, "{open:?}, {waiting} have no answer");
    let winner = if open[1] { second } else { third };
    house.assert_consistent(if winner.expiry_s == 0 { &[0, 0] } else { &[0] });
    // Whose session it is now: the old one has a subscription, one of a Clean Start has none.
    let subscriptions = house.shared.broker.index.subscriptions();
    assert_eq!(subscriptions, usize::from(!second.clean && !third.clean), "a Clean Start was among them");
    posts[0].peers[0].say(&publication("probe", 1));
    settle(&mut posts);
    let heard = |post: &Post, peer: usize| post.peers[peer].payloads().iter().filter(|text| **text == "probe").count();
    let heard = [heard(&posts[0], 1), heard(&posts[1], 0), heard(&posts[2], 0)];
    assert_eq!(heard, open.map(|open| if open { subscriptions } else { 0 }), "who hears a message now");
}

const RESUMES: Claimant = Claimant { clean: false, expiry_s: 600 };
const CLEAN: Claimant = Claimant { clean: true, expiry_s: 600 };
const BRIEF: Claimant = Claimant { clean: true, expiry_s: 0 };

#[test]
fn of_two_claimants_one_is_left_and_its_session_is_whole() {
    check(|| rivals(RESUMES, RESUMES));
}

#[test]
fn of_two_claimants_of_which_one_wants_a_clean_start_one_is_left_and_its_session_is_whole() {
    check(|| rivals(CLEAN, RESUMES));
    check(|| rivals(BRIEF, RESUMES));
}

#[test]
fn of_two_claimants_that_want_a_clean_start_one_is_left_and_its_session_is_whole() {
    check(|| rivals(CLEAN, CLEAN));
    check(|| rivals(CLEAN, BRIEF));
}
