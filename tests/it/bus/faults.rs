//! A bus that is lost, hangs, is cut off or late: commands go on, the node's own streams notice nothing, other nodes
//! catch up within 6 s meanwhile, and at once again within 2 s of its return.
//!
//! Seen red with the sweep of the log made slower (`SWEEP_EVERY`), without the look into the log after a connection
//! (`begin_anew`), and with rings that are never rung.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::proxy::{Proxy, Wire};
use crate::harness::nats::{self, Nats};
use crate::harness::{Cast, Database, EventStream, Server};

/// Until another node shows a message while the bus is away: the sweep of 5 s, and a second for the rest.
const MEANWHILE: Duration = Duration::from_secs(6);
/// Until it does so at once again after the bus is back.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Rounds of sending and seeing that would take a minute by sweeps.
const ROUNDS: usize = 12;
/// How long those rounds may take.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted() {
    let Some(mut deployment) = Deployment::start().await else { return };
    let port = deployment.nats.port();
    deployment.talk().await;
    deployment.nats.signal("KILL");
    deployment.suffer().await;
    deployment.nats = Nats::start_on(port, &[]).await;
    deployment.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen() {
    let Some(mut deployment) = Deployment::start().await else { return };
    deployment.talk().await;
    deployment.nats.signal("STOP");
    deployment.suffer().await;
    deployment.nats.signal("CONT");
    deployment.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off() {
    let Some(mut deployment) = Deployment::start().await else { return };
    deployment.talk().await;
    deployment.wires[1].set(Wire::Cut);
    deployment.suffer().await;
    deployment.wires[1].set(Wire::Whole);
    deployment.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late() {
    let Some(mut deployment) = Deployment::start().await else { return };
    deployment.talk().await;
    deployment.wires[0].set(Wire::Slow(Duration::from_secs(7)));
    deployment.suffer().await;
    deployment.wires[0].set(Wire::Whole);
    deployment.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn away_at_the_start() {
    let Some(nats) = Nats::start(&[]).await else { return };
    let port = nats.port();
    nats.signal("KILL");
    let Some(mut deployment) = Deployment::on(nats).await else { return };
    deployment.suffer().await;
    deployment.nats = Nats::start_on(port, &[]).await;
    deployment.recover().await;
}

/// Two nodes, each with a wire of its own to the bus, and a page of Ada's on each.
struct Deployment {
    nats: Nats,
    wires: [Proxy; 2],
    here: Server,
    there: Server,
    cast: Cast,
    room: Uuid,
    near: EventStream,
    far: EventStream,
    said: usize,
}

impl Deployment {
    async fn start() -> Option<Self> {
        Self::on(Nats::start(&[]).await?).await
    }

    async fn on(nats: Nats) -> Option<Self> {
        let database = Database::postgres().await?;
        let wires = [Proxy::to(nats.port()).await, Proxy::to(nats.port()).await];
        let here = Server::start_with(&database, |config| config.bus = Some(nats::bus(&wires[0].url))).await;
        let there = Server::start_with(&database, |config| config.bus = Some(nats::bus(&wires[1].url))).await;
        let cast = here.cast().await;
        let room = cast.ada.open_room(cast.north, "0").await;
        let near = page(&cast, &here, room).await;
        let far = page(&cast, &there, room).await;
        Some(Self { nats, wires, here, there, cast, room, near, far, said: 1 })
    }

    /// Sends a message and reads it on both nodes: each page shows the next message and no other. Returns how long
    /// the other node took.
    async fn say(&mut self) -> Duration {
        let content = self.said.to_string();
        let sent = Instant::now();
        self.cast.nora.message(self.room, &json!({"content": content})).await.expect(201);
        assert!(sent.elapsed() < Duration::from_secs(1), "a command waited for the bus");
        self.said += 1;
        assert_eq!(self.near.next_news().await.data["message"]["content"], content);
        assert!(sent.elapsed() < Duration::from_secs(1), "the node's own stream waited for the bus");
        assert_eq!(self.far.next_news().await.data["message"]["content"], content);
        sent.elapsed()
    }

    /// All is well: both nodes show messages at once.
    async fn talk(&mut self) {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            self.say().await;
        }
        assert!(began.elapsed() < AT_ONCE, "{ROUNDS} rounds took {:?}", began.elapsed());
    }

    /// The bus is away.
    async fn suffer(&mut self) {
        for _ in 0..3 {
            let took = self.say().await;
            assert!(took <= MEANWHILE, "the other node took {took:?}");
        }
    }

    /// The bus has just come back.
    async fn recover(&mut self) {
        let began = Instant::now();
        let took = self.say().await;
        assert!(took <= AFTERWARDS, "the other node took {took:?}");
        // Whoever was told of by a sweep that happened to come is not yet proof.
        while self.here.app.hub.peers() == 0 || self.there.app.hub.peers() == 0 {
            assert!(began.elapsed() < AFTERWARDS, "the nodes do not hear each other");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.talk().await;
        // And people: Ben's page is on the other node.
        let _ben = self.cast.ben.at(&self.there).stream().await;
        let ben = json!(self.cast.ben.id());
        loop {
            let change = self.near.next_of("activity_change").await;
            if change["user_id"] == ben {
                assert_eq!(change["activity_state"], "online");
                break;
            }
        }
    }
}

/// A page of Ada's that has caught up.
async fn page(cast: &Cast, server: &Server, room: Uuid) -> EventStream {
    let mut page = cast.ada.at(server).stream().await;
    page.next_of("presence").await;
    assert_eq!(cast.ada.at(server).room(room).await["messages"].as_array().map(Vec::len), Some(1));
    page
}
