//! UTF-8 Encoded Strings, strictly: well formed, and without the characters no client has a use for.
//!
//! Refused are surrogates and ill-formed bytes, U+0000, and what the standard lets a receiver refuse:
//! U+0001 to U+001F, U+007F to U+009F and the non-character U+FFFF. A byte order mark is an ordinary
//! character and stays [MQTT-1.5.4-3].

use super::{DecodeError, ReasonCode};

/// What one look at every byte tells.
const CONTROL: u8 = 1;
const WILDCARD: u8 = 1 << 1;
const NOT_ASCII: u8 = 0x80;

/// Or of what the bytes are; written without branches so that it is computed many bytes at a time.
fn classes(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |seen, &byte| {
        let control = u8::from(byte < 0x20) | u8::from(byte == 0x7F);
        let wildcard = u8::from(byte == b'+') | u8::from(byte == b'#');
        seen | control | (wildcard << 1) | (byte & NOT_ASCII)
    })
}

/// Checks a UTF-8 Encoded String.
pub(super) fn string(bytes: &[u8]) -> Result<&str, DecodeError> {
    checked(bytes, classes(bytes))
}

/// Checks a Topic Name: a string without wildcards [MQTT-4.7.0-1]; `reason` and `statement` say what a
/// wildcard breaks where it stands. An empty one is the caller's business.
pub(super) fn topic_name<'a>(
    bytes: &'a [u8],
    reason: ReasonCode,
    statement: &'static str,
) -> Result<&'a str, DecodeError> {
    let classes = classes(bytes);
    let text = checked(bytes, classes)?;
    if classes & WILDCARD != 0 { Err(DecodeError { reason, statement }) } else { Ok(text) }
}

fn checked(bytes: &[u8], classes: u8) -> Result<&str, DecodeError> {
    // [MQTT-1.5.4-1]
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::malformed("MQTT-1.5.4-1"))?;
    let refused = classes & CONTROL != 0 || classes & NOT_ASCII != 0 && has_refused_beyond_ascii(bytes);
    // [MQTT-1.5.4-2]
    if refused { Err(DecodeError::malformed("MQTT-1.5.4-2")) } else { Ok(text) }
}

/// U+0080 to U+009F are C2 80 to C2 9F, U+FFFF is EF BF BF.
fn has_refused_beyond_ascii(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [0xC2, ..=0x9F]))
        || bytes.windows(3).any(|three| three == [0xEF, 0xBF, 0xBF])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_1_5_4_1_ill_formed_bytes_and_surrogates_are_malformed() {
        for bytes in [&[0x61, 0xED, 0xA0, 0x80][..], &[0x61, 0xFF], &[0xC0, 0x80], &[0xE2, 0x82]] {
            assert_eq!(string(bytes), Err(DecodeError::malformed("MQTT-1.5.4-1")), "{bytes:x?}");
        }
    }

    #[test]
    fn mqtt_1_5_4_2_exactly_the_refused_characters_are_refused() {
        for character in (0..=0xFFFF_u32).chain([0x1_FFFF, 0x10_FFFF]).filter_map(char::from_u32) {
            let refused = matches!(u32::from(character), 0..=0x1F | 0x7F..=0x9F | 0xFFFF);
            let text = format!("ab{character}c");
            assert_eq!(string(text.as_bytes()).is_err(), refused, "{character:?}");
        }
    }

    #[test]
    fn mqtt_1_5_4_3_a_byte_order_mark_stays() {
        assert_eq!(string(&[0xEF, 0xBB, 0xBF, 0x61]), Ok("\u{FEFF}a"));
    }

    #[test]
    fn mqtt_4_7_0_1_wildcards_anywhere_are_refused_in_a_topic_name_and_kept_in_a_string() {
        for text in ["+", "a/#", "a+b", "/very/long/topic/name/of/more/than/one/vector/#/x"] {
            assert!(topic_name(text.as_bytes(), ReasonCode::TopicNameInvalid, "MQTT-3.3.2-2").is_err(), "{text}");
            assert_eq!(string(text.as_bytes()), Ok(text));
        }
        assert_eq!(topic_name("$a/é".as_bytes(), ReasonCode::TopicNameInvalid, "MQTT-3.3.2-2"), Ok("$a/é"));
    }
}
