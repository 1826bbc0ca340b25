//! Very many of each: what one costs in the memory of the real program, that the next one is refused where the limit is,
//! and that the memory is given back when they have gone.
//!
//! An ordinary run takes a hundred thousand of each or fewer, `make scale` a million.
//! The figures it prints are in `src/docs/operating.md`.

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod cost;
mod crowd;

use std::time::{Duration, Instant};

use support::broker::Broker;

const MIB: f64 = 1024.0 * 1024.0;

/// The allocator gives back what was freed within ten seconds or so; the deadline of a client that has gone is forgotten when it
/// comes, after one and a half Keep Alives of a minute.
const GIVEN_BACK: Duration = Duration::from_secs(120);

/// Memory of the broker, bytes.
fn resident(broker: &Broker) -> f64 {
    broker.metric("process_resident_memory_bytes")
}

/// Waits until the broker has no more than `bytes` resident, or for as long as it may take.
fn settled(broker: &Broker, bytes: f64) -> f64 {
    let deadline = Instant::now() + GIVEN_BACK;
    loop {
        let now = resident(broker);
        if now <= bytes || Instant::now() > deadline {
            return now;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Says what one costs, and fails where it is more than it may be.
#[track_caller]
fn report(what: &str, count: usize, grown: f64, bytes_max: f64) {
    let each = grown / count as f64;
    println!("{{\"what\":\"{what}\",\"count\":{count},\"bytes_each\":{each:.0},\"bytes_max\":{bytes_max:.0}}}");
    assert!(each <= bytes_max, "{each:.0} bytes for one of {count}: {what}");
}
