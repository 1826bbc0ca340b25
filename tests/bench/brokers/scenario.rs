//! What is measured, and what the project aims at: a table to add to.

use super::connections::{CONNECT, MEMORY, PING, SUBSCRIBE};
use super::traffic::{CPU, SYSCALLS};

/// One line of the benchmark.
pub struct Scenario {
    /// Of its file, and to choose it by.
    pub key: &'static str,
    pub title: &'static str,
    pub work: Work,
    pub aims: &'static [Aim],
}

/// What the load does.
pub enum Work {
    Traffic(Traffic),
    /// So many clients come, subscribe to one topic each, ping once, and stay.
    Connections {
        count: usize,
        tls: bool,
    },
}

/// Who sends to whom. Each topic has `subscribers / topics` subscribers.
#[derive(Clone)]
pub struct Traffic {
    pub publishers: usize,
    pub topics: usize,
    pub subscribers: usize,
    pub qos: u8,
    pub pace: Pace,
    /// Bytes; the first eight say when the message was due.
    pub payload: usize,
    pub tls: bool,
}

/// When the next message is sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As soon as fewer deliveries are outstanding.
    Outstanding(u64),
    /// At this rate, messages per second.
    PerSecond(u32),
}

/// What a metric shall be at most.
pub struct Aim {
    pub metric: &'static str,
    pub at_most: f64,
    pub unit: Unit,
}

/// What an aim is a multiple of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Relay,
    Mosquitto,
    One,
}

const fn aim(metric: &'static str, at_most: f64, unit: Unit) -> Aim {
    Aim { metric, at_most, unit }
}

const fn traffic(publishers: usize, topics: usize, subscribers: usize, qos: u8, pace: Pace) -> Work {
    Work::Traffic(Traffic { publishers, topics, subscribers, qos, pace, payload: 64, tls: false })
}

/// Deliveries outstanding at saturation.
const SATURATED: Pace = Pace::Outstanding(500);
/// Of a fan-out: some messages to all, so that they meet in a connection.
const SATURATED_FAN: Pace = Pace::Outstanding(4000);

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        key: "push-qos1",
        title: "push, QoS 1: 10 publishers to 1000 subscribers, one each, 500 outstanding",
        work: traffic(10, 1000, 1000, 1, SATURATED),
        aims: &[aim(CPU, 1.30, Unit::Relay), aim(CPU, 0.42, Unit::Mosquitto), aim(SYSCALLS, 1.06, Unit::Relay)],
    },
    Scenario {
        key: "pairs-qos1",
        title: "pairs, QoS 1: 1000 publishers, each to its own subscriber, 500 outstanding",
        work: traffic(1000, 1000, 1000, 1, SATURATED),
        aims: &[aim(CPU, 1.26, Unit::Relay), aim(CPU, 0.83, Unit::Mosquitto)],
    },
    Scenario {
        key: "fan-in-100-qos0",
        title: "fan-in, QoS 0: 100 publishers to 1 subscriber, 500 outstanding",
        work: traffic(100, 1, 1, 0, SATURATED),
        aims: &[aim(CPU, 1.13, Unit::Relay), aim(CPU, 0.15, Unit::Mosquitto), aim(SYSCALLS, 1.07, Unit::Relay)],
    },
    Scenario {
        key: "fan-in-100-qos1",
        title: "fan-in, QoS 1: 100 publishers to 1 subscriber, 500 outstanding",
        work: traffic(100, 1, 1, 1, SATURATED),
        aims: &[aim(CPU, 1.30, Unit::Relay), aim(CPU, 0.10, Unit::Mosquitto)],
    },
    Scenario {
        key: "fan-in-500-qos0",
        title: "fan-in, QoS 0: 500 publishers to 1 subscriber, 500 outstanding",
        work: traffic(500, 1, 1, 0, SATURATED),
        aims: &[],
    },
    Scenario {
        key: "fan-in-500-qos1",
        title: "fan-in, QoS 1: 500 publishers to 1 subscriber, 500 outstanding",
        work: traffic(500, 1, 1, 1, SATURATED),
        aims: &[],
    },
    Scenario {
        key: "fan-out-qos0",
        title: "fan-out, QoS 0: 1 publisher to 1000 subscribers, 4 messages outstanding",
        work: traffic(1, 1, 1000, 0, SATURATED_FAN),
        aims: &[aim(CPU, 1.30, Unit::Relay), aim(CPU, 0.21, Unit::Mosquitto)],
    },
    Scenario {
        key: "fan-out-qos1",
        title: "fan-out, QoS 1: 1 publisher to 1000 subscribers, 4 messages outstanding",
        work: traffic(1, 1, 1000, 1, SATURATED_FAN),
        aims: &[aim(CPU, 1.30, Unit::Relay), aim(CPU, 0.21, Unit::Mosquitto), aim(SYSCALLS, 1.14, Unit::Relay)],
    },
    Scenario {
        key: "push-1000-per-s",
        title: "push, QoS 1, at 1,000 messages/s",
        work: traffic(10, 1000, 1000, 1, Pace::PerSecond(1_000)),
        aims: &[aim(CPU, 1.10, Unit::Relay)],
    },
    Scenario {
        key: "push-5000-per-s",
        title: "push, QoS 1, at 5,000 messages/s",
        work: traffic(10, 1000, 1000, 1, Pace::PerSecond(5_000)),
        aims: &[aim(CPU, 1.05, Unit::Relay), aim(SYSCALLS, 1.06, Unit::Relay)],
    },
    Scenario {
        key: "push-tls-qos1",
        title: "push over TLS, QoS 1: 10 publishers to 1000 subscribers, 500 outstanding",
        work: Work::Traffic(Traffic {
            publishers: 10,
            topics: 1000,
            subscribers: 1000,
            qos: 1,
            pace: SATURATED,
            payload: 64,
            tls: true,
        }),
        aims: &[aim(CPU, 0.54, Unit::Mosquitto)],
    },
    Scenario {
        key: "idle-plain",
        title: "10,000 idle clients with one subscription each",
        work: Work::Connections { count: 10_000, tls: false },
        aims: &[
            aim(MEMORY, 960.0, Unit::One),
            aim(CONNECT, 0.87, Unit::Mosquitto),
            aim(SUBSCRIBE, 0.76, Unit::Mosquitto),
            aim(PING, 0.94, Unit::Mosquitto),
        ],
    },
    Scenario {
        key: "idle-tls",
        title: "5,000 idle clients over TLS with one subscription each",
        work: Work::Connections { count: 5_000, tls: true },
        aims: &[aim(MEMORY, 5120.0, Unit::One), aim(CONNECT, 0.58, Unit::Mosquitto)],
    },
];
