//! How far a run is, on standard error: a bar on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Run;

/// How often a plain line tells how far a run is.
const LINES: Duration = Duration::from_secs(10);

/// Tells how far a run is.
pub struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// When the last plain line was written.
    told: Cell<Instant>,
}

impl Progress {
    /// Of a run that sends for so many seconds.
    pub fn new(seconds: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(seconds).with_style(style));
        Self { bar, told: Cell::new(Instant::now()) }
    }

    /// The next part begins.
    pub fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("haggle load: {what}"),
        }
    }

    /// How many have been sent and heard.
    pub fn show(&self, run: &Run) {
        let answered = run.counts.answered.load(Ordering::Relaxed);
        let under_way = run.counts.under_way.load(Ordering::Relaxed);
        let heard = run.heard.load(Ordering::Relaxed);
        let line = format!("{answered} answered, {under_way} under way, {heard} delivered");
        let seconds = run.elapsed().as_secs();
        if let Some(bar) = &self.bar {
            bar.set_position(seconds.min(bar.length().unwrap_or(0)));
            bar.set_message(line);
        } else if self.told.get().elapsed() >= LINES {
            self.told.set(Instant::now());
            eprintln!("haggle load: {seconds} s: {line}");
        }
    }

    /// Nothing more to tell.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
