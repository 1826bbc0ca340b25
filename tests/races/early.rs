//! Publishers that are acknowledged before a commit, because everybody has acknowledged their message.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::check;
use crate::post::{Got, House, Post};
use crate::steps::{TURNS, client, disk, enter, identifier, publication, race};
use crate::store::Store;

const PAYLOADS: [&str; 3] = ["1", "2", "3"];

/// A publisher and two durable sessions that want what it publishes, each on a core of its own.
fn three() -> (Arc<House>, Vec<Post>) {
    let (house, mut posts) = House::new(3);
    enter(&mut posts, 0, &client("publisher"), None);
    for core in [1, 2] {
        enter(&mut posts, core, &client(&format!("s{core}")).resume(), Some(("t", 1)));
    }
    (house, posts)
}

/// What each session is still owed if the power fails now: what it has in the store.
fn owed(house: &House) -> Vec<BTreeSet<String>> {
    house.store.crash();
    let sessions = house.store.recover().sessions;
    let payloads = |number| {
        let client = format!("s{number}");
        let (record, ..) = sessions.iter().find(|(record, ..)| record.client.as_str() == client).expect("it is kept");
        let (answer, answered) = std::sync::mpsc::channel();
        let answer = Box::new(move |page: heraldmq::session::Page| answer.send(page).expect("somebody asks"));
        let now = heraldmq::clock::Now::default();
        house.store.read_queue(record.session, heraldmq::identity::Ticket::NONE, usize::MAX, now, answer);
        let page = answered.try_recv().expect("everything is durable");
        page.messages.iter().map(|queued| String::from_utf8_lossy(queued.message.payload()).into_owned()).collect()
    };
    [1, 2].map(payloads).into()
}

/// The power fails whenever it likes: what was acknowledged is in the store for each session that does not have it.
fn power_fails(commits: bool) {
    let (house, posts) = three();
    let disk = commits.then(|| disk(&house));
    let mut posts = posts.into_iter();
    let mut next = || posts.next().expect("three");
    let publisher = race(next(), |post| {
        for payload in PAYLOADS {
            post.peers[0].say(&publication(payload, 1));
        }
        post.turns(TURNS);
    });
    let readers = [race(next(), |post| post.turns(TURNS)), race(next(), |post| post.turns(TURNS))];
    let publisher = publisher.join().expect("a core did not panic");
    let readers = readers.map(|reader| reader.join().expect("a core did not panic"));
    if let Some(disk) = disk {
        disk.join().expect("a disk does not panic");
    }
    let owed = owed(&house);
    let acknowledged = &publisher.peers[0].finished;
    let in_order: Vec<u16> = PAYLOADS.into_iter().map(identifier).take(acknowledged.len()).collect();
    assert_eq!(*acknowledged, in_order);
    for payload in PAYLOADS.iter().take(acknowledged.len()) {
        for (reader, owed) in readers.iter().zip(&owed) {
            let has = reader.peers[0]
                .got
                .iter()
                .any(|got| matches!(got, Got::Message { payload: got, .. } if got == payload));
            assert!(has || owed.contains(*payload), "{payload} was acknowledged and is lost");
        }
    }
}

#[test]
fn what_is_acknowledged_before_its_commit_is_owed_to_nobody() {
    check(|| power_fails(true));
    check(|| power_fails(false));
}

/// A disk that never answers: a publisher has its answers when everybody has answered, though its core looks only when it is woken.
fn nobody_waits_for_the_disk() {
    let (_house, posts) = three();
    let mut tasks = Vec::new();
    for (core, post) in posts.into_iter().enumerate() {
        tasks.push(race(post, move |post| {
            for payload in PAYLOADS.iter().filter(|_| core == 0) {
                post.peers[0].say(&publication(payload, 1));
            }
            post.turns(TURNS);
        }));
    }
    let mut posts: Vec<Post> = tasks.into_iter().map(|task| task.join().expect("a core did not panic")).collect();
    let mut rounds = 0..100;
    while posts.iter_mut().fold(false, |any, post| post.turn_if_woken() | any) {
        assert!(rounds.next().is_some(), "it does not come to rest");
    }
    assert_eq!(posts[0].peers[0].finished, PAYLOADS.map(identifier));
}

#[test]
fn a_core_is_woken_when_everybody_has_what_its_client_published() {
    check(nobody_waits_for_the_disk);
}
