//! Splitting one packet off a buffer: fixed header, Variable Byte Integer, size limit.

use super::reader::{self, STRUCTURE};
use super::{DecodeError, ReasonCode};

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
/// the version has none is `decode`'s business), or too large (`PacketTooLarge`) [MQTT-3.2.2-15].
pub fn split(buffer: &[u8], packet_bytes_max: usize) -> Result<Split<'_>, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(Split::Incomplete { need: 2 }) };
    if first >> 4 == 0 {
        return Err(DecodeError::malformed(STRUCTURE));
    }
    let Some((remaining, taken)) = reader::variable_byte_integer(rest)? else {
        return Ok(Split::Incomplete { need: buffer.len().saturating_add(1) });
    };
    let header = taken.saturating_add(1);
    let len = header.saturating_add(remaining as usize);
    if len > packet_bytes_max {
        return Err(DecodeError { reason: ReasonCode::PacketTooLarge, statement: "MQTT-3.2.2-15" });
    }
    match buffer.get(header..len) {
        Some(body) => Ok(Split::Whole { frame: Frame { first, body }, len }),
        None => Ok(Split::Incomplete { need: len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(buffer: &[u8]) -> (ReasonCode, &'static str) {
        let error = split(buffer, 100).expect_err("it must be refused");
        (error.reason, error.statement)
    }

    #[test]
    fn a_whole_packet_is_split_off_what_follows_it() {
        let split = split(&[0xC0, 0, 0x30], 100);
        assert_eq!(split, Ok(Split::Whole { frame: Frame { first: 0xC0, body: &[] }, len: 2 }));
    }

    #[test]
    fn what_is_missing_is_named_from_the_start_of_the_packet() {
        let need = |buffer: &[u8]| match split(buffer, 1000) {
            Ok(Split::Incomplete { need }) => need,
            other => panic!("{other:?}"),
        };
        assert_eq!((need(&[]), need(&[0x30]), need(&[0x30, 0x80]), need(&[0x30, 5, 1])), (2, 2, 3, 7));
        assert_eq!(need(&[0x30, 0x80, 0x01]), 131);
    }

    #[test]
    fn mqtt_1_5_5_1_a_length_that_is_not_minimal_or_over_four_bytes_is_malformed() {
        let malformed = (ReasonCode::MalformedPacket, "MQTT-1.5.5-1");
        assert_eq!(refused(&[0xC0, 0x80, 0x00]), malformed);
        assert_eq!(refused(&[0xC0, 0xFF, 0xFF, 0xFF, 0x80]), malformed);
        assert_eq!(refused(&[0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), malformed);
    }

    #[test]
    fn mqtt_3_2_2_15_the_whole_packet_counts_and_is_refused_before_it_is_there() {
        assert_eq!(refused(&[0x30, 99]), (ReasonCode::PacketTooLarge, "MQTT-3.2.2-15"));
        assert_eq!(split(&[0x30, 98], 100), Ok(Split::Incomplete { need: 100 }));
    }

    #[test]
    fn mqtt_4_13_1_1_packet_type_0_is_refused_by_its_first_byte() {
        assert_eq!(refused(&[0x00]), (ReasonCode::MalformedPacket, STRUCTURE));
    }
}
