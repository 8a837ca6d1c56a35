//! A node killed with `kill -9` under load.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{Cluster, statuses};
use crate::checker::{Checker, Manner, Reader};
use crate::harness::{Actor, Cast, Event, id};
use crate::harness::{eventually, tell, uuid};

/// How long somebody on the killed node may still be shown as there.
const OFFLINE_WITHIN: Duration = Duration::from_secs(45);
/// How long typing that came through the killed node may still be shown.
const TYPING_WITHIN: Duration = Duration::from_secs(10);
/// How long clients may be without a stream.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Clients resume on another node by cursor with nothing missed or repeated. Whoever had a page on the killed node only
/// goes offline elsewhere, whoever has one elsewhere too does not flap, and typing ends.
///
/// To see it red: let no node lapse (`HEARTBEATS_MISSED` in `src/events/hub/peers.rs`), let a lapse forget what
/// other nodes tell of the same people (`Turn::no_longer_at`), take typing for good (`Turn::expire_typing`), or see
/// [`Checker`].
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_costs_nothing_but_a_moment() {
    let Some(mut cluster) = Cluster::start(3).await else { return };
    let cast = cluster.cast().await;
    let lia = employee(&cluster, &cast, id(0xe4), "Lia").await;
    let (first, second) = (cast.ada.open_room(cast.north, "Hi").await, cast.kofi.open_room(cast.north, "Hi").await);
    let third = cast.kofi.open_room(cast.lumen, "Hi").await;

    let mut checker = Checker::new("1, 3, 4, 7", "kill -9 of one node of three", 11, &cluster.addresses);
    for (actor, rooms) in [
        (&cast.ada, &[first][..]),
        (&cast.nora, &[first, second]),
        (&cast.ben, &[first, second]),
        (&cast.kofi, &[second, third]),
    ] {
        for place in [0, 0, 1] {
            checker.read(actor, rooms, place, Manner::default()).await;
        }
        checker.write(actor, rooms);
        checker.write(actor, rooms);
    }
    let stays_away = Manner { comes_back: false, ..Manner::default() };
    let _luca = Reader::open(&cast.luca, &cluster.addresses, 0, stays_away).await;
    let _lia = [
        Reader::open(&lia, &cluster.addresses, 0, stays_away).await,
        Reader::open(&lia, &cluster.addresses, 1, Manner::default()).await,
    ];
    let watchers = [
        Reader::open(&cast.kofi, &cluster.addresses, 1, Manner::default()).await,
        Reader::open(&cast.kofi, &cluster.addresses, 2, Manner::default()).await,
    ];
    for kofi in cluster.everywhere(&cast.kofi) {
        eventually("everybody is online", async || {
            let statuses = statuses(&kofi).await;
            [&cast.luca, &lia, &cast.nora].iter().all(|who| statuses[&who.id()] == "online")
        })
        .await;
    }

    cast.luca.at_url(&cluster.nodes[0].url).typing(third, true).await.expect(204);
    let luca = cast.luca.id();
    let typing = |on: bool| move |event: &Event| is_typing(event, luca, on);
    for watcher in &watchers {
        eventually("typing is seen", async || watcher.find(None, typing(true)).is_some()).await;
    }
    let killed_url = cluster.nodes[0].url.clone();
    cluster.nodes[0].kill();
    let killed = Instant::now();
    eventually("clients are back", async || checker.is_away_from(&killed_url)).await;
    for watcher in &watchers {
        eventually("typing ends", async || watcher.find(Some(killed), typing(false)).is_some()).await;
    }
    let typed = watchers.iter().map(|watcher| watcher.find(Some(killed), typing(false)).expect("heard") - killed);
    let typed = typed.max().expect("two");
    assert!(typed < TYPING_WITHIN, "typing ended after {typed:?}");
    let nora = watchers.iter().flat_map(|watcher| watcher.states(killed, cast.nora.id())).collect::<Vec<_>>();
    assert_eq!(nora, [""; 0], "who comes back is not told of");
    let figures = checker.verify().await;
    assert!(figures.outage < BACK_WITHIN, "{figures}");

    let is_gone = |event: &Event| {
        event.name == "activity_change"
            && event.data["user_id"] == json!(cast.luca.id())
            && event.data["activity_state"] == "offline"
    };
    let mut offline = Duration::ZERO;
    for watcher in &watchers {
        while watcher.find(Some(killed), is_gone).is_none() {
            assert!(killed.elapsed() < OFFLINE_WITHIN, "still there after {:?}", killed.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        offline = offline.max(watcher.find(Some(killed), is_gone).expect("heard") - killed);
        assert_eq!(watcher.states(killed, cast.luca.id()), ["offline"]);
        assert_eq!(watcher.states(killed, lia.id()), [""; 0], "she has a page elsewhere");
    }
    for kofi in cluster.everywhere(&cast.kofi).split_off(1) {
        let statuses = statuses(&kofi).await;
        assert_eq!([&statuses[&cast.luca.id()], &statuses[&lia.id()]], ["offline", "online"]);
    }
    let found = format!("typing ended after {typed:.1?}, its people were offline elsewhere after {offline:.1?}");
    tell("8", "kill -9 of one node of three", found);
}

fn is_typing(event: &Event, user: Uuid, on: bool) -> bool {
    event.name == "typing_change" && uuid(&event.data["user_id"]) == user && event.data["currently_typing"] == on
}

/// One more employee of Lumen.
pub async fn employee(cluster: &Cluster, cast: &Cast, user: Uuid, name: &str) -> Actor {
    let body = json!({"given_name": name, "family_name": "T", "logo_url": "", "company_id": cast.lumen});
    cast.service.put(&format!("/v1/users/{user}"), &body).await.expect(201);
    cluster.nodes[0].actor(user)
}
