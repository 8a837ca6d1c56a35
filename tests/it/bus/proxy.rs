//! A wire to a server that can be cut: connections stay open and nothing passes, as when a cable is pulled.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// What happens to bytes on the wire.
#[derive(Clone, Copy, PartialEq)]
pub enum Wire {
    Whole,
    /// Nothing passes.
    Cut,
    /// Everything is late by so much.
    Slow(Duration),
}

pub struct Proxy {
    pub url: Url,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    /// A wire to the server on this port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (wire, state) = watch::channel(Wire::Whole);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, port, state.clone()));
            }
        });
        Self { url: format!("nats://{address}").parse().expect("a URL"), wire }
    }

    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn join(client: TcpStream, port: u16, mut wire: watch::Receiver<Wire>) {
    if wire.wait_for(|wire| *wire != Wire::Cut).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(pass(from_client, to_server, wire.clone()), pass(from_server, to_client, wire));
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(state) = wire.wait_for(|wire| *wire != Wire::Cut).await.map(|wire| *wire) else { return };
        if let Wire::Slow(late) = state {
            let _ = tokio::time::timeout(late, wire.changed()).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
