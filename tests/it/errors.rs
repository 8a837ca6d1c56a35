//! What is wrong with a request is told in one form everywhere, alike on both databases, and never as a fault of ours
//! (promises 10 and 11).

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use haggle::config::DatabaseUrl;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Database, Server, id, tell};

on_every_database!(
    every_refusal_is_a_problem,
    pointers_lead_to_what_is_wrong,
    unknown_fields_are_refused_at_every_level,
    request_ids_agree_and_never_repeat,
);

async fn every_refusal_is_a_problem(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let Cast { ada, .. } = &cast;
    let room = ada.open_room(cast.north, "Hi").await;
    let messages = format!("/v1/rooms/{room}/messages");
    let stranger = server.actor(id(0xff));
    for (status, code, answer) in [
        (404, "not_found", ada.get("/nowhere").await),
        (404, "not_found", ada.get("/v1/rooms/").await),
        (404, "not_found", ada.post("/v2/rooms", &json!({})).await),
        (405, "method_not_allowed", ada.delete("/v1/rooms").await),
        (405, "method_not_allowed", ada.post("/livez", &json!({})).await),
        (413, "too_large", ada.message(room, &oversized()).await),
        (415, "unsupported_media_type", ada.post_raw(&messages, "text/plain", "?").await),
        (415, "unsupported_media_type", ada.post_raw("/v1/rooms", "application/x-www-form-urlencoded", "a=b").await),
        (400, "malformed_request", ada.post_raw(&messages, "application/json; charset=utf-8", "").await),
        (400, "malformed_request", ada.get("/v1/rooms/nope").await),
        (400, "malformed_request", ada.post_raw(&messages, "multipart/form-data", "?").await),
        (401, "unauthenticated", server.nobody().get("/v1/rooms").await),
        (403, "unknown_user", stranger.get("/v1/rooms").await),
        (403, "service_only", ada.get(&format!("/v1/users/{room}")).await),
        (403, "user_only", cast.service.get("/v1/rooms").await),
        (404, "not_found", cast.luca.get(&format!("/v1/rooms/{room}")).await),
        (422, "no_selected_campaign", ada.change(room, &json!({"type": "accepted_by_creator"})).await),
        (422, "invalid_value", ada.message(room, &json!({"content": ""})).await),
        (422, "invalid_value", ada.get("/v1/rooms?limit=0").await),
        (422, "invalid_value", ada.get("/v1/rooms?lmit=1").await),
        (403, "link_expired", server.nobody().get(&format!("/v1/attachments/{room}/a?u=s&exp=1&sig=x")).await),
    ] {
        answer.refused(status, code);
    }
    let allowed = ada.delete("/v1/rooms").await;
    assert_eq!(allowed.header("allow"), "GET,HEAD,POST");
    let head = ada.run(ada.request(Method::HEAD, "/nowhere")).await;
    assert_eq!((head.status, head.header("content-type"), head.bytes.len()), (404, "application/problem+json", 0));
}

/// A message whose file is one byte too large, and which is read to its end before that is known.
pub fn oversized() -> Value {
    let content = "AAAA".repeat((8 << 20) / 3 + 1);
    json!({"content": "", "attachment": {"name": "a", "content": content, "content_type": ""}})
}

async fn pointers_lead_to_what_is_wrong(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let Cast { ada, nora, service, .. } = &cast;
    let room = ada.open_room(cast.north, "Hi").await;
    let messages = format!("/v1/rooms/{room}/messages");
    let direction = json!({"type": "user_to_company", "company_id": cast.north});
    let unknown = id(0xff);
    let user =
        |name: &str| json!({"type": "put_user", "id": unknown, "given_name": name, "family_name": "x", "logo_url": ""});
    for (who, path, body, pointer) in [
        (ada, messages.as_str(), json!({}), "/content"),
        (ada, &messages, json!({"content": 1}), "/content"),
        (ada, &messages, json!({"content": "\0"}), "/content"),
        (ada, &messages, json!({"content": "x".repeat(8_001)}), "/content"),
        (ada, &messages, json!({"content": "", "attachment": {"name": "a"}}), "/attachment/content"),
        (ada, &messages, json!({"content": "a", "attachment_id": "b"}), "/attachment_id"),
        (ada, &messages, json!({"content": "a", "attachment_id": unknown}), "/attachment_id"),
        (
            nora,
            &messages,
            json!({"content": "a", "change_selected_campaign_to": unknown}),
            "/change_selected_campaign_to",
        ),
        (ada, "/v1/rooms", json!({"message": {"content": ""}, "direction": direction}), "/message/content"),
        (ada, "/v1/rooms", json!({"message": {"content": "a"}, "direction": {}}), "/direction/type"),
        (
            ada,
            "/v1/rooms",
            json!({"message": {"content": "a"}, "direction": {"type": "user_to_company", "company_id": unknown}}),
            "/direction/company_id",
        ),
        (service, "/v1/directory/batch", json!({"operations": [user("a"), user("")]}), "/operations/1/given_name"),
        (service, "/v1/directory/batch", json!({"operations": {}}), "/operations"),
    ] {
        let answer = who.post(path, &body).await;
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(code == "invalid_value" || code.starts_with("unknown_"), "{body}: {code}");
        let problem = answer.refused(422, &code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body} {problem}");
        assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    let seen = ada.put(&format!("/v1/rooms/{room}/last-seen"), &json!({"seen_till": -1})).await;
    assert_eq!(seen.refused(422, "invalid_value")["errors"][0]["pointer"], "/seen_till");
    let page = ada.get(&format!("/v1/rooms/{room}?message_qty=201")).await;
    assert_eq!(page.refused(422, "invalid_value")["errors"][0]["pointer"], "/message_qty");
}

/// A misspelled guard must never be swallowed.
async fn unknown_fields_are_refused_at_every_level(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let Cast { ada, nora, service, .. } = &cast;
    let room = ada.open_room(cast.north, "Hi").await;
    let messages = format!("/v1/rooms/{room}/messages");
    let file = json!({"name": "a", "content": "", "content_type": ""});
    let room_body = json!({"message": {"content": "a", "attachment": file},
        "direction": {"type": "user_to_company", "company_id": cast.north}});
    let proposal = json!({"type": "proposed_by_company", "campaign_id": cast.spring, "payout": 1});
    let user = json!({"given_name": "a", "family_name": "b", "logo_url": ""});
    let company = json!({"type": "put_company", "id": cast.north, "name": "N", "logo_url": ""});
    let bodies = [
        (ada, Method::POST, messages.clone(), json!({"content": "a"}), vec![""]),
        (
            ada,
            Method::POST,
            "/v1/rooms".to_owned(),
            room_body,
            vec!["", "/message", "/message/attachment", "/direction"],
        ),
        (
            nora,
            Method::POST,
            messages.clone(),
            json!({"content": "", "contract_change": proposal}),
            vec!["/contract_change"],
        ),
        (ada, Method::PUT, format!("/v1/rooms/{room}/typing"), json!({"typing": true}), vec![""]),
        (ada, Method::PUT, format!("/v1/rooms/{room}/last-seen"), json!({"seen_till": 1}), vec![""]),
        (ada, Method::PUT, format!("/v1/events/{room}/viewing"), json!({"viewing": true}), vec![""]),
        (service, Method::PUT, format!("/v1/users/{}", id(9)), user, vec![""]),
        (
            service,
            Method::POST,
            "/v1/directory/batch".to_owned(),
            json!({"operations": [company]}),
            vec!["", "/operations/0"],
        ),
    ];
    for (who, method, path, good, places) in bodies {
        for place in places {
            let mut body = good.clone();
            body.pointer_mut(place).expect("a place")["expected_versoin"] = json!(1);
            let answer = who.run(who.request(method.clone(), &path).json(&body)).await;
            let pointer = &answer.refused(422, "invalid_value")["errors"][0]["pointer"];
            assert_eq!(*pointer, format!("{place}/expected_versoin"), "{body}");
        }
        let answer = who.run(who.request(method, &path).json(&good)).await;
        assert!(answer.status < 300, "{path} {good}: {}", answer.body);
    }
    for kind in ["accepted_by_creator", "withdrawn_by_company", "finished_by_creator", "approved_by_company"] {
        ada.change(room, &json!({"type": kind, "expected_versoin": 1})).await.refused(422, "invalid_value");
    }
}

async fn request_ids_agree_and_never_repeat(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut seen = std::collections::HashSet::new();
    for path in ["/nowhere", "/v1/rooms/x", "/v1/rooms?x=1", "/v1/users/x", "/v1/rooms/x"] {
        let answer = cast.ada.get(path).await;
        let header = answer.header("x-request-id").to_owned();
        assert_eq!(answer.body["request_id"], header.as_str());
        assert!(seen.insert(header));
    }
    let request = cast.ada.request(Method::GET, "/nowhere").header("X-Request-Id", "mine");
    assert_ne!(cast.ada.run(request).await.header("x-request-id"), "mine", "nobody else writes our log");
}

/// Bodies that no honest client sends; `@` stands for a good body.
const ODD_BODIES: [&[u8]; 27] = [
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b"-0",
    b"1e999",
    b"\"text\"",
    b"[]",
    b"[{}]",
    b"{}",
    b"{",
    b"{\"content\"}",
    b"{\"content\":\"a\"",
    b"{\"content\":\"a\"}}",
    b"{\"content\":\"a\"} {}",
    b"{\"content\":\"a\",\"content\":\"b\"}",
    b"{\"content\":\"a\",}",
    b"{'content':'a'}",
    b"{\"content\":\"\\ud800\"}",
    b"{\"content\":\"\\udc00\\ud800\"}",
    b"{\"content\":\"\\u0000\"}",
    b"{\"content\":\"\xff\xfe\"}",
    b"{\"\\u0000\":1}",
    b"\xef\xbb\xbf{\"content\":\"a\"}",
    b"{\"content\":\"\x01\"}",
    b"{\"content\":{\"$ne\":null}}",
];

/// Values in place of one field.
fn odd_values() -> Vec<Value> {
    let numbers = ["0", "-1", "1.5", "1e3", "1e308", "9007199254740991", "9007199254740992", "9223372036854775808"];
    let huge = ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"];
    let mut values: Vec<Value> =
        numbers.iter().chain(&huge).filter_map(|text| serde_json::from_str(text).ok()).collect();
    values.extend([json!(null), json!(true), json!([]), json!({}), json!([1, "a"]), json!("1"), json!({"type": "x"})]);
    values
}

/// Texts that have broken servers, databases, logs and pages.
const NASTY: [&str; 30] = [
    "",
    " ",
    "\t\r\n",
    "a\0b",
    "\u{1}\u{7f}\u{9b}",
    "\u{feff}bom",
    "\u{fffe}\u{ffff}",
    "\u{10ffff}",
    "\u{202e}gpj.exe",
    "e\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦",
    "İıſK",
    "１２３",
    "'; DROP TABLE messages; --",
    "\" OR \"\"=\"",
    "$1 ? :name %s %n {} {0}",
    "\\x00\\",
    "<script>alert(1)</script>",
    "<!--]]>--><img src=x onerror=alert(1)>",
    "../../etc/passwd",
    "C:\\con\\nul",
    "https://example.com/\r\nSet-Cookie: a=b",
    "javascript:alert(1)",
    "http://[::1%25eth0]:99999/",
    "data: x\n\nevent: goodbye\n\n",
    "id: 1\rretry: 0",
    "${jndi:ldap://x}",
    "=cmd|' /C calc'!A0",
    "null",
    "%00%ff%2e%2e%2f",
];

/// What an answer says, apart from what differs from one server to the next.
fn told(answer: &Answer) -> String {
    let (code, errors) = (&answer.body["code"], &answer.body["errors"]);
    assert!(answer.status < 500, "{}: {}", answer.request, answer.body);
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.request);
    }
    format!("{} {code} {errors}", answer.status)
}

/// Sends everything odd everywhere and returns what was said to it.
async fn transcript(database: &Database) -> Vec<String> {
    let server = Server::start(database).await;
    let cast = server.cast().await;
    // The room's id is the server's, so it is kept out of the transcript.
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let mut told = odd_bodies(&cast, room).await;
    told.extend(odd_fields(&cast, room).await);
    told.extend(nasty_texts(&cast, room).await);
    told.extend(odd_addresses(&server, &cast, room).await);
    assert_eq!(cast.ada.rooms().await["rooms"].as_array().map(Vec::len), Some(1), "all is well after that");
    told
}

async fn odd_bodies(cast: &Cast, room: Uuid) -> Vec<String> {
    let mut said = Vec::new();
    let deep = ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[".repeat(200) + &"]".repeat(200)];
    let bodies: Vec<Vec<u8>> =
        ODD_BODIES.iter().map(|body| body.to_vec()).chain(deep.map(String::into_bytes)).collect();
    for (who, method, path) in [
        (&cast.ada, Method::POST, "/v1/rooms".to_owned()),
        (&cast.ada, Method::POST, format!("/v1/rooms/{room}/messages")),
        (&cast.ada, Method::PUT, format!("/v1/rooms/{room}/typing")),
        (&cast.ada, Method::PUT, format!("/v1/rooms/{room}/last-seen")),
        (&cast.ada, Method::PUT, format!("/v1/events/{room}/viewing")),
        (&cast.service, Method::PUT, format!("/v1/users/{}", id(1))),
        (&cast.service, Method::POST, "/v1/directory/batch".to_owned()),
    ] {
        for body in &bodies {
            for media in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
                let request = who.request(method.clone(), &path).header("Content-Type", media).body(body.clone());
                said.push(told(&who.run(request).await));
            }
        }
    }
    said
}

async fn odd_fields(cast: &Cast, room: Uuid) -> Vec<String> {
    let mut said = Vec::new();
    let accept = json!({"type": "accepted_by_creator", "expected_version": 1, "expected_payout": 1});
    let propose = json!({"type": "proposed_by_company", "campaign_id": cast.spring, "payout": 1});
    let file = json!({"name": "a", "content": "", "content_type": ""});
    let whole = json!({"content": "a", "contract_change": accept, "attachment": file, "from_user_id": cast.ada.id()});
    let opening =
        json!({"message": {"content": "a"}, "direction": {"type": "user_to_company", "company_id": cast.north}});
    let user = json!({"type": "put_user", "id": id(2), "given_name": "a", "family_name": "b", "logo_url": "", "company_id": cast.north});
    let campaign = json!({"type": "put_campaign", "id": id(3), "company_id": cast.north, "name": "a", "open": true});
    let messages = format!("/v1/rooms/{room}/messages");
    for (who, path, body) in [
        (&cast.ada, messages.as_str(), whole),
        (&cast.nora, &messages, json!({"content": "", "contract_change": propose})),
        (&cast.ada, "/v1/rooms", opening),
        (&cast.service, "/v1/directory/batch", json!({"operations": [user, campaign]})),
    ] {
        for pointer in leaves(&body) {
            for value in odd_values() {
                let mut odd = body.clone();
                *odd.pointer_mut(&pointer).expect("a leaf") = value;
                said.push(told(&who.post(path, &odd).await));
            }
        }
    }
    for value in odd_values() {
        let body = json!({"seen_till": value});
        said.push(told(&cast.ada.put(&format!("/v1/rooms/{room}/last-seen"), &body).await));
    }
    said
}

/// Where everything in a body is, by JSON Pointer.
fn leaves(body: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match body {
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("/{name}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (format!("/{i}"), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(at, value): (String, &Value)| {
        let deeper: Vec<String> = leaves(value).into_iter().map(|rest| format!("{at}{rest}")).collect();
        std::iter::once(at).chain(deeper)
    };
    children.into_iter().flat_map(below).collect()
}

async fn nasty_texts(cast: &Cast, room: Uuid) -> Vec<String> {
    let mut said = Vec::new();
    let (ada, service) = (&cast.ada, &cast.service);
    for text in NASTY {
        let sent = ada.message(room, &json!({"content": text})).await;
        if sent.status == 201 {
            let messages = &ada.room(room).await["messages"];
            assert_eq!(messages.as_array().and_then(|all| all.last()).expect("a message")["content"], text);
        }
        said.push(told(&sent));
        for (name, media) in [(text, "text/plain"), ("a", text)] {
            let file = json!({"name": name, "content": "aGk=", "content_type": media});
            let sent = ada.message(room, &json!({"content": "", "attachment": file})).await;
            if sent.status == 201 {
                said.push(fetched(ada, room).await);
            }
            said.push(told(&sent));
        }
        let file = json!({"name": "a", "content": text, "content_type": ""});
        said.push(told(&ada.message(room, &json!({"content": "", "attachment": file})).await));
        for (given, family, logo) in [(text, "b", ""), ("a", text, ""), ("a", "b", text)] {
            let user = json!({"given_name": given, "family_name": family, "logo_url": logo});
            said.push(told(&service.put(&format!("/v1/users/{}", id(4)), &user).await));
        }
        let company = json!({"name": text, "logo_url": ""});
        said.push(told(&service.put(&format!("/v1/companies/{}", id(5)), &company).await));
        let campaign = json!({"name": text, "company_id": cast.north, "open": true});
        said.push(told(&service.put(&format!("/v1/campaigns/{}", id(6)), &campaign).await));
    }
    said
}

/// Fetches the newest message's file by its link.
async fn fetched(ada: &Actor, room: Uuid) -> String {
    let room = ada.room(room).await;
    let file = &room["messages"].as_array().and_then(|all| all.last()).expect("a message")["attachment"];
    let answer = ada.get(file["link"].as_str().expect("a link")).await;
    assert_eq!((answer.status, answer.bytes.as_slice()), (200, b"hi".as_slice()), "{file}");
    format!("{} {}", answer.header("content-type"), answer.header("content-disposition"))
}

async fn odd_addresses(server: &Server, cast: &Cast, room: Uuid) -> Vec<String> {
    let mut said = Vec::new();
    let ada = &cast.ada;
    let encoded: Vec<String> =
        NASTY.iter().map(|text| url::form_urlencoded::byte_serialize(text.as_bytes()).collect()).collect();
    for text in encoded.iter().map(String::as_str).chain(["%", "%zz", "%ff", "a=b&a=c", "+", "-1", "1e9", "201"]) {
        for path in [
            format!("/v1/rooms?limit={text}"),
            format!("/v1/rooms?cursor={text}"),
            format!("/v1/rooms?{text}=1"),
            format!("/v1/rooms/{room}?message_qty={text}"),
            format!("/v1/rooms/{room}?message_before={text}"),
            format!("/v1/rooms/{room}/contracts/{text}/history"),
            format!("/v1/rooms/{text}"),
            format!("/v1/attachments/{text}"),
            format!("/v1/attachments/{room}/{text}?u={text}&exp={text}&sig={text}"),
            format!("/v1/events?user_id={text}&all={text}"),
            format!("/{text}"),
        ] {
            said.push(told(&ada.get(&path).await));
        }
        let upload = ada.request(Method::PUT, &format!("/v1/attachments/{}?name={text}", id(7))).body("hi");
        said.push(told(&ada.run(upload).await));
        said.push(told(&cast.service.delete(&format!("/v1/users/{text}?erase={text}")).await));
    }
    for header in ["Idempotency-Key", "Authorization", "Content-Type", "Cookie", "Origin", "Range", "If-None-Match"] {
        for value in [b"".as_slice(), b" ", b"x", b"\xff\xfe", b"\"", b"Bearer", b"Bearer ", b"bytes=9-1", b"a=b; ="] {
            let request = server.nobody().request(Method::POST, &format!("/v1/rooms/{room}/messages"));
            let request = request.bearer_auth(ada.token.as_deref().expect("a token")).header(header, value);
            said.push(told(&ada.run(request.body("{\"content\":\"a\"}")).await));
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_odd_is_a_fault_of_ours_and_both_databases_answer_alike() {
    let sqlite = transcript(&Database::Sqlite).await;
    assert!(sqlite.len() > 2_000, "{}", sqlite.len());
    let Some(postgres) = Database::postgres().await else { return };
    let postgres = transcript(&postgres).await;
    for (at, (one, other)) in sqlite.iter().zip(&postgres).enumerate() {
        assert_eq!(one, other, "entry {at} of the transcript");
    }
    assert_eq!(sqlite.len(), postgres.len());
    tell("10, 11", &format!("{} odd requests, SQLite and PostgreSQL", sqlite.len()), "0 by 500, 0 differences");
}

/// Another program's write transaction on the server's database file; it ends with the connection.
pub fn lock(server: &Server) -> SqliteConnection {
    let DatabaseUrl::Sqlite(path) = &server.app.config.database else { panic!("only SQLite is locked like this") };
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).expect("the file opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").expect("the lock is free");
    conn
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_a_pause() {
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let locked = lock(&server);
    let started = Instant::now();
    let (path, key, body) = (format!("/v1/rooms/{room}/messages"), id(0xb1), json!({"content": "again"}));
    let refused = cast.ada.post_keyed(&path, key, &body).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(503, "unavailable");
    assert_eq!(cast.ada.rooms().await["rooms"][0]["last_message"]["id"], 1, "reads go on");
    drop(locked);
    let sent = cast.ada.post_keyed(&path, key, &body).await.expect(201);
    assert_eq!(sent, json!({"message_id": key, "id": 2}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_at_once() {
    let server = Server::start_with(&Database::Sqlite, |config| config.queue_commands = 1).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let locked = lock(&server);
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let ada = cast.ada.clone();
        sending.spawn(async move { ada.message(room, &json!({"content": "x"})).await });
    }
    let first = sending.join_next().await.expect("an answer").expect("no panic");
    assert_eq!(first.header("retry-after"), "1");
    first.refused(503, "unavailable");
    drop(locked);
    let mut sent = 0;
    while let Some(answer) = sending.join_next().await {
        let answer = answer.expect("no panic");
        if answer.status == 201 {
            sent += 1;
        } else {
            answer.refused(503, "unavailable");
        }
    }
    assert!((1..20).contains(&sent), "{sent}");
    assert_eq!(cast.ada.room(room).await["messages"].as_array().map(Vec::len), Some(1 + sent));
}
