//! What can be measured of whom, and what an aim is.

use heraldmq::bench::packet::Version;
use heraldmq::bench::stream::{Presence, Traffic};

use super::broker::{Contestant, Kind};
use super::connections::Arrivals;
use super::durable::Absent;
use super::growth::Who;
use super::report::{MEMORY_MODE, MOSQUITTO, RELAY};
use super::trouble::Trouble;

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
    Traffic(Traffic, Layers),
    /// Clients come, subscribe to one topic each, ping once, and stay.
    Connections(Arrivals),
    /// Messages wait for sessions whose clients are away, and are drained.
    Queues(Absent),
    /// One session comes back to so many messages.
    Resume(usize),
    /// The same work, beside more and more connections.
    Growth(Who),
    /// Everybody else, beside one client that is a burden.
    Beside(Trouble),
}

/// What lies between the load and the broker.
#[derive(Clone, Copy)]
pub struct Layers {
    pub channel: Channel,
    pub version: Version,
}

/// Over which the MQTT bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Plain,
    Tls,
    WebSocket,
}

impl Scenario {
    /// Whether something must be kept for it.
    pub fn is_durable(&self) -> bool {
        match &self.work {
            Work::Traffic(traffic, _) => traffic.presence != Presence::Clean,
            Work::Connections(_) | Work::Beside(_) | Work::Growth(_) => false,
            Work::Queues(_) | Work::Resume(_) => true,
        }
    }

    /// Who can do it: the relay knows little; what must be kept, each keeps in all its ways.
    pub fn contestants(&self, all: &[Contestant]) -> Vec<Contestant> {
        if self.is_durable() {
            return all.iter().flat_map(Contestant::keeping).collect();
        }
        if let Work::Beside(_) = self.work {
            return all.iter().filter(|one| !matches!(one.kind, Kind::Relay)).cloned().collect();
        }
        let (layers, qos) = match &self.work {
            Work::Traffic(traffic, layers) => (*layers, traffic.qos),
            Work::Connections(arrivals) => (arrivals.layers, 1),
            _ => (TCP, 1),
        };
        let is_simple = layers.channel == Channel::Plain && layers.version == Version::V3 && qos < 2;
        all.iter().filter(|one| is_simple || one.is_whole()).cloned().collect()
    }

    /// Those whose figures the others' are divided by.
    pub fn bases(&self) -> [&'static str; 2] {
        [if self.is_durable() { MEMORY_MODE } else { RELAY }, MOSQUITTO]
    }
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
    /// The same work in store mode `memory`.
    MemoryMode,
    One,
}

/// MQTT 3.1.1 and nothing between.
pub const TCP: Layers = Layers { channel: Channel::Plain, version: Version::V3 };
