//! A node that is stopped (SIGSTOP) for longer than others believe in it, and goes on (SIGCONT).

use std::time::{Duration, Instant};

use super::kill::employee;
use super::{Cluster, presence, statuses};
use crate::checker::Checker;
use crate::checker::{Manner, Reader};
use crate::harness::{Actor, id};
use crate::harness::{eventually, is_full, tell};

/// How long the others take at most to let go of a silent node: the short pause is a little longer.
const LAPSE: Duration = Duration::from_secs(25);
/// How long pages believe in a silent stream here: the load speaks all the time.
const SILENCE: Duration = Duration::from_secs(4);
/// How long after it goes on the node may see things otherwise than the others.
const SAME_WITHIN: Duration = Duration::from_secs(10);
/// How long after their last page was closed somebody may be shown as there.
const OFFLINE_WITHIN: Duration = Duration::from_secs(45);

/// Its clients go on elsewhere; when it runs on, what it holds is told exactly once, and all nodes see the same people.
///
/// To see it red: have a page that was closed meanwhile count from when it was noticed (`Turn::refresh` in
/// `src/events/hub/presence.rs`; with `HAGGLE_TORTURE=full`), let a node that lapsed stay away
/// (`Hub::hear_changes`: do not have it asked for everybody), or see [`Checker`].
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_comes_back_as_if_nothing_had_been() {
    let pause = if is_full() { Duration::from_mins(1) } else { LAPSE + Duration::from_secs(2) };
    let Some(cluster) = Cluster::start(3).await else { return };
    let cast = cluster.cast().await;
    let lia = employee(&cluster, &cast, id(0xe4), "Lia").await;
    let (first, second) = (cast.ada.open_room(cast.north, "Hi").await, cast.kofi.open_room(cast.north, "Hi").await);
    let third = cast.kofi.open_room(cast.lumen, "Hi").await;

    let mut checker = Checker::new("7, 8, 12", "SIGSTOP of one node of three", 13, &cluster.addresses);
    let moves = Manner { silence: SILENCE, ..Manner::default() };
    let holds = Manner { silence: 4 * pause, ..Manner::default() };
    for (actor, rooms) in
        [(&cast.nora, &[first, second][..]), (&cast.kofi, &[second, third]), (&cast.ben, &[first, second])]
    {
        for (place, manner) in [(0, moves), (1, moves), (0, holds)] {
            // Ben's one page moves.
            if actor.id() != cast.ben.id() || (place, manner) == (0, moves) {
                checker.read(actor, rooms, place, manner).await;
            }
        }
        checker.write(actor, rooms);
        checker.write(actor, rooms);
    }
    // Ada's one page stays with the paused node; Luca's is closed meanwhile, and so is Lia's elsewhere.
    checker.read(&cast.ada, &[first], 0, holds).await;
    checker.write(&cast.ada, &[first]);
    let luca = Reader::open(&cast.luca, &cluster.addresses, 0, holds).await;
    let lia_page = Reader::open(&lia, &cluster.addresses, 1, moves).await;
    let sees_all = |people: &std::collections::BTreeMap<uuid::Uuid, String>, luca_state: &str| {
        let state = |who: &Actor| people.get(&who.id()).map_or("offline", String::as_str).to_owned();
        [state(&cast.nora), state(&cast.ben), state(&cast.luca), state(&lia)]
            == ["online", "online", luca_state, luca_state]
    };
    for kofi in cluster.everywhere(&cast.kofi) {
        eventually("everybody is online", async || sees_all(&statuses(&kofi).await, "online")).await;
    }

    let paused = &cluster.nodes[0];
    paused.pause();
    let stopped = Instant::now();
    drop((luca, lia_page));
    let elsewhere = Reader::open(&cast.kofi, &cluster.addresses, 1, moves).await;
    tokio::time::sleep(pause.saturating_sub(stopped.elapsed())).await;
    assert!(checker.streams_at(&paused.url) >= 3, "some streams stay open");
    paused.resume();
    let resumed = Instant::now();
    let offline_by = stopped + OFFLINE_WITHIN;
    let mut same = Duration::ZERO;
    for kofi in cluster.everywhere(&cast.kofi) {
        loop {
            let (listed, fresh) = (statuses(&kofi).await, presence(&kofi).await.0);
            if sees_all(&listed, "offline") && sees_all(&fresh, "offline") {
                break;
            }
            let late = resumed.elapsed() > SAME_WITHIN && Instant::now() > offline_by;
            assert!(!late, "{} after {:?}: {listed:?} {fresh:?}", kofi.url, resumed.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        same = same.max(resumed.elapsed());
    }
    for nora in cluster.everywhere(&cast.nora) {
        assert_eq!(statuses(&nora).await[&cast.ada.id()], "online", "her page is open");
        assert!(presence(&nora).await.0.contains_key(&cast.ada.id()));
    }
    for user in [cast.luca.id(), lia.id()] {
        assert_eq!(elsewhere.states(stopped, user), ["offline"], "once, and for good");
    }
    assert_eq!(elsewhere.states(stopped, cast.ben.id()), [""; 0], "he has moved in time");
    checker.verify().await;
    let done = format!("SIGSTOP of one node of three for {pause:.0?}");
    tell("8", &done, format!("all saw the same {same:.1?} after SIGCONT"));
}
