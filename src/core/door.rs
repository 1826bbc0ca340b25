//! A listener as a core sees it: what it demands and allows.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::Permissions;
use crate::session::Limits;
use crate::store::Level;
use crate::threshold::Rules;

/// Demands and limits of one endpoint, shared by all cores. The swapped parts are live: the next connection sees them.
#[derive(Debug)]
pub struct Door {
    /// The endpoint's name, for logs and metrics.
    pub name: Box<str>,
    /// Who may come in.
    pub rules: ArcSwap<Rules>,
    /// What a session may do.
    pub limits: ArcSwap<Limits>,
    /// From accept to CONNACK, milliseconds.
    pub connect_timeout_ms: u64,
    /// Bytes of a packet before its sender is known.
    pub preauth_bytes_max: usize,
    /// What its clients' session state is kept at, and their messages where the topic has no level of its own.
    pub level: Level,
    /// May do nothing: what a connection has before it proved who it is.
    pub nothing: Arc<Permissions>,
}

impl Door {
    /// A door with these demands and limits, where nothing is acknowledged before it is synced.
    pub fn new(
        name: &str,
        rules: Arc<Rules>,
        limits: Arc<Limits>,
        connect_timeout_ms: u64,
        preauth_bytes_max: usize,
    ) -> Self {
        Self {
            name: name.into(),
            rules: ArcSwap::new(rules),
            limits: ArcSwap::new(limits),
            connect_timeout_ms,
            preauth_bytes_max,
            level: Level::Sync,
            nothing: Arc::new(Permissions::new(Vec::new(), false)),
        }
    }

    /// The same with another level.
    pub fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}
