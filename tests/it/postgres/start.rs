//! Starting on PostgreSQL: several nodes at once, and the servers that are refused.

use diesel_async::SimpleAsyncConnection;
use reqwest::Method;
use serde_json::json;

use super::load::send;
use crate::checker::Outcome;
use crate::harness::{Node, Postgres, Stop, free_port, put_private};

/// Nodes that start at once on an empty database: one migrates, all start, and they are one deployment.
///
/// To see it red: take the lock out of `src/store/postgres/start.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_start_at_once() {
    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    let start = || Node::start(&database);
    let (a, b, c, mut d) = tokio::join!(start(), start(), start(), start());
    let cast = a.cast().await;
    let room = cast.ada.open_room(cast.north, "hello").await;
    let position = cast.ada.room(room).await["position"].clone();
    let session = cast.ada.post("/v1/events/session", &json!({})).await;
    let cookie = session.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    for node in [&a, &b, &c, &d] {
        node.ready().await;
        assert_eq!(cast.ada.at_url(&node.url).room(room).await["position"], position, "one epoch");
        let nobody = crate::harness::Actor::new(&node.url, &node.http, None, None);
        let stream = nobody.run_stream(nobody.request(Method::GET, "/v1/events").header("Cookie", &cookie)).await;
        assert_eq!(stream.hello.data["user_id"], json!(cast.ada.id()), "one signing key");
    }
    assert_eq!(d.terminate().code(), Some(0));
}

/// What a node says that does not start.
async fn refused(url: &str) -> String {
    match Node::try_start(url, &[]).await {
        Ok(node) => panic!("it started:\n{}", node.log()),
        Err((status, log)) => {
            assert_eq!(status.code(), Some(1), "{log}");
            log.lines().last().unwrap_or_default().to_owned()
        }
    }
}

async fn assert_refused(url: &str, sentence: &str) {
    let said = refused(url).await;
    assert!(said.contains(sentence), "{said}");
}

/// To see it red: leave out the check.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_keep_a_promise_is_refused() {
    let Some(server) = Postgres::start(&["-c", "fsync=off"]).await else { return };
    let says = "fsync = off and would lose messages: start PostgreSQL without fsync = off";
    assert_refused(&server.database().await, says).await;

    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    server.execute("ALTER SYSTEM SET full_page_writes = off").await;
    server.execute("SELECT pg_reload_conf()").await;
    let says = "full_page_writes = off and would lose messages: ALTER SYSTEM SET full_page_writes = on; SELECT";
    assert_refused(&database, says).await;
    server.execute("ALTER SYSTEM RESET full_page_writes").await;
    server.execute("SELECT pg_reload_conf()").await;
    for (change, says) in [
        ("ROLE haggle SET synchronous_commit = off", "synchronous_commit = off and would lose messages: ALTER ROLE …"),
        ("ROLE haggle SET default_transaction_read_only = on", "takes no writes: ALTER ROLE …"),
    ] {
        server.execute(&format!("ALTER {change}")).await;
        assert_refused(&database, says).await;
        server.execute("BEGIN READ WRITE; ALTER ROLE haggle RESET ALL; COMMIT").await;
    }
    let through_url = format!("{database}?options=-c%20synchronous_commit%3Doff");
    assert_refused(&through_url, "take synchronous_commit out of HAGGLE_DATABASE_URL").await;
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    assert_refused(&format!("{}/latin", server.url), "the database latin is encoded in LATIN1: make one with").await;
    Node::start(&database).await.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_make_tables_is_told() {
    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    server.execute("CREATE ROLE guest LOGIN").await;
    let url = database.replace("haggle@", "guest@");
    assert_refused(&url, "the role guest may not make tables in the schema public: GRANT CREATE ON SCHEMA public")
        .await;
    let name = database.rsplit_once('/').expect("a name").1;
    let mut owner = server.session(name).await;
    owner.batch_execute("GRANT CREATE ON SCHEMA public TO guest").await.expect("granted");
    Node::start(&url).await.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused() {
    let server = tokio::task::spawn_blocking(|| {
        let server = Postgres::prepare(free_port(), &[])?;
        put_private(&server, "standby.signal", "");
        server.run();
        Some(server)
    });
    let Some(server) = server.await.expect("PostgreSQL starts") else { return Postgres::say_skipped() };
    assert_refused(&format!("{}/postgres", server.url), "is a standby and takes no writes: name the primary").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let url = format!("postgres://haggle:not-for-logs@127.0.0.1:{}/db", free_port());
    let said = refused(&url).await;
    assert!(said.contains("PostgreSQL cannot be reached by HAGGLE_DATABASE_URL"), "{said}");
    assert!(!said.contains("not-for-logs"), "{said}");
}

/// To see it red: take `lock_timeout` out of `src/store/postgres/start.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_elsewhere_is_waited_for_but_not_for_ever() {
    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    let mut other = server.session(database.rsplit_once('/').expect("a name").1).await;
    other.batch_execute("SELECT pg_advisory_lock(5207664190031)").await.expect("locked");
    let said = refused(&database).await;
    assert!(said.contains("another node is changing the database's tables (process "), "{said}");
    assert!(said.contains(", from 127.0.0.1, since 2"), "{said}");
    let (waiting, ()) = tokio::join!(Node::start(&database), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        drop(other);
    });
    waiting.ready().await;
}

/// A role that is told to acknowledge before the disk has it, after the start: the writer does not do so.
///
/// To see it red: take `set_config` out of the writer's session in `src/store/postgres/mod.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_on_disk_whatever_the_role_is_told() {
    // What is not written by the commit itself is not written at all before the crash.
    let Some(server) = Postgres::start(&["-c", "wal_writer_delay=10s"]).await else { return };
    let node = Node::start(&server.database().await).await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "hello").await;
    server.execute("ALTER ROLE haggle SET synchronous_commit = off").await;
    server
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'haggle%'")
        .await;
    let mut last = send(&cast.ada, room).await.outcome;
    while !matches!(last, Outcome::Ok(_)) {
        last = send(&cast.ada, room).await.outcome;
    }
    tokio::task::block_in_place(|| {
        server.stop(Stop::Immediate);
        server.run();
    });
    node.ready().await;
    let Outcome::Ok(number) = last else { unreachable!("it was taken") };
    let messages = cast.ada.room(room).await["messages"].clone();
    assert_eq!(messages.as_array().and_then(|all| all.last()).map(|it| it["id"].clone()), Some(json!(number)));
}
