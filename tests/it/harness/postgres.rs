//! Real PostgreSQL servers on free ports, in temporary folders, gone when the tests are.
//!
//! Most tests share one ([`fresh_database`]); those that stop, freeze or configure a server start their own
//! ([`Postgres`]).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);
static PORTS: AtomicU16 = AtomicU16::new(0);

/// Ports of servers that come back on the port they had: below those that the system gives away.
const PORTS_FROM: u16 = 20_000;
const PORTS_IN_ALL: u16 = 10_000;

/// How long a test waits for something to come about; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Minds a server: starts and signals it as told, and ends it by its pid when the pipe closes, however that comes.
/// PostgreSQL refuses to run as root.
const MIND: &str = r#"
set -e
bin="$1"; port="$2"; shift 2; dir=$(mktemp -d "$PLACE/haggle-pg.XXXXXX"); pid=
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=postgres --regid=postgres --init-groups --"; else as=""; fi
if [ -n "$as" ]; then chown postgres "$dir"; fi
cd /
$as "$bin/initdb" -D "$dir/data" -U haggle -A trust -E UTF8 --no-sync >/dev/null
all() { echo "$pid $(ps -o pid= --ppid "$pid" | tr '\n' ' ')"; }
leave() { if [ -n "$pid" ]; then kill -CONT $(all); kill -QUIT "$pid"; wait "$pid"; fi; cd /; rm -rf "$dir"; }
trap 'leave 2>/dev/null || true' EXIT
echo "$dir"
while read -r order; do
  case "$order" in
    start)
      $as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 "$@" >>"$dir/log" 2>&1 &
      pid=$!
      for _ in $(seq 400); do
        if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" || ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.02
      done
      ;;
    stop*) kill "-${order#stop }" "$pid" 2>/dev/null || true; wait "$pid" || true; pid= ;;
    freeze) kill -STOP "$pid"; kill -STOP $(all) ;;
    thaw) kill -CONT $(all) ;;
  esac
  echo done
done
"#;

/// A PostgreSQL server of a test's own.
pub struct Postgres {
    /// `postgres://haggle@127.0.0.1:<port>`, without a database.
    pub url: String,
    /// Its folder; the data are in `data`.
    pub folder: PathBuf,
    minder: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
}

/// How a server stops.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Ends its sessions and writes out what it has.
    Fast,
    /// As in a crash.
    Immediate,
}

impl Postgres {
    /// A server with more options, such as `-c` `fsync=off`; says so when there is no PostgreSQL here.
    pub async fn start(options: &'static [&'static str]) -> Option<Self> {
        let port = free_port();
        let started = tokio::task::spawn_blocking(move || {
            let server = Self::prepare(port, options)?;
            server.run();
            Some(server)
        });
        let server = started.await.expect("PostgreSQL starts");
        if server.is_none() {
            Self::say_skipped();
        }
        server
    }

    /// A server that does not run yet, for what must be put into its folder first.
    pub fn prepare(port: u16, options: &[&str]) -> Option<Self> {
        Self::prepare_in(Path::new("/tmp"), port, options)
    }

    /// The same, with its folder in another.
    pub fn prepare_in(place: &Path, port: u16, options: &[&str]) -> Option<Self> {
        let mut child = Command::new("bash")
            .args(["-c", MIND, "mind"])
            .arg(installed()?)
            .arg(port.to_string())
            .args(["-c", "max_connections=500"])
            .args(options)
            .env("PLACE", place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("initdb ends");
        assert!(line.starts_with('/'), "initdb failed");
        let minder = Mutex::new((child.stdin.take().expect("piped"), answers));
        let url = format!("postgres://haggle@127.0.0.1:{port}");
        Some(Self { url, folder: line.trim().into(), minder, _child: child })
    }

    /// Starts it and waits until it accepts connections.
    pub fn run(&self) {
        self.order("start");
    }

    /// Stops it and waits until it has.
    pub fn stop(&self, how: Stop) {
        self.order(match how {
            Stop::Fast => "stop INT",
            Stop::Immediate => "stop QUIT",
        });
    }

    /// SIGSTOP to all of its processes: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.order("freeze");
    }

    /// SIGCONT to all of its processes.
    pub fn thaw(&self) {
        self.order("thaw");
    }

    /// Says that there is no PostgreSQL here, where that is allowed.
    pub fn say_skipped() {
        super::skip::or_skipped("postgres", false, "PostgreSQL 15 or newer is not installed");
    }

    fn order(&self, order: &str) {
        let mut minder = self.minder.lock().expect("no panic");
        writeln!(minder.0, "{order}").expect("the minder listens");
        let mut line = String::new();
        minder.1.read_line(&mut line).expect("the minder answers");
        assert_eq!(line.trim(), "done", "{order}: {}", self.log());
    }

    /// Its processes, the one that minds the others first; none when it does not run.
    pub fn processes(&self) -> Vec<u32> {
        let minder = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let Some(minder) = minder.lines().next().and_then(|line| line.parse::<u32>().ok()) else { return Vec::new() };
        if !Path::new(&format!("/proc/{minder}")).exists() {
            return Vec::new();
        }
        let asked = Command::new("ps").args(["-o", "pid=", "--ppid", &minder.to_string()]).output().expect("ps runs");
        let others = String::from_utf8_lossy(&asked.stdout).split_whitespace().flat_map(str::parse).collect::<Vec<_>>();
        [vec![minder], others].concat()
    }

    /// Does what an operator does when it has given up: starts it again. Says whether that was needed.
    pub fn run_again(&self) -> bool {
        let has_ended = self.processes().is_empty();
        if has_ended {
            self.stop(Stop::Immediate);
            self.run();
        }
        has_ended
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The URL of a fresh database.
    pub async fn database(&self) -> String {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name}")).await;
        format!("{}/{name}", self.url)
    }

    /// A session of the test's own, as the server's owner.
    pub async fn session(&self, database: &str) -> AsyncPgConnection {
        AsyncPgConnection::establish(&format!("{}/{database}", self.url)).await.expect("PostgreSQL answers")
    }

    /// Runs something as the server's owner, in the database `postgres`.
    pub async fn execute(&self, sql: &str) {
        self.session("postgres").await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs something as the server's owner, if it is up to that.
    pub async fn try_execute(&self, sql: &str) -> bool {
        match AsyncPgConnection::establish(&format!("{}/postgres", self.url)).await {
            Ok(mut session) => session.batch_execute(sql).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Waits until a query in the database `postgres` finds something.
    pub async fn until(&self, sql: &str) {
        let began = Instant::now();
        while self.ask(sql).await.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{sql}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The one column, text, of a query in the database `postgres`.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.session("postgres").await).await.expect(sql);
        rows.into_iter().map(|row| row.value).collect()
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The URL of a fresh database on the shared server, or none if PostgreSQL is not installed.
pub async fn fresh_database() -> Option<String> {
    let shared = tokio::task::spawn_blocking(|| SHARED.get_or_init(share).as_ref());
    let Some(server) = shared.await.expect("PostgreSQL starts") else {
        Postgres::say_skipped();
        return None;
    };
    Some(server.database().await)
}

fn share() -> Option<Postgres> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let server = Postgres::prepare(port, &[])?;
    server.run();
    Some(server)
}

/// A port that is free now and that the system gives to nobody else while the server is away.
pub fn free_port() -> u16 {
    let begin = u16::try_from(std::process::id() % u32::from(PORTS_IN_ALL)).expect("small");
    loop {
        let next = begin.wrapping_add(PORTS.fetch_add(7, Ordering::Relaxed)) % PORTS_IN_ALL;
        if std::net::TcpListener::bind(("127.0.0.1", PORTS_FROM + next)).is_ok() {
            return PORTS_FROM + next;
        }
    }
}

/// The newest installed server, 15 or later.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            (version >= 15 && path.join("bin/postgres").exists()).then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// Makes a file in the server's folder that only its own user may read, as it demands of keys.
pub fn put_private(server: &Postgres, name: &str, content: &str) -> PathBuf {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let path = server.folder.join("data").join(name);
    std::fs::write(&path, content).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("private");
    let owner = std::fs::metadata(Path::new(&server.folder).join("data")).expect("data");
    let _ = std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid()));
    path
}
