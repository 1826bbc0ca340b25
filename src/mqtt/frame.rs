//! Splitting one packet off a buffer: fixed header, Variable Byte Integer, size limit.

use super::DecodeError;

/// One whole packet, not yet judged: its first byte and everything behind the Remaining Length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type (high four bits) and flags.
    pub first: u8,
    /// The packet without its fixed header.
    pub body: &'a [u8],
}

/// What a buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole packet of `len` bytes, fixed header included.
    Whole {
        /// The packet.
        frame: Frame<'a>,
        /// Bytes it took from the buffer.
        len: usize,
    },
    /// Not all there yet: the packet needs at least `need` bytes in all.
    Incomplete {
        /// Bytes needed from the start of the packet.
        need: usize,
    },
}

/// Looks for one packet at the start of `buffer`. `packet_bytes_max` bounds the whole packet, fixed
/// header included, and is checked as soon as the Remaining Length is known, before anything is buffered.
///
/// # Errors
/// Malformed Remaining Length (over four bytes, not minimal [MQTT-1.5.5-1]), packet type 0 (and 15 where
/// the version has none is `decode`'s business), or too large (`PacketTooLarge`).
pub fn split(buffer: &[u8], packet_bytes_max: usize) -> Result<Split<'_>, DecodeError> {
    let _ = (buffer, packet_bytes_max);
    todo!()
}
