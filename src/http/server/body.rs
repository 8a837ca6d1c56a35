//! Bodies of responses: an event stream that hyper writes, and one that tells when its answer has left.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::activity::InFlight;
use crate::events::outbox::Drain;

/// An event stream as an ordinary body: for HTTP/2, and for HTTP/1.0, which knows no chunks.
pub(super) struct StreamBody(pub(super) Drain);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_payload(cx).map(|payload| payload.map(|payload| Ok(Frame::data(payload))))
    }
}

/// A response's body that counts its request as running until it is dropped.
pub(super) struct Answer {
    pub(super) body: axum::body::Body,
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    pub(super) in_flight: InFlight,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
