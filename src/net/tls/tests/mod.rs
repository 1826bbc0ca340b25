//! A client of rustls' own at the other end, with every byte in the test's hands.

mod forged;
mod hostile;
mod identity;
mod stream;

use std::io::{Read, Write};

use bytes::Bytes;
use rustls::client::ClientConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, PeerMisbehaved};

use super::testing::{Authority, client, load};
use super::*;

/// A client of rustls' and our server, with every byte passing through the test.
struct Link {
    client: ClientConnection,
    server: Tls,
    /// What the server has understood.
    plain: Vec<u8>,
    /// At most this many bytes are handed to the server at once.
    chunk: usize,
}

/// How a connection failed.
#[derive(Debug)]
struct Refused {
    fault: TlsFault,
    /// What the client made of it: the alert it was sent.
    told: Result<(), Error>,
}

impl Link {
    fn new(config: &TlsConfig, client_config: &ClientConfig, chunk: usize) -> Self {
        Self { client: client(client_config), server: Tls::new(config), plain: Vec::new(), chunk }
    }

    /// What the client wants on the wire.
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    fn serve(&mut self, bytes: &[u8]) -> Result<bool, TlsFault> {
        let mut closed = false;
        for piece in bytes.chunks(self.chunk) {
            closed |= self.server.open(&mut piece.to_vec(), &mut self.plain)?;
        }
        Ok(closed)
    }

    /// What the server wants on the wire, `data` included.
    fn server_bytes(&mut self, data: &[u8]) -> Vec<u8> {
        let (mut out, mut sealed) = (Out::default(), Out::default());
        out.put(data);
        self.server.seal(&mut out, &mut sealed).unwrap();
        sealed.plain().to_vec()
    }

    fn tell(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() && self.client.read_tls(&mut bytes).unwrap() > 0 {
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Passes bytes until both are silent.
    fn run(&mut self) -> Result<bool, Box<Refused>> {
        let mut closed = false;
        loop {
            let bytes = self.client_bytes();
            let result = self.serve(&bytes);
            let answer = self.server_bytes(b"");
            let told = self.tell(&answer);
            match result {
                Err(fault) => return Err(Box::new(Refused { fault, told })),
                Ok(more) => closed |= more,
            }
            told.expect("the server's bytes are right");
            if bytes.is_empty() && answer.is_empty() {
                return Ok(closed);
            }
        }
    }

    /// Passes bytes to the server and its answer back; what the client says to that.
    fn answered(&mut self, bytes: &[u8]) -> Vec<u8> {
        assert_eq!(self.serve(bytes), Ok(false));
        let answer = self.server_bytes(b"");
        self.tell(&answer).unwrap();
        self.client_bytes()
    }

    fn established(mut self) -> Self {
        self.run().expect("a handshake");
        assert!(self.server.is_open() && !self.client.is_handshaking());
        self
    }

    fn send(&mut self, data: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(data).unwrap();
        self.client_bytes()
    }

    /// Sends `data` there and back.
    fn echo(&mut self, data: &[u8]) {
        self.plain.clear();
        let bytes = self.send(data);
        assert_eq!(self.serve(&bytes), Ok(false));
        assert!(self.plain == data, "what arrived is what was sent");
        let answer = self.server_bytes(data);
        self.tell(&answer).unwrap();
        assert!(self.received(data.len()) == data, "what came back is what was sent");
    }

    fn received(&mut self, count: usize) -> Vec<u8> {
        let mut data = vec![0; count];
        self.client.reader().read_exact(&mut data).unwrap();
        data
    }
}

fn plain_server() -> (Authority, TlsConfig) {
    let authority = Authority::new();
    let config = load(&authority.options());
    (authority, config)
}
