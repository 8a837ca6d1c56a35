//! Commands: who opens which room, what a message may hold, how far a room is seen, and what is refused first.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Cast, Database, Server, id};

on_every_database!(
    whoever_writes_first_opens_the_one_room_of_the_pair,
    racing_first_messages_open_one_room,
    a_room_has_a_company_on_one_side_and_a_creator_on_the_other,
    text_file_contract_change_and_campaign_switch_go_together,
    a_refused_part_refuses_the_whole_message,
    a_refused_first_message_opens_no_room,
    nobody_writes_for_somebody_else,
    content_has_its_limits,
    unknown_fields_are_refused_wherever_they_are,
    texts_come_back_as_they_were_sent,
    bodies_that_cannot_be_taken_are_explained,
    the_sender_has_seen_what_they_sent,
    last_seen_moves_forward_only_and_never_past_the_end,
    strangers_hear_404_before_anything_about_their_request,
    checks_come_in_the_documented_order,
);

fn to_company(company: Uuid, message: &Value) -> Value {
    json!({"message": message, "direction": {"type": "user_to_company", "company_id": company}})
}

fn to_user(company: Uuid, user: Uuid, message: &Value) -> Value {
    json!({"message": message, "direction": {"type": "company_to_user", "company_id": company, "to_user_id": user}})
}

fn hello() -> Value {
    json!({"content": "Hello"})
}

/// Which field a problem points to.
fn pointer(problem: &Value) -> &str {
    problem["errors"][0]["pointer"].as_str().unwrap_or_default()
}

async fn whoever_writes_first_opens_the_one_room_of_the_pair(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let north_and_ada = (to_user(cast.north, cast.ada.id(), &hello()), to_company(cast.north, &hello()));
    let lumen_and_ada = (to_user(cast.lumen, cast.ada.id(), &hello()), to_company(cast.lumen, &hello()));
    for requests in [
        [(&cast.ada, &north_and_ada.1), (&cast.nora, &north_and_ada.0), (&cast.ben, &north_and_ada.0)],
        [(&cast.luca, &lumen_and_ada.0), (&cast.ada, &lumen_and_ada.1), (&cast.luca, &lumen_and_ada.0)],
    ] {
        let mut room = Value::Null;
        for (number, (who, body)) in (1..).zip(requests) {
            let answer = who.post("/v1/rooms", body).await;
            let location = answer.header("location").to_owned();
            let body = answer.expect(if number == 1 { 201 } else { 200 });
            if number == 1 {
                room = body["room_id"].clone();
            }
            assert_eq!((&body["room_id"], &body["id"]), (&room, &json!(number)));
            assert_eq!(location, format!("/v1/rooms/{}", room.as_str().unwrap()));
            assert_eq!(who.get(&location).await.expect(200)["messages"][number - 1]["message_id"], body["message_id"]);
        }
    }
    assert_eq!(cast.ada.rooms().await["rooms"].as_array().unwrap().len(), 2);
    assert_eq!(cast.nora.rooms().await["rooms"].as_array().unwrap().len(), 1);
}

async fn racing_first_messages_open_one_room(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (from_ada, from_north) = (to_company(cast.north, &hello()), to_user(cast.north, cast.ada.id(), &hello()));
    let answers = join_all((0..24).map(|turn| match turn % 3 {
        0 => cast.ada.post("/v1/rooms", &from_ada),
        1 => cast.nora.post("/v1/rooms", &from_north),
        _ => cast.ben.post("/v1/rooms", &from_north),
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 23);
    let mut numbers: Vec<i64> = answers.iter().map(|answer| answer.body["id"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=24).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.body["room_id"] == answers[0].body["room_id"]));
}

async fn a_room_has_a_company_on_one_side_and_a_creator_on_the_other(database: Database) {
    let server = Server::start(&database).await;
    let Cast { north, lumen, nora, ben, luca, ada, kofi, .. } = server.cast().await;
    for (who, body, status, code, field) in [
        (&ada, to_user(north, kofi.id(), &hello()), 403, "not_your_company", ""),
        (&nora, to_user(lumen, ada.id(), &hello()), 403, "not_your_company", ""),
        (&nora, to_user(lumen, id(9), &hello()), 403, "not_your_company", ""),
        (&nora, to_user(id(9), ada.id(), &hello()), 403, "not_your_company", ""),
        (&nora, to_user(north, ben.id(), &hello()), 422, "same_side", ""),
        (&nora, to_user(north, luca.id(), &hello()), 422, "same_side", ""),
        (&nora, to_company(lumen, &hello()), 422, "same_side", ""),
        (&nora, to_user(north, id(9), &hello()), 422, "unknown_user", "/direction/to_user_id"),
        (&ada, to_company(id(9), &hello()), 422, "unknown_company", "/direction/company_id"),
    ] {
        let problem = who.post("/v1/rooms", &body).await.refused(status, code);
        assert_eq!(pointer(&problem), field, "{problem}");
    }
    for who in [&nora, &ben, &luca, &ada, &kofi] {
        assert_eq!(who.rooms().await["rooms"], json!([]));
    }
}

/// The parts of a message that `mask` picks: text, file, proposal, switch.
fn combination(mask: u8, campaign: Uuid) -> Value {
    let mut message = json!({"content": if mask & 1 == 0 { "" } else { "Text" }});
    if mask & 2 != 0 {
        message["attachment"] = json!({"name": "a.txt", "content": "aGVsbG8=", "content_type": "text/plain"});
    }
    if mask & 4 != 0 {
        message["contract_change"] =
            json!({"type": "proposed_by_company", "campaign_id": campaign, "payout": 100 * i64::from(mask)});
    }
    if mask & 8 != 0 {
        message["change_selected_campaign_to"] = json!(campaign);
    }
    message
}

async fn text_file_contract_change_and_campaign_switch_go_together(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let problem = cast.nora.message(room, &combination(0, cast.spring)).await.refused(422, "invalid_value");
    assert_eq!(pointer(&problem), "/content");
    let mut version = 0;
    for mask in 1..16 {
        let sent = combination(mask, cast.spring);
        let number = cast.nora.message(room, &sent).await.expect(201)["id"].clone();
        let seen = cast.ada.room(room).await;
        let message = seen["messages"].as_array().unwrap().last().unwrap();
        assert_eq!((&message["id"], &message["content"]), (&number, &sent["content"]));
        assert_eq!(message["contract_change"], sent["contract_change"]);
        assert_eq!(message["change_selected_campaign_to"], sent["change_selected_campaign_to"]);
        assert_eq!(message["attachment"]["name"], sent["attachment"]["name"]);
        if mask & 4 != 0 {
            version += 1;
            assert_eq!(seen["contracts"][0]["payout"], sent["contract_change"]["payout"]);
            assert_eq!(seen["selected_campaign_id"], json!(cast.spring), "a proposal selects its campaign");
        }
        assert_eq!(seen["contracts"][0]["version"].as_i64().unwrap_or(0), version);
    }
    assert_eq!(cast.ada.room(room).await["messages"].as_array().unwrap().len(), 16);
}

async fn a_refused_part_refuses_the_whole_message(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    let before = cast.ada.room(room).await;
    let with = |mask, field: &str, value: Value| {
        let mut message = combination(mask, cast.autumn);
        message[field] = value;
        message
    };
    let elsewhere = json!({"type": "proposed_by_company", "campaign_id": cast.studio, "payout": 1});
    for mask in 0..4 {
        for (message, status, code) in [
            (with(mask, "contract_change", json!({"type": "approved_by_company"})), 409, "not_finished"),
            (with(mask | 8, "contract_change", json!({"type": "approved_by_company"})), 409, "no_proposal"),
            (with(mask | 8, "contract_change", json!({"type": "accepted_by_creator"})), 403, "wrong_side"),
            (with(mask, "contract_change", elsewhere.clone()), 422, "unknown_campaign"),
            (with(mask, "change_selected_campaign_to", json!(cast.studio)), 422, "unknown_campaign"),
            (with(mask | 4, "change_selected_campaign_to", json!(id(9))), 422, "unknown_campaign"),
            (with(mask | 4, "change_selected_campaign_to", json!(cast.spring)), 422, "campaign_mismatch"),
            (with((mask & 0b1) | 0b1100, "attachment_id", json!(id(9))), 422, "unknown_attachment"),
        ] {
            cast.nora.message(room, &message).await.refused(status, code);
        }
    }
    assert_eq!(cast.ada.room(room).await, before, "nothing happened, not even in the log");
}

async fn a_refused_first_message_opens_no_room(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let accept = json!({"content": "Yes", "contract_change": {"type": "accepted_by_creator"}});
    let foreign = json!({"content": "", "change_selected_campaign_to": cast.studio});
    cast.ada.post("/v1/rooms", &to_company(cast.north, &accept)).await.refused(422, "no_selected_campaign");
    let problem = cast.ada.post("/v1/rooms", &to_company(cast.north, &foreign)).await.refused(422, "unknown_campaign");
    assert_eq!(pointer(&problem), "/message/change_selected_campaign_to");
    let problem = cast.ada.post("/v1/rooms", &to_company(cast.north, &json!({"content": ""}))).await;
    assert_eq!(pointer(&problem.refused(422, "invalid_value")), "/message/content");
    assert_eq!(cast.ada.rooms().await["rooms"], json!([]));

    let first = to_user(cast.north, cast.ada.id(), &combination(15, cast.spring));
    cast.nora.post("/v1/rooms", &first).await.expect(201);
    let rooms = cast.ada.rooms().await;
    assert_eq!(rooms["rooms"][0]["contract"]["state"], "proposed", "a first message may hold everything");
}

async fn nobody_writes_for_somebody_else(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let from = |user| json!({"content": "Hi", "from_user_id": user});
    cast.ada.post("/v1/rooms", &to_company(cast.north, &from(cast.nora.id()))).await.refused(403, "from_user_mismatch");
    let opened = cast.ada.post("/v1/rooms", &to_company(cast.north, &from(cast.ada.id()))).await.expect(201);
    let room: Uuid = opened["room_id"].as_str().unwrap().parse().unwrap();
    cast.nora.message(room, &from(cast.nora.id())).await.expect(201);
    for other in [cast.ben.id(), cast.ada.id(), id(9)] {
        cast.nora.message(room, &from(other)).await.refused(403, "from_user_mismatch");
    }
    assert_eq!(cast.ada.room(room).await["messages"].as_array().unwrap().len(), 2);
}

async fn content_has_its_limits(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    for character in ["a", "\u{e9}", "\u{1f600}", "\u{1}"] {
        cast.ada.message(room, &json!({"content": character.repeat(8_000)})).await.expect(201);
        let problem = cast.ada.message(room, &json!({"content": character.repeat(8_001)})).await;
        assert_eq!(pointer(&problem.refused(422, "invalid_value")), "/content");
    }
    for body in [
        json!({"content": ""}),
        json!({"content": "a\0b"}),
        json!({"content": null}),
        json!({"content": 5}),
        json!({"content": ["a"]}),
        json!({}),
    ] {
        let problem = cast.ada.message(room, &body).await.refused(422, "invalid_value");
        assert_eq!(pointer(&problem), "/content", "{body}");
    }
}

async fn unknown_fields_are_refused_wherever_they_are(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    let change = |kind: &str| json!({"content": "", "contract_change": {"type": kind, "expected_versoin": 1}});
    for (body, field) in [
        (json!({"content": "a", "contnet": "b"}), "/contnet"),
        (change("accepted_by_creator"), "/contract_change"),
        (change("cancelled_by_creator"), "/contract_change"),
        (
            json!({"content": "", "attachment": {"name": "a", "content": "", "content_type": "", "size": 1}}),
            "/attachment/size",
        ),
    ] {
        let problem = cast.ada.message(room, &body).await.refused(422, "invalid_value");
        assert!(pointer(&problem).starts_with(field), "{problem}");
    }
    let mut opening = to_company(cast.lumen, &hello());
    opening["direction"]["to_user_id"] = json!(cast.kofi.id());
    cast.ada.post("/v1/rooms", &opening).await.refused(422, "invalid_value");
    cast.ada
        .put(&format!("/v1/rooms/{room}/last-seen"), &json!({"seen_till": 1, "x": 1}))
        .await
        .refused(422, "invalid_value");
    cast.ada
        .put(&format!("/v1/rooms/{room}/typing"), &json!({"typing": true, "x": 1}))
        .await
        .refused(422, "invalid_value");
    assert_eq!(cast.ada.room(room).await["contracts"][0]["state"], "proposed");
}

/// Texts that something on the way may stumble over.
const NASTY: &[&str] = &[
    " ",
    "\n\r\n\t",
    "data: x\n\nevent: goodbye\nid: 1\n\n",
    "\u{feff}BOM",
    "\u{202e}txt.exe\u{2066}",
    "\u{7f}\u{80}\u{85}\u{2028}\u{2029}",
    "\u{fffe}\u{ffff}\u{10ffff}",
    "e\u{301} and \u{e9}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "'; DROP TABLE messages; --",
    "\\x00 \\u0000 %00 \\",
    "<script>alert(1)</script>",
    "{\"type\":\"goodbye\"}",
    "null",
    "${jndi:ldap://x} {{7*7}} %s%n $1 ?1 :name",
];

async fn texts_come_back_as_they_were_sent(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut stream = cast.nora.stream().await;
    let room = cast.ada.open_room(cast.north, NASTY[0]).await;
    for text in &NASTY[1..] {
        cast.ada.say(room, text).await;
    }
    let messages = cast.nora.room(room).await["messages"].clone();
    for (text, message) in NASTY.iter().zip(messages.as_array().unwrap()) {
        assert_eq!(message["content"], *text);
        assert_eq!(stream.next_news().await.data["message"]["content"], *text);
    }
}

async fn bodies_that_cannot_be_taken_are_explained(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let path = format!("/v1/rooms/{room}/messages");
    let nested = format!("{{\"content\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for (body, status, code) in [
        (b"".as_slice(), 400, "malformed_request"),
        (b"{", 400, "malformed_request"),
        (b"{\"content\":\"a\"} {}", 400, "malformed_request"),
        (b"\xef\xbb\xbf{\"content\":\"a\"}", 400, "malformed_request"),
        (b"{\"content\":\"\xff\"}", 400, "malformed_request"),
        (br#"{"content":"\ud800"}"#, 400, "malformed_request"),
        (br#"{"content":"\udc00\ud800"}"#, 400, "malformed_request"),
        (br#"{"content":NaN}"#, 400, "malformed_request"),
        (nested.as_bytes(), 422, "invalid_value"),
        (b"null", 422, "invalid_value"),
        (br#"["a"]"#, 422, "invalid_value"),
        (br#"{"content":"a","content":"b"}"#, 422, "invalid_value"),
        (br#"{"content":"\u0000"}"#, 422, "invalid_value"),
        (br#"{"content":1e400}"#, 400, "malformed_request"),
        (br#"{"content":123456789012345678901234567890}"#, 422, "invalid_value"),
        (br#"{"content":"a","attachment_id":"x"}"#, 422, "invalid_value"),
        (br#"{"content":"a","contract_change":{"type":"sold"}}"#, 422, "invalid_value"),
        (br#"{"content":"a","contract_change":{}}"#, 422, "invalid_value"),
        (br#"{"content":"a","contract_change":"accepted_by_creator"}"#, 422, "invalid_value"),
    ] {
        let problem = cast.ada.post_raw(&path, "application/json", body.to_vec()).await.refused(status, code);
        assert_eq!(status == 422, problem["errors"].is_array(), "{problem}");
    }
    for payout in ["-1", "9007199254740992", "1.5", "1e3", "\"1\"", "18446744073709551616", "1e400"] {
        let change = format!(r#"{{"type":"proposed_by_company","campaign_id":"{}","payout":{payout}}}"#, cast.spring);
        let body = format!(r#"{{"content":"","contract_change":{change}}}"#);
        let answer = cast.nora.post_raw(&path, "application/json", body).await;
        assert!(matches!(answer.status, 400 | 422), "{payout}: {}", answer.body);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        cast.ada.post_raw(&path, kind, r#"{"content":"a"}"#).await.refused(415, "unsupported_media_type");
    }
    cast.ada.post_raw(&path, "Application/JSON; charset=utf-8", r#"{"content":"a"}"#).await.expect(201);
    assert_eq!(cast.ada.room(room).await["messages"].as_array().unwrap().len(), 2);
}

async fn the_sender_has_seen_what_they_sent(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut ben = cast.ben.stream().await;
    let room = cast.ada.open_room(cast.north, "One").await;
    cast.nora.say(room, "Two").await;
    assert_eq!(cast.ada.room(room).await["new_messages"], 1);
    cast.ada.say(room, "Three").await;
    assert_eq!(cast.ada.room(room).await["new_messages"], 0);
    assert_eq!(cast.nora.room(room).await["new_messages"], 1);
    assert_eq!(cast.ben.room(room).await["new_messages"], 3);
    let seen = cast.ben.room(room).await["last_seen"].clone();
    assert!(seen.as_array().unwrap().contains(&json!({"user_id": cast.ada.id(), "seen_till": 3})), "{seen}");
    for (name, number) in [("room_created_with_you", 1), ("new_message", 2), ("new_message", 3)] {
        let news = ben.next_news().await;
        assert_eq!((news.name.as_str(), &news.data["message"]["id"]), (name, &json!(number)));
    }
}

async fn last_seen_moves_forward_only_and_never_past_the_end(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "One").await;
    cast.ada.say(room, "Two").await;
    cast.ada.say(room, "Three").await;
    let mut ada = cast.ada.stream().await;
    for (till, seen_till, new_messages) in
        [(1, 1, 2), (2, 2, 1), (2, 2, 1), (1, 2, 1), ((1 << 53) - 1, 3, 0), (1, 3, 0), (3, 3, 0)]
    {
        let now = cast.nora.see(room, till).await.expect(200);
        assert_eq!(now, json!({"seen_till": seen_till, "new_messages": new_messages}));
    }
    cast.nora.say(room, "Four").await;
    for told in [1, 2, 3] {
        let news = ada.next_news().await;
        assert_eq!((news.name.as_str(), &news.data["message_id"]), ("new_last_view", &json!(told)));
    }
    assert_eq!(ada.next_news().await.name, "new_message", "nobody is told when nothing has changed");
    assert_eq!(cast.ben.room(room).await["new_messages"], 4, "colleagues read for themselves");

    let path = format!("/v1/rooms/{room}/last-seen");
    for body in [json!({"seen_till": -1}), json!({"seen_till": 1_i64 << 53}), json!({"seen_till": 1.5}), json!({})] {
        assert_eq!(pointer(&cast.nora.put(&path, &body).await.refused(422, "invalid_value")), "/seen_till");
    }
}

async fn strangers_hear_404_before_anything_about_their_request(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let without_id = |mut problem: Value| {
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    let nowhere = without_id(cast.kofi.message(id(9), &hello()).await.refused(404, "not_found"));
    for room in [room, id(9)] {
        for who in [&cast.kofi, &cast.luca] {
            for (method, what) in [(Method::POST, "messages"), (Method::PUT, "last-seen"), (Method::PUT, "typing")] {
                for (kind, body) in [
                    ("application/json", "{}".to_owned()),
                    ("application/json", "{".to_owned()),
                    ("application/json", format!(r#"{{"content":"{}"}}"#, "a".repeat(100_000))),
                    ("text/plain", "Hi".to_owned()),
                    ("multipart/form-data; boundary=x", "nothing".to_owned()),
                    ("multipart/form-data", String::new()),
                ] {
                    let request = who.request(method.clone(), &format!("/v1/rooms/{room}/{what}"));
                    let request = request.header("Idempotency-Key", "no uuid").header("Content-Type", kind).body(body);
                    assert_eq!(without_id(who.run(request).await.refused(404, "not_found")), nowhere);
                }
            }
        }
    }
}

async fn checks_come_in_the_documented_order(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let bad = json!({"content": 5});
    let with_bad_key = |who: &Actor| {
        let request = who.request(Method::POST, &format!("/v1/rooms/{room}/messages"));
        request.header("Idempotency-Key", "no uuid").json(&bad)
    };
    let nobody = server.nobody();
    nobody.run(with_bad_key(&nobody)).await.refused(401, "unauthenticated");
    let unknown = server.actor(id(9));
    unknown.run(with_bad_key(&unknown)).await.refused(403, "unknown_user");
    cast.service.run(with_bad_key(&cast.service)).await.refused(403, "user_only");
    cast.kofi.run(with_bad_key(&cast.kofi)).await.refused(404, "not_found");
    cast.ada.run(with_bad_key(&cast.ada)).await.refused(400, "malformed_request");

    let propose = |campaign: Uuid, payout: i64, version: i64| {
        json!({"content": "", "contract_change":
            {"type": "proposed_by_company", "campaign_id": campaign, "payout": payout, "expected_version": version}})
    };
    let accept = |version: i64| json!({"content": "", "contract_change": {"type": "accepted_by_creator", "expected_version": version}});
    cast.ada.message(room, &propose(id(9), -1, 7)).await.refused(422, "invalid_value");
    cast.ada.message(room, &propose(id(9), 1, 7)).await.refused(403, "wrong_side");
    cast.nora.message(room, &propose(id(9), 1, 7)).await.refused(422, "unknown_campaign");
    cast.ada.message(room, &accept(7)).await.refused(422, "no_selected_campaign");
    cast.nora.message(room, &json!({"content": "", "change_selected_campaign_to": cast.spring})).await.expect(201);
    cast.ada.message(room, &accept(7)).await.refused(409, "no_proposal");
    cast.nora.message(room, &propose(cast.spring, 1, 0)).await.expect(201);
    cast.ada.message(room, &accept(1)).await.expect(201);
    cast.nora.message(room, &propose(cast.spring, 1, 1)).await.refused(409, "terms_changed");
    cast.nora.message(room, &propose(cast.spring, 1, 2)).await.refused(409, "already_accepted");

    let autumn = json!({"company_id": cast.north, "name": "Autumn", "open": false});
    cast.service.put(&format!("/v1/campaigns/{}", cast.autumn), &autumn).await.expect(200);
    cast.nora.message(room, &propose(cast.autumn, 1, 7)).await.refused(422, "campaign_closed");
}
