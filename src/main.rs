//! The command line: `haggle serve | demo | token | tail | load | migrate | openapi`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
