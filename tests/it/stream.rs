//! The event stream as its reader sees it: what is said, in which order, and how it ends (promises 6, 7, 13).

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONNECTION, HOST, ORIGIN};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Database, EventStream, Server, id, position};

on_every_database!(
    a_stream_opened_right_after_its_user_was_put_stays,
    hello_says_where_the_stream_begins,
    replay_comes_between_hello_and_presence,
    a_room_is_told_with_its_first_message_to_every_member_only,
    messages_and_views_are_told_to_every_page_of_both_sides,
    replayed_events_say_what_the_live_ones_said,
    heartbeats_carry_the_hubs_position,
    a_stream_ends_with_its_token,
    a_stream_is_rotated_after_an_hour_or_so,
    one_stream_too_many_is_told_in_band,
    a_caller_over_the_rate_is_told_in_band,
    a_change_of_access_ends_streams,
    a_reader_that_does_not_read_is_cut_and_nobody_else_notices,
    the_head_keeps_proxies_from_buffering,
    a_head_request_opens_no_stream,
    events_flow_over_http_2,
    a_service_hears_everything_and_resumes,
    the_firehose_is_for_services_only,
    a_session_is_a_cookie_for_the_stream_only,
    a_cookie_is_secure_unless_the_machine_talks_to_itself,
    a_session_ends_with_its_token,
    forged_cookies_open_nothing,
    one_of_several_cookies_is_picked,
    a_cookie_needs_an_allowed_origin,
    a_bearer_token_wins_over_a_cookie,
    unknown_parameters_and_strangers_are_refused,
);

fn person(actor: &Actor, name: &str, status: &str, company: Option<&Value>) -> Value {
    let mut person =
        json!({"id": actor.id(), "given_name": name, "family_name": "T", "logo_url": "", "status": status});
    if let Some(company) = company {
        person["company"] = company.clone();
    }
    person
}

fn northwind(cast: &Cast) -> Value {
    json!({"id": cast.north, "name": "Northwind", "logo_url": ""})
}

/// The names of the next events.
async fn names(stream: &mut EventStream, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(stream.next().await.name);
    }
    names
}

async fn hello_says_where_the_stream_begins(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut ada = cast.ada.stream().await;
    cast.ada.open_room(cast.north, "Hi!").await;
    ada.next_news().await;

    let mut nora = cast.nora.stream().await;
    let connection: Uuid = nora.hello.data["connection_id"].as_str().expect("an id").parse().expect("a UUID");
    assert_eq!(
        nora.hello.data,
        json!({"type": "hello", "connection_id": connection, "user_id": cast.nora.id(), "position": ada.last_id,
               "resumed": false, "heartbeat_seconds": 15})
    );
    assert_eq!(nora.hello.id, ada.last_id);
    let retry = nora.hello.retry.expect("when to come back");
    assert!((Duration::from_secs(1)..=Duration::from_secs(5)).contains(&retry), "{retry:?}");
    let presence = nora.next().await;
    assert_eq!((presence.name.as_str(), presence.id.as_str()), ("presence", ""));
}

async fn replay_comes_between_hello_and_presence(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let start = cast.nora.rooms().await["position"].as_str().expect("a cursor").to_owned();
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.nora.see(room, 1).await.expect(200);
    cast.ada.say(room, "Are you there?").await;

    let mut nora = cast.nora.stream_after(&start).await;
    assert_eq!((&nora.hello.id, &nora.hello.data["resumed"]), (&start, &json!(true)));
    assert_eq!(names(&mut nora, 4).await, ["room_created_with_you", "new_last_view", "new_message", "presence"]);
    assert_eq!(position(&nora.last_id), position(&start) + 3);
}

async fn a_room_is_told_with_its_first_message_to_every_member_only(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut streams = [cast.ada.stream().await, cast.nora.stream().await, cast.ben.stream().await];
    let mut others = [cast.kofi.stream().await, cast.luca.stream().await];
    for stream in &mut streams {
        stream.next_of("presence").await;
    }
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let message = cast.ada.room(room).await["messages"][0].clone();
    let north = northwind(&cast);
    let ada = person(&cast.ada, "Ada", "online", None);
    for stream in &mut streams {
        let mut news = stream.next_news().await;
        sort_users(&mut news.data);
        let mut users = json!([
            ada,
            person(&cast.nora, "Nora", "online", Some(&north)),
            person(&cast.ben, "Ben", "online", Some(&north)),
        ]);
        sort_by_id(&mut users);
        assert_eq!(
            news.data,
            json!({"type": "room_created_with_you", "room_id": room, "users": users, "company": north,
            "creator_id": cast.ada.id(), "message": {
                "id": 1, "message_id": message["message_id"], "content": "Hi!", "side": "creator",
                "timestamp": message["timestamp"], "from_user": ada,
            }})
        );
    }
    // Message 1 is not told again, and to nobody else.
    cast.nora.say(room, "Hello!").await;
    for stream in &mut streams {
        let news = stream.next_news().await;
        assert_eq!((news.name.as_str(), &news.data["message"]["id"]), ("new_message", &json!(2)));
    }
    let other = cast.kofi.open_room(cast.lumen, "Hi!").await;
    for stream in &mut others {
        assert_eq!(stream.next_news().await.data["room_id"], json!(other));
    }
}

fn sort_users(event: &mut Value) {
    if event.get("users").is_some() {
        sort_by_id(&mut event["users"]);
    }
}

fn sort_by_id(users: &mut Value) {
    users.as_array_mut().expect("people").sort_by_key(|user| user["id"].to_string());
}

async fn messages_and_views_are_told_to_every_page_of_both_sides(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let position_now = cast.ada.rooms().await["position"].as_str().expect("a cursor").to_owned();
    let mut streams = Vec::new();
    for who in [&cast.ada, &cast.ada, &cast.nora, &cast.nora, &cast.ben] {
        streams.push(who.stream_after(&position_now).await);
    }
    cast.nora.propose(room, cast.spring, 125_000).await.expect(201);
    let message = cast.ada.room(room).await["messages"][1].clone();
    cast.ada.see(room, 2).await.expect(200);
    // Lower and equal views, and what a sender has thereby seen, are told to nobody.
    cast.ada.see(room, 1).await.expect(200);
    cast.nora.see(room, 2).await.expect(200);
    cast.ada.say(room, "Gladly.").await;
    let contract = json!({"campaign_id": cast.spring, "state": "proposed", "payout": 125_000, "version": 1,
                          "changed_by": cast.nora.id(), "changed_in": 2});
    for stream in &mut streams {
        let (proposed, seen, said) = (stream.next_news().await, stream.next_news().await, stream.next_news().await);
        let nora = person(&cast.nora, "Nora", "online", Some(&northwind(&cast)));
        assert_eq!(
            proposed.data,
            json!({"type": "new_message", "room_id": room, "contract": contract, "message": {
                "id": 2, "message_id": message["message_id"], "content": "", "side": "company", "from_user": nora,
                "timestamp": message["timestamp"],
                "contract_change": {"type": "proposed_by_company", "campaign_id": cast.spring, "payout": 125_000},
            }})
        );
        assert_eq!(
            seen.data,
            json!({"type": "new_last_view", "room_id": room, "user_id": cast.ada.id(), "message_id": 2})
        );
        assert_eq!((&said.data["message"]["id"], &said.data["contract"]), (&json!(3), &contract));
        let ids = [&position_now, &proposed.id, &seen.id, &said.id].map(|id| position(id));
        assert!(ids.is_sorted_by(|a, b| a < b), "ids go out in order: {ids:?}");
    }
}

async fn replayed_events_say_what_the_live_ones_said(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut live = cast.nora.stream().await;
    let start = live.last_id.clone();
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.nora.propose(room, cast.spring, 1).await.expect(201);
    cast.ada.change(room, &json!({"type": "accepted_by_creator"})).await.expect(201);
    let switch = json!({"content": "", "change_selected_campaign_to": cast.autumn});
    cast.ben.message(room, &switch).await.expect(201);
    cast.nora.see(room, 4).await.expect(200);

    let from_the_ring = news(&mut cast.nora.stream_after(&start).await, 5).await;
    assert_eq!(news(&mut live, 5).await, from_the_ring);
    let server = server.restart().await;
    let mut again = cast.nora.at(&server).stream_after(&start).await;
    assert_eq!(news(&mut again, 5).await, from_the_ring, "the log says what the ring said");
}

/// The next events with their ids, but without who is online: that is as of the telling.
async fn news(stream: &mut EventStream, count: usize) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    for _ in 0..count {
        let mut event = stream.next_news().await;
        event.data["message"]["from_user"]["status"] = Value::Null;
        for user in event.data.get_mut("users").and_then(Value::as_array_mut).into_iter().flatten() {
            user["status"] = Value::Null;
        }
        told.push((event.id, event.data));
    }
    told
}

async fn heartbeats_carry_the_hubs_position(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (mut luca, mut ada) = (cast.luca.stream().await, cast.ada.stream().await);
    luca.next_of("presence").await;
    cast.ada.open_room(cast.north, "Hi!").await;
    ada.next_news().await;
    server.clock.advance(Duration::from_secs(15));
    let beat = luca.next().await;
    assert_eq!((beat.name.as_str(), beat.data), ("heartbeat", json!({"type": "heartbeat"})));
    assert_eq!(beat.id, ada.last_id, "what concerns others moves the cursor too");
}

async fn a_stream_ends_with_its_token(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut nora = server.actor_for(cast.nora.id(), Duration::from_mins(1)).stream().await;
    nora.next_of("presence").await;
    server.clock.advance(Duration::from_secs(61));
    cast.ada.say(room, "Not for expired tokens").await;
    let mut last = nora.next().await;
    if last.name == "heartbeat" {
        last = nora.next().await;
    }
    assert_eq!(last.data, json!({"type": "goodbye", "reason": "token_expired"}));
    assert!(nora.maybe_next().await.is_none());
}

async fn a_stream_is_rotated_after_an_hour_or_so(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut nora = server.actor_for(cast.nora.id(), Duration::from_secs(10_000)).stream().await;
    server.clock.advance(Duration::from_secs(3_600 * 8 / 10 - 10));
    nora.next_of("heartbeat").await;
    server.clock.advance(Duration::from_secs(3_600 * 4 / 10 + 20));
    assert_eq!(nora.goodbye().await, "rotated");
}

async fn one_stream_too_many_is_told_in_band(database: Database) {
    let server = Server::start_with(&database, |config| config.max_streams_per_user = 2).await;
    let cast = server.cast().await;
    let mut held = [cast.nora.stream().await, cast.nora.stream().await];
    let mut refused = cast.nora.stream().await;
    assert_eq!(refused.hello.data, json!({"type": "goodbye", "reason": "too_many_streams"}));
    assert_eq!(refused.hello.retry, Some(Duration::from_mins(1)));
    assert!(refused.maybe_next().await.is_none());
    assert_eq!(cast.ben.stream().await.hello.name, "hello", "others have their own");

    cast.ada.open_room(cast.north, "Hi!").await;
    for stream in &mut held {
        stream.next_of("room_created_with_you").await;
    }
}

/// `EventSource` gives up for good on any status but 200.
async fn a_caller_over_the_rate_is_told_in_band(database: Database) {
    let change = |config: &mut haggle::config::Config| (config.rate_per_second, config.rate_burst) = (1, 1);
    let server = Server::start_with(&database, change).await;
    let cast = server.cast().await;
    let mut refused = cast.nora.stream().await;
    while refused.hello.name == "hello" {
        refused = cast.nora.stream().await;
    }
    assert_eq!(refused.hello.data, json!({"type": "goodbye", "reason": "too_many_streams"}));
    assert_eq!(refused.hello.retry, Some(Duration::from_mins(1)));
}

async fn a_change_of_access_ends_streams(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let (mut nora, mut ben) = (cast.nora.stream().await, cast.ben.stream().await);
    let mut ada = cast.ada.stream().await;
    ada.next_of("presence").await;

    cast.service.delete(&format!("/v1/users/{}", cast.nora.id())).await.expect(204);
    cast.ada.say(room, "Who hears me?").await;
    let mut heard = Vec::new();
    while let Some(event) = nora.maybe_next().await {
        heard.push(event);
    }
    let last = heard.pop().expect("a goodbye");
    assert_eq!(last.data, json!({"type": "goodbye", "reason": "access_changed"}));
    assert!(heard.iter().all(|event| event.name != "new_message"), "revoked means silent");
    cast.nora.get("/v1/events").await.refused(403, "deactivated");
    assert_eq!(
        ada.next_of("activity_change").await,
        json!({"type": "activity_change", "user_id": cast.nora.id(), "activity_state": "offline"})
    );

    let moved = json!({"given_name": "Ben", "family_name": "T", "logo_url": "", "company_id": cast.lumen});
    cast.service.put(&format!("/v1/users/{}", cast.ben.id()), &moved).await.expect(200);
    cast.ada.say(room, "And now?").await;
    assert_eq!(ben.goodbye().await, "access_changed");
    let mut ben = cast.ben.stream().await;
    cast.ada.say(room, "Not for Lumen").await;
    let other = cast.kofi.open_room(cast.lumen, "Hi!").await;
    assert_eq!(ben.next_news().await.data["room_id"], json!(other));
}

/// To see it fail, let `Outbox::push` wait or grow instead of cutting.
async fn a_reader_that_does_not_read_is_cut_and_nobody_else_notices(database: Database) {
    const MESSAGES: i64 = 40;
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut nora = cast.nora.stream().await;

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let address = server.url.strip_prefix("http://").expect("http").parse().expect("an address");
    let mut stuck = socket.connect(address).await.expect("a connection");
    let token = cast.ben.token.as_deref().expect("a token");
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stuck.write_all(request.as_bytes()).await.expect("sent");
    let is_ben = |event: &Value| event["user_id"] == json!(cast.ben.id());
    while !is_ben(&nora.next_of("activity_change").await) {}

    let large = "é".repeat(8_000);
    for number in 2..2 + MESSAGES {
        assert_eq!(cast.ada.say(room, &large).await, number);
        assert_eq!(nora.next_of("new_message").await["message"]["id"], number, "nobody else notices");
    }
    let mut read = Vec::new();
    let end = stuck.read_to_end(&mut read).await;
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains(r#""reason":"too_slow""#) || end.is_err(), "it is cut: {} bytes", read.len());
    let whole = text.rsplit_once("\n\n").expect("an event").0;
    let last = whole.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("an id");
    let heard = whole.matches("event: new_message").count();
    assert!(heard < 40, "the queue is bounded: {heard}");

    let mut ben = cast.ben.stream_after(last).await;
    for number in 2 + i64::try_from(heard).expect("a few")..2 + MESSAGES {
        assert_eq!(ben.next_of("new_message").await["message"]["id"], number, "it resumes");
    }
}

async fn the_head_keeps_proxies_from_buffering(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let request = cast.nora.request(Method::GET, "/v1/events").header("Accept-Encoding", "gzip, br");
    let head = request.send().await.expect("an answer");
    assert_eq!(head.status(), 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(head.headers()[name], value, "{name}");
    }
    assert!(!head.headers().contains_key("content-encoding"));
    assert!(!head.headers().contains_key("content-length"));
}

async fn a_head_request_opens_no_stream(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let head = cast.nora.run(cast.nora.request(Method::HEAD, "/v1/events")).await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(server.streams().app.hub.streams(), 0);
    let people = cast.ada.room(room).await["users"].clone();
    let people = people.as_array().expect("people");
    assert!(people.iter().all(|user| user["status"] == "offline"), "{people:?}");
}

async fn events_flow_over_http_2(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let mut nora = cast.nora.clone();
    nora.http = http;
    let head = nora.request(Method::GET, "/v1/events").send().await.expect("an answer");
    assert_eq!(head.version(), reqwest::Version::HTTP_2);
    assert!(!head.headers().contains_key(CONNECTION));
    drop(head);

    // Several streams and requests share one connection.
    let mut streams = [nora.stream().await, nora.stream().await];
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    nora.say(room, "Hello over HTTP/2").await;
    for stream in &mut streams {
        assert_eq!(stream.next_news().await.name, "room_created_with_you");
        assert_eq!(stream.next_news().await.data["message"]["content"], "Hello over HTTP/2");
    }
    let mut resumed = nora.stream_after(&streams[0].hello.id).await;
    assert_eq!(resumed.next_news().await.name, "room_created_with_you");
    cast.service.delete(&format!("/v1/users/{}", nora.id())).await.expect(204);
    for stream in streams.iter_mut().chain([&mut resumed]) {
        assert_eq!(stream.goodbye().await, "access_changed");
    }
}

async fn a_service_hears_everything_and_resumes(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut all = cast.service.stream_at("/v1/events?all=true").await;
    assert!(all.hello.data.get("user_id").is_none());
    let first = cast.ada.open_room(cast.north, "Hi!").await;
    let second = cast.luca.open_room_with(cast.lumen, cast.kofi.id(), "Hi!").await;
    cast.kofi.see(second, 1).await.expect(200);
    cast.nora.propose(first, cast.spring, 5).await.expect(201);
    let told = news(&mut all, 4).await;
    let rooms: Vec<&Value> = told.iter().map(|(_, event)| &event["room_id"]).collect();
    assert_eq!(json!(rooms), json!([first, second, second, first]));
    assert_eq!(told[3].1["contract"]["state"], "proposed");

    let after = &told[0].0;
    let resume = cast.service.request(Method::GET, "/v1/events?all=true").header("Last-Event-ID", after);
    let mut again = EventStream::open(&cast.service, resume).await;
    assert_eq!(again.hello.data["resumed"], true);
    assert_eq!(news(&mut again, 3).await, told[1..]);
    let server = server.restart().await;
    let service = cast.service.at(&server);
    let mut again = service.stream_at(&format!("/v1/events?all=true&after={after}")).await;
    assert_eq!(news(&mut again, 3).await, told[1..]);
}

async fn the_firehose_is_for_services_only(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    cast.nora.get("/v1/events?all=true").await.refused(403, "service_only");
    cast.service.get("/v1/events").await.refused(403, "user_only");
    cast.service.get("/v1/events?all=false").await.refused(403, "user_only");
    cast.service.post("/v1/events/session", &json!({})).await.refused(403, "user_only");
}

/// Begins a session; returns the cookie as a browser sends it back, and its attributes.
async fn session(actor: &Actor) -> (String, String) {
    let answer = actor.run(actor.request(Method::POST, "/v1/events/session")).await;
    assert_eq!(answer.status, 204);
    let (cookie, attributes) = answer.header("set-cookie").split_once("; ").expect("attributes");
    (cookie.to_owned(), attributes.to_owned())
}

/// A request with cookies and without a token.
fn with_cookies(server: &Server, method: Method, path: &str, cookies: &str) -> reqwest::RequestBuilder {
    server.nobody().request(method, path).header("Cookie", cookies)
}

async fn get_with(server: &Server, path: &str, cookies: &str) -> Answer {
    server.nobody().run(with_cookies(server, Method::GET, path, cookies)).await
}

async fn a_session_is_a_cookie_for_the_stream_only(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (cookie, attributes) = session(&cast.nora).await;
    let (name, _) = cookie.split_once('=').expect("a value");
    assert_eq!(name, format!("haggle_{}", cast.nora.id().simple()));
    let attributes: Vec<&str> = attributes.split("; ").collect();
    assert_eq!(attributes[..3], ["HttpOnly", "SameSite=Strict", "Path=/v1/events"]);
    let age: i64 = attributes[3].strip_prefix("Max-Age=").expect("an age").parse().expect("seconds");
    assert!((3_590..=3_600).contains(&age) && attributes.len() == 4, "{attributes:?}");

    let request = with_cookies(&server, Method::GET, "/v1/events", &format!("theme=dark; {cookie}"));
    let stream = EventStream::open(&server.nobody(), request).await;
    assert_eq!(stream.hello.data["user_id"], json!(cast.nora.id()));
    get_with(&server, "/v1/rooms", &cookie).await.refused(401, "unauthenticated");
    let begin = with_cookies(&server, Method::POST, "/v1/events/session", &cookie);
    server.nobody().run(begin).await.refused(401, "unauthenticated");

    let ending = [
        cast.nora.delete("/v1/events/session").await,
        server.nobody().run(with_cookies(&server, Method::DELETE, "/v1/events/session", &cookie)).await,
    ];
    for cleared in ending {
        assert_eq!(cleared.status, 204);
        assert_eq!(
            cleared.header("set-cookie"),
            format!("{name}=; HttpOnly; SameSite=Strict; Path=/v1/events; Max-Age=0")
        );
    }
    server.nobody().delete("/v1/events/session").await.refused(401, "unauthenticated");
}

async fn a_cookie_is_secure_unless_the_machine_talks_to_itself(database: Database) {
    async fn set_cookie(server: &Server, actor: &Actor, host: &str) -> String {
        let request = actor.at(server).request(Method::POST, "/v1/events/session").header(HOST, host);
        actor.run(request).await.header("set-cookie").to_owned()
    }
    let server = Server::start(&database).await;
    let nora = server.cast().await.nora;
    for host in ["127.0.0.1:9", "localhost", "[::1]:80"] {
        assert!(!set_cookie(&server, &nora, host).await.contains("Secure"), "{host}");
    }
    for host in ["chat.example", "127.0.0.1.evil.example", "10.0.0.1"] {
        let cookie = set_cookie(&server, &nora, host).await;
        assert!(cookie.starts_with("__Secure-haggle_") && cookie.contains("; Secure"), "{host}: {cookie}");
    }
    drop(server);
    let public = Server::start_with(&Database::Sqlite, |config| {
        config.public_url = Some("https://chat.example".to_owned());
    })
    .await;
    public.cast().await;
    assert!(set_cookie(&public, &nora, "localhost").await.contains("; Secure"));
}

async fn a_session_ends_with_its_token(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (cookie, _) = session(&server.actor_for(cast.nora.id(), Duration::from_mins(1))).await;
    let request = with_cookies(&server, Method::GET, "/v1/events", &cookie);
    let mut stream = EventStream::open(&server.nobody(), request).await;
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(stream.goodbye().await, "token_expired");
    get_with(&server, "/v1/events", &cookie).await.refused(401, "unauthenticated");
}

async fn forged_cookies_open_nothing(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (cookie, _) = session(&cast.nora).await;
    let (name, value) = cookie.split_once('=').expect("a value");
    let other = format!("haggle_{}={value}", cast.ben.id().simple());
    let mut changed: Vec<char> = value.chars().collect();
    // In the signature, after the 8 bytes of the expiry.
    changed[12] = if changed[12] == 'A' { 'B' } else { 'A' };
    let changed: String = changed.into_iter().collect();
    let token = cast.nora.token.as_deref().expect("a token");
    for forged in [other, format!("{name}={changed}"), format!("{name}="), format!("{name}={token}")] {
        get_with(&server, "/v1/events", &forged).await.refused(401, "unauthenticated");
    }
    let (cookie, _) = session(&cast.ben).await;
    cast.service.delete(&format!("/v1/users/{}", cast.ben.id())).await.expect(204);
    get_with(&server, "/v1/events", &cookie).await.refused(403, "deactivated");
}

async fn one_of_several_cookies_is_picked(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let both = format!("{}; {}", session(&cast.nora).await.0, session(&cast.ada).await.0);
    get_with(&server, "/v1/events", &both).await.refused(422, "invalid_value");
    for who in [&cast.nora, &cast.ada] {
        let path = format!("/v1/events?user_id={}", who.id());
        let stream = EventStream::open(who, with_cookies(&server, Method::GET, &path, &both)).await;
        assert_eq!(stream.hello.data["user_id"], json!(who.id()));
    }
    let path = format!("/v1/events?user_id={}", cast.ben.id());
    get_with(&server, &path, &both).await.refused(401, "unauthenticated");
}

async fn a_cookie_needs_an_allowed_origin(database: Database) {
    let server = Server::start_with(&database, |config| {
        config.cors_origins = vec!["https://app.example".parse().expect("an origin")];
        config.public_url = Some("https://chat.example".to_owned());
    })
    .await;
    let cast = server.cast().await;
    let (cookie, _) = session(&cast.nora).await;
    let from = |origin: &str| with_cookies(&server, Method::GET, "/v1/events", &cookie).header(ORIGIN, origin);
    for origin in ["https://evil.example", "http://app.example", "http://chat.example", "null"] {
        let refused = server.nobody().run(from(origin)).await;
        assert_eq!(refused.header("access-control-allow-origin"), "", "{origin}");
        refused.refused(403, "origin_not_allowed");
    }
    for origin in ["https://app.example", "https://chat.example", server.streams().url.as_str()] {
        let head = from(origin).send().await.expect("an answer");
        assert_eq!(head.status(), 200, "{origin}");
        assert_eq!(head.headers()["access-control-allow-origin"], origin);
        assert_eq!(head.headers()["access-control-allow-credentials"], "true");
    }
    let bearer = cast.nora.request(Method::GET, "/v1/events").header(ORIGIN, "https://evil.example");
    assert_eq!(bearer.send().await.expect("an answer").status(), 200, "a token is not ambient");
}

async fn a_bearer_token_wins_over_a_cookie(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (cookie, _) = session(&cast.ada).await;
    let request = cast.nora.request(Method::GET, "/v1/events").header("Cookie", &cookie);
    assert_eq!(EventStream::open(&cast.nora, request).await.hello.data["user_id"], json!(cast.nora.id()));
    let bad = server.with_token("no.such.token").request(Method::GET, "/v1/events").header("Cookie", &cookie);
    server.nobody().run(bad).await.refused(401, "unauthenticated");
}

async fn unknown_parameters_and_strangers_are_refused(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    cast.nora.get("/v1/events?aftre=0").await.refused(422, "invalid_value");
    let token = cast.nora.token.as_deref().expect("a token");
    server.nobody().get("/v1/events").await.refused(401, "unauthenticated");
    server.nobody().get(&format!("/v1/events?token={token}")).await.refused(401, "unauthenticated");
    server.actor(Uuid::from_u128(7)).get("/v1/events").await.refused(403, "unknown_user");
}

async fn a_stream_opened_right_after_its_user_was_put_stays(database: Database) {
    let server = Server::start(&database).await;
    let service = server.service();
    for n in 0..20 {
        let user = id(0xf00 + n);
        let entry = json!({"given_name": "New", "family_name": "Comer", "logo_url": ""});
        service.put(&format!("/v1/users/{user}"), &entry).await.expect(201);
        assert_eq!(server.actor(user).stream().await.next().await.name, "presence");
    }
}
