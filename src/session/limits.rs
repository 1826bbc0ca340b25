//! What a session allows and announces.

use crate::mqtt::QoS;

/// This room's options, resolved and in range. Shared by all sessions of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Unfinished QoS 1 and 2 PUBLISH packets a client may have towards us; 1 to 65,535. Announced in CONNACK.
    pub receive_maximum: u16,
    /// PUBLISH packets we keep unacknowledged towards a client, whatever larger Receive Maximum it names; 1 to 65,535.
    pub inflight_max: u16,
    /// Largest packet we take, fixed header included, bytes. Announced in CONNACK.
    pub packet_bytes_max: u32,
    /// Topic Aliases a client may use; 0 = none. Announced in CONNACK.
    pub topic_alias_maximum: u16,
    /// Topic Aliases we use towards a client that allows them.
    pub topic_alias_out_max: u16,
    /// Highest QoS a client may publish with.
    pub maximum_qos: QoS,
    /// Whether RETAIN 1 is accepted.
    pub retain_available: bool,
    /// Levels of a Topic Name or Filter; 1 to 65,536.
    pub topic_levels_max: usize,
    /// Bytes of a Topic Name or Filter.
    pub topic_bytes_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Keep Alive in force if the client asks for 0 or more than this, seconds; 0 = as the client wishes. 5.0 learns it as
    /// Server Keep Alive.
    pub keep_alive_s_max: u16,
    /// Shorter wishes are raised to this, seconds (5.0 only, which can be told).
    pub keep_alive_s_min: u16,
    /// Longest Session Expiry Interval granted, seconds; `u32::MAX` = no bound.
    pub session_expiry_s_max: u32,
    /// Longest Client Identifier accepted, bytes.
    pub client_id_bytes_max: usize,
    /// Messages waiting in memory for a connected client whose session ends with the connection.
    pub waiting_messages_max: usize,
    /// Bytes of those.
    pub waiting_bytes_max: usize,
    /// Bytes waiting to be written to a connection above which QoS 0 is dropped and QoS 1 and 2 wait.
    pub out_bytes_max: usize,
    /// Answered to Request Response Information: topic prefix for replies, `{client}` replaced by the Client Identifier. Empty = none.
    pub response_information: Box<str>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            receive_maximum: 64,
            inflight_max: 64,
            packet_bytes_max: 1024 * 1024,
            topic_alias_maximum: 16,
            topic_alias_out_max: 16,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_levels_max: 128,
            topic_bytes_max: 65_535,
            subscriptions_max: 1000,
            keep_alive_s_max: 0,
            keep_alive_s_min: 0,
            session_expiry_s_max: u32::MAX,
            client_id_bytes_max: 65_535,
            waiting_messages_max: 1000,
            waiting_bytes_max: 8 * 1024 * 1024,
            out_bytes_max: 256 * 1024,
            response_information: "response/{client}".into(),
        }
    }
}
