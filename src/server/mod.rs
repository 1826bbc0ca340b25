//! Composition: builds the rooms in order, wires them, and runs until a signal.
//!
//! *Architecture invariant:* the only room that knows all others, and nothing but their doors: no rule of MQTT, no
//! routing and no loop over clients lives here.
//!
//! Start with [`run`], then `lifecycle.rs` and `reload.rs`. What an operator sees of it is in `src/docs/operating.md`.

mod announce;
mod clients;
mod descriptors;
mod lifecycle;
mod operators;
mod reload;
mod state;
mod telemetry;

pub use lifecycle::Phase;
pub use telemetry::Telemetry;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Mistakes};
use crate::metrics::{Board, Durability, Facts};
use crate::net::{ListenError, TlsConfig};
use crate::store::rocks::OpenError;
use crate::store::{Level, Store};
use crate::{admin, auth};
use clients::{Built, Clients};
use lifecycle::{Asked, Lifecycle, Signals};
use operators::Operators;
use reload::Reloadable;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Tasks that are still waiting when everything else has stopped get this long.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// Why the broker did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The system gives no runtime, no thread or no signal handler.
    #[error("cannot start")]
    System(#[from] std::io::Error),
    /// The endpoint for operators cannot be opened.
    #[error("listeners.http")]
    Admin(#[from] admin::AdminError),
    /// The password file or the ACL file is wrong.
    #[error(transparent)]
    Auth(#[from] auth::FileError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// An endpoint for clients cannot be opened.
    #[error("listeners.{listener}")]
    Listener {
        /// Which listener.
        listener: String,
        /// The address, or its certificates.
        source: ListenError,
    },
}

impl ServerError {
    /// Whether the files are to blame, so that starting again will not help.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Auth(_) | Self::Admin(admin::AdminError::Certificate { .. }) => true,
            Self::Store(error) => error.is_damage(),
            Self::Listener { source, .. } => !matches!(source, ListenError::Bind { .. }),
            Self::System(_) | Self::Admin(admin::AdminError::Bind { .. }) => false,
        }
    }
}

/// Reads the configuration again, for a reload.
pub type Reread<'a> = dyn Fn() -> Result<Config, Mistakes> + 'a;

/// Reads every file that `config` names, without starting anything.
///
/// # Errors
/// The first file that cannot be used.
pub fn check(config: &Config) -> Result<(), ServerError> {
    auth::Files::read(&config.auth)?;
    for listener in &config.listeners {
        if let Some(tls) = &listener.endpoint.tls {
            let wrong = |source| ServerError::Listener { listener: listener.endpoint.name.clone(), source };
            TlsConfig::load(tls, &[]).map_err(ListenError::from).map_err(wrong)?;
        }
    }
    if let Some(tls) = config.http.as_ref().and_then(|http| http.tls.as_ref()) {
        admin::Certificates::load(tls)?;
    }
    Ok(())
}

/// Runs a broker until SIGINT or SIGTERM.
///
/// # Errors
/// See [`ServerError`].
pub fn run(config: Config, telemetry: &Arc<Telemetry>, reread: &Reread<'_>) -> Result<(), ServerError> {
    let started = Instant::now();
    // What waits (HTTP, password hashes, signals) runs here; clients are served by the cores, on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // From here on a signal is an order and no longer the end of the process.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let lifecycle = Arc::new(Lifecycle::new());
    let board = Arc::new(Board::new(config.threads));
    let auth = Arc::new(auth::Auth::new(auth::Files::read(&config.auth)?, runtime.handle().clone()));
    let broker = state::broker(&config, started)?;
    let store = Arc::clone(&broker.store);
    let built = Built { broker, auth: Arc::clone(&auth), board: Arc::clone(&board), started };
    let clients = Clients::start(&config, built)?;
    store.wake_with(clients.wake());
    let mut listening = clients.listening();
    let operators = Operators::start(&config, &runtime, |version| admin::Admin {
        page: crate::metrics::Page::new(Arc::clone(&board), &facts(&config, version)),
        version,
        store_mode: config.store_mode,
        levels: config.levels(),
        started,
        health: health(&lifecycle),
        set_log_level: set_log_level(telemetry),
        backup: backup(&store, &config.backup_dir),
    })?;
    listening.extend(operators.as_ref().map(|operators| ("http".to_owned(), operators.addr)));
    lifecycle.enter(Phase::Running);
    announce::announce(&config, &listening);

    let certificates = operators.as_ref().and_then(|operators| operators.certificates.clone());
    let mut reloadable = Reloadable { config, telemetry: Arc::clone(telemetry), auth, certificates, clients };
    while let Asked::Reload = runtime.block_on(signals.next()) {
        reloadable.reload(reread);
    }

    lifecycle.enter(Phase::Draining);
    tracing::info!("stopping");
    reloadable.clients.stop();
    store.close();
    if let Some(operators) = operators {
        operators.stop();
    }
    runtime.shutdown_timeout(LAST_TASKS);
    lifecycle.enter(Phase::Stopped);
    tracing::info!("stopped");
    Ok(())
}

/// What the metrics say about what does not change.
fn facts(config: &Config, version: &'static str) -> Facts {
    let levels = config.levels();
    let fact =
        |of: &'static str, name: &str, level: Level| Durability { of, name: name.to_owned(), level: level.name() };
    let listeners = levels.listeners.iter().map(|(name, level)| fact("listener", name, *level));
    let topics = levels.topics.iter().map(|(pattern, level)| fact("topic", pattern, level));
    Facts { version, store_mode: config.store_mode.name(), durability: listeners.chain(topics).collect() }
}

fn health(lifecycle: &Arc<Lifecycle>) -> Box<dyn Fn() -> admin::Health + Send + Sync> {
    let lifecycle = Arc::clone(lifecycle);
    Box::new(move || match lifecycle.phase() {
        Phase::Starting => admin::Health::Starting,
        Phase::Running => admin::Health::Running,
        Phase::Draining | Phase::Stopped => admin::Health::Draining,
    })
}

fn backup(store: &Arc<dyn Store>, directory: &Path) -> Arc<admin::Backup> {
    let (store, directory) = (Arc::clone(store), directory.to_owned());
    Arc::new(move |name| {
        let folder = directory.join(name);
        store.backup(&folder)?;
        tracing::info!(folder = %folder.display(), "the store was copied");
        Ok(folder)
    })
}

fn set_log_level(telemetry: &Arc<Telemetry>) -> Box<admin::SetLogLevel> {
    let telemetry = Arc::clone(telemetry);
    Box::new(move |level| telemetry.set_level(level))
}
