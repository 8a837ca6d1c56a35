//! Real reverse proxies, nginx and `HAProxy` as Debian has them, on free ports, gone when the tests are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::issued::{Issued, issue};
use super::{Actor, free_port, or_skipped};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
}

/// How it is configured, within what Debian's package configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The one line that names the server, over plain HTTP, with gzip on for what the proxy compresses by itself.
    Bare,
    /// As in the README, over TLS, with gzip on for every type.
    Documented(&'static str),
}

/// What a test asks of a client beyond the ordinary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// No HTTP/2, even if the proxy offers it.
    pub http1: bool,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// A running proxy. The shell that minds it ends it by its pid when this process closes the pipe, however it ends.
pub struct Proxy {
    pub port: u16,
    issued: Option<Issued>,
    folder: tempfile::TempDir,
    _minder: Child,
}

/// nginx's workers outlive their master if it is killed: it is asked.
const MIND: &str = r#"
"$@" >/dev/null 2>&1 &
pid=$!
trap 'kill -TERM $pid 2>/dev/null' EXIT
echo $pid
cat >/dev/null
"#;

/// `user` is for root, whose temporary folders are its own. Else as in Debian's file, which also turns gzip on.
const NGINX: &str = "
user root; daemon off; pid {folder}/pid; error_log {folder}/log; worker_processes auto;
events { worker_connections 768; }
http {
    sendfile on; tcp_nopush on; types_hash_max_size 2048; default_type application/octet-stream; access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    gzip on;
    {more}
    {site}
}
";

/// As in Debian's file. `HAProxy` compresses every type unless told which.
const HAPROXY: &str = "
defaults
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
    compression algo gzip
    {more}
{site}
";

const BARE_NGINX: &str = "server { listen 127.0.0.1:{port}; location / { proxy_pass http://127.0.0.1:{server}; } }";

const BARE_HAPROXY: &str = "
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server one 127.0.0.1:{server}
";

impl Kind {
    /// Whether it is here; where it is required it must be.
    pub fn is_here(self) -> bool {
        or_skipped(self.name(), self.program().is_some(), &format!("{} is not installed", self.name()))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders.map(|folder| folder.join(self.name())).find(|file| file.exists())
    }

    fn bare(self) -> &'static str {
        match self {
            Self::Nginx => BARE_NGINX,
            Self::Haproxy => BARE_HAPROXY,
        }
    }

    /// The site's configuration within that of the package, with a limit of idleness other than the package's.
    fn whole(self, site: &str, zips_all: bool, idle: Option<Duration>) -> String {
        let seconds = idle.map(|idle| idle.as_secs());
        let (frame, zip, limits) = match self {
            Self::Nginx => (
                NGINX,
                "gzip_types *; gzip_proxied any;",
                seconds.map(|s| format!("proxy_read_timeout {s}s; proxy_send_timeout {s}s; send_timeout {s}s;")),
            ),
            Self::Haproxy => (HAPROXY, "", seconds.map(|s| format!("timeout client {s}s\n    timeout server {s}s"))),
        };
        let more = format!("{}{}", if zips_all { zip } else { "" }, limits.unwrap_or_default());
        frame.replace("{more}", &more).replace("{site}", site)
    }
}

impl Proxy {
    /// Starts a proxy before the server on this port, and waits until it listens.
    pub async fn start(kind: Kind, setup: Setup, server: u16) -> Self {
        Self::start_with(kind, setup, server, None).await
    }

    /// Starts a proxy that breaks what is idle for so long.
    pub async fn start_with(kind: Kind, setup: Setup, server: u16, idle: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let (site, issued) = match setup {
            Setup::Bare => (kind.bare().replace("{server}", &server.to_string()), None),
            Setup::Documented(sample) => {
                let issued = issue("127.0.0.1");
                (fitted(kind, sample, server, folder.path(), &issued), Some(issued))
            }
        };
        let whole = kind.whole(&site, issued.is_some(), idle);
        let whole = whole.replace("{port}", &port.to_string()).replace("{folder}", path(folder.path()));
        let file = folder.path().join("configuration");
        fs::write(&file, whole).expect("written");
        let mut proxy = Self { port, issued, _minder: launch(kind, &file), folder };
        proxy.listens(kind).await;
        proxy
    }

    async fn listens(&mut self, kind: Kind) {
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let listens = tokio::time::timeout(Duration::from_secs(20), listening).await.is_ok();
        assert!(listens, "{} does not start:\n{}", kind.name(), self.complaints(kind));
    }

    /// Why it does not like its configuration.
    fn complaints(&self, kind: Kind) -> String {
        let program = kind.program().expect("installed");
        let file = self.folder.path().join("configuration");
        let check = match kind {
            Kind::Nginx => Command::new(program).arg("-t").arg("-c").arg(file).output(),
            Kind::Haproxy => Command::new(program).arg("-c").arg("-f").arg(file).output(),
        };
        String::from_utf8_lossy(&check.expect("it runs").stderr).into_owned()
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Its URL, reached through another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", if self.issued.is_some() { "https" } else { "http" })
    }

    /// The file with the authority that signed its certificate, if it has one.
    pub fn authority(&self) -> Option<PathBuf> {
        self.issued.as_ref().map(|_| self.folder.path().join("authority.pem"))
    }

    /// The same person behind the proxy.
    pub fn before(&self, actor: &Actor) -> Actor {
        self.before_as(actor, Client::default())
    }

    /// The same person behind the proxy, with a client like this, whose connections are its own.
    pub fn before_as(&self, actor: &Actor, client: Client) -> Actor {
        let mut builder = reqwest::Client::builder().no_proxy().local_address(client.address);
        if let Some(issued) = &self.issued {
            let authority = reqwest::Certificate::from_pem(issued.authority.as_bytes()).expect("a certificate");
            builder = builder.tls_certs_only([authority]);
        }
        if client.http1 {
            builder = builder.http1_only();
        }
        actor.at_url(&self.url()).with_client(&builder.build().expect("a client"))
    }
}

/// The documented configuration with this test's ports and files.
fn fitted(kind: Kind, sample: &str, server: u16, folder: &Path, issued: &Issued) -> String {
    let Issued { authority, certificate, key } = issued;
    fs::write(folder.join("authority.pem"), authority).expect("written");
    fs::write(folder.join("chat.key"), key).expect("written");
    let one_file = if kind == Kind::Haproxy { key.as_str() } else { "" };
    fs::write(folder.join("chat.pem"), format!("{certificate}{one_file}")).expect("written");
    let listen = match kind {
        Kind::Nginx => ("listen 443 ", "listen 127.0.0.1:{port} "),
        Kind::Haproxy => ("bind :443 ", "bind 127.0.0.1:{port} "),
    };
    let server = format!("127.0.0.1:{server}");
    let mut site = sample.to_owned();
    for (documented, here) in [listen, ("127.0.0.1:8080", &server), ("/etc/ssl/", &format!("{}/", path(folder)))] {
        assert!(site.contains(documented), "{documented} is in the sample");
        site = site.replace(documented, here);
    }
    site
}

fn path(folder: &Path) -> &str {
    folder.to_str().expect("UTF-8")
}

fn launch(kind: Kind, configuration: &Path) -> Child {
    let mut minder = Command::new("bash");
    minder.args(["-c", MIND, "mind"]).arg(kind.program().expect("installed"));
    match kind {
        Kind::Nginx => minder.arg("-c").arg(configuration),
        Kind::Haproxy => minder.arg("-db").arg("-f").arg(configuration),
    };
    let minder = minder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut minder = minder.spawn().expect("bash starts");
    BufReader::new(minder.stdout.take().expect("piped")).read_line(&mut String::new()).expect("a line");
    minder
}
