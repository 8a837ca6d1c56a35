//! The commands of the command line, one file each where there is more to say.

mod backup;
mod demo;
mod load;
mod serve;
mod tail;
mod token;

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use haggle::clock::Clock;
use haggle::config::Settings;

/// A chat server on which creators and companies negotiate campaign contracts.
#[derive(Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, until SIGTERM or Ctrl-C
    Serve(Box<Settings>),
    /// Serve a live negotiation to look at, on a data folder that is thrown away
    Demo(DemoArgs),
    /// Print a development token, signed with the shared secret
    Token(token::TokenArgs),
    /// Follow an event stream in the terminal, resuming whenever it breaks
    Tail(tail::TailArgs),
    /// Put a server of this machine under load and measure it
    Load(Box<load::LoadArgs>),
    /// Bring the database up to date and exit (`serve` does this too)
    Migrate(Box<Settings>),
    /// Copy everything into one file, while the server runs
    Backup(backup::BackupArgs),
    /// Bring a backup back, into an empty database of either kind
    Restore(backup::RestoreArgs),
    /// Renew the epoch, which cursors belong to
    Epoch(backup::EpochArgs),
    /// Print the API description
    Openapi(OpenapiArgs),
}

#[derive(Args)]
struct DemoArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, env = "HAGGLE_DEMO_PORT", default_value_t = 8080)]
    port: u16,
}

#[derive(Args)]
struct OpenapiArgs {
    /// OpenAPI 3.0.3 instead of 3.1, for generators that know no newer version
    #[arg(long)]
    v3_0: bool,
}

/// Variables of the environment that look like settings and are none: a misspelled one is not passed over in silence.
fn unknown_variables() -> Vec<String> {
    let command = Cli::command();
    let commands = command.get_subcommands();
    let known: HashSet<_> = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env).collect();
    let set = std::env::vars_os().map(|(name, _)| name);
    let unknown = set.filter(|name| name.to_string_lossy().starts_with("HAGGLE_") && !known.contains(name.as_os_str()));
    unknown.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// A command that failed: a sentence for whoever ran it.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs a command; failures are told in one line.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(settings) => block_on(serve::serve(*settings)),
        Command::Demo(args) => block_on(demo::demo(args.port)),
        Command::Token(args) => token::token(&args),
        Command::Tail(args) => block_on(tail::tail(args)),
        Command::Load(args) => block_on(load::load(*args)),
        Command::Migrate(settings) => block_on(migrate(*settings)),
        Command::Backup(args) => block_on(backup::backup(args)),
        Command::Restore(args) => block_on(backup::put_back(args)),
        Command::Epoch(args) => block_on(backup::epoch(args)),
        Command::Openapi(args) => openapi(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // What others wrote may be in it: a name in an archive, an answer of a database.
            eprintln!("haggle: {}", failed.to_string().replace(char::is_control, " "));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. When nobody reads on (`haggle openapi | head`) the program ends, quietly.
fn say(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn block_on(work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn migrate(settings: Settings) -> Result<(), Failed> {
    let config = settings.resolve()?;
    let stop = tokio_util::sync::CancellationToken::new();
    haggle::store::Store::open(&config, &stop, &stop).await?;
    stop.cancel();
    say("The database is up to date.");
    Ok(())
}

fn openapi(args: &OpenapiArgs) -> Result<(), Failed> {
    let description = haggle::http::description();
    let description = if args.v3_0 { haggle::http::down_to_3_0(&description) } else { description };
    say(&serde_json::to_string_pretty(&description)?);
    Ok(())
}

/// The machine's clock.
const CLOCK: Clock = Clock::System;
