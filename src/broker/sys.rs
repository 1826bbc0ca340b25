//! The broker's own figures as `$SYS` topics: numbers in, topics and payloads out.

use crate::clock::Now;
use crate::metrics::{Counters, Dropped, Metric, Qos};

use super::Broker;
use crate::store::{Level, Levels};

/// What the topics are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// Network connections.
    pub connected: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Application Messages received.
    pub received: u64,
    /// Application Messages delivered.
    pub delivered: u64,
    /// Application Messages dropped, for whatever reason.
    pub dropped: u64,
    /// What an acknowledgement survives: the store's mode.
    pub store_mode: &'static str,
    /// The same for each listener, and for topics with a level of their own.
    pub levels: Levels,
}

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

impl Broker {
    /// The figures now. `counted` is the sum over all cores.
    pub fn figures(&self, counted: &Counters, now: Now) -> Figures {
        Figures {
            uptime_ms: now.moment.as_ms(),
            connected: counted.value(Metric::Connections),
            sessions: self.directory.len() as u64,
            subscriptions: self.index.subscriptions() as u64,
            retained: self.retained.count() as u64,
            received: QOS.iter().map(|qos| counted.value(Metric::MessagesReceived(*qos))).sum(),
            delivered: QOS.iter().map(|qos| counted.value(Metric::MessagesDelivered(*qos))).sum(),
            dropped: Dropped::ALL.iter().map(|why| counted.value(Metric::MessagesDropped(*why))).sum(),
            store_mode: self.store.level().name(),
            levels: self.levels.clone(),
        }
    }
}

/// The topics to publish, with their payloads. Names that mosquitto has too mean the same here.
pub fn topics(figures: &Figures) -> Vec<(String, String)> {
    let number = |name: &str, value: u64| (format!("$SYS/broker/{name}"), value.to_string());
    let mut topics = vec![
        ("$SYS/broker/version".into(), concat!("HeraldMQ ", env!("CARGO_PKG_VERSION")).into()),
        ("$SYS/broker/uptime".into(), format!("{} seconds", figures.uptime_ms / 1000)),
        number("clients/connected", figures.connected),
        number("clients/total", figures.sessions),
        number("clients/disconnected", figures.sessions.saturating_sub(figures.connected)),
        number("subscriptions/count", figures.subscriptions),
        number("retained messages/count", figures.retained),
        number("publish/messages/received", figures.received),
        number("publish/messages/sent", figures.delivered),
        number("publish/messages/dropped", figures.dropped),
        ("$SYS/broker/durability/mode".into(), figures.store_mode.into()),
    ];
    let listener = |(name, level): &(Box<str>, Level)| {
        (format!("$SYS/broker/durability/listeners/{name}"), level.name().to_owned())
    };
    topics.extend(figures.levels.listeners.iter().map(listener));
    // In one payload: a pattern is no Topic Name.
    let by_topic: Vec<_> =
        figures.levels.topics.iter().map(|(pattern, level)| format!("{pattern}={}", level.name())).collect();
    if !by_topic.is_empty() {
        topics.push(("$SYS/broker/durability/topics".into(), by_topic.join(",")));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TopicLevels;

    #[test]
    fn each_figure_has_its_topic() {
        let figures =
            Figures { uptime_ms: 61_999, connected: 2, sessions: 5, store_mode: "memory", ..Figures::default() };
        let topics = topics(&figures);
        let payload = |name: &str| topics.iter().find(|(topic, _)| topic == name).map(|(_, payload)| payload.as_str());
        assert_eq!(payload("$SYS/broker/uptime"), Some("61 seconds"));
        assert_eq!(payload("$SYS/broker/clients/disconnected"), Some("3"));
        assert_eq!(payload("$SYS/broker/durability/mode"), Some("memory"));
        assert!(
            !topics.iter().any(|(topic, _)| topic == "$SYS/broker/durability/topics"),
            "none has a level of its own"
        );
        assert!(topics.iter().all(|(topic, payload)| topic.starts_with("$SYS/broker/") && !payload.is_empty()));
    }

    #[test]
    fn every_level_in_force_has_its_topic() {
        let levels = Levels {
            listeners: vec![("mqtt".into(), Level::Sync), ("ws".into(), Level::Os)],
            topics: TopicLevels::new([("a/#".into(), Level::Memory), ("a/b/#".into(), Level::Os)]),
        };
        let topics = topics(&Figures { levels, store_mode: "sync", ..Figures::default() });
        let payload = |name: &str| topics.iter().find(|(topic, _)| topic == name).map(|(_, payload)| payload.as_str());
        assert_eq!(payload("$SYS/broker/durability/listeners/mqtt"), Some("sync"));
        assert_eq!(payload("$SYS/broker/durability/listeners/ws"), Some("os"));
        assert_eq!(payload("$SYS/broker/durability/topics"), Some("a/b/#=os,a/#=memory"));
    }
}
