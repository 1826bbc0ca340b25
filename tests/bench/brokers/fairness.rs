//! What everybody else notices of one client that is a burden: 200 subscribers and what they are sent at a rate the broker does
//! easily, without it and beside it, over and over in one process of the broker.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use heraldmq::bench::BenchError;
use heraldmq::bench::histogram::Histogram;
use heraldmq::bench::load::Kin;
use heraldmq::bench::stream::{Pace, Presence, Slice, Stream, Traffic};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::measured::{Metric, Outcome};
use super::scenario::TCP;
use super::traffic::kin;
use super::trouble::Trouble;

/// Everybody else, who keep the broker's core mostly idle.
const OTHERS: Traffic = Traffic {
    publishers: 10,
    topics: 200,
    subscribers: 200,
    presence: Presence::Clean,
    qos: 1,
    pace: Pace::PerSecond(2_000),
    payload: 64,
    bystanders: 0,
    with_a_deaf_one: false,
};
/// For the broker to get over what happened last.
const SETTLE: Duration = Duration::from_millis(300);

pub const RATIO: &str = "p99, x quiet";
const NAMES: [&str; 11] = [
    RATIO,
    "p50 quiet µs",
    "p99 quiet µs",
    "max quiet µs",
    "p50 µs",
    "p99 µs",
    "max µs",
    "core busy %",
    "its messages/s",
    "load itself p99 µs",
    "lost",
];

/// What the others measured for a while.
struct Phase {
    slice: Slice,
    /// Between two looks of the load at its sockets: what it adds to latencies by itself.
    turns: Histogram,
    /// Messages the burden moved.
    moved: u64,
}

/// Measures everybody else without and beside the trouble, broker after broker.
pub fn run(trouble: Trouble, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let trouble = match trouble {
        Trouble::Back(waiting) => Trouble::Back(waiting / plan.waiting_divided_by),
        other => other,
    };
    let outcome = |contestant: &Contestant| Outcome {
        broker: contestant.name.clone(),
        metrics: measure(trouble, contestant, plan, workshop).map_err(|error| format!("{error:#}")),
    };
    contestants.iter().map(outcome).collect()
}

fn measure(trouble: Trouble, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<Vec<Metric>> {
    let broker = Broker::start(contestant, workshop, plan.load_core)?;
    let kin = kin(&broker, TCP)?;
    let mut others = Stream::open(&kin, &OTHERS)?;
    // Warms up.
    phase(&mut others, &broker, (plan, None))?;
    let mut rounds: Vec<[f64; NAMES.len()]> = Vec::new();
    let count = if trouble.lasts().is_some() { plan.fair_rounds.div_ceil(2) } else { plan.fair_rounds };
    for _ in 0..count {
        rounds.push(round(trouble, &mut others, &broker, (plan, &kin))?);
    }
    let metric = |(i, name)| Metric { name, rounds: rounds.iter().map(|round| round[i]).collect() };
    Ok(NAMES.into_iter().enumerate().map(metric).collect())
}

/// Quiet, then troubled, in the order of [`NAMES`].
fn round(
    trouble: Trouble,
    others: &mut Stream,
    broker: &Broker,
    (plan, kin): (&Plan, &Kin),
) -> Result<[f64; NAMES.len()]> {
    trouble.prepare(kin)?;
    thread::sleep(SETTLE);
    let quiet = phase(others, broker, (plan, None))?;
    let troubled = phase(others, broker, (plan, Some(trouble)))?;
    let us = |slice: &Slice, share| slice.deliveries.quantile(share) / 1000.0;
    let (was, is) = (&quiet.slice, &troubled.slice);
    let busy = is.cpu_ns.map_or(f64::NAN, |ns| ns as f64 / 1e7 / is.seconds);
    Ok([
        us(is, 0.99) / us(was, 0.99),
        us(was, 0.5),
        us(was, 0.99),
        us(was, 1.0),
        us(is, 0.5),
        us(is, 0.99),
        us(is, 1.0),
        busy,
        troubled.moved as f64 / is.seconds,
        troubled.turns.quantile(0.99) / 1000.0,
        (was.lost + is.lost) as f64,
    ])
}

fn phase(others: &mut Stream, broker: &Broker, (plan, trouble): (&Plan, Option<Trouble>)) -> Result<Phase> {
    let length = trouble.and_then(|trouble| trouble.lasts()).unwrap_or(plan.fair_phase);
    let kin = kin(broker, TCP)?;
    let mut active = trouble.map(|trouble| trouble.begin(&kin)).transpose()?;
    let (mut turns, mut last) = (Histogram::default(), None);
    let mut beside = || -> Result<bool, BenchError> {
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            turns.add(now.duration_since(last).as_nanos() as u64);
        }
        active.as_mut().map_or(Ok(true), |active| active.step())
    };
    let slice = others.slice_beside(length, broker.pid(), &mut beside)?;
    let moved = active.map_or(0, |active| active.end());
    thread::sleep(SETTLE);
    Ok(Phase { slice, turns, moved })
}
