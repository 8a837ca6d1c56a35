//! Any node serves any request: what one node hands out, the other takes.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Cluster, statuses};
use crate::harness::eventually;
use crate::harness::{Actor, EventStream, id};

const FILE: &str = "aGVsbG8=";

/// Two nodes and a room of Ada's with Northwind.
struct Stage {
    cluster: Cluster,
    ada: [Actor; 2],
    nora: [Actor; 2],
    room: uuid::Uuid,
}

impl Stage {
    async fn set() -> Option<Self> {
        let cluster = Cluster::start(2).await?;
        let cast = cluster.cast().await;
        let room = cast.ada.open_room(cast.north, "Hi").await;
        let at = |actor: &Actor| [0, 1].map(|node| actor.at_url(&cluster.nodes[node].url));
        let (ada, nora) = (at(&cast.ada), at(&cast.nora));
        Some(Self { cluster, ada, nora, room })
    }

    fn nobody(&self, node: usize) -> Actor {
        Actor::new(&self.cluster.nodes[node].url, &self.cluster.nodes[node].http, None, None)
    }
}

/// A session begun at A opens a stream at B. To see it red: give each node a signing key of its own (`HAGGLE_SIGNING_KEY`),
/// or have `Node::hear_log` of `src/events/bus` hear nothing and the sweep of `src/events/feed.rs` look at nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_one_node_opens_a_stream_at_the_other() {
    let Some(stage) = Stage::set().await else { return };
    let answer = stage.nora[0].run(stage.nora[0].request(Method::POST, "/v1/events/session")).await;
    let cookie = answer.header("set-cookie").split_once(';').expect("attributes").0.to_owned();
    answer.expect(204);
    let nobody = stage.nobody(1);
    let mut stream =
        EventStream::open(&nobody, nobody.request(Method::GET, "/v1/events").header("Cookie", cookie)).await;
    assert_eq!(stream.hello.data["user_id"], json!(stage.nora[0].id()));
    stage.ada[0].say(stage.room, "Hello").await;
    assert_eq!(stream.next_of("new_message").await["message"]["content"], "Hello");
}

/// Links that A signed, and links that B told on its streams, open at both; what was uploaded to A is attached at B. To
/// see it red: give each node a folder of its own (`HAGGLE_ATTACHMENTS_URL`).
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_node_is_had_from_the_other() {
    let Some(stage) = Stage::set().await else { return };
    let mut stream = stage.nora[1].stream().await;
    let file = json!({"name": "a.txt", "content": FILE, "content_type": "text/plain"});
    stage.ada[0].message(stage.room, &json!({"content": "", "attachment": file})).await.expect(201);
    let told = stream.next_of("new_message").await["message"]["attachment"]["link"].clone();
    let upload = stage.ada[0].request(Method::PUT, &format!("/v1/attachments/{}?name=b.txt", id(7))).body("hello");
    stage.ada[0].run(upload).await.expect(201);
    stage.ada[1].message(stage.room, &json!({"content": "", "attachment_id": id(7)})).await.expect(201);
    let listed = stage.nora[0].room(stage.room).await;
    let links = listed["messages"].as_array().expect("messages").iter().map(|message| &message["attachment"]["link"]);
    let links: Vec<&Value> = links.filter(|link| link.is_string()).chain([&told]).collect();
    assert_eq!(links.len(), 3);
    for link in links {
        for node in 0..2 {
            let answer = stage.nobody(node).get(link.as_str().expect("a link")).await;
            assert_eq!((answer.status, answer.bytes.as_slice()), (200, &b"hello"[..]), "{link} at {node}");
        }
    }
}

/// The same key at both nodes at once, and again, is one message. To see it red: leave the keys out of
/// `src/commands/load.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_on_all_nodes() {
    let Some(stage) = Stage::set().await else { return };
    let path = format!("/v1/rooms/{}/messages", stage.room);
    for round in 0..20 {
        let body = json!({"content": format!("round {round}")});
        let send = |node: usize| stage.ada[node].post_keyed(&path, id(100 + round), &body);
        let (first, second) = tokio::join!(send(0), send(1));
        let first = first.expect(201);
        assert_eq!(first, second.expect(201));
        for node in [1, 0] {
            assert_eq!(send(node).await.expect(201), first);
        }
        assert_eq!(first["id"], 2 + round);
    }
    stage.nora[1]
        .post_keyed(&path, id(100), &json!({"content": "round 0"}))
        .await
        .refused(422, "idempotency_key_reused");
}

/// Hints about a page at B are taken at A. To see it red: drop `Message::Viewing` or `Message::Typing` in
/// `src/events/bus/talk.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_the_node_that_holds_the_stream() {
    let Some(stage) = Stage::set().await else { return };
    let mut ada = stage.ada[0].stream().await;
    ada.next_of("presence").await;
    let page = stage.nora[1].stream().await;
    let nora = json!(stage.nora[0].id());
    assert_eq!(ada.next_of("activity_change").await["user_id"], nora);
    let path = format!("/v1/events/{}/viewing", page.hello.data["connection_id"].as_str().expect("an id"));
    for (viewing, state) in [(false, "away"), (true, "online")] {
        stage.nora[0].put(&path, &json!({"viewing": viewing})).await.expect(204);
        let change = ada.next_of("activity_change").await;
        assert_eq!((&change["user_id"], &change["activity_state"]), (&nora, &json!(state)));
        for ada in &stage.ada {
            eventually("both nodes agree", async || statuses(ada).await[&stage.nora[0].id()] == state).await;
        }
    }
    let mut others = stage.ada[1].stream().await;
    for typing in [true, false] {
        stage.nora[0].typing(stage.room, typing).await.expect(204);
        for stream in [&mut ada, &mut others] {
            assert_eq!(stream.next_of("typing_change").await["currently_typing"], typing);
        }
    }
}
