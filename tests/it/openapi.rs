//! The API description: committed as it is generated, sound by itself, and true to what a running server answers.

use std::collections::{BTreeMap, BTreeSet};

use haggle::http::{description, down_to_3_0};
use serde_json::{Map, Value, json};

use crate::harness::{Answer, Cast, Database, Server, id};

const RENEW: &str = "renew it: cargo run -- openapi > openapi/openapi.json; \
                     cargo run -- openapi --v3-0 > openapi/openapi-3.0.json";
/// What any operation may answer instead of success.
const PROBLEMS: [&str; 11] = ["400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503"];
/// The calls of the wire contract.
const CALLS: [&str; 23] = [
    "DELETE /v1/events/session",
    "DELETE /v1/users/{user_id}",
    "GET /v1/attachments/{attachment_id}",
    "GET /v1/attachments/{attachment_id}/{name}",
    "GET /v1/campaigns/{campaign_id}",
    "GET /v1/companies/{company_id}",
    "GET /v1/config",
    "GET /v1/events",
    "GET /v1/rooms",
    "GET /v1/rooms/{room_id}",
    "GET /v1/rooms/{room_id}/contracts/{campaign_id}/history",
    "GET /v1/users/{user_id}",
    "POST /v1/directory/batch",
    "POST /v1/events/session",
    "POST /v1/rooms",
    "POST /v1/rooms/{room_id}/messages",
    "PUT /v1/attachments/{attachment_id}",
    "PUT /v1/campaigns/{campaign_id}",
    "PUT /v1/companies/{company_id}",
    "PUT /v1/events/{connection_id}/viewing",
    "PUT /v1/rooms/{room_id}/last-seen",
    "PUT /v1/rooms/{room_id}/typing",
    "PUT /v1/users/{user_id}",
];
/// The events of the wire contract.
const EVENTS: [&str; 10] = [
    "activity_change",
    "goodbye",
    "heartbeat",
    "hello",
    "new_last_view",
    "new_message",
    "presence",
    "resync",
    "room_created_with_you",
    "typing_change",
];

fn both() -> [(&'static str, Value); 2] {
    let newest = description();
    let older = down_to_3_0(&newest);
    [("openapi.json", newest), ("openapi-3.0.json", older)]
}

/// Calls `visit` with everything in a document, and with where it is.
fn walk(value: &Value, at: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(at, value);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| walk(item, &format!("{at}/{i}"), visit)),
        _ => {}
    }
}

fn schemas(document: &Value) -> &Map<String, Value> {
    document["components"]["schemas"].as_object().expect("schemas")
}

fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").iter();
            methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect()
}

#[test]
fn the_committed_documents_are_what_the_code_generates() {
    for (file, generated) in both() {
        let path = format!("{}/openapi/{file}", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}; {RENEW}"));
        let generated = serde_json::to_string_pretty(&generated).expect("JSON") + "\n";
        assert!(committed == generated, "openapi/{file} is out of date; {RENEW}");
    }
}

#[test]
fn every_call_of_the_contract_is_described_and_no_other() {
    let document = description();
    assert_eq!(operations(&document).into_keys().collect::<Vec<_>>(), CALLS);
}

#[test]
fn every_operation_says_what_it_may_answer() {
    for (file, document) in both() {
        let mut ids = BTreeSet::new();
        for (call, operation) in operations(&document) {
            for status in PROBLEMS {
                let problem = &operation["responses"][status]["content"]["application/problem+json"]["schema"];
                assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{file}: {status} of {call}");
            }
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{file}: {id} twice");
            for words in ["summary", "description"] {
                assert!(operation[words].as_str().is_some_and(|words| !words.is_empty()), "{file}: {words} of {call}");
            }
            assert!(operation["security"].is_array(), "{file}: {call} does not say who may call it");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    for (file, document) in both() {
        let mut used = BTreeSet::new();
        walk(&document, "", &mut |at, value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let target = reference.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(target).is_some(), "{file}: {reference} in {at}");
                used.insert(target.to_owned());
            }
        });
        for name in schemas(&document).keys() {
            assert!(used.contains(&format!("/components/schemas/{name}")), "{file}: nothing refers to {name}");
        }
    }
}

#[test]
fn every_variant_of_every_union_has_a_name_and_a_tag() {
    for (file, document) in both() {
        let mut unions = BTreeMap::new();
        walk(&document, "", &mut |at, value| {
            if let Some(variants) = value.get("oneOf").and_then(Value::as_array) {
                let union = at.strip_prefix("/components/schemas/").unwrap_or_else(|| panic!("{file}: oneOf in {at}"));
                let tags: BTreeMap<String, Value> = variants.iter().map(|variant| tag(&document, variant)).collect();
                if file == "openapi.json" {
                    let discriminator = json!({"propertyName": "type", "mapping": tags});
                    assert_eq!(value["discriminator"], discriminator, "{union}");
                }
                unions.insert(union.to_owned(), tags.into_keys().collect::<Vec<_>>());
            }
        });
        let names: Vec<&str> = unions.keys().map(String::as_str).collect();
        let expected =
            ["ContractChange", "ContractChangeInput", "CreateChatRoomDirection", "DirectoryChange", "StreamEvent"];
        assert_eq!(names, expected, "{file}");
        assert_eq!(unions["StreamEvent"], EVENTS, "{file}");
    }
}

/// The one `type` of a variant, and the name of its schema.
fn tag(document: &Value, variant: &Value) -> (String, Value) {
    let target = variant["$ref"].as_str().unwrap_or_else(|| panic!("{variant} is not a component"));
    let named = document.pointer(&target[1..]).expect("a component");
    let [tag] = named["properties"]["type"]["enum"].as_array().expect("a tag").as_slice() else { panic!("{named}") };
    assert!(named["required"].as_array().is_some_and(|required| required.contains(&json!("type"))), "{target}");
    (tag.as_str().expect("a name").to_owned(), json!(target))
}

/// Generators make a constructor `NewX` for `X`, have no word for null beside a type, and stumble over combinations;
/// openapi-python-client makes a UUID of a header, which httpx then refuses to send.
#[test]
fn nothing_is_spelled_in_a_way_that_generators_are_known_to_misread() {
    for (file, document) in both() {
        let names: BTreeSet<&str> = schemas(&document).keys().map(String::as_str).collect();
        for name in &names {
            assert!(!names.contains(format!("New{name}").as_str()), "{file}: {name} and New{name}");
            assert!(name.chars().all(char::is_alphanumeric), "{file}: {name}");
        }
        walk(&document, "", &mut |at, value| {
            assert!(!value["type"].is_array(), "{file}: several types in {at}");
            assert!(value["in"] != "header" || value["schema"]["format"].is_null(), "{file}: a format in {at}");
            for word in ["allOf", "anyOf", "nullable", "const"] {
                assert!(value.get(word).is_none() || at.ends_with("/properties"), "{file}: {word} in {at}");
            }
        });
    }
}

#[test]
fn a_3_0_document_holds_nothing_newer() {
    let document = down_to_3_0(&description());
    assert_eq!(document["openapi"], "3.0.3");
    walk(&document, "", &mut |at, value| {
        let Some(fields) = value.as_object().filter(|_| !at.ends_with("/properties")) else { return };
        for word in ["contentMediaType", "contentEncoding", "examples", "identifier", "multipart/form-data"] {
            assert!(!fields.contains_key(word), "{word} in {at}");
        }
        assert!(!fields.contains_key("$ref") || fields.len() == 1, "words beside a reference in {at}");
        // progenitor: one type for all refusals of an operation, and no library for regular expressions.
        for (status, response) in fields.iter().filter(|_| at.ends_with("/responses")) {
            assert!(!status.starts_with('4') || response["content"].is_object(), "no problem in {at}/{status}");
        }
        assert!(!fields.contains_key("pattern"), "a pattern in {at}");
    });
}

#[test]
fn every_example_is_one() {
    let described = Described::new();
    let mut seen = 0;
    walk(&described.0, "", &mut |at, value| {
        if at.ends_with("/properties") {
            return;
        }
        if let Some(example) = value.get("example") {
            let schema = value.get("schema").unwrap_or(value);
            described.assert_valid(schema, example, at);
            seen += 1;
        }
    });
    assert!(seen > 10, "only {seen} examples");
}

/// The description with every object closed, so that an undocumented field is noticed.
struct Described(Value);

impl Described {
    fn new() -> Self {
        let mut document = description();
        for schema in document["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = json!(false);
            }
        }
        Self(document)
    }

    #[track_caller]
    fn assert_valid(&self, schema: &Value, value: &Value, what: &str) {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.0["components"],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("a schema");
        let errors: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {value:#}");
    }

    /// The answer to a call, if it has this status, and the form that is described for it.
    #[track_caller]
    fn check(&self, route: &str, status: u16, answer: Answer) -> Value {
        let method = answer.request.split(' ').next().expect("a method").to_lowercase();
        let response = &self.0["paths"][route][&method]["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {route} does not describe {status}");
        let media = answer.header("content-type").to_owned();
        let what = answer.request.clone();
        let body = answer.expect(status);
        if body.is_null() {
            assert!(response.get("content").is_none(), "{what} should have answered with a body");
        } else {
            let schema = &response["content"][&media]["schema"];
            assert!(schema.is_object(), "{what}: {media} is not described");
            self.assert_valid(schema, &body, &what);
        }
        body
    }

    #[track_caller]
    fn check_event(&self, data: &Value) {
        self.assert_valid(&json!({"$ref": "#/components/schemas/StreamEvent"}), data, "an event");
    }
}

on_every_database!(answers_have_the_described_form, problems_have_the_described_form, events_have_the_described_form);

const ROOMS: &str = "/v1/rooms";
const ROOM: &str = "/v1/rooms/{room_id}";
const MESSAGES: &str = "/v1/rooms/{room_id}/messages";
const ATTACHMENT: &str = "/v1/attachments/{attachment_id}";

async fn answers_have_the_described_form(database: Database) {
    let (described, server) = (Described::new(), Server::start(&database).await);
    let cast = server.cast().await;
    let Cast { ada, nora, service, .. } = &cast;
    let create = |company| {
        let direction = json!({"type": "user_to_company", "company_id": company});
        json!({"message": {"content": "Hi"}, "direction": direction})
    };
    described.check(ROOMS, 201, ada.post(ROOMS, &create(cast.lumen)).await);
    let created = described.check(ROOMS, 201, ada.post(ROOMS, &create(cast.north)).await);
    described.check(ROOMS, 200, ada.post(ROOMS, &create(cast.north)).await);
    let room = created["room_id"].as_str().expect("a room");
    let messages = format!("/v1/rooms/{room}/messages");

    let file = json!({"name": "a.txt", "content": "aGVsbG8=", "content_type": "text/plain"});
    described.check(MESSAGES, 201, ada.post(&messages, &json!({"content": "See", "attachment": file})).await);
    let propose = json!({"type": "proposed_by_company", "campaign_id": cast.spring, "payout": 100});
    described.check(MESSAGES, 201, nora.post(&messages, &json!({"content": "", "contract_change": propose})).await);
    let decline = json!({"type": "cancelled_by_creator", "expected_version": 1});
    described.check(MESSAGES, 201, ada.post(&messages, &json!({"content": "No", "contract_change": decline})).await);

    let listed = described.check(ROOMS, 200, ada.get("/v1/rooms?limit=1").await);
    let next = listed["next"].as_str().expect("another page");
    described.check(ROOMS, 200, ada.get(&format!("/v1/rooms?limit=1&cursor={next}")).await);
    for reader in [ada, nora, service] {
        described.check(ROOM, 200, reader.get(&format!("/v1/rooms/{room}")).await);
        let history = format!("/v1/rooms/{room}/contracts/{}/history", cast.spring);
        described.check("/v1/rooms/{room_id}/contracts/{campaign_id}/history", 200, reader.get(&history).await);
    }
    described.check("/v1/rooms/{room_id}/last-seen", 200, nora.see(room.parse().expect("an id"), 2).await);
    described.check("/v1/rooms/{room_id}/typing", 204, nora.typing(room.parse().expect("an id"), true).await);
    described.check("/v1/config", 200, server.nobody().get("/v1/config").await);

    let path = format!("/v1/attachments/{}", id(0xf1));
    for status in [201, 200] {
        let put = ada.request(reqwest::Method::PUT, &format!("{path}?name=b.txt")).body("bytes");
        described.check(ATTACHMENT, status, ada.run(put).await);
    }
    described.check(ATTACHMENT, 200, ada.get(&path).await);
    described.check("/v1/events/session", 204, ada.post("/v1/events/session", &Value::Null).await);
    described.check("/v1/events/session", 204, ada.delete("/v1/events/session").await);
    let viewing = format!("/v1/events/{}/viewing", id(1));
    described.check("/v1/events/{connection_id}/viewing", 204, ada.put(&viewing, &json!({"viewing": false})).await);
    directory_answers(&described, &cast).await;
}

async fn directory_answers(described: &Described, cast: &Cast) {
    let service = &cast.service;
    let mei = json!({"given_name": "Mei", "family_name": "T", "logo_url": "", "company_id": cast.north});
    let entries = [
        ("users", "user_id", mei),
        ("companies", "company_id", json!({"name": "New", "logo_url": "https://example.com/a.png"})),
        ("campaigns", "campaign_id", json!({"company_id": cast.north, "name": "New", "open": false})),
    ];
    for (kind, parameter, entry) in entries {
        let (route, path) = (format!("/v1/{kind}/{{{parameter}}}"), format!("/v1/{kind}/{}", id(0xd1)));
        described.check(&route, 201, service.put(&path, &entry).await);
        described.check(&route, 200, service.put(&path, &entry).await);
        described.check(&route, 200, service.get(&path).await);
    }
    let path = format!("/v1/users/{}?erase=true", id(0xd1));
    described.check("/v1/users/{user_id}", 204, service.delete(&path).await);
    let batch = json!({"operations": [{"type": "delete_user", "id": id(0xd1)}]});
    described.check("/v1/directory/batch", 200, service.post("/v1/directory/batch", &batch).await);
}

async fn problems_have_the_described_form(database: Database) {
    let (described, server) = (Described::new(), Server::start(&database).await);
    let cast = server.cast().await;
    let Cast { ada, nora, .. } = &cast;
    let room = ada.open_room(cast.north, "Hi").await;
    nora.propose(room, cast.spring, 100).await.expect(201);
    let messages = format!("/v1/rooms/{room}/messages");
    let guarded = json!({"content": "", "contract_change": {"type": "accepted_by_creator", "expected_version": 7}});
    let conflict = described.check(MESSAGES, 409, ada.post(&messages, &guarded).await);
    assert_eq!(conflict["contract"]["version"], 1);
    for (status, answer) in [
        (400, ada.post_raw(&messages, "application/json", "{").await),
        (401, server.nobody().post(&messages, &json!({})).await),
        (403, ada.change(room, &json!({"type": "approved_by_company"})).await),
        (404, cast.luca.message(room, &json!({"content": "?"})).await),
        (413, ada.message(room, &crate::errors::oversized()).await),
        (415, ada.post_raw(&messages, "text/plain", "?").await),
        (422, ada.message(room, &json!({"content": 5, "x": 1})).await),
    ] {
        described.check(MESSAGES, status, answer);
    }
    described.check("/v1/directory/batch", 403, ada.post("/v1/directory/batch", &json!({})).await);
}

async fn events_have_the_described_form(database: Database) {
    let (described, server) = (Described::new(), Server::start(&database).await);
    let cast = server.cast().await;
    let Cast { ada, nora, .. } = &cast;
    let mut stream = nora.stream().await;
    let mut seen = BTreeSet::from(["hello".to_owned()]);
    described.check_event(&stream.hello.data);
    let mut resynced = nora.stream_after("nonsense").await;
    let events = async {
        let page = ada.stream().await;
        let room = ada.open_room(cast.north, "Hi").await;
        ada.typing(room, true).await.expect(204);
        let file = json!({"name": "a.txt", "content": "aGVsbG8=", "content_type": ""});
        ada.message(room, &json!({"content": "", "attachment": file})).await.expect(201);
        nora.propose(room, cast.spring, 100).await.expect(201);
        ada.see(room, 3).await.expect(200);
        let connection = page.hello.data["connection_id"].as_str().expect("a stream");
        ada.put(&format!("/v1/events/{connection}/viewing"), &json!({"viewing": false})).await.expect(204);
        server.clock.advance(std::time::Duration::from_secs(16));
        // It stays open until everything has been heard.
        page
    };
    let reading = async {
        while seen.len() < EVENTS.len() - 2 {
            let event = stream.next().await;
            described.check_event(&event.data);
            seen.insert(event.name);
        }
    };
    let (_page, ()) = tokio::join!(events, reading);
    described.check_event(&resynced.next_of("resync").await);
    cast.service.delete(&format!("/v1/users/{}", nora.id())).await.expect(204);
    described.check_event(&stream.next_of("goodbye").await);
    seen.extend(["resync".to_owned(), "goodbye".to_owned()]);
    assert_eq!(seen, EVENTS.map(str::to_owned).into());
    let mut service = cast.service.stream_at("/v1/events?all=true").await;
    described.check_event(&service.hello.data);
    assert!(service.hello.data.get("user_id").is_none());
    server.clock.advance(std::time::Duration::from_secs(16));
    described.check_event(&service.next().await.data);
}
