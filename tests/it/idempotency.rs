//! Retries (promise 3): the same request with the same key acts once, whatever happened to the first answer.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Database, Server, id, tell};
use crate::uploads::{Form, stored};

on_every_database!(
    a_repeated_message_gets_the_first_answer,
    a_repeated_first_message_gets_the_status_it_got,
    many_repeats_at_once_make_one_message,
    a_cut_connection_and_a_retry_make_one_message,
    the_key_is_the_message_id,
    without_a_key_every_request_is_a_new_message,
    a_key_belongs_to_one_request,
    the_same_request_may_be_spelled_otherwise,
    a_file_is_the_same_in_base64_and_in_a_form,
    a_key_is_a_uuid,
    refused_requests_are_not_remembered,
    a_repeat_is_no_way_around_lost_membership,
);

fn path(room: Uuid) -> String {
    format!("/v1/rooms/{room}/messages")
}

fn to_north(cast: &Cast, content: &str) -> Value {
    json!({"message": {"content": content}, "direction": {"type": "user_to_company", "company_id": cast.north}})
}

/// A message with something of everything.
fn rich(campaign: Uuid) -> Value {
    json!({
        "content": "Terms",
        "attachment": {"name": "a.txt", "content": "aGVsbG8=", "content_type": "text/plain"},
        "contract_change":
            {"type": "proposed_by_company", "campaign_id": campaign, "payout": 100, "expected_version": 0},
        "change_selected_campaign_to": campaign,
    })
}

async fn count(who: &Actor, room: Uuid) -> usize {
    who.room(room).await["messages"].as_array().unwrap().len()
}

async fn a_repeated_message_gets_the_first_answer(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let first = cast.nora.post_keyed(&path(room), id(1), &rich(cast.spring)).await.expect(201);
    cast.ada.change(room, &json!({"type": "accepted_by_creator"})).await.expect(201);
    let before = cast.ada.room(room).await["position"].clone();
    let again = async |server: &Server| {
        cast.nora.at(server).post_keyed(&path(room), id(1), &rich(cast.spring)).await.expect(201)
    };
    assert_eq!(again(&server).await, first);
    if let Some(other) = database.other_node().await {
        assert_eq!(again(&other).await, first, "on another node");
    }
    let server = server.restart().await;
    assert_eq!(again(&server).await, first, "after a restart");
    assert_eq!(cast.ada.at(&server).room(room).await["position"], before, "nothing more has happened");
    assert_eq!(stored(&server).await, [1, 1, 0], "the repeated file is not kept twice");
}

async fn a_repeated_first_message_gets_the_status_it_got(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let create = async |server: &Server, key: u32, content: &str| {
        let answer = cast.ada.at(server).post_keyed("/v1/rooms", id(key), &to_north(&cast, content)).await;
        (answer.status, answer.header("location").to_owned(), answer.body)
    };
    let (opened, appended) = (create(&server, 1, "One").await, create(&server, 2, "Two").await);
    assert_eq!((opened.0, appended.0), (201, 200));
    for _ in 0..2 {
        assert_eq!(create(&server, 1, "One").await, opened);
        assert_eq!(create(&server, 2, "Two").await, appended);
    }
    let server = server.restart().await;
    assert_eq!(create(&server, 1, "One").await, opened);
    assert_eq!(create(&server, 2, "Two").await, appended);
    assert_eq!(cast.ada.at(&server).rooms().await["rooms"][0]["last_message"]["id"], 2);
}

async fn many_repeats_at_once_make_one_message(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let other = database.other_node().await;
    let nodes = [&server, other.as_ref().unwrap_or(&server)];
    let all_alike = |answers: Vec<Answer>| {
        assert!(answers.iter().all(|answer| (answer.status, &answer.body) == (201, &answers[0].body)), "{answers:?}");
        answers[0].body.clone()
    };
    let body = to_north(&cast, "Hi");
    let ada = nodes.map(|node| cast.ada.at(node));
    let opened = all_alike(join_all((0..32).map(|n| ada[n % 2].post_keyed("/v1/rooms", id(1), &body))).await);
    let room: Uuid = opened["room_id"].as_str().unwrap().parse().unwrap();
    let nora = nodes.map(|node| cast.nora.at(node));
    let (path, body) = (path(room), rich(cast.spring));
    all_alike(join_all((0..32).map(|n| nora[n % 2].post_keyed(&path, id(2), &body))).await);
    let seen = cast.ada.room(room).await;
    assert_eq!(seen["messages"].as_array().unwrap().len(), 2);
    assert_eq!(seen["contracts"][0]["version"], 1);
    tell("3", &format!("2 × 32 equal requests at once, {database}"), "1 room, 2 messages, 64 equal answers");
}

async fn a_cut_connection_and_a_retry_make_one_message(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let token = cast.ada.token.as_ref().unwrap();
    let address = server.url.strip_prefix("http://").unwrap();
    join_all((1..=20).map(async |n| {
        let body = json!({"content": format!("Text {n}")});
        let (path, text) = (path(room), body.to_string());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            id(n),
            text.len(),
        );
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        drop(connection);
        cast.ada.post_keyed(&path, id(n), &body).await.expect(201);
    }))
    .await;
    assert_eq!(count(&cast.nora, room).await, 21);
    tell("3", &format!("20 connections cut after the request, {database}"), "asked again: 20 messages");
}

async fn the_key_is_the_message_id(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut stream = cast.ada.stream().await;
    let opened = cast.ada.post_keyed("/v1/rooms", id(1), &to_north(&cast, "Hi")).await.expect(201);
    let room: Uuid = opened["room_id"].as_str().unwrap().parse().unwrap();
    let sent = cast.ada.post_keyed(&path(room), id(2), &json!({"content": "Hi"})).await.expect(201);
    let messages = cast.nora.room(room).await["messages"].clone();
    for (index, (key, answer)) in [(id(1), opened), (id(2), sent)].into_iter().enumerate() {
        assert_eq!(answer["message_id"], json!(key));
        assert_eq!(messages[index]["message_id"], json!(key));
        assert_eq!(stream.next_news().await.data["message"]["message_id"], json!(key));
    }
}

async fn without_a_key_every_request_is_a_new_message(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    assert_eq!([cast.ada.say(room, "Hi").await, cast.ada.say(room, "Hi").await], [2, 3]);
}

async fn a_key_belongs_to_one_request(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let elsewhere = cast.ada.open_room(cast.lumen, "Hi").await;
    cast.ada.post_keyed(&path(room), id(1), &json!({"content": "Hi"})).await.expect(201);
    let opening = json!({"message": {"content": "Hi"}, "direction":
        {"type": "company_to_user", "company_id": cast.north, "to_user_id": cast.ada.id()}});
    let file = |name: &str, content: &str| json!({"content": "Hi", "attachment": {"name": name, "content": content, "content_type": ""}});
    cast.ada.post_keyed(&path(room), id(2), &file("a", "aGVsbG8=")).await.expect(201);
    let before = cast.ada.rooms().await["position"].clone();
    let text = json!({"content": "Hi"});
    for (who, to, key, body) in [
        (&cast.ada, path(room), 1, json!({"content": "Hi!"})),
        (&cast.ada, path(room), 1, json!({"content": "Hi", "from_user_id": cast.ada.id()})),
        (&cast.ada, path(room), 1, file("a", "aGVsbG8=")),
        (&cast.ada, path(elsewhere), 1, text.clone()),
        (&cast.ada, "/v1/rooms".to_owned(), 1, to_north(&cast, "Hi")),
        (&cast.nora, path(room), 1, text.clone()),
        (&cast.luca, path(elsewhere), 1, text.clone()),
        (&cast.nora, "/v1/rooms".to_owned(), 1, opening),
        (&cast.ada, path(room), 2, text.clone()),
        (&cast.ada, path(room), 2, file("b", "aGVsbG8=")),
        (&cast.ada, path(room), 2, file("a", "aGVsbG8h")),
    ] {
        who.post_keyed(&to, id(key), &body).await.refused(422, "idempotency_key_reused");
    }
    assert_eq!(cast.ada.rooms().await["position"], before, "nothing happened");
    assert_eq!(stored(&server).await, [1, 1, 0]);
    cast.kofi.post_keyed(&path(room), id(1), &text).await.refused(404, "not_found");
}

async fn the_same_request_may_be_spelled_otherwise(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let key = id(0xabc).to_string();
    let send = async |key: String, body: &'static str| {
        let request = cast.ada.request(Method::POST, &path(room)).header("Idempotency-Key", key);
        cast.ada.run(request.header("Content-Type", "application/json").body(body)).await.expect(201)
    };
    let first = send(key.clone(), r#"{"content":"H\u00e9","attachment":null}"#).await;
    for (key, body) in [
        (key.to_uppercase(), "{\n  \"content\" : \"Hé\"\n}"),
        (format!("\"{key}\""), r#"{"attachment_id":null,"content":"\u0048é"}"#),
    ] {
        assert_eq!(send(key, body).await, first);
    }
}

async fn a_file_is_the_same_in_base64_and_in_a_form(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let inline = json!({"content": "See", "attachment":
        {"name": "a.txt", "content": "aGVsbG8", "content_type": "text/plain"}});
    let form = Form::new().text("message", &json!({"content": "See"}).to_string()).file("a.txt", b"hello");
    let as_form = async |key: Uuid, form: &Form| form.post(&cast.ada, &path(room), Some(key)).await;
    let first = cast.ada.post_keyed(&path(room), id(1), &inline).await.expect(201);
    assert_eq!(as_form(id(1), &form).await.expect(201), first);
    let second = as_form(id(2), &form).await.expect(201);
    assert_eq!(cast.ada.post_keyed(&path(room), id(2), &inline).await.expect(201), second);
    let renamed = Form::new().text("message", &json!({"content": "See"}).to_string()).file("b.txt", b"hello");
    as_form(id(1), &renamed).await.refused(422, "idempotency_key_reused");
    assert_eq!(stored(&server).await, [2, 2, 0]);
}

async fn a_key_is_a_uuid(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    for key in ["", "1", "0199c0de-0000-7000-8000-00000000000", "a b", "\"\""] {
        for to in ["/v1/rooms", &path(room)] {
            let body = if to == "/v1/rooms" { to_north(&cast, "Hi") } else { json!({"content": "Hi"}) };
            let request = cast.ada.request(Method::POST, to).header("Idempotency-Key", key).json(&body);
            cast.ada.run(request).await.refused(400, "malformed_request");
        }
    }
    assert_eq!(count(&cast.ada, room).await, 1);
}

async fn refused_requests_are_not_remembered(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let accept = json!({"content": "", "contract_change": {"type": "accepted_by_creator"}});
    cast.ada.post_keyed(&path(room), id(1), &accept).await.refused(422, "no_selected_campaign");
    cast.ada.post_keyed(&path(room), id(1), &json!({"content": ""})).await.refused(422, "invalid_value");
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    cast.ada.post_keyed(&path(room), id(1), &accept).await.expect(201);
    cast.ada.post_keyed(&path(room), id(1), &accept).await.expect(201);
    assert_eq!(count(&cast.ada, room).await, 3);
}

async fn a_repeat_is_no_way_around_lost_membership(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let text = json!({"content": "Hi"});
    cast.ben.post_keyed(&path(room), id(1), &text).await.expect(201);
    let moved = json!({"given_name": "Ben", "family_name": "T", "logo_url": "", "company_id": cast.lumen});
    cast.service.put(&format!("/v1/users/{}", cast.ben.id()), &moved).await.expect(200);
    cast.ben.post_keyed(&path(room), id(1), &text).await.refused(404, "not_found");
}
