//! A node as a process of its own: the real `haggle serve`, which can be paused, killed and started anew.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use haggle::auth::{mint, mint_service};
use haggle::clock::Clock;
use haggle::domain::UserId;
use uuid::Uuid;

use super::{Actor, Cast, Network, SECRET};

/// How long a node may take to start, or to end, before a test gives up; nothing is measured by it.
const PATIENCE: Duration = Duration::from_mins(1);

const HAGGLE: &str = env!("CARGO_BIN_EXE_haggle");

/// A running `haggle serve`; killed when it is dropped.
pub struct Node {
    pub url: String,
    pub http: reqwest::Client,
    child: Child,
    log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts a node on a database and waits until it listens.
    pub async fn start(database_url: &str) -> Self {
        Self::start_with(database_url, &[]).await
    }

    /// Starts a node with more settings, as environment variables.
    pub async fn start_with(database_url: &str, settings: &[(&str, &str)]) -> Self {
        Self::try_start(database_url, settings).await.unwrap_or_else(did_not_start)
    }

    /// Starts a node on a database of its own, in its folder.
    pub async fn start_alone(settings: &[(&str, &str)]) -> Self {
        let mut command = haggle(&["serve"]);
        command.env("HAGGLE_LISTEN", "127.0.0.1:0");
        Self::launch(command, settings).await.unwrap_or_else(did_not_start)
    }

    /// The same, in another network.
    pub async fn start_in(network: &Network, settings: &[(&str, &str)]) -> Self {
        let mut command = bare(network.within(HAGGLE));
        command.arg("serve").env("HAGGLE_LISTEN", SocketAddr::new(network.server(), 0).to_string());
        Self::launch(command, settings).await.unwrap_or_else(did_not_start)
    }

    /// Starts a node; how it ended and what it said if it does not come to listen.
    pub async fn try_start(database_url: &str, settings: &[(&str, &str)]) -> Result<Self, (ExitStatus, String)> {
        let mut command = haggle(&["serve"]);
        command.env("HAGGLE_LISTEN", "127.0.0.1:0").env("HAGGLE_DATABASE_URL", database_url);
        Self::launch(command, settings).await
    }

    async fn launch(mut command: Command, settings: &[(&str, &str)]) -> Result<Self, (ExitStatus, String)> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        command.env("HAGGLE_DATA_DIR", folder.path());
        command.env("HAGGLE_JWT_SECRET", String::from_utf8_lossy(SECRET).as_ref());
        command.env("HAGGLE_RATE_PER_SECOND", "10000").env("HAGGLE_RATE_BURST", "100000");
        command.envs(settings.iter().copied());
        let starting = tokio::task::spawn_blocking(move || launch(command, folder));
        starting.await.expect("no panic")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGSTOP: it does not run, and its connections stay open.
    pub fn pause(&self) {
        signal(self.pid(), "STOP");
    }

    /// SIGCONT: it runs on.
    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        signal(self.pid(), "TERM");
    }

    /// SIGTERM, then waits until it has ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.child.wait().expect("it ends")
    }

    /// SIGKILL, then waits until it has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until its process ends by itself; none if it does not in time.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Waits until `/readyz` is 200.
    pub async fn ready(&self) {
        let began = Instant::now();
        while !self.is_ready().await {
            assert!(began.elapsed() < PATIENCE, "the node does not get ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether `/readyz` is 200 now.
    pub async fn is_ready(&self) -> bool {
        let asked = self.http.get(format!("{}/readyz", self.url)).timeout(Duration::from_secs(10)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// A metric that is one number; 0 if it is not there yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.service().get("/metrics").await.bytes;
        let text = String::from_utf8_lossy(&text);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// Bytes of memory that it holds.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let process = procfs::process::Process::new(i32::try_from(self.pid()).expect("a process id"));
        let status = process.and_then(|process| process.status()).expect("it runs");
        status.vmrss.expect("memory") * 1024
    }

    /// How many streams are open.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    pub async fn streams(&self) -> usize {
        self.metric("haggle_streams_open ").await as usize
    }

    /// Somebody with a token of their own.
    pub fn actor(&self, user: Uuid) -> Actor {
        let token = mint(SECRET, UserId(user), Duration::from_hours(1), Clock::System.now(), None, None);
        Actor::new(&self.url, &self.http, Some(user), Some(token))
    }

    /// The host application.
    pub fn service(&self) -> Actor {
        let token = mint_service(SECRET, Duration::from_hours(1), Clock::System.now(), None, None);
        Actor::new(&self.url, &self.http, None, Some(token))
    }

    /// Two companies with employees and campaigns, and two creators.
    pub async fn cast(&self) -> Cast {
        Cast::introduce(self.service(), |user| self.actor(user)).await
    }
}

fn did_not_start((status, log): (ExitStatus, String)) -> Node {
    panic!("the node ended with {status}:\n{log}")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.url, self.log());
        }
    }
}

/// `haggle` with these arguments and none of this process's settings.
pub fn haggle(args: &[&str]) -> Command {
    let mut command = bare(Command::new(HAGGLE));
    command.args(args);
    command
}

fn bare(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HAGGLE_") || name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "SIG{name} to {pid}");
}

fn launch(mut command: Command, folder: tempfile::TempDir) -> Result<Node, (ExitStatus, String)> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("haggle starts");
    let log = Arc::new(Mutex::new(String::new()));
    let (sender, listening) = mpsc::channel();
    read(child.stderr.take().expect("piped"), log.clone(), sender);
    match listening.recv_timeout(PATIENCE) {
        Ok(url) => {
            let http = reqwest::Client::builder().no_proxy().build().expect("a client");
            Ok(Node { url, http, child, log, _folder: folder })
        }
        Err(error) => {
            if error == mpsc::RecvTimeoutError::Timeout {
                let _ = child.kill();
            }
            let status = child.wait().expect("it ends");
            let log = log.lock().expect("no panic").clone();
            Err((status, log))
        }
    }
}

/// Keeps what a node logs, and tells where it listens. The sender goes when the log has ended.
fn read(from: impl Read + Send + 'static, log: Arc<Mutex<String>>, listening: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some((_, url)) = line.split_once("listening on ") {
                let _ = listening.send(url.trim().to_owned());
            }
            let mut log = log.lock().expect("no panic");
            log.push_str(&line);
            log.push('\n');
        }
    });
}
