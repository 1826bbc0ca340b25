//! What may be asked, and the answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, put};
use axum::{Router, extract::DefaultBodyLimit};
use serde::Serialize;

use super::{Admin, Health};

/// Largest request body taken, bytes.
const BODY_BYTES_MAX: usize = 4096;
/// Version 0.0.4 of the text format is what every scraper reads.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// All routes.
pub(super) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/log/level", put(log_level))
        .route("/store/backups/{name}", put(backup))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(admin)
}

#[derive(Serialize)]
struct HealthAnswer<'a> {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    store_mode: &'static str,
    durability: DurabilityAnswer<'a>,
}

/// Names and levels.
#[derive(Serialize)]
struct DurabilityAnswer<'a> {
    listeners: BTreeMap<&'a str, &'static str>,
    topics: BTreeMap<&'a str, &'static str>,
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    let (code, status) = match (admin.health)() {
        Health::Running => (StatusCode::OK, "running"),
        Health::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let uptime_s = admin.started.elapsed().as_secs();
    let durability = DurabilityAnswer {
        listeners: admin.levels.listeners.iter().map(|(name, level)| (&**name, level.name())).collect(),
        topics: admin.levels.topics.iter().map(|(pattern, level)| (pattern, level.name())).collect(),
    };
    let (version, store_mode) = (admin.version, admin.store_mode.name());
    let answer = HealthAnswer { status, version, uptime_s, store_mode, durability };
    (code, Json(answer)).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], admin.page.render()).into_response()
}

async fn version(State(admin): State<Arc<Admin>>) -> Response {
    Json(serde_json::json!({ "version": admin.version })).into_response()
}

async fn log_level(State(admin): State<Arc<Admin>>, Extension(Peer(peer)): Extension<Peer>, level: String) -> Response {
    if let Some(refusal) = refuse_remote(peer) {
        return refusal;
    }
    match (admin.set_log_level)(level.trim()) {
        Ok(()) => Json(serde_json::json!({ "level": level.trim() })).into_response(),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

/// Copying takes as long as the disk needs, so it has a thread of its own, and goes on if nobody waits for the answer.
async fn backup(
    State(admin): State<Arc<Admin>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(name): Path<String>,
) -> Response {
    if let Some(refusal) = refuse_remote(peer) {
        return refusal;
    }
    if !is_plain(&name) {
        return problem(StatusCode::BAD_REQUEST, "a name has 1 to 64 letters, digits, _ and -");
    }
    let copied = tokio::task::spawn_blocking(move || (admin.backup)(&name)).await;
    match copied {
        Ok(Ok(folder)) => (StatusCode::CREATED, Json(serde_json::json!({ "folder": folder }))).into_response(),
        Ok(Err(why)) => problem(StatusCode::CONFLICT, &why),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Nothing that leads out of a folder, or hides in it.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn refuse_remote(peer: SocketAddr) -> Option<Response> {
    let is_local = peer.ip().to_canonical().is_loopback();
    (!is_local).then(|| problem(StatusCode::FORBIDDEN, "answered to loopback addresses only"))
}

fn problem(code: StatusCode, why: &str) -> Response {
    (code, Json(serde_json::json!({ "error": why }))).into_response()
}
