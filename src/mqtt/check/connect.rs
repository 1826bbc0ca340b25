//! CONNECT, held against what a client may ask for.

use crate::mqtt::property::{self, Place};
use crate::mqtt::reader::Reader;
use crate::mqtt::{DecodeError, ProtocolVersion, QoS, ReasonCode, text};

const RESERVED: u8 = 0x01;
const WILL: u8 = 0x04;
const WILL_QOS_AND_RETAIN: u8 = 0x38;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// A valid CONNECT, cut where `codec` needs it. Holds the password: never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::mqtt) struct Connect<'a> {
    pub version: ProtocolVersion,
    pub flags: u8,
    /// From the Keep Alive up to the user name.
    pub without_login: &'a [u8],
    /// Will Properties in wire form, without their length.
    pub will_properties: &'a [u8],
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
}

/// Checks the body of a CONNECT [MQTT-3.1.4-1].
pub(super) fn check(body: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let mut body = Reader::new(body);
    let version = version(&mut body)?;
    let flags = body.byte()?;
    check_flags(flags, version)?;
    let from_keep_alive = body.rest();
    body.two_bytes()?;
    if version.is_v5() {
        property::read(&mut body, Place::Connect, |_, _| {})?;
    }
    // The Client Identifier [MQTT-3.1.3-3] [MQTT-3.1.3-4].
    body.string()?;
    let will_properties = if flags & WILL == 0 { &[] } else { will(&mut body, version)? };
    let without_login = body.read_since(from_keep_alive);
    // [MQTT-3.1.2-16] to [MQTT-3.1.2-19]
    let user_name = if flags & USER_NAME == 0 { None } else { Some(body.string()?) };
    let password = if flags & PASSWORD == 0 { None } else { Some(body.binary()?) };
    body.end()?;
    Ok(Connect { version, flags, without_login, will_properties, user_name, password })
}

/// Protocol Name and level.
fn version(body: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name = body.binary()?;
    let is_mqtt = match name {
        b"MQTT" => true,
        b"MQIsdp" => false,
        _ => return Err(DecodeError::malformed("MQTT-3.1.2-1")),
    };
    match (is_mqtt, body.byte()?) {
        (true, 5) => Ok(ProtocolVersion::V5),
        (true, 4) => Ok(ProtocolVersion::V3_1_1),
        (false, 3) => Ok(ProtocolVersion::V3_1),
        // Which standard's statement it is tells in which layout its sender is answered.
        (true, 6..) => unsupported("MQTT-3.1.2-2"),
        _ => unsupported("MQTT3-3.1.2-2"),
    }
}

fn unsupported<T>(statement: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError { reason: ReasonCode::UnsupportedProtocolVersion, statement })
}

fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    let broken = if flags & RESERVED != 0 {
        "MQTT-3.1.2-3"
    } else if flags & WILL == 0 && flags & WILL_QOS_AND_RETAIN != 0 {
        // The bits of Will QoS, or that of Will Retain.
        if flags & 0x18 != 0 { "MQTT-3.1.2-11" } else { "MQTT-3.1.2-13" }
    } else if QoS::from_bits(flags >> 3 & 3).is_none() {
        "MQTT-3.1.2-12"
    } else if !version.is_v5() && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        // Legal in 5.0.
        "MQTT3-3.1.2-22"
    } else {
        return Ok(());
    };
    Err(DecodeError::malformed(broken))
}

/// Will Properties, Will Topic and Will Payload [MQTT-3.1.2-9]; returns the properties.
fn will<'a>(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<&'a [u8], DecodeError> {
    let mut properties = &[][..];
    if version.is_v5() {
        properties = property::read(body, Place::Will, |_, _| {})?;
    }
    // [MQTT-3.1.3-11]
    let topic = text::topic_name(body.binary()?, ReasonCode::TopicNameInvalid, "MQTT-4.7.0-1")?;
    if topic.is_empty() {
        return Err(DecodeError { reason: ReasonCode::TopicNameInvalid, statement: "MQTT-4.7.3-1" });
    }
    body.binary()?;
    Ok(properties)
}
