//! The table that is printed, and the same numbers as JSON.

use std::fs;
use std::path::Path;

use anyhow::Result;
use heraldmq::bench::process;
use serde_json::{Value, json};

use super::Plan;
use super::broker::{Contestant, Kind};
use super::measured::{Metric, Outcome};
use super::scenario::{Aim, Scenario, Unit};

/// The contestants everything is divided by.
pub const RELAY: &str = "null";
pub const MOSQUITTO: &str = "mosquitto";
const PEERS: [&str; 2] = ["rumqttd", "aedes"];
pub const MEMORY_MODE: &str = "heraldmq memory";

/// What stands above all tables: machine, contestants, and how it was measured.
pub fn heading(contestants: &[Contestant], plan: &Plan) {
    println!("{}; brokers take turns, each with one thread for its clients.", machine(plan));
    println!("Values: median of the rounds (smallest). Ratios: median of the ratios within a round.");
    for contestant in contestants {
        println!("  {:<12} {}", contestant.name, contestant.version);
    }
}

/// Where it was measured, and how busy it was there when it began.
pub fn machine(plan: &Plan) -> String {
    let (kernel, cores, load) = process::machine();
    let placed = match plan.load_core {
        Some(core) => format!("brokers on core {}, load on core {core}", super::broker::SERVER_CORE),
        None => "one core for brokers and load alike: CPU counts, rates and latencies do not".to_owned(),
    };
    format!("Linux {kernel}, {cores} cores, load average {load}; {placed}")
}

/// One scenario's table.
pub fn table(scenario: &Scenario, outcomes: &[Outcome]) {
    println!("\n{}  [{}]", scenario.title, scenario.key);
    let names: Vec<&str> = outcomes
        .iter()
        .find_map(|outcome| outcome.metrics.as_ref().ok())
        .map_or(Vec::new(), |metrics| metrics.iter().map(|metric| metric.name).collect());
    let mut line = format!("  {:<16}", "");
    for name in &names {
        line += &format!("{name:>21}");
    }
    let bases = scenario.bases();
    println!("{line}{:>20}{:>12}", format!("x {}", bases[0]), format!("x {}", bases[1]));
    for outcome in outcomes {
        match &outcome.metrics {
            Err(error) => println!("  {:<12} FAILED: {}", outcome.broker, error.replace('\n', " ")),
            Ok(metrics) => println!("{}", row(outcome, metrics, (outcomes, bases))),
        }
    }
    let is_other = |broker: &str| [RELAY, MOSQUITTO].contains(&broker) || PEERS.contains(&broker);
    for outcome in outcomes.iter().filter(|outcome| !is_other(&outcome.broker)) {
        for aim in scenario.aims {
            if let Some(reached) = reached(aim, outcome, outcomes).filter(|value| !value.is_nan()) {
                let floor = outcomes.iter().find(|other| other.broker == RELAY);
                let floor = floor.and_then(|floor| self::reached(aim, floor, outcomes));
                println!("{}", verdict(aim, &outcome.broker, reached, floor));
            }
        }
    }
}

/// A broker's line; the ratios are of its first metric.
fn row(outcome: &Outcome, metrics: &[Metric], (outcomes, bases): (&[Outcome], [&str; 2])) -> String {
    let mut line = format!("  {:<16}", outcome.broker);
    for metric in metrics {
        let cell = match metric.rounds.len() {
            0 | 1 => number(metric.median()),
            _ => format!("{} ({})", number(metric.median()), number(metric.min())),
        };
        line += &format!("{cell:>21}");
    }
    for (of, width) in bases.into_iter().zip([20, 12]) {
        let ratio = metrics.first().and_then(|metric| ratio(metric, of, outcomes));
        line += &format!("{:>width$}", ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
    }
    line
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn ratio(metric: &Metric, of: &str, outcomes: &[Outcome]) -> Option<f64> {
    let other = outcomes.iter().find(|outcome| outcome.broker == of)?.metric(metric.name)?;
    Some(metric.ratio(other))
}

/// What the aim's metric is, in the aim's unit.
fn reached(aim: &Aim, outcome: &Outcome, outcomes: &[Outcome]) -> Option<f64> {
    let metric = outcome.metric(aim.metric)?;
    match aim.unit {
        Unit::One => Some(metric.median()),
        Unit::Relay => ratio(metric, RELAY, outcomes),
        Unit::Mosquitto => ratio(metric, MOSQUITTO, outcomes),
        Unit::MemoryMode => ratio(metric, MEMORY_MODE, outcomes),
    }
}

/// The aim, and what became of it. Where not even the relay reaches it, that is said: the brokers compared then differ from
/// those the aim was set by.
fn verdict(aim: &Aim, broker: &str, reached: f64, floor: Option<f64>) -> String {
    let (unit, shown) = match aim.unit {
        Unit::One => ("", number(reached)),
        Unit::Relay => (" x null", format!("{reached:.2}")),
        Unit::Mosquitto => (" x mosquitto", format!("{reached:.2}")),
        Unit::MemoryMode => (" x memory", format!("{reached:.2}")),
    };
    let word = if reached <= aim.at_most { "met" } else { "missed" };
    let floor = match floor {
        Some(floor) if aim.unit != Unit::Relay && floor > aim.at_most => format!(" (null itself {floor:.2})"),
        _ => String::new(),
    };
    format!("    {broker}: {} {shown}{unit}, aim {}: {word}{floor}", aim.metric, aim.at_most)
}

/// Writes the scenario's numbers to `KEY.json` in the directory.
pub fn write(scenario: &Scenario, outcomes: &[Outcome], contestants: &[Contestant], directory: &Path) -> Result<()> {
    let (kernel, cores, load) = process::machine();
    let brokers: Vec<Value> =
        outcomes.iter().map(|outcome| broker(outcome, (outcomes, scenario.bases()), contestants)).collect();
    let aims: Vec<Value> = scenario
        .aims
        .iter()
        .map(|aim| {
            let unit = match aim.unit {
                Unit::One => "",
                Unit::Relay => RELAY,
                Unit::Mosquitto => MOSQUITTO,
                Unit::MemoryMode => MEMORY_MODE,
            };
            json!({ "metric": aim.metric, "at_most": aim.at_most, "times": unit })
        })
        .collect();
    let all = json!({
        "scenario": scenario.key, "title": scenario.title, "kernel": kernel, "cores": cores,
        "load_average": load, "aims": aims,
        "brokers": brokers,
    });
    fs::create_dir_all(directory)?;
    fs::write(directory.join(format!("{}.json", scenario.key)), serde_json::to_string_pretty(&all)?)?;
    Ok(())
}

fn broker(outcome: &Outcome, (outcomes, bases): (&[Outcome], [&str; 2]), contestants: &[Contestant]) -> Value {
    let contestant = contestants.iter().find(|contestant| contestant.name == outcome.broker);
    let version = contestant.map_or("", |contestant| contestant.version.as_str());
    let started_here = contestant.is_some_and(|contestant| !matches!(contestant.kind, Kind::Running(..)));
    let head = json!({ "name": outcome.broker, "version": version, "started_here": started_here });
    let metrics = match &outcome.metrics {
        Err(error) => json!({ "error": error }),
        Ok(metrics) => metrics
            .iter()
            .map(|metric| {
                let value = json!({
                    "median": metric.median(), "min": metric.min(), "rounds": metric.rounds,
                    "times": bases.map(|of| json!({ "of": of, "ratio": ratio(metric, of, outcomes) })),
                });
                (metric.name.to_owned(), value)
            })
            .collect(),
    };
    json!({ "broker": head, "metrics": metrics })
}
