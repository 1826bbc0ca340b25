//! What clients cost that only are there: memory, and CPU for coming, subscribing and pinging. Each round starts the
//! broker anew.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::load::Load;
use super::measured::{Metric, Outcome};

/// For the broker to give back what it needed only in passing.
const REST: Duration = Duration::from_millis(1500);
const CONNECTS_AT_ONCE: usize = 20;
/// Connected before anything is measured, so that what is allocated once is not counted.
const FIRST: usize = 20;

pub const MEMORY: &str = "bytes/connection";
pub const CONNECT: &str = "CPU µs/connect";
pub const SUBSCRIBE: &str = "CPU µs/subscribe";
pub const PING: &str = "CPU µs/ping";
const NAMES: [&str; 4] = [MEMORY, CONNECT, SUBSCRIBE, PING];

/// Runs the scenario with `count` clients on all contestants, taking turns.
pub fn run(count: usize, tls: bool, contestants: &[Contestant], stage: (&Plan, &Workshop)) -> Vec<Outcome> {
    let count = count / stage.0.connections_divided_by;
    let taking_part: Vec<&Contestant> = contestants.iter().filter(|one| !tls || one.has_tls()).collect();
    let mut rounds: Vec<Result<Vec<[f64; 4]>>> = taking_part.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..stage.0.connection_rounds {
        for (contestant, so_far) in taking_part.iter().zip(&mut rounds) {
            let Ok(done) = so_far else { continue };
            match round(count, tls, contestant, stage) {
                Ok(round) => done.push(round),
                Err(error) => *so_far = Err(error),
            }
        }
    }
    taking_part
        .iter()
        .zip(rounds)
        .map(|(contestant, rounds)| Outcome {
            broker: contestant.name.clone(),
            metrics: rounds.map(|rounds| metrics(&rounds)).map_err(|error| format!("{error:#}")),
        })
        .collect()
}

fn metrics(rounds: &[[f64; 4]]) -> Vec<Metric> {
    let one = |(i, name)| Metric { name, rounds: rounds.iter().map(|round| round[i]).collect() };
    NAMES.into_iter().enumerate().map(one).collect()
}

/// In the order of [`NAMES`].
fn round(count: usize, tls: bool, contestant: &Contestant, (plan, workshop): (&Plan, &Workshop)) -> Result<[f64; 4]> {
    let broker = Broker::start(contestant, workshop, plan.load_core)?;
    let target = broker.target(tls)?;
    let mut load = Load::new()?;
    load.connect(&target, FIRST, 1)?;
    let filters: Vec<String> = (0..count + FIRST).map(|i| format!("bench/{i}/state")).collect();
    load.subscribe(0..FIRST, &filters, 1)?;
    thread::sleep(REST);

    let memory = broker.resident()?.context("the process is not known")?;
    let per_client = |broker: &Broker, before: u64| -> Result<f64> {
        thread::sleep(Duration::from_millis(5));
        let after = broker.cpu_ns()?.context("the process is not known")?;
        Ok((after - before) as f64 / 1000.0 / count as f64)
    };
    let cpu = |broker: &Broker| broker.cpu_ns()?.context("the process is not known");
    let before = cpu(&broker)?;
    load.connect(&target, count, CONNECTS_AT_ONCE)?;
    let connect = per_client(&broker, before)?;
    let before = cpu(&broker)?;
    load.subscribe(FIRST..FIRST + count, &filters[FIRST..], 1)?;
    let subscribe = per_client(&broker, before)?;
    let before = cpu(&broker)?;
    load.ping(count)?;
    let ping = per_client(&broker, before)?;

    thread::sleep(REST);
    let grown = broker.resident()?.context("the process is not known")?.saturating_sub(memory);
    Ok([grown as f64 / count as f64, connect, subscribe, ping])
}
