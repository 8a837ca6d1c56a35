//! Forms as other programs write them, and a look at what the server has stored.

use std::time::Duration;

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use haggle::on;
use haggle::store::schema::{attachments, uploads};
use reqwest::Method;
use uuid::Uuid;

use crate::harness::s3::files_below;
use crate::harness::{Actor, Answer, Server};

const BOUNDARY: &str = "a-boundary-7d41b838";

/// A body of `multipart/form-data` (RFC 7578), spelled out so that it can be wrong.
#[derive(Clone, Default)]
pub struct Form(Vec<u8>);

impl Form {
    /// The content type of such a body.
    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=a-boundary-7d41b838";

    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part with these lines of headers.
    pub fn part(mut self, headers: &str, content: &[u8]) -> Self {
        self.0.extend_from_slice(format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a part of text.
    pub fn text(self, name: &str, content: &str) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), content.as_bytes())
    }

    /// Adds the part `attachment`.
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        let headers = format!("Content-Disposition: form-data; name=\"attachment\"; filename=\"{name}\"");
        self.part(&format!("{headers}\r\nContent-Type: text/plain"), content)
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        [&self.0, format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
    }

    /// Posts the form.
    pub async fn post(&self, who: &Actor, path: &str, key: Option<Uuid>) -> Answer {
        self.post_body(who, path, key, self.body()).await
    }

    /// Posts this instead of the form's own body.
    pub async fn post_body(
        &self,
        who: &Actor,
        path: &str,
        key: Option<Uuid>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = who.request(Method::POST, path).body(body);
        request = request.header("Content-Type", Self::CONTENT_TYPE);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        who.run(request).await
    }
}

/// What is stored: files in the data folder or in S3, rows of attachments, rows of uploads under way.
pub async fn stored(server: &Server) -> [usize; 3] {
    let conn = server.app.store.reader().await.expect("a connection");
    let conn = &conn;
    let attached: i64 = on!(conn, |c| attachments::table.count().get_result(c)).expect("a count");
    let under_way: i64 = on!(conn, |c| uploads::table.count().get_result(c)).expect("a count");
    let files = match &server.s3 {
        Some(s3) => s3.holds(),
        None => files_below(&server.app.config.data_dir.join("attachments")),
    };
    [files, usize::try_from(attached).unwrap(), usize::try_from(under_way).unwrap()]
}

/// What is stored once nothing is under way any more and so many files are left, or what there is after a while.
pub async fn stored_at_rest(server: &Server, files: usize) -> [usize; 3] {
    let at_rest = async {
        while stored(server).await != [files, files, 0] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), at_rest).await;
    stored(server).await
}
