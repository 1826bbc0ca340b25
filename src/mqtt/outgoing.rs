//! The packets the broker sends, PUBLISH apart, and how they are put on the wire.

use super::{Out, PacketId, ProtocolVersion, ReasonCode};

/// What must be known of the receiver to encode for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The protocol it speaks.
    pub version: ProtocolVersion,
    /// Its Maximum Packet Size; `u32::MAX` if it named none.
    pub maximum_packet_size: u32,
    /// Whether Reason String and User Property may be sent on any packet [MQTT-3.1.2-29].
    pub problem_information: bool,
}

/// CONNACK. In 3.1.1 only `session_present` and the return code that fits `reason` go out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConnAck {
    pub session_present: bool,
    pub reason: ReasonCode,
    /// Sent if it differs from what the client asked for.
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<u16>,
    /// 0 or 1: never 2 on the wire.
    pub maximum_qos: Option<u8>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_id: Option<Box<str>>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<Box<str>>,
    pub user_properties: Vec<(Box<str>, Box<str>)>,
    pub server_keep_alive_s: Option<u16>,
    pub response_information: Option<Box<str>>,
    pub authentication_method: Option<Box<str>>,
    pub authentication_data: Option<Box<[u8]>>,
}

impl ConnAck {
    /// A CONNACK that says `reason` and nothing else.
    pub fn bare(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            session_expiry_s: None,
            receive_maximum: None,
            maximum_qos: None,
            retain_available: None,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: None,
            reason_string: None,
            user_properties: Vec::new(),
            server_keep_alive_s: None,
            response_information: None,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

/// A packet to a client. Reason Strings and User Properties are advice: the encoder leaves them out where
/// they would break the receiver's Maximum Packet Size, or where it wants no problem information.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outgoing {
    ConnAck(Box<ConnAck>),
    PubAck {
        packet_id: PacketId,
        reason: ReasonCode,
        reason_string: Option<&'static str>,
    },
    PubRec {
        packet_id: PacketId,
        reason: ReasonCode,
        reason_string: Option<&'static str>,
    },
    PubRel {
        packet_id: PacketId,
        reason: ReasonCode,
    },
    PubComp {
        packet_id: PacketId,
        reason: ReasonCode,
    },
    /// One code per filter [MQTT-3.8.4-6]; in 3.1.1 every failure is 0x80.
    SubAck {
        packet_id: PacketId,
        codes: Vec<ReasonCode>,
        reason_string: Option<&'static str>,
    },
    /// In 3.1.1 without codes.
    UnsubAck {
        packet_id: PacketId,
        codes: Vec<ReasonCode>,
    },
    PingResp,
    /// 5.0 only: nothing is put for 3.1.1.
    Disconnect {
        reason: ReasonCode,
        reason_string: Option<Box<str>>,
    },
    /// 5.0 only.
    Auth {
        reason: ReasonCode,
        method: Box<str>,
        data: Option<Box<[u8]>>,
    },
}

/// Appends `packet` for `peer`. Plain acknowledgements are four bytes of our own; CONNACK, SUBACK, UNSUBACK and
/// acknowledgements with properties go through mqttbytes where that is right.
pub fn put(packet: &Outgoing, peer: &Peer, out: &mut Out) {
    let _ = (packet, peer, out);
    todo!()
}
