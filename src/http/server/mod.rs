//! Connections: who may open one, how long it may stay, and how an event stream leaves through it.
//!
//! The accept loop is our own because a server that is open to strangers needs what `axum::serve` does not have: time
//! limits for heads, bodies and idleness, caps on connections, and an end to event streams when the server stops.
//!
//! ```text
//! serve ─▶ gate: caps ─▶ connection: HTTP/1.1 or HTTP/2 ─▶ requests: router
//!                              │ once the head of an event stream has left (HTTP/1.1)
//!                              ▼
//!                        stream: the socket without hyper
//! ```

mod activity;
mod body;
mod connection;
mod gate;
pub mod limits;
mod listener;
mod pace;
mod peer;
mod requests;
mod socket;
mod stream;
mod takeover;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::gate::Gate;
pub use self::limits::{Limits, raise_file_limit};
pub use self::listener::listen;
pub use self::peer::{ClientAddr, Proxies};
pub use self::transport::Transport;

/// How long accepting rests when the system has no file or memory for another connection: trying at once again would
/// burn the processor that is to close the others.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What all connections share.
struct Shared {
    router: Router,
    limits: Limits,
    gate: Arc<Gate>,
    /// Where event streams are served, once they have left hyper.
    streams: Handle,
    /// Tasks of connections and streams; the server has ended when they have.
    tasks: TaskTracker,
    /// No more requests on open connections.
    shutdown: CancellationToken,
    /// Every connection and stream ends now.
    abort: CancellationToken,
}

/// Serves the router on a listener that [`listen`] made until `shutdown`; returns when all connections have ended.
///
/// From `shutdown` on the port refuses, idle connections are closed, and requests that run are answered. Event streams
/// end when their outboxes are closed. Whatever is left after [`Limits::drain`] is cut. Dropping the future cuts all.
///
/// Event streams that have left hyper are served on the threads of `streams`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    streams: Handle,
    shutdown: CancellationToken,
) {
    let drain = limits.drain;
    let gate = Arc::new(Gate::new(&limits));
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    let shared = Arc::new(Shared { router, limits, gate, streams, tasks, shutdown, abort });
    let _cut_when_dropped = shared.abort.clone().drop_guard();

    accept_until_shutdown(listener, &shared).await;

    shared.tasks.close();
    if tokio::time::timeout(drain, shared.tasks.wait()).await.is_err() {
        tracing::warn!(connections = shared.gate.open(), "cut what did not end in time");
        shared.abort.cancel();
        shared.tasks.wait().await;
    }
}

/// Takes the listener, so that the port refuses once this returns.
async fn accept_until_shutdown(listener: TcpListener, shared: &Arc<Shared>) {
    while let Some((stream, peer)) = shared.shutdown.run_until_cancelled(accept(&listener)).await {
        let peer = peer.ip().to_canonical();
        // Over a cap the connection is dropped without an answer: to an EventSource a 503 is final, while after a
        // connection that broke it comes back (WHATWG HTML §9.2.3).
        if let Some(permit) = shared.gate.admit(peer) {
            shared.tasks.spawn(connection::run(stream, peer, permit, Arc::clone(shared)));
        }
    }
}

/// The next connection, past whatever goes wrong on the way.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut rested = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if broke_before_accepted(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut rested, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn broke_before_accepted(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
