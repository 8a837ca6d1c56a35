//! Around every request: its id, its log line, its metrics, security headers, and the body of every problem.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::host::request_is_loopback;
use super::server::ClientAddr;
use crate::app::App;
use crate::error::Error;
use crate::wire::Problem;

/// Finds the request in the server's log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Handles a request, whatever becomes of it: a panic is a 500 like any other fault, every refusal is a problem.
///
/// The log has the route, never the path or the query string that a client wrote, and no header at all: no token can
/// get into it (promise 17).
pub async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = app.clock.random_id().simple().to_string();
    let method = request.method().clone();
    let named = label(&method);
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let client = request.extensions().get::<ClientAddr>().map(|client| client.0.to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", id);
    let started = Instant::now();
    let answered = async {
        if app.config.demo && !request_is_loopback(request.headers(), request.uri()) {
            return Error::Forbidden("host_not_allowed").into_response();
        }
        AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|panic| panicked(panic.as_ref()))
    };
    let mut response = answered.instrument(span.clone()).await;
    finish(&mut response, &id, &method);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    span.in_scope(|| {
        tracing::info!(method = named, route, status, client, micros = took.as_micros(), "answered");
    });
    let labels = [("route", route), ("method", named.to_owned()), ("status", status.to_string())];
    metrics::counter!("haggle_requests_total", &labels).increment(1);
    metrics::histogram!("haggle_request_seconds", &labels[..2]).record(took.as_secs_f64());
    response
}

/// A method as the log and metrics know it: a client may make up any, and each label is kept for ever.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let why = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Internal(format!("panic: {}", why.unwrap_or("?"))).into_response()
}

fn finish(response: &mut Response, id: &str, method: &Method) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        write_problem(response, &Problem { request_id: id.to_owned(), ..problem }, method);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn write_problem(response: &mut Response, problem: &Problem, method: &Method) {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = if method == Method::HEAD { Body::empty() } else { Body::from(body) };
}

/// No such path.
pub async fn not_found() -> Error {
    Error::NotFound
}

/// No such method on this path.
pub async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}

/// Readiness has one word for people and a status for programs.
pub fn ready(ready: bool) -> Response {
    let (status, word) =
        if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") };
    (status, word).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_problem_that_tells_nothing_of_it() {
        for panic in [Box::new("secret") as Box<dyn Any + Send>, Box::new("secret".to_owned()), Box::new(5)] {
            let mut response = panicked(panic.as_ref());
            finish(&mut response, "the-id", &Method::GET);
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["x-request-id"], "the-id");
            let body = axum::body::to_bytes(response.into_body(), 1_000).now_or_never().unwrap().unwrap();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!((problem.code.as_str(), problem.request_id.as_str()), ("internal", "the-id"));
            assert!(!problem.detail.contains("secret"));
        }
    }
}
