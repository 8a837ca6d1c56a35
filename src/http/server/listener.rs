//! The socket through which connections come.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::limits::{self, BACKLOG};

/// Listens on an address; to be called within the runtime that is to serve.
///
/// What every connection inherits is set before the first can come: events leave at once, and a peer that silently went
/// away is noticed, whether or not bytes are under way to it.
///
/// # Errors
/// If the address is taken, or not this machine's, or its port needs privileges.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A restart need not wait for the connections of the server before.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&limits::keepalive())?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
