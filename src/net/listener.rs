//! Listening sockets: bind, accept, and what an accepted connection has to pass.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::layer::Layers;
use super::tls::{Tls, TlsConfig, TlsError, TlsOptions};
use super::websocket::WebSocket;

/// Connections the kernel keeps ready to be accepted; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// A silent connection is probed by the kernel after this long, then every [`KEEPALIVE_INTERVAL`], and
/// dropped after [`KEEPALIVE_PROBES`] unanswered ones. MQTT's Keep Alive finds dead clients sooner; this
/// finds those that asked for none.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Bytes sent but not acknowledged for this long end the connection: a dead path, or a peer that does
/// not read.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that died in the backlog are skipped, at most this many in one call.
const ABORTED_MAX: usize = 16;

/// What is spoken on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl Kind {
    /// The names accepted in ALPN; `None` without TLS. Only what is spoken here: a connection meant for
    /// another protocol on the same certificate is not to be passed off as ours.
    fn protocols(self) -> Option<&'static [&'static [u8]]> {
        match self {
            Kind::Mqtt | Kind::Ws => None,
            Kind::Mqtts => Some(&[b"mqtt"]),
            Kind::Wss => Some(&[b"http/1.1"]),
        }
    }
}

/// One endpoint, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The name used in logs and metrics.
    pub name: String,
    /// Where to listen; port 0 lets the system choose one.
    pub addr: SocketAddr,
    /// What is spoken there.
    pub kind: Kind,
    /// The certificates of [`Kind::Mqtts`] and [`Kind::Wss`]; unused by other kinds.
    pub tls: Option<TlsOptions>,
    /// The path of the WebSocket upgrade, e.g. `/mqtt`; unused by other kinds.
    pub path: String,
}

/// Why an endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or the system refuses.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A TLS endpoint without certificates, or certificates for an endpoint without TLS.
    #[error("an endpoint has certificates if and only if it speaks TLS")]
    Certificates,
}

/// What an endpoint's listeners share, one per core.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    kind: Kind,
    path: Arc<str>,
    /// Replaced whole by a reload; a connection keeps what it was accepted with.
    tls: Option<ArcSwap<TlsConfig>>,
}

impl Endpoint {
    fn new(options: &ListenerOptions) -> Result<Self, ListenError> {
        let tls = match (options.kind.protocols(), &options.tls) {
            (Some(protocols), Some(tls)) => Some(ArcSwap::from_pointee(TlsConfig::load(tls, protocols)?)),
            (None, None) => None,
            _ => return Err(ListenError::Certificates),
        };
        Ok(Self { name: options.name.clone(), kind: options.kind, path: options.path.as_str().into(), tls })
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is spoken there.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads certificates for this endpoint without using them yet, so that a reload of several endpoints is all or nothing.
    ///
    /// # Errors
    /// They cannot be used, or this endpoint speaks no TLS.
    pub fn read(&self, options: &TlsOptions) -> Result<TlsConfig, ListenError> {
        let protocols = self.kind.protocols().ok_or(ListenError::Certificates)?;
        Ok(TlsConfig::load(options, protocols)?)
    }

    /// Uses `config` for connections accepted from now on, on all cores. An endpoint without TLS has no use for it.
    pub fn replace(&self, config: TlsConfig) {
        if let Some(tls) = &self.tls {
            tls.store(Arc::new(config));
        }
    }

    /// The layers a connection starts with.
    pub fn layers(&self) -> Layers {
        let tls = self.tls.as_ref().map(|config| Box::new(Tls::new(&config.load())));
        let web = matches!(self.kind, Kind::Ws | Kind::Wss).then(|| Box::new(WebSocket::new(self.path.clone())));
        match (tls, web) {
            (None, None) => Layers::Plain,
            (Some(tls), None) => Layers::Tls(tls),
            (None, Some(web)) => Layers::Ws(web),
            (Some(tls), Some(web)) => Layers::Wss(tls, web),
        }
    }
}

/// One core's listening socket of an endpoint. Every core has its own on the same port, and the kernel
/// spreads connections over them (`SO_REUSEPORT`).
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    endpoint: Arc<Endpoint>,
}

/// Binds an endpoint once per core. Port 0 is chosen by the first and shared by the rest.
///
/// # Errors
/// See [`ListenError`].
pub fn bind(options: &ListenerOptions, cores: usize) -> Result<Vec<Listener>, ListenError> {
    let endpoint = Arc::new(Endpoint::new(options)?);
    let mut addr = options.addr;
    let mut listeners = Vec::with_capacity(cores);
    for _ in 0..cores {
        let bound = listen(addr).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (actual, socket) = bound.map_err(|source| ListenError::Bind { addr, source })?;
        addr = actual;
        listeners.push(Listener { socket, endpoint: endpoint.clone() });
    }
    Ok(listeners)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // `::` would otherwise take the IPv4 port too, or not, depending on a system setting.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Linux hands these down to every accepted socket, which saves six system calls per connection.
    tune(SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The options of a connection: no delay for small packets, and the kernel finds dead peers.
fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

impl Listener {
    /// Accepts one connection, non-blocking and tuned.
    ///
    /// # Errors
    /// `WouldBlock` when nobody waits. Any other error is not the connection's but the listener's: under load that the process
    /// is out of descriptors. The connection stays in the backlog and, with edge-triggered readiness, no event will tell of it
    /// again: remember that the listener is readable, pause it for a while (100 ms), and try again.
    pub fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut aborted = 0;
        loop {
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    #[cfg(not(target_os = "linux"))]
                    tune(SockRef::from(&stream))?;
                    return Ok((stream, peer));
                }
                Err(error) if is_the_connections_own(&error) && aborted < ABORTED_MAX => {
                    aborted = aborted.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The layers a connection accepted here starts with.
    pub fn layers(&self) -> Layers {
        self.endpoint.layers()
    }

    /// What this core's listener shares with the other cores'.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The address bound, with the actual port.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, to register it with a poll.
    pub fn socket(&mut self) -> &mut TcpListener {
        &mut self.socket
    }
}

/// Whether the failure belongs to the connection that was to be accepted, not to the listener: Linux
/// reports errors already pending on the new socket as the result of the accept.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::testing::Authority;

    fn options() -> ListenerOptions {
        ListenerOptions {
            name: "test".into(),
            addr: "127.0.0.1:0".parse().unwrap(),
            kind: Kind::Mqtt,
            tls: None,
            path: "/mqtt".into(),
        }
    }

    fn accept(listeners: &mut [Listener]) -> TcpStream {
        let mut poll = mio::Poll::new().unwrap();
        for (i, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener.socket(), mio::Token(i), mio::Interest::READABLE).unwrap();
        }
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        let token = events.iter().next().expect("a connection").token();
        listeners[token.0].accept().expect("a connection").0
    }

    #[test]
    fn cores_share_the_port_the_system_chose() {
        let listeners = bind(&options(), 3).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        assert_ne!(addr.port(), 0);
        assert!(listeners.iter().all(|l| l.local_addr().unwrap() == addr));
    }

    #[test]
    fn an_accepted_connection_is_tuned_and_does_not_block() {
        let mut listeners = bind(&options(), 2).unwrap();
        let _client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let mut stream = accept(&mut listeners);
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        }
        let error = io::Read::read(&mut stream, &mut [0; 1]).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn nobody_waiting_would_block() {
        let mut listener = bind(&options(), 1).unwrap().remove(0);
        assert_eq!(listener.accept().expect_err("nobody").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn certificates_belong_to_tls_endpoints_and_only_there() {
        let tls = Authority::new();
        for kind in [Kind::Mqtts, Kind::Wss] {
            let without = ListenerOptions { kind, ..options() };
            assert!(matches!(bind(&without, 1), Err(ListenError::Certificates)));
            let with = ListenerOptions { tls: Some(tls.options()), ..without };
            assert!(!bind(&with, 1).unwrap()[0].layers().is_plain());
        }
        let pointless = ListenerOptions { tls: Some(tls.options()), ..options() };
        assert!(matches!(bind(&pointless, 1), Err(ListenError::Certificates)));
    }

    #[test]
    fn a_reload_counts_on_all_cores_and_a_bad_one_changes_nothing() {
        let authority = Authority::new();
        let tls = authority.options();
        let options = ListenerOptions { kind: Kind::Mqtts, tls: Some(tls.clone()), ..options() };
        let listeners = bind(&options, 2).unwrap();
        let in_use = |listener: &Listener| Arc::as_ptr(&listener.endpoint().tls.as_ref().unwrap().load());
        let first = in_use(&listeners[0]);
        assert_eq!(first, in_use(&listeners[1]));
        authority.write("server.pem", "");
        assert!(matches!(listeners[0].endpoint().read(&tls), Err(ListenError::Tls(TlsError::Empty { .. }))));
        assert_eq!(first, in_use(&listeners[1]));
        let renewed = authority.options();
        listeners[0].endpoint().replace(listeners[0].endpoint().read(&renewed).unwrap());
        assert_ne!(first, in_use(&listeners[1]));
    }
}
