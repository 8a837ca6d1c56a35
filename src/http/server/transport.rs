//! How an event stream reaches the client of one request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::body::StreamBody;
use super::takeover::{HeadOnly, Takeover};
use crate::events::outbox::Outbox;

/// Tells nginx and its like to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A proxy that compresses may hold the end of an event back until the next (`HAProxy` does); it must not touch it
/// (RFC 9111 §5.2.2.6).
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("no-store, no-transform");

/// The way from an outbox to the client of one request; an extractor for the event stream's handler.
#[derive(Clone, Default)]
pub struct Transport {
    takeover: Option<Takeover>,
    cut: CancellationToken,
}

impl Transport {
    pub(super) fn new(takeover: Option<Takeover>, cut: CancellationToken) -> Self {
        Self { takeover, cut }
    }

    /// Cancelling this breaks the request's connection, or with HTTP/2 its stream, whatever they are doing. It is
    /// cancelled when the connection ends, or an event stream takes its socket.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// The response that sends what is pushed to the outbox, as `text/event-stream` (WHATWG HTML §9.2).
    ///
    /// With HTTP/1.1 the socket leaves hyper after the head; else the events are an ordinary body. If the response is
    /// dropped, or its client leaves, the outbox is closed.
    pub fn respond(self, outbox: &Arc<Outbox>) -> Response {
        let claimed = match &self.takeover {
            Some(takeover) => takeover.claim(outbox.drain()),
            None => Err(outbox.drain()),
        };
        match claimed {
            Ok(head_only) => taken_over(head_only),
            Err(drain) => {
                tokio::spawn(cut_when_overdue(Arc::clone(outbox), self.cut));
                event_stream(Body::new(StreamBody(drain)))
            }
        }
    }
}

/// The connection serves nothing after such a stream (RFC 9112 §9.6).
fn taken_over(head_only: HeadOnly) -> Response {
    let mut response = event_stream(Body::new(head_only));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// hyper does not ask a body for more while its client does not read, so the body cannot notice that its time is over.
async fn cut_when_overdue(outbox: Arc<Outbox>, cut: CancellationToken) {
    if !outbox.gone_in_grace().await {
        cut.cancel();
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Transport {
    type Rejection = Infallible;

    /// A request that came through no connection of ours, as in a test of the router, gets an ordinary body.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
