//! The connections that messages go over: kept open, the one that was used last first.
//!
//! A client of hyper's on each, without redirects, cookies and whatever else a general client looks after: on a
//! machine that server and generator share, the generator must be the cheaper of the two.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

/// How long any request may take before it counts as not answered.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connections to one server.
pub struct Connections {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody listens: the request was not sent.
    NoConnection,
    /// The connection broke.
    Broken,
    /// Nothing came for [`PATIENCE`].
    Timeout,
}

impl Connections {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Sends a request and reads all of its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Unanswered> {
        let answered = tokio::time::timeout(PATIENCE, async {
            let (response, connection) = self.send(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|_| Unanswered::Broken)?.to_bytes();
            self.idle.lock().push(connection);
            Ok((status, body))
        });
        answered.await.unwrap_or(Err(Unanswered::Timeout))
    }

    /// A connection that the server has closed in the meantime gives the request back, and another is taken.
    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), Unanswered> {
        loop {
            let idle = self.idle.lock().pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.dial().await.map_err(|_| Unanswered::NoConnection)?,
            };
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => request = error.take_message().ok_or(Unanswered::Broken)?,
            }
        }
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, crate::cli::Failed> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
