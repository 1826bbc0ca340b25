//! Composition: builds the rooms in order, wires them, and runs until a signal.
//!
//! *Architecture invariant:* the only room that knows all others, and nothing but their doors: no rule of MQTT, no routing and
//! no loop over clients lives here.
//!
//! Start with [`run`], then `lifecycle.rs`.

mod lifecycle;
mod telemetry;

pub use lifecycle::Phase;
pub use telemetry::Telemetry;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin;
use crate::config::{Config, Mistakes};
use crate::metrics::{Board, Facts, Page};
use lifecycle::{Asked, Lifecycle};

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the broker did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The system gives no runtime or no signal handler.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The endpoint for operators cannot be opened.
    #[error("listeners.http: {0}")]
    Admin(#[from] admin::AdminError),
}

/// Reads the configuration again, for a reload.
pub type Reread = dyn Fn() -> Result<Config, Mistakes>;

/// Runs a broker until SIGINT or SIGTERM.
///
/// # Errors
/// See [`ServerError`].
pub fn run(config: Config, telemetry: &Arc<Telemetry>, reread: &Reread) -> Result<(), ServerError> {
    let started = Instant::now();
    // What waits (HTTP, password hashes, signals) runs here; clients are served by the cores, on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let lifecycle = Arc::new(Lifecycle::new());
    let board = Arc::new(Board::new(config.threads));
    let mut listening = Vec::new();

    // The cores start here, before anybody is told that they listen.

    let http = start_admin(&config, &runtime, started, &board, &lifecycle, telemetry)?;
    listening.extend(http.as_ref().map(|http| ("http", http.addr)));
    lifecycle.enter(Phase::Running);
    announce(&config, &listening);

    let mut config = config;
    runtime.block_on(async {
        let mut signals = lifecycle::Signals::new()?;
        while let Asked::Reload = signals.next().await {
            reload(&mut config, telemetry, http.as_ref(), reread);
        }
        std::io::Result::Ok(())
    })?;

    lifecycle.enter(Phase::Draining);
    tracing::info!("stopping");
    // The cores say good-bye to their clients here.
    if let Some(http) = http {
        let _ = http.stop.send(true);
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    lifecycle.enter(Phase::Stopped);
    tracing::info!("stopped");
    Ok(())
}

/// The endpoint for operators while it runs.
struct AdminHandle {
    addr: SocketAddr,
    certificates: Option<Arc<admin::Certificates>>,
    stop: watch::Sender<bool>,
}

fn start_admin(
    config: &Config,
    runtime: &Runtime,
    started: Instant,
    board: &Arc<Board>,
    lifecycle: &Arc<Lifecycle>,
    telemetry: &Arc<Telemetry>,
) -> Result<Option<AdminHandle>, ServerError> {
    let Some(options) = &config.http else { return Ok(None) };
    let endpoint = admin::Endpoint::bind(options)?;
    let store_mode = config.store_mode.name();
    let (phase, telemetry) = (Arc::clone(lifecycle), Arc::clone(telemetry));
    let admin = admin::Admin {
        page: Page::new(Arc::clone(board), &Facts { version: VERSION, store_mode }),
        version: VERSION,
        store_mode,
        started,
        health: Box::new(move || match phase.phase() {
            Phase::Running => admin::Health::Running,
            Phase::Starting | Phase::Draining | Phase::Stopped => admin::Health::Draining,
        }),
        set_log_level: Box::new(move |level| telemetry.set_level(level)),
    };
    let (stop, stopped) = watch::channel(false);
    let handle = AdminHandle { addr: endpoint.addr()?, certificates: endpoint.certificates(), stop };
    runtime.spawn(endpoint.serve(Arc::new(admin), stopped));
    Ok(Some(handle))
}

/// Says where it listens, and what to try next. A closed standard output is nobody's problem.
fn announce(config: &Config, listening: &[(&str, SocketAddr)]) {
    let mut text = format!("HeraldMQ {VERSION}, store mode {}\n", config.store_mode.name());
    for (name, addr) in listening {
        text.push_str(&format!("  {name:<6} {addr}\n"));
    }
    for note in &config.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    if let Some((_, addr)) = listening.iter().find(|(name, _)| *name == "mqtt") {
        let (host, port) = (addr.ip(), addr.port());
        text.push_str(&format!(
            "Try it: mosquitto_sub -h {host} -p {port} -t 'biz/#' -v\n        \
             mosquitto_pub -h {host} -p {port} -t biz/order/user/alice -m hello\n"
        ));
    }
    if let Some((_, addr)) = listening.iter().find(|(name, _)| *name == "http") {
        text.push_str(&format!("Look:   curl http{}://{addr}/health\n", if secure(config) { "s" } else { "" }));
    }
    text.push_str("Ctrl-C ends it.\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn secure(config: &Config) -> bool {
    config.http.as_ref().is_some_and(|http| http.tls.is_some())
}

/// Reads everything again, and takes all of it or nothing.
fn reload(config: &mut Config, telemetry: &Telemetry, http: Option<&AdminHandle>, reread: &Reread) {
    use crate::config::reload::{changes, needs_restart};
    let wanted = match reread() {
        Ok(wanted) => wanted,
        Err(mistakes) => return tracing::error!("reload refused, nothing changed:\n{mistakes}"),
    };
    let certificates = http.and_then(|http| http.certificates.as_ref());
    let read = match certificates.map(|certificates| certificates.read_again()).transpose() {
        Ok(read) => read,
        Err(error) => return tracing::error!(%error, "reload refused, nothing changed"),
    };
    // Everything has been read and is right: from here nothing can fail.
    if let (Some(certificates), Some(read)) = (certificates, read) {
        certificates.replace(read);
    }
    if let Err(why) = telemetry.set_level(&wanted.log.level) {
        tracing::error!("log level not changed: {why}");
    }
    let changed = changes(config, &wanted);
    for change in &changed {
        let (path, effect) = (change.setting.path, change.setting.reload.text());
        tracing::info!("reload: {path} was {} and is {} (takes effect: {effect})", change.before, change.after);
    }
    tracing::info!(changed = changed.len(), restart_needed = needs_restart(&changed), "configuration read again");
    *config = wanted;
}
