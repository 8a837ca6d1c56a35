//! `haggle serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;

use haggle::app::App;
use haggle::config::{DatabaseUrl, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{CLOCK, Failed};

/// Serves until told to stop.
pub async fn serve(settings: Settings) -> Result<(), Failed> {
    start_log(&settings.log, &settings.log_format)?;
    let config = settings.resolve()?;
    for name in super::unknown_variables() {
        tracing::warn!("{name} is no setting of Haggle's; is it misspelled?");
    }
    let app = App::start(config, CLOCK).await?;
    let listener = listen("HAGGLE_LISTEN", app.config.listen)?;
    let metrics = match app.config.metrics_listen {
        Some(address) => Some(listen("HAGGLE_METRICS_LISTEN", address)?),
        None => None,
    };
    if app.config.bus.is_none() && matches!(app.config.database, DatabaseUrl::Postgres(_)) {
        tracing::info!(
            "no HAGGLE_BUS_URL: fine for one node; with several, events of the others would come within 5 s, and \
             presence and typing stay on their node"
        );
    }
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let (shutdown, fatal) = (stop_on_signal()?, app.fatal.clone());
    haggle::http::serve(app, listener, metrics, shutdown).await;
    if fatal.is_cancelled() {
        return Err("the disk under the database failed; what was acknowledged before is safe".into());
    }
    Ok(())
}

fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, Failed> {
    haggle::http::listen(address).map_err(|error| format!("{setting} {address}: {error}").into())
}

/// Starts the log on standard error, in colour on a terminal only.
pub fn start_log(filter: &str, format: &str) -> Result<(), Failed> {
    // What the library says of a bus that is lost, twice a second, Haggle says once.
    let filter =
        EnvFilter::try_new(format!("async_nats=error,{filter}")).map_err(|error| format!("HAGGLE_LOG: {error}"))?;
    let colour = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever read standard error may be gone, and then complaining there would panic wherever something is logged.
    let log = log.with_ansi(colour).with_target(false).log_internal_errors(false);
    let started = if format == "json" { log.json().flatten_event(true).try_init() } else { log.try_init() };
    started.map_err(|error| format!("log: {error}").into())
}

/// A token that SIGTERM and Ctrl-C cancel; a second signal ends the process at once.
pub fn stop_on_signal() -> Result<CancellationToken, Failed> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = stop.clone();
    tokio::spawn(async move {
        for attempt in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if attempt == 1 {
                std::process::exit(1);
            }
            tracing::info!("stopping");
            asked.cancel();
        }
    });
    Ok(stop)
}
