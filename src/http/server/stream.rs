//! An event stream on a socket of its own: what is left of a connection when hyper has gone.
//!
//! The hub writes by itself; this task sleeps until the socket was full and takes more, its peer leaves, or the stream
//! ends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::gate::Permit;
use super::limits::{LINGER, MAX_STRAY_BYTES, STREAM_SEND_BUFFER};
use super::socket::shut_down_writing;
use crate::events::outbox::Drain;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of it has left.
    Complete,
    /// Its peer has closed, or broke the protocol.
    Left,
    /// What waited did not leave in time, or the server aborts.
    Cut,
}

/// Sends the stream until it ends, or until all are cut by `abort`.
pub(super) async fn run(stream: Arc<TcpStream>, drain: Drain, abort: CancellationToken, permit: Permit) {
    // Without it the stream works too, only a stalled reader costs more.
    let _ = SockRef::from(&*stream).set_send_buffer_size(STREAM_SEND_BUFFER);
    drain.attach(Arc::clone(&stream));
    let end = {
        let mut watch = Watch { stream: &stream, drain: &drain, stray: 0, grace: None };
        abort.run_until_cancelled(poll_fn(|cx| watch.poll(cx))).await.unwrap_or(End::Cut)
    };
    drop(drain);
    match end {
        // Boxed, so that streams that go on need no room for it.
        End::Complete => Box::pin(linger(&stream, LINGER)).await,
        End::Left => {}
        // What the system still holds for this reader would stay for as long as it does not read.
        End::Cut => drop(stream.set_zero_linger()),
    }
    tracing::debug!(?end, "stream");
    drop(permit);
}

struct Watch<'a> {
    stream: &'a TcpStream,
    drain: &'a Drain,
    /// Bytes the peer has sent.
    stray: usize,
    /// What remains to an ending stream. No idle stream has a timer.
    grace: Option<Pin<Box<Sleep>>>,
}

impl Watch<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(written) = self.drain.poll_write(cx) {
            return Poll::Ready(if written.is_ok() { End::Complete } else { End::Left });
        }
        if self.poll_left(cx).is_ready() {
            return Poll::Ready(End::Left);
        }
        self.poll_grace(cx)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.stream.poll_read_ready(cx)).is_ok() {
            match discard(self.stream) {
                Ok(read) => self.stray += read,
                Err(PeerClosed) => break,
            }
            if self.stray > MAX_STRAY_BYTES {
                break;
            }
        }
        Poll::Ready(())
    }

    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.grace.is_none() {
            self.grace = self.drain.grace().map(|grace| Box::pin(sleep(grace)));
        }
        match &mut self.grace {
            Some(grace) => grace.as_mut().poll(cx).map(|()| End::Cut),
            None => Poll::Pending,
        }
    }
}

/// Closes our side and waits for the peer to close its own: for as long as it sends, at most `longest`.
pub(super) async fn linger(stream: &TcpStream, longest: Duration) {
    if shut_down_writing(stream).is_err() {
        return;
    }
    let sends = || timeout(LINGER, stream.readable());
    let peer_closes = async { while matches!(sends().await, Ok(Ok(()))) && discard(stream).is_ok() {} };
    let _ = timeout(longest, peer_closes).await;
}

struct PeerClosed;

/// Reads what is there, for nobody, and says how many bytes it was.
fn discard(stream: &TcpStream) -> Result<usize, PeerClosed> {
    match stream.try_read(&mut [0; 4096]) {
        Ok(0) => Err(PeerClosed),
        Ok(read) => Ok(read),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(PeerClosed),
    }
}
