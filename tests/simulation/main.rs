//! A whole broker of several cores in one thread, driven turn by turn from a seed.
//!
//! The test is the kernel: it decides which core turns next, which sockets are ready, how bytes are cut, when the clock moves, when the
//! store commits, and when the process dies. Clients are models of their own with a decoder of their own; what they saw is
//! held against what was promised ([`oracle`]). A run has a phase with faults and then one without, in which everything owed must
//! arrive. A run that put no byte on a wire fails.
//!
//! `SIMULATION_SEEDS=1000 cargo test --test simulation` runs more seeds than the default; `SIMULATION_SEED=7` runs one.

#[path = "../support/mod.rs"]
mod support;

mod chance;
mod client;
mod kinds;
mod lapses;
mod oracle;
mod subscriptions;
mod world;

use world::{Faults, World};

/// Runs each seed; a failing one is named.
fn each_seed(base: u64, seeds: u64, faults: Faults) {
    let wanted = std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(seeds);
    let only: Option<u64> = std::env::var("SIMULATION_SEED").ok().and_then(|text| text.parse().ok());
    let (mut bytes, mut deliveries, mut undone) = (0, 0, 0);
    for seed in only.map_or(base..base + wanted, |seed| seed..seed + 1) {
        println!("seed {seed}, {faults:?}");
        let mut world = World::new(seed, faults);
        world.run(1500);
        world.settle();
        world.judge();
        bytes += world.bytes;
        undone += world.undone;
        deliveries += world.deliveries();
    }
    println!("{bytes} bytes, {deliveries} deliveries");
    assert!(bytes > 0 && deliveries > 0, "a simulation without a wire proves nothing");
    assert!(undone > 0 || !faults.crashes || only.is_some(), "a crash that takes nothing proves nothing");
}

#[test]
fn order_windows_and_promises_hold_on_quiet_connections() {
    each_seed(1_000, 25, Faults::default());
}

#[test]
fn they_hold_when_connections_break_and_are_taken_over() {
    each_seed(2_000, 60, Faults { breaks: true, ..Faults::default() });
}

#[test]
fn they_hold_when_the_process_dies_and_the_disk_kept_what_was_committed() {
    each_seed(3_000, 60, Faults { breaks: true, crashes: true, ..Faults::default() });
}

#[test]
fn they_hold_when_the_store_refuses_an_append_now_and_then() {
    each_seed(4_000, 40, Faults { breaks: true, refusals: true, ..Faults::default() });
}

#[test]
fn they_hold_when_time_passes_and_messages_sessions_and_wills_come_due() {
    each_seed(5_000, 60, Faults { breaks: true, lapses: true, ..Faults::default() });
}

#[test]
fn they_hold_when_time_passes_and_the_process_dies() {
    each_seed(6_000, 60, Faults { breaks: true, crashes: true, lapses: true, ..Faults::default() });
}
