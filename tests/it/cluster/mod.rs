//! A deployment of several nodes: real processes on one database, one bus and one folder of files, under load, with
//! faults (promises 1, 3, 4, 6, 7 and 15).
//!
//! Each rig prints one line of figures. The short form runs everywhere; `HAGGLE_TORTURE=full` is longer.

mod kill;
mod partition;
mod pause;
mod presence;
mod rolling;
mod sharing;

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::checker::Addresses;
use crate::harness::{Actor, Cast, Database, Node, eventually, uuid};

/// Several nodes of one deployment.
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// Where clients find them.
    pub addresses: Addresses,
    settings: Vec<(&'static str, String)>,
    database: String,
    _files: tempfile::TempDir,
}

impl Cluster {
    /// Starts so many nodes that know of each other; says so when PostgreSQL or NATS is not here.
    pub async fn start(nodes: usize) -> Option<Self> {
        let Database::TwoNodes { postgres: database, nats: bus } = Database::two_nodes().await? else { return None };
        let files = tempfile::tempdir().expect("a folder");
        let settings = vec![
            ("HAGGLE_BUS_URL", bus.to_string()),
            ("HAGGLE_ATTACHMENTS_URL", format!("file://{}", files.path().display())),
        ];
        let addresses = Addresses::default();
        let mut cluster = Self { nodes: Vec::new(), addresses, settings, database, _files: files };
        for _ in 0..nodes {
            let node = cluster.start_node().await;
            cluster.addresses.add(&node.url);
            cluster.nodes.push(node);
        }
        cluster.meet(nodes).await;
        Some(cluster)
    }

    /// One more node, which clients do not know of yet.
    pub async fn start_node(&self) -> Node {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let node = Node::start_with(&self.database, &settings).await;
        node.ready().await;
        node
    }

    /// Waits until every node hears all the others.
    pub async fn meet(&self, nodes: usize) {
        let expected = format!("haggle_nodes {nodes}");
        for node in &self.nodes {
            eventually("the nodes hear of each other", async || {
                let metrics = node.service().get("/metrics").await.bytes;
                String::from_utf8_lossy(&metrics).lines().any(|line| line == expected)
            })
            .await;
        }
    }

    pub async fn cast(&self) -> Cast {
        self.nodes[0].cast().await
    }

    /// Somebody as seen from each node.
    pub fn everywhere(&self, actor: &Actor) -> Vec<Actor> {
        self.nodes.iter().map(|node| actor.at_url(&node.url)).collect()
    }
}

/// What the list of rooms says of the people in them, where and as `reader` asks.
pub async fn statuses(reader: &Actor) -> BTreeMap<Uuid, String> {
    let rooms = reader.rooms().await;
    let rooms = rooms["rooms"].as_array().expect("rooms");
    let users = rooms.iter().flat_map(|room| room["users"].as_array().expect("users"));
    users.map(|user| (uuid(&user["id"]), user["status"].as_str().expect("a status").to_owned())).collect()
}

/// What a fresh stream, where and as `reader` asks, says of people: a state for each who is there, and who types.
pub async fn presence(reader: &Actor) -> (BTreeMap<Uuid, String>, Value) {
    let mut stream = reader.stream_at("/v1/events?viewing=false").await;
    let told = stream.next_of("presence").await;
    let are = |state: &str| {
        let ids = told[state].as_array().expect("people").iter().map(uuid);
        ids.map(|id| (id, state.to_owned())).collect::<Vec<_>>()
    };
    let people = are("online").into_iter().chain(are("away")).collect();
    (people, told["typing"].clone())
}
