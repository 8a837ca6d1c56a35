//! What can be asked of a load run.

use clap::Args;
use url::Url;

use super::plan::Arrivals;
use super::report::Setup;
use crate::cli::token::Signer;

/// What load, on which server.
#[derive(Args)]
pub struct LoadArgs {
    /// The server
    #[arg(long, env = "HAGGLE_URL", default_value = "http://127.0.0.1:8080")]
    pub url: Url,
    /// Allow a server that is not this machine
    #[arg(long)]
    pub remote: bool,
    /// A service token; without it one is signed with the secret
    #[arg(long, env = "HAGGLE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    #[command(flatten)]
    pub signer: Signer,
    /// Messages per second that are due, all rooms together
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// How they are spread in time
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// A closed loop instead: so many senders, each waiting for its answer. Finds the most a server does; its
    /// latencies hide stalls
    #[arg(long, conflicts_with_all = ["rate", "arrivals"], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub closed: Option<u32>,
    /// Rooms, each of a company and a creator of its own
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rooms: u32,
    /// Employees of each company; the creator comes on top
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub members: u32,
    /// Event streams at most, one a person; without it everyone has one
    #[arg(long)]
    pub streams: Option<usize>,
    /// Bytes of each message's content, at most 8,000
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=8_000))]
    pub message_bytes: u32,
    /// Percent of the messages that carry a file
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub attachments: u8,
    /// Bytes of each file
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(0..=8_388_608))]
    pub attachment_bytes: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 30)]
    pub seconds: u32,
    /// Seconds before that, of the same load
    #[arg(long, default_value_t = 5)]
    pub warmup: u32,
    /// People, rooms and times follow from it; runs at the same time need different ones
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Process of the server, to tell what it costs (Linux, same machine)
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Print JSON, and the table on standard error
    #[arg(long)]
    pub json: bool,
}

impl LoadArgs {
    /// What was asked for, as the report tells it.
    pub fn setup(&self) -> Setup {
        Setup {
            r#loop: if self.closed.is_some() { "closed" } else { "open" },
            rate: self.closed.is_none().then_some(self.rate),
            senders: self.closed.map(|senders| senders as usize),
            rooms: self.rooms as usize,
            members_per_room: self.members as usize + 1,
            message_bytes: self.message_bytes as usize,
            attachments_percent: self.attachments,
            attachment_bytes: self.attachment_bytes as usize,
            seconds: self.seconds.into(),
            warmup_seconds: self.warmup.into(),
            seed: self.seed,
        }
    }
}
