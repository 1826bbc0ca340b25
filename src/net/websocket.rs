//! MQTT over WebSocket: the upgrade, then frames around the bytes. [MQTT-6.0.0-1] to [MQTT-6.0.0-4]
//!
//! MQTT packets and frames are not aligned [MQTT-6.0.0-2] [MQTT3-6.0.0-2]: payload is handed on as it
//! comes, and what waits to be sent leaves in one frame.

use std::sync::Arc;

use super::frame::{self, Control, Frames, Step, Violation};
use super::layer::LayerError;
use super::upgrade::{self, Refusal};
use crate::mqtt::Out;

/// The longest request head read.
const HEAD_MAX: usize = 8 * 1024;
/// The code of a Close that ends a connection in good order.
const NORMAL: u16 = 1000;

/// The WebSocket layer of one connection. Holds no buffer while nothing is in pieces.
#[derive(Debug)]
pub struct WebSocket {
    stage: Stage,
    /// An HTTP response not yet sent.
    response: Vec<u8>,
    /// The payload of the latest Ping not yet answered: older ones need no answer (RFC 6455, 5.5.3), so a
    /// flood of Pings is not answered by a flood.
    pong: Option<Vec<u8>>,
    /// A Close not yet sent, with its code.
    close: Option<Option<u16>>,
}

/// ```text
///  Upgrading ──► Open ──► Over
///      └──────────────────►┘      refused
/// ```
#[derive(Debug)]
enum Stage {
    /// The request's head is being read.
    Upgrading(Box<Upgrading>),
    /// Frames flow.
    Open(Frames),
    /// One side has ended it: what comes is ignored, nothing but `response` or `close` is sent.
    Over,
}

#[derive(Debug)]
struct Upgrading {
    head: Vec<u8>,
    path: Arc<str>,
}

impl WebSocket {
    /// A connection that must first ask for an upgrade at `path`.
    pub fn new(path: Arc<str>) -> Self {
        let stage = Stage::Upgrading(Box::new(Upgrading { head: Vec::new(), path }));
        Self { stage, response: Vec::new(), pong: None, close: None }
    }

    /// Whether the upgrade is done and the connection not over.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether the layer has something of its own to send.
    pub fn wants_seal(&self) -> bool {
        !self.response.is_empty() || self.pong.is_some() || self.close.is_some()
    }

    /// Turns the wire's bytes into MQTT's, in place. Returns how many of them now lie at the front, and
    /// whether the peer has closed or broken the rules after those.
    pub fn open(&mut self, wire: &mut [u8]) -> (usize, Result<bool, LayerError>) {
        let from = match &mut self.stage {
            Stage::Upgrading(_) => match self.upgrade(wire) {
                Ok(from) => from,
                Err(refusal) => return (0, Err(LayerError::Upgrade(refusal))),
            },
            _ => 0,
        };
        let plain = match self.frames(wire, from) {
            Ok(plain) => plain,
            Err((plain, violation)) => return (plain, Err(LayerError::WebSocket(violation))),
        };
        (plain, Ok(matches!(self.stage, Stage::Over)))
    }

    /// Reads the request's head and answers it. Returns how many bytes of `wire` belong to it.
    fn upgrade(&mut self, wire: &[u8]) -> Result<usize, Refusal> {
        let Stage::Upgrading(upgrading) = &mut self.stage else { return Ok(0) };
        match upgrading.read(wire) {
            Ok((used, None)) => Ok(used),
            Ok((used, Some(response))) => {
                self.response = response.into_bytes();
                self.stage = Stage::Open(Frames::default());
                Ok(used)
            }
            Err(refusal) => {
                self.response = refusal.response().into_bytes();
                self.stage = Stage::Over;
                Err(refusal)
            }
        }
    }

    /// Unframes `wire[from..]` to the front of `wire`.
    fn frames(&mut self, wire: &mut [u8], mut from: usize) -> Result<usize, (usize, Violation)> {
        let mut plain: usize = 0;
        while let Stage::Open(frames) = &mut self.stage
            && let Some(rest @ [_, ..]) = wire.get_mut(from..)
        {
            let (Step { used, plain: more, control }, result) = frames.open(rest);
            wire.copy_within(from..from.saturating_add(more), plain);
            plain = plain.saturating_add(more);
            from = from.saturating_add(used);
            if let Err(violation) = result {
                self.end(Some(violation.close_code()));
                return Err((plain, violation));
            }
            match control {
                Some(Control::Ping(payload)) => self.pong = Some(payload),
                Some(Control::Close(code)) => self.end(code),
                None => {}
            }
        }
        Ok(plain)
    }

    /// The connection is over; a Close with this code will say so.
    fn end(&mut self, code: Option<u16>) {
        self.stage = Stage::Over;
        self.close = Some(code);
    }

    /// Puts what waits into frames: first the layer's own answer, then all of `out` as one binary frame
    /// [MQTT-6.0.0-1], then a Close if it is over.
    pub fn seal(&mut self, out: &mut Out, sealed: &mut Out) {
        sealed.put(&std::mem::take(&mut self.response));
        match &self.stage {
            Stage::Upgrading(_) => return,
            Stage::Open(_) => {}
            // After a Close no data may follow; before it, what was already waiting may leave.
            Stage::Over if self.close.is_none() => return out.advance(out.len()),
            Stage::Over => {}
        }
        if let Some(payload) = self.pong.take() {
            frame::put_pong(&payload, sealed);
        }
        if !out.is_empty() {
            frame::put_binary_header(out.len(), sealed);
            sealed.append(out);
        }
        if let Some(code) = self.close.take() {
            frame::put_close(code, sealed);
        }
    }

    /// Seals what waits, with a Close behind it.
    pub fn close(&mut self, out: &mut Out, sealed: &mut Out) {
        if self.is_open() {
            self.end(Some(NORMAL));
        }
        self.seal(out, sealed);
    }
}

impl Upgrading {
    /// Gathers the head until its blank line; then the response, or why it is refused.
    fn read(&mut self, wire: &[u8]) -> Result<(usize, Option<String>), Refusal> {
        let before = self.head.len();
        let room = HEAD_MAX.saturating_sub(before);
        self.head.extend_from_slice(wire.get(..room).unwrap_or(wire));
        // Something else than HTTP (plain MQTT, TLS) is not worth waiting for.
        if self.head.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            return Err(Refusal::NotHttp);
        }
        // The blank line may have begun three bytes earlier.
        let start = before.saturating_sub(3);
        let Some(at) = memchr::memmem::find(self.head.get(start..).unwrap_or_default(), b"\r\n\r\n") else {
            return if self.head.len() == HEAD_MAX { Err(Refusal::TooLarge) } else { Ok((wire.len(), None)) };
        };
        self.head.truncate(start.saturating_add(at).saturating_add(4));
        let response = upgrade::accept(&self.head, &self.path)?;
        Ok((self.head.len().saturating_sub(before), Some(response)))
    }
}

#[cfg(test)]
mod tests;
