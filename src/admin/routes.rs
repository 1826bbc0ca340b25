//! What may be asked, and the answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Extension, State};
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
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(admin)
}

#[derive(Serialize)]
struct HealthAnswer {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    store_mode: &'static str,
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    let (code, status) = match (admin.health)() {
        Health::Running => (StatusCode::OK, "running"),
        Health::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let uptime_s = admin.started.elapsed().as_secs();
    let answer = HealthAnswer { status, version: admin.version, uptime_s, store_mode: admin.store_mode };
    (code, Json(answer)).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], admin.page.render()).into_response()
}

async fn version(State(admin): State<Arc<Admin>>) -> Response {
    Json(serde_json::json!({ "version": admin.version })).into_response()
}

async fn log_level(State(admin): State<Arc<Admin>>, Extension(Peer(peer)): Extension<Peer>, level: String) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return problem(StatusCode::FORBIDDEN, "answered to loopback addresses only");
    }
    match (admin.set_log_level)(level.trim()) {
        Ok(()) => Json(serde_json::json!({ "level": level.trim() })).into_response(),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

fn problem(code: StatusCode, why: &str) -> Response {
    (code, Json(serde_json::json!({ "error": why }))).into_response()
}
