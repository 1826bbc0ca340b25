//! HTTP for operators: health, metrics, version, log level, backup.
//!
//! [`Endpoint::bind`] opens the socket, so that a taken port is an error of the start and not of some task; then
//! [`Endpoint::serve`] answers on the runtime it is awaited on.
//!
//! *Architecture invariant:* handlers parse, ask a value they were handed ([`Admin`]), and answer. Nothing here is on
//! the way of a message, and nothing here decides anything about clients.
//!
//! Start with `routes.rs`.

mod routes;
mod serve;
mod tls;

pub use serve::Endpoint;
pub use tls::{Certificates, FreshCertificates};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::metrics::Page;
use crate::store::{Level, Levels};

/// This room's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose one.
    pub addr: SocketAddr,
    /// Certificate chain and private key, PEM; `None` = plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Where the pieces of the certificate lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// How the broker is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Rooms are being built.
    Starting,
    /// Takes clients.
    Running,
    /// Says good-bye to its clients and takes no more.
    Draining,
}

/// Sets the filter of the log; the text says what is wrong with it.
pub type SetLogLevel = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Copies the store into a folder of this name, and says where that is; the text says why not.
pub type Backup = dyn Fn(&str) -> Result<PathBuf, String> + Send + Sync;

/// What the handlers may ask and do.
pub struct Admin {
    /// The metrics.
    pub page: Page,
    /// Version of the program.
    pub version: &'static str,
    /// The durability mode in force.
    pub store_mode: Level,
    /// The levels in force beside it.
    pub levels: Levels,
    /// When the process began.
    pub started: Instant,
    /// How the broker is.
    pub health: Box<dyn Fn() -> Health + Send + Sync>,
    /// Sets the filter of the log.
    pub set_log_level: Box<SetLogLevel>,
    /// Copies the store.
    pub backup: Arc<Backup>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Why the endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, not ours, or the system refuses.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// Where it should have listened.
        addr: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("{}: {why}", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

#[cfg(test)]
mod tests;
