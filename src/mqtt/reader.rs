//! Reading the standard's data types off a slice, each checked as it is read.

use super::{DecodeError, PacketId};

/// The statement behind everything whose own sentence has no number: fields cut short, bytes left over,
/// values out of range. A Malformed Packet or Protocol Error closes the connection.
pub(super) const STRUCTURE: &str = "MQTT-4.13.1-1";

/// Largest number a Variable Byte Integer holds.
pub(super) const VARIABLE_MAX: usize = 268_435_455;

/// Reads a Variable Byte Integer and how many bytes it took; `None` if it is not all there yet.
pub(super) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for ((at, &byte), shift) in bytes.iter().enumerate().zip([0, 7, 14, 21]) {
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            // The shortest form ends in no empty byte [MQTT-1.5.5-1].
            let minimal = byte != 0 || at == 0;
            return if minimal {
                Ok(Some((value, at.saturating_add(1))))
            } else {
                Err(DecodeError::malformed("MQTT-1.5.5-1"))
            };
        }
    }
    if bytes.len() >= 4 { Err(DecodeError::malformed("MQTT-1.5.5-1")) } else { Ok(None) }
}

/// The length of parts that lie behind each other.
pub(super) fn total<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

/// Bytes a Variable Byte Integer of this value takes.
pub(super) fn variable_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends `value`, at most [`VARIABLE_MAX`], in its shortest form [MQTT-1.5.5-1].
pub(super) fn put_variable(mut value: usize, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    to.push(low_byte(value));
}

fn low_byte(value: usize) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

/// Appends a string or binary field with its two bytes of length. The caller keeps to 65,535 bytes.
pub(super) fn put_field(field: &[u8], to: &mut Vec<u8>) {
    debug_assert!(field.len() <= usize::from(u16::MAX), "a field is at most 65,535 bytes");
    let len = u16::try_from(field.len()).unwrap_or(u16::MAX);
    to.extend_from_slice(&len.to_be_bytes());
    to.extend_from_slice(field.get(..usize::from(len)).unwrap_or_default());
}

/// What is left of a packet's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What was read since `before` was the rest.
    pub(super) fn read_since(&self, before: &'a [u8]) -> &'a [u8] {
        let count = before.len().saturating_sub(self.rest.len());
        before.get(..count).unwrap_or_default()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::malformed(STRUCTURE)) }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::malformed(STRUCTURE))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::malformed(STRUCTURE))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn two_bytes(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn four_bytes(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A Variable Byte Integer inside a packet: here one that is cut short is malformed.
    pub(super) fn variable(&mut self) -> Result<u32, DecodeError> {
        let (value, taken) = variable_byte_integer(self.rest)?.ok_or(DecodeError::malformed(STRUCTURE))?;
        self.take(taken)?;
        Ok(value)
    }

    /// Two bytes of length and so many bytes.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.two_bytes()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String, checked by the rules of [`super::text`].
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        super::text::string(self.binary()?)
    }

    /// A Packet Identifier; 0 breaks `statement`.
    pub(super) fn packet_id(&mut self, statement: &'static str) -> Result<PacketId, DecodeError> {
        PacketId::new(self.two_bytes()?).ok_or(DecodeError::protocol(statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_1_5_5_1_every_length_is_written_in_the_form_that_is_read() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARIABLE_MAX] {
            let mut wire = Vec::new();
            put_variable(value, &mut wire);
            assert_eq!(wire.len(), variable_len(value), "{value}");
            assert_eq!(variable_byte_integer(&wire), Ok(Some((value as u32, wire.len()))));
        }
    }

    #[test]
    fn a_field_that_is_cut_short_is_malformed() {
        assert_eq!(Reader::new(&[0, 3, 1, 2]).binary(), Err(DecodeError::malformed(STRUCTURE)));
        assert_eq!(Reader::new(&[0x80]).variable(), Err(DecodeError::malformed(STRUCTURE)));
        assert_eq!(Reader::new(&[1]).two_bytes(), Err(DecodeError::malformed(STRUCTURE)));
    }
}
