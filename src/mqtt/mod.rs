//! The wire, and nothing but the wire: bytes to [`Packet`], [`Outgoing`] to bytes.
//!
//! A packet is split off by [`frame::split`], judged whole by the strict validator `check`, and only
//! then read: PUBLISH as a borrowed [`PublishView`], the rest as owned packets, through the crate
//! mqttbytes where it is right (`codec` says where). What goes out is encoded straight into an
//! [`Out`] buffer; a PUBLISH is encoded once per layout and then copied ([`publish::Templates`]).
//!
//! *Architecture invariant:* this room knows no session, no topic matching and no clock. Both protocol
//! versions are one packet and a version argument; 3.1.1's words are translated at decode (CleanSession
//! becomes `clean_start` and a session expiry).
//!
//! Start with [`Packet`], then `frame.rs`, `check.rs`, `publish.rs`.

// Input decides nothing here by a panic or a lost bit. Lengths of what is in memory are added saturating: their sum never comes
// near the end of the numbers, and if it did, it would be longer than anything may be.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

mod check;
mod codec;
pub mod error;
pub mod frame;
pub mod out;
pub mod outgoing;
pub mod packet;
mod property;
pub mod publish;
mod reader;
pub mod reason;
#[cfg(test)]
mod testing;
mod text;

pub use error::DecodeError;
pub use out::Out;
pub use outgoing::{ConnAck, Outgoing, Peer};
pub use packet::{
    Ack, Auth, Connect, Disconnect, Packet, RetainHandling, Subscribe, Subscription, Unsubscribe, Will, decode,
};
pub use publish::PublishView;
pub use reason::ReasonCode;

use std::num::NonZeroU16;

/// The version of the protocol a connection speaks, fixed by its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1 (`MQIsdp`, level 3): answered by 3.1.1's rules.
    V3_1,
    /// MQTT 3.1.1 (level 4).
    V3_1_1,
    /// MQTT 5.0 (level 5).
    V5,
}

impl ProtocolVersion {
    /// Whether packets have properties and reason codes.
    pub fn is_v5(self) -> bool {
        self == ProtocolVersion::V5
    }
}

/// Quality of Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this number, 0 to 2.
    pub fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}

/// A Packet Identifier: never 0 [MQTT-2.2.1-3].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// The identifier with this number; `None` for 0.
    pub fn new(number: u16) -> Option<PacketId> {
        NonZeroU16::new(number).map(PacketId)
    }

    /// The identifier as a number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}
