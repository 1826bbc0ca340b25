//! The packets a client may send, as they are read.

use bytes::Bytes;

use super::check::{self, AckKind, Checked};
use super::frame::Frame;
use super::{DecodeError, PacketId, ProtocolVersion, PublishView, QoS, ReasonCode, codec, publish};

/// A packet from a client, valid in itself: flags, properties, ranges, ends, UTF-8 are all checked.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Packet<'a> {
    Connect(Box<Connect>),
    Publish(PublishView<'a>),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingReq,
    Disconnect(Disconnect),
    Auth(Auth),
}

/// CONNECT. 3.1.1's CleanSession is translated: 1 is `clean_start` with expiry 0, 0 is no clean start
/// with an expiry of `u32::MAX` (never).
#[derive(Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Connect {
    pub version: ProtocolVersion,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub client_id: Box<str>,
    pub will: Option<Will>,
    pub user_name: Option<Box<str>>,
    /// Binary; never printed.
    pub password: Option<Box<[u8]>>,
    /// 0 = ends with the connection, `u32::MAX` = never.
    pub session_expiry_s: u32,
    /// 1 to 65,535; 65,535 if absent.
    pub receive_maximum: u16,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    /// `true` if absent.
    pub request_problem_information: bool,
    pub authentication_method: Option<Box<str>>,
    pub authentication_data: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Connect {
    /// Everything but the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("clean_start", &self.clean_start)
            .finish_non_exhaustive()
    }
}

/// The Will Message as written in CONNECT.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Will {
    pub topic: Box<str>,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
    pub delay_s: u32,
    pub expiry_s: Option<u32>,
    /// Forwardable properties in wire form (see `message::Parts::properties`).
    pub properties: Bytes,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ack {
    pub packet_id: PacketId,
    /// `Success` in 3.1.1.
    pub reason: ReasonCode,
}

/// Retain Handling of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum RetainHandling {
    #[default]
    Always,
    IfNew,
    Never,
}

/// One filter of a SUBSCRIBE with its options. The filter is UTF-8 without U+0000; whether it is a
/// valid Topic Filter is for `topic` to say, because each filter gets its own answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Subscription {
    pub filter: Box<str>,
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// SUBSCRIBE: at least one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Subscribe {
    pub packet_id: PacketId,
    /// 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    pub subscriptions: Vec<Subscription>,
}

/// UNSUBSCRIBE: at least one filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Unsubscribe {
    pub packet_id: PacketId,
    pub filters: Vec<Box<str>>,
}

/// DISCONNECT from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Disconnect {
    pub reason: ReasonCode,
    pub session_expiry_s: Option<u32>,
}

/// AUTH from a client. 5.0 only.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Auth {
    pub reason: ReasonCode,
    pub method: Option<Box<str>>,
    pub data: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("reason", &self.reason).field("method", &self.method).finish_non_exhaustive()
    }
}

/// Reads one packet of a client. `version` is what its CONNECT said; `None` before it, when only CONNECT
/// is allowed.
///
/// # Errors
/// Whatever the validator finds, with the reason for a 5.0 peer and the statement broken. A packet that
/// only a server may send is `ProtocolError`.
pub fn decode<'a>(frame: Frame<'a>, version: Option<ProtocolVersion>) -> Result<Packet<'a>, DecodeError> {
    // What comes most is read at once, without a stop at the validator's door.
    if let (3, Some(version)) = (frame.first >> 4, version) {
        return publish::read(frame, version).map(Packet::Publish);
    }
    Ok(match check::check(frame, version)? {
        Checked::Ack(kind, packet_id, reason) => {
            // Up to the Reason Code nothing is left to read.
            let ack = if frame.body.len() < 4 { Ack { packet_id, reason } } else { codec::ack(frame, kind)? };
            match kind {
                AckKind::PubAck => Packet::PubAck(ack),
                AckKind::PubRec => Packet::PubRec(ack),
                AckKind::PubRel => Packet::PubRel(ack),
                AckKind::PubComp => Packet::PubComp(ack),
            }
        }
        Checked::PingReq => Packet::PingReq,
        Checked::Connect(connect) => Packet::Connect(Box::new(codec::connect(connect)?)),
        Checked::Subscribe(version) => Packet::Subscribe(codec::subscribe(frame, version)?),
        Checked::Unsubscribe(version) => Packet::Unsubscribe(codec::unsubscribe(frame, version)?),
        Checked::Disconnect => Packet::Disconnect(codec::disconnect(frame)?),
        Checked::Auth(reason) => Packet::Auth(codec::auth(frame, reason)?),
    })
}

#[cfg(test)]
mod tests;
