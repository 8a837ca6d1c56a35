//! `haggle tail`: follow an event stream in the terminal.

use std::time::Duration;

use clap::Args;
use eventsource_stream::{Event, Eventsource};
use tokio_stream::StreamExt;
use url::Url;

use super::{Failed, say};

/// How long to wait before coming back, until the server says.
const RETRY: Duration = Duration::from_secs(2);
/// A stream that is silent for this long is dead: three heartbeats.
const SILENCE: Duration = Duration::from_secs(45);

/// Which stream.
#[derive(Args)]
pub struct TailArgs {
    /// The server
    #[arg(long, env = "HAGGLE_URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    /// Whose stream (`haggle token --user <id>` prints one)
    #[arg(long, env = "HAGGLE_TOKEN", hide_env_values = true)]
    token: String,
    /// Begin after this cursor instead of now
    #[arg(long)]
    after: Option<String>,
    /// Every durable event of the deployment; needs a service token
    #[arg(long)]
    all: bool,
    /// Leave out heartbeats
    #[arg(long, short)]
    quiet: bool,
    /// End after this many events
    #[arg(long)]
    limit: Option<usize>,
}

/// Why one connection ended.
enum Ended {
    /// Come back.
    Broken,
    /// Coming back would not help.
    ForGood,
}

/// Prints events until Ctrl-C, resuming after the last one whenever the stream breaks.
pub async fn tail(args: TailArgs) -> Result<(), Failed> {
    let client = reqwest::Client::builder().connect_timeout(RETRY).build()?;
    let mut tail = Tail { last: args.after.clone(), retry: RETRY, printed: 0, args };
    loop {
        let opened = tokio::select! {
            opened = tail.open(&client) => opened,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        if let Ended::ForGood = opened? {
            return Ok(());
        }
        tokio::time::sleep(tail.retry).await;
    }
}

struct Tail {
    args: TailArgs,
    last: Option<String>,
    retry: Duration,
    printed: usize,
}

impl Tail {
    async fn open(&mut self, client: &reqwest::Client) -> Result<Ended, Failed> {
        let mut url = self.args.url.join("/v1/events")?;
        url.query_pairs_mut().append_pair("viewing", "false");
        if self.args.all {
            url.query_pairs_mut().append_pair("all", "true");
        }
        let mut request = client.get(url).bearer_auth(&self.args.token);
        if let Some(last) = &self.last {
            request = request.header("Last-Event-ID", last);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                eprintln!("haggle tail: {error}; trying again");
                return Ok(Ended::Broken);
            }
        };
        let status = response.status();
        if status.is_client_error() {
            return Err(format!("{status}: {}", response.text().await.unwrap_or_default()).into());
        }
        if !status.is_success() {
            eprintln!("haggle tail: {status}; trying again");
            return Ok(Ended::Broken);
        }
        self.follow(response).await
    }

    async fn follow(&mut self, response: reqwest::Response) -> Result<Ended, Failed> {
        let mut events = response.bytes_stream().eventsource();
        while let Ok(Some(Ok(event))) = tokio::time::timeout(SILENCE, events.next()).await {
            self.retry = event.retry.unwrap_or(self.retry);
            if !event.id.is_empty() {
                self.last = Some(event.id.clone());
            }
            if !(self.args.quiet && event.event == "heartbeat") {
                say(&format!("{:<22} {}", event.event, event.data));
                self.printed += 1;
            }
            if is_final(&event) || self.args.limit.is_some_and(|limit| self.printed >= limit) {
                return Ok(Ended::ForGood);
            }
        }
        let place = self.last.as_deref().unwrap_or("now");
        eprintln!("haggle tail: the stream ended; resuming at {place}");
        Ok(Ended::Broken)
    }
}

/// Whether the server has said that coming back would not help.
fn is_final(event: &Event) -> bool {
    event.event == "goodbye" && (event.data.contains("token_expired") || event.data.contains("access_changed"))
}
