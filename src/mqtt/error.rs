//! Why bytes are not a packet.

use super::ReasonCode;

/// A packet that must not be read. The connection it came on is closed: in 5.0 with `reason` in a
/// DISCONNECT (or CONNACK), in 3.1.1 without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason:?} by [{statement}]")]
pub struct DecodeError {
    /// What to tell a 5.0 peer.
    pub reason: ReasonCode,
    /// The normative statement that is broken, without brackets, e.g. `MQTT-2.1.3-1`.
    pub statement: &'static str,
}

impl DecodeError {
    /// Bytes that cannot be read as a packet.
    pub(super) fn malformed(statement: &'static str) -> Self {
        Self { reason: ReasonCode::MalformedPacket, statement }
    }

    /// A packet that can be read and must not be sent.
    pub(super) fn protocol(statement: &'static str) -> Self {
        Self { reason: ReasonCode::ProtocolError, statement }
    }
}
