//! Readers who are gone and have not said so: their machine lost its power, or the network its way to them (promise 13).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::harness::{Actor, EventStream, Network, Node, eventually, is_full, tell};

/// Readers that vanish, in the short form and in the full one.
const VANISHING: (usize, usize) = (20, 1_000);
/// Readers that stay.
const STAYING: usize = 5;
/// How soon they are noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(45);
/// The same on a machine whose processors are busy with other tests. What the system does by itself takes 15 minutes.
const NOTICED_ON_BUSY_MACHINES: Duration = Duration::from_mins(2);

/// The server, in a network of its own, sends its heartbeats to readers that nothing reaches any more, and ends their
/// streams. Others hear nothing of it.
///
/// To see it red: leave `set_tcp_user_timeout` out of `src/http/server/listener.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_vanish_are_noticed() {
    let Some(network) = Network::new() else { return };
    let node = Node::start_in(&network, &[("HAGGLE_MAX_STREAMS_PER_USER", "10000")]).await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let vanishing = if is_full() { VANISHING.1 } else { VANISHING.0 };
    let mut stay = open(&cast.nora, network.near(), STAYING).await;
    let gone = open(&cast.ada, network.far(), vanishing).await;
    let all = vanishing + STAYING;
    eventually("all streams are open", async || node.streams().await == all).await;

    let began = Instant::now();
    network.lose_to(network.far());
    let most = if is_full() { NOTICED_WITHIN } else { NOTICED_ON_BUSY_MACHINES };
    let mut first = None;
    loop {
        let open = node.streams().await;
        assert!(open >= STAYING, "only who is gone is cut");
        if open < all {
            first.get_or_insert_with(|| began.elapsed());
        }
        if open == STAYING {
            break;
        }
        assert!(began.elapsed() < most, "{open} streams of {all} are open after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (first, last) = (first.expect("one is the first"), began.elapsed());
    let found = format!("noticed after {first:.1?} to {last:.1?}; the others go on");
    tell("13", &format!("{vanishing} quiet readers vanish without a word"), found);

    cast.nora.say(room, "Still there?").await;
    for stream in &mut stay {
        assert_eq!(stream.next_of("new_message").await["message"]["content"], "Still there?");
    }
    drop(gone);
}

/// Streams of somebody who comes from this address and says nothing more: the library would ask whether the server is
/// there, and break the connection itself.
async fn open(actor: &Actor, from: IpAddr, streams: usize) -> Vec<EventStream> {
    let client = reqwest::Client::builder().no_proxy().local_address(from).tcp_keepalive(None).tcp_user_timeout(None);
    let client = client.build().expect("a client");
    let actor = actor.clone().with_client(&client);
    let mut open = Vec::new();
    for _ in 0..streams {
        open.push(actor.stream_at("/v1/events").await);
    }
    open
}
