//! Nothing acknowledged is lost: the real program on real files, killed, cut off from power, out of space, and damaged.
//!
//! A ledger is kept by everybody ([`ledger`]): publishers write down what they mean to publish and what was acknowledged, subscribers
//! what they got. When the last fault is over everything is resumed and drained, and the two must agree. Every run prints one
//! line of JSON with its seed; `DURABILITY_SEED=7 cargo test --test durability` makes the same decisions again.
//!
//! `make torture` runs the long ones.

#[path = "../simulation/chance.rs"]
mod chance;
#[path = "../support/mod.rs"]
mod support;

mod damage;
mod disk;
mod failing;
mod keepers;
mod ledger;
mod levels;
mod link;
mod long;
mod mourners;
mod process;
mod publisher;
mod run;
mod shim;
mod subscriber;
mod world;

use std::time::Duration;

use ledger::Promise;
use process::{Control, Place, Program};
use run::{Fault, Plan, Traffic, run, seed};

/// What the runs with a store use.
const SYNC: Program = Program::Herald("sync");

const OS: Program = Program::Herald("os");

#[test]
fn a_store_in_memory_is_found_out_by_the_ledger() {
    let report = run(Plan::new("kill", Program::Herald("memory"), Fault::Kill, 3));
    assert!(report.lost > 0, "what memory held is gone after a kill, and the ledger must say so: {}", report.line());
}

#[test]
#[ignore = "long: make torture; needs mosquitto"]
fn mosquitto_is_found_out_by_the_ledger() {
    let report = run(Plan::new("kill", Program::Mosquitto, Fault::Kill, 10));
    assert!(report.lost > 0, "{}", report.line());
}

#[test]
fn f01_killed_at_random_moments() {
    run(Plan::new("F01 kill -9", SYNC, Fault::Kill, 20)).assert_kept();
}

#[test]
#[ignore = "long: make torture"]
fn f01_long() {
    run(Plan::new("F01 kill -9", SYNC, Fault::Kill, 200)).assert_kept();
}

#[test]
fn f01_killed_where_acknowledgements_do_not_wait_for_the_disk_itself() {
    run(Plan::new("F01 kill -9", OS, Fault::Kill, 8)).assert_kept();
}

#[test]
fn f02_killed_at_each_step_of_a_commit() {
    let steps = &heraldmq::store::rocks::fail_point::ALL;
    run(Plan::new("F02 fail points", SYNC, Fault::FailPoints(steps), 2 * steps.len() + 1)).assert_kept();
}

#[test]
#[ignore = "long: make torture"]
fn f02_long() {
    let steps = &heraldmq::store::rocks::fail_point::ALL;
    run(Plan::new("F02 fail points", SYNC, Fault::FailPoints(steps), 20 * steps.len() + 1)).assert_kept();
}

#[test]
fn f03_power_is_cut() {
    run(Plan::new("F03 power loss", SYNC, Fault::PowerLoss, 15)).assert_kept();
}

#[test]
#[ignore = "long: make torture"]
fn f03_long() {
    run(Plan::new("F03 power loss", SYNC, Fault::PowerLoss, 150)).assert_kept();
}

#[test]
fn f04_power_is_cut_in_the_middle_of_writes() {
    run(Plan::new("F04 torn writes", SYNC, Fault::TornWrites, 15)).assert_kept();
}

#[test]
#[ignore = "long: make torture"]
fn f04_long() {
    run(Plan::new("F04 torn writes", SYNC, Fault::TornWrites, 150)).assert_kept();
}

/// The log is synced every 100 ms; the rest is for the clock of the test and a busy machine.
const OS_LOSS: Duration = Duration::from_secs(3);

#[test]
fn f03_where_the_disk_is_not_waited_for_the_last_moments_are_lost_at_most() {
    let plan = Plan::new("F03 power loss", OS, Fault::PowerLoss, 4);
    // What is lost may be a session that was just made, so a life is longer than what may be lost.
    run(Plan { life_ms: (3500, 4500), promise: Promise { loss: Some(OS_LOSS) }, ..plan }).assert_kept();
}

#[test]
fn f03_a_store_in_memory_loses_power_like_a_kill() {
    let report = run(Plan::new("power loss", Program::Herald("memory"), Fault::PowerLoss, 2));
    assert!(report.lost > 0, "{}", report.line());
}

#[test]
fn f25_told_to_end_under_load() {
    run(Plan::new("F25 SIGTERM", SYNC, Fault::Stop, 5)).assert_kept();
}

#[test]
#[ignore = "long: make torture"]
fn f25_long() {
    run(Plan::new("F25 SIGTERM", SYNC, Fault::Stop, 50)).assert_kept();
}

/// The disk library sees every change the program makes, or a power cut that it simulates would be kinder than a real one.
#[test]
fn what_the_program_writes_is_recorded_without_a_gap() {
    let place = Place::new(SYNC, "").on_test_disk(true);
    let mut disk = disk::Disk::of(&place.data());
    let mut running = place.start().unwrap();
    let seed = seed();
    let traffic = Traffic::begin(seed, &running, 2, Promise { loss: None });
    std::thread::sleep(Duration::from_millis(700));
    traffic.world.end();
    assert_eq!(running.stop().code, Some(0));
    disk.replay(&std::fs::read(place.path("trace")).unwrap());
    assert!(disk.records > 100 && place.control(Control::Syncs) as u64 == disk.syncs && disk.syncs > 10);
    // RocksDB's own text log goes past the library.
    let but_for_text = |image: disk::Image| image.into_iter().filter(|(name, _)| !name.starts_with("LOG")).collect();
    let (recorded, real): (disk::Image, disk::Image) =
        (but_for_text(disk.live()), but_for_text(disk::image(&place.data())));
    let differs: Vec<&String> =
        recorded.keys().chain(real.keys()).filter(|name| recorded.get(*name) != real.get(*name)).collect();
    assert!(differs.is_empty(), "not as recorded: {differs:?}");
}
