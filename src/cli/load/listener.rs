//! One event stream, light enough for tens of thousands: a connection, a small buffer, and what it has brought.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{Event, Eventsource};
use http_body_util::{BodyDataStream, Empty};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio_stream::StreamExt;

use super::plan::Label;
use super::tally::Heard;
use super::{Failed, Run};

/// How long to wait before coming back, until the server says.
const RETRY: Duration = Duration::from_secs(2);
/// A stream that is silent for this long is dead: three heartbeats.
const SILENCE: Duration = Duration::from_secs(45);
/// How long connecting and the answer's head may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What hyper may hold of a stream, bytes: more than the largest event.
const BUFFER: usize = 64 * 1024;
/// Streams from one address: far fewer than it has ephemeral ports (28,232), which are searched one after the other when
/// a stream comes back, and than the server allows one address by default.
const PER_ADDRESS: usize = 5_000;

/// A stream of one person, and what it brought.
pub struct Listener {
    pub index: usize,
    pub room: usize,
    pub authorization: HeaderValue,
    pub heard: Mutex<Heard>,
    pub is_open: AtomicBool,
    /// Why it was last not open.
    pub trouble: Mutex<Option<String>>,
}

/// What happened to all streams.
#[derive(Default)]
pub struct Breaks {
    pub reconnects: AtomicU64,
    pub resyncs: AtomicU64,
}

#[derive(Deserialize)]
struct NewMessage<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: u64,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// The place of a stream within the log, kept over connections.
struct Place {
    last: Option<String>,
    retry: Duration,
}

/// Follows one stream, coming back whenever it breaks, until it is dropped.
pub async fn follow(run: Arc<Run>, listener: Arc<Listener>) {
    let mut place = Place { last: None, retry: RETRY };
    loop {
        if let Err(error) = connect(&run, &listener, &mut place).await {
            *listener.trouble.lock() = Some(error.to_string());
        }
        if listener.is_open.swap(false, Ordering::Relaxed) {
            run.breaks.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(place.retry).await;
    }
}

async fn connect(run: &Run, listener: &Listener, place: &mut Place) -> Result<(), Failed> {
    let stream = tokio::time::timeout(PATIENCE, dial(run.address, listener.index)).await??;
    let mut client = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = client.max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request =
        hyper::Request::get("/v1/events").header(HOST, &run.host).header(AUTHORIZATION, &listener.authorization);
    if let Some(last) = &place.last {
        request = request.header("Last-Event-ID", last);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await??;
    if !response.status().is_success() {
        return Err(format!("a stream was answered {}", response.status()).into());
    }
    let mut events = BodyDataStream::new(response.into_body()).eventsource();
    while let Some(event) = tokio::time::timeout(SILENCE, events.next()).await? {
        take(run, listener, place, event?);
    }
    Ok(())
}

/// Connects, from an address of its own for every [`PER_ADDRESS`] streams: all of 127/8 is this machine (RFC 6890).
async fn dial(to: SocketAddr, index: usize) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let block = u8::try_from(index / PER_ADDRESS).unwrap_or(u8::MAX);
    if block > 0 && matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, block.saturating_add(1)), 0)))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn take(run: &Run, listener: &Listener, place: &mut Place, event: Event) {
    place.retry = event.retry.unwrap_or(place.retry);
    match event.event.as_str() {
        "new_message" => hear(run, listener, &event.data),
        "hello" => listener.is_open.store(true, Ordering::Relaxed),
        "resync" => {
            run.breaks.resyncs.fetch_add(1, Ordering::Relaxed);
        }
        "goodbye" => *listener.trouble.lock() = Some(event.data),
        _ => {}
    }
    if !event.id.is_empty() {
        place.last = Some(event.id);
    }
}

fn hear(run: &Run, listener: &Listener, data: &str) {
    let Ok(NewMessage { message }) = serde_json::from_str(data) else { return };
    let label = Label::parse(&message.content).filter(|label| label.run == run.id);
    let is_new = listener.heard.lock().hear(message.id, label);
    if let Some(label) = label.filter(|label| is_new && run.is_measured(label.due)) {
        run.latencies.delivery(listener.index, run.micros().saturating_sub(label.due));
    }
    run.heard.fetch_add(u64::from(is_new), Ordering::Relaxed);
}
