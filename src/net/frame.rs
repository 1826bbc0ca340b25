//! WebSocket frames (RFC 6455, section 5): the client's are unmasked in place as they come, ours are one
//! header in front of what is to be sent.

use crate::mqtt::Out;

/// Two bytes, eight of extended length, four of mask.
const HEADER_MAX: usize = 14;
/// The longest payload of a control frame.
const CONTROL_MAX: u8 = 125;
/// The longest payload of a data frame: as long as the longest MQTT packet. Nothing is buffered for it;
/// the limit only ends connections that cannot be speaking MQTT.
const FRAME_MAX: u64 = 268_435_460;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// How a client broke the rules of WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A text frame: MQTT travels in binary ones [MQTT-6.0.0-1].
    #[error("text frame")]
    Text,
    /// A client must mask what it sends.
    #[error("frame without a mask")]
    Unmasked,
    /// A reserved bit or opcode, without an extension that gives it a meaning.
    #[error("reserved bit or opcode")]
    Reserved,
    /// A continuation of nothing, or a new message within an unfinished one.
    #[error("fragment out of place")]
    Fragment,
    /// A control frame that is fragmented or longer than 125 bytes.
    #[error("control frame too long or fragmented")]
    Control,
    /// A length not written in the fewest bytes, or beyond 63 bits.
    #[error("malformed length")]
    Length,
    /// A frame longer than any MQTT packet.
    #[error("frame too long")]
    TooLong,
    /// A Close frame whose code or reason is not allowed.
    #[error("malformed Close")]
    Close,
}

impl Violation {
    /// The code for our Close frame (RFC 6455, 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::Text => 1003,
            Violation::TooLong => 1009,
            _ => 1002,
        }
    }
}

/// What a control frame asks of us, seen when it is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Answer with the same payload.
    Ping(Vec<u8>),
    /// The peer will send nothing more; its close code, if it gave one.
    Close(Option<u16>),
}

/// Where unframing stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input used up.
    pub used: usize,
    /// Payload bytes among them, now at the input's front.
    pub plain: usize,
    /// Why it stopped, if not for the input's end.
    pub control: Option<Control>,
}

/// The client's frames, however they are cut. Only a header is ever kept, and the payload of a control
/// frame until it is whole.
///
/// ```text
///          first byte                 last header byte, payload > 0
///  Header ────────────► Header (part) ──────────────────────────────► Payload
///    ▲                                │ payload = 0                      │ last payload byte
///    └────────────────────────────────┴──────────────────────────────────┘
/// ```
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The current frame's header as far as it has come; kept for its opcode and mask during the payload.
    header: [u8; HEADER_MAX],
    header_len: u8,
    /// Whether the header is complete and payload follows.
    in_payload: bool,
    /// The position in the mask of the next payload byte.
    phase: u8,
    /// Whether a fragmented message is unfinished.
    in_message: bool,
    /// Payload bytes still to come.
    left: u64,
    /// The payload of the current control frame so far.
    control: Vec<u8>,
}

impl Frames {
    /// Unframes `wire` in place until its end or the first complete Ping or Close: the payload of data
    /// frames is gathered at its front.
    pub(super) fn open(&mut self, wire: &mut [u8]) -> (Step, Result<(), Violation>) {
        let mut step = Step { used: 0, plain: 0, control: None };
        let result = self.open_into(wire, &mut step);
        (step, result)
    }

    fn open_into(&mut self, wire: &mut [u8], step: &mut Step) -> Result<(), Violation> {
        while step.used < wire.len() {
            if self.in_payload {
                self.payload(wire, step);
            } else {
                self.header(wire, step)?;
            }
            if self.in_payload && self.left == 0 {
                step.control = self.finish()?;
                if step.control.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes header bytes; when it is complete, the payload begins.
    fn header(&mut self, wire: &[u8], step: &mut Step) -> Result<(), Violation> {
        while let Some(byte) = wire.get(step.used) {
            let at = usize::from(self.header_len);
            // There is room: the longest header fits.
            if let Some(place) = self.header.get_mut(at) {
                *place = *byte;
            }
            self.header_len = self.header_len.saturating_add(1);
            step.used = step.used.saturating_add(1);
            // Judged at once: the rest of a header that is wrong may never come.
            if at == 1 {
                self.check()?;
            }
            if at >= 1 && usize::from(self.header_len) == self.header_size() {
                self.left = self.length()?;
                self.in_payload = true;
                self.phase = 0;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Judges a frame by its first two bytes.
    fn check(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        if first & RESERVED != 0 {
            return Err(Violation::Reserved);
        }
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        match first & OPCODE {
            // Any data frame but a binary one ends the connection [MQTT-6.0.0-1] [MQTT3-6.0.0-1].
            TEXT => Err(Violation::Text),
            BINARY if self.in_message => Err(Violation::Fragment),
            CONTINUATION if !self.in_message => Err(Violation::Fragment),
            BINARY | CONTINUATION => Ok(()),
            CLOSE | PING | PONG if first & FIN == 0 || second & !MASKED > CONTROL_MAX => Err(Violation::Control),
            CLOSE | PING | PONG => Ok(()),
            _ => Err(Violation::Reserved),
        }
    }

    /// The size of a header with this second byte; the mask is always there.
    fn header_size(&self) -> usize {
        match self.header[1] & !MASKED {
            126 => 2 + 2 + 4,
            127 => 2 + 8 + 4,
            _ => 2 + 4,
        }
    }

    /// The payload's length, from a complete header.
    fn length(&self) -> Result<u64, Violation> {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        let (length, least) = match second & !MASKED {
            126 => (u64::from(u16::from_be_bytes([a, b])), 126),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 1 << 16),
            short => (u64::from(short), 0),
        };
        if length < least || length > i64::MAX as u64 {
            return Err(Violation::Length);
        }
        if length > FRAME_MAX {
            return Err(Violation::TooLong);
        }
        Ok(length)
    }

    /// Takes payload bytes of the current frame: data to the front, control aside.
    fn payload(&mut self, wire: &mut [u8], step: &mut Step) {
        let from = step.used;
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(wire.len().saturating_sub(from));
        let end = from.saturating_add(count);
        let Some(piece) = wire.get_mut(from..end) else { return };
        unmask(piece, self.mask());
        if self.opcode() > BINARY {
            self.control.extend_from_slice(piece);
        } else {
            wire.copy_within(from..end, step.plain);
            step.plain = step.plain.saturating_add(count);
        }
        step.used = end;
        self.left = self.left.saturating_sub(count as u64);
        // Only what is left of a division by four counts, and that is in the low byte.
        let [low, ..] = count.to_le_bytes();
        self.phase = self.phase.wrapping_add(low) % 4;
    }

    /// A frame is complete.
    fn finish(&mut self) -> Result<Option<Control>, Violation> {
        let (opcode, fin) = (self.opcode(), self.header[0] & FIN != 0);
        self.in_payload = false;
        self.header_len = 0;
        match opcode {
            PING => Ok(Some(Control::Ping(std::mem::take(&mut self.control)))),
            // A pong nobody asked for is allowed and means nothing.
            PONG => {
                self.control = Vec::new();
                Ok(None)
            }
            CLOSE => close_code(&std::mem::take(&mut self.control)).map(|code| Some(Control::Close(code))),
            _ => {
                self.in_message = !fin;
                Ok(None)
            }
        }
    }

    fn opcode(&self) -> u8 {
        self.header[0] & OPCODE
    }

    /// The mask, turned so that it starts with the next payload byte.
    fn mask(&self) -> [u8; 4] {
        let header = self.header.get(..usize::from(self.header_len)).unwrap_or_default();
        // A complete header ends with it.
        let mut mask = header.last_chunk::<4>().copied().unwrap_or_default();
        mask.rotate_left(usize::from(self.phase));
        mask
    }
}

/// Removes (or applies) a mask, eight bytes at a time.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The code in a Close frame's payload: absent, or one that may be sent, with a reason in UTF-8.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::Close) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if allowed && std::str::from_utf8(reason).is_ok() { Ok(Some(code)) } else { Err(Violation::Close) }
}

/// Puts the header of an unfragmented frame of ours; servers do not mask.
pub(super) fn put_binary_header(length: usize, to: &mut Out) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => to.put(&[FIN | BINARY, short]),
        (_, Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            to.put(&[FIN | BINARY, 126, high, low]);
        }
        _ => {
            to.put(&[FIN | BINARY, 127]);
            to.put(&(length as u64).to_be_bytes());
        }
    }
}

/// Puts the answer to a Ping with this payload, at most 125 bytes.
pub(super) fn put_pong(payload: &[u8], to: &mut Out) {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX).min(CONTROL_MAX);
    to.put(&[FIN | PONG, length]);
    to.put(payload.get(..usize::from(length)).unwrap_or_default());
}

/// Puts a Close frame; without a code if there is none to give.
pub(super) fn put_close(code: Option<u16>, to: &mut Out) {
    match code.map(u16::to_be_bytes) {
        Some([high, low]) => to.put(&[FIN | CLOSE, 2, high, low]),
        None => to.put(&[FIN | CLOSE, 0]),
    }
}

#[cfg(test)]
pub(super) mod tests;
