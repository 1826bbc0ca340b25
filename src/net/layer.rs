//! What stands between a socket's bytes and MQTT's.

use super::frame::Violation;
use super::tls::{Tls, TlsFault};
use super::upgrade::Refusal;
use super::websocket::WebSocket;
use crate::mqtt::Out;

/// The layers of one connection, driven with bytes and without I/O.
///
/// Bytes from the socket go through [`Layers::open`], bytes for it through [`Layers::seal`]. Whatever a
/// layer must say itself (a handshake, a pong, an alert) waits inside, bounded, until the next `seal`;
/// [`Layers::wants_seal`] tells.
#[derive(Debug)]
pub enum Layers {
    /// MQTT directly on the transport.
    Plain,
    /// MQTT over TLS.
    Tls(Box<Tls>),
    /// MQTT over WebSocket.
    Ws(Box<WebSocket>),
    /// MQTT over WebSocket over TLS.
    Wss(Box<Tls>, Box<WebSocket>),
}

/// What became of the bytes given to [`Layers::open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The peer said that nothing follows (a TLS close_notify, a WebSocket Close). The plain bytes so far
    /// count; after them the stream is at its end.
    pub closed: bool,
}

/// Why a connection's layers cannot go on. It is always the peer's doing; the connection is closed after
/// one last [`Layers::seal`], which carries the alert, the HTTP refusal or the Close frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The handshake or a record failed.
    #[error("TLS: {0}")]
    Tls(#[from] TlsFault),
    /// The client asked for something else than an upgrade to MQTT over WebSocket.
    #[error("WebSocket upgrade refused: {0}")]
    Upgrade(Refusal),
    /// The client broke the rules of WebSocket.
    #[error("WebSocket: {0}")]
    WebSocket(Violation),
}

impl Layers {
    /// Feeds bytes read from the socket (they may be changed in place) and appends MQTT bytes to `plain`,
    /// never more than `wire` and one kept partial record hold.
    ///
    /// # Errors
    /// The peer broke a layer's rules. Bytes appended before that are still valid.
    pub fn open(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) -> Result<Progress, LayerError> {
        let closed = match self {
            Layers::Plain => {
                plain.extend_from_slice(wire);
                false
            }
            Layers::Tls(tls) => tls.open(wire, plain)?,
            Layers::Ws(socket) => {
                let (count, result) = socket.open(wire);
                plain.extend_from_slice(wire.get(..count).unwrap_or_default());
                result?
            }
            Layers::Wss(tls, socket) => {
                let start = plain.len();
                let tls_closed = tls.open(wire, plain);
                let (count, result) = socket.open(plain.get_mut(start..).unwrap_or_default());
                plain.truncate(start.saturating_add(count));
                result? | tls_closed?
            }
        };
        Ok(Progress { closed })
    }

    /// Turns all MQTT bytes in `out`, and before them what the layers themselves must say, into wire
    /// bytes appended to `sealed`. `out` is left empty, with its buffer; until the handshakes are done it
    /// is left as it is, and once the layers are closed it is thrown away.
    ///
    /// Call it when `sealed` has been written out: then a peer that never reads cannot make the layers'
    /// answers pile up.
    ///
    /// # Errors
    /// The layers can send nothing any more.
    pub fn seal(&mut self, out: &mut Out, sealed: &mut Out) -> Result<(), LayerError> {
        match self {
            Layers::Plain => sealed.append(out),
            Layers::Tls(tls) => tls.seal(out, sealed)?,
            Layers::Ws(socket) => socket.seal(out, sealed),
            Layers::Wss(tls, socket) => {
                let mut framed = Out::default();
                socket.seal(out, &mut framed);
                tls.seal(&mut framed, sealed)?;
            }
        }
        Ok(())
    }

    /// Whether the layers have something of their own to send.
    pub fn wants_seal(&self) -> bool {
        match self {
            Layers::Plain => false,
            Layers::Tls(tls) => tls.wants_seal(),
            Layers::Ws(socket) => socket.wants_seal(),
            Layers::Wss(tls, socket) => tls.wants_seal() || socket.wants_seal(),
        }
    }

    /// Whether the wire carries MQTT bytes as they are: then there is no need to open or seal.
    pub fn is_plain(&self) -> bool {
        matches!(self, Layers::Plain)
    }

    /// Whether all handshakes are done and MQTT bytes can flow.
    pub fn established(&self) -> bool {
        match self {
            Layers::Plain => true,
            Layers::Tls(tls) => tls.is_open(),
            Layers::Ws(socket) => socket.is_open(),
            Layers::Wss(tls, socket) => tls.is_open() && socket.is_open(),
        }
    }

    /// Seals what is in `out` and says goodbye behind it: a WebSocket Close, a TLS close_notify. Nothing
    /// can be sealed afterwards.
    pub fn close(&mut self, out: &mut Out, sealed: &mut Out) {
        match self {
            Layers::Plain => sealed.append(out),
            Layers::Tls(tls) => tls.close(out, sealed),
            Layers::Ws(socket) => socket.close(out, sealed),
            Layers::Wss(tls, socket) => {
                let mut framed = Out::default();
                socket.close(out, &mut framed);
                tls.close(&mut framed, sealed);
            }
        }
    }

    /// The certificate the peer proved to own, in DER, once established; `None` without one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        match self {
            Layers::Plain | Layers::Ws(_) => None,
            Layers::Tls(tls) | Layers::Wss(tls, _) => tls.peer_certificate(),
        }
    }
}

#[cfg(test)]
mod tests;
