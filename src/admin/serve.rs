//! The socket: bind, accept, and one task per connection.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::routes::{Peer, router};
use super::{Admin, AdminError, Certificates, Options};

/// Connections at one time; more wait in the kernel's backlog until one ends.
const CONNECTIONS_MAX: usize = 256;
/// A TLS handshake, and the head of a request, must be there within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long accepting rests when the system gives no descriptor.
const REST: Duration = Duration::from_millis(100);

/// A bound socket, not served yet.
#[derive(Debug)]
pub struct Endpoint {
    socket: StdListener,
    certificates: Option<Arc<Certificates>>,
}

impl Endpoint {
    /// Opens the socket and reads the certificate, if one is named.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn bind(options: &Options) -> Result<Self, AdminError> {
        let certificates = options.tls.as_ref().map(Certificates::load).transpose()?.map(Arc::new);
        let wrong = |error| AdminError::Bind { addr: options.addr, error };
        let socket = StdListener::bind(options.addr).map_err(wrong)?;
        socket.set_nonblocking(true).map_err(wrong)?;
        Ok(Self { socket, certificates })
    }

    /// Where it listens in fact.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The certificate in use, to be replaced on reload.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Answers until `stop` holds true.
    ///
    /// # Errors
    /// The socket cannot be handed to the runtime.
    pub async fn serve(self, admin: Arc<Admin>, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let socket = TcpListener::from_std(self.socket)?;
        let (routes, places) = (router(admin), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stopped(&mut stop) => return Ok(()),
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the admin endpoint cannot accept: resting");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let (routes, certificates) = (routes.clone(), self.certificates.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                converse(stream, peer, routes, certificates, stop).await;
                drop(place);
            });
        }
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    certificates: Option<Arc<Certificates>>,
    stop: watch::Receiver<bool>,
) {
    let Some(certificates) = certificates else { return answer(stream, peer, routes, stop).await };
    match tokio::time::timeout(PATIENCE, certificates.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, peer, routes, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "admin: no TLS"),
        Err(_) => tracing::debug!(%peer, "admin: TLS handshake took too long"),
    }
}

async fn answer<S>(stream: S, peer: SocketAddr, routes: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = TowerToHyperService::new(routes.layer(Extension(Peer(peer))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "admin: connection ended");
    }
}

/// Returns when `stop` holds true, or its owner is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
