//! The few MQTT packets a load needs, made and read by hand.

use super::BenchError;

/// The packet's type.
pub const CONNECT: u8 = 1;
/// The packet's type.
pub const CONNACK: u8 = 2;
/// The packet's type.
pub const PUBLISH: u8 = 3;
/// The packet's type.
pub const PUBACK: u8 = 4;
/// The packet's type.
pub const PUBREC: u8 = 5;
/// The packet's type.
pub const PUBREL: u8 = 6;
/// The packet's type.
pub const PUBCOMP: u8 = 7;
/// The packet's type.
pub const SUBSCRIBE: u8 = 8;
/// The packet's type.
pub const SUBACK: u8 = 9;
/// The packet's type.
pub const PINGREQ: u8 = 12;
/// The packet's type.
pub const PINGRESP: u8 = 13;
/// The packet's type.
pub const DISCONNECT: u8 = 14;

/// Seconds a session of MQTT 5.0 outlives its connection, if it does.
const SESSION_EXPIRY_S: u32 = 24 * 3600;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V3,
    /// 5.0, with no property that is not needed.
    V5,
}

/// One packet: its type, the flags of its first byte, and what follows the Remaining Length.
#[derive(Debug)]
pub struct Frame<'a> {
    /// One of the types above.
    pub kind: u8,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// What follows the Remaining Length.
    pub body: &'a [u8],
}

/// A PUBLISH, taken apart.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The Topic Name.
    pub topic: &'a [u8],
    /// 0 with QoS 0.
    pub packet_id: u16,
    /// The Application Message.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Of a PUBLISH.
    pub fn qos(&self) -> u8 {
        self.flags >> 1 & 3
    }

    /// The Packet Identifier that opens the body of an acknowledgement or a SUBSCRIBE.
    pub fn packet_id(&self) -> u16 {
        number(self.body)
    }

    /// Whether an acknowledgement of MQTT 5.0 refuses what it answers.
    pub fn is_refusal(&self) -> bool {
        self.body.get(2).is_some_and(|code| *code >= 0x80)
    }

    /// The PUBLISH in it.
    ///
    /// # Errors
    /// It ends too early.
    pub fn publish(&self, version: Version) -> Result<Publish<'a>, BenchError> {
        let topic_end = 2 + usize::from(number(self.body));
        let id_end = if self.qos() > 0 { topic_end + 2 } else { topic_end };
        let properties = match version {
            Version::V3 => Some(0),
            Version::V5 => self.body.get(id_end..).and_then(variable).map(|(length, width)| length + width),
        };
        match (self.body.get(2..topic_end), properties.and_then(|length| self.body.get(id_end + length..))) {
            (Some(topic), Some(payload)) => {
                Ok(Publish { topic, packet_id: number(&self.body[topic_end..id_end]), payload })
            }
            _ => BenchError::broker("a PUBLISH ends too early"),
        }
    }

    /// Of a CONNACK: how many PUBLISH packets may be unacknowledged.
    pub fn receive_maximum(&self) -> u16 {
        const RECEIVE_MAXIMUM: u8 = 0x21;
        let Some((length, width)) = self.body.get(2..).and_then(variable) else { return u16::MAX };
        let mut properties = self.body.get(2 + width..2 + width + length).unwrap_or_default();
        while let [id, value @ ..] = properties {
            let text = |at: usize| value.get(at..).map_or(0, |rest| 2 + usize::from(number(rest)));
            let size = match *id {
                RECEIVE_MAXIMUM => return number(value),
                0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
                0x13 | 0x22 => 2,
                0x11 | 0x27 => 4,
                0x26 => text(0) + text(text(0)),
                _ => text(0),
            };
            properties = value.get(size..).unwrap_or_default();
        }
        u16::MAX
    }
}

fn number(bytes: &[u8]) -> u16 {
    if let [high, low, ..] = bytes { u16::from_be_bytes([*high, *low]) } else { 0 }
}

/// A Variable Byte Integer and its width; `None` if it is not whole, or too wide.
fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Takes the first packet off `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// A Remaining Length of more than four bytes.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, BenchError> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, width)) = variable(rest) else {
        return if rest.len() < 4 {
            Ok(None)
        } else {
            BenchError::broker("a Remaining Length of more than four bytes")
        };
    };
    let Some(body) = rest.get(width..width + length) else { return Ok(None) };
    *bytes = &rest[width + length..];
    Ok(Some(Frame { kind: first >> 4, flags: first & 15, body }))
}

fn remaining(out: &mut Vec<u8>, mut length: usize) {
    while length > 127 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

/// Who connects, and how.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// What is spoken.
    pub version: Version,
    /// The Client Identifier.
    pub client_id: &'a str,
    /// Whether the session outlives its connection, and a former one is gone on with.
    pub durable: bool,
    /// Seconds; 0: none.
    pub keep_alive_s: u16,
    /// User Name and Password.
    pub login: Option<(&'a str, &'a str)>,
}

/// A CONNECT without a will.
pub fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.push(if connect.version == Version::V5 { 5 } else { 4 });
    let clean = if connect.durable { 0 } else { 2 };
    body.push(clean | if connect.login.is_some() { 0xC0 } else { 0 });
    body.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
    match connect.version {
        Version::V5 if connect.durable => {
            body.extend_from_slice(&[5, 0x11]);
            body.extend_from_slice(&SESSION_EXPIRY_S.to_be_bytes());
        }
        Version::V5 => body.push(0),
        Version::V3 => {}
    }
    text(&mut body, connect.client_id.as_bytes());
    if let Some((user, password)) = connect.login {
        text(&mut body, user.as_bytes());
        text(&mut body, password.as_bytes());
    }
    out.push(CONNECT << 4);
    remaining(out, body.len());
    out.extend_from_slice(&body);
}

/// One SUBSCRIBE with all the filters, each at most 65,535 bytes.
pub fn subscribe(out: &mut Vec<u8>, version: Version, filters: &[impl AsRef<str>], qos: u8) {
    let (packet_id, properties): (u16, &[u8]) = (1, if version == Version::V5 { &[0] } else { &[] });
    out.push(SUBSCRIBE << 4 | 2);
    remaining(out, 2 + properties.len() + filters.iter().map(|filter| 3 + filter.as_ref().len()).sum::<usize>());
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.extend_from_slice(properties);
    for filter in filters {
        text(out, filter.as_ref().as_bytes());
        out.push(qos);
    }
}

/// A PUBLISH that is not retained.
pub fn publish(out: &mut Vec<u8>, version: Version, qos: u8, publish: &Publish<'_>) {
    let packet_id = if qos > 0 { 2 } else { 0 };
    let properties = usize::from(version == Version::V5);
    out.push(PUBLISH << 4 | qos << 1);
    remaining(out, 2 + publish.topic.len() + packet_id + properties + publish.payload.len());
    text(out, publish.topic);
    if qos > 0 {
        out.extend_from_slice(&publish.packet_id.to_be_bytes());
    }
    out.extend_from_slice(&[0][..properties]);
    out.extend_from_slice(publish.payload);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP: all is well.
pub fn acknowledge(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    let flags = if kind == PUBREL { 2 } else { 0 };
    out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
}

/// Of MQTT 3.1.1: no session, accepted.
pub fn connack(out: &mut Vec<u8>) {
    out.extend_from_slice(&[CONNACK << 4, 2, 0, 0]);
}

/// Of MQTT 3.1.1, for one filter.
pub fn suback(out: &mut Vec<u8>, packet_id: u16, qos: u8) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[SUBACK << 4, 3, high, low, qos]);
}

/// A packet of two bytes: PINGREQ, PINGRESP, DISCONNECT.
pub fn empty(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind << 4, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_comes_out_as_it_went_in() {
        for version in [Version::V3, Version::V5] {
            for qos in 0..3 {
                let mut bytes = Vec::new();
                let payload = vec![7; 200];
                let packet_id = if qos > 0 { 513 } else { 0 };
                publish(&mut bytes, version, qos, &Publish { topic: b"a/b", packet_id, payload: &payload });
                acknowledge(&mut bytes, PUBREL, 9);
                let mut rest = &bytes[..];
                let frame = take(&mut rest).unwrap().unwrap();
                let read = frame.publish(version).unwrap();
                assert_eq!((frame.kind, frame.qos()), (PUBLISH, qos));
                assert_eq!((read.topic, read.packet_id, read.payload), (&b"a/b"[..], packet_id, &payload[..]));
                let frame = take(&mut rest).unwrap().unwrap();
                assert_eq!((frame.kind, frame.flags, frame.packet_id()), (PUBREL, 2, 9));
                assert!(rest.is_empty());
                for end in 0..bytes.len() - 4 {
                    assert!(take(&mut &bytes[..end]).unwrap().is_none(), "{end} bytes are no packet");
                }
            }
        }
        assert!(take(&mut &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1][..]).is_err());
    }

    #[test]
    fn the_receive_maximum_is_found_behind_other_properties() {
        let body = [0, 0, 15, 0x27, 0, 1, 0, 0, 0x12, 0, 2, b'i', b'd', 0x24, 1, 0x21, 0, 64];
        let frame = Frame { kind: CONNACK, flags: 0, body: &body };
        assert_eq!(frame.receive_maximum(), 64);
        assert_eq!(Frame { kind: CONNACK, flags: 0, body: &[0, 0] }.receive_maximum(), u16::MAX);
        assert_eq!(Frame { kind: CONNACK, flags: 0, body: &[0, 0, 0] }.receive_maximum(), u16::MAX);
    }
}
