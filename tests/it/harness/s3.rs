//! A store that speaks the protocol of S3, in this process, on a free port and in a temporary folder.
//!
//! It is `s3s` with `s3s-fs`, which are tested with Amazon's own SDK: they verify the signature of every request
//! (AWS Signature Version 4, in headers and in presigned URLs, with the end of those), keep parts apart until an
//! upload is completed, and answer with the `response-…` headers of a URL. Unlike Amazon's, this store would make a
//! bucket that a file is written to; [`Gate`] does not let it. It knows no permissions, CORS or lifecycle rules.
//!
//! [`S3`] says which operations it saw, and can be away, hang or die as the network and machines do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haggle::config::{AwsVariables, FilePlace};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "files";
pub const KEY_ID: &str = "AKIDOFTHETESTS";
pub const KEY: &str = "a-secret-key-of-the-tests";

/// A running store with one bucket.
pub struct S3 {
    address: SocketAddr,
    folder: tempfile::TempDir,
    gate: Arc<Gate>,
    service: S3Service,
}

/// What happens to an operation, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not answered until this fault is over.
    Hangs(&'static str),
    /// The store dies with it.
    Dies(&'static str),
    /// The keys do not allow it.
    Denied(&'static str),
    /// It is answered 503.
    Busy(&'static str),
}

/// Sees every request whose signature is right.
struct Gate {
    root: PathBuf,
    calls: Mutex<Vec<String>>,
    fault: watch::Sender<Option<Fault>>,
    /// Cancelled when the store goes away.
    up: Mutex<CancellationToken>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name();
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied));
        }
        if cx.s3_path().get_bucket_name().is_some_and(|bucket| !self.root.join(bucket).exists()) {
            return Err(s3_error!(NoSuchBucket));
        }
        self.calls.lock().push(operation.to_owned());
        let fault = *self.fault.borrow();
        match fault {
            Some(Fault::Hangs(at)) if at == operation => {
                let over = self.fault.subscribe().wait_for(|now| *now != fault).await.is_ok();
                if over { Ok(()) } else { Err(s3_error!(InternalError)) }
            }
            Some(Fault::Dies(at)) if at == operation => {
                self.up.lock().cancel();
                std::future::pending().await
            }
            Some(Fault::Denied(at)) if at == operation => Err(s3_error!(AccessDenied)),
            Some(Fault::Busy(at)) if at == operation => Err(s3_error!(SlowDown)),
            _ => Ok(()),
        }
    }
}

impl S3 {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let root = folder.path().to_owned();
        let up = Mutex::new(CancellationToken::new());
        let gate = Arc::new(Gate { root, calls: Mutex::default(), fault: watch::Sender::default(), up });
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a folder");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        service.set_access(Shared(gate.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let store = Self { address, folder, gate, service: service.build() };
        store.serve(listener);
        store
    }

    /// The bucket, with the right keys.
    pub fn place(&self) -> FilePlace {
        self.place_of(BUCKET, KEY)
    }

    /// A bucket, with a key.
    pub fn place_of(&self, bucket: &str, key: &str) -> FilePlace {
        let aws = self.environment(key).map(|(name, value)| (name.to_owned(), value));
        FilePlace::S3 { bucket: bucket.to_owned(), prefix: "team/files".to_owned(), aws: AwsVariables(aws.into()) }
    }

    /// What the environment of a server says.
    pub fn environment(&self, key: &str) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_REGION", "eu-test-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", key.to_owned()),
        ]
    }

    /// How objects begin.
    pub fn url(&self) -> String {
        format!("http://{}/{BUCKET}/team/files/", self.address)
    }

    /// From now on, this goes wrong.
    pub fn breaks(&self, fault: impl Into<Option<Fault>>) {
        self.gate.fault.send_replace(fault.into());
    }

    /// Nobody listens any more, and every connection is cut.
    pub async fn goes_away(&self) {
        self.gate.up.lock().cancel();
        // The listener is gone once the port can be had.
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Somebody listens, takes every connection, and never says a word.
    pub async fn falls_silent(&self) {
        let (listener, up) = self.listen().await;
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(Ok((socket, _))) = up.run_until_cancelled(listener.accept()).await {
                held.push(socket);
            }
        });
    }

    /// It is there again, with all it had.
    pub async fn comes_back(&self) {
        let (listener, _) = self.listen().await;
        self.breaks(None);
        self.serve(listener);
    }

    /// How often each operation was asked for.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for call in &*self.gate.calls.lock() {
            *calls.entry(call.clone()).or_default() += 1;
        }
        calls
    }

    /// Counts operations from here.
    pub fn forget_calls(&self) {
        self.gate.calls.lock().clear();
    }

    /// How many objects there are, and uploads in parts that were neither completed nor aborted.
    pub fn holds(&self) -> usize {
        let unfinished = std::fs::read_dir(self.folder.path()).expect("a folder").filter(|entry| {
            entry.as_ref().expect("an entry").file_name().to_str().is_some_and(|name| name.starts_with(".upload"))
        });
        files_below(&self.folder.path().join(BUCKET)) + unfinished.count()
    }

    async fn listen(&self) -> (TcpListener, CancellationToken) {
        self.goes_away().await;
        let up = CancellationToken::new();
        *self.gate.up.lock() = up.clone();
        (TcpListener::bind(self.address).await.expect("the same port"), up)
    }

    fn serve(&self, listener: TcpListener) {
        let (up, service) = (self.gate.up.lock().clone(), self.service.clone());
        tokio::spawn(async move {
            while let Some(Ok((socket, _))) = up.run_until_cancelled(listener.accept()).await {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                let up = up.clone();
                tokio::spawn(async move { up.run_until_cancelled(connection).await });
            }
        });
    }
}

/// How many files there are below a folder.
pub fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// The gate, as the service wants to own it.
struct Shared(Arc<Gate>);

#[async_trait::async_trait]
impl S3Access for Shared {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        self.0.check(cx).await
    }
}
