//! What is written for each fact: bytes, a version, and a CRC32C over key and value.
//!
//! ```text
//!  value = version u8 · crc32c u32 · body      (crc over key, version and body; integers are big endian)
//! ```
//! A key is part of its record's checksum, so a value that was moved to another key is damage, too. Formats are drawn in
//! `src/docs/store_format.md`; golden tests hold the bytes.

// Input decides nothing here by a panic or a lost bit. Bytes, rows and messages are added saturating: no disk has room for so many
// that their sum comes near the end of the numbers.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

mod parts;

use bytes::Bytes;

use super::SessionRecord;
use crate::clock::{Moment, Now};
use crate::identity::{ClientId, Origin, SessionId};
use crate::message::{Class, Message, Parts};
use crate::mqtt::{PacketId, QoS, Will};
use crate::session::{Options, OutState};
use parts::{Reader, Writer};

/// Version of every record written now.
pub const VERSION: u8 = 1;
const HEAD: usize = 5;
/// Exchanges are counted up from the highest order found and do not get here; one that did would leave none to be behind it.
const ORDERS_END: u64 = 1 << 63;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The checksum does not fit: damage.
    #[error("checksum mismatch")]
    Checksum,
    /// Written by a newer program.
    #[error("version {0} is not known")]
    Version(u8),
    /// The checksum fits and the body does not: a defect.
    #[error("body cannot be read")]
    Body,
}

/// A message in a session's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_ids: Vec<u32>,
    /// The message; `None` if its body is stored once for many sessions, under the same ticket.
    pub message: Option<Message>,
}

/// An outgoing exchange that has a Packet Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The order of sending again.
    pub order: u64,
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// How far it got.
    pub state: OutState,
}

/// A will that is to be published later.
#[derive(Debug, Clone, PartialEq)]
pub struct LaterWill {
    /// The will.
    pub will: Will,
    /// When it is due, wall clock, milliseconds.
    pub due_wall_ms: u64,
}

/// Between moments of this process and the time that is written down: milliseconds of the wall clock as they would be had nobody
/// set it since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Wall clock at moment 0, milliseconds.
    pub wall_at_start_ms: u64,
}

impl Epoch {
    fn write(self, moment: Moment) -> u64 {
        self.wall_at_start_ms.saturating_add(moment.as_ms())
    }

    fn read(self, written: u64) -> Moment {
        Moment::from_ms(written.saturating_sub(self.wall_at_start_ms))
    }
}

/// A time as it is written: milliseconds of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written(u64);

impl Written {
    /// The moment that is meant; one before this process began is its beginning.
    pub fn of(self, epoch: Epoch) -> Moment {
        epoch.read(self.0)
    }
}

/// Where it is written when a message in a queue expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Here; `None` = never.
    At(Option<Written>),
    /// With the message, which is stored once for many queues.
    WithBody,
}

/// Seals a body for its key.
pub fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD.saturating_add(body.len()));
    value.push(VERSION);
    value.extend_from_slice(&checksum(key, VERSION, body).to_be_bytes());
    value.extend_from_slice(body);
    value
}

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), &[version]), body)
}

/// The body of a sealed value.
///
/// # Errors
/// It was damaged, moved, or written by a newer program.
pub fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let (Some(&version), Some(crc), Some(body)) = (value.first(), value.get(1..HEAD), value.get(HEAD..)) else {
        return Err(Unreadable::Checksum);
    };
    if crc != checksum(key, version, body).to_be_bytes() {
        return Err(Unreadable::Checksum);
    }
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    Ok(body)
}

fn put_message(writer: &mut Writer, message: &Message, epoch: Epoch) {
    let expires = message.expires.map(|moment| epoch.write(moment));
    writer.u8(message.qos as u8).u8(u8::from(message.retain)).u8(message.class as u8).maybe_u64(expires);
    writer.u64(message.origin.0).bytes(message.topic().as_bytes()).bytes(message.properties());
    writer.bytes(message.payload());
}

fn read_message(reader: &mut Reader<'_>, epoch: Epoch) -> Result<Message, Unreadable> {
    let (qos, retain) = (reader.qos()?, reader.u8()? != 0);
    let class = match reader.u8()? {
        0 => Class::P0,
        1 => Class::P1,
        2 => Class::P2,
        3 => Class::P3,
        _ => return Err(Unreadable::Body),
    };
    let expires = reader.maybe_u64()?.map(|written| epoch.read(written));
    let origin = Origin(reader.u64()?);
    let (topic, properties, payload) = (reader.text()?, reader.bytes()?, reader.bytes()?);
    if topic.len() > usize::from(u16::MAX) {
        return Err(Unreadable::Body);
    }
    let parts = Parts { topic, properties, payload, qos, retain, expiry_s: None, origin };
    let mut message = Message::new(parts, Now::default());
    message.expires = expires;
    message.class = class;
    Ok(message)
}

/// A message by itself: a shared body, or a retained message.
pub fn message_body(message: &Message, epoch: Epoch) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(message.bytes().saturating_add(48)));
    put_message(&mut writer, message, epoch);
    writer.0
}

/// Reads what [`message_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn message(body: &[u8], epoch: Epoch) -> Result<Message, Unreadable> {
    let mut reader = Reader(body);
    let message = read_message(&mut reader, epoch)?;
    reader.end(message)
}

/// When a message expires, from a body that [`message_body`] wrote, without reading the rest.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn message_expires(body: &[u8]) -> Result<Option<Written>, Unreadable> {
    let mut reader = Reader(body);
    for _qos_retain_class in 0..3 {
        reader.u8()?;
    }
    Ok(reader.maybe_u64()?.map(Written))
}

/// When a message in a queue expires, from a sealed value: neither its checksum is looked at, nor the message read.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn queue_expires(value: &[u8]) -> Result<Expires, Unreadable> {
    let mut reader = Reader(value.get(HEAD..).ok_or(Unreadable::Body)?);
    for _qos_retain in 0..2 {
        reader.u8()?;
    }
    for _subscription_id in 0..reader.u16()? {
        reader.u32()?;
    }
    match reader.u8()? {
        0 => Ok(Expires::WithBody),
        _ => message_expires(reader.0).map(Expires::At),
    }
}

/// A message in a queue; `message` is left out where its body is shared.
pub fn queue_body(to: &super::Recipient, message: Option<&Message>, epoch: Epoch) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(message.map_or(0, Message::bytes).saturating_add(64)));
    writer.u8(to.qos as u8).u8(u8::from(to.retain)).u16(u16::try_from(to.subscription_ids.len()).unwrap_or(u16::MAX));
    for id in to.subscription_ids.iter().take(usize::from(u16::MAX)) {
        writer.u32(*id);
    }
    writer.u8(u8::from(message.is_some()));
    if let Some(message) = message {
        put_message(&mut writer, message, epoch);
    }
    writer.0
}

/// Reads what [`queue_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn queue_entry(body: &[u8], epoch: Epoch) -> Result<QueueEntry, Unreadable> {
    let mut reader = Reader(body);
    let (qos, retain, count) = (reader.qos()?, reader.u8()? != 0, reader.u16()?);
    let subscription_ids = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    let message = match reader.u8()? {
        0 => None,
        _ => Some(read_message(&mut reader, epoch)?),
    };
    reader.end(QueueEntry { qos, retain, subscription_ids, message })
}

/// A session.
pub fn session_body(record: &SessionRecord) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u32(record.expiry_s).bytes(record.client.as_str().as_bytes());
    match &record.owner {
        Some(owner) => writer.u8(1).bytes(owner.as_bytes()),
        None => writer.u8(0),
    };
    writer.0
}

/// Reads what [`session_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn session(session: SessionId, body: &[u8]) -> Result<SessionRecord, Unreadable> {
    let mut reader = Reader(body);
    let expiry_s = reader.u32()?;
    let client = ClientId::new(reader.text()?);
    let owner = if reader.u8()? == 0 { None } else { Some(reader.text()?.into()) };
    reader.end(SessionRecord { session, client, owner, expiry_s })
}

/// A session's connection has ended; the session will at this wall clock time, ms.
pub fn leave_body(ends_wall_ms: Option<u64>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.maybe_u64(ends_wall_ms);
    writer.0
}

/// Reads what [`leave_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn leave(body: &[u8]) -> Result<Option<u64>, Unreadable> {
    let mut reader = Reader(body);
    let ends = reader.maybe_u64()?;
    reader.end(ends)
}

/// A session's expiry, seconds, where DISCONNECT changed it.
pub fn expiry_body(expiry_s: u32) -> Vec<u8> {
    expiry_s.to_be_bytes().to_vec()
}

/// Reads what [`expiry_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn expiry(body: &[u8]) -> Result<u32, Unreadable> {
    let mut reader = Reader(body);
    let expiry_s = reader.u32()?;
    reader.end(expiry_s)
}

/// A subscription's options; its filter is in the key.
pub fn options_body(options: Options) -> Vec<u8> {
    let mut writer = Writer::default();
    let flags = u8::from(options.no_local) | u8::from(options.retain_as_published) << 1;
    writer.u8(options.qos as u8).u8(flags).u32(options.subscription_id.unwrap_or(0));
    writer.0
}

/// Reads what [`options_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn options(body: &[u8]) -> Result<Options, Unreadable> {
    let mut reader = Reader(body);
    let (qos, flags, id) = (reader.qos()?, reader.u8()?, reader.u32()?);
    let subscription_id = Some(id).filter(|id| *id > 0);
    reader.end(Options { qos, no_local: flags & 1 != 0, retain_as_published: flags & 2 != 0, subscription_id })
}

/// An outgoing exchange; its ticket is in the key.
pub fn exchange_body(exchange: Exchange) -> Vec<u8> {
    let mut writer = Writer::default();
    let state = match exchange.state {
        OutState::Published => 0,
        OutState::Released => 1,
        OutState::SetAside => 2,
    };
    writer.u64(exchange.order).u16(exchange.packet_id.get()).u8(state);
    writer.0
}

/// Reads what [`exchange_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn exchange(body: &[u8]) -> Result<Exchange, Unreadable> {
    let mut reader = Reader(body);
    let (order, packet_id) = (reader.u64()?, PacketId::new(reader.u16()?).ok_or(Unreadable::Body)?);
    if order >= ORDERS_END {
        return Err(Unreadable::Body);
    }
    let state = match reader.u8()? {
        0 => OutState::Published,
        1 => OutState::Released,
        2 => OutState::SetAside,
        _ => return Err(Unreadable::Body),
    };
    reader.end(Exchange { order, packet_id, state })
}

/// A will that is to be published later.
pub fn will_body(later: &LaterWill) -> Vec<u8> {
    let LaterWill { will, due_wall_ms } = later;
    let mut writer = Writer::default();
    writer.u64(*due_wall_ms).u8(will.qos as u8).u8(u8::from(will.retain)).u32(will.delay_s);
    writer.maybe_u64(will.expiry_s.map(u64::from)).bytes(will.topic.as_bytes()).bytes(&will.properties);
    writer.bytes(&will.payload);
    writer.0
}

/// Reads what [`will_body`] wrote.
///
/// # Errors
/// [`Unreadable::Body`].
pub fn will(body: &[u8]) -> Result<LaterWill, Unreadable> {
    let mut reader = Reader(body);
    let due_wall_ms = reader.u64()?;
    let (qos, retain, delay_s) = (reader.qos()?, reader.u8()? != 0, reader.u32()?);
    let expiry_s = reader.maybe_u64()?.map(|s| u32::try_from(s).map_err(|_| Unreadable::Body)).transpose()?;
    let topic = reader.text()?.into();
    let properties = Bytes::copy_from_slice(reader.bytes()?);
    let payload = Bytes::copy_from_slice(reader.bytes()?);
    let will = Will { topic, payload, qos, retain, delay_s, expiry_s, properties };
    reader.end(LaterWill { will, due_wall_ms })
}

#[cfg(test)]
mod tests;
