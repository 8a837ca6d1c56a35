//! Starting on PostgreSQL: several nodes at once, and the servers that are refused.

use crate::harness::{Node, Postgres};

/// Nodes that start at once on an empty database: one migrates, all start, and they are one deployment.
///
/// Seen red without the lock around the migrations.
#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_start_at_once() {
    let Some(server) = Postgres::start(&[]).await else { return };
    let database = server.database().await;
    let start = || Node::start(&database);
    let (a, b, c, d) = tokio::join!(start(), start(), start(), start());
    let cast = a.cast().await;
    let room = cast.ada.open_room(cast.north, "hello").await;
    let link = "/v1/session";
    for node in [&a, &b, &c, &d] {
        node.ready().await;
        let ada = cast.ada.at_url(&node.url);
        let position = ada.room(room).await["position"].as_str().expect("a cursor").to_owned();
        assert_eq!(position, cast.ada.room(room).await["position"], "one epoch");
        let _ = link;
    }
}
