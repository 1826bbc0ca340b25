//! Reason Codes: one table of number, name and the packets that may carry it.

/// A Reason Code of MQTT 5.0, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the standard's
pub enum ReasonCode {
    /// Also "Normal disconnection" and "Granted QoS 0".
    Success = 0x00,
    GrantedQoS1 = 0x01,
    GrantedQoS2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierInUse = 0x91,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QoSNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// 0x80 and above: the operation failed.
    pub fn is_failure(self) -> bool {
        self as u8 >= 0x80
    }
}

/// Packets that carry Reason Codes and that a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// PUBACK and PUBREC.
    Received,
    /// PUBREL and PUBCOMP.
    Released,
    Disconnect,
    Auth,
}

impl ReasonCode {
    /// The code with this number, if a client may send it in `carrier` [MQTT-3.4.2-1] [MQTT-3.14.2-1]
    /// [MQTT-3.15.2-1]. Codes the standard gives to the server alone are left out.
    #[rustfmt::skip]
    pub(super) fn from_client(carrier: Carrier, number: u8) -> Option<ReasonCode> {
        use Carrier::{Auth, Disconnect, Received, Released};
        Some(match (number, carrier) {
            (0x00, Received | Released | Disconnect) => ReasonCode::Success,
            (0x04, Disconnect)            => ReasonCode::DisconnectWithWill,
            (0x18, Auth)                  => ReasonCode::ContinueAuthentication,
            (0x19, Auth)                  => ReasonCode::ReAuthenticate,
            (0x80, Received | Disconnect) => ReasonCode::UnspecifiedError,
            (0x81, Disconnect)            => ReasonCode::MalformedPacket,
            (0x82, Disconnect)            => ReasonCode::ProtocolError,
            (0x83, Received | Disconnect) => ReasonCode::ImplementationSpecificError,
            (0x87, Received)              => ReasonCode::NotAuthorized,
            (0x90, Received | Disconnect) => ReasonCode::TopicNameInvalid,
            (0x91, Received)              => ReasonCode::PacketIdentifierInUse,
            (0x92, Released)              => ReasonCode::PacketIdentifierNotFound,
            (0x93, Disconnect)            => ReasonCode::ReceiveMaximumExceeded,
            (0x94, Disconnect)            => ReasonCode::TopicAliasInvalid,
            (0x95, Disconnect)            => ReasonCode::PacketTooLarge,
            (0x96, Disconnect)            => ReasonCode::MessageRateTooHigh,
            (0x97, Received | Disconnect) => ReasonCode::QuotaExceeded,
            (0x98, Disconnect)            => ReasonCode::AdministrativeAction,
            (0x99, Received | Disconnect) => ReasonCode::PayloadFormatInvalid,
            _ => return None,
        })
    }
}
