//! The only list of metrics: name, type, unit, help and labels of each.

/// Whether a value only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What a value is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
}

/// One metric with all its labels: what the page shows under one name.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Name on the page.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Unit of the values.
    pub unit: Unit,
    /// One sentence for people.
    pub help: &'static str,
    /// Names of the labels, each with all the values it may have.
    pub labels: &'static [(&'static str, &'static [&'static str])],
}

impl Family {
    /// Number of series: the product of the labels' values.
    pub const fn width(&self) -> usize {
        let (mut width, mut i) = (1, 0);
        while i < self.labels.len() {
            width *= self.labels[i].1.len();
            i += 1;
        }
        width
    }

    /// The labels of the series number `offset` of this family, `offset` below [`Family::width`].
    pub fn labels_of(&self, offset: usize) -> Vec<(&'static str, &'static str)> {
        let mut left = offset;
        let mut labels: Vec<_> = self
            .labels
            .iter()
            .rev()
            .map(|(name, values)| {
                let value = values[left % values.len()];
                left /= values.len();
                (*name, value)
            })
            .collect();
        labels.reverse();
        labels
    }
}

/// Declares the values of one label as an enum, so that a label is never made of text a client sent.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// Every value as the page shows it, in the order of the enum.
            const TEXTS: &'static [&'static str] = &[$($text),+];
        }
    };
}

label! {
    /// Which way bytes go.
    Direction {
        /// From a client.
        Received = "received",
        /// To a client.
        Sent = "sent",
    }
}

label! {
    /// Quality of Service.
    Qos {
        /// QoS 0.
        AtMostOnce = "0",
        /// QoS 1.
        AtLeastOnce = "1",
        /// QoS 2.
        ExactlyOnce = "2",
    }
}

impl Qos {
    /// The label for this number; anything above 2 counts as 2.
    pub const fn of(number: u8) -> Qos {
        match number {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }
}

label! {
    /// Type of an MQTT Control Packet.
    PacketKind {
        /// CONNECT.
        Connect = "connect",
        /// CONNACK.
        ConnAck = "connack",
        /// PUBLISH.
        Publish = "publish",
        /// PUBACK.
        PubAck = "puback",
        /// PUBREC.
        PubRec = "pubrec",
        /// PUBREL.
        PubRel = "pubrel",
        /// PUBCOMP.
        PubComp = "pubcomp",
        /// SUBSCRIBE.
        Subscribe = "subscribe",
        /// SUBACK.
        SubAck = "suback",
        /// UNSUBSCRIBE.
        Unsubscribe = "unsubscribe",
        /// UNSUBACK.
        UnsubAck = "unsuback",
        /// PINGREQ.
        PingReq = "pingreq",
        /// PINGRESP.
        PingResp = "pingresp",
        /// DISCONNECT.
        Disconnect = "disconnect",
        /// AUTH.
        Auth = "auth",
        /// Type 0, which no packet may have.
        Reserved = "reserved",
    }
}

impl PacketKind {
    /// The type in the high four bits of a packet's first byte.
    pub const fn of(first: u8) -> PacketKind {
        match first >> 4 {
            0 => PacketKind::Reserved,
            number => PacketKind::ALL[number as usize - 1],
        }
    }
}

label! {
    /// How a connection ended.
    Closed {
        /// DISCONNECT from the client.
        ByClient = "by_client",
        /// The client broke a rule of the protocol.
        Violation = "violation",
        /// The connection broke, or was closed without DISCONNECT.
        Lost = "lost",
        /// Nothing was heard for one and a half times the Keep Alive.
        KeepAlive = "keep_alive",
        /// Another connection claimed the Client Identifier.
        TakenOver = "taken_over",
        /// The broker stops.
        Shutdown = "shutdown",
        /// An administrator or a limit ended it.
        ByServer = "by_server",
        /// It was refused before it had a session.
        Refused = "refused",
        /// CONNECT was not complete in time.
        ConnectTimeout = "connect_timeout",
        /// TLS or WebSocket could not be agreed on.
        Handshake = "handshake",
    }
}

label! {
    /// Why a message did not reach a client that would have got it.
    Dropped {
        /// Its Message Expiry Interval passed.
        Expired = "expired",
        /// It waited for its session, which was away, longer than `store.queue_age_max_s`.
        TooOld = "too_old",
        /// Larger than the client's Maximum Packet Size.
        TooLarge = "too_large",
        /// QoS 0 to a client that does not read fast enough.
        SlowConsumer = "slow_consumer",
        /// The client's memory queue is full.
        QueueFull = "queue_full",
        /// The client may not receive this topic.
        NotAuthorized = "not_authorized",
        /// The publisher may not publish to this topic.
        PublishNotAuthorized = "publish_not_authorized",
        /// The session ended with messages waiting.
        SessionEnded = "session_ended",
        /// QoS 0 for a session whose client is not connected.
        Absent = "absent",
        /// The client left while the message was on its way to it.
        Left = "left",
        /// There is no room for another retained message; subscribers got it.
        RetainedFull = "retained_full",
        /// It was acknowledged before it was written (level `memory`), and then the disk failed.
        Unwritten = "unwritten",
    }
}

label! {
    /// A Reason Code that means failure, by the standard's name.
    Reason {
        /// 0x80, and every code this list does not have.
        UnspecifiedError = "unspecified_error",
        /// 0x81.
        MalformedPacket = "malformed_packet",
        /// 0x82.
        ProtocolError = "protocol_error",
        /// 0x83.
        ImplementationSpecificError = "implementation_specific_error",
        /// 0x84.
        UnsupportedProtocolVersion = "unsupported_protocol_version",
        /// 0x85.
        ClientIdentifierNotValid = "client_identifier_not_valid",
        /// 0x86.
        BadUserNameOrPassword = "bad_user_name_or_password",
        /// 0x87.
        NotAuthorized = "not_authorized",
        /// 0x88.
        ServerUnavailable = "server_unavailable",
        /// 0x89.
        ServerBusy = "server_busy",
        /// 0x8A.
        Banned = "banned",
        /// 0x8B.
        ServerShuttingDown = "server_shutting_down",
        /// 0x8C.
        BadAuthenticationMethod = "bad_authentication_method",
        /// 0x8D.
        KeepAliveTimeout = "keep_alive_timeout",
        /// 0x8E.
        SessionTakenOver = "session_taken_over",
        /// 0x8F.
        TopicFilterInvalid = "topic_filter_invalid",
        /// 0x90.
        TopicNameInvalid = "topic_name_invalid",
        /// 0x91.
        PacketIdentifierInUse = "packet_identifier_in_use",
        /// 0x92.
        PacketIdentifierNotFound = "packet_identifier_not_found",
        /// 0x93.
        ReceiveMaximumExceeded = "receive_maximum_exceeded",
        /// 0x94.
        TopicAliasInvalid = "topic_alias_invalid",
        /// 0x95.
        PacketTooLarge = "packet_too_large",
        /// 0x96.
        MessageRateTooHigh = "message_rate_too_high",
        /// 0x97.
        QuotaExceeded = "quota_exceeded",
        /// 0x98.
        AdministrativeAction = "administrative_action",
        /// 0x99.
        PayloadFormatInvalid = "payload_format_invalid",
        /// 0x9A.
        RetainNotSupported = "retain_not_supported",
        /// 0x9B.
        QoSNotSupported = "qos_not_supported",
        /// 0x9C.
        UseAnotherServer = "use_another_server",
        /// 0x9D.
        ServerMoved = "server_moved",
        /// 0x9E.
        SharedSubscriptionsNotSupported = "shared_subscriptions_not_supported",
        /// 0x9F.
        ConnectionRateExceeded = "connection_rate_exceeded",
        /// 0xA0.
        MaximumConnectTime = "maximum_connect_time",
        /// 0xA1.
        SubscriptionIdentifiersNotSupported = "subscription_identifiers_not_supported",
        /// 0xA2.
        WildcardSubscriptionsNotSupported = "wildcard_subscriptions_not_supported",
    }
}

impl Reason {
    /// The label for a Reason Code by its number.
    pub const fn of(code: u8) -> Reason {
        match code.checked_sub(0x80) {
            Some(index) if (index as usize) < Reason::ALL.len() => Reason::ALL[index as usize],
            _ => Reason::UnspecifiedError,
        }
    }
}

/// Declares [`Metric`], [`CATALOGUE`] and the place of each series in [`super::Counters`], from one list.
macro_rules! catalogue {
    ($($(#[doc = $help:literal])+
       $variant:ident $(($($label:ident: $values:ident as $text:literal),+))? = $kind:ident $name:literal in $unit:ident;
    )+) => {
        /// One series: a metric and the value of each of its labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric { $($(#[doc = $help])+ $variant $(($($values),+))?,)+ }

        /// Numbers the families in the order of the catalogue.
        enum Place { $($variant,)+ }

        /// Every metric there is.
        pub const CATALOGUE: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            help: concat!($($help),+),
            labels: &[$($(($text, $values::TEXTS)),+)?],
        }),+];

        impl Metric {
            /// Its place among all series, below [`SERIES`].
            pub const fn index(self) -> usize {
                match self {
                    $(Metric::$variant $(($($label),+))? => {
                        let offset = 0;
                        $($(let offset = offset * $values::ALL.len() + $label as usize;)+)?
                        BASES[Place::$variant as usize] + offset
                    })+
                }
            }
        }
    };
}

catalogue! {
    /// Network connections that are open, with or without a session.
    Connections = Gauge "heraldmq_connections" in Count;
    /// Network connections accepted.
    ConnectionsOpened = Counter "heraldmq_connections_opened_total" in Count;
    /// Network connections that ended, by what ended them.
    ConnectionsClosed(reason: Closed as "reason") = Counter "heraldmq_connections_closed_total" in Count;
    /// Connections refused before they had a session, by the Reason Code they were told or would have been.
    ConnectsRefused(reason: Reason as "reason") = Counter "heraldmq_connects_refused_total" in Count;
    /// MQTT Control Packets, by type and direction.
    Packets(kind: PacketKind as "type", direction: Direction as "direction") = Counter "heraldmq_packets_total" in Count;
    /// Bytes read from and written to network connections.
    Bytes(direction: Direction as "direction") = Counter "heraldmq_bytes_total" in Bytes;
    /// Application Messages accepted from publishers.
    MessagesReceived(qos: Qos as "qos") = Counter "heraldmq_messages_received_total" in Count;
    /// Application Messages written to subscribers, by the QoS of the delivery; repetitions count again.
    MessagesDelivered(qos: Qos as "qos") = Counter "heraldmq_messages_delivered_total" in Count;
    /// Application Messages that did not reach a client that would have got them.
    MessagesDropped(reason: Dropped as "reason") = Counter "heraldmq_messages_dropped_total" in Count;
    /// Application Messages for which there was no subscription.
    MessagesUnmatched = Counter "heraldmq_messages_unmatched_total" in Count;
    /// Wills that were published.
    WillsPublished = Counter "heraldmq_wills_published_total" in Count;
    /// Subscriptions that stand.
    Subscriptions = Gauge "heraldmq_subscriptions" in Count;
    /// Topics that have a retained message.
    RetainedMessages = Gauge "heraldmq_retained_messages" in Count;
    /// Sessions, connected or waiting for their client.
    Sessions = Gauge "heraldmq_sessions" in Count;
    /// Bytes of messages on their way from core to core. While it is high, a core is slower than those that publish to its clients.
    InboxBytes = Gauge "heraldmq_inbox_bytes" in Bytes;
    /// Clients that are not read for now, because they publish faster than another core delivers.
    PublishersPaused = Gauge "heraldmq_publishers_paused" in Count;
    /// Times that a client was not read for a while, because it published faster than another core delivered.
    PublisherPauses = Counter "heraldmq_publisher_pauses_total" in Count;
    /// Panics in the handling of one connection that ended this connection and nothing else: each is a defect.
    CaughtPanics = Counter "heraldmq_caught_panics_total" in Count;
    /// Connections ended because the client broke a rule, by Reason Code.
    ProtocolViolations(reason: Reason as "reason") = Counter "heraldmq_protocol_violations_total" in Count;
}

/// Number of all series.
pub const SERIES: usize = {
    let (mut sum, mut i) = (0, 0);
    while i < CATALOGUE.len() {
        sum += CATALOGUE[i].width();
        i += 1;
    }
    sum
};

/// Where the series of each family begin.
const BASES: [usize; CATALOGUE.len()] = {
    let mut bases = [0; CATALOGUE.len()];
    let mut i = 1;
    while i < CATALOGUE.len() {
        bases[i] = bases[i - 1] + CATALOGUE[i - 1].width();
        i += 1;
    }
    bases
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_its_own_place_and_the_labels_that_were_asked_for() {
        let first = Metric::Packets(PacketKind::Connect, Direction::Received).index();
        let publish_sent = Metric::Packets(PacketKind::of(0x3d), Direction::Sent).index();
        assert_eq!(publish_sent - first, 5);
        let packets = CATALOGUE.iter().find(|family| family.name == "heraldmq_packets_total").unwrap();
        assert_eq!(packets.labels_of(5), [("type", "publish"), ("direction", "sent")]);
        assert_eq!(Metric::ProtocolViolations(Reason::WildcardSubscriptionsNotSupported).index(), SERIES - 1);
    }

    #[test]
    fn reason_labels_follow_the_numbers_of_the_standard() {
        assert_eq!(Reason::of(0x87), Reason::NotAuthorized);
        assert_eq!(Reason::of(0x9F), Reason::ConnectionRateExceeded);
        assert_eq!(Reason::of(0xA2), Reason::WildcardSubscriptionsNotSupported);
        assert_eq!(Reason::of(0xA3), Reason::UnspecifiedError);
        assert_eq!(Reason::of(0x00), Reason::UnspecifiedError);
        assert_eq!(PacketKind::of(0xF0), PacketKind::Auth);
        assert_eq!(PacketKind::of(0x05), PacketKind::Reserved);
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for family in CATALOGUE {
            assert!(family.name.starts_with("heraldmq_"), "{}", family.name);
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
            let unit_is_said = family.name.contains("_bytes");
            assert_eq!(unit_is_said, family.unit == Unit::Bytes, "{}", family.name);
            assert!(family.help.trim().ends_with('.'), "{}", family.name);
        }
    }
}
