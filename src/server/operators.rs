//! The endpoint for operators, from its options to a task that answers.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{ServerError, VERSION};
use crate::admin;
use crate::config::Config;

/// The endpoint while it runs.
pub(super) struct Operators {
    /// Where it listens in fact.
    pub(super) addr: SocketAddr,
    /// What it shows, to be replaced by a reload; `None` for plain HTTP.
    pub(super) certificates: Option<Arc<admin::Certificates>>,
    stop: watch::Sender<bool>,
}

impl Operators {
    /// Opens the endpoint, if it is on. `admin` makes what it may ask, from the version.
    pub(super) fn start(
        config: &Config,
        runtime: &Runtime,
        admin: impl FnOnce(&'static str) -> admin::Admin,
    ) -> Result<Option<Self>, ServerError> {
        let Some(options) = &config.http else { return Ok(None) };
        let endpoint = admin::Endpoint::bind(options)?;
        let (addr, certificates) = (endpoint.addr()?, endpoint.certificates());
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(endpoint.serve(Arc::new(admin(VERSION)), stopped));
        Ok(Some(Self { addr, certificates, stop }))
    }

    /// Closes the socket; requests under way are answered.
    pub(super) fn stop(self) {
        // Nobody listens any more only if the task has ended already.
        let _ = self.stop.send(true);
    }
}
