//! TLS 1.2 and 1.3, driven with bytes.
//!
//! rustls' unbuffered connection decrypts records where they were read, so an idle connection keeps
//! neither a read buffer nor a write buffer: only its keys, and the beginning of a record when a read
//! ended in the middle of one.

use std::fmt;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};

use crate::mqtt::Out;

mod config;
pub use config::{TlsConfig, TlsError, TlsOptions};

/// A record's header (RFC 8446, 5.1): content type, version, length.
const HEADER: usize = 5;
/// The largest plaintext of a record.
const RECORD_PLAIN_MAX: usize = 1 << 14;
/// What a record adds to its plaintext, at most: header, explicit nonce (1.2), content type (1.3), tag.
const RECORD_OVERHEAD: usize = HEADER + 8 + 1 + 16;

/// Why a TLS connection cannot go on: always the peer's doing, or a path that damages bytes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsFault {
    /// The peer broke the protocol, is not trusted, or shares no parameters with us.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    /// A handshake longer than any honest one: refused before it takes the memory it announces.
    #[error("handshake message too long")]
    TooLong,
    /// A TLS 1.2 connection has sealed as many records as its keys may.
    #[error("keys used up")]
    KeysUsedUp,
}

/// The TLS layer of one connection, the server's side.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// Bytes from the wire that are not a whole record yet, or (in a handshake) not a whole message:
    /// rustls wants to see those again, in the same place, until the message is complete.
    kept: Vec<u8>,
    kept_max: usize,
    /// Records rustls wants sent: the handshake, tickets, alerts.
    answers: Vec<u8>,
    /// The peer has said close_notify: nothing more is read.
    closed: bool,
    /// The connection has failed: rustls is only asked for the alert.
    failed: bool,
}

impl Tls {
    /// A connection that waits for its ClientHello.
    #[expect(
        clippy::expect_used,
        reason = "what a configuration decides, not a peer, and the same for every connection"
    )]
    pub fn new(config: &TlsConfig) -> Self {
        let connection = UnbufferedServerConnection::new(config.server())
            .expect("only a fragment size out of range is refused, and it is the default");
        let (kept, answers) = (Vec::new(), Vec::new());
        Self { connection, kept, kept_max: config.handshake_bytes_max(), answers, closed: false, failed: false }
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        !self.failed && !self.connection.is_handshaking()
    }

    /// Whether the layer has something of its own to send.
    pub fn wants_seal(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The peer's own certificate in DER, if it proved to have one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        if !self.is_open() {
            return None;
        }
        self.connection.peer_certificates()?.first().map(|certificate| certificate.as_ref())
    }

    /// The protocol agreed on by ALPN, if the client offered any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Decrypts the wire's bytes, in place, and appends what they say to `plain`. Returns whether the peer
    /// has closed: what follows a close_notify is ignored.
    ///
    /// # Errors
    /// The connection cannot go on; what was appended before is valid.
    pub fn open(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) -> Result<bool, TlsFault> {
        if self.failed || self.closed {
            return Ok(true);
        }
        let result = self.take_in(wire, plain);
        if result.is_err() {
            self.failed = true;
            self.kept = Vec::new();
            self.gather_alert();
        }
        result.map(|()| self.closed)
    }

    /// Completes what was kept, then reads on in `wire` itself.
    fn take_in(&mut self, wire: &mut [u8], plain: &mut Vec<u8>) -> Result<(), TlsFault> {
        let mut rest = wire;
        while !self.kept.is_empty() && !rest.is_empty() {
            let count = self.missing().min(rest.len());
            let (completing, behind) = rest.split_at_mut(count);
            self.kept.extend_from_slice(completing);
            rest = behind;
            let mut kept = std::mem::take(&mut self.kept);
            let used = self.read(&mut kept, plain)?;
            kept.drain(..used.min(kept.len()));
            self.keep(kept)?;
        }
        if !rest.is_empty() && !self.closed {
            let used = self.read(rest, plain)?;
            self.keep(rest.get(used..).unwrap_or_default().to_vec())?;
        }
        Ok(())
    }

    fn keep(&mut self, rest: Vec<u8>) -> Result<(), TlsFault> {
        if rest.len() > self.kept_max {
            return Err(TlsFault::TooLong);
        }
        // An empty vector keeps its memory; an idle connection must not.
        self.kept = if rest.is_empty() || self.closed { Vec::new() } else { rest };
        Ok(())
    }

    /// How many bytes complete the record that was kept: no more than those are copied out of the scratch.
    /// In a handshake, or when a message goes on in the next record, everything is.
    fn missing(&self) -> usize {
        if self.connection.is_handshaking() {
            return usize::MAX;
        }
        let Some([_, _, _, high, low]) = self.kept.first_chunk::<HEADER>() else {
            return HEADER.saturating_sub(self.kept.len());
        };
        let record = HEADER.saturating_add(usize::from(u16::from_be_bytes([*high, *low])));
        record.checked_sub(self.kept.len()).filter(|missing| *missing > 0).unwrap_or(usize::MAX)
    }

    /// Lets rustls read `input` until it needs more; returns how many bytes it is done with.
    fn read(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, TlsFault> {
        let mut used: usize = 0;
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let mut blocked = false;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        plain.extend_from_slice(record.payload);
                        discard = discard.saturating_add(record.discard);
                    }
                }
                ConnectionState::EncodeTlsData(answer) => encode(answer, &mut self.answers),
                // The answers leave in order, before anything else: that is as good as sent.
                ConnectionState::TransmitTlsData(answers) => answers.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.closed = true;
                    blocked = true;
                }
                // Waiting for more, or early data, which is never offered to clients.
                _ => blocked = true,
            }
            used = used.saturating_add(discard);
            debug_assert!(used <= input.len(), "rustls is done with no more than it was shown");
            if blocked {
                return Ok(used);
            }
        }
    }

    /// Takes the alert of a failed connection out of rustls. With records waiting to be sent it looks at
    /// nothing else; asked for more it would read again.
    fn gather_alert(&mut self) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(alert)) => encode(alert, &mut self.answers),
                _ => return,
            }
        }
    }

    /// Puts the layer's own records, then all of `out` as records, behind what is in `sealed`. During the
    /// handshake `out` stays as it is.
    ///
    /// # Errors
    /// The connection's keys are used up (TLS 1.2; 1.3 changes them by itself).
    pub fn seal(&mut self, out: &mut Out, sealed: &mut Out) -> Result<(), TlsFault> {
        sealed.put(&std::mem::take(&mut self.answers));
        if self.failed {
            out.advance(out.len());
        }
        if out.is_empty() || !self.is_open() {
            return Ok(());
        }
        let result = self.write(sealed.tail(), |traffic, tail| {
            let mut result = Ok(());
            out.slices(|piece| {
                if result.is_ok() {
                    result = encrypt(traffic, piece, tail);
                }
            });
            result
        });
        out.advance(out.len());
        if result.is_err() {
            self.failed = true;
        }
        result
    }

    /// Seals what waits, with a close_notify behind it.
    pub fn close(&mut self, out: &mut Out, sealed: &mut Out) {
        // A failure has said its alert instead, and before the handshake there is nobody to tell.
        if self.seal(out, sealed).is_err() || !self.is_open() {
            return;
        }
        let tail = sealed.tail();
        let _closed = self.write(tail, |traffic, tail| {
            fill(tail, HEADER + 2 + RECORD_OVERHEAD, |room| traffic.queue_close_notify(room))
        });
        self.failed = true;
    }

    /// Brings rustls to where it can write, with whatever it wants to say before.
    fn write(
        &mut self,
        tail: &mut Vec<u8>,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<(), TlsFault>,
    ) -> Result<(), TlsFault> {
        loop {
            // What was kept must be shown again, or rustls would look for it where it is not.
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.kept);
            debug_assert_eq!(discard, 0, "`read` has stopped only where there was nothing left to use");
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => return write(&mut traffic, tail),
                ConnectionState::EncodeTlsData(record) => encode(record, tail),
                ConnectionState::TransmitTlsData(records) => records.done(),
                ConnectionState::PeerClosed => self.closed = true,
                _ => return Ok(()),
            }
        }
    }
}

/// Appends a record rustls has ready.
fn encode(mut record: EncodeTlsData<'_, ServerConnectionData>, tail: &mut Vec<u8>) {
    let start = tail.len();
    let mut room = 0;
    loop {
        tail.resize(start.saturating_add(room), 0);
        match record.encode(tail.get_mut(start..).unwrap_or_default()) {
            Ok(count) => return tail.truncate(start.saturating_add(count)),
            Err(EncodeError::InsufficientSize(needed)) => room = needed.required_size,
            Err(EncodeError::AlreadyEncoded) => return tail.truncate(start),
        }
    }
}

/// Appends `piece` as records.
fn encrypt(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    piece: &[u8],
    tail: &mut Vec<u8>,
) -> Result<(), TlsFault> {
    // One record more than the bytes need: rustls may have a change of keys to say first.
    let records = (piece.len() / RECORD_PLAIN_MAX).saturating_add(2);
    let room = piece.len().saturating_add(records.saturating_mul(RECORD_OVERHEAD));
    fill(tail, room, |room| traffic.encrypt(piece, room))
}

/// Appends what `write` puts into at least `room` bytes.
fn fill(
    tail: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsFault> {
    let start = tail.len();
    loop {
        tail.resize(start.saturating_add(room), 0);
        match write(tail.get_mut(start..).unwrap_or_default()) {
            Ok(count) => {
                tail.truncate(start.saturating_add(count));
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > room => room = needed.required_size,
            Err(_) => {
                tail.truncate(start);
                return Err(TlsFault::KeysUsedUp);
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("version", &self.connection.protocol_version())
            .field("open", &self.is_open())
            .field("kept", &self.kept.len())
            .field("closed", &self.closed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
