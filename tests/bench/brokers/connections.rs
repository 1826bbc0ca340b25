//! What clients cost that only are there: memory, and CPU for coming, subscribing and pinging. Each round starts the
//! broker anew.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use heraldmq::bench::load::Load;

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::measured::{Metric, Outcome};
use super::scenario::Layers;
use super::traffic::kin;

/// For the broker to give back what it needed only in passing.
const REST: Duration = Duration::from_millis(1500);
/// Connected before anything is measured, so that what is allocated once is not counted.
const FIRST: usize = 20;

pub const MEMORY: &str = "bytes/connection";
pub const CONNECT: &str = "CPU µs/connect";
pub const CONNECTS: &str = "connects/s";
pub const SUBSCRIBE: &str = "CPU µs/subscribe";
pub const PING: &str = "CPU µs/ping";
const NAMES: [&str; 5] = [CONNECT, CONNECTS, SUBSCRIBE, PING, MEMORY];

/// Clients that come and stay.
#[derive(Clone, Copy)]
pub struct Arrivals {
    pub count: usize,
    /// How many are connecting at one time.
    pub at_once: usize,
    pub layers: Layers,
}

/// Runs the scenario on all contestants, taking turns.
pub fn run(arrivals: Arrivals, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let arrivals = Arrivals { count: arrivals.count / plan.connections_divided_by, ..arrivals };
    let mut rounds: Vec<Result<Vec<[f64; 5]>>> = contestants.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..plan.connection_rounds {
        for (contestant, so_far) in contestants.iter().zip(&mut rounds) {
            let Ok(done) = so_far else { continue };
            match round(arrivals, contestant, plan, workshop) {
                Ok(round) => done.push(round),
                Err(error) => *so_far = Err(error),
            }
        }
    }
    contestants
        .iter()
        .zip(rounds)
        .map(|(contestant, rounds)| Outcome {
            broker: contestant.name.clone(),
            metrics: rounds.map(|rounds| metrics(&rounds)).map_err(|error| format!("{error:#}")),
        })
        .collect()
}

fn metrics(rounds: &[[f64; 5]]) -> Vec<Metric> {
    let one = |(i, name)| Metric { name, rounds: rounds.iter().map(|round| round[i]).collect() };
    NAMES.into_iter().enumerate().map(one).collect()
}

/// In the order of [`NAMES`].
fn round(arrivals: Arrivals, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<[f64; 5]> {
    let count = arrivals.count;
    let broker = Broker::start(contestant, workshop, plan.load_core)?;
    let mut kin = kin(&broker, arrivals.layers)?;
    let mut load = Load::new()?;
    kin.name = "first".to_owned();
    load.connect(&kin, FIRST, 1)?;
    let filters: Vec<String> = (0..count + FIRST).map(|i| format!("bench/{i}/state")).collect();
    load.subscribe(0..FIRST, &filters, 1)?;
    thread::sleep(REST);

    let memory = broker.resident()?;
    let per_client = |before: u64| -> Result<f64> {
        thread::sleep(Duration::from_millis(5));
        Ok((broker.cpu_ns()? - before) as f64 / 1000.0 / count as f64)
    };
    let (before, started) = (broker.cpu_ns()?, Instant::now());
    kin.name = "load".to_owned();
    load.connect(&kin, count, arrivals.at_once)?;
    let per_second = count as f64 / started.elapsed().as_secs_f64();
    let connect = per_client(before)?;
    let before = broker.cpu_ns()?;
    load.subscribe(FIRST..FIRST + count, &filters[FIRST..], 1)?;
    let subscribe = per_client(before)?;
    let before = broker.cpu_ns()?;
    load.ping(count)?;
    let ping = per_client(before)?;

    thread::sleep(REST);
    let grown = broker.resident()?.saturating_sub(memory);
    Ok([connect, per_second, subscribe, ping, grown as f64 / count as f64])
}
