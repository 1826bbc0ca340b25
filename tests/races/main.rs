//! What cores share, under every order of steps that a scheduler thinks of.
//!
//! The rooms `broker` and `core` and the store in memory are compiled here once more, unchanged, with the locks and atomics
//! of [`sync`] in place of `src/sync.rs`: before each of their operations another core may get its turn. Each core is a task
//! that takes turns with clients on pipes; what is true afterwards does not depend on who was first. Half of the schedules are random,
//! the others move priorities around (PCT).
//!
//! A failing schedule is printed. `RACES_SCHEDULES=100000 cargo test --test races` tries more of them.

#[expect(dead_code, reason = "not everything of a room is raced")]
#[path = "../../src/broker/mod.rs"]
mod broker;
#[expect(dead_code, unused_imports, reason = "not everything of a room is raced")]
#[path = "../../src/core/mod.rs"]
mod core;
mod store;
mod sync;

#[path = "../support/mod.rs"]
mod support;

mod early;
mod ending;
mod parting;
mod post;
mod sessions;
mod sleep;
mod steps;
mod subscriptions;

use heraldmq::{access, auth, clock, identity, message, metrics, mqtt, net, session, threshold, topic, wake};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Schedules of each kind for each race, unless `RACES_SCHEDULES` says otherwise.
const SCHEDULES: usize = 500;
/// Places where a PCT schedule takes the turn from who has it.
const DEPTH: usize = 3;

/// Runs `race` under many schedules, the same ones each time.
fn check(race: impl Fn() + Send + Sync + Copy + 'static) {
    let wanted = std::env::var("RACES_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    let mut config = Config::new();
    // A whole core works on a task's stack.
    config.stack_size = 1 << 20;
    Runner::new(RandomScheduler::new_from_seed(1, wanted), config.clone()).run(race);
    Runner::new(PctScheduler::new_from_seed(2, DEPTH, wanted), config).run(race);
}
