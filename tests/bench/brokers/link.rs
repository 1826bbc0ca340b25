//! One connection of the load: a socket, with TLS over it or not, and the bytes that wait on either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

/// A connection to the broker.
pub struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Waiting to be written.
    pub out: Vec<u8>,
    /// The beginning of a packet whose end has not come.
    pub partial: Vec<u8>,
    /// Whether the socket has become writable for the first time, that is: is connected.
    connected: bool,
}

impl Link {
    /// Begins to connect.
    pub fn open(to: SocketAddr, tls: Option<&Arc<ClientConfig>>, registry: &Registry, token: usize) -> Result<Link> {
        let mut socket = TcpStream::connect(to)?;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        socket.set_nodelay(true)?;
        // Closed by a reset: ports in TIME_WAIT would be missing in the next scenario.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        let tls = match tls {
            Some(config) => {
                let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
                let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
                tls.set_buffer_limit(None);
                Some(tls)
            }
            None => None,
        };
        Ok(Link { socket, tls, out: Vec::new(), partial: Vec::new(), connected: false })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub fn writable(&mut self) -> Result<()> {
        if !self.connected {
            if let Some(error) = self.socket.take_error()? {
                return Err(error.into());
            }
            self.connected = self.socket.peer_addr().is_ok();
        }
        self.flush()
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<()> {
        if !self.connected {
            return Ok(());
        }
        let Some(tls) = &mut self.tls else {
            if self.out.is_empty() {
                return Ok(());
            }
            let written = taken(self.socket.write(&self.out))?.unwrap_or(0);
            self.out.drain(..written);
            return Ok(());
        };
        if !tls.is_handshaking() && !self.out.is_empty() {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
        }
        while tls.wants_write() && taken(tls.write_tls(&mut self.socket))?.is_some() {}
        Ok(())
    }

    /// One read into `scratch`: how many bytes of MQTT came. `None` if there is nothing more to read now.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return match taken(self.socket.read(scratch))? {
                Some(0) => bail!("the broker closed the connection"),
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
                Some(0) => bail!("the broker closed the connection"),
                Some(_) => {
                    tls.process_new_packets()?;
                }
            }
        }
        self.flush()?;
        Ok(None)
    }
}

/// What an operation moved; `None` if it would have had to wait.
fn taken(result: std::io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
