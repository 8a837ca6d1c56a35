//! HTTP: connections, routes, one file per resource, the API description.
//!
//! A handler is about a dozen lines: its argument types say who may call and what must be sent, it makes a command or
//! runs a query, and answers.

mod attachments;
mod body;
mod directory;
mod edge;
mod events;
mod extract;
mod host;
mod json;
mod openapi;
mod page;
mod rooms;
mod run;
pub mod server;
mod service;
mod submission;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header, request};
use axum::routing::get;
use serde_json::Value;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config as DocsConfig, SwaggerUi};

use crate::app::App;
use crate::auth::origin_allowed;

pub use openapi::down_to_3_0;
pub use run::serve;
pub use server::listen;

/// How long a browser may remember what CORS allows, in seconds: the most that Chromium takes.
const PREFLIGHT_SECONDS: u64 = 7_200;

/// Every operation of the API.
fn operations() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::Description::openapi())
        .routes(routes!(rooms::list_rooms, rooms::create_chat_room))
        .routes(routes!(rooms::query_room))
        .routes(routes!(rooms::send_message))
        .routes(routes!(rooms::update_last_seen))
        .routes(routes!(rooms::update_typing))
        .routes(routes!(rooms::query_contract_history))
        .routes(routes!(attachments::upload_attachment, attachments::get_attachment))
        .routes(routes!(attachments::download_attachment))
        .routes(routes!(events::stream_events))
        .routes(routes!(events::begin_session, events::end_session))
        .routes(routes!(events::update_viewing))
        .routes(routes!(directory::put_user, directory::get_user, directory::delete_user))
        .routes(routes!(directory::put_company, directory::get_company))
        .routes(routes!(directory::put_campaign, directory::get_campaign))
        .routes(routes!(directory::change_directory))
        .routes(routes!(service::get_config))
}

/// The API description, OpenAPI 3.1.
#[must_use]
pub fn description() -> Value {
    openapi::finish(operations().into_openapi())
}

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let _ = service::recorder();
    let (api, _) = operations().split_for_parts();
    let page = if app.config.demo { page::demo() } else { Router::new().route("/", get(service::start_page)) };
    let docs: Router<Arc<App>> = SwaggerUi::new("/docs").config(DocsConfig::from("/openapi.json")).into();
    api.merge(docs.layer(axum::middleware::map_response(relax_for_docs)))
        .route("/openapi.json", get(service::openapi_3_1))
        .route("/openapi-3.0.json", get(service::openapi_3_0))
        .route("/livez", get(service::livez))
        .route("/readyz", get(service::readyz))
        .route("/metrics", get(service::metrics_for_service))
        .merge(page::library())
        .merge(page)
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::method_not_allowed)
        // Bodies have limits of their own, told as problems.
        .layer(DefaultBodyLimit::disable())
        .layer(cors(&app))
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::around))
        .with_state(app)
}

/// What is served on the listener for metrics.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new().route("/metrics", get(service::metrics_text)).with_state(app)
}

/// The docs page runs its own scripts and styles.
async fn relax_for_docs(mut response: axum::response::Response) -> axum::response::Response {
    let csp = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp));
    response
}

/// Which web pages may call: those of the list in the settings, and the server's own. Never a reflected origin.
fn cors(app: &Arc<App>) -> CorsLayer {
    let app = app.clone();
    let allowed = move |_: &HeaderValue, parts: &request::Parts| {
        let authority = parts.uri.authority().map(axum::http::uri::Authority::as_str);
        origin_allowed(&parts.headers, authority, &app.config.cors_origins, app.config.public_url.as_deref())
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            header::IF_NONE_MATCH,
            header::RANGE,
        ])
        .expose_headers([
            header::LOCATION,
            header::LINK,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(std::time::Duration::from_secs(PREFLIGHT_SECONDS))
}
