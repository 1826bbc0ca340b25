//! The strict validator: every packet of a client passes here before anybody believes a byte of it.
//!
//! It knows the direction: flags of the fixed header, ends, identifiers, strings, reserved bits, Reason
//! Codes and properties are held against what a *client* may send in that packet. PUBLISH, the packet that
//! comes most, is checked where it is read, by the same means (`publish.rs`). Statements are cited by their 5.0 number where
//! both versions say the same.

mod connect;

pub(super) use connect::Connect;

use super::frame::Frame;
use super::property::{self, Place};
use super::reader::{Reader, STRUCTURE};
use super::reason::Carrier;
use super::{DecodeError, PacketId, ProtocolVersion, QoS, ReasonCode};

/// Which of the four acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)] // the names are the standard's
pub(super) enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

/// A packet that is valid, with what the check had to read anyway. Holds passwords: never printed.
#[derive(Clone, Copy)]
pub(super) enum Checked<'a> {
    Connect(Connect<'a>),
    Ack(AckKind, PacketId, ReasonCode),
    Subscribe(ProtocolVersion),
    Unsubscribe(ProtocolVersion),
    PingReq,
    Disconnect,
    /// The properties in wire form are behind the Reason Code.
    Auth(ReasonCode),
}

/// Checks one packet of a client other than PUBLISH after CONNECT; `version` is `None` before its CONNECT.
///
/// # Errors
/// See [`super::decode`].
pub(super) fn check<'a>(frame: Frame<'a>, version: Option<ProtocolVersion>) -> Result<Checked<'a>, DecodeError> {
    let kind = frame.first >> 4;
    let Some(version) = version else {
        return match kind {
            0 => Err(DecodeError::malformed(STRUCTURE)),
            1 => {
                flags(frame, 0, "MQTT-2.1.3-1")?;
                connect::check(frame.body).map(Checked::Connect)
            }
            // [MQTT-3.1.0-1]
            _ => Err(DecodeError::protocol("MQTT-3.1.0-1")),
        };
    };
    match kind {
        // [MQTT-3.1.0-2]
        1 => Err(DecodeError::protocol("MQTT-3.1.0-2")),
        4 => ack(frame, version, AckKind::PubAck),
        5 => ack(frame, version, AckKind::PubRec),
        6 => ack(frame, version, AckKind::PubRel),
        7 => ack(frame, version, AckKind::PubComp),
        8 => subscribe(frame, version),
        10 => unsubscribe(frame, version),
        12 => {
            flags(frame, 0, "MQTT-2.1.3-1")?;
            Reader::new(frame.body).end().map(|()| Checked::PingReq)
        }
        14 => disconnect(frame, version),
        15 if version.is_v5() => auth(frame),
        0 | 15 => Err(DecodeError::malformed(STRUCTURE)),
        // CONNACK, SUBACK, UNSUBACK and PINGRESP are a server's; PUBLISH does not come here.
        _ => Err(DecodeError::protocol(STRUCTURE)),
    }
}

/// The reserved bits have the value prescribed [MQTT-2.1.3-1] [MQTT3-2.2.2-2].
fn flags(frame: Frame<'_>, prescribed: u8, statement: &'static str) -> Result<(), DecodeError> {
    if frame.first & 0x0F == prescribed { Ok(()) } else { Err(DecodeError::malformed(statement)) }
}

fn ack<'a>(frame: Frame<'a>, version: ProtocolVersion, kind: AckKind) -> Result<Checked<'a>, DecodeError> {
    let (prescribed, carrier, place) = match kind {
        AckKind::PubAck => (0, Carrier::Received, Place::PubAck),
        AckKind::PubRec => (0, Carrier::Received, Place::PubRec),
        // [MQTT3-3.6.1-1]
        AckKind::PubRel => (2, Carrier::Released, Place::PubRel),
        AckKind::PubComp => (0, Carrier::Released, Place::PubComp),
    };
    flags(frame, prescribed, "MQTT-2.1.3-1")?;
    let mut body = Reader::new(frame.body);
    let packet_id = body.packet_id("MQTT-2.2.1-5")?;
    let mut reason = ReasonCode::Success;
    if version.is_v5() && !body.is_empty() {
        let code = body.byte()?;
        reason = ReasonCode::from_client(carrier, code).ok_or(DecodeError::protocol("MQTT-3.4.2-1"))?;
        if !body.is_empty() {
            property::read(&mut body, place, |_, _| {})?;
        }
    }
    body.end()?;
    Ok(Checked::Ack(kind, packet_id, reason))
}

fn subscribe<'a>(frame: Frame<'a>, version: ProtocolVersion) -> Result<Checked<'a>, DecodeError> {
    flags(frame, 2, "MQTT-3.8.1-1")?;
    let mut body = Reader::new(frame.body);
    body.packet_id("MQTT-2.2.1-3")?;
    if version.is_v5() {
        property::read(&mut body, Place::Subscribe, |_, _| {})?;
    }
    if body.is_empty() {
        // [MQTT-3.8.3-2]
        return Err(DecodeError::protocol("MQTT-3.8.3-2"));
    }
    while !body.is_empty() {
        let filter = body.string()?;
        let options = body.byte()?;
        if version.is_v5() { options_5(filter, options)? } else { options_311(options)? }
    }
    Ok(Checked::Subscribe(version))
}

fn options_5(filter: &str, options: u8) -> Result<(), DecodeError> {
    if options & 0xC0 != 0 {
        return Err(DecodeError::malformed("MQTT-3.8.3-5"));
    }
    if QoS::from_bits(options & 3).is_none() || options >> 4 & 3 == 3 {
        return Err(DecodeError::protocol(STRUCTURE));
    }
    let no_local = options & 4 != 0;
    if no_local && filter.starts_with("$share/") {
        return Err(DecodeError::protocol("MQTT-3.8.3-4"));
    }
    Ok(())
}

fn options_311(options: u8) -> Result<(), DecodeError> {
    // [MQTT3-3.8.3-4]
    QoS::from_bits(options).map(|_| ()).ok_or(DecodeError::malformed("MQTT3-3.8.3-4"))
}

fn unsubscribe<'a>(frame: Frame<'a>, version: ProtocolVersion) -> Result<Checked<'a>, DecodeError> {
    flags(frame, 2, "MQTT-3.10.1-1")?;
    let mut body = Reader::new(frame.body);
    body.packet_id("MQTT-2.2.1-3")?;
    if version.is_v5() {
        property::read(&mut body, Place::Unsubscribe, |_, _| {})?;
    }
    if body.is_empty() {
        // [MQTT-3.10.3-2]
        return Err(DecodeError::protocol("MQTT-3.10.3-2"));
    }
    while !body.is_empty() {
        body.string()?;
    }
    Ok(Checked::Unsubscribe(version))
}

fn disconnect<'a>(frame: Frame<'a>, version: ProtocolVersion) -> Result<Checked<'a>, DecodeError> {
    flags(frame, 0, "MQTT-3.14.1-1")?;
    let mut body = Reader::new(frame.body);
    if version.is_v5() && !body.is_empty() {
        ReasonCode::from_client(Carrier::Disconnect, body.byte()?).ok_or(DecodeError::protocol("MQTT-3.14.2-1"))?;
        if !body.is_empty() {
            property::read(&mut body, Place::Disconnect, |_, _| {})?;
        }
    }
    body.end()?;
    Ok(Checked::Disconnect)
}

/// An empty AUTH says Success, which only a server does.
fn auth(frame: Frame<'_>) -> Result<Checked<'_>, DecodeError> {
    flags(frame, 0, "MQTT-3.15.1-1")?;
    let mut body = Reader::new(frame.body);
    let code = if body.is_empty() { 0 } else { body.byte()? };
    let reason = ReasonCode::from_client(Carrier::Auth, code).ok_or(DecodeError::protocol("MQTT-3.15.2-1"))?;
    let mut names_method = false;
    property::read(&mut body, Place::Auth, |id, _| names_method |= id == property::AUTHENTICATION_METHOD)?;
    body.end()?;
    // Leaving the method out is a Protocol Error; it is the one of CONNECT [MQTT-4.12.0-5].
    if names_method { Ok(Checked::Auth(reason)) } else { Err(DecodeError::protocol("MQTT-4.12.0-5")) }
}

#[cfg(test)]
mod tests;
