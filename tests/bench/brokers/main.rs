//! What a message and a connection cost, by the CPU time and memory of the broker's process, next to a minimal relay (the
//! practical floor, `null`) and mosquitto: same machine, same clients, taking turns. Figures do not travel between machines,
//! ratios do.
//!
//! The clients are those of `heraldmq bench` (`src/bench`). `make bench` runs it; `cargo bench --bench brokers -- --help` tells what it can do.

mod broker;
mod configuration;
mod connections;
mod durable;
mod fairness;
mod growth;
mod measured;
mod placed;
mod relay;
mod report;
mod rogue;
mod scenario;
mod scenarios;
mod svg;
mod traffic;
mod trouble;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use heraldmq::bench::stream::Pace;

use broker::{Contestant, Kind, Workshop};
use measured::Outcome;
use scenario::{Scenario, Work};
use scenarios::SCENARIOS;

#[derive(Parser)]
#[command(about = "CPU per message and memory per connection of MQTT brokers, side by side")]
struct Arguments {
    /// Fewer and shorter rounds: under a minute, for a first impression
    #[arg(long)]
    quick: bool,
    /// Only scenarios whose key contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    scenario: Vec<String>,
    /// Only these of null, heraldmq, mosquitto and the peers
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// A further heraldmq to compare
    #[arg(long, value_name = "NAME=PROGRAM")]
    build: Vec<String>,
    /// A further broker that is running; with its process id its CPU and memory are read
    #[arg(long, value_name = "NAME=ADDRESS[/PID]")]
    running: Vec<String>,
    /// Where `.ci/peers` has installed further brokers; those that are there take part
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
    /// Rounds of each traffic scenario
    #[arg(long)]
    rounds: Option<usize>,
    /// Count system calls even if quick; needs `perf` and the right to use it
    #[arg(long)]
    syscalls: bool,
    /// Where to write one JSON file for each scenario
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    json: PathBuf,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// Be the relay
    #[arg(long, hide = true)]
    relay: Option<SocketAddr>,
    /// What cargo says
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured, and where.
pub struct Plan {
    quick: bool,
    rounds: Option<usize>,
    /// Whether system calls are counted, in rounds that are not timed.
    pub syscalls: bool,
    /// Rounds of each scenario of connections.
    pub connection_rounds: usize,
    /// Rounds of each scenario of absent sessions.
    pub durable_rounds: usize,
    /// How often the number of connections goes up and down.
    pub growth_rounds: usize,
    /// How often everybody else is measured without and beside a troublemaker.
    pub fair_rounds: usize,
    /// How long each of these phases is.
    pub fair_phase: Duration,
    /// How many fewer messages wait than the scenario says.
    pub waiting_divided_by: usize,
    /// How many fewer clients than the scenario says.
    pub connections_divided_by: usize,
    /// The core of the load, which is also that of this process; `None` if there is only one.
    pub load_core: Option<usize>,
}

impl Plan {
    /// How often each broker has its turn.
    pub fn rounds(&self, pace: Pace) -> usize {
        let usual = match (pace, self.quick) {
            (Pace::Outstanding(_), true) => 3,
            (Pace::Outstanding(_), false) => 10,
            (Pace::PerSecond(_), true) => 6,
            (Pace::PerSecond(_), false) => 30,
        };
        self.rounds.unwrap_or(usual)
    }

    /// How long a broker has its turn.
    pub fn slice(&self, pace: Pace) -> Duration {
        match (pace, self.quick) {
            (Pace::Outstanding(_), true) => Duration::from_millis(100),
            (Pace::Outstanding(_), false) => Duration::from_millis(300),
            (Pace::PerSecond(_), true) => Duration::from_millis(100),
            (Pace::PerSecond(_), false) => Duration::from_millis(200),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.relay {
        return relay::run(address);
    }
    let chosen = |scenario: &&Scenario| {
        arguments.scenario.is_empty() || arguments.scenario.iter().any(|text| scenario.key.contains(text.as_str()))
    };
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(chosen).collect();
    if arguments.list {
        scenarios.iter().for_each(|scenario| println!("{:<18} {}", scenario.key, scenario.title));
        return Ok(());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load_core = (cores > 1).then_some(1);
    if let Some(core) = load_core {
        placed::pin(core)?;
    }
    let plan = Plan {
        quick: arguments.quick,
        rounds: arguments.rounds,
        syscalls: arguments.syscalls || !arguments.quick,
        connection_rounds: if arguments.quick { 1 } else { 3 },
        durable_rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 5 }),
        growth_rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 5 }),
        fair_rounds: arguments.rounds.unwrap_or(if arguments.quick { 2 } else { 5 }),
        fair_phase: Duration::from_millis(if arguments.quick { 300 } else { 700 }),
        waiting_divided_by: if arguments.quick { 20 } else { 1 },
        connections_divided_by: if arguments.quick { 5 } else { 1 },
        load_core,
    };
    let contestants = contestants(&arguments)?;
    let workshop = Workshop::new()?;
    let started = Instant::now();
    report::heading(&contestants, &plan);
    let mut charts = svg::Charts::default();
    for scenario in scenarios {
        let taking_part = scenario.contestants(&contestants);
        let outcomes = run(scenario, &taking_part, &plan, &workshop);
        report::table(scenario, &outcomes);
        report::write(scenario, &outcomes, &taking_part, &arguments.json)?;
        charts.add(scenario.title, &outcomes);
    }
    std::fs::write(arguments.json.join("brokers.svg"), charts.svg(&report::machine(&plan)))?;
    println!("\n{} s; numbers and a chart in {}", started.elapsed().as_secs(), arguments.json.display());
    Ok(())
}

fn run(scenario: &Scenario, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    match &scenario.work {
        Work::Traffic(traffic, layers) => traffic::run((traffic, *layers), contestants, plan, workshop),
        Work::Connections(arrivals) => connections::run(*arrivals, contestants, plan, workshop),
        Work::Queues(absent) => durable::queues(*absent, contestants, plan, workshop),
        Work::Resume(waiting) => durable::resumes(*waiting, contestants, plan, workshop),
        Work::Growth(who) => growth::run(*who, contestants, plan, workshop),
        Work::Beside(trouble) => fairness::run(*trouble, contestants, plan, workshop),
    }
}

fn contestants(arguments: &Arguments) -> Result<Vec<Contestant>> {
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name));
    let mut all = Vec::new();
    let usual = [
        (report::RELAY, Kind::Relay),
        ("heraldmq", Kind::HeraldMq(PathBuf::from(env!("CARGO_BIN_EXE_heraldmq")))),
        (report::MOSQUITTO, Kind::Mosquitto(mosquitto())),
    ];
    for (name, kind) in usual {
        if wanted(name) {
            all.push(Contestant::new(name, kind)?);
        }
    }
    let peers = arguments.peers.iter().flat_map(|directory| {
        let (rumqttd, aedes) = (directory.join("bin/rumqttd"), directory.join("aedes.mjs"));
        [("rumqttd", Kind::Rumqttd(rumqttd.clone()), rumqttd), ("aedes", Kind::Aedes(aedes.clone()), aedes)]
    });
    for (name, kind, program) in peers {
        if program.exists() && wanted(name) {
            all.push(Contestant::new(name, kind)?);
        }
    }
    for build in &arguments.build {
        let (name, program) = build.split_once('=').context("--build NAME=PROGRAM")?;
        all.push(Contestant::new(name, Kind::HeraldMq(program.into()))?);
    }
    for running in &arguments.running {
        let (name, place) = running.split_once('=').context("--running NAME=ADDRESS[/PID]")?;
        let (address, pid) = match place.split_once('/') {
            Some((address, pid)) => (address, Some(pid.parse()?)),
            None => (place, None),
        };
        all.push(Contestant::new(name, Kind::Running(address.parse()?, pid))?);
    }
    if all.is_empty() {
        bail!("nobody to compare");
    }
    Ok(all)
}

/// Debian has it where only root's path looks.
fn mosquitto() -> PathBuf {
    let place = PathBuf::from("/usr/sbin/mosquitto");
    if place.exists() { place } else { PathBuf::from("mosquitto") }
}
