//! An open event stream, read by a library that is not ours.

use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource;
use flate2::write::GzDecoder;
use futures_util::TryStreamExt;
use serde_json::Value;
use tokio_stream::{Stream, StreamExt};

use super::Actor;

/// How long a test waits for an event before it gives up; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of a cursor, `<epoch>-<position>`, in the one order.
#[track_caller]
pub fn position(cursor: &str) -> i64 {
    let (_, position) = cursor.rsplit_once('-').expect("a cursor");
    position.parse().expect("a position")
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    /// "" for events without an id.
    pub id: String,
    pub data: Value,
    pub retry: Option<Duration>,
}

/// An open stream.
pub struct EventStream {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    /// Its first event.
    pub hello: Event,
    /// The last id that was read.
    pub last_id: String,
    /// Whether it came compressed.
    pub zipped: bool,
}

impl EventStream {
    pub async fn open(actor: &Actor, request: reqwest::RequestBuilder) -> Self {
        Self::open_within(actor, request, PATIENCE).await
    }

    /// Opens a stream and waits so long for its first event that is no heartbeat.
    pub async fn open_within(actor: &Actor, request: reqwest::RequestBuilder, patience: Duration) -> Self {
        let response = actor.http.execute(request.build().expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut last = String::new();
        let zipped = response.headers().get("content-encoding").map(|it| assert_eq!(it, "gzip")).is_some();
        let mut unzip = Unzip(GzDecoder::new(Vec::new()));
        let bytes = response.bytes_stream().map_ok(move |piece| if zipped { unzip.piece(&piece) } else { piece });
        let events = bytes.eventsource().map_while(Result::ok).map(move |event| {
            // The library repeats the last id on events without one; the wire does not.
            let id = if event.id == last { String::new() } else { event.id.clone() };
            last.clone_from(&event.id);
            let data = serde_json::from_str(&event.data).expect("JSON");
            Event { name: event.event, id, data, retry: event.retry }
        });
        let mut stream = Self { events: Box::pin(events), hello: Event::none(), last_id: String::new(), zipped };
        loop {
            stream.hello = stream.next_within(patience).await.expect("the stream begins");
            if stream.hello.name != "heartbeat" {
                return stream;
            }
        }
    }

    /// The next event, whatever it is.
    pub async fn next(&mut self) -> Event {
        let event = self.maybe_next().await.expect("the stream goes on");
        assert_eq!(event.data["type"], event.name.as_str(), "the type is the event's name");
        event
    }

    /// The next event, or none if the stream has ended.
    pub async fn maybe_next(&mut self) -> Option<Event> {
        self.next_within(PATIENCE).await
    }

    /// The next event, waited for so long; none if the stream has ended.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Event> {
        let event = tokio::time::timeout(patience, self.events.next()).await.expect("an event in time")?;
        if !event.id.is_empty() {
            self.last_id.clone_from(&event.id);
        }
        Some(event)
    }

    /// The data of the next event of this name; others are passed over.
    pub async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let event = self.next().await;
            if event.name == name {
                return event.data;
            }
        }
    }

    /// The next event that is no heartbeat, presence or activity: what conversations are about.
    pub async fn next_news(&mut self) -> Event {
        loop {
            let event = self.next().await;
            if !matches!(event.name.as_str(), "heartbeat" | "presence" | "activity_change") {
                return event;
            }
        }
    }

    /// Reads to the end of the stream and returns what `goodbye` said.
    pub async fn goodbye(&mut self) -> String {
        let mut reason = None;
        while let Some(event) = self.maybe_next().await {
            if event.name == "goodbye" {
                reason = event.data["reason"].as_str().map(str::to_owned);
            }
        }
        reason.expect("a goodbye before the end")
    }
}

/// Unpacks gzip piece by piece, holding nothing back that a reader could have by now.
struct Unzip(GzDecoder<Vec<u8>>);

impl Unzip {
    fn piece(&mut self, piece: &[u8]) -> Bytes {
        self.0.write_all(piece).and_then(|()| self.0.flush()).expect("gzip");
        std::mem::take(self.0.get_mut()).into()
    }
}

impl Event {
    fn none() -> Self {
        Self { name: String::new(), id: String::new(), data: Value::Null, retry: None }
    }
}
