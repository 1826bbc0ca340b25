//! The packets the broker sends, PUBLISH apart, and how they are put on the wire.

use super::check::AckKind;
use super::codec::{self, Advice};
use super::property::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD};
use super::{Ack, Out, PacketId, ProtocolVersion, ReasonCode, reader};

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

impl Outgoing {
    /// Its packet type, as in the high four bits of its first byte.
    pub fn packet_type(&self) -> u8 {
        match self {
            Outgoing::ConnAck(_) => 2,
            Outgoing::PubAck { .. } => 4,
            Outgoing::PubRec { .. } => 5,
            Outgoing::PubRel { .. } => 6,
            Outgoing::PubComp { .. } => 7,
            Outgoing::SubAck { .. } => 9,
            Outgoing::UnsubAck { .. } => 11,
            Outgoing::PingResp => 13,
            Outgoing::Disconnect { .. } => 14,
            Outgoing::Auth { .. } => 15,
        }
    }
}

/// Appends `packet` for `peer`. Plain acknowledgements are four bytes of our own; CONNACK, SUBACK, UNSUBACK and
/// acknowledgements with properties go through mqttbytes where that is right. A packet that is larger than the
/// receiver's Maximum Packet Size even without advice is not sent [MQTT-3.1.2-24].
pub fn put(packet: &Outgoing, peer: &Peer, out: &mut Out) {
    let is_v5 = peer.version.is_v5();
    match packet {
        Outgoing::ConnAck(connack) => {
            let advised = codec::connack(connack, is_v5, Advice::Given);
            if !put_fitting(&advised, peer, out) {
                put_fitting(&codec::connack(connack, is_v5, Advice::LeftOut), peer, out);
            }
        }
        Outgoing::PubAck { packet_id, reason, reason_string } => {
            put_refusal(AckKind::PubAck, Ack { packet_id: *packet_id, reason: *reason }, *reason_string, peer, out);
        }
        Outgoing::PubRec { packet_id, reason, reason_string } => {
            put_refusal(AckKind::PubRec, Ack { packet_id: *packet_id, reason: *reason }, *reason_string, peer, out);
        }
        Outgoing::PubRel { packet_id, reason } => {
            put_ack(0x62, Ack { packet_id: *packet_id, reason: *reason }, peer, out);
        }
        Outgoing::PubComp { packet_id, reason } => {
            put_ack(0x70, Ack { packet_id: *packet_id, reason: *reason }, peer, out);
        }
        Outgoing::SubAck { packet_id, codes, reason_string } => {
            let advice = reason_string.filter(|_| peer.problem_information);
            if !put_fitting(&codec::suback(*packet_id, codes, advice, is_v5), peer, out) {
                put_fitting(&codec::suback(*packet_id, codes, None, is_v5), peer, out);
            }
        }
        Outgoing::UnsubAck { packet_id, codes } => {
            put_fitting(&codec::unsuback(*packet_id, codes, is_v5), peer, out);
        }
        Outgoing::PingResp => out.put(&[0xD0, 0]),
        Outgoing::Disconnect { reason, reason_string } if is_v5 => {
            put_disconnect(*reason, reason_string.as_deref(), peer, out);
        }
        Outgoing::Auth { reason, method, data } if is_v5 => put_auth(*reason, method, data.as_deref(), peer, out),
        // 3.1.1 has neither.
        Outgoing::Disconnect { .. } | Outgoing::Auth { .. } => {}
    }
}

/// Appends a packet if there is one and it fits the receiver [MQTT-3.1.2-24].
fn put_fitting(packet: &[u8], peer: &Peer, out: &mut Out) -> bool {
    let fits = !packet.is_empty() && packet.len() <= peer.maximum_packet_size as usize;
    if fits {
        out.put(packet);
    }
    fits
}

/// PUBACK or PUBREC. The Reason String goes along only if the receiver wants problem information
/// [MQTT-3.1.2-29] and it fits [MQTT-3.4.2-2].
fn put_refusal(kind: AckKind, ack: Ack, reason_string: Option<&str>, peer: &Peer, out: &mut Out) {
    if let Some(text) = reason_string.filter(|_| peer.version.is_v5() && peer.problem_information)
        && put_fitting(&codec::ack_with_reason_string(kind, ack.packet_id, ack.reason, text), peer, out)
    {
        return;
    }
    put_ack(if kind == AckKind::PubAck { 0x40 } else { 0x50 }, ack, peer, out);
}

/// An acknowledgement without properties; Success is not spelt out.
fn put_ack(first: u8, ack: Ack, peer: &Peer, out: &mut Out) {
    let [high, low] = ack.packet_id.get().to_be_bytes();
    if ack.reason == ReasonCode::Success || !peer.version.is_v5() {
        put_fitting(&[first, 2, high, low], peer, out);
    } else {
        put_fitting(&[first, 3, high, low, ack.reason as u8], peer, out);
    }
}

/// DISCONNECT; the Reason String is left out where it does not fit [MQTT-3.14.2-3]. A Property Length of 0 is written
/// though it may be omitted: rumqttc takes a DISCONNECT without it for one that has not arrived whole.
fn put_disconnect(reason: ReasonCode, reason_string: Option<&str>, peer: &Peer, out: &mut Out) {
    if let Some(text) = reason_string
        && put_fitting(&codec::disconnect_with_reason_string(reason, text), peer, out)
    {
        return;
    }
    match reason {
        ReasonCode::Success => put_fitting(&[0xE0, 0], peer, out),
        reason => put_fitting(&[0xE0, 2, reason as u8, 0], peer, out),
    };
}

fn put_auth(reason: ReasonCode, method: &str, data: Option<&[u8]>, peer: &Peer, out: &mut Out) {
    let mut properties = Vec::with_capacity(reader::total([6, method.len(), data.map_or(0, <[u8]>::len)]));
    properties.push(AUTHENTICATION_METHOD);
    reader::put_field(method.as_bytes(), &mut properties);
    if let Some(data) = data {
        properties.push(AUTHENTICATION_DATA);
        reader::put_field(data, &mut properties);
    }
    let remaining = reader::total([1, reader::variable_len(properties.len()), properties.len()]);
    let mut packet = Vec::with_capacity(reader::total([5, remaining]));
    packet.push(0xF0);
    reader::put_variable(remaining, &mut packet);
    packet.push(reason as u8);
    reader::put_variable(properties.len(), &mut packet);
    packet.extend_from_slice(&properties);
    put_fitting(&packet, peer, out);
}

#[cfg(test)]
mod tests;
