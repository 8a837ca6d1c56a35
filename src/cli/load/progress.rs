//! How far a run is, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;

use indicatif::{ProgressBar, ProgressStyle};

use super::Run;

/// Tells how far a run is.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of a run that sends for so many seconds.
    pub fn new(seconds: u64) -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(seconds);
            // The template is right, or the tests would show a bar without one.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {msg}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    /// The next part begins.
    pub fn say(&self, what: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("haggle load: {what}"),
        }
    }

    /// How many have been sent and heard.
    pub fn show(&self, run: &Run) {
        let Some(bar) = &self.0 else { return };
        bar.set_position(run.elapsed().as_secs().min(bar.length().unwrap_or(0)));
        let answered = run.counts.answered.load(Ordering::Relaxed);
        let under_way = run.counts.under_way.load(Ordering::Relaxed);
        let heard = run.heard.load(Ordering::Relaxed);
        bar.set_message(format!("{answered} answered, {under_way} under way, {heard} delivered"));
    }

    /// Nothing more to tell.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
