//! Reading, behind the validator.

use bytes::Bytes;
use mqttbytes::{FixedHeader, v4, v5};

use crate::mqtt::check::{self, AckKind};
use crate::mqtt::frame::Frame;
use crate::mqtt::property::{self, Place, Value};
use crate::mqtt::reader::{Reader, STRUCTURE};
use crate::mqtt::reason::Carrier;
use crate::mqtt::{
    Ack, Auth, Connect, DecodeError, Disconnect, PacketId, ProtocolVersion, QoS, ReasonCode, RetainHandling, Subscribe,
    Subscription, Unsubscribe, Will,
};

/// A packet as mqttbytes wants it: a fixed header it believes, and the bytes from the first one on. It
/// skips the Remaining Length, which is therefore left out.
fn handed_over(first: u8, body: &[&[u8]]) -> (FixedHeader, Bytes) {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(len.saturating_add(1));
    bytes.push(first);
    body.iter().for_each(|part| bytes.extend_from_slice(part));
    (FixedHeader::new(first, 0, len), Bytes::from(bytes))
}

/// The validator and mqttbytes disagree: the packet is refused as one that cannot be read.
fn refused(_: mqttbytes::Error) -> DecodeError {
    DecodeError::malformed(STRUCTURE)
}

fn qos(qos: mqttbytes::QoS) -> QoS {
    match qos {
        mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
        mqttbytes::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqttbytes::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn packet_id(number: u16) -> Result<PacketId, DecodeError> {
    PacketId::new(number).ok_or(DecodeError::protocol("MQTT-2.2.1-3"))
}

/// CONNECT. The login was read by the validator; mqttbytes gets the packet without it, under the name and
/// level it knows.
pub(in crate::mqtt) fn connect(checked: check::Connect<'_>) -> Result<Connect, DecodeError> {
    let level = if checked.version.is_v5() { 5 } else { 4 };
    let without_login_flags = checked.flags & 0x3F;
    let head = [0, 4, b'M', b'Q', b'T', b'T', level, without_login_flags];
    let (header, bytes) = handed_over(0x10, &[&head, checked.without_login]);
    let mut connect = if checked.version.is_v5() {
        connect_5(v5::Connect::read(header, bytes).map_err(refused)?, checked.will_properties)
    } else {
        connect_311(v4::Connect::read(header, bytes).map_err(refused)?)
    };
    connect.version = checked.version;
    connect.user_name = checked.user_name.map(Box::from);
    connect.password = checked.password.map(Box::from);
    Ok(connect)
}

fn connect_5(read: v5::Connect, will_properties: &[u8]) -> Connect {
    let properties = read.properties.as_ref();
    Connect {
        version: ProtocolVersion::V5,
        clean_start: read.clean_session,
        keep_alive_s: read.keep_alive,
        client_id: read.client_id.into_boxed_str(),
        will: read.last_will.map(|will| will_5(will, will_properties)),
        user_name: None,
        password: None,
        session_expiry_s: properties.and_then(|p| p.session_expiry_interval).unwrap_or(0),
        receive_maximum: properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX),
        maximum_packet_size: properties.and_then(|p| p.max_packet_size),
        topic_alias_maximum: properties.and_then(|p| p.topic_alias_max).unwrap_or(0),
        request_response_information: properties.and_then(|p| p.request_response_info) == Some(1),
        request_problem_information: properties.and_then(|p| p.request_problem_info) != Some(0),
        authentication_method: properties.and_then(|p| p.authentication_method.as_deref()).map(Box::from),
        authentication_data: properties.and_then(|p| p.authentication_data.as_deref()).map(Box::from),
    }
}

fn will_5(will: v5::LastWill, wire: &[u8]) -> Will {
    let mut forwardable = Vec::with_capacity(wire.len());
    property::keep_forwardable(wire, &mut forwardable);
    Will {
        topic: will.topic.into_boxed_str(),
        // A copy of its own: a slice would keep the whole CONNECT.
        payload: Bytes::copy_from_slice(&will.message),
        qos: qos(will.qos),
        retain: will.retain,
        delay_s: will.properties.as_ref().and_then(|p| p.delay_interval).unwrap_or(0),
        expiry_s: will.properties.as_ref().and_then(|p| p.message_expiry_interval),
        properties: Bytes::from(forwardable),
    }
}

/// CleanSession becomes a clean start and an expiry: 1 ends with the connection, 0 never does
/// [MQTT3-3.1.2-4] [MQTT3-3.1.2-6].
fn connect_311(read: v4::Connect) -> Connect {
    Connect {
        version: ProtocolVersion::V3_1_1,
        clean_start: read.clean_session,
        keep_alive_s: read.keep_alive,
        client_id: read.client_id.into_boxed_str(),
        will: read.last_will.map(|will| Will {
            topic: will.topic.into_boxed_str(),
            payload: Bytes::copy_from_slice(&will.message),
            qos: qos(will.qos),
            retain: will.retain,
            delay_s: 0,
            expiry_s: None,
            properties: Bytes::new(),
        }),
        user_name: None,
        password: None,
        session_expiry_s: if read.clean_session { 0 } else { u32::MAX },
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        authentication_method: None,
        authentication_data: None,
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP with properties.
pub(in crate::mqtt) fn ack(frame: Frame<'_>, kind: AckKind) -> Result<Ack, DecodeError> {
    let (header, bytes) = handed_over(frame.first, &[frame.body]);
    let (number, carrier, code) = match kind {
        AckKind::PubAck => v5::PubAck::read(header, bytes).map(|ack| (ack.pkid, Carrier::Received, ack.reason as u8)),
        AckKind::PubRec => v5::PubRec::read(header, bytes).map(|ack| (ack.pkid, Carrier::Received, ack.reason as u8)),
        AckKind::PubRel => v5::PubRel::read(header, bytes).map(|ack| (ack.pkid, Carrier::Released, ack.reason as u8)),
        AckKind::PubComp => v5::PubComp::read(header, bytes).map(|ack| (ack.pkid, Carrier::Released, ack.reason as u8)),
    }
    .map_err(refused)?;
    let reason = ReasonCode::from_client(carrier, code).ok_or(DecodeError::protocol("MQTT-3.4.2-1"))?;
    Ok(Ack { packet_id: packet_id(number)?, reason })
}

/// SUBSCRIBE.
pub(in crate::mqtt) fn subscribe(frame: Frame<'_>, version: ProtocolVersion) -> Result<Subscribe, DecodeError> {
    let (header, bytes) = handed_over(frame.first, &[frame.body]);
    if !version.is_v5() {
        let read = v4::Subscribe::read(header, bytes).map_err(refused)?;
        let subscriptions = read.filters.into_iter().map(|filter| Subscription {
            filter: filter.path.into_boxed_str(),
            qos: qos(filter.qos),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        });
        let subscriptions = subscriptions.collect();
        return Ok(Subscribe { packet_id: packet_id(read.pkid)?, subscription_id: None, subscriptions });
    }
    let read = v5::Subscribe::read(header, bytes).map_err(refused)?;
    let subscription_id = read.properties.and_then(|properties| properties.id).and_then(|id| u32::try_from(id).ok());
    let subscriptions = read.filters.into_iter().map(|filter| Subscription {
        filter: filter.path.into_boxed_str(),
        qos: qos(filter.qos),
        no_local: filter.nolocal,
        retain_as_published: filter.preserve_retain,
        retain_handling: match filter.retain_forward_rule {
            v5::RetainForwardRule::OnEverySubscribe => RetainHandling::Always,
            v5::RetainForwardRule::OnNewSubscribe => RetainHandling::IfNew,
            v5::RetainForwardRule::Never => RetainHandling::Never,
        },
    });
    let subscriptions = subscriptions.collect();
    Ok(Subscribe { packet_id: packet_id(read.pkid)?, subscription_id, subscriptions })
}

/// UNSUBSCRIBE: that of 5.0 is our own, because mqttbytes writes to standard error at it.
pub(in crate::mqtt) fn unsubscribe(frame: Frame<'_>, version: ProtocolVersion) -> Result<Unsubscribe, DecodeError> {
    if !version.is_v5() {
        let (header, bytes) = handed_over(frame.first, &[frame.body]);
        let read = v4::Unsubscribe::read(header, bytes).map_err(refused)?;
        let filters = read.topics.into_iter().map(String::into_boxed_str).collect();
        return Ok(Unsubscribe { packet_id: packet_id(read.pkid)?, filters });
    }
    let mut body = Reader::new(frame.body);
    let packet_id = body.packet_id("MQTT-2.2.1-3")?;
    property::read(&mut body, Place::Unsubscribe, |_, _| {})?;
    let mut filters = Vec::with_capacity(1);
    while !body.is_empty() {
        filters.push(Box::from(body.string()?));
    }
    Ok(Unsubscribe { packet_id, filters })
}

/// DISCONNECT: one byte or none is our own, because mqttbytes takes those for cut short.
pub(in crate::mqtt) fn disconnect(frame: Frame<'_>) -> Result<Disconnect, DecodeError> {
    let (code, session_expiry_s) = match frame.body {
        [] => (0, None),
        [code] => (*code, None),
        _ => {
            let (header, bytes) = handed_over(frame.first, &[frame.body]);
            let read = v5::Disconnect::read(header, bytes).map_err(refused)?;
            (read.reason_code as u8, read.properties.and_then(|properties| properties.session_expiry_interval))
        }
    };
    let reason = ReasonCode::from_client(Carrier::Disconnect, code).ok_or(DecodeError::protocol("MQTT-3.14.2-1"))?;
    Ok(Disconnect { reason, session_expiry_s })
}

/// AUTH, which mqttbytes does not have.
pub(in crate::mqtt) fn auth(frame: Frame<'_>, reason: ReasonCode) -> Result<Auth, DecodeError> {
    let (mut method, mut data) = (None, None);
    let mut behind_reason = Reader::new(frame.body.get(1..).unwrap_or_default());
    property::read(&mut behind_reason, Place::Auth, |id, value| match (id, value) {
        (property::AUTHENTICATION_METHOD, Value::Bytes(name)) => method = std::str::from_utf8(name).ok().map(Box::from),
        (property::AUTHENTICATION_DATA, Value::Bytes(bytes)) => data = Some(Box::from(bytes)),
        _ => {}
    })?;
    Ok(Auth { reason, method, data })
}
