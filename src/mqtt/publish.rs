//! PUBLISH: a borrowed view in; out, a frame encoded once per layout and copied with its Packet
//! Identifier, flags and remaining expiry patched.

use super::{Out, PacketId, ProtocolVersion, QoS};

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
        let _ = spare;
        todo!()
    }
}

/// What is the same for every receiver.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Content<'a> {
    pub topic: &'a str,
    /// Forwardable properties in wire form; left out for 3.1.1.
    pub properties: &'a [u8],
    pub payload: &'a bytes::Bytes,
}

/// What differs from receiver to receiver.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Shape<'a> {
    pub version: ProtocolVersion,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
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

/// Frames of one message by layout, made on first use and copied from then on. Holds them for one turn
/// of fan-out; make a new one for each message (`clear` keeps its buffers).
#[derive(Debug, Default)]
pub struct Templates {}

impl Templates {
    /// Forgets the frames, keeps the buffers: the next message may be put.
    pub fn clear(&mut self) {
        todo!()
    }

    /// Appends one PUBLISH to `out`. A shape without alias and Subscription Identifiers comes from a
    /// template; payloads above 8 KiB are shared, not copied.
    pub fn put(&mut self, content: &Content<'_>, shape: &Shape<'_>, out: &mut Out) {
        let _ = (content, shape, out);
        todo!()
    }
}

/// Bytes the whole packet takes on the wire, fixed header included: compared with the receiver's Maximum
/// Packet Size before it is sent [MQTT-3.1.2-24].
pub fn encoded_len(content: &Content<'_>, shape: &Shape<'_>) -> usize {
    let _ = (content, shape);
    todo!()
}
