//! The endpoints for clients and the cores behind them, from configuration to running threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::ServerError;
use super::descriptors;
use crate::auth::Auth;
use crate::broker::Broker;
use crate::config::Config;
use crate::core::{self, Cores, Door, Mail};
use crate::metrics::Board;
use crate::net::listener;
use crate::net::{Endpoint, Listener, TlsConfig};
use crate::wake::Wake;

/// What the cores are given that was built before them.
pub(super) struct Built {
    pub(super) broker: Arc<Broker>,
    pub(super) auth: Arc<Auth>,
    pub(super) board: Arc<Board>,
    pub(super) started: Instant,
}

/// The cores while they run, and the handles to change what they show and demand.
pub(super) struct Clients {
    cores: Cores,
    entrances: Vec<Entrance>,
    auth: Arc<Auth>,
}

struct Entrance {
    endpoint: Arc<Endpoint>,
    door: Arc<Door>,
    addr: SocketAddr,
}

/// Certificates of all endpoints, read and right, and not in use yet.
pub(super) struct FreshTls(Vec<Option<TlsConfig>>);

impl Clients {
    /// Opens every endpoint once per core, then starts the cores.
    pub(super) fn start(config: &Config, built: Built) -> Result<Self, ServerError> {
        let mut entrances = Vec::new();
        let mut per_core: Vec<Vec<(Listener, Arc<Door>)>> = (0..config.threads).map(|_| Vec::new()).collect();
        for wanted in &config.listeners {
            let name = &wanted.endpoint.name;
            let refused = |source| ServerError::Listener { listener: name.clone(), source };
            let listeners = listener::bind(&wanted.endpoint, config.threads).map_err(refused)?;
            let door = Arc::new(door(config, wanted, &built.auth));
            if let Some(first) = listeners.first() {
                let (endpoint, addr) = (Arc::clone(first.endpoint()), first.local_addr()?);
                entrances.push(Entrance { endpoint, door: Arc::clone(&door), addr });
            }
            for (core, listener) in per_core.iter_mut().zip(listeners) {
                core.push((listener, Arc::clone(&door)));
            }
        }
        let cores = core::start(core::Options {
            broker: built.broker,
            auth: Some(Arc::clone(&built.auth)),
            board: built.board,
            listeners: per_core,
            connections_max: descriptors::connections_max(config.intake.connections_max),
            started: built.started,
        })?;
        Ok(Self { cores, entrances, auth: built.auth })
    }

    /// Name and actual address of each endpoint.
    pub(super) fn listening(&self) -> Vec<(String, SocketAddr)> {
        self.entrances.iter().map(|entrance| (entrance.endpoint.name().to_owned(), entrance.addr)).collect()
    }

    /// Reads the certificates that `config` names for the endpoints that are open.
    pub(super) fn read_certificates(&self, config: &Config) -> Result<FreshTls, ServerError> {
        let read = |entrance: &Entrance| {
            let name = entrance.endpoint.name();
            let tls = config.listeners.iter().find(|listener| listener.endpoint.name == name);
            let Some(tls) = tls.and_then(|listener| listener.endpoint.tls.as_ref()) else { return Ok(None) };
            let refused = |source| ServerError::Listener { listener: name.to_owned(), source };
            entrance.endpoint.read(tls).map(Some).map_err(refused)
        };
        Ok(FreshTls(self.entrances.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Puts certificates, limits and rules in force: for the next connection, and permissions for those that are open
    /// too.
    pub(super) fn put_in_force(&self, config: &Config, certificates: FreshTls) {
        for (entrance, fresh) in self.entrances.iter().zip(certificates.0) {
            if let Some(fresh) = fresh {
                entrance.endpoint.replace(fresh);
            }
            entrance.door.limits.store(Arc::clone(&config.limits));
            let name = entrance.endpoint.name();
            if let Some(wanted) = config.listeners.iter().find(|listener| listener.endpoint.name == name) {
                entrance.door.rules.store(self.auth.rules(wanted.allow_anonymous));
            }
        }
        self.cores.tell_all(|| Mail::Reloaded);
    }

    /// What the store rings when its mark has moved.
    pub(super) fn wake(&self) -> Wake {
        self.cores.wake_all()
    }

    /// Says good-bye to every client and waits for the cores to end.
    pub(super) fn stop(self) {
        self.cores.stop();
    }
}

fn door(config: &Config, listener: &crate::config::Listener, auth: &Auth) -> Door {
    Door::new(
        &listener.endpoint.name,
        auth.rules(listener.allow_anonymous),
        Arc::clone(&config.limits),
        u64::try_from(config.intake.connect_timeout.as_millis()).unwrap_or(u64::MAX),
        config.intake.preauth_bytes_max,
    )
    .at_level(listener.level)
}
