//! Every deployment answers alike: one conversation, and what each kind of deployment said, byte for byte but for ids
//! and times (promise 11). What is refused is compared in `errors.rs`.
//!
//! To see it red, have one database order or format anything differently: the `ORDER BY` of a list, say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use haggle::domain::UserId;
use haggle::wire::ActivityState;
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::harness::{Actor, Database, EventStream, Server, eventually, id};

/// What was said, with names for what differs from one run to the next.
#[derive(Default)]
struct Transcript {
    lines: Vec<String>,
    /// Ids in the order in which they were first seen.
    ids: Vec<Uuid>,
}

impl Transcript {
    async fn note(&mut self, who: &Actor, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = who.request(method.clone(), path);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = who.run(request).await;
        let mut headers: Vec<String> = answer
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "content-length" | "date" | "x-request-id"))
            .map(|(name, value)| format!("{name}: {}", self.text(&String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        headers.sort();
        let bytes = match serde_json::from_slice::<Value>(&answer.bytes) {
            Ok(said) => {
                // The order of fields counts: the text is compared, not the value.
                let text = String::from_utf8(answer.bytes.clone()).expect("UTF-8");
                assert_eq!(said, answer.body);
                self.text(&text)
            }
            Err(_) => STANDARD.encode(&answer.bytes),
        };
        let asked = self.text(path);
        self.lines.push(format!("{method} {asked} {} {} {bytes}", answer.status, headers.join("; ")));
        answer.body
    }

    /// The events up to the one with this content.
    async fn listen(&mut self, stream: &mut EventStream, until: &str) {
        loop {
            let event = stream.next().await;
            // When a page was opened, and when somebody types, is not the database's.
            if matches!(event.name.as_str(), "heartbeat" | "presence" | "activity_change" | "typing_change") {
                continue;
            }
            let line = format!("{} {} {}", event.name, event.id, event.data);
            self.lines.push(replaced(&mut self.ids, &line));
            if event.data["message"]["content"] == until {
                return;
            }
        }
    }

    fn text(&mut self, text: &str) -> String {
        replaced(&mut self.ids, text)
    }
}

/// The text with ids, times, cursors and signatures replaced. Words are what quotes, slashes and the like set apart.
fn replaced(ids: &mut Vec<Uuid>, text: &str) -> String {
    let mut said = String::new();
    for piece in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "-.:_+".contains(c))) {
        let word = piece.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "-.:_+".contains(c)));
        let end = &piece[word.len()..];
        let cursor =
            word.split_once('-').filter(|(epoch, _)| epoch.len() == 16 && u64::from_str_radix(epoch, 16).is_ok());
        let name = if let Ok(id) = word.parse::<Uuid>() {
            let at = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            format!("#{at}")
        } else if OffsetDateTime::parse(word, &Rfc3339).is_ok() {
            // The zeros that end a fraction of a second are left out, so the length differs.
            "T".to_owned()
        } else if let Some((_, position)) = cursor {
            format!("C-{position}")
        } else if said.ends_with("sig=") || said.ends_with("exp=") {
            "S".to_owned()
        } else {
            word.to_owned()
        };
        said.push_str(&name);
        said.push_str(end);
    }
    said
}

/// One conversation with everything in it.
async fn transcript(database: &Database) -> Vec<String> {
    let server = Server::start(database).await;
    let cast = server.cast().await;
    let (ada, nora, service) = (&cast.ada, &cast.nora, &cast.service);
    let mut said = Transcript::default();
    let mut stream = ada.stream().await;
    let beginning = stream.last_id.clone();
    let online = async || server.app.hub.status(UserId(ada.id())) == ActivityState::Online;
    eventually("every node knows that Ada is there", online).await;
    let get = Method::GET;

    said.note(service, Method::PUT, &format!("/v1/users/{}", id(0x77)), Some(user("Ünïcode 🎉"))).await;
    said.note(service, get.clone(), &format!("/v1/users/{}", id(0x77)), None).await;
    said.note(service, get.clone(), &format!("/v1/companies/{}", cast.north), None).await;
    said.note(service, get.clone(), &format!("/v1/campaigns/{}", cast.spring), None).await;
    said.note(ada, get.clone(), "/v1/config", None).await;

    let direction = json!({"type": "user_to_company", "company_id": cast.north});
    let opening =
        json!({"message": {"content": "Hello, “Northwind” \u{1F44B}\n\tand \\ more"}, "direction": direction});
    let created = said.note(ada, Method::POST, "/v1/rooms", Some(opening)).await;
    let room = created["room_id"].as_str().expect("a room").to_owned();
    let messages = format!("/v1/rooms/{room}/messages");
    let file = json!({"name": "brief 1.txt", "content_type": "text/plain", "content": STANDARD.encode("Two reels")});
    for (who, body) in [
        (nora, json!({"content": "Our brief", "attachment": file})),
        (
            nora,
            json!({"content": "", "contract_change":
            {"type": "proposed_by_company", "campaign_id": cast.spring, "payout": 140_000}}),
        ),
        (
            ada,
            json!({"content": "Gladly", "contract_change": {"type": "accepted_by_creator",
            "expected_version": 1, "expected_payout": 140_000}}),
        ),
        (ada, json!({"content": "Done", "contract_change": {"type": "finished_by_creator"}})),
        (nora, json!({"content": "", "contract_change": {"type": "approved_by_company"}})),
        (nora, json!({"content": "And one more", "change_selected_campaign_to": cast.autumn})),
    ] {
        said.note(who, Method::POST, &messages, Some(body)).await;
    }
    said.note(ada, Method::PUT, &format!("/v1/rooms/{room}/last-seen"), Some(json!({"seen_till": 5}))).await;
    nora.message(room.parse().expect("an id"), &json!({"content": "the end"})).await.expect(201);
    said.listen(&mut stream, "the end").await;

    let other = cast.luca.open_room_with(cast.lumen, ada.id(), "Hi from Lumen").await;
    for who in [ada, nora, &cast.luca, &cast.kofi] {
        said.note(who, get.clone(), "/v1/rooms", None).await;
        said.note(who, get.clone(), "/v1/rooms?limit=1", None).await;
        said.note(who, get.clone(), &format!("/v1/rooms/{room}"), None).await;
        said.note(who, get.clone(), &format!("/v1/rooms/{room}?message_qty=2&message_before=4"), None).await;
        said.note(who, get.clone(), &format!("/v1/rooms/{other}"), None).await;
        said.note(who, get.clone(), &format!("/v1/rooms/{room}/contracts"), None).await;
    }
    let seen = ada.get(&format!("/v1/rooms/{room}?message_qty=50")).await.expect(200);
    let brief = seen["messages"].as_array().expect("messages").iter().find(|message| message["id"] == 2);
    let attachment = &brief.expect("the brief")["attachment"];
    let file = attachment["id"].as_str().expect("an id");
    said.note(ada, get.clone(), &format!("/v1/attachments/{file}"), None).await;
    said.note(&server.nobody(), get, attachment["link"].as_str().expect("a link"), None).await;

    let mut again = ada.stream_after(&beginning).await;
    said.listen(&mut again, "the end").await;
    said.lines
}

fn user(name: &str) -> Value {
    json!({"given_name": name, "family_name": "O'Neil", "logo_url": "https://example.com/a.png"})
}

fn assert_alike(one: &[String], other: &[String]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_conversation_looks_the_same_everywhere() {
    let sqlite = transcript(&Database::Sqlite).await;
    let succeeded = sqlite.iter().filter(|line| line.contains(" 200 ") || line.contains(" 201 ")).count();
    assert!(succeeded > 25, "{}", sqlite.join("\n"));
    assert!(!sqlite.iter().any(|line| line.contains(" 500 ") || line.contains(" 422 ")), "{}", sqlite.join("\n"));
    if let Some(database) = Database::postgres().await {
        assert_alike(&sqlite, &transcript(&database).await);
    }
    if let Some(database) = Database::two_nodes().await {
        assert_alike(&sqlite, &transcript(&database).await);
    }
}
