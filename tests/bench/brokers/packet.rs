//! The few MQTT 3.1.1 packets a load needs, made and read by hand: what is measured must not also do the measuring.

use anyhow::{Result, bail};

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBSCRIBE: u8 = 8;
pub const SUBACK: u8 = 9;
pub const CONNECT: u8 = 1;
pub const PINGREQ: u8 = 12;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// One packet: its type, the flags of its first byte, and what follows the Remaining Length.
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub body: &'a [u8],
}

/// A PUBLISH, taken apart.
pub struct Publish<'a> {
    pub topic: &'a [u8],
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub fn qos(&self) -> u8 {
        self.flags >> 1 & 3
    }

    /// The Packet Identifier that opens the body of an acknowledgement or a SUBSCRIBE.
    pub fn packet_id(&self) -> u16 {
        number(self.body)
    }

    pub fn publish(&self) -> Result<Publish<'a>> {
        let end = 2 + usize::from(number(self.body));
        let id_end = if self.qos() > 0 { end + 2 } else { end };
        if self.body.len() < id_end {
            bail!("a PUBLISH ends too early");
        }
        let packet_id = number(&self.body[end..id_end]);
        Ok(Publish { topic: &self.body[2..end], packet_id, payload: &self.body[id_end..] })
    }
}

fn number(bytes: &[u8]) -> u16 {
    if let [high, low, ..] = bytes { u16::from_be_bytes([*high, *low]) } else { 0 }
}

/// Takes the first packet off `bytes`; `None` if it is not complete yet.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>> {
    let (mut length, mut header) = (0_usize, 1);
    loop {
        let Some(byte) = bytes.get(header) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if header > 4 {
            bail!("a Remaining Length of more than four bytes");
        }
    }
    if bytes.len() < header + length {
        return Ok(None);
    }
    let frame = Frame { kind: bytes[0] >> 4, flags: bytes[0] & 15, body: &bytes[header..header + length] };
    *bytes = &bytes[header + length..];
    Ok(Some(frame))
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

/// Clean session, no keep-alive: nothing happens that the load did not ask for.
pub fn connect(out: &mut Vec<u8>, client_id: &str) {
    out.push(CONNECT << 4);
    remaining(out, 12 + client_id.len());
    out.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00");
    text(out, client_id.as_bytes());
}

pub fn subscribe(out: &mut Vec<u8>, packet_id: u16, filter: &str, qos: u8) {
    out.push(SUBSCRIBE << 4 | 2);
    remaining(out, 5 + filter.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    text(out, filter.as_bytes());
    out.push(qos);
}

pub fn publish(out: &mut Vec<u8>, qos: u8, publish: &Publish<'_>) {
    out.push(PUBLISH << 4 | qos << 1);
    let packet_id = if qos > 0 { 2 } else { 0 };
    remaining(out, 2 + publish.topic.len() + packet_id + publish.payload.len());
    text(out, publish.topic);
    if qos > 0 {
        out.extend_from_slice(&publish.packet_id.to_be_bytes());
    }
    out.extend_from_slice(publish.payload);
}

pub fn puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[PUBACK << 4, 2, high, low]);
}

pub fn connack(out: &mut Vec<u8>) {
    out.extend_from_slice(&[CONNACK << 4, 2, 0, 0]);
}

pub fn suback(out: &mut Vec<u8>, packet_id: u16, qos: u8) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[SUBACK << 4, 3, high, low, qos]);
}

pub fn empty(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind << 4, 0]);
}
