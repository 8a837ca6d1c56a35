//! Files: the three ways in, their limits, links, what a browser is told, and that nothing is left behind (promise 16).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use haggle::domain::{Command, ObjectId, Upload, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Ground, Server, eventually, id};
use crate::uploads::{Form, stored, stored_at_rest};

on_every_file_store!(
    base64_comes_in_four_spellings,
    base64_is_taken_up_to_8_mib,
    a_form_may_come_in_any_order_and_declare_anything,
    a_form_opens_a_room,
    forms_that_are_wrong_are_explained_and_leave_nothing,
    streamed_files_are_taken_up_to_25_mib,
    an_upload_is_idempotent,
    an_upload_is_attached_once_and_by_its_uploader,
    a_message_holds_one_file,
    a_link_works_for_its_reader_only_while_they_have_access,
    a_link_ends_and_a_fresh_one_is_there_for_the_asking,
    altered_links_open_nothing,
    names_cannot_attack,
    refused_messages_leave_no_bytes,
    an_upload_that_breaks_off_leaves_no_bytes,
    unattached_bytes_are_limited,
    what_no_message_holds_is_swept_after_a_day,
    links_are_absolute_where_the_server_is_public,
);

// Of a store's own answers `s3.rs` has more.
where_bytes_pass_through!(a_link_needs_no_token_and_answers_like_a_file, what_could_run_is_never_shown_in_place);

pub const MIB: usize = 1024 * 1024;
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// A room of Northwind and Ada.
pub struct Stage {
    pub server: Server,
    pub cast: Cast,
    pub room: Uuid,
}

impl Stage {
    pub async fn new(ground: &Ground) -> Self {
        let server = ground.server(|_| {}).await;
        let cast = server.cast().await;
        let room = cast.ada.open_room(cast.north, "Hi").await;
        Self { server, cast, room }
    }

    pub fn path(&self) -> String {
        format!("/v1/rooms/{}/messages", self.room)
    }

    /// The file of the room's newest message, as somebody sees it.
    pub async fn newest(&self, reader: &Actor) -> Value {
        reader.room(self.room).await["messages"].as_array().unwrap().last().unwrap()["attachment"].clone()
    }

    /// Ada sends a file; returns it as she sees it.
    pub async fn send(&self, name: &str, bytes: &[u8], declared: &str) -> Value {
        self.cast.ada.message(self.room, &in_base64(name, &STANDARD.encode(bytes), declared)).await.expect(201);
        self.newest(&self.cast.ada).await
    }

    async fn open(&self, link: &Value) -> Answer {
        self.server.nobody().get(link.as_str().unwrap()).await
    }
}

pub fn in_base64(name: &str, content: &str, declared: &str) -> Value {
    json!({"content": "", "attachment": {"name": name, "content": content, "content_type": declared}})
}

pub fn attached(id: Uuid) -> Value {
    json!({"content": "", "attachment_id": id})
}

pub async fn upload(who: &Actor, id: Uuid, name: &str, body: impl Into<reqwest::Body>) -> Answer {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    who.run(who.request(Method::PUT, &format!("/v1/attachments/{id}?name={name}")).body(body)).await
}

/// A body whose length is not told.
pub fn streamed(bytes: usize) -> reqwest::Body {
    let pieces = (0..bytes.div_ceil(MIB)).map(move |n| vec![b'x'; MIB.min(bytes - n * MIB)]);
    reqwest::Body::wrap_stream(tokio_stream::iter(pieces.map(Ok::<_, std::io::Error>)))
}

async fn base64_comes_in_four_spellings(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let bytes = [0xfb, 0xff, 0xbe, 0x3e];
    for spelling in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        stage.cast.ada.message(stage.room, &in_base64("a", &spelling.encode(bytes), "")).await.expect(201);
        let file = stage.newest(&stage.cast.nora).await;
        assert_eq!((&file["size"], stage.open(&file["link"]).await.bytes), (&json!(4), bytes.to_vec()));
    }
    for wrong in ["a", "@@@@", "aGVs bG8=", "aGVsbG8=="] {
        let problem = stage.cast.ada.message(stage.room, &in_base64("a", wrong, "")).await;
        assert_eq!(problem.refused(422, "invalid_value")["errors"][0]["pointer"], "/attachment/content", "{wrong}");
    }
}

async fn base64_is_taken_up_to_8_mib(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let send = async |bytes: usize| {
        let body = in_base64("a", &STANDARD.encode(vec![b'x'; bytes]), "text/plain");
        stage.cast.ada.message(stage.room, &body).await
    };
    for bytes in [8 * MIB + 1, 9 * MIB, 12 * MIB] {
        send(bytes).await.refused(413, "too_large");
        assert_eq!(stored(&stage.server).await, [0, 0, 0]);
    }
    send(8 * MIB).await.expect(201);
    assert_eq!(stage.newest(&stage.cast.nora).await["size"], 8 * MIB);
    assert_eq!(stage.cast.nora.room(stage.room).await["messages"].as_array().unwrap().len(), 2);
}

async fn a_form_may_come_in_any_order_and_declare_anything(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let message = json!({"content": "See", "change_selected_campaign_to": stage.cast.spring}).to_string();
    for kind in ["", "text/plain", "application/json", "application/json; charset=utf-8", "image/png", "?"] {
        let kind = if kind.is_empty() { String::new() } else { format!("\r\nContent-Type: {kind}") };
        let headers = format!("Content-Disposition: form-data; name=\"message\"{kind}");
        for form in [
            Form::new().part(&headers, message.as_bytes()).file("a.txt", b"hello"),
            Form::new().file("a.txt", b"hello").part(&headers, message.as_bytes()),
        ] {
            form.post(&stage.cast.ada, &stage.path(), None).await.expect(201);
            let file = stage.newest(&stage.cast.nora).await;
            let told = (&file["name"], &file["content_type"], &file["size"]);
            assert_eq!(told, (&json!("a.txt"), &json!("text/plain"), &json!(5)));
            assert_eq!(stage.open(&file["link"]).await.bytes, b"hello");
        }
    }
    let alone = Form::new().text("message", &message);
    alone.post(&stage.cast.ada, &stage.path(), None).await.expect(201);
}

async fn a_form_opens_a_room(ground: Ground) {
    let server = ground.server(|_| {}).await;
    let cast = server.cast().await;
    let room = json!({"message": {"content": ""}, "direction": {"type": "user_to_company", "company_id": cast.north}});
    for (form, status) in [
        (Form::new().text("room", &room.to_string()).file("a.txt", b"hello"), 201),
        (Form::new().file("a.txt", b"hello").text("room", &room.to_string()), 200),
    ] {
        form.post(&cast.ada, "/v1/rooms", None).await.expect(status);
        let last = cast.nora.rooms().await["rooms"][0]["last_message"].clone();
        assert_eq!(last["attachment"]["name"], "a.txt");
    }
    let wrong_part = Form::new().text("message", &room.to_string());
    wrong_part.post(&cast.ada, "/v1/rooms", None).await.refused(422, "invalid_value");
}

async fn forms_that_are_wrong_are_explained_and_leave_nothing(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let file = || Form::new().file("a.txt", b"hello");
    let text = r#"{"content":""}"#;
    for (form, status, code, field) in [
        (file(), 422, "invalid_value", "/message"),
        (file().text("message", text).text("note", "x"), 422, "invalid_value", "/note"),
        (file().text("message", text).text("message", text), 422, "invalid_value", "/message"),
        (file().text("message", text).file("b.txt", b"hello"), 422, "invalid_value", "/attachment"),
        (file().text("message", "{"), 400, "malformed_request", ""),
        (file().text("message", r#"{"content":"","x":1}"#), 422, "invalid_value", "/x"),
        (file().text("message", &attached(id(1)).to_string()), 422, "invalid_value", "/attachment"),
        (file().text("message", &in_base64("a", "", "").to_string()), 422, "invalid_value", "/attachment"),
        (Form::new().text("message", text), 422, "invalid_value", "/content"),
        (Form::new().file("../a", b"x").text("message", text), 422, "invalid_value", "/attachment/name"),
        (file().text("message", &" ".repeat(300 * 1024)), 413, "too_large", ""),
    ] {
        let problem = form.post(&stage.cast.ada, &stage.path(), None).await.refused(status, code);
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or_default(), field, "{problem}");
    }
    let whole = file().text("message", text).body();
    for cut in [0, 10, 60, 150, whole.len() / 2, whole.len() - 10] {
        let answer = file().post_body(&stage.cast.ada, &stage.path(), None, whole[..cut].to_vec()).await;
        assert!(matches!(answer.status, 400 | 422), "{cut}: {}", answer.body);
    }
    let kind = "multipart/form-data";
    stage.cast.ada.post_raw(&stage.path(), kind, whole).await.refused(400, "malformed_request");
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    assert_eq!(stage.cast.ada.room(stage.room).await["messages"].as_array().unwrap().len(), 1);
}

async fn streamed_files_are_taken_up_to_25_mib(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let ada = &stage.cast.ada;
    let form = |bytes: usize| Form::new().text("message", r#"{"content":""}"#).file("a", &vec![b'x'; bytes]).body();
    for bytes in [25 * MIB + 1, 30 * MIB] {
        upload(ada, id(1), "a", vec![b'x'; bytes]).await.refused(413, "too_large");
        upload(ada, id(1), "a", streamed(bytes)).await.refused(413, "too_large");
        Form::new().post_body(ada, &stage.path(), None, form(bytes)).await.refused(413, "too_large");
    }
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    upload(ada, id(1), "a", streamed(25 * MIB)).await.expect(201);
    Form::new().post_body(ada, &stage.path(), None, form(25 * MIB)).await.expect(201);
    assert_eq!(stage.newest(ada).await["size"], 25 * MIB);
    assert_eq!(stored_at_rest(&stage.server, 2).await, [2, 2, 0]);
}

async fn an_upload_is_idempotent(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Cast { ada, nora, .. } = &stage.cast;
    let first = upload(ada, id(1), "a b.png", PNG).await.expect(201);
    let told = (&first["id"], &first["name"], &first["content_type"], &first["size"]);
    assert_eq!(told, (&json!(id(1)), &json!("a b.png"), &json!("image/png"), &json!(PNG.len())));
    assert_eq!(upload(ada, id(1), "a b.png", PNG).await.expect(200), first);
    assert_eq!(stage.open(&first["link"]).await.bytes, PNG);
    for (who, name, bytes) in [(ada, "a b.png", b"other".as_slice()), (ada, "b.png", PNG), (nora, "a b.png", PNG)] {
        upload(who, id(1), name, bytes).await.refused(409, "attachment_conflict");
    }
    ada.message(stage.room, &attached(id(1))).await.expect(201);
    upload(ada, id(1), "a b.png", PNG).await.expect(200);
    assert_eq!(stored_at_rest(&stage.server, 1).await, [1, 1, 0]);
    assert_eq!(stage.open(&stage.newest(nora).await["link"]).await.bytes, PNG);

    let racing = join_all((0..8).map(|_| upload(ada, id(2), "a", "hello"))).await;
    assert_eq!(racing.iter().filter(|answer| answer.status == 201).count(), 1, "{racing:?}");
    assert_eq!(racing.iter().filter(|answer| answer.status == 200).count(), 7);
    assert_eq!(stored_at_rest(&stage.server, 2).await, [2, 2, 0]);
    for path in ["/v1/attachments/x?name=a", &format!("/v1/attachments/{}", id(3))] {
        let answer = ada.run(ada.request(Method::PUT, path).body("hello")).await;
        assert!(matches!(answer.status, 400 | 422), "{}", answer.body);
    }
}

async fn an_upload_is_attached_once_and_by_its_uploader(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Cast { ada, nora, kofi, .. } = &stage.cast;
    upload(ada, id(1), "a", "hello").await.expect(201);
    for who in [nora, kofi] {
        who.get(&format!("/v1/attachments/{}", id(1))).await.refused(404, "not_found");
    }
    let problem = nora.message(stage.room, &attached(id(1))).await.refused(422, "unknown_attachment");
    assert_eq!(problem["errors"][0]["pointer"], "/attachment_id");
    ada.message(stage.room, &attached(id(9))).await.refused(422, "unknown_attachment");
    let body = attached(id(1));
    let racing = join_all((0..8).map(|_| ada.message(stage.room, &body))).await;
    assert_eq!(racing.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in racing.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(422, "attachment_used");
    }
    assert_eq!(stage.newest(nora).await["id"], json!(id(1)));
    nora.get(&format!("/v1/attachments/{}", id(1))).await.expect(200);
    kofi.get(&format!("/v1/attachments/{}", id(1))).await.refused(404, "not_found");
}

async fn a_message_holds_one_file(ground: Ground) {
    let stage = Stage::new(&ground).await;
    upload(&stage.cast.ada, id(1), "a", "hello").await.expect(201);
    let mut both = in_base64("b", "aGVsbG8=", "");
    both["attachment_id"] = json!(id(1));
    let problem = stage.cast.ada.message(stage.room, &both).await.refused(422, "invalid_value");
    assert_eq!(problem["errors"][0]["pointer"], "/attachment");
    assert_eq!(stored_at_rest(&stage.server, 1).await, [1, 1, 0]);
    stage.cast.ada.message(stage.room, &attached(id(1))).await.expect(201);
}

async fn a_link_needs_no_token_and_answers_like_a_file(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let mut stream = stage.cast.nora.stream().await;
    let file = stage.send("a.png", PNG, "text/html").await;
    let told = stream.next_of("new_message").await["message"]["attachment"].clone();
    assert_eq!((&told["id"], stage.open(&told["link"]).await.bytes), (&file["id"], PNG.to_vec()));

    let nobody = stage.server.nobody();
    let link = file["link"].as_str().unwrap();
    let ask = async |method: Method, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(nobody.request(method, link), |r, (name, value)| r.header(*name, *value));
        nobody.run(request).await
    };
    let whole = ask(Method::GET, &[]).await;
    assert_eq!((whole.status, &whole.bytes[..]), (200, PNG));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline; filename=\"a.png\"; filename*=UTF-8''a.png"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("accept-ranges", "bytes"),
        ("content-length", &PNG.len().to_string()),
    ] {
        assert_eq!(whole.header(name), value);
    }
    assert!(whole.header("content-security-policy").contains("sandbox"));
    assert!(whole.header("cache-control").contains("private"));
    let tag = whole.header("etag").to_owned();

    let head = ask(Method::HEAD, &[]).await;
    assert_eq!((head.status, head.bytes.len(), head.header("etag")), (200, 0, tag.as_str()));
    assert_eq!(head.header("content-length"), PNG.len().to_string());
    let known = ask(Method::GET, &[("If-None-Match", &tag)]).await;
    assert_eq!((known.status, known.bytes.len(), known.header("etag")), (304, 0, tag.as_str()));
    let part = ask(Method::GET, &[("Range", "bytes=1-3")]).await;
    assert_eq!((part.status, &part.bytes[..]), (206, b"PNG".as_slice()));
    assert_eq!(part.header("content-range"), format!("bytes 1-3/{}", PNG.len()));
    let other = ask(Method::GET, &[("Range", "bytes=1-3"), ("If-Range", "\"other\"")]).await;
    assert_eq!(other.bytes, PNG);
    let beyond = ask(Method::GET, &[("Range", "bytes=5000-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{}", PNG.len()).as_str()));
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        ask(method, &[]).await.refused(405, "method_not_allowed");
    }
}

async fn a_link_works_for_its_reader_only_while_they_have_access(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Cast { ada, nora, ben, service, .. } = &stage.cast;
    stage.send("a.txt", b"hello", "").await;
    let [of_ada, of_nora, of_ben] =
        [stage.newest(ada).await, stage.newest(nora).await, stage.newest(ben).await].map(|file| file["link"].clone());
    assert!(of_ada != of_nora && of_nora != of_ben);
    let of_service = service.get(&format!("/v1/rooms/{}", stage.room)).await.expect(200);
    let of_service = &of_service["messages"][1]["attachment"]["link"];

    let moved = json!({"given_name": "Ben", "family_name": "T", "logo_url": "", "company_id": stage.cast.lumen});
    service.put(&format!("/v1/users/{}", ben.id()), &moved).await.expect(200);
    service.delete(&format!("/v1/users/{}", ada.id())).await.expect(204);
    for lost in [&of_ben, &of_ada] {
        stage.open(lost).await.refused(403, "link_expired");
    }
    for kept in [&of_nora, of_service] {
        assert_eq!(stage.open(kept).await.bytes, b"hello");
    }
}

async fn a_link_ends_and_a_fresh_one_is_there_for_the_asking(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let file = stage.send("a.txt", b"hello", "").await;
    stage.server.clock.advance(Duration::from_mins(59));
    assert_eq!(stage.open(&file["link"]).await.status, 200, "links hold for an hour at least");
    stage.server.clock.advance(Duration::from_mins(61));
    stage.open(&file["link"]).await.refused(403, "link_expired");
    let nora = stage.server.actor(stage.cast.nora.id());
    let fresh = nora.get(&format!("/v1/attachments/{}", file["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&fresh["name"], &fresh["size"]), (&file["name"], &file["size"]));
    assert_eq!(stage.open(&fresh["link"]).await.bytes, b"hello");
}

async fn altered_links_open_nothing(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let (file, other) = (stage.send("a.txt", b"hello", "").await, stage.send("a.txt", b"hello", "").await);
    let link = file["link"].as_str().unwrap();
    let url = url::Url::parse("http://x").unwrap().join(link).unwrap();
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let (reader, ends, signature) = (value("u"), value("exp"), value("sig"));
    let later = ends.parse::<i64>().unwrap() + 3_600;
    let ids = [file["id"].as_str().unwrap(), other["id"].as_str().unwrap()];
    for altered in [
        link.replace(ids[0], ids[1]),
        link.replace(ids[0], &id(9).to_string()),
        link.replace(&reader, &stage.cast.nora.id().to_string()),
        link.replace(&reader, "service"),
        link.replace(&reader, ""),
        link.replace(&ends, &later.to_string()),
        link.replace(&ends, "9223372036854775807"),
        link.replace(&signature, ""),
        link.replace(&signature, "AAAA"),
        link.replace(&signature, &signature.to_lowercase()),
        link.replace(&signature, &signature[1..]),
        link.replace(&signature, "%00"),
    ] {
        stage.open(&json!(altered)).await.refused(403, "link_expired");
    }
    let path = link.split('?').next().unwrap();
    for broken in
        [path.to_owned(), format!("{path}?u={reader}"), link.replace(&ends, "soon"), link.replace(ids[0], "x")]
    {
        let answer = stage.open(&json!(broken)).await;
        assert!(matches!(answer.status, 400 | 403 | 422), "{broken}: {}", answer.body);
        assert!(answer.body["code"].is_string());
    }
    let renamed = format!("{}?{}", path.replace("a.txt", "b.html"), url.query().unwrap());
    let renamed = stage.open(&json!(renamed)).await;
    assert!(renamed.header("content-disposition").contains("a.txt"), "the name is for people");
}

async fn what_could_run_is_never_shown_in_place(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let svg_in_xml = [b"<?xml version=\"1.0\"?>\n".as_slice(), svg].concat();
    let hostile: [&[u8]; 6] = [
        svg,
        &svg_in_xml,
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"<script>alert(1)</script>",
        b"\xef\xbb\xbf<html onload=alert(1)>",
        b"alert(1)",
    ];
    for bytes in hostile {
        for declared in ["image/svg+xml", "text/html", "image/png", "text/javascript", "application/xhtml+xml", ""] {
            let file = stage.send("a.svg", bytes, declared).await;
            let answer = stage.open(&file["link"]).await;
            assert!(answer.header("content-disposition").starts_with("attachment;"), "{declared}");
            let served = answer.header("content-type");
            assert!(matches!(served, "application/octet-stream" | "text/plain; charset=utf-8"), "{served}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(answer.header("content-security-policy").contains("sandbox"));
        }
    }
    for (bytes, declared, served, place) in [
        (b"GIF89a/*<script>alert(1)</script>*/=1".as_slice(), "text/html", "image/gif", "inline;"),
        (b"%PDF-1.7\n<script>", "text/html", "application/pdf", "attachment;"),
    ] {
        let answer = stage.open(&stage.send("a", bytes, declared).await["link"]).await;
        assert_eq!(answer.header("content-type"), served);
        assert!(answer.header("content-disposition").starts_with(place));
        assert!(answer.header("content-security-policy").contains("sandbox"));
    }
}

async fn names_cannot_attack(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let ada = &stage.cast.ada;
    let long = "x".repeat(256);
    for name in
        ["", ".", "..", "../a", "a/b", "a\\b", "a\r\nSet-Cookie: b", "a\0", "\u{202e}gpj.exe", "\u{2066}", &long]
    {
        let problem = ada.message(stage.room, &in_base64(name, "aGVsbG8=", "")).await.refused(422, "invalid_value");
        assert_eq!(problem["errors"][0]["pointer"], "/attachment/name");
        upload(ada, id(1), name, "hello").await.refused(422, "invalid_value");
    }
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    let long = "\u{e9}".repeat(127);
    for name in
        ["na\u{ef}ve \u{1f600}.txt", "a\"; filename=\"b.exe", "100%41&x=1#y?z'*;,.txt", "...", "a b+c", "-rf", &long]
    {
        let file = stage.send(name, b"hello", "").await;
        assert_eq!(file["name"], name);
        let answer = stage.open(&file["link"]).await;
        assert_eq!((answer.status, &answer.bytes[..]), (200, b"hello".as_slice()), "{name}");
        let disposition = answer.header("content-disposition");
        assert!(disposition.starts_with("attachment; filename=\"") && disposition.is_ascii(), "{disposition}");
        assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
    }
}

async fn refused_messages_leave_no_bytes(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Cast { ada, nora, kofi, lumen, .. } = &stage.cast;
    let refused = json!({"type": "accepted_by_creator"});
    let mut body = in_base64("a", "aGVsbG8=", "");
    body["contract_change"] = refused.clone();
    let form = Form::new().file("a", b"hello");
    let form = form.text("message", &json!({"content": "", "contract_change": refused}).to_string());
    for (who, status, code) in [(ada, 422, "no_selected_campaign"), (nora, 403, "wrong_side"), (kofi, 404, "not_found")]
    {
        who.message(stage.room, &body).await.refused(status, code);
        form.post(who, &stage.path(), None).await.refused(status, code);
        assert_eq!(stored(&stage.server).await, [0, 0, 0], "{code}");
    }
    let room = json!({"message": body, "direction": {"type": "user_to_company", "company_id": lumen}});
    ada.post("/v1/rooms", &room).await.refused(422, "no_selected_campaign");
    stage.server.nobody().message(stage.room, &body).await.refused(401, "unauthenticated");
    assert_eq!(stored(&stage.server).await, [0, 0, 0]);

    upload(ada, id(1), "a", "hello").await.expect(201);
    let mut by_id = attached(id(1));
    by_id["contract_change"] = refused;
    ada.message(stage.room, &by_id).await.refused(422, "no_selected_campaign");
    ada.message(stage.room, &attached(id(1))).await.expect(201);
    assert_eq!(stage.open(&stage.newest(nora).await["link"]).await.bytes, b"hello");
}

async fn an_upload_that_breaks_off_leaves_no_bytes(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let address = stage.server.url.strip_prefix("http://").unwrap();
    let token = stage.cast.ada.token.as_ref().unwrap();
    let mut form = Form::new().file("a", &vec![b'x'; MIB]).body();
    form.truncate(MIB); // a form that has come to its end is answered
    for (request, body) in [
        (format!("PUT /v1/attachments/{}?name=a HTTP/1.1", id(1)), vec![b'x'; MIB]),
        (format!("POST {} HTTP/1.1\r\nContent-Type: {}", stage.path(), Form::CONTENT_TYPE), form),
    ] {
        let length = 2 * MIB;
        let head = format!(
            "{request}\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        );
        let upload = begun(&stage.server, &[head.as_bytes(), &body].concat()).await;
        drop(upload);
        assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    }
}

/// Sends half a request and waits until it is under way; nothing can be answered yet.
async fn begun(server: &Server, half: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    connection.write_all(half).await.unwrap();
    let mut answer = [0; 12];
    tokio::select! {
        answered = connection.read_exact(&mut answer) => {
            panic!("{answered:?}: {}", String::from_utf8_lossy(&answer));
        }
        () = eventually("the upload has begun", async || stored(server).await[2] > 0) => connection,
    }
}

async fn unattached_bytes_are_limited(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Cast { ada, nora, .. } = &stage.cast;
    let under_way = 100 * i64::try_from(MIB).unwrap() - 8;
    let begin = Upload::Begin { owner: UserId(ada.id()), object: ObjectId(id(7)), reserved: under_way };
    stage.server.app.writer.submit(Command::Upload(begin)).await.expect("there is room");
    upload(ada, id(1), "a", "hello").await.expect(201);
    upload(ada, id(2), "a", "hello").await.refused(413, "unattached_quota");
    ada.message(stage.room, &in_base64("a", "aGVsbG8=", "")).await.refused(413, "unattached_quota");
    upload(nora, id(3), "a", "hello").await.expect(201);
    ada.message(stage.room, &attached(id(1))).await.expect(201);
    upload(ada, id(2), "a", "hello").await.expect(201);
}

async fn what_no_message_holds_is_swept_after_a_day(ground: Ground) {
    let stage = Stage::new(&ground).await;
    let Stage { server, cast: Cast { ada, nora, .. }, room } = &stage;
    for upload_id in [id(1), id(2)] {
        upload(ada, upload_id, "a", "hello").await.expect(201);
    }
    ada.message(*room, &attached(id(2))).await.expect(201);
    server.clock.advance(Duration::from_hours(24) - Duration::from_mins(1));
    server.app.tidy().await.expect("tidy");
    assert_eq!(stored(server).await, [2, 2, 0]);
    server.clock.advance(Duration::from_mins(2));
    server.app.tidy().await.expect("tidy");
    assert_eq!(stored(server).await, [1, 1, 0]);

    let [ada, nora] = [ada, nora].map(|who| server.actor(who.id()));
    ada.get(&format!("/v1/attachments/{}", id(1))).await.refused(404, "not_found");
    ada.message(*room, &attached(id(1))).await.refused(422, "unknown_attachment");
    assert_eq!(stage.open(&stage.newest(&nora).await["link"]).await.bytes, b"hello");
    upload(&ada, id(1), "a", "hello").await.expect(201);
}

async fn links_are_absolute_where_the_server_is_public(ground: Ground) {
    let public = |config: &mut haggle::config::Config| config.public_url = Some("https://chat.example".to_owned());
    let server = ground.server(public).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let stage = Stage { server, cast, room };
    let link = stage.send("a.txt", b"hello", "").await["link"].as_str().unwrap().to_owned();
    let path = link.strip_prefix("https://chat.example").expect(&link);
    assert_eq!(stage.open(&json!(path)).await.bytes, b"hello");
}
