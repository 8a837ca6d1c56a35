//! Promise 5: nobody reads or does what is not theirs; a matrix of every described operation and every kind of caller,
//! in which the answers are searched for what only some may know.
//!
//! Seen red with these faults planted: `Audience::Of` in `src/store/log.rs` lets everything through (a
//! stream tells others); `readable_room` in `src/queries/mod.rs` lets everybody in (200, not 404).

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Database, Server, id, tell};

on_every_database!(
    everyone_may_do_what_the_table_says_and_no_more,
    what_is_not_yours_looks_like_what_is_not_there,
    metrics_are_for_the_host_application
);

/// The columns of [`TABLE`]. The former member has moved from the room's company to another.
const WHO: [&str; 11] = [
    "creator",
    "employee",
    "former member",
    "other creator",
    "other company",
    "deactivated",
    "unknown",
    "nobody",
    "bad token",
    "expired",
    "service",
];

/// Open to every member of the room.
const ROOM: [u16; 11] = [200, 200, 404, 404, 404, 403, 403, 401, 401, 401, 403];
/// The same, and to the host application.
const ROOM_OR_SERVICE: [u16; 11] = [200, 200, 404, 404, 404, 403, 403, 401, 401, 401, 200];
/// Open to everyone in the directory.
const USER: [u16; 11] = [200, 200, 200, 200, 200, 403, 403, 401, 401, 401, 403];
/// Open to the host application.
const SERVICE: [u16; 11] = [403, 403, 403, 403, 403, 403, 403, 401, 401, 401, 200];

/// What each is answered, all of it asked about the room of Ada and Northwind. 200 stands for any success.
const TABLE: [(&str, [u16; 11]); 23] = [
    ("begin_session", USER),
    ("change_directory", SERVICE),
    // As an employee of Northwind, to Ada.
    ("create_chat_room", [403, 200, 403, 403, 403, 403, 403, 401, 401, 401, 403]),
    ("delete_user", SERVICE),
    // With a link that the server did not sign; a token does not matter.
    ("download_attachment", [403; 11]),
    // Forgetting one's own cookie needs no entry in the directory.
    ("end_session", [200, 200, 200, 200, 200, 200, 200, 401, 401, 401, 403]),
    ("get_attachment", ROOM_OR_SERVICE),
    ("get_campaign", SERVICE),
    ("get_company", SERVICE),
    ("get_config", [200; 11]),
    ("get_user", SERVICE),
    ("list_rooms", USER),
    ("put_campaign", SERVICE),
    ("put_company", SERVICE),
    ("put_user", SERVICE),
    ("query_contract_history", ROOM_OR_SERVICE),
    ("query_room", ROOM_OR_SERVICE),
    ("send_message", ROOM),
    ("stream_events", USER),
    ("update_last_seen", ROOM),
    ("update_typing", ROOM),
    // A hint: whose stream it is is not said.
    ("update_viewing", USER),
    ("upload_attachment", USER),
];

/// What only the members of the room, and the host application, may ever be told.
const CANARY: &str = "canary-0b5e55ed";

/// Two companies, a room with a contract and a file, and one of each kind of caller.
struct Scene {
    server: Server,
    cast: Cast,
    callers: [Actor; 11],
    room: Uuid,
    file: Uuid,
    /// A cursor from before the room.
    early: String,
}

/// In the directory for the sake of the directory's operations.
const SPARE: u32 = 0xe9;

async fn scene(database: &Database) -> Scene {
    let server = Server::start(database).await;
    let cast = server.cast().await;
    let (former, gone) = (server.actor(id(0xe4)), server.actor(id(0xa3)));
    let named =
        |company: Option<Uuid>| json!({"given_name": "T", "family_name": "T", "logo_url": "", "company_id": company});
    for (user, company) in [(former.id(), Some(cast.north)), (gone.id(), Some(cast.north)), (id(SPARE), None)] {
        cast.service.put(&format!("/v1/users/{user}"), &named(company)).await.expect(201);
    }
    let early = cast.service.stream_at("/v1/events?all=true").await.last_id;
    let room = cast.ada.open_room(cast.north, CANARY).await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    let (name, content) = (format!("{CANARY}.txt"), STANDARD.encode(CANARY));
    let file = json!({"name": name, "content": content, "content_type": "text/plain"});
    cast.ada.message(room, &json!({"content": CANARY, "attachment": file})).await.expect(201);
    for member in [&former, &gone] {
        member.say(room, "I was here").await;
    }
    cast.service.put(&format!("/v1/users/{}", former.id()), &named(Some(cast.lumen))).await.expect(200);
    cast.service.delete(&format!("/v1/users/{}", gone.id())).await.expect(204);
    let file = cast.ada.room(room).await["messages"][2]["attachment"]["id"].as_str().expect("a file").parse();
    let callers = [
        cast.ada.clone(),
        cast.nora.clone(),
        former,
        cast.kofi.clone(),
        cast.luca.clone(),
        gone,
        server.actor(id(0xdead)),
        server.nobody(),
        server.with_token("eyJhbGciOiJub25lIn0.e30."),
        server.actor_for(cast.ada.id(), Duration::ZERO),
        cast.service.clone(),
    ];
    server.clock.advance(Duration::from_mins(1));
    Scene { server, cast, callers, room, file: file.expect("a UUID"), early }
}

/// Every operation of the description: its id, method and path.
fn operations() -> Vec<(String, Method, String)> {
    let description = haggle::http::description();
    let paths = description["paths"].as_object().expect("paths").iter();
    let operation = |path: &String, method: &String, operation: &Value| {
        let name = operation["operationId"].as_str().expect("an operation id").to_owned();
        (name, method.to_uppercase().parse().expect("a method"), path.clone())
    };
    paths
        .flat_map(|(path, item)| item.as_object().expect("operations").iter().map(move |(m, o)| operation(path, m, o)))
        .collect()
}

impl Scene {
    fn request(&self, caller: &Actor, column: u32, (name, method, path): &(String, Method, String)) -> RequestBuilder {
        let Self { cast, room, .. } = self;
        let file = if name == "upload_attachment" { id(0xf00 + column) } else { self.file };
        let filled = path
            .replace("{room_id}", &room.to_string())
            .replace("{campaign_id}", &cast.spring.to_string())
            .replace("{company_id}", &cast.north.to_string())
            .replace("{user_id}", &id(SPARE).to_string())
            .replace("{attachment_id}", &file.to_string())
            .replace("{connection_id}", &id(0xc0).to_string())
            .replace("{name}", &format!("{CANARY}.txt"));
        assert!(!filled.contains('{'), "{path} has a parameter that this test does not know");
        let query = match name.as_str() {
            "upload_attachment" => "?name=a.txt".to_owned(),
            "download_attachment" => "?u=service&exp=99999999999&sig=AAAA".to_owned(),
            // From before the room: whoever may hear of it does.
            "stream_events" => format!("?after={}", self.early),
            _ => String::new(),
        };
        let request = caller.request(method.clone(), &format!("{filled}{query}"));
        match self.body(name) {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    fn body(&self, operation: &str) -> Option<Value> {
        let cast = &self.cast;
        let to_ada = json!({"type": "company_to_user", "company_id": cast.north, "to_user_id": cast.ada.id()});
        Some(match operation {
            "create_chat_room" => json!({"message": {"content": "Hi"}, "direction": to_ada}),
            "send_message" => json!({"content": "Hi"}),
            "update_last_seen" => json!({"seen_till": 1}),
            "update_typing" => json!({"typing": false}),
            "update_viewing" => json!({"viewing": false}),
            "put_user" => json!({"given_name": "T", "family_name": "T", "logo_url": ""}),
            "put_company" => json!({"name": "Northwind", "logo_url": ""}),
            "put_campaign" => json!({"company_id": cast.north, "name": "Spring", "open": true}),
            "change_directory" => json!({"operations": []}),
            "upload_attachment" => json!("any bytes"),
            _ => return None,
        })
    }

    /// The number of the room's last message.
    async fn last_number(&self) -> i64 {
        self.cast.ada.rooms().await["rooms"][0]["last_message"]["id"].as_i64().expect("a number")
    }
}

/// The headers and the body of an answer; of a stream, which has no end, all that is replayed.
async fn all_told(answer: &mut reqwest::Response) -> String {
    let mut told = format!("{:?}\n", answer.headers()).into_bytes();
    while !String::from_utf8_lossy(&told).contains("event: presence") {
        let Some(piece) = answer.chunk().await.expect("the answer goes on") else { break };
        told.extend_from_slice(&piece);
    }
    String::from_utf8_lossy(&told).into_owned()
}

async fn everyone_may_do_what_the_table_says_and_no_more(database: Database) {
    let scene = scene(&database).await;
    let operations = operations();
    let described: BTreeSet<&str> = operations.iter().map(|operation| operation.0.as_str()).collect();
    assert_eq!(described, TABLE.iter().map(|row| row.0).collect(), "the table has a row for each operation");
    let before = scene.last_number().await;
    let (mut wrong, mut leaks_would_show) = (Vec::new(), false);
    for operation in &operations {
        let row = TABLE.iter().find(|row| row.0 == operation.0).expect("a row").1;
        for (column, (caller, expected)) in (0..).zip(scene.callers.iter().zip(row)) {
            let mut answer = scene.request(caller, column, operation).send().await.expect("an answer");
            let status = answer.status().as_u16();
            if status != expected && !(expected == 200 && (200..300).contains(&status)) {
                wrong.push(format!("{} by {}: {status}, not {expected}", operation.0, WHO[column as usize]));
            }
            let told = all_told(&mut answer).await;
            let may_know = expected == 200 && ["creator", "employee", "service"].contains(&WHO[column as usize]);
            if told.contains(CANARY) && !may_know {
                wrong.push(format!("{} tells {}: {told}", operation.0, WHO[column as usize]));
            }
            leaks_would_show |= told.contains(CANARY);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(leaks_would_show, "those who may know are told");
    // By the creator and the employee, and the one of `create_chat_room`: nothing came of what was refused.
    assert_eq!(scene.last_number().await, before + 3);
    nobody_else_is_told_what_comes_from_the_log(scene).await;
    let done = format!("{} operations × {} callers, {database}", operations.len(), WHO.len());
    tell("5", &done, "0 leaks, 0 that should not have been done");
}

/// Until here replays came from memory; after a restart they come from the database.
async fn nobody_else_is_told_what_comes_from_the_log(scene: Scene) {
    let Scene { server, callers, early, .. } = scene;
    let server = server.restart().await;
    for (who, caller) in WHO.iter().zip(callers) {
        let request = caller.at(&server).request(Method::GET, &format!("/v1/events?after={early}"));
        let told = all_told(&mut request.send().await.expect("an answer")).await;
        let may_know = ["creator", "employee"].contains(who);
        assert_eq!(told.contains(CANARY), may_know, "{who} is told {told}");
    }
}

async fn what_is_not_yours_looks_like_what_is_not_there(database: Database) {
    let scene = scene(&database).await;
    let Scene { cast, room, file, callers, .. } = &scene;
    let (nowhere, campaign, wrong) = (id(0x404), cast.spring, json!({"bogus": [1]}));
    let strangers = callers.iter().zip(ROOM).filter(|(_, expected)| *expected == 404).map(|(caller, _)| caller);
    let key = id(0x11);
    for stranger in strangers {
        for (method, path, body) in [
            (Method::GET, "/v1/rooms/{}".to_owned(), None),
            (Method::GET, "/v1/rooms/{}?message_qty=1&message_before=2".to_owned(), None),
            (Method::GET, format!("/v1/rooms/{{}}/contracts/{campaign}/history"), None),
            (Method::POST, "/v1/rooms/{}/messages".to_owned(), Some(json!({"content": "Hi"}))),
            (Method::POST, "/v1/rooms/{}/messages".to_owned(), Some(wrong.clone())),
            (Method::POST, "/v1/rooms/{}/messages".to_owned(), Some(json!({"content": "Hi", "from_user_id": key}))),
            (Method::PUT, "/v1/rooms/{}/last-seen".to_owned(), Some(json!({"seen_till": 1}))),
            (Method::PUT, "/v1/rooms/{}/last-seen".to_owned(), Some(wrong.clone())),
            (Method::PUT, "/v1/rooms/{}/typing".to_owned(), Some(json!({"typing": true}))),
            (Method::PUT, "/v1/rooms/{}/typing".to_owned(), Some(wrong.clone())),
            (Method::GET, "/v1/attachments/{}".to_owned(), None),
        ] {
            let theirs = if path.contains("attachments") { *file } else { *room };
            let ask = async |id: Uuid| {
                let request = stranger.request(method.clone(), &path.replace("{}", &id.to_string()));
                let request = body.iter().fold(request, RequestBuilder::json);
                without_id(stranger.run(request).await)
            };
            assert_eq!(ask(theirs).await, ask(nowhere).await, "{method} {path}");
        }
    }
    let no_contract = format!("/v1/rooms/{room}/contracts/{}/history", cast.autumn);
    let of_nowhere = format!("/v1/rooms/{nowhere}/contracts/{}/history", cast.autumn);
    for reader in [&cast.ada, &cast.service] {
        assert_eq!(without_id(reader.get(&no_contract).await), without_id(reader.get(&of_nowhere).await));
    }
}

/// A 404 without what differs between any two requests.
fn without_id(answer: Answer) -> Value {
    let mut body = answer.refused(404, "not_found");
    body["request_id"].take();
    body
}

async fn metrics_are_for_the_host_application(database: Database) {
    let scene = scene(&database).await;
    for (caller, expected) in scene.callers.iter().zip(SERVICE) {
        assert_eq!(caller.get("/metrics").await.status, expected);
    }
    drop(scene.server);
}
