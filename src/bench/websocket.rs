//! The client's side of a WebSocket (RFC 6455): asks for the upgrade, masks what it sends, unwraps what it gets.

use super::BenchError;
use super::chance::Random;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// An answer to the upgrade that is longer is none.
const HEAD_MAX: usize = 8 * 1024;

/// One connection's frames.
#[derive(Debug)]
pub struct WebSocket {
    is_open: bool,
    masks: Random,
    /// What came and is not a whole head or frame yet.
    partial: Vec<u8>,
}

impl WebSocket {
    /// Puts the request for an upgrade into `out`.
    pub fn ask(out: &mut Vec<u8>, host: &str, path: &str, seed: u64) -> Self {
        // Any 16 bytes will do: the key protects caches between browser and server, and there is neither.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: aGVyYWxkbXEgYmVuY2ghIQ==\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        Self { is_open: false, masks: Random::new(seed), partial: Vec::new() }
    }

    /// Whether the broker has agreed.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Puts `payload` into `out` as one binary frame.
    pub fn wrap(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(BINARY, payload, out);
    }

    fn frame(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        out.push(0x80 | opcode);
        match payload.len() {
            length @ 0..126 => out.push(0x80 | length as u8),
            length @ 126..=0xFFFF => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = (self.masks.bits() as u32).to_le_bytes();
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Puts the MQTT bytes in what was `read` into `plain`, and answers to pings into `out`.
    ///
    /// # Errors
    /// The broker refuses the upgrade, or closes.
    pub fn unwrap(&mut self, read: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), BenchError> {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(read);
        let mut rest = &all[..];
        if !self.is_open {
            match rest.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(_) if !rest.starts_with(b"HTTP/1.1 101") => {
                    let line = rest.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    return BenchError::broker(format!("no WebSocket: {}", String::from_utf8_lossy(line)));
                }
                Some(end) => {
                    self.is_open = true;
                    rest = &rest[end + 4..];
                }
                None if rest.len() > HEAD_MAX => return BenchError::broker("the answer to the upgrade has no end"),
                None => {}
            }
        }
        while self.is_open
            && let Some((opcode, payload)) = take(&mut rest)
        {
            match opcode {
                CLOSE => return BenchError::broker("the broker closed the WebSocket"),
                PING => self.frame(PONG, payload, out),
                PONG => {}
                _ => plain.extend_from_slice(payload),
            }
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

/// Takes a whole frame off `bytes`: its opcode and payload. A broker's frames are not masked.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (opcode, short) = (bytes.first()? & 15, usize::from(bytes.get(1)? & 0x7F));
    let (length, start) = match short {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        length => (length, 2_usize),
    };
    let payload = bytes.get(start..start.checked_add(length)?)?;
    *bytes = &bytes[start + length..];
    Some((opcode, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unwrapped_however_they_are_cut() {
        let mut stream =
            b"HTTP/1.1 101 Switching Protocols\r\nx: y\r\n\r\n\x82\x02ab\x89\x01!\x82\x7e\x00\x80".to_vec();
        stream.extend_from_slice(&[b'c'; 128]);
        for cut in 0..stream.len() {
            let (mut plain, mut out) = (Vec::new(), Vec::new());
            let mut socket = WebSocket::ask(&mut out, "localhost", "/mqtt", 1);
            out.clear();
            socket.unwrap(&stream[..cut], &mut plain, &mut out).unwrap();
            socket.unwrap(&stream[cut..], &mut plain, &mut out).unwrap();
            assert!(socket.is_open() && plain.starts_with(b"abccc") && plain.len() == 130, "cut at {cut}");
            assert_eq!(out[..2], [0x8A, 0x81], "a pong, masked");
        }
        let mut socket = WebSocket::ask(&mut Vec::new(), "localhost", "/", 1);
        let refused = socket.unwrap(b"HTTP/1.1 404 Not Found\r\n\r\n", &mut Vec::new(), &mut Vec::new());
        assert!(refused.unwrap_err().to_string().contains("404"));
    }
}
