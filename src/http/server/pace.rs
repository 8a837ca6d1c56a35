//! Request bodies that must keep coming.
//!
//! A client that sends one byte now and then would hold a request, its file and its place in the upload budget for
//! days. Only time spent waiting for the client counts, not the time its handler takes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::limits::BODY_PACE;

/// A body that fails when it comes too slowly, and tells when it is given up before its end.
pub(super) struct Paced<B: Body> {
    body: B,
    ended: bool,
    given_up: Arc<AtomicBool>,
    /// The longest single wait, and how long all waits may be beyond what the pace allows.
    stall: Duration,
    received: u64,
    waited: Duration,
    wait: Option<Wait>,
}

struct Wait {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

/// The body came too slowly.
#[derive(Debug)]
pub(super) struct TooSlow;

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request's body came too slowly")
    }
}

impl std::error::Error for TooSlow {}

impl<B: Body> Paced<B> {
    pub(super) fn new(body: B, stall: Duration, given_up: Arc<AtomicBool>) -> Self {
        Self { body, ended: false, given_up, stall, received: 0, waited: Duration::ZERO, wait: None }
    }

    fn begin_wait(&self) -> Wait {
        let earned = self.stall + Duration::from_secs(self.received / BODY_PACE);
        let patience = self.stall.min(earned.saturating_sub(self.waited));
        Wait { since: Instant::now(), over: Box::pin(sleep(patience)) }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let mut wait = this.wait.take().unwrap_or_else(|| this.begin_wait());
            let over = wait.over.as_mut().poll(cx);
            this.wait = Some(wait);
            ready!(over);
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        this.waited += this.wait.take().map_or(Duration::ZERO, |wait| wait.since.elapsed());
        this.ended = frame.is_none();
        if let Some(Ok(frame)) = &frame {
            this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for Paced<B> {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.given_up.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    /// Collects a body of which a piece comes after each gap; says how many bytes there were.
    async fn collect(gap: Duration, pieces: usize, bytes: usize) -> Result<usize, BoxError> {
        let stream = futures_util::stream::iter(0..pieces).then(move |_| async move {
            sleep(gap).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; bytes])))
        });
        let paced = Paced::new(Box::pin(StreamBody::new(stream)), STALL, Arc::default());
        Ok(paced.collect().await?.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_body_passes() {
        assert_eq!(collect(Duration::from_secs(10), 100, 20 * 1024).await.unwrap(), 100 * 20 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_fails() {
        assert!(collect(STALL * 2, 1, 1).await.unwrap_err().is::<TooSlow>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dribbling_body_fails() {
        let began = Instant::now();
        assert!(collect(Duration::from_secs(1), 1_000_000, 1).await.unwrap_err().is::<TooSlow>());
        assert!(began.elapsed() <= STALL + Duration::from_secs(1));
    }
}
