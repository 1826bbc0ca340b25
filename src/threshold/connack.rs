//! What a client is told when it is let in, or not, and whether it takes packets that large.

use super::Claimed;
use super::asked::Asked;
use crate::mqtt::{ConnAck, ReasonCode};
use crate::session::Limits;

/// Bytes of a CONNACK of 5.0 that says a Reason Code and nothing else.
pub(super) const BARE_BYTES: u32 = 5;
/// Stands for an identifier that is still to be assigned, where only its length matters; longer than any that is.
const ASSIGNED: &str = "................................................................";
/// No packet of MQTT is larger, so that announcing this or more says nothing.
const PACKET_BYTES_END: u32 = 5 + 268_435_455;

/// A CONNACK that lets nobody in: Session Present is 0 [MQTT-3.2.2-6].
pub(super) fn refusing(reason: ReasonCode, reason_string: Option<&str>) -> ConnAck {
    ConnAck { reason_string: reason_string.map(Box::from), ..ConnAck::bare(reason) }
}

/// `reason`, or what is nearest to it among the Connect Reason Codes [MQTT-3.2.2-8].
pub(super) fn sayable(reason: ReasonCode) -> ReasonCode {
    match reason as u8 {
        0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F => reason,
        0x8B => ReasonCode::ServerUnavailable,
        _ => ReasonCode::UnspecifiedError,
    }
}

/// The CONNACK that lets a client in [MQTT-3.1.4-5].
pub(super) fn accepting(asked: &Asked, limits: &Limits, claimed: &Claimed, data: Option<Box<[u8]>>) -> ConnAck {
    // Present if and only if state was there; after a Clean Start none is [MQTT-3.2.2-2] [MQTT-3.2.2-3].
    let session_present = claimed.saved.is_some();
    let mut connack = announcing(asked, limits, claimed.client.as_str(), data);
    if encoded_len(&connack) > u64::from(asked.peer.maximum_packet_size) {
        connack.response_information = None;
    }
    ConnAck { session_present, ..connack }
}

/// Whether the CONNACK that lets this client in can be made small enough for it [MQTT-3.1.2-24].
pub(super) fn fits(asked: &Asked, limits: &Limits, data: Option<&[u8]>) -> bool {
    let client = if asked.client_id.is_empty() { ASSIGNED } else { &asked.client_id };
    let connack = announcing(asked, limits, client, data.map(Box::from));
    let least = ConnAck { response_information: None, ..connack };
    encoded_len(&least) <= u64::from(asked.peer.maximum_packet_size)
}

/// Everything that differs from what the client asked for, or takes for granted.
fn announcing(asked: &Asked, limits: &Limits, client: &str, data: Option<Box<[u8]>>) -> ConnAck {
    let bare = ConnAck::bare(ReasonCode::Success);
    if !asked.peer.version.is_v5() {
        return bare;
    }
    let granted = asked.session_expiry_s(limits);
    let keep_alive_s = asked.keep_alive_s(limits);
    // Only to who asked for it [MQTT-3.1.2-28].
    let response = asked.response_information && !limits.response_information.is_empty();
    ConnAck {
        session_expiry_s: Some(granted).filter(|granted| *granted != asked.session_expiry_s),
        receive_maximum: Some(limits.receive_maximum).filter(|maximum| *maximum != u16::MAX),
        maximum_qos: Asked::maximum_qos(limits), // [MQTT-3.2.2-9]
        retain_available: (!limits.retain_available).then_some(false),
        maximum_packet_size: Some(limits.packet_bytes_max).filter(|bytes| *bytes < PACKET_BYTES_END),
        // [MQTT-3.2.2-16]
        assigned_client_id: asked.client_id.is_empty().then(|| client.into()),
        topic_alias_maximum: Some(limits.topic_alias_maximum).filter(|maximum| *maximum > 0),
        // Without it the client's own counts [MQTT-3.2.2-22].
        server_keep_alive_s: Some(keep_alive_s).filter(|seconds| *seconds != asked.keep_alive_s),
        response_information: response.then(|| limits.response_information.replace("{client}", client).into()),
        // The method of the CONNECT, and none where it named none [MQTT-4.12.0-5] [MQTT-4.12.0-6].
        authentication_method: asked.authentication_method.clone(),
        authentication_data: data,
        ..bare
    }
}

/// Bytes of a CONNACK of 5.0 on the wire, fixed header included.
pub(super) fn encoded_len(connack: &ConnAck) -> u64 {
    let string = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| field_len(text.len()));
    let number = |there: bool, bytes: u64| if there { total([1, bytes]) } else { 0 };
    let properties = total([
        number(connack.session_expiry_s.is_some(), 4),
        number(connack.receive_maximum.is_some(), 2),
        number(connack.maximum_qos.is_some(), 1),
        number(connack.retain_available.is_some(), 1),
        number(connack.maximum_packet_size.is_some(), 4),
        number(connack.topic_alias_maximum.is_some(), 2),
        number(connack.server_keep_alive_s.is_some(), 2),
        string(&connack.assigned_client_id),
        string(&connack.response_information),
        string(&connack.authentication_method),
        connack.authentication_data.as_ref().map_or(0, |data| field_len(data.len())),
    ]);
    packet_len(2, properties)
}

/// Bytes of an AUTH that asks for more, fixed header included.
pub(super) fn auth_len(method: &str, data: &[u8]) -> u64 {
    packet_len(1, total([field_len(method.len()), field_len(data.len())]))
}

/// Bytes of a packet with so many bytes before the length of its properties, and of those.
fn packet_len(before: u64, properties: u64) -> u64 {
    let body = total([before, variable_byte_integer_len(properties), properties]);
    total([1, variable_byte_integer_len(body), body])
}

/// Bytes of a property that is text or binary data: its identifier, two bytes of length, and so many.
fn field_len(bytes: usize) -> u64 {
    total([3, bytes as u64])
}

fn total<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

fn variable_byte_integer_len(value: u64) -> u64 {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}
