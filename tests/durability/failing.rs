//! A disk that is full, fails, or is slow, and a clock that jumps.

use std::time::{Duration, Instant};

use super::SYNC;
use super::chance::Chance;
use super::disk::{Disk, restore};
use super::ledger::{Promise, Report};
use super::link::Link;
use super::process::{Control, Place, Running};
use super::run::{Traffic, seed};
use super::support::build::{Connect, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;

const ENOSPC: i64 = 28;
const EIO: i64 = 5;
/// The broker must be at work again so long after the disk is.
const RECOVERED: Duration = Duration::from_secs(10);
const NOTHING_LOST: Promise = Promise { loss: None };

/// A session that is away and has one filter: whatever matches it must be stored.
pub fn absent(running: &Running, name: &str, filter: &str) {
    let mut link = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, name).resume()).unwrap();
    assert_eq!(link.subscribe(1, &[(filter, 1)], |_, _| Ok(())).unwrap(), [1]);
    link.send(&[0xE0, 0x00]).unwrap();
    // The broker closes when the store has been told that it left.
    while link.next(Duration::from_secs(5)).is_ok_and(|packet| packet.is_some()) {}
}

/// Two clients with clean sessions, and messages between them.
pub struct Clean {
    from: Link,
    to: Link,
    count: u16,
}

impl Clean {
    pub fn new(running: &Running) -> Self {
        let from = Link::open(running.addr("mqtt"), &Connect::new(Version::V3, "clean-from")).unwrap();
        let mut to = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "clean-to")).unwrap();
        to.subscribe(1, &[("clean/#", 1)], |_, _| Ok(())).unwrap();
        Self { from, to, count: 0 }
    }

    /// From PUBLISH to delivery and acknowledgement.
    pub fn round_trip(&mut self) -> Duration {
        let begun = Instant::now();
        self.count += 1;
        let publication = Publication::new("clean/a", self.count.to_string()).qos(1, self.count);
        let code = self.from.publish_and_wait(&publication, Duration::from_secs(5)).unwrap();
        assert_eq!(code, Some(0), "traffic that no disk is asked for is acknowledged");
        let Ok(Some(Packet::Publish(publish))) = self.to.next(Duration::from_secs(5)) else {
            panic!("traffic that no disk is asked for does not arrive");
        };
        assert_eq!(publish.payload, self.count.to_string().as_bytes());
        self.to.ack(0x40, publish.id).unwrap();
        begun.elapsed()
    }
}

/// F06, F07: nobody is acknowledged, the others are served, and it recovers by itself.
fn writes_fail(errno: i64, short: i64) {
    let place = Place::new(SYNC, "").on_test_disk(false);
    let mut running = place.start().unwrap();
    absent(&running, "absent", "kept/#");
    let mut clean = Clean::new(&running);
    let mut publisher = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "five")).unwrap();
    let mut older = Link::open(running.addr("mqtt"), &Connect::new(Version::V3, "three")).unwrap();
    let message = |id: u16| Publication::new("kept/a", id.to_string()).qos(1, id);
    let second = Duration::from_secs(1);
    let mut acknowledged = vec!["1".to_owned()];
    assert_eq!(publisher.publish_and_wait(&message(1), second * 5).unwrap(), Some(0));
    place.set(Control::ShortWrites, short);
    place.set(Control::WriteErrno, errno);
    for id in 2..6 {
        assert_eq!(publisher.publish_and_wait(&message(id), second * 5).unwrap(), Some(0x97), "quota exceeded");
        clean.round_trip();
    }
    // It may be closed, it must not be acknowledged.
    assert!(!matches!(older.publish_and_wait(&message(6), second), Ok(Some(_))), "3.1.1 is not acknowledged");
    assert!(place.control(Control::WritesFailed) > 0, "the disk was asked");
    place.set(Control::WriteErrno, 0);
    let begun = Instant::now();
    let mut id = 7;
    while publisher.publish_and_wait(&message(id), second * 5).unwrap() != Some(0) {
        assert!(begun.elapsed() < RECOVERED, "there is space, and it does not recover: {}", running.log());
        clean.round_trip();
        std::thread::sleep(Duration::from_millis(50));
        id += 1;
    }
    println!("recovered {:?} after the disk", begun.elapsed());
    acknowledged.push(id.to_string());
    assert!(!running.has_ended());
    running.kill();
    let running = place.start().unwrap();
    let mut link = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "absent").resume()).unwrap();
    let mut got = Vec::new();
    while let Ok(Some(packet)) = link.next(second) {
        if let Packet::Publish(publish) = packet {
            got.push(String::from_utf8(publish.payload).unwrap());
        }
    }
    acknowledged.retain(|payload| !got.contains(payload));
    assert!(acknowledged.is_empty(), "{acknowledged:?} were acknowledged, got {got:?}");
}

#[test]
fn f06_a_full_disk_refuses_and_recovers() {
    writes_fail(ENOSPC, 0);
}

#[test]
fn f06_a_disk_that_takes_half_a_write_and_is_full_refuses_and_recovers() {
    writes_fail(ENOSPC, 1);
}

#[test]
fn f07_a_disk_that_fails_to_write_refuses_and_recovers() {
    writes_fail(EIO, 0);
}

/// The disk fails again and again under traffic; then kill -9.
fn disk_fails_under_load(rounds: usize) {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut report = Report::of("F06 F07 full and failing disk", SYNC, seed);
    let place = Place::new(SYNC, "").on_test_disk(false);
    let mut running = place.start().unwrap();
    let mut traffic = Traffic::begin(seed, &running, 4, NOTHING_LOST);
    for _ in 0..rounds {
        // Longer than the broker takes to look at the disk again.
        std::thread::sleep(Duration::from_millis(600 + chance.below(1000) as u64));
        place.set(Control::ShortWrites, chance.below(2) as i64);
        place.set(Control::WriteErrno, [ENOSPC, EIO][chance.below(2)]);
        std::thread::sleep(Duration::from_millis(chance.below(300) as u64));
        place.set(Control::WriteErrno, 0);
        report.cycles += 1;
        if running.has_ended() {
            report.wrong.push(format!("it ended by itself: {:?}", running.wait(Duration::ZERO)));
            break;
        }
    }
    if place.control(Control::WritesFailed) == 0 {
        report.wrong.push("no write has failed".into());
    }
    std::thread::sleep(Duration::from_millis(chance.below(3000) as u64));
    running.kill();
    traffic.ledger.crashes.push(Instant::now());
    let mut running = place.start().unwrap_or_else(|ended| panic!("it does not start again: {ended:?}, seed {seed}"));
    traffic.world.moved(Some(running.addr("mqtt")));
    traffic.end(Some(&mut running), NOTHING_LOST, &mut report);
    println!("{}", report.line());
    report.assert_kept();
}

#[test]
fn f06_f07_under_load() {
    disk_fails_under_load(6);
}

#[test]
#[ignore = "long: make torture"]
fn f06_f07_under_load_long() {
    disk_fails_under_load(80);
}

/// A sync that failed is never tried again: the process ends, and what it acknowledged is there without that sync.
fn sync_fails(rounds: usize) {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut report = Report::of("F08 failing sync", SYNC, seed);
    let place = Place::new(SYNC, "").on_test_disk(true);
    let mut disk = Disk::of(&place.data());
    let mut running = place.start().unwrap();
    let mut traffic = Traffic::begin(seed, &running, 4, NOTHING_LOST);
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(50 + chance.below(400) as u64));
        place.set(Control::SyncErrno, EIO);
        let ended = running.wait(Duration::from_secs(20));
        place.set(Control::SyncErrno, 0);
        if ended.code.is_some() || place.control(Control::SyncsFailed) == 0 {
            report.wrong.push(format!("it must abort: {ended:?}"));
        }
        traffic.ledger.crashes.push(Instant::now());
        traffic.world.moved(None);
        report.cycles += 1;
        disk.replay(&std::fs::read(place.path("trace")).unwrap());
        restore(&place.data(), &disk.durable());
        disk = Disk::of(&place.data());
        place.boot_again(round);
        running = place.start().unwrap_or_else(|ended| panic!("it does not start again: {ended:?}, seed {seed}"));
        traffic.world.moved(Some(running.addr("mqtt")));
    }
    traffic.end(Some(&mut running), NOTHING_LOST, &mut report);
    println!("{}", report.line());
    report.assert_kept();
}

#[test]
fn f08_a_failed_sync_ends_the_process_and_loses_nothing() {
    sync_fails(3);
}

#[test]
#[ignore = "long: make torture"]
fn f08_long() {
    sync_fails(40);
}

#[test]
fn f09_a_slow_disk_slows_only_what_needs_it() {
    let place = Place::new(SYNC, "").on_test_disk(false);
    let running = place.start().unwrap();
    absent(&running, "absent", "kept/#");
    let mut clean = Clean::new(&running);
    let mut publisher = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "five")).unwrap();
    let sync = Duration::from_millis(200);
    place.set(Control::SyncDelayUs, sync.as_micros() as i64);
    let mut slowest = Duration::ZERO;
    for id in 1..=10u16 {
        let begun = Instant::now();
        publisher.publish(&Publication::new("kept/a", "x").qos(1, id)).unwrap();
        let round_trips: Vec<Duration> = (0..10).map(|_| clean.round_trip()).collect();
        let Ok(Some(Packet::Ack(ack))) = publisher.next(Duration::from_secs(5)) else { panic!("no acknowledgement") };
        assert_eq!((ack.id, ack.code), (id, 0));
        assert!(begun.elapsed() >= sync, "it was acknowledged before it was synced");
        // The machine stops everybody now and then; the disk would stop all ten.
        slowest = slowest.max(round_trips.into_iter().min().unwrap_or_default());
    }
    assert!(slowest < sync / 2, "a message for clean sessions took {slowest:?}");
}

#[test]
fn f20_a_wall_clock_that_jumps_ends_nothing() {
    let seed = seed();
    let mut chance = Chance::new(seed);
    let mut report = Report::of("F20 clock jumps", SYNC, seed);
    let place = Place::new(SYNC, "").on_test_disk(false);
    let mut running = place.start().unwrap();
    let mut traffic = Traffic::begin(seed, &running, 4, NOTHING_LOST);
    for _ in 0..10 {
        // Sessions here last ten minutes.
        place.set(Control::ClockOffsetS, [0, 3600, 365 * 86_400][chance.below(3)]);
        std::thread::sleep(Duration::from_millis(150));
    }
    place.set(Control::ClockOffsetS, 0);
    running.kill();
    traffic.ledger.crashes.push(Instant::now());
    report.cycles = 1;
    running = place.start().unwrap();
    traffic.world.moved(Some(running.addr("mqtt")));
    traffic.end(Some(&mut running), NOTHING_LOST, &mut report);
    println!("{}", report.line());
    report.assert_kept();
}
