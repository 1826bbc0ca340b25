//! The Application Message: what travels from a publisher to its subscribers.
//!
//! Forwardable properties and payload lie one behind the other in one shared buffer, so that a message costs one copy however
//! many people get it. The Topic Name stays text beside it, in the message itself if it is short: it is asked for several
//! times for each delivery, and is not to be checked again each time.
//!
//! *Architecture invariant:* a message never changes after it was made, and knows nothing about who
//! gets it: Packet Identifiers, granted QoS and Subscription Identifiers belong to a delivery.

// Input decides nothing here by a panic or a lost bit. Lengths of what is in memory are added saturating: their sum never comes
// near the end of the numbers, and if it did, it would be longer than anything may be.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

use bytes::Bytes;
use smol_str::SmolStr;

use crate::clock::{Moment, Now};
use crate::identity::Origin;
use crate::mqtt::QoS;

/// How important a message is when the broker is overloaded, most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Instant messages, payment callbacks: delivered at every level.
    P0,
    /// Orders, service.
    #[default]
    P1,
    /// Notices.
    P2,
    /// Marketing.
    P3,
}

/// One Application Message. Shared as `Arc<Message>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    topic: SmolStr,
    body: Bytes,
    properties_len: u32,
    /// The QoS it was published with.
    pub qos: QoS,
    /// Published with RETAIN 1 (or stored as retained).
    pub retain: bool,
    /// Importance under overload.
    pub class: Class,
    /// When it expires; `None` = never.
    pub expires: Option<Moment>,
    /// Who published it, for No Local [MQTT-3.8.3-3].
    pub origin: Origin,
}

/// What a message is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Topic Name, checked, 1 to 65,535 bytes.
    pub topic: &'a str,
    /// The properties to forward unaltered and in order, encoded as on a 5.0 wire without their length:
    /// Payload Format Indicator, Content Type, Response Topic, Correlation Data, User Properties.
    pub properties: &'a [u8],
    /// Application payload.
    pub payload: &'a [u8],
    /// QoS as published.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Message Expiry Interval in seconds, if there was one.
    pub expiry_s: Option<u32>,
    /// Publisher, for No Local.
    pub origin: Origin,
}

impl Message {
    /// Copies `parts`; an expiry interval becomes a deadline from `now`.
    pub fn new(parts: Parts<'_>, now: Now) -> Self {
        let mut body = Vec::with_capacity(parts.properties.len().saturating_add(parts.payload.len()));
        body.extend_from_slice(parts.properties);
        body.extend_from_slice(parts.payload);
        Self {
            topic: SmolStr::new(parts.topic),
            properties_len: u32::try_from(parts.properties.len()).unwrap_or(u32::MAX),
            body: Bytes::from(body),
            qos: parts.qos,
            retain: parts.retain,
            class: Class::default(),
            expires: parts.expiry_s.map(|s| now.plus_s(u64::from(s))),
            origin: parts.origin,
        }
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The properties that every receiver gets unaltered [MQTT-3.3.2-17], in wire form.
    pub fn properties(&self) -> &[u8] {
        self.body.get(..self.properties_len as usize).unwrap_or_default()
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.body.get(self.properties_len as usize..).unwrap_or_default()
    }

    /// The buffer in which the payload lies, to be shared where it is not worth copying.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes this message holds: topic, properties and payload.
    pub fn bytes(&self) -> usize {
        self.topic.len().saturating_add(self.body.len())
    }

    /// Whether its life was over at `moment`: it must not be delivered any more [MQTT-3.3.2-5].
    pub fn expired_by(&self, moment: Moment) -> bool {
        self.expires.is_some_and(|at| at <= moment)
    }

    /// Seconds of life left, rounded up, to be forwarded [MQTT-3.3.2-6]: `Some(None)` never expires,
    /// `None` has expired and must not be delivered [MQTT-3.3.2-5].
    pub fn life_left_s(&self, now: Now) -> Option<Option<u32>> {
        match self.expires {
            None => Some(None),
            Some(at) => match at.ms_since(now.moment) {
                0 => None,
                ms => Some(Some(u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(expiry_s: Option<u32>) -> Message {
        let parts = Parts {
            topic: "a/é",
            properties: &[1, 1],
            payload: b"hi",
            qos: QoS::AtLeastOnce,
            retain: false,
            expiry_s,
            origin: Origin(7),
        };
        Message::new(parts, Now::default())
    }

    #[test]
    fn the_parts_come_out_as_they_went_in() {
        let m = message(None);
        assert_eq!((m.topic(), m.properties(), m.payload()), ("a/é", &[1u8, 1][..], &b"hi"[..]));
        assert_eq!(m.body().slice_ref(m.payload()), m.payload());
        assert_eq!(m.bytes(), 8);
    }

    #[test]
    fn mqtt_3_3_2_6_the_remaining_seconds_are_rounded_up_and_end_at_the_deadline() {
        let at = |ms| Now { moment: Moment::from_ms(ms), wall_ms: 0 };
        assert_eq!(message(None).life_left_s(at(1_000_000)), Some(None));
        assert_eq!(message(Some(30)).life_left_s(at(3_100)), Some(Some(27)));
        assert_eq!(message(Some(1)).life_left_s(at(999)), Some(Some(1)));
        assert_eq!(message(Some(1)).life_left_s(at(1_000)), None);
    }
}
