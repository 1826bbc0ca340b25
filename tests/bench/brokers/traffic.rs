//! Messages through brokers that take turns: all stand ready with all clients connected, and each gets a slice of the time,
//! round after round, so that whatever else the machine does falls on all of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use heraldmq::bench::load::Kin;
use heraldmq::bench::stream::{Presence, Slice, Stream, Traffic};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::measured::{Metric, Outcome};
use super::placed::Syscalls;
use super::scenario::Layers;

pub const CPU: &str = "CPU µs/message";
pub const RATE: &str = "messages/s";
pub const P50: &str = "p50 µs";
pub const P99: &str = "p99 µs";
pub const LOST: &str = "lost";
pub const USER: &str = "user %";
pub const SYSCALLS: &str = "syscalls/message";
pub const WRITTEN: &str = "written/user byte";

/// One broker with its clients, and what they measured so far.
struct Stand {
    broker: Broker,
    stream: Stream,
    traffic: Traffic,
    slices: Vec<Slice>,
    /// User and system time when counting began.
    ticks_before: Option<(u64, u64)>,
    /// Of one message, as the first slice showed.
    syscalls: Option<f64>,
}

/// Runs the scenario on all contestants, taking turns.
pub fn run(work: (&Traffic, Layers), contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let traffic = work.0;
    let mut stands: Vec<Result<Stand>> =
        contestants.iter().map(|contestant| Stand::new(work, contestant, plan, workshop)).collect();
    // The first round warms up and is not timed; it may be watched.
    for round in 0..=plan.rounds(traffic.pace) {
        let count = stands.len();
        for i in 0..count {
            // Each begins a round in turn, and none comes twice running, when its caches would be warm.
            let stand = &mut stands[(i + round) % count];
            let Ok(ready) = stand else { continue };
            let length = plan.slice(traffic.pace);
            let result = if round == 0 { ready.warm_up(length, plan.syscalls) } else { ready.measure(length) };
            if let Err(error) = result {
                *stand = Err(error);
            }
        }
    }
    stands
        .into_iter()
        .zip(contestants)
        .map(|(stand, contestant)| Outcome {
            broker: contestant.name.clone(),
            metrics: stand.and_then(Stand::metrics).map_err(|error| format!("{error:#}")),
        })
        .collect()
}

impl Stand {
    fn new(work: (&Traffic, Layers), contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<Stand> {
        let (traffic, layers) = work;
        let broker = Broker::start(contestant, workshop, plan.load_core)?;
        let stream = Stream::open(&kin(&broker, layers)?, traffic)?;
        let traffic = traffic.clone();
        Ok(Stand { broker, stream, traffic, slices: Vec::new(), ticks_before: None, syscalls: None })
    }

    fn warm_up(&mut self, length: Duration, watched: bool) -> Result<()> {
        let syscalls = if watched { self.broker.count_syscalls() } else { None };
        let slice = self.slice(length)?;
        self.syscalls = syscalls.and_then(Syscalls::finish).map(|count| count as f64 / messages(&slice));
        self.ticks_before = self.broker.user_and_system()?;
        Ok(())
    }

    fn measure(&mut self, length: Duration) -> Result<()> {
        let slice = self.slice(length)?;
        self.slices.push(slice);
        Ok(())
    }

    fn slice(&mut self, length: Duration) -> Result<Slice> {
        let slice = self.stream.slice(length, self.broker.pid())?;
        ensure!(slice.delivered + slice.acknowledged > 0, "nothing was delivered or acknowledged");
        Ok(slice)
    }

    fn metrics(self) -> Result<Vec<Metric>> {
        let of = |name, value: &dyn Fn(&Slice) -> f64| Metric { name, rounds: self.slices.iter().map(value).collect() };
        let user = match self.ticks_before.zip(self.broker.user_and_system()?) {
            Some(((user, system), (user_after, system_after))) => {
                let (user, system) = (user_after - user, system_after - system);
                100.0 * user as f64 / (user + system) as f64
            }
            None => f64::NAN,
        };
        let durable = self.traffic.presence != Presence::Clean;
        let latencies = |slice: &Slice, share| {
            if durable {
                slice.acknowledgements.quantile(share) / 1000.0
            } else {
                slice.deliveries.quantile(share) / 1000.0
            }
        };
        let bytes = self.traffic.payload as f64;
        let written = |slice: &Slice| slice.written.map_or(f64::NAN, |w| w as f64 / bytes / slice.published as f64);
        let mut metrics = vec![
            of(CPU, &|slice| slice.cpu_ns.map_or(f64::NAN, |ns| ns as f64 / 1000.0 / messages(slice))),
            Metric { name: USER, rounds: vec![user] },
            Metric { name: SYSCALLS, rounds: vec![self.syscalls.unwrap_or(f64::NAN)] },
            of(RATE, &|slice| messages(slice) / slice.seconds),
            of(P50, &|slice| latencies(slice, 0.5)),
            of(P99, &|slice| latencies(slice, 0.99)),
            of(LOST, &|slice| slice.lost as f64),
        ];
        if durable {
            metrics.push(of(WRITTEN, &written));
        }
        Ok(metrics)
    }
}

/// What is divided by: deliveries, or acknowledgements where nobody was there to get any.
fn messages(slice: &Slice) -> f64 {
    slice.delivered.max(slice.acknowledged) as f64
}

/// Clients of the broker through the layers.
pub fn kin(broker: &Broker, layers: Layers) -> Result<Kin> {
    let target = broker.target(layers.channel)?;
    let (name, keep_alive_s) = ("load".to_owned(), broker.keep_alive_s());
    Ok(Kin { target, version: layers.version, name, durable: false, keep_alive_s, login: None })
}
