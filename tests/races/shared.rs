//! Sessions that are resumed, taken over, replaced, left, ended and shared while others publish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shuttle::thread::{JoinHandle, spawn};

use crate::check;
use crate::post::{Got, House, Peer, Post, settle};
use crate::support::build::{self, Connect, Publication};
use crate::support::wire::{Props, Version};

/// Turns that a core has while it races.
const TURNS: usize = 4;

fn client(name: &str) -> Connect {
    Connect::new(Version::V5, name).keep_alive_s(0)
}

fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    build::subscribe(Version::V5, 1, &Props::new(), &[(filter.as_bytes(), qos)])
}

fn publication(payload: &str, qos: u8) -> Vec<u8> {
    let id = 100 + payload.len() as u16 * 10 + u16::from(payload.as_bytes()[0] % 10);
    Publication::new("t", payload).qos(qos, id).bytes(Version::V5)
}

/// Lets a client in on a core and waits until it is open.
fn enter(posts: &mut [Post], core: usize, connect: &Connect, filter: Option<(&str, u8)>) -> usize {
    let peer = posts[core].enter(connect);
    settle(posts);
    if let Some((filter, qos)) = filter {
        posts[core].peers[peer].say(&subscribe(filter, qos));
        settle(posts);
        assert_eq!(posts[core].peers[peer].finished, [1], "SUBACK");
    }
    assert!(posts[core].peers[peer].present.is_some(), "it was let in");
    peer
}

/// A disk that commits now and then.
fn disk(house: &Arc<House>) -> JoinHandle<()> {
    let house = Arc::clone(house);
    spawn(move || (0..TURNS).for_each(|_| house.commit()))
}

/// A core on its own: does `act`, and gives its post back.
fn race(mut post: Post, act: impl FnOnce(&mut Post) + Send + 'static) -> JoinHandle<Post> {
    spawn(move || {
        act(&mut post);
        post
    })
}

/// Publishes on the first connection of a core, turn by turn.
fn publishes(post: &mut Post, payloads: &[&str], qos: u8) {
    for payload in payloads {
        post.peers[0].say(&publication(payload, qos));
        post.turn();
    }
    post.turns(1);
}

fn back(tasks: Vec<JoinHandle<Post>>) -> Vec<Post> {
    let mut posts: Vec<Post> = tasks.into_iter().map(|task| task.join().expect("a core did not panic")).collect();
    settle(&mut posts);
    posts
}

/// How often each message is new to a client that had these connections, one after the other: a QoS 2 message has its identifier
/// until it is released, and a QoS 1 message comes again as a repeat only.
fn counts(connections: &[&Peer]) -> BTreeMap<String, usize> {
    let mut new: BTreeMap<String, usize> = BTreeMap::new();
    let mut held: BTreeMap<u16, String> = BTreeMap::new();
    for connection in connections {
        let mut here = BTreeSet::new();
        for got in &connection.got {
            match got {
                Got::Release(id) => drop(held.remove(id)),
                Got::Message { payload, qos, id, dup } => {
                    assert!(here.insert(payload), "{payload} came twice on one connection");
                    let is_repeat = match qos {
                        2 => held.insert(*id, payload.clone()).inspect(|before| assert_eq!(before, payload)).is_some(),
                        _ => *dup && new.contains_key(payload),
                    };
                    *new.entry(payload.clone()).or_default() += usize::from(!is_repeat);
                }
            }
        }
    }
    new
}

fn once(payloads: &[&str]) -> BTreeMap<String, usize> {
    payloads.iter().map(|payload| ((*payload).to_owned(), 1)).collect()
}

/// Core 0 has a durable session whose client is away, core 1 a publisher.
fn one_away(session: &Connect, qos: u8) -> (Arc<House>, Vec<Post>) {
    let (house, mut posts) = House::new(2);
    enter(&mut posts, 1, &client("publisher"), None);
    let peer = enter(&mut posts, 0, session, Some(("t", qos)));
    posts[0].peers[peer].vanish();
    settle(&mut posts);
    assert!(posts[0].peers[peer].closed);
    (house, posts)
}

fn resume_against_publish(qos: u8) {
    let (house, mut posts) = one_away(&client("s").resume(), qos);
    let (publisher, subscriber) = (posts.pop().expect("two"), posts.pop().expect("two"));
    let disk = disk(&house);
    let subscriber = race(subscriber, |post| {
        post.enter(&client("s").resume());
        post.turns(TURNS);
    });
    let publisher = race(publisher, move |post| publishes(post, &["1", "2"], qos));
    let posts = back(vec![subscriber, publisher]);
    disk.join().expect("a disk does not panic");
    let resumed = &posts[0].peers[1];
    assert_eq!(resumed.present, Some(true));
    assert_eq!(resumed.payloads(), ["1", "2"], "in the page that is read or by mail: never lost, never twice");
    assert!(resumed.got.iter().all(|got| !matches!(got, Got::Message { dup: true, .. })));
}

#[test]
fn a_message_for_a_session_that_is_being_resumed_comes_once_at_qos_1() {
    check(|| resume_against_publish(1));
}

#[test]
fn a_message_for_a_session_that_is_being_resumed_comes_once_at_qos_2() {
    check(|| resume_against_publish(2));
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
    let posts = back(vec![old, new, publisher]);
    disk.join().expect("a disk does not panic");
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

/// One is in, two more come at once, one of them for a Clean Start.
fn rivals(second: &'static Connect, third: &'static Connect) {
    let (house, mut posts) = House::new(3);
    enter(&mut posts, 0, &client("publisher"), None);
    enter(&mut posts, 0, &client("s").resume(), Some(("t", 1)));
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let first = race(next(), |post| publishes(post, &["1", "2"], 1));
    let comes = |connect: &'static Connect| {
        move |post: &mut Post| {
            post.enter(connect);
            post.turns(TURNS);
        }
    };
    let tasks = vec![first, race(next(), comes(second)), race(next(), comes(third))];
    house.commit();
    let mut posts = back(tasks);
    house.assert_consistent();
    let connections = [&posts[0].peers[1], &posts[1].peers[0], &posts[2].peers[0]];
    assert!(connections[0].closed, "two have come since");
    let open: Vec<bool> = connections.iter().map(|peer| !peer.closed && peer.present.is_some()).collect();
    let waiting = connections.iter().filter(|peer| !peer.closed && peer.present.is_none()).count();
    assert!(open.iter().filter(|open| **open).count() == 1 && waiting == 0, "{open:?}, {waiting} have no answer");
    // Whose session it is now: the old one has a subscription, one of a Clean Start has none.
    let subscriptions = house.shared.broker.index.subscriptions();
    posts[0].peers[0].say(&publication("probe", 1));
    settle(&mut posts);
    let heard = |post: &Post, peer: usize| post.peers[peer].payloads().iter().filter(|text| **text == "probe").count();
    let heard = [heard(&posts[0], 1), heard(&posts[1], 0), heard(&posts[2], 0)];
    for (heard, open) in heard.iter().zip(open) {
        assert_eq!(*heard, if open { subscriptions } else { 0 }, "{subscriptions} subscriptions");
    }
}

#[test]
fn of_several_claimants_of_a_client_identifier_one_is_left_and_its_session_is_whole() {
    use std::sync::LazyLock;
    static CLEAN: LazyLock<Connect> = LazyLock::new(|| client("s").kept_s(600));
    static BRIEF: LazyLock<Connect> = LazyLock::new(|| client("s"));
    static RESUMES: LazyLock<Connect> = LazyLock::new(|| client("s").resume());
    check(|| rivals(&CLEAN, &RESUMES));
    check(|| rivals(&BRIEF, &RESUMES));
    check(|| rivals(&CLEAN, &CLEAN));
}
