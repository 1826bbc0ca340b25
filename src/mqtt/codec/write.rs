//! Writing. Every function answers with a whole packet; whether it fits the receiver is for the caller.

use bytes::{Bytes, BytesMut};
use mqttbytes::{FixedHeader, v4, v5};

use crate::mqtt::check::AckKind;
use crate::mqtt::{ConnAck, PacketId, ReasonCode};

/// Whether Reason String and User Properties go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mqtt) enum Advice {
    Given,
    LeftOut,
}

/// A field has two bytes of length, and mqttbytes would write a longer one with a wrong length.
fn string(text: &str) -> Option<String> {
    (text.len() <= usize::from(u16::MAX)).then(|| text.to_owned())
}

/// What mqttbytes writes into a buffer of its own, which it needs; nothing if it refuses.
fn written(write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>) -> BytesMut {
    let mut bytes = BytesMut::new();
    match write(&mut bytes) {
        Ok(_) => bytes,
        Err(_) => BytesMut::new(),
    }
}

/// CONNACK. In 3.1.1 a return code, and Session Present only with 0 [MQTT3-3.2.2-4].
pub(in crate::mqtt) fn connack(connack: &ConnAck, is_v5: bool, advice: Advice) -> BytesMut {
    // [MQTT-3.2.2-6]
    let session_present = connack.session_present && !connack.reason.is_failure();
    if !is_v5 {
        return written(|to| v4::ConnAck::new(return_code(connack.reason), session_present).write(to));
    }
    let mut packet = v5::ConnAck::new(connect_reason(connack.reason), session_present);
    let mut properties = v5::ConnAckProperties::new();
    properties.session_expiry_interval = connack.session_expiry_s;
    properties.receive_max = connack.receive_maximum;
    properties.max_qos = connack.maximum_qos;
    properties.retain_available = connack.retain_available.map(u8::from);
    properties.max_packet_size = connack.maximum_packet_size;
    properties.assigned_client_identifier = connack.assigned_client_id.as_deref().and_then(string);
    properties.topic_alias_max = connack.topic_alias_maximum;
    properties.server_keep_alive = connack.server_keep_alive_s;
    properties.response_information = connack.response_information.as_deref().and_then(string);
    properties.authentication_method = connack.authentication_method.as_deref().and_then(string);
    let data = connack.authentication_data.as_deref().filter(|data| data.len() <= usize::from(u16::MAX));
    properties.authentication_data = data.map(Bytes::copy_from_slice);
    if advice == Advice::Given {
        properties.reason_string = connack.reason_string.as_deref().and_then(string);
        let pairs = connack.user_properties.iter().filter_map(|(name, value)| Some((string(name)?, string(value)?)));
        properties.user_properties = pairs.collect();
    }
    packet.properties = Some(properties);
    written(|to| packet.write(to))
}

/// The return code of 3.1.1 that says most nearly the same.
fn return_code(reason: ReasonCode) -> v4::ConnectReturnCode {
    use ReasonCode as R;
    match reason {
        R::Success => v4::ConnectReturnCode::Success,
        R::UnsupportedProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        R::ClientIdentifierNotValid => v4::ConnectReturnCode::BadClientId,
        R::BadUserNameOrPassword | R::BadAuthenticationMethod => v4::ConnectReturnCode::BadUserNamePassword,
        R::NotAuthorized | R::Banned => v4::ConnectReturnCode::NotAuthorized,
        _ => v4::ConnectReturnCode::ServiceUnavailable,
    }
}

/// The code of CONNACK's own table that says most nearly the same.
fn connect_reason(reason: ReasonCode) -> v5::ConnectReturnCode {
    use ReasonCode as R;
    match reason {
        R::Success => v5::ConnectReturnCode::Success,
        R::MalformedPacket => v5::ConnectReturnCode::MalformedPacket,
        R::ProtocolError => v5::ConnectReturnCode::ProtocolError,
        R::ImplementationSpecificError => v5::ConnectReturnCode::ImplementationSpecificError,
        R::UnsupportedProtocolVersion => v5::ConnectReturnCode::UnsupportedProtocolVersion,
        R::ClientIdentifierNotValid => v5::ConnectReturnCode::ClientIdentifierNotValid,
        R::BadUserNameOrPassword => v5::ConnectReturnCode::BadUserNamePassword,
        R::NotAuthorized => v5::ConnectReturnCode::NotAuthorized,
        R::ServerUnavailable | R::ServerShuttingDown => v5::ConnectReturnCode::ServerUnavailable,
        R::ServerBusy => v5::ConnectReturnCode::ServerBusy,
        R::Banned => v5::ConnectReturnCode::Banned,
        R::BadAuthenticationMethod => v5::ConnectReturnCode::BadAuthenticationMethod,
        R::TopicNameInvalid => v5::ConnectReturnCode::TopicNameInvalid,
        R::PacketTooLarge => v5::ConnectReturnCode::PacketTooLarge,
        R::QuotaExceeded => v5::ConnectReturnCode::QuotaExceeded,
        R::PayloadFormatInvalid => v5::ConnectReturnCode::PayloadFormatInvalid,
        R::RetainNotSupported => v5::ConnectReturnCode::RetainNotSupported,
        R::QoSNotSupported => v5::ConnectReturnCode::QoSNotSupported,
        R::UseAnotherServer => v5::ConnectReturnCode::UseAnotherServer,
        R::ServerMoved => v5::ConnectReturnCode::ServerMoved,
        R::ConnectionRateExceeded | R::MessageRateTooHigh => v5::ConnectReturnCode::ConnectionRateExceeded,
        _ => v5::ConnectReturnCode::UnspecifiedError,
    }
}

/// SUBACK: a code per filter [MQTT-3.8.4-6]; in 3.1.1 every failure is 0x80 [MQTT3-3.8.4-5].
pub(in crate::mqtt) fn suback(
    packet_id: PacketId,
    codes: &[ReasonCode],
    reason_string: Option<&str>,
    is_v5: bool,
) -> BytesMut {
    if !is_v5 {
        let code = |code: &ReasonCode| {
            v4::SubscribeReasonCode::try_from(*code as u8).unwrap_or(v4::SubscribeReasonCode::Failure)
        };
        let packet = v4::SubAck::new(packet_id.get(), codes.iter().map(code).collect());
        return written(|to| packet.write(to));
    }
    let code = |code: &ReasonCode| {
        v5::SubscribeReasonCode::try_from(*code as u8).unwrap_or(v5::SubscribeReasonCode::Unspecified)
    };
    let mut packet = v5::SubAck::new(packet_id.get(), codes.iter().map(code).collect());
    packet.properties = reason_string
        .and_then(string)
        .map(|text| v5::SubAckProperties { reason_string: Some(text), user_properties: Vec::new() });
    written(|to| packet.write(to))
}

/// UNSUBACK: a code per filter; in 3.1.1 none.
pub(in crate::mqtt) fn unsuback(packet_id: PacketId, codes: &[ReasonCode], is_v5: bool) -> BytesMut {
    if !is_v5 {
        return written(|to| v4::UnsubAck::new(packet_id.get()).write(to));
    }
    let mut packet = v5::UnsubAck::new(packet_id.get());
    let code = |code: &ReasonCode| match code {
        ReasonCode::Success => v5::UnsubAckReason::Success,
        ReasonCode::NoSubscriptionExisted => v5::UnsubAckReason::NoSubscriptionExisted,
        ReasonCode::ImplementationSpecificError => v5::UnsubAckReason::ImplementationSpecificError,
        ReasonCode::NotAuthorized => v5::UnsubAckReason::NotAuthorized,
        ReasonCode::TopicFilterInvalid => v5::UnsubAckReason::TopicFilterInvalid,
        ReasonCode::PacketIdentifierInUse => v5::UnsubAckReason::PacketIdentifierInUse,
        _ => v5::UnsubAckReason::UnspecifiedError,
    };
    packet.reasons = codes.iter().map(code).collect();
    written(|to| packet.write(to))
}

/// PUBACK or PUBREC with a Reason String; empty if the packet cannot carry `reason`, or for another kind.
pub(in crate::mqtt) fn ack_with_reason_string(
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    reason_string: &str,
) -> BytesMut {
    // mqttbytes has no number to code; reading the bare packet is one.
    let [high, low] = packet_id.get().to_be_bytes();
    let bare = |first| (FixedHeader::new(first, 0, 3), Bytes::copy_from_slice(&[first, high, low, reason as u8]));
    let reason_string = string(reason_string);
    written(|to| match kind {
        AckKind::PubAck => {
            let (header, bytes) = bare(0x40);
            let mut packet = v5::PubAck::read(header, bytes)?;
            packet.properties = Some(v5::PubAckProperties { reason_string, user_properties: Vec::new() });
            packet.write(to)
        }
        AckKind::PubRec => {
            let (header, bytes) = bare(0x50);
            let mut packet = v5::PubRec::read(header, bytes)?;
            packet.properties = Some(v5::PubRecProperties { reason_string, user_properties: Vec::new() });
            packet.write(to)
        }
        AckKind::PubRel | AckKind::PubComp => Ok(0),
    })
}

/// DISCONNECT with a Reason String; empty if mqttbytes lacks `reason`.
pub(in crate::mqtt) fn disconnect_with_reason_string(reason: ReasonCode, reason_string: &str) -> BytesMut {
    let mut properties = v5::DisconnectProperties::new();
    properties.reason_string = string(reason_string);
    if properties.reason_string.is_none() {
        // It takes a packet with empty properties for a normal disconnection.
        return BytesMut::new();
    }
    written(|to| {
        let mut packet = v5::Disconnect::new();
        packet.reason_code = v5::DisconnectReasonCode::try_from(reason as u8)?;
        packet.properties = Some(properties);
        packet.write(to)
    })
}
