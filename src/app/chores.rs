//! What is tidied in the background.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::App;
use crate::commands::Maintenance;
use crate::error::Result;

/// How often there is tidying: often enough that no round has much to do.
const EVERY: Duration = Duration::from_mins(1);

/// Tidies once a minute until `stop`.
pub fn start(app: &Arc<App>, stop: CancellationToken) {
    let app = Arc::downgrade(app);
    tokio::spawn(stop.run_until_cancelled_owned(run(app)));
}

async fn run(app: Weak<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = app.tidy().await {
            tracing::warn!(?error, "tidying");
        }
    }
}

impl App {
    /// Trims the log, deletes files that no message holds, forgets idle rate limits.
    ///
    /// # Errors
    /// What the database said.
    pub async fn tidy(&self) -> Result<()> {
        self.rates.shrink();
        let before = self.clock.now().minus(self.config.log_retention);
        while self.writer.maintain(Maintenance::TrimLog { before }).await? > 0 {}
        while self.files.sweep(&self.store).await? > 0 {}
        Ok(())
    }
}
