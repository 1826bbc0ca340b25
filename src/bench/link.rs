//! One connection of the load: a socket, with TLS and WebSocket over it or not, and the bytes that wait on either side.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::BenchError;
use super::websocket::WebSocket;

/// Where a broker is reached, and through which layers.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address and port.
    pub address: SocketAddr,
    /// The name the broker's certificate must be valid for.
    pub host: String,
    /// Whom to trust, if TLS is spoken.
    pub tls: Option<Arc<ClientConfig>>,
    /// The path, if WebSocket is spoken.
    pub websocket: Option<String>,
}

impl Target {
    /// MQTT over TCP and nothing between.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, host: address.ip().to_string(), tls: None, websocket: None }
    }
}

/// Trusts the authorities of a PEM file, and resumes no TLS session: each handshake is a whole one.
///
/// # Errors
/// There is no such file, or no certificate in it.
pub fn trust(authorities: &std::path::Path) -> Result<Arc<ClientConfig>, BenchError> {
    let unreadable = |error: rustls_pki_types::pem::Error| {
        BenchError::Broker(error.to_string()).during(authorities.display().to_string())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    if roots.is_empty() {
        return Err(BenchError::Options("the file of authorities has no certificate"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection to the broker.
#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    websocket: Option<Box<WebSocket>>,
    /// MQTT waiting to be written.
    pub out: Vec<u8>,
    /// Bytes under the WebSocket waiting to be written.
    framed: Vec<u8>,
    /// The beginning of a packet whose end has not come.
    pub partial: Vec<u8>,
    /// Whether the socket has become writable for the first time, that is: is connected.
    connected: bool,
}

impl Link {
    /// Begins to connect.
    ///
    /// # Errors
    /// There is no socket to be had, or the host is no name.
    pub fn open(to: &Target, registry: &Registry, token: usize) -> Result<Link, BenchError> {
        let mut socket = TcpStream::connect(to.address)?;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        socket.set_nodelay(true)?;
        // Closed by a reset: ports in TIME_WAIT would be missing in the next scenario.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        let tls = match &to.tls {
            Some(config) => {
                let name = ServerName::try_from(to.host.clone())
                    .map_err(|_| BenchError::Options("a certificate is for a name or an address"))?;
                let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
                tls.set_buffer_limit(None);
                Some(tls)
            }
            None => None,
        };
        let mut framed = Vec::new();
        let ask = |path: &String| Box::new(WebSocket::ask(&mut framed, &to.host, path, token as u64));
        let websocket = to.websocket.as_ref().map(ask);
        Ok(Link { socket, tls, websocket, out: Vec::new(), framed, partial: Vec::new(), connected: false })
    }

    /// Whether a short read says nothing about what the socket still holds.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket takes bytes again, or for the first time.
    ///
    /// # Errors
    /// It could not be connected, or written.
    pub fn writable(&mut self) -> Result<(), BenchError> {
        if !self.connected {
            if let Some(error) = self.socket.take_error()? {
                return Err(error.into());
            }
            self.connected = self.socket.peer_addr().is_ok();
        }
        self.flush()
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> Result<(), BenchError> {
        if !self.connected {
            return Ok(());
        }
        let waiting = match &mut self.websocket {
            None => &mut self.out,
            Some(websocket) => {
                if websocket.is_open() && !self.out.is_empty() {
                    websocket.wrap(&self.out, &mut self.framed);
                    self.out.clear();
                }
                &mut self.framed
            }
        };
        let Some(tls) = &mut self.tls else {
            if !waiting.is_empty() {
                let written = taken(self.socket.write(waiting))?.unwrap_or(0);
                waiting.drain(..written);
            }
            return Ok(());
        };
        if !tls.is_handshaking() && !waiting.is_empty() {
            tls.writer().write_all(waiting)?;
            waiting.clear();
        }
        while tls.wants_write() && taken(tls.write_tls(&mut self.socket))?.is_some() {}
        Ok(())
    }

    /// One read into `scratch`: how many bytes of MQTT, or of the WebSocket around it, came. `None` if there is nothing more
    /// to read now.
    ///
    /// # Errors
    /// The broker closed the connection, or it is broken.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, BenchError> {
        const CLOSED: &str = "the broker closed the connection";
        let Some(tls) = &mut self.tls else {
            return match taken(self.socket.read(scratch))? {
                Some(0) => BenchError::broker(CLOSED),
                read => Ok(read),
            };
        };
        loop {
            match tls.reader().read(scratch) {
                Ok(read) if read > 0 => return Ok(Some(read)),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
            match taken(tls.read_tls(&mut self.socket))? {
                None => break,
                Some(0) => return BenchError::broker(CLOSED),
                Some(_) => {
                    tls.process_new_packets()?;
                }
            }
        }
        self.flush()?;
        Ok(None)
    }

    /// Takes the WebSocket off what was read, if there is one: `None` if there is none.
    ///
    /// # Errors
    /// The broker refuses the upgrade, or closes.
    pub fn unwrap(&mut self, read: &[u8]) -> Result<Option<Vec<u8>>, BenchError> {
        let Some(websocket) = &mut self.websocket else { return Ok(None) };
        let (was_open, mut plain) = (websocket.is_open(), Vec::new());
        websocket.unwrap(read, &mut plain, &mut self.framed)?;
        if !was_open || !self.framed.is_empty() {
            self.flush()?;
        }
        Ok(Some(plain))
    }

    /// Closes in order: what was written arrives.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn close(self) -> Result<(), BenchError> {
        socket2::SockRef::from(&self.socket).set_linger(None)?;
        Ok(())
    }
}

/// What an operation moved; `None` if it would have had to wait.
fn taken(result: std::io::Result<usize>) -> Result<Option<usize>, BenchError> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
