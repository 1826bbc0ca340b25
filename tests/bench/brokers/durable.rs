//! Sessions whose clients are away: what it costs to keep messages for them, to give them out when they come back, and what
//! everybody else notices of a session with very many. Each round starts the broker anew.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heraldmq::bench::histogram::Histogram;
use heraldmq::bench::load::{Kin, Load};
use heraldmq::bench::packet::{self, Connect, Publish, Version};

use super::Plan;
use super::broker::{Broker, Contestant, Workshop};
use super::measured::{Metric, Outcome};
use super::scenario::{Channel, Layers};
use super::traffic::kin;

const PUBLISHERS: usize = 10;
/// Publications that may be unacknowledged.
const OUTSTANDING: u64 = 500;
/// Sessions that come back at one time.
const BACK_AT_ONCE: usize = 50;
/// For the broker to write what the last acknowledgements changed.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two round trips of the bystander.
const PROBE_EVERY: Duration = Duration::from_millis(1);

pub const QUEUE: &str = "CPU µs/queued";
pub const DRAIN: &str = "CPU µs/drained";
const WRITTEN: &str = "written/user byte";
const QUEUES: [&str; 5] = [QUEUE, DRAIN, "queued/s", "drained/s", WRITTEN];

const RESUMES: [&str; 7] = [
    "first after ms",
    "all after s",
    DRAIN,
    "rtt p99 before µs",
    "rtt p99 meanwhile µs",
    "rtt max meanwhile µs",
    "RSS MiB, all waiting",
];

/// So many absent sessions, and messages of this size for each.
#[derive(Clone, Copy)]
pub struct Absent {
    pub sessions: usize,
    pub messages: usize,
    pub payload: usize,
}

/// Queues and drains in turns.
pub fn queues(absent: Absent, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let one = |contestant: &Contestant| queue_and_drain(absent, contestant, plan, workshop);
    in_turns(&QUEUES, contestants, plan.durable_rounds, one)
}

/// One session with very many messages comes back.
pub fn resumes(waiting: usize, contestants: &[Contestant], plan: &Plan, workshop: &Workshop) -> Vec<Outcome> {
    let one = |contestant: &Contestant| resume(waiting / plan.waiting_divided_by, contestant, plan, workshop);
    in_turns(&RESUMES, contestants, plan.durable_rounds.div_ceil(3), one)
}

fn in_turns<const N: usize>(
    names: &[&'static str; N],
    contestants: &[Contestant],
    rounds: usize,
    mut one: impl FnMut(&Contestant) -> Result<[f64; N]>,
) -> Vec<Outcome> {
    let mut all: Vec<Result<Vec<[f64; N]>>> = contestants.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..rounds {
        for i in 0..contestants.len() {
            let at = (i + round) % contestants.len();
            let Ok(done) = &mut all[at] else { continue };
            match one(&contestants[at]) {
                Ok(round) => done.push(round),
                Err(error) => all[at] = Err(error),
            }
        }
    }
    let metric =
        |rounds: &[[f64; N]], i: usize| Metric { name: names[i], rounds: rounds.iter().map(|r| r[i]).collect() };
    let outcome = |(contestant, rounds): (&Contestant, Result<Vec<[f64; N]>>)| Outcome {
        broker: contestant.name.clone(),
        metrics: rounds
            .map(|rounds| (0..N).map(|i| metric(&rounds, i)).collect())
            .map_err(|error| format!("{error:#}")),
    };
    contestants.iter().zip(all).map(outcome).collect()
}

/// A broker with sessions whose clients are away, and the topics they wait for.
struct Away {
    broker: Broker,
    topics: Vec<String>,
    absent: Absent,
}

impl Away {
    fn prepare(absent: Absent, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<Away> {
        let broker = Broker::start(contestant, workshop, plan.load_core)?;
        let topics: Vec<String> = (0..absent.sessions).map(|i| format!("biz/order/user/{i}")).collect();
        let away = Away { broker, topics, absent };
        let mut load = Load::new()?;
        load.connect(&away.kin("away", true)?, absent.sessions, BACK_AT_ONCE)?;
        load.subscribe(0..absent.sessions, &away.topics, 1)?;
        load.leave()?;
        Ok(away)
    }

    fn kin(&self, name: &str, durable: bool) -> Result<Kin> {
        let plain = Layers { channel: Channel::Plain, version: Version::V3 };
        Ok(Kin { name: name.to_owned(), durable, ..kin(&self.broker, plain)? })
    }

    fn total(&self) -> u64 {
        (self.absent.sessions * self.absent.messages) as u64
    }

    fn fill(&self) -> Result<Duration> {
        fill(&self.kin("backend", false)?, &self.topics, self.total(), self.absent.payload)
    }

    /// All sessions come back and get what waits: when the first message came, and when the last.
    fn drain(&self) -> Result<(Duration, Duration)> {
        let mut load = Load::new()?;
        let kin = self.kin("away", true)?;
        let started = Instant::now();
        load.connect(&kin, self.absent.sessions, BACK_AT_ONCE)?;
        let mut first = (load.seen.publish > 0).then(|| started.elapsed());
        while load.seen.publish < self.total() {
            ensure!(load.turn_patiently()?, "{} of {} came", load.seen.publish, self.total());
            first = first.or_else(|| Some(started.elapsed()));
        }
        let last = started.elapsed();
        // The last acknowledgements are on their way.
        thread::sleep(SETTLE);
        load.leave()?;
        Ok((first.unwrap_or(last), last))
    }
}

/// Publishes so many messages of so many bytes, topic by topic in turn, until all are acknowledged: for how long.
pub fn fill(kin: &Kin, topics: &[String], total: u64, payload: usize) -> Result<Duration> {
    let mut load = Load::new()?;
    load.connect(kin, PUBLISHERS, PUBLISHERS)?;
    let mut payload = vec![0; payload];
    let (started, mut published) = (Instant::now(), 0);
    while load.seen.acknowledged < total {
        let stamp = load.now();
        while published < total && published < load.seen.acknowledged + OUTSTANDING {
            let topic = &topics[published as usize % topics.len()];
            load.publish(published as usize % PUBLISHERS, 1, topic, &mut payload, stamp);
            published += 1;
        }
        ensure!(load.turn_patiently()?, "{} of {total} acknowledged", load.seen.acknowledged);
    }
    Ok(started.elapsed())
}

/// In the order of [`QUEUES`].
fn queue_and_drain(absent: Absent, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<[f64; 5]> {
    let away = Away::prepare(absent, contestant, plan, workshop)?;
    thread::sleep(SETTLE);
    let total = away.total() as f64;
    let (cpu, written) = (away.broker.cpu_ns()?, away.broker.written()?);
    let filling = away.fill()?;
    thread::sleep(SETTLE);
    let cpu_filled = away.broker.cpu_ns()?;
    let written = (away.broker.written()? - written) as f64;
    let (_, draining) = away.drain()?;
    let cpu_drained = away.broker.cpu_ns()?;
    Ok([
        (cpu_filled - cpu) as f64 / 1000.0 / total,
        (cpu_drained - cpu_filled) as f64 / 1000.0 / total,
        total / filling.as_secs_f64(),
        total / draining.as_secs_f64(),
        written / total / absent.payload as f64,
    ])
}

/// In the order of [`RESUMES`].
fn resume(waiting: usize, contestant: &Contestant, plan: &Plan, workshop: &Workshop) -> Result<[f64; 7]> {
    const QUIET: Duration = Duration::from_secs(1);
    let absent = Absent { sessions: 1, messages: waiting, payload: 64 };
    let away = Away::prepare(absent, contestant, plan, workshop)?;
    away.fill()?;
    // The prober's messages wait for the disk like everybody's: somebody who is away wants them.
    let mut load = Load::new()?;
    load.connect(&away.kin("probed", true)?, 1, 1)?;
    load.subscribe(0..1, &["probe".to_owned()], 1)?;
    load.leave()?;
    thread::sleep(SETTLE);
    let address = away.broker.target(Channel::Plain)?.address;
    let before = Prober::start(address, "before")?;
    thread::sleep(QUIET);
    let before = before.finish()?;
    let resident = away.broker.resident()?;
    let cpu = away.broker.cpu_ns()?;
    let meanwhile = Prober::start(address, "meanwhile")?;
    let (first, last) = away.drain()?;
    let meanwhile = meanwhile.finish()?;
    let cpu = away.broker.cpu_ns()? - cpu;
    Ok([
        first.as_secs_f64() * 1000.0,
        last.as_secs_f64(),
        cpu as f64 / 1000.0 / waiting as f64,
        before.quantile(0.99) / 1000.0,
        meanwhile.quantile(0.99) / 1000.0,
        meanwhile.max() as f64 / 1000.0,
        resident as f64 / f64::from(1 << 20),
    ])
}

/// A client on a thread of its own that publishes with QoS 1, to a session whose client is away, and waits for each PUBACK.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Histogram>>,
}

impl Prober {
    fn start(address: SocketAddr, name: &'static str) -> Result<Prober> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut out = Vec::new();
        let connect = Connect { version: Version::V3, client_id: name, durable: false, keep_alive_s: 0, login: None };
        packet::connect(&mut out, &connect);
        answered(&mut socket, &out).context("CONNECT")?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let probe = move || {
            let mut seen = Histogram::default();
            while !until.load(Ordering::Relaxed) {
                let mut out = Vec::new();
                packet::publish(&mut out, Version::V3, 1, &Publish { topic: b"probe", packet_id: 1, payload: b"?" });
                let started = Instant::now();
                answered(&mut socket, &out).context("PUBLISH")?;
                seen.add(started.elapsed().as_nanos() as u64);
                thread::sleep(PROBE_EVERY);
            }
            Ok(seen)
        };
        Ok(Prober { stop, thread: thread::spawn(probe) })
    }

    fn finish(self) -> Result<Histogram> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

/// Sends a packet, and waits for the four bytes of its answer.
fn answered(socket: &mut TcpStream, out: &[u8]) -> Result<()> {
    let mut answer = [0; 4];
    socket.write_all(out)?;
    socket.read_exact(&mut answer)?;
    Ok(())
}
