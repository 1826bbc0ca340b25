//! The load side of a benchmark: many MQTT clients on one thread, and what they and the broker's process measured.
//!
//! `heraldmq bench` loads the broker at an address with it, and `make bench` compares brokers with it.
//!
//! *Architecture invariant:* it imports nothing of ours. It makes and reads its packets by itself, so that what is measured
//! does not also do the measuring, and no mistake of the broker's codec can hide in both.
//!
//! Start reading at [`stream`]: who publishes what when. Below it are [`load`] (the clients), [`link`] (one connection and its
//! layers) and [`packet`] (bytes).

pub mod chance;
pub mod histogram;
pub mod link;
pub mod load;
pub mod packet;
pub mod process;
pub mod report;
pub mod stream;
pub mod websocket;

/// Why a load cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A socket, or a file of `/proc`.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The broker's certificate, or its TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The broker said what it must not, or closed a connection.
    #[error("{0}")]
    Broker(String),
    /// The load cannot be what was asked for.
    #[error("{0}")]
    Options(&'static str),
    /// What was being done meanwhile.
    #[error("{0}: {1}")]
    During(String, Box<BenchError>),
}

impl BenchError {
    /// The same, with what was being done.
    #[must_use]
    pub fn during(self, what: impl Into<String>) -> Self {
        BenchError::During(what.into(), Box::new(self))
    }

    fn broker<T>(what: impl Into<String>) -> Result<T, Self> {
        Err(BenchError::Broker(what.into()))
    }
}
