//! Somebody who uses a server.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, EventStream, Server};

/// Somebody with a token, or without.
#[derive(Clone)]
pub struct Actor {
    user: Option<Uuid>,
    pub token: Option<String>,
    pub url: String,
    streams: String,
    pub http: reqwest::Client,
}

impl Actor {
    pub fn new(url: &str, http: &reqwest::Client, user: Option<Uuid>, token: Option<String>) -> Self {
        Self { user, token, url: url.to_owned(), streams: url.to_owned(), http: http.clone() }
    }

    /// The same person, with event streams from elsewhere.
    pub fn with_streams_at(self, url: &str) -> Self {
        Self { streams: url.to_owned(), ..self }
    }

    /// The user's id.
    pub fn id(&self) -> Uuid {
        self.user.expect("a user")
    }

    /// The same person at another server (or the same one after a restart).
    pub fn at(&self, server: &Server) -> Self {
        self.at_url(&server.url).with_streams_at(&server.streams().url)
    }

    /// The same person at whatever answers there.
    pub fn at_url(&self, url: &str) -> Self {
        Self { url: url.to_owned(), streams: url.to_owned(), ..self.clone() }
    }

    /// The same person with another client.
    pub fn with_client(self, http: &reqwest::Client) -> Self {
        Self { http: http.clone(), ..self }
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let stream = method == Method::GET && path.starts_with("/v1/events");
        let node = if stream { &self.streams } else { &self.url };
        let request = self.http.request(method, format!("{node}{path}"));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn run(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let name = format!("{} {}", request.method(), request.url().path());
        Answer::of(name, self.http.execute(request).await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.run(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.run(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.run(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.run(self.request(Method::PUT, path).json(body)).await
    }

    /// Posts with an idempotency key.
    pub async fn post_keyed(&self, path: &str, key: Uuid, body: &Value) -> Answer {
        self.run(self.request(Method::POST, path).header("Idempotency-Key", key.to_string()).json(body)).await
    }

    /// Posts a body as it is.
    pub async fn post_raw(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.run(self.request(Method::POST, path).header("Content-Type", content_type).body(body)).await
    }

    /// A creator opens a room with a company; returns the room.
    pub async fn open_room(&self, company: Uuid, content: &str) -> Uuid {
        let direction = json!({"type": "user_to_company", "company_id": company});
        let body = json!({"message": {"content": content}, "direction": direction});
        room_id(&self.post("/v1/rooms", &body).await.expect(201))
    }

    /// An employee opens a room with a creator; returns the room.
    pub async fn open_room_with(&self, company: Uuid, creator: Uuid, content: &str) -> Uuid {
        let direction = json!({"type": "company_to_user", "company_id": company, "to_user_id": creator});
        let body = json!({"message": {"content": content}, "direction": direction});
        room_id(&self.post("/v1/rooms", &body).await.expect(201))
    }

    /// Sends a message body to a room.
    pub async fn message(&self, room: Uuid, body: &Value) -> Answer {
        self.post(&format!("/v1/rooms/{room}/messages"), body).await
    }

    /// Sends a text; returns the message's number.
    pub async fn say(&self, room: Uuid, content: &str) -> i64 {
        self.message(room, &json!({"content": content})).await.expect(201)["id"].as_i64().expect("a number")
    }

    /// Changes the contract, `{"type": …}` with guards or without.
    pub async fn change(&self, room: Uuid, change: &Value) -> Answer {
        self.message(room, &json!({"content": "", "contract_change": change})).await
    }

    /// Proposes terms.
    pub async fn propose(&self, room: Uuid, campaign: Uuid, payout: i64) -> Answer {
        self.change(room, &json!({"type": "proposed_by_company", "campaign_id": campaign, "payout": payout})).await
    }

    /// The list of rooms.
    pub async fn rooms(&self) -> Value {
        self.get("/v1/rooms").await.expect(200)
    }

    /// One room with its newest messages.
    pub async fn room(&self, room: Uuid) -> Value {
        self.get(&format!("/v1/rooms/{room}")).await.expect(200)
    }

    /// All messages of a room, oldest first.
    pub async fn history(&self, room: Uuid) -> Vec<Value> {
        let (mut pages, mut before) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("/v1/rooms/{room}?message_qty=200{before}")).await.expect(200);
            let Value::Array(messages) = page["messages"].take() else { panic!("no messages: {page}") };
            if let Some(first) = messages.first() {
                before = format!("&message_before={}", first["id"]);
            }
            pages.push(messages);
            if page["has_more"] != true {
                return pages.into_iter().rev().flatten().collect();
            }
        }
    }

    /// Marks a room as seen.
    pub async fn see(&self, room: Uuid, till: i64) -> Answer {
        self.put(&format!("/v1/rooms/{room}/last-seen"), &json!({"seen_till": till})).await
    }

    /// Types, or stops.
    pub async fn typing(&self, room: Uuid, typing: bool) -> Answer {
        self.put(&format!("/v1/rooms/{room}/typing"), &json!({"typing": typing})).await
    }

    /// Opens the event stream and reads `hello`.
    pub async fn stream(&self) -> EventStream {
        self.stream_at("/v1/events").await
    }

    /// Opens the event stream and waits so long for `hello`.
    pub async fn stream_patiently(&self, patience: std::time::Duration) -> EventStream {
        EventStream::open_within(self, self.request(Method::GET, "/v1/events"), patience).await
    }

    /// Opens the event stream with a request of one's own.
    pub async fn run_stream(&self, request: RequestBuilder) -> EventStream {
        EventStream::open(self, request).await
    }

    /// Opens the event stream after a cursor.
    pub async fn stream_after(&self, cursor: &str) -> EventStream {
        EventStream::open(self, self.request(Method::GET, "/v1/events").header("Last-Event-ID", cursor)).await
    }

    /// Opens the event stream with parameters.
    pub async fn stream_at(&self, path: &str) -> EventStream {
        EventStream::open(self, self.request(Method::GET, path)).await
    }
}

fn room_id(body: &Value) -> Uuid {
    body["room_id"].as_str().expect("a room").parse().expect("a UUID")
}
