//! What a connection may cost: every limit with its unit and its reason.

use std::time::Duration;

use ipnet::IpNet;
use socket2::TcpKeepalive;

use crate::config::Config;

/// Connections that may wait to be accepted: after a fault of the network all streams come back at once. The system
/// may allow fewer (`net.core.somaxconn`).
pub const BACKLOG: i32 = 16_384;

/// From a connection's opening, or from the first byte of a later request, to the end of its head (RFC 9112 §2.1):
/// longer than any link needs for [`MAX_HEAD_BYTES`]. Clients that dribble would hold connections for nothing; they are
/// cut without an answer.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stay open between requests: longer than reverse proxies keep theirs (nginx: 60 s), so
/// that it is they who close, and no request of theirs meets a connection that we are closing.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long an idle HTTP/2 connection may take to close after it has been told to: a few round trips.
pub const GOAWAY_GRACE: Duration = Duration::from_secs(2);

/// The longest wait for the next bytes of a request's body.
pub const BODY_STALL: Duration = Duration::from_secs(30);

/// The least pace of a request's body, bytes per second, once [`BODY_STALL`] has been waited in all: slower than any
/// phone, and it bounds how long 25 MiB can be under way.
pub const BODY_PACE: u64 = 1024;

/// The longest request line and header fields, bytes: what common proxies allow, with room for a token. HTTP/1.1
/// answers 431 to more. (hyper refuses more than 100 fields by itself; any other number costs an allocation per
/// request.)
pub const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// What hyper may hold of a connection in either direction, bytes. Without it, it would keep 400 kB for a reader that
/// is stuck. Larger answers pass through in pieces.
pub const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Requests and event streams at once on one HTTP/2 connection: proxies share one among many users and open another
/// when it is full; RFC 9113 §6.5.2 advises at least 100.
pub const MAX_HTTP2_STREAMS: u32 = 256;

/// How often a quiet HTTP/2 connection is asked whether its peer is there, like the streams' heartbeat.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long the answer may take; with the interval, a dead peer is noticed within 45 s.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long sent bytes may stay unacknowledged, or unsent because the peer does not read, before the system breaks the
/// connection (RFC 5482). With a heartbeat each 15 s a stream's dead peer is noticed within 45 s, also on a busy server.
pub const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(25);

/// What the socket of an event stream may hold unsent, bytes. Linux doubles it for its own bookkeeping and would else
/// let it grow to megabytes.
pub const STREAM_SEND_BUFFER: usize = 32 * 1024;

/// What the client of an event stream may send after its request, bytes. There is nothing to say; a few stray bytes
/// are forgiven.
pub const MAX_STRAY_BYTES: usize = 8 * 1024;

/// How long a connection that has ended waits for its silent peer to close too: closing first would let the system
/// discard the last words if bytes were unread (RFC 9112 §9.6).
pub const LINGER: Duration = Duration::from_secs(1);

/// Files that connections must leave: databases, attachments, the bus, the log.
const RESERVED_FILES: usize = 256;

/// When the system asks a silent peer whether it is there: first after 15 s, then twice more; noticed within 45 s.
pub(super) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(PING_INTERVAL).with_interval(Duration::from_secs(10)).with_retries(3)
}

/// The limits that a deployment or a test sets.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once.
    pub max_connections: usize,
    /// Connections open at once from one address (IPv6: from one /64) that is no trusted proxy.
    pub max_connections_per_address: usize,
    /// Reverse proxies whose `X-Forwarded-For` is believed, and which may open any number of connections.
    pub trusted_proxies: Vec<IpNet>,
    /// See [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// See [`BODY_STALL`].
    pub body_stall: Duration,
    /// From shutdown until whatever is still open is cut.
    pub drain: Duration,
}

impl Limits {
    /// The limits of a deployment, of which `files` may be open at once.
    #[must_use]
    pub fn new(config: &Config, files: u64, drain: Duration) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        Self {
            max_connections: config.max_connections.min(files.saturating_sub(RESERVED_FILES).max(1)),
            max_connections_per_address: config.max_connections_per_address,
            trusted_proxies: config.trusted_proxies.clone(),
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_stall: BODY_STALL,
            drain,
        }
    }
}

/// Raises the number of files this process may open to what the system allows it, and says how many that is.
pub fn raise_file_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(u64::MAX, |(soft, _)| soft)
        }
    }
}
