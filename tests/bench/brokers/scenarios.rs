//! What is measured, and what the project aims at: a table to add to.

use heraldmq::bench::packet::Version;
use heraldmq::bench::stream::{Pace, Presence, Traffic};

use super::connections::{Arrivals, CONNECT, MEMORY, PING, SUBSCRIBE};
use super::durable::{Absent, DRAIN, QUEUE};
use super::fairness::RATIO;
use super::growth::{MANY, MOST, SOME, Who};
use super::scenario::{Aim, Channel, Layers, Scenario, TCP, Unit, Work};
use super::traffic::{CPU, SYSCALLS};
use super::trouble::Trouble;

const fn aim(metric: &'static str, at_most: f64, unit: Unit) -> Aim {
    Aim { metric, at_most, unit }
}

const fn traffic(publishers: usize, topics: usize, subscribers: usize, qos: u8, pace: Pace) -> Work {
    Work::Traffic(clean(publishers, topics, subscribers, (qos, pace)), TCP)
}

const fn clean(publishers: usize, topics: usize, subscribers: usize, (qos, pace): (u8, Pace)) -> Traffic {
    let (presence, payload) = (Presence::Clean, 64);
    Traffic { publishers, topics, subscribers, presence, qos, pace, payload, bystanders: 0, with_a_deaf_one: false }
}

const PUSH: Traffic = clean(10, 1000, 1000, (1, SATURATED));

const fn push_through(channel: Channel, version: Version, qos: u8) -> Work {
    Work::Traffic(Traffic { qos, ..PUSH }, Layers { channel, version })
}

/// QoS 1 to one session that outlives its connection, 10 messages outstanding for each publisher.
const fn durable(publishers: usize, presence: Presence) -> Work {
    let pace = Pace::Outstanding(10 * publishers as u64);
    Work::Traffic(Traffic { presence, payload: 256, ..clean(publishers, 1, 1, (1, pace)) }, TCP)
}

const fn arrivals(count: usize, at_once: usize, channel: Channel) -> Work {
    Work::Connections(Arrivals { count, at_once, layers: Layers { channel, version: Version::V3 } })
}

const FAIR: &[Aim] = &[aim(RATIO, 2.0, Unit::One)];

/// 200 subscribers are sent 2,000 messages/s with QoS 1, beside this one; p99 shall at most double.
const fn beside(key: &'static str, title: &'static str, trouble: Trouble) -> Scenario {
    Scenario { key, title, work: Work::Beside(trouble), aims: FAIR }
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
        work: push_through(Channel::Tls, Version::V3, 1),
        aims: &[aim(CPU, 0.54, Unit::Mosquitto)],
    },
    Scenario {
        key: "idle-plain",
        title: "10,000 idle clients with one subscription each",
        work: arrivals(10_000, 20, Channel::Plain),
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
        work: arrivals(5_000, 20, Channel::Tls),
        aims: &[aim(MEMORY, 5120.0, Unit::One), aim(CONNECT, 0.58, Unit::Mosquitto)],
    },
    Scenario {
        key: "push-qos2",
        title: "push, QoS 2: 10 publishers to 1000 subscribers, one each, 500 outstanding",
        work: push_through(Channel::Plain, Version::V3, 2),
        aims: &[],
    },
    Scenario {
        key: "push-v5",
        title: "push, MQTT 5.0, QoS 1: 10 publishers to 1000 subscribers, 500 outstanding",
        work: push_through(Channel::Plain, Version::V5, 1),
        aims: &[],
    },
    Scenario {
        key: "push-websocket",
        title: "push over WebSocket, QoS 1: 10 publishers to 1000 subscribers, 500 outstanding",
        work: push_through(Channel::WebSocket, Version::V3, 1),
        aims: &[],
    },
    Scenario {
        key: "push-million",
        title: "push, QoS 1, among 1,000,000 subscriptions of others",
        work: Work::Traffic(Traffic { bystanders: 1_000_000, ..PUSH }, TCP),
        aims: &[],
    },
    Scenario {
        key: "push-slow-one",
        title: "push, QoS 1, beside a subscriber of everything that never reads",
        work: Work::Traffic(Traffic { with_a_deaf_one: true, ..PUSH }, TCP),
        aims: &[],
    },
    Scenario {
        key: "storm-plain",
        title: "a storm: 10,000 clients connect, 500 at a time",
        work: arrivals(10_000, 500, Channel::Plain),
        aims: &[],
    },
    Scenario {
        key: "storm-tls",
        title: "a storm over TLS: 5,000 clients connect, 500 at a time",
        work: arrivals(5_000, 500, Channel::Tls),
        aims: &[],
    },
    Scenario {
        key: "durable-1-away",
        title: "durable, QoS 1: 1 publisher, 10 outstanding each, to a kept session that is away",
        work: durable(1, Presence::Absent),
        aims: &[],
    },
    Scenario {
        key: "durable-1-online",
        title: "durable, QoS 1: 1 publisher, 10 outstanding each, to a kept session that is online",
        work: durable(1, Presence::Durable),
        aims: &[],
    },
    Scenario {
        key: "durable-64-away",
        title: "durable, QoS 1: 64 publishers, 10 outstanding each, to a kept session that is away",
        work: durable(64, Presence::Absent),
        aims: &[aim(CPU, 1.5, Unit::MemoryMode)],
    },
    Scenario {
        key: "durable-64-online",
        title: "durable, QoS 1: 64 publishers, 10 outstanding each, to a kept session that is online",
        work: durable(64, Presence::Durable),
        aims: &[aim(CPU, 1.5, Unit::MemoryMode)],
    },
    Scenario {
        key: "durable-queue",
        title: "1000 sessions that are away, 100 messages of 256 bytes for each; then they come back",
        work: Work::Queues(Absent { sessions: 1000, messages: 100, payload: 256 }),
        aims: &[aim(QUEUE, 2.5, Unit::One), aim(DRAIN, 3.0, Unit::One)],
    },
    Scenario {
        key: "durable-resume",
        title: "a session comes back to 1,000,000 messages, while another client publishes",
        work: Work::Resume(1_000_000),
        aims: &[],
    },
    Scenario {
        key: "growth-idle",
        title: "push, QoS 1: 10 publishers to 100 subscribers, 500 outstanding, beside others that are idle",
        work: Work::Growth(Who::AFew),
        aims: &[aim(MOST, 1.10, Unit::One), aim(MANY, 1.10, Unit::One), aim(SOME, 1.10, Unit::One)],
    },
    Scenario {
        key: "growth-active",
        title: "push, QoS 1: 10 publishers to all there are, one after the other by chance, 50 outstanding",
        work: Work::Growth(Who::Everybody),
        aims: &[],
    },
    beside("fair-nobody", "the others, beside an idle client: what chance makes of the ratio", Trouble::Nobody),
    beside("fair-deaf-qos0", "the others, beside a subscriber of everything that never reads, QoS 0", Trouble::Deaf(0)),
    beside("fair-deaf-qos1", "the others, beside a subscriber of everything that never reads, QoS 1", Trouble::Deaf(1)),
    beside("fair-flood-qos0", "the others, beside a publisher without end, QoS 0, to nobody", Trouble::Flood(0)),
    beside("fair-flood-qos1", "the others, beside a publisher without end, QoS 1, to nobody", Trouble::Flood(1)),
    beside(
        "fair-slow-qos0",
        "the others, beside a publisher without end, QoS 0, to a slow reader",
        Trouble::FloodToSlow(0),
    ),
    beside(
        "fair-slow-qos1",
        "the others, beside a publisher without end, QoS 1, to a slow reader",
        Trouble::FloodToSlow(1),
    ),
    beside(
        "fair-resume",
        "the others, beside a session that comes back to 1,000,000 messages",
        Trouble::Back(1_000_000),
    ),
    beside(
        "fair-everything",
        "the others, beside a subscriber of everything that reads, QoS 1",
        Trouble::Everything(1),
    ),
];
