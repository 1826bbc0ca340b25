//! PUBLISH going out: encoded once per layout, copied and patched from then on.

use crate::mqtt::property::{MESSAGE_EXPIRY_INTERVAL, SUBSCRIPTION_IDENTIFIER, TOPIC_ALIAS};
use crate::mqtt::reader::{VARIABLE_MAX, put_field, put_variable, total, variable_len};
use crate::mqtt::{Out, PacketId, ProtocolVersion, QoS};

/// Payloads above so many bytes are shared; copying smaller ones costs less than sharing does.
const SHARED_ABOVE_BYTES: usize = 8 * 1024;

/// What is the same for every receiver.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Content<'a> {
    pub topic: &'a str,
    /// Forwardable properties in wire form; left out for 3.1.1.
    pub properties: &'a [u8],
    pub payload: &'a [u8],
    /// The buffer in which `payload` lies, if it may be shared.
    pub body: Option<&'a bytes::Bytes>,
}

/// What differs from receiver to receiver.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Shape<'a> {
    pub version: ProtocolVersion,
    pub qos: QoS,
    pub retain: bool,
    /// Whether this delivery is a repeat; never sent with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// There if and only if QoS > 0 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// Remaining Message Expiry Interval (5.0).
    pub expiry_s: Option<u32>,
    /// Topic Alias to send (5.0), and whether the Topic Name goes with it.
    pub alias: Option<Alias>,
    /// Subscription Identifiers (5.0).
    pub subscription_ids: &'a [u32],
}

/// A Topic Alias in an outgoing PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alias {
    /// The topic goes along and the receiver learns the alias.
    Teach(u16),
    /// The receiver knows it: the topic stays empty.
    Known(u16),
}

/// How long the parts of a packet are.
struct Lengths {
    /// Value of the Property Length; 0 in 3.1.1, which has none.
    properties: usize,
    /// Value of the Remaining Length.
    remaining: usize,
}

impl Lengths {
    fn of(content: &Content<'_>, shape: &Shape<'_>) -> Self {
        let packet_id = if shape.qos == QoS::AtMostOnce { 0 } else { 2 };
        let bare = total([2, topic_sent(content, shape).len(), packet_id, content.payload.len()]);
        if !shape.version.is_v5() {
            return Self { properties: 0, remaining: bare };
        }
        let ids = shape.subscription_ids.iter().fold(0, |sum, id| total([sum, 1, variable_len(*id as usize)]));
        let expiry = if shape.expiry_s.is_some() { 5 } else { 0 };
        let alias = if shape.alias.is_some() { 3 } else { 0 };
        let properties = total([expiry, alias, ids, content.properties.len()]);
        Self { properties, remaining: total([bare, variable_len(properties), properties]) }
    }
}

fn topic_sent<'a>(content: &Content<'a>, shape: &Shape<'_>) -> &'a str {
    match shape.alias {
        Some(Alias::Known(_)) if shape.version.is_v5() => "",
        _ => content.topic,
    }
}

/// Bytes the whole packet takes on the wire, fixed header included: compared with the receiver's Maximum
/// Packet Size before it is sent [MQTT-3.1.2-24]. `usize::MAX` if no Remaining Length could hold it.
pub fn encoded_len(content: &Content<'_>, shape: &Shape<'_>) -> usize {
    match Lengths::of(content, shape).remaining {
        remaining if remaining > VARIABLE_MAX => usize::MAX,
        remaining => total([1, variable_len(remaining), remaining]),
    }
}

/// Where in a frame the bytes are that differ from receiver to receiver.
#[derive(Debug, Clone, Copy, Default)]
struct Patches {
    packet_id_at: usize,
    expiry_at: usize,
}

/// One layout's frame, without the payload where that is shared.
#[derive(Debug, Default)]
struct Template {
    /// Empty until first used.
    frame: Vec<u8>,
    patches: Patches,
}

/// Frames of one message by layout, made on first use and copied from then on. Holds them for one turn
/// of fan-out; make a new one for each message (`clear` keeps its buffers).
#[derive(Debug, Default)]
pub struct Templates {
    /// By [`layout`].
    templates: [Template; LAYOUTS],
}

const LAYOUTS: usize = 6;

/// 5.0 or not, with a Packet Identifier or not, and in 5.0 with an expiry or not.
fn layout(shape: &Shape<'_>) -> usize {
    let packet_id = usize::from(shape.qos != QoS::AtMostOnce);
    match (shape.version.is_v5(), shape.expiry_s.is_some()) {
        (false, _) => packet_id,
        (true, false) => 2 | packet_id,
        (true, true) => 4 | packet_id,
    }
}

impl Templates {
    /// Forgets the frames, keeps the buffers: the next message may be put.
    pub fn clear(&mut self) {
        for template in &mut self.templates {
            template.frame.clear();
        }
    }

    /// Appends one PUBLISH to `out`. A shape without alias and Subscription Identifiers comes from a
    /// template; payloads above 8 KiB are shared, not copied. Nothing is put for a packet that no Remaining
    /// Length can hold.
    pub fn put(&mut self, content: &Content<'_>, shape: &Shape<'_>, out: &mut Out) {
        debug_assert_eq!(shape.packet_id.is_some(), shape.qos != QoS::AtMostOnce, "[MQTT-2.2.1-2]");
        if shape.version.is_v5() && (shape.alias.is_some() || !shape.subscription_ids.is_empty()) {
            return put_once(content, shape, out);
        }
        let Some(template) = self.templates.get_mut(layout(shape)) else { return };
        if template.frame.is_empty() {
            match encode(content, shape, &mut template.frame) {
                Some(patches) => template.patches = patches,
                None => return,
            }
            if !is_shared(content) {
                template.frame.extend_from_slice(content.payload);
            }
        }
        let tail = out.tail();
        let start = tail.len();
        tail.extend_from_slice(&template.frame);
        patch(tail.get_mut(start..).unwrap_or_default(), template.patches, shape);
        if let Some(body) = shared_body(content) {
            out.put_shared(body.slice_ref(content.payload));
        }
    }
}

fn is_shared(content: &Content<'_>) -> bool {
    shared_body(content).is_some()
}

/// The buffer to share, for a payload that is worth it.
fn shared_body<'a>(content: &Content<'a>) -> Option<&'a bytes::Bytes> {
    content.body.filter(|_| content.payload.len() > SHARED_ABOVE_BYTES)
}

/// Writes into a copied frame what is this receiver's own.
fn patch(frame: &mut [u8], patches: Patches, shape: &Shape<'_>) {
    if let Some(first) = frame.first_mut() {
        *first = first_byte(shape);
    }
    let mut write = |at: usize, bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..).and_then(|behind| behind.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    };
    if let Some(packet_id) = shape.packet_id {
        write(patches.packet_id_at, &packet_id.get().to_be_bytes());
    }
    if let Some(expiry_s) = shape.expiry_s.filter(|_| shape.version.is_v5()) {
        write(patches.expiry_at, &expiry_s.to_be_bytes());
    }
}

/// Appends one PUBLISH to `out` for which no template is worth keeping. Payloads above 8 KiB are shared; nothing is put for a
/// packet that no Remaining Length can hold.
pub fn put_once(content: &Content<'_>, shape: &Shape<'_>, out: &mut Out) {
    if encode(content, shape, out.tail()).is_none() {
        return;
    }
    match shared_body(content) {
        Some(body) => out.put_shared(body.slice_ref(content.payload)),
        None => out.put(content.payload),
    }
}

fn first_byte(shape: &Shape<'_>) -> u8 {
    let dup = shape.dup && shape.qos != QoS::AtMostOnce;
    0x30 | u8::from(dup) << 3 | (shape.qos as u8) << 1 | u8::from(shape.retain)
}

/// Appends everything in front of the payload. `None`, and nothing appended, if it is too long to be sent.
fn encode(content: &Content<'_>, shape: &Shape<'_>, to: &mut Vec<u8>) -> Option<Patches> {
    let lengths = Lengths::of(content, shape);
    if lengths.remaining > VARIABLE_MAX {
        return None;
    }
    let start = to.len();
    let shared = if is_shared(content) { content.payload.len() } else { 0 };
    to.reserve(total([5, lengths.remaining]).saturating_sub(shared));
    to.push(first_byte(shape));
    put_variable(lengths.remaining, to);
    put_field(topic_sent(content, shape).as_bytes(), to);
    let mut patches = Patches { packet_id_at: to.len().saturating_sub(start), expiry_at: 0 };
    if shape.qos != QoS::AtMostOnce {
        to.extend_from_slice(&shape.packet_id.map_or(0, PacketId::get).to_be_bytes());
    }
    if !shape.version.is_v5() {
        return Some(patches);
    }
    // No properties is still announced [MQTT-2.2.2-1].
    put_variable(lengths.properties, to);
    if let Some(expiry_s) = shape.expiry_s {
        to.push(MESSAGE_EXPIRY_INTERVAL);
        patches.expiry_at = to.len().saturating_sub(start);
        to.extend_from_slice(&expiry_s.to_be_bytes());
    }
    if let Some(Alias::Teach(alias) | Alias::Known(alias)) = shape.alias {
        to.push(TOPIC_ALIAS);
        to.extend_from_slice(&alias.to_be_bytes());
    }
    for id in shape.subscription_ids {
        to.push(SUBSCRIPTION_IDENTIFIER);
        put_variable(*id as usize, to);
    }
    to.extend_from_slice(content.properties);
    Some(patches)
}

#[cfg(test)]
mod tests;
