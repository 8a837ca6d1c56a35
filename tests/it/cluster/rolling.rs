//! Two nodes restarted one after the other, under load.

use std::time::{Duration, Instant};

use super::Cluster;
use crate::checker::{Checker, Manner};
use crate::harness::{eventually, tell};

/// How long a node may take to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// How long clients may be without a stream.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Nothing is lost and nothing repeated, clients are back in time, and each node ends with success.
///
/// To see it red, see [`Checker`].
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_is_not_noticed() {
    let Some(mut cluster) = Cluster::start(2).await else { return };
    let cast = cluster.cast().await;
    let (first, second) = (cast.ada.open_room(cast.north, "Hi").await, cast.kofi.open_room(cast.north, "Hi").await);
    let mut checker = Checker::new("7, 15", "rolling restart of two nodes", 12, &cluster.addresses);
    for (actor, rooms) in [
        (&cast.ada, &[first][..]),
        (&cast.kofi, &[second]),
        (&cast.nora, &[first, second]),
        (&cast.ben, &[first, second]),
    ] {
        for place in [0, 1, 0] {
            checker.read(actor, rooms, place, Manner::default()).await;
        }
        checker.write(actor, rooms);
        checker.write(actor, rooms);
    }
    let mut slowest = Duration::ZERO;
    for place in 0..2 {
        assert!(checker.streams_at(&cluster.nodes[place].url) > 0, "there is something to lose");
        let old = cluster.nodes[place].url.clone();
        let asked = Instant::now();
        let status = tokio::task::block_in_place(|| cluster.nodes[place].terminate());
        slowest = slowest.max(asked.elapsed());
        assert_eq!(status.code(), Some(0), "{}", cluster.nodes[place].log());
        assert!(asked.elapsed() < STOPPED_WITHIN, "stopped after {:?}", asked.elapsed());
        cluster.nodes[place] = cluster.start_node().await;
        cluster.addresses.replace(place, &cluster.nodes[place].url);
        cluster.meet(2).await;
        eventually("clients are back", async || checker.is_away_from(&old)).await;
    }
    let figures = checker.verify().await;
    assert!(figures.outage < BACK_WITHIN, "{figures}");
    tell("15", "rolling restart of two nodes", format!("stopped within {slowest:.1?}, status 0"));
}
