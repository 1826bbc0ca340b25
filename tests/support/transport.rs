//! How a client's bytes travel: TCP, TLS, and WebSocket over either.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::WAIT;

/// A blocking byte stream with a time limit on reading.
pub trait Wire: Read + Write + Send {
    /// The longest a read may block.
    fn limit_read(&self, within: Duration);
    /// From now on a read takes what is there and never waits: a time limit is rounded up to the system's clock ticks.
    fn never_wait(&self);
    /// Says that no more bytes will be written.
    fn finish_writing(&self) -> Result<()>;
}

impl Wire for TcpStream {
    fn limit_read(&self, within: Duration) {
        self.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("a non-zero time limit is legal");
    }

    fn never_wait(&self) {
        self.set_nonblocking(true).expect("a socket can be told so");
    }

    fn finish_writing(&self) -> Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A TCP connection with time limits.
#[track_caller]
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, WAIT).expect("the broker listens");
    stream.set_nodelay(true).expect("TCP_NODELAY is always there");
    stream.set_write_timeout(Some(WAIT)).expect("a non-zero time limit is legal");
    stream.limit_read(WAIT);
    stream
}

/// TLS over TCP.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// The end of our direction is a FIN, as when a program dies: no close_notify goes before it.
impl<S: Wire> Wire for StreamOwned<ClientConnection, S> {
    fn limit_read(&self, within: Duration) {
        self.sock.limit_read(within);
    }

    fn never_wait(&self) {
        self.sock.never_wait();
    }

    fn finish_writing(&self) -> Result<()> {
        self.sock.finish_writing()
    }
}

/// A TLS connection to `localhost` that trusts the authority in this PEM file.
#[track_caller]
pub fn tls(addr: SocketAddr, ca: &Path) -> Tls {
    let config = ClientConfig::builder().with_root_certificates(trust(ca)).with_no_client_auth();
    tls_over(tcp(addr), config)
}

/// The authority in this PEM file.
#[track_caller]
pub fn trust(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
    roots
}

/// A TLS connection to `localhost` over any stream. Nothing is sent before something is written or read.
#[track_caller]
pub fn tls_over<S: Wire>(stream: S, config: ClientConfig) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a usable configuration"), stream)
}

/// First bytes of WebSocket frames that are the last of their message.
pub mod opcode {
    pub const CONTINUATION: u8 = 0x80;
    pub const TEXT: u8 = 0x81;
    pub const BINARY: u8 = 0x82;
    pub const CLOSE: u8 = 0x88;
    pub const PING: u8 = 0x89;
    pub const PONG: u8 = 0x8A;
    /// Cleared in a frame that more frames of its message follow.
    pub const LAST: u8 = 0x80;
}

/// The example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Sends an upgrade request and returns the head of the answer. `offer`: the subprotocols, or none.
#[track_caller]
pub fn upgrade(wire: &mut dyn Wire, path: &str, offer: Option<&str>) -> String {
    let offer = offer.map_or(String::new(), |offer| format!("Sec-WebSocket-Protocol: {offer}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}\r\n"
    );
    wire.write_all(request.as_bytes()).and_then(|()| wire.flush()).expect("the broker reads the request");
    wire.limit_read(WAIT);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte).expect("an answer to the request");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("the head of an answer is text")
}

/// A client's side of a WebSocket: as a [`Wire`] each write is one binary frame, and reading checks that the broker
/// frames as a server must. Pings are not answered.
pub struct WebSocket {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
    payload: Vec<u8>,
}

impl WebSocket {
    /// Upgrades a connection at `/mqtt`, offering `mqtt`.
    #[track_caller]
    pub fn over(mut wire: Box<dyn Wire>) -> Self {
        let head = upgrade(&mut *wire, "/mqtt", Some("mqtt"));
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(PROOF), "upgraded, got {head}");
        Self { wire, unread: Vec::new(), payload: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        // That the broker has closed already is seen by reading.
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// Sends one masked frame.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&masked(first, payload));
    }

    /// The next frame of the broker, or `None` at the end of the connection.
    ///
    /// # Errors
    /// The time is over, or the frame is none a server may send.
    pub fn read_frame(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((first, from, size)) = split(&self.unread)? {
                let payload = self.unread[from..size].to_vec();
                self.unread.drain(..size);
                return Ok(Some((first, payload)));
            }
            let mut chunk = [0; 16 * 1024];
            match self.wire.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Expects this frame next.
    #[track_caller]
    pub fn expect_frame(&mut self, first: u8) -> Vec<u8> {
        self.wire.limit_read(WAIT);
        match self.read_frame() {
            Ok(Some((got, payload))) if got == first => payload,
            other => panic!("expected a frame 0x{first:02X}, got {other:02X?}"),
        }
    }

    /// Expects the end of the connection; the code of the Close frame before it, if there is one. Other frames than
    /// Close must not come.
    #[track_caller]
    pub fn expect_end(&mut self) -> Option<u16> {
        self.wire.limit_read(WAIT);
        let mut code = None;
        loop {
            match self.read_frame() {
                Ok(None) => return code,
                Ok(Some((opcode::CLOSE, payload))) if code.is_none() => {
                    code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                }
                other => panic!("expected the end of the connection, got {other:02X?}"),
            }
        }
    }
}

impl Read for WebSocket {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        while self.payload.is_empty() {
            match self.read_frame()? {
                Some((opcode::BINARY, payload)) => self.payload = payload,
                Some((opcode::PING | opcode::PONG, _)) => {}
                Some((opcode::CLOSE, _)) | None => return Ok(0),
                Some((first, _)) => panic!("[MQTT-6.0.0-1] a frame 0x{first:02X} of the broker carries MQTT"),
            }
        }
        let count = into.len().min(self.payload.len());
        into[..count].copy_from_slice(&self.payload[..count]);
        self.payload.drain(..count);
        Ok(count)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.wire.write_all(&masked(opcode::BINARY, bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.wire.flush()
    }
}

impl Wire for WebSocket {
    fn limit_read(&self, within: Duration) {
        self.wire.limit_read(within);
    }

    fn never_wait(&self) {
        self.wire.never_wait();
    }

    fn finish_writing(&self) -> Result<()> {
        self.wire.finish_writing()
    }
}

/// One frame as a client sends it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5A, 0x01, 0xC3, 0x7E];
    let mut frame = vec![first];
    match payload.len() {
        size @ 0..126 => frame.push(0x80 | size as u8),
        size @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((size as u16).to_be_bytes());
        }
        size => {
            frame.push(0x80 | 127);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// First byte of a server's frame, where its payload begins and where it ends; `None` if more bytes are needed.
fn split(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let [first, size, rest @ ..] = bytes else { return Ok(None) };
    if size & 0x80 != 0 {
        return Err(Error::other("a server's frame is masked"));
    }
    let (from, size) = match (size, rest) {
        (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        (127, size) if size.len() >= 8 => (10, size[..8].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
        (126 | 127, _) => return Ok(None),
        (size, _) => (2, usize::from(*size)),
    };
    Ok((bytes.len() >= from + size).then_some((*first, from, from + size)))
}
