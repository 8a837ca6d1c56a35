//! From hyper to the router: each request learns who asks and how a stream may answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::service::Service as HyperService;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::Shared;
use super::activity::Activity;
use super::body::Answer;
use super::pace::Paced;
use super::takeover::{Slot, Takeover};
use super::transport::Transport;

tokio::task_local! {
    /// Cuts the HTTP/2 stream whose task this is.
    static STREAM_CUT: CancellationToken;
}

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: std::net::IpAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) slot: Arc<Slot>,
    /// Cuts the connection.
    pub(super) cut: CancellationToken,
}

impl Requests {
    fn takeover(&self, request: &Request<Incoming>) -> Option<Takeover> {
        let alone = request.version() == Version::HTTP_11 && request.body().is_end_stream();
        (alone && request.method() == Method::GET).then(|| Takeover::new(&self.slot))
    }
}

impl HyperService<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin();
        let takeover = self.takeover(&request);
        let client = self.shared.gate.proxies().client(self.peer, request.headers());
        let (mut router, cut, stall) = (self.shared.router.clone(), self.cut.clone(), self.shared.limits.body_stall);
        Box::pin(async move {
            let cut = STREAM_CUT.try_with(CancellationToken::clone).unwrap_or(cut);
            let (http1, given_up) = (request.version() < Version::HTTP_2, Arc::<AtomicBool>::default());
            let mut request = request.map(|body| Body::new(Paced::new(body, stall, given_up.clone())));
            request.extensions_mut().insert(client);
            request.extensions_mut().insert(Transport::new(takeover, cut));
            let mut response = router.call(request).await?;
            if http1 && given_up.load(Ordering::Relaxed) {
                // hyper will not read the rest: a client that is not told would send its next request into the void.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, in_flight }))
        })
    }
}

/// Runs the streams of one HTTP/2 connection, each so that it can be cut alone: hyper resets a stream whose task is
/// dropped.
#[derive(Clone)]
pub(super) struct StreamTasks {
    pub(super) connection_cut: CancellationToken,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let cut = self.connection_cut.child_token();
        tokio::spawn(STREAM_CUT.scope(cut.clone(), async move {
            cut.run_until_cancelled(stream).await;
        }));
    }
}
