//! A node that is cut off from NATS, from PostgreSQL, or from both, both ways or one (promises 1, 3, 6, 7 and 12).
//!
//! Each node is in a network of its own, where packets are lost and nobody is told. Nodes speak to each other through
//! NATS and PostgreSQL only, so there is no other cut between them.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::checker::{Addresses, Checker, Manner};
use crate::harness::nats::Nats;
use crate::harness::{Actor, Cast, Network, Node, Postgres, eventually, free_port, id, is_full, tell, uuid};

/// How long a cut lasts in the short form, and in the full one.
const LASTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// How often somebody is revoked in the short form, and in the full one.
const REVOKED: (usize, usize) = (2, 20);
/// How soon a stream of somebody who was revoked on the other node ends, without a bus.
const REVOKED_WITHIN: Duration = Duration::from_secs(6);
/// How soon the node takes commands again, and hears of the other.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The same for both on a machine whose processors are busy with other tests.
const ON_BUSY_MACHINES: Duration = Duration::from_secs(30);

/// What is lost on its way between the first node and another server.
#[derive(Clone, Copy, PartialEq)]
enum Lost {
    ToNats,
    FromNats,
    ToPostgres,
    FromPostgres,
}
use Lost::{FromNats, FromPostgres, ToNats, ToPostgres};

/// The cuts of every run, and what comes to them in the full form.
const CUTS: [(&str, &[Lost]); 4] = [
    ("NATS", &[ToNats, FromNats]),
    ("PostgreSQL", &[ToPostgres, FromPostgres]),
    ("PostgreSQL's answers", &[FromPostgres]),
    ("both", &[ToNats, FromNats, ToPostgres, FromPostgres]),
];
const MORE_CUTS: [(&str, &[Lost]); 3] =
    [("what it tells NATS", &[ToNats]), ("what NATS tells", &[FromNats]), ("what it asks PostgreSQL", &[ToPostgres])];

/// Two nodes, each in its network; PostgreSQL and NATS are on this machine, at an address of their own for each.
struct Parted {
    networks: [Network; 2],
    nodes: [Node; 2],
    addresses: Addresses,
    _postgres: Postgres,
    _nats: Nats,
    _files: tempfile::TempDir,
}

impl Parted {
    async fn start() -> Option<Self> {
        let networks = [Network::new()?, Network::new()?];
        let listen = format!("listen_addresses=127.0.0.1,{},{}", networks[0].far(), networks[1].far());
        let Some(postgres) = Postgres::prepare(free_port(), &["-c", &listen]) else {
            Postgres::say_skipped();
            return None;
        };
        let mut access =
            OpenOptions::new().append(true).open(postgres.folder.join("data/pg_hba.conf")).expect("a file");
        writeln!(access, "host all all 198.18.0.0/15 trust").expect("written");
        postgres.run();
        let database = postgres.database().await;
        let nats = Nats::start(&["-a", "0.0.0.0"]).await?;
        let files = tempfile::tempdir().expect("a folder");
        let place = format!("file://{}", files.path().display());
        let start = async |network: &Network| {
            let database = database.replace("127.0.0.1", &network.far().to_string());
            let bus = format!("nats://{}:{}", network.third(), nats.port());
            let settings =
                [("HAGGLE_DATABASE_URL", &*database), ("HAGGLE_BUS_URL", &*bus), ("HAGGLE_ATTACHMENTS_URL", &*place)];
            Node::start_in(network, &settings).await
        };
        let nodes = [start(&networks[0]).await, start(&networks[1]).await];
        let addresses = Addresses::default();
        addresses.add(&nodes[0].url);
        addresses.add(&nodes[1].url);
        let parted = Self { networks, nodes, addresses, _postgres: postgres, _nats: nats, _files: files };
        parted.meet().await;
        Some(parted)
    }

    /// Waits until each node hears the other.
    async fn meet(&self) {
        for node in &self.nodes {
            eventually("the nodes hear of each other", async || (node.metric("haggle_nodes ").await - 2.0).abs() < 0.5)
                .await;
        }
    }

    async fn load(&self, cast: &Cast, rig: &str) -> Checker {
        let (first, second) = (cast.ada.open_room(cast.north, "Hi").await, cast.kofi.open_room(cast.north, "Hi").await);
        let mut checker = Checker::new("1, 3, 7, 12", rig, 71, &self.addresses);
        let people: [(&Actor, &[_]); 3] =
            [(&cast.ada, &[first]), (&cast.nora, &[first, second]), (&cast.kofi, &[second])];
        for (actor, rooms) in people {
            for place in 0..2 {
                checker.read(actor, rooms, place, Manner::default()).await;
                checker.write(actor, rooms);
            }
        }
        checker
    }

    fn cut(&self, lost: &[Lost]) {
        let network = &self.networks[0];
        for lost in lost {
            match lost {
                ToNats => network.lose_to(network.third()),
                FromNats => network.lose_from(network.third()),
                ToPostgres => network.lose_to(network.far()),
                FromPostgres => network.lose_from(network.far()),
            }
        }
    }

    fn heal(&self) {
        self.networks[0].find(self.networks[0].far());
        self.networks[0].find(self.networks[0].third());
    }
}

/// A time that is promised, and what is asked of a machine whose processors are busy with other tests.
fn within(promised: Duration) -> Duration {
    if is_full() { promised } else { ON_BUSY_MACHINES }
}

/// Clients lose nothing, and hear all once; and the node is back when the way is.
///
/// To see it red: answer a batch whose COMMIT was not answered with 503 `unavailable` (`Unsure::answer` in
/// `src/commands/batch.rs`; refused, and there), or see [`Checker`].
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_loses_nothing_and_comes_back() {
    let Some(parted) = Parted::start().await else { return };
    let cast = parted.nodes[0].cast().await;
    let (lasts, mut cuts) = (if is_full() { LASTS.1 } else { LASTS.0 }, CUTS.to_vec());
    if is_full() {
        cuts.extend(MORE_CUTS);
    }
    let rig = format!("a node of two cut off, {} × {lasts:.0?}", cuts.len());
    let checker = parted.load(&cast, &rig).await;
    let room = uuid(&cast.nora.rooms().await["rooms"][0]["id"]);
    let nora = cast.nora.at_url(&parted.nodes[0].url);
    let send = async || nora.message(room, &json!({"content": "Is it back?"})).await;
    for (what, lost) in cuts {
        parted.cut(lost);
        let began = Instant::now();
        if lost.iter().any(|lost| matches!(lost, ToPostgres | FromPostgres)) {
            assert_eq!(send().await.status, 503, "cut off from {what}");
        }
        tokio::time::sleep(lasts.saturating_sub(began.elapsed())).await;
        parted.heal();
        let healed = Instant::now();
        eventually("commands are taken again", async || send().await.status == 201).await;
        let back = healed.elapsed();
        parted.meet().await;
        let met = healed.elapsed();
        let found = format!("commands after {back:.1?}, the other node heard after {met:.1?}");
        tell("12", &format!("a node cut off from {what} for {lasts:.0?}"), found);
        assert!(met < within(BACK_WITHIN), "back after {back:?}, and heard after {met:?}");
    }
    checker.verify().await;
}

/// Whoever is revoked on one node hears no more on the other, with NATS cut off from it and nobody writing there.
///
/// To see it red: have the sweep of `src/events/feed.rs` look at nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_silent_on_a_node_that_nothing_is_told() {
    let Some(parted) = Parted::start().await else { return };
    let cast = parted.nodes[0].cast().await;
    let mut longest = Duration::ZERO;
    let times = if is_full() { REVOKED.1 } else { REVOKED.0 };
    for time in 0..times {
        let way: &[Lost] = if time % 2 == 0 { &[ToNats, FromNats] } else { &[FromNats] };
        parted.cut(way);
        longest = longest.max(revoke(&parted, &cast).await);
        parted.heal();
        parted.meet().await;
    }
    tell(
        "6",
        &format!("{times} × revoked elsewhere, NATS cut off"),
        format!("silent after {longest:.1?} at the latest"),
    );
    assert!(longest < within(REVOKED_WITHIN), "a stream went on for {longest:?}");
}

/// An employee whose stream is on the first node is taken out of the directory through the other; how long the stream
/// goes on.
async fn revoke(parted: &Parted, cast: &Cast) -> Duration {
    let path = format!("/v1/users/{}", id(0xe4));
    let body = json!({"given_name": "Lia", "family_name": "T", "logo_url": "", "company_id": cast.lumen});
    let service = cast.service.at_url(&parted.nodes[1].url);
    service.put(&path, &body).await;
    let mut stream = parted.nodes[0].actor(id(0xe4)).stream_patiently(ON_BUSY_MACHINES).await;
    let began = Instant::now();
    service.delete(&path).await.expect(204);
    while stream.next_within(ON_BUSY_MACHINES).await.is_some() {}
    began.elapsed()
}
