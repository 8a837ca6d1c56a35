//! Everybody comes back at once: after the network between, and after the server (promise 14).

use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::all_back;
use crate::checker::Checker;
use crate::faults::Site;
use crate::harness::{Actor, Node, Relay, id, is_full, tell};

/// Streams in the short form, and in the full one.
const STREAMS: (usize, usize) = (200, 4_000);
/// Streams of a creator to whose room messages are sent; the others are quiet.
const BUSY: usize = 20;
/// Streams of every other creator.
const EACH: usize = 20;

/// All streams break at once while messages are sent. All are back in time, what is sent meanwhile is answered, and
/// no stream has missed or repeated anything.
///
/// To see it red: take only so many streams a second in `src/http/server/mod.rs` (not back in time); begin one
/// position later in `Ring::after` of `src/events/hub/ring.rs` (lost).
#[tokio::test(flavor = "multi_thread")]
async fn all_streams_that_break_at_once_are_soon_back() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let streams = if is_full() { STREAMS.1 } else { STREAMS.0 };
    let data = tempfile::tempdir().expect("a folder");
    let mut site = Site::start(data.path(), None, &[]).await;
    let port = site.node.url.rsplit(':').next().expect("a port").parse().expect("a number");
    let relay = Relay::to(port).await;
    let through = format!("http://127.0.0.1:{}", relay.port);
    let mut checker = Checker::new("7, 14", &format!("{streams} streams break at once, twice"), 61, &site.addresses);
    let [busy, ..] = site.people().await;
    let quiet = creators(&site.node, (streams - BUSY).div_ceil(EACH)).await;
    checker.read_by_way_of(&through, std::slice::from_ref(&busy), BUSY).await;
    checker.read_by_way_of(&through, &quiet, streams - BUSY).await;
    checker.write(&busy.0, &busy.1);

    let broken = Instant::now();
    relay.cut();
    let network = all_back(&checker, &through, streams, broken).await;
    let broken = Instant::now();
    site.node.kill();
    site.restart().await;
    let server = all_back(&checker, &through, 2 * streams, broken).await;
    let figures = checker.verify().await;
    let back = format!("all back {network:.1?} after the network, {server:.1?} after a server that was killed");
    tell("14", &format!("{streams} streams break at once"), format!("{back}; sends within {:.1?}", figures.recovery));
}

/// So many more creators, each with a room.
async fn creators(node: &Node, many: usize) -> Vec<(Actor, Vec<Uuid>)> {
    let (service, lumen) = (node.service(), id(0xc2));
    let mut creators = Vec::new();
    for n in 0..u32::try_from(many).expect("few") {
        let creator = node.actor(id(0x1_0000 + n));
        let profile = json!({"given_name": "Cy", "family_name": "T", "logo_url": ""});
        service.put(&format!("/v1/users/{}", creator.id()), &profile).await.expect(201);
        let room = creator.open_room(lumen, "Hi").await;
        creators.push((creator, vec![room]));
    }
    creators
}
