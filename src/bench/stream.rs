//! Who publishes what to whom and when, and what one slice of time of it measured.

use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::chance::Random;
use super::histogram::Histogram;
use super::load::{Kin, Load, PATIENCE};
use super::process;

const CONNECTS_AT_ONCE: usize = 50;
/// Above so many unfinished ones no more are published, whatever the rate.
const UNFINISHED_MAX: u64 = 20_000;
const PUBLISHERS_WAIT: Duration = Duration::from_millis(50);
/// For the broker to read the last acknowledgements before its time is taken.
const SETTLE: Duration = Duration::from_millis(2);
/// Filters in one SUBSCRIBE of the bystanders.
const FILTERS_AT_ONCE: usize = 500;
/// Subscriptions of one bystander.
const FILTERS_OF_ONE: usize = 10_000;

/// Who sends to whom. Each topic has `subscribers / topics` subscribers.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Clients that publish; as many as topics, and each has its own.
    pub publishers: usize,
    /// At least one.
    pub topics: usize,
    /// A multiple of the topics.
    pub subscribers: usize,
    /// Whether the subscribers are there.
    pub presence: Presence,
    /// Of publications and subscriptions.
    pub qos: u8,
    /// When the next message is sent.
    pub pace: Pace,
    /// Bytes; the first eight say when the message was due.
    pub payload: usize,
    /// Subscriptions of others, to topics that nobody publishes to.
    pub bystanders: usize,
    /// One more subscriber, to all topics, that never reads.
    pub with_a_deaf_one: bool,
}

/// Whether the subscribers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// With clean sessions.
    Clean,
    /// With sessions that outlive their connections.
    Durable,
    /// Their sessions are, and they are not.
    Absent,
}

/// When the next message is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As soon as fewer are unfinished: deliveries to clean subscribers, or else acknowledgements.
    Outstanding(u64),
    /// At this rate, messages per second.
    PerSecond(u32),
}

/// What one slice of time gave.
#[derive(Debug)]
pub struct Slice {
    /// CPU time of the broker.
    pub cpu_ns: Option<u64>,
    /// Bytes the broker sent to disks.
    pub written: Option<u64>,
    /// PUBLISH packets sent.
    pub published: u64,
    /// PUBACK and PUBCOMP packets, refusals included.
    pub acknowledged: u64,
    /// Acknowledgements that refuse.
    pub refused: u64,
    /// PUBLISH packets that came.
    pub delivered: u64,
    /// Deliveries and acknowledgements that did not come.
    pub lost: u64,
    /// Connections that failed.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// How long it took, until the last acknowledgement.
    pub seconds: f64,
    /// From the moment a message was due to its arrival, nanoseconds.
    pub deliveries: Histogram,
    /// From the moment a message was due to its PUBACK or PUBCOMP, nanoseconds.
    pub acknowledgements: Histogram,
}

/// The clients of one broker and their messages.
#[derive(Debug)]
pub struct Stream {
    load: Load,
    kin: Kin,
    traffic: Traffic,
    topics: Vec<String>,
    payload: Vec<u8>,
    /// Of the publishers among the clients: the number of the first.
    first: usize,
    /// Deliveries of each message.
    fan: u64,
    published: u64,
    random: Random,
}

/// Done in each turn of the clients; `false` ends the time.
type Beside<'a> = &'a mut dyn FnMut() -> Result<bool, BenchError>;

/// What the subscribers are called, and whether their sessions stay.
fn subscribers(kin: &Kin, presence: Presence) -> Kin {
    Kin { name: format!("{}-sub", kin.name), durable: presence != Presence::Clean, ..kin.clone() }
}

impl Stream {
    /// Connects all clients, lets the subscribers subscribe, and leave if they shall be absent.
    ///
    /// # Errors
    /// The numbers do not fit each other; a client could not connect or subscribe.
    pub fn open(kin: &Kin, traffic: &Traffic) -> Result<Stream, BenchError> {
        if traffic.topics == 0 || traffic.publishers == 0 || !traffic.subscribers.is_multiple_of(traffic.topics) {
            return Err(BenchError::Options("a topic needs a publisher, and each topic equally many subscribers"));
        }
        let topics: Vec<String> = (0..traffic.topics).map(|i| format!("bench/{i}/state")).collect();
        let mut load = Load::new()?;
        let named = |name: &str| Kin { name: format!("{}-{name}", kin.name), durable: false, ..kin.clone() };
        load.connect(&subscribers(kin, traffic.presence), traffic.subscribers, CONNECTS_AT_ONCE)?;
        load.subscribe(0..traffic.subscribers, &topics, traffic.qos)?;
        let fan = match traffic.presence {
            Presence::Absent => {
                std::mem::replace(&mut load, Load::new()?).leave()?;
                0
            }
            _ => traffic.subscribers / traffic.topics,
        } as u64;
        let first = if traffic.presence == Presence::Absent { 0 } else { traffic.subscribers };
        load.connect(&named("pub"), traffic.publishers, CONNECTS_AT_ONCE)?;
        let mut stream = Stream {
            load,
            kin: kin.clone(),
            traffic: traffic.clone(),
            first,
            topics,
            payload: vec![0; traffic.payload],
            fan,
            published: 0,
            random: Random::new(1),
        };
        stream.add_bystanders(&named("other"))?;
        Ok(stream)
    }

    fn add_bystanders(&mut self, kin: &Kin) -> Result<(), BenchError> {
        let first = self.first + self.traffic.publishers;
        let others = self.traffic.bystanders.div_ceil(FILTERS_OF_ONE);
        self.load.connect(kin, others + usize::from(self.traffic.with_a_deaf_one), CONNECTS_AT_ONCE)?;
        for other in 0..others {
            let of_one = FILTERS_OF_ONE.min(self.traffic.bystanders - other * FILTERS_OF_ONE);
            let filters: Vec<String> = (0..of_one).map(|i| format!("other/{other}/user/{i}")).collect();
            self.load.subscribe_to_all(first + other, &filters, FILTERS_AT_ONCE)?;
        }
        if self.traffic.with_a_deaf_one {
            self.load.subscribe(first + others..first + others + 1, &["bench/#".to_owned()], self.traffic.qos)?;
            self.load.deafen(first + others);
        }
        Ok(())
    }

    /// Ends what was opened: sessions that outlive their connections, too.
    ///
    /// # Errors
    /// The broker does not take the clients once more.
    pub fn close(self) -> Result<(), BenchError> {
        drop(self.load);
        if self.traffic.presence == Presence::Clean {
            return Ok(());
        }
        let mut load = Load::new()?;
        load.connect(&subscribers(&self.kin, Presence::Clean), self.traffic.subscribers, CONNECTS_AT_ONCE)?;
        load.leave()
    }

    /// From here on a client that fails is counted, and the others go on.
    pub fn tolerate(&mut self) {
        self.load.is_tolerant = true;
    }

    /// Publishes for `length` and waits for what is unfinished. Of the broker, if it is known, the CPU time is taken.
    ///
    /// # Errors
    /// A client failed, unless that is tolerated; the broker's process is gone.
    pub fn slice(&mut self, length: Duration, pid: Option<u32>) -> Result<Slice, BenchError> {
        self.slice_beside(length, pid, &mut || Ok(true))
    }

    /// The same, and in each turn of the clients `beside` does something else on their thread, for a few µs at most:
    /// latencies include it. The time is over when it says `false`, too.
    ///
    /// # Errors
    /// Those of [`Self::slice`], and those of `beside`.
    pub fn slice_beside(
        &mut self,
        length: Duration,
        pid: Option<u32>,
        beside: Beside<'_>,
    ) -> Result<Slice, BenchError> {
        let cpu_before = pid.map(process::cpu_ns).transpose()?;
        let written_before = pid.and_then(|pid| process::written(pid).ok());
        let published = self.published;
        let seen = &self.load.seen;
        let before = (seen.acknowledged, seen.refused, seen.publish, seen.errors);
        let started = Instant::now();
        match self.traffic.pace {
            Pace::Outstanding(unfinished) => self.with_outstanding(unfinished, started + length, beside)?,
            Pace::PerSecond(rate) => self.at_rate(f64::from(rate), length, beside)?,
        }
        let published = self.published - published;
        let lost = self.drain()?;
        let seconds = started.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        let cpu_after = pid.map(process::cpu_ns).transpose()?;
        let written_after = pid.and_then(|pid| process::written(pid).ok());
        let seen = &mut self.load.seen;
        let slice = Slice {
            cpu_ns: cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before)),
            written: written_before.zip(written_after).map(|(before, after)| after - before),
            published,
            acknowledged: seen.acknowledged - before.0,
            refused: seen.refused - before.1,
            delivered: seen.publish - before.2,
            lost,
            errors: seen.errors - before.3,
            first_error: seen.first_error.take(),
            seconds,
            deliveries: std::mem::take(&mut seen.deliveries),
            acknowledgements: std::mem::take(&mut seen.acknowledgements),
        };
        // What did not come is given up: from here on it is not waited for again.
        seen.publish = self.published * self.fan;
        if self.traffic.qos > 0 {
            seen.acknowledged = self.published;
        }
        Ok(slice)
    }

    /// Publishes to a topic by chance: by its own publisher where there are as many, else they take turns. `false` if all
    /// publishers must wait for the broker.
    fn publish(&mut self, stamp: u64) -> bool {
        let (topic, publishers, first) = (self.random.below(self.topics.len()), self.traffic.publishers, self.first);
        let has_own = publishers == self.topics.len();
        let turn = if has_own { topic } else { self.published as usize % publishers };
        let mut by_turn = (turn..publishers).chain(0..turn);
        let Some(publisher) = by_turn.find(|one| self.load.may_publish(first + one)) else { return false };
        let topic = &self.topics[if has_own { publisher } else { topic }];
        self.published += 1;
        self.load.publish(first + publisher, self.traffic.qos, topic, &mut self.payload, stamp);
        true
    }

    /// How many packets finish a message, and how many of them came.
    fn finishing(&self) -> (u64, u64) {
        match self.traffic.presence {
            Presence::Clean if self.fan > 0 => (self.fan, self.load.seen.publish),
            _ => (1, self.load.seen.acknowledged),
        }
    }

    /// Keeps so many unfinished until the time is over, or nothing comes any more.
    fn with_outstanding(&mut self, unfinished: u64, until: Instant, beside: Beside<'_>) -> Result<(), BenchError> {
        let (each, mut due) = self.finishing();
        while Instant::now() < until && beside()? {
            let (stamp, (_, finished)) = (self.load.now(), self.finishing());
            while due + each <= finished + unfinished.max(each) && self.publish(stamp) {
                due += each;
            }
            if !self.load.turn_patiently()? {
                break;
            }
        }
        Ok(())
    }

    /// Publishes at the rate, at moments by chance, whether or not the broker keeps up. A message's latency counts from the
    /// moment it was due. Waits by asking again and again: a timer would be late.
    fn at_rate(&mut self, rate: f64, length: Duration, beside: Beside<'_>) -> Result<(), BenchError> {
        let (published, (each, before)) = (self.published, self.finishing());
        let mut due = self.load.now();
        let until = due + length.as_nanos() as u64;
        while due < until && beside()? {
            let unfinished = (self.published - published) * each - (self.finishing().1 - before);
            while due <= self.load.now() && unfinished < UNFINISHED_MAX && self.publish(due) {
                due += (self.random.exponential() * 1e9 / rate) as u64;
            }
            self.load.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Deliveries and acknowledgements that have not come.
    fn missing(&self) -> u64 {
        let acknowledged = if self.traffic.qos > 0 { self.published } else { 0 };
        (self.published * self.fan).saturating_sub(self.load.seen.publish)
            + acknowledged.saturating_sub(self.load.seen.acknowledged)
    }

    /// Waits for what was published to arrive and be acknowledged. Returns how much did not come.
    fn drain(&mut self) -> Result<u64, BenchError> {
        let until = Instant::now() + 3 * PATIENCE;
        while self.missing() > 0 && Instant::now() < until && self.load.turn_patiently()? {}
        let missing = self.missing();
        self.load.turn(if missing > 0 { PUBLISHERS_WAIT } else { Duration::ZERO })?;
        Ok(missing)
    }
}
