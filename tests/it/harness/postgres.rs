//! One real PostgreSQL for the whole test binary, on a free port, in a temporary folder, gone when the tests are.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

/// The server; the shell that minds it ends it by its pid when this process closes the pipe, however it ends.
struct Minded {
    url: String,
    _minder: Child,
}

static SERVER: OnceLock<Option<Minded>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Starts, says `ready`, waits for the pipe to close, stops. PostgreSQL refuses to run as root.
const MIND: &str = r#"
set -e
bin="$1"; port="$2"; dir=$(mktemp -d /tmp/haggle-pg.XXXXXX)
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=postgres --regid=postgres --init-groups --"; else as=""; fi
if [ -n "$as" ]; then chown postgres "$dir"; fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -U haggle -A trust -E UTF8 --no-sync >/dev/null
$as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 -c max_connections=500 >"$dir/log" 2>&1 &
pid=$!
trap 'kill -QUIT $pid 2>/dev/null; wait $pid; cd /; rm -rf "$dir"' EXIT
for _ in $(seq 200); do "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break; sleep 0.05; done
echo ready
cat >/dev/null
"#;

/// The URL of a fresh database, or none if PostgreSQL is not installed.
pub async fn fresh_database() -> Option<String> {
    let base = tokio::task::spawn_blocking(server_url).await.expect("starting PostgreSQL")?;
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = AsyncPgConnection::establish(&format!("{base}/postgres")).await.expect("PostgreSQL answers");
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database is made");
    Some(format!("{base}/{name}"))
}

fn server_url() -> Option<String> {
    SERVER.get_or_init(start).as_ref().map(|server| server.url.clone())
}

fn start() -> Option<Minded> {
    let bin = installed()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let mut minder = Command::new("bash")
        .args(["-c", MIND, "mind"])
        .arg(bin)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash starts");
    let mut line = String::new();
    BufReader::new(minder.stdout.take().expect("piped")).read_line(&mut line).expect("PostgreSQL starts");
    assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
    Some(Minded { url: format!("postgres://haggle@127.0.0.1:{port}"), _minder: minder })
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
