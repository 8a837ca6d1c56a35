//! PostgreSQL in production: starting, TLS, and what happens when it is restarted, away, frozen or cut off.
//!
//! These tests have servers of their own, which they may stop, and nodes that are processes of their own.

mod load;
mod outage;
mod paused;
mod start;
mod tls;

use std::time::{Duration, Instant};

use crate::harness::Postgres;

/// What the sessions' own limits end at the latest.
const IDLE: Duration = Duration::from_secs(5);

/// No session of ours is left in a transaction that it does nothing in.
async fn nobody_is_idle_in_transaction(server: &Postgres) {
    let idle = "SELECT concat_ws(' ', application_name, state, query) AS value FROM pg_stat_activity \
                WHERE application_name LIKE 'haggle%' AND state LIKE 'idle in transaction%' \
                AND now() - state_change > interval '200 ms'";
    let began = Instant::now();
    loop {
        let sessions = server.ask(idle).await;
        if sessions.is_empty() {
            return;
        }
        assert!(began.elapsed() < IDLE, "{sessions:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
