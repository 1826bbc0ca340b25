//! What the races are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shuttle::thread::{JoinHandle, spawn};

use crate::post::{Got, House, Peer, Post, settle};
use crate::support::build::{self, Connect, Publication};
use crate::support::wire::{Props, Version};

/// Turns that a core has while it races.
pub const TURNS: usize = 4;

pub fn client(name: &str) -> Connect {
    Connect::new(Version::V5, name).keep_alive_s(0)
}

pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    build::subscribe(Version::V5, 1, &Props::new(), &[(filter.as_bytes(), qos)])
}

pub fn publication(payload: &str, qos: u8) -> Vec<u8> {
    Publication::new("t", payload).qos(qos, identifier(payload)).bytes(Version::V5)
}

/// The Packet Identifier with which it is published.
pub fn identifier(payload: &str) -> u16 {
    100 + payload.len() as u16 * 10 + u16::from(payload.as_bytes()[0] % 10)
}

/// Lets a client in on a core and waits until it is open.
pub fn enter(posts: &mut [Post], core: usize, connect: &Connect, filter: Option<(&str, u8)>) -> usize {
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
pub fn disk(house: &Arc<House>) -> JoinHandle<()> {
    let house = Arc::clone(house);
    spawn(move || (0..TURNS).for_each(|_| house.commit()))
}

/// A core on its own: does `act`, and gives its post back.
pub fn race(mut post: Post, act: impl FnOnce(&mut Post) + Send + 'static) -> JoinHandle<Post> {
    spawn(move || {
        act(&mut post);
        post
    })
}

/// Publishes on the first connection of a core, turn by turn.
pub fn publishes(post: &mut Post, payloads: &[&str], qos: u8) {
    for payload in payloads {
        post.peers[0].say(&publication(payload, qos));
        post.turn();
    }
    post.turns(1);
}

pub fn back(tasks: Vec<JoinHandle<Post>>, disk: JoinHandle<()>) -> Vec<Post> {
    disk.join().expect("a disk does not panic");
    let mut posts: Vec<Post> = tasks.into_iter().map(|task| task.join().expect("a core did not panic")).collect();
    settle(&mut posts);
    posts
}

/// How often each message is new to a client that had these connections, one after the other: a QoS 2 message has its identifier
/// until it is released, and a QoS 1 message comes again as a repeat only.
pub fn counts(connections: &[&Peer]) -> BTreeMap<String, usize> {
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

pub fn once(payloads: &[&str]) -> BTreeMap<String, usize> {
    payloads.iter().map(|payload| ((*payload).to_owned(), 1)).collect()
}
