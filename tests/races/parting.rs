//! Clients that say something with their last breath, and are back on another core at once.

use crate::check;
use crate::post::{House, settle};
use crate::steps::{TURNS, back, client, disk, enter, publication, race};
use crate::support::build::{self, Connect, Will};
use crate::support::wire::Version;

/// Reason code of a DISCONNECT.
const WITH_WILL: u8 = 4;

/// What the subscriber on core 2 got: of a client that published and left core 0 in one turn, and of the same client on core 1.
fn heard(connect: &Connect) -> Vec<String> {
    let (house, mut posts) = House::without_disk(3);
    enter(&mut posts, 2, &client("subscriber"), Some(("t", 1)));
    enter(&mut posts, 0, connect, None);
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let disk = disk(&house);
    let leaves = race(next(), |post| {
        let last_words = [publication("1", 1), build::disconnect(Version::V5, WITH_WILL)].concat();
        post.peers[0].say(&last_words);
        post.turns(2);
    });
    let again = client("p");
    let comes = race(next(), move |post| {
        let peer = post.enter(&again);
        post.peers[peer].say(&publication("2", 1));
        post.turns(TURNS);
    });
    let subscriber = race(next(), |post| post.turns(1));
    let mut posts = back(vec![leaves, comes, subscriber], disk);
    settle(&mut posts);
    posts[2].peers[0].payloads().into_iter().map(str::to_owned).collect()
}

/// A core that hears of the newcomer first does not read what its predecessor said last.
fn in_order(heard: &[String], always: &[&str]) {
    let heard: Vec<&str> = heard.iter().map(String::as_str).collect();
    assert_eq!(heard.strip_prefix(&["1"]).unwrap_or(&heard), always);
}

#[test]
fn mqtt_4_6_0_6_what_was_published_at_last_is_not_overtaken_from_another_core() {
    check(|| in_order(&heard(&client("p")), &["2"]));
}

#[test]
fn nor_is_the_will() {
    check(|| in_order(&heard(&client("p").will(Will::new("t", "will").qos(1))), &["will", "2"]));
}
