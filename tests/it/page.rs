//! The demo's page and the client library: what is served, to whom, and that the scripts do what they should.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Database, Server, is_here};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

async fn demo() -> Server {
    Server::start_with(&Database::Sqlite, |config| config.demo = true).await
}

/// The files below a folder of the source, as paths from there.
fn files(folder: &str) -> Vec<String> {
    let top = Path::new(ROOT).join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![top.clone()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(&top).expect("it is below").display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn media_type(path: &str) -> Option<&'static str> {
    match path.rsplit('.').next()? {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

async fn with_headers(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.nobody().request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.nobody().run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_serves_its_page_and_every_module() {
    let server = demo().await;
    let modules: Vec<String> = files("web").into_iter().filter(|path| media_type(path).is_some()).collect();
    assert!(modules.len() > 15, "{modules:?}");
    let paths = modules.iter().map(|path| (format!("/web/{path}"), path));
    for (path, file) in paths.chain([("/".to_owned(), &"index.html".to_owned())]) {
        let answer = with_headers(&server, Method::GET, &path, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.bytes, std::fs::read(Path::new(ROOT).join("web").join(file)).expect("the file"), "{path}");
        assert_eq!(answer.header("content-type"), media_type(file).expect("known"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let tag = answer.header("etag").to_owned();
        let again =
            with_headers(&server, Method::GET, &path, &[("If-None-Match", &format!("\"other\", W/{tag}"))]).await;
        assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()), "{path}");
    }
    for path in
        ["/web/", "/web/api.d.ts", "/web/package.json", "/web/none.js", "/web/..%2fCargo.toml", "/web/%2e%2e/x.js"]
    {
        with_headers(&server, Method::GET, path, &[]).await.refused(404, "not_found");
    }
}

/// A page without a build step breaks in the browser only: what is imported must be there, and nothing be inline.
#[test]
fn modules_import_what_there_is_and_markup_is_never_made_of_data() {
    let scripts = files("web").into_iter().filter(|path| media_type(path) == media_type("a.js"));
    for path in scripts {
        let file = Path::new(ROOT).join("web").join(&path);
        let text = std::fs::read_to_string(&file).expect("text");
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let name = line.rsplit('"').nth(1).expect("a name");
            assert!(file.parent().expect("a folder").join(name).is_file(), "{path}: {line}");
        }
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(word), "{path} holds {word}");
        }
    }
    let page = std::fs::read_to_string(Path::new(ROOT).join("web/index.html")).expect("the page");
    assert!(
        !page.contains("<style") && !page.contains(" style=") && !page.contains("<script>") && !page.contains(" on")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_earnest_has_the_library_and_nothing_of_the_demo() {
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    let library = with_headers(&server, Method::GET, "/haggle.js", &[]).await;
    assert_eq!((library.status, library.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(library.bytes, std::fs::read(Path::new(ROOT).join("web/haggle.js")).expect("the library"));
    let start = with_headers(&server, Method::GET, "/", &[]).await;
    assert!(String::from_utf8_lossy(&start.bytes).contains("Haggle is running"));
    for path in ["/web/app.js", "/web/index.html", "/demo/directory"] {
        with_headers(&server, Method::GET, path, &[]).await.refused(404, "not_found");
    }
    server.nobody().post("/demo/token", &json!({"user_id": cast.ada.id()})).await.refused(404, "not_found");
    let description: Value = server.nobody().get("/openapi.json").await.expect(200);
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.keys().all(|path| path.starts_with("/v1/")), "{paths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_lists_origins_may_import_the_library() {
    let listed = "https://app.example";
    let server = Server::start_with(&Database::Sqlite, |config| {
        config.cors_origins = vec![listed.parse().expect("an origin")];
    });
    let server = server.await;
    let answer = with_headers(&server, Method::GET, "/haggle.js", &[("Origin", listed)]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, listed));
    let answer = with_headers(&server, Method::GET, "/haggle.js", &[("Origin", "https://evil.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demos_page_is_told_who_there_is_and_gets_their_tokens() {
    let server = demo().await;
    let cast = server.cast().await;
    cast.ada.open_room(cast.north, "Hi").await;
    let own = [("Origin", server.url.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let listing = with_headers(&server, Method::GET, "/demo/directory", &own).await.expect(200);
    let users = listing["users"].as_array().expect("users");
    assert!(
        users.iter().any(|user| user["id"] == json!(cast.ada.id()) && user.get("company_id").is_none()),
        "{users:?}"
    );
    assert!(users.iter().any(|user| user["id"] == json!(cast.nora.id()) && user["company_id"] == json!(cast.north)));
    assert!(
        listing["companies"].as_array().is_some_and(|it| it.iter().any(|company| company["id"] == json!(cast.north)))
    );
    assert!(listing["campaigns"].as_array().is_some_and(|it| it.iter().any(|it| it["id"] == json!(cast.spring))));

    let ask = |user: Uuid| server.nobody().request(Method::POST, "/demo/token").json(&json!({"user_id": user}));
    let request = ask(cast.ada.id()).header("Origin", &server.url).header("Sec-Fetch-Site", "same-origin");
    let answer = server.nobody().run(request).await;
    assert_eq!(answer.header("cache-control"), "private, no-store");
    let token = answer.expect(200)["token"].as_str().expect("a token").to_owned();
    let rooms = server.with_token(&token).rooms().await;
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(1));
    server.with_token(&token).get(&format!("/v1/users/{}", cast.ada.id())).await.refused(403, "service_only");
    server.nobody().run(ask(Uuid::nil())).await.refused(403, "unknown_user");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_get_nothing_of_the_demos_people() {
    let server = demo().await;
    let cast = server.cast().await;
    let body = json!({"user_id": cast.ada.id()}).to_string();
    let (address, other_port) = (server.url.strip_prefix("http://").expect("an address"), "http://127.0.0.1:1");
    let strangers: [&[(&str, &str)]; 7] = [
        &[("Origin", "https://evil.example")],
        &[("Origin", other_port)],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", &server.url), ("Sec-Fetch-Site", "same-site")],
        // A rebound name: to the browser this is the page's own origin.
        &[("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")],
    ];
    for headers in strangers {
        let code =
            if headers.iter().any(|(name, _)| *name == "Host") { "host_not_allowed" } else { "origin_not_allowed" };
        let listing = with_headers(&server, Method::GET, "/demo/directory", headers).await;
        assert!(["", &server.url].contains(&listing.header("access-control-allow-origin")), "{headers:?}");
        listing.refused(403, code);
        let mut request = server.nobody().request(Method::POST, "/demo/token").body(body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.nobody().run(request.header("Content-Type", "application/json")).await.refused(403, code);
    }
    // What a form can send without asking first is not read, whoever sends it.
    let form = server.nobody().request(Method::POST, "/demo/token").header("Host", address).body(body);
    server.nobody().run(form.header("Content-Type", "text/plain")).await.refused(415, "unsupported_media_type");
}

#[test]
fn the_scripts_do_what_their_tests_say() {
    if !is_here("node") {
        return;
    }
    let tests = files("tests/web").into_iter().filter(|path| path.ends_with(".test.mjs"));
    let tests: Vec<PathBuf> = tests.map(|path| Path::new(ROOT).join("tests/web").join(path)).collect();
    assert!(tests.len() >= 3, "{tests:?}");
    let node = Command::new("timeout").args(["60", "node", "--test"]).args(&tests).output().expect("node starts");
    let printed = String::from_utf8_lossy(&node.stdout);
    assert!(node.status.success() && printed.contains("# fail 0"), "{printed}");
}
