//! One of ten readers stops reading (promise 13).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::percentile;
use super::sender::{Sending, Sent, send};
use crate::harness::{Actor, Node, eventually, is_full, tell};

/// Readers who read, and as many tenths who stall, in the short form and in the full one.
const READERS: (usize, usize) = (40, 300);
/// How often it is compared.
const ROUNDS: (usize, usize) = (1, 5);
/// How long each load lasts.
const TIME: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
/// Messages a second.
const RATE: f64 = 20.0;
/// Characters of a message: a few dozen are more than may wait for one reader.
const CHARACTERS: usize = 7_900;
/// What a reader who stalls may cost, bytes, beside what a process needs more or less anyway.
const EACH: u64 = 128 << 10;
const SLACK: u64 = 32 << 20;
/// How much later others may hear, in the full form: what 2 processors for all of it, unoptimised, let one tell.
const LATER: f64 = 2.0;

/// When a message was heard.
type Heard = Arc<Mutex<Vec<(Uuid, Instant)>>>;

/// The same load with everybody reading, and with one in ten who does not: these are cut and cost little, and the others
/// hear every message, hardly later.
///
/// To see it red: let 64 MiB and a million frames wait in `src/events/outbox/queue.rs` (not cut), or start the threads of
/// `src/events/threads.rs` with a lower priority while other processes keep the machine busy (readers are cut).
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn readers_who_stop_reading_harm_nobody_else() {
    let (readers, rounds, time) = if is_full() { (READERS.1, ROUNDS.1, TIME.1) } else { (READERS.0, ROUNDS.0, TIME.0) };
    let node = Node::start_alone(&[("HAGGLE_MAX_STREAMS_PER_USER", "10000")]).await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let (heard, mut reading) = (Heard::default(), JoinSet::new());
    for place in 0..readers {
        let who = [&cast.ada, &cast.nora, &cast.ben][place % 3];
        reading.spawn(read(who.clone(), Arc::clone(&heard)));
    }
    eventually("all streams are open", async || node.streams().await == readers).await;

    let rig = Rig { node: &node, sender: &cast.ada, room, readers, heard: &heard, time };
    let (mut all_read, mut some_stall) = (Vec::new(), Vec::new());
    rig.load().await; // what is first is slow
    for _ in 0..rounds {
        all_read.push(rig.load().await);
        let mut stalled = Vec::new();
        for _ in 0..readers / 10 {
            stalled.push(stall(&cast.ben).await);
        }
        eventually("the others come", async || node.streams().await == readers + stalled.len()).await;
        some_stall.push(rig.load().await);
        eventually("whoever stalls is cut", async || node.streams().await == readers).await;
        drop(stalled);
    }
    let stalled = readers / 10;
    let median =
        |of: &[Load], figure: fn(&Load) -> Duration| percentile(&of.iter().map(figure).collect::<Vec<_>>(), 50);
    let half = [median(&all_read, |load| load.half), median(&some_stall, |load| load.half)];
    let most = [median(&all_read, |load| load.most), median(&some_stall, |load| load.most)];
    let ratio = most[1].as_secs_f64() / most[0].as_secs_f64();
    let memory = |of: &[Load]| of.iter().map(|load| load.memory).max().unwrap_or_default();
    let more = memory(&some_stall).saturating_sub(memory(&all_read));
    tell(
        "13",
        &format!("{stalled} readers beside {readers} stop reading, {rounds} times"),
        format!(
            "cut; others hear half within {:.1?} (else {:.1?}), 99 of 100 within {:.1?} (else {:.1?}, × {ratio:.2}); \
             {} kB more memory by reader",
            half[1],
            half[0],
            most[1],
            most[0],
            more / stalled as u64 / 1_000
        ),
    );
    assert!(more < EACH * stalled as u64 + SLACK, "{more} bytes more");
    assert!(!is_full() || ratio < LATER, "others hear {ratio:.2} times later");
    assert_eq!(reading.len(), readers);
    assert!(reading.try_join_next().is_none(), "whoever reads is not cut");
}

struct Rig<'a> {
    node: &'a Node,
    sender: &'a Actor,
    room: Uuid,
    readers: usize,
    heard: &'a Heard,
    time: Duration,
}

/// What one load has shown: how long after it was due a message was heard, and the most memory that the server had.
struct Load {
    half: Duration,
    most: Duration,
    memory: u64,
}

impl Rig<'_> {
    async fn load(&self) -> Load {
        self.heard.lock().expect("no panic").clear();
        let sent = send(self.sender, self.room, RATE, self.time, CHARACTERS);
        let mut memory = 0;
        let sent = {
            tokio::pin!(sent);
            loop {
                match tokio::time::timeout(Duration::from_millis(20), &mut sent).await {
                    Ok(sent) => break sent,
                    Err(_) => memory = memory.max(self.node.memory()),
                }
            }
        };
        // A disk that others keep busy may make the server refuse some.
        let due: HashMap<Uuid, Instant> =
            sent.iter().filter(|sent| is_there(sent)).map(|it| (it.key, it.due)).collect();
        assert!(due.len() * 2 > sent.len(), "{} of {} were taken", due.len(), sent.len());
        let of_these = || self.heard.lock().expect("no panic").iter().filter(|(key, _)| due.contains_key(key)).count();
        eventually("everybody hears everything", async || of_these() == due.len() * self.readers).await;
        let heard = self.heard.lock().expect("no panic");
        let later: Vec<_> = heard.iter().filter_map(|(key, at)| Some(at.duration_since(*due.get(key)?))).collect();
        Load { half: percentile(&later, 50), most: percentile(&later, 99), memory }
    }
}

fn is_there(sent: &Sent) -> bool {
    matches!(sent.answer, Sending::Acknowledged(_))
}

/// Follows a stream for as long as it lasts, and notes when each message came.
async fn read(actor: Actor, heard: Heard) {
    let answer = actor.request(Method::GET, "/v1/events").send().await.expect("a stream");
    let mut events = answer.bytes_stream().eventsource();
    while let Some(Ok(event)) = events.next().await {
        let text = event.data.split_once(r#""content":""#).map(|(_, text)| text);
        let key = text.and_then(|text| text.get(..36)?.parse().ok());
        if let Some(key) = key.filter(|_| event.event == "new_message") {
            heard.lock().expect("no panic").push((key, Instant::now()));
        }
    }
}

/// Opens a stream and does not read it.
async fn stall(actor: &Actor) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let address = actor.url.trim_start_matches("http://").parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("it listens");
    let token = actor.token.as_deref().expect("a token");
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    stream
}
