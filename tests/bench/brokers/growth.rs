//! What a message costs among more and more connections, in one process of the broker: first they only are there, then each
//! gets its share. The number goes up and down again, so that what changes with time falls on all numbers alike.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use heraldmq::bench::chance::Random;
use heraldmq::bench::load::{Kin, Load};
use heraldmq::bench::stream::{Pace, Presence, Stream, Traffic};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::measured::{Metric, Outcome};
use super::scenario::TCP;
use super::traffic::kin;

/// Who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The same few, whoever else is connected.
    AFew,
    /// All that are connected, each in its turn, by chance.
    Everybody,
}

/// Connections beside which it is measured; the last as many as descriptors allow, and this at most.
const STEPS: [usize; 4] = [100, 1_000, 10_000, 19_000];
/// Descriptors of a process that are not the connections counted above.
const RESERVED: u64 = 700;
/// The few.
const FEW: Traffic = Traffic {
    publishers: 10,
    topics: 100,
    subscribers: 100,
    presence: Presence::Clean,
    qos: 1,
    pace: Pace::Outstanding(500),
    payload: 64,
    bystanders: 0,
    with_a_deaf_one: false,
};
const PUBLISHERS: usize = 10;
/// Less than the fewest connections: a connection has at most one message at a time, however many there are.
const OUTSTANDING: u64 = 50;
const MESSAGES_MIN: usize = 20_000;
const CONNECTS_AT_ONCE: usize = 50;
/// For the broker to forget who left, and to read the last acknowledgements.
const REST: Duration = Duration::from_millis(100);
const WARM: Duration = Duration::from_millis(50);

pub const MOST: &str = "most / 100";
pub const MANY: &str = "10,000 / 100";
pub const SOME: &str = "1,000 / 100";
const NAMES: [&str; 8] =
    [MOST, MANY, SOME, "µs beside 100", "µs beside 1,000", "µs beside 10,000", "µs beside most", "most"];

/// A broker that stays, and what each way up or down measured.
type Site = (Broker, Vec<[f64; 4]>);

/// Up and down in turns, broker after broker.
pub fn run(who: Who, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let most = most();
    let start = |one| Broker::start(one, workshop, plan.load_core).map(|broker| (broker, Vec::new()));
    let mut sites: Vec<Result<Site>> = contestants.iter().map(start).collect();
    for _ in 0..plan.growth_rounds {
        for site in &mut sites {
            let Ok((broker, ways)) = site else { continue };
            match up_and_down(who, broker, plan, most) {
                Ok(both) => ways.extend(both),
                Err(error) => *site = Err(error),
            }
        }
    }
    let outcome = |(contestant, site): (&Contestant, Result<Site>)| Outcome {
        broker: contestant.name.clone(),
        metrics: site.map(|(_, ways)| metrics(&ways, most)).map_err(|error| format!("{error:#}")),
    };
    contestants.iter().zip(sites).map(outcome).collect()
}

fn metrics(ways: &[[f64; 4]], most: usize) -> Vec<Metric> {
    let all = |of: &dyn Fn(&[f64; 4]) -> f64| -> Vec<f64> { ways.iter().map(of).collect() };
    let values = [
        all(&|way| way[3] / way[0]),
        all(&|way| way[2] / way[0]),
        all(&|way| way[1] / way[0]),
        all(&|way| way[0]),
        all(&|way| way[1]),
        all(&|way| way[2]),
        all(&|way| way[3]),
        vec![most as f64],
    ];
    NAMES.into_iter().zip(values).map(|(name, rounds)| Metric { name, rounds }).collect()
}

/// Raises this process's descriptor limit, which what it starts has from it, as far as it goes. As many connections fit.
fn most() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, it stays as it was, and is asked for below.
    let _ = setrlimit(Resource::Nofile, limit);
    let fitting = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |all| all.saturating_sub(RESERVED) as usize);
    STEPS[3].min(fitting)
}

/// CPU µs for a message at each of [`STEPS`], on the way up and on the way down.
fn up_and_down(who: Who, broker: &Broker, plan: &Plan, most: usize) -> Result<[[f64; 4]; 2]> {
    let mut crowd = Crowd::new(kin(broker, TCP)?, who)?;
    let steps = [STEPS[0], STEPS[1], STEPS[2], most];
    let (mut up, mut down) = ([0.0; 4], [0.0; 4]);
    for (step, value) in steps.iter().zip(&mut up) {
        crowd.grow(*step)?;
        *value = crowd.message(broker, plan)?;
    }
    for (step, value) in steps.iter().zip(&mut down).rev() {
        crowd.shrink(*step);
        *value = crowd.message(broker, plan)?;
    }
    Ok([up, down])
}

/// All that are connected.
struct Crowd {
    kin: Kin,
    /// Publishers, and subscribers with a topic each.
    load: Load,
    topics: Vec<String>,
    /// The few, if only they are active.
    few: Option<Stream>,
    random: Random,
}

impl Crowd {
    fn new(kin: Kin, who: Who) -> Result<Crowd> {
        let few = if who == Who::AFew { Some(Stream::open(&kin, &FEW)?) } else { None };
        let mut load = Load::new()?;
        load.connect(&Kin { name: "backend".to_owned(), ..kin.clone() }, PUBLISHERS, PUBLISHERS)?;
        Ok(Crowd { kin, load, topics: Vec::new(), few, random: Random::new(1) })
    }

    fn grow(&mut self, count: usize) -> Result<()> {
        let (before, more) = (self.topics.len(), count - self.topics.len());
        let kin = Kin { name: format!("crowd-{before}"), ..self.kin.clone() };
        self.load.connect(&kin, more, CONNECTS_AT_ONCE)?;
        self.topics.extend((before..count).map(|i| format!("crowd/{i}/state")));
        self.load.subscribe(PUBLISHERS + before..PUBLISHERS + count, &self.topics[before..], 1)?;
        Ok(())
    }

    fn shrink(&mut self, count: usize) {
        self.load.cut_off(PUBLISHERS + count);
        self.topics.truncate(count);
    }

    /// CPU µs of the broker for one.
    fn message(&mut self, broker: &Broker, plan: &Plan) -> Result<f64> {
        thread::sleep(REST);
        if let Some(few) = &mut self.few {
            few.slice(WARM, broker.pid())?;
            let slice = few.slice(plan.slice(FEW.pace), broker.pid())?;
            ensure!(slice.lost == 0, "{} lost", slice.lost);
            return Ok(slice.cpu_ns.map_or(f64::NAN, |ns| ns as f64 / 1000.0 / slice.delivered as f64));
        }
        let before = broker.cpu_ns()?;
        let sent = self.send_to_everybody()?;
        thread::sleep(REST);
        Ok((broker.cpu_ns()? - before) as f64 / 1000.0 / sent as f64)
    }

    /// Each gets one, in an order by chance; again, until there were enough to count.
    fn send_to_everybody(&mut self) -> Result<u64> {
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        let (before, mut sent, mut payload) = (self.load.seen.publish, 0, [0; 64]);
        let acknowledged = self.load.seen.acknowledged;
        for _ in 0..MESSAGES_MIN.div_ceil(order.len()) {
            (1..order.len()).for_each(|i| order.swap(i, self.random.below(i + 1)));
            for &to in &order {
                while sent >= self.load.seen.publish - before + OUTSTANDING {
                    ensure!(self.load.turn_patiently()?, "{sent} sent, the last lost");
                }
                let stamp = self.load.now();
                self.load.publish(sent as usize % PUBLISHERS, 1, &self.topics[to], &mut payload, stamp);
                sent += 1;
            }
        }
        while self.load.seen.publish - before < sent || self.load.seen.acknowledged - acknowledged < sent {
            ensure!(self.load.turn_patiently()?, "{sent} sent, the last lost");
        }
        Ok(sent)
    }
}
