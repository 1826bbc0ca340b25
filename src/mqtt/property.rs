//! Properties of MQTT 5.0: the table of "packet, sender, property", and the walk that enforces it.

use super::reader::{Reader, STRUCTURE};
use super::{DecodeError, ReasonCode, text};

/// Message Expiry Interval.
pub(super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
/// Subscription Identifier.
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
/// Authentication Method.
pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
/// Authentication Data.
pub(super) const AUTHENTICATION_DATA: u8 = 0x16;
/// Will Delay Interval.
pub(super) const WILL_DELAY_INTERVAL: u8 = 0x18;
/// Topic Alias.
pub(super) const TOPIC_ALIAS: u8 = 0x23;

/// Where properties stand. Will Properties are a place of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub(super) enum Place {
    Connect = 1,
    ConnAck = 1 << 1,
    Publish = 1 << 2,
    PubAck = 1 << 3,
    PubRec = 1 << 4,
    PubRel = 1 << 5,
    PubComp = 1 << 6,
    Subscribe = 1 << 7,
    SubAck = 1 << 8,
    Unsubscribe = 1 << 9,
    UnsubAck = 1 << 10,
    Disconnect = 1 << 11,
    Auth = 1 << 12,
    Will = 1 << 13,
}

const CO: u16 = Place::Connect as u16;
const CA: u16 = Place::ConnAck as u16;
const PU: u16 = Place::Publish as u16;
const ACKS: u16 = Place::PubAck as u16 | Place::PubRec as u16 | Place::PubRel as u16 | Place::PubComp as u16;
const SU: u16 = Place::Subscribe as u16;
const SA: u16 = Place::SubAck as u16;
const UN: u16 = Place::Unsubscribe as u16;
const UA: u16 = Place::UnsubAck as u16;
const DI: u16 = Place::Disconnect as u16;
const AU: u16 = Place::Auth as u16;
const WI: u16 = Place::Will as u16;

/// The type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Text,
    /// A string that is a Topic Name.
    Topic,
    Binary,
    Pair,
}

/// Which numbers are in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Any,
    ZeroOrOne,
    NotZero,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Rule {
    kind: Kind,
    range: Range,
    /// Places where a client may send it.
    client: u16,
    /// Places where a server may send it.
    server: u16,
}

/// The row of a property; `None` if there is no such property. The one that may be repeated wherever a
/// client sends it is User Property.
#[rustfmt::skip]
fn rule(id: u8) -> Option<Rule> {
    use Kind::{Binary, Byte, FourBytes, Pair, Text, Topic, TwoBytes, Variable};
    use Range::{Any, NotZero, ZeroOrOne};
    let (kind, range, client, server) = match id {
        0x01 => (Byte,      ZeroOrOne, PU | WI,      PU),      // Payload Format Indicator
        0x02 => (FourBytes, Any,       PU | WI,      PU),      // Message Expiry Interval
        0x03 => (Text,      Any,       PU | WI,      PU),      // Content Type
        0x08 => (Topic,     Any,       PU | WI,      PU),      // Response Topic
        0x09 => (Binary,    Any,       PU | WI,      PU),      // Correlation Data
        0x0B => (Variable,  NotZero,   SU,           PU),      // Subscription Identifier
        0x11 => (FourBytes, Any,       CO | DI,      CA),      // Session Expiry Interval
        0x12 => (Text,      Any,       0,            CA),      // Assigned Client Identifier
        0x13 => (TwoBytes,  Any,       0,            CA),      // Server Keep Alive
        0x15 => (Text,      Any,       CO | AU,      CA | AU), // Authentication Method
        0x16 => (Binary,    Any,       CO | AU,      CA | AU), // Authentication Data
        0x17 => (Byte,      ZeroOrOne, CO,           0),       // Request Problem Information
        0x18 => (FourBytes, Any,       WI,           0),       // Will Delay Interval
        0x19 => (Byte,      ZeroOrOne, CO,           0),       // Request Response Information
        0x1A => (Text,      Any,       0,            CA),      // Response Information
        0x1C => (Text,      Any,       0,            CA | DI), // Server Reference
        0x1F => (Text,      Any,       ACKS | DI | AU, CA | ACKS | SA | UA | DI | AU), // Reason String
        0x21 => (TwoBytes,  NotZero,   CO,           CA),      // Receive Maximum
        0x22 => (TwoBytes,  Any,       CO,           CA),      // Topic Alias Maximum
        0x23 => (TwoBytes,  NotZero,   PU,           PU),      // Topic Alias
        0x24 => (Byte,      ZeroOrOne, 0,            CA),      // Maximum QoS
        0x25 => (Byte,      ZeroOrOne, 0,            CA),      // Retain Available
        0x26 => (Pair,      Any,       CO | PU | WI | ACKS | SU | UN | DI | AU,
                                       CA | PU | ACKS | SA | UA | DI | AU), // User Property
        0x27 => (FourBytes, NotZero,   CO,           CA),      // Maximum Packet Size
        0x28 => (Byte,      ZeroOrOne, 0,            CA),      // Wildcard Subscription Available
        0x29 => (Byte,      ZeroOrOne, 0,            CA),      // Subscription Identifier Available
        0x2A => (Byte,      ZeroOrOne, 0,            CA),      // Shared Subscription Available
        _ => return None,
    };
    Some(Rule { kind, range, client, server })
}

/// A property's value, as far as anybody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number of one, two, four or a variable number of bytes.
    Number(u32),
    /// A string or binary data.
    Bytes(&'a [u8]),
    /// A string pair.
    Pair,
}

/// Reads a Property Length and the properties it announces, as a client may send them in `place`; each goes
/// to `each`. Returns them in wire form without the length.
///
/// # Errors
/// Another packet's property or an unknown one (0x81), one that only a server may send here, one that comes
/// twice or is out of range (0x82, a Topic Alias 0x94), a value that runs over the length announced.
pub(super) fn read<'a>(
    packet: &mut Reader<'a>,
    place: Place,
    mut each: impl FnMut(u8, Value<'a>),
) -> Result<&'a [u8], DecodeError> {
    let len = packet.variable()?;
    let wire = packet.take(len as usize)?;
    let mut rest = Reader::new(wire);
    let mut seen = 0_u64;
    while !rest.is_empty() {
        let id = rest.byte()?;
        let rule = rule(id).ok_or(DecodeError::malformed(STRUCTURE))?;
        may_stand(id, &rule, place)?;
        let bit = 1 << id;
        if seen & bit != 0 && rule.kind != Kind::Pair {
            return Err(DecodeError::protocol(STRUCTURE));
        }
        seen |= bit;
        let value = value(&mut rest, rule.kind)?;
        in_range(id, &rule, value)?;
        each(id, value);
    }
    if seen & 1 << AUTHENTICATION_DATA != 0 && seen & 1 << AUTHENTICATION_METHOD == 0 {
        return Err(DecodeError::protocol(STRUCTURE));
    }
    Ok(wire)
}

fn may_stand(id: u8, rule: &Rule, place: Place) -> Result<(), DecodeError> {
    if rule.client & place as u16 != 0 {
        return Ok(());
    }
    if rule.server & place as u16 == 0 {
        return Err(DecodeError::malformed(STRUCTURE));
    }
    // The packet may carry it, but not from a client [MQTT-3.3.4-6].
    let statement = if id == SUBSCRIPTION_IDENTIFIER { "MQTT-3.3.4-6" } else { STRUCTURE };
    Err(DecodeError::protocol(statement))
}

fn value<'a>(rest: &mut Reader<'a>, kind: Kind) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        Kind::Byte => Value::Number(u32::from(rest.byte()?)),
        Kind::TwoBytes => Value::Number(u32::from(rest.two_bytes()?)),
        Kind::FourBytes => Value::Number(rest.four_bytes()?),
        Kind::Variable => Value::Number(rest.variable()?),
        Kind::Text => Value::Bytes(rest.string()?.as_bytes()),
        Kind::Topic => {
            // [MQTT-3.3.2-14]
            let name = text::topic_name(rest.binary()?, ReasonCode::ProtocolError, "MQTT-3.3.2-14")?;
            Value::Bytes(name.as_bytes())
        }
        Kind::Binary => Value::Bytes(rest.binary()?),
        Kind::Pair => {
            // Both halves are strings [MQTT-1.5.7-1].
            rest.string()?;
            rest.string()?;
            Value::Pair
        }
    })
}

fn in_range(id: u8, rule: &Rule, value: Value<'_>) -> Result<(), DecodeError> {
    let Value::Number(number) = value else { return Ok(()) };
    match rule.range {
        Range::Any => Ok(()),
        Range::ZeroOrOne if number <= 1 => Ok(()),
        Range::NotZero if number != 0 => Ok(()),
        // [MQTT-3.3.2-8]
        _ if id == TOPIC_ALIAS => Err(DecodeError { reason: ReasonCode::TopicAliasInvalid, statement: "MQTT-3.3.2-8" }),
        _ => Err(DecodeError::protocol(STRUCTURE)),
    }
}

/// Appends those of the checked properties in `wire` that are forwarded with a message: all but Topic
/// Alias, Message Expiry Interval and Will Delay Interval, in order [MQTT-3.3.2-18].
pub(super) fn keep_forwardable(wire: &[u8], kept: &mut Vec<u8>) {
    let mut rest = Reader::new(wire);
    while let Some((id, property)) = next(&mut rest) {
        if !matches!(id, TOPIC_ALIAS | MESSAGE_EXPIRY_INTERVAL | WILL_DELAY_INTERVAL) {
            kept.extend_from_slice(property);
        }
    }
}

/// The next of properties that were checked: its identifier, and all of it in wire form.
fn next<'a>(rest: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let before = rest.rest();
    let id = rest.byte().ok()?;
    match rule(id)?.kind {
        Kind::Byte => rest.take(1).ok()?,
        Kind::TwoBytes => rest.take(2).ok()?,
        Kind::FourBytes => rest.take(4).ok()?,
        Kind::Variable => rest.variable().ok().map(|_| &[][..])?,
        Kind::Text | Kind::Topic | Kind::Binary => rest.binary().ok()?,
        Kind::Pair => rest.binary().and_then(|_| rest.binary()).ok()?,
    };
    Some((id, rest.read_since(before)))
}

#[cfg(test)]
mod tests;
