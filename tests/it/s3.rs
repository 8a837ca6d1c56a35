//! Files in an S3 store: parts, redirects, and a store that is slow, away or refuses. That files there are files like
//! any other is `attachments.rs`, which runs on S3 as well.

use std::time::Duration;

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use haggle::attachments::{FileStore, Fixed};
use haggle::clock::Clock;
use haggle::config::FilePlace;
use haggle::domain::ObjectId;
use haggle::on;
use haggle::store::schema::attachments;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::attachments::{MIB, PNG, Stage, in_base64, streamed, upload};
use crate::cli::{Running, SECRET};
use crate::harness::s3::{Fault, KEY, KEY_ID};
use crate::harness::{Answer, Cast, Ground, S3, id};
use crate::uploads::{Form, stored, stored_at_rest};

/// How long a test waits for what must happen; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);
const UPLOAD: &str = "PutObject";
const PART: &str = "UploadPart";
const COMPLETE: &str = "CompleteMultipartUpload";

impl Stage {
    fn s3(&self) -> &S3 {
        self.server.s3.as_ref().expect("files are in S3")
    }

    /// What a link answers to a client that follows no redirect.
    async fn ask(&self, method: Method, link: &Value, headers: &[(&str, &str)]) -> Answer {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let request = client.build().unwrap().request(method, format!("{}{}", self.server.url, link.as_str().unwrap()));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of("a link".to_owned(), request.send().await.expect("an answer")).await
    }

    /// Ada sends a file with a message in this way, under this key.
    async fn send_as(&self, way: Way, key: Uuid) -> Answer {
        let ada = &self.cast.ada;
        match way {
            Way::Base64 => ada.post_keyed(&self.path(), key, &in_base64("a", "aGVsbG8=", "")).await,
            Way::Form(bytes) => {
                let form = Form::new().text("message", r#"{"content":""}"#).file("a", &vec![b'x'; bytes]);
                form.post(ada, &self.path(), Some(key)).await
            }
            Way::Upload(bytes) => upload(ada, key, "a", streamed(bytes)).await,
        }
    }

    /// Ada begins to upload a file of so many bytes, and sends so many.
    async fn begin_upload(&self, whole: usize, sent: usize) -> TcpStream {
        let address = self.server.url.strip_prefix("http://").unwrap();
        let (id, token) = (id(1), self.cast.ada.token.as_ref().unwrap());
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT /v1/attachments/{id}?name=a HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {whole}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&vec![b'x'; sent]).await.unwrap();
        connection
    }

    async fn messages(&self) -> usize {
        self.cast.ada.room(self.room).await["messages"].as_array().unwrap().len()
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Base64,
    Form(usize),
    Upload(usize),
}

/// Every way in, small and in parts.
const WAYS: [Way; 5] = [Way::Base64, Way::Form(5), Way::Form(11 * MIB), Way::Upload(5), Way::Upload(11 * MIB)];

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_one_request_and_large_ones_go_in_parts() {
    let stage = Stage::new(&Ground::s3(false)).await;
    let s3 = stage.s3();
    for (file, bytes, requests) in [
        (1, 0, json!({UPLOAD: 1})),
        (2, 5, json!({UPLOAD: 1})),
        (3, 5 * MIB - 1, json!({UPLOAD: 1})),
        (4, 6 * MIB, json!({"CreateMultipartUpload": 1, PART: 2, COMPLETE: 1})),
        (5, 25 * MIB, json!({"CreateMultipartUpload": 1, PART: 5, COMPLETE: 1})),
    ] {
        s3.forget_calls();
        let sent = upload(&stage.cast.ada, id(file), "a", streamed(bytes)).await.expect(201);
        assert_eq!(json!(s3.calls()), requests, "{bytes} bytes");
        assert_eq!(stage.ask(Method::GET, &sent["link"], &[]).await.bytes.len(), bytes);
    }
    assert_eq!(s3.holds(), 5);
}

/// To see it fail, sign the URL without its `response-…` parameters.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_fixes_what_the_store_says_of_a_file() {
    let stage = Stage::new(&Ground::s3(true)).await;
    let long = "\u{e9}".repeat(127);
    let html = b"<!doctype html><script>alert(1)</script>";
    for (name, bytes, declared, served, place) in [
        ("a.png", PNG, "text/html", "image/png", "inline;"),
        ("a.html", html, "text/html", "application/octet-stream", "attachment;"),
        ("a.svg", b"<svg onload='alert(1)'/>", "image/svg+xml", "application/octet-stream", "attachment;"),
        ("a.txt", b"hello", "text/plain", "text/plain; charset=utf-8", "attachment;"),
        ("a\"; filename=\"b.html", html, "text/html\u{7f}", "application/octet-stream", "attachment;"),
        (
            "100%41&x=1#y?z'*;,.+~ \u{1f600}",
            b"hello",
            "a/b&response-content-type=text/html",
            "text/plain; charset=utf-8",
            "attachment;",
        ),
        (&long, b"hello", "", "text/plain; charset=utf-8", "attachment;"),
    ] {
        let link = stage.send(name, bytes, declared).await["link"].clone();
        let told = stage.ask(Method::GET, &link, &[]).await;
        assert_eq!((told.status, told.bytes.len()), (302, 0), "{name}");
        for (header, value) in [
            ("cache-control", "private, no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("accept-ranges", ""),
        ] {
            assert_eq!(told.header(header), value, "{header}");
        }
        let location = told.header("location");
        assert!(location.starts_with(&stage.s3().url()) && location.contains("X-Amz-Expires=60&"), "{location}");

        let found = reqwest::get(location).await.unwrap();
        let header = |name: &str| found.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((found.status().as_u16(), header("content-type").as_str()), (200, served), "{name}");
        assert_eq!(header("cache-control"), "private, max-age=3600, immutable");
        let disposition = header("content-disposition");
        assert!(disposition.starts_with(place), "{disposition}");
        assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
        assert_eq!(found.bytes().await.unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_opens_one_file_as_it_was_signed() {
    let stage = Stage::new(&Ground::s3(true)).await;
    let (file, other) = (stage.send("a.txt", b"hello", "").await, stage.send("b.txt", b"other", "").await);
    let location = stage.ask(Method::GET, &file["link"], &[]).await.header("location").to_owned();
    let others = stage.ask(Method::GET, &other["link"], &[]).await.header("location").to_owned();
    let path = |url: &str| url.split('?').next().unwrap().to_owned();
    for altered in [
        path(&location),
        location.replace(&path(&location), &path(&others)),
        location.replace("text%2Fplain", "text%2Fhtml"),
        location.replace("=attachment", "=inline"),
        location.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        location.replace("response-content-type", "x"),
    ] {
        assert_ne!(altered, location);
        assert_eq!(reqwest::get(altered).await.unwrap().status(), 403);
    }
    let client = reqwest::Client::new();
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(client.request(method, &location).send().await.unwrap().status(), 403);
    }
    let part = client.get(&location).header("Range", "bytes=1-3").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().as_ref()), (206, b"ell".as_slice()));

    let head = stage.ask(Method::HEAD, &file["link"], &[]).await;
    assert_eq!(head.status, 302);
    let head = client.head(head.header("location")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "5"));
    let known = stage.ask(Method::GET, &file["link"], &[("If-None-Match", "*")]).await;
    assert_eq!((known.status, known.header("location")), (304, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_the_stores_ends() {
    let stage = Stage::new(&Ground::s3(true)).await;
    stage.send("a.txt", b"hello", "").await;
    let conn = stage.server.app.store.reader().await.unwrap();
    let conn = &conn;
    let object: ObjectId = on!(conn, |c| attachments::table.select(attachments::object).first(c)).unwrap();
    let fixed = Fixed { content_type: "text/plain", content_disposition: "attachment", cache_control: "no-store" };
    let life = Duration::from_secs(2);
    let link = stage.server.app.files.bytes.link(object, Method::GET, fixed, life).await.unwrap().unwrap();
    assert_eq!(reqwest::get(link.clone()).await.unwrap().status(), 200);
    let ended = async { while reqwest::get(link.clone()).await.unwrap().status() != 403 {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_access_is_sent_nowhere() {
    let stage = Stage::new(&Ground::s3(true)).await;
    let Cast { nora, ben, service, .. } = &stage.cast;
    stage.send("a.txt", b"hello", "").await;
    let [of_nora, of_ben] = [stage.newest(nora).await, stage.newest(ben).await].map(|file| file["link"].clone());
    assert_eq!(stage.ask(Method::GET, &of_ben, &[]).await.status, 302);
    service.delete(&format!("/v1/users/{}", ben.id())).await.expect(204);
    for headers in [[].as_slice(), &[("If-None-Match", "*")]] {
        let answer = stage.ask(Method::GET, &of_ben, headers).await;
        assert_eq!(answer.header("location"), "");
        answer.refused(403, "link_expired");
    }
    assert_eq!(stage.ask(Method::GET, &of_nora, &[]).await.status, 302);
    let forged = json!(of_nora.as_str().unwrap().replace("&sig=", "&sig=A"));
    stage.ask(Method::GET, &forged, &[]).await.refused(403, "link_expired");
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("there was never {what}"));
}

/// A store that is broken like this fails every way in: 503, no message, nothing left. Mended, the same request under
/// the same key succeeds.
async fn fails_and_mends(ways: &[Way], broken: impl AsyncFn(&S3)) {
    join_all(ways.iter().map(|way| fails_and_mends_for(*way, &broken))).await;
}

async fn fails_and_mends_for(way: Way, broken: &impl AsyncFn(&S3)) {
    let stage = Stage::new(&Ground::s3(false)).await;
    let before = stage.send("a.txt", b"hello", "").await;
    broken(stage.s3()).await;
    let answer = tokio::time::timeout(PATIENCE, stage.send_as(way, id(1))).await;
    let problem = answer.expect("an answer").refused(503, "unavailable");
    for told in ["127.0.0.1", KEY, KEY_ID] {
        assert!(!problem.to_string().contains(told), "{problem}");
    }
    assert_eq!(stage.messages().await, 2, "{way:?}");
    stage.cast.ada.get(&format!("/v1/attachments/{}", id(1))).await.refused(404, "not_found");

    stage.s3().comes_back().await;
    let clean = async {
        while stored(&stage.server).await != [1, 1, 0] {
            stage.server.app.tidy().await.expect("tidy");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let clean = tokio::time::timeout(PATIENCE, clean).await;
    assert!(clean.is_ok(), "{way:?} left {:?}", stored(&stage.server).await);
    stage.send_as(way, id(1)).await.expect(201);
    assert_eq!(stored_at_rest(&stage.server, 2).await, [2, 2, 0]);
    assert_eq!(stage.ask(Method::GET, &before["link"], &[]).await.bytes, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_fails_uploads() {
    fails_and_mends(&WAYS, async |s3| s3.goes_away().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_fails_uploads() {
    fails_and_mends(&WAYS, async |s3| s3.falls_silent().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_fails_uploads() {
    for operation in [UPLOAD, PART, COMPLETE] {
        let ways = if operation == UPLOAD { &WAYS[..1] } else { &WAYS[4..] };
        fails_and_mends(ways, async |s3| s3.breaks(Fault::Busy(operation))).await;
    }
}

/// To see it fail, drop an upload without aborting it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_or_hangs_amid_an_upload_keeps_nothing_of_it() {
    let large = [WAYS[2], WAYS[4]];
    for operation in [PART, COMPLETE] {
        fails_and_mends(&large, async |s3| s3.breaks(Fault::Dies(operation))).await;
        fails_and_mends(&large, async |s3| s3.breaks(Fault::Hangs(operation))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_amid_parts_leaves_nothing() {
    let stage = Stage::new(&Ground::s3(false)).await;
    let connection = stage.begin_upload(20 * MIB, 8 * MIB).await;
    until("a part", || stage.s3().calls().contains_key(PART)).await;
    drop(connection);
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    assert_eq!(stage.s3().calls().get(COMPLETE), None);
}

/// What is with the store already takes effect before it is deleted, not after. To see it fail, do not delete what
/// nobody waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_before_the_answer_leaves_nothing() {
    let stage = Stage::new(&Ground::s3(false)).await;
    stage.s3().breaks(Fault::Hangs(UPLOAD));
    stage.s3().forget_calls();
    let connection = stage.begin_upload(5, 5).await;
    until("the file", || stage.s3().calls().contains_key(UPLOAD)).await;
    drop(connection);
    // The server has noticed, and the store takes the file all the same.
    until("a deletion", || stage.s3().calls().contains_key("DeleteObject")).await;
    stage.s3().breaks(None);
    until("a deletion after it", || stage.s3().calls()["DeleteObject"] > 1).await;
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
}

/// Of a refused file nothing stays either, and the store is what says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_aborted() {
    let stage = Stage::new(&Ground::s3(false)).await;
    upload(&stage.cast.ada, id(1), "a", streamed(26 * MIB)).await.refused(413, "too_large");
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
    assert_eq!(stage.s3().calls().get("AbortMultipartUpload"), Some(&1));
}

/// To see it fail, try the abort once.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_the_store_would_not_delete_are_deleted_later() {
    // What one attempt asks: once, and twice more for a store that stumbles.
    const ATTEMPT: usize = 3;
    let abort = "AbortMultipartUpload";
    let stage = Stage::new(&Ground::s3(false)).await;
    stage.s3().breaks(Fault::Busy(abort));
    upload(&stage.cast.ada, id(1), "a", streamed(26 * MIB)).await.refused(413, "too_large");
    until("a third attempt", || stage.s3().calls().get(abort).is_some_and(|calls| *calls > 2 * ATTEMPT)).await;
    stage.s3().breaks(None);
    assert_eq!(stored_at_rest(&stage.server, 0).await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_503_while_the_store_is_away() {
    for silent in [false, true] {
        let stage = Stage::new(&Ground::s3(false)).await;
        let link = stage.send("a.txt", b"hello", "").await["link"].clone();
        if silent {
            stage.s3().falls_silent().await;
        } else {
            stage.s3().goes_away().await;
        }
        for (method, headers) in [(Method::GET, [].as_slice()), (Method::GET, &[("Range", "bytes=1-2")])] {
            stage.ask(method, &link, headers).await.refused(503, "unavailable");
        }
        assert_eq!(stage.ask(Method::HEAD, &link, &[]).await.status, 503);
        assert_eq!(stage.ask(Method::GET, &link, &[("If-None-Match", "*")]).await.status, 304);
        stage.s3().comes_back().await;
        assert_eq!(stage.ask(Method::GET, &link, &[]).await.bytes, b"hello");
        stage.cast.ada.say(stage.room, "still here").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_is_refused_at_the_start() {
    let s3 = S3::start().await;
    let open = async |bucket: &str, key: &str| {
        let refused = FileStore::open(&s3.place_of(bucket, key), &Clock::System).await.expect_err("it is refused");
        assert!(!refused.contains(KEY) && !refused.contains(KEY_ID) && !refused.contains("Signature="), "{refused}");
        refused
    };
    let refused = open("other", KEY).await;
    assert!(
        refused.starts_with("bucket other: there is no such bucket: make it, or mend HAGGLE_ATTACHMENTS_URL"),
        "{refused}"
    );
    let refused = open("files", "another-key").await;
    assert!(refused.starts_with("bucket files: the store refuses the keys: check AWS_ACCESS_KEY_ID"), "{refused}");
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    for (operation, permission) in
        [(UPLOAD, "s3:PutObject"), ("GetObject", "s3:GetObject"), ("DeleteObject", "s3:DeleteObject")]
    {
        s3.breaks(Fault::Denied(operation));
        let refused = open("files", KEY).await;
        assert!(refused.contains(&format!("allow {permission} on this bucket")), "{refused}");
    }
    s3.breaks(None);
    s3.forget_calls();
    FileStore::open(&s3.place(), &Clock::System).await.expect("all is well");
    assert_eq!(json!(s3.calls()), json!({UPLOAD: 1, "GetObject": 1, "DeleteObject": 1}), "no permission to list");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_hold_are_refused_at_the_start() {
    let s3 = S3::start().await;
    for (name, value, told) in [
        ("AWS_ENDPOINT_URL", "s3.example", "AWS_ENDPOINT_URL must look like"),
        ("AWS_ALLOW_HTTP", "perhaps", "AWS_"),
        ("AWS_SECRET_ACCESS_KEY", "", "refuses the keys"),
    ] {
        let FilePlace::S3 { bucket, prefix, mut aws } = s3.place() else { unreachable!() };
        aws.0.insert(name.to_owned(), value.to_owned());
        let refused = FileStore::open(&FilePlace::S3 { bucket, prefix, aws }, &Clock::System).await;
        let refused = refused.expect_err("it is refused");
        assert!(refused.contains(told), "{refused}");
    }
}

/// The program itself, with the variables in its environment and everything logged.
#[tokio::test(flavor = "multi_thread")]
async fn keys_never_get_into_the_log() {
    let s3 = S3::start().await;
    let folder = tempfile::tempdir().unwrap();
    let serve = |key: &str| {
        let mut environment = s3.environment(key).to_vec();
        environment.push(("HAGGLE_ATTACHMENTS_URL", "s3://files/team/files".to_owned()));
        environment.push(("HAGGLE_LOG", "trace".to_owned()));
        Running::serve_with(folder.path(), &[], &environment)
    };
    let secrets = [KEY, KEY_ID, "Signature="];
    let mut refused = serve("another-key-of-the-tests");
    assert!(!refused.end().success());
    assert!(refused.read.contains("the store refuses the keys"), "{}", refused.read);
    assert!(secrets.iter().chain(&["another-key"]).all(|secret| !refused.read.contains(secret)), "{}", refused.read);

    s3.goes_away().await;
    let mut running = serve(KEY);
    let url = running.url();
    assert!(running.read.contains("the file store is away"), "{}", running.read);
    s3.comes_back().await;
    let now = Clock::System.now();
    let service = haggle::auth::mint_service(SECRET.as_bytes(), PATIENCE, now, None, None);
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ada = json!({"given_name": "Ada", "family_name": "T", "logo_url": ""});
    let made = http.put(format!("{url}/v1/users/{}", id(1))).bearer_auth(service).json(&ada).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let token = haggle::auth::mint(SECRET.as_bytes(), haggle::domain::UserId(id(1)), PATIENCE, now, None, None);
    let put = async |bytes: usize| {
        let request = http.put(format!("{url}/v1/attachments/{}?name=a", id(2))).bearer_auth(&token);
        request.body(vec![b'x'; bytes]).send().await.unwrap()
    };
    let sent = put(6 * MIB).await;
    assert_eq!(sent.status(), 201);
    let link = sent.json::<Value>().await.unwrap()["link"].as_str().unwrap().to_owned();
    let found = http.get(format!("{url}{link}")).send().await.unwrap();
    assert_eq!(found.status(), 302);
    assert!(found.headers()["location"].to_str().unwrap().contains("Signature="));
    s3.breaks(Fault::Denied(UPLOAD));
    assert_eq!(put(5).await.status(), 503);
    s3.goes_away().await;
    assert_eq!(put(5).await.status(), 503);
    assert!(running.stop().success());
    assert!(running.read.contains("AccessDenied"), "the log says why");
    for secret in secrets {
        let leak = running.read.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret} is in the log");
    }
    assert!(!format!("{:?}", s3.place()).contains(KEY));
    let store = FileStore::open(&s3.place(), &Clock::System).await.expect("away is a warning");
    assert!(!format!("{store:?}").contains(KEY));
}
