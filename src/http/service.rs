//! The server itself: settings for clients, health, metrics, API description, start page.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::edge;
use super::extract::Service;
use super::openapi::Problems;
use crate::app::App;
use crate::attachments::{BASE64_BYTES, STREAMED_BYTES};
use crate::domain::CONTENT_CHARS;
use crate::error::Result;
use crate::events::{HEARTBEAT, TYPING_LEASE};
use crate::wire::ServerConfig;

/// Get what a client may want to know of this deployment
///
/// Currency, limits and intervals; needs no token.
#[utoipa::path(
    get, path = "/v1/config", operation_id = "get_config", tag = "server",
    responses((status = 200, description = "The settings", body = ServerConfig), Problems),
    security(()),
)]
pub async fn get_config(State(app): State<Arc<App>>) -> axum::Json<ServerConfig> {
    axum::Json(ServerConfig {
        currency: app.config.currency.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_content_characters: CONTENT_CHARS,
        max_base64_attachment_bytes: BASE64_BYTES,
        max_attachment_bytes: STREAMED_BYTES,
        heartbeat_seconds: HEARTBEAT.as_secs(),
        typing_lease_seconds: TYPING_LEASE.as_secs(),
        guards_required: app.config.require_guards,
    })
}

/// The process runs.
pub async fn livez() -> &'static str {
    "alive\n"
}

/// Commands can be taken: the writer reaches the database, and the server is not stopping.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    edge::ready(app.is_ready().await)
}

/// Metrics in the text format of Prometheus, for services.
pub async fn metrics_for_service(state: State<Arc<App>>, _: Service) -> Result<Response> {
    Ok(metrics_text(state).await)
}

fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Metrics, for whoever reaches the listener that is for them.
pub async fn metrics_text(State(app): State<Arc<App>>) -> Response {
    metrics::gauge!("haggle_streams_open").set(count(app.hub.streams()));
    metrics::gauge!("haggle_nodes").set(count(1 + app.hub.peers()));
    metrics::gauge!("haggle_commands_waiting").set(count(app.writer.waiting()));
    let text = recorder().render();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"))], text).into_response()
}

/// The one recorder of this process.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Another recorder may be there already, in tests say: then these metrics stay empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// The API description, OpenAPI 3.1.
pub async fn openapi_3_1() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    json(TEXT.get_or_init(|| super::description().to_string()))
}

/// The same, OpenAPI 3.0.3.
pub async fn openapi_3_0() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    json(TEXT.get_or_init(|| super::openapi::down_to_3_0(&super::description()).to_string()))
}

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// The start page.
pub async fn start_page() -> Response {
    let csp = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    ([(header::CONTENT_SECURITY_POLICY, csp)], Html(include_str!("start.html"))).into_response()
}
