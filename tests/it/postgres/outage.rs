//! PostgreSQL restarted, away, frozen, and its connections killed (promises 1, 3, 4, 7, 12).

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::load::{Load, send, send_as, send_until_taken};
use super::nobody_is_idle_in_transaction;
use crate::checker::Outcome;
use crate::harness::{Actor, Cast, Node, Postgres, Stop, is_full};

/// How long it may take to say that the database cannot be reached, and that it hangs.
const AWAY: Duration = Duration::from_secs(1);
const HANGS: Duration = Duration::from_secs(5);
/// How long it may take until commands are taken again after the database is.
const BACK: Duration = Duration::from_secs(5);
/// What a busy machine may add to these, beyond what is ours.
const MARGIN: Duration = Duration::from_millis(500);

/// A node on a server that this test may stop, and a room.
struct Stage {
    server: Postgres,
    database: String,
    node: Node,
    cast: Cast,
    room: Uuid,
}

impl Stage {
    async fn set() -> Option<Self> {
        let server = Postgres::start(&[]).await?;
        let database = server.database().await;
        let node = Node::start(&database).await;
        let cast = node.cast().await;
        let room = cast.ada.open_room(cast.north, "hello").await;
        Some(Self { server, database, node, cast, room })
    }

    async fn load(&self) -> Load {
        Load::start(self.room, &[self.cast.ada.clone(), self.cast.nora.clone()]).await
    }
}

/// How long the outages last: a moment in every run, half a minute in the long form.
fn outage(short: u64) -> Duration {
    let long = is_full();
    Duration::from_secs(if long { 30 } else { short })
}

/// Every kind of read.
fn reads(cast: &Cast, room: Uuid) -> Vec<(Actor, String)> {
    let (ada, service) = (&cast.ada, &cast.service);
    let asked: [(&Actor, String); 8] = [
        (ada, "/v1/rooms".to_owned()),
        (ada, format!("/v1/rooms/{room}")),
        (ada, format!("/v1/rooms/{room}/contracts/{}/history", cast.spring)),
        (ada, format!("/v1/attachments/{}", cast.spring)),
        (service, format!("/v1/rooms/{room}")),
        (service, format!("/v1/users/{}", ada.id())),
        (service, format!("/v1/companies/{}", cast.north)),
        (service, format!("/v1/campaigns/{}", cast.spring)),
    ];
    asked.map(|(who, path)| (who.clone(), path)).into()
}

/// Reads of every kind, at once; each must be answered 503 with `Retry-After` in time.
async fn reads_are_refused(cast: &Cast, room: Uuid, within: Duration) {
    let answers = reads(cast, room).into_iter().map(|(who, path)| async move {
        let began = Instant::now();
        let answer = tokio::time::timeout(HANGS + HANGS, who.get(&path)).await.expect("an answer");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
        answer.refused(503, "unavailable");
        let took = began.elapsed();
        assert!(took < within + MARGIN, "{path} took {took:?}");
    });
    futures_util::future::join_all(answers).await;
    cast.ada.get("/v1/config").await.expect(200);
}

/// Reads until every session that a node may have for it is open.
async fn open_all_sessions(stage: &Stage) {
    let sessions = "SELECT pid::text AS value FROM pg_stat_activity WHERE application_name = 'haggle'";
    while stage.server.ask(sessions).await.len() < 4 {
        let asked = reads(&stage.cast, stage.room);
        futures_util::future::join_all(asked.iter().map(|(who, path)| who.get(path))).await;
    }
}

/// To see it red: have `src/commands/task.rs` keep its connection whatever became of it, or see [`Load::check`].
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_pause() {
    let Some(stage) = Stage::set().await else { return };
    let load = stage.load().await;
    for how in [Stop::Fast, Stop::Immediate, Stop::Immediate, Stop::Fast] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| {
            stage.server.stop(how);
            stage.server.run();
        });
        let took = load.back().await;
        assert!(took < BACK, "back after {took:?}");
        stage.node.ready().await;
    }
    let attempts = load.check("4 × PostgreSQL restarted").await;
    assert!(attempts.iter().any(|attempt| attempt.outcome != Outcome::Ok(0)), "something was sent");
    nobody_is_idle_in_transaction(&stage.server).await;
}

/// To see it red: have `Task::connect` in `src/commands/task.rs` try until the database is back.
#[tokio::test(flavor = "multi_thread")]
async fn away_is_said_within_a_second() {
    let Some(stage) = Stage::set().await else { return };
    let load = stage.load().await;
    tokio::task::block_in_place(|| stage.server.stop(Stop::Fast));
    let gone = Instant::now();
    while gone.elapsed() < outage(3) {
        reads_are_refused(&stage.cast, stage.room, AWAY).await;
        let attempt = send(&stage.cast.ada, stage.room).await;
        assert!(!matches!(attempt.outcome, Outcome::Ok(_)) && attempt.took < AWAY + MARGIN, "{attempt:?}");
        let began = Instant::now();
        stage.cast.nora.see(stage.room, 1).await.refused(503, "unavailable");
        assert!(began.elapsed() < AWAY + MARGIN, "last seen took {:?}", began.elapsed());
        assert!(!stage.node.is_ready().await, "not ready");
    }
    tokio::task::block_in_place(|| stage.server.run());
    let took = load.back().await;
    assert!(took < BACK, "back after {took:?}");
    stage.node.ready().await;
    let attempts = load.check("PostgreSQL away").await;
    let slowest = attempts.iter().filter(|attempt| attempt.sent > gone).map(|attempt| attempt.took).max();
    assert!(slowest < Some(AWAY + MARGIN), "{slowest:?}");
    nobody_is_idle_in_transaction(&stage.server).await;
}

/// To see it red: take the limit out of `Watch::run`.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_server_is_given_up_within_five_seconds() {
    let Some(stage) = Stage::set().await else { return };
    let load = stage.load().await;
    open_all_sessions(&stage).await;
    tokio::task::block_in_place(|| stage.server.freeze());
    let frozen = Instant::now();
    // A stream that is opened now is opened, and begins when the database is back.
    let late = tokio::spawn({
        let ada = stage.cast.ada.clone();
        async move { ada.stream_patiently(outage(7) + HANGS + HANGS).await.hello.name }
    });
    while frozen.elapsed() < outage(7) {
        reads_are_refused(&stage.cast, stage.room, HANGS).await;
    }
    tokio::task::block_in_place(|| stage.server.thaw());
    let took = load.back().await;
    assert!(took < BACK, "back after {took:?}");
    stage.node.ready().await;
    assert_eq!(late.await.expect("a stream"), "hello");
    let began = Instant::now();
    stage.cast.ada.rooms().await;
    assert!(began.elapsed() < AWAY, "reads are back");
    let attempts = load.check("PostgreSQL frozen (SIGSTOP)").await;
    let slowest = attempts.iter().map(|attempt| attempt.took).max();
    assert!(slowest < Some(HANGS + MARGIN), "{slowest:?}");
    nobody_is_idle_in_transaction(&stage.server).await;
}

/// Sessions are used again.
///
/// To see it red: have the drop of a `Session` take it out of the pool always.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_used_again() {
    let Some(stage) = Stage::set().await else { return };
    let sessions = "SELECT pid::text AS value FROM pg_stat_activity WHERE application_name LIKE 'haggle%' ORDER BY pid";
    let read = async || stage.cast.ada.room(stage.room).await;
    read().await;
    let before = stage.server.ask(sessions).await;
    for _ in 0..5 {
        read().await;
        stage.cast.ada.rooms().await;
        stage.cast.ada.say(stage.room, "hello").await;
    }
    let after = stage.server.ask(sessions).await;
    assert!(before.len() > 1 && before.iter().all(|pid| after.contains(pid)), "{before:?}, then {after:?}");
    assert!(after.len() <= 5, "four for queries and the writer's: {after:?}");
}

/// A COMMIT that is not answered: what became of it is found out when that can be done in time, else said not to be
/// known; asked again, it is there once.
///
/// To see it red: answer a batch whose COMMIT was not answered with 503 `unavailable` (refused, and there).
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_looked_up_or_said_to_be_unknown() {
    let Some(stage) = Stage::set().await else { return };
    let (ada, nora, room) = (&stage.cast.ada, &stage.cast.nora, stage.room);
    let hangs = "SELECT pid::text AS value FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    // Every COMMIT waits for a standby that there is not; the server has it on its own disk by then.
    stage.server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    stage.server.execute("SELECT pg_reload_conf()").await;

    let (killed, ()) = tokio::join!(send(ada, room), async {
        stage.server.until(hangs).await;
        stage.server.execute(kill).await;
    });
    assert_eq!(killed.outcome, Outcome::Ok(2), "looked up: {:?}", killed.took);

    let (unknown, queued) = tokio::join!(send(ada, room), async {
        stage.server.until(hangs).await;
        send(nora, room).await
    });
    assert_eq!((unknown.outcome, queued.outcome), (Outcome::Unknown, Outcome::Refused));
    assert!(unknown.took < HANGS + MARGIN && queued.took < HANGS + MARGIN, "{unknown:?} {queued:?}");

    stage.server.execute("ALTER SYSTEM RESET synchronous_standby_names").await;
    stage.server.execute("SELECT pg_reload_conf()").await;
    let again = send_until_taken(ada, room, unknown.key).await;
    assert_eq!(again.outcome, Outcome::Ok(3), "it was committed");
    assert_eq!(send_as(nora, room, queued.key).await.outcome, Outcome::Ok(4), "it was not");
    nobody_is_idle_in_transaction(&stage.server).await;
}

/// To see it red: answer a batch that failed as if it were committed; see [`Load::check`].
#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_lose_and_double_nothing() {
    let Some(stage) = Stage::set().await else { return };
    let load = stage.load().await;
    let database = stage.database.rsplit_once('/').expect("a name").1;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = '{database}' AND application_name LIKE 'haggle%'"
    );
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(37)).await;
        stage.server.execute(&kill).await;
    }
    let took = load.back().await;
    assert!(took < BACK, "back after {took:?}");
    let attempts = load.check("PostgreSQL's sessions killed").await;
    assert!(attempts.iter().any(|attempt| matches!(attempt.outcome, Outcome::Ok(_))), "some got through");
    nobody_is_idle_in_transaction(&stage.server).await;
}
