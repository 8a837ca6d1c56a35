//! Serving until told to stop, and stopping gracefully (promise 15).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::server::{self, Limits};
use super::{metrics_router, router, service};
use crate::app::App;
use crate::wire::GoodbyeReason;

/// From the request to stop until what is left is cut; with the writer's work after it, less than 5 s.
const DRAIN: Duration = Duration::from_millis(3_500);
/// How often metrics are condensed: often enough that no round has much to do.
const CONDENSE_EVERY: Duration = Duration::from_mins(1);

/// Serves on `listener`, which [`listen`](super::listen) made, until `shutdown`, or until the disk under the database fails.
///
/// From `shutdown` on readiness fails, the listener is closed, streams hear `goodbye`, requests that run are answered,
/// and the writer finishes what waits.
///
/// `metrics`, if there is one, serves `/metrics` without a token.
pub async fn serve(app: Arc<App>, listener: TcpListener, metrics: Option<TcpListener>, shutdown: CancellationToken) {
    let files = server::raise_file_limit();
    let limits = Limits::new(&app.config, files, DRAIN);
    let stop = CancellationToken::new();
    let streams = || app.streams.handle().clone();
    let served = server::serve(listener, router(app.clone()), limits.clone(), streams(), stop.clone());
    let metrics = async {
        if let Some(listener) = metrics {
            server::serve(listener, metrics_router(app.clone()), limits, streams(), stop.clone()).await;
        }
    };
    let ending = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = app.fatal.cancelled() => {}
        }
        app.stopping.cancel();
        stop.cancel();
        app.hub.close_all(GoodbyeReason::ShuttingDown);
    };
    tokio::join!(served, metrics, ending, stop.run_until_cancelled(condense_metrics()));
    app.stop().await;
}

/// Condenses what was measured now and then: samples of histograms that nobody scrapes would pile up.
async fn condense_metrics() {
    loop {
        tokio::time::sleep(CONDENSE_EVERY).await;
        service::recorder().run_upkeep();
    }
}
