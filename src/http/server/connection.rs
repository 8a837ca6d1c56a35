//! One connection from its first byte to its last: which protocol it speaks, and when it must end.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::activity::{Activity, Overdue, Watchdog};
use super::gate::Permit;
use super::limits::{BODY_STALL, MAX_BUFFER_BYTES, MAX_HEAD_BYTES, MAX_HTTP2_STREAMS, PING_INTERVAL, PING_TIMEOUT};
use super::requests::{Requests, StreamTasks};
use super::socket::Io;
use super::stream;
use super::takeover::Slot;
use crate::events::outbox::Drain;

/// How an HTTP/2 connection begins (RFC 9113 §3.4), as far as needed: no method begins so.
const HTTP2_FIRST: [u8; 3] = *b"PRI";

/// Serves a connection until it ends; an event stream on it goes on in a task of its own, which needs less memory.
pub(super) async fn run(mut stream: TcpStream, peer: IpAddr, permit: Permit, shared: Arc<Shared>) {
    let cut = shared.abort.child_token();
    // Whatever still works for this connection when it has ended, works for nobody.
    let _cut_at_end = cut.clone().drop_guard();
    let opened = Instant::now();
    let Some(first) = first_bytes(&mut stream, &shared).await else { return };
    let stream = Arc::new(stream);
    let connection = Connection::new(Arc::clone(&stream), opened, first, peer, cut.clone(), Arc::clone(&shared));
    let end = if first == HTTP2_FIRST { connection.http2().await } else { connection.http1().await };
    match end {
        End::TakenOver(drain) => {
            let streamed = stream::run(stream, drain, shared.abort.clone(), permit);
            shared.tasks.spawn_on(streamed, &shared.streams);
        }
        // A request may be refused before its body has come: its client still sends and has yet to read the answer.
        End::Done => {
            Box::pin(cut.run_until_cancelled(stream::linger(&stream, BODY_STALL))).await;
        }
        End::Overdue => {}
    }
}

/// How a connection has left hyper.
enum End {
    TakenOver(Drain),
    /// Whoever is still there is to read the last answer.
    Done,
    /// Its client took too long to ask, and is owed no more.
    Overdue,
}

/// Enough to tell the protocols apart; no request is shorter. `None` if they do not come in time.
async fn first_bytes(stream: &mut TcpStream, shared: &Shared) -> Option<[u8; 3]> {
    let mut first = [0; 3];
    let read = timeout(shared.limits.head_timeout, stream.read_exact(&mut first));
    let read = shared.shutdown.run_until_cancelled(read).await?;
    read.ok()?.ok()?;
    Some(first)
}

/// A connection that has yet to be given to hyper.
struct Connection {
    io: TokioIo<Io>,
    requests: Requests,
    lead: Lead,
}

impl Connection {
    fn new(
        stream: Arc<TcpStream>,
        opened: Instant,
        first: [u8; 3],
        peer: IpAddr,
        cut: CancellationToken,
        shared: Arc<Shared>,
    ) -> Self {
        let limits = &shared.limits;
        let activity = Activity::new(opened, first != HTTP2_FIRST, limits.head_timeout, limits.idle_timeout);
        let slot = Slot::new();
        let io = Io::new(stream, Bytes::copy_from_slice(&first), Arc::clone(&activity), Arc::clone(&slot));
        let lead = Lead {
            slot: Arc::clone(&slot),
            watchdog: Watchdog::new(Arc::clone(&activity)),
            cut: cut.clone(),
            shutdown: shared.shutdown.clone(),
        };
        Self { io: TokioIo::new(io), requests: Requests { shared, peer, activity, slot, cut }, lead }
    }

    async fn http1(self) -> End {
        let hyper = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // the watchdog has its own, which tells heads from idleness
            .max_header_size(MAX_HEAD_BYTES.into())
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(self.io, self.requests);
        self.lead.drive(hyper).await
    }

    async fn http2(self) -> End {
        let hyper = http2::Builder::new(StreamTasks { connection_cut: self.lead.cut.clone() })
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES.into())
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(self.io, self.requests);
        self.lead.drive(hyper).await
    }
}

/// What leads hyper through a connection's life.
struct Lead {
    slot: Arc<Slot>,
    watchdog: Watchdog,
    cut: CancellationToken,
    shutdown: CancellationToken,
}

/// What happened on a connection.
enum Step {
    Ended,
    TakenOver(Drain),
    Overdue(Overdue),
    Shutdown,
}

impl Lead {
    /// Runs the connection to its end, or to the point where a stream takes its socket.
    async fn drive<C: GracefulConnection>(mut self, hyper: C) -> End {
        let mut hyper = pin!(hyper);
        let (cut, shutdown) = (self.cut.clone(), self.shutdown.clone());
        let mut closing = false;
        loop {
            let step = tokio::select! {
                () = cut.cancelled() => Step::Ended,
                () = shutdown.cancelled(), if !closing => Step::Shutdown,
                step = poll_fn(|cx| self.poll_step(hyper.as_mut(), cx)) => step,
            };
            match step {
                Step::TakenOver(drain) => return End::TakenOver(drain),
                Step::Shutdown | Step::Overdue(Overdue::Idle) if !closing => {
                    closing = true;
                    hyper.as_mut().graceful_shutdown();
                    self.watchdog.closing();
                }
                Step::Overdue(_) => return End::Overdue,
                Step::Ended | Step::Shutdown => return End::Done,
            }
        }
    }

    fn poll_step<C: GracefulConnection>(&mut self, hyper: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<Step> {
        if hyper.poll(cx).is_ready() {
            return Poll::Ready(Step::Ended);
        }
        if let Some(drain) = self.slot.take() {
            return Poll::Ready(Step::TakenOver(drain));
        }
        self.watchdog.poll(cx).map(Step::Overdue)
    }
}
