//! How an event stream takes its socket from hyper.
//!
//! hyper holds some 10 kB for a connection and copies every event through its buffers. A stream needs neither, once its
//! head has left. So its response has a body that never yields: hyper writes the head, asks the body, which thereby
//! knows that the head is in hyper's buffer, and then flushes, which it does only once its buffer is empty. From there
//! on hyper has nothing to write, and its connection is dropped without having said that the response ended.
//!
//! ```text
//! Free ── claim ──▶ Claimed ── body asked ──▶ HeadBuffered ── flushed ──▶ HeadSent ── take ──▶ the stream's task
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use crate::events::outbox::Drain;

/// Where a connection's takeover stands. Dropping it at any stage drops the drain, which ends the stream.
pub(super) struct Slot(Mutex<Stage>);

enum Stage {
    Free,
    Claimed(Drain),
    HeadBuffered(Drain),
    HeadSent(Drain),
}

/// A request's right to take its connection's socket. Only requests that have no body and speak HTTP/1.1 get it.
#[derive(Clone)]
pub(super) struct Takeover(Arc<Slot>);

impl Slot {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Stage::Free)))
    }

    /// Notes that hyper's buffer is empty.
    pub(super) fn flushed(&self) {
        self.step(|stage| match stage {
            Stage::HeadBuffered(drain) => Stage::HeadSent(drain),
            other => other,
        });
    }

    fn body_asked(&self) {
        self.step(|stage| match stage {
            Stage::Claimed(drain) => Stage::HeadBuffered(drain),
            other => other,
        });
    }

    /// The stream, once nothing more is hyper's to write.
    pub(super) fn take(&self) -> Option<Drain> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, Stage::Free) {
            Stage::HeadSent(drain) => Some(drain),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// The response will not be sent to its end: there is nothing to take over, and no stream.
    fn give_up(&self) {
        let stage = std::mem::replace(&mut *self.0.lock(), Stage::Free);
        drop(stage);
    }

    fn step(&self, next: impl FnOnce(Stage) -> Stage) {
        let mut stage = self.0.lock();
        *stage = next(std::mem::replace(&mut *stage, Stage::Free));
    }
}

impl Takeover {
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        Self(Arc::clone(slot))
    }

    /// Takes the socket once the head of the response with this body has left; gives the drain back if another
    /// response has claimed it.
    pub(super) fn claim(&self, drain: Drain) -> Result<HeadOnly, Drain> {
        let mut stage = self.0.0.lock();
        if matches!(*stage, Stage::Free) {
            *stage = Stage::Claimed(drain);
            return Ok(HeadOnly(Arc::clone(&self.0)));
        }
        Err(drain)
    }
}

/// A body that never yields, so that hyper writes the head and no more.
pub(super) struct HeadOnly(Arc<Slot>);

impl Body for HeadOnly {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.body_asked();
        Poll::Pending
    }
}

impl Drop for HeadOnly {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::events::outbox::{Frame as Event, Outbox};

    #[test]
    fn the_socket_is_free_only_after_the_head_has_left() {
        let outbox = Outbox::new(Event::new(b"too slow"));
        let slot = Slot::new();
        let mut body = Takeover::new(&slot).claim(outbox.drain()).ok().unwrap();
        slot.flushed();
        assert!(slot.take().is_none());
        assert!(body.frame().now_or_never().is_none());
        assert!(slot.take().is_none());
        slot.flushed();
        let drain = slot.take();
        drop(body);
        assert!(drain.is_some() && !outbox.is_closed());
    }

    #[test]
    fn a_response_that_is_dropped_ends_the_stream() {
        let outbox = Outbox::new(Event::new(b"too slow"));
        let takeover = Takeover::new(&Slot::new());
        drop(takeover.claim(outbox.drain()));
        assert!(outbox.is_closed());
    }

    #[test]
    fn only_one_response_claims() {
        let outbox = Outbox::new(Event::new(b"too slow"));
        let takeover = Takeover::new(&Slot::new());
        let first = takeover.claim(outbox.drain());
        assert!(takeover.claim(Outbox::new(Event::new(b"too slow")).drain()).is_err());
        assert!(first.is_ok() && !outbox.is_closed());
    }
}
