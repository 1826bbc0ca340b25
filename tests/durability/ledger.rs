//! What was acknowledged against what arrived.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::process::Program;
use super::publisher::{self, qos_of};
use super::subscriber::{self, Manner};

/// Examples of one kind in a report.
const EXAMPLES: usize = 5;

/// What a run promises to find.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// A crash may lose what was acknowledged so shortly before it.
    pub loss: Option<Duration>,
}

/// Sums and findings of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub run: String,
    pub program: String,
    pub seed: u64,
    pub cycles: usize,
    pub published: usize,
    pub acknowledged: usize,
    pub refused: usize,
    pub delivered: usize,
    /// QoS 1 messages that came again, which they may.
    pub repeated: usize,
    pub lost: usize,
    /// QoS 2 messages that came twice.
    pub doubled: usize,
    pub phantoms: usize,
    pub disordered: usize,
    /// Delayed wills whose client was seen to be lost.
    pub wills: usize,
    /// What else was wrong, and examples of the above.
    pub wrong: Vec<String>,
}

impl Report {
    /// Nothing found yet.
    pub fn of(run: &str, program: Program, seed: u64) -> Self {
        Self { run: run.to_owned(), program: format!("{program:?}"), seed, ..Self::default() }
    }

    /// One line of JSON.
    pub fn line(&self) -> String {
        serde_json::json!({
            "run": self.run, "program": self.program, "seed": self.seed, "cycles": self.cycles,
            "published": self.published, "acknowledged": self.acknowledged, "refused": self.refused,
            "delivered": self.delivered, "repeated": self.repeated, "lost": self.lost, "doubled": self.doubled,
            "phantoms": self.phantoms, "disordered": self.disordered, "wills": self.wills, "wrong": self.wrong,
        })
        .to_string()
    }

    /// Fails the test if anything promised did not hold, or if nothing happened.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.broken() == 0, "a promise was broken: {}", self.line());
        assert!(self.acknowledged > 50 && self.delivered > 50, "too little happened to show anything: {}", self.line());
    }

    /// Promises broken.
    pub fn broken(&self) -> usize {
        self.lost + self.doubled + self.phantoms + self.disordered + self.wrong.len()
    }

    fn example(&mut self, already: usize, text: String) {
        if already < EXAMPLES {
            self.wrong.push(text);
        }
    }
}

/// Everything the clients wrote down.
pub struct Ledger {
    pub publishers: Vec<publisher::Log>,
    pub subscribers: Vec<(Manner, subscriber::Log)>,
    /// When the broker was ended.
    pub crashes: Vec<Instant>,
}

impl Ledger {
    fn owed(&self, promise: Promise) -> Vec<Vec<publisher::Message>> {
        let mut all: Vec<Vec<publisher::Message>> =
            self.publishers.iter().map(|log| log.lock().expect("nobody panics with it").clone()).collect();
        if let Some(loss) = promise.loss {
            for message in all.iter_mut().flatten() {
                let excused =
                    |at: &Instant| self.crashes.iter().any(|crash| *at <= *crash && crash.duration_since(*at) <= loss);
                message.acknowledged = message.acknowledged.filter(|at| !excused(at));
            }
        }
        all
    }

    /// Acknowledged messages that subscribers did not get yet.
    pub fn missing(&self, promise: Promise) -> usize {
        let owed = self.owed(promise);
        let missing = self.subscribers.iter().map(|(manner, log)| {
            let got: HashSet<(usize, usize)> =
                log.lock().expect("nobody panics with it").iter().map(|got| (got.publisher, got.number)).collect();
            let mut missing = 0;
            each_owed(&owed, *manner, |publisher, number| missing += usize::from(!got.contains(&(publisher, number))));
            missing
        });
        missing.sum()
    }

    /// Judges everything.
    pub fn judge(&self, promise: Promise, report: &mut Report) {
        let owed = self.owed(promise);
        for log in &self.publishers {
            let log = log.lock().expect("nobody panics with it");
            report.published += log.len();
            report.acknowledged += log.iter().filter(|message| message.acknowledged.is_some()).count();
            report.refused += log.iter().filter(|message| message.refused).count();
        }
        for (name, (manner, log)) in self.subscribers.iter().enumerate() {
            let log = log.lock().expect("nobody panics with it").clone();
            report.delivered += log.len();
            let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
            let mut newest: HashMap<(usize, &str), usize> = HashMap::new();
            for got in &log {
                let Some(message) = owed.get(got.publisher).and_then(|log| log.get(got.number)) else {
                    report.phantoms += 1;
                    report.example(report.phantoms, format!("subscriber {name} got {got}, which nobody published"));
                    continue;
                };
                let topic = format!("t/{}/{}", got.publisher, message.topic);
                if got.topic != topic || got.qos != qos_of(message.topic).min(manner.qos) {
                    report.phantoms += 1;
                    report.example(report.phantoms, format!("subscriber {name} got {got}, published on {topic}"));
                }
                let count = counts.entry((got.publisher, got.number)).or_default();
                *count += 1;
                if *count > 1 {
                    if got.qos == 2 && promise.loss.is_none() {
                        report.doubled += 1;
                        report.example(report.doubled, format!("subscriber {name} got {got} again"));
                    }
                    report.repeated += usize::from(got.qos == 1);
                    continue;
                }
                if message.late {
                    continue;
                }
                let last = newest.entry((got.publisher, &got.topic)).or_insert(got.number);
                if *last > got.number {
                    report.disordered += 1;
                    let of_last =
                        |before: &&subscriber::Got| (before.publisher, before.number) == (got.publisher, *last);
                    let before = log.iter().find(of_last).map_or_else(String::new, ToString::to_string);
                    report.example(report.disordered, format!("subscriber {name} got {got} behind {before}"));
                }
                *last = got.number;
            }
            each_owed(&owed, *manner, |publisher, number| {
                if !counts.contains_key(&(publisher, number)) {
                    report.lost += 1;
                    let topic = owed[publisher][number].topic;
                    report.example(
                        report.lost,
                        format!("subscriber {name} never got {publisher}:{number} of topic {topic}"),
                    );
                }
            });
        }
    }
}

fn each_owed(owed: &[Vec<publisher::Message>], manner: Manner, mut each: impl FnMut(usize, usize)) {
    for (publisher, log) in owed.iter().enumerate() {
        for (number, message) in log.iter().enumerate() {
            if message.acknowledged.is_some() && manner.topic.is_none_or(|topic| topic == message.topic) {
                each(publisher, number);
            }
        }
    }
}
