//! Messages through brokers that take turns: all stand ready with all clients connected, and each gets a slice of the time,
//! round after round, so that whatever else the machine does falls on all of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::load::{Load, PATIENCE};
use super::measured::{Metric, Outcome, quantile};
use super::process::Syscalls;
use super::scenario::{Pace, Traffic};

const CONNECTS_AT_ONCE: usize = 50;
/// Above so many undelivered ones no more are published, whatever the rate.
const UNDELIVERED_MAX: u64 = 20_000;
const PUBLISHERS_WAIT: Duration = Duration::from_millis(50);
/// For the broker to read the last acknowledgements before its time is taken.
const SETTLE: Duration = Duration::from_millis(2);

pub const CPU: &str = "CPU µs/message";
pub const RATE: &str = "messages/s";
pub const P50: &str = "p50 µs";
pub const P99: &str = "p99 µs";
pub const LOST: &str = "lost";
pub const USER: &str = "user %";
pub const SYSCALLS: &str = "syscalls/message";

/// One broker with its clients, and what they measured so far.
struct Stand {
    broker: Broker,
    stream: Stream,
    slices: Vec<Slice>,
    /// User and system time when counting began.
    ticks_before: Option<(u64, u64)>,
    /// Of one message, as the first slice showed.
    syscalls: Option<f64>,
}

/// What one slice of time gave.
struct Slice {
    cpu_ns: Option<u64>,
    delivered: u64,
    lost: u64,
    seconds: f64,
    p50_ns: f64,
    p99_ns: f64,
}

/// Runs the scenario on all contestants, taking turns.
pub fn run(traffic: &Traffic, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let taking_part: Vec<&Contestant> = contestants.iter().filter(|one| !traffic.tls || one.has_tls()).collect();
    let mut stands: Vec<Result<Stand>> =
        taking_part.iter().map(|contestant| Stand::new(traffic, contestant, plan, workshop)).collect();
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
        .zip(taking_part)
        .map(|(stand, contestant)| Outcome {
            broker: contestant.name.clone(),
            metrics: stand.and_then(Stand::metrics).map_err(|error| format!("{error:#}")),
        })
        .collect()
}

impl Stand {
    fn new(traffic: &Traffic, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<Stand> {
        let broker = Broker::start(contestant, workshop, plan.load_core)?;
        let mut load = Load::new()?;
        load.connect(&broker.target(traffic.tls)?, traffic.subscribers + traffic.publishers, CONNECTS_AT_ONCE)?;
        let topics: Vec<String> = (0..traffic.topics).map(|i| format!("bench/{i}/state")).collect();
        load.subscribe(0..traffic.subscribers, &topics, traffic.qos)?;
        let fan = (traffic.subscribers / traffic.topics) as u64;
        let payload = vec![0; traffic.payload];
        let stream = Stream { load, traffic: traffic.clone(), topics, payload, fan, published: 0, random: Random(1) };
        Ok(Stand { broker, stream, slices: Vec::new(), ticks_before: None, syscalls: None })
    }

    fn warm_up(&mut self, length: Duration, watched: bool) -> Result<()> {
        let syscalls = if watched { self.broker.count_syscalls() } else { None };
        let slice = self.slice(length)?;
        self.syscalls = syscalls.and_then(Syscalls::finish).map(|syscalls| syscalls as f64 / slice.delivered as f64);
        self.ticks_before = self.broker.user_and_system()?;
        Ok(())
    }

    fn measure(&mut self, length: Duration) -> Result<()> {
        let slice = self.slice(length)?;
        self.slices.push(slice);
        Ok(())
    }

    fn slice(&mut self, length: Duration) -> Result<Slice> {
        let cpu_before = self.broker.cpu_ns()?;
        let before = self.stream.load.seen.publish;
        let started = Instant::now();
        match self.stream.traffic.pace {
            Pace::Outstanding(deliveries) => self.stream.with_outstanding(deliveries, started + length)?,
            Pace::PerSecond(rate) => self.stream.at_rate(f64::from(rate), length)?,
        }
        let lost = self.stream.drain()?;
        let seconds = started.elapsed().as_secs_f64();
        std::thread::sleep(SETTLE);
        let cpu_after = self.broker.cpu_ns()?;
        let mut latencies = std::mem::take(&mut self.stream.load.seen.latencies);
        let delivered = self.stream.load.seen.publish - before;
        ensure!(delivered > 0, "nothing was delivered");
        Ok(Slice {
            cpu_ns: cpu_before.zip(cpu_after).map(|(before, after)| after - before),
            delivered,
            lost,
            seconds,
            p50_ns: quantile(&mut latencies, 0.5),
            p99_ns: quantile(&mut latencies, 0.99),
        })
    }

    fn metrics(self) -> Result<Vec<Metric>> {
        let of = |name, value: fn(&Slice) -> f64| Metric { name, rounds: self.slices.iter().map(value).collect() };
        let user = match self.ticks_before.zip(self.broker.user_and_system()?) {
            Some(((user, system), (user_after, system_after))) => {
                let (user, system) = (user_after - user, system_after - system);
                100.0 * user as f64 / (user + system) as f64
            }
            None => f64::NAN,
        };
        Ok(vec![
            of(CPU, |slice| slice.cpu_ns.map_or(f64::NAN, |ns| ns as f64 / 1000.0 / slice.delivered as f64)),
            Metric { name: USER, rounds: vec![user] },
            Metric { name: SYSCALLS, rounds: vec![self.syscalls.unwrap_or(f64::NAN)] },
            of(RATE, |slice| slice.delivered as f64 / slice.seconds),
            of(P50, |slice| slice.p50_ns / 1000.0),
            of(P99, |slice| slice.p99_ns / 1000.0),
            of(LOST, |slice| slice.lost as f64),
        ])
    }
}

/// The messages of one broker's clients: who publishes which one when.
struct Stream {
    load: Load,
    traffic: Traffic,
    topics: Vec<String>,
    payload: Vec<u8>,
    /// Subscribers of each topic.
    fan: u64,
    published: u64,
    random: Random,
}

impl Stream {
    /// Publishes to a topic by chance: by its own publisher where there are as many, else they take turns.
    fn publish(&mut self, stamp: u64) {
        let topic = self.random.below(self.topics.len());
        let publisher = if self.traffic.publishers == self.topics.len() {
            topic
        } else {
            self.published as usize % self.traffic.publishers
        };
        self.published += 1;
        let client = self.traffic.subscribers + publisher;
        self.load.publish(client, self.traffic.qos, &self.topics[topic], &mut self.payload, stamp);
    }

    /// Keeps so many deliveries outstanding until the time is over, or nothing comes any more.
    fn with_outstanding(&mut self, deliveries: u64, until: Instant) -> Result<()> {
        let mut due = self.load.seen.publish;
        while Instant::now() < until {
            let stamp = self.load.now();
            while due + self.fan <= self.load.seen.publish + deliveries {
                self.publish(stamp);
                due += self.fan;
            }
            if !self.load.turn_patiently()? {
                break;
            }
        }
        Ok(())
    }

    /// Publishes at the rate, at moments by chance, whether or not the broker keeps up. A message's latency counts from the
    /// moment it was due. Waits by asking again and again: a timer would be late.
    fn at_rate(&mut self, rate: f64, length: Duration) -> Result<()> {
        let before = (self.published, self.load.seen.publish);
        let mut due = self.load.now();
        let until = due + length.as_nanos() as u64;
        while due < until {
            let undelivered = (self.published - before.0) * self.fan - (self.load.seen.publish - before.1);
            while due <= self.load.now() && undelivered < UNDELIVERED_MAX {
                self.publish(due);
                due += (self.random.exponential() * 1e9 / rate) as u64;
            }
            self.load.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Waits for what was published to arrive and be acknowledged. Returns how many deliveries did not come.
    fn drain(&mut self) -> Result<u64> {
        let acknowledged = if self.traffic.qos > 0 { self.published } else { 0 };
        let until = Instant::now() + 5 * PATIENCE;
        while Instant::now() < until {
            let missing = (self.published * self.fan).saturating_sub(self.load.seen.publish);
            if missing == 0 && self.load.seen.puback >= acknowledged {
                return Ok(0);
            }
            if !self.load.turn_patiently()? {
                break;
            }
        }
        let missing = (self.published * self.fan).saturating_sub(self.load.seen.publish);
        self.load.turn(PUBLISHERS_WAIT)?;
        // Given up: from here on they are not waited for again.
        self.published = self.load.seen.publish / self.fan;
        self.load.seen.puback = if self.traffic.qos > 0 { self.published } else { 0 };
        Ok(missing)
    }
}

/// Numbers by chance, the same in each run: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    /// Exponentially distributed, of mean 1.
    fn exponential(&mut self) -> f64 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }
}
