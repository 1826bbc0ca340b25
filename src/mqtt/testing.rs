//! Packets for the tests of this room.

use super::frame::Frame;
use super::{DecodeError, Packet, ProtocolVersion, ReasonCode, decode};

pub(super) const V5: Option<ProtocolVersion> = Some(ProtocolVersion::V5);
pub(super) const V4: Option<ProtocolVersion> = Some(ProtocolVersion::V3_1_1);

/// A string or binary field.
pub(super) fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A property list with its length, which must be below 128.
pub(super) fn properties(list: &[&[u8]]) -> Vec<u8> {
    let list = list.concat();
    assert!(list.len() < 128);
    [&[list.len() as u8][..], &list].concat()
}

/// What `decode` says of a packet with this first byte and body.
pub(super) fn read(first: u8, body: &[u8], version: Option<ProtocolVersion>) -> Result<Packet<'_>, DecodeError> {
    decode(Frame { first, body }, version)
}

/// Why it is refused.
#[track_caller]
pub(super) fn refusal(first: u8, body: &[u8], version: Option<ProtocolVersion>) -> (u8, &'static str) {
    match read(first, body, version) {
        Err(error) => (error.reason as u8, error.statement),
        Ok(packet) => panic!("{first:#x} {body:x?} is {packet:?}"),
    }
}

/// A CONNECT's body: level 5 or 4 by `flags` as they are, then the parts.
pub(super) fn connect(level: u8, flags: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&field("MQTT")[..], &[level, flags, 0, 60], &parts.concat()].concat()
}

/// Valid packets of every kind: version they are for, first byte, body.
pub(super) fn valid() -> Vec<(Option<ProtocolVersion>, u8, Vec<u8>)> {
    let user = [&[0x26][..], &field("k"), &field("v")].concat();
    let will = properties(&[&[0x18, 0, 0, 0, 9], &[2, 0, 0, 0, 7], &[3, 0, 1, b'c'], &user]);
    let asked = properties(&[
        &[0x11, 0, 0, 0, 60],
        &[0x21, 0, 20],
        &[0x27, 0, 1, 0, 0],
        &[0x22, 0, 5],
        &[0x19, 1],
        &[0x17, 0],
        &[0x15, 0, 1, b'm'],
        &[0x16, 0, 2, 0, 0xFF],
        &user,
    ]);
    let login = [field("user"), field([0, 0xFF])].concat();
    let parts: &[&[u8]] = &[&asked, &field("id"), &will, &field("w/t"), &field([0xFF, 0]), &login];
    let full_5 = connect(5, 0xEE, parts);
    let full_4 = connect(4, 0xEE, &[&field("id"), &field("w/t"), &field([0xFF, 0]), &login]);
    let old = [&field("MQIsdp")[..], &[3, 2, 0, 60], &field("old")].concat();
    let sent = properties(&[
        &[1, 1],
        &[2, 0, 0, 0, 30],
        &[3, 0, 1, b'c'],
        &[8, 0, 1, b'r'],
        &[9, 0, 2, 0, 0xFF],
        &[0x23, 0, 3],
        &user,
        &user,
    ]);
    let reason = properties(&[&[0x1F, 0, 1, b'r'], &user]);
    let mut all = vec![
        (None, 0x10, full_5),
        (None, 0x10, full_4),
        (None, 0x10, old),
        (V5, 0x3D, [&field("a/é")[..], &[0, 7], &sent, b"hello"].concat()),
        (V5, 0x30, [&field("a")[..], &[0]].concat()),
        (V4, 0x3B, [&field("a/b")[..], &[0, 7], b"hello"].concat()),
        (V5, 0x82, [&[0, 9][..], &properties(&[&[0x0B, 0x85, 1], &user]), &field("a/#"), &[0x2E]].concat()),
        (V4, 0x82, [&[0, 9][..], &field("a/#"), &[1], &field("b"), &[2]].concat()),
        (V5, 0xA2, [&[0, 9][..], &properties(&[&user]), &field("a"), &field("b/#")].concat()),
        (V4, 0xA2, [&[0, 9][..], &field("a"), &field("b/#")].concat()),
        (V5, 0xC0, vec![]),
        (V5, 0xE0, vec![]),
        (V4, 0xE0, vec![]),
        (V5, 0xE0, vec![4]),
        (V5, 0xE0, [&[0x80][..], &properties(&[&[0x11, 0, 0, 0, 5], &user])].concat()),
        (V5, 0xF0, [&[0x18][..], &properties(&[&[0x15, 0, 1, b'm'], &[0x16, 0, 1, 0xFF]])].concat()),
    ];
    for (first, code) in [(0x40, 0x10 | 0x87), (0x50, 0x97), (0x62, 0x92), (0x70, 0x92)] {
        all.push((V4, first, vec![1, 2]));
        all.push((V5, first, vec![1, 2]));
        all.push((V5, first, vec![1, 2, code]));
        all.push((V5, first, [&[1, 2, code][..], &reason].concat()));
    }
    all
}

pub(super) const MALFORMED: u8 = ReasonCode::MalformedPacket as u8;
pub(super) const PROTOCOL: u8 = ReasonCode::ProtocolError as u8;
