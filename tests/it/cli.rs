//! The command line, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{haggle, id};

/// How long anything may take before a test gives up; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(20);
/// What tokens for [`Running::serve`] are signed with.
pub const SECRET: &str = "a secret for the command line's tests";
const COMMANDS: [&str; 10] =
    ["serve", "demo", "token", "tail", "load", "migrate", "backup", "restore", "epoch", "openapi"];

fn run(command: &mut Command) -> Output {
    command.output().expect("haggle runs")
}

fn printed(args: &[&str]) -> String {
    let output = run(&mut haggle(args));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A `haggle` that runs until it is stopped or dropped, and what it prints.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Everything that was read so far.
    pub read: String,
}

impl Running {
    /// Any command.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haggle starts");
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("piped"), sender.clone());
        forward(child.stderr.take().expect("piped"), sender);
        Self { child, lines, read: String::new() }
    }

    /// `haggle serve` on a data folder, with the tests' secret.
    pub fn serve(folder: &Path, args: &[&str]) -> Self {
        Self::serve_with(folder, args, &[])
    }

    /// The same, with these variables in its environment.
    pub fn serve_with(folder: &Path, args: &[&str], environment: &[(&str, String)]) -> Self {
        let mut command = haggle(&["serve"]);
        command
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("HAGGLE_LISTEN", "127.0.0.1:0");
        command.env("HAGGLE_DATA_DIR", folder).env("HAGGLE_JWT_SECRET", SECRET);
        Self::start(command)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads up to the first line that holds this.
    pub fn until(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error} before {part:?} in\n{}", self.read));
            self.read.push_str(&line);
            self.read.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Where it serves, from its log.
    pub fn url(&mut self) -> String {
        let line = self.until("listening on http://");
        line[line.find("http://").expect("an address")..].trim().to_owned()
    }

    /// Asks it to stop and waits until it has; what it printed is in `read`.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.end()
    }

    /// Waits until it has ended by itself; what it printed is in `read`.
    pub fn end(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("it ends");
        self.read.extend(self.lines.iter().map(|line| line + "\n"));
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A token as `haggle token` prints it.
pub fn token(args: &[&str]) -> String {
    let mut command = haggle(&["token"]);
    let output = run(command.args(args).env("HAGGLE_JWT_SECRET", SECRET));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// A client of a server with a token.
pub struct Client {
    pub url: String,
    pub token: String,
    http: reqwest::Client,
}

impl Client {
    pub fn new(url: &str, token: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { url: url.to_owned(), token, http }
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request(reqwest::Method::GET, path).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let response = self.request(reqwest::Method::POST, path).json(body).send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.expect("JSON")
    }
}

/// A company with one employee, a creator, and their room.
pub async fn furnish(url: &str) -> (Client, Uuid) {
    let service = Client::new(url, token(&["--service"]));
    let batch = json!({"operations": [
        {"type": "put_company", "id": id(1), "name": "Northwind", "logo_url": ""},
        {"type": "put_user", "id": id(2), "given_name": "Ada", "family_name": "T", "logo_url": ""},
    ]});
    service.post("/v1/directory/batch", &batch).await;
    let ada = Client::new(url, token(&["--user", &id(2).to_string()]));
    let direction = json!({"type": "user_to_company", "company_id": id(1)});
    let room = ada.post("/v1/rooms", &json!({"message": {"content": "Hi"}, "direction": direction})).await;
    (ada, room["room_id"].as_str().expect("a room").parse().expect("an id"))
}

#[test]
fn every_command_explains_itself() {
    let help = printed(&["--help"]);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in\n{help}");
        let help = printed(&[command, "--help"]);
        assert!(help.starts_with(|first: char| first.is_uppercase()), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    assert_eq!(printed(&["--version"]).trim(), concat!("haggle ", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(&mut haggle(&["bargain"])).status.code(), Some(2));
}

#[test]
fn openapi_prints_what_is_committed() {
    assert_eq!(printed(&["openapi"]), include_str!("../../openapi/openapi.json"));
    assert_eq!(printed(&["openapi", "--v3-0"]), include_str!("../../openapi/openapi-3.0.json"));
}

#[test]
fn serve_refuses_what_cannot_hold_and_says_why_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    let jwks = ["--jwt-jwks", "/nowhere/jwks.json", "--jwt-audience", "a", "--jwt-issuer", "i"];
    for (args, said) in [
        (vec!["--listen", "0.0.0.0:0"], "HAGGLE_JWT_SECRET"),
        (vec!["--listen", "[::]:0"], "HAGGLE_JWT_SECRET"),
        (vec!["--jwt-secret", "short"], "HAGGLE_JWT_SECRET must have at least 32 bytes"),
        (vec!["--jwt-secret", SECRET, "--jwt-jwks", "a.json"], "not both"),
        (vec!["--jwt-jwks", "a.json"], "HAGGLE_JWT_AUDIENCE"),
        (vec!["--jwt-jwks", "a.json", "--jwt-audience", "a"], "HAGGLE_JWT_ISSUER"),
        (jwks.to_vec(), "HAGGLE_JWT_JWKS"),
        (vec!["--signing-key", "short"], "HAGGLE_SIGNING_KEY"),
        (vec!["--database-url", "mysql://a"], "HAGGLE_DATABASE_URL"),
        (vec!["--database-url", "postgres://127.0.0.1:1/a"], "HAGGLE_DATABASE_URL"),
        (vec!["--currency", "euro"], "HAGGLE_CURRENCY"),
        (vec!["--cors-origins", "app.example"], "HAGGLE_CORS_ORIGINS"),
        (vec!["--readers", "0"], "HAGGLE_READERS"),
        (vec!["--log", "haggle=loud"], "HAGGLE_LOG"),
        (vec!["--listen", &taken], "HAGGLE_LISTEN"),
    ] {
        let folder = folder();
        let output = run(haggle(&["serve"]).args(&args).env("HAGGLE_DATA_DIR", folder.path()));
        assert_refused(&output, said, &args);
    }
}

#[track_caller]
fn assert_refused(output: &Output, said: &str, args: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    let last = error.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    assert!(last.starts_with("haggle: ") && last.contains(said), "{args:?}: {error}");
    assert_eq!(error.matches("haggle: ").count(), 1, "{args:?}: {error}");
    assert!(error.lines().all(|line| line == last || line.contains("WARN")), "{args:?}: {error}");
}

#[test]
fn a_data_folder_has_one_server() {
    let folder = folder();
    let mut first = Running::serve(folder.path(), &[]);
    first.url();
    let second = run(haggle(&["serve", "--listen", "127.0.0.1:0"]).env("HAGGLE_DATA_DIR", folder.path()));
    assert_refused(&second, &folder.path().display().to_string(), &["second"]);
    assert!(first.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_accepted_by_a_server_with_the_same_secret() {
    let folder = folder();
    let mut server = Running::serve(folder.path(), &[]);
    let (ada, _) = furnish(&server.url()).await;
    assert_eq!(ada.get("/v1/rooms").await.0, 200);
    let stranger = Client::new(&ada.url, token(&["--user", &id(9).to_string()]));
    assert_eq!(stranger.get("/v1/rooms").await.1["code"], "unknown_user");
    let mut other = haggle(&["token", "--service", "--jwt-secret", "another secret, which is also long enough"]);
    let other = String::from_utf8(run(&mut other).stdout).expect("UTF-8");
    assert_eq!(Client::new(&ada.url, other.trim().to_owned()).get("/v1/rooms").await.0, 401);
    for args in [&["token"][..], &["token", "--user", "x"], &["token", "--service", "--user", &id(2).to_string()]] {
        assert_eq!(run(&mut haggle(args)).status.code(), Some(2), "{args:?}");
    }
}

/// Without a secret one is made where the token command finds it, for nobody else to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_development_secret_is_shared_through_the_data_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let data = folder.path().join("data");
    let mut command = haggle(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("HAGGLE_DATA_DIR", &data);
    let mut server = Running::start(command);
    let url = server.url();
    let output = run(haggle(&["token", "--service"]).env("HAGGLE_DATA_DIR", &data));
    let token = String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned();
    assert_eq!(Client::new(&url, token).get(&format!("/v1/users/{}", id(1))).await.0, 404);
    for (path, mode) in [(data.clone(), 0o700), (data.join("jwt-secret"), 0o600)] {
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, mode, "{}", path.display());
    }
    assert!(!server.read.contains(&std::fs::read_to_string(data.join("jwt-secret")).expect("a secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_says_goodbye_to_open_streams_and_exits_with_0() {
    let folder = folder();
    let mut server = Running::serve(folder.path(), &[]);
    let (ada, _) = furnish(&server.url()).await;
    let mut stream = ada.request(reqwest::Method::GET, "/v1/events").send().await.expect("a stream");
    let mut heard = stream.chunk().await.expect("an event").expect("an event").to_vec();
    let began = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    while let Ok(Some(chunk)) = stream.chunk().await {
        heard.extend_from_slice(&chunk);
    }
    let heard = String::from_utf8(heard).expect("UTF-8");
    assert!(heard.contains("event: hello") && heard.contains(r#""reason":"shutting_down""#), "{heard}");
    assert!(stopping.await.expect("it stops").success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn migrate_makes_a_database_that_serve_takes_and_may_run_again() {
    let folder = folder();
    for _ in 0..2 {
        let output = run(haggle(&["migrate"]).env("HAGGLE_DATA_DIR", folder.path()));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "The database is up to date.\n");
    }
    Running::serve(folder.path(), &[]).url();
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_where_it_was_when_the_server_comes_back() {
    let folder = folder();
    let mut server = Running::serve(folder.path(), &[]);
    let url = server.url();
    let (ada, room) = furnish(&url).await;
    let mut command = haggle(&["tail", "--quiet", "--url", &url]);
    command.env("HAGGLE_TOKEN", &ada.token);
    let mut tail = Running::start(command);
    tail.until("hello");
    let messages = format!("/v1/rooms/{room}/messages");
    ada.post(&messages, &json!({"content": "before"})).await;
    tail.until("before");
    assert!(server.stop().success());
    tail.until("shutting_down");
    let listen = url.strip_prefix("http://").expect("an address");
    server = Running::serve(folder.path(), &["--listen", listen]);
    server.url();
    ada.post(&messages, &json!({"content": "after"})).await;
    tail.until("after");
    assert_eq!(tail.read.matches("\"content\":\"before\"").count(), 1, "{}", tail.read);
    assert!(tail.read.contains("\"resumed\":true"), "{}", tail.read);
    assert!(tail.read.contains("haggle tail: the stream ended; resuming at "), "{}", tail.read);
}

#[test]
fn whoever_stops_reading_gets_no_panic() {
    let mut printing = haggle(&["openapi"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haggle runs");
    drop(printing.stdout.take());
    let output = printing.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_token_is_somebodys() {
    let output = run(&mut haggle(&["token"]));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("<--user <USER>|--service>"), "{error}");
}

#[test]
fn tail_gives_up_when_coming_back_would_not_help() {
    let folder = folder();
    let mut server = Running::serve(folder.path(), &[]);
    let url = server.url();
    let output = run(&mut haggle(&["tail", "--url", &url, "--token", "nonsense"]));
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("haggle: 401") && error.contains("unauthenticated"), "{error}");
}

#[test]
fn what_the_demo_prints_works_as_it_is_printed() {
    let folder = folder();
    let mut command = haggle(&["demo", "--port", "0"]);
    command.env("TMPDIR", folder.path()).env("HAGGLE_JWT_SECRET", SECRET);
    let mut demo = Running::start(command);
    let first = demo.until("Haggle demo: http://127.0.0.1:");
    let url = first.rsplit(' ').next().expect("an address").to_owned();
    let mut curls = Vec::new();
    while curls.len() < 4 {
        curls.push(demo.until("curl "));
    }
    for (curl, said) in curls.iter().zip(["\"rooms\":[", "event: hello", "\"message_id\":", "\"message_id\":"]) {
        let heard = bash(&format!("timeout 3 {curl}"));
        assert!(heard.contains(said), "{curl}\n{heard}");
    }
    assert!(bash(&curls[0]).contains(r#""state":"accepted""#), "the terms that are printed are those in force");
    assert_eq!(bash(&format!("curl -s -o /dev/null -w '%{{http_code}}' {url}/")), "200");
    assert!(demo.stop().success());
    let left: Vec<_> = folder.path().read_dir().expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

fn bash(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).env("no_proxy", "*").output().expect("bash runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
