//! A node that is stopped in the middle of a write transaction holds the others up for three seconds at most.

use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;

use super::load::{send, send_as};
use super::nobody_is_idle_in_transaction;
use crate::checker::Outcome;
use crate::harness::{Node, Postgres, id};

/// How long a paused node may hold the others up.
const HELD_UP: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const MARGIN: Duration = Duration::from_millis(500);

/// To see it red: take `idle_in_transaction_session_timeout` out of the writer's session.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_paused_in_a_transaction_holds_nobody_up_for_long() {
    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    let name = database.rsplit_once('/').expect("a name").1;
    let (a, b) = tokio::join!(Node::start(&database), Node::start(&database));
    let cast = a.cast().await;
    let room = cast.ada.open_room(cast.north, "hello").await;
    let nora = cast.nora.at_url(&b.url);
    // Both have their connections.
    assert_eq!(send(&nora, room).await.outcome, Outcome::Ok(2));

    // A's transaction holds the one lock of all writers and waits for a table of the test's.
    let mut holder = server.session(name).await;
    holder.batch_execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.expect("the table is locked");
    let key = id(0x900);
    let sent = tokio::spawn({
        let ada = cast.ada.clone();
        async move { send_as(&ada, room, key).await }
    });
    server
        .until(
            "SELECT 'waits' AS value FROM pg_stat_activity \
                  WHERE wait_event = 'relation' AND application_name = 'haggle writer'",
        )
        .await;
    a.pause();
    holder.batch_execute("COMMIT").await.expect("the table is free");
    // Now A's session is idle in its transaction: it has been told that it may go on, and does not.
    let released = Instant::now();
    server
        .until(
            "SELECT 'idle' AS value FROM pg_stat_activity \
                  WHERE state = 'idle in transaction' AND application_name = 'haggle writer'",
        )
        .await;
    let through = send(&nora, room).await;
    assert_eq!(through.outcome, Outcome::Ok(3), "{:?}", through.took);
    assert!(released.elapsed() < HELD_UP + MARGIN, "B was held up for {:?}", released.elapsed());

    a.resume();
    let answered = sent.await.expect("A answers");
    assert_eq!(answered.outcome, Outcome::Refused, "the transaction was not committed");
    assert_eq!(send_as(&cast.ada, room, key).await.outcome, Outcome::Ok(4), "A serves again");
    nobody_is_idle_in_transaction(&server).await;
}
