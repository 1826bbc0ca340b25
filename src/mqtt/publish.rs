//! PUBLISH: a borrowed view in; out, a frame encoded once per layout and copied with its Packet
//! Identifier, flags and remaining expiry patched.

mod template;

pub use template::{Alias, Content, Shape, Templates, encoded_len, put_once};

use super::frame::Frame;
use super::property::{self, Place, Value};
use super::reader::Reader;
use super::{DecodeError, PacketId, ProtocolVersion, QoS, ReasonCode, text};

/// PUBLISH from a client, borrowed from the read buffer, valid in itself. Topic Name is checked (UTF-8,
/// no U+0000, no wildcards [MQTT-3.3.2-2]); it is empty only when `topic_alias` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PublishView<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    pub topic: &'a str,
    /// There if and only if QoS > 0 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// 1 to 65,535; the session compares it with the Topic Alias Maximum.
    pub topic_alias: Option<u16>,
    pub expiry_s: Option<u32>,
    /// All properties as written, without their length.
    pub properties: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> PublishView<'a> {
    /// The properties that are forwarded: all but Topic Alias and Message Expiry Interval, in order. Copied
    /// into `spare` only if there is something to leave out.
    pub fn forwardable<'b>(&self, spare: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if self.topic_alias.is_none() && self.expiry_s.is_none() {
            return self.properties;
        }
        spare.clear();
        property::keep_forwardable(self.properties, spare);
        spare
    }
}

/// Reads and checks PUBLISH from a client in one pass.
pub(super) fn read<'a>(frame: Frame<'a>, version: ProtocolVersion) -> Result<PublishView<'a>, DecodeError> {
    // [MQTT-3.3.1-4]
    let qos = QoS::from_bits(frame.first >> 1 & 3).ok_or(DecodeError::malformed("MQTT-3.3.1-4"))?;
    let dup = frame.first & 8 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(DecodeError::malformed("MQTT-3.3.1-2"));
    }
    let mut body = Reader::new(frame.body);
    let topic = text::topic_name(body.binary()?, ReasonCode::TopicNameInvalid, "MQTT-3.3.2-2")?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id("MQTT-2.2.1-3")?),
    };
    let (mut topic_alias, mut expiry_s, mut properties) = (None, None, &[][..]);
    if version.is_v5() {
        properties = property::read(&mut body, Place::Publish, |id, value| match (id, value) {
            (property::TOPIC_ALIAS, Value::Number(alias)) => topic_alias = u16::try_from(alias).ok(),
            (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(seconds)) => expiry_s = Some(seconds),
            _ => {}
        })?;
    }
    if topic.is_empty() && topic_alias.is_none() {
        // [MQTT-4.7.3-1]
        return Err(DecodeError::protocol("MQTT-4.7.3-1"));
    }
    let retain = frame.first & 1 != 0;
    let payload = body.rest();
    Ok(PublishView { dup, qos, retain, topic, packet_id, topic_alias, expiry_s, properties, payload })
}

#[cfg(test)]
mod tests;
