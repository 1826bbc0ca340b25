//! Packets a server sends, decoded strictly: whatever a server may not send is an error with the rule it breaks.

use super::property::{Properties, Reader, place};
use super::wire::Version;

/// A packet from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    Connack(Connack),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack),
    /// SUBACK.
    Suback(Codes),
    /// UNSUBACK.
    Unsuback(Codes),
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT (5.0).
    Disconnect(Reason),
    /// AUTH (5.0).
    Auth(Reason),
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Session Present.
    pub session_present: bool,
    /// Reason code, or return code.
    pub code: u8,
    /// Properties.
    pub props: Properties,
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name; the watch fills in what a Topic Alias stands for.
    pub topic: String,
    /// Packet Identifier; 0 at QoS 0.
    pub id: u16,
    /// Properties.
    pub props: Properties,
    /// Payload.
    pub payload: Vec<u8>,
    /// First byte of the packet.
    pub first: u8,
    /// Size of the whole packet, bytes.
    pub size: usize,
}

/// One of the four acknowledgements of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// First byte: 0x40, 0x50, 0x62, 0x70.
    pub first: u8,
    /// Packet Identifier.
    pub id: u16,
    /// Reason code; 0 in 3.1.1.
    pub code: u8,
    /// Properties.
    pub props: Properties,
    /// Size of the whole packet, bytes.
    pub size: usize,
}

/// SUBACK or UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// Packet Identifier.
    pub id: u16,
    /// One code per filter; none in a 3.1.1 UNSUBACK.
    pub codes: Vec<u8>,
    /// Properties.
    pub props: Properties,
    /// Size of the whole packet, bytes.
    pub size: usize,
}

/// DISCONNECT or AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Reason code.
    pub code: u8,
    /// Properties.
    pub props: Properties,
    /// Size of the whole packet, bytes.
    pub size: usize,
}

const CONNACK_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B,
    0x9C, 0x9D, 0x9F,
];
const PUBLISH_CODES: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASE_CODES: &[u8] = &[0x00, 0x92];
const SUBACK_CODES: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
const UNSUBACK_CODES: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
const DISCONNECT_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

/// Takes the first whole packet off `bytes`: the packet and its size, or `None` if more bytes are needed.
pub fn decode(version: Version, bytes: &[u8]) -> Result<Option<(Packet, usize)>, String> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let digits = rest.iter().take(4).position(|byte| byte & 0x80 == 0);
    let Some(last) = digits else {
        return if rest.len() < 4 { Ok(None) } else { Err("Remaining Length has more than four bytes".into()) };
    };
    let mut reader = Reader::new(rest);
    let length = reader.varint()? as usize;
    let size = 2 + last + length;
    if bytes.len() < size {
        return Ok(None);
    }
    let body = &bytes[size - length..size];
    Ok(Some((packet(version, first, body, size)?, size)))
}

fn packet(version: Version, first: u8, body: &[u8], size: usize) -> Result<Packet, String> {
    let mut reader = Reader::new(body);
    let v5 = version == Version::V5;
    let packet = match first {
        0x20 => Packet::Connack(connack(v5, &mut reader)?),
        0x30..=0x3F => Packet::Publish(publish(v5, first, &mut reader, size)?),
        0x40 | 0x50 | 0x62 | 0x70 => Packet::Ack(ack(v5, first, &mut reader, size)?),
        0x90 | 0xB0 => codes(v5, first, &mut reader, size)?,
        0xD0 => Packet::Pingresp,
        0xE0 if v5 => Packet::Disconnect(reason(&mut reader, place::DISCONNECT, DISCONNECT_CODES, size)?),
        0xF0 if v5 => Packet::Auth(reason(&mut reader, place::AUTH, &[0x00, 0x18], size)?),
        _ => return Err(format!("[MQTT-2.1.3-1] a server never sends a first byte of 0x{first:02X}")),
    };
    if reader.is_empty() { Ok(packet) } else { Err(format!("{packet:?} has bytes behind its last field")) }
}

fn legal(code: u8, codes: &[u8], statement: &str) -> Result<u8, String> {
    if codes.contains(&code) { Ok(code) } else { Err(format!("[{statement}] reason code 0x{code:02X} is not for it")) }
}

fn connack(v5: bool, reader: &mut Reader<'_>) -> Result<Connack, String> {
    let flags = reader.u8()?;
    if flags > 1 {
        return Err(format!("[MQTT-3.2.2-1] CONNACK flags are 0x{flags:02X}"));
    }
    let code = reader.u8()?;
    let props = if v5 { reader.properties(place::CONNACK)? } else { Properties::default() };
    if v5 {
        legal(code, CONNACK_CODES, "MQTT-3.2.2-8")?;
    } else if code > 5 {
        return Err(format!("[MQTT3-3.2.2-6] return code {code}"));
    }
    if code != 0 && flags != 0 {
        return Err("[MQTT-3.2.2-6] [MQTT3-3.2.2-4] Session Present with an error".into());
    }
    Ok(Connack { session_present: flags == 1, code, props })
}

fn publish(v5: bool, first: u8, reader: &mut Reader<'_>, size: usize) -> Result<Publish, String> {
    let qos = (first >> 1) & 3;
    let dup = first & 8 != 0;
    if qos == 3 {
        return Err("[MQTT-3.3.1-4] PUBLISH with both QoS bits".into());
    }
    if qos == 0 && dup {
        return Err("[MQTT-3.3.1-2] QoS 0 with DUP 1".into());
    }
    let topic = reader.text()?;
    if topic.contains(['+', '#']) {
        return Err(format!("[MQTT-3.3.2-2] Topic Name {topic:?} has a wildcard"));
    }
    let id = if qos > 0 { reader.u16()? } else { 0 };
    if qos > 0 && id == 0 {
        return Err("[MQTT-2.2.1-4] Packet Identifier 0".into());
    }
    let props = if v5 { reader.properties(place::PUBLISH)? } else { Properties::default() };
    let payload = reader.rest().to_vec();
    Ok(Publish { dup, qos, retain: first & 1 != 0, topic, id, props, payload, first, size })
}

fn ack(v5: bool, first: u8, reader: &mut Reader<'_>, size: usize) -> Result<Ack, String> {
    let id = reader.u16()?;
    let (mut code, mut props) = (0, Properties::default());
    if v5 && !reader.is_empty() {
        code = reader.u8()?;
        if !reader.is_empty() {
            props = reader.properties(place::ACK)?;
        }
    }
    let (codes, statement) = match first {
        0x40 => (PUBLISH_CODES, "MQTT-3.4.2-1"),
        0x50 => (PUBLISH_CODES, "MQTT-3.5.2-1"),
        0x62 => (RELEASE_CODES, "MQTT-3.6.2-1"),
        _ => (RELEASE_CODES, "MQTT-3.7.2-1"),
    };
    Ok(Ack { first, id, code: legal(code, codes, statement)?, props, size })
}

fn codes(v5: bool, first: u8, reader: &mut Reader<'_>, size: usize) -> Result<Packet, String> {
    let id = reader.u16()?;
    let props = if v5 { reader.properties(place::ACK)? } else { Properties::default() };
    let codes = reader.rest().to_vec();
    let (table, statement): (&[u8], &str) = match (first, v5) {
        (0x90, true) => (SUBACK_CODES, "MQTT-3.9.3-2"),
        (0x90, false) => (&[0, 1, 2, 0x80], "MQTT3-3.9.3-2"),
        (_, true) => (UNSUBACK_CODES, "MQTT-3.11.3-2"),
        (_, false) => (&[], "MQTT3-3.10.4-4"),
    };
    for code in &codes {
        legal(*code, table, statement)?;
    }
    let codes = Codes { id, codes, props, size };
    Ok(if first == 0x90 { Packet::Suback(codes) } else { Packet::Unsuback(codes) })
}

fn reason(reader: &mut Reader<'_>, here: u8, table: &[u8], size: usize) -> Result<Reason, String> {
    let code = if reader.is_empty() { 0 } else { reader.u8()? };
    let props = if reader.is_empty() { Properties::default() } else { reader.properties(here)? };
    legal(code, table, "MQTT-3.14.2-1 or MQTT-3.15.2-1")?;
    Ok(Reason { code, props, size })
}
