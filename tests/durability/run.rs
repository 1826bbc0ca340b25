//! One run: traffic, faults, and when the last fault is over everything is resumed, drained and held against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use heraldmq::store::rocks::fail_point::VARIABLE;

use super::chance::Chance;
use super::disk::{Disk, restore};
use super::keepers::{Changer, PLACES, Retained, Retainer, Subscribed};
use super::ledger::{Ledger, Promise, Report};
use super::link::{ANSWER, Link};
use super::mourners::{self, Fates, Heard, Listener, Mourner};
use super::process::{Ended, Place, Program, Running};
use super::publisher::Publisher;
use super::subscriber::{MANNERS, Subscriber};
use super::support::build::{Connect, PUBACK, Publication};
use super::support::packet::Packet;
use super::support::wire::Version;
use super::world::World;

/// Everything that was begun is finished within this time.
const DRAIN: Duration = Duration::from_secs(90);
/// What is owed and does not come within this time does not come.
const STALLED: Duration = Duration::from_secs(20);
/// The marker file, where in it the state is, and the state that a stop in order leaves.
pub const MARKER: &str = "heraldmq.store";
const STATE_AT: usize = 28;
const CLEAN: u8 = 2;
const QUIET: Duration = Duration::from_millis(400);
const PUBLISHERS: usize = 4;
const CHANGERS: usize = 2;
const RETAINERS: usize = 2;
const MOURNERS: usize = 3;

/// How a life of the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9.
    Kill,
    /// kill -9, and nothing is left but what was synced.
    PowerLoss,
    /// The same, and some of what was not synced.
    TornWrites,
    /// SIGTERM.
    Stop,
    /// It aborts at each of these steps in turn.
    FailPoints(&'static [&'static str]),
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub name: &'static str,
    pub program: Program,
    pub fault: Fault,
    pub cycles: usize,
    /// Life of the broker from listening to the fault, ms.
    pub life_ms: (usize, usize),
    /// Longest rest of a publisher between two batches, ms.
    pub rest_ms: usize,
    pub promise: Promise,
    /// Configuration beside the usual one, in whole tables.
    pub more: &'static str,
}

impl Plan {
    /// Short lives, nothing may be lost.
    pub fn new(name: &'static str, program: Program, fault: Fault, cycles: usize) -> Self {
        let promise = Promise { loss: None };
        Self { name, program, fault, cycles, life_ms: (30, 350), rest_ms: 4, promise, more: "" }
    }
}

/// The seed of this run: from `DURABILITY_SEED`, or the clock.
pub fn seed() -> u64 {
    let given = std::env::var("DURABILITY_SEED").ok().and_then(|text| text.parse().ok());
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    given.unwrap_or_else(|| clock() % 1_000_000_000)
}

/// Traffic of a run.
pub struct Traffic {
    pub world: Arc<World>,
    pub ledger: Ledger,
    threads: Vec<JoinHandle<()>>,
    changers: Vec<(Subscribed, Arc<std::sync::Mutex<BTreeSet<usize>>>)>,
    retainers: Vec<Retained>,
    mourners: Vec<Fates>,
    heard: Heard,
    subscribers: usize,
}

impl Traffic {
    /// Begins it on a broker that listens: subscribers first, publishers when those are there.
    pub fn begin(seed: u64, running: &Running, rest_ms: usize, promise: Promise) -> Self {
        let world = Arc::new(World::new(promise.loss.is_some()));
        world.moved(Some(running.addr("mqtt")));
        let ledger = Ledger { publishers: Vec::new(), subscribers: Vec::new(), crashes: Vec::new() };
        let (threads, changers, retainers, mourners, heard) = Default::default();
        let mut traffic = Self { world, ledger, threads, changers, retainers, mourners, heard, subscribers: 0 };
        for (name, manner) in MANNERS.into_iter().enumerate() {
            let subscriber = Subscriber::new(name, manner, seed);
            traffic.ledger.subscribers.push((manner, subscriber.log()));
            traffic.spawn(move |world| subscriber.run(world));
        }
        traffic.subscribers = MANNERS.len();
        assert!(traffic.reaches(traffic.subscribers, ANSWER), "the subscribers are not let in: {}", running.log());
        traffic.world.begin();
        for name in 0..PUBLISHERS {
            let publisher = Publisher::new(name, seed, rest_ms);
            traffic.ledger.publishers.push(publisher.log());
            traffic.spawn(move |world| publisher.run(world));
        }
        for name in 0..CHANGERS {
            let changer = Changer::new(name, seed);
            traffic.changers.push(changer.state());
            traffic.spawn(move |world| changer.run(world));
        }
        for name in 0..RETAINERS {
            let retainer = Retainer::new(name, seed);
            traffic.retainers.push(retainer.state());
            traffic.spawn(move |world| retainer.run(world));
        }
        traffic
    }

    /// Clients that leave delayed wills, too: where the clock is let alone and no append is refused.
    pub fn mourn(&mut self, seed: u64) {
        let listener = Listener::new();
        self.heard = listener.heard();
        self.spawn(move |world| listener.run(world));
        self.subscribers += 1;
        for name in 0..MOURNERS {
            let mourner = Mourner::new(name, seed, Arc::clone(&self.heard));
            self.mourners.push(mourner.log());
            self.spawn(move |world| mourner.run(world));
        }
    }

    fn spawn(&mut self, run: impl FnOnce(&World) + Send + 'static) {
        let world = Arc::clone(&self.world);
        self.threads.push(std::thread::spawn(move || run(&world)));
    }

    fn reaches(&self, settled: usize, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if self.world.settled() >= settled {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Finishes, drains and judges.
    pub fn end(mut self, running: Option<&mut Running>, promise: Promise, report: &mut Report) {
        self.world.settle();
        if let Some(running) = running {
            let everybody = self.subscribers + PUBLISHERS + CHANGERS + RETAINERS + self.mourners.len();
            if !self.reaches(everybody, DRAIN) {
                let settled = self.world.settled();
                self.world.wrong(format!("only {settled} of {everybody} clients got their answers"));
            }
            self.drain(running, promise);
            // What comes twice comes now.
            std::thread::sleep(QUIET);
            if promise.loss.is_none() {
                self.probe(running);
            }
            if running.log().contains("panicked at") {
                self.world.wrong(format!("the broker has panicked: {}", running.log()));
            }
        }
        self.world.end();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                self.world.wrong("a client has panicked".into());
            }
        }
        report.wills += mourners::judge(&self.mourners, &self.heard, &self.world);
        report.wrong.extend(self.world.wrongs());
        self.ledger.judge(promise, report);
    }

    /// Waits until everything owed is there, or nothing comes any more.
    fn drain(&self, running: &mut Running, promise: Promise) {
        let (mut missing, mut moved) = (self.ledger.missing(promise), Instant::now());
        while missing > 0 && moved.elapsed() < STALLED && !running.has_ended() {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.ledger.missing(promise);
            if now < missing {
                (missing, moved) = (now, Instant::now());
            }
        }
    }

    /// Subscriptions and retained messages as the broker has them against what it acknowledged.
    fn probe(&self, running: &Running) {
        let Ok(mut link) = Link::open(running.addr("mqtt"), &Connect::new(Version::V5, "probe")) else {
            return self.world.wrong("the broker lets nobody in at the end".into());
        };
        for (name, (filters, _)) in self.changers.iter().enumerate() {
            for place in 0..PLACES {
                let id = (name * PLACES + place + 1) as u16;
                let sent = link.publish(&Publication::new(format!("x/{name}/{place}"), "probe").qos(1, id));
                let fits = |packet: &Packet| {
                    matches!(packet, Packet::Ack(ack) if ack.first == PUBACK && ack.id == id).then_some(())
                };
                if sent.and_then(|()| link.until(fits, |_, _| Ok(()))).is_err() {
                    self.world.wrong(format!("no acknowledgement at the end, filters {filters:?}"));
                }
            }
        }
        std::thread::sleep(QUIET);
        for (name, (filters, heard)) in self.changers.iter().enumerate() {
            let (filters, heard) = (filters.lock().expect("no panic"), heard.lock().expect("no panic"));
            for (place, subscribed) in filters.iter().enumerate() {
                if subscribed.is_some_and(|subscribed| subscribed != heard.contains(&place)) {
                    let text = format!("filter x/{name}/{place} is acknowledged as {subscribed:?}, heard: {heard:?}");
                    self.world.wrong(text);
                }
            }
        }
        self.probe_retained(&mut link);
    }

    fn probe_retained(&self, link: &mut Link) {
        let mut seen = BTreeMap::new();
        let mut take = |packet: Packet| {
            if let Packet::Publish(publish) = packet {
                let number = String::from_utf8_lossy(&publish.payload).split(':').nth(1).and_then(|n| n.parse().ok());
                seen.insert(publish.topic, number.unwrap_or(0usize));
            }
        };
        let _ = link.subscribe(900, &[("r/#", 0)], |_, packet| {
            take(packet);
            Ok(())
        });
        while let Ok(Some(packet)) = link.next(QUIET) {
            take(packet);
        }
        for (name, state) in self.retainers.iter().enumerate() {
            for (place, (number, set)) in state.lock().expect("no panic").iter().enumerate() {
                let found = seen.get(&format!("r/{name}/{place}")).copied();
                if found != set.then_some(*number) {
                    let text = format!("r/{name}/{place}: change {number} (set: {set}) was the last, found {found:?}");
                    self.world.wrong(text);
                }
            }
        }
    }
}

/// Carries out a plan, prints its line and gives the report.
pub fn run(plan: Plan) -> Report {
    let seed = seed();
    let mut report = Report::of(plan.name, plan.program, seed);
    let mut chance = Chance::new(seed);
    let mut place = Place::new(plan.program, plan.more);
    if matches!(plan.fault, Fault::PowerLoss | Fault::TornWrites) {
        place = place.on_test_disk(true);
    }
    let mut cut = Disk::of(&place.data());
    let mut life =
        Life { running: place.start().unwrap_or_else(|ended| panic!("it does not start: {ended:?}")), armed: None };
    let mut traffic = Traffic::begin(seed, &life.running, plan.rest_ms, plan.promise);
    let mourns = plan.promise.loss.is_none() && matches!(plan.program, Program::Herald("sync" | "os"));
    if mourns {
        traffic.mourn(seed);
    }
    let mut reached = BTreeSet::new();
    for cycle in 0..plan.cycles {
        let (shortest, longest) = plan.life_ms;
        let lasts = Duration::from_millis((shortest + chance.below(longest - shortest)) as u64);
        reached.extend(fail(&plan, &place, (&mut life, lasts), &mut report));
        traffic.ledger.crashes.push(Instant::now());
        traffic.world.moved(None);
        report.cycles += 1;
        lose(&plan, &place, &mut cut, &mut chance, cycle);
        // Recovery, too, is cut short now and then.
        if chance.once_in(5) && !matches!(plan.fault, Fault::Stop | Fault::FailPoints(_)) {
            let mut brief = place.spawn(&[]);
            std::thread::sleep(Duration::from_millis(chance.below(120) as u64));
            brief.kill();
            lose(&plan, &place, &mut cut, &mut chance, cycle + plan.cycles);
        }
        let armed = step(&plan, cycle + 1);
        match begin(&place, armed, &mut chance) {
            Ok((next, hit)) => {
                life = next;
                reached.extend(hit);
            }
            Err(ended) => {
                report.wrong.push(format!("cycle {cycle}: it does not start again: {ended:?}"));
                traffic.end(None, plan.promise, &mut report);
                println!("{}", report.line());
                return report;
            }
        }
        traffic.world.moved(Some(life.running.addr("mqtt")));
    }
    if let Fault::FailPoints(all) = plan.fault
        && reached.len() < all.len()
    {
        report.wrong.push(format!("only {reached:?} of {all:?} were reached"));
    }
    traffic.end(Some(&mut life.running), plan.promise, &mut report);
    if mourns && report.wills == 0 {
        report.wrong.push("no delayed will was owed".into());
    }
    println!("{}", report.line());
    report
}

/// One life of the program, and the step of a commit at which it will abort.
struct Life {
    running: Running,
    armed: Option<&'static str>,
}

/// The step at which the life that follows this cycle shall end.
fn step(plan: &Plan, cycle: usize) -> Option<&'static str> {
    let Fault::FailPoints(all) = plan.fault else { return None };
    (cycle < plan.cycles).then(|| all[(cycle - 1) % all.len()])
}

/// Starts a life. One that comes to its step before it listens is followed by one that has none.
fn begin(
    place: &Place,
    armed: Option<&'static str>,
    chance: &mut Chance,
) -> Result<(Life, Option<&'static str>), Ended> {
    let count = [1, 2, 10, 60][chance.below(4)];
    let point = armed.map(|step| format!("{step}:{count}"));
    let environment: Vec<(&str, &str)> = point.iter().map(|point| (VARIABLE, point.as_str())).collect();
    match place.start_with(&environment) {
        Ok(running) => Ok((Life { running, armed }, None)),
        Err(ended) if armed.is_some() && was_step(&ended) => {
            place.start().map(|running| (Life { running, armed: None }, armed))
        }
        Err(ended) => Err(ended),
    }
}

fn was_step(ended: &Ended) -> bool {
    ended.code.is_none() && ended.log.contains("fail point")
}

/// Lets it live, and ends it; the step at which it ended.
fn fail(plan: &Plan, place: &Place, (life, lasts): (&mut Life, Duration), report: &mut Report) -> Option<&'static str> {
    if life.armed.is_some() {
        let ended = life.running.wait(Duration::from_secs(20));
        if !was_step(&ended) {
            report.wrong.push(format!("{:?} of cycle {} was not reached: {ended:?}", life.armed, report.cycles));
            return None;
        }
        return life.armed;
    }
    std::thread::sleep(lasts);
    if life.running.has_ended() {
        report.wrong.push(format!("it ended by itself: {:?}", life.running.wait(Duration::ZERO)));
    } else if plan.fault == Fault::Stop {
        let ended = life.running.stop();
        if state(&place.data()) != Some(CLEAN) {
            report.wrong.push("after a stop in order the store is not marked clean".into());
        }
        if ended.code != Some(0) {
            report.wrong.push(format!("told to end, it ended with {:?}: {}", ended.code, ended.log));
        }
    } else {
        life.running.kill();
    }
    None
}

/// State of a store as its marker file says it.
fn state(folder: &Path) -> Option<u8> {
    fs::read(folder.join(MARKER)).ok()?.get(STATE_AT).copied()
}

/// Takes from the folder what a power loss takes.
fn lose(plan: &Plan, place: &Place, cut: &mut Disk, chance: &mut Chance, boot: usize) {
    if !matches!(plan.fault, Fault::PowerLoss | Fault::TornWrites) {
        return;
    }
    cut.replay(&fs::read(place.path("trace")).unwrap_or_default());
    let image = if plan.fault == Fault::TornWrites { cut.torn(chance) } else { cut.durable() };
    restore(&place.data(), &image);
    *cut = Disk::of(&place.data());
    place.boot_again(boot);
}
