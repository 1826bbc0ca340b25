//! Topics and listeners with levels of their own, on one broker and one disk.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::SYNC;
use super::disk::{Disk, restore};
use super::failing::{Clean, absent};
use super::link::Link;
use super::process::{Control, Place, Program, Running};
use super::run::{Fault, Plan, run};
use super::support::build::{Connect, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;

const LEVELS: &str = "[store.topic_levels]\n\"os/#\" = \"os\"\n\"memory/#\" = \"memory\"\n";
/// A sync takes so long, which is longer than any of these tests.
const STUCK: Duration = Duration::from_secs(600);
const ANSWER: Duration = Duration::from_secs(5);

struct Publisher {
    link: Link,
    id: u16,
}

impl Publisher {
    fn new(running: &Running) -> Self {
        Self { link: Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "publisher")).unwrap(), id: 0 }
    }

    /// Publishes at QoS 1 and says whether it was acknowledged within the time.
    fn is_acknowledged(&mut self, topic: &str, within: Duration) -> bool {
        self.id += 1;
        let publication = Publication::new(topic, topic).qos(1, self.id);
        match self.link.publish_and_wait(&publication, within).unwrap() {
            Some(code) => code == 0,
            None => false,
        }
    }
}

/// What a session that was away gets when it is back.
fn kept(running: &Running, name: &str) -> Vec<String> {
    let mut link = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, name).resume()).unwrap();
    assert!(link.connack.session_present, "its session is kept");
    // Behind everything that is kept for it.
    let mut last = Publisher::new(running);
    assert!(last.is_acknowledged("last", ANSWER));
    let mut got = Vec::new();
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        if let Ok(Some(Packet::Publish(publish))) = link.next(ANSWER) {
            link.ack(0x40, publish.id).unwrap();
            match String::from_utf8(publish.payload).unwrap() {
                payload if payload == "last" => return got,
                payload => got.push(payload),
            }
        }
    }
    panic!("what was published last does not arrive behind {got:?}");
}

/// A broker whose disk has begun to hang in every sync, with a session that is away and owns `sync/before`.
fn stuck(place: &Place) -> (Running, Publisher) {
    let running = place.start().unwrap();
    absent(&running, "away", "#");
    let mut publisher = Publisher::new(&running);
    assert!(publisher.is_acknowledged("sync/before", ANSWER));
    place.set(Control::SyncDelayUs, STUCK.as_micros() as i64);
    (running, publisher)
}

#[test]
fn an_os_topic_is_acknowledged_before_its_sync_and_a_sync_topic_survives_the_power_cut() {
    let place = Place::new(SYNC, LEVELS).on_test_disk(true);
    let mut disk = Disk::of(&place.data());
    let (mut running, mut publisher) = stuck(&place);
    assert!(publisher.is_acknowledged("os/a", ANSWER), "it is in the log");
    assert!(publisher.is_acknowledged("memory/a", ANSWER), "it waits for nothing");
    assert!(!publisher.is_acknowledged("sync/after", Duration::from_secs(1)), "it is not synced");
    running.kill();
    disk.replay(&std::fs::read(place.path("trace")).unwrap());
    restore(&place.data(), &disk.durable());
    place.set(Control::SyncDelayUs, 0);
    place.boot_again(2);
    let running = place.start().unwrap();
    assert_eq!(kept(&running, "away"), ["sync/before"], "what was acknowledged without a sync may be lost, and is");
}

#[test]
fn an_os_topic_survives_a_kill_while_the_disk_hangs() {
    let place = Place::new(SYNC, LEVELS).on_test_disk(false);
    let (mut running, mut publisher) = stuck(&place);
    assert!(publisher.is_acknowledged("os/a", ANSWER));
    running.kill();
    place.set(Control::SyncDelayUs, 0);
    let running = place.start().unwrap();
    assert_eq!(kept(&running, "away"), ["sync/before", "os/a"]);
}

#[test]
fn what_waits_for_no_disk_goes_on_while_the_disk_hangs() {
    let place = Place::new(SYNC, LEVELS).on_test_disk(false);
    let running = place.start().unwrap();
    absent(&running, "away", "memory/#");
    let mut clean = Clean::new(&running);
    let mut publisher = Publisher::new(&running);
    let (syncs, begun) = (place.control(Control::Syncs), Instant::now());
    place.set(Control::SyncDelayUs, STUCK.as_micros() as i64);
    // Its new session has to be synced before it is let in.
    let mut hangs = TcpStream::connect(running.addr("mqtt")).unwrap();
    hangs.write_all(&Connect::new(Version::V5, "hangs").resume().bytes()).unwrap();
    while place.control(Control::Syncs) == syncs {
        assert!(begun.elapsed() < ANSWER, "nothing is synced");
        std::thread::yield_now();
    }
    for _ in 0..100 {
        clean.round_trip();
        assert!(publisher.is_acknowledged("memory/a", ANSWER));
    }
    hangs.set_nonblocking(true).unwrap();
    assert_eq!(hangs.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "the disk hangs, or it was let in");
}

#[test]
fn f08_a_failed_sync_ends_the_process_whatever_level_it_was_for() {
    let place = Place::new(SYNC, LEVELS).on_test_disk(true);
    let mut disk = Disk::of(&place.data());
    let mut running = place.start().unwrap();
    absent(&running, "away", "#");
    let mut publisher = Publisher::new(&running);
    assert!(publisher.is_acknowledged("sync/before", ANSWER));
    place.set(Control::SyncErrno, 5);
    // Nobody waits for the sync that fails: it comes within 100 ms.
    let _ = publisher.link.publish(&Publication::new("os/a", "os/a").qos(1, 99));
    let ended = running.wait(Duration::from_secs(20));
    assert!(ended.code.is_none() && place.control(Control::SyncsFailed) > 0, "it must abort: {ended:?}");
    place.set(Control::SyncErrno, 0);
    disk.replay(&std::fs::read(place.path("trace")).unwrap());
    restore(&place.data(), &disk.durable());
    place.boot_again(2);
    let running = place.start().unwrap();
    assert_eq!(kept(&running, "away"), ["sync/before"]);
}

/// A store whose own mode is weaker keeps what stronger levels promise.
#[test]
fn f03_levels_stronger_than_the_store_are_kept_through_power_cuts() {
    let more = "[listeners.mqtt]\naddr = \"127.0.0.1:0\"\ndurability = \"sync\"\n";
    run(Plan { more, ..Plan::new("F03 listener sync", Program::Herald("os"), Fault::PowerLoss, 6) }).assert_kept();
}
